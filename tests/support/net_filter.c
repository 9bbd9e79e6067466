/* A stand-in for TLS over any backend. See net_filter.h. Memory is taken as needed: this is for
 * tests. */
#include "tests/support/net_filter.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_MAX      (SALVO_FILTER_PLAIN_MAX + SALVO_FILTER_OVERHEAD)
#define RECORD_HEAD     5u
#define RECORD_TAIL     24u
#define RECORDS_MAX     8u /* sealed and not released, per link */
#define RECORD_HELLO    22
#define RECORD_BYTES    23
#define EVENTS_PER_POLL 32u

struct record {
    uint8_t bytes[RECORD_MAX];
    uint32_t size;
    uint32_t sent; /* taken by the inner net */
    uint64_t wire_end;
    uint64_t plain_end;
};

struct chunk { /* of the inner net's, not read yet */
    uint32_t buffer;
    const uint8_t *bytes;
    uint32_t size;
};

struct filter_link {
    uint32_t index;
    uint32_t inner; /* link */
    bool used;
    uint64_t cookie;
    bool announce, accepted, wants, closed, up;
    bool hello_sent, hello_received;
    bool early; /* releases plaintext as soon as it is in a record */
    unsigned hold_flushes;

    /* out: ranges that are in no record yet, then records */
    struct salvo_range *ranges;
    size_t ranges_count, ranges_max;
    uint64_t taken, sealed, releasable, released;
    struct record *records; /* RECORDS_MAX, a ring */
    uint32_t records_head, records_tail;
    uint64_t wire_made, wire_released;
    uint64_t plain_released_end; /* of the last record that went out of the ring */
    uint64_t wire_released_end;
    bool inner_full; /* it took less than offered */

    /* in */
    struct chunk *inbox; /* conf.receive_buffers, a ring */
    uint32_t inbox_head, inbox_tail;
    uint8_t record[RECORD_MAX];
    uint32_t record_have;
    uint32_t plain_at, plain_end; /* of `record`, still to be delivered */

    bool inner_down, down_reported, inner_gone;
    enum salvo_net_down reason;
    int code;
    uint64_t handed_over;
};

struct filter {
    struct salvo_net_head head;
    struct salvo_net_conf conf;
    struct salvo_net *inner;
    struct salvo_random random;
    struct filter_link *links;
    uint32_t *link_of_inner; /* a cookie would not do: events of one poll bear the one of before */
    uint64_t *listener_cookies;
    uint32_t listeners_count;
    uint8_t *buffers;
    uint32_t *buffers_free;
    uint32_t buffers_free_count;
    uint32_t next_link; /* where the next poll begins */
};

static struct filter *filter_of(struct salvo_net *net)
{
    struct filter *filter = (struct filter *)net;
    salvo_assert(filter->head.magic == SALVO_NET_MAGIC);
    return filter;
}

static struct filter_link *link_of(struct filter *filter, uint32_t index)
{
    salvo_assert(index < filter->conf.links_max);
    salvo_assert(filter->links[index].used);
    return &filter->links[index];
}

static struct filter_link *link_take(struct filter *filter)
{
    for (uint32_t i = 0; i < filter->conf.links_max; i++) {
        struct filter_link *link = &filter->links[i];

        if (link->used)
            continue;
        *link = (struct filter_link){.index = i, .used = true};
        link->records = calloc(RECORDS_MAX, sizeof(*link->records));
        link->inbox = calloc(filter->conf.receive_buffers, sizeof(*link->inbox));
        salvo_assert(link->records != NULL && link->inbox != NULL);
        link->early = salvo_random_chance(&filter->random, 1, 3);
        return link;
    }
    return NULL;
}

static void inbox_drop(struct filter *filter, struct filter_link *link)
{
    while (link->inbox_head != link->inbox_tail)
        salvo_net_give_back(filter->inner,
                            link->inbox[link->inbox_head++ % filter->conf.receive_buffers].buffer);
}

static void link_free(struct filter *filter, struct filter_link *link)
{
    inbox_drop(filter, link);
    free(link->ranges);
    free(link->records);
    free(link->inbox);
    link->used = false;
}

