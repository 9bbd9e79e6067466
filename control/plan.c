/* Configuration -> every size: see plan.h. */
#include "control/plan.h"

#include "base/cpu.h"
#include "base/error.h"
#include "codec/message.h"
#include "control/capture.h"
#include "control/control.h"
#include "control/nets.h"
#include "dataplane/net_tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Room for the remark of an error answer: brokers send exception texts of a few KB. */
#define PLAN_REMARK_ROOM SALVO_KIB(16)
/* An answer without its id list; an offset message id and its comma. */
#define PLAN_ANSWER_SIZE 256u
#define PLAN_ANSWER_ID   57u

#define PLAN_RECEIVE_BUFFERS     128u
#define PLAN_RECEIVE_BUFFER_SIZE SALVO_KIB(32)

static void plan_row(struct salvo_plan *plan, const char *what, uint64_t count, uint64_t size,
                     const char *formula)
{
    salvo_assert(plan->rows_count < SALVO_PLAN_ROWS_MAX);
    plan->rows[plan->rows_count++] = (struct salvo_plan_row){what, count, size, formula};
}

/* The largest frame: header with properties at their worst, and body or batch. */
static uint64_t plan_frame_size_max(const struct salvo_config *config)
{
    uint64_t properties = SALVO_PROPERTIES_SIZE_MAX + 256;
    uint64_t header =
        SALVO_SEND_TEMPLATE_SIZE_MAX + properties * (config->header == SALVO_HEADER_JSON ? 6 : 1);
    uint64_t body = SALVO_MAX(config->body_size_max,
                              config->batch == SALVO_BATCH_OFF ? 0 : config->batch_bytes_max);

    return header + body + 64;
}

static int plan_lane(const struct salvo_config *config, struct salvo_plan *plan, char *ret_error)
{
    struct salvo_lane_conf *lane = &plan->lane;
    uint64_t frame_chunks;
    uint64_t needed;

    lane->frame_size_max = (uint32_t)plan_frame_size_max(config);
    lane->chunk_size = (uint32_t)config->chunk_bytes;
    lane->zero_copy = config->zero_copy_min != 0;
    lane->chunks_max = config->chunks_max;
    if (!salvo_is_power_of_two(config->chunk_bytes)) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "chunk_bytes is %" PRIu64 ", which is no power of two: set it to %" PRIu64,
                 config->chunk_bytes, salvo_power_of_two_up(config->chunk_bytes));
        return salvo_raise(-EINVAL);
    }
    frame_chunks = (lane->frame_size_max + config->chunk_bytes - 1) / config->chunk_bytes + 1;
    lane->chunks_reserve = (uint32_t)SALVO_MAX(config->retry_chunks, frame_chunks + 1);
    needed = lane->chunks_reserve + 2 * frame_chunks;
    if (config->chunks_max < needed) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "chunks_max is %" PRIu32 ", but frames of up to %" PRIu32 " bytes need %" PRIu64
                 " chunks of %" PRIu64 " bytes (a reserve of %" PRIu32
                 " for retries and two frames): raise chunks_max, or lower %sbody_size_max",
                 config->chunks_max, lane->frame_size_max, needed, config->chunk_bytes,
                 lane->chunks_reserve,
                 config->retry_chunks > frame_chunks + 1 ? "retry_chunks or " : "");
        return salvo_raise(-EINVAL);
    }
    if (config->retry_chunks >= config->chunks_max / 2) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "retry_chunks is %" PRIu32 " of chunks_max %" PRIu32
                 ": keep it below half, new messages need chunks too",
                 config->retry_chunks, config->chunks_max);
        return salvo_raise(-EINVAL);
    }
    lane->requests_max = config->requests_max;
    lane->items_max =
        (config->submitters_max + config->lanes - 1) / config->lanes * config->messages_out_max;
    lane->submitters_max = config->submitters_max;
    lane->topics_max = config->topics_max;
    lane->brokers_max = config->brokers_max;
    lane->queues_max = config->queues_max;
    lane->window = SALVO_MAX(config->requests_per_broker / config->lanes, 1u);
    lane->gather_max =
        (uint32_t)(PLAN_ANSWER_SIZE + PLAN_REMARK_ROOM +
                   PLAN_ANSWER_ID *
                       (config->batch == SALVO_BATCH_OFF ? 1u : config->batch_count_max));
    lane->form = (enum salvo_header_form)config->header;
    lane->batch = (struct salvo_batch_limits){
        .mode = (enum salvo_batch_mode)config->batch,
        .linger_ns = config->linger_us * SALVO_NS_PER_US,
        .bytes_max = (uint32_t)config->batch_bytes_max,
        .count_max = config->batch_count_max,
        .open_max = config->batches_open_max,
    };
    lane->compression = (enum salvo_compression)config->compress;
    lane->compressed_sysflag =
        salvo_compression_sysflag(lane->compression, config->compress_old_flag);
    lane->compress_level = (int)config->compress_level;
    lane->compress_min = config->compress_min;
    lane->tries_max = config->retries + 1;
    lane->try_timeout_ns = config->try_timeout_ms * SALVO_NS_PER_MS;
    lane->retry_not_stored_ok = config->retry_not_stored_ok;
    lane->connect_timeout_ns = config->connect_timeout_ms * SALVO_NS_PER_MS;
    lane->heartbeat_ns = config->heartbeat_interval_ms * SALVO_NS_PER_MS;
    return 0;
}

