/* One connection's stream against a model that is a plain array of bytes.
 *
 * A fake net takes as much as it likes, keeps what it took and where it lies, and looks at it again
 * when it is released: bytes that changed meanwhile were freed or overwritten too early. The model
 * knows each frame, which bytes are holes, and what must have arrived. */
#include "tests/unit/unit.h"

#include "base/random.h"
#include "dataplane/conn.h"

#define MS         SALVO_NS_PER_MS
#define CHUNKS     24u
#define CHUNK_SIZE 64u
#define FRAMES     64u
#define STREAM_MAX (1u << 20)
#define PIECES_MAX 65536u
#define GATHER_MAX 300u

/* --- the fake net ----------------------------------------------------------------------------- */

static struct fake_net {
    struct salvo_net_head head;
    size_t room; /* how much send takes from now on */
    uint8_t wire[STREAM_MAX];
    size_t wire_size;
    size_t released;
    const uint8_t *from[STREAM_MAX]; /* where each byte lies */
    unsigned sends;
    unsigned ranges_max;
} net;

static size_t fake_send(struct salvo_net *self, uint32_t link, const struct salvo_range *ranges,
                        unsigned ranges_count)
{
    size_t taken = 0;

    assert_ptr_equal(self, &net);
    assert_int_equal(link, 5);
    assert_true(ranges_count != 0);
    net.sends++;
    net.ranges_max = SALVO_MAX(net.ranges_max, ranges_count);
    for (unsigned i = 0; i < ranges_count; i++) {
        size_t here = SALVO_MIN(ranges[i].size, net.room);

        assert_true(ranges[i].size != 0);
        assert_true(net.wire_size + here <= STREAM_MAX);
        for (size_t b = 0; b < here; b++) {
            net.from[net.wire_size] = ranges[i].bytes + b;
            net.wire[net.wire_size++] = ranges[i].bytes[b];
        }
        net.room -= here;
        taken += here;
        if (here < ranges[i].size)
            break;
    }
    return taken;
}

static const struct salvo_net_ops fake_ops = {.name = "fake", .send = fake_send};

/* --- the connection and its model ------------------------------------------------------------- */

struct model_frame {
    struct salvo_request *request; /* NULL: free */
    uint64_t start;
    uint64_t end;
    uint8_t seed;
};

static struct {
    struct salvo_conn conn;
    struct salvo_chunk_pool pool;
    struct salvo_chunk chunks[CHUNKS];
    uint8_t memory[CHUNKS * CHUNK_SIZE];
    struct salvo_inflight inflight;
    struct salvo_request requests[2 * FRAMES];
    struct salvo_item items[1];
    uint32_t wheel[SALVO_WHEEL_SLOTS];
    uint64_t wheel_used[SALVO_WHEEL_SLOTS / 64];
    uint8_t gather[GATHER_MAX];
    uint8_t spare[CHUNK_SIZE];
    uint8_t *buffer;  /* as long as a chunk, ours */
    bool by_exchange; /* bodies that fit one */

    /* model */
    uint8_t bytes[STREAM_MAX];
    bool hole[STREAM_MAX];
    uint64_t written;
    struct model_frame frames[FRAMES];
} m;

static void stream_up(void)
{
    m.conn.state = SALVO_CONN_UP;
    m.conn.link = 5;
    m.written = 0;
    memset(m.hole, 0, sizeof(m.hole));
    net.wire_size = 0;
    net.released = 0;
    net.room = 0;
    net.sends = 0;
    net.ranges_max = 0;
}

static void init(void)
{
    net.head = (struct salvo_net_head){.magic = SALVO_NET_MAGIC, .ops = &fake_ops};
    salvo_chunk_pool_init(&m.pool, m.chunks, m.memory, CHUNKS, CHUNK_SIZE, 0);
    salvo_inflight_init(&m.inflight, m.requests, 2 * FRAMES, m.items, 1, m.wheel, m.wheel_used, 0);
    salvo_conn_init(&m.conn, m.gather, GATHER_MAX, 64);
    memset(m.frames, 0, sizeof(m.frames));
    m.buffer = m.spare;
    m.by_exchange = false;
    stream_up();
}

