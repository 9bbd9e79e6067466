/* salvo load: generated messages at a rate or through a window, and a report. */
#include "base/bytes.h"
#include "base/error.h"
#include "bench/report.h"
#include "cmd/cluster.h"
#include "cmd/cmd.h"
#include "cmd/load_live.h"
#include "cmd/sender.h"
#include "cmd/stop.h"
#include "codec/message.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Without --closed: enough to keep a lane in work, without making all of the latency. */
#define LOAD_WINDOW_DEFAULT      1024u
#define LOAD_OUT_PER_LANE_MAX    1048576u /* the most that messages_out_max may be */
#define LOAD_COUNT_DEFAULT       1000000u
#define LOAD_DURATION_DEFAULT_NS (10 * SALVO_NS_PER_S)

struct load_values {
    struct cmd_settings settings;
    struct cmd_list configs;
    const char *topics;
    double rate;
    uint64_t closed;
    uint64_t count;
    int64_t duration_ns;
    int64_t warmup_ns;
    struct cmd_sizes size;
    double compressibility;
    uint64_t keys;
    const char *tags;
    uint64_t seed;
    const char *json;
    const char *hdr;
};

#define AT(field) offsetof(struct load_values, field)
#define DAY_NS    86400e9

static const struct cmd_option load_options[] = {
    CMD_SENDER_OPTIONS(struct load_values),
    {"topic", 0, "T[,T...]", CMD_TEXT, AT(topics), 0, 0, NULL,
     "topics, in turn; default SalvoLoad"},
    {"rate", 0, "N", CMD_NUMBER, AT(rate), 0.001, 1e9, NULL,
     "open loop: N messages per second (10k, 1M); latency counts from the intended send time"},
    {"closed", 0, "N", CMD_COUNT, AT(closed), 1, 64.0 * LOAD_OUT_PER_LANE_MAX, NULL,
     "closed loop: at most N messages out; latency counts from submission; default 1024"},
    {"count", 0, "N", CMD_COUNT, AT(count), 1, 1e15, NULL,
     "end after N messages behind the warm-up; default 1M in a closed loop without --duration"},
    {"duration", 0, "TIME", CMD_TIME, AT(duration_ns), 1e6, 30 * DAY_NS, NULL,
     "end after this time behind the warm-up; default 10s with --rate and without --count"},
    {"warmup", 0, "TIME", CMD_TIME, AT(warmup_ns), 0, DAY_NS, NULL,
     "what is sent in the first TIME is accounted for, but not measured; default 0s"},
    {"size", 0, "B|MIN-MAX", CMD_SIZES, AT(size), 1, 4194304, NULL,
     "body size, fixed or evenly spread (512, 4KiB, 100-4KiB); default 128"},
    {"compressibility", 0, "0..1", CMD_NUMBER, AT(compressibility), 0, 1, NULL,
     "share of a body that zlib takes away; default 0"},
    {"keys", 0, "N", CMD_COUNT, AT(keys), 0, 1e15, NULL,
     "messages carry one of N keys; default 0: none"},
    {"tags", 0, "A,B", CMD_TEXT, AT(tags), 0, 0, NULL, "messages carry one of these tags"},
    {"batch", 0, "off|natural|linger", CMD_SETTING, AT(settings), 0, 0, "batch",
     "how messages share a request; linger when --linger is given, natural when one of the next "
     "two is"},
    {"linger", 0, "TIME", CMD_SETTING, AT(settings), 0, 0, "linger_us",
     "how long a batch waits for company (1ms)"},
    {"batch-bytes", 0, "B", CMD_SETTING, AT(settings), 0, 0, "batch_bytes_max",
     "a batch is closed at this size (32KiB)"},
    {"batch-count", 0, "N", CMD_SETTING, AT(settings), 0, 0, "batch_count_max",
     "a batch is closed at this many messages"},
    {"compress", 0, "TYPE", CMD_SETTING, AT(settings), 0, 0, "compress", "none, zlib, lz4 or zstd"},
    {"header", 0, "FORM", CMD_SETTING, AT(settings), 0, 0, "header", "binary or json"},
    {"lanes", 0, "N", CMD_SETTING, AT(settings), 0, 0, "lanes", "data threads"},
    {"net", 0, "NAME", CMD_SETTING, AT(settings), 0, 0, "net", "uring, epoll, null, dpdk or auto"},
    {"idle", 0, "NAME", CMD_SETTING, AT(settings), 0, 0, "idle",
     "gather, spin, yield or backoff; with spin the generator spins too"},
    {"seed", 0, "N", CMD_COUNT, AT(seed), 0, 9e15, NULL,
     "sizes, contents, keys and tags follow from it; default 1"},
    {"json", 0, "FILE", CMD_TEXT, AT(json), 0, 0, NULL,
     "write the report as JSON (docs/REPORT.md); - is standard output"},
    {"hdr", 0, "FILE", CMD_TEXT, AT(hdr), 0, 0, NULL,
     "write the latency distribution as HdrHistogram's tools plot it (.hgrm)"},
};