static int plan_submitter(const struct salvo_config *config, struct salvo_plan *plan,
                          char *ret_error)
{
    uint64_t ring_min;

    plan->slot_size_max = salvo_ring_record_size(salvo_slot_size_max(config->body_size_max));
    ring_min = salvo_power_of_two_up(2 * plan->slot_size_max);
    if (config->ring_bytes != 0 && config->ring_bytes < ring_min) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "ring_bytes is %" PRIu64 ", but messages of up to %" PRIu64 " bytes need %" PRIu64
                 " (twice the largest slot, a power of two): raise it, or lower body_size_max",
                 config->ring_bytes, config->body_size_max, ring_min);
        return salvo_raise(-EINVAL);
    }
    plan->ring_size = config->ring_bytes != 0 ? salvo_power_of_two_up(config->ring_bytes)
                                              : SALVO_MAX(ring_min, SALVO_MIB(1));
    plan->submitter = (struct salvo_submitter_conf){
        .ring_size = plan->ring_size,
        .messages_out_max = config->messages_out_max,
        .body_size_max = config->body_size_max,
        .timeout_ns = config->timeout_ms * SALVO_NS_PER_MS,
        .compression = (enum salvo_compression)config->compress,
        .compress_level = (int)config->compress_level,
        .compress_min = config->compress_min,
    };
    plan->submitter_memory = salvo_submitter_memory_size(&plan->submitter);
    return 0;
}

/* A number that no CPU has; which of the others this host has, it says at start. */
static int plan_check_cpu(const char *name, const char *number, char *ret_error)
{
    size_t size = strspn(number, "0123456789");

    if (strtoul(number, NULL, 10) < SALVO_CPU_MAX) /* ULONG_MAX when it is longer than that */
        return 0;
    snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
             "%s names CPU %.*s, and no CPU has a number above %d: `salvo check` shows those that "
             "this process may use",
             name, (int)size, number, SALVO_CPU_MAX - 1);
    return salvo_raise(-EINVAL);
}

/* Up to numbers_max CPUs with single commas between them, or nothing. */
static int plan_check_cpus(const char *name, const char *list, uint32_t numbers_max,
                           char *ret_error)
{
    size_t size = strlen(list);
    uint32_t numbers = 1;

    for (size_t i = 0; i < size; i++) {
        bool edge = i == 0 || i == size - 1 || list[i - 1] == ',';

        if (list[i] >= '0' && list[i] <= '9')
            continue;
        if (list[i] == ',' && !edge) {
            numbers++;
            continue;
        }
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "%s is \"%s\": write CPU numbers with single commas between them, as in 2,3", name,
                 list);
        return salvo_raise(-EINVAL);
    }
    if (numbers > numbers_max) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "%s is \"%s\": %u CPUs for %u threads, one each; take some out", name, list,
                 numbers, numbers_max);
        return salvo_raise(-EINVAL);
    }
    for (const char *at = list; size > 0 && at != NULL; at = strchr(at, ',')) {
        int r;

        at += *at == ',';
        r = plan_check_cpu(name, at, ret_error);
        if (r)
            return r;
    }
    return 0;
}

