/* The protocol's own names and numbers. Java's spelling is kept, so that a search finds both.
 * RequestCode.java, ResponseCode.java, LanguageCode.java, MQVersion.java, MessageSysFlag.java. */
#pragma once

#include "base/base.h"

/* RequestCode.java */
enum salvo_request_code {
    SALVO_REQUEST_SEND_MESSAGE = 10,
    SALVO_REQUEST_PULL_MESSAGE = 11,
    SALVO_REQUEST_GET_MAX_OFFSET = 30,
    SALVO_REQUEST_GET_MIN_OFFSET = 31,
    SALVO_REQUEST_HEART_BEAT = 34,
    SALVO_REQUEST_UNREGISTER_CLIENT = 35,
    SALVO_REQUEST_END_TRANSACTION = 37,
    SALVO_REQUEST_CHECK_TRANSACTION_STATE = 39,
    SALVO_REQUEST_NOTIFY_CONSUMER_IDS_CHANGED = 40,
    SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC = 105,
    SALVO_REQUEST_GET_BROKER_CLUSTER_INFO = 106,
    SALVO_REQUEST_SEND_MESSAGE_V2 = 310,
    SALVO_REQUEST_SEND_BATCH_MESSAGE = 320,
    SALVO_REQUEST_PUSH_REPLY_MESSAGE_TO_CLIENT = 326,
};

/* ResponseCode.java */
enum salvo_response_code {
    SALVO_RESPONSE_SUCCESS = 0,
    SALVO_RESPONSE_SYSTEM_ERROR = 1,
    SALVO_RESPONSE_SYSTEM_BUSY = 2,
    SALVO_RESPONSE_REQUEST_CODE_NOT_SUPPORTED = 3,
    SALVO_RESPONSE_FLUSH_DISK_TIMEOUT = 10,
    SALVO_RESPONSE_SLAVE_NOT_AVAILABLE = 11,
    SALVO_RESPONSE_FLUSH_SLAVE_TIMEOUT = 12,
    SALVO_RESPONSE_MESSAGE_ILLEGAL = 13,
    SALVO_RESPONSE_SERVICE_NOT_AVAILABLE = 14,
    SALVO_RESPONSE_VERSION_NOT_SUPPORTED = 15,
    SALVO_RESPONSE_NO_PERMISSION = 16,
    SALVO_RESPONSE_TOPIC_NOT_EXIST = 17,
    SALVO_RESPONSE_INVALID_PARAMETER = 29,
    SALVO_RESPONSE_NO_BUYER_ID = 204,
    SALVO_RESPONSE_NOT_IN_CURRENT_UNIT = 205,
    SALVO_RESPONSE_FLOW_CONTROL = 215,
    SALVO_RESPONSE_NOT_LEADER_FOR_QUEUE = 501,
    SALVO_RESPONSE_GO_AWAY = 1500,
};

/* RemotingCommand.java: bits of the flag word. */
#define SALVO_REMOTING_RESPONSE 1
#define SALVO_REMOTING_ONEWAY   2

/* LanguageCode.java. There is no C; CPP is the nearest that every version knows. */
enum salvo_language {
    SALVO_LANGUAGE_JAVA = 0,
    SALVO_LANGUAGE_CPP = 1,
    SALVO_LANGUAGE_DOTNET = 2,
    SALVO_LANGUAGE_PYTHON = 3,
    SALVO_LANGUAGE_OTHER = 7,
    SALVO_LANGUAGE_GO = 9,
    SALVO_LANGUAGE_RUST = 12,
};

/* Name as in JSON headers ("CPP"); "OTHER" for a number we do not know. */
const char *salvo_language_name(int language);
/* Number for a name, any case; SALVO_LANGUAGE_OTHER for one we do not know. */
int salvo_language_number(const char *name, size_t size);

/* MQVersion.java ordinals that change what a peer does. */
#define SALVO_VERSION_V4_7_1 355
#define SALVO_VERSION_V4_9_4 401 /* nameservers quote JSON keys from here on */
#define SALVO_VERSION_V5_3_1 475 /* brokers answer GO_AWAY above this */
#define SALVO_VERSION_V5_3_3 479 /* what we declare unless told otherwise */

/* MessageSysFlag.java:
 *   0x001 body compressed      0x00c transaction type (4 prepared)     0x700 compression type
 *   0x010 born host is IPv6    0x020 store host is IPv6                (0, 0x300 zlib; 0x100 LZ4;
 *   0x040 need unwrap          0x080 inner batch                        0x200 ZSTD) */
#define SALVO_SYSFLAG_COMPRESSED           0x001
#define SALVO_SYSFLAG_TRANSACTION_PREPARED 0x004
#define SALVO_SYSFLAG_TYPE_MASK            0x700
#define SALVO_SYSFLAG_TYPE_LZ4             0x100
#define SALVO_SYSFLAG_TYPE_ZSTD            0x200
#define SALVO_SYSFLAG_TYPE_ZLIB            0x300

/* PermName.java */
#define SALVO_PERM_WRITE   2
#define SALVO_PERM_READ    4
#define SALVO_PERM_INHERIT 1

/* NettyDecoder.java: the largest frame, counting its 4-byte prefix. */
#define SALVO_FRAME_SIZE_MAX 16777216u
/* Prefix and header word. */
#define SALVO_FRAME_PREFIX_SIZE 8u

#define SALVO_TOPIC_SIZE_MAX 127u
#define SALVO_GROUP_SIZE_MAX 120u     /* 255 in most versions, 120 in the newest */
#define SALVO_BODY_SIZE_MAX  4194304u /* maxMessageSize, both ends */
/* Short.MAX_VALUE less what brokers add (MSG_REGION, TRACE_ON, CLUSTER), with room for longer
 * names. */
#define SALVO_PROPERTIES_SIZE_MAX 32000u

#define SALVO_PROPERTY_NAME_END  0x01
#define SALVO_PROPERTY_VALUE_END 0x02

/* 16 bytes as 32 hex digits with an IPv4 address, 28 as 56 with IPv6. */
#define SALVO_UNIQ_KEY_SIZE_MAX      56u
#define SALVO_OFFSET_MSG_ID_SIZE_MAX 56u

#define SALVO_TOPIC_AUTO_CREATE "TBW102"

enum salvo_header_form { SALVO_HEADER_JSON = 0, SALVO_HEADER_BINARY = 1 };
