/* codec/heartbeat: read back what Java writes; the bytes themselves are in codec_header and
 * codec_golden. */
#include "tests/unit/unit.h"

#include "codec/heartbeat.h"

#include <errno.h>

static struct salvo_text client_id, groups[4];
static uint32_t groups_count;

static int read_text(const char *text, uint32_t groups_max)
{
    return salvo_heartbeat_read(text, strlen(text), &client_id, groups, groups_max, &groups_count);
}

static void groups_are_taken_as_far_as_they_fit(void **state)
{
    static const char text[] =
        "{\"clientID\":\"c@1\",\"consumerDataSet\":[{\"groupName\":\"no\"}],\"producerDataSet\":"
        "[{\"groupName\":\"a\"},{\"x\":[],\"groupName\":\"b\"},{\"groupName\":\"c\"}],"
        "\"withoutSub\":false}";

    assert_int_equal(read_text(text, 4), 0);
    assert_int_equal(groups_count, 3);
    assert_true(salvo_text_equals(client_id, "c@1"));
    assert_true(salvo_text_equals(groups[1], "b"));
    assert_int_equal(read_text(text, 2), 0);
    assert_int_equal(groups_count, 2);
    assert_int_equal(read_text("{\"clientID\":\"c\"}", 4), 0);
    assert_int_equal(groups_count, 0);
}

static void what_is_no_heartbeat_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "[]",
        "{}",
        "{\"clientID\":null}",
        "{\"clientID\":7}",
        "{\"clientID\":\"c\",\"producerDataSet\":{}}",
        "{\"clientID\":\"c\",\"producerDataSet\":null}",
        "{\"clientID\":\"c\",\"producerDataSet\":[1]}",
        "{\"clientID\":\"c\",\"producerDataSet\":[{}]}",
    };

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++)
        assert_int_equal(read_text(cases[i], 4), -EBADMSG);
}

static void no_groups_give_an_empty_list(void **state)
{
    char text[256];
    struct salvo_writer w = salvo_writer_over(text, sizeof(text));

    salvo_heartbeat_write(&w, SALVO_TEXT("c"), NULL, 0, false);
    salvo_write_u8(&w, 0);
    assert_string_equal(text, "{\"clientID\":\"c\",\"consumerDataSet\":[],\"producerDataSet\":[]}");
}

static void a_short_writer_fails(void **state)
{
    struct salvo_text group = SALVO_TEXT("group");

    for (size_t room = 0; room < 80; room++) {
        char *exact = malloc(room + 1);
        struct salvo_writer w = salvo_writer_over(exact, room);

        salvo_heartbeat_write(&w, SALVO_TEXT("c@1"), &group, 1, true);
        assert_true(w.failed);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_taken_as_far_as_they_fit),
        cmocka_unit_test(what_is_no_heartbeat_is_refused),
        cmocka_unit_test(no_groups_give_an_empty_list),
        cmocka_unit_test(a_short_writer_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