static int filter_connect(struct salvo_net *net, const struct salvo_endpoint *to,
                          int64_t timeout_ns, uint64_t cookie, uint32_t *ret_link)
{
    struct filter *filter = filter_of(net);
    struct filter_link *link = link_take(filter);
    int r;

    if (link == NULL)
        return -ENOSPC;
    link->cookie = cookie;
    r = salvo_net_connect(filter->inner, to, timeout_ns, 0, &link->inner);
    if (r) {
        link_free(filter, link);
        return r;
    }
    filter->link_of_inner[link->inner] = link->index;
    *ret_link = link->index;
    return 0;
}

static int filter_listen(struct salvo_net *net, struct salvo_endpoint *at, uint64_t cookie)
{
    struct filter *filter = filter_of(net);
    int r = salvo_net_listen(filter->inner, at, filter->listeners_count);

    if (r == 0)
        filter->listener_cookies[filter->listeners_count++] = cookie;
    return r;
}

static void filter_set_cookie(struct salvo_net *net, uint32_t index, uint64_t cookie)
{
    link_of(filter_of(net), index)->cookie = cookie;
}

/* --- out -------------------------------------------------------------------------------------- */

static bool link_can_take(const struct filter *filter, const struct filter_link *link)
{
    return link->up && !link->closed && !link->inner_down &&
           link->taken - link->sealed < filter->conf.send_max;
}

static size_t filter_send(struct salvo_net *net, uint32_t index, const struct salvo_range *ranges,
                          unsigned ranges_count)
{
    struct filter *filter = filter_of(net);
    struct filter_link *link = &filter->links[index];
    size_t taken = 0;

    salvo_assert(index < filter->conf.links_max);
    if (!link->used) /* its GONE stood in the last poll */
        return 0;

    for (unsigned i = 0; i < ranges_count; i++) {
        size_t room = filter->conf.send_max - (size_t)(link->taken - link->sealed);
        size_t size = link_can_take(filter, link) ? SALVO_MIN(ranges[i].size, room) : 0;

        if (size != 0) {
            if (link->ranges_count == link->ranges_max) {
                link->ranges_max = SALVO_MAX(link->ranges_max * 2, (size_t)16);
                link->ranges = realloc(link->ranges, link->ranges_max * sizeof(*link->ranges));
                salvo_assert(link->ranges != NULL);
            }
            link->ranges[link->ranges_count++] =
                (struct salvo_range){.bytes = ranges[i].bytes, .size = size};
            link->taken += size;
            taken += size;
        }
        if (size < ranges[i].size) {
            link->wants = true;
            break;
        }
    }
    return taken;
}

static void checksum(uint8_t *ret_tail, const uint8_t *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    for (unsigned i = 0; i < 3; i++)
        salvo_store_be64(ret_tail + (size_t)i * 8, hash + i);
}

/* Makes a record of the plaintext now in its place. */
static void record_seal(struct filter_link *link, struct record *record, uint8_t type,
                        uint32_t plain_size)
{
    record->bytes[0] = type;
    salvo_store_be16(record->bytes + 1, 0x0303);
    salvo_store_be16(record->bytes + 3, (uint16_t)(plain_size + RECORD_TAIL));
    for (uint32_t i = 0; i < plain_size; i++)
        record->bytes[RECORD_HEAD + i] ^= 0x5a;
    checksum(record->bytes + RECORD_HEAD + plain_size, record->bytes, RECORD_HEAD + plain_size);
    record->size = plain_size + SALVO_FILTER_OVERHEAD;
    record->sent = 0;
    link->wire_made += record->size;
    record->wire_end = link->wire_made;
    record->plain_end = link->sealed;
    link->records_tail++;
}

static struct record *link_record_free(struct filter_link *link)
{
    if (link->records_tail - link->records_head == RECORDS_MAX)
        return NULL;
    return &link->records[link->records_tail % RECORDS_MAX];
}

static void link_say_hello(struct filter_link *link)
{
    struct record *record = link_record_free(link);

    salvo_assert(record != NULL);
    memset(record->bytes + RECORD_HEAD, 'h', 32);
    record_seal(link, record, RECORD_HELLO, 32);
    link->hello_sent = true;
}