static const struct cmd_usage load_usage = {
    .command = "load",
    .summary = "Sends generated messages and reports what became of each. Without --nameserver it "
               "starts a mock cluster of its own.",
    .options = load_options,
    .options_count = SALVO_ARRAY_LENGTH(load_options),
    .notes = "Exit code: 0 all acknowledged, 1 some message was not, 2 the run is invalid, or\n"
             "a report was lost. A run that does not start leaves the files of --json and\n"
             "--hdr as they were.\n"
             "Ctrl-C drains and reports; a second one quits at once, and leaves those files\n"
             "too.\n"
             "SIGUSR1 begins a capture of what goes over net dpdk, and the next one ends it\n"
             "(docs/DPDK.md).\n\n"
             "  salvo load\n"
             "  salvo load --nameserver 127.0.0.1:9876 --rate 50k --duration 30s --warmup 2s\n"
             "  salvo load --linger 1ms --size 1KiB --compress zlib --json report.json\n",
};

/* One run, with everything it opens. */
struct load_run {
    struct load_values values;
    struct salvo_config config;
    struct salvo_load_conf conf;
    struct salvo_load_result result;
    struct salvo_report report;
    struct cmd_load_live live;
    struct cmd_sender sender;
    struct salvo_mock *mock;
    FILE *json;
    FILE *hdr;
    bool json_made; /* it was not there before */
    bool hdr_made;
    bool reported;
    char *topics_text;
    char *tags_text;
    const char *topics[SALVO_LOAD_TOPICS_MAX];
    char option_values[SALVO_OPTIONS][272];
};

/* Cuts "A,B" in place. Returns how many, 0 when one is empty or there are more than items_max. */
static unsigned load_split(char *text, const char **ret_items, unsigned items_max)
{
    unsigned count = 0;
    char *rest = text, *item;

    while ((item = strsep(&rest, ",")) != NULL) {
        if (item[0] == '\0' || count == items_max)
            return 0;
        ret_items[count++] = item;
    }
    return count;
}

/* The longest that a message has room for beside its key. */
static size_t load_tag_size_max(uint64_t keys)
{
    char key[SALVO_PAYLOAD_KEY_MAX];
    size_t others_size = strlen("TAGS") + 2; /* the separators */

    if (keys > 0)
        others_size += strlen("KEYS") + 2 +
                       (size_t)snprintf(key, sizeof(key), "k%llu", (unsigned long long)keys - 1);
    return SALVO_PROPERTIES_SIZE_MAX - others_size;
}

/* A tag that the sender would refuse. 0 or the exit code. */
static int load_check_tag(const char *tag, uint64_t keys)
{
    int refusal = salvo_property_value_check(tag, strlen(tag));
    char remedy[64] = "take it out";

    if (refusal == 0 && strlen(tag) > load_tag_size_max(keys))
        refusal = SALVO_REFUSED_TOO_LONG;
    if (refusal == 0)
        return 0;
    if (refusal == SALVO_REFUSED_TOO_LONG)
        snprintf(remedy, sizeof(remedy), "take one of at most %zu bytes", load_tag_size_max(keys));
    return cmd_fail("load", CMD_EXIT_INVALID, "--tags: the tag '%.80s%s': %s; %s", tag,
                    strlen(tag) > 80 ? "..." : "", salvo_refusal_text(refusal), remedy);
}

