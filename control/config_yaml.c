/* The YAML file: libyaml's event parser, one level of sections or none, scalars only.
 *
 *   cluster:                          nameserver: a:9876;b:9876
 *     nameserver: a:9876;b:9876       linger: 1ms
 *
 * Every refusal is "file:line:column: what; remedy". Anything that YAML can say and an option table
 * does not need (lists, anchors, aliases, tags, more documents) is refused rather than guessed at.
 */
#include "control/config_table.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

/* A configuration is a few kilobytes; more events than this is not one. */
#define YAML_EVENTS_MAX 100000

enum yaml_place {
    YAML_OUTSIDE,     /* in front of the top-level mapping */
    YAML_KEY,         /* a section or an option is next */
    YAML_VALUE,       /* its value is next */
    YAML_SECTION_KEY, /* inside a section */
    YAML_SECTION_VALUE,
    YAML_DONE,
};

struct yaml_load {
    struct salvo_config *config;
    const char *path;
    char *error; /* SALVO_CONFIG_ERROR_MAX */
    enum yaml_place place;
    char key[128];
    char section[128];
    yaml_mark_t key_mark;
    size_t line_set[SALVO_OPTIONS]; /* where it was set, from 1; 0: not yet */
};

static int fail_at(struct yaml_load *load, yaml_mark_t mark, const char *what)
{
    snprintf(load->error, SALVO_CONFIG_ERROR_MAX, "%.120s:%zu:%zu: %.360s", load->path,
             mark.line + 1, mark.column + 1, what);
    return -EINVAL;
}

static bool scalar_is_null(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;

    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0;
}

/* A key: remembers it, when it may stand here. */
static int load_key(struct yaml_load *load, const yaml_event_t *event)
{
    bool in_section = load->place == YAML_SECTION_KEY;
    const char *name = (const char *)event->data.scalar.value;
    char what[SALVO_CONFIG_ERROR_MAX];
    int option = config_find(name);

    if (event->data.scalar.length >= sizeof(load->key) || strlen(name) != event->data.scalar.length)
        return fail_at(load, event->start_mark,
                       "a key that long is no option; --help lists them all");
    /* "batch" is both a section and an option: its value tells which (load_value, load_section). */
    if (option < 0 && (in_section || !config_is_section(name))) {
        const char *section = in_section ? NULL : config_nearest_section(name);

        config_unknown_error(name, what);
        if (section != NULL && config_nearest_option(name) == NULL)
            snprintf(what, sizeof(what), "no section is called \"%.80s\"; did you mean %s?", name,
                     section);
        return fail_at(load, event->start_mark, what);
    }
    if (in_section && strcmp(config_rows[option].section, load->section) != 0) {
        snprintf(what, sizeof(what),
                 "option %s does not belong to section %s; put it under %s, or "
                 "leave the sections out",
                 name, load->section, config_rows[option].section);
        return fail_at(load, event->start_mark, what);
    }
    memcpy(load->key, name, event->data.scalar.length + 1);
    load->key_mark = event->start_mark;
    load->place = in_section ? YAML_SECTION_VALUE : YAML_VALUE;
    return 0;
}

static int load_value(struct yaml_load *load, const yaml_event_t *event)
{
    bool in_section = load->place == YAML_SECTION_VALUE;
    const char *value = (const char *)event->data.scalar.value;
    char what[SALVO_CONFIG_ERROR_MAX];
    int option = config_find(load->key);

    if (option < 0) {
        if (!scalar_is_null(event)) {
            snprintf(what, sizeof(what), "%s is a section; its options follow on indented lines",
                     load->key);
            return fail_at(load, event->start_mark, what);
        }
        load->place = YAML_KEY; /* an empty section: every option in it is commented out */
        return 0;
    }
    if (load->line_set[option] != 0) {
        snprintf(what, sizeof(what), "option %s was already set on line %zu; take one of them out",
                 load->key, load->line_set[option]);
        return fail_at(load, load->key_mark, what);
    }
    if (scalar_is_null(event)) {
        if (!in_section && config_is_section(load->key)) {
            load->place = YAML_KEY;
            return 0;
        }
        snprintf(what, sizeof(what),
                 "option %s has no value; give it one, \"\" for empty, or take the "
                 "line out",
                 load->key);
        return fail_at(load, load->key_mark, what);
    }
    if (strlen(value) != event->data.scalar.length)
        return fail_at(load, event->start_mark, "a value may not hold a zero byte; take it out");
    if (salvo_config_set(load->config, load->key, value, SALVO_CONFIG_FILE, what))
        return fail_at(load, event->start_mark, what);
    load->line_set[option] = load->key_mark.line + 1;
    load->place = in_section ? YAML_SECTION_KEY : YAML_KEY;
    return 0;
}

