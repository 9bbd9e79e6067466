/* One frame, readable. */
#include "cmd/frame.h"
#include "codec/compress.h"
#include "codec/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a value or body that are shown without --full. */
#define PRINT_TEXT_MAX 160u

/* Without controls, which a terminal would obey, but for those that are written as escapes. */
static bool print_is_text(const uint8_t *bytes, size_t size)
{
    unsigned step;

    for (size_t i = 0; i < size; i += step) {
        bool escaped = bytes[i] == '\n' || bytes[i] == '\t' || bytes[i] == '\r';

        step = escaped ? 1 : salvo_utf8_printable(bytes + i, size - i);
        if (step == 0)
            return false;
    }
    return true;
}

/* Bytes in quotes where they are text, in hex where they are not. */
static void print_bytes(const struct frame_print *print, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    bool text = print_is_text(p, size);
    size_t shown = print->full ? size : SALVO_MIN(size, text ? PRINT_TEXT_MAX : PRINT_TEXT_MAX / 2);

    if (text)
        fputc('"', print->to);
    for (size_t i = 0; i < shown; i++) {
        if (!text)
            fprintf(print->to, "%02x", p[i]);
        else if (p[i] == '\n' || p[i] == '\r' || p[i] == '\t')
            fprintf(print->to, "\\%c", p[i] == '\n' ? 'n' : p[i] == '\r' ? 'r' : 't');
        else if (p[i] == '"' || p[i] == '\\')
            fprintf(print->to, "\\%c", p[i]);
        else
            fputc(p[i], print->to);
    }
    if (text)
        fputc('"', print->to);
    if (shown < size)
        fprintf(print->to, "... (%zu more; --full shows all)", size - shown);
}

/* The name of a field or a property: as it is, where it can be. */
static void print_name(const struct frame_print *print, struct salvo_text name)
{
    const uint8_t *bytes = (const uint8_t *)name.text;
    bool plain = print_is_text(bytes, name.size);

    for (size_t i = 0; i < name.size; i++)
        plain = plain && bytes[i] >= ' ';
    if (plain)
        fprintf(print->to, "%.*s", (int)name.size, name.text);
    else
        print_bytes(print, name.text, name.size);
}

static void print_properties(const struct frame_print *print, const char *indent,
                             const void *properties, size_t size)
{
    struct salvo_text name, value;
    size_t at = 0;

    while (salvo_property_next(properties, size, &at, &name, &value)) {
        fputs(indent, print->to);
        print_name(print, name);
        fputs(" = ", print->to);
        print_bytes(print, value.text, value.size);
        fputc('\n', print->to);
    }
}

static bool print_is_send(const struct salvo_header *header)
{
    return !(header->flag & SALVO_REMOTING_RESPONSE) &&
           (header->code == SALVO_REQUEST_SEND_MESSAGE ||
            header->code == SALVO_REQUEST_SEND_MESSAGE_V2 ||
            header->code == SALVO_REQUEST_SEND_BATCH_MESSAGE || header->code == 324 ||
            header->code == 325);
}

static void print_fields(const struct frame_print *print, const struct salvo_header *header)
{
    bool letters =
        print_is_send(header) && header->code != SALVO_REQUEST_SEND_MESSAGE && header->code != 324;

    for (uint32_t i = 0; i < header->ext_count; i++) {
        const struct salvo_ext_field *field = &header->ext[i];
        const char *name = letters ? frame_send_field_name(field->key) : NULL;

        fputs("    ", print->to);
        print_name(print, field->key);
        fprintf(print->to, "%s%s", name != NULL ? " " : "", name != NULL ? name : "");
        if (salvo_text_equals(field->key, "properties") ||
            (name != NULL && strcmp(name, "properties") == 0)) {
            fputc('\n', print->to);
            print_properties(print, "      ", field->value.text, field->value.size);
            continue;
        }
        fprintf(print->to, " = ");
        print_bytes(print, field->value.text, field->value.size);
        fputc('\n', print->to);
    }
}

