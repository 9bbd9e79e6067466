/* Client id and own address, see identity.h. */
#include "control/identity.h"

#include "base/assert.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* UtilAll.isInternalIP: 10/8, 127/8, 172.16/12, 192.168/16. */
static bool v4_is_internal(const uint8_t ip[4])
{
    return ip[0] == 10 || ip[0] == 127 || (ip[0] == 172 && ip[1] >= 16 && ip[1] <= 31) ||
           (ip[0] == 192 && ip[1] == 168);
}

static bool v6_is_global(const struct in6_addr *ip)
{
    return !IN6_IS_ADDR_UNSPECIFIED(ip) && !IN6_IS_ADDR_LOOPBACK(ip) &&
           !IN6_IS_ADDR_LINKLOCAL(ip) && !IN6_IS_ADDR_SITELOCAL(ip) && !IN6_IS_ADDR_MULTICAST(ip);
}

static const struct in_addr *v4_of(const struct ifaddrs *at)
{
    if (at->ifa_addr == NULL || at->ifa_addr->sa_family != AF_INET)
        return NULL;
    return &((const struct sockaddr_in *)(const void *)at->ifa_addr)->sin_addr;
}

static const struct in6_addr *v6_of(const struct ifaddrs *at)
{
    if (at->ifa_addr == NULL || at->ifa_addr->sa_family != AF_INET6)
        return NULL;
    return &((const struct sockaddr_in6 *)(const void *)at->ifa_addr)->sin6_addr;
}

static void set_ip(struct salvo_identity *identity, const void *ip, uint8_t size)
{
    memcpy(identity->ip, ip, size);
    identity->ip_size = size;
}

/* UtilAll.getIP: the first public IPv4 or global IPv6 in enumeration order; else the first internal
 * IPv4, where a 127 one gives way to a later private one; else the low bytes of the clock. */
static void choose_message_ip(struct salvo_identity *identity, const struct ifaddrs *list,
                              int64_t wall_ms)
{
    uint32_t clock_bytes = htonl((uint32_t)wall_ms);
    bool found = false;

    set_ip(identity, &clock_bytes, 4);
    for (const struct ifaddrs *at = list; at != NULL; at = at->ifa_next) {
        const struct in_addr *v4 = v4_of(at);
        const struct in6_addr *v6 = v6_of(at);

        if (v4 != NULL) {
            uint8_t ip[4];

            memcpy(ip, v4, 4);
            if (!v4_is_internal(ip)) {
                set_ip(identity, ip, 4);
                return;
            }
            if (!found || (identity->ip[0] == 127 && ip[0] != 127))
                set_ip(identity, ip, 4);
            found = true;
        } else if (v6 != NULL && v6_is_global(v6)) {
            set_ip(identity, v6, 16);
            return;
        }
    }
}

/* NetworkUtil.getLocalAddress of 5.x: interfaces that are up and neither loopback nor
 * point-to-point; the first IPv4 that is not internal, else the last IPv4, else an IPv6 in
 * brackets, else 127.0.0.1. */
static void choose_client_ip(const struct ifaddrs *list, char *ret_text, size_t size)
{
    char v6_text[INET6_ADDRSTRLEN] = "";

    snprintf(ret_text, size, "127.0.0.1");
    for (const struct ifaddrs *at = list; at != NULL; at = at->ifa_next) {
        const struct in_addr *v4 = v4_of(at);
        const struct in6_addr *v6 = v6_of(at);
        uint8_t ip[4];

        if (!(at->ifa_flags & IFF_UP) || (at->ifa_flags & (IFF_LOOPBACK | IFF_POINTOPOINT)))
            continue;
        if (v6 != NULL && v6_text[0] == '\0' && v6_is_global(v6))
            inet_ntop(AF_INET6, v6, v6_text, sizeof(v6_text));
        if (v4 == NULL)
            continue;
        memcpy(ip, v4, 4);
        snprintf(ret_text, size, "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
        if (!v4_is_internal(ip))
            return;
    }
    if (strcmp(ret_text, "127.0.0.1") == 0 && v6_text[0] != '\0')
        snprintf(ret_text, size, "[%s]", v6_text);
}

void salvo_identity_init(struct salvo_identity *identity, const struct salvo_config *config,
                         int64_t start_ns, int64_t wall_ms)
{
    char ip[64], instance[sizeof(config->instance_name)];
    struct ifaddrs *list = NULL;

    *identity = (struct salvo_identity){.pid = (uint16_t)getpid()};
    if (config->client_ip[0] != '\0') {
        snprintf(ip, sizeof(ip), "%.*s", (int)sizeof(ip) - 1, config->client_ip);
        if (inet_pton(AF_INET, ip, identity->ip) == 1)
            identity->ip_size = 4;
        else if (inet_pton(AF_INET6, ip, identity->ip) == 1)
            identity->ip_size = 16;
    }
    if (identity->ip_size == 0 || config->client_ip[0] == '\0') {
        if (getifaddrs(&list) != 0)
            list = NULL;
        if (identity->ip_size == 0)
            choose_message_ip(identity, list, wall_ms);
        if (config->client_ip[0] == '\0')
            choose_client_ip(list, ip, sizeof(ip));
        if (list != NULL)
            freeifaddrs(list);
    }
    if (config->instance_name[0] != '\0')
        snprintf(instance, sizeof(instance), "%s", config->instance_name);
    else
        snprintf(instance, sizeof(instance), "%d#%" PRId64, (int)getpid(), start_ns);
    snprintf(identity->client_id, sizeof(identity->client_id), "%s@%s", ip, instance);
    salvo_assert(identity->ip_size == 4 || identity->ip_size == 16);
}
