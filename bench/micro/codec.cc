/* ns per operation of codec/, of what a lane does with each message.
 *
 *     build/bench/micro/micro_codec --benchmark_repetitions=5 --benchmark_min_time=0.2
 *
 * Each figure holds one call through a pointer, which `nothing` shows by itself. On a shared
 * machine the smallest of several repetitions says the most. */
#include <benchmark/benchmark.h>

extern "C" {
#include "bench/micro/codec_cases.h"
}

int main(int argc, char **argv)
{
    const struct codec_case *cases;
    size_t count = codec_cases(&cases);

    for (size_t i = 0; i < count; i++) {
        const struct codec_case *c = &cases[i];

        benchmark::RegisterBenchmark(c->name, [c](benchmark::State &state) {
            for (auto _ : state) {
                c->operation(c->argument);
                benchmark::ClobberMemory();
            }
            if (c->bytes != 0)
                state.SetBytesProcessed((int64_t)(state.iterations() * c->bytes));
        });
    }
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 1;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
