/* Stream order, chunks and holes of one connection: see conn.h. */
#include "dataplane/conn.h"

#include <string.h>

/* Ranges offered to the network in one call: 64 chunks of 64 KiB are more than a send takes. */
#define CONN_RANGES 64

#define CONN_BUSY_PAUSE_NS (10 * SALVO_NS_PER_MS)

static void conn_stream_reset(struct salvo_conn *conn)
{
    conn->chunk_first = SALVO_CHUNK_NONE;
    conn->chunk_last = SALVO_CHUNK_NONE;
    conn->cursor = SALVO_CHUNK_NONE;
    conn->cursor_offset = 0;
    conn->stream_written = 0;
    conn->stream_taken = 0;
    conn->holes_passed = 0;
    conn->cut_first = SALVO_REQUEST_NONE;
    conn->gather_size = 0;
    conn->gather_used = false;
    conn->blocked = false;
}

void salvo_conn_init(struct salvo_conn *conn, uint8_t *gather, uint32_t gather_max,
                     uint32_t window_max)
{
    *conn = (struct salvo_conn){
        .gather = gather,
        .gather_max = gather_max,
        .window_max = window_max,
        .window = window_max,
        .link = SALVO_NET_LINK_NONE,
    };
    conn_stream_reset(conn);
}

/* --- chunks in order -------------------------------------------------------------------------- */

/* Lets go of chunks at the front that the network is done with. */
static void conn_detach(struct salvo_conn *conn, struct salvo_chunk_pool *pool)
{
    while (conn->chunk_first != SALVO_CHUNK_NONE) {
        uint32_t index = conn->chunk_first;
        struct salvo_chunk *chunk = &pool->chunks[index];

        if (!chunk->sealed || chunk->taken + chunk->cut != chunk->used ||
            chunk->released != chunk->taken)
            return;
        if (conn->cursor == index) { /* it stands at the end of this chunk: on to the next */
            conn->cursor = chunk->next;
            conn->cursor_offset = 0;
        }
        conn->chunk_first = chunk->next;
        if (conn->chunk_last == index)
            conn->chunk_last = SALVO_CHUNK_NONE;
        conn->chunks_held--;
        chunk->attached = false;
        salvo_chunk_settle(pool, index);
    }
}

/* A new chunk at the end; the one before is sealed. */
static struct salvo_chunk *conn_extend(struct salvo_conn *conn, struct salvo_chunk_pool *pool)
{
    uint32_t index = salvo_chunk_take(pool);
    uint32_t before = conn->chunk_last;

    conn->chunk_last = index;
    conn->chunks_held++;
    if (conn->chunk_first == SALVO_CHUNK_NONE)
        conn->chunk_first = index;
    if (conn->cursor == SALVO_CHUNK_NONE) {
        conn->cursor = index;
        conn->cursor_offset = 0;
    }
    if (before != SALVO_CHUNK_NONE) {
        pool->chunks[before].next = index;
        pool->chunks[before].sealed = true;
        conn_detach(conn, pool);
    }
    return &pool->chunks[index];
}

/* Whether the connection holds one chunk, and nothing of it is wanted any more. */
static bool conn_is_finished(const struct salvo_conn *conn, const struct salvo_chunk_pool *pool)
{
    const struct salvo_chunk *chunk;

    if (conn->chunk_last == SALVO_CHUNK_NONE || conn->chunk_first != conn->chunk_last)
        return false;
    chunk = &pool->chunks[conn->chunk_last];
    return chunk->awaited == 0 && chunk->taken + chunk->cut == chunk->used &&
           chunk->released == chunk->taken;
}

/* A finished chunk starts from its front again: it is warm. */
static void conn_rewind(struct salvo_conn *conn, struct salvo_chunk *chunk)
{
    chunk->used = 0;
    chunk->taken = 0;
    chunk->cut = 0;
    chunk->released = 0;
    conn->cursor_offset = 0;
}

uint32_t salvo_conn_chunks_needed(const struct salvo_conn *conn,
                                  const struct salvo_chunk_pool *pool, size_t size)
{
    size_t room = 0;

    if (conn_is_finished(conn, pool)) /* it will start from its front */
        room = pool->chunk_size;
    else if (conn->chunk_last != SALVO_CHUNK_NONE)
        room = pool->chunk_size - pool->chunks[conn->chunk_last].used;
    if (size <= room)
        return 0;
    /* The header may not fit the rest, so the rest does not count. */
    return (uint32_t)((size + pool->chunk_size - 1) / pool->chunk_size);
}

