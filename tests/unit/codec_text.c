/* codec/text: the escaper against base's slow one, and the search behind it at every size and
 * place. Built once with each way to search. */
#include "tests/unit/unit.h"

#include "base/json.h"
#include "codec/escape_mask.h"
#include "codec/text.h"

static bool is_special(unsigned c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

static void each_byte_is_found_at_each_place_of_each_size(void **state)
{
    for (size_t size = 1; size <= SALVO_ESCAPE_BLOCK_SIZE; size++) {
        uint8_t *exact = malloc(size);

        memset(exact, 'x', size);
        for (size_t at = 0; at < size; at++) {
            for (unsigned c = 0; c < 0x100; c++) {
                exact[at] = (uint8_t)c;
                assert_true(salvo_escape_mask(exact, size) == (uint64_t)is_special(c) << at);
            }
            exact[at] = 'x';
        }
        memset(exact, 1, size);
        assert_true(salvo_escape_mask(exact, size) ==
                    (size == 64 ? UINT64_MAX : (UINT64_C(1) << size) - 1));
        free(exact);
    }
}

static void it_escapes_as_base_does(void **state)
{
    static uint8_t expected[6 * 256];

    for (size_t size = 0; size < 256; size++) {
        for (unsigned c = 0; c < 0x100; c += 3) {
            size_t room = 6 * size + SALVO_ESCAPE_SLACK;
            struct salvo_writer w = salvo_writer_over(expected, sizeof(expected));
            uint8_t *text = malloc(size + 1), *out = malloc(room);

            for (size_t i = 0; i < size; i++)
                text[i] = (uint8_t)((i * 37 + c) % (i % 3 == 0 ? 0x100 : 0x60));
            text = realloc(text, size == 0 ? 1 : size);
            salvo_json_write_escaped(&w, text, size);
            assert_int_equal(salvo_escape(out, text, size) - out, salvo_writer_size(&w));
            assert_memory_equal(out, expected, salvo_writer_size(&w));
            free(text);
            free(out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_is_found_at_each_place_of_each_size),
        cmocka_unit_test(it_escapes_as_base_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
