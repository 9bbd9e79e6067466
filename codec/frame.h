/* Length-prefixed framing (RemotingCommand.java, NettyDecoder.java).
 *
 *   0        4                       8            8 + header_size
 *   | length | (form << 24) + header_size | header ... | body ... |
 *   length counts everything after itself.
 *
 * Pure functions over the caller's bytes. */
#pragma once

#include "base/bytes.h"
#include "codec/remoting.h"

enum salvo_frame_code {
    SALVO_FRAME_MORE = 1, /* bytes are missing; ret_frame->size: of the whole frame, 0: unknown */
    SALVO_FRAME_BAD = 2,  /* makes no sense: close the connection */
};

struct salvo_frame {
    uint32_t size; /* on the wire, with the prefix */
    enum salvo_header_form form;
    uint32_t header_size;
    const uint8_t *header; /* into the caller's bytes */
    const uint8_t *body;
    uint32_t body_size;
};

/* Looks at the front of `size` bytes of stream. 0 with *ret_frame filled when a whole frame is
 * there; SALVO_FRAME_MORE with ret_frame->size set when the prefix is there (else 0);
 * SALVO_FRAME_BAD with *ret_why, a literal, when the frame lies: length under 4 or over size_max -
 * 4, header over length, unknown form, empty header. size_max counts the prefix and is at most
 * SALVO_FRAME_SIZE_MAX. A bad prefix is reported from the first 8 bytes on, before the rest has
 * come. */
int salvo_frame_parse(const void *bytes, size_t size, uint32_t size_max,
                      struct salvo_frame *ret_frame, const char **ret_why);

/* Writes the 8 bytes in front. */
void salvo_frame_write_prefix(void *bytes, enum salvo_header_form form, uint32_t header_size,
                              uint32_t body_size);
