/* A whole file, or standard input, in memory. */
#pragma once

#include "base/base.h"

struct cmd_input {
    uint8_t *bytes; /* never NULL; a zero byte follows the last */
    size_t size;
};

/* path "-" is standard input. 0; else -1, with the error printed. */
int cmd_input_read(const char *command, const char *path, size_t size_max,
                   struct cmd_input *ret_input);
void cmd_input_free(struct cmd_input *input);
