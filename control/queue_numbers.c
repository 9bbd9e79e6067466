/* Small numbers of queues, see queue_numbers.h. */
#include "control/queue_numbers.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <stdlib.h>

/* A broker's queues in an object: they stand together, from queueId 0 (control/route_topic.c). */
struct broker_span {
    uint32_t broker;
    uint32_t first;
    uint32_t count;
};

int salvo_queue_numbers_init(struct salvo_queue_numbers *numbers, uint32_t queues_max)
{
    *numbers = (struct salvo_queue_numbers){.queues_max = queues_max, .free_count = queues_max};
    numbers->free = calloc(queues_max, sizeof(*numbers->free));
    numbers->lost = calloc(queues_max, sizeof(*numbers->lost));
    numbers->table = calloc(queues_max, sizeof(*numbers->table));
    if (numbers->free == NULL || numbers->lost == NULL || numbers->table == NULL) {
        salvo_queue_numbers_deinit(numbers);
        return salvo_raise(-ENOMEM);
    }
    for (uint32_t i = 0; i < queues_max; i++)
        numbers->free[i] = i;
    return 0;
}

void salvo_queue_numbers_deinit(struct salvo_queue_numbers *numbers)
{
    free(numbers->free);
    free(numbers->lost);
    free(numbers->table);
    *numbers = (struct salvo_queue_numbers){0};
}

static struct broker_span span_of(const struct salvo_route_object *object, uint32_t broker)
{
    uint32_t queues_count = object == NULL ? 0 : object->route.queues_count;
    struct broker_span span = {.broker = broker};

    while (span.first < queues_count && object->route.queues[span.first].broker != broker)
        span.first++;
    while (span.first + span.count < queues_count &&
           object->route.queues[span.first + span.count].broker == broker)
        span.count++;
    return span;
}

/* The number that queueId of the span has, or NONE. */
static uint32_t number_in(const struct salvo_route_object *object, struct broker_span span,
                          int32_t queueId)
{
    const struct salvo_route_queue *queue;

    if ((uint32_t)queueId >= span.count)
        return SALVO_QUEUE_NONE;
    queue = &object->route.queues[span.first + (uint32_t)queueId];
    salvo_assert(queue->queueId == queueId);
    return queue->queue;
}

static void free_push(struct salvo_queue_numbers *numbers, uint32_t queue)
{
    salvo_assert(numbers->free_count < numbers->queues_max);
    numbers->free[(numbers->free_head + numbers->free_count) % numbers->queues_max] = queue;
    numbers->free_count++;
    numbers->table[queue].state = SALVO_QUEUE_FREE;
}

/* Out of the middle of the ring: those behind it move up. */
static void free_remove(struct salvo_queue_numbers *numbers, uint32_t queue)
{
    uint32_t i = 0;

    while (numbers->free[(numbers->free_head + i) % numbers->queues_max] != queue)
        i++;
    salvo_assert(i < numbers->free_count);
    for (numbers->free_count--; i < numbers->free_count; i++)
        numbers->free[(numbers->free_head + i) % numbers->queues_max] =
            numbers->free[(numbers->free_head + i + 1) % numbers->queues_max];
}

/* Not lost after all, if no snapshot has been made since. */
static void lost_remove(struct salvo_queue_numbers *numbers, uint32_t queue)
{
    for (uint32_t i = 0; i < numbers->lost_count; i++)
        if (numbers->lost[i] == queue) {
            numbers->lost[i] = numbers->lost[--numbers->lost_count];
            numbers->table[queue].lost_times--;
            return;
        }
}

/* The number this queue had before, if nobody else got it since. */
static uint32_t number_take_again(struct salvo_queue_numbers *numbers, const char *broker,
                                  uint32_t topic, int32_t queueId)
{
    for (uint32_t i = 0; numbers->known_count != 0 && i < numbers->queues_max; i++) {
        struct salvo_queue_number *number = &numbers->table[i];

        if (number->state == SALVO_QUEUE_USED || number->broker != broker ||
            number->topic != topic || number->queueId != queueId)
            continue;
        if (number->state == SALVO_QUEUE_FREE)
            free_remove(numbers, i);
        else
            lost_remove(numbers, i);
        number->state = SALVO_QUEUE_USED;
        numbers->known_count--;
        return i;
    }
    return SALVO_QUEUE_NONE;
}