static int load_lists(struct load_run *run)
{
    struct load_values *values = &run->values;
    struct salvo_payload_conf *payload = &run->conf.payload;

    run->topics_text = strdup(values->topics);
    if (run->topics_text == NULL)
        return cmd_fail("load", CMD_EXIT_INVALID, SALVO_NO_MEMORY);
    run->conf.topics_count = load_split(run->topics_text, run->topics, SALVO_LOAD_TOPICS_MAX);
    if (run->conf.topics_count == 0)
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "--topic %s: 1 to %d names, separated by single commas", values->topics,
                        SALVO_LOAD_TOPICS_MAX);
    if (values->tags == NULL)
        return 0;
    run->tags_text = strdup(values->tags);
    if (run->tags_text == NULL)
        return cmd_fail("load", CMD_EXIT_INVALID, SALVO_NO_MEMORY);
    payload->tags_count = load_split(run->tags_text, payload->tags, SALVO_PAYLOAD_TAGS_MAX);
    if (payload->tags_count == 0)
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "--tags %s: 1 to %d tags, separated by single commas", values->tags,
                        SALVO_PAYLOAD_TAGS_MAX);
    for (unsigned i = 0; i < payload->tags_count; i++) {
        int r = load_check_tag(payload->tags[i], values->keys);

        if (r)
            return r;
    }
    return 0;
}

/* Options that follow from others, where the user did not set them. */
static void load_config_derive(struct load_run *run)
{
    struct salvo_config *config = &run->config;
    const enum salvo_config_source *sources = config->sources;
    uint64_t per_lane = (run->values.closed + config->lanes - 1) / config->lanes;
    char text[32];

    if (sources[SALVO_OPTION_linger_us] != SALVO_CONFIG_DEFAULT)
        cmd_config_prefer(config, SALVO_OPTION_batch, "linger");
    else if (sources[SALVO_OPTION_batch_bytes_max] != SALVO_CONFIG_DEFAULT ||
             sources[SALVO_OPTION_batch_count_max] != SALVO_CONFIG_DEFAULT)
        cmd_config_prefer(config, SALVO_OPTION_batch, "natural");
    if (config->submitters_max < config->lanes) {
        snprintf(text, sizeof(text), "%u", config->lanes);
        cmd_config_prefer(config, SALVO_OPTION_submitters_max, text);
    }
    if (per_lane > config->messages_out_max && per_lane <= LOAD_OUT_PER_LANE_MAX) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)per_lane);
        cmd_config_prefer(config, SALVO_OPTION_messages_out_max, text);
    }
}

static void load_conf_fill(struct load_run *run)
{
    const struct load_values *values = &run->values;
    const struct salvo_config *config = &run->config;
    struct salvo_load_conf *conf = &run->conf;

    conf->submitters = SALVO_MIN(config->lanes, (uint32_t)SALVO_LOAD_SUBMITTERS_MAX);
    conf->lanes = config->lanes;
    conf->caller = config->threads == SALVO_THREADS_CALLER;
    conf->idle = strcmp(salvo_config_enum_name(config, SALVO_OPTION_idle), "spin") == 0
                     ? SALVO_LOAD_SPIN
                     : SALVO_LOAD_SLEEP;
    conf->rate = values->rate;
    if (values->rate <= 0)
        conf->window = values->closed != 0
                           ? values->closed
                           : SALVO_MIN((uint64_t)LOAD_WINDOW_DEFAULT,
                                       (uint64_t)config->messages_out_max * config->lanes);
    conf->count = values->count;
    conf->duration_ns = values->duration_ns;
    if (values->count == 0 && values->duration_ns == 0) {
        if (values->rate > 0)
            conf->duration_ns = LOAD_DURATION_DEFAULT_NS;
        else
            conf->count = LOAD_COUNT_DEFAULT;
    }
    conf->warmup_ns = values->warmup_ns;
    conf->drain_ns = config->drain_ms * SALVO_NS_PER_MS;
    conf->payload.size_min = values->size.min;
    conf->payload.size_max = values->size.max;
    conf->payload.compressibility = values->compressibility;
    conf->payload.keys = values->keys;
    conf->payload.seed = values->seed;
    conf->stop = &cmd_stop;
}

