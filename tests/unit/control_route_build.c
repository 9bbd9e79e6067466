/* Answers to snapshots: numbers, sharing, limits, templates, taking back. Lanes are moved by hand.
 */
#include "tests/unit/unit.h"

#include "tests/support/control_world.h"

#include "codec/heartbeat.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

static struct world *world;
static struct salvo_route_data *data;

static int setup(void **state)
{
    world = world_new(unit_seed(22), 2);
    world->config.queues_max = 16;
    world->config.brokers_max = 4;
    return 0;
}

static int teardown(void **state)
{
    world_free(world);
    return 0;
}

/* Control is not turned: what is published comes from the calls below alone. */
static uint32_t start_with_topic(const char *name)
{
    assert_int_equal(world_start(world), 0);
    data = world_topic(world, name);
    return world_topic_open(world, name);
}

static void broker(const char *name, uint32_t server, int32_t queues)
{
    world_route_add(world, data, name, server, queues);
}

static void clear(void)
{
    memset(data, 0, sizeof(*data));
}

static enum salvo_route_state apply(uint32_t topic)
{
    return salvo_route_table_apply(&world->control.table, topic, data, 0, 1);
}

static void turn(void)
{
    salvo_route_table_do_work(&world->control.table);
}

static void lane_sees(uint32_t lane)
{
    const struct salvo_route *route = atomic_load(&world->ports[lane]->route_published);

    atomic_store(&world->ports[lane]->route_seen, route->epoch);
}

static void both_see(void)
{
    lane_sees(0);
    lane_sees(1);
    turn();
}

static void numbers_stay_while_a_topic_grows(void **state)
{
    uint32_t topic = start_with_topic("T");
    uint32_t queues[2], broker_a;

    broker("a", 1, 2);
    assert_int_equal(apply(topic), SALVO_ROUTE_GOOD);
    turn();
    assert_ptr_equal(atomic_load(&world->ports[1]->route_published), world_route(world));
    for (uint32_t i = 0; i < 2; i++)
        queues[i] = world_route_topic(world, topic)->queues[i].queue;
    broker_a = world_route_topic(world, topic)->queues[0].broker;
    clear();
    broker("Z", 2, 3); /* sorts in front of a */
    broker("a", 1, 4);
    assert_int_equal(apply(topic), SALVO_ROUTE_GOOD);
    turn();
    assert_int_equal(world_route(world)->epoch, 2);
    assert_int_equal(world_route_topic(world, topic)->queues_count, 7);
    assert_int_equal(world_route_topic(world, topic)->queues[3].broker, broker_a);
    assert_int_equal(world_route_topic(world, topic)->queues[3].queue, queues[0]);
    assert_int_equal(world_route_topic(world, topic)->queues[4].queue, queues[1]);
    for (uint32_t i = 0; i < 7; i++)
        for (uint32_t j = 0; j < i; j++)
            assert_int_not_equal(world_route_topic(world, topic)->queues[i].queue,
                                 world_route_topic(world, topic)->queues[j].queue);
    assert_int_equal(salvo_control_topic_queues(&world->control, topic), 7);
}

static void unchanged_topics_are_shared_and_an_equal_answer_is_not_published(void **state)
{
    uint32_t topic = start_with_topic("T"), other = world_topic_open(world, "U");
    const struct salvo_route_topic *before;

    broker("a", 1, 2);
    apply(topic);
    turn();
    before = world_route_topic(world, topic);
    apply(topic);
    turn();
    assert_int_equal(world_route(world)->epoch, 1);
    data = world_topic(world, "U");
    broker("a", 1, 1);
    apply(other);
    turn();
    assert_int_equal(world_route(world)->epoch, 2);
    assert_ptr_equal(world_route_topic(world, topic), before);
    both_see(); /* the first snapshot is freed; the shared part lives on */
    assert_null(world->control.table.oldest);
    assert_int_equal(before->queues_count, 2);
}

static void lost_queue_numbers_wait_for_every_lane(void **state)
{
    uint32_t topic = start_with_topic("T"), lost;

    broker("a", 1, 16); /* all of queues_max */
    apply(topic);
    turn();
    lost = world_route_topic(world, topic)->queues[15].queue;
    clear();
    broker("a", 1, 15);
    apply(topic);
    turn();
    assert_int_equal(world->control.table.numbers.free_count, 0);
    lane_sees(0);
    turn();
    assert_int_equal(world->control.table.numbers.free_count, 0);
    assert_true(salvo_route_table_waits(&world->control.table));
    /* A sleeping lane has moved on: it loads the pointer anew when it wakes. */
    atomic_store(&world->ports[1]->asleep, 1);
    world->ports[1]->net = world->control.net;
    turn();
    assert_int_equal(world->control.table.numbers.free_count, 1);
    assert_false(salvo_route_table_waits(&world->control.table));
    clear();
    broker("a", 1, 16);
    apply(topic);
    turn();
    assert_int_equal(world_route_topic(world, topic)->queues[15].queue, lost);
}

