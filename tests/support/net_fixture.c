/* Two nets of one backend, and the contract, checked event by event. See net_fixture.h. */
#include "tests/support/net_fixture.h"
#include "tests/support/net_filter.h"

#include <arpa/inet.h>

#define EVENTS_MAX 64

uint8_t fixture_byte(uint64_t seed, uint64_t offset)
{
    uint64_t x = (offset / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ seed;

    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return (uint8_t)(x >> (offset % 8 * 8));
}

void fixture_init(struct net_fixture *f, const struct net_backend *backend)
{
    uint64_t seed = unit_seed(20250301);

    memset(f, 0, sizeof(*f));
    f->backend = backend;
    f->echo_max = SALVO_MIB(4);
    salvo_random_init(&f->random, seed);
    salvo_sim_conf_default(&f->sim, seed);
    salvo_net_conf_default(&f->conf, salvo_clock_system());
}

in_addr_t fixture_address(const struct net_fixture *f)
{
    return f->backend->address == NULL ? htonl(INADDR_LOOPBACK) : f->backend->address();
}

int fixture_open_net(struct net_fixture *f, uint32_t host, struct salvo_net **ret_net)
{
    struct salvo_net *inner;
    int r;

    if (f->backend->kind == NET_SIM)
        r = salvo_net_sim_open(f->world, host, &f->conf, &inner);
    else if (host == NET_CLIENT_HOST && f->backend->open_client != NULL)
        r = f->backend->open_client(&f->conf, &inner);
    else
        r = f->backend->open(&f->conf, &inner);

    if (r == 0 && f->backend->filtered)
        return salvo_net_filter_open(inner, &f->conf, salvo_random_next(&f->random), ret_net);
    if (r == 0)
        *ret_net = inner;
    return r;
}

void fixture_open(struct net_fixture *f)
{
    f->clock = f->conf.clock;
    if (f->backend->kind == NET_SIM) {
        assert_int_equal(salvo_sim_world_new(&f->sim, &f->world), 0);
        f->clock = f->conf.clock = salvo_sim_world_clock(f->world);
    }
    assert_int_equal(fixture_open_net(f, NET_CLIENT_HOST, &f->client.net), 0);
    assert_int_equal(fixture_open_net(f, NET_SERVER_HOST, &f->server.net), 0);
    f->endpoint = (struct salvo_endpoint){
        .v4 = {.sin_family = AF_INET, .sin_addr.s_addr = fixture_address(f)}};
    assert_int_equal(salvo_net_listen(f->server.net, &f->endpoint, 77), 0);
    assert_int_not_equal(f->endpoint.v4.sin_port, 0);
}

static void side_free(struct net_side *side)
{
    if (side->net != NULL)
        salvo_net_destroy(side->net);
    side->net = NULL;
    for (unsigned i = 0; i < FIXTURE_LINKS_MAX; i++)
        free(side->ends[i].out.bytes);
}

void fixture_close(struct net_fixture *f)
{
    side_free(&f->client);
    side_free(&f->server);
    if (f->world != NULL)
        salvo_sim_world_free(f->world);
    f->world = NULL;
}

/* Offers what has not been taken, when the link has not refused. */
static void end_offer(struct net_side *side, uint32_t link)
{
    struct net_end *end = &side->ends[link];
    struct salvo_range ranges[600];
    unsigned count = 0;
    size_t offered = 0;
    size_t taken;

    if (!end->up || end->down || end->closed || end->out.refused || end->out.taken == end->out.size)
        return;
    while (count < SALVO_ARRAY_LENGTH(ranges) && end->out.taken + offered < end->out.size) {
        size_t left = end->out.size - end->out.taken - offered;
        size_t size = end->out.range_size == 0 ? left : SALVO_MIN(left, end->out.range_size);

        /* Empty ones are legal, and merging only happens where ranges touch. */
        if (end->out.range_size != 0 && count % 7 == 3)
            size = 0;
        ranges[count++] = (struct salvo_range){end->out.bytes + end->out.taken + offered, size};
        offered += size;
    }
    taken = salvo_net_send(side->net, link, ranges, count);
    assert_true(taken <= offered);
    end->out.taken += taken;
    end->out.refused = taken < offered;
}

static void end_received(struct net_fixture *f, struct net_side *side, uint32_t link,
                         const uint8_t *bytes, uint32_t size)
{
    struct net_end *end = &side->ends[link];

    if (!end->received_any) {
        for (uint32_t i = 0; i < size; i++) {
            if (bytes[i] != fixture_byte(end->received_seed, end->received + i))
                fail_msg("byte %llu is not what was sent", (unsigned long long)end->received + i);
        }
    }
    if (side->echo) {
        if (end->out.bytes == NULL) {
            end->out.bytes = malloc(f->echo_max);
            end->seed = end->received_seed;
        }
        assert_true(end->out.size + size <= f->echo_max);
        memcpy(end->out.bytes + end->out.size, bytes, size);
        end->out.size += size;
    }
    end->received += size;
}

/* Released bytes are as they were, and from now on they are ours: whoever looks again sees 0xdd. */
static void end_released(struct net_end *end, uint64_t size)
{
    assert_true(end->out.released + size <= end->out.taken);
    for (uint64_t i = end->out.released; i < end->out.released + size; i++) {
        if (end->out.bytes[i] != fixture_byte(end->seed, i))
            fail_msg("byte %llu was touched before it was released", (unsigned long long)i);
    }
    if (size != 0)
        memset(end->out.bytes + end->out.released, 0xdd, size);
    end->out.released += size;
    end->out.refused = false;
    end->released_events++;
}

static void side_event(struct net_fixture *f, struct net_side *side,
                       const struct salvo_net_event *event)
{
    struct net_end *end = &side->ends[event->link];

    assert_true(event->link < f->conf.links_max);
    if (event->kind == SALVO_NET_ACCEPTED) {
        assert_true(!end->used || end->gone);
        free(end->out.bytes);
        *end =
            (struct net_end){.used = true, .up = true, .accepted = true, .cookie = event->cookie};
        side->accepted[side->accepted_count++ % FIXTURE_LINKS_MAX] = event->link;
        return;
    }
    assert_true(end->used);
    assert_false(end->gone);
    assert_int_equal(event->cookie, end->cookie);
    switch (event->kind) {
    case SALVO_NET_UP:
        assert_false(end->up || end->down);
        end->up = true;
        side->up_count++;
        break;
    case SALVO_NET_DATA:
        assert_true(end->up && !end->down && !end->closed);
        assert_true(event->data.size != 0);
        assert_true(event->data.size <= f->conf.receive_buffer_size);
        side->data_events++;
        end_received(f, side, event->link, event->data.bytes, event->data.size);
        if (side->hold)
            side->held[side->held_count++] = event->data.buffer;
        else
            salvo_net_give_back(side->net, event->data.buffer);
        break;
    case SALVO_NET_RELEASED:
        end_released(end, event->released.bytes);
        break;
    case SALVO_NET_DOWN:
        assert_false(end->down);
        assert_true(event->down.handed_over <= end->out.taken);
        assert_true(end->closed == (event->down.reason == SALVO_NET_DOWN_CLOSED) || end->closed);
        assert_true(strlen(salvo_net_down_text(event->down.reason)) > 3);
        end->down = true;
        end->reason = event->down.reason;
        end->handed_over = event->down.handed_over;
        side->down_count++;
        break;
    case SALVO_NET_GONE:
        assert_true(end->down);
        assert_int_equal(end->out.released, end->out.taken);
        end->gone = true;
        side->gone_count++;
        break;
    case SALVO_NET_ACCEPTED:
        break;
    }
}

unsigned fixture_turn_side(struct net_fixture *f, struct net_side *side)
{
    struct salvo_net_event events[EVENTS_MAX];
    unsigned most = 1 + (unsigned)salvo_random_below(&f->random, EVENTS_MAX);
    unsigned count;

    if (side->net == NULL || side->still)
        return 0;
    count = salvo_net_poll(side->net, events, most);
    assert_true(count <= most);
    for (unsigned i = 0; i < count; i++)
        side_event(f, side, &events[i]);
    for (uint32_t i = 0; i < f->conf.links_max; i++)
        end_offer(side, i);
    salvo_net_flush(side->net);
    return count;
}

void fixture_turn(struct net_fixture *f)
{
    unsigned count = fixture_turn_side(f, &f->client) + fixture_turn_side(f, &f->server);

    if (count != 0)
        return;
    if (f->client.net != NULL && !f->client.still)
        salvo_net_wait(f->client.net, 1, 0, 200 * SALVO_NS_PER_US);
    if (f->server.net != NULL && !f->server.still)
        salvo_net_wait(f->server.net, 1, 0, 200 * SALVO_NS_PER_US);
}

void fixture_give_back(struct net_side *side)
{
    while (side->held_count != 0)
        salvo_net_give_back(side->net, side->held[--side->held_count]);
}

uint32_t fixture_connect_start(struct net_fixture *f, const struct salvo_endpoint *to,
                               int64_t timeout_ns)
{
    static uint64_t cookie = 1000;
    uint32_t link = SALVO_NET_LINK_NONE;

    cookie++;
    assert_int_equal(salvo_net_connect(f->client.net, to, timeout_ns, cookie, &link), 0);
    assert_true(link < f->conf.links_max);
    assert_true(!f->client.ends[link].used || f->client.ends[link].gone);
    free(f->client.ends[link].out.bytes);
    f->client.ends[link] = (struct net_end){.used = true, .cookie = cookie};
    return link;
}

uint32_t fixture_connect(struct net_fixture *f)
{
    unsigned accepted = f->server.accepted_count;
    uint32_t link = fixture_connect_start(f, &f->endpoint, 20 * SALVO_NS_PER_S);
    uint32_t peer;

    FIXTURE_TURN_UNTIL(f, f->client.ends[link].up && f->server.accepted_count > accepted);
    peer = f->server.accepted[accepted % FIXTURE_LINKS_MAX];
    assert_int_equal(f->server.ends[peer].cookie, 77);
    f->client.ends[link].seed = salvo_random_next(&f->random);
    f->server.ends[peer].received_seed = f->client.ends[link].seed;
    f->client.ends[link].received_seed = f->client.ends[link].seed; /* an echo */
    return link;
}

void fixture_send(struct net_fixture *f, struct net_side *side, uint32_t link, size_t size,
                  size_t range_size)
{
    struct net_end *end = &side->ends[link];

    if (end->out.bytes == NULL)
        end->out.bytes = malloc(f->echo_max);
    assert_true(end->out.size + size <= f->echo_max);
    for (size_t i = end->out.size; i < end->out.size + size; i++)
        end->out.bytes[i] = fixture_byte(end->seed, i);
    end->out.size += size;
    end->out.range_size = range_size;
    end_offer(side, link);
}

void fixture_settle(struct net_fixture *f, uint32_t link, uint32_t peer)
{
    struct net_end *client = &f->client.ends[link];
    struct net_end *server = &f->server.ends[peer];

    fixture_send(f, &f->client, link, 1, 0);
    FIXTURE_TURN_UNTIL(f, server->received == 1 && client->out.released == client->out.size &&
                              server->out.released == server->out.size);
    while (fixture_turn_side(f, &f->client) + fixture_turn_side(f, &f->server) != 0)
        ;
}

void fixture_end(struct net_side *side, uint32_t link)
{
    side->ends[link].closed = true;
    salvo_net_close(side->net, link);
}
