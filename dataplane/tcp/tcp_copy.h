/* Copies bytes and adds them to a one's complement sum in the same pass. */
#pragma once

#include "base/base.h"

/* Copies `size` bytes and returns their sum, unfolded, as if they began at an even place. */
typedef uint64_t salvo_tcp_copy_fn(uint8_t *target, const uint8_t *source, size_t size);

uint64_t salvo_tcp_copy_plain(uint8_t *target, const uint8_t *source, size_t size);
/* The fastest that this CPU runs. */
salvo_tcp_copy_fn *salvo_tcp_copy_choose(void);
