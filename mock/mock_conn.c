/* A connection of the mock: its stream cut into frames, its answers in chunks until the net lets
 * go.
 *
 * A whole frame that lies in one received buffer is used where it is; only the front of an
 * unfinished one is copied. Memory per connection is bounded: one frame of input, MOCK_OUT_MAX of
 * output; a peer that asks and never reads is closed. */
#include "mock/mock_internal.h"

#define IN_KEEP_MAX SALVO_KIB(256) /* a larger input buffer is given back after its frame */

/* Nothing more is read from it or written to it. */
static bool conn_ended(const struct mock_conn *conn)
{
    return conn->closing || conn->close_when_released;
}

struct mock_conn *mock_conn_accepted(struct salvo_mock *mock, uint32_t host, uint32_t link)
{
    struct mock_conn *conn;
    uint32_t index, generation;
    bool listed;

    salvo_assert(mock->conns_free_count > 0);
    index = mock->conns_free[--mock->conns_free_count];
    conn = &mock->conns[index];
    salvo_assert(conn->state == MOCK_CONN_FREE);
    generation = conn->generation + 1;
    listed = conn->listed; /* the slot may still be in to_send from before */
    memset(conn, 0, sizeof(*conn));
    conn->listed = listed;
    conn->state = MOCK_CONN_UP;
    conn->index = index;
    conn->generation = generation;
    conn->host = host;
    conn->link = link;
    conn->last_ns = mock->now_ns;
    mock->stats.connections_accepted++;
    mock->stats.connections_now++;
    return conn;
}

void mock_conn_close(struct salvo_mock *mock, struct mock_conn *conn)
{
    if (conn->closing || conn->state != MOCK_CONN_UP)
        return;
    conn->closing = true;
    mock->to_close[mock->to_close_count++] = conn->index;
}

/* --- output ----------------------------------------------------------------------------------- */

static struct mock_chunk *chunk_take(struct salvo_mock *mock)
{
    struct mock_chunk *chunk = mock->chunks_free;

    if (chunk != NULL) {
        mock->chunks_free = chunk->next;
        mock->chunks_free_count--;
    } else {
        chunk = malloc(sizeof(*chunk));
        if (chunk == NULL)
            return NULL;
    }
    chunk->next = NULL;
    chunk->size = chunk->sent = chunk->released = 0;
    return chunk;
}

static void chunk_give(struct salvo_mock *mock, struct mock_chunk *chunk)
{
    if (mock->chunks_free_count >= MOCK_FREE_CHUNKS_MAX) {
        free(chunk);
        return;
    }
    chunk->next = mock->chunks_free;
    mock->chunks_free = chunk;
    mock->chunks_free_count++;
}

uint8_t *mock_conn_reserve(struct salvo_mock *mock, struct mock_conn *conn, uint32_t size)
{
    struct mock_chunk *chunk = conn->out_last;

    salvo_assert(size <= MOCK_CHUNK_SIZE);
    if (conn->state != MOCK_CONN_UP || conn_ended(conn))
        return NULL;
    if (chunk != NULL && MOCK_CHUNK_SIZE - chunk->size >= size)
        return chunk->bytes + chunk->size;
    if (conn->out_size + size > MOCK_OUT_MAX || (chunk = chunk_take(mock)) == NULL) {
        mock->stats.connections_unread++;
        mock_conn_close(mock, conn);
        return NULL;
    }
    if (conn->out_last != NULL)
        conn->out_last->next = chunk;
    else
        conn->out_first = chunk;
    if (conn->out_send == NULL)
        conn->out_send = chunk;
    conn->out_last = chunk;
    return chunk->bytes;
}

void mock_conn_commit(struct salvo_mock *mock, struct mock_conn *conn, uint32_t size)
{
    salvo_assert(conn->out_last != NULL && MOCK_CHUNK_SIZE - conn->out_last->size >= size);
    conn->out_last->size += size;
    conn->out_size += size;
    mock->stats.bytes_out += size;
    if (!conn->listed) {
        conn->listed = true;
        mock->to_send[mock->to_send_count++] = conn->index;
    }
}