/* What waits in a lane for a queue's number goes on when the broker is back: seen by every lane,
 * by some, or by none. */
static void queues_that_come_back_have_their_numbers_again(void **state)
{
    uint32_t topic, other, before[4];

    world->config.brokers_max = 16; /* nobody answers BROKER_DROP here */
    topic = start_with_topic("T");
    other = world_topic_open(world, "U");
    broker("a", 1, 2);
    broker("b", 2, 2);
    apply(topic);
    turn();
    for (uint32_t i = 0; i < 4; i++)
        before[i] = world_route_topic(world, topic)->queues[i].queue;
    for (uint32_t round = 0; round < 4; round++) {
        clear();
        broker("b", 2, 2);
        apply(topic);
        if (round != 0) { /* in round 0 no snapshot is made of it at all */
            turn();
            assert_int_equal(world_route_topic(world, topic)->queues_count, 2);
        }
        if (round >= 2)
            lane_sees(0);
        if (round >= 3)
            both_see();
        data = world_topic(world, "U");
        clear();
        broker("b", 2, (int32_t)round + 1);
        apply(other);
        if (round != 0)
            turn();
        data = world_topic(world, "T");
        clear();
        broker("a", 1, 2);
        broker("b", 2, 2);
        apply(topic);
        turn();
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(world_route_topic(world, topic)->queues[i].queue, before[i]);
        both_see();
        assert_int_equal(world->control.table.numbers.free_count, 16 - 4 - (round + 1));
    }
}

/* A thread that turns lanes too must not stand still for a topic's queues, however many queues
 * there might be. */
