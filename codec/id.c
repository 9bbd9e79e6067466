/* UNIQ_KEY (MessageClientIDSetter.java): 65,536 ids in each millisecond and source, and never one
 * twice, whatever the clock does. When a millisecond is used up, the source moves on to the next
 * one and stays ahead of the clock until that has caught up. */
#include "codec/message.h"

#include "base/assert.h"

#define IDS_PER_MS    65536u
#define ID_COUNTER_AT 10 /* in an id: its last two bytes */

void salvo_id_source_init(struct salvo_id_source *source, const void *ip, size_t ip_size,
                          uint16_t pid, uint32_t mid)
{
    salvo_assert(ip_size == 4 || ip_size == 16);

    *source = (struct salvo_id_source){.ip_size = (uint8_t)ip_size, .pid = pid, .mid = mid};
    memcpy(source->ip, ip, ip_size);
}

/* What the ids of a millisecond share, as bytes and as text. */
static void id_begin_ms(struct salvo_id_source *source)
{
    source->counter = 0;
    salvo_store_be16(source->id, source->pid);
    salvo_store_be32(source->id + 2, source->mid);
    salvo_store_be32(source->id + 6, (uint32_t)(source->last_ms - source->month_start_ms));
    salvo_store_be16(source->id + ID_COUNTER_AT, 0);
    salvo_id_write(source->ip, source->ip_size, source->id, source->text);
}

void salvo_id_make(struct salvo_id_source *source, int64_t now_ms, salvo_month_fn *month,
                   uint8_t ret_id[SALVO_ID_SIZE])
{
    bool ms_begins = true;

    if (now_ms > source->last_ms)
        source->last_ms = now_ms;
    else if (source->counter == IDS_PER_MS)
        source->last_ms++;
    else
        ms_begins = source->month_end_ms == 0; /* the first of all */
    if (SALVO_UNLIKELY(source->last_ms >= source->month_end_ms)) {
        month(source->last_ms, &source->month_start_ms, &source->month_end_ms);
        salvo_assert(source->month_start_ms <= source->last_ms);
        salvo_assert(source->month_end_ms > source->last_ms);
        salvo_assert(source->month_end_ms - source->month_start_ms <= UINT32_MAX);
    }
    if (SALVO_UNLIKELY(ms_begins))
        id_begin_ms(source);

    memcpy(ret_id, source->id, SALVO_ID_SIZE);
    salvo_store_be16(ret_id + ID_COUNTER_AT, (uint16_t)source->counter);
    source->counter++;
}

size_t salvo_id_write_made(const struct salvo_id_source *source, char *ret_text)
{
    size_t size = 2 * (source->ip_size + (size_t)SALVO_ID_SIZE);
    uint8_t counter[2];

    salvo_assert(source->counter != 0);
    if (SALVO_LIKELY(source->ip_size == 4))
        memcpy(ret_text, source->text, 2 * (4 + SALVO_ID_SIZE));
    else
        memcpy(ret_text, source->text, sizeof(source->text));
    salvo_store_be16(counter, (uint16_t)(source->counter - 1));
    salvo_hex_encode(ret_text + size - 2 * sizeof(counter), counter, sizeof(counter));
    return size;
}

size_t salvo_id_write(const uint8_t *ip, size_t ip_size, const uint8_t id[SALVO_ID_SIZE],
                      char *ret_text)
{
    uint8_t bytes[16 + SALVO_ID_SIZE];

    salvo_assert(ip_size == 4 || ip_size == 16);
    if (SALVO_LIKELY(ip_size == 4)) {
        memcpy(bytes, ip, 4);
        memcpy(bytes + 4, id, SALVO_ID_SIZE);
        salvo_hex_encode(ret_text, bytes, 4 + SALVO_ID_SIZE);
    } else {
        memcpy(bytes, ip, 16);
        memcpy(bytes + 16, id, SALVO_ID_SIZE);
        salvo_hex_encode(ret_text, bytes, 16 + SALVO_ID_SIZE);
    }
    return 2 * (ip_size + SALVO_ID_SIZE);
}
