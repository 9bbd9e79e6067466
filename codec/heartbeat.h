/* Heartbeat body and unregister. HeartbeatData.java, UnregisterClientRequestHeader.java. */
#pragma once

#include "codec/header.h"

/* The JSON body; groups may be none (keeps a data connection alive and registers nothing). `v5`
 * writes heartbeatFingerprint and withoutSub as 5.x does. Sticky failure when short. */
void salvo_heartbeat_write(struct salvo_writer *w, struct salvo_text client_id,
                           const struct salvo_text *groups, uint32_t groups_count, bool v5);

/* For the mock: client id and groups of a heartbeat body; text points into body (escapes not
 * undone). 0 or -EBADMSG; at most groups_max groups are taken. */
int salvo_heartbeat_read(const void *body, size_t size, struct salvo_text *ret_client_id,
                         struct salvo_text *ret_groups, uint32_t groups_max,
                         uint32_t *ret_groups_count);

/* Fills a header for UNREGISTER_CLIENT (35). */
void salvo_unregister_header(struct salvo_header *header, struct salvo_text client_id,
                             struct salvo_text group);
