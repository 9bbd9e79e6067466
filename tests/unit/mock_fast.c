/* mock/mock_fast.c: answer_only gives real clients answers they can read, and counts what came. */
#include "tests/support/mock_rig.h"

static void open_fast(struct rig *rig, void **state, bool one_id)
{
    struct salvo_mock_conf conf;

    rig_conf(&conf);
    conf.answer_only = true;
    conf.answer_one_id = one_id;
    rig_open(rig, state, &conf);
}

static size_t send_frame(uint8_t *bytes, size_t size_max, enum salvo_header_form form,
                         const struct salvo_send_fields *fields, int32_t opaque, const void *body,
                         size_t body_size, bool oneway)
{
    ssize_t size =
        salvo_send_write(bytes, size_max, form, fields, opaque, oneway, (uint32_t)body_size);

    assert_true(size > 0 && (size_t)size + body_size <= size_max);
    if (body_size > 0)
        memcpy(bytes + size, body, body_size);
    return (size_t)size + body_size;
}

static void answers_are_whole_in_both_forms(void **state)
{
    /* "opaque": in the properties must not be taken for the header's own. */
    struct salvo_send_fields fields = rig_fields("T", "a\001\"opaque\":5,\"flag\":2,\002");
    static const int32_t opaques[] = {0, 7, 1000000000, INT32_MAX, -1, -1000000000};
    struct rig rig;
    unsigned link;

    open_fast(&rig, state, false);
    link = rig_connect(&rig, 1);
    for (int form = 0; form < 2; form++) {
        for (size_t i = 0; i < SALVO_ARRAY_LENGTH(opaques); i++) {
            struct salvo_send_answer lane_answer;
            struct rig_answer answer;
            int64_t number;

            rig_send(&rig, link, rig.out,
                     send_frame(rig.out, RIG_OUT_MAX, (enum salvo_header_form)form, &fields,
                                opaques[i], "body", i == 0 ? 0 : 4, false));
            rig_answer_take(&rig, link, &answer);
            assert_int_equal(answer.frame.form, form);
            assert_int_equal(answer.header.code, 0);
            assert_int_equal(answer.header.opaque, opaques[i]);
            assert_int_equal(salvo_header_ext(&answer.header, "msgId").size, 32);
            assert_int_equal(salvo_header_ext_integer(&answer.header, "queueOffset", &number), 0);
            assert_int_equal(salvo_send_answer_read(&lane_answer, &answer.frame), 0);
            assert_int_equal(lane_answer.opaque, opaques[i]);
            assert_true(lane_answer.has_offset);
            rig_answer_free(&answer);
        }
    }
    assert_int_equal(salvo_mock_stored_count(rig.mock), 12);
    assert_int_equal(salvo_mock_stored_remembered(rig.mock), 0);
    rig_close(&rig);
}

static void batches_get_an_id_for_each_item_however_they_are_cut(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", "");
    enum { ITEMS = 100 };
    uint8_t body[ITEMS * 40], frame[ITEMS * 40 + 1024];
    struct salvo_writer w = salvo_writer_over(body, sizeof(body));
    struct salvo_batch_item item = {.body = (const uint8_t *)"0123456789", .body_size = 10};
    struct rig rig;
    uint64_t messages = 0;

    for (int i = 0; i < ITEMS; i++)
        salvo_batch_item_write(&w, &item);
    assert_false(w.failed);
    fields.code = SALVO_REQUEST_SEND_BATCH_MESSAGE;
    fields.batch = true;
    for (int one_id = 0; one_id < 2; one_id++) {
        unsigned link;

        open_fast(&rig, state, one_id);
        link = rig_connect(&rig, 1);
        messages = 0;
        for (int form = 0; form < 2; form++) {
            size_t size = send_frame(frame, sizeof(frame), (enum salvo_header_form)form, &fields, 5,
                                     body, salvo_writer_size(&w), false);

            for (size_t cut = 1; cut < size; cut += 61) {
                struct rig_answer answer;
                struct salvo_text ids;

                rig_send(&rig, link, frame, cut);
                rig_turn(&rig, SALVO_NS_PER_MS);
                rig_send(&rig, link, frame + cut, size - cut);
                rig_answer_take(&rig, link, &answer);
                assert_int_equal(answer.frame.form, form);
                assert_int_equal(answer.header.opaque, 5);
                ids = salvo_header_ext(&answer.header, "msgId");
                assert_int_equal(ids.size, one_id ? 32 : ITEMS * 33 - 1);
                rig_answer_free(&answer);
                messages += ITEMS;
                assert_int_equal(salvo_mock_stored_count(rig.mock), messages);
            }
        }
        rig_close(&rig);
    }
}

