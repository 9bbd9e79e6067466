/* Each bad input gives one error that names the option and says what would be right. */
#include "tests/unit/unit.h"

#include "control/config.h"
#include "control/nets.h"

#include <errno.h>
#include <stdio.h>

static struct salvo_config config;
static char error[SALVO_CONFIG_ERROR_MAX];

static int set(const char *name, const char *value)
{
    error[0] = '\0';
    return salvo_config_set(&config, name, value, SALVO_CONFIG_ARGUMENT, error);
}

static void defaults_are_those_of_the_table(void **state)
{
    salvo_config_init(&config);
    assert_string_equal(config.group, "salvo");
    assert_int_equal(config.timeout_ms, 3000);
    assert_int_equal(config.body_size_max, 4 << 20);
    assert_int_equal(config.fault_table, SALVO_FAULT_TABLE_5_1_4);
    assert_string_equal(salvo_config_enum_name(&config, SALVO_OPTION_header), "binary");
    assert_int_equal(config.sources[SALVO_OPTION_lanes], SALVO_CONFIG_DEFAULT);
}

static void times_and_sizes_take_units(void **state)
{
    static const struct {
        const char *name, *value;
        int64_t expected;
    } cases[] = {
        {"linger_us", "250", 250},
        {"linger_us", "250us", 250},
        {"linger_us", "2ms", 2000},
        {"linger_us", "1s", 1000000},
        {"linger_us", "0", 0},
        {"timeout_ms", "3s", 3000},
        {"timeout_ms", "2m", 120000},
        {"timeout_ms", "5000us", 5},
        {"timeout_ms", "7 ms", 7},
        {"body_size_max", "1", 1},
        {"body_size_max", "512B", 512},
        {"body_size_max", "64KiB", 65536},
        {"body_size_max", "4MiB", 4194304},
        {"body_size_max", "64KB", 64000},
        {"body_size_max", "2MB", 2000000},
        {"ring_bytes", "1GiB", 1 << 30},
        {"ring_bytes", "1GB", 1000000000},
    };

    salvo_config_init(&config);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        int64_t got;

        assert_int_equal(set(cases[i].name, cases[i].value), 0);
        got = cases[i].name[0] == 'l'   ? config.linger_us
              : cases[i].name[0] == 't' ? config.timeout_ms
              : cases[i].name[0] == 'b' ? (int64_t)config.body_size_max
                                        : (int64_t)config.ring_bytes;
        assert_int_equal(got, cases[i].expected);
    }
    assert_int_equal(set("batch", "LINGER"), 0);
    assert_int_equal(config.batch, SALVO_BATCH_LINGER);
    assert_int_equal(set("huge_pages", "no"), 0);
    assert_false(config.huge_pages);
    assert_int_equal(set("fault_latency", "on"), 0);
    assert_true(config.fault_latency);
}

static void a_bad_value_names_its_option_and_the_remedy(void **state)
{
    static const struct {
        const char *name, *value;
        const char *says[3];
    } cases[] = {
        {"linger", "1ms", {"\"linger\"", "did you mean linger_us?", NULL}},
        {"topics-max", "1", {"did you mean topics_max?", NULL, NULL}},
        {"timout_ms", "1", {"did you mean timeout_ms?", NULL, NULL}},
        {"xyzzy", "1", {"xyzzy", "docs/CONFIG.md", NULL}},
        {"", "1", {"no option is called", NULL, NULL}},
        {"lanes", "0", {"lanes", "too small", "1 to 64"}},
        {"lanes", "65", {"lanes", "too large", "1 to 64"}},
        {"lanes", "two", {"lanes", "not a whole number", "1 to 64"}},
        {"lanes", "2ms", {"lanes", "without a unit", "1 to 64"}},
        {"lanes", "-1", {"lanes", "negative", "1 to 64"}},
        {"lanes", "", {"lanes", "not a whole number", NULL}},
        {"lanes", "99999999999999999999999", {"lanes", "too large", NULL}},
        {"timeout_ms", "3 parsecs", {"timeout_ms", "unit that nobody knows", "us, ms, s, m"}},
        {"timeout_ms", "1500us", {"timeout_ms", "not whole", "1ms to"}},
        {"timeout_ms", "0", {"timeout_ms", "too small", NULL}},
        {"timeout_ms", "9000000000000000000m", {"timeout_ms", "too large", NULL}},
        {"body_size_max", "5MiB", {"body_size_max", "too large", "4MiB"}},
        {"body_size_max", "1kb", {"body_size_max", "unit that nobody knows", "KiB"}},
        {"timeout_ms", "1.5s", {"timeout_ms", "not a whole number with a unit", "1500ms"}},
        {"linger_us", "0,5ms", {"linger_us", "not a whole number with a unit", "1500us"}},
        {"timeout_ms", "1.s", {"timeout_ms", "unit that nobody knows", NULL}},
        {"body_size_max",
         "1.5MiB",
         {"body_size_max", "not a whole number with a unit", "such as 1536KiB"}},
        {"header", "xml", {"header", "json or binary", NULL}},
        {"compress", "gzip", {"compress", "none, zlib, lz4 or zstd", NULL}},
        {"huge_pages", "maybe", {"huge_pages", "true or false", NULL}},
        {"client_ip",
         "1111111111222222222233333333334444444444555555555566666666667777",
         {"client_ip", "too long", "63 bytes"}},
        {"group", "a\nb", {"group", "control character", NULL}},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_config before;

        salvo_config_init(&config);
        before = config;
        if (set(cases[i].name, cases[i].value) == 0)
            fail_msg("%s=%s was taken", cases[i].name, cases[i].value);
        for (size_t j = 0; j < 3 && cases[i].says[j] != NULL; j++)
            if (strstr(error, cases[i].says[j]) == NULL)
                fail_msg("\"%s\" does not say \"%s\"", error, cases[i].says[j]);
        assert_memory_equal(&before, &config, sizeof(config));
    }
}

