/* See check.h: lists, sums and orders that the code keeps up step by step, counted anew. */
#include "tests/packet/check.h"

#include "tests/packet/wire.h"

static void check_scoreboard(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn)
{
    uint64_t pipe = 0, sacked = 0, seq = conn->send.una;
    uint32_t lost = 0, sacked_count = 0;

    for (uint32_t i = conn->send.segment_head; i != conn->send.segment_tail; i++) {
        const struct tcp_segment *s = tcp_segment_at(tcp, conn, i);
        salvo_assert(s->seq == seq); /* no gaps, no overlaps */
        salvo_assert(s->size != 0);
        salvo_assert(s->size <= conn->send.mss + 1);
        seq += s->size;
        pipe += s->list == TCP_LIST_OUTSTANDING ? s->size : 0;
        lost += s->list == TCP_LIST_LOST;
        sacked += s->list == TCP_LIST_NONE ? s->size : 0;
        sacked_count += s->list == TCP_LIST_NONE;
        if (s->size > (s->fin ? 1u : 0u)) {
            const struct tcp_span *span = tcp_span_at(tcp, conn, s->span);
            salvo_assert(s->span - conn->send.span_head < tcp->config.ranges_max);
            salvo_assert(span->seq <= s->seq && s->seq < span->seq + span->size);
        }
    }
    salvo_assert(seq == conn->send.next);
    salvo_assert(conn->send.next <= conn->send.max);
    salvo_assert(conn->send.max <= conn->send.end);
    salvo_assert(pipe == conn->control.pipe);
    salvo_assert(sacked == conn->control.sacked);
    salvo_assert(lost == conn->control.lost_count);
    salvo_assert(sacked_count == conn->control.sacked_count);

    for (int l = 0; l < TCP_LIST_COUNT; l++) {
        uint32_t count = 0, previous = TCP_NONE;
        for (uint32_t slot = conn->lists[l].head; slot != TCP_NONE;
             previous = slot, slot = conn->send.segments[slot].next, count++) {
            salvo_assert(conn->send.segments[slot].list == l);
            salvo_assert(conn->send.segments[slot].previous == previous);
            salvo_assert(count <= tcp->config.segments_max);
        }
        salvo_assert(conn->lists[l].tail == previous);
        salvo_assert(l != TCP_LIST_LOST || count == lost);
    }
}

static void check_receiver(const struct salvo_tcp *tcp, const struct salvo_tcp_conn *conn)
{
    const struct tcp_receiver *r = &conn->receive;
    uint64_t at = r->next;

    salvo_assert(r->consumed <= r->next);
    salvo_assert(r->next - r->consumed <= tcp->config.receive_size + 1);
    for (unsigned i = 0; i < r->island_count; i++) {
        salvo_assert(r->islands[i].start > at); /* behind the gap, apart from the one before */
        salvo_assert(r->islands[i].end > r->islands[i].start);
        at = r->islands[i].end;
        salvo_assert(at <= r->consumed + tcp->config.receive_size);
    }
}

/* Something will happen: what is in flight or waits for the window has a timer, or output is due.
 */
static void check_not_stuck(const struct salvo_tcp_conn *conn)
{
    bool waits = conn->send.una != conn->send.end;

    if (!waits || conn->on_ready || conn->wait_neighbour)
        return;
    salvo_assert(conn->timer != TCP_TIMER_NONE || conn->pace_due_us != 0);
    if (conn->timer != TCP_TIMER_NONE)
        salvo_assert(conn->wake_us <= conn->timer_us);
}

void tcp_first_numbers(void *memory, const struct salvo_tcp_config *config,
                       const struct salvo_tcp_target *target, uint32_t *ret_isn,
                       uint32_t *ret_timestamp)
{
    struct salvo_tcp *tcp = salvo_tcp_init(memory, config);
    uint64_t handle = 0;

    salvo_assert(salvo_tcp_open(tcp, target, 0, &handle) == SALVO_TCP_OPEN_OK);
    const struct salvo_tcp_conn *conn = &tcp->conns[(uint32_t)handle];
    *ret_isn = (uint32_t)conn->send.iss;
    *ret_timestamp = tcp_timestamp(conn, 0);
}

void tcp_check(const struct salvo_tcp *tcp)
{
    uint32_t live = 0;

    for (uint32_t i = 0; i < tcp->config.conns_max; i++) {
        const struct salvo_tcp_conn *conn = &tcp->conns[i];

        if (conn->state == SALVO_TCP_FREE || conn->state == SALVO_TCP_DEAD) {
            salvo_assert(conn->heap_place == TCP_NONE);
            continue;
        }
        live++;
        salvo_assert(tcp->heap[conn->heap_place] == i);
        if (conn->state == SALVO_TCP_SYN_SENT)
            continue;
        check_scoreboard(tcp, conn);
        check_receiver(tcp, conn);
        check_not_stuck(conn);
    }
    salvo_assert(live == tcp->heap_count);
    for (uint32_t i = 1; i < tcp->heap_count; i++)
        salvo_assert(tcp->conns[tcp->heap[(i - 1) / 2]].wake_us <=
                     tcp->conns[tcp->heap[i]].wake_us);
}

void tcp_device_checksum(const struct salvo_tcp *tcp, const struct salvo_tcp_packet *packet,
                         uint8_t *frame, uint32_t size)
{
    uint8_t *tcp_header = frame + 14 + packet->ip_size;
    uint32_t length = size - 14 - packet->ip_size;
    uint8_t tail[2] = {(uint8_t)(length >> 8), (uint8_t)length};

    if (!tcp->config.checksum_offload || packet->ip_size == 0)
        return;
    uint16_t sum =
        wire_sum(tcp_header, length, packet->segment_size != 0 ? wire_sum(tail, 2, 0) : 0);
    tcp_header[16] = (uint8_t)(~sum >> 8);
    tcp_header[17] = (uint8_t)~sum;
}

uint32_t tcp_frame_next(const struct salvo_tcp *tcp, const struct salvo_tcp_packet *packet,
                        struct tcp_frames *frames, uint8_t *frame)
{
    bool is_cut = packet->segment_size != 0 && !tcp->config.checksum_offload;
    bool first = !frames->begun;
    uint32_t size;

    frames->begun = true;
    if (!is_cut) {
        if (!first)
            return 0;
        size = salvo_tcp_packet_write(tcp, packet, frame);
        tcp_device_checksum(tcp, packet, frame, size);
        return size;
    }
    if (first)
        salvo_tcp_cut_start(&frames->cut, packet);
    size = salvo_tcp_cut_size(&frames->cut, packet);
    if (size != 0)
        salvo_tcp_cut_write(tcp, packet, &frames->cut, frame);
    return size;
}
