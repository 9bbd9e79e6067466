/* The submitting side and the lane's side of a submitter: see submitter.h. */
#include "dataplane/submitter.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Bodies above this are compressed by commit on the submitter's thread, so that nothing overtakes
 * and no lane is held up: 16 KiB is 30 us of ISA-L, the most that a lane may spend on one message.
 */
#define SUBMITTER_COMPRESS_HERE SALVO_KIB(16)

/* Of this many readings of the caller's at least one is held against the clock. */
#define SUBMITTER_NOW_CHECKED 256
/* How far it may lie ahead: the clocks of two cores differ by less. */
#define SUBMITTER_NOW_AHEAD_NS ((uint64_t)SALVO_NS_PER_MS)

static size_t submitter_scratch_size(const struct salvo_submitter_conf *conf)
{
    return conf->compression == SALVO_COMPRESS_NONE ? 0 : conf->body_size_max;
}

size_t salvo_submitter_memory_size(const struct salvo_submitter_conf *conf)
{
    return salvo_align_up(conf->ring_size, SALVO_CACHE_LINE) +
           salvo_align_up(salvo_results_ring_size(conf->messages_out_max), SALVO_CACHE_LINE) +
           salvo_align_up(SALVO_DETAILS_MAX * SALVO_DETAIL_SIZE, SALVO_CACHE_LINE) +
           salvo_align_up(SALVO_HOSTS_MAX * SALVO_HOST_TEXT_SIZE, SALVO_CACHE_LINE) +
           salvo_align_up(salvo_failures_memory_size(conf->messages_out_max), SALVO_CACHE_LINE) +
           salvo_align_up(submitter_scratch_size(conf), SALVO_CACHE_LINE);
}

int salvo_submitter_init(struct salvo_submitter *s, const struct salvo_submitter_conf *conf,
                         void *memory, const void *owner, _Atomic(uint32_t) *draining)
{
    uint8_t *at = memory;
    int r;

    memset(s, 0, sizeof(*s));
    s->conf = *conf;
    s->owner = owner;
    s->draining = draining;
    s->memory = at;
    at += salvo_align_up(conf->ring_size, SALVO_CACHE_LINE);
    s->results_memory = at;
    at += salvo_align_up(salvo_results_ring_size(conf->messages_out_max), SALVO_CACHE_LINE);
    s->details = (char(*)[SALVO_DETAIL_SIZE])at;
    at += salvo_align_up(SALVO_DETAILS_MAX * SALVO_DETAIL_SIZE, SALVO_CACHE_LINE);
    s->hosts = (char(*)[SALVO_HOST_TEXT_SIZE])at;
    at += salvo_align_up(SALVO_HOSTS_MAX * SALVO_HOST_TEXT_SIZE, SALVO_CACHE_LINE);
    salvo_failures_init(&s->failures, conf->messages_out_max, at);
    at += salvo_align_up(salvo_failures_memory_size(conf->messages_out_max), SALVO_CACHE_LINE);
    if (submitter_scratch_size(conf) != 0) {
        s->scratch = at;
        r = salvo_compressor_new(&s->compressor, conf->compression, conf->compress_level,
                                 conf->body_size_max);
        if (r)
            return salvo_trace(r);
    }
    s->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->event_fd < 0) {
        r = -errno;
        salvo_compressor_free(s->compressor);
        s->compressor = NULL;
        return salvo_raise(r);
    }
    salvo_id_source_init(&s->ids, conf->ip, conf->ip_size, conf->pid, conf->mid);
    return 0;
}

void salvo_submitter_deinit(struct salvo_submitter *s)
{
    if (s->compressor != NULL)
        salvo_compressor_free(s->compressor);
    s->compressor = NULL;
    if (s->event_fd > 0)
        close(s->event_fd);
    s->event_fd = -1;
}

bool salvo_submitter_take(struct salvo_submitter *s, struct salvo_lane_port *port)
{
    uint32_t expected = SALVO_SUBMITTER_FREE;

    /* Acquire: pairs with the lane's release of FREE; what the lane did with the rings is over. */
    if (!atomic_compare_exchange_strong_explicit(&s->state, &expected, SALVO_SUBMITTER_TAKEN,
                                                 memory_order_acquire, memory_order_relaxed))
        return false;
    salvo_ring_init(&s->messages, s->memory, s->conf.ring_size, 0);
    salvo_ring_init(&s->results, s->results_memory,
                    salvo_results_ring_size(s->conf.messages_out_max), 0);
    s->port = port;
    s->committed = 0;
    s->polled = 0;
    s->released = 0;
    s->polling = false;
    s->failures_polled = 0;
    salvo_failures_clear(&s->failures);
    s->details_used = 0;
    s->hosts_count = 0;
    atomic_store_explicit(&s->details_polled, 0, memory_order_relaxed);
    atomic_store_explicit(&s->armed, SALVO_SUBMITTER_UNARMED, memory_order_relaxed);
    s->results_dirty = false;
    s->event_fd_wanted = false;
    s->wall_read_ns = INT64_MIN / 2;
    s->now_checked_ns = INT64_MIN / 2;
    s->msg = (struct salvo_msg){.submitter = s};
    atomic_store_explicit(&s->lane_index, port->lane_index, memory_order_relaxed);
    /* Release: pairs with the acquire in lane_find_submitters; the rings are set up. */
    atomic_store_explicit(&s->state, SALVO_SUBMITTER_OPEN, memory_order_release);
    return true;
}

