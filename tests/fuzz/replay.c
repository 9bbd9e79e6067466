/* Runs a fuzz entry over a stored corpus, each input once: a unit test that needs no fuzzer.
 *
 * A corpus file has one input a line, in hex; `#` begins a comment. */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_SIZE_MAX 65536

/* The bytes of a line; stops at what is no hex digit. */
static size_t unhex(const char *text, uint8_t *bytes)
{
    size_t size = 0;
    unsigned value;

    for (; strchr("# \n", text[0]) == NULL && sscanf(text, "%2x", &value) == 1; text += 2)
        bytes[size++] = (uint8_t)value;
    return size;
}

int main(int argc, char **argv)
{
    static char line[LINE_SIZE_MAX];
    static uint8_t bytes[LINE_SIZE_MAX / 2];
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    int count = 0;

    if (file == NULL) {
        fprintf(stderr, "usage: %s CORPUS.hex\n", argv[0]);
        return 1;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        size_t size = unhex(line, bytes);
        if (size == 0)
            continue;
        uint8_t *exact = malloc(size); /* so that one byte too far is seen */
        memcpy(exact, bytes, size);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
        count++;
    }
    fclose(file);
    printf("%d inputs replayed\n", count);
    return count == 0;
}
