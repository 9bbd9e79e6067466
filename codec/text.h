/* Numbers and JSON text at the speed the hot path needs, for codec alone. Off it, base has both. */
#pragma once

#include "base/base.h"

/* "00" to "99", one behind the other. */
extern const char salvo_digit_pairs[200];

/* Escapes as salvo_json_write_escaped does and returns the end of what it wrote. The room at `out`
 * is six bytes for each of `size` and SALVO_ESCAPE_SLACK more: it copies in whole pieces. */
#define SALVO_ESCAPE_SLACK 64u
uint8_t *salvo_escape(uint8_t *out, const void *text, size_t size);