static uint32_t number_take(struct salvo_queue_numbers *numbers, const char *broker, uint32_t topic,
                            int32_t queueId)
{
    uint32_t queue = number_take_again(numbers, broker, topic, queueId);

    if (queue != SALVO_QUEUE_NONE || numbers->free_count == 0)
        return queue;
    queue = numbers->free[numbers->free_head];
    numbers->free_head = (numbers->free_head + 1) % numbers->queues_max;
    numbers->free_count--;
    if (numbers->table[queue].broker != NULL)
        numbers->known_count--;
    numbers->table[queue] = (struct salvo_queue_number){
        .state = SALVO_QUEUE_USED, .broker = broker, .topic = topic, .queueId = queueId};
    return queue;
}

void salvo_queue_numbers_free(struct salvo_queue_numbers *numbers, uint32_t queue)
{
    struct salvo_queue_number *number = &numbers->table[queue];

    salvo_assert(number->lost_times != 0);
    number->lost_times--;
    if (number->state == SALVO_QUEUE_LOST && number->lost_times == 0)
        free_push(numbers, queue);
}

uint32_t salvo_queue_numbers_give(struct salvo_queue_numbers *numbers,
                                  const struct salvo_brokers *brokers, uint32_t topic,
                                  const struct salvo_route_object *old,
                                  struct salvo_route_want *wants, uint32_t wants_count)
{
    struct broker_span span = {.broker = SALVO_BROKER_NONE};

    for (uint32_t i = 0; i < wants_count; i++) {
        if (wants[i].broker != span.broker)
            span = span_of(old, wants[i].broker);
        wants[i].queue = number_in(old, span, wants[i].queueId);
        if (wants[i].queue == SALVO_QUEUE_NONE)
            wants[i].queue = number_take(numbers, brokers->table[wants[i].broker].route.name, topic,
                                         wants[i].queueId);
        if (wants[i].queue == SALVO_QUEUE_NONE)
            return i;
    }
    return wants_count;
}

void salvo_queue_numbers_return(struct salvo_queue_numbers *numbers,
                                const struct salvo_route_object *old,
                                const struct salvo_route_want *wants, uint32_t wants_count)
{
    struct broker_span span = {.broker = SALVO_BROKER_NONE};

    for (uint32_t i = 0; i < wants_count; i++) {
        if (wants[i].broker != span.broker)
            span = span_of(old, wants[i].broker);
        if (number_in(old, span, wants[i].queueId) != SALVO_QUEUE_NONE)
            continue;
        numbers->known_count++;
        if (numbers->table[wants[i].queue].lost_times != 0)
            numbers->table[wants[i].queue].state = SALVO_QUEUE_LOST;
        else
            free_push(numbers, wants[i].queue);
    }
}

void salvo_queue_numbers_lose(struct salvo_queue_numbers *numbers,
                              const struct salvo_route_object *from,
                              const struct salvo_route_object *to)
{
    struct broker_span span = {.broker = SALVO_BROKER_NONE};
    uint32_t count = from == NULL ? 0 : from->route.queues_count;

    for (uint32_t i = 0; i < count; i++) {
        const struct salvo_route_queue *queue = &from->route.queues[i];

        if (queue->broker != span.broker)
            span = span_of(to, queue->broker);
        if (number_in(to, span, queue->queueId) == SALVO_QUEUE_NONE) {
            salvo_assert(numbers->lost_count < numbers->queues_max);
            numbers->lost[numbers->lost_count++] = queue->queue;
            numbers->table[queue->queue].state = SALVO_QUEUE_LOST;
            numbers->table[queue->queue].lost_times++;
            numbers->known_count++;
        }
    }
}
