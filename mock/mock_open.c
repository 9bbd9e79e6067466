/* Opening and closing: the net or nets, a listener per host, the addresses clients are given. */
#include "mock/mock_internal.h"

#include "base/error.h"

#include <arpa/inet.h>

static int open_net(struct salvo_mock *mock, char *errbuf, size_t errbuf_size)
{
    struct salvo_net_conf net_conf;
    struct salvo_net *net;
    int r;

    salvo_net_conf_default(&net_conf, mock->clock);
    net_conf.links_max = mock->conf.connections_max + mock->hosts_count;
    net_conf.receive_buffers = mock->conf.receive_buffers;
    net_conf.receive_buffer_size = mock->conf.receive_buffer_size;
    r = salvo_net_open(mock->conf.net, &net_conf, &net, &mock->net_note);
    if (r) {
        snprintf(errbuf, errbuf_size, "mock: network backend \"%s\" cannot be opened: %s; %s",
                 mock->conf.net, strerrordesc_np(-r), salvo_error_remedy(r, "try \"epoll\""));
        return salvo_trace(r);
    }
    for (uint32_t i = 0; i < mock->hosts_count; i++)
        mock->hosts[i].net = net;
    return 0;
}

static int open_endpoint(struct salvo_mock *mock, uint32_t index,
                         struct salvo_endpoint *ret_endpoint)
{
    const struct mock_host *host = &mock->hosts[index];
    const struct salvo_mock_conf *conf = &mock->conf;
    uint16_t port = (uint16_t)(conf->port == 0 ? 0 : conf->port + index);

    memset(ret_endpoint, 0, sizeof(*ret_endpoint));
    if (!mock->own_net) {
        uint32_t address = host->nameserver ? 0x0a010001u + index : 0x0a020001u + host->broker;

        ret_endpoint->v4.sin_family = AF_INET;
        ret_endpoint->v4.sin_addr.s_addr = htonl(address);
        ret_endpoint->v4.sin_port = htons(host->nameserver ? 9876 : 10911);
    } else if (inet_pton(AF_INET, conf->listen_address, &ret_endpoint->v4.sin_addr) == 1) {
        ret_endpoint->v4.sin_family = AF_INET;
        ret_endpoint->v4.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, conf->listen_address, &ret_endpoint->v6.sin6_addr) == 1) {
        ret_endpoint->v6.sin6_family = AF_INET6;
        ret_endpoint->v6.sin6_port = htons(port);
    } else {
        return salvo_raise(-EINVAL);
    }
    return 0;
}

static void open_address(struct salvo_mock *mock, struct mock_host *host)
{
    char text[INET6_ADDRSTRLEN];
    bool v6 = host->endpoint.any.sa_family == AF_INET6;
    const char *name = text;

    inet_ntop(host->endpoint.any.sa_family,
              v6 ? (void *)&host->endpoint.v6.sin6_addr : (void *)&host->endpoint.v4.sin_addr, text,
              sizeof(text));
    if (mock->own_net && mock->conf.advertise_address != NULL)
        name = mock->conf.advertise_address;
    snprintf(host->address, sizeof(host->address), strchr(name, ':') != NULL ? "[%s]:%u" : "%s:%u",
             name, ntohs(v6 ? host->endpoint.v6.sin6_port : host->endpoint.v4.sin_port));
}

static int open_host(struct salvo_mock *mock, uint32_t index, char *errbuf, size_t errbuf_size)
{
    struct mock_host *host = &mock->hosts[index];
    int r = open_endpoint(mock, index, &host->endpoint);

    if (r) {
        snprintf(errbuf, errbuf_size, "mock: \"%s\" is no IPv4 or IPv6 address to listen on",
                 mock->conf.listen_address);
        return salvo_trace(r);
    }
    r = salvo_net_listen(host->net, &host->endpoint, MOCK_COOKIE_LISTENER | index);
    if (r) {
        open_address(mock, host);
        snprintf(errbuf, errbuf_size, "mock: cannot listen on %s: %s; %s", host->address,
                 strerrordesc_np(-r), salvo_error_remedy(r, "choose another port, or 0"));
        return salvo_trace(r);
    }
    open_address(mock, host);
    return 0;
}

int mock_open(struct salvo_mock *mock, char *errbuf, size_t errbuf_size)
{
    size_t at = 0;
    int r = 0;

    mock->now_ns = mock->idle_look_ns = salvo_clock_mono_ns(mock->clock);
    if (mock->own_net)
        r = open_net(mock, errbuf, errbuf_size);
    for (uint32_t i = 0; !r && i < mock->hosts_count; i++) {
        if (!mock->own_net)
            mock->hosts[i].net = mock->conf.nets[i];
        r = open_host(mock, i, errbuf, errbuf_size);
    }
    if (r) {
        if (mock->own_net && mock->hosts[0].net != NULL)
            salvo_net_destroy(mock->hosts[0].net);
        return salvo_trace(r);
    }
    mock->conf.nets = NULL;
    mock->started = true;
    for (uint32_t i = 0; i < mock->conf.nameservers; i++)
        at += (size_t)snprintf(mock->nameserver_address + at, sizeof(mock->nameserver_address) - at,
                               i == 0 ? "%s" : ";%s", mock->hosts[i].address);
    return 0;
}

void mock_close(struct salvo_mock *mock)
{
    for (uint32_t i = 0; i < mock->conf.connections_max; i++) {
        if (mock->conns[i].state != MOCK_CONN_FREE)
            mock_turn_drop_held(mock, &mock->conns[i]);
    }
    for (uint32_t i = 0; i < (mock->own_net ? 1 : mock->hosts_count); i++)
        salvo_net_destroy(mock->hosts[i].net);
    mock->started = false; /* nothing refers to our output any more */
    for (uint32_t i = 0; i < mock->conf.connections_max; i++) {
        if (mock->conns[i].state != MOCK_CONN_FREE)
            mock_conn_gone(mock, &mock->conns[i]);
    }
    mock_answer_late_forget(mock);
}
