/* The kernel's interface that a virtual device is over: what DPDK does not say of it, or says so
 * that nobody knows what to do, is looked at before the device is opened. */
#include "base/assert.h"
#include "base/error.h"
#include "dataplane/net_dpdk_internal.h"

#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Drivers answer to two names: net_tap and eth_tap. */
static bool device_is(const struct salvo_dpdk_port *port, const char *driver)
{
    return strlen(port->name) > 4 && strncmp(port->name + 4, driver, strlen(driver)) == 0;
}

/* Copies what stands behind "iface="; "" when nothing does. Returns how often it stands there. */
static unsigned interface_name(const char *device, char *ret_name, size_t size)
{
    static const char key[] = ",iface=";
    unsigned count = 0;

    ret_name[0] = '\0';
    for (const char *at = strstr(device, key); at != NULL; at = strstr(at + 1, key)) {
        const char *name = at + strlen(key);

        snprintf(ret_name, size, "%.*s", (int)strcspn(name, ","), name);
        count++;
    }
    return count;
}

/* Other errors than of rights are DPDK's to tell. */
static int interface_check_rights(const struct salvo_dpdk_port *port, int family, char *ret_error,
                                  size_t error_size)
{
    int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : 0;

    if (fd >= 0)
        close(fd);
    if (r != -EPERM && r != -EACCES)
        return 0;
    snprintf(ret_error, error_size,
             "dpdk_device %s: raw sockets are not allowed (%s): run as root, or with the "
             "capabilities that docs/DPDK.md names",
             port->conf.device, strerror(-r));
    return salvo_raise(r);
}

/* What is larger than its MTU an interface loses without a word. */
static int interface_check_mtu(struct salvo_dpdk_port *port, const char *name, char *ret_error,
                               size_t error_size)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : 0;

    if (r) {
        snprintf(ret_error, error_size, "dpdk_device %s: interface %s cannot be looked at: %s",
                 port->conf.device, name, salvo_error_text(r));
        return salvo_raise(r);
    }
    memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    r = ioctl(fd, SIOCGIFMTU, &request) != 0 ? -errno : 0;
    close(fd);
    if (r) {
        snprintf(
            ret_error, error_size,
            "dpdk_device %s: interface '%s' cannot be used (%s): see ip link for what is there",
            port->conf.device, name, strerror(-r));
        return salvo_raise(r);
    }
    if (request.ifr_mtu >= port->conf.mtu)
        return 0;
    if (request.ifr_mtu < SALVO_IP6_MTU_SAFE) {
        snprintf(ret_error, error_size,
                 "dpdk_mtu is %u, and interface %s has an MTU of %d: raise the interface's "
                 "(ip link set %s mtu %u), or lower dpdk_mtu",
                 port->conf.mtu, name, request.ifr_mtu, name, port->conf.mtu);
        return salvo_raise(-EMSGSIZE);
    }
    salvo_log_write(port->conf.log, SALVO_LOG_WARN,
                    "dpdk_mtu is %u, and interface %s has an MTU of %d: that is used",
                    port->conf.mtu, name, request.ifr_mtu);
    port->conf.mtu = (uint16_t)request.ifr_mtu;
    return 0;
}

/* Two processes over one interface: the second takes the first one's XDP program off it, whatever
 * queue each has, or takes the interface away. The socket is the network namespace's, and goes with
 * the process. An interface that is there may have other names; a tap's may be still to come. */
static int interface_claim(struct salvo_dpdk_port *port, const char *name, char *ret_error,
                           size_t error_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX}; /* abstract: sun_path[0] is 0 */
    unsigned index = if_nametoindex(name);
    char first[IF_NAMESIZE];
    int length, r;

    salvo_assert(port->claim_fd == -1);
    length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "salvo-dpdk-%s",
                      index != 0 && if_indextoname(index, first) != NULL ? first : name);
    port->claim_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (port->claim_fd >= 0 &&
        bind(port->claim_fd, (const struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0)
        return 0;
    r = -errno;
    if (r == -EADDRINUSE)
        snprintf(ret_error, error_size,
                 "dpdk_device %s: another sender uses interface %s, and %s does not share it: stop "
                 "that one (ss -xap has its socket, @%s), or take another interface",
                 port->conf.device, name, port->name, address.sun_path + 1);
    else
        snprintf(ret_error, error_size, "dpdk_device %s: interface %s cannot be claimed: %s",
                 port->conf.device, name, salvo_error_text(r));
    return salvo_raise(r);
}

int dpdk_interface_open(struct salvo_dpdk_port *port, char *ret_error, size_t error_size)
{
    bool tap = device_is(port, "tap"), xdp = device_is(port, "af_xdp");
    char name[IFNAMSIZ + 64];
    unsigned count;
    int r;

    if (!tap && !xdp && !device_is(port, "af_packet"))
        return 0;
    count = interface_name(port->conf.device, name, sizeof(name));
    if (tap && (count == 0 || strchr(name, '%') != NULL))
        return 0; /* it finds a name itself */
    if (count != 1 || name[0] == '\0') {
        snprintf(ret_error, error_size,
                 "dpdk_device %s: which interface? Write it behind once, as in %s,iface=eth1",
                 port->conf.device, port->name);
        return salvo_raise(-EINVAL);
    }
    if (strlen(name) >= IFNAMSIZ) {
        snprintf(ret_error, error_size,
                 "dpdk_device %s: the name of an interface has %d characters at most",
                 port->conf.device, IFNAMSIZ - 1);
        return salvo_raise(-EINVAL);
    }
    if (tap)
        return salvo_trace(interface_claim(port, name, ret_error, error_size));
    r = interface_check_rights(port, xdp ? AF_XDP : AF_PACKET, ret_error, error_size);
    if (r == 0)
        r = interface_check_mtu(port, name, ret_error, error_size);
    if (r == 0 && xdp)
        r = interface_claim(port, name, ret_error, error_size);
    return salvo_trace(r);
}

void dpdk_interface_close(struct salvo_dpdk_port *port)
{
    if (port->claim_fd >= 0)
        close(port->claim_fd);
    port->claim_fd = -1;
}
