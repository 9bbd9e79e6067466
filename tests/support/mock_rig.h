/* A mock, a client's net and one clock in a test: over net_sim in virtual time, or over epoll on
 * loopback. Both are turned by the test's one thread until what it waits for is there; the deadline
 * of a wait is virtual in the one and 10 s of real time in the other, and missing it fails the
 * test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "codec/header.h"
#include "codec/message.h"
#include "codec/send.h"
#include "dataplane/net_sim.h"
#include "mock/mock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIG_LINKS_MAX 16u
#define RIG_IN_MAX    ((size_t)1 << 20)

struct rig_kept {
    struct rig_kept *next;
    uint8_t bytes[];
};

struct rig_link {
    bool used, up, down, gone;
    uint32_t link;
    enum salvo_net_down reason;
    uint8_t *in; /* RIG_IN_MAX */
    size_t in_size;
};

struct rig {
    bool sim;
    struct salvo_sim_world *world;
    struct salvo_clock *clock;
    struct salvo_mock *mock;
    struct salvo_net *net; /* the client's */
    struct rig_link links[RIG_LINKS_MAX];
    uint8_t *out;          /* frames being written; 5 MiB */
    struct rig_kept *kept; /* what was sent: the net may refer to it until it is destroyed */
};

#define RIG_OUT_MAX ((size_t)5 << 20)

/* An answer, copied out of the stream. Texts point into `bytes`. */
struct rig_answer {
    struct salvo_header header;
    struct salvo_frame frame;
    uint8_t *bytes;
    uint8_t *scratch;
};

/* The same test over both: its state is the kind. */
#define RIG_BOTH(test)                                                                             \
    {"sim_" #test, test, NULL, NULL, (void *)"sim"},                                               \
    {                                                                                              \
        "epoll_" #test, test, NULL, NULL, (void *)"epoll"                                          \
    }
#define RIG_SIM(test)                                                                              \
    {                                                                                              \
#test, test, NULL, NULL, (void *)"sim"                                                     \
    }

void rig_conf(struct salvo_mock_conf *conf);
/* Starts the mock; `state` is the kind. conf may be NULL. */
void rig_open(struct rig *rig, void **state, struct salvo_mock_conf *conf);
void rig_close(struct rig *rig);

/* One turn of everything; in sim time moves to the next thing that will happen, at most by max_ns.
 */
void rig_turn(struct rig *rig, int64_t max_ns);
/* Turns for so long (sim: virtual; epoll: until some milliseconds brought nothing). */
void rig_quiet(struct rig *rig, int64_t ns);

/* Index of the link, up. */
unsigned rig_connect(struct rig *rig, uint32_t host);
unsigned rig_connect_maybe(struct rig *rig, uint32_t host);
void rig_send(struct rig *rig, unsigned link, const void *bytes, size_t size);
/* Waits for a whole answer and takes it from the stream; free it. */
void rig_answer_take(struct rig *rig, unsigned link, struct rig_answer *ret_answer);
void rig_answer_free(struct rig_answer *answer);
/* Waits until the link is down, with nothing whole left unread. */
void rig_expect_down(struct rig *rig, unsigned link);
/* Turns for `ns` and finds no bytes and no end. */
void rig_expect_silence(struct rig *rig, unsigned link, int64_t ns);

/* A request of a code with one optional ext field, and its frame. */
size_t rig_request(struct rig *rig, enum salvo_header_form form, int32_t code, int32_t opaque,
                   const char *key, const char *value, const void *body, size_t body_size);
void rig_ask(struct rig *rig, unsigned link, int32_t code, const char *key, const char *value,
             struct rig_answer *ret_answer);

/* A good send of topic T, queue 0, with UNIQ_KEY `key`; change fields before rig_send_write. */
struct salvo_send_fields rig_fields(const char *topic, const char *properties);
/* Sends it; the properties' text is `properties`. */
void rig_send_message(struct rig *rig, unsigned link, const struct salvo_send_fields *fields,
                      int32_t opaque, const void *body, size_t body_size);
/* And awaits the answer, whose code is returned. */
int32_t rig_send_code(struct rig *rig, unsigned link, const struct salvo_send_fields *fields,
                      const void *body, size_t body_size);
