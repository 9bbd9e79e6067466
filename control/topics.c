/* The append-only table of topics, see topics.h. */
#include "control/topics.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int salvo_topics_init(struct salvo_topics *topics, uint32_t topics_max)
{
    *topics = (struct salvo_topics){.topics_max = topics_max, .lock = ATOMIC_FLAG_INIT};
    topics->slots_count = (uint32_t)salvo_power_of_two_up((uint64_t)topics_max * 2);
    topics->entries = calloc(topics_max, sizeof(*topics->entries));
    topics->slots = calloc(topics->slots_count, sizeof(*topics->slots));
    if (topics->entries == NULL || topics->slots == NULL) {
        salvo_topics_deinit(topics);
        return salvo_raise(-ENOMEM);
    }
    return 0;
}

void salvo_topics_deinit(struct salvo_topics *topics)
{
    free(topics->entries);
    free(topics->slots);
    topics->entries = NULL;
    topics->slots = NULL;
}

/* FNV-1a: short names, nobody to defend against. */
static uint32_t name_hash(const char *name, size_t size)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash;
}

/* The slot of the name, or the empty one where it belongs. */
static uint32_t *slot_find(struct salvo_topics *topics, const char *name, size_t size)
{
    uint32_t at = name_hash(name, size);

    for (uint32_t i = 0; i < topics->slots_count; i++, at++) {
        uint32_t *slot = &topics->slots[at & (topics->slots_count - 1)];
        struct salvo_topic_entry *entry;

        if (*slot == 0)
            return slot;
        entry = &topics->entries[*slot - 1];
        if (entry->name_size == size && memcmp(entry->name, name, size) == 0)
            return slot;
    }
    salvo_unreachable(); /* twice as many slots as topics */
}

/* Under the lock. */
static int topics_add_locked(struct salvo_topics *topics, const char *name, size_t size,
                             uint32_t *ret_topic)
{
    uint32_t *slot = slot_find(topics, name, size);
    uint32_t count = atomic_load_explicit(&topics->count, memory_order_relaxed);
    struct salvo_topic_entry *entry;

    if (*slot == 0) {
        if (count == topics->topics_max)
            return -ENOSPC;
        entry = &topics->entries[count];
        memcpy(entry->name, name, size);
        entry->name[size] = '\0';
        entry->name_size = (uint32_t)size;
        *slot = count + 1;
        /* Publishes the entry: pairs with the acquire in salvo_topics_count. */
        atomic_store_explicit(&topics->count, count + 1, memory_order_release);
    }
    *ret_topic = *slot - 1;
    return 0;
}

int salvo_topics_add(struct salvo_topics *topics, const char *name, size_t size,
                     uint32_t *ret_topic)
{
    int r;

    if (size == 0 || size > SALVO_TOPIC_SIZE_MAX)
        return salvo_raise(-EINVAL);
    while (atomic_flag_test_and_set_explicit(&topics->lock, memory_order_acquire))
        salvo_cpu_relax();
    r = topics_add_locked(topics, name, size, ret_topic);
    atomic_flag_clear_explicit(&topics->lock, memory_order_release);
    return r;
}

uint32_t salvo_topics_count(struct salvo_topics *topics)
{
    /* Pairs with the release in topics_add_locked. */
    return atomic_load_explicit(&topics->count, memory_order_acquire);
}

const char *salvo_topics_name(struct salvo_topics *topics, uint32_t topic)
{
    salvo_assert(topic < salvo_topics_count(topics));
    return topics->entries[topic].name;
}

enum salvo_route_state salvo_topics_state(struct salvo_topics *topics, uint32_t topic)
{
    salvo_assert(topic < salvo_topics_count(topics));
    return (enum salvo_route_state)atomic_load_explicit(&topics->entries[topic].state,
                                                        memory_order_relaxed);
}

uint32_t salvo_topics_queues(struct salvo_topics *topics, uint32_t topic)
{
    salvo_assert(topic < salvo_topics_count(topics));
    return atomic_load_explicit(&topics->entries[topic].queues_count, memory_order_relaxed);
}

void salvo_topics_set_state(struct salvo_topics *topics, uint32_t topic,
                            enum salvo_route_state state, uint32_t queues_count)
{
    struct salvo_topic_entry *entry = &topics->entries[topic];

    salvo_assert(topic < salvo_topics_count(topics));
    /* Relaxed: they are read to explain, nothing hangs on them. */
    atomic_store_explicit(&entry->queues_count, queues_count, memory_order_relaxed);
    atomic_store_explicit(&entry->state, (uint32_t)state, memory_order_relaxed);
}