/* Fills one record from the front of the ranges. */
static void link_seal(struct filter *filter, struct filter_link *link, struct record *record)
{
    uint32_t most = SALVO_FILTER_PLAIN_MAX;
    uint32_t size = 0;
    size_t gone = 0;

    if (salvo_random_chance(&filter->random, 1, 8))
        most = 1 + (uint32_t)salvo_random_below(&filter->random, most);
    while (gone < link->ranges_count && size < most) {
        struct salvo_range *range = &link->ranges[gone];
        uint32_t part = (uint32_t)SALVO_MIN(range->size, (size_t)(most - size));

        memcpy(record->bytes + RECORD_HEAD + size, range->bytes, part);
        size += part;
        range->bytes += part;
        range->size -= part;
        if (range->size == 0)
            gone++;
    }
    link->ranges_count -= gone;
    memmove(link->ranges, link->ranges + gone, link->ranges_count * sizeof(*link->ranges));
    link->sealed += size;
    if (link->early)
        link->releasable = link->sealed;
    record_seal(link, record, RECORD_BYTES, size);
}

static void link_offer(struct filter *filter, struct filter_link *link)
{
    struct salvo_range ranges[RECORDS_MAX];
    unsigned count = 0;
    size_t taken;

    for (uint32_t i = link->records_head; i != link->records_tail; i++) {
        struct record *record = &link->records[i % RECORDS_MAX];

        if (record->sent < record->size)
            ranges[count++] = (struct salvo_range){.bytes = record->bytes + record->sent,
                                                   .size = record->size - record->sent};
    }
    if (count == 0 || link->inner_full)
        return;
    taken = salvo_net_send(filter->inner, link->inner, ranges, count);
    for (uint32_t i = link->records_head; i != link->records_tail; i++) {
        struct record *record = &link->records[i % RECORDS_MAX];
        uint32_t part = (uint32_t)SALVO_MIN(taken, (size_t)(record->size - record->sent));

        record->sent += part;
        taken -= part;
        link->inner_full = link->inner_full || record->sent < record->size;
    }
}

static void link_flush(struct filter *filter, struct filter_link *link)
{
    struct record *record;

    if (!link->up || link->closed || link->inner_down)
        return;
    if (!link->hello_sent && (!link->accepted || link->hello_received))
        link_say_hello(link);
    if (link->hello_sent && link->hello_received && link->ranges_count != 0) {
        if (link->hold_flushes != 0)
            link->hold_flushes--;
        else if (salvo_random_chance(&filter->random, 1, 50))
            link->hold_flushes = 1 + (unsigned)salvo_random_below(&filter->random, 3);
        while (link->hold_flushes == 0 && link->ranges_count != 0 &&
               (record = link_record_free(link)) != NULL)
            link_seal(filter, link, record);
    }
    link_offer(filter, link);
}

static void filter_flush(struct salvo_net *net)
{
    struct filter *filter = filter_of(net);

    for (uint32_t i = 0; i < filter->conf.links_max; i++) {
        if (filter->links[i].used)
            link_flush(filter, &filter->links[i]);
    }
    salvo_net_flush(filter->inner);
}

/* --- in --------------------------------------------------------------------------------------- */

static void link_break(struct filter *filter, struct filter_link *link)
{
    if (!link->closed && !link->inner_down) {
        link->closed = true;
        link->reason = SALVO_NET_DOWN_ERROR;
        link->code = EBADMSG;
        salvo_net_close(filter->inner, link->inner);
    }
    inbox_drop(filter, link);
}

/* A whole record is there. */
static void link_open_record(struct filter *filter, struct filter_link *link)
{
    uint32_t plain_size = link->record_have - SALVO_FILTER_OVERHEAD;
    uint8_t tail[RECORD_TAIL];

    checksum(tail, link->record, RECORD_HEAD + plain_size);
    if (memcmp(tail, link->record + RECORD_HEAD + plain_size, RECORD_TAIL) != 0) {
        link_break(filter, link);
        return;
    }
    link->record_have = 0;
    if (link->record[0] == RECORD_HELLO && !link->hello_received) {
        link->hello_received = true;
        if (salvo_random_chance(&filter->random, 1, 2))
            link->hold_flushes = 1 + (unsigned)salvo_random_below(&filter->random, 4);
        return;
    }
    if (link->record[0] != RECORD_BYTES || !link->hello_received) {
        link_break(filter, link);
        return;
    }
    for (uint32_t i = 0; i < plain_size; i++)
        link->record[RECORD_HEAD + i] ^= 0x5a;
    link->plain_at = RECORD_HEAD;
    link->plain_end = RECORD_HEAD + plain_size;
}

