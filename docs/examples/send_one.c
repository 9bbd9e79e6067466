/* Sends one message and prints where it went: the example of include/salvo.h, with its errors
 * looked at.
 *
 *   cc send_one.c $(pkg-config --cflags --libs salvo) && ./a.out 127.0.0.1:9876 TopicTest Hello */
#include <salvo.h>
#include <stdio.h>
#include <string.h>

static int failed = 1;

static void on_result(void *arg, const salvo_result *result)
{
    char id[SALVO_MSG_ID_MAX];

    (void)arg;
    failed = salvo_result_stored(result) != SALVO_STORED_YES;
    printf("%s %s %s queue %d offset %lld %s\n", salvo_result_msg_id(result, id, sizeof(id)),
           salvo_code_name(salvo_result_code(result)), salvo_result_broker(result),
           salvo_result_queue_id(result), (long long)salvo_result_queue_offset(result),
           salvo_result_detail(result));
}

int main(int argc, char **argv)
{
    char error[SALVO_ERROR_MAX];
    salvo_conf *conf = salvo_conf_new();
    salvo_submitter *submitter;
    salvo_topic *topic;
    salvo_msg *m;
    salvo *sender;

    if (argc != 4 || conf == NULL) {
        fprintf(stderr, "usage: %s NAMESERVER TOPIC BODY\n", argv[0]);
        return 2;
    }
    if (salvo_conf_set(conf, "nameserver", argv[1], error, sizeof(error)) != 0 ||
        (sender = salvo_open(conf, error, sizeof(error))) == NULL) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    topic = salvo_topic_open(sender, argv[2]);
    submitter = salvo_submitter_open(sender);
    if (topic == NULL || submitter == NULL ||
        salvo_claim(submitter, topic, strlen(argv[3]), &m) != 0) {
        fprintf(stderr, "illegal topic or body\n");
        return 2;
    }
    memcpy(salvo_body(m), argv[3], strlen(argv[3]));
    salvo_commit(m, strlen(argv[3]), 1);
    salvo_drain(sender, 5000);
    while (salvo_poll(submitter, on_result, NULL, 100) > 0)
        ;
    salvo_submitter_close(submitter);
    salvo_close(sender);
    salvo_conf_free(conf);
    return failed;
}