static struct salvo_net *fake(void)
{
    return (struct salvo_net *)&net;
}

static uint64_t push(size_t room)
{
    net.room = room;
    return salvo_conn_push(&m.conn, &m.pool, &m.inflight, fake());
}

/* Bytes i of a frame of a seed. */
static uint8_t byte_of(uint8_t seed, uint64_t i)
{
    return (uint8_t)(seed * 31 + i * 7);
}

/* The body as a buffer that is exchanged for a chunk's; the one we get is nobody else's. */
static void append_exchanged(const uint8_t *body, uint32_t size)
{
    const uint8_t *given = m.buffer;

    memcpy(m.buffer, body, size);
    salvo_conn_append_buffer(&m.conn, &m.pool, &m.buffer, size);
    assert_ptr_equal(m.chunks[m.conn.chunk_last].bytes, given);
    assert_ptr_not_equal(m.buffer, given);
    memset(m.buffer, 0xee, CHUNK_SIZE);
}

/* Writes a frame: header_size bytes in one piece, body_size behind them. NULL: no room. */
static struct model_frame *write_frame(uint32_t header_size, uint32_t body_size, uint8_t seed)
{
    struct model_frame *frame = NULL;
    uint8_t whole[1024];
    uint8_t *to;
    uint32_t total = header_size + body_size;
    uint32_t needed = salvo_conn_chunks_needed(&m.conn, &m.pool, total);
    uint32_t free_before = m.pool.free_count;
    uint32_t held_before = m.conn.chunks_held;

    for (uint32_t i = 0; i < FRAMES && frame == NULL; i++)
        frame = m.frames[i].request == NULL ? &m.frames[i] : NULL;
    if (frame == NULL || needed + 1 > m.pool.free_count || m.inflight.free_count < 2)
        return NULL;
    for (uint32_t i = 0; i < total; i++)
        whole[i] = byte_of(seed, i);
    frame->request = salvo_request_take(&m.inflight);
    to = salvo_conn_frame_start(&m.conn, &m.pool, header_size, &frame->request->chunk,
                                &frame->request->offset);
    frame->start = frame->request->stream_start = m.conn.stream_written;
    memcpy(to, whole, header_size);
    salvo_conn_wrote(&m.conn, &m.pool, header_size);
    if (m.by_exchange && body_size <= CHUNK_SIZE)
        append_exchanged(whole + header_size, body_size);
    else
        salvo_conn_append(&m.conn, &m.pool, whole + header_size, body_size);
    frame->end = frame->request->stream_end = m.conn.stream_written;
    frame->request->state = SALVO_REQUEST_SENT;
    frame->seed = seed;
    assert_int_equal(frame->start, m.written);
    assert_int_equal(frame->end, m.written + total);
    memcpy(m.bytes + m.written, whole, total);
    m.written += total;
    /* No more chunks than were said, but for what an extension gave back. */
    assert_true(m.conn.chunks_held <= held_before + needed + 1);
    assert_true(m.pool.free_count + needed + 1 >= free_before);
    return frame;
}

static void frame_reads_back(const struct model_frame *frame)
{
    uint8_t copy[1024];
    uint32_t size = (uint32_t)(frame->end - frame->start);

    salvo_chunk_copy(&m.pool, frame->request->chunk, frame->request->offset, size, copy);
    for (uint32_t i = 0; i < size; i++)
        assert_int_equal(copy[i], byte_of(frame->seed, i));
}

/* Its answer came, or its results were given. */
static void let_go(struct model_frame *frame)
{
    frame_reads_back(frame);
    salvo_chunk_unawait(&m.pool, frame->request->chunk, frame->request->offset,
                        (uint32_t)(frame->end - frame->start));
    salvo_request_free(&m.inflight, frame->request);
    frame->request = NULL;
}

