/* The watched malloc family: a thread that forbade itself allocation aborts when it allocates or
 * frees.
 *
 * Linked instead of alloc_unchecked.c with the meson option alloc_check, and into single tests
 * through alloc_check_dep. The definitions below take the place of libc's for the whole process,
 * libc's own calls included (strdup, fopen), and hand on to glibc's second names for the same
 * functions. A sanitizer brings its own malloc; meson then leaves this file out.
 *
 * A thread must lift the ban before it returns: its end frees what the C library kept for it. */
#include "base/arena.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

/* initial-exec: reaching the flag must not itself allocate, as the lazy form may. */
static _Thread_local bool alloc_forbidden __attribute__((tls_model("initial-exec")));

void salvo_alloc_forbid(bool forbidden)
{
    alloc_forbidden = forbidden;
}

static void alloc_check(const char *function)
{
    static const char before[] = "salvo: ";
    static const char after[] = "() called by a thread that must not allocate\n";
    ssize_t written SALVO_UNUSED;

    if (SALVO_LIKELY(!alloc_forbidden))
        return;
    alloc_forbidden = false; /* whatever runs on the way down may allocate again */
    written = write(STDERR_FILENO, before, sizeof(before) - 1);
    written = write(STDERR_FILENO, function, strlen(function));
    written = write(STDERR_FILENO, after, sizeof(after) - 1);
    abort();
}

SALVO_PUBLIC void *malloc(size_t size)
{
    alloc_check("malloc");
    return __libc_malloc(size);
}

SALVO_PUBLIC void *calloc(size_t count, size_t size)
{
    alloc_check("calloc");
    return __libc_calloc(count, size);
}

SALVO_PUBLIC void *realloc(void *memory, size_t size)
{
    alloc_check("realloc");
    return __libc_realloc(memory, size);
}

SALVO_PUBLIC void free(void *memory)
{
    if (memory == NULL)
        return; /* gives nothing back, and clean-up code does it freely */
    alloc_check("free");
    __libc_free(memory);
}

SALVO_PUBLIC void *aligned_alloc(size_t alignment, size_t size)
{
    alloc_check("aligned_alloc");
    return __libc_memalign(alignment, size);
}

SALVO_PUBLIC void *memalign(size_t alignment, size_t size)
{
    alloc_check("memalign");
    return __libc_memalign(alignment, size);
}

SALVO_PUBLIC int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    void *memory;

    alloc_check("posix_memalign");
    if (alignment % sizeof(void *) != 0 || !salvo_is_power_of_two(alignment))
        return EINVAL;
    memory = __libc_memalign(alignment, size);
    if (memory == NULL)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}
