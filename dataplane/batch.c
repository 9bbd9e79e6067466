/* Open batches: see batch.h. */
#include "dataplane/batch.h"

#include "base/assert.h"

#include <string.h>

void salvo_batches_init(struct salvo_batches *batches, const struct salvo_batch_limits *limits,
                        struct salvo_batch *open, uint8_t *buffers, size_t room)
{
    salvo_assert(room >= limits->bytes_max);
    *batches = (struct salvo_batches){.limits = *limits, .open = open};
    for (uint32_t i = 0; i < limits->open_max; i++)
        open[i].bytes = buffers + i * room;
}

static bool batch_key_equals(const struct salvo_batch_key *a, const struct salvo_batch_key *b)
{
    return a->topic == b->topic && a->queue == b->queue && a->flags == b->flags &&
           a->budget_ns == b->budget_ns;
}

struct salvo_batch *salvo_batch_find(struct salvo_batches *batches,
                                     const struct salvo_batch_key *key)
{
    if (batches->last < batches->count &&
        batch_key_equals(&batches->open[batches->last].key, key) &&
        !batches->open[batches->last].full)
        return &batches->open[batches->last];
    for (uint32_t i = 0; i < batches->count; i++) {
        if (!batches->open[i].full && batch_key_equals(&batches->open[i].key, key)) {
            batches->last = i;
            return &batches->open[i];
        }
    }
    return NULL;
}

struct salvo_batch *salvo_batch_open(struct salvo_batches *batches,
                                     const struct salvo_batch_key *key, int64_t now_ns,
                                     int64_t deadline_ns)
{
    struct salvo_batch *batch;

    salvo_assert(batches->count < batches->limits.open_max);
    batches->last = batches->count;
    batch = &batches->open[batches->count++];
    batch->key = *key;
    batch->used = 0;
    batch->count = 0;
    batch->item_first = SALVO_ITEM_NONE;
    batch->item_last = SALVO_ITEM_NONE;
    batch->due_ns = now_ns + batches->limits.linger_ns;
    batch->deadline_ns = INT64_MAX;
    batch->full = false;
    batch->held = false;
    salvo_batch_end_by(batch, now_ns, deadline_ns);
    return batch;
}

void salvo_batch_end_by(struct salvo_batch *batch, int64_t now_ns, int64_t deadline_ns)
{
    if (deadline_ns >= batch->deadline_ns)
        return;
    batch->deadline_ns = deadline_ns;
    batch->due_ns = SALVO_MIN(batch->due_ns, now_ns + (deadline_ns - now_ns) / 2);
}

bool salvo_batch_add(struct salvo_batches *batches, struct salvo_batch *batch,
                     const struct salvo_batch_item *item)
{
    struct salvo_writer w =
        salvo_writer_over(batch->bytes + batch->used, batches->limits.bytes_max - batch->used);

    salvo_assert(!batch->full);
    salvo_batch_item_write(&w, item);
    if (w.failed) {
        batch->full = true;
        return false;
    }
    batch->used += (uint32_t)salvo_writer_size(&w);
    if (++batch->count >= batches->limits.count_max)
        batch->full = true;
    return true;
}

void salvo_batch_close(struct salvo_batches *batches, struct salvo_batch *batch)
{
    uint8_t *bytes = batch->bytes;
    uint32_t index = (uint32_t)(batch - batches->open);

    salvo_assert(index < batches->count);
    batches->count--;
    memmove(batch, batch + 1, (batches->count - index) * sizeof(*batch));
    batches->open[batches->count].bytes = bytes; /* the buffer stays with the table */
}

int64_t salvo_batches_next_ns(const struct salvo_batches *batches)
{
    int64_t next = INT64_MAX;

    for (uint32_t i = 0; i < batches->count; i++) {
        const struct salvo_batch *batch = &batches->open[i];

        next = SALVO_MIN(next, batch->deadline_ns);
        if (batches->limits.mode == SALVO_BATCH_MODE_LINGER && !batch->held)
            next = SALVO_MIN(next, batch->due_ns);
    }
    return next;
}
