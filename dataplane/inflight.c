/* The table, the wheel and the items: see inflight.h. */
#include "dataplane/inflight.h"

#include <string.h>

#define WHEEL_NOT_IN UINT16_MAX
#define WHEEL_NEVER  INT64_MAX /* deadline_ns of a request that has none */

void salvo_inflight_init(struct salvo_inflight *inflight, struct salvo_request *requests,
                         uint32_t requests_max, struct salvo_item *items, uint32_t items_max,
                         uint32_t *wheel, uint64_t *wheel_used, int64_t now_ns)
{
    salvo_assert(requests_max >= 1 && requests_max <= SALVO_REQUESTS_MAX);
    *inflight = (struct salvo_inflight){
        .requests = requests,
        .requests_max = requests_max,
        .items = items,
        .items_max = items_max,
        .wheel = wheel,
        .wheel_used = wheel_used,
        .free_head = 0,
        .free_tail = requests_max - 1,
        .free_count = requests_max,
        .items_free = 0,
        .items_free_count = items_max,
        .wheel_tick = now_ns / SALVO_NS_PER_MS,
    };
    for (uint32_t i = 0; i < requests_max; i++) {
        memset(&requests[i], 0, sizeof(requests[i]));
        requests[i].opaque = SALVO_OPAQUE_BASE + (int32_t)i;
        requests[i].next = i + 1 < requests_max ? i + 1 : SALVO_REQUEST_NONE;
        requests[i].wheel_slot = WHEEL_NOT_IN;
        requests[i].deadline_ns = WHEEL_NEVER;
    }
    for (uint32_t i = 0; i < items_max; i++)
        items[i].next = i + 1 < items_max ? i + 1 : SALVO_ITEM_NONE;
    memset(wheel, 0xff, SALVO_WHEEL_SLOTS * sizeof(*wheel));
    memset(wheel_used, 0, SALVO_WHEEL_SLOTS / 8);
}

/* The next generation of the slot's opaque: 14 bits, so that base + 2^30 stays below 2^31. */
static int32_t request_opaque_next(int32_t opaque)
{
    uint32_t bits = (uint32_t)(opaque - SALVO_OPAQUE_BASE) + SALVO_REQUESTS_MAX;

    return SALVO_OPAQUE_BASE + (int32_t)(bits & ((UINT32_C(1) << 30) - 1));
}

struct salvo_request *salvo_request_take(struct salvo_inflight *inflight)
{
    struct salvo_request *request;

    salvo_assert(inflight->free_count != 0);
    request = &inflight->requests[inflight->free_head];
    salvo_assert(request->state == SALVO_REQUEST_FREE);
    inflight->free_head = request->next;
    inflight->free_count--;
    request->opaque = request_opaque_next(request->opaque);
    request->state = SALVO_REQUEST_WAITING;
    request->tries = 0;
    request->flags = 0;
    request->refused_code = 0;
    request->chunk = SALVO_CHUNK_NONE;
    request->item_first = SALVO_ITEM_NONE;
    request->items_count = 0;
    request->not_before_ns = 0;
    request->flag = 0;
    request->broker_last = UINT16_MAX;
    request->next = SALVO_REQUEST_NONE;
    request->previous = SALVO_REQUEST_NONE;
    return request;
}

void salvo_request_renew(struct salvo_inflight *inflight, struct salvo_request *request)
{
    (void)inflight;
    request->opaque = request_opaque_next(request->opaque);
}

void salvo_request_free(struct salvo_inflight *inflight, struct salvo_request *request)
{
    uint32_t index = salvo_inflight_index(inflight, request);

    salvo_assert(request->state != SALVO_REQUEST_FREE);
    salvo_assert(request->deadline_ns == WHEEL_NEVER);
    request->state = SALVO_REQUEST_FREE;
    request->next = SALVO_REQUEST_NONE;
    if (inflight->free_count == 0)
        inflight->free_head = index;
    else
        inflight->requests[inflight->free_tail].next = index;
    inflight->free_tail = index;
    inflight->free_count++;
}

/* The slot of a deadline, as a tick. Rounded up: never early; a deadline that has passed goes into
 * the next slot to be visited. */
static int64_t wheel_tick_of(const struct salvo_inflight *inflight, int64_t deadline_ns)
{
    int64_t tick = (deadline_ns + SALVO_NS_PER_MS - 1) / SALVO_NS_PER_MS;

    return SALVO_MAX(tick, inflight->wheel_tick + 1);
}

/* To the end of its slot: what is due at the same time comes out in the order it went in. The
 * first one's wheel_previous is the last one. */
static void wheel_link(struct salvo_inflight *inflight, struct salvo_request *request, int64_t tick)
{
    uint32_t slot = (uint32_t)tick & (SALVO_WHEEL_SLOTS - 1);
    uint32_t index = salvo_inflight_index(inflight, request);
    uint32_t first = inflight->wheel[slot];

    request->wheel_slot = (uint16_t)slot;
    request->wheel_next = SALVO_REQUEST_NONE;
    if (first == SALVO_REQUEST_NONE) {
        request->wheel_previous = index;
        inflight->wheel[slot] = index;
        inflight->wheel_used[slot / 64] |= UINT64_C(1) << (slot % 64);
        return;
    }
    request->wheel_previous = inflight->requests[first].wheel_previous;
    inflight->requests[request->wheel_previous].wheel_next = index;
    inflight->requests[first].wheel_previous = index;
}

