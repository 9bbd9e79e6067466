/* salvo: a RocketMQ sender for C programs.
 *
 * Asynchronous: a message is claimed, filled and committed; its result is polled. Nothing ever
 * calls back on one of salvo's threads. A program in 25 lines:
 *
 *     #include <salvo.h>
 *     #include <stdio.h>
 *     #include <string.h>
 *
 *     static void on_result(void *arg, const salvo_result *result)
 *     {
 *         char id[SALVO_MSG_ID_MAX];
 *         printf("%llu %s %s\n", (unsigned long long)salvo_result_cookie(result),
 *                salvo_code_text(salvo_result_code(result)),
 *                salvo_result_msg_id(result, id, sizeof(id)));
 *     }
 *
 *     int main(void)
 *     {
 *         char error[SALVO_ERROR_MAX];
 *         salvo_conf *conf = salvo_conf_new();
 *         salvo_conf_set(conf, "nameserver", "127.0.0.1:9876", error, sizeof(error));
 *         salvo *sender = salvo_open(conf, error, sizeof(error));
 *         if (sender == NULL) { fprintf(stderr, "%s\n", error); return 1; }
 *         salvo_topic *topic = salvo_topic_open(sender, "TopicTest");
 *         salvo_submitter *s = salvo_submitter_open(sender);
 *         salvo_msg *m;
 *         if (salvo_claim(s, topic, 5, &m) == 0) {
 *             memcpy(salvo_body(m), "Hello", 5);
 *             salvo_commit(m, 5, 1);
 *         }
 *         salvo_drain(sender, 5000);
 *         while (salvo_poll(s, on_result, NULL, 100) > 0) {}
 *         salvo_submitter_close(s); salvo_close(sender); salvo_conf_free(conf);
 *     }
 *
 * Threads. A sender may be used by any thread; a submitter (and its messages) by one thread at a
 * time; salvo_do_work() always by the same thread. salvo installs no signal handlers, ends the
 * process only by a failed assertion, and allocates with the host's own allocator.
 *
 * Errors. Functions return 0, a negative errno, or a positive enum salvo_busy code that says "not
 * now".
 *
 * Answers to DefaultMQProducer of the Java client; each function names the method it stands for. */
#ifndef SALVO_H
#define SALVO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SALVO_API __attribute__((visibility("default")))
#else
#define SALVO_API
#endif

#define SALVO_VERSION_MAJOR 0
#define SALVO_VERSION_MINOR 1
#define SALVO_ERROR_MAX     512 /* enough for any error text */
#define SALVO_MSG_ID_MAX    57  /* UNIQ_KEY or offset message id, with its terminator */

typedef struct salvo salvo;             /* a producer: control, lanes, connections */
typedef struct salvo_conf salvo_conf;   /* options */
typedef struct salvo_topic salvo_topic; /* an interned topic name; lives as long as the sender */
typedef struct salvo_submitter salvo_submitter; /* puts messages in, takes results out */
typedef struct salvo_msg salvo_msg;             /* a claimed slot, until commit or abort */
typedef struct salvo_result salvo_result;       /* valid during the callback */

/* How a message ended. Every committed message gets exactly one result. */
enum salvo_code {
    SALVO_OK = 0,                 /* stored: answer 0 (SEND_OK) */
    SALVO_OK_FLUSH_DISK_TIMEOUT,  /* stored: answer 10 */
    SALVO_OK_SLAVE_NOT_AVAILABLE, /* stored: answer 11 */
    SALVO_OK_FLUSH_SLAVE_TIMEOUT, /* stored: answer 12 */
    SALVO_REFUSED,               /* the broker answered with an error, salvo_result_broker_code() */
    SALVO_TIMED_OUT,             /* time was up while an answer was awaited */
    SALVO_TIMED_OUT_UNSENT,      /* time was up before a first byte was sent */
    SALVO_CONNECTION_LOST,       /* the connection died and no try was left */
    SALVO_NO_ROUTE,              /* the topic has no queue that can be written, and time was up */
    SALVO_UNSENT_STOPPED,        /* the drain's deadline came first; not sent */
    SALVO_UNSENT_EARLIER_FAILED, /* ordered: an earlier message of the shard failed; not sent */
    SALVO_CODES
};

