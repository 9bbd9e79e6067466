/* Which bytes a JSON string has to escape, for text.c: escape_mask_sse2.c on x86-64,
 * escape_mask_words.c elsewhere. Chosen in meson.build. */
#pragma once

#include "base/base.h"

#define SALVO_ESCAPE_BLOCK_SIZE 64u

/* Bit i: byte i of text is a control character, a quote or a backslash. size is 1 to 64, and no
 * byte behind it is read. */
uint64_t salvo_escape_mask(const uint8_t *text, size_t size);
