/* What the host offers, as `salvo check` prints it. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* Returns whether io_uring is allowed. */
bool cmd_check_host(FILE *to);
