/* Names to addresses. Numeric addresses are answered at once; names go to a helper thread, started
 * for the first of them, because getaddrinfo can block for half a minute. In virtual time only
 * numeric addresses exist.
 *
 * Owner: control. The helper touches nothing but the jobs, under their lock. */
#pragma once

#include "base/base.h"
#include "dataplane/net.h"

#define SALVO_RESOLVE_HOST_MAX 256
#define SALVO_RESOLVE_JOBS_MAX 64

/* result: 0, or a negative errno (-ENOENT: no such host; -EAGAIN: nobody to ask right now). */
typedef void salvo_resolve_fn(void *arg, uint64_t cookie, int result,
                              const struct salvo_endpoint *endpoint, int64_t now_ns);

struct addrinfo;
struct salvo_resolve_job;
struct salvo_resolve_shared;

struct salvo_resolver {
    struct salvo_resolve_shared *shared; /* NULL until the first name */
    struct salvo_net *wake;              /* whose wait ends when an answer is there */
    bool numeric_only;
};

/* "127.0.0.1", "::1" or "[::1]" with a port. 0, or -EINVAL when host is not an address. */
int salvo_resolve_numeric(const char *host, uint16_t port, struct salvo_endpoint *ret_endpoint);

/* Of a name's addresses the one whose turn it is: 0 the first, and round and round. 0 or -ENOENT.
 */
int salvo_resolve_choose(const struct addrinfo *list, uint32_t turn,
                         struct salvo_endpoint *ret_endpoint);

/* "1.2.3.4:80" or "[::1]:80" for log lines. */
void salvo_endpoint_print(const struct salvo_endpoint *endpoint, char *ret_text, size_t size);
bool salvo_endpoint_equal(const struct salvo_endpoint *a, const struct salvo_endpoint *b);

void salvo_resolver_init(struct salvo_resolver *resolver, struct salvo_net *wake);

/* Stops the helper; when it hangs in getaddrinfo for more than a second it is left to end on its
 * own. No callback is made any more. */
void salvo_resolver_deinit(struct salvo_resolver *resolver);

/* Asks; for `turn` see salvo_resolve_choose: whoever could not connect to one takes the next. Calls
 * `done` at once for a numeric address; else later, from salvo_resolver_do_work. 0;
 * -ENOENT (a name in virtual time); -EBUSY: too many at once; -EAGAIN: no thread. Without
 * 0 no call is made. */
int salvo_resolver_ask(struct salvo_resolver *resolver, const char *host, uint16_t port,
                       uint32_t turn, salvo_resolve_fn *done, void *arg, uint64_t cookie,
                       int64_t now_ns);

/* Delivers answers; returns how many. */
int salvo_resolver_do_work(struct salvo_resolver *resolver, int64_t now_ns);