/* Moves bytes from the inbox into the record until one is whole. False when there are no more. */
static bool link_read(struct filter *filter, struct filter_link *link)
{
    struct chunk *chunk;
    uint32_t need = RECORD_HEAD;
    uint32_t part;

    if (link->inbox_head == link->inbox_tail)
        return false;
    chunk = &link->inbox[link->inbox_head % filter->conf.receive_buffers];
    if (link->record_have >= RECORD_HEAD)
        need = RECORD_HEAD + salvo_load_be16(link->record + 3);
    if (need > RECORD_MAX || (link->record_have >= RECORD_HEAD && need < SALVO_FILTER_OVERHEAD)) {
        link_break(filter, link);
        return false;
    }
    part = SALVO_MIN(need - link->record_have, chunk->size);
    memcpy(link->record + link->record_have, chunk->bytes, part);
    link->record_have += part;
    chunk->bytes += part;
    chunk->size -= part;
    if (chunk->size == 0) {
        salvo_net_give_back(filter->inner, chunk->buffer);
        link->inbox_head++;
    }
    if (link->record_have == need && need > RECORD_HEAD)
        link_open_record(filter, link);
    return true;
}

static void filter_give_back(struct salvo_net *net, uint32_t buffer)
{
    struct filter *filter = filter_of(net);

    salvo_assert(filter->buffers_free_count < filter->conf.receive_buffers);
    filter->buffers_free[filter->buffers_free_count++] = buffer;
}

static bool link_deliver(struct filter *filter, struct filter_link *link,
                         struct salvo_net_event *ret_event)
{
    uint32_t buffer;
    uint8_t *bytes;
    uint32_t size;

    if (filter->buffers_free_count == 0)
        return false;
    while (link->plain_at == link->plain_end) {
        if (!link_read(filter, link))
            return false;
    }
    buffer = filter->buffers_free[--filter->buffers_free_count];
    bytes = filter->buffers + (size_t)buffer * filter->conf.receive_buffer_size;
    size = SALVO_MIN(link->plain_end - link->plain_at, filter->conf.receive_buffer_size);
    memcpy(bytes, link->record + link->plain_at, size);
    link->plain_at += size;
    ret_event->kind = SALVO_NET_DATA;
    ret_event->data.bytes = bytes;
    ret_event->data.size = size;
    ret_event->data.buffer = buffer;
    return true;
}

/* The inner net released bytes: whole records may be over. */
static void link_inner_released(struct filter_link *link, uint64_t bytes)
{
    link->inner_full = false;
    link->wire_released += bytes;
    while (link->records_head != link->records_tail) {
        struct record *record = &link->records[link->records_head % RECORDS_MAX];

        if (record->wire_end > link->wire_released)
            break;
        link->wire_released_end = record->wire_end;
        link->plain_released_end = record->plain_end;
        link->records_head++;
    }
    link->releasable = SALVO_MAX(link->releasable, link->plain_released_end);
}

static uint64_t link_handed_over(const struct filter_link *link, uint64_t wire_handed_over)
{
    uint64_t plain = wire_handed_over >= link->wire_released_end ? link->plain_released_end : 0;

    for (uint32_t i = link->records_head; i != link->records_tail; i++) {
        if (link->records[i % RECORDS_MAX].wire_end <= wire_handed_over)
            plain = link->records[i % RECORDS_MAX].plain_end;
    }
    return plain;
}

