/* The net under test over a DPDK device whose other end is this host's kernel: tests/dpdk/run makes
 * both and says so in the environment.
 *
 *   SALVO_TEST_DPDK_DEVICE   as option dpdk_device
 *   SALVO_TEST_DPDK_ADDRESS  ours, IPv4 or IPv6
 *   SALVO_TEST_DPDK_PEER     the kernel's, on the same link
 *   SALVO_TEST_DPDK_MTU      1500 unless set */
#pragma once

#include "dataplane/net.h"

/* Whether there is such a device. */
bool test_dpdk_there(void);
/* The kernel's address on it, network byte order. */
uint32_t test_dpdk_peer(void);
/* As salvo_net_epoll_open. The port is opened once and stays. */
int test_dpdk_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net);
/* The same as lane 1 of two, whose lane 0 does nothing but what lane 1 needs of it. */
int test_dpdk_open_lane(const struct salvo_net_conf *conf, struct salvo_net **ret_net);
/* Of nets opened from here on: when a silent peer is given up; 0: as by default. */
void test_dpdk_patience(int64_t user_timeout_us, int64_t keepalive_us);
void test_dpdk_end(void);