static void wheel_unlink(struct salvo_inflight *inflight, struct salvo_request *request)
{
    uint16_t slot = request->wheel_slot;
    uint32_t next = request->wheel_next;
    bool first = inflight->wheel[slot] == salvo_inflight_index(inflight, request);

    request->wheel_slot = WHEEL_NOT_IN;
    if (first)
        inflight->wheel[slot] = next;
    else
        inflight->requests[request->wheel_previous].wheel_next = next;
    if (next != SALVO_REQUEST_NONE)
        inflight->requests[next].wheel_previous = request->wheel_previous;
    else if (first)
        inflight->wheel_used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    else
        inflight->requests[inflight->wheel[slot]].wheel_previous = request->wheel_previous;
}

void salvo_wheel_add(struct salvo_inflight *inflight, struct salvo_request *request,
                     int64_t deadline_ns)
{
    int64_t tick = wheel_tick_of(inflight, deadline_ns);

    salvo_assert(request->deadline_ns == WHEEL_NEVER);
    salvo_assert(deadline_ns != WHEEL_NEVER);
    request->deadline_ns = deadline_ns;
    inflight->wheel_count++;
    if (request->wheel_slot != WHEEL_NOT_IN) {
        /* Still linked from before: good when that slot is visited in time. */
        uint32_t ahead =
            (request->wheel_slot - (uint32_t)inflight->wheel_tick - 1) & (SALVO_WHEEL_SLOTS - 1);

        if (inflight->wheel_tick + 1 + ahead <= tick)
            return;
        wheel_unlink(inflight, request);
    }
    wheel_link(inflight, request, tick);
}

void salvo_wheel_remove(struct salvo_inflight *inflight, struct salvo_request *request)
{
    if (request->deadline_ns == WHEEL_NEVER)
        return;
    request->deadline_ns = WHEEL_NEVER;
    inflight->wheel_count--;
}

/* The first used slot at a distance of 1 to SALVO_WHEEL_SLOTS from the wheel's tick; 0: none. */
static uint32_t wheel_distance(const struct salvo_inflight *inflight)
{
    uint32_t from = (uint32_t)(inflight->wheel_tick + 1) & (SALVO_WHEEL_SLOTS - 1);

    for (uint32_t done = 0; done < SALVO_WHEEL_SLOTS;) {
        uint32_t slot = (from + done) & (SALVO_WHEEL_SLOTS - 1);
        uint64_t word = inflight->wheel_used[slot / 64] >> (slot % 64);

        if (word != 0) {
            uint32_t distance = done + (uint32_t)__builtin_ctzll(word) + 1;
            return distance <= SALVO_WHEEL_SLOTS ? distance : 0;
        }
        done += 64 - slot % 64;
    }
    return 0;
}

int64_t salvo_wheel_next_ns(const struct salvo_inflight *inflight)
{
    uint32_t distance = inflight->wheel_count == 0 ? 0 : wheel_distance(inflight);

    return distance == 0 ? INT64_MAX : (inflight->wheel_tick + distance) * SALVO_NS_PER_MS;
}

/* One that is due in the slot, out of the wheel. The slot may hold later rounds too, and what has
 * got another deadline since, or none: that moves to its own slot, or out. */
static struct salvo_request *wheel_due(struct salvo_inflight *inflight, uint32_t slot,
                                       int64_t now_ns)
{
    uint32_t index = inflight->wheel[slot];

    while (index != SALVO_REQUEST_NONE) {
        struct salvo_request *request = &inflight->requests[index];
        int64_t tick;

        index = request->wheel_next;
        if (request->deadline_ns == WHEEL_NEVER) {
            wheel_unlink(inflight, request);
            continue;
        }
        if (request->deadline_ns <= now_ns) {
            wheel_unlink(inflight, request);
            salvo_wheel_remove(inflight, request);
            return request;
        }
        tick = wheel_tick_of(inflight, request->deadline_ns);
        if (((uint32_t)tick & (SALVO_WHEEL_SLOTS - 1)) != slot) {
            wheel_unlink(inflight, request);
            wheel_link(inflight, request, tick);
        }
    }
    return NULL;
}

struct salvo_request *salvo_wheel_expired(struct salvo_inflight *inflight, int64_t now_ns)
{
    int64_t now_tick = now_ns / SALVO_NS_PER_MS;

    while (inflight->wheel_tick < now_tick) {
        uint32_t distance = wheel_distance(inflight);
        struct salvo_request *request;

        if (inflight->wheel_count == 0 || distance == 0 ||
            inflight->wheel_tick + distance > now_tick) {
            inflight->wheel_tick = now_tick;
            return NULL;
        }
        request = wheel_due(inflight,
                            (uint32_t)(inflight->wheel_tick + distance) & (SALVO_WHEEL_SLOTS - 1),
                            now_ns);
        if (request != NULL)
            return request; /* the tick stays: there may be more in this slot */
        inflight->wheel_tick += distance;
    }
    return NULL;
}

struct salvo_item *salvo_item_take(struct salvo_inflight *inflight, uint32_t *ret_index)
{
    struct salvo_item *item;

    salvo_assert(inflight->items_free_count != 0);
    *ret_index = inflight->items_free;
    item = &inflight->items[inflight->items_free];
    inflight->items_free = item->next;
    inflight->items_free_count--;
    /* The free list leads all over the memory: the next one is there when it is wanted. */
    if (item->next != SALVO_ITEM_NONE)
        __builtin_prefetch(&inflight->items[item->next], 1);
    item->next = SALVO_ITEM_NONE;
    return item;
}

void salvo_items_free(struct salvo_inflight *inflight, uint32_t first, uint32_t last,
                      uint32_t count)
{
    inflight->items[last].next = inflight->items_free;
    inflight->items_free = first;
    inflight->items_free_count += count;
}

void salvo_item_free(struct salvo_inflight *inflight, uint32_t index)
{
    salvo_items_free(inflight, index, index, 1);
}
