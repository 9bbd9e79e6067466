/* Takes every frame and answers it at once: the ruler to measure lanes and the load generator
 * against.
 *
 * Every connect succeeds. Of a request it looks at the code, the opaque, the queue and, for a
 * batch, at the lengths of the items; the answer is what a broker writes in binary form, with one
 * id per item. A frame that makes no sense ends its link. Nothing is kept of what was sent: handed
 * over is all. */
#include "dataplane/net.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "codec/frame.h"
#include "codec/header.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* 64 KiB: prefix and header of a request; properties have at most 32 KB, but JSON escapes them. */
#define NULL_HEAD_MAX SALVO_KIB(64)
/* 7,000 ids of 33 bytes, more than a 4 MiB batch of real messages has; further ones are left out.
 */
#define NULL_IDS_MAX    7000u
#define NULL_ANSWER_MAX (256u + 33u * NULL_IDS_MAX)
#define NULL_ID_SIZE    32u

struct null_link {
    uint32_t index;
    uint64_t cookie;
    bool used;
    bool announce;
    bool wants;
    bool dying; /* DOWN is due */
    bool down;  /* DOWN was reported */
    bool queued;
    struct null_link *pending_next;
    enum salvo_net_down reason;
    uint64_t taken;
    uint64_t released;

    /* where the parser is */
    uint8_t *head; /* NULL_HEAD_MAX, for a head in more than one piece */
    uint32_t head_have;
    uint32_t body_left;
    uint32_t item_left; /* of the batch item, behind its size */
    uint32_t item_size;
    uint32_t item_size_have; /* bytes of it */
    uint32_t items;
    bool batch;
    bool oneway;
    int32_t opaque;
    int64_t queue_id;

    /* answers */
    uint32_t filling; /* buffer, or UINT32_MAX */
    uint32_t filling_size;
};

struct null_net {
    struct salvo_net_head head;
    struct salvo_net_conf conf;
    struct null_link *links;
    uint8_t *heads;
    uint8_t *buffers;
    uint32_t *buffers_free;
    uint32_t buffers_free_count;
    uint32_t links_free_hint;
    struct null_link *pending_first, *pending_last;
    uint64_t offset; /* of the next message in our log */

    /* The answer being copied into buffers; while it waits for one, nothing is taken. */
    struct null_link *answering;
    uint32_t answer_at, answer_size;
    uint8_t *answer; /* NULL_ANSWER_MAX */

    int wake_fd;
};

static struct null_net *null_of(struct salvo_net *net)
{
    struct null_net *null = (struct null_net *)net;
    salvo_assert(null->head.magic == SALVO_NET_MAGIC);
    return null;
}

static struct null_link *link_of(struct null_net *net, uint32_t index)
{
    salvo_assert(index < net->conf.links_max);
    salvo_assert(net->links[index].used);
    return &net->links[index];
}

static void link_queue(struct null_net *net, struct null_link *link)
{
    if (link->queued)
        return;
    link->queued = true;
    link->pending_next = NULL;
    if (net->pending_first == NULL)
        net->pending_first = link;
    else
        net->pending_last->pending_next = link;
    net->pending_last = link;
}

static int null_connect(struct salvo_net *handle, const struct salvo_endpoint *to,
                        int64_t timeout_ns, uint64_t cookie, uint32_t *ret_link)
{
    struct null_net *net = null_of(handle);

    for (uint32_t i = 0; i < net->conf.links_max; i++) {
        uint32_t index = (net->links_free_hint + i) % net->conf.links_max;
        struct null_link *link = &net->links[index];

        if (link->used)
            continue;
        *link = (struct null_link){.index = index,
                                   .cookie = cookie,
                                   .used = true,
                                   .announce = true,
                                   .head = net->heads + (size_t)index * NULL_HEAD_MAX,
                                   .filling = UINT32_MAX};
        net->links_free_hint = index + 1;
        link_queue(net, link);
        *ret_link = index;
        return 0;
    }
    return salvo_raise(-ENOSPC);
}

static int null_listen(struct salvo_net *handle, struct salvo_endpoint *at, uint64_t cookie)
{
    return salvo_raise(-EOPNOTSUPP);
}

static void null_set_cookie(struct salvo_net *handle, uint32_t index, uint64_t cookie)
{
    link_of(null_of(handle), index)->cookie = cookie;
}