int salvo_submitter_claim(struct salvo_submitter *s, uint32_t topic, size_t size_max,
                          struct salvo_msg **ret_msg)
{
    size_t room = (size_max + 7) & ~(size_t)7;
    struct salvo_slot *slot;
    struct salvo_msg *m = &s->msg;
    void *payload;

    salvo_assert(m->slot == NULL); /* one claim at a time */
    if (size_max == 0 || size_max > s->conf.body_size_max)
        return salvo_raise(-EINVAL);
    if (SALVO_UNLIKELY(s->committed - s->released >= s->conf.messages_out_max)) {
        if (s->committed - s->polled >= s->conf.messages_out_max)
            return SALVO_BUSY_RESULTS;
        salvo_submitter_results_release(s); /* in a callback: those polled before this one */
    }
    /* Relaxed: the drain waits for what was committed before, whichever side of it that is. */
    if (SALVO_UNLIKELY(atomic_load_explicit(s->draining, memory_order_relaxed) != 0))
        return SALVO_BUSY_DRAINING;
    if (salvo_ring_claim(&s->messages, salvo_slot_size_max(room), &payload) != 0)
        return SALVO_BUSY_RING_FULL;
    slot = payload;
    slot->magic = SALVO_SLOT_MAGIC;
    slot->flags = 0;
    slot->topic = topic;
    slot->queue_index = 0;
    slot->body_room = (uint32_t)room;
    slot->flag = 0;
    slot->budget_ns = s->conf.timeout_ns;
    slot->shard_hash = 0;
    m->slot = slot;
    /* Field by field: as a whole it is built elsewhere and copied by loads that wait for stores. */
    m->properties.start = salvo_slot_properties(slot);
    m->properties.at = m->properties.start;
    m->properties.end = m->properties.start + SALVO_PROPERTIES_SIZE_MAX;
    m->properties.failed = false;
    m->error = NULL;
    m->size_max = size_max;
    m->now_ns = 0;
    m->has_id = false;
    *ret_msg = m;
    return 0;
}

int salvo_submitter_set_property(struct salvo_msg *m, const char *name, const char *value,
                                 bool reserved_too)
{
    size_t name_size = strlen(name);
    size_t value_size = strlen(value);
    struct salvo_writer before = m->properties;
    int refusal;

    salvo_assert(m->slot != NULL);
    refusal = reserved_too ? salvo_property_value_check(value, value_size)
                           : salvo_property_check(name, name_size, value, value_size);
    if (refusal != 0) {
        m->error = salvo_refusal_text(refusal);
        return salvo_raise(-EINVAL);
    }
    if (salvo_property_find(m->properties.start, salvo_writer_size(&m->properties), name).text !=
        NULL) {
        m->error = "the property was set before";
        return salvo_raise(-EINVAL);
    }
    salvo_property_write(&m->properties, name, name_size, value, value_size);
    if (m->properties.failed) {
        m->properties = before;
        m->error = "properties are longer than 32,000 bytes together";
        return salvo_raise(-ENOSPC);
    }
    return 0;
}

/* Held against the clock when it is a second away from the last that was, and every so often, so
 * that a caller who hands over another clock, or never reads his again, is told. */
int salvo_submitter_set_now(struct salvo_msg *m, int64_t now_ns)
{
    struct salvo_submitter *s = m->submitter;

    salvo_assert(m->slot != NULL);
    if (SALVO_UNLIKELY((uint64_t)now_ns - (uint64_t)s->now_checked_ns > (uint64_t)SALVO_NS_PER_S ||
                       s->committed % SUBMITTER_NOW_CHECKED == 0)) {
        uint64_t age_ns = (uint64_t)salvo_clock_mono_ns(s->conf.clock) - (uint64_t)now_ns;

        if (age_ns + SUBMITTER_NOW_AHEAD_NS > SALVO_NS_PER_S + SUBMITTER_NOW_AHEAD_NS) {
            m->error = "the time is no reading of salvo_now_ns() of the last second";
            return salvo_raise(-EINVAL);
        }
        s->now_checked_ns = now_ns;
    }
    m->now_ns = now_ns;
    return 0;
}

