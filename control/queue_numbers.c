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

/* --- free numbers, and what they remember ----------------------------------------------------- */

static void free_push(struct salvo_queue_numbers *numbers, uint32_t queue)
{
    struct salvo_queue_number *number = &numbers->table[queue];

    number->state = SALVO_QUEUE_FREE;
    number->free_next = SALVO_QUEUE_NONE;
    number->free_previous = numbers->free_last;
    if (numbers->free_last == SALVO_QUEUE_NONE)
        numbers->free_first = queue;
    else
        numbers->table[numbers->free_last].free_next = queue;
    numbers->free_last = queue;
    numbers->free_count++;
}

static void free_remove(struct salvo_queue_numbers *numbers, uint32_t queue)
{
    struct salvo_queue_number *number = &numbers->table[queue];

    salvo_assert(number->state == SALVO_QUEUE_FREE);
    if (number->free_previous == SALVO_QUEUE_NONE)
        numbers->free_first = number->free_next;
    else
        numbers->table[number->free_previous].free_next = number->free_next;
    if (number->free_next == SALVO_QUEUE_NONE)
        numbers->free_last = number->free_previous;
    else
        numbers->table[number->free_next].free_previous = number->free_previous;
    numbers->free_count--;
}

/* Where the list begins that the queue is in, when its number is remembered. */
static uint32_t *known_list(struct salvo_queue_numbers *numbers, const char *broker, uint32_t topic,
                            int32_t queueId)
{
    uint64_t hash = (uint64_t)(uintptr_t)broker;

    hash = (hash ^ topic) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ (hash >> 32) ^ (uint32_t)queueId) * UINT64_C(0x9e3779b97f4a7c15);
    return &numbers->known[(hash >> 32) & (numbers->known_size - 1)];
}

static uint32_t *known_list_of(struct salvo_queue_numbers *numbers,
                               const struct salvo_queue_number *number)
{
    return known_list(numbers, number->broker, number->topic, number->queueId);
}

static void known_add(struct salvo_queue_numbers *numbers, uint32_t queue)
{
    struct salvo_queue_number *number = &numbers->table[queue];
    uint32_t *list = known_list_of(numbers, number);

    number->known_next = *list;
    *list = queue;
}

static void known_remove(struct salvo_queue_numbers *numbers, uint32_t queue)
{
    struct salvo_queue_number *number = &numbers->table[queue];
    uint32_t *link = known_list_of(numbers, number);

    while (*link != queue)
        link = &numbers->table[*link].known_next;
    *link = number->known_next;
}

int salvo_queue_numbers_init(struct salvo_queue_numbers *numbers, uint32_t queues_max)
{
    *numbers = (struct salvo_queue_numbers){
        .queues_max = queues_max,
        .known_size = (uint32_t)salvo_power_of_two_up(queues_max),
        .free_first = SALVO_QUEUE_NONE,
        .free_last = SALVO_QUEUE_NONE,
    };
    numbers->known = calloc(numbers->known_size, sizeof(*numbers->known));
    numbers->lost = calloc(queues_max, sizeof(*numbers->lost));
    numbers->table = calloc(queues_max, sizeof(*numbers->table));
    if (numbers->known == NULL || numbers->lost == NULL || numbers->table == NULL) {
        salvo_queue_numbers_deinit(numbers);
        return salvo_raise(-ENOMEM);
    }
    for (uint32_t i = 0; i < numbers->known_size; i++)
        numbers->known[i] = SALVO_QUEUE_NONE;
    for (uint32_t i = 0; i < queues_max; i++)
        free_push(numbers, i);
    return 0;
}

void salvo_queue_numbers_deinit(struct salvo_queue_numbers *numbers)
{
    free(numbers->known);
    free(numbers->lost);
    free(numbers->table);
    *numbers = (struct salvo_queue_numbers){0};
}

/* --- giving and taking ------------------------------------------------------------------------ */

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
    uint32_t queue = *known_list(numbers, broker, topic, queueId);
    struct salvo_queue_number *number;

    for (; queue != SALVO_QUEUE_NONE; queue = number->known_next) {
        number = &numbers->table[queue];
        if (number->broker != broker || number->topic != topic || number->queueId != queueId)
            continue;
        if (number->state == SALVO_QUEUE_FREE)
            free_remove(numbers, queue);
        else
            lost_remove(numbers, queue);
        known_remove(numbers, queue);
        number->state = SALVO_QUEUE_USED;
        return queue;
    }
    return SALVO_QUEUE_NONE;
}

static uint32_t number_take(struct salvo_queue_numbers *numbers, const char *broker, uint32_t topic,
                            int32_t queueId)
{
    uint32_t queue = number_take_again(numbers, broker, topic, queueId);

    if (queue != SALVO_QUEUE_NONE || numbers->free_count == 0)
        return queue;
    queue = numbers->free_first;
    free_remove(numbers, queue);
    if (numbers->table[queue].broker != NULL)
        known_remove(numbers, queue);
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
        known_add(numbers, wants[i].queue);
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
            known_add(numbers, queue->queue);
        }
    }
}