static void cut(struct model_frame *frame)
{
    salvo_conn_cut(&m.conn, &m.pool, &m.inflight, frame->request, salvo_request_take(&m.inflight));
    memset(m.hole + frame->start, true, frame->end - frame->start);
}

static void release(size_t bytes)
{
    for (size_t i = 0; i < bytes; i++, net.released++)
        assert_int_equal(*net.from[net.released], net.wire[net.released]);
    salvo_conn_released(&m.conn, &m.pool, bytes);
}

/* What was put on the wire is the model's stream without its holes, and no further than written. */
static uint64_t model_check(void)
{
    uint64_t at = 0;
    uint64_t holes = 0;
    uint32_t attached = 0;
    uint32_t free_count = 0;

    for (size_t i = 0; i < net.wire_size; i++, at++) {
        for (; m.hole[at]; at++)
            holes++;
        assert_true(at < m.written);
        assert_int_equal(net.wire[i], m.bytes[at]);
    }
    assert_true(m.conn.stream_taken >= at);
    for (; at < m.conn.stream_taken; at++, holes++)
        assert_true(m.hole[at]);
    assert_int_equal(m.conn.stream_written, m.written);
    assert_int_equal(m.conn.holes_passed, holes);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        attached += m.chunks[i].attached && !m.chunks[i].free;
        free_count += m.chunks[i].free;
        if (!m.chunks[i].free)
            assert_true(m.chunks[i].attached || m.chunks[i].awaited != 0);
    }
    assert_int_equal(attached, m.conn.chunks_held);
    assert_int_equal(free_count, m.pool.free_count);
    return at;
}

/* Whether a frame's end lies within what was handed over, counting byte for byte. */
static bool model_arrived(uint64_t end, uint64_t handed_over)
{
    uint64_t on_wire = 0;

    for (uint64_t i = 0; i < end; i++)
        on_wire += !m.hole[i];
    return on_wire <= handed_over;
}

static void die(struct salvo_random *random)
{
    uint64_t handed_over = salvo_random_below(random, net.wire_size + 1);

    handed_over = SALVO_MAX(handed_over, net.released);
    for (uint32_t i = 0; i < FRAMES; i++) {
        struct model_frame *frame = &m.frames[i];
        bool said;

        if (frame->request == NULL || m.hole[frame->start])
            continue;
        said = salvo_conn_may_have_arrived(&m.conn, frame->end, handed_over);
        if (model_arrived(frame->end, handed_over) && frame->end <= m.conn.stream_taken)
            assert_true(said); /* "not sent" is never said of what arrived */
        if (frame->end > m.conn.stream_taken)
            assert_false(said);
        if (m.conn.holes_passed == 0)
            assert_int_equal(said, frame->end <= handed_over);
    }
    salvo_conn_down(&m.conn, &m.pool, &m.inflight);
    assert_int_equal(m.conn.state, SALVO_CONN_DYING);
    assert_int_equal(push(1000), 0);
    while (net.released < net.wire_size) {
        size_t here = 1 + salvo_random_below(random, net.wire_size - net.released);

        if (salvo_random_chance(random, 1, 3)) /* bodies are wanted for other tries */
            for (uint32_t i = 0; i < FRAMES; i++)
                if (m.frames[i].request != NULL && salvo_random_chance(random, 1, 2))
                    let_go(&m.frames[i]);
        release(here);
    }
    salvo_conn_gone(&m.conn, &m.pool);
    assert_int_equal(m.conn.state, SALVO_CONN_DOWN);
    assert_int_equal(m.conn.chunks_held, 0);
    for (uint32_t i = 0; i < FRAMES; i++)
        if (m.frames[i].request != NULL)
            let_go(&m.frames[i]);
    assert_int_equal(m.pool.free_count, CHUNKS);
    assert_int_equal(m.inflight.free_count, 2 * FRAMES);
    stream_up();
}

