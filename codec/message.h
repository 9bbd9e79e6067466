/* Properties, batch bodies, message ids and validators. MessageDecoder.java, MessageBatch.java,
 * MessageClientIDSetter.java, Validators.java, TopicValidator.java. */
#pragma once

#include "base/bytes.h"
#include "codec/header.h"
#include "codec/remoting.h"

/* --- properties: name 0x01 value 0x02, always ended by 0x02 ---------------------------------- */

/* Why a property, a topic, a group or a body was refused; salvo_refusal_text() has the sentence. */
enum salvo_refusal {
    SALVO_REFUSED_EMPTY = 1,
    SALVO_REFUSED_TOO_LONG,
    SALVO_REFUSED_CHARACTER, /* not allowed in a topic or group */
    SALVO_REFUSED_SEPARATOR, /* 0x01 or 0x02 */
    SALVO_REFUSED_UTF8,
    SALVO_REFUSED_RESERVED,  /* the name is RocketMQ's own */
    SALVO_REFUSED_FORBIDDEN, /* system topic or default group */
};
const char *salvo_refusal_text(int refusal);
/* The same for a refusal of salvo_topic_check(), with the remedy; the limit is the topic's. */
const char *salvo_topic_refusal_text(int refusal);

/* Checks a user property (Message.putUserProperty): 0 or a refusal. Names are matched against
 * MessageConst.STRING_HASH_SET. */
int salvo_property_check(const void *name, size_t name_size, const void *value, size_t value_size);
/* The value alone (KEYS, TAGS). */
int salvo_property_value_check(const void *value, size_t value_size);

void salvo_property_write(struct salvo_writer *w, const void *name, size_t name_size,
                          const void *value, size_t value_size);

/* Walks a property string of any Java version (with or without the last 0x02; empty values
 * skipped). *at is 0 at first; false at the end. */
bool salvo_property_next(const void *properties, size_t size, size_t *at,
                         struct salvo_text *ret_name, struct salvo_text *ret_value);
struct salvo_text salvo_property_find(const void *properties, size_t size, const char *name);

/* --- batch body ------------------------------------------------------------------------------ */

/*   4 totalSize = 22 + body + properties    4 magic 0    4 bodyCRC 0    4 flag
 *   4 bodyLen, body    2 propertiesLen, properties */
#define SALVO_BATCH_ITEM_OVERHEAD 22u

struct salvo_batch_item {
    int32_t flag;
    const uint8_t *body;
    uint32_t body_size;
    const uint8_t *properties;
    uint16_t properties_size;
};

void salvo_batch_item_write(struct salvo_writer *w, const struct salvo_batch_item *item);
/* The next item: 0, -ENOENT at the clean end, -EBADMSG. */
int salvo_batch_item_read(struct salvo_reader *r, struct salvo_batch_item *ret_item);

/* --- UNIQ_KEY -------------------------------------------------------------------------------- */

/* Upper-case hex of | 4 or 16 ip | 2 pid | 4 mid | 4 ms since the month began | 2 counter | */

/* The 12 bytes behind the IP; kept with the message, written as hex when it is encoded. */
#define SALVO_ID_SIZE 12u

struct salvo_id_source {
    /* fixed */
    uint8_t ip[16];
    uint8_t ip_size; /* 4 or 16 */
    uint16_t pid;
    uint32_t mid; /* random per process plus the submitter's index */
    /* owner only */
    int64_t month_start_ms; /* local time */
    int64_t month_end_ms;
    int64_t last_ms;  /* never goes back */
    uint32_t counter; /* ids made in last_ms; the 65,537th moves last_ms on */
    /* the first id of last_ms, and its text: the others differ from it in the counter alone */
    uint8_t id[SALVO_ID_SIZE];
    char text[2 * (16 + SALVO_ID_SIZE)];
};

void salvo_id_source_init(struct salvo_id_source *source, const void *ip, size_t ip_size,
                          uint16_t pid, uint32_t mid);
/* now_ms: wall clock. month_start_ms and month_end_ms bound the month of `ms` in local time: they
 * come from outside, because a pure layer does not ask the time zone. */
typedef void salvo_month_fn(int64_t ms, int64_t *ret_start_ms, int64_t *ret_end_ms);
void salvo_id_make(struct salvo_id_source *source, int64_t now_ms, salvo_month_fn *month,
                   uint8_t ret_id[SALVO_ID_SIZE]);
/* 2 * (ip_size + 12) upper-case hex digits, no terminator. Returns the size. */
size_t salvo_id_write(const uint8_t *ip, size_t ip_size, const uint8_t id[SALVO_ID_SIZE],
                      char *ret_text);

/* The same for the id that was made last. */
size_t salvo_id_write_made(const struct salvo_id_source *source, char *ret_text);

/* --- validators ------------------------------------------------------------------------------ */

/* 0 or a refusal. Topics that senders may not use are refused too. */
int salvo_topic_check(const void *topic, size_t size);
int salvo_group_check(const void *group, size_t size);
bool salvo_topic_is_system(const void *topic, size_t size);

/* Java's String.hashCode over UTF-16 units of a UTF-8 text, and SelectMessageQueueByHash's index
 * for it
 * (|hash % n|, truncating; defined for every hash). */
int32_t salvo_java_hash(const void *text, size_t size);
uint32_t salvo_java_hash_queue(int32_t hash, uint32_t queues_count);