/* What the broker may have done with it: decide on this. */
enum salvo_stored {
    SALVO_STORED_NO = 0,  /* no broker has it */
    SALVO_STORED_YES,     /* a broker has it, at least once */
    SALVO_STORED_UNKNOWN, /* a broker may have it: it was sent, and no answer came to one of the
                             tries */
};

/* Positive returns: not now, try again after salvo_poll(). */
enum salvo_busy {
    SALVO_BUSY_RING_FULL = 1, /* the message ring is full */
    SALVO_BUSY_RESULTS,       /* messages_out_max messages wait for their results to be polled */
    SALVO_BUSY_DRAINING,      /* the sender is stopping: inputs are closed */
};

/* --- options ---------------------------------------------------------------------------------- */

/* A configuration with every default. NULL: out of memory. Free after salvo_open. */
SALVO_API salvo_conf *salvo_conf_new(void);
SALVO_API void salvo_conf_free(salvo_conf *conf);

/* Sets an option of docs/CONFIG.md by name; values as text, with units ("3s", "64KiB"). 0, -ENOENT
 * (unknown option) or -EINVAL, with one sentence in errbuf (may be NULL). */
SALVO_API int salvo_conf_set(salvo_conf *conf, const char *name, const char *value, char *errbuf,
                             size_t errbuf_size);
/* Reads a YAML file. 0 or a negative errno, with file, line and remedy in errbuf. */
SALVO_API int salvo_conf_load(salvo_conf *conf, const char *path, char *errbuf, size_t errbuf_size);
/* Reads SALVO_* of the environment. */
SALVO_API int salvo_conf_environment(salvo_conf *conf, char *errbuf, size_t errbuf_size);
/* Copies an option's value as text, as much as fits buf (NULL when buf_size is 0). Returns its
 * whole length or -ENOENT. */
SALVO_API int salvo_conf_get(const salvo_conf *conf, const char *name, char *buf, size_t buf_size);

/* Log lines go to `sink` instead of standard error. level: 0 error .. 3 debug. Called by control's
 * thread, never by a lane; in caller mode by the thread in salvo_do_work. */
typedef void salvo_log_fn(void *arg, int level, const char *line);
SALVO_API int salvo_conf_log(salvo_conf *conf, salvo_log_fn *sink, void *arg);

/* --- the sender ------------------------------------------------------------------------------- */

/* Plans and takes all memory, starts control and lanes (DefaultMQProducer.start). Does not wait for
 * a nameserver: messages wait for their route within their own budget. NULL with one sentence in
 * errbuf. The configuration is copied. The host may fork: what lanes work on is not in the child,
 * which calls nothing of this sender. */
SALVO_API salvo *salvo_open(const salvo_conf *conf, char *errbuf, size_t errbuf_size);

/* Interns a topic and asks for its route. NULL when the name is illegal (it is 1 to 127 letters,
 * digits, %, _, - and |) or forbidden to senders, as SCHEDULE_TOPIC_XXXX is (errno = EINVAL), or
 * topics_max are open (errno = ENOSPC). Any thread. */
SALVO_API salvo_topic *salvo_topic_open(salvo *sender, const char *name);
SALVO_API const char *salvo_topic_name(const salvo_topic *topic);
/* Queues that can be written now (fetchPublishMessageQueues); 0: no route yet, or none. Any thread.
 */
SALVO_API uint32_t salvo_topic_queues(const salvo_topic *topic);
/* Why there are none: a sentence, or NULL when there are. Any thread. */
SALVO_API const char *salvo_topic_trouble(const salvo_topic *topic);

/* A submitter, bound to the lane with fewest. NULL: submitters_max are open (errno = ENOSPC), or
 * one that was closed is still with its lane (EAGAIN): that is waited for, at most a second, but
 * not in caller mode by a thread that may not turn. Any thread; then one at a time. */
SALVO_API salvo_submitter *salvo_submitter_open(salvo *sender);
/* 0, or -EBUSY while messages are out or results unpolled. */
SALVO_API int salvo_submitter_close(salvo_submitter *s);

/* --- a message -------------------------------------------------------------------------------- */

/* Claims room for a body of up to size_max bytes (1 to body_size_max). One claim is open at a time.
 * 0; a positive enum salvo_busy; -EINVAL (size). */
SALVO_API int salvo_claim(salvo_submitter *s, salvo_topic *topic, size_t size_max,
                          salvo_msg **ret_msg);

/* Where the body goes: size_max bytes, 8-byte aligned. */
SALVO_API void *salvo_body(salvo_msg *m);

