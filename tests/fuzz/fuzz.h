/* What every fuzz target includes. A target is handed bytes a peer might have sent; it may refuse
 * them, but not read past them, not leave text that lies outside of them, and not disagree with
 * itself. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Called by libFuzzer, or by replay_main.c for each file of the corpus. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Reads each byte of a text, so that the sanitizer sees one that should not be there. */
static inline void fuzz_touch(const void *bytes, size_t size)
{
    static volatile uint8_t sink;
    const uint8_t *p = bytes;

    for (size_t i = 0; i < size; i++)
        sink = (uint8_t)(sink ^ p[i]);
}
