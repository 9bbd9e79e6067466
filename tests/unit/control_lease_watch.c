/* control/lease_watch: what lanes' address by DHCP meets is counted and told once. */
#include "tests/unit/unit.h"

#include "control/lease_watch.h"

#include <stdio.h>
#include <string.h>

static char told[2048];

static void sink(void *arg, enum salvo_log_level level, const char *line)
{
    size_t size = strlen(told);

    snprintf(told + size, sizeof(told) - size, "%s\n", line);
}

static unsigned lines(void)
{
    unsigned count = 0;

    for (const char *p = told; *p != '\0'; p++)
        count += *p == '\n';
    return count;
}

static void losses_and_regains_are_counted_and_told_once(void **state)
{
    static salvo_counter counters[SALVO_CONTROL_COUNTERS];
    struct salvo_log log = {.level = SALVO_LOG_INFO, .sink = sink};
    struct salvo_report report = {.log = &log, .counters = counters};
    struct salvo_net_tcp_lease lease = {.first.address = salvo_ip4_address(10, 0, 0, 5)};
    struct salvo_lease_watch watch = {.lease = &lease};

    salvo_lease_watch_look(&watch, &report);
    assert_string_equal(told, "");
    lease.lost = 1;
    salvo_lease_watch_look(&watch, &report);
    salvo_lease_watch_look(&watch, &report);
    assert_int_equal(lines(), 1);
    assert_non_null(strstr(told, "lease of 10.0.0.5 is lost"));
    lease.other = 0x0a00004d;
    salvo_lease_watch_look(&watch, &report);
    salvo_lease_watch_look(&watch, &report);
    assert_int_equal(lines(), 2);
    assert_non_null(strstr(told, "grants 10.0.0.77 in place of 10.0.0.5"));
    lease.other = 0;
    lease.regained = 1;
    salvo_lease_watch_look(&watch, &report);
    assert_int_equal(lines(), 3);
    assert_non_null(strstr(told, "10.0.0.5 is granted by DHCP again"));
    lease.lost = lease.regained = 3; /* between two looks */
    salvo_lease_watch_look(&watch, &report);
    assert_int_equal(lines(), 5);
    assert_int_equal(salvo_counter_get(counters, SALVO_CONTROL_LEASES_LOST), 3);
    assert_int_equal(salvo_counter_get(counters, SALVO_CONTROL_LEASES_REGAINED), 3);
}

static void a_static_address_has_nothing_to_tell(void **state)
{
    struct salvo_report report = {0};
    struct salvo_lease_watch watch = {0};

    salvo_lease_watch_look(&watch, &report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_regains_are_counted_and_told_once),
        cmocka_unit_test(a_static_address_has_nothing_to_tell),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