static void random_life_against_the_model(void **state)
{
    struct salvo_random random;
    uint64_t seed = unit_seed(17);
    unsigned deaths = 0, cuts = 0, holes_passed = 0, written = 0, exchanged = 0, let = 0;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    init();
    for (int step = 0; step < 80000; step++) {
        struct model_frame *frame = &m.frames[salvo_random_below(&random, FRAMES)];
        uint64_t holes = m.conn.holes_passed;
        const uint8_t *buffer = m.buffer;

        switch (salvo_random_below(&random, 12)) {
        case 0:
        case 1:
        case 2:
        case 3:
            m.by_exchange = salvo_random_chance(&random, 1, 6);
            written += write_frame((uint32_t)salvo_random_below(&random, CHUNK_SIZE + 1),
                                   1 + (uint32_t)salvo_random_below(
                                           &random, salvo_random_chance(&random, 1, 8) ? 500 : 60),
                                   (uint8_t)step) != NULL;
            exchanged += m.buffer != buffer;
            break;
        case 4:
        case 5:
            push(salvo_random_chance(&random, 1, 3) ? SIZE_MAX : salvo_random_below(&random, 100));
            break;
        case 6:
        case 7:
            if (frame->request != NULL && frame->end <= m.conn.stream_taken &&
                !m.hole[frame->start]) {
                let_go(frame);
                let++;
            }
            break;
        case 8:
            for (uint32_t i = 0; i < FRAMES; i++) { /* one that can still be cut */
                if (frame->request != NULL && !salvo_conn_has_taken(&m.conn, frame->request))
                    break;
                frame = &m.frames[i];
            }
            if (frame->request != NULL && !salvo_conn_has_taken(&m.conn, frame->request) &&
                !m.hole[frame->start]) {
                cut(frame);
                if (salvo_random_chance(&random, 2, 3))
                    let_go(frame); /* else it waits for another try, and keeps its body */
                cuts++;
            }
            break;
        case 9:
        case 10:
            release(salvo_random_below(&random, net.wire_size - net.released + 1));
            if (frame->request != NULL && m.hole[frame->start])
                let_go(frame);
            break;
        case 11:
            if (salvo_random_chance(&random, 1, 40) || m.written > STREAM_MAX - 2048) {
                die(&random);
                deaths++;
                continue;
            }
            salvo_conn_spare(&m.conn, &m.pool);
            break;
        }
        if (m.conn.holes_passed != holes)
            holes_passed++;
        if (step % 64 == 0)
            model_check();
    }
    die(&random);
    print_message("%u deaths, %u cuts, %u holes, %u written, %u by exchange, %u answered\n", deaths,
                  cuts, holes_passed, written, exchanged, let);
    assert_true(deaths > 50 && cuts > 500 && holes_passed > 200 && written > 3000 && let > 2000 &&
                exchanged > 300);
}

/* --- single steps ----------------------------------------------------------------------------- */

static void a_header_is_in_one_piece_and_the_body_runs_over(void **state)
{
    struct model_frame *first;
    struct model_frame *second;

    (void)state;
    init();
    first = write_frame(50, 1, 1);
    second = write_frame(20, 150, 2); /* 13 bytes are left: the header goes to a new chunk */
    assert_int_equal(first->request->offset, 0);
    assert_int_equal(second->request->offset, 0);
    assert_int_not_equal(second->request->chunk, first->request->chunk);
    assert_int_equal(m.conn.chunks_held, 4);
    push(SIZE_MAX);
    model_check();
    assert_int_equal(net.sends, 1);
    assert_int_equal(net.ranges_max, 4);
    assert_int_equal(net.wire_size, 51 + 170);
}

