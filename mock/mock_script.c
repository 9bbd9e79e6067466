/* Fault scripts as text, one step per line; mock/README.md is the manual.
 *
 *   HOST REQUEST FAULT [delay TIME] [after N] [next N | forever] [stored]     # comment */
#include "mock/mock_internal.h"

#include <stdarg.h>

#define WORDS_MAX 24u
#define WORD_MAX  SALVO_MOCK_REMARK_MAX

struct script {
    struct salvo_mock *mock;
    char words[WORDS_MAX][WORD_MAX];
    uint32_t count;
    uint32_t at;
    uint32_t line;
    char *errbuf;
    size_t errbuf_size;
};

static const struct {
    const char *name;
    int32_t request;
} script_requests[] = {
    {"any", SALVO_MOCK_REQUEST_ANY},
    {"send", SALVO_MOCK_REQUEST_SENDS},
    {"route", SALVO_REQUEST_GET_ROUTEINFO_BY_TOPIC},
    {"cluster", SALVO_REQUEST_GET_BROKER_CLUSTER_INFO},
    {"heartbeat", SALVO_REQUEST_HEART_BEAT},
    {"unregister", SALVO_REQUEST_UNREGISTER_CLIENT},
};

static const struct {
    const char *name;
    enum salvo_mock_fault_kind kind;
} script_faults[] = {
    {"code", SALVO_MOCK_FAULT_CODE},       {"delay", SALVO_MOCK_FAULT_DELAY},
    {"drop", SALVO_MOCK_FAULT_DROP},       {"reset", SALVO_MOCK_FAULT_RESET},
    {"half", SALVO_MOCK_FAULT_HALF},       {"silence", SALVO_MOCK_FAULT_SILENCE},
    {"slow", SALVO_MOCK_FAULT_SLOW},       {"wrong-opaque", SALVO_MOCK_FAULT_WRONG_OPAQUE},
    {"twice", SALVO_MOCK_FAULT_TWICE},     {"no-ext", SALVO_MOCK_FAULT_NO_EXT},
    {"json", SALVO_MOCK_FAULT_JSON},       {"binary", SALVO_MOCK_FAULT_BINARY},
    {"go-away", SALVO_MOCK_FAULT_GO_AWAY},
};

SALVO_PRINTF(2, 3) static int script_fail(struct script *s, const char *format, ...)
{
    char text[SALVO_MOCK_REMARK_MAX * 3];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(s->errbuf, s->errbuf_size, "line %u: %s", s->line, text);
    return salvo_raise(-EINVAL);
}

