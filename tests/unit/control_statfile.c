/* The stat file: written, read, and everything that may be wrong with one. */
#include "tests/unit/unit.h"

#include "control/statfile.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char directory[64], path[128];
static char error[SALVO_STATFILE_ERROR_MAX];
static const char *const labels[] = {"commit to result, lane 0", "commit to result, lane 1"};

static int setup(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/salvo-stat-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/stat", directory);
    return 0;
}

static int teardown(void **state)
{
    unlink(path);
    assert_int_equal(rmdir(directory), 0); /* nothing was left behind */
    return 0;
}

static int open_file(struct salvo_statfile *file, const char *at)
{
    struct salvo_statfile_conf conf = {.path = at,
                                       .lanes_count = 2,
                                       .hists_count = 2,
                                       .hist_labels = labels,
                                       .start_ms = 1700000000123,
                                       .salvo_version = "0.1.0"};

    return salvo_statfile_open(file, &conf, error);
}

static void what_is_written_is_read_and_the_file_goes_with_its_writer(void **state)
{
    static struct salvo_error_log log;
    struct salvo_statfile file;
    struct salvo_statfile_view view;

    assert_int_equal(open_file(&file, path), 0);
    assert_int_equal(salvo_statfile_view_open(&view, path, error), 0);
    salvo_counter_add(salvo_statfile_lane_counters(&file, 1), SALVO_LANE_ANSWERS, 42);
    salvo_counter_add(salvo_statfile_control_counters(&file), SALVO_CONTROL_TOPICS, 3);
    salvo_hist_record(salvo_statfile_hist(&file, 1), 5000);
    salvo_error_log_note(&log, "here", -5, 1000, "it went wrong");
    salvo_statfile_copy_errors(&file, &log);
    salvo_error_log_note(&log, "here", -5, 2000, "it went wrong");
    salvo_error_log_note(&log, "there", -6, 3000, "otherwise");
    salvo_statfile_copy_errors(&file, &log);

    assert_int_equal(view.header->lanes_count, 2);
    assert_int_equal(view.header->start_ms, 1700000000123);
    assert_string_equal(view.header->salvo_version, "0.1.0");
    assert_true(salvo_statfile_view_alive(&view));
    assert_int_equal(salvo_statfile_view_lane(&view, 1, SALVO_LANE_ANSWERS), 42);
    assert_int_equal(salvo_statfile_view_lane(&view, 0, SALVO_LANE_ANSWERS), 0);
    assert_int_equal(salvo_statfile_view_control(&view, SALVO_CONTROL_TOPICS), 3);
    assert_string_equal(salvo_statfile_view_lane_name(&view, SALVO_LANE_ANSWERS)->name,
                        salvo_lane_counter_info[SALVO_LANE_ANSWERS].name);
    assert_string_equal(salvo_statfile_view_control_name(&view, SALVO_CONTROL_TOPICS)->unit,
                        "topics");
    assert_int_equal(salvo_statfile_view_errors(&view), 2);
    assert_string_equal(salvo_statfile_view_error(&view, 0)->place, "here");
    assert_int_equal(atomic_load(&salvo_statfile_view_error(&view, 0)->count), 2);
    assert_int_equal(atomic_load(&salvo_statfile_view_error(&view, 0)->last_ms), 2000);
    assert_string_equal(salvo_statfile_view_error(&view, 1)->text, "otherwise");
    assert_string_equal(salvo_statfile_view_hist(&view, 1)->label, labels[1]);
    assert_int_equal(salvo_statfile_view_hist(&view, 1)->hist.count, 1);

    salvo_statfile_close(&file);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(salvo_statfile_view_lane(&view, 1, SALVO_LANE_ANSWERS), 42); /* still mapped */
    salvo_statfile_view_close(&view);
}

static void without_a_path_it_is_memory(void **state)
{
    struct salvo_statfile file;

    assert_int_equal(open_file(&file, ""), 0);
    salvo_counter_add(salvo_statfile_lane_counters(&file, 0), SALVO_LANE_CYCLES, 1);
    assert_int_equal(salvo_counter_get(salvo_statfile_lane_counters(&file, 0), SALVO_LANE_CYCLES),
                     1);
    salvo_statfile_close(&file);
    salvo_statfile_close(&file); /* and twice is nothing */
}

static void put_there(const char *text)
{
    FILE *there = fopen(path, "w");

    assert_non_null(there);
    fputs(text, there);
    fclose(there);
}

