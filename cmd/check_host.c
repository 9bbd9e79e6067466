/* Host facts that matter to salvo, each with what could be done about it. Only tells, never
 * changes. */
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "cmd/check.h"
#include "control/nets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void host_fact(FILE *to, const char *name, const char *value, const char *remark)
{
    fprintf(to, "  %-22s %s%s%s\n", name, value, remark[0] != '\0' ? "; " : "", remark);
}

/* The first line of a small file of /proc or /sys. */
static bool host_read(const char *path, char *ret_text, size_t size)
{
    FILE *file = fopen(path, "r");
    bool good;

    if (file == NULL)
        return false;
    good = fgets(ret_text, (int)size, file) != NULL;
    fclose(file);
    if (good)
        ret_text[strcspn(ret_text, "\n")] = '\0';
    return good;
}

/* What could be done for a ring that was refused; the first of all, or one behind others. */
static const char *host_uring_remedy(int code, bool first)
{
    char disabled[16] = "0";

    if (code == -EMFILE)
        return SALVO_RAISE_DESCRIPTORS;
    if (!first)
        return "raise the lockable memory; salvo uses epoll in the others meanwhile";
    host_read("/proc/sys/kernel/io_uring_disabled", disabled, sizeof(disabled));
    return strcmp(disabled, "0") != 0
               ? "set kernel.io_uring_disabled=0; salvo uses epoll meanwhile"
               : "a container or the lockable memory forbids it; salvo uses epoll meanwhile";
}

static void host_uring_refused(const struct salvo_plan *plan, uint32_t count, int code, FILE *to)
{
    char value[160];

    if (count == 0)
        snprintf(value, sizeof(value), "not allowed (%s)", strerror(-code));
    else
        snprintf(value, sizeof(value), "allowed in %u of %u lanes (%s)", count, plan->lanes_count,
                 strerror(-code));
    host_fact(to, "io_uring", value, host_uring_remedy(code, count == 0));
}

static void host_uring_allowed(const struct salvo_net_conf *conf, struct salvo_net **nets,
                               uint32_t count, FILE *to)
{
    char value[160], registered[64] = "";
    uint32_t registered_count = 0;

    for (uint32_t i = 0; i < count; i++)
        registered_count += (salvo_net_caps(nets[i]) & SALVO_NET_CAP_REGISTERED_BUFFERS) != 0;
    if (registered_count != 0 && registered_count != count)
        snprintf(registered, sizeof(registered), "registered buffers in %u of %u lanes, ",
                 registered_count, count);
    else if (conf->send_memory != NULL)
        snprintf(registered, sizeof(registered), "registered buffers %s, ",
                 registered_count != 0 ? "yes" : "no");
    snprintf(value, sizeof(value), "allowed: %sgathered waits %s", registered,
             salvo_net_caps(nets[0]) & SALVO_NET_CAP_GATHER_WAIT ? "yes" : "no");
    host_fact(to, "io_uring", value, "");
}

/* All rings at once, each with the memory that a zero-copy lane registers: together they may lock
 * more than this user is allowed. One piece of it serves, as each ring's locking of it counts. */
static int host_uring(const struct salvo_plan *plan, bool plan_fits, FILE *to, uint32_t *ret_count)
{
    struct salvo_net_conf conf = plan->net;
    struct salvo_net *nets[SALVO_NETS_LANES_MAX];
    uint32_t count = 0;
    int r = 0;

    conf.clock = salvo_clock_system();
    conf.receive_buffer_size = 64; /* not locked, and nothing is received here */
    conf.send_memory =
        plan_fits && conf.zero_copy_min != 0 ? aligned_alloc(4096, plan->chunks_memory) : NULL;
    conf.send_memory_size = plan->chunks_memory;
    while (count < plan->lanes_count && r == 0) {
        r = salvo_net_uring_open(&conf, &nets[count]);
        count += r == 0;
    }
    if (r)
        host_uring_refused(plan, count, r, to);
    else
        host_uring_allowed(&conf, nets, count, to);
    for (uint32_t i = 0; i < count; i++)
        salvo_net_destroy(nets[i]);
    free(conf.send_memory);
    *ret_count = count;
    return r;
}

static void host_memory(FILE *to)
{
    uint64_t free_pages = salvo_memory_info("", "HugePages_Free");
    struct salvo_memory memory;
    char value[160], thp[96];

    salvo_memory_read("", &memory);
    snprintf(value, sizeof(value), "%.1f GiB, %.1f GiB %s",
             (double)salvo_memory_info("", "MemTotal") / 1048576.0,
             (double)memory.available / 1073741824.0,
             memory.limited ? "are the cgroup's limit" : "available");
    host_fact(to, "memory", value, "");
    snprintf(value, sizeof(value), "%" PRIu64 " of %" PRIu64 " free, %" PRIu64 " KiB each",
             free_pages, salvo_memory_info("", "HugePages_Total"),
             salvo_memory_info("", "Hugepagesize"));
    host_fact(to, "huge pages", value,
              free_pages > 0 ? ""
                             : "ordinary pages will do; to have some: sysctl vm.nr_hugepages=64");
    if (host_read("/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof(thp)))
        host_fact(to, "transparent huge pages", thp, "");
}

static void host_limit(FILE *to, const char *name, int resource, double unit, const char *unit_name,
                       double wanted, const char *remedy)
{
    struct rlimit limit;
    char value[64];

    if (getrlimit((__rlimit_resource_t)resource, &limit))
        return;
    if (limit.rlim_cur == RLIM_INFINITY)
        snprintf(value, sizeof(value), "unlimited");
    else
        snprintf(value, sizeof(value), "%.0f%s", (double)limit.rlim_cur / unit, unit_name);
    host_fact(to, name, value,
              limit.rlim_cur != RLIM_INFINITY && (double)limit.rlim_cur < wanted ? remedy : "");
}

static void host_cores(FILE *to)
{
    unsigned allowed = salvo_cpu_allowed(NULL, 0);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    char value[160], source[64], cpus[96];

    salvo_cpu_print_allowed(cpus, sizeof(cpus));
    snprintf(value, sizeof(value), "%u allowed of %ld online, %s", allowed, online, cpus);
    host_fact(to, "cores", value,
              allowed < 2
                  ? "with one core use -D threads=shared, so that lane and control take turns"
                  : "");
    if (host_read("/sys/devices/system/clocksource/clocksource0/current_clocksource", source,
                  sizeof(source)))
        host_fact(to, "clock", source,
                  strcmp(source, "tsc") == 0 || strcmp(source, "kvm-clock") == 0
                      ? ""
                      : "reading the time is slow with it");
}

int cmd_check_host(const struct salvo_plan *plan, bool plan_fits, FILE *to, uint32_t *ret_rings)
{
    char text[192];
    int r;

    fprintf(to, "host\n");
    salvo_cpu_describe(text, sizeof(text));
    host_fact(to, "machine", text, "");
    host_cores(to);
    r = host_uring(plan, plan_fits, to, ret_rings);
    host_memory(to);
    host_limit(to, "lockable memory", RLIMIT_MEMLOCK, 1024.0, " KiB", 64.0 * 1048576.0,
               "io_uring registers no buffers above it; raise it with ulimit -l or LimitMEMLOCK");
    host_limit(to, "open files", RLIMIT_NOFILE, 1, "", 1024,
               "raise it with ulimit -n or LimitNOFILE");
    return r;
}