/* Cuts a line into words; "..." is one word, # begins a comment. */
static int script_cut(struct script *s, const char *line, size_t size)
{
    size_t i = 0;

    s->count = s->at = 0;
    for (;;) {
        size_t n = 0;
        bool quoted;

        while (i < size && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r'))
            i++;
        if (i == size || line[i] == '#')
            return 0;
        if (s->count == WORDS_MAX)
            return script_fail(s, "more than %u words; one step per line", WORDS_MAX);
        quoted = line[i] == '"';
        i += quoted;
        while (i < size &&
               (quoted ? line[i] != '"' : line[i] != ' ' && line[i] != '\t' && line[i] != '\r')) {
            if (line[i] == '\0' || n + 1 == WORD_MAX)
                return script_fail(s, "a word is longer than %u bytes or holds a zero byte",
                                   WORD_MAX - 1);
            s->words[s->count][n++] = line[i++];
        }
        if (quoted && i == size)
            return script_fail(s, "the text in quotes does not end; close it with \"");
        i += quoted;
        s->words[s->count++][n] = '\0';
    }
}

static const char *script_next(struct script *s)
{
    return s->at < s->count ? s->words[s->at++] : NULL;
}

static int script_number(struct script *s, const char *what, int64_t min, int64_t max,
                         int64_t *ret_value)
{
    const char *word = script_next(s);
    int64_t value;

    if (word == NULL || salvo_parse_decimal(word, strlen(word), &value) || value < min ||
        value > max)
        return script_fail(s, "%s wants a number from %lld to %lld, not \"%s\"", what,
                           (long long)min, (long long)max, word != NULL ? word : "");
    *ret_value = value;
    return 0;
}

/* "200ms", "5s" */
static int script_time(struct script *s, const char *what, int64_t *ret_ms)
{
    const char *word = script_next(s);
    size_t size = word != NULL ? strlen(word) : 0;
    bool ms = size > 2 && strcmp(word + size - 2, "ms") == 0;
    bool seconds = !ms && size > 1 && word[size - 1] == 's';
    int64_t value;

    if ((!ms && !seconds) || salvo_parse_decimal(word, size - (ms ? 2 : 1), &value) || value < 0 ||
        value > 86400000)
        return script_fail(s, "%s wants a time with its unit, as 200ms or 5s, not \"%s\"", what,
                           word != NULL ? word : "");
    *ret_ms = ms ? value : value * 1000;
    return 0;
}

static bool script_time_follows(const struct script *s)
{
    return s->at < s->count && s->words[s->at][0] >= '0' && s->words[s->at][0] <= '9';
}

/* "ns0", or "ns0 to ns2" when there are three. */
static const char *script_range(const char *name, uint32_t count, char ret_text[24])
{
    if (count == 1)
        snprintf(ret_text, 24, "%s0", name);
    else
        snprintf(ret_text, 24, "%s0 to %s%u", name, name, count - 1);
    return ret_text;
}

static int script_host(struct script *s, struct salvo_mock_fault *fault)
{
    const char *word = script_next(s);

    char ns[24], b[24];

    if (mock_host_find(s->mock, word, &fault->host) == 0)
        return 0;
    return script_fail(s, "no host \"%s\"; use *, %s, %s or a broker's name", word,
                       script_range("ns", s->mock->conf.nameservers, ns),
                       script_range("b", s->mock->conf.brokers, b));
}

static int script_request(struct script *s, struct salvo_mock_fault *fault)
{
    const char *word = script_next(s);
    int64_t code;

    for (size_t i = 0; word != NULL && i < SALVO_ARRAY_LENGTH(script_requests); i++) {
        if (strcmp(word, script_requests[i].name) == 0) {
            fault->request = script_requests[i].request;
            return 0;
        }
    }
    if (word == NULL || salvo_parse_decimal(word, strlen(word), &code) || code < 1 ||
        code > INT16_MAX)
        return script_fail(
            s,
            "no request \"%s\"; use any, send, route, cluster, heartbeat, unregister or a "
            "request code",
            word != NULL ? word : "");
    fault->request = (int32_t)code;
    return 0;
}

/* The fault's name and what belongs to it. */
static int script_kind(struct script *s, struct salvo_mock_fault *fault)
{
    const char *word = script_next(s);
    int64_t value = 0;
    int r = 0;
    size_t i;

    for (i = 0; word != NULL && i < SALVO_ARRAY_LENGTH(script_faults); i++) {
        if (strcmp(word, script_faults[i].name) == 0)
            break;
    }
    if (word == NULL || i == SALVO_ARRAY_LENGTH(script_faults))
        return script_fail(s,
                           "no fault \"%s\"; use code, delay, drop, reset, half, silence, slow, "
                           "wrong-opaque, twice, no-ext, json, binary or go-away",
                           word != NULL ? word : "");
    fault->kind = script_faults[i].kind;
    if (fault->kind == SALVO_MOCK_FAULT_CODE) {
        r = script_number(s, "code", 0, INT16_MAX, &value);
        fault->code = (int32_t)value;
    } else if (fault->kind == SALVO_MOCK_FAULT_DELAY) {
        r = script_time(s, "delay", &fault->delay_ms);
    } else if (fault->kind == SALVO_MOCK_FAULT_SILENCE && script_time_follows(s)) {
        r = script_time(s, "silence", &fault->delay_ms);
    } else if (fault->kind == SALVO_MOCK_FAULT_SLOW) {
        r = script_number(s, "slow (bytes per second)", 1, UINT32_MAX, &value);
        fault->rate = (uint32_t)value;
        if (!r && script_time_follows(s))
            r = script_time(s, "slow", &fault->delay_ms);
    }
    return r;
}

/* Words that follow in any order. */
static int script_modifier(struct script *s, const char *word, struct salvo_mock_fault *fault)
{
    const char *text;
    int64_t value;
    int r;

    if (strcmp(word, "stored") == 0) {
        fault->stored = true;
        return 0;
    }
    if (strcmp(word, "forever") == 0) {
        fault->count = 0;
        return 0;
    }
    if (strcmp(word, "delay") == 0)
        return script_time(s, "delay", &fault->delay_ms);
    if (strcmp(word, "remark") == 0 && fault->kind == SALVO_MOCK_FAULT_CODE) {
        text = script_next(s);
        if (text == NULL)
            return script_fail(s, "remark wants a text in quotes");
        snprintf(fault->remark, sizeof(fault->remark), "%s", text);
        return 0;
    }
    if (strcmp(word, "after") == 0 || strcmp(word, "next") == 0) {
        bool after = word[0] == 'a';

        value = 0;
        r = script_number(s, word, after ? 0 : 1, INT64_MAX, &value);
        if (!r)
            *(after ? &fault->after : &fault->count) = (uint64_t)value;
        return r;
    }
    return script_fail(
        s, "\"%s\" does not fit here; use delay TIME, after N, next N, forever, stored%s", word,
        fault->kind == SALVO_MOCK_FAULT_CODE ? " or remark \"TEXT\"" : "");
}

/* 0 with ret_fault->kind == SALVO_MOCK_FAULT_KINDS for a line without a step. */
static int script_line(struct script *s, const char *line, size_t size,
                       struct salvo_mock_fault *ret_fault)
{
    struct salvo_mock_fault fault = {.kind = SALVO_MOCK_FAULT_KINDS, .count = 1};
    const char *word;
    int r = script_cut(s, line, size);

    if (!r && s->count > 0) {
        r = script_host(s, &fault);
        if (!r)
            r = script_request(s, &fault);
        if (!r)
            r = script_kind(s, &fault);
        while (!r && (word = script_next(s)) != NULL)
            r = script_modifier(s, word, &fault);
    }
    if (!r)
        *ret_fault = fault;
    return r;
}

int salvo_mock_script(struct salvo_mock *mock, const char *text, size_t size, char *errbuf,
                      size_t errbuf_size)
{
    struct script s = {.mock = mock, .errbuf = errbuf, .errbuf_size = errbuf_size};
    uint32_t before;
    size_t at = 0;
    int r = 0;

    mock_lock(mock);
    before = mock->faults_count;
    while (!r && at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t line_size = end != NULL ? (size_t)(end - text) - at : size - at;
        struct salvo_mock_fault fault;

        s.line++;
        r = script_line(&s, text + at, line_size, &fault);
        if (!r && fault.kind != SALVO_MOCK_FAULT_KINDS && mock_fault_add(mock, &fault))
            r = script_fail(&s,
                            "more than %u steps; use forever or next N instead of repeating lines",
                            SALVO_MOCK_FAULTS_MAX);
        at += line_size + 1;
    }
    if (r)
        mock_fault_truncate(mock, before);
    mock_unlock(mock);
    return r ? salvo_trace(r) : 0;
}
