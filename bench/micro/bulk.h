/* What the senders of bulk.c and bulk_raw.c share. */
#pragma once

#include "dataplane/net.h"
#include "dataplane/net_dpdk.h"

#define BULK_MEMORY_SIZE SALVO_MIB(4)
#define BULK_OFFER_SIZE  SALVO_KIB(64)

/* What payloads are copied from, round and round. BULK_OFFER_SIZE lie behind its end, so that what
 * begins before it is in one piece. */
extern uint8_t bulk_memory[BULK_MEMORY_SIZE + BULK_OFFER_SIZE];

int64_t bulk_now_ns(void);
/* Says errno's text behind `what`, and ends the program. */
_Noreturn void bulk_fail(const char *what);
struct salvo_dpdk_port *bulk_port_open(const char *device, uint16_t mtu);

/* "bulk bare" and "bulk raw": their exit codes. `poller` may be NULL. */
int bulk_bare(const struct salvo_endpoint *to, const char *ours, const char *device_name,
              uint16_t mtu, const char *mac);
int bulk_raw(uint32_t payload_size, const char *ours, const char *device_name, uint16_t mtu,
             double seconds, double warmup, const char *interface,
             const struct salvo_endpoint *poller);