static void many_queues_come_back_at_once_in_no_time(void **state)
{
    struct timespec before, after;
    uint32_t topic;

    world->config.queues_max = 1 << 20;
    world->config.brokers_max = 16;
    topic = start_with_topic("T");
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    for (unsigned i = 0; i < 6; i++) {
        clear();
        broker("a", 1, i % 3 == 0 ? 1000 : 1);
        broker("b", 2, i % 3 == 1 ? 1000 : 1);
        broker("c", 3, i % 3 == 2 ? 1000 : 1);
        apply(topic);
        turn();
        both_see();
        assert_int_equal(world_route_topic(world, topic)->queues_count, 1002);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    assert_in_range(after.tv_sec - before.tv_sec, 0, 1);
}

static void limits_are_respected_and_said(void **state)
{
    uint32_t topic = start_with_topic("T"), other = world_topic_open(world, "U");

    broker("a", 1, 10);
    assert_int_equal(apply(topic), SALVO_ROUTE_GOOD);
    data = world_topic(world, "U");
    broker("a", 1, 10);
    assert_int_equal(apply(other), SALVO_ROUTE_GOOD);
    turn();
    assert_int_equal(world_route_topic(world, other)->queues_count, 6);
    assert_true(world_error_has(world, "only 6 of 10 queues fit; raise option queues_max (16)"));

    clear();
    for (uint32_t i = 0; i < 5; i++) {
        char name[8];

        snprintf(name, sizeof(name), "b%u", i);
        broker(name, i, 1);
    }
    assert_int_equal(apply(other), SALVO_ROUTE_GOOD);
    turn();
    assert_int_equal(world_route_topic(world, other)->queues_count,
                     6); /* no number is free: as before */
    data = world_topic(world, "T");
    clear();
    broker("a", 1, 7);
    assert_int_equal(apply(topic), SALVO_ROUTE_GOOD);
    turn();
    world_run(world, SALVO_NS_PER_S); /* lanes move on and drop what has left */
    data = world_topic(world, "U");
    assert_int_equal(apply(other), SALVO_ROUTE_GOOD);
    turn();
    assert_int_equal(world_route_topic(world, other)->queues_count, 3); /* a is in use by T */
    assert_true(world_error_has(world, "raise option brokers_max (4)"));

    clear();
    both_see();
    broker("a", 1, 1000000);
    assert_int_equal(apply(other), SALVO_ROUTE_GOOD);
    turn();
    assert_int_equal(world_route_topic(world, other)->queues_count, 6);
    assert_true(world_error_has(world, "raise option queues_max (16)"));
}

static void a_topic_that_finds_no_room_says_so(void **state)
{
    uint32_t topic = start_with_topic("T"), other = world_topic_open(world, "U");

    for (uint32_t i = 0; i < 4; i++) {
        char name[8];

        snprintf(name, sizeof(name), "b%u", i);
        broker(name, i, 4); /* all of brokers_max, all of queues_max */
    }
    assert_int_equal(apply(topic), SALVO_ROUTE_GOOD);
    data = world_topic(world, "U");
    broker("a", 5, 4);
    assert_int_equal(apply(other), SALVO_ROUTE_NO_ROOM);
    clear();
    broker("b0", 0, 4);
    assert_int_equal(apply(other), SALVO_ROUTE_NO_ROOM);
    turn();
    assert_int_equal(world_route_topic(world, other)->state, SALVO_ROUTE_NO_ROOM);
    assert_int_equal(world_route_topic(world, other)->queues_count, 0);
}

static void only_writable_queues_of_known_masters_count(void **state)
{
    uint32_t topic = start_with_topic("T");

    broker("readonly", 1, 4);
    data->queue_datas[0].perm = SALVO_PERM_READ;
    broker("slave", 2, 4);
    data->brokers[1].has_master = false;
    broker("absent", 3, 4);
    data->brokers_count--;
    broker("a", 4, 4);
    data->queue_datas[3].writeQueueNums = 2;
    assert_int_equal(apply(topic), SALVO_ROUTE_GOOD);
    turn();
    assert_int_equal(world_route_topic(world, topic)->queues_count, 2);
    assert_int_equal(world_route_topic(world, topic)->brokers_count, 1);
    data->queue_datas[3].perm = 0;
    assert_int_equal(apply(topic), SALVO_ROUTE_NO_QUEUE);
    turn();
    assert_int_equal(world_route_topic(world, topic)->queues_count, 0);
    assert_int_equal(world_route_topic(world, topic)->state, SALVO_ROUTE_NO_QUEUE);
}

static void order_conf_decides_alone(void **state)
{
    uint32_t topic = start_with_topic("T");
    const struct salvo_route_topic *route;

    broker("b", 1, 9);
    broker("a", 2, 9);
    data->queue_datas[0].perm = SALVO_PERM_READ;
    snprintf(data->orderTopicConf, sizeof(data->orderTopicConf), "b:2;a:1;nonsense;c:;d:-1;b:7");
    assert_int_equal(apply(topic), SALVO_ROUTE_GOOD);
    turn();
    route = world_route_topic(world, topic);
    assert_int_equal(route->queues_count, 3);
    assert_string_equal(salvo_control_broker_name(&world->control, route->queues[0].broker), "b");
    assert_string_equal(salvo_control_broker_name(&world->control, route->queues[2].broker), "a");
}

static void static_topics_are_refused_in_words(void **state)
{
    uint32_t topic = start_with_topic("T");

    broker("a", 1, 4);
    data->static_topic = true;
    assert_int_equal(apply(topic), SALVO_ROUTE_UNSUPPORTED);
    assert_true(world_error_has(world, "static topic"));
    assert_int_equal(salvo_control_topic_state(&world->control, topic), SALVO_ROUTE_UNSUPPORTED);
}

static void a_new_address_keeps_the_number_and_moves_the_generation(void **state)
{
    uint32_t topic = start_with_topic("T"), number, generation;
    const struct salvo_route_broker *b;

    broker("a", 1, 1);
    apply(topic);
    turn();
    number = world_route_topic(world, topic)->queues[0].broker;
    b = &world_route(world)->brokers[number];
    assert_true(b->used && b->has_endpoint);
    assert_int_equal(ntohs(b->endpoint.v4.sin_port), 9001);
    generation = b->generation;
    clear();
    broker("a", 3, 1);
    apply(topic);
    turn();
    b = &world_route(world)->brokers[number];
    assert_int_equal(world_route_topic(world, topic)->queues[0].broker, number);
    assert_int_equal(ntohs(b->endpoint.v4.sin_port), 9003);
    assert_true(b->generation > generation);
    /* An address that cannot be used: the last good one stays. */
    snprintf(data->brokers[0].master_address, sizeof(data->brokers[0].master_address), "nowhere");
    apply(topic);
    turn();
    b = &world_route(world)->brokers[number];
    assert_true(b->has_endpoint);
    assert_true(world_error_has(world, "is no address that can be used"));
}

static void templates_say_what_their_kind_means(void **state)
{
    static const struct {
        int32_t code, sysFlag;
        bool batch;
    } kinds[SALVO_TEMPLATE_KINDS] = {
        {310, 0, false}, {310, 0x201, false}, {320, 0, true}, {320, 0x201, true}};

    for (int form = 0; form < 2; form++) {
        uint32_t topic;

        world->config.header = (uint32_t)form;
        world->config.compress = 3; /* zstd */
        topic = start_with_topic("T");
        broker("a", 1, 2);
        apply(topic);
        turn();
        for (uint32_t kind = 0; kind < SALVO_TEMPLATE_KINDS; kind++) {
            const struct salvo_send_template *t =
                &world_route_topic(world, topic)->queues[1].templates[kind];
            static uint8_t bytes[4096], scratch[4096];
            struct salvo_send_fields fields;
            struct salvo_frame frame;
            struct salvo_header header;
            const char *why = "";
            struct salvo_born born = {0};
            size_t size;

            salvo_born_set(&born, 1700000000000);
            size = salvo_send_template_write(t, bytes, 1234567890, &born, "K\1v\2", 4, 1);
            assert_int_equal(salvo_frame_parse(bytes, size + 1, SALVO_FRAME_SIZE_MAX, &frame, &why),
                             0);
            assert_int_equal(frame.form, form);
            assert_int_equal(salvo_header_read(&header, frame.form, frame.header, frame.header_size,
                                               scratch, sizeof(scratch)),
                             0);
            assert_int_equal(salvo_send_read(&header, &fields, &why), 0);
            assert_int_equal(fields.code, kinds[kind].code);
            assert_int_equal(fields.sysFlag, kinds[kind].sysFlag);
            assert_int_equal(fields.batch, kinds[kind].batch);
            assert_int_equal(fields.queueId, 1);
            assert_int_equal(fields.defaultTopicQueueNums, 4);
            assert_true(salvo_text_equals(fields.topic, "T"));
            assert_true(salvo_text_equals(fields.producerGroup, "salvo"));
            assert_true(salvo_text_equals(fields.defaultTopic, "TBW102"));
            assert_true(salvo_text_equals(fields.brokerName, "a"));
        }
        assert_non_null(world_route_topic(world, topic)->fields->brokerName.text);
        if (form == 0) {
            teardown(NULL);
            setup(NULL);
        }
    }
}

/* A lane makes a template of its own for a message with a flag: of the names that control takes it
 * must be able to, whatever the flag. */
static void names_are_taken_when_the_longest_flag_fits_too(void **state)
{
    for (uint32_t form = 0; form < 2; form++) {
        char name[SALVO_ROUTE_NAME_MAX];
        uint32_t size = form == 0 ? 160 : 255; /* too long; each name takes a number */
        uint32_t topic;

        world->config.header = form;
        world->config.brokers_max = 64;
        memset(world->config.group, 'g', 120);
        memset(world->config.create_topic_key, 'k', 127);
        topic = start_with_topic("a topic with a name that is long, of sixty-three characters ..");
        for (memset(name, 'b', size); size > 0; size--) {
            name[size] = '\0';
            clear();
            broker(name, 1, 1);
            if (apply(topic) == SALVO_ROUTE_GOOD)
                break;
        }
        assert_int_not_equal(size, 0);
        assert_true(world_error_has(world, "are too long together"));
        turn();
        for (int compressed = 0; compressed < 2; compressed++) {
            struct salvo_send_fields fields = *world_route_topic(world, topic)->fields;
            struct salvo_send_template t;

            fields.code = SALVO_REQUEST_SEND_MESSAGE_V2;
            fields.brokerName = salvo_text_of(name);
            fields.sysFlag = compressed != 0 ? 0x301 : 0;
            fields.flag = INT32_MIN;
            assert_int_equal(
                salvo_send_template_init(&t, (enum salvo_header_form)form, &fields, false), 0);
        }
        if (form == 0) {
            teardown(NULL);
            setup(NULL);
        }
    }
}

static void the_empty_heartbeat_names_no_group_and_its_opaque_can_be_patched(void **state)
{
    for (int form = 0; form < 2; form++) {
        uint8_t bytes[1024], scratch[1024];
        const struct salvo_route *route;
        struct salvo_text client_id, groups[4];
        struct salvo_frame frame;
        struct salvo_header header;
        const char *why;
        uint32_t topic, count;

        world->config.header = (uint32_t)form;
        topic = start_with_topic("T");
        broker("a", 1, 1);
        apply(topic);
        turn();
        route = world_route(world);
        assert_true(route->heartbeat_size <= sizeof(bytes));
        memcpy(bytes, route->heartbeat, route->heartbeat_size);
        if (form == SALVO_HEADER_BINARY)
            salvo_store_be32(bytes + route->heartbeat_opaque_offset, 1987654321);
        else
            memcpy(bytes + route->heartbeat_opaque_offset, "1987654321", 10);
        assert_int_equal(
            salvo_frame_parse(bytes, route->heartbeat_size, SALVO_FRAME_SIZE_MAX, &frame, &why), 0);
        assert_int_equal(frame.size, route->heartbeat_size);
        assert_int_equal(salvo_header_read(&header, frame.form, frame.header, frame.header_size,
                                           scratch, sizeof(scratch)),
                         0);
        assert_int_equal(header.code, 34);
        assert_int_equal(header.opaque, 1987654321);
        assert_int_equal(header.flag, 0);
        assert_int_equal(
            salvo_heartbeat_read(frame.body, frame.body_size, &client_id, groups, 4, &count), 0);
        assert_int_equal(count, 0);
        assert_true(salvo_text_equals(client_id, world->control.identity.client_id));
        if (form == 0) {
            teardown(NULL);
            setup(NULL);
        }
    }
}

/* Routes that come and go at random: a number never stands for two things at once, and nothing is
 * lost of the free numbers in the end. */
static void numbers_survive_random_changes(void **state)
{
    uint64_t seed = unit_seed(23);
    struct salvo_random random;
    uint32_t topics[3];

    print_message("seed %llu\n", (unsigned long long)seed);
    salvo_random_init(&random, seed);
    topics[0] = start_with_topic("T0");
    topics[1] = world_topic_open(world, "T1");
    topics[2] = world_topic_open(world, "T2");
    for (int round = 0; round < 2000; round++) {
        uint32_t topic = topics[salvo_random_below(&random, 3)];
        bool used[16] = {false};

        clear();
        for (uint32_t i = 0; i < 3; i++) {
            char name[8];

            snprintf(name, sizeof(name), "b%u", i);
            if (salvo_random_chance(&random, 1, 2))
                broker(name, i, (int32_t)salvo_random_below(&random, 4));
        }
        apply(topic);
        if (salvo_random_chance(&random, 1, 3))
            turn();
        for (uint32_t lane = 0; lane < 2 && world_route(world) != NULL; lane++)
            if (salvo_random_chance(&random, 1, 3))
                lane_sees(lane);
        for (uint32_t i = 0; i < 3; i++) {
            const struct salvo_route_object *object = world->control.table.latest[topics[i]];

            for (uint32_t q = 0; object != NULL && q < object->route.queues_count; q++) {
                assert_false(used[object->route.queues[q].queue]);
                used[object->route.queues[q].queue] = true;
            }
        }
        if (salvo_random_chance(&random, 1, 3))
            world_run(world, 1000); /* lanes drop brokers */
    }
    clear();
    for (uint32_t i = 0; i < 3; i++)
        apply(topics[i]);
    turn();
    both_see();
    assert_int_equal(world->control.table.numbers.free_count, 16);
    world_run(world, SALVO_NS_PER_S);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(world->control.brokers.table[i].state, SALVO_BROKER_FREE);
}

int main(void)
{
#define ROUTE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROUTE_TEST(numbers_stay_while_a_topic_grows),
        ROUTE_TEST(unchanged_topics_are_shared_and_an_equal_answer_is_not_published),
        ROUTE_TEST(lost_queue_numbers_wait_for_every_lane),
        ROUTE_TEST(queues_that_come_back_have_their_numbers_again),
        ROUTE_TEST(many_queues_come_back_at_once_in_no_time),
        ROUTE_TEST(limits_are_respected_and_said),
        ROUTE_TEST(a_topic_that_finds_no_room_says_so),
        ROUTE_TEST(only_writable_queues_of_known_masters_count),
        ROUTE_TEST(order_conf_decides_alone),
        ROUTE_TEST(static_topics_are_refused_in_words),
        ROUTE_TEST(a_new_address_keeps_the_number_and_moves_the_generation),
        ROUTE_TEST(templates_say_what_their_kind_means),
        ROUTE_TEST(names_are_taken_when_the_longest_flag_fits_too),
        ROUTE_TEST(the_empty_heartbeat_names_no_group_and_its_opaque_can_be_patched),
        ROUTE_TEST(numbers_survive_random_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
