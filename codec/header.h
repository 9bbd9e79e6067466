/* A remoting header, either form, as a plain struct: for everything off the hot path (control,
 * mock, tests, `salvo frame`). The hot path has templates (codec/send.h). RemotingCommand.java. */
#pragma once

#include "base/bytes.h"
#include "codec/frame.h"

#include <sys/types.h>

#define SALVO_EXT_FIELDS_MAX 48

struct salvo_text {
    const char *text; /* not terminated; NULL: absent */
    uint32_t size;
};

#define SALVO_TEXT(literal) ((struct salvo_text){(literal), sizeof(literal) - 1})

struct salvo_text salvo_text_of(const char *terminated);
/* Of two that are there. */
bool salvo_text_same(struct salvo_text a, struct salvo_text b);
bool salvo_text_equals(struct salvo_text text, const char *terminated);

struct salvo_ext_field {
    struct salvo_text key;
    struct salvo_text value;
};

struct salvo_header {
    int32_t code;
    int32_t language;
    int32_t version;
    int32_t opaque;
    int32_t flag;
    struct salvo_text remark;
    bool has_ext; /* JSON: write "extFields" even without fields (field-less header class) */
    uint32_t ext_count;
    struct salvo_ext_field ext[SALVO_EXT_FIELDS_MAX];
};

/* Reads a header of either form. Text fields point into `bytes`, or, where JSON escapes had to be
 * undone, into `scratch` (as large as the header is always enough). Tolerates what Java tolerates:
 * unknown keys, keys in any order, numbers as strings, ext values as numbers or booleans, missing
 * ext, missing version; zero-length binary values read as absent (Java 4.9+). More than
 * SALVO_EXT_FIELDS_MAX fields, or anything malformed: -EBADMSG. */
int salvo_header_read(struct salvo_header *ret_header, enum salvo_header_form form,
                      const void *bytes, size_t size, void *scratch, size_t scratch_size);

/* header_rocketmq.c / header_json.c: the two readers behind it. */
int salvo_header_binary_read(struct salvo_header *ret_header, const void *bytes, size_t size);
int salvo_header_json_read(struct salvo_header *ret_header, const void *bytes, size_t size,
                           void *scratch, size_t scratch_size);

/* Writes the header alone, fields in the order given. Binary leaves out fields whose value is empty
 * (peers read them as null). JSON keys in Java's order: code, extFields, flag, language, opaque,
 * remark, serializeTypeCurrentRPC, version. Fails (sticky) when the writer is short. */
void salvo_header_binary_write(struct salvo_writer *w, const struct salvo_header *header);
void salvo_header_json_write(struct salvo_writer *w, const struct salvo_header *header);

/* A whole frame: prefix, header, body (may be NULL when body_size is 0). Returns its size, or
 * -ENOSPC. */
ssize_t salvo_frame_write(void *ret_bytes, size_t size_max, enum salvo_header_form form,
                          const struct salvo_header *header, const void *body, uint32_t body_size);

/* The value of an ext field, or a text of NULL. */
struct salvo_text salvo_header_ext(const struct salvo_header *header, const char *key);
/* A whole number from an ext field. 0, -ENOENT when absent, -EINVAL. */
int salvo_header_ext_integer(const struct salvo_header *header, const char *key,
                             int64_t *ret_value);
/* Adds a field; false when the table is full. */
bool salvo_header_add(struct salvo_header *header, const char *key, struct salvo_text value);