/* Message.setTags, setKeys, putUserProperty. UTF-8, without 0x01 and 0x02, not empty; names not
 * reserved by RocketMQ; 32,000 bytes for all together. 0; -EINVAL (illegal; salvo_msg_error() says
 * why); -ENOSPC (too long together). A refused call changes nothing. */
SALVO_API int salvo_set_tags(salvo_msg *m, const char *tags);
SALVO_API int salvo_set_keys(salvo_msg *m, const char *keys); /* several: separated by a blank */
SALVO_API int salvo_set_property(salvo_msg *m, const char *name, const char *value);
SALVO_API const char *salvo_msg_error(const salvo_msg *m);

/* One fixed queue, by its place in the topic's queue list (send(msg, mq)): tried on that queue
 * only. */
SALVO_API int salvo_set_queue(salvo_msg *m, uint32_t index);
/* Ordered: messages of one submitter and one key are stored in the order of their commits, on one
 * queue (SelectMessageQueueByHash), as long as the topic's queues stay the same. `key` is any
 * bytes.
 *
 * When one fails for good, every later one of its key that was committed before salvo_poll() gave
 * that failure to the caller fails too (SALVO_UNSENT_EARLIER_FAILED), wherever it was; one that is
 * committed in the callback or later goes on. Failures come in the order of the commits: whoever
 * commits each again as it comes, and nothing new of the key in between, keeps the order. */
SALVO_API int salvo_set_shard(salvo_msg *m, const void *key, size_t key_size);
/* Message.setFlag: an application's own 32 bits. */
SALVO_API int salvo_set_flag(salvo_msg *m, int32_t flag);
/* Budget of this message from commit to result, 1 ms to 1 day; default: timeout_ms. */
SALVO_API int salvo_set_deadline(salvo_msg *m, int64_t budget_ms);
/* Message.setDelayTimeLevel: 1 to 18; such messages are not batched. */
SALVO_API int salvo_set_delay(salvo_msg *m, int level);
/* Message.setWaitStoreMsgOK; default true. */
SALVO_API int salvo_set_wait_store(salvo_msg *m, int wait);
/* The 12 bytes behind the address in UNIQ_KEY, for a message that is sent again after a crash. */
SALVO_API int salvo_set_id(salvo_msg *m, const uint8_t id[12]);

/* salvo's clock: nanoseconds that never go back, on the origin of CLOCK_MONOTONIC and by some
 * millionths faster or slower. Any thread. */
SALVO_API int64_t salvo_now_ns(const salvo *sender);
/* When the message was made: a reading of salvo_now_ns() that the caller has anyway, at most a
 * second old. salvo_commit then reads no clock, which costs as much as a tenth of the rest of it;
 * several messages may share a reading. The budget counts from it. 0; -EINVAL (no such reading;
 * salvo_msg_error() says so; not every stale one is noticed). */
SALVO_API int salvo_set_now(salvo_msg *m, int64_t now_ns);

/* Hands the message over: `size` bytes of body (1 to what was claimed). `cookie` comes back with
 * the result. Compresses bodies over 16 KiB here when compression is on. 0; -EINVAL (size; the
 * message is still claimed). */
SALVO_API int salvo_commit(salvo_msg *m, size_t size, uint64_t cookie);
/* Gives the claim up. */
SALVO_API void salvo_abort(salvo_msg *m);

/* --- results ---------------------------------------------------------------------------------- */

typedef void salvo_result_fn(void *arg, const salvo_result *result);

/* Calls `each` for up to results_max results. Returns how many; -EBUSY within `each`, which may
 * claim and commit, but not poll: what is busy there is tried again behind this poll. */
SALVO_API int salvo_poll(salvo_submitter *s, salvo_result_fn *each, void *arg, int results_max);
/* A file descriptor for poll/epoll: readable when results wait. Armed by a salvo_poll that found
 * none. Owned by the submitter. */
SALVO_API int salvo_fd(salvo_submitter *s);
/* Messages committed and not yet polled. */
SALVO_API uint64_t salvo_out(const salvo_submitter *s);