static void link_die(struct null_net *net, struct null_link *link, enum salvo_net_down reason)
{
    if (link->dying || link->down)
        return;
    link->dying = true;
    link->reason = reason;
    link_queue(net, link);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Copies the answer into buffers, as far as there are any. */
static void answer_go_on(struct null_net *net)
{
    struct null_link *link = net->answering;

    while (link != NULL && net->answer_at < net->answer_size) {
        uint32_t room;
        uint32_t size;

        if (link->dying || link->down)
            break;
        if (link->filling == UINT32_MAX) {
            if (net->buffers_free_count == 0)
                return;
            link->filling = net->buffers_free[--net->buffers_free_count];
            link->filling_size = 0;
        }
        room = net->conf.receive_buffer_size - link->filling_size;
        size = SALVO_MIN(room, net->answer_size - net->answer_at);
        if (size == 0)
            return; /* full, and not polled yet */
        memcpy(net->buffers + (size_t)link->filling * net->conf.receive_buffer_size +
                   link->filling_size,
               net->answer + net->answer_at, size);
        link->filling_size += size;
        net->answer_at += size;
        link_queue(net, link);
    }
    net->answering = NULL;
}

/* A buffer has become free. Those who were refused while the answer waited may offer again. */
static void answer_resume(struct null_net *net)
{
    if (net->answering == NULL)
        return;
    answer_go_on(net);
    for (uint32_t i = 0; net->answering == NULL && i < net->conf.links_max; i++) {
        if (net->links[i].used && net->links[i].wants)
            link_queue(net, &net->links[i]);
    }
}

static void write_field(struct salvo_writer *w, const char *key, const void *value, uint32_t size)
{
    salvo_write_u16(w, (uint16_t)strlen(key));
    salvo_write_text(w, key);
    salvo_write_u32(w, size);
    salvo_write_bytes(w, value, size);
}

static void write_number(struct salvo_writer *w, const char *key, int64_t value)
{
    uint8_t text[24];
    struct salvo_writer number = salvo_writer_over(text, sizeof(text));

    salvo_write_decimal(&number, value);
    write_field(w, key, text, (uint32_t)salvo_writer_size(&number));
}

/* Host and port as 16 hex digits, then the offset as 16. */
static void write_id(struct salvo_writer *w, uint64_t offset)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t *id = salvo_write_room(w, NULL_ID_SIZE);

    if (id == NULL)
        return;
    memcpy(id, "7F00000100002A9F", 16);
    for (unsigned i = 0; i < 16; i++)
        id[16 + i] = (uint8_t)digits[offset >> (60 - 4 * i) & 15];
}

/*   | prefix 8 | code 2 | language 1 | version 2 | opaque 4 | flag 4 | remark size 4 | ext size 4 |
 * ext | */
static void answer_write(struct null_net *net, struct null_link *link)
{
    struct salvo_writer w = salvo_writer_over(net->answer, NULL_ANSWER_MAX);
    uint32_t items = SALVO_CLAMP(link->items, 1u, NULL_IDS_MAX);
    uint64_t first = net->offset;
    size_t ext_at;

    salvo_write_room(&w, SALVO_FRAME_PREFIX_SIZE);
    salvo_write_u16(&w, SALVO_RESPONSE_SUCCESS);
    salvo_write_u8(&w, SALVO_LANGUAGE_JAVA);
    salvo_write_u16(&w, SALVO_VERSION_V5_3_3);
    salvo_write_u32(&w, (uint32_t)link->opaque);
    salvo_write_u32(&w, SALVO_REMOTING_RESPONSE);
    salvo_write_u32(&w, 0);
    salvo_write_u32(&w, 0);
    ext_at = salvo_writer_size(&w);
    write_number(&w, "queueId", link->queue_id);
    write_number(&w, "queueOffset", (int64_t)first);
    salvo_write_u16(&w, 5);
    salvo_write_text(&w, "msgId");
    salvo_write_u32(&w, items * (NULL_ID_SIZE + 1) - 1);
    for (uint32_t i = 0; i < items; i++) {
        if (i != 0)
            salvo_write_u8(&w, ',');
        write_id(&w, net->offset++);
    }
    salvo_write_u16(&w, 13);
    salvo_write_text(&w, "transactionId");
    salvo_write_u32(&w, NULL_ID_SIZE);
    write_id(&w, first);
    salvo_assert(!w.failed);

    salvo_store_be32(net->answer + ext_at - 4, (uint32_t)(salvo_writer_size(&w) - ext_at));
    net->answer_size = (uint32_t)salvo_writer_size(&w);
    net->answer_at = 0;
    salvo_frame_write_prefix(net->answer, SALVO_HEADER_BINARY,
                             net->answer_size - SALVO_FRAME_PREFIX_SIZE, 0);
    net->answering = link;
    answer_go_on(net);
}

/* --- requests --------------------------------------------------------------------------------- */