static void a_warm_chunk_starts_from_its_front_again(void **state)
{
    struct model_frame *frame;
    uint32_t chunk;

    (void)state;
    init();
    frame = write_frame(20, 20, 1);
    chunk = frame->request->chunk;
    push(SIZE_MAX);
    let_go(frame);
    release(39);
    frame = write_frame(1, 1, 2); /* one byte is not released yet: behind the first */
    assert_int_equal(frame->request->chunk, chunk);
    assert_int_equal(frame->request->offset, 40);
    push(SIZE_MAX);
    release(3);
    assert_int_equal(write_frame(1, 1, 3)->request->offset, 42); /* the second is awaited */
    push(SIZE_MAX);
    release(2);
    for (uint32_t i = 0; i < FRAMES; i++)
        if (m.frames[i].request != NULL)
            let_go(&m.frames[i]);
    frame = write_frame(20, 40, 4);
    assert_int_equal(frame->request->chunk, chunk);
    assert_int_equal(frame->request->offset, 0);
    push(SIZE_MAX);
    model_check();
    assert_int_equal(m.pool.free_count, CHUNKS - 1);
}

static void blocked_until_released(void **state)
{
    (void)state;
    init();
    write_frame(10, 40, 1);
    assert_int_equal(push(30), 30);
    assert_true(m.conn.blocked);
    assert_int_equal(push(SIZE_MAX), 0); /* not asked again */
    release(0);
    assert_int_equal(push(SIZE_MAX), 20);
    assert_false(m.conn.blocked);
    assert_int_equal(push(SIZE_MAX), 0);
    assert_int_equal(net.sends, 2);
}

/* Frames 1, 3, 4 and 5 of 0..5 are cut, in another order than they were written. */
static void cut_frames_are_stepped_over(void **state)
{
    struct model_frame *frames[6];

    (void)state;
    init();
    for (uint8_t i = 0; i < 6; i++)
        frames[i] = write_frame(10, 30, i);
    assert_int_equal(push(15), 15);
    assert_true(salvo_conn_has_taken(&m.conn, frames[0]->request));
    assert_false(salvo_conn_has_taken(&m.conn, frames[1]->request));
    cut(frames[4]);
    cut(frames[1]);
    cut(frames[5]);
    cut(frames[3]);
    release(0);
    push(SIZE_MAX);
    model_check();
    assert_int_equal(net.wire_size, 2 * 40);
    assert_int_equal(m.conn.holes_passed, 4 * 40);
    assert_int_equal(m.conn.cut_first, SALVO_REQUEST_NONE);
    assert_int_equal(m.inflight.free_count, 2 * FRAMES - 6); /* the markers are free again */
    frame_reads_back(frames[3]);                             /* its body is still wanted */
}

static void cut_after_its_first_byte(void *arg)
{
    struct model_frame *frame = write_frame(10, 30, 1);

    (void)arg;
    push(1);
    cut(frame);
}

static void release_too_much(void *arg)
{
    (void)arg;
    write_frame(10, 30, 1);
    push(20);
    salvo_conn_released(&m.conn, &m.pool, 21);
}

static void gone_before_all_was_released(void *arg)
{
    (void)arg;
    write_frame(10, 30, 1);
    push(20);
    salvo_conn_down(&m.conn, &m.pool, &m.inflight);
    salvo_conn_gone(&m.conn, &m.pool);
}

static void wrong_use_stops_the_process(void **state)
{
    (void)state;
    init();
    assert_true(unit_aborts(cut_after_its_first_byte, NULL));
    assert_true(unit_aborts(release_too_much, NULL));
    assert_true(unit_aborts(gone_before_all_was_released, NULL));
}

/* "Not sent" and "may have been stored", with a hole in front of and behind the frame. */
static void a_frame_arrived_when_its_last_byte_was_handed_over(void **state)
{
    struct model_frame *frames[4];

    (void)state;
    init();
    for (uint8_t i = 0; i < 4; i++)
        frames[i] = write_frame(10, 30, i);
    push(40);
    assert_true(salvo_conn_may_have_arrived(&m.conn, frames[0]->end, 40));
    assert_false(salvo_conn_may_have_arrived(&m.conn, frames[0]->end, 39));
    cut(frames[1]);
    release(0);
    push(40); /* frame 2 */
    assert_false(salvo_conn_may_have_arrived(&m.conn, frames[2]->end, 79));
    assert_true(salvo_conn_may_have_arrived(&m.conn, frames[2]->end, 80));
    assert_false(salvo_conn_may_have_arrived(&m.conn, frames[3]->end, 80));
}