/* Text that means something beyond its length. */
static int plan_check_texts(const struct salvo_config *config, char *ret_error)
{
    uint8_t ip[16];
    int refusal = salvo_group_check(config->group, strlen(config->group));
    int r;

    if (refusal != 0) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "group \"%s\": %s; choose another, of at most 120 letters, digits, %%, _, - and |",
                 config->group, salvo_refusal_text(refusal));
        return salvo_raise(-EINVAL);
    }
    if (config->create_topic_key[0] == '\0') {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "create_topic_key is empty: name the topic whose settings a broker gives to those "
                 "that it creates, TBW102 on nearly all of them");
        return salvo_raise(-EINVAL);
    }
    if (config->client_ip[0] != '\0' && inet_pton(AF_INET, config->client_ip, ip) != 1 &&
        inet_pton(AF_INET6, config->client_ip, ip) != 1) {
        snprintf(
            ret_error, SALVO_CONFIG_ERROR_MAX,
            "client_ip \"%s\" is no IPv4 or IPv6 address: write one as in 10.0.0.1, or leave it "
            "empty to have one chosen",
            config->client_ip);
        return salvo_raise(-EINVAL);
    }
    r = plan_check_cpus("lane_cpus", config->lane_cpus, config->lanes, ret_error);
    return r ? r : plan_check_cpus("control_cpu", config->control_cpu, 1, ret_error);
}

int salvo_plan_make(const struct salvo_config *config, struct salvo_plan *ret_plan,
                    char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    enum salvo_compression compression = (enum salvo_compression)config->compress;
    struct salvo_plan plan = {.lanes_count = config->lanes};
    struct salvo_tcp_config tcp;
    int r;

    if (compression != SALVO_COMPRESS_NONE &&
        config->compress_level > (uint32_t)salvo_compression_level_max(compression)) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "compress_level is %" PRIu32 ", but compress %s has levels 0 to %d: lower it",
                 config->compress_level, salvo_compression_name(compression),
                 salvo_compression_level_max(compression));
        return salvo_raise(-EINVAL);
    }
    if (config->try_timeout_ms > config->timeout_ms) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "try_timeout_ms (%" PRId64 ") is longer than timeout_ms (%" PRId64
                 "), the budget of all tries: lower it, or set it to 0 for a third",
                 config->try_timeout_ms, config->timeout_ms);
        return salvo_raise(-EINVAL);
    }
    if (config->batch == SALVO_BATCH_LINGER && config->linger_us >= config->timeout_ms * 1000) {
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
                 "linger_us (%" PRId64 ") is as long as timeout_ms (%" PRId64
                 "), and time would be up before a batch goes: lower it, or raise timeout_ms",
                 config->linger_us, config->timeout_ms);
        return salvo_raise(-EINVAL);
    }
    r = plan_check_texts(config, ret_error);
    if (r == 0 && config->net == SALVO_NET_DPDK)
        r = salvo_nets_tcp_config(config, &tcp, ret_error);
    if (r == 0)
        r = salvo_capture_check(config, ret_error);
    if (r == 0)
        r = plan_lane(config, &plan, ret_error);
    if (r == 0)
        r = plan_submitter(config, &plan, ret_error);
    if (r)
        return salvo_trace(r);
    if (salvo_config_control_by_lane(config))
        plan.lane.streams_max = salvo_control_links_max(config);
    plan.lane_memory = salvo_lane_memory_size(&plan.lane);
    plan.chunks_memory = salvo_lane_chunks_memory_size(&plan.lane);
    salvo_net_conf_default(&plan.net, NULL);
    plan.net.links_max = config->brokers_max + plan.lane.streams_max + 4;
    plan.net.receive_buffers = PLAN_RECEIVE_BUFFERS;
    plan.net.receive_buffer_size = PLAN_RECEIVE_BUFFER_SIZE;
    plan.net.zero_copy_min = (uint32_t)SALVO_MIN(config->zero_copy_min, UINT32_MAX);
    plan.net.disabled = true; /* bound by its lane's first turn, whichever thread makes that */

    plan_row(&plan, "chunks of a lane", plan.lane.chunks_max, plan.lane.chunk_size,
             "chunks_max x chunk_bytes");
    plan_row(&plan, "open batches of a lane",
             plan.lane.batch.mode == SALVO_BATCH_MODE_OFF ? 0 : plan.lane.batch.open_max,
             salvo_lane_batch_room(&plan.lane),
             salvo_lane_exchanges(&plan.lane) ? "batches_open_max x chunk_bytes"
                                              : "batches_open_max x batch_bytes_max");
    plan_row(&plan, "requests of a lane", plan.lane.requests_max, sizeof(struct salvo_request),
             "requests_max x 2 cache lines");
    plan_row(&plan, "messages taken by a lane", plan.lane.items_max, sizeof(struct salvo_item),
             "submitters_max / lanes x messages_out_max");
    plan_row(&plan, "answers in pieces", plan.lane.brokers_max, plan.lane.gather_max,
             "brokers_max x (256 + 16 KiB + 57 x batch_count_max)");
    plan_row(&plan, "ordered lines", plan.lane.queues_max, sizeof(struct salvo_lane_line),
             "queues_max");
    plan_row(&plan, "scratch", 2, plan.lane.frame_size_max, "largest frame, header and body");
    plan_row(&plan, "a lane without chunks", plan.lanes_count, plan.lane_memory,
             "lanes x the above but chunks and batches; wheel, connections, rings to control");
    plan_row(&plan, "receive buffers of a lane", plan.net.receive_buffers,
             plan.net.receive_buffer_size, "taken by the network backend");
    if (config->net == SALVO_NET_DPDK) {
        plan_row(&plan, "salvo's own TCP of a lane", 1, salvo_net_tcp_memory_size(&plan.net),
                 "2 x (links + 32) connections; reserved, and taken as connections are used");
        plan_row(&plan, "captures' ring of a lane", plan.lanes_count, SALVO_MIRROR_RING_SIZE,
                 "lanes x a constant; taken when a first capture begins");
    }
    plan_row(&plan, "message ring", config->submitters_max, plan.ring_size,
             "submitters_max x (ring_bytes, or twice the largest slot)");
    plan_row(&plan, "results ring", config->submitters_max,
             salvo_results_ring_size(config->messages_out_max),
             "submitters_max x (messages_out_max + 16) x 72, a power of two");
    plan_row(&plan, "a submitter", config->submitters_max, plan.submitter_memory,
             "rings, details, failures not polled yet, room to compress");
    plan.arena_size =
        plan.lanes_count * (salvo_arena_cost(plan.lane_memory, SALVO_CACHE_LINE) +
                            salvo_arena_cost(plan.chunks_memory, SALVO_MIB(2)) +
                            salvo_arena_cost(sizeof(struct salvo_lane), 2 * SALVO_CACHE_LINE)) +
        config->submitters_max *
            (salvo_arena_cost(plan.submitter_memory, 2 * SALVO_CACHE_LINE) +
             salvo_arena_cost(sizeof(struct salvo_submitter), 2 * SALVO_CACHE_LINE)) +
        salvo_arena_cost(config->brokers_max * sizeof(salvo_availability), SALVO_CACHE_LINE);
    *ret_plan = plan;
    return 0;
}

