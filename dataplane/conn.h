/* One broker connection's life, what is written to it, and the frames that come back.
 *
 *   DOWN -> CONNECTING -> UP -> DYING -> DOWN ...      (DYING: dead, but the network still refers
 * to bytes)
 *
 * Frames are written into chunks in stream order; the network takes byte ranges from a cursor that
 * follows. A frame whose time is up before its first byte was taken is cut: its request (state CUT)
 * marks the hole until the cursor has passed it. Positions in the stream count every byte written,
 * holes included.
 *
 * After a death: a frame is certain not to have been stored when its end lies behind everything
 * handed over; brokers take whole frames only. Owner: one lane. */
#pragma once

#include "codec/frame.h"
#include "dataplane/chunk.h"
#include "dataplane/inflight.h"
#include "dataplane/net.h"

enum salvo_conn_state {
    SALVO_CONN_DOWN = 0, /* may be connected again from attempt_at_ns on */
    SALVO_CONN_CONNECTING,
    SALVO_CONN_UP,
    SALVO_CONN_DYING, /* DOWN was seen, GONE is to come */
};

struct salvo_conn {
    /* fixed after start */
    uint8_t *gather; /* an answer that came in pieces */
    uint32_t gather_max;
    uint32_t window_max; /* requests in flight */

    /* lane only */
    enum salvo_conn_state state;
    uint32_t link;
    uint32_t generation; /* of the endpoint it was made to */
    bool wanted;         /* its broker is in the route */
    bool draining;       /* no new requests; closed when nothing is in flight */
    bool dropping;       /* control wants to hear when nothing refers to it */
    bool blocked;        /* the network took less than offered */
    bool touched;        /* something was written this turn: in the lane's list */
    bool closing;        /* we want its end: the coming DOWN is ours */
    bool close_called;   /* and the network has been told */
    uint32_t window;
    uint32_t window_credit;
    int64_t window_halved_ns;
    uint32_t inflight;
    uint32_t chunks_held;
    uint32_t chunk_first; /* oldest attached */
    uint32_t chunk_last;  /* being written */
    uint32_t cursor;      /* chunk of the next byte to be taken */
    uint32_t cursor_offset;
    uint64_t stream_written;
    uint64_t stream_taken; /* holes passed included */
    uint64_t holes_passed;
    uint32_t cut_first; /* CUT requests in stream order */
    uint32_t cut_last;  /* of them, if there are any */
    int64_t last_sent_ns;
    int64_t attempt_at_ns;
    int64_t backoff_ns;
    uint32_t gather_size;
    bool gather_used; /* the last frame given lies in gather */
    bool answered;    /* since it came up */
    bool silent; /* a try timed out and no answer came since it was sent, until the window is whole
                    again; survives reconnects */
    int64_t answered_ns;      /* the last answer */
    int64_t silent_since_ns;  /* the first time-out that no answer followed */
    uint32_t outcomes_untold; /* good ones, for sampling */
};

void salvo_conn_init(struct salvo_conn *conn, uint8_t *gather, uint32_t gather_max,
                     uint32_t window_max);

/* --- writing ---------------------------------------------------------------------------------- */

/* Chunks a frame of `size` bytes can need at most beyond the one being written. */
uint32_t salvo_conn_chunks_needed(const struct salvo_conn *conn,
                                  const struct salvo_chunk_pool *pool, size_t size);

/* Starts a frame whose first `header_max` bytes lie in one piece (at most a chunk). Returns where
 * they go; the caller writes them and calls salvo_conn_wrote with how many there were. The caller
 * has looked at the room. */
uint8_t *salvo_conn_frame_start(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                                size_t header_max, uint32_t *ret_chunk, uint32_t *ret_offset);
void salvo_conn_wrote(struct salvo_conn *conn, struct salvo_chunk_pool *pool, size_t size);
/* Adds bytes to the open frame, over chunk borders. */
void salvo_conn_append(struct salvo_conn *conn, struct salvo_chunk_pool *pool, const uint8_t *bytes,
                       size_t size);
/* Adds a buffer as long as a chunk, with `size` bytes at its front, to the open frame: it becomes
 * the memory of a new chunk, whose own the caller gets in exchange. */