void mock_conn_write(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                     size_t size)
{
    while (size > 0) {
        uint32_t n = (uint32_t)SALVO_MIN(size, (size_t)MOCK_CHUNK_SIZE);
        uint8_t *at = mock_conn_reserve(mock, conn, n);

        if (at == NULL)
            return;
        memcpy(at, bytes, n);
        mock_conn_commit(mock, conn, n);
        bytes += n;
        size -= n;
    }
}

void mock_conn_close_when_released(struct salvo_mock *mock, struct mock_conn *conn)
{
    conn->close_when_released = true;
    if (conn->out_size == 0)
        mock_conn_close(mock, conn);
}

void mock_conn_send(struct salvo_mock *mock, struct mock_conn *conn)
{
    const struct mock_host *host = &mock->hosts[conn->host];

    if (host->silent_until_ns != 0)
        return; /* turn_hosts comes back to it */
    while (conn->state == MOCK_CONN_UP && !conn->closing && !conn->out_blocked &&
           conn->out_send != NULL) {
        struct mock_chunk *chunk = conn->out_send;
        struct salvo_range range = {chunk->bytes + chunk->sent, chunk->size - chunk->sent};
        size_t taken;

        if (range.size == 0) {
            if (chunk->next == NULL)
                return; /* all sent; the chunk takes more */
            conn->out_send = chunk->next;
            continue;
        }
        taken = salvo_net_send(host->net, conn->link, &range, 1);
        salvo_assert(taken <= range.size);
        chunk->sent += (uint32_t)taken;
        conn->out_blocked = taken < range.size;
    }
}

void mock_conn_released(struct salvo_mock *mock, struct mock_conn *conn, uint64_t bytes)
{
    salvo_assert(bytes <= conn->out_size);
    conn->out_size -= bytes;
    conn->out_blocked = false;
    while (bytes > 0) {
        struct mock_chunk *chunk = conn->out_first;
        uint32_t n;

        salvo_assert(chunk != NULL);
        n = (uint32_t)SALVO_MIN(bytes, (uint64_t)(chunk->sent - chunk->released));
        chunk->released += n;
        bytes -= n;
        if (chunk->released < chunk->size) {
            salvo_assert(bytes == 0);
            break;
        }
        if (chunk->next == NULL) { /* the last one is written from its start again */
            chunk->size = chunk->sent = chunk->released = 0;
            salvo_assert(bytes == 0);
            break;
        }
        if (conn->out_send == chunk)
            conn->out_send = chunk->next;
        conn->out_first = chunk->next;
        chunk_give(mock, chunk);
    }
    if (conn->close_when_released && conn->out_size == 0)
        mock_conn_close(mock, conn);
    else if (conn->out_size > 0 && !conn->listed && conn->state == MOCK_CONN_UP) {
        conn->listed = true;
        mock->to_send[mock->to_send_count++] = conn->index;
    }
}

void mock_conn_gone(struct salvo_mock *mock, struct mock_conn *conn)
{
    salvo_assert(conn->state != MOCK_CONN_FREE && conn->held_first == NULL);
    while (conn->out_first != NULL) {
        struct mock_chunk *chunk = conn->out_first;

        conn->out_first = chunk->next;
        chunk_give(mock, chunk);
    }
    free(conn->in);
    conn->in = NULL;
    conn->out_last = conn->out_send = NULL;
    conn->state = MOCK_CONN_FREE;
    mock->stats.connections_now--;
    mock->conns_free[mock->conns_free_count++] = conn->index;
}

/* --- input ------------------------------------------------------------------------------------ */

static bool conn_bad(struct salvo_mock *mock, struct mock_conn *conn)
{
    mock->stats.connections_bad++;
    mock_conn_close(mock, conn);
    return false;
}