/* A window that the lanes cannot hold. 0 or the exit code. */
static int load_check_window(const struct load_run *run)
{
    const struct salvo_config *config = &run->config;
    unsigned long long closed = run->values.closed;
    unsigned long long lanes = (closed + LOAD_OUT_PER_LANE_MAX - 1) / LOAD_OUT_PER_LANE_MAX;

    if (lanes > config->lanes)
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "--closed %llu: a lane has at most %u messages out, and there %s %u; take "
                        "--lanes %llu, or a smaller window",
                        closed, LOAD_OUT_PER_LANE_MAX, config->lanes == 1 ? "is" : "are",
                        config->lanes, lanes);
    if (closed > (uint64_t)config->messages_out_max * config->lanes)
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "--closed %llu: over messages_out_max (%u) of %u lane%s; raise it with "
                        "-D messages_out_max=%llu, or leave it out",
                        closed, config->messages_out_max, config->lanes,
                        config->lanes == 1 ? "" : "s",
                        (closed + config->lanes - 1) / config->lanes);
    return 0;
}

/* Arguments for batches where there are none, or no waiting. What a file or the environment says
 * may be for other runs. 0 or the exit code. */
static int load_check_batch(const struct salvo_config *config)
{
    static const struct {
        enum salvo_config_option option;
        const char *argument;
    } needs[] = {
        {SALVO_OPTION_linger_us, "--linger"},
        {SALVO_OPTION_batch_bytes_max, "--batch-bytes"},
        {SALVO_OPTION_batch_count_max, "--batch-count"},
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(needs); i++) {
        bool waits = needs[i].option == SALVO_OPTION_linger_us;

        if (config->sources[needs[i].option] != SALVO_CONFIG_ARGUMENT ||
            config->batch == SALVO_BATCH_LINGER || (config->batch != SALVO_BATCH_OFF && !waits))
            continue;
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "%s has no effect with batch %s; take --batch %s, or leave it out",
                        needs[i].argument, salvo_config_enum_name(config, SALVO_OPTION_batch),
                        waits ? "linger" : "natural");
    }
    return 0;
}

/* Values that contradict each other. 0 or the exit code. */
static int load_check(const struct load_run *run)
{
    const struct load_values *values = &run->values;
    const struct salvo_config *config = &run->config;
    int r = load_check_batch(config);

    if (r)
        return r;
    if (values->rate > 0 && values->closed != 0)
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "--rate is an open loop and --closed a closed one; give one of them");
    if (!salvo_load_measures(&run->conf))
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "--duration: at --rate %g no message is due in the %g s behind the warm-up "
                        "of %g s; take a longer one",
                        values->rate, (double)run->conf.duration_ns / 1e9,
                        (double)values->warmup_ns / 1e9);
    if (values->json != NULL && values->hdr != NULL && strcmp(values->json, "-") == 0 &&
        strcmp(values->hdr, "-") == 0)
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "--json - and --hdr - would be mixed on standard output; give one of them "
                        "a file");
    if (values->size.max > config->body_size_max)
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "--size: %llu bytes are over body_size_max (%llu); raise it with "
                        "-D body_size_max=B, up to 4MiB",
                        (unsigned long long)values->size.max,
                        (unsigned long long)config->body_size_max);
    return load_check_window(run);
}

/* For who looks into a file that has no report of this run. */
static const char load_left_format[] = "--%s %s still holds an earlier report";

/* The second Ctrl-C leaves a file as a run that does not start does. */
static void load_open_file_stop(const char *option, const char *path, FILE *file, bool made)
{
    char text[PATH_MAX + 64] = "salvo load: ";
    size_t used = strlen(text);

    snprintf(text + used, sizeof(text) - used, load_left_format, option, path);
    salvo_text_make_printable(text);
    cmd_stop_file(fileno(file), made ? path : NULL, text);
}

static int load_open_file(const char *option, const char *path, FILE **ret_file, bool *ret_made)
{
    if (path == NULL)
        return 0;
    /* Not "w": a run that cannot start leaves the last one's report alone. */
    *ret_file = strcmp(path, "-") == 0 ? stdout : fopen(path, "ax");
    *ret_made = *ret_file != NULL && *ret_file != stdout;
    if (*ret_file == NULL)
        *ret_file = fopen(path, "a");
    if (*ret_file == NULL)
        return cmd_fail("load", CMD_EXIT_INVALID, "--%s %s: %s", option, path,
                        salvo_error_text(-errno));
    if (*ret_file != stdout)
        load_open_file_stop(option, path, *ret_file, *ret_made);
    return 0;
}

