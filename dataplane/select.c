/* Round robin in passes: see select.h. */
#include "dataplane/select.h"

void salvo_select_init(struct salvo_select *select, uint32_t *next, uint32_t topics_max,
                       struct salvo_random *random)
{
    *select = (struct salvo_select){.next = next, .topics_max = topics_max};
    for (uint32_t i = 0; i < topics_max; i++)
        next[i] = (uint32_t)salvo_random_next(random);
}

int salvo_select_check(const struct salvo_conn *conn, uint32_t chunks_share)
{
    if (conn->state != SALVO_CONN_UP || conn->draining)
        return SALVO_SELECT_DOWN;
    if (conn->inflight >= conn->window || conn->chunks_held > chunks_share)
        return salvo_conn_is_silent(conn) ? SALVO_SELECT_DOWN : SALVO_SELECT_FULL;
    return 0;
}

/* How good a queue is now: the smaller the better; 0 is taken at once. */
enum select_rank {
    SELECT_BEST = 0,      /* available, not the last broker */
    SELECT_REACHABLE = 1, /* reachable, not the last broker */
    SELECT_OTHER = 2,     /* not the last broker */
    SELECT_LAST = 3,      /* the last broker: better than none */
    SELECT_NONE = 4,
};

static enum select_rank select_rank(const struct salvo_route_queue *queue,
                                    const salvo_availability *availability, uint32_t broker_last,
                                    int64_t now_ns)
{
    uint64_t word;

    if (queue->broker == broker_last)
        return SELECT_LAST;
    /* Relaxed: advice from control, good whenever it comes. */
    word = atomic_load_explicit(&availability[queue->broker], memory_order_relaxed);
    if (salvo_availability_available(word, now_ns))
        return SELECT_BEST;
    return salvo_availability_reachable(word) ? SELECT_REACHABLE : SELECT_OTHER;
}

static uint32_t select_after(const struct salvo_route_topic *topic, uint32_t index)
{
    return index + 1 == topic->queues_count ? 0 : index + 1;
}

int salvo_select_queue(struct salvo_select *select, const struct salvo_route_topic *topic,
                       const struct salvo_conn *conns, const salvo_availability *availability,
                       uint32_t chunks_share, uint32_t broker_last, int64_t now_ns,
                       uint32_t *ret_index)
{
    uint32_t index = select->next[topic->topic];
    uint32_t best_index = 0;
    enum select_rank best = SELECT_NONE;
    int code = SALVO_SELECT_DOWN;

    salvo_assert(topic->queues_count != 0);
    if (index >= topic->queues_count) /* the end of a round; or the first: anywhere in 32 bits */
        index %= topic->queues_count;
    for (uint32_t i = 0; i < topic->queues_count; i++, index = select_after(topic, index)) {
        const struct salvo_route_queue *queue = &topic->queues[index];
        enum select_rank rank;
        int r = salvo_select_check(&conns[queue->broker], chunks_share);

        if (r != 0) {
            if (r == SALVO_SELECT_FULL)
                code = SALVO_SELECT_FULL;
            continue;
        }
        rank = select_rank(queue, availability, broker_last, now_ns);
        if (rank < best) {
            best = rank;
            best_index = index;
            if (rank == SELECT_BEST)
                break;
        }
    }
    if (best == SELECT_NONE)
        return code;
    select->next[topic->topic] = best_index + 1;
    *ret_index = best_index;
    return 0;
}