static void a_file_of_somebody_else_stays(void **state)
{
    struct salvo_statfile first, second;
    char text[16] = "";
    FILE *there;

    assert_int_equal(open_file(&first, path), 0);
    assert_int_equal(open_file(&second, path), -EEXIST);
    assert_non_null(strstr(error, "belongs to a salvo that runs"));
    salvo_statfile_close(&second); /* was never open */
    assert_int_equal(access(path, F_OK), 0);
    salvo_statfile_close(&first);
    assert_int_equal(access(path, F_OK), -1);

    put_there("precious");
    assert_int_equal(open_file(&first, path), -EEXIST);
    assert_non_null(strstr(error, "no stat file"));
    there = fopen(path, "r");
    assert_non_null(fgets(text, sizeof(text), there));
    assert_string_equal(text, "precious");
    fclose(there);

    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(open_file(&first, path), -EEXIST);
    assert_int_equal(unlink(path), 0);
}

static void what_nobody_writes_any_more_is_replaced(void **state)
{
    struct salvo_statfile file;
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(open_file(&file, path) == 0 ? 0 : 1); /* and does not close it */
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(open_file(&file, path), 0);
    salvo_statfile_close(&file);

    put_there("");
    assert_int_equal(open_file(&file, path), 0);
    salvo_statfile_close(&file);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_writer_that_waits_to_be_reaped_has_gone(void **state)
{
    struct salvo_statfile file;
    struct salvo_statfile_view view;
    siginfo_t info;
    pid_t child = fork();

    if (child == 0)
        _exit(open_file(&file, path) == 0 ? 0 : 1);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(info.si_status, 0);
    assert_int_equal(salvo_statfile_view_open(&view, path, error), 0);
    assert_int_equal(view.header->pid, child);
    assert_false(salvo_statfile_view_alive(&view));
    assert_int_equal(open_file(&file, path), 0); /* nor does a look keep others out */
    salvo_statfile_close(&file);
    salvo_statfile_view_close(&view);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* The child of a host that forks has its descriptors, and may live longer. */
static void a_writer_that_has_gone_left_no_lock_with_its_child(void **state)
{
    struct salvo_statfile file;
    struct salvo_statfile_view view;
    int pipe_fds[2];
    pid_t writer, child;

    assert_int_equal(pipe(pipe_fds), 0);
    writer = fork();
    if (writer == 0) {
        if (open_file(&file, path) != 0)
            _exit(1);
        child = fork();
        if (child == 0) {
            alarm(20); /* when nobody kills it */
            pause();
            _exit(0);
        }
        _exit(write(pipe_fds[1], &child, sizeof(child)) != sizeof(child));
    }
    assert_int_equal(read(pipe_fds[0], &child, sizeof(child)), sizeof(child));
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    assert_int_equal(salvo_statfile_view_open(&view, path, error), 0);
    assert_false(salvo_statfile_view_alive(&view));
    assert_int_equal(open_file(&file, path), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    salvo_statfile_view_close(&view);
    salvo_statfile_close(&file);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* ... nor does what it closes take the lock from one that lives. */
static void a_writer_keeps_its_lock_when_it_forks(void **state)
{
    struct salvo_statfile first, second;
    pid_t child;

    assert_int_equal(open_file(&first, path), 0);
    child = fork();
    if (child == 0)
        _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(open_file(&second, path), -EEXIST);
    salvo_statfile_close(&first);
}

static void a_newer_file_of_that_name_is_not_removed(void **state)
{
    struct salvo_statfile old, new;

    assert_int_equal(open_file(&old, path), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_file(&new, path), 0);
    salvo_statfile_close(&old);
    assert_int_equal(access(path, F_OK), 0);
    salvo_statfile_close(&new);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_path_that_cannot_be_written_is_refused(void **state)
{
    static const char *const paths[] = {"/nowhere/at/all/stat", "/proc/stat-of-salvo", "/tmp"};
    struct salvo_statfile file;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(paths); i++) {
        assert_true(open_file(&file, paths[i]) < 0);
        assert_non_null(strstr(error, "option stat_file"));
        assert_non_null(strstr(error, strcmp(paths[i], "/tmp") == 0
                                          ? "is there and no stat file"
                                          : "choose a path that can be written"));
    }
}

/* A whole file's bytes, changed and written back, and what the reader says. */
static void a_foreign_or_damaged_file_is_refused(void **state)
{
    static const struct {
        const char *name;
        size_t offset;
        int size; /* of the value put there; 0: cut the file at offset */
        uint64_t value;
        const char *says;
    } cases[] = {
        {"empty", 0, 0, 0, "too short"},
        {"cut in the header", 100, 0, 0, "too short"},
        {"cut behind it", 4000, 0, 0, "cut off"},
        {"magic", 0, 8, 1, "not a stat file"},
        {"version", 8, 4, 99, "another version"},
        {"lanes", offsetof(struct salvo_statfile_header, lanes_count), 4, 65000, "damaged"},
        {"lanes wrap", offsetof(struct salvo_statfile_header, lanes_count), 4, UINT32_MAX,
         "damaged"},
        {"counters", offsetof(struct salvo_statfile_header, lane_counters_count), 4, 5000,
         "damaged"},
        {"names", offsetof(struct salvo_statfile_header, names_offset), 8, UINT64_MAX - 8,
         "damaged"},
        {"unaligned", offsetof(struct salvo_statfile_header, control_offset), 8, 1001, "damaged"},
        {"hists", offsetof(struct salvo_statfile_header, hists_count), 4, 3, "damaged"},
        {"lane size", offsetof(struct salvo_statfile_header, lane_size), 8, UINT64_MAX, "damaged"},
        {"lane size, odd", offsetof(struct salvo_statfile_header, lane_size), 8,
         SALVO_LANE_COUNTERS * sizeof(salvo_counter) + 4, "damaged"},
        {"hist offset", offsetof(struct salvo_statfile_header, hists_offset), 8, 1 << 30,
         "damaged"},
    };
    struct salvo_statfile file;
    struct salvo_statfile_view view;

    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(cases); i++) {
        assert_int_equal(open_file(&file, path), 0);
        if (cases[i].size == 0)
            assert_int_equal(truncate(path, (off_t)cases[i].offset), 0);
        else
            memcpy((char *)file.header + cases[i].offset, &cases[i].value, (size_t)cases[i].size);
        if (salvo_statfile_view_open(&view, path, error) == 0)
            fail_msg("%s: taken", cases[i].name);
        if (strstr(error, cases[i].says) == NULL)
            fail_msg("%s: \"%s\"", cases[i].name, error);
        assert_int_equal(truncate(path, 1 << 22), 0); /* the writer's own pages again */
        file.header->size = 1 << 12;
        salvo_statfile_close(&file);
    }
    assert_int_equal(salvo_statfile_view_open(&view, "/nowhere/at/all", error), -ENOENT);
    assert_non_null(strstr(error, "option stat_file"));
    assert_true(salvo_statfile_view_open(&view, "/dev/null", error) < 0);
    assert_true(salvo_statfile_view_open(&view, "/tmp", error) < 0);
}

/* A terminal obeys what is in a text, and one that does not end is read past its file. */
static void texts_that_do_not_end_or_drive_a_terminal_are_refused(void **state)
{
    struct salvo_statfile_header *header;
    struct salvo_statfile_error *entry;
    struct salvo_statfile_view view;
    struct salvo_statfile file;
    char *texts[4];

    assert_int_equal(open_file(&file, path), 0);
    header = file.header;
    entry = (void *)((char *)header + header->errors_offset);
    texts[0] = header->salvo_version;
    texts[1] = (char *)header + header->names_offset; /* the first counter's */
    texts[2] = (char *)header + header->hists_offset; /* the first label */
    texts[3] = entry->place;
    atomic_store(&header->errors_used, 1);
    assert_int_equal(salvo_statfile_view_open(&view, path, error), 0);
    salvo_statfile_view_close(&view);
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(texts); i++) {
        char before = texts[i][0];

        texts[i][0] = 0x1b;
        assert_int_equal(salvo_statfile_view_open(&view, path, error), -EBADMSG);
        assert_non_null(strstr(error, "damaged"));
        texts[i][0] = before;
    }
    memset(entry->place, 'p', sizeof(entry->place));
    assert_int_equal(salvo_statfile_view_open(&view, path, error), -EBADMSG);
    memset(entry->place, 0, sizeof(entry->place));
    memset(entry->text, 't', sizeof(entry->text));
    assert_int_equal(salvo_statfile_view_open(&view, path, error), -EBADMSG);
    atomic_store(&header->errors_used, 0);
    salvo_statfile_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_and_the_file_goes_with_its_writer),
        cmocka_unit_test(without_a_path_it_is_memory),
        cmocka_unit_test(a_file_of_somebody_else_stays),
        cmocka_unit_test(what_nobody_writes_any_more_is_replaced),
        cmocka_unit_test(a_writer_that_waits_to_be_reaped_has_gone),
        cmocka_unit_test(a_writer_that_has_gone_left_no_lock_with_its_child),
        cmocka_unit_test(a_writer_keeps_its_lock_when_it_forks),
        cmocka_unit_test(a_newer_file_of_that_name_is_not_removed),
        cmocka_unit_test(a_path_that_cannot_be_written_is_refused),
        cmocka_unit_test(a_foreign_or_damaged_file_is_refused),
        cmocka_unit_test(texts_that_do_not_end_or_drive_a_terminal_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