/* UNIQ_KEY 0x01 32 or 56 digits 0x02: always set, so that tries and replays can be told by it. */
static void submitter_write_id(struct salvo_submitter *s, struct salvo_msg *m, int64_t now_ns,
                               uint8_t **at)
{
    static const char name[] = "UNIQ_KEY\x01";
    struct salvo_slot *slot = m->slot;
    uint8_t *p = *at;

    memcpy(p, name, sizeof(name) - 1);
    p += sizeof(name) - 1;
    if (SALVO_UNLIKELY(m->has_id)) {
        p += salvo_id_write(s->conf.ip, s->conf.ip_size, slot->id, (char *)p);
    } else {
        if ((uint64_t)(now_ns - s->wall_read_ns) >= SALVO_NS_PER_MS) { /* or went back */
            s->wall_read_ns = now_ns;
            s->wall_ms = salvo_clock_wall_ms(s->conf.clock);
        }
        salvo_id_make(&s->ids, s->wall_ms, s->conf.month, slot->id);
        p += salvo_id_write_made(&s->ids, (char *)p);
    }
    *p++ = SALVO_PROPERTY_VALUE_END;
    *at = p;
}

/* Compresses a large body in place and draws the properties up to it. */
static void submitter_compress(struct salvo_submitter *s, struct salvo_slot *slot)
{
    size_t size;
    uint8_t *properties = salvo_slot_properties(slot);

    size = salvo_compress(s->compressor, salvo_slot_body(slot), slot->body_size, s->scratch,
                          slot->body_size - 1);
    if (size == 0)
        return;
    memcpy(salvo_slot_body(slot), s->scratch, size);
    slot->body_size = (uint32_t)size;
    slot->body_room = (uint32_t)((size + 7) & ~(size_t)7);
    slot->flags |= SALVO_SLOT_COMPRESSED;
    memmove(salvo_slot_properties(slot), properties, slot->properties_size);
}

int salvo_submitter_commit(struct salvo_msg *m, size_t size, uint64_t cookie)
{
    struct salvo_submitter *s = m->submitter;
    struct salvo_slot *slot = m->slot;
    int64_t now_ns;
    uint8_t *at;

    salvo_assert(slot != NULL);
    if (size == 0 || size > m->size_max)
        return salvo_raise(-EINVAL);
    slot->body_size = (uint32_t)size;
    slot->cookie = cookie;
    if (slot->flags & SALVO_SLOT_SHARD)
        slot->failures_polled = s->failures_polled;
    now_ns = m->now_ns != 0 ? m->now_ns : salvo_clock_mono_loose_ns(s->conf.clock);
    slot->deadline_ns = now_ns + slot->budget_ns;
    at = m->properties.at; /* the claim has 256 bytes more than the writer may use */
    submitter_write_id(s, m, now_ns, &at);
    if (SALVO_UNLIKELY(slot->flags & SALVO_SLOT_NO_WAIT)) {
        memcpy(at,
               "WAIT\x01"
               "false\x02",
               11);
        at += 11;
    }
    slot->properties_size = (uint32_t)(at - m->properties.start);
    if (slot->body_room > ((size + 7) & ~(size_t)7)) {
        /* Less was used than claimed: the properties move up, so that the record holds no gap. */
        uint8_t *properties = salvo_slot_properties(slot);

        slot->body_room = (uint32_t)((size + 7) & ~(size_t)7);
        memmove(salvo_slot_properties(slot), properties, slot->properties_size);
    }
    if (s->compressor != NULL && size >= s->conf.compress_min && size > SUBMITTER_COMPRESS_HERE)
        submitter_compress(s, slot);
    salvo_ring_commit(&s->messages,
                      sizeof(*slot) + slot->body_room + (uint64_t)slot->properties_size);
    salvo_ring_publish(&s->messages);
    s->committed++;
    m->slot = NULL;
    salvo_lane_port_wake(s->port);
    return 0;
}

void salvo_submitter_abort(struct salvo_msg *m)
{
    salvo_assert(m->slot != NULL);
    salvo_ring_abort(&m->submitter->messages);
    m->slot = NULL;
}

/* Nothing there: the descriptor is emptied, armed, and the ring looked at once more, so that a
 * result that came in between is seen. */
