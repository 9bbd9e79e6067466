/* dataplane/net_dpdk: what is decided without a device. What needs one is in tests/dpdk. */
#include "tests/unit/unit.h"

#include "dataplane/net_dpdk_internal.h"

#define IPV4 RTE_ETH_RX_OFFLOAD_IPV4_CKSUM
#define TCP  RTE_ETH_RX_OFFLOAD_TCP_CKSUM
#define UDP  RTE_ETH_RX_OFFLOAD_UDP_CKSUM

static void sums_of_received_frames_are_asked_for_together(void **state)
{
    assert_int_equal(dpdk_sums_received(0), 0);
    assert_int_equal(dpdk_sums_received(IPV4 | UDP | TCP), IPV4 | TCP);
    assert_int_equal(dpdk_sums_received(UDP | TCP | RTE_ETH_RX_OFFLOAD_TCP_LRO), 0); /* virtio */
    assert_int_equal(dpdk_sums_received(IPV4 | UDP), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_received_frames_are_asked_for_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
