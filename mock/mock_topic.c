/* Topics: what each broker has of them, and what the routes say. The public calls that change them.
 */
#include "mock/mock_internal.h"

struct mock_topic *mock_topic_find(struct salvo_mock *mock, const char *name, size_t name_size)
{
    for (uint32_t i = 0; i < mock->topics_count; i++) {
        struct mock_topic *topic = &mock->topics[i];

        if (topic->name_size == name_size && memcmp(topic->name, name, name_size) == 0)
            return topic;
    }
    return NULL;
}

struct mock_topic *mock_topic_get(struct salvo_mock *mock, const char *name, size_t name_size)
{
    struct mock_topic *topic = mock_topic_find(mock, name, name_size);

    if (topic != NULL)
        return topic;
    if (mock->topics_count == SALVO_MOCK_TOPICS_MAX || name_size == 0 ||
        name_size >= SALVO_MOCK_NAME_MAX)
        return NULL;
    /* Slots are never given to another name: stored messages refer to them. */
    topic = &mock->topics[mock->topics_count++];
    memcpy(topic->name, name, name_size);
    topic->name_size = (uint32_t)name_size;
    for (uint32_t i = 0; i < SALVO_MOCK_BROKERS_MAX; i++)
        topic->parts[i].lie_queues = SALVO_MOCK_ALL;
    return topic;
}

int mock_topic_part_set(struct mock_topic_part *part, uint32_t queues, uint32_t perm)
{
    if (queues > SALVO_MOCK_QUEUES_MAX || perm > 15)
        return salvo_raise(-EINVAL);
    if (queues > part->offsets_count) {
        int64_t *offsets = realloc(part->offsets, queues * sizeof(*offsets));

        if (offsets == NULL)
            return salvo_raise(-ENOMEM);
        memset(offsets + part->offsets_count, 0, (queues - part->offsets_count) * sizeof(*offsets));
        part->offsets = offsets;
        part->offsets_count = queues;
    }
    part->present = true;
    part->queues = queues;
    part->perm = perm;
    return 0;
}

static int topic_set(struct salvo_mock *mock, const char *name, uint32_t broker, uint32_t queues,
                     uint32_t perm)
{
    struct mock_topic *topic;

    if (broker != SALVO_MOCK_ALL && broker >= mock->conf.brokers)
        return salvo_raise(-EINVAL);
    if (strlen(name) == 0 || strlen(name) >= SALVO_MOCK_NAME_MAX || queues > SALVO_MOCK_QUEUES_MAX)
        return salvo_raise(-EINVAL);
    topic = mock_topic_get(mock, name, strlen(name));
    if (topic == NULL)
        return salvo_raise(-ENOSPC);
    for (uint32_t i = 0; i < mock->conf.brokers; i++) {
        int r;

        if (broker != SALVO_MOCK_ALL && broker != i)
            continue;
        r = mock_topic_part_set(&topic->parts[i], queues, perm);
        if (r)
            return salvo_trace(r);
    }
    return 0;
}

int mock_topic_init(struct salvo_mock *mock)
{
    const struct salvo_mock_conf *conf = &mock->conf;
    int r = 0;

    /* The template is there, as on real brokers, only while creation is on. */
    if (conf->auto_create)
        r = topic_set(mock, SALVO_TOPIC_AUTO_CREATE, SALVO_MOCK_ALL, conf->auto_create_queues,
                      SALVO_PERM_READ | SALVO_PERM_WRITE | SALVO_PERM_INHERIT);
    for (uint32_t i = 0; !r && i < conf->topics_count; i++) {
        const struct salvo_mock_topic *t = &conf->topics[i];

        r = topic_set(mock, t->name, SALVO_MOCK_ALL, t->queues != 0 ? t->queues : 4,
                      t->perm != 0 ? t->perm : SALVO_PERM_READ | SALVO_PERM_WRITE);
        if (!r)
            mock_topic_find(mock, t->name, strlen(t->name))->order = t->order;
    }
    return r ? salvo_trace(r) : 0;
}

void mock_topic_deinit(struct salvo_mock *mock)
{
    for (uint32_t i = 0; i < mock->topics_count; i++) {
        for (uint32_t b = 0; b < SALVO_MOCK_BROKERS_MAX; b++)
            free(mock->topics[i].parts[b].offsets);
    }
}

/* --- public ----------------------------------------------------------------------------------- */

int salvo_mock_topic_set(struct salvo_mock *mock, const char *topic, uint32_t broker,
                         uint32_t queues, uint32_t perm)
{
    int r;

    mock_lock(mock);
    r = topic_set(mock, topic, broker, queues, perm);
    mock_unlock(mock);
    return r ? salvo_trace(r) : 0;
}

