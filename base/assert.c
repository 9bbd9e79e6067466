/* Assertions: the one place where salvo stops the process by itself. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void salvo_assert_failed(const char *file, int line, const char *function,
                                   const char *condition)
{
    /* write(2) and no stream: the failing thread may hold stderr's lock or be forbidden to
     * allocate. */
    char text[512];
    int size = snprintf(text, sizeof(text), "salvo: %s:%d: %s: assertion failed: %s\n", file, line,
                        function, condition);
    ssize_t written SALVO_UNUSED;

    if (size > (int)sizeof(text) - 1) {
        size = (int)sizeof(text) - 1;
        text[size - 1] = '\n';
    }
    if (size > 0)
        written = write(STDERR_FILENO, text, (size_t)size);
    abort();
}
