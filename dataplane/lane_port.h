/* What control sees of a lane: rings both ways, the route pointer, and whether it sleeps. */
#pragma once

#include "dataplane/lane_msg.h"
#include "dataplane/ring.h"
#include "dataplane/route.h"

struct salvo_lane_port {
    /* fixed after start */
    uint32_t lane_index;
    struct salvo_net *net;            /* others may only wake it; one for the lanes of one thread */
    salvo_availability *availability; /* brokers_max words, shared by all lanes */

    /* control -> lane */
    struct salvo_ring commands; /* of struct salvo_command */
    alignas(SALVO_CACHE_LINE) _Atomic(const struct salvo_route *) route_published;

    /* lane -> control */
    struct salvo_ring events; /* of struct salvo_event */
    alignas(SALVO_CACHE_LINE) _Atomic uint64_t
        route_seen; /* epoch of the snapshot in use; 0: none yet */

    /* lane -> anyone */
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t asleep; /* 1: in or about to enter net wait */
};

/* Puts a command in. 0 or SALVO_RING_FULL. Wakes the lane when it sleeps. Thread: control. */
int salvo_lane_port_command(struct salvo_lane_port *port, const struct salvo_command *command);

/* The next event, or NULL; valid until salvo_lane_port_event_done. Thread: control. */
const struct salvo_event *salvo_lane_port_event(struct salvo_lane_port *port);
void salvo_lane_port_event_done(struct salvo_lane_port *port);

/* Publishes a snapshot and wakes the lane when it sleeps (messages may wait for it). Thread:
 * control. */
void salvo_lane_port_publish(struct salvo_lane_port *port, const struct salvo_route *route);

/* True when the lane uses no snapshot older than `epoch`: it has seen that one or a later one, or
 * sleeps (and loads the pointer anew before it uses any). Thread: control. */
bool salvo_lane_port_moved_on(struct salvo_lane_port *port, uint64_t epoch);

/* Anyone: wakes the lane if its `asleep` word says so. Call after the store that should be seen. */
static inline void salvo_lane_port_wake(struct salvo_lane_port *port)
{
    /* Full fence: our store (a ring's tail, the route pointer) before our load of asleep; pairs
     * with the fence in lane_sleep. */
    atomic_thread_fence(memory_order_seq_cst);
    if (SALVO_UNLIKELY(atomic_load_explicit(&port->asleep, memory_order_relaxed) != 0))
        salvo_net_wake(port->net);
}