static bool text_is(const uint8_t *text, size_t size, const char *name)
{
    return text != NULL && size == strlen(name) && memcmp(text, name, size) == 0;
}

/* Code, opaque, flag and queue of a binary header, without the rest. */
static bool head_parse_binary(struct null_link *link, const uint8_t *bytes, size_t size,
                              int32_t *ret_code, int32_t *ret_flag)
{
    struct salvo_reader r = salvo_reader_over(bytes, size);

    *ret_code = (int16_t)salvo_read_u16(&r);
    salvo_read_u8(&r);
    salvo_read_u16(&r);
    link->opaque = (int32_t)salvo_read_u32(&r);
    *ret_flag = (int32_t)salvo_read_u32(&r);
    salvo_read_bytes(&r, salvo_read_u32(&r));
    salvo_read_u32(&r);
    for (unsigned i = 0; i < SALVO_EXT_FIELDS_MAX && !r.failed && salvo_reader_left(&r) != 0; i++) {
        size_t key_size = salvo_read_u16(&r);
        const uint8_t *key = salvo_read_bytes(&r, key_size);
        size_t value_size = salvo_read_u32(&r);
        const uint8_t *value = salvo_read_bytes(&r, value_size);

        if (value == NULL || !(text_is(key, key_size, "e") || text_is(key, key_size, "queueId")))
            continue;
        if (salvo_parse_decimal((const char *)value, value_size, &link->queue_id) != 0)
            return false;
        break;
    }
    return !r.failed;
}

static bool head_parse_json(struct null_link *link, const uint8_t *bytes, size_t size,
                            int32_t *ret_code, int32_t *ret_flag)
{
    struct salvo_header header;
    uint8_t scratch[NULL_HEAD_MAX];

    if (salvo_header_read(&header, SALVO_HEADER_JSON, bytes, size, scratch, sizeof(scratch)) != 0)
        return false;
    *ret_code = header.code;
    *ret_flag = header.flag;
    link->opaque = header.opaque;
    if (salvo_header_ext_integer(&header, "e", &link->queue_id) != 0 &&
        salvo_header_ext_integer(&header, "queueId", &link->queue_id) != 0)
        link->queue_id = 0;
    return true;
}

/* Size of prefix and header once the prefix is there; 0: not yet; UINT32_MAX: nonsense. */
static uint32_t head_size(const uint8_t *bytes, size_t size)
{
    uint32_t length;
    uint32_t header_size;

    if (size < SALVO_FRAME_PREFIX_SIZE)
        return 0;
    length = salvo_load_be32(bytes);
    header_size = salvo_load_be32(bytes + 4) & 0xffffff;
    if (length > SALVO_FRAME_SIZE_MAX - 4 || length < 4 || header_size > length - 4 ||
        bytes[4] > SALVO_HEADER_BINARY || SALVO_FRAME_PREFIX_SIZE + header_size > NULL_HEAD_MAX)
        return UINT32_MAX;
    return SALVO_FRAME_PREFIX_SIZE + header_size;
}

static bool head_parse(struct null_link *link, const uint8_t *bytes, uint32_t size)
{
    const uint8_t *header = bytes + SALVO_FRAME_PREFIX_SIZE;
    uint32_t header_size = size - SALVO_FRAME_PREFIX_SIZE;
    int32_t code;
    int32_t flag;
    bool good;

    link->queue_id = 0;
    good = bytes[4] == SALVO_HEADER_BINARY
               ? head_parse_binary(link, header, header_size, &code, &flag)
               : head_parse_json(link, header, header_size, &code, &flag);
    if (!good)
        return false;
    link->body_left = salvo_load_be32(bytes) - 4 - header_size;
    link->batch = code == SALVO_REQUEST_SEND_BATCH_MESSAGE;
    link->oneway = flag & (SALVO_REMOTING_ONEWAY | SALVO_REMOTING_RESPONSE);
    link->items = 0;
    link->item_left = 0;
    link->item_size_have = 0;
    link->head_have = size;
    return true;
}

/* Takes bytes of prefix and header. Returns how many, 0: nonsense. Sets head_have to the whole size
 * and parses when all are there; *ret_done says so. */
