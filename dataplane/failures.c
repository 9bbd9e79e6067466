/* Ordered failures that were not polled yet: see failures.h. */
#include "dataplane/failures.h"

#include "base/assert.h"

#include <string.h>

/* Failures of one chain when all are in use: few are, ever. */
#define FAILURES_PER_CHAIN 2u

static uint32_t failures_ring_count(uint32_t messages_out_max)
{
    return (uint32_t)salvo_power_of_two_up(SALVO_MAX(messages_out_max, FAILURES_PER_CHAIN));
}

size_t salvo_failures_memory_size(uint32_t messages_out_max)
{
    size_t count = failures_ring_count(messages_out_max);

    return count * sizeof(struct salvo_failure) + count / FAILURES_PER_CHAIN * sizeof(uint32_t);
}

void salvo_failures_init(struct salvo_failures *failures, uint32_t messages_out_max, void *memory)
{
    uint32_t count = failures_ring_count(messages_out_max);

    memset(memory, 0, salvo_failures_memory_size(messages_out_max));
    *failures = (struct salvo_failures){
        .ring = memory,
        .ring_mask = count - 1,
        .chains = (uint32_t *)((struct salvo_failure *)memory + count),
        .chains_mask = count / FAILURES_PER_CHAIN - 1,
    };
}

void salvo_failures_clear(struct salvo_failures *failures)
{
    failures->first = failures->next; /* indices go on, so that all chains end at once */
    failures->number = 0;
}

static uint32_t *failures_chain(const struct salvo_failures *failures, uint32_t topic,
                                uint32_t shard_hash)
{
    /* Shards of text keys differ in their low bits, and so do topics. */
    return &failures->chains[(shard_hash ^ shard_hash >> 16 ^ topic * 31) & failures->chains_mask];
}

/* The last one of the shard that is alive, or NULL: chains lead from new to old. */
static const struct salvo_failure *failures_last(const struct salvo_failures *failures,
                                                 uint32_t topic, uint32_t shard_hash)
{
    uint32_t alive = failures->next - failures->first;
    uint32_t index = *failures_chain(failures, topic, shard_hash);

    for (uint32_t left = alive; left != 0 && index - failures->first < alive; left--) {
        const struct salvo_failure *failure = &failures->ring[index & failures->ring_mask];

        if (failure->shard_hash == shard_hash && failure->topic == topic)
            return failure;
        index = failure->before;
    }
    return NULL;
}

void salvo_failures_add(struct salvo_failures *failures, uint32_t topic, uint32_t shard_hash,
                        uint32_t event)
{
    const struct salvo_failure *last = failures_last(failures, topic, shard_hash);
    uint32_t *chain = failures_chain(failures, topic, shard_hash);

    if (last != NULL && last->event == event)
        return;
    salvo_assert(failures->next - failures->first <= failures->ring_mask);
    failures->ring[failures->next & failures->ring_mask] = (struct salvo_failure){
        .topic = topic,
        .shard_hash = shard_hash,
        .number = failures->number,
        .event = event,
        .before = *chain,
    };
    *chain = failures->next++;
}

bool salvo_failures_before(struct salvo_failures *failures, uint32_t topic, uint32_t shard_hash,
                           uint32_t stamp)
{
    while (failures->first != failures->next &&
           (int32_t)(failures->ring[failures->first & failures->ring_mask].number - stamp) <= 0)
        failures->first++;
    return failures->first != failures->next && failures_last(failures, topic, shard_hash) != NULL;
}
