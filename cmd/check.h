/* What the host offers, as `salvo check` prints it. */
#pragma once

#include "control/plan.h"

/* Tries an io_uring for each lane of the plan, and what it registers if the host has the memory of
 * the plan. Returns how many of them the host allows. */
uint32_t cmd_check_host(const struct salvo_plan *plan, bool plan_fits, FILE *to);
