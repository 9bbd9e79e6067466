/* What test_salvo.py lets gdb look at: rings, a table of requests, and a frame of known content,
 * when sample_ready() is reached. */
#include "codec/send.h"
#include "dataplane/inflight.h"
#include "dataplane/ring.h"

#include <string.h>

#define SAMPLE_REQUESTS 8
#define SAMPLE_ITEMS    16

static alignas(8) uint8_t sample_ring_memory[256];
static alignas(8) uint8_t sample_anew_memory[256];
static struct salvo_request sample_requests[SAMPLE_REQUESTS];
static struct salvo_item sample_items[SAMPLE_ITEMS];
static uint32_t sample_wheel[SALVO_WHEEL_SLOTS];
static uint64_t sample_wheel_used[SALVO_WHEEL_SLOTS / 64];

/* Not static: gdb finds them by name. */
struct salvo_ring sample_ring;
struct salvo_ring sample_anew;
struct salvo_ring sample_anew_unpublished;
struct salvo_inflight sample_inflight;
uint8_t sample_frame[512];
size_t sample_frame_size;
void sample_ready(void);

void __attribute__((noinline)) sample_ready(void)
{
    __asm__ volatile("");
}

static void sample_put(struct salvo_ring *ring, const char *text)
{
    size_t size = strlen(text);
    void *payload;

    salvo_assert(salvo_ring_claim(ring, size, &payload) == 0);
    memcpy(payload, text, size);
    salvo_ring_commit(ring, size);
}

static void sample_take(struct salvo_ring *ring)
{
    uint32_t size;

    salvo_assert(salvo_ring_peek(ring, &size) != NULL);
    salvo_ring_advance(ring, size);
    salvo_ring_release(ring);
}

static void sample_fill_ring(void)
{
    /* Starts 32 bytes before the end, so that the third record does not fit there. */
    salvo_ring_init(&sample_ring, sample_ring_memory, sizeof(sample_ring_memory), 256 - 48);
    sample_put(&sample_ring, "gone");
    sample_put(&sample_ring, "one");
    sample_put(&sample_ring, "a record that goes to the front");
    salvo_ring_publish(&sample_ring);
    sample_take(&sample_ring);
    sample_put(&sample_ring, "unpublished");
}

/* Read empty, then begun anew; the consumer has not looked since. */
static void sample_begin_anew(void)
{
    salvo_ring_init(&sample_anew, sample_anew_memory, sizeof(sample_anew_memory), 256 - 48);
    sample_put(&sample_anew, "gone");
    salvo_ring_publish(&sample_anew);
    sample_take(&sample_anew);
    sample_put(&sample_anew, "a record that goes to the front");
    sample_anew_unpublished = sample_anew;
    salvo_ring_publish(&sample_anew);
}

static void sample_fill_inflight(void)
{
    struct salvo_request *request;

    salvo_inflight_init(&sample_inflight, sample_requests, SAMPLE_REQUESTS, sample_items,
                        SAMPLE_ITEMS, sample_wheel, sample_wheel_used, 0);
    request = salvo_request_take(&sample_inflight);
    request->state = SALVO_REQUEST_SENT;
    request->conn = 3;
    request->queue = 5;
    request->tries = 2;
    request->items_count = 7;
    request->flags = SALVO_REQUEST_BATCH | SALVO_REQUEST_ORDERED;
    request->deadline_ns = 1000;
    request->budget_ns = 3000;
    salvo_request_take(&sample_inflight);
}

int main(void)
{
    struct salvo_send_fields fields = {
        .code = SALVO_REQUEST_SEND_MESSAGE_V2,
        .language = SALVO_LANGUAGE_CPP,
        .version = SALVO_VERSION_V5_3_3,
        .producerGroup = SALVO_TEXT("PG_A"),
        .topic = SALVO_TEXT("TopicTest"),
        .defaultTopic = SALVO_TEXT(SALVO_TOPIC_AUTO_CREATE),
        .defaultTopicQueueNums = 4,
        .queueId = 2,
        .bornTimestamp = 1700000000000,
        .maxReconsumeTimes = -1,
    };
    ssize_t size;

    sample_fill_ring();
    sample_begin_anew();
    sample_fill_inflight();
    size = salvo_send_write(sample_frame, sizeof(sample_frame), SALVO_HEADER_BINARY, &fields,
                            1000000009, false, 5);
    salvo_assert(size > 0);
    sample_frame_size = (size_t)size + 5;
    memcpy(sample_frame + size, "Hello", 5);
    sample_ready();
    return 0;
}
