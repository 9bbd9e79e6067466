/* See bad_link.h. */
#include "tests/support/bad_link.h"

#include <stdlib.h>
#include <string.h>

#define ETHERNET_SIZE 14 /* is never turned: the frame would go to nobody */

struct bad_fate bad_link_fate(const struct bad_link *l, uint64_t n)
{
    struct salvo_random r;

    salvo_random_init(&r, l->seed + n * UINT64_C(0x9e3779b97f4a7c15));
    struct bad_fate fate = {.lost = salvo_random_chance(&r, l->loss, 10000), .copies = 1};
    if (salvo_random_chance(&r, l->burst, 10000))
        fate.burst_us = 1 + (int64_t)salvo_random_below(&r, 20000);
    if (l->jitter_us != 0)
        fate.late_us = (int64_t)salvo_random_below(&r, (uint64_t)l->jitter_us);
    if (salvo_random_chance(&r, l->reorder, 10000)) {
        fate.reordered = true;
        fate.late_us += (int64_t)salvo_random_below(&r, (uint64_t)(l->delay_us * 2 + 1000));
    }
    if (salvo_random_chance(&r, l->duplicate, 10000))
        fate.copies = 2;
    for (unsigned c = 0; c < fate.copies; c++)
        fate.corrupt[c] = salvo_random_chance(&r, l->corrupt, 10000);
    fate.corrupt_at = (uint32_t)salvo_random_next(&r);
    return fate;
}

static bool flight_before(const struct bad_flight *a, const struct bad_flight *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void air_push(struct bad_air *air, struct bad_flight f)
{
    uint32_t i = air->count++;

    f.order = air->order++;
    for (; i != 0 && flight_before(&f, &air->flights[(i - 1) / 2]); i = (i - 1) / 2)
        air->flights[i] = air->flights[(i - 1) / 2];
    air->flights[i] = f;
}

struct bad_flight bad_air_pop(struct bad_air *air)
{
    struct bad_flight first = air->flights[0], last = air->flights[--air->count];
    uint32_t i = 0;

    for (uint32_t c; (c = 2 * i + 1) < air->count; i = c) {
        if (c + 1 < air->count && flight_before(&air->flights[c + 1], &air->flights[c]))
            c++;
        if (flight_before(&last, &air->flights[c]))
            break;
        air->flights[i] = air->flights[c];
    }
    air->flights[i] = last;
    return first;
}

int64_t bad_air_next_us(const struct bad_air *air)
{
    return air->count != 0 ? air->flights[0].at_us : INT64_MAX;
}

/* When the packet is through the narrow place; INT64_MIN: its queue is full. */
static int64_t link_serve(struct bad_link *l, uint32_t size, int64_t now_us)
{
    if (l->rate == 0)
        return now_us;
    l->busy_until_us = SALVO_MAX(l->busy_until_us, now_us);
    if (l->busy_until_us - now_us > l->queue_us) {
        l->queue_full++;
        return INT64_MIN;
    }
    l->busy_until_us += (int64_t)(size * UINT64_C(1000000) / l->rate);
    return l->busy_until_us;
}

bool bad_link_carry(struct bad_link *l, struct bad_air *air, unsigned way, const uint8_t *frame,
                    uint32_t size, uint32_t payload_size, int64_t now_us)
{
    struct bad_fate fate = bad_link_fate(l, l->sent++);
    int64_t served_us = link_serve(l, size, now_us);

    l->bare += payload_size == 0;
    l->bytes_sent += payload_size;
    l->duplicated += fate.copies - 1;
    l->reordered += fate.reordered;
    if (served_us != INT64_MIN && fate.burst_us != 0 && now_us >= l->burst_until_us) {
        l->burst_until_us = now_us + fate.burst_us;
        l->bursts++;
    }
    if (served_us == INT64_MIN || now_us < l->burst_until_us || fate.lost) {
        l->lost++;
        l->bytes_lost += payload_size;
        return true;
    }
    if (air->count + fate.copies > BAD_AIR_MAX)
        return false;
    for (unsigned c = 0; c < fate.copies; c++) {
        uint8_t *copy = malloc(size);
        memcpy(copy, frame, size);
        if (fate.corrupt[c] && size > ETHERNET_SIZE) {
            l->corrupted++;
            l->lost++;
            l->bytes_lost += payload_size;
            copy[ETHERNET_SIZE + fate.corrupt_at / 8 % (size - ETHERNET_SIZE)] ^=
                (uint8_t)(1u << fate.corrupt_at % 8);
        }
        air_push(air, (struct bad_flight){.at_us = served_us + l->delay_us + fate.late_us + c * 50,
                                          .frame = copy,
                                          .size = size,
                                          .way = way});
    }
    return true;
}