/* Two reports in one file would be neither; a terminal or /dev/null may take both. */
static int load_check_files(const struct load_run *run)
{
    struct stat json, hdr;

    if (run->json == NULL || run->hdr == NULL || fstat(fileno(run->json), &json) != 0 ||
        fstat(fileno(run->hdr), &hdr) != 0)
        return 0;
    if (json.st_dev != hdr.st_dev || json.st_ino != hdr.st_ino || S_ISCHR(json.st_mode))
        return 0;
    return cmd_fail("load", CMD_EXIT_INVALID,
                    "--json %s and --hdr %s are one file; give each its own", run->values.json,
                    run->values.hdr);
}

/* Of a run that did not start. Who looks into its file should not take what is there for its
 * report. */
static void load_leave_file(const char *option, const char *path, bool made)
{
    struct stat st;

    if (made)
        unlink(path);
    else if (path != NULL && strcmp(path, "-") != 0 && stat(path, &st) == 0 &&
             S_ISREG(st.st_mode) && st.st_size > 0)
        cmd_fail("load", 0, load_left_format, option, path);
}

/* What a file had before goes when there is something to put in its place. */
static void load_empty(FILE *file)
{
    struct stat st;

    if (file != NULL && fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) && file != stdout)
        (void)ftruncate(fileno(file), 0); /* fails only where writing does */
}

static int load_open_cluster(struct load_run *run)
{
    const char *address;
    int r;

    if (run->config.nameserver[0] != '\0')
        return 0;
    /* Without a device that is what is missing, and said. */
    if (run->config.net == SALVO_NET_DPDK && run->config.dpdk_device[0] != '\0')
        return cmd_fail("load", CMD_EXIT_INVALID,
                        "net dpdk does not reach the embedded mock cluster, which listens on "
                        "loopback: give --nameserver (salvo mock --listen has one elsewhere, and "
                        "deploy/try-dpdk makes all of it)");
    r = cmd_cluster_start("load", run->topics, run->conf.topics_count, &run->mock);
    if (r)
        return r;
    address = salvo_mock_nameserver_address(run->mock);
    run->config.sources[SALVO_OPTION_nameserver] = SALVO_CONFIG_DEFAULT; /* set to "": not set */
    cmd_config_prefer(&run->config, SALVO_OPTION_nameserver, address);
    run->report.settings.embedded_mock = true;
    return 0;
}

static int load_open_sender(struct load_run *run)
{
    int r = cmd_sender_open(&run->sender, "load", &run->config);

    if (r)
        return r;
    if (run->mock != NULL)
        fprintf(stderr, "salvo load: no --nameserver: sending to the embedded mock cluster at %s\n",
                run->config.nameserver);
    run->conf.sender = run->sender.sender;
    for (unsigned i = 0; i < run->conf.topics_count; i++) {
        run->conf.topics[i] = cmd_sender_topic(&run->sender, run->topics[i]);
        if (run->conf.topics[i] == NULL)
            return CMD_EXIT_INVALID;
    }
    for (unsigned i = 0; i < run->conf.topics_count; i++) {
        if (!cmd_sender_wait_route(&run->sender, run->conf.topics[i], run->config.timeout_ms))
            return CMD_EXIT_INVALID;
    }
    return 0;
}

/* 0 or the exit code, with the error printed. */
static int load_open(struct load_run *run)
{
    int r;

    r = cmd_config_make("load", &run->values.configs, &run->values.settings, &run->config);
    if (r == 0)
        r = load_lists(run);
    if (r == 0) {
        load_config_derive(run);
        load_conf_fill(run);
        r = load_check(run);
    }
    salvo_machine_read(&run->report.machine); /* while there are descriptors for it */
    if (r == 0)
        r = load_open_file("json", run->values.json, &run->json, &run->json_made);
    if (r == 0)
        r = load_open_file("hdr", run->values.hdr, &run->hdr, &run->hdr_made);
    if (r == 0)
        r = load_check_files(run);
    if (r == 0)
        r = load_open_cluster(run);
    if (r == 0)
        r = load_open_sender(run);
    return r;
}

/* Undoes load_open, also a half one. */
static void load_close(struct load_run *run)
{
    cmd_sender_close(&run->sender);
    salvo_mock_free(run->mock);
    if (run->json != NULL && run->json != stdout)
        fclose(run->json);
    if (run->hdr != NULL && run->hdr != stdout)
        fclose(run->hdr);
    free(run->topics_text);
    free(run->tags_text);
    free(run);
}

