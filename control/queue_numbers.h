/* Small numbers of queues, below queues_max: kept by a queue as long as its topic has it, and free
 * again when the last snapshot that shows it is. A free number remembers its queue: when that comes
 * back, as a broker's queues do after a restart, it gets it again, and what waits for it in a lane
 * (ordered, pinned) goes on. Others take the longest free first, so that numbers change hands only
 * where they are short. Owner: control, through control/route_build.c. */
#pragma once

#include "control/route_topic.h"

enum salvo_queue_number_state { SALVO_QUEUE_FREE, SALVO_QUEUE_USED, SALVO_QUEUE_LOST };

/* A number and the queue that has it or had it last. */
struct salvo_queue_number {
    enum salvo_queue_number_state state;
    uint32_t lost_times; /* how often it stands in `lost` and in the lists of snapshots */
    const char *broker;  /* interned (control/brokers.h); NULL: nobody had it yet */
    uint32_t topic;
    int32_t queueId;
    uint32_t free_next; /* in the list of free ones */
    uint32_t free_previous;
    uint32_t known_next; /* in its list of remembered ones */
};

struct salvo_queue_numbers {
    uint32_t queues_max;
    struct salvo_queue_number *table;
    uint32_t *known;     /* not used, but remembered: lists by a hash of the queue */
    uint32_t known_size; /* power of two */
    uint32_t free_first; /* the longest free */
    uint32_t free_last;
    uint32_t free_count;
    uint32_t *lost; /* since the last snapshot: they go with the one it replaces */
    uint32_t lost_count;
};

/* 0 or -ENOMEM. */
int salvo_queue_numbers_init(struct salvo_queue_numbers *numbers, uint32_t queues_max);
void salvo_queue_numbers_deinit(struct salvo_queue_numbers *numbers);

/* Numbers for wants of a topic, those of `old` (may be NULL) where it has the queue, those it had
 * before where they are not given to others. Returns how many got one, from the front: the rest
 * does not fit queues_max. */
uint32_t salvo_queue_numbers_give(struct salvo_queue_numbers *numbers,
                                  const struct salvo_brokers *brokers, uint32_t topic,
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

/* The snapshot that lost it can be seen no more: free, unless its queue came back. */
void salvo_queue_numbers_free(struct salvo_queue_numbers *numbers, uint32_t queue);