SALVO_API uint64_t salvo_result_cookie(const salvo_result *result);
SALVO_API enum salvo_code salvo_result_code(const salvo_result *result);
SALVO_API enum salvo_stored salvo_result_stored(const salvo_result *result);
SALVO_API int
salvo_result_broker_code(const salvo_result *result);         /* ResponseCode; -1: no answer */
SALVO_API int salvo_result_tries(const salvo_result *result); /* transmissions, 0: never sent */
SALVO_API int64_t
salvo_result_done_ns(const salvo_result *result); /* salvo_now_ns() when the lane knew */
/* Broker name of the last try, "" when there was none. Lives as long as the sender. */
SALVO_API const char *salvo_result_broker(const salvo_result *result);
SALVO_API int salvo_result_queue_id(const salvo_result *result);         /* -1: unknown */
SALVO_API int64_t salvo_result_queue_offset(const salvo_result *result); /* -1: unknown */
/* UNIQ_KEY (SendResult.msgId) and offset message id (SendResult.offsetMsgId; "" when there is none,
 * and beyond 64 IPv6 hosts of brokers) as text; both return buf. */
SALVO_API char *salvo_result_msg_id(const salvo_result *result, char *buf, size_t buf_size);
SALVO_API char *salvo_result_offset_msg_id(const salvo_result *result, char *buf, size_t buf_size);
/* The broker's remark, or a sentence on what happened; "" when there is nothing to say, and beyond
 * 256 of those that wait to be polled. */
SALVO_API const char *salvo_result_detail(const salvo_result *result);

SALVO_API const char *salvo_code_name(enum salvo_code code); /* "timed_out": stable, for reports */
SALVO_API const char *salvo_code_text(enum salvo_code code); /* one sentence */
SALVO_API const char *salvo_stored_name(enum salvo_stored stored);

/* --- running and stopping --------------------------------------------------------------------- */

/* Caller mode (threads=caller): one turn of control and every lane. Returns the work done; 0 lets
 * the caller idle. -EPERM from another thread than the first; -EINVAL in other modes. */
SALVO_API int salvo_do_work(salvo *sender);
/* Caller mode: sleeps by the configured idle strategy until something can be done, at most max_us
 * microseconds (below 0: 0). `work` is what the last salvo_do_work returned. */
SALVO_API void salvo_idle(salvo *sender, int work, int64_t max_us);

/* Closes the inputs and waits until each committed message has its result, at most drain_ms; then
 * what is left gets its result, not sent or unknown, at once. Results still wait to be polled. 0,
 * or -ETIMEDOUT when the deadline was needed. drain_ms below 0 is 0; INT64_MAX waits as long as the
 * messages' own budgets. Again while another thread drains: the earlier deadline counts for both.
 * In caller mode turns the sender itself: -EPERM from another thread than salvo_do_work's. (Java's
 * shutdown does not wait.) */
SALVO_API int salvo_drain(salvo *sender, int64_t drain_ms);
/* Stops the threads, unregisters from the brokers and frees everything. -EBUSY while messages are
 * out or results wait unpolled, or submitters are open. In caller mode another thread than
 * salvo_do_work's does not unregister; none may turn meanwhile. */
SALVO_API int salvo_close(salvo *sender);

/* Captures what goes over net: dpdk into a new pcap file, whole frames, until salvo_capture_stop,
 * dpdk_capture_max bytes or salvo_close; begins within a turn of the lanes. `filter` as option
 * dpdk_capture_filter, "host 10.0.0.2 and port 10911"; NULL: everything. 0; -EBUSY (one runs);
 * -EEXIST (the file is there already); -EINVAL (filter, or no path); -ENOTSUP (another net); or why
 * the file cannot be made; with one sentence in errbuf (may be NULL). Any thread. */
SALVO_API int salvo_capture_start(salvo *sender, const char *path, const char *filter, char *errbuf,
                                  size_t errbuf_size);
/* Asks for the capture's end. 0 or -ENOENT. Any thread. */
SALVO_API int salvo_capture_stop(salvo *sender);
/* 1 until the file is whole and closed, else 0. Any thread. */
SALVO_API int salvo_capture_active(const salvo *sender);

/* A counter of docs/COUNTERS.md, summed over lanes. 0 or -ENOENT. Any thread. */
SALVO_API int salvo_counter_value(salvo *sender, const char *name, uint64_t *ret_value);
/* The network backend in use ("uring"; lane 0's), and a sentence when it is not the one asked for,
 * or not in each lane (else NULL). */
SALVO_API const char *salvo_net_name(const salvo *sender);
SALVO_API const char *salvo_net_note(const salvo *sender);
SALVO_API const char *salvo_version(void);

#ifdef __cplusplus
}
#endif

#endif
