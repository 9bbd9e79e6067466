/* meminfo and the memory limits of cgroups, versions 1 and 2: see memory.h. */
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_PATH_MAX 1024

uint64_t salvo_memory_info(const char *root, const char *name)
{
    char line[MEMORY_PATH_MAX];
    uint64_t value = 0;
    FILE *file;

    snprintf(line, sizeof(line), "%s/proc/meminfo", root);
    file = fopen(line, "r");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            value = strtoull(line + strlen(name) + 1, NULL, 10);
            break;
        }
    }
    fclose(file);
    return value;
}

/* The number in a file; UINT64_MAX when there is none ("max"). */
static uint64_t limit_read(const char *path)
{
    FILE *file = fopen(path, "r");
    uint64_t limit = UINT64_MAX;
    char line[64];

    if (file == NULL)
        return limit;
    if (fgets(line, sizeof(line), file) != NULL && line[0] >= '0' && line[0] <= '9')
        limit = strtoull(line, NULL, 10);
    fclose(file);
    return limit;
}

/* The lowest limit from `group` up to the root. In a container the path may be the host's, and only
 * the root is there. */
static uint64_t limit_lowest(const char *base, char *group, const char *name)
{
    char path[3 * MEMORY_PATH_MAX];
    uint64_t lowest = UINT64_MAX, limit;
    char *slash;

    do {
        snprintf(path, sizeof(path), "%s%s/%s", base, group, name);
        limit = limit_read(path);
        lowest = SALVO_MIN(lowest, limit);
        slash = strrchr(group, '/');
        if (slash != NULL)
            *slash = '\0';
    } while (slash != NULL);
    return lowest;
}

/*   version 2:  0::/group          version 1:  4:memory:/group, maybe with others beside memory */
static uint64_t limit_of_groups(const char *root)
{
    char line[MEMORY_PATH_MAX], base[MEMORY_PATH_MAX];
    uint64_t lowest = UINT64_MAX, limit;
    FILE *file;

    snprintf(line, sizeof(line), "%s/proc/self/cgroup", root);
    file = fopen(line, "r");
    if (file == NULL)
        return lowest;
    while (fgets(line, sizeof(line), file) != NULL) {
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        bool unified;

        if (group == NULL)
            continue;
        unified = group == controllers + 1;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (!unified && strstr(controllers, "memory") == NULL)
            continue;
        snprintf(base, sizeof(base), "%s/sys/fs/cgroup%s", root, unified ? "" : "/memory");
        limit = limit_lowest(base, group, unified ? "memory.max" : "memory.limit_in_bytes");
        lowest = SALVO_MIN(lowest, limit);
    }
    fclose(file);
    return lowest;
}

void salvo_memory_read(const char *root, struct salvo_memory *ret_memory)
{
    uint64_t machine = salvo_memory_info(root, "MemAvailable") * 1024;
    uint64_t limit = limit_of_groups(root);

    if (machine == 0)
        machine = UINT64_MAX;
    *ret_memory = (struct salvo_memory){
        .available = SALVO_MIN(machine, limit),
        .huge = salvo_memory_info(root, "HugePages_Free") *
                salvo_memory_info(root, "Hugepagesize") * 1024,
        .limited = limit < machine,
    };
}