/* Calls `change` for the topic's part on one broker or on all. */
static int topic_change(struct salvo_mock *mock, const char *name, uint32_t broker,
                        void (*change)(struct mock_topic_part *part, uint32_t a, uint32_t b),
                        uint32_t a, uint32_t b)
{
    struct mock_topic *topic;

    if (broker != SALVO_MOCK_ALL && broker >= mock->conf.brokers)
        return salvo_raise(-EINVAL);
    mock_lock(mock);
    topic = mock_topic_find(mock, name, strlen(name));
    for (uint32_t i = 0; topic != NULL && i < mock->conf.brokers; i++) {
        if (broker == SALVO_MOCK_ALL || broker == i)
            change(&topic->parts[i], a, b);
    }
    mock_unlock(mock);
    return topic == NULL ? salvo_raise(-ENOENT) : 0;
}

static void part_remove(struct mock_topic_part *part, uint32_t a, uint32_t b)
{
    part->present = false;
}

int salvo_mock_topic_remove(struct salvo_mock *mock, const char *topic, uint32_t broker)
{
    return topic_change(mock, topic, broker, part_remove, 0, 0);
}

static void part_lie(struct mock_topic_part *part, uint32_t queues, uint32_t perm)
{
    part->lie_queues = queues;
    part->lie_perm = perm;
}

int salvo_mock_route_lie(struct salvo_mock *mock, const char *topic, uint32_t broker,
                         uint32_t queues, uint32_t perm)
{
    return topic_change(mock, topic, broker, part_lie, queues, perm);
}

int salvo_mock_topic_order(struct salvo_mock *mock, const char *name, bool order)
{
    struct mock_topic *topic;

    mock_lock(mock);
    topic = mock_topic_find(mock, name, strlen(name));
    if (topic != NULL)
        topic->order = order;
    mock_unlock(mock);
    return topic == NULL ? salvo_raise(-ENOENT) : 0;
}

int salvo_mock_route_broker(struct salvo_mock *mock, uint32_t broker, bool present)
{
    if (broker >= mock->conf.brokers)
        return salvo_raise(-EINVAL);
    mock_lock(mock);
    mock->brokers[broker].in_routes = present;
    mock_unlock(mock);
    return 0;
}

int salvo_mock_route_slave_only(struct salvo_mock *mock, uint32_t broker, bool on)
{
    if (broker >= mock->conf.brokers)
        return salvo_raise(-EINVAL);
    mock_lock(mock);
    mock->brokers[broker].slave_only = on;
    mock_unlock(mock);
    return 0;
}

int salvo_mock_route_address(struct salvo_mock *mock, uint32_t broker, const char *address)
{
    struct mock_broker *b;

    if (broker >= mock->conf.brokers ||
        (address != NULL && strlen(address) >= sizeof(mock->brokers[0].lie_address)))
        return salvo_raise(-EINVAL);
    mock_lock(mock);
    b = &mock->brokers[broker];
    snprintf(b->lie_address, sizeof(b->lie_address), "%s", address != NULL ? address : "");
    mock_unlock(mock);
    return 0;
}

int salvo_mock_broker_perm(struct salvo_mock *mock, uint32_t broker, uint32_t perm)
{
    if (broker >= mock->conf.brokers || perm > 15)
        return salvo_raise(-EINVAL);
    mock_lock(mock);
    mock->brokers[broker].perm = perm;
    mock_unlock(mock);
    return 0;
}

void salvo_mock_auto_create(struct salvo_mock *mock, bool on)
{
    mock_lock(mock);
    mock->auto_create = on;
    if (on)
        (void)topic_set(mock, SALVO_TOPIC_AUTO_CREATE, SALVO_MOCK_ALL,
                        SALVO_MAX(mock->conf.auto_create_queues, 1u),
                        SALVO_PERM_READ | SALVO_PERM_WRITE | SALVO_PERM_INHERIT);
    mock_unlock(mock);
    if (!on)
        (void)salvo_mock_topic_remove(mock, SALVO_TOPIC_AUTO_CREATE, SALVO_MOCK_ALL);
}

int64_t salvo_mock_queue_offset(struct salvo_mock *mock, const char *name, uint32_t broker,
                                int32_t queue)
{
    const struct mock_topic *topic;
    int64_t offset = -ENOENT;

    mock_lock(mock);
    topic = mock_topic_find(mock, name, strlen(name));
    if (topic != NULL && broker < mock->conf.brokers && queue >= 0 &&
        (uint32_t)queue < topic->parts[broker].offsets_count)
        offset = topic->parts[broker].offsets[queue];
    mock_unlock(mock);
    return offset;
}

const char *salvo_mock_topic_name(struct salvo_mock *mock, uint16_t topic)
{
    salvo_assert(topic < SALVO_MOCK_TOPICS_MAX);
    return mock->topics[topic].name; /* written once, before any message of it was stored */
}
