/* Small numbers of queues, below queues_max: kept by a queue as long as its topic has it, and free
 * again when the last snapshot that shows it is. Owner: control, through control/route_build.c. */
#pragma once

#include "control/route_topic.h"

struct salvo_queue_numbers {
    uint32_t queues_max;
    uint32_t *free; /* a ring: the longest free first */
    uint32_t free_head;
    uint32_t free_count;
    uint32_t *lost; /* since the last snapshot: they go with the one it replaces */
    uint32_t lost_count;
};

/* 0 or -ENOMEM. */
int salvo_queue_numbers_init(struct salvo_queue_numbers *numbers, uint32_t queues_max);
void salvo_queue_numbers_deinit(struct salvo_queue_numbers *numbers);

/* Numbers for wants, those of `old` (may be NULL) where it has the queue. Returns how many got one,
 * from the front: the rest does not fit queues_max. */
uint32_t salvo_queue_numbers_give(struct salvo_queue_numbers *numbers,
                                  const struct salvo_route_object *old,
                                  struct salvo_route_want *wants, uint32_t wants_count);

/* Takes back what give took for wants, when no object was made of them. */
void salvo_queue_numbers_return(struct salvo_queue_numbers *numbers,
                                const struct salvo_route_object *old,
                                const struct salvo_route_want *wants, uint32_t wants_count);

/* `from` is replaced by `to`: the numbers that only `from` has are lost. */
void salvo_queue_numbers_lose(struct salvo_queue_numbers *numbers,
                              const struct salvo_route_object *from,
                              const struct salvo_route_object *to);

/* Nobody can see this one any more. */
void salvo_queue_numbers_free(struct salvo_queue_numbers *numbers, uint32_t queue);