int salvo_plan_fits(uint64_t size, bool huge_pages, const struct salvo_memory *memory,
                    char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    const double mib = 1 << 20;

    if (size <= memory->available || (huge_pages && size <= memory->huge))
        return 0;
    snprintf(ret_error, SALVO_CONFIG_ERROR_MAX,
             "%.0f MiB would be taken at start, and %s %.0f MiB: lower submitters_max, "
             "messages_out_max, lanes, chunks_max, batches_open_max or body_size_max (salvo check "
             "prints what each takes)",
             (double)size / mib,
             memory->limited ? "the memory limit of the cgroup is" : "this host has available",
             (double)memory->available / mib);
    return salvo_raise(-ENOMEM);
}

void salvo_plan_print(const struct salvo_plan *plan, FILE *to)
{
    fprintf(to, "%-28s %10s %12s %14s  %s\n", "what", "count", "bytes each", "bytes", "formula");
    for (uint32_t i = 0; i < plan->rows_count; i++) {
        const struct salvo_plan_row *row = &plan->rows[i];

        fprintf(to, "%-28s %10" PRIu64 " %12" PRIu64 " %14" PRIu64 "  %s\n", row->what, row->count,
                row->size, row->count * row->size, row->formula);
    }
    fprintf(to, "%-28s %10s %12s %14" PRIu64 "  %s\n", "taken at start", "", "", plan->arena_size,
            "lanes x (lane + chunks + batches + 2 MiB to align) + submitters + heads");
}