/* A parking place keeps bodies only as long as their requests want them. */
static void what_is_forgotten_is_kept_for_its_requests_only(void **state)
{
    struct model_frame *frames[8];

    (void)state;
    init();
    for (uint8_t i = 0; i < 8; i++) {
        frames[i] = write_frame(1, 89, i);
        salvo_conn_forget(&m.conn, &m.pool);
    }
    assert_int_equal(m.conn.chunks_held, 1); /* the one being written */
    for (uint8_t i = 0; i < 8; i++)
        frame_reads_back(frames[i]);
    for (uint8_t i = 0; i < 8; i++)
        let_go(frames[(i * 5) % 8]);
    assert_int_equal(m.pool.free_count, CHUNKS - 1);
    frames[0] = write_frame(1, 10, 9); /* and that one from its front */
    assert_int_equal(frames[0]->request->offset, 0);
}

/* A chunk with nothing in it that is wanted is as good as an empty one, and can be spared; one
 * that waits for its send, its release or its answer is neither. */
static void only_a_finished_chunk_is_spared(void **state)
{
    struct model_frame *frame;

    (void)state;
    init();
    salvo_conn_spare(&m.conn, &m.pool); /* holds none */
    frame = write_frame(10, 30, 1);
    for (int step = 0; step < 3; step++) {
        salvo_conn_spare(&m.conn, &m.pool);
        assert_int_equal(m.conn.chunks_held, 1);
        assert_int_equal(salvo_conn_chunks_needed(&m.conn, &m.pool, CHUNK_SIZE), 1);
        if (step == 0)
            push(SIZE_MAX);
        else if (step == 1)
            let_go(frame);
    }
    release(40);
    assert_int_equal(salvo_conn_chunks_needed(&m.conn, &m.pool, CHUNK_SIZE), 0);
    assert_int_equal(salvo_conn_chunks_needed(&m.conn, &m.pool, CHUNK_SIZE + 1), 2);
    salvo_conn_spare(&m.conn, &m.pool);
    assert_int_equal(m.pool.free_count, CHUNKS);
    frame = write_frame(10, 30, 2); /* the stream goes on */
    assert_int_equal(push(SIZE_MAX), 40);
    release(40);
    model_check();
    let_go(frame);
}

/* --- frames that come back -------------------------------------------------------------------- */

/* Three frames of different sizes, the last exactly as large as is allowed. */
static size_t three_frames(uint8_t *to)
{
    static const uint32_t sizes[3] = {9, 60, GATHER_MAX};
    size_t at = 0;

    for (unsigned i = 0; i < 3; i++) {
        uint32_t header_size = sizes[i] == 9 ? 1 : 20;
        uint32_t body_size = sizes[i] - 8 - header_size;

        salvo_frame_write_prefix(to + at, SALVO_HEADER_JSON, header_size, body_size);
        for (uint32_t b = 8; b < sizes[i]; b++)
            to[at + b] = (uint8_t)(i * 50 + b);
        at += sizes[i];
    }
    return at;
}

static void feed(const uint8_t *bytes, size_t size, unsigned *frames, uint8_t *seen,
                 size_t *seen_size)
{
    uint32_t left = (uint32_t)size;
    uint8_t *copy = malloc(size); /* so that a look behind the end is noticed */
    const uint8_t *at = copy;
    const char *why = NULL;

    memcpy(copy, bytes, size);
    for (;;) {
        struct salvo_frame frame;
        int r = salvo_conn_next_frame(&m.conn, &at, &left, &frame, &why);

        if (r == SALVO_FRAME_MORE)
            break;
        assert_int_equal(r, 0);
        memcpy(seen + *seen_size, frame.header, frame.header_size);
        memcpy(seen + *seen_size + frame.header_size, frame.body, frame.body_size);
        *seen_size += frame.header_size + frame.body_size;
        (*frames)++;
    }
    assert_int_equal(left, 0);
    free(copy);
}