uint8_t *salvo_conn_frame_start(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                                size_t header_max, uint32_t *ret_chunk, uint32_t *ret_offset)
{
    struct salvo_chunk *chunk = NULL;

    salvo_assert(header_max <= pool->chunk_size);
    if (conn->chunk_last != SALVO_CHUNK_NONE) {
        chunk = &pool->chunks[conn->chunk_last];
        if (conn_is_finished(conn, pool))
            conn_rewind(conn, chunk);
        if (pool->chunk_size - chunk->used < SALVO_MAX(header_max, (size_t)1))
            chunk = NULL;
    }
    if (chunk == NULL)
        chunk = conn_extend(conn, pool);
    chunk->awaited++;
    *ret_chunk = conn->chunk_last;
    *ret_offset = chunk->used;
    return chunk->bytes + chunk->used;
}

void salvo_conn_wrote(struct salvo_conn *conn, struct salvo_chunk_pool *pool, size_t size)
{
    struct salvo_chunk *chunk = &pool->chunks[conn->chunk_last];

    salvo_assert(chunk->used + size <= pool->chunk_size);
    chunk->used += (uint32_t)size;
    conn->stream_written += size;
}

void salvo_conn_append(struct salvo_conn *conn, struct salvo_chunk_pool *pool, const uint8_t *bytes,
                       size_t size)
{
    while (size != 0) {
        struct salvo_chunk *chunk = &pool->chunks[conn->chunk_last];
        size_t room = pool->chunk_size - chunk->used;
        size_t here;

        if (room == 0) {
            chunk = conn_extend(conn, pool);
            chunk->awaited++;
            room = pool->chunk_size;
        }
        here = SALVO_MIN(room, size);
        memcpy(chunk->bytes + chunk->used, bytes, here);
        chunk->used += (uint32_t)here;
        conn->stream_written += here;
        bytes += here;
        size -= here;
    }
}

void salvo_conn_append_buffer(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                              uint8_t **buffer, size_t size)
{
    struct salvo_chunk *chunk = conn_extend(conn, pool);
    uint8_t *own = chunk->bytes;

    salvo_assert(size != 0 && size <= pool->chunk_size);
    chunk->bytes = *buffer;
    *buffer = own;
    chunk->awaited++;
    salvo_conn_wrote(conn, pool, size);
}

void salvo_conn_seal(struct salvo_conn *conn, struct salvo_chunk_pool *pool)
{
    if (conn->chunk_last == SALVO_CHUNK_NONE)
        return;
    pool->chunks[conn->chunk_last].sealed = true;
    conn_detach(conn, pool);
}

