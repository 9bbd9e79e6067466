/* Failures of ordered messages that a submitter has not polled yet: what was committed before it
 * did may not go on behind them.
 *
 * The results of a submitter that say "not stored" or "unknown" are numbered from 1. A commit takes
 * the number of the last one that was polled along (its stamp), so a message with a stamp below the
 * number of a failure of its shard was committed in the belief that all was well. Only
 * what began it is remembered: not what failed for it, and of one frame the first of each shard. So
 * a submitter that commits each failed message again as it polls it, or after all, has them stored
 * in their order.
 *
 * Stamps only grow from slot to slot: a failure whose number is not above the last stamp that was
 * seen is over. That bounds them: all others were out when that slot was committed, so there are at
 * most messages_out_max. They lie in a ring, and in chains by shard that end where the ring's dead
 * part begins; nothing is ever unlinked.
 *
 * Numbers and indices run free and are compared by difference. Owner: the lane of the submitter.
 * Memory: taken at start, with the submitter's. */
#pragma once

#include "base/base.h"

struct salvo_failure {
    uint32_t topic;
    uint32_t shard_hash;
    uint32_t number;
    uint32_t event;
    uint32_t before; /* index of the one before in its chain; may be dead */
};

struct salvo_failures {
    /* fixed after start */
    struct salvo_failure *ring;
    uint32_t ring_mask;
    uint32_t *chains; /* index of the last one of each */
    uint32_t chains_mask;

    /* lane only */
    uint32_t first; /* oldest that is alive */
    uint32_t next;
    uint32_t number; /* of the submitter's last failure */
};

size_t salvo_failures_memory_size(uint32_t messages_out_max);
/* At start, over memory of that size, 4-byte aligned. */
void salvo_failures_init(struct salvo_failures *failures, uint32_t messages_out_max, void *memory);
/* The submitter is new. */
void salvo_failures_clear(struct salvo_failures *failures);

/* The last failure, number `failures->number`, was an ordered message of this shard. `event` tells
 * what failed at once from what fails later: the lane's count of them. */
void salvo_failures_add(struct salvo_failures *failures, uint32_t topic, uint32_t shard_hash,
                        uint32_t event);

/* Whether an earlier message of the shard has failed and the submitter had not polled that when it
 * committed the one with this stamp. Called for ordered messages, in the order of their commits. */
bool salvo_failures_before(struct salvo_failures *failures, uint32_t topic, uint32_t shard_hash,
                           uint32_t stamp);
