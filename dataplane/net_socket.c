/* What the two kernel backends share. See net_socket.h. */
#include "dataplane/net_socket.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

size_t salvo_net_gather_take(struct salvo_net_gather *gather, const struct salvo_range *ranges,
                             unsigned ranges_count, size_t room)
{
    size_t taken = 0;

    for (unsigned i = 0; i < ranges_count && taken < room; i++) {
        size_t size = SALVO_MIN(ranges[i].size, room - taken);
        struct iovec *last = NULL;

        if (size == 0)
            continue;
        if (gather->ranges_count != 0)
            last = &gather->ranges[gather->ranges_count - 1];
        if (last != NULL && (const uint8_t *)last->iov_base + last->iov_len == ranges[i].bytes) {
            last->iov_len += size;
        } else if (gather->ranges_count == SALVO_NET_GATHER_MAX) {
            break;
        } else {
            gather->ranges[gather->ranges_count++] =
                (struct iovec){.iov_base = (void *)(uintptr_t)ranges[i].bytes, .iov_len = size};
        }
        taken += size;
    }
    gather->size += taken;
    return taken;
}

void salvo_net_gather_drop(struct salvo_net_gather *gather, size_t size)
{
    unsigned gone = 0;

    salvo_assert(size <= gather->size);
    gather->size -= size;
    while (gone < gather->ranges_count && size >= gather->ranges[gone].iov_len) {
        size -= gather->ranges[gone].iov_len;
        gone++;
    }
    gather->ranges_count -= gone;
    if (gone != 0 && gather->ranges_count != 0)
        memmove(gather->ranges, gather->ranges + gone,
                gather->ranges_count * sizeof(gather->ranges[0]));
    if (size != 0) {
        salvo_assert(gather->ranges_count != 0);
        gather->ranges[0].iov_base = (uint8_t *)gather->ranges[0].iov_base + size;
        gather->ranges[0].iov_len -= size;
    }
}

enum salvo_net_down salvo_net_down_of(int error)
{
    switch (error) {
    case 0:
        return SALVO_NET_DOWN_PEER;
    case ECONNREFUSED:
        return SALVO_NET_DOWN_REFUSED;
    case ETIMEDOUT:
    case ETIME:
        return SALVO_NET_DOWN_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED:
        return SALVO_NET_DOWN_RESET;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EADDRNOTAVAIL:
        return SALVO_NET_DOWN_UNREACHABLE;
    default:
        return SALVO_NET_DOWN_ERROR;
    }
}

socklen_t salvo_endpoint_size(const struct salvo_endpoint *endpoint)
{
    return endpoint->any.sa_family == AF_INET6 ? sizeof(endpoint->v6) : sizeof(endpoint->v4);
}

int salvo_net_socket_new(const struct salvo_endpoint *to, bool nonblocking, int *ret_fd)
{
    int type = SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
    int on = 1;
    int fd;

    if (to->any.sa_family != AF_INET && to->any.sa_family != AF_INET6)
        return salvo_raise(-EAFNOSUPPORT);
    fd = socket(to->any.sa_family, type, IPPROTO_TCP);
    if (fd < 0)
        return salvo_raise(-errno);
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
        int r = -errno;
        close(fd);
        return salvo_raise(r);
    }
    *ret_fd = fd;
    return 0;
}

int salvo_net_socket_listen(struct salvo_endpoint *at, bool nonblocking, int *ret_fd)
{
    socklen_t size = salvo_endpoint_size(at);
    int on = 1;
    int fd = -1;
    int r;

    r = salvo_net_socket_new(at, nonblocking, &fd);
    if (r)
        return salvo_trace(r);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, &at->any, size) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, &at->any, &size) != 0) {
        r = -errno;
        close(fd);
        return salvo_raise(r);
    }
    *ret_fd = fd;
    return 0;
}