/* Keeps bytes of an unfinished frame. Grows by doubling up to the largest frame. */
static bool conn_keep(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                      size_t size)
{
    if (conn->in_size + size > conn->in_max) {
        size_t max = (size_t)salvo_power_of_two_up(conn->in_size + size);
        uint8_t *grown;

        salvo_assert(conn->in_size + size <= mock->conf.frame_size_max);
        grown = realloc(conn->in, max);
        if (grown == NULL) {
            mock_conn_close(mock, conn);
            return false;
        }
        conn->in = grown;
        conn->in_max = max;
    }
    memcpy(conn->in + conn->in_size, bytes, size);
    conn->in_size += size;
    conn->in_ordinary = !mock_fast_on(mock, conn);
    return true;
}

/* One frame from the front: its size, 0 with *ret_need the size it will have (0: not known yet),
 * SIZE_MAX when it makes no sense. */
static size_t conn_take_one(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                            size_t size, size_t *ret_need)
{
    struct salvo_frame frame = {0};
    const char *why;
    size_t taken;
    int r;

    if (mock_fast_on(mock, conn)) {
        taken = mock_fast_take(mock, conn, bytes, size);
        if (taken != 0)
            return taken;
    }
    r = salvo_frame_parse(bytes, size, mock->conf.frame_size_max, &frame, &why);
    if (r == SALVO_FRAME_MORE) {
        *ret_need = frame.size;
        return 0;
    }
    if (r != 0 || !mock_answer_frame(mock, conn, &frame))
        return SIZE_MAX;
    return frame.size;
}

/* Finishes what was kept with the front of the new bytes. Returns how many of them it used. */
static size_t conn_finish_kept(struct salvo_mock *mock, struct mock_conn *conn,
                               const uint8_t *bytes, size_t size)
{
    size_t used = 0;

    while (conn->in_size > 0 && used < size && !conn_ended(conn)) {
        size_t need = 0, n, taken;

        /* Byte by byte where the size is not known yet: the 8 bytes of the prefix. answer_only
         * wants the header, not the body, so it is given pieces. */
        taken = conn_take_one(mock, conn, conn->in, conn->in_size, &need);
        salvo_assert(taken == 0);
        if (need == 0)
            n = SALVO_FRAME_PREFIX_SIZE -
                SALVO_MIN(conn->in_size, (size_t)SALVO_FRAME_PREFIX_SIZE - 1);
        else
            n = need - conn->in_size;
        if (mock_fast_on(mock, conn))
            n = SALVO_MIN(n, mock_fast_need(conn->in, conn->in_size));
        n = SALVO_MIN(n, size - used);
        if (!conn_keep(mock, conn, bytes + used, n))
            return used;
        used += n;
        taken = conn_take_one(mock, conn, conn->in, conn->in_size, &need);
        if (taken == SIZE_MAX) {
            (void)conn_bad(mock, conn);
            return used;
        }
        salvo_assert(taken == 0 || taken == conn->in_size);
        if (taken != 0) {
            conn->in_size = 0;
            conn->in_ordinary = false;
        }
    }
    if (conn->in_size == 0 && conn->in_max > IN_KEEP_MAX) {
        free(conn->in);
        conn->in = NULL;
        conn->in_max = 0;
    }
    return used;
}

bool mock_conn_take(struct salvo_mock *mock, struct mock_conn *conn, const uint8_t *bytes,
                    size_t size)
{
    size_t at = 0;

    if (conn->in_size > 0)
        at = conn_finish_kept(mock, conn, bytes, size);
    while (at < size && !conn_ended(conn) && conn->in_size == 0) {
        size_t need = 0;
        size_t taken = conn_take_one(mock, conn, bytes + at, size - at, &need);

        if (taken == SIZE_MAX)
            return conn_bad(mock, conn);
        if (taken == 0)
            return conn_keep(mock, conn, bytes + at, size - at);
        at += taken;
    }
    return !conn_ended(conn);
}