static void filter_take_event(struct filter *filter, const struct salvo_net_event *event)
{
    struct filter_link *link;

    if (event->kind == SALVO_NET_ACCEPTED) {
        link = link_take(filter);
        if (link == NULL) {
            filter->link_of_inner[event->link] = SALVO_NET_LINK_NONE;
            salvo_net_close(filter->inner, event->link);
            return;
        }
        filter->link_of_inner[event->link] = link->index;
        link->inner = event->link;
        link->cookie = filter->listener_cookies[event->cookie];
        link->accepted = link->announce = link->up = true;
        return;
    }
    if (filter->link_of_inner[event->link] == SALVO_NET_LINK_NONE) {
        if (event->kind == SALVO_NET_DATA) /* one there was no room for */
            salvo_net_give_back(filter->inner, event->data.buffer);
        return;
    }
    link = link_of(filter, filter->link_of_inner[event->link]);
    switch (event->kind) {
    case SALVO_NET_UP:
        link->announce = link->up = true;
        break;
    case SALVO_NET_DATA:
        link->inbox[link->inbox_tail++ % filter->conf.receive_buffers] = (struct chunk){
            .buffer = event->data.buffer, .bytes = event->data.bytes, .size = event->data.size};
        if (link->closed)
            inbox_drop(filter, link);
        break;
    case SALVO_NET_RELEASED:
        link_inner_released(link, event->released.bytes);
        break;
    case SALVO_NET_DOWN:
        link->inner_down = true;
        link->handed_over = link_handed_over(link, event->down.handed_over);
        if (!link->closed) {
            link->reason = event->down.reason;
            link->code = event->down.code;
        }
        break;
    case SALVO_NET_GONE:
        link->inner_gone = true;
        break;
    case SALVO_NET_ACCEPTED:
        salvo_unreachable();
    }
}

/* The next thing a link has to say. */
static bool link_report(struct filter *filter, struct filter_link *link,
                        struct salvo_net_event *ret_event)
{
    bool readable = !link->closed && link->up && !link->down_reported;

    *ret_event = (struct salvo_net_event){.link = link->index, .cookie = link->cookie};
    if (link->announce) {
        link->announce = false;
        ret_event->kind = link->accepted ? SALVO_NET_ACCEPTED : SALVO_NET_UP;
        return true;
    }
    if (link->releasable != link->released || (link->wants && link_can_take(filter, link))) {
        ret_event->kind = SALVO_NET_RELEASED;
        ret_event->released.bytes = link->releasable - link->released;
        link->released = link->releasable;
        link->wants = link->wants && !link_can_take(filter, link);
        return true;
    }
    if (readable && link_deliver(filter, link, ret_event))
        return true;
    if (!link->inner_down)
        return false;
    if (!link->down_reported) {
        /* What came before the end is read first. */
        if (readable && (link->plain_at != link->plain_end || link->inbox_head != link->inbox_tail))
            return false;
        link->down_reported = true;
        ret_event->kind = SALVO_NET_DOWN;
        ret_event->down.reason = link->reason;
        ret_event->down.code = link->code;
        ret_event->down.handed_over = link->handed_over;
        link->ranges_count = 0;
        link->wants = false;
        return true;
    }
    if (!link->inner_gone)
        return false;
    link->releasable = link->taken;
    if (link->released != link->taken)
        return link_report(filter, link, ret_event);
    ret_event->kind = SALVO_NET_GONE;
    link_free(filter, link);
    return true;
}

static unsigned filter_poll(struct salvo_net *net, struct salvo_net_event *ret_events,
                            unsigned events_max)
{
    struct filter *filter = filter_of(net);
    struct salvo_net_event inner[EVENTS_PER_POLL];
    unsigned inner_count = salvo_net_poll(filter->inner, inner, EVENTS_PER_POLL);
    unsigned count = 0;

    for (unsigned i = 0; i < inner_count; i++)
        filter_take_event(filter, &inner[i]);
    for (uint32_t i = 0; i < filter->conf.links_max && count < events_max; i++) {
        uint32_t index = (filter->next_link + i) % filter->conf.links_max;

        while (count < events_max && filter->links[index].used &&
               link_report(filter, &filter->links[index], &ret_events[count]))
            count++;
        if (count == events_max)
            filter->next_link = index;
    }
    return count;
}

