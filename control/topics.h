/* The topics that messages are sent to: an append-only table. Any thread adds a name and gets its
 * small number; control notices a higher count and asks for the route; anyone may read a topic's
 * state.
 *
 * Names are fixed once published. `count` publishes entries: what stands below it does not change
 * but for `state`. The lock is held for one look into a hash table. */
#pragma once

#include "codec/remoting.h"
#include "dataplane/route.h"

struct salvo_topic_entry {
    /* fixed once published */
    char name[SALVO_TOPIC_SIZE_MAX + 1];
    uint32_t name_size;

    /* control -> anyone */
    _Atomic uint32_t state; /* enum salvo_route_state */
    _Atomic uint32_t queues_count;
};

struct salvo_topics {
    /* fixed after start */
    struct salvo_topic_entry *entries;
    uint32_t topics_max;
    uint32_t slots_count; /* power of two, at least twice topics_max */

    /* under lock */
    uint32_t *slots; /* topic number plus one; 0: empty */
    atomic_flag lock;

    /* anyone */
    _Atomic uint32_t count;
};

/* 0 or -ENOMEM. */
int salvo_topics_init(struct salvo_topics *topics, uint32_t topics_max);
void salvo_topics_deinit(struct salvo_topics *topics);

/* The number of a topic, added when it is new; the name was checked (salvo_topic_check). 0;
 * -ENOSPC: topics_max are there; -EINVAL: empty or too long. Thread: any. */
int salvo_topics_add(struct salvo_topics *topics, const char *name, size_t size,
                     uint32_t *ret_topic);

/* Thread: any. */
uint32_t salvo_topics_count(struct salvo_topics *topics);
const char *salvo_topics_name(struct salvo_topics *topics, uint32_t topic);
enum salvo_route_state salvo_topics_state(struct salvo_topics *topics, uint32_t topic);

/* Queues that can be written, 0 while there is no good route. Thread: any. */
uint32_t salvo_topics_queues(struct salvo_topics *topics, uint32_t topic);

/* Thread: control. */
void salvo_topics_set_state(struct salvo_topics *topics, uint32_t topic,
                            enum salvo_route_state state, uint32_t queues_count);
