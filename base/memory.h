/* What memory the host has left for this process. */
#pragma once

#include "base/base.h"

struct salvo_memory {
    uint64_t available; /* bytes, without swap; UINT64_MAX: not known */
    uint64_t huge;      /* bytes in free huge pages, which are not among them */
    bool limited;       /* a cgroup's limit is what bounds it, not the machine */
};

/* Reads proc and sys below `root` ("" but for tests). Of a cgroup the limit counts, not what is
 * left of it: most of what is used is files that the kernel can drop. */
void salvo_memory_read(const char *root, struct salvo_memory *ret_memory);

/* A number of meminfo, mostly KiB; 0 when it is not there. */
uint64_t salvo_memory_info(const char *root, const char *name);