static size_t link_take_head(struct null_link *link, const uint8_t *bytes, size_t size,
                             bool *ret_done)
{
    uint32_t need;
    size_t part;

    *ret_done = false;
    if (link->head_have == 0) {
        need = head_size(bytes, size);
        if (need == UINT32_MAX)
            return 0;
        if (need != 0 && need <= size) { /* in one piece: nearly always */
            *ret_done = true;
            return head_parse(link, bytes, need) ? need : 0;
        }
    }
    need = head_size(link->head, link->head_have);
    if (need == 0)
        need = SALVO_FRAME_PREFIX_SIZE;
    part = SALVO_MIN(size, (size_t)(need - link->head_have));
    memcpy(link->head + link->head_have, bytes, part);
    link->head_have += (uint32_t)part;
    need = head_size(link->head, link->head_have);
    if (need == UINT32_MAX)
        return 0;
    if (need == link->head_have) {
        *ret_done = true;
        return head_parse(link, link->head, need) ? part : 0;
    }
    return part;
}

/* Steps over body bytes; counts the items of a batch, whose first four bytes are their size. */
static size_t link_take_body(struct null_link *link, const uint8_t *bytes, size_t size)
{
    size_t at = 0;

    size = SALVO_MIN(size, (size_t)link->body_left);
    link->body_left -= (uint32_t)size;
    while (link->batch && at < size) {
        size_t step = SALVO_MIN(size - at, (size_t)link->item_left);

        at += step;
        link->item_left -= (uint32_t)step;
        if (at == size)
            break;
        link->item_size = link->item_size << 8 | bytes[at++];
        if (++link->item_size_have < 4)
            continue;
        link->items++;
        link->item_left = SALVO_MAX(link->item_size, 4u) - 4;
        link->item_size_have = 0;
    }
    return size;
}

static size_t link_take(struct null_net *net, struct null_link *link, const uint8_t *bytes,
                        size_t size)
{
    size_t taken = 0;

    while (taken < size && net->answering == NULL) {
        bool whole = link->body_left != 0;
        size_t part;

        if (link->body_left == 0) {
            part = link_take_head(link, bytes + taken, size - taken, &whole);
            if (part == 0) {
                link_die(net, link, SALVO_NET_DOWN_ERROR);
                return taken;
            }
        } else {
            part = link_take_body(link, bytes + taken, size - taken);
        }
        taken += part;
        if (!whole || link->body_left != 0)
            continue;
        link->head_have = 0;
        if (!link->oneway)
            answer_write(net, link);
    }
    return taken;
}

static size_t null_send(struct salvo_net *handle, uint32_t index, const struct salvo_range *ranges,
                        unsigned ranges_count)
{
    struct null_net *net = null_of(handle);
    struct null_link *link = link_of(net, index);
    size_t taken = 0;
    size_t room = net->conf.send_max - SALVO_MIN(net->conf.send_max, link->taken - link->released);

    salvo_assert(!link->announce);
    for (unsigned i = 0; i < ranges_count && !link->dying && !link->down; i++) {
        size_t size = SALVO_MIN(ranges[i].size, room - taken);
        size_t part = link_take(net, link, ranges[i].bytes, size);

        taken += part;
        if (part < ranges[i].size) {
            link->wants = true;
            break;
        }
    }
    link->taken += taken;
    if (taken != 0 || link->wants)
        link_queue(net, link);
    return taken;
}

static void null_close(struct salvo_net *handle, uint32_t index)
{
    struct null_net *net = null_of(handle);
    struct null_link *link = link_of(net, index);

    link->announce = false;
    link_die(net, link, SALVO_NET_DOWN_CLOSED);
}

/* --- what the owner sees ---------------------------------------------------------------------- */

static bool link_report(struct null_net *net, struct null_link *link,
                        struct salvo_net_event *ret_event)
{
    *ret_event = (struct salvo_net_event){.link = link->index, .cookie = link->cookie};
    if (link->announce) {
        link->announce = false;
        ret_event->kind = SALVO_NET_UP;
        return true;
    }
    if (link->filling != UINT32_MAX && !(link->dying && link->reason == SALVO_NET_DOWN_CLOSED)) {
        ret_event->kind = SALVO_NET_DATA;
        ret_event->data.buffer = link->filling;
        ret_event->data.bytes =
            net->buffers + (size_t)link->filling * net->conf.receive_buffer_size;
        ret_event->data.size = link->filling_size;
        link->filling = UINT32_MAX;
        answer_resume(net);
        return true;
    }
    if (link->dying) {
        if (link->filling != UINT32_MAX)
            net->buffers_free[net->buffers_free_count++] = link->filling;
        link->filling = UINT32_MAX;
        link->dying = false;
        link->down = true;
        answer_resume(net); /* its own answer ends, another has a buffer more */
        ret_event->kind = SALVO_NET_DOWN;
        ret_event->down.reason = link->reason;
        ret_event->down.handed_over = link->taken;
        return true;
    }
    if (link->taken != link->released || (link->wants && net->answering == NULL && !link->down)) {
        ret_event->kind = SALVO_NET_RELEASED;
        ret_event->released.bytes = link->taken - link->released;
        link->released = link->taken;
        link->wants = link->wants && net->answering != NULL;
        return true;
    }
    if (link->down) {
        ret_event->kind = SALVO_NET_GONE;
        return true;
    }
    return false;
}