static int load_text(const char *text)
{
    char path[] = "/tmp/salvo-config-XXXXXX";
    int fd = mkstemp(path), r;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    salvo_config_init(&config);
    error[0] = '\0';
    r = salvo_config_load_file(&config, path, error);
    unlink(path);
    return r;
}

static void a_file_may_have_sections_or_none(void **state)
{
    assert_int_equal(
        load_text("cluster:\n  nameserver: a:1;b:2\n  header: json\nlanes:\n  lanes: 3\n"
                  "batch:\n  batch: \"off\"\nsend:\n"),
        0);
    assert_string_equal(config.nameserver, "a:1;b:2");
    assert_int_equal(config.header, 0);
    assert_int_equal(config.lanes, 3);
    assert_int_equal(config.sources[SALVO_OPTION_lanes], SALVO_CONFIG_FILE);
    assert_int_equal(load_text("nameserver: a:1\nlinger_us: 5ms\nbatch: linger\nlanes: 2\n"), 0);
    assert_int_equal(config.linger_us, 5000);
    assert_int_equal(config.batch, SALVO_BATCH_LINGER);
    assert_int_equal(config.lanes, 2);
    assert_int_equal(load_text(""), 0);
    assert_int_equal(load_text("# nothing\n"), 0);
    assert_int_equal(load_text("---\n{}\n"), 0);
}

static void a_bad_file_is_refused_with_line_and_column(void **state)
{
    static const struct {
        const char *text;
        const char *says[3];
    } cases[] = {
        {"lanes: 1\nlinger: 1ms\n", {":2:1: ", "did you mean linger_us?", NULL}},
        {"cluster:\n  lanes: 1\n", {":2:3: ", "put it under lanes", NULL}},
        {"clustr:\n  group: x\n", {":1:1: ", "did you mean cluster?", NULL}},
        {"lanes: 1\nlanes: 2\n",
         {":2:1: ", "lanes was already set on line 1", "take one of them out"}},
        {"lanes: 1\nlimits:\n  topics_max: many\n", {":3:15: ", "topics_max", "1 to 65536"}},
        {"nameserver: [a:1, b:2]\n", {":1:13: ", "not a list", "host:port;host:port"}},
        {"group:\n  name: x\n", {"group takes one value, not a mapping", NULL, NULL}},
        {"group:\n", {":1:1: ", "group has no value", "take the line out"}},
        {"send: [1, 2]\n", {"send is a section, not a list", NULL, NULL}},
        {"cluster: 5\n", {"cluster is a section", NULL, NULL}},
        {"- a\n- b\n", {":1:1: ", "list is not expected", NULL}},
        {"just text\n", {":1:1: ", "not a configuration", NULL}},
        {"group: &a x\ninstance_name: *a\n", {"anchors", NULL, NULL}},
        {"group: !!str x\n", {"tags are not read", NULL, NULL}},
        {"group: x\n---\ngroup: y\n", {"second document", NULL, NULL}},
        {"group: \"x\n", {"not YAML", "check quotes", NULL}},
        {"group: x\n\tlanes: 1\n", {"not YAML", NULL, NULL}},
        {"? [a]\n: b\n", {"list is not expected", NULL, NULL}},
        {"group: \"a\\0b\"\n", {"zero byte", NULL, NULL}},
        {"lanes: true\n", {":1:8: ", "not a whole number", NULL}},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        if (load_text(cases[i].text) == 0)
            fail_msg("taken: %s", cases[i].text);
        assert_non_null(strstr(error, "/tmp/salvo-config-"));
        for (size_t j = 0; j < 3 && cases[i].says[j] != NULL; j++)
            if (strstr(error, cases[i].says[j]) == NULL)
                fail_msg("\"%s\" does not say \"%s\"", error, cases[i].says[j]);
    }
    salvo_config_init(&config);
    assert_int_equal(salvo_config_load_file(&config, "/nowhere/at/all.yaml", error), -ENOENT);
    assert_non_null(strstr(error, "check the path"));
    assert_int_equal(salvo_config_load_file(&config, "/tmp", error), -EISDIR);
    assert_non_null(strstr(error, "Is a directory"));
    assert_int_equal(salvo_config_load_file(&config, "/dev/null", error), 0);
}

