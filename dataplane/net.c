/* The network backends by name, their defaults and their words. See net.h. */
#include "dataplane/net.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

const char *salvo_net_down_text(enum salvo_net_down reason)
{
    switch (reason) {
    case SALVO_NET_DOWN_CLOSED:
        return "closed by us";
    case SALVO_NET_DOWN_PEER:
        return "closed by the peer";
    case SALVO_NET_DOWN_REFUSED:
        return "connection refused";
    case SALVO_NET_DOWN_TIMEOUT:
        return "no answer in time";
    case SALVO_NET_DOWN_RESET:
        return "reset by the peer";
    case SALVO_NET_DOWN_UNREACHABLE:
        return "host or network unreachable";
    case SALVO_NET_DOWN_ERROR:
        return "network error";
    }
    salvo_unreachable();
}

void salvo_net_conf_default(struct salvo_net_conf *conf, struct salvo_clock *clock)
{
    *conf = (struct salvo_net_conf){
        .clock = clock,
        .links_max = 64,
        /* 64 of 32 KiB: two megabytes, one huge page; 32 KiB hold some 300 answers, and a turn that
         * finds more takes the next buffer. */
        .receive_buffers = 64,
        .receive_buffer_size = SALVO_KIB(32),
        .send_max = SALVO_KIB(256),     /* more per send gained nothing (kernel-bypass 2.4) */
        .zero_copy_min = SALVO_KIB(16), /* the crossover is 3 KB at best (kernel-bypass 1.2) */
    };
}

static const char *fallback_note(int error)
{
    switch (-error) {
    case ENOSYS:
        return "io_uring is not in this build or kernel (or is filtered): using epoll";
    case EPERM:
    case EACCES:
        return "io_uring is refused on this host (kernel.io_uring_disabled or a container): using "
               "epoll";
    case ENOMEM:
        return "too little lockable memory for io_uring (ulimit -l): using epoll";
    case EINVAL:
        return "the kernel's io_uring is too old: using epoll";
    default:
        return "io_uring could not be set up: using epoll";
    }
}

int salvo_net_open(const char *name, const struct salvo_net_conf *conf, struct salvo_net **ret_net,
                   const char **ret_note)
{
    int r;

    if (strcmp(name, "epoll") == 0 || strcmp(name, "null") == 0 || strcmp(name, "uring") == 0) {
        if (name[0] == 'e')
            r = salvo_net_epoll_open(conf, ret_net);
        else if (name[0] == 'n')
            r = salvo_net_null_open(conf, ret_net);
        else
            r = salvo_net_uring_open(conf, ret_net);
        if (r == 0)
            *ret_note = NULL;
        return salvo_trace(r);
    }
    if (strcmp(name, "auto") != 0)
        return salvo_raise(-EINVAL);

    r = salvo_net_uring_open(conf, ret_net);
    if (r == 0) {
        *ret_note = NULL;
        return 0;
    }
    const char *note = fallback_note(r);
    r = salvo_net_epoll_open(conf, ret_net);
    if (r == 0)
        *ret_note = note;
    return salvo_trace(r);
}
