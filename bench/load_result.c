/* What became of each message: counts, kinds of failure, latencies. */
#include "base/assert.h"
#include "base/bytes.h"
#include "bench/load_state.h"

#include <stdio.h>

/* Results of one submitter taken in one go: as many as a lane can have given since the last turn,
 * but not so many that a message due meanwhile comes late. */
#define LOAD_POLL_MAX 1024

static void result_note_kind(struct salvo_load *load, const salvo_result *result,
                             enum salvo_code code)
{
    struct salvo_load_result *all = load->result;
    int broker_code = code == SALVO_REFUSED ? salvo_result_broker_code(result) : -1;
    char name[SALVO_LOAD_KIND_NAME_MAX];
    struct salvo_load_kind *kind;

    for (unsigned i = 0; i < all->kinds_count; i++) {
        kind = &all->kinds[i];
        if (kind->code == code && kind->broker_code == broker_code) {
            kind->count++;
            salvo_load_live_count_kind(load->live, i, kind->count);
            return;
        }
    }
    if (all->kinds_count == SALVO_LOAD_KINDS_MAX) {
        all->kinds_dropped++;
        return;
    }
    kind = &all->kinds[all->kinds_count++];
    kind->code = code;
    kind->broker_code = broker_code;
    kind->count = 1;
    snprintf(kind->text, sizeof(kind->text), "%s", salvo_result_detail(result));
    salvo_text_make_printable(kind->text);
    salvo_load_kind_name(kind, name, sizeof(name));
    salvo_load_live_add_kind(load->live, name);
    salvo_load_live_count_kind(load->live, all->kinds_count - 1, 1);
}

static void result_count_failure(struct salvo_load_counts *counts, enum salvo_code code,
                                 bool stored_unknown)
{
    switch (code) {
    case SALVO_TIMED_OUT:
        counts->timed_out++;
        break;
    case SALVO_TIMED_OUT_UNSENT:
    case SALVO_NO_ROUTE:
    case SALVO_UNSENT_STOPPED:
    case SALVO_UNSENT_EARLIER_FAILED:
        counts->unsent++;
        counts->stored_unknown_unsent += stored_unknown;
        return;
    default:
        counts->failed++;
        break;
    }
    counts->stored_unknown += stored_unknown;
}

static void result_count(struct salvo_load_counts *counts, const salvo_result *result,
                         enum salvo_code code)
{
    salvo_assert(code < SALVO_CODES);
    counts->codes[code]++;
    counts->retried += salvo_result_tries(result) > 1;
    if (code <= SALVO_OK_FLUSH_SLAVE_TIMEOUT)
        counts->acked++;
    else
        result_count_failure(counts, code, salvo_result_stored(result) == SALVO_STORED_UNKNOWN);
}

void salvo_load_counts_add(struct salvo_load_counts *to, const struct salvo_load_counts *counts)
{
    for (unsigned i = 0; i < SALVO_CODES; i++)
        to->codes[i] += counts->codes[i];
    to->acked += counts->acked;
    to->failed += counts->failed;
    to->timed_out += counts->timed_out;
    to->unsent += counts->unsent;
    to->stored_unknown += counts->stored_unknown;
    to->stored_unknown_unsent += counts->stored_unknown_unsent;
    to->retried += counts->retried;
    to->bytes += counts->bytes;
}

static void result_take(void *arg, const salvo_result *result)
{
    struct salvo_load *load = arg;
    struct salvo_load_live *live = load->live;
    int64_t from_ns = (int64_t)salvo_result_cookie(result);
    int64_t done_ns = salvo_result_done_ns(result);
    enum salvo_code code = salvo_result_code(result);
    bool measured = from_ns >= load->conf->warmup_ns;

    load->out--;
    load->last_result_ns = SALVO_MAX(load->last_result_ns, done_ns);
    result_count(measured ? &load->result->measured : &load->warm, result, code);
    if (code > SALVO_OK_FLUSH_SLAVE_TIMEOUT) {
        result_note_kind(load, result, code);
        return;
    }
    load->last_ack_ns = SALVO_MAX(load->last_ack_ns, done_ns);
    if (measured) {
        int64_t latency_ns = SALVO_MAX(done_ns - load->start_ns - from_ns, INT64_C(0));

        salvo_hist_record(&live->hists[load->swaps % 2], (uint64_t)latency_ns);
    }
}

int salvo_load_poll(struct salvo_load *load)
{
    int work = 0;

    for (unsigned i = 0; i < load->conf->submitters; i++)
        work += salvo_poll(load->submitters[i], result_take, load, LOAD_POLL_MAX);
    return work;
}

void salvo_load_result_join(struct salvo_load_result *result, const struct salvo_load_live *live,
                            const struct salvo_hist *taken)
{
    salvo_hist_merge(&result->latency, &live->hists[0]);
    salvo_hist_merge(&result->latency, &live->hists[1]);
    if (taken != NULL)
        salvo_hist_merge(&result->latency, taken);
}

void salvo_load_kind_name(const struct salvo_load_kind *kind, char *ret_name, size_t size)
{
    if (kind->code == SALVO_REFUSED)
        snprintf(ret_name, size, "%s_%d", salvo_code_name(kind->code), kind->broker_code);
    else
        snprintf(ret_name, size, "%s", salvo_code_name(kind->code));
}
