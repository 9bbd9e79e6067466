/* The mock's memory of what was stored: records in the order of storing, and an index by UNIQ_KEY.
 *
 * Bounded by remember_max; what comes later is counted as forgotten. Pages are touched as they are
 * used, so that a large bound costs nothing. */
#include "mock/mock_internal.h"

/* 8 bytes a step, mixed by a multiplication whose high half is folded in. */
uint64_t salvo_mock_digest(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ size;
    uint64_t v = 0;

    for (; size >= 8; size -= 8, p += 8) {
        __uint128_t m = (__uint128_t)(h ^ salvo_load_be64(p)) * UINT64_C(0xd6e8feb86659fd93);

        h = (uint64_t)m ^ (uint64_t)(m >> 64);
        h += UINT64_C(0x9e3779b97f4a7c15); /* a zero product must not swallow the rest */
    }
    if (size > 0)
        v = salvo_load_be(p, (unsigned)size);
    h ^= v;
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 29;
    return h;
}

int mock_store_init(struct mock_store *store, uint32_t records_max)
{
    uint64_t slots = salvo_power_of_two_up((uint64_t)SALVO_MAX(records_max, 8u) * 2);

    store->records = calloc(SALVO_MAX(records_max, 1u), sizeof(*store->records));
    store->index = calloc(slots, sizeof(*store->index));
    store->index_mask = slots - 1;
    store->records_max = records_max;
    if (store->records == NULL || store->index == NULL)
        return salvo_raise(-ENOMEM);
    return 0;
}

void mock_store_deinit(struct mock_store *store)
{
    free(store->records);
    free(store->index);
}

void mock_store_add(struct salvo_mock *mock, struct salvo_mock_stored *record)
{
    struct mock_store *store = &mock->store;
    uint64_t at;

    record->order = store->stored++;
    mock->stats.messages++;
    if (store->records == NULL)
        return;
    if (store->used == store->records_max) {
        mock->stats.forgotten++;
        return;
    }
    store->records[store->used++] = *record;
    if (record->uniq_key_size == 0)
        return;
    /* At most half of the slots are ever used, so there is an empty one. Equal keys stay in order.
     */
    at = salvo_mock_digest(record->uniq_key, record->uniq_key_size);
    while (store->index[at & store->index_mask] != 0)
        at++;
    store->index[at & store->index_mask] = (uint32_t)store->used;
}

uint64_t salvo_mock_stored_remembered(struct salvo_mock *mock)
{
    uint64_t n;

    mock_lock(mock);
    n = mock->store.used;
    mock_unlock(mock);
    return n;
}

uint64_t salvo_mock_stored_count(struct salvo_mock *mock)
{
    uint64_t n;

    mock_lock(mock);
    n = mock->stats.messages;
    mock_unlock(mock);
    return n;
}

int salvo_mock_stored_at(struct salvo_mock *mock, uint64_t order,
                         struct salvo_mock_stored *ret_stored)
{
    const struct mock_store *store = &mock->store;
    int r = -ENOENT;

    mock_lock(mock);
    /* Once records are forgotten, none is remembered until a clear: their orders have no holes. */
    if (order >= store->first && order - store->first < store->used) {
        *ret_stored = store->records[order - store->first];
        r = 0;
    }
    mock_unlock(mock);
    return r;
}

uint32_t salvo_mock_stored_find(struct salvo_mock *mock, const char *uniq_key,
                                struct salvo_mock_stored *ret_stored, uint32_t stored_max)
{
    const struct mock_store *store = &mock->store;
    size_t size = strlen(uniq_key);
    uint32_t count = 0, entry;
    uint64_t at;

    if (store->records == NULL)
        return 0;
    mock_lock(mock);
    at = salvo_mock_digest(uniq_key, size);
    while ((entry = store->index[at++ & store->index_mask]) != 0) {
        const struct salvo_mock_stored *record = &store->records[entry - 1];

        if (record->uniq_key_size != size || memcmp(record->uniq_key, uniq_key, size) != 0)
            continue;
        if (count < stored_max)
            ret_stored[count] = *record;
        count++;
    }
    mock_unlock(mock);
    return count;
}

uint64_t salvo_mock_stored_each(struct salvo_mock *mock, const char *name, uint32_t broker,
                                int32_t queue, salvo_mock_stored_fn *each, void *arg)
{
    const struct mock_store *store = &mock->store;
    const struct mock_topic *topic;
    uint64_t count = 0;

    mock_lock(mock);
    topic = mock_topic_find(mock, name, strlen(name));
    for (uint64_t i = 0; topic != NULL && i < store->used; i++) {
        const struct salvo_mock_stored *record = &store->records[i];

        if (record->topic != topic - mock->topics || record->broker != broker ||
            record->queue != queue)
            continue;
        if (each != NULL)
            each(arg, record);
        count++;
    }
    mock_unlock(mock);
    return count;
}

void salvo_mock_stored_clear(struct salvo_mock *mock)
{
    struct mock_store *store = &mock->store;

    mock_lock(mock);
    if (store->records != NULL) {
        memset(store->index, 0, (store->index_mask + 1) * sizeof(*store->index));
        store->used = 0;
        store->first = store->stored;
    }
    mock_unlock(mock);
}
