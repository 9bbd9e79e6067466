/* Who this process is to a cluster: the client id, and the address in message ids. Before start. */
#pragma once

#include "control/config.h"

#define SALVO_CLIENT_ID_MAX 256

struct salvo_identity {
    char client_id[SALVO_CLIENT_ID_MAX]; /* ip@instance */
    uint8_t ip[16];                      /* for UNIQ_KEY */
    uint8_t ip_size;                     /* 4 or 16 */
    uint16_t pid;                        /* its low 16 bits */
};

/* client_ip decides both addresses when it is set; else they are chosen as Java does, which has two
 * rules: NetworkUtil.getLocalAddress for the client id, UtilAll.getIP for message ids. start_ns
 * makes the instance name of one process differ from the next one's with the same pid. */
void salvo_identity_init(struct salvo_identity *identity, const struct salvo_config *config,
                         int64_t start_ns, int64_t wall_ms);
