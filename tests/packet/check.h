/* What must hold of a machine between any two calls. Looks inside; aborts with a line on what
 * broke. */
#pragma once

#include "dataplane/tcp/tcp_conn.h"

void tcp_check(const struct salvo_tcp *tcp);