/* True when something will go on without a further event from below. */
static bool filter_has_more(const struct filter *filter)
{
    for (uint32_t i = 0; i < filter->conf.links_max; i++) {
        const struct filter_link *link = &filter->links[i];

        if (!link->used)
            continue;
        if (link->announce || link->releasable != link->released || link->inner_gone ||
            (link->inner_down && !link->down_reported) ||
            (link->wants && link_can_take(filter, link)))
            return true;
        if (filter->buffers_free_count != 0 &&
            (link->plain_at != link->plain_end || link->inbox_head != link->inbox_tail))
            return true;
        if (link->up && link->hold_flushes != 0 && link->ranges_count != 0 && !link->inner_down)
            return true;
        if (link->up && link->ranges_count != 0 && link->hello_received && !link->inner_down &&
            link->records_tail - link->records_head < RECORDS_MAX)
            return true;
    }
    return false;
}

static void filter_wait(struct salvo_net *net, unsigned events_min, int64_t gather_ns,
                        int64_t timeout_ns)
{
    struct filter *filter = filter_of(net);

    filter_flush(net);
    salvo_net_wait(filter->inner, events_min, gather_ns, filter_has_more(filter) ? 0 : timeout_ns);
}

static void filter_wake(struct salvo_net *net)
{
    salvo_net_wake(filter_of(net)->inner);
}

static void filter_close(struct salvo_net *net, uint32_t index)
{
    struct filter *filter = filter_of(net);
    struct filter_link *link = &filter->links[index];

    salvo_assert(index < filter->conf.links_max);
    if (!link->used) /* its GONE stood in the last poll */
        return;
    link->announce = false;
    if (link->closed || link->down_reported)
        return;
    link->closed = true;
    link->reason = SALVO_NET_DOWN_CLOSED;
    link->code = 0;
    if (!link->inner_gone)
        salvo_net_close(filter->inner, link->inner);
    inbox_drop(filter, link);
}

static uint32_t filter_caps(struct salvo_net *net)
{
    return salvo_net_caps(filter_of(net)->inner) &
           ~(uint32_t)(SALVO_NET_CAP_ZERO_COPY | SALVO_NET_CAP_REGISTERED_BUFFERS);
}

static void filter_destroy(struct salvo_net *net)
{
    struct filter *filter = filter_of(net);

    salvo_net_destroy(filter->inner); /* first: it refers to our records */
    for (uint32_t i = 0; i < filter->conf.links_max; i++) {
        if (!filter->links[i].used)
            continue;
        free(filter->links[i].ranges);
        free(filter->links[i].records);
        free(filter->links[i].inbox);
    }
    free(filter->links);
    free(filter->link_of_inner);
    free(filter->listener_cookies);
    free(filter->buffers);
    free(filter->buffers_free);
    filter->head.magic = 0;
    free(filter);
}

static const struct salvo_net_ops filter_ops = {
    .name = "filter",
    .connect = filter_connect,
    .listen = filter_listen,
    .set_cookie = filter_set_cookie,
    .send = filter_send,
    .give_back = filter_give_back,
    .poll = filter_poll,
    .flush = filter_flush,
    .wait = filter_wait,
    .wake = filter_wake,
    .close = filter_close,
    .caps = filter_caps,
    .destroy = filter_destroy,
};

int salvo_net_filter_open(struct salvo_net *inner, const struct salvo_net_conf *conf, uint64_t seed,
                          struct salvo_net **ret_net)
{
    struct filter *filter = calloc(1, sizeof(*filter));

    salvo_assert(filter != NULL);
    filter->head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &filter_ops};
    filter->conf = *conf;
    filter->inner = inner;
    salvo_random_init(&filter->random, seed);
    filter->links = calloc(conf->links_max, sizeof(*filter->links));
    filter->listener_cookies = calloc(conf->links_max, sizeof(*filter->listener_cookies));
    filter->link_of_inner = calloc(conf->links_max, sizeof(*filter->link_of_inner));
    filter->buffers = calloc(conf->receive_buffers, conf->receive_buffer_size);
    filter->buffers_free = calloc(conf->receive_buffers, sizeof(*filter->buffers_free));
    salvo_assert(filter->links != NULL && filter->listener_cookies != NULL &&
                 filter->link_of_inner != NULL);
    salvo_assert(filter->buffers != NULL && filter->buffers_free != NULL);
    for (uint32_t i = 0; i < conf->receive_buffers; i++)
        filter->buffers_free[filter->buffers_free_count++] = conf->receive_buffers - 1 - i;
    *ret_net = (struct salvo_net *)filter;
    return 0;
}
