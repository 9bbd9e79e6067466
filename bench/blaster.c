/* The raw limit: what one plain socket reaches with frames that were encoded beforehand, against
 * the same mock or broker that salvo is measured with.
 *
 *   blaster --to ADDRESS:PORT [--size 128] [--batch-bytes 32768] [--window 4000]
 *           [--seconds 3] [--warmup 1] [--topic T] [--queues 4] [--broker-name broker-a] [--spin]
 *
 * The frames are byte for byte a lane's (binary headers, UNIQ_KEY, salvo's own names), but never
 * change: opaque, id and time stay as they were encoded. The loop is the shortest there is: send()
 * of up to 64 KiB while the window has room, recv(), and poll() when neither could do anything (or,
 * with --spin, again at once). Answers are only counted, not looked at.
 *
 * The window counts frames. Prints one JSON object; rates and CPU are of what came behind the
 * warm-up. Its bytes are repeated, so against a real broker ids repeat too. */
#include "base/clock.h"
#include "base/cpu.h"
#include "codec/message.h"
#include "codec/send.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BLASTER_SEND_MAX    SALVO_KIB(64)
#define BLASTER_RECEIVE_MAX SALVO_KIB(256)
/* Encoded bytes: room for several sends, and still in the second-level cache. */
#define BLASTER_BYTES_MIN SALVO_KIB(512)
#define BLASTER_NAME_MAX  128

struct blaster_conf {
    struct sockaddr_in to;
    size_t size;
    size_t batch_bytes; /* 0: one message per frame */
    uint64_t window;    /* frames */
    double seconds;
    double warmup;
    uint32_t queues;
    bool spin;
    char topic[BLASTER_NAME_MAX];
    char broker_name[BLASTER_NAME_MAX];
};

struct blaster {
    struct blaster_conf conf;
    int fd;

    uint8_t *bytes; /* whole frames, all of one size */
    size_t frame_size;
    size_t frames_count;
    uint32_t frame_messages;

    size_t at;     /* in bytes, of what goes next */
    uint64_t sent; /* bytes */
    uint64_t answered;

    uint8_t *received;
    uint8_t prefix[4]; /* of an answer that was cut */
    uint32_t prefix_size;
    uint64_t answer_left;
};

/* --- encoding --------------------------------------------------------------------------------- */

/* A lane's properties for a message without any of its own. */
static size_t encode_properties(struct salvo_id_source *ids, int64_t now_ms, uint8_t *to)
{
    static const char name[] = "UNIQ_KEY\x01";
    size_t size = sizeof(name) - 1;
    /* Any month will do: only the bytes' number counts. */
    uint8_t id[SALVO_ID_SIZE] = {0};

    salvo_store_be32(id + 6, (uint32_t)now_ms);
    salvo_store_be16(id + 10, (uint16_t)ids->counter++);
    memcpy(to, name, size);
    size += salvo_id_write(ids->ip, ids->ip_size, id, (char *)to + size);
    to[size++] = 0x02;
    return size;
}

/* The body of a frame: one message's, or as many items as batch_bytes holds. */
static size_t encode_body(struct blaster *b, struct salvo_id_source *ids, int64_t now_ms,
                          uint8_t *to)
{
    const struct blaster_conf *conf = &b->conf;
    struct salvo_writer w = salvo_writer_over(to, conf->batch_bytes);
    uint8_t properties[128];
    uint8_t *body;

    if (conf->batch_bytes == 0) {
        memset(to, 'x', conf->size);
        b->frame_messages = 1;
        return conf->size;
    }
    body = calloc(1, conf->size);
    for (b->frame_messages = 0; body != NULL; b->frame_messages++) {
        struct salvo_writer before = w;
        struct salvo_batch_item item = {
            .body = body,
            .body_size = (uint32_t)conf->size,
            .properties = properties,
            .properties_size = (uint16_t)encode_properties(ids, now_ms, properties),
        };

        salvo_batch_item_write(&w, &item);
        if (w.failed) {
            w = before;
            break;
        }
    }
    free(body);
    return salvo_writer_size(&w);
}

static size_t encode_frame(struct blaster *b, struct salvo_id_source *ids, uint32_t number,
                           int64_t now_ms, uint8_t *body, uint8_t *to)
{
    static const char wait[] = "WAIT\x01true\x02";
    const struct blaster_conf *conf = &b->conf;
    bool batch = conf->batch_bytes != 0;
    struct salvo_send_fields fields = {
        .code = batch ? SALVO_REQUEST_SEND_BATCH_MESSAGE : SALVO_REQUEST_SEND_MESSAGE_V2,
        .language = SALVO_LANGUAGE_CPP,
        .version = SALVO_VERSION_V5_3_3,
        .producerGroup = SALVO_TEXT("salvo"),
        .topic = salvo_text_of(conf->topic),
        .defaultTopic = SALVO_TEXT("TBW102"),
        .defaultTopicQueueNums = 4,
        .queueId = (int32_t)(number % conf->queues),
        .maxReconsumeTimes = -1,
        .batch = batch,
        .brokerName = salvo_text_of(conf->broker_name),
    };
    struct salvo_send_template t;
    uint8_t properties[128];
    size_t properties_size = sizeof(wait) - 1;
    size_t body_size = encode_body(b, ids, now_ms, body);
    struct salvo_born born = {0};
    size_t size;

    if (salvo_send_template_init(&t, SALVO_HEADER_BINARY, &fields, false))
        return 0;
    if (batch)
        memcpy(properties, wait, properties_size);
    else
        properties_size = encode_properties(ids, now_ms, properties);
    salvo_born_set(&born, now_ms);
    size = salvo_send_template_write(&t, to, 1000000000 + (int32_t)number, &born, properties,
                                     properties_size, (uint32_t)body_size);
    memcpy(to + size, body, body_size);
    return size + body_size;
}