/* Every split into three pieces, and one byte at a time. */
static void frames_survive_every_split(void **state)
{
    uint8_t bytes[1024];
    uint8_t plain[1024];
    uint8_t seen[1024];
    size_t size = three_frames(bytes);
    size_t plain_size = 0;

    (void)state;
    for (size_t at = 0; at < size; at += salvo_load_be32(bytes + at) + 4) {
        size_t rest = salvo_load_be32(bytes + at) + 4 - 8;

        memcpy(plain + plain_size, bytes + at + 8, rest);
        plain_size += rest;
    }
    init();
    for (size_t a = 0; a <= size; a++) {
        for (size_t b = a; b <= size; b += a % 16 == 0 ? 1 : 23) {
            unsigned frames = 0;
            size_t seen_size = 0;

            feed(bytes, a, &frames, seen, &seen_size);
            feed(bytes + a, b - a, &frames, seen, &seen_size);
            feed(bytes + b, size - b, &frames, seen, &seen_size);
            assert_int_equal(frames, 3);
            assert_int_equal(seen_size, plain_size);
            assert_memory_equal(seen, plain, plain_size);
        }
    }
    for (int round = 0; round < 2; round++) {
        unsigned frames = 0;
        size_t seen_size = 0;

        for (size_t i = 0; i < size; i++)
            feed(bytes + i, 1, &frames, seen, &seen_size);
        assert_int_equal(frames, 3);
        assert_memory_equal(seen, plain, plain_size);
    }
}

/* A lie in the first eight bytes is found with them, in one piece or byte by byte. */
static void bad_frames_are_refused_in_any_split(void **state)
{
    static const struct {
        uint32_t length;
        uint32_t header;
    } bad[] = {
        {3, 0},                   /* no room for its own header length */
        {20, 17},                 /* header longer than the frame */
        {20, 5u << 24 | 10},      /* no such form */
        {20, 0},                  /* no header */
        {GATHER_MAX - 3, 10},     /* one byte over the limit */
        {0x48545450, 0x2f312e31}, /* HTTP/1.1 */
        {UINT32_MAX, 10},
    };

    (void)state;
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(bad); i++) {
        for (size_t split = 0; split <= 8; split++) {
            uint8_t bytes[64] = {0};
            const uint8_t *at = bytes;
            uint32_t left = (uint32_t)split;
            struct salvo_frame frame;
            const char *why = NULL;
            int r;

            init();
            salvo_store_be32(bytes, bad[i].length);
            salvo_store_be32(bytes + 4, bad[i].header);
            r = salvo_conn_next_frame(&m.conn, &at, &left, &frame, &why);
            if (r == SALVO_FRAME_MORE) {
                at = bytes + split;
                left = (uint32_t)(sizeof(bytes) - split);
                r = salvo_conn_next_frame(&m.conn, &at, &left, &frame, &why);
            }
            assert_int_equal(r, SALVO_FRAME_BAD);
            assert_non_null(why);
        }
    }
}

static void half_a_frame_does_not_outlive_its_connection(void **state)
{
    uint8_t bytes[1024];
    uint8_t seen[1024];
    size_t size = three_frames(bytes);
    unsigned frames = 0;
    size_t seen_size = 0;

    (void)state;
    init();
    feed(bytes, 30, &frames, seen, &seen_size);
    assert_int_equal(frames, 1);
    salvo_conn_down(&m.conn, &m.pool, &m.inflight);
    salvo_conn_gone(&m.conn, &m.pool);
    stream_up();
    frames = 0;
    feed(bytes, size, &frames, seen, &seen_size);
    assert_int_equal(frames, 3);
}

/* --- window ----------------------------------------------------------------------------------- */

static void answer(unsigned n, int64_t now_ns)
{
    while (n-- != 0)
        salvo_conn_answered(&m.conn, now_ns);
}

