/* Both directions between control and a lane: see lane_port.h and lane_msg.h. */
#include "dataplane/lane_port.h"

int salvo_lane_port_command(struct salvo_lane_port *port, const struct salvo_command *command)
{
    void *slot;
    int r = salvo_ring_claim(&port->commands, sizeof(*command), &slot);

    if (r)
        return r;
    *(struct salvo_command *)slot = *command;
    salvo_ring_commit(&port->commands, sizeof(*command));
    salvo_ring_publish(&port->commands);
    salvo_lane_port_wake(port);
    return 0;
}

const struct salvo_event *salvo_lane_port_event(struct salvo_lane_port *port)
{
    uint32_t size;
    const struct salvo_event *event = salvo_ring_peek(&port->events, &size);

    salvo_assert(event == NULL || size == sizeof(*event));
    return event;
}

void salvo_lane_port_event_done(struct salvo_lane_port *port)
{
    salvo_ring_advance(&port->events, sizeof(struct salvo_event));
    salvo_ring_release(&port->events);
}

void salvo_lane_port_publish(struct salvo_lane_port *port, const struct salvo_route *route)
{
    /* Pairs with the acquire of route_published in salvo_lane_do_work. */
    atomic_store_explicit(&port->route_published, route, memory_order_release);
    salvo_lane_port_wake(port);
}

bool salvo_lane_port_moved_on(struct salvo_lane_port *port, uint64_t epoch)
{
    /* Pairs with the release of route_seen in salvo_lane_do_work: what the lane read of an older
     * snapshot was read before. */
    if (atomic_load_explicit(&port->route_seen, memory_order_acquire) >= epoch)
        return true;
    /* Our store of route_published before this load; the lane clears asleep, fences, and only then
     * loads the pointer, so it finds the new one. */
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&port->asleep, memory_order_acquire) != 0;
}
