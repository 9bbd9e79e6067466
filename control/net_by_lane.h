/* A network backend whose links are carried by a lane, for when the NIC is all there is: control's
 * side of the STREAM_* messages of dataplane/lane_msg.h.
 *
 * Control takes events out of the lane's port and hands those about streams to
 * salvo_net_by_lane_event; poll gives them on as net events. A full command ring is waited for:
 * commands stand in a queue here, and send takes nothing while that is long. Owner: control. */
#pragma once

#include "dataplane/lane_port.h"
#include "dataplane/net.h"

/* `port` is the lane's; conf gives the clock and links_max. 0 or -ENOMEM. */
int salvo_net_by_lane_open(const struct salvo_net_conf *conf, struct salvo_lane_port *port,
                           struct salvo_net **ret_net);

/* True for STREAM_* events. */
bool salvo_event_is_stream(const struct salvo_event *event);

/* Takes one STREAM_* event. False when there is no room: leave it in the ring and poll first. */
bool salvo_net_by_lane_event(struct salvo_net *net, const struct salvo_event *event);