static void busy_halves_the_window_once_in_ten_ms(void **state)
{
    (void)state;
    init();
    salvo_conn_busy(&m.conn, 1000 * MS);
    assert_int_equal(m.conn.window, 32);
    salvo_conn_busy(&m.conn, 1010 * MS - 1);
    assert_int_equal(m.conn.window, 32);
    for (int i = 1; i < 20; i++)
        salvo_conn_busy(&m.conn, 1000 * MS + i * 10 * MS);
    assert_int_equal(m.conn.window, 1); /* never closed */
}

static void a_windowful_of_answers_widens_it_by_one(void **state)
{
    (void)state;
    init();
    salvo_conn_busy(&m.conn, 1000 * MS);
    answer(31, 1001 * MS);
    assert_int_equal(m.conn.window, 32);
    answer(1, 1001 * MS);
    assert_int_equal(m.conn.window, 33);
    answer(33, 1001 * MS);
    assert_int_equal(m.conn.window, 34);
    answer(100000, 1001 * MS);
    assert_int_equal(m.conn.window, 64);
}

static void can_take_within_the_window(void **state)
{
    (void)state;
    init();
    m.conn.inflight = 63;
    assert_true(salvo_conn_can_take(&m.conn));
    m.conn.inflight = 64;
    assert_false(salvo_conn_can_take(&m.conn));
    m.conn.inflight = 0;
    m.conn.draining = true;
    assert_false(salvo_conn_can_take(&m.conn));
    m.conn.draining = false;
    m.conn.state = SALVO_CONN_CONNECTING;
    assert_false(salvo_conn_can_take(&m.conn));
}

/* Silence leaves one request at a time; each answer then adds one, so that it doubles by rounds. */
static void silence_leaves_one_and_answers_bring_it_back(void **state)
{
    (void)state;
    init();
    answer(1, 50 * MS);
    salvo_conn_timed_out(&m.conn, 50 * MS, 100 * MS); /* something came since it was sent */
    assert_int_equal(m.conn.window, 64);
    assert_false(m.conn.silent);
    salvo_conn_timed_out(&m.conn, 51 * MS, 100 * MS);
    assert_int_equal(m.conn.window, 1);
    assert_true(m.conn.silent);
    assert_int_equal(m.conn.silent_since_ns, 100 * MS);
    salvo_conn_timed_out(&m.conn, 60 * MS, 200 * MS);
    assert_int_equal(m.conn.silent_since_ns, 100 * MS); /* the silence began earlier */
    for (unsigned window = 1; window < 64; window *= 2) {
        assert_int_equal(m.conn.window, window);
        answer(window, 300 * MS);
    }
    assert_int_equal(m.conn.window, 64);
    answer(1, 300 * MS);
    assert_false(m.conn.silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_life_against_the_model),
        cmocka_unit_test(a_header_is_in_one_piece_and_the_body_runs_over),
        cmocka_unit_test(a_warm_chunk_starts_from_its_front_again),
        cmocka_unit_test(blocked_until_released),
        cmocka_unit_test(cut_frames_are_stepped_over),
        cmocka_unit_test(wrong_use_stops_the_process),
        cmocka_unit_test(a_frame_arrived_when_its_last_byte_was_handed_over),
        cmocka_unit_test(what_is_forgotten_is_kept_for_its_requests_only),
        cmocka_unit_test(only_a_finished_chunk_is_spared),
        cmocka_unit_test(frames_survive_every_split),
        cmocka_unit_test(bad_frames_are_refused_in_any_split),
        cmocka_unit_test(half_a_frame_does_not_outlive_its_connection),
        cmocka_unit_test(busy_halves_the_window_once_in_ten_ms),
        cmocka_unit_test(a_windowful_of_answers_widens_it_by_one),
        cmocka_unit_test(can_take_within_the_window),
        cmocka_unit_test(silence_leaves_one_and_answers_bring_it_back),
    };

    return cmocka_run_group_tests_name("dataplane/conn", tests, NULL, NULL);
}