/* Exported for one of them, they stay when a shell starts salvo next. */
static void the_environment_may_have_what_tests_and_tools_read(void **state)
{
    static const char *const others[] = {
        "SALVO_BIN",       "SALVO_BUILD", "SALVO_CACHE",   "SALVO_E2E_KEEP",     "SALVO_LIB",
        "SALVO_PEER_JAVA", "SALVO_SEED",  "SALVO_VERBOSE", "SALVO_TRACE_ERRORS", "SALVO_GOLDEN",
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(others); i++) {
        char text[64];
        char *const environment[] = {text, NULL};

        salvo_config_init(&config);
        snprintf(text, sizeof(text), "%s=x", others[i]);
        assert_int_equal(salvo_config_load_environment(&config, environment, error), 0);
        snprintf(text, sizeof(text), "%sS=x", others[i]);
        assert_int_equal(salvo_config_load_environment(&config, environment, error), -ENOENT);
    }
}

static void later_sources_win_and_are_remembered(void **state)
{
    char *const environment[] = {(char *)"PATH=/bin",           (char *)"SALVO_LANES=4",
                                 (char *)"SALVO_BIN=x",         (char *)"SALVO_TEST_SEED=1",
                                 (char *)"SALVO_GROUP=fromenv", NULL};
    char *const bad_name[] = {(char *)"SALVO_LANE=4", NULL};
    char *const bad_value[] = {(char *)"SALVO_LANES=4x", NULL};

    assert_int_equal(load_text("lanes: 3\nretries: 7\n"), 0);
    assert_int_equal(salvo_config_load_environment(&config, environment, error), 0);
    assert_int_equal(salvo_config_set_argument(&config, "group=fromarg", error), 0);
    assert_int_equal(config.lanes, 4);
    assert_int_equal(config.retries, 7);
    assert_string_equal(config.group, "fromarg");
    assert_int_equal(config.sources[SALVO_OPTION_lanes], SALVO_CONFIG_ENVIRONMENT);
    assert_int_equal(config.sources[SALVO_OPTION_retries], SALVO_CONFIG_FILE);
    assert_int_equal(config.sources[SALVO_OPTION_group], SALVO_CONFIG_ARGUMENT);

    assert_int_equal(salvo_config_load_environment(&config, bad_name, error), -ENOENT);
    assert_non_null(strstr(error, "SALVO_LANE"));
    assert_non_null(strstr(error, "did you mean lanes"));
    assert_int_equal(salvo_config_load_environment(&config, bad_value, error), -EINVAL);
    assert_non_null(strstr(error, "SALVO_LANES"));
    assert_int_equal(salvo_config_set_argument(&config, "lanes", error), -EINVAL);
    assert_non_null(strstr(error, "name=value"));
    assert_int_equal(salvo_config_set_argument(&config, "=3", error), -EINVAL);
    assert_int_equal(salvo_config_set_argument(&config, "lanes=no", error), -EINVAL);
    assert_non_null(strstr(error, "-D lanes=no"));
}

/* Each default, printed, is taken back and gives the same struct. */
static void printed_values_are_read_back(void **state)
{
    static struct salvo_config again;

    salvo_config_init(&config);
    salvo_config_init(&again);
    for (int i = 0; i < SALVO_OPTIONS; i++) {
        struct salvo_config_option_info info =
            salvo_config_option_info((enum salvo_config_option)i);
        char value[4096];

        salvo_config_value(&config, (enum salvo_config_option)i, value, sizeof(value));
        assert_string_equal(value, info.value);
        assert_int_equal(salvo_config_set(&again, info.name, value, SALVO_CONFIG_DEFAULT, error),
                         0);
        assert_true(strlen(info.text) > 5);
    }
    assert_memory_equal(&config, &again, sizeof(config));
}