/* Options that a reader of the report needs even at their default. */
static bool load_option_matters(unsigned option)
{
    switch (option) {
    case SALVO_OPTION_threads:
    case SALVO_OPTION_lanes:
    case SALVO_OPTION_net:
    case SALVO_OPTION_idle:
    case SALVO_OPTION_header:
    case SALVO_OPTION_batch:
    case SALVO_OPTION_linger_us:
    case SALVO_OPTION_batch_bytes_max:
    case SALVO_OPTION_batch_count_max:
    case SALVO_OPTION_compress:
    case SALVO_OPTION_timeout_ms:
    case SALVO_OPTION_retries:
    case SALVO_OPTION_requests_per_broker:
    case SALVO_OPTION_messages_out_max:
        return true;
    default:
        return false;
    }
}

static void load_report_settings(struct load_run *run)
{
    struct salvo_report_settings *settings = &run->report.settings;

    settings->nameserver = run->config.nameserver;
    settings->net = salvo_net_name(run->sender.sender);
    settings->net_note = salvo_net_note(run->sender.sender);
    for (unsigned i = 0; i < SALVO_OPTIONS; i++) {
        enum salvo_config_option option = (enum salvo_config_option)i;
        unsigned n = settings->options_count;

        if (option == SALVO_OPTION_nameserver || n == SALVO_REPORT_OPTIONS_MAX)
            continue;
        if (run->config.sources[i] == SALVO_CONFIG_DEFAULT && !load_option_matters(i))
            continue;
        salvo_config_value(&run->config, option, run->option_values[i],
                           sizeof(run->option_values[i]));
        settings->options[n].name = salvo_config_option_info(option).name;
        settings->options[n].value = run->option_values[i];
        settings->options_count++;
    }
}

static int load_not_written(const char *option, const char *path, int error)
{
    return cmd_fail("load", CMD_EXIT_INVALID,
                    "%s %s: cannot be written, and what is there is not whole: %s", option, path,
                    strerror(-error));
}

static int load_report(struct load_run *run)
{
    struct salvo_report *report = &run->report;
    int code;

    report->conf = &run->conf;
    report->result = &run->result;
    load_report_settings(run);
    report->build = salvo_build_info();
    salvo_report_judge(report);
    code = salvo_report_exit_code(report);
    salvo_report_text(report, run->json == stdout || run->hdr == stdout ? stderr : stdout);
    run->reported = true;
    cmd_stop_files_done();
    load_empty(run->json);
    load_empty(run->hdr);
    int r = run->json == NULL ? 0 : salvo_report_json(report, run->json);
    if (r)
        code = load_not_written("--json", run->values.json, r);
    r = run->hdr == NULL ? 0 : salvo_report_hgrm(&run->result.latency, run->hdr);
    if (r)
        code = load_not_written("--hdr", run->values.hdr, r);
    return code;
}

static int load_run(struct load_run *run)
{
    time_t now = time(NULL);
    struct tm utc;
    int r;

    gmtime_r(&now, &utc);
    strftime(run->report.started, sizeof(run->report.started), "%Y-%m-%dT%H:%M:%SZ", &utc);
    cmd_load_live_start(&run->live);
    r = salvo_load_run(&run->conf, &run->live.shared, &run->result);
    cmd_load_live_stop(&run->live);
    if (r)
        return cmd_fail("load", CMD_EXIT_INVALID, "the generator did not start: %s",
                        r == -ENOSPC ? "raise submitters_max" : salvo_error_text(r));
    salvo_load_result_join(&run->result, &run->live.shared, &run->live.taken);
    return load_report(run);
}

int cmd_load(int argc, char **argv)
{
    struct load_run *run = calloc(1, sizeof(*run));
    int code;

    if (run == NULL)
        return cmd_fail("load", CMD_EXIT_INVALID, SALVO_NO_MEMORY);
    run->values.topics = "SalvoLoad";
    run->values.size = (struct cmd_sizes){128, 128};
    run->values.seed = 1;
    if (cmd_options_begin(&load_usage, argc, argv, &run->values, &code)) {
        cmd_stop_init();
        code = load_open(run);
        if (code == 0) {
            cmd_stop_opened();
            code = load_run(run);
        }
        if (!run->reported) {
            cmd_stop_files_done(); /* before they are closed, and said once */
            load_leave_file("json", run->values.json, run->json_made);
            load_leave_file("hdr", run->values.hdr, run->hdr_made);
        }
    }
    load_close(run);
    return code;
}
