/* JSON headers; scratch is as large as the header and no larger, which must suffice. */
#include "tests/fuzz/fuzz_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t *scratch = malloc(size == 0 ? 1 : size);
    struct salvo_header header;

    FUZZ_CHECK(scratch != NULL);
    if (!salvo_header_json_read(&header, bytes, size, scratch, size)) {
        fuzz_header_touch(&header);
        fuzz_header_again(&header, SALVO_HEADER_JSON);
        fuzz_header_send(&header);
    }
    free(scratch);
    return 0;
}
