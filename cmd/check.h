/* What the host offers, as `salvo check` prints it. */
#pragma once

#include "control/plan.h"

/* Tries an io_uring for each lane of the plan, and what it registers if the host has the memory of
 * the plan. 0, or why the host does not allow all of them; *ret_rings says how many. */
int cmd_check_host(const struct salvo_plan *plan, bool plan_fits, FILE *to, uint32_t *ret_rings);