void salvo_conn_spare(struct salvo_conn *conn, struct salvo_chunk_pool *pool)
{
    if (conn_is_finished(conn, pool))
        salvo_conn_seal(conn, pool);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Moves the cursor over `size` bytes: taken by the network, or a hole. */
static void conn_advance(struct salvo_conn *conn, struct salvo_chunk_pool *pool, uint64_t size,
                         bool hole)
{
    conn->stream_taken += size;
    if (hole)
        conn->holes_passed += size;
    while (size != 0) {
        struct salvo_chunk *chunk = &pool->chunks[conn->cursor];
        uint64_t here = SALVO_MIN(size, (uint64_t)(chunk->used - conn->cursor_offset));

        if (here == 0) {
            conn->cursor = chunk->next;
            conn->cursor_offset = 0;
            continue;
        }
        if (hole)
            chunk->cut += (uint32_t)here;
        else
            chunk->taken += (uint32_t)here;
        conn->cursor_offset += (uint32_t)here;
        size -= here;
    }
}

/* Steps over the holes the cursor stands at; their requests are done. */
static void conn_pass_holes(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                            struct salvo_inflight *inflight)
{
    while (conn->cut_first != SALVO_REQUEST_NONE) {
        struct salvo_request *request = &inflight->requests[conn->cut_first];
        uint64_t size = request->stream_end - request->stream_start;

        if (request->stream_start != conn->stream_taken)
            return;
        conn->cut_first = request->next;
        conn_advance(conn, pool, size, true);
        salvo_chunk_unawait(pool, request->chunk, request->offset, (uint32_t)size);
        salvo_request_free(inflight, request);
        inflight->cut_count--;
        conn_detach(conn, pool);
    }
}

/* Ranges from the cursor to `limit` in the stream. */
static unsigned conn_ranges(const struct salvo_conn *conn, const struct salvo_chunk_pool *pool,
                            uint64_t limit, struct salvo_range *ret_ranges, uint64_t *ret_size)
{
    uint64_t left = limit - conn->stream_taken;
    uint32_t index = conn->cursor;
    uint32_t offset = conn->cursor_offset;
    unsigned n = 0;

    *ret_size = 0;
    while (left != 0 && n < CONN_RANGES) {
        const struct salvo_chunk *chunk = &pool->chunks[index];
        uint64_t here = SALVO_MIN(left, (uint64_t)(chunk->used - offset));

        if (here != 0) {
            ret_ranges[n++] = (struct salvo_range){chunk->bytes + offset, (size_t)here};
            *ret_size += here;
            left -= here;
        }
        index = chunk->next;
        offset = 0;
    }
    return n;
}

uint64_t salvo_conn_push(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                         struct salvo_inflight *inflight, struct salvo_net *net)
{
    struct salvo_range ranges[CONN_RANGES];
    uint64_t taken = 0;

    if (conn->state != SALVO_CONN_UP || conn->closing)
        return 0;
    while (!conn->blocked) {
        uint64_t limit = conn->stream_written;
        uint64_t offered;
        size_t n;
        unsigned count;

        conn_pass_holes(conn, pool, inflight);
        if (conn->stream_taken == conn->stream_written)
            break;
        if (conn->cut_first != SALVO_REQUEST_NONE)
            limit = inflight->requests[conn->cut_first].stream_start;
        count = conn_ranges(conn, pool, limit, ranges, &offered);
        n = salvo_net_send(net, conn->link, ranges, count);
        salvo_assert(n <= offered);
        conn_advance(conn, pool, n, false);
        taken += n;
        conn->blocked = n < offered;
    }
    return taken;
}

void salvo_conn_forget(struct salvo_conn *conn, struct salvo_chunk_pool *pool)
{
    conn_advance(conn, pool, conn->stream_written - conn->stream_taken, true);
    conn_detach(conn, pool);
}

void salvo_conn_cut(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                    struct salvo_inflight *inflight, const struct salvo_request *request,
                    struct salvo_request *marker)
{
    uint32_t index = salvo_inflight_index(inflight, marker);
    uint32_t *place = &conn->cut_first;
    uint64_t size = request->stream_end - request->stream_start;

    salvo_assert(!salvo_conn_has_taken(conn, request));
    inflight->cut_count++;
    marker->state = SALVO_REQUEST_CUT;
    marker->chunk = request->chunk;
    marker->offset = request->offset;
    marker->stream_start = request->stream_start;
    marker->stream_end = request->stream_end;
    salvo_chunk_await(pool, marker->chunk, marker->offset, (uint32_t)size);
    /* In stream order. Deadlines come nearly in that order: most go to the end. */
    if (*place != SALVO_REQUEST_NONE &&
        inflight->requests[conn->cut_last].stream_start < marker->stream_start)
        place = &inflight->requests[conn->cut_last].next;
    while (*place != SALVO_REQUEST_NONE &&
           inflight->requests[*place].stream_start < marker->stream_start)
        place = &inflight->requests[*place].next;
    marker->next = *place;
    if (marker->next == SALVO_REQUEST_NONE)
        conn->cut_last = index;
    *place = index;
}

/* --- what the network says -------------------------------------------------------------------- */

void salvo_conn_released(struct salvo_conn *conn, struct salvo_chunk_pool *pool, uint64_t bytes)
{
    uint32_t index = conn->chunk_first;

    conn->blocked = false;
    while (bytes != 0) {
        struct salvo_chunk *chunk;
        uint64_t here;

        salvo_assert(index != SALVO_CHUNK_NONE); /* more was released than taken */
        chunk = &pool->chunks[index];
        here = SALVO_MIN(bytes, (uint64_t)(chunk->taken - chunk->released));
        chunk->released += (uint32_t)here;
        bytes -= here;
        index = chunk->next;
    }
    conn_detach(conn, pool);
}

void salvo_conn_down(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                     struct salvo_inflight *inflight)
{
    uint64_t left = conn->stream_written - conn->stream_taken;

    while (conn->cut_first != SALVO_REQUEST_NONE) {
        struct salvo_request *request = &inflight->requests[conn->cut_first];

        conn->cut_first = request->next;
        salvo_chunk_unawait(pool, request->chunk, request->offset,
                            (uint32_t)(request->stream_end - request->stream_start));
        salvo_request_free(inflight, request);
        inflight->cut_count--;
    }
    conn_advance(conn, pool, left, true);
    salvo_conn_seal(conn, pool);
    conn->state = SALVO_CONN_DYING;
    conn->gather_size = 0;
    conn->gather_used = false;
}

void salvo_conn_gone(struct salvo_conn *conn, struct salvo_chunk_pool *pool)
{
    conn_detach(conn, pool);
    salvo_assert(conn->chunk_first == SALVO_CHUNK_NONE); /* GONE comes after all was released */
    salvo_assert(conn->chunks_held == 0);
    conn_stream_reset(conn);
    conn->state = SALVO_CONN_DOWN;
    conn->link = SALVO_NET_LINK_NONE;
    conn->draining = false;
    conn->closing = false;
    conn->answered = false;
    conn->inflight = 0;
}

void salvo_conn_hand_on(struct salvo_conn *conn)
{
    salvo_assert(conn->state == SALVO_CONN_DOWN);
    conn->dropping = false;
    conn->silent = false;
    conn->window = conn->window_max;
    conn->window_credit = 0;
    conn->attempt_at_ns = 0;
    conn->backoff_ns = 0;
}

/* --- frames that come back -------------------------------------------------------------------- */

/* Adds what is missing for the prefix, or for the frame the prefix speaks of. */
static int conn_gather(struct salvo_conn *conn, const uint8_t **bytes, uint32_t *size,
                       struct salvo_frame *ret_frame, const char **ret_why)
{
    for (;;) {
        uint32_t want = SALVO_FRAME_PREFIX_SIZE;
        uint32_t here;
        int r;

        if (conn->gather_size >= SALVO_FRAME_PREFIX_SIZE) /* looked at before: it is in bounds */
            want = salvo_load_be32(conn->gather) + 4;
        here = SALVO_MIN(*size, want - conn->gather_size);

        memcpy(conn->gather + conn->gather_size, *bytes, here);
        conn->gather_size += here;
        *bytes += here;
        *size -= here;
        r = salvo_frame_parse(conn->gather, conn->gather_size, conn->gather_max, ret_frame,
                              ret_why);
        if (r == 0) {
            conn->gather_used = true;
            return 0;
        }
        if (r != SALVO_FRAME_MORE || *size == 0)
            return r;
        salvo_assert(ret_frame->size > conn->gather_size && ret_frame->size <= conn->gather_max);
    }
}

int salvo_conn_next_frame(struct salvo_conn *conn, const uint8_t **bytes, uint32_t *size,
                          struct salvo_frame *ret_frame, const char **ret_why)
{
    int r;

    if (conn->gather_used) {
        conn->gather_used = false;
        conn->gather_size = 0;
    }
    if (*size == 0)
        return SALVO_FRAME_MORE;
    if (conn->gather_size != 0)
        return conn_gather(conn, bytes, size, ret_frame, ret_why);
    r = salvo_frame_parse(*bytes, *size, conn->gather_max, ret_frame, ret_why);
    if (r == 0) {
        *bytes += ret_frame->size;
        *size -= ret_frame->size;
        return 0;
    }
    if (r != SALVO_FRAME_MORE)
        return r;
    return conn_gather(conn, bytes, size, ret_frame, ret_why);
}

void salvo_conn_busy(struct salvo_conn *conn, int64_t now_ns)
{
    if (now_ns - conn->window_halved_ns < CONN_BUSY_PAUSE_NS)
        return;
    conn->window_halved_ns = now_ns;
    conn->window = SALVO_MAX(conn->window / 2, 1u);
    conn->window_credit = 0;
}

void salvo_conn_timed_out(struct salvo_conn *conn, int64_t sent_ns, int64_t now_ns)
{
    if (conn->answered_ns >= sent_ns)
        return;
    if (!conn->silent || conn->answered_ns >= conn->silent_since_ns)
        conn->silent_since_ns = now_ns;
    conn->silent = true;
    conn->window = 1;
    conn->window_credit = 0;
}