static int encode_all(struct blaster *b)
{
    const struct blaster_conf *conf = &b->conf;
    struct salvo_id_source ids = {.ip = {127, 0, 0, 1}, .ip_size = 4};
    size_t frame_max = SALVO_MAX(conf->size, conf->batch_bytes) + 2048;
    int64_t now_ms = salvo_clock_wall_ms(salvo_clock_system());
    uint8_t *body = malloc(frame_max);
    uint8_t *frame = malloc(frame_max);

    if (body == NULL || frame == NULL)
        return -ENOMEM;
    b->frame_size = encode_frame(b, &ids, 0, now_ms, body, frame);
    if (b->frame_size == 0 || b->frame_messages == 0)
        return -EINVAL;
    b->frames_count = BLASTER_BYTES_MIN / b->frame_size + conf->queues;
    b->bytes = malloc(b->frames_count * b->frame_size);
    b->received = malloc(BLASTER_RECEIVE_MAX);
    if (b->bytes == NULL || b->received == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < b->frames_count; i++) {
        if (encode_frame(b, &ids, i, now_ms, body, frame) != b->frame_size)
            return -EINVAL;
        memcpy(b->bytes + i * b->frame_size, frame, b->frame_size);
    }
    free(body);
    free(frame);
    return 0;
}

/* --- the loop --------------------------------------------------------------------------------- */

static int blaster_connect(struct blaster *b)
{
    int on = 1;

    b->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (b->fd < 0 || connect(b->fd, (struct sockaddr *)&b->conf.to, sizeof(b->conf.to)))
        return -errno;
    setsockopt(b->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return 0;
}

/* Whole frames out: those begun count. */
static uint64_t blaster_frames_out(const struct blaster *b)
{
    return (b->sent + b->frame_size - 1) / b->frame_size - b->answered;
}

/* How many bytes the window lets go: what is left of a frame begun, and further frames. */
static size_t blaster_room(const struct blaster *b)
{
    uint64_t out = blaster_frames_out(b);
    size_t begun = b->sent % b->frame_size;
    size_t room = begun != 0 ? b->frame_size - begun : 0;

    if (out < b->conf.window)
        room += (size_t)(b->conf.window - out) * b->frame_size;
    return SALVO_MIN(room, SALVO_MIN(BLASTER_SEND_MAX, b->frames_count * b->frame_size - b->at));
}

static int blaster_send(struct blaster *b)
{
    size_t size = blaster_room(b);
    ssize_t n;

    if (size == 0)
        return 0;
    n = send(b->fd, b->bytes + b->at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    b->sent += (uint64_t)n;
    b->at += (size_t)n;
    if (b->at == b->frames_count * b->frame_size)
        b->at = 0;
    return n > 0;
}

/* Counts answers by their length fields. */
static void blaster_count(struct blaster *b, const uint8_t *bytes, size_t size)
{
    size_t at = 0;

    for (;;) {
        uint64_t skip = SALVO_MIN(b->answer_left, (uint64_t)(size - at));

        at += skip;
        b->answer_left -= skip;
        if (b->answer_left != 0 || (skip == 0 && at == size))
            return;
        if (skip != 0)
            b->answered++;
        while (at < size && b->prefix_size < 4)
            b->prefix[b->prefix_size++] = bytes[at++];
        if (b->prefix_size < 4)
            return;
        b->answer_left = salvo_load_be32(b->prefix);
        b->prefix_size = 0;
    }
}

static int blaster_receive(struct blaster *b)
{
    ssize_t n = recv(b->fd, b->received, BLASTER_RECEIVE_MAX, MSG_DONTWAIT);

    if (n == 0)
        return -ECONNRESET;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    blaster_count(b, b->received, (size_t)n);
    return 1;
}

/* 0 or a negative errno. */
static int blaster_turn(struct blaster *b)
{
    int sent = blaster_send(b);
    int received = blaster_receive(b);
    struct pollfd fd = {.fd = b->fd, .events = POLLIN};

    if (sent < 0 || received < 0)
        return SALVO_MIN(sent, received);
    if (sent > 0 || received > 0 || b->conf.spin)
        return 0;
    if (blaster_room(b) != 0)
        fd.events |= POLLOUT;
    poll(&fd, 1, 100);
    return 0;
}

static int blaster_run_until(struct blaster *b, int64_t until_ns)
{
    struct salvo_clock *clock = salvo_clock_system();
    int r = 0;

    while (r == 0 && salvo_clock_mono_ns(clock) < until_ns)
        for (unsigned i = 0; i < 16 && r == 0; i++)
            r = blaster_turn(b);
    return r;
}

static int blaster_run(struct blaster *b)
{
    struct salvo_clock *clock = salvo_clock_system();
    int64_t started_ns = salvo_clock_mono_ns(clock);
    int64_t warm_ns = started_ns + (int64_t)(b->conf.warmup * 1e9);
    uint64_t answered_before;
    double cpu, seconds, messages;
    int r = blaster_run_until(b, warm_ns);

    started_ns = salvo_clock_mono_ns(clock);
    answered_before = b->answered;
    cpu = salvo_cpu_process_seconds();
    if (r == 0)
        r = blaster_run_until(b, started_ns + (int64_t)(b->conf.seconds * 1e9));
    if (r)
        return r;
    seconds = (double)(salvo_clock_mono_ns(clock) - started_ns) / 1e9;
    cpu = salvo_cpu_process_seconds() - cpu;
    messages = (double)(b->answered - answered_before) * b->frame_messages;
    printf("{\"client\": \"blaster\", \"size\": %zu, \"frame_size\": %zu, \"frame_messages\": %u, "
           "\"window\": %llu, \"seconds\": %.3f, \"acked\": %.0f, \"rate_per_s\": %.0f, "
           "\"bytes_per_s\": %.0f, \"cpu_us_per_message\": %.4f}\n",
           b->conf.size, b->frame_size, b->frame_messages, (unsigned long long)b->conf.window,
           seconds, messages, messages / seconds,
           messages / b->frame_messages * (double)b->frame_size / seconds,
           messages > 0 ? cpu * 1e6 / messages : 0);
    return 0;
}

/* --- arguments -------------------------------------------------------------------------------- */

/* A whole number or a fraction and nothing behind it, within its limits. */
static bool conf_number(const char *text, double min, double max, double *ret_value)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= min && value <= max))
        return false;
    *ret_value = value;
    return true;
}