static void print_header(const struct frame_print *print, const struct salvo_frame *frame,
                         const struct salvo_header *header)
{
    bool response = header->flag & SALVO_REMOTING_RESPONSE;

    fprintf(print->to, "frame %llu at %s: %s %s (%d), %u bytes, %s header\n",
            (unsigned long long)print->number, print->where, response ? "response" : "request",
            response ? frame_response_name(header->code) : frame_request_name(header->code),
            header->code, frame->size, frame->form == SALVO_HEADER_BINARY ? "binary" : "JSON");
    fprintf(print->to, "  opaque %d, flag %d%s, language %s, version %d\n", header->opaque,
            header->flag, header->flag & SALVO_REMOTING_ONEWAY ? " (one-way)" : "",
            salvo_language_name(header->language), header->version);
    if (header->remark.text != NULL) {
        fprintf(print->to, "  remark ");
        print_bytes(print, header->remark.text, header->remark.size);
        fputc('\n', print->to);
    }
    if (header->ext_count > 0)
        fprintf(print->to, "  fields\n");
    print_fields(print, header);
}

/* A body, compressed as sysFlag says: what it holds. */
static void print_body(const struct frame_print *print, const void *body, size_t size,
                       int64_t sysflag)
{
    enum salvo_compression compression = SALVO_COMPRESS_NONE;
    ssize_t plain_size;
    void *plain;

    fprintf(print->to, "%zu bytes ", size);
    salvo_compression_of_sysflag((int32_t)sysflag, &compression);
    if (compression == SALVO_COMPRESS_NONE) {
        print_bytes(print, body, size);
        fputc('\n', print->to);
        return;
    }
    fprintf(print->to, "(%s) ", salvo_compression_name(compression));
    plain = malloc(SALVO_FRAME_SIZE_MAX);
    plain_size = plain == NULL
                     ? -ENOMEM
                     : salvo_decompress(compression, body, size, plain, SALVO_FRAME_SIZE_MAX);
    if (plain_size < 0) {
        fprintf(print->to, "which cannot be decompressed: %s\n", strerror((int)-plain_size));
    } else {
        fprintf(print->to, "of %zd bytes ", plain_size);
        print_bytes(print, plain, (size_t)plain_size);
        fputc('\n', print->to);
    }
    free(plain);
}

/* 0, or -EBADMSG where an item makes no sense. */
static int print_batch(const struct frame_print *print, const struct salvo_frame *frame,
                       int64_t sysflag, char ret_error[FRAME_ERROR_MAX])
{
    struct salvo_reader r = salvo_reader_over(frame->body, frame->body_size);
    struct salvo_batch_item item;
    unsigned n = 0;
    int result;

    fprintf(print->to, "  body %u bytes, a batch\n", frame->body_size);
    for (;;) {
        size_t at = (size_t)(r.at - frame->body);

        result = salvo_batch_item_read(&r, &item);
        if (result == -ENOENT)
            return 0;
        if (result) {
            snprintf(ret_error, FRAME_ERROR_MAX,
                     "%s: batch item %u, at byte %zu of the body, makes no sense", print->where, n,
                     at);
            return -EBADMSG;
        }
        fprintf(print->to, "    item %u, flag %d, body ", n++, item.flag);
        print_body(print, item.body, item.body_size, sysflag);
        print_properties(print, "      ", item.properties, item.properties_size);
    }
}

static bool print_is_batch(const struct salvo_header *header)
{
    return print_is_send(header) && (header->code == SALVO_REQUEST_SEND_BATCH_MESSAGE ||
                                     salvo_text_equals(salvo_header_ext(header, "m"), "true") ||
                                     salvo_text_equals(salvo_header_ext(header, "batch"), "true"));
}

int frame_print(const struct frame_print *print, const struct salvo_frame *frame, void *scratch,
                char ret_error[FRAME_ERROR_MAX])
{
    struct salvo_header header;
    int64_t sysflag = 0;

    memset(&header, 0, sizeof(header));
    if (salvo_header_read(&header, frame->form, frame->header, frame->header_size, scratch,
                          frame->size)) {
        snprintf(ret_error, FRAME_ERROR_MAX, "%s: the %s header makes no sense", print->where,
                 frame->form == SALVO_HEADER_BINARY ? "binary" : "JSON");
        return -EBADMSG;
    }
    print_header(print, frame, &header);
    if (print_is_send(&header)) {
        const char *key = salvo_header_ext(&header, "f").text != NULL ? "f" : "sysFlag";

        salvo_header_ext_integer(&header, key, &sysflag);
    }
    if (frame->body_size == 0)
        return 0;
    if (print_is_batch(&header))
        return print_batch(print, frame, sysflag, ret_error);
    fprintf(print->to, "  body ");
    print_body(print, frame->body, frame->body_size, sysflag);
    return 0;
}
