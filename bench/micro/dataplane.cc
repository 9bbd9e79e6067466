/* ns per item of dataplane/: the ring, the inflight table and what else a message passes.
 *
 *     build/bench/micro/micro_dataplane --benchmark_repetitions=9 --benchmark_min_time=0.2
 *
 * An iteration is one item. The rows named two_threads carry items from one core to the other and
 * need two cores that nobody else wants; on a shared machine the smallest of several repetitions
 * says the most. No row may allocate: the process stops if one does. */
#include <benchmark/benchmark.h>

#include <cstring>

extern "C" {
#include "bench/micro/dataplane_cases.h"
}

int main(int argc, char **argv)
{
    const struct dataplane_case *cases;
    size_t count = dataplane_cases(&cases);

    for (size_t i = 0; i < count; i++) {
        const struct dataplane_case *c = &cases[i];

        auto *b = benchmark::RegisterBenchmark(c->name, [c](benchmark::State &state) {
            if (c->begin != nullptr)
                c->begin();
            while (state.KeepRunningBatch(DATAPLANE_ITEMS)) {
                dataplane_forbid_allocation(1);
                c->run(DATAPLANE_ITEMS);
                dataplane_forbid_allocation(0);
            }
            if (c->end != nullptr)
                c->end();
        });
        if (strstr(c->name, "two_threads") != nullptr)
            b->UseRealTime(); /* the others by the CPU time of their one thread */
    }
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 1;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
