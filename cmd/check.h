/* What the host offers, as `salvo check` prints it. */
#pragma once

#include <stdio.h>

void cmd_check_host(FILE *to);
