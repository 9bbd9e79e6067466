/* What the two kernel backends share: making sockets, errno to reason, and the bytes a link has
 * taken but not yet given to the kernel. */
#pragma once

#include "dataplane/net.h"

#include <sys/uio.h>

/* 64: what one sendmsg took in the measurements (kernel-bypass 2.4), and 1 KiB of each link's
 * memory. Ranges that touch are merged, so a lane's consecutive frames are one entry. */
#define SALVO_NET_GATHER_MAX 64

/* Bytes taken by send(), oldest first; they stay where the caller has them. */
struct salvo_net_gather {
    struct iovec ranges[SALVO_NET_GATHER_MAX];
    unsigned ranges_count;
    size_t size;
};

/* Takes from the front of `ranges` until `room` bytes or SALVO_NET_GATHER_MAX entries are there. */
size_t salvo_net_gather_take(struct salvo_net_gather *gather, const struct salvo_range *ranges,
                             unsigned ranges_count, size_t room);
/* Forgets the first `size` bytes. */
void salvo_net_gather_drop(struct salvo_net_gather *gather, size_t size);

/* Why a link died of this errno. */
enum salvo_net_down salvo_net_down_of(int error);

/* A stream socket with TCP_NODELAY, close-on-exec. io_uring wants it blocking: on a non-blocking
 * one it reports EAGAIN where it would have waited. */
int salvo_net_socket_new(const struct salvo_endpoint *to, bool nonblocking, int *ret_fd);
/* Bound and listening; port 0 in `at` is replaced by the one chosen. Accepted sockets inherit
 * TCP_NODELAY. */
int salvo_net_socket_listen(struct salvo_endpoint *at, bool nonblocking, int *ret_fd);
socklen_t salvo_endpoint_size(const struct salvo_endpoint *endpoint);