/* The generated file, every mark taken off, loads and changes nothing. */
static void the_generated_yaml_loads(void **state)
{
    static struct salvo_config defaults;
    char *text = NULL, *plain;
    size_t size = 0, at = 0;
    FILE *to = open_memstream(&text, &size);

    salvo_config_write_yaml(to);
    fclose(to);
    plain = calloc(1, size + 1);
    for (char *rest, *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        if ((line[0] == '#' && line[1] != ' ') || strncmp(line, "#  ", 3) == 0)
            if (strncmp(line, "#  #", 4) != 0)
                at += (size_t)snprintf(plain + at, size + 1 - at, "%s\n", line + 1);
    assert_int_equal(load_text(plain), 0);
    salvo_config_init(&defaults);
    memset(config.sources, 0, sizeof(config.sources));
    assert_memory_equal(&config, &defaults, sizeof(config));
    free(plain);
    free(text);

    to = open_memstream(&text, &size);
    salvo_config_write_markdown(to);
    salvo_config_print(&config, to);
    fclose(to);
    assert_non_null(strstr(text, "| `linger_us` | `1ms` |"));
    free(text);
}

static void a_gateway_for_dpdk_is_another_host_of_the_network(void **state)
{
    static const struct {
        const char *address, *gateway;
        bool good;
    } cases[] = {
        {"10.93.0.1/24", "", true},
        {"10.93.0.1/24", "10.93.0.2", true},
        {"10.93.0.1/24", "1.2.3.4", false},
        {"10.93.0.1/24", "10.93.1.2", false},
        {"10.93.0.1/24", "10.93.0.1", false},
        {"10.93.0.1/24", "fd00::1", false},
        {"10.93.0.1/32", "1.2.3.4", true},
        {"10.93.0.1/0", "1.2.3.4", true},
        {"10.93.0.1/24,fd00::5/64", "10.93.0.2,fd00::1", true},
        {"10.93.0.1/24,fd00::5/64", "10.93.0.2,fd01::1", false},
        {"10.93.0.1/24,fd00::5/64", "10.93.1.2,fd00::1", false},
        {"fd00::5/64", "fe80::1", true},
        {"fd00::5/128", "fd01::1", true},
        {"fd00::5/64", "10.93.0.2", false},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_tcp_config tcp;

        salvo_config_init(&config);
        assert_int_equal(set("net", "dpdk"), 0);
        assert_int_equal(set("dpdk_device", "net_tap0"), 0);
        assert_int_equal(set("dpdk_address", cases[i].address), 0);
        assert_int_equal(set("dpdk_gateway", cases[i].gateway), 0);
        int r = salvo_nets_tcp_config(&config, &tcp, error);
        if (r != (cases[i].good ? 0 : -EINVAL))
            fail_msg("%s by %s: %d, %s", cases[i].address, cases[i].gateway, r, error);
        if (!cases[i].good)
            assert_non_null(strstr(error, cases[i].gateway));
    }
}

static void an_address_for_dpdk_is_one_of_a_host(void **state)
{
    static const struct {
        const char *value;
        bool good;
    } cases[] = {
        {"10.0.0.5/24", true},         {"10.0.0.0/31", true},  {"10.0.0.255/32", true},
        {"10.0.1.0/23", true},         {"10.0.0.5/0", true},   {"10.0.0.5/24,fd00::5/64", true},
        {"0.0.0.0/24", false},         {"0.1.2.3/8", false},   {"127.0.0.1/8", false},
        {"224.0.0.1/8", false},        {"10.0.0.0/24", false}, {"10.0.0.255/24", false},
        {"255.255.255.255/32", false}, {"ff02::1/64", false},  {"::/64", false},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        struct salvo_tcp_config tcp;

        salvo_config_init(&config);
        assert_int_equal(set("net", "dpdk"), 0);
        assert_int_equal(set("dpdk_device", "net_tap0"), 0);
        assert_int_equal(set("dpdk_address", cases[i].value), 0);
        int r = salvo_nets_tcp_config(&config, &tcp, error);
        if ((r == 0) != cases[i].good)
            fail_msg("%s: %d, %s", cases[i].value, r, error);
        if (cases[i].good)
            continue;
        assert_int_equal(r, -EINVAL);
        assert_non_null(strstr(error, "dpdk_address"));
        assert_non_null(strstr(error, "write salvo's own address"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(times_and_sizes_take_units),
        cmocka_unit_test(a_bad_value_names_its_option_and_the_remedy),
        cmocka_unit_test(a_file_may_have_sections_or_none),
        cmocka_unit_test(a_bad_file_is_refused_with_line_and_column),
        cmocka_unit_test(the_environment_may_have_what_tests_and_tools_read),
        cmocka_unit_test(later_sources_win_and_are_remembered),
        cmocka_unit_test(printed_values_are_read_back),
        cmocka_unit_test(the_generated_yaml_loads),
        cmocka_unit_test(an_address_for_dpdk_is_one_of_a_host),
        cmocka_unit_test(a_gateway_for_dpdk_is_another_host_of_the_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