void salvo_conn_append_buffer(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                              uint8_t **buffer, size_t size);
/* Nothing more will be written to the last chunk. */
void salvo_conn_seal(struct salvo_conn *conn, struct salvo_chunk_pool *pool);
/* Gives back the last chunk if nothing of it is wanted any more. */
void salvo_conn_spare(struct salvo_conn *conn, struct salvo_chunk_pool *pool);
/* What was written will never be sent: a parking place keeps bodies only for their requests. */
void salvo_conn_forget(struct salvo_conn *conn, struct salvo_chunk_pool *pool);

/* Offers what was written to the network. Returns the bytes taken. */
uint64_t salvo_conn_push(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                         struct salvo_inflight *inflight, struct salvo_net *net);

/* True when the frame's first byte has been taken. */
static inline bool salvo_conn_has_taken(const struct salvo_conn *conn,
                                        const struct salvo_request *request)
{
    return conn->stream_taken > request->stream_start;
}

/* The time of `request` is up and nothing of it was taken: its bytes will be skipped. `marker`, a
 * fresh request, marks the hole (state CUT) and awaits its chunks in its stead; it is freed when
 * the cursor passes, or the connection dies. `request` itself is left as it is and no longer part
 * of the stream. */
void salvo_conn_cut(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                    struct salvo_inflight *inflight, const struct salvo_request *request,
                    struct salvo_request *marker);

/* --- what the network says -------------------------------------------------------------------- */

void salvo_conn_released(struct salvo_conn *conn, struct salvo_chunk_pool *pool, uint64_t bytes);

/* After DOWN: what was not taken is given up, holes are forgotten, the last chunk is sealed.
 * Requests must have been taken off before (they keep their chunks). */
void salvo_conn_down(struct salvo_conn *conn, struct salvo_chunk_pool *pool,
                     struct salvo_inflight *inflight);
/* After GONE: everything is released; the stream starts anew. */
void salvo_conn_gone(struct salvo_conn *conn, struct salvo_chunk_pool *pool);
/* Its broker is dropped: the next one of the number has no past. */
void salvo_conn_hand_on(struct salvo_conn *conn);

/* True when a frame that ends at stream_end may have reached the peer whole. */
static inline bool salvo_conn_may_have_arrived(const struct salvo_conn *conn, uint64_t stream_end,
                                               uint64_t handed_over)
{
    return stream_end <= handed_over + conn->holes_passed;
}

/* The next whole frame of what came. Consumes from *bytes / *size. 0: *ret_frame, valid until the
 * next call; SALVO_FRAME_MORE: all was consumed; SALVO_FRAME_BAD with *ret_why. */
int salvo_conn_next_frame(struct salvo_conn *conn, const uint8_t **bytes, uint32_t *size,
                          struct salvo_frame *ret_frame, const char **ret_why);

/* --- window ----------------------------------------------------------------------------------- */

static inline bool salvo_conn_can_take(const struct salvo_conn *conn)
{
    return conn->state == SALVO_CONN_UP && !conn->draining && conn->inflight < conn->window;
}

/* The broker is overloaded: half the window, at most once in 10 ms. */
void salvo_conn_busy(struct salvo_conn *conn, int64_t now_ns);

/* An answer came: a window's worth of answers widens it by one. After a silence each answer does,
 * so that the window doubles with every round. */
static inline void salvo_conn_answered(struct salvo_conn *conn, int64_t now_ns)
{
    conn->answered = true;
    conn->answered_ns = now_ns;
    if (SALVO_LIKELY(conn->window == conn->window_max)) {
        conn->silent = false;
        return;
    }
    if (conn->silent || ++conn->window_credit >= conn->window) {
        conn->window_credit = 0;
        conn->window++;
    }
}

/* A try that was sent at sent_ns timed out. When nothing at all came since, the broker is silent:
 * one request at a time is enough to see it come back, and the others have somewhere else to go. */
void salvo_conn_timed_out(struct salvo_conn *conn, int64_t sent_ns, int64_t now_ns);

/* Tries have timed out and nothing has come since. `silent` itself ends only when the window is
 * whole again. */
static inline bool salvo_conn_is_silent(const struct salvo_conn *conn)
{
    return conn->silent && conn->answered_ns < conn->silent_since_ns;
}