static bool conf_address(struct sockaddr_in *ret_to, const char *text)
{
    const char *colon = strrchr(text, ':');
    double port;
    char host[64];

    if (colon == NULL || (size_t)(colon - text) >= sizeof(host) ||
        !conf_number(colon + 1, 1, 65535, &port))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    ret_to->sin_family = AF_INET;
    ret_to->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &ret_to->sin_addr) == 1;
}

static bool conf_set(struct blaster_conf *conf, const char *name, const char *value)
{
    double number = 0;

    if (strcmp(name, "--to") == 0)
        return conf_address(&conf->to, value);
    if (strcmp(name, "--topic") == 0)
        return snprintf(conf->topic, BLASTER_NAME_MAX, "%s", value) < BLASTER_NAME_MAX;
    if (strcmp(name, "--broker-name") == 0)
        return snprintf(conf->broker_name, BLASTER_NAME_MAX, "%s", value) < BLASTER_NAME_MAX;
    if (!conf_number(value, 0, 1e9, &number))
        return false;
    if (strcmp(name, "--seconds") == 0)
        conf->seconds = number;
    else if (strcmp(name, "--warmup") == 0)
        conf->warmup = number;
    else if (strcmp(name, "--size") == 0)
        conf->size = (size_t)number;
    else if (strcmp(name, "--batch-bytes") == 0)
        conf->batch_bytes = (size_t)number;
    else if (strcmp(name, "--window") == 0)
        conf->window = (uint64_t)number;
    else if (strcmp(name, "--queues") == 0)
        conf->queues = (uint32_t)number;
    else
        return false;
    return conf->size >= 1 && conf->size <= SALVO_MIB(4) && conf->batch_bytes <= SALVO_MIB(4) &&
           conf->window >= 1 && conf->queues >= 1 && conf->queues <= 1024;
}

static bool conf_read(struct blaster_conf *conf, int argc, char **argv)
{
    *conf = (struct blaster_conf){.size = 128,
                                  .window = 4000,
                                  .seconds = 3,
                                  .warmup = 1,
                                  .queues = 4,
                                  .topic = "T",
                                  .broker_name = "broker-a"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--spin") == 0) {
            conf->spin = true;
            continue;
        }
        if (i + 1 == argc || !conf_set(conf, argv[i], argv[i + 1])) {
            fprintf(stderr, "blaster: %s: see the head of bench/blaster.c\n", argv[i]);
            return false;
        }
        i++;
    }
    if (conf->to.sin_port == 0)
        fprintf(stderr, "blaster: --to ADDRESS:PORT is needed\n");
    return conf->to.sin_port != 0;
}

int main(int argc, char **argv)
{
    struct blaster b = {.fd = -1};
    int r;

    if (!conf_read(&b.conf, argc, argv))
        return 2;
    r = encode_all(&b);
    if (r == 0)
        r = blaster_connect(&b);
    if (r == 0)
        r = blaster_run(&b);
    if (r)
        fprintf(stderr, "blaster: %s\n", strerror(-r));
    free(b.bytes);
    free(b.received);
    return r ? 1 : 0;
}