static void other_requests_take_the_ordinary_way(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", "");
    struct salvo_mock_fault fault = {.kind = SALVO_MOCK_FAULT_CODE,
                                     .host = SALVO_MOCK_ALL,
                                     .request = SALVO_MOCK_REQUEST_SENDS,
                                     .count = 1,
                                     .code = 2,
                                     .remark = "busy"};
    struct rig_answer answer;
    struct rig rig;
    unsigned link, ns;

    open_fast(&rig, state, false);
    link = rig_connect(&rig, 1);
    ns = rig_connect(&rig, 0);
    rig_ask(&rig, ns, 105, "topic", "T", &answer);
    assert_int_equal(answer.header.code, 0);
    rig_answer_free(&answer);
    rig_ask(&rig, link, 9999, NULL, NULL, &answer);
    assert_int_equal(answer.header.code, 3);
    rig_answer_free(&answer);
    rig_ask(&rig, link, SALVO_REQUEST_UNREGISTER_CLIENT, "clientID", "c", &answer);
    assert_int_equal(answer.header.code, 0);
    rig_answer_free(&answer);
    assert_int_equal(salvo_mock_fault_add(rig.mock, &fault), 0);
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 2);
    assert_int_equal(rig_send_code(&rig, link, &fields, "b", 1), 0);
    rig_send(&rig, link, rig.out,
             send_frame(rig.out, RIG_OUT_MAX, SALVO_HEADER_BINARY, &fields, 1, "b", 1, true));
    rig_expect_silence(&rig, link, SALVO_NS_PER_S);
    assert_int_equal(salvo_mock_stored_count(rig.mock), 2);
    rig_close(&rig);
}

/* Half a frame is kept by the ordinary way, and meanwhile the step goes that kept the host in it.
 */
static void a_frame_ends_the_way_it_began(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", "");
    struct salvo_mock_fault fault = {.kind = SALVO_MOCK_FAULT_CODE,
                                     .host = SALVO_MOCK_ALL,
                                     .request = SALVO_MOCK_REQUEST_SENDS,
                                     .count = 1,
                                     .code = 2,
                                     .remark = "busy"};
    uint8_t body[5000] = {0}, frame[6000];
    struct rig_answer answer;
    struct rig rig;
    unsigned half, whole;
    size_t size;

    size = send_frame(frame, sizeof(frame), SALVO_HEADER_BINARY, &fields, 5, body, sizeof(body),
                      false);
    open_fast(&rig, state, false);
    half = rig_connect(&rig, 1);
    whole = rig_connect(&rig, 1);
    for (size_t cut = 1; cut < size; cut += 97) {
        assert_int_equal(salvo_mock_fault_add(rig.mock, &fault), 0);
        rig_send(&rig, half, frame, cut);
        rig_quiet(&rig, 10 * SALVO_NS_PER_MS);
        assert_int_equal(rig_send_code(&rig, whole, &fields, "b", 1), 2);
        rig_send(&rig, half, frame + cut, size - cut);
        rig_answer_take(&rig, half, &answer);
        assert_int_equal(answer.header.code, 0);
        assert_int_equal(answer.header.opaque, 5);
        rig_answer_free(&answer);
        assert_int_equal(rig_send_code(&rig, half, &fields, "b", 1), 0);
    }
    rig_close(&rig);
}

/* A batch body full of nonsense must be counted as something and end. */
static void lying_items_end_all_the_same(void **state)
{
    struct salvo_send_fields fields = rig_fields("T", "");
    struct rig_answer answer;
    struct rig rig;
    uint8_t body[5000];
    unsigned link;

    fields.code = SALVO_REQUEST_SEND_BATCH_MESSAGE;
    fields.batch = true;
    open_fast(&rig, state, false);
    link = rig_connect(&rig, 1);
    for (int fill = 0; fill < 256; fill += 51) {
        memset(body, fill, sizeof(body));
        rig_send_message(&rig, link, &fields, 9, body, sizeof(body));
        rig_answer_take(&rig, link, &answer);
        assert_int_equal(answer.header.opaque, 9);
        rig_answer_free(&answer);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_BOTH(answers_are_whole_in_both_forms),
        RIG_BOTH(batches_get_an_id_for_each_item_however_they_are_cut),
        RIG_BOTH(other_requests_take_the_ordinary_way),
        RIG_BOTH(a_frame_ends_the_way_it_began),
        RIG_SIM(lying_items_end_all_the_same),
    };

    return cmocka_run_group_tests_name("mock_fast", tests, NULL, NULL);
}
