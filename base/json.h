/* Bounded JSON: a reader into the caller's token array and a writer into the caller's buffer. No
 * allocation, no recursion, no global state.
 *
 * The reader takes standard JSON and what RocketMQ makes of it: object keys that are bare numbers
 * ({0:"127.0.0.1:10911"}), any white space. It refuses depth over SALVO_JSON_DEPTH_MAX, more tokens
 * than it was given, invalid UTF-8 and invalid escapes. Raw control characters inside strings are
 * accepted, as fastjson does (property separators 0x01 and 0x02). */
#pragma once

#include "base/bytes.h"

#include <sys/types.h>

#define SALVO_JSON_DEPTH_MAX 32

enum salvo_json_kind {
    SALVO_JSON_NULL,
    SALVO_JSON_BOOL,
    SALVO_JSON_NUMBER,
    SALVO_JSON_STRING,
    SALVO_JSON_ARRAY,
    SALVO_JSON_OBJECT,
};

/* Tokens lie in document order. An object's children are key, value, key, value...; `next` is the
 * index of the first token behind this one's subtree. */
struct salvo_json_token {
    enum salvo_json_kind kind;
    bool escaped;      /* string: the text holds backslash escapes */
    uint32_t start;    /* offset of the text in the input; strings: without quotes */
    uint32_t size;     /* bytes of the text as written */
    uint32_t children; /* arrays: items; objects: pairs */
    uint32_t next;
};

struct salvo_json {
    const char *text;
    struct salvo_json_token *tokens;
    uint32_t tokens_max;
    uint32_t tokens_count;
};

/* Reads one document (only white space may follow). 0; -EBADMSG with *ret_offset at the offending
 * byte (may be NULL); -E2BIG when the tokens or the depth do not suffice. */
int salvo_json_parse(struct salvo_json *json, const void *text, size_t size,
                     struct salvo_json_token *tokens, uint32_t tokens_max, size_t *ret_offset);

/* The value of a key in object token `object`, or -1. Keys are compared after unescaping. */
int32_t salvo_json_find(const struct salvo_json *json, uint32_t object, const char *key);

/* True when a string token's text equals `text`. */
bool salvo_json_equals(const struct salvo_json *json, uint32_t token, const char *text);

/* A whole number from a number token or from a string token that holds one. 0 or -EINVAL. */
int salvo_json_integer(const struct salvo_json *json, uint32_t token, int64_t *ret_value);

/* Copies a string token, unescaped (\uXXXX with surrogate pairs to UTF-8), without a terminator.
 * For numbers and booleans their text. Returns the size, or -ENOSPC / -EINVAL. */
ssize_t salvo_json_string(const struct salvo_json *json, uint32_t token, void *ret_text,
                          size_t size_max);

/* What escaped text means, as much of it as there is room for: whole characters, no terminator.
 * `text` lies between the quotes of a string that a parser has passed. Returns the size. */
size_t salvo_json_unescape(const void *text, size_t size, void *ret_text, size_t size_max);

/* Writes text as a JSON string with quotes, escaped as fastjson does: quote, backslash, \b \f \n \r
 * \t, other controls as \u00XX in lower case; everything else raw. */
void salvo_json_write_string(struct salvo_writer *w, const void *text, size_t size);
/* The same without the quotes. */
void salvo_json_write_escaped(struct salvo_writer *w, const void *text, size_t size);