static unsigned null_poll(struct salvo_net *handle, struct salvo_net_event *ret_events,
                          unsigned events_max)
{
    struct null_net *net = null_of(handle);
    unsigned count = 0;

    while (net->pending_first != NULL && count < events_max) {
        struct null_link *link = net->pending_first;

        if (link_report(net, link, &ret_events[count])) {
            if (ret_events[count++].kind != SALVO_NET_GONE)
                continue;
            link->used = false;
        }
        net->pending_first = link->pending_next;
        link->queued = false;
    }
    return count;
}

static void null_give_back(struct salvo_net *handle, uint32_t buffer)
{
    struct null_net *net = null_of(handle);

    salvo_assert(buffer < net->conf.receive_buffers);
    salvo_assert(net->buffers_free_count < net->conf.receive_buffers);
    net->buffers_free[net->buffers_free_count++] = buffer;
    answer_resume(net);
}

static void null_flush(struct salvo_net *handle)
{
}

static void null_wait(struct salvo_net *handle, unsigned events_min, int64_t gather_ns,
                      int64_t timeout_ns)
{
    struct null_net *net = null_of(handle);
    struct pollfd woken = {.fd = net->wake_fd, .events = POLLIN};
    struct timespec timeout;
    uint64_t count;

    timeout_ns = SALVO_CLAMP(timeout_ns, 0, INT64_MAX / 2);
    if (net->pending_first != NULL) /* nothing further comes by itself */
        timeout_ns = SALVO_CLAMP(events_min > 1 ? gather_ns : 0, 0, timeout_ns);
    timeout = (struct timespec){.tv_sec = timeout_ns / SALVO_NS_PER_S,
                                .tv_nsec = timeout_ns % SALVO_NS_PER_S};
    if (ppoll(&woken, 1, &timeout, NULL) == 1) {
        ssize_t r = read(net->wake_fd, &count, sizeof(count));
        salvo_assert(r == sizeof(count) || errno == EAGAIN);
    }
}

static void null_wake(struct salvo_net *handle)
{
    uint64_t one = 1;
    ssize_t r = write(null_of(handle)->wake_fd, &one, sizeof(one));

    salvo_assert(r == sizeof(one));
}

static uint32_t null_caps(struct salvo_net *handle)
{
    return 0;
}

static void null_destroy(struct salvo_net *handle)
{
    struct null_net *net = null_of(handle);

    if (net->wake_fd >= 0)
        close(net->wake_fd);
    free(net->links);
    free(net->heads);
    free(net->buffers);
    free(net->buffers_free);
    free(net->answer);
    net->head.magic = 0;
    free(net);
}

static const struct salvo_net_ops null_ops = {
    .name = "null",
    .connect = null_connect,
    .listen = null_listen,
    .set_cookie = null_set_cookie,
    .send = null_send,
    .give_back = null_give_back,
    .poll = null_poll,
    .flush = null_flush,
    .wait = null_wait,
    .wake = null_wake,
    .close = null_close,
    .caps = null_caps,
    .destroy = null_destroy,
};

int salvo_net_null_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net)
{
    struct null_net *net = calloc(1, sizeof(*net));

    salvo_assert(conf->links_max != 0 && conf->receive_buffers != 0);
    if (net == NULL)
        return salvo_raise(-ENOMEM);
    net->head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &null_ops};
    net->conf = *conf;
    net->links = calloc(conf->links_max, sizeof(*net->links));
    net->heads = calloc(conf->links_max, NULL_HEAD_MAX);
    net->buffers = calloc(conf->receive_buffers, conf->receive_buffer_size);
    net->buffers_free = calloc(conf->receive_buffers, sizeof(*net->buffers_free));
    net->answer = malloc(NULL_ANSWER_MAX);
    net->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (net->links == NULL || net->heads == NULL || net->buffers == NULL ||
        net->buffers_free == NULL || net->answer == NULL || net->wake_fd < 0) {
        null_destroy((struct salvo_net *)net);
        return salvo_raise(-ENOMEM);
    }
    for (uint32_t i = 0; i < conf->receive_buffers; i++)
        net->buffers_free[net->buffers_free_count++] = conf->receive_buffers - 1 - i;
    *ret_net = (struct salvo_net *)net;
    return 0;
}
