/* Linked in place of net_uring.c where liburing is missing: open says so, and "auto" goes on to
 * epoll. */
#include "dataplane/net.h"

#include "base/error.h"

#include <errno.h>

int salvo_net_uring_open(const struct salvo_net_conf *conf, struct salvo_net **ret_net)
{
    return salvo_raise(-ENOSYS);
}