static const struct salvo_result_slot *submitter_arm(struct salvo_submitter *s)
{
    uint32_t expected = SALVO_SUBMITTER_ARMED;
    const struct salvo_result_slot *result;
    uint32_t armed;
    uint32_t size;
    ssize_t got;
    uint64_t n;

    /* Acquire: pairs with the release of UNARMED: the lane's write is seen by our read. */
    armed = atomic_load_explicit(&s->armed, memory_order_acquire);
    if (armed == SALVO_SUBMITTER_ARMED)
        return NULL;
    got = read(s->event_fd, &n, sizeof(n));
    if (armed == SALVO_SUBMITTER_RINGING && got < 0)
        return NULL; /* the descriptor is about to be readable: then */
    /* Over RINGING too: the write is over, and the lane's end of it leaves ARMED alone. */
    atomic_store_explicit(&s->armed, SALVO_SUBMITTER_ARMED, memory_order_relaxed);
    /* Our store of armed before our load of the ring's tail; pairs with the fence in
     * salvo_submitter_results_publish. */
    atomic_thread_fence(memory_order_seq_cst);
    result = salvo_ring_peek(&s->results, &size);
    if (result != NULL) /* fails when the lane rings already: it will end that itself */
        atomic_compare_exchange_strong_explicit(&s->armed, &expected, SALVO_SUBMITTER_UNARMED,
                                                memory_order_relaxed, memory_order_relaxed);
    return result;
}

const struct salvo_result_slot *salvo_submitter_result(struct salvo_submitter *s)
{
    uint32_t size;
    const struct salvo_result_slot *result = salvo_ring_peek(&s->results, &size);

    if (result == NULL && s->event_fd_wanted)
        result = submitter_arm(s);
    if (result == NULL)
        return NULL;
    salvo_assert(s->polled < s->committed);
    s->failures_polled += result->stored != SALVO_STORED_YES;
    return result;
}

int salvo_submitter_fd(struct salvo_submitter *s)
{
    static const uint64_t one = 1;

    if (SALVO_LIKELY(s->event_fd_wanted))
        return s->event_fd;
    /* The poll before did not arm it: now, and when a result has come since, it is readable. */
    s->event_fd_wanted = true;
    if (submitter_arm(s) != NULL)
        (void)!write(s->event_fd, &one, sizeof(one));
    return s->event_fd;
}

void salvo_submitter_result_done(struct salvo_submitter *s, const struct salvo_result_slot *result)
{
    if (SALVO_UNLIKELY(result->detail != 0))
        /* Release: pairs with the acquire in salvo_submitter_detail; the text has been read. */
        atomic_store_explicit(&s->details_polled,
                              atomic_load_explicit(&s->details_polled, memory_order_relaxed) + 1,
                              memory_order_release);
    salvo_ring_advance(&s->results, sizeof(*result));
    s->polled++;
}

void salvo_submitter_results_release(struct salvo_submitter *s)
{
    salvo_ring_release(&s->results);
    s->released = s->polled;
}

uint16_t salvo_submitter_detail(struct salvo_submitter *s, const char *text, size_t size)
{
    uint64_t polled = atomic_load_explicit(&s->details_polled, memory_order_acquire);
    uint32_t index = (uint32_t)(s->details_used % SALVO_DETAILS_MAX);

    if (s->details_used - polled >= SALVO_DETAILS_MAX)
        return 0;
    size = SALVO_MIN(size, (size_t)SALVO_DETAIL_SIZE - 1);
    memcpy(s->details[index], text, size);
    s->details[index][size] = '\0';
    s->details_used++;
    return (uint16_t)(index + 1);
}

int salvo_submitter_host(struct salvo_submitter *s, const char text[SALVO_HOST_TEXT_SIZE])
{
    uint32_t i = 0;

    while (i < s->hosts_count && memcmp(s->hosts[i], text, SALVO_HOST_TEXT_SIZE) != 0)
        i++;
    if (i == SALVO_HOSTS_MAX)
        return -1;
    if (i == s->hosts_count) {
        memcpy(s->hosts[i], text, SALVO_HOST_TEXT_SIZE);
        s->hosts_count++;
    }
    return (int)i;
}

void salvo_submitter_results_publish(struct salvo_submitter *s)
{
    static const uint64_t one = 1;
    uint32_t expected = SALVO_SUBMITTER_ARMED;

    s->results_dirty = false;
    salvo_ring_publish(&s->results);
    /* Our store of the tail before our load of armed; pairs with the fence in submitter_arm. */
    atomic_thread_fence(memory_order_seq_cst);
    if (SALVO_LIKELY(atomic_load_explicit(&s->armed, memory_order_relaxed) !=
                     SALVO_SUBMITTER_ARMED) ||
        !atomic_compare_exchange_strong_explicit(&s->armed, &expected, SALVO_SUBMITTER_RINGING,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    (void)!write(s->event_fd, &one, sizeof(one));
    /* Release: pairs with the acquire in submitter_arm: empty it after this write. Fails when the
     * submitting thread was woken by the write already and has armed anew. */
    expected = SALVO_SUBMITTER_RINGING;
    atomic_compare_exchange_strong_explicit(&s->armed, &expected, SALVO_SUBMITTER_UNARMED,
                                            memory_order_release, memory_order_relaxed);
}
