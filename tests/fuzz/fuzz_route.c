/* Route bodies: what was read can be written in both styles, and reads the same; and heartbeats,
 * which are JSON bodies too. */
#include "tests/fuzz/fuzz.h"

#include "codec/heartbeat.h"
#include "codec/route_data.h"

#define TOKENS_MAX 4096

static struct salvo_route_data route, again;
static struct salvo_json_token tokens[TOKENS_MAX];
static uint8_t written[1 << 20];

static bool terminated(const char *text, size_t size_max)
{
    return memchr(text, '\0', size_max) != NULL;
}

static void check_route(void)
{
    FUZZ_CHECK(route.brokers_count <= SALVO_ROUTE_BROKERS_MAX);
    FUZZ_CHECK(route.queue_datas_count <= SALVO_ROUTE_QUEUE_DATAS_MAX);
    FUZZ_CHECK(terminated(route.orderTopicConf, sizeof(route.orderTopicConf)));
    for (uint32_t i = 0; i < route.brokers_count; i++) {
        struct salvo_route_broker_data *broker = &route.brokers[i];
        char host[SALVO_ROUTE_NAME_MAX];
        uint16_t port;

        FUZZ_CHECK(terminated(broker->brokerName, SALVO_ROUTE_NAME_MAX));
        FUZZ_CHECK(terminated(broker->cluster, SALVO_ROUTE_NAME_MAX));
        FUZZ_CHECK(terminated(broker->master_address, SALVO_ROUTE_NAME_MAX));
        FUZZ_CHECK(broker->brokerName[0] != '\0');
        if (!salvo_address_split(broker->master_address, host, sizeof(host), &port))
            FUZZ_CHECK(terminated(host, sizeof(host)) && port != 0);
    }
    for (uint32_t i = 0; i < route.queue_datas_count; i++) {
        FUZZ_CHECK(terminated(route.queue_datas[i].brokerName, SALVO_ROUTE_NAME_MAX));
        FUZZ_CHECK(route.queue_datas[i].readQueueNums >= 0);
        FUZZ_CHECK(route.queue_datas[i].writeQueueNums >= 0);
    }
}

static void check_again(bool bare_keys)
{
    struct salvo_writer w = salvo_writer_over(written, sizeof(written));
    const char *why;

    salvo_route_data_write(&w, &route, bare_keys);
    if (w.failed)
        return;
    FUZZ_CHECK(salvo_route_data_read(&again, written, salvo_writer_size(&w), tokens, TOKENS_MAX,
                                     &why) == 0);
    FUZZ_CHECK(again.brokers_count == route.brokers_count);
    FUZZ_CHECK(again.queue_datas_count == route.queue_datas_count);
    for (uint32_t i = 0; i < route.brokers_count; i++) {
        FUZZ_CHECK(strcmp(again.brokers[i].brokerName, route.brokers[i].brokerName) == 0);
        FUZZ_CHECK(again.brokers[i].has_master == route.brokers[i].has_master);
    }
    FUZZ_CHECK(strcmp(again.orderTopicConf, route.orderTopicConf) == 0);
    FUZZ_CHECK(again.static_topic == route.static_topic);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct salvo_text client_id, groups[8];
    const char *why = NULL;
    uint32_t groups_count = 0;

    if (salvo_route_data_read(&route, bytes, size, tokens, TOKENS_MAX, &why)) {
        FUZZ_CHECK(why != NULL);
    } else {
        check_route();
        check_again(false);
        check_again(true);
    }
    if (!salvo_heartbeat_read(bytes, size, &client_id, groups, 8, &groups_count)) {
        FUZZ_CHECK(groups_count <= 8);
        fuzz_touch(client_id.text, client_id.size);
        for (uint32_t i = 0; i < groups_count; i++)
            fuzz_touch(groups[i].text, groups[i].size);
    }
    return 0;
}
