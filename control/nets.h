/* The networks of a sender, by its options: which backend a lane gets, which one control gets, and,
 * with net=dpdk, the one port that all lanes share. Thread: the one that starts and stops. */
#pragma once

#include "control/config.h"
#include "dataplane/device_share.h"
#include "dataplane/net.h"
#include "dataplane/net_dpdk.h"
#include "dataplane/net_tcp.h"

/* 64: the most lanes that option `lanes` takes. */
#define SALVO_NETS_LANES_MAX 64u

struct salvo_nets;

struct salvo_nets_lane {
    /* What it asks of a local port. */
    const struct salvo_nets *nets;
    uint32_t index;
    uint8_t *memory; /* for its chunks; NULL: the arena's */
};

struct salvo_nets {
    const struct salvo_config *config; /* stays until stop */
    struct salvo_dpdk_port *port;      /* NULL without dpdk */
    struct salvo_device_share *share;  /* NULL with one lane */
    struct salvo_mirror *mirrors;      /* for captures, a lane's each; NULL without dpdk */
    struct salvo_tcp_config tcp;       /* the part that options decide */
    struct salvo_net_tcp_lease lease;  /* with dpdk_address=dhcp */
    struct salvo_nets_lane lanes[SALVO_NETS_LANES_MAX];
};

/* Whether lane 0 carries control's connections (option control_net). */
bool salvo_config_control_by_lane(const struct salvo_config *config);

/* The options of dpdk as the machine wants them. 0, or -EINVAL with one sentence. */
int salvo_nets_tcp_config(const struct salvo_config *config, struct salvo_tcp_config *ret_tcp,
                          char ret_error[SALVO_CONFIG_ERROR_MAX]);

/* Opens what lanes share. 0, or a negative errno with one sentence in errbuf. */
int salvo_nets_start(struct salvo_nets *nets, const struct salvo_config *config,
                     struct salvo_clock *clock, struct salvo_log *log, char *errbuf,
                     size_t errbuf_size);

/* Takes memory for chunks that the device can send from where they lie, for each lane that can have
 * it (lanes[].memory). Returns for how many. */
uint32_t salvo_nets_take_memory(struct salvo_nets *nets, size_t size);

/* Of the lanes' address, or NULL: it is static. */
struct salvo_net_tcp_lease *salvo_nets_lease(struct salvo_nets *nets);

/* The net of a lane, or of control (UINT32_MAX), as salvo_net_open. */
int salvo_nets_open(struct salvo_nets *nets, uint32_t lane_index, const struct salvo_net_conf *conf,
                    struct salvo_net **ret_net, const char **ret_note);

/* After the nets were destroyed; nothing when start failed. */
void salvo_nets_stop(struct salvo_nets *nets);
