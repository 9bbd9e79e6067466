/* Binary headers. */
#include "tests/fuzz/fuzz_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct salvo_header header;

    if (salvo_header_binary_read(&header, bytes, size))
        return 0;
    fuzz_header_touch(&header);
    fuzz_header_again(&header, SALVO_HEADER_BINARY);
    fuzz_header_send(&header);
    return 0;
}
