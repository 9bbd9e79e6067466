/* What the generator does between two things to do: it must neither be late nor take the core from
 * the lane it measures.
 *
 * Open loop: results can wait (their time was taken by the lane), so it sleeps until a message is
 * due, and at least a quantum, because at high rates a sleep for each message would cost more than
 * the message. Closed loop and draining: results are what it waits for, so it sleeps on the
 * submitters' descriptors. */
#include "bench/load_state.h"

#include <poll.h>
#include <sys/prctl.h>
#include <time.h>

/* Messages due within it go out together, up to this late: as long as a lane's answers gather. */
#define WAIT_QUANTUM_NS (50 * SALVO_NS_PER_US)
/* The longest sleep: the stop flag and who follows are looked at so often. */
#define WAIT_MAX_NS (100 * SALVO_NS_PER_MS)
/* Open loop: from this on results are waited for as well. */
#define WAIT_POLL_MIN_NS (2 * SALVO_NS_PER_MS)

void salvo_load_wait_init(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* default: 50 us later than asked for */
}

static void wait_poll(struct salvo_load *load, int64_t ns)
{
    struct timespec timeout = {.tv_sec = ns / SALVO_NS_PER_S, .tv_nsec = ns % SALVO_NS_PER_S};
    struct pollfd fds[SALVO_LOAD_SUBMITTERS_MAX];

    for (unsigned i = 0; i < load->conf->submitters; i++)
        fds[i] = (struct pollfd){.fd = salvo_fd(load->submitters[i]), .events = POLLIN};
    ppoll(fds, load->conf->submitters, &timeout, NULL);
}

static void wait_sleep(int64_t ns)
{
    struct timespec time = {.tv_sec = 0, .tv_nsec = ns};

    nanosleep(&time, NULL);
}

void salvo_load_wait(struct salvo_load *load, int64_t now_ns, int64_t until_ns)
{
    int64_t ns = SALVO_CLAMP(until_ns - now_ns, INT64_C(0), WAIT_MAX_NS);
    bool draining = atomic_load_explicit(&load->live->draining, memory_order_relaxed);
    bool for_results = load->conf->rate <= 0 || load->full_since_ns != 0 || draining;

    if (load->conf->caller) {
        salvo_idle(load->conf->sender, 0, ns / SALVO_NS_PER_US);
        return;
    }
    if (load->conf->idle == SALVO_LOAD_SPIN) {
        salvo_cpu_relax();
        return;
    }
    if (for_results || ns >= WAIT_POLL_MIN_NS)
        wait_poll(load, ns);
    else
        wait_sleep(SALVO_MAX(ns, WAIT_QUANTUM_NS));
}