static int load_mapping(struct yaml_load *load, const yaml_event_t *event)
{
    char what[SALVO_CONFIG_ERROR_MAX];

    switch (load->place) {
    case YAML_OUTSIDE:
        load->place = YAML_KEY;
        return 0;
    case YAML_VALUE:
        if (config_is_section(load->key)) {
            memcpy(load->section, load->key, sizeof(load->section));
            load->place = YAML_SECTION_KEY;
            return 0;
        }
        break;
    case YAML_SECTION_VALUE:
        break;
    default:
        return fail_at(load, event->start_mark, "a key must be a name; write name: value");
    }
    snprintf(what, sizeof(what), "option %s takes one value, not a mapping; write %s: value",
             load->key, load->key);
    return fail_at(load, event->start_mark, what);
}

static int load_mapping_end(struct yaml_load *load)
{
    salvo_assert(load->place == YAML_KEY || load->place == YAML_SECTION_KEY);
    load->place = load->place == YAML_SECTION_KEY ? YAML_KEY : YAML_DONE;
    return 0;
}

static int load_sequence(struct yaml_load *load, const yaml_event_t *event)
{
    char what[SALVO_CONFIG_ERROR_MAX];

    if (load->place != YAML_VALUE && load->place != YAML_SECTION_VALUE)
        return fail_at(load, event->start_mark, "a list is not expected here; write name: value");
    if (config_find(load->key) < 0) {
        snprintf(what, sizeof(what),
                 "%s is a section, not a list; its options follow on indented "
                 "lines, as name: value",
                 load->key);
        return fail_at(load, event->start_mark, what);
    }
    snprintf(what, sizeof(what), "option %s takes one value, not a list; write %s: %s", load->key,
             load->key, strcmp(load->key, "nameserver") == 0 ? "host:port;host:port" : "value");
    return fail_at(load, event->start_mark, what);
}

static int load_scalar(struct yaml_load *load, const yaml_event_t *event)
{
    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)
        return fail_at(load, event->start_mark,
                       "anchors and tags are not read; write the value itself");
    switch (load->place) {
    case YAML_KEY:
    case YAML_SECTION_KEY:
        return load_key(load, event);
    case YAML_VALUE:
    case YAML_SECTION_VALUE:
        return load_value(load, event);
    default:
        break;
    }
    if (scalar_is_null(event)) /* an empty document, or comments alone */
        return 0;
    return fail_at(load, event->start_mark, "this is text, not a configuration; write name: value");
}

static int load_event(struct yaml_load *load, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return load_scalar(load, event);
    case YAML_MAPPING_START_EVENT:
        return load_mapping(load, event);
    case YAML_MAPPING_END_EVENT:
        return load_mapping_end(load);
    case YAML_SEQUENCE_START_EVENT:
        return load_sequence(load, event);
    case YAML_ALIAS_EVENT:
        return fail_at(load, event->start_mark, "aliases are not read; write the value itself");
    case YAML_DOCUMENT_START_EVENT:
        if (load->place == YAML_DONE)
            return fail_at(load, event->start_mark, "a second document; put everything into one");
        return 0;
    default:
        return 0;
    }
}

static int yaml_no_memory(struct yaml_load *load)
{
    snprintf(load->error, SALVO_CONFIG_ERROR_MAX, "%.200s: %s", load->path, SALVO_NO_MEMORY);
    return salvo_raise(-ENOMEM);
}

static int load_parse(struct yaml_load *load, yaml_parser_t *parser)
{
    for (int i = 0; i < YAML_EVENTS_MAX; i++) {
        yaml_event_t event;
        yaml_event_type_t type;
        int r;

        if (!yaml_parser_parse(parser, &event)) {
            char what[256];

            if (parser->error == YAML_MEMORY_ERROR)
                return yaml_no_memory(load);
            snprintf(what, sizeof(what), "not YAML: %.160s; check quotes, colons and indentation",
                     parser->problem);
            return fail_at(load, parser->problem_mark, what);
        }
        type = event.type;
        r = load_event(load, &event);
        yaml_event_delete(&event);
        if (r)
            return r;
        if (type == YAML_STREAM_END_EVENT)
            return 0;
    }
    snprintf(load->error, SALVO_CONFIG_ERROR_MAX,
             "%.120s: too long to be a configuration; is it the "
             "right file?",
             load->path);
    return -EINVAL;
}

int salvo_config_load_file(struct salvo_config *config, const char *path,
                           char ret_error[SALVO_CONFIG_ERROR_MAX])
{
    struct yaml_load load = {.config = config, .path = path, .error = ret_error};
    yaml_parser_t parser;
    FILE *file = fopen(path, "rbe");
    int r;

    /* A folder can be opened, but not read. */
    if (file == NULL || (ungetc(fgetc(file), file) == EOF && ferror(file))) {
        r = -errno;
        if (file != NULL)
            fclose(file);
        snprintf(ret_error, SALVO_CONFIG_ERROR_MAX, "%.200s: cannot be read: %s; %s", path,
                 strerror(-r), salvo_error_remedy(r, "check the path"));
        return r;
    }
    if (!yaml_parser_initialize(&parser)) {
        fclose(file);
        return yaml_no_memory(&load);
    }
    yaml_parser_set_input_file(&parser, file);
    r = load_parse(&load, &parser);
    yaml_parser_delete(&parser);
    fclose(file);
    return r;
}
