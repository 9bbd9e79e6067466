/* base/memory: hosts and containers as their files describe them. */
#include "tests/unit/unit.h"

#include "base/memory.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

static int setup(void **state)
{
    snprintf(root, sizeof(root), "/tmp/salvo-memory-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    return remove(path);
}

static int teardown(void **state)
{
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A file below the root, with the folders above it. */
static void put(const char *name, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void expect(uint64_t available, bool limited)
{
    struct salvo_memory memory;

    salvo_memory_read(root, &memory);
    assert_true(memory.available == available);
    assert_int_equal(memory.limited, limited);
}

static void where_nothing_is_said_nothing_is_known(void **state)
{
    expect(UINT64_MAX, false);
    put("/proc/self/cgroup", "nonsense\n:\n\n0::\n");
    expect(UINT64_MAX, false);
}

static void a_machine_has_what_is_available_and_its_huge_pages(void **state)
{
    struct salvo_memory memory;

    put("/proc/meminfo", "MemTotal:  2000 kB\nMemAvailable:    1000 kB\nHugePages_Total: 5\n"
                         "HugePages_Free:        3\nHugepagesize:       2048 kB\n");
    expect(1000 * 1024, false);
    salvo_memory_read(root, &memory);
    assert_true(memory.huge == 3 * SALVO_MIB(2));
}

static void the_lowest_limit_on_the_way_up_counts(void **state)
{
    put("/proc/meminfo", "MemAvailable:    1000 kB\n");
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    expect(1000 * 1024, false);
    put("/sys/fs/cgroup/a/memory.max", "5000\n");
    expect(5000, true);
    put("/sys/fs/cgroup/a/b/memory.max", "6000\n");
    expect(5000, true);
    put("/sys/fs/cgroup/a/memory.max", "99999999\n");
    expect(6000, true);
}

static void version_1_has_a_tree_for_memory(void **state)
{
    put("/proc/meminfo", "MemAvailable:    1000 kB\n");
    put("/proc/self/cgroup", "5:cpuset:/x\n4:hugetlb,memory:/a\n0::/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    expect(1000 * 1024, false);
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "7000\n");
    expect(7000, true);
}

/* The path is the host's, and the root is our own. */
static void in_a_container_the_root_is_looked_at(void **state)
{
    put("/proc/meminfo", "MemAvailable:    1000 kB\n");
    put("/proc/self/cgroup", "0::/../../kubepods/pod1\n");
    put("/sys/fs/cgroup/memory.max", "8000\n");
    expect(8000, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(where_nothing_is_said_nothing_is_known),
        TEST(a_machine_has_what_is_available_and_its_huge_pages),
        TEST(the_lowest_limit_on_the_way_up_counts),
        TEST(version_1_has_a_tree_for_memory),
        TEST(in_a_container_the_root_is_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
