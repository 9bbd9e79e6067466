/* The stat file's reading side: nothing in the file is believed before it was checked against the
 * size that the file really has. See statfile.h. */
#include "control/statfile.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Far above what a salvo writes; keeps products of sizes and counts from wrapping. */
#define VIEW_COUNT_MAX 65536u
#define VIEW_SIZE_MAX  (UINT64_C(1) << 40)

static bool section_fits(uint64_t offset, uint64_t size, uint64_t count, uint64_t whole)
{
    if (count > VIEW_COUNT_MAX || size > VIEW_SIZE_MAX / VIEW_COUNT_MAX)
        return false;
    return offset % 8 == 0 && offset <= whole && size * count <= whole - offset;
}

/* A text of ours: it ends, and drives no terminal. */
static bool text_plain(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\0')
            return true;
        if (text[i] < ' ' || text[i] > '~')
            return false;
    }
    return false;
}

/* NULL, or what is wrong. */
static const char *header_wrong(const struct salvo_statfile_header *h, uint64_t size)
{
    if (size < sizeof(*h))
        return "is too short: not a stat file, or cut off";
    if (h->magic != SALVO_STATFILE_MAGIC)
        return "is not a stat file of salvo";
    if (h->version != SALVO_STATFILE_VERSION || h->header_size != sizeof(*h) ||
        h->name_size != sizeof(struct salvo_statfile_name) ||
        h->error_size != sizeof(struct salvo_statfile_error) ||
        h->hist_size != sizeof(struct salvo_statfile_hist) || h->hist_buckets != SALVO_HIST_BUCKETS)
        return "was written by another version of salvo; use that version's salvo stat";
    if (h->size != size)
        return "is cut off: it does not have the size it was made with";
    if (!text_plain(h->salvo_version, sizeof(h->salvo_version)))
        return "is damaged: its version is no text";
    if (h->lane_size / sizeof(salvo_counter) < h->lane_counters_count ||
        h->lane_size % sizeof(salvo_counter) != 0 ||
        !section_fits(h->names_offset, h->name_size,
                      (uint64_t)h->lane_counters_count + h->control_counters_count, size) ||
        !section_fits(h->control_offset, sizeof(salvo_counter), h->control_counters_count, size) ||
        !section_fits(h->lanes_offset, h->lane_size, h->lanes_count, size) ||
        !section_fits(h->errors_offset, h->error_size, h->errors_max, size) ||
        !section_fits(h->hists_offset, h->hist_size, h->hists_count, size))
        return "is damaged: its header points outside of it";
    return NULL;
}

static const void *at_offset(const struct salvo_statfile_view *view, uint64_t offset)
{
    return (const char *)view->header + offset;
}

/* Those of errors that are there already; the others are not changed once the file is in place. An
 * error's text may hold what a peer said: who shows it makes it printable. */
static const char *errors_wrong(const struct salvo_statfile_view *view)
{
    for (uint32_t i = 0; i < salvo_statfile_view_errors(view); i++) {
        const struct salvo_statfile_error *error = salvo_statfile_view_error(view, i);

        if (!text_plain(error->place, sizeof(error->place)) ||
            memchr(error->text, '\0', sizeof(error->text)) == NULL)
            return "is damaged: an error's text does not end, or its place is no text";
    }
    return NULL;
}

static const char *texts_wrong(const struct salvo_statfile_view *view)
{
    const struct salvo_statfile_header *h = view->header;
    const struct salvo_statfile_name *names = at_offset(view, h->names_offset);
    uint32_t count = h->lane_counters_count + h->control_counters_count;

    for (uint32_t i = 0; i < count; i++)
        if (!text_plain(names[i].name, sizeof(names[i].name)) ||
            !text_plain(names[i].unit, sizeof(names[i].unit)) ||
            !text_plain(names[i].text, sizeof(names[i].text)))
            return "is damaged: a counter's name is no text";
    for (uint32_t i = 0; i < h->hists_count; i++) {
        const struct salvo_statfile_hist *hist =
            at_offset(view, h->hists_offset + i * h->hist_size);

        if (!text_plain(hist->label, sizeof(hist->label)))
            return "is damaged: a histogram's label is no text";
    }
    return errors_wrong(view);
}

static int view_map(struct salvo_statfile_view *view, int fd, const char **ret_why)
{
    struct stat st;
    void *at;

    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < sizeof(struct salvo_statfile_header)) {
        *ret_why = "is too short: not a stat file, or cut off";
        return -EBADMSG;
    }
    at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    view->header = at;
    view->size = (size_t)st.st_size;
    *ret_why = header_wrong(view->header, view->size);
    if (*ret_why == NULL)
        *ret_why = texts_wrong(view);
    return *ret_why == NULL ? 0 : -EBADMSG;
}

int salvo_statfile_view_open(struct salvo_statfile_view *view, const char *path,
                             char ret_error[SALVO_STATFILE_ERROR_MAX])
{
    const char *why = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int r;

    *view = (struct salvo_statfile_view){.fd = fd};
    if (fd < 0) {
        r = -errno;
        snprintf(ret_error, SALVO_STATFILE_ERROR_MAX,
                 "%.300s cannot be opened: %s; is salvo running with option stat_file set to it?",
                 path, strerror(-r));
        return salvo_raise(r);
    }
    r = view_map(view, fd, &why);
    if (r) {
        snprintf(ret_error, SALVO_STATFILE_ERROR_MAX, "%.300s %s", path,
                 why != NULL ? why : strerror(-r));
        salvo_statfile_view_close(view);
    }
    return r;
}

void salvo_statfile_view_close(struct salvo_statfile_view *view)
{
    if (view->header != NULL)
        munmap((void *)(uintptr_t)view->header, view->size);
    if (view->fd >= 0)
        close(view->fd);
    *view = (struct salvo_statfile_view){.fd = -1};
}

bool salvo_statfile_view_alive(const struct salvo_statfile_view *view)
{
    pid_t pid = (pid_t)view->header->pid;

    if (flock(view->fd, LOCK_SH | LOCK_NB) == 0) {
        flock(view->fd, LOCK_UN);
        return false;
    }
    if (errno == EWOULDBLOCK)
        return true;
    /* There are no locks there. */
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

bool salvo_statfile_view_whole(const struct salvo_statfile_view *view)
{
    struct stat st;

    return fstat(view->fd, &st) == 0 && (uint64_t)st.st_size >= view->size;
}

const struct salvo_statfile_name *
salvo_statfile_view_lane_name(const struct salvo_statfile_view *view, uint32_t index)
{
    const struct salvo_statfile_name *names = at_offset(view, view->header->names_offset);

    salvo_assert(index < view->header->lane_counters_count);
    return &names[index];
}

const struct salvo_statfile_name *
salvo_statfile_view_control_name(const struct salvo_statfile_view *view, uint32_t index)
{
    const struct salvo_statfile_name *names = at_offset(view, view->header->names_offset);

    salvo_assert(index < view->header->control_counters_count);
    return &names[view->header->lane_counters_count + index];
}

uint64_t salvo_statfile_view_lane(const struct salvo_statfile_view *view, uint32_t lane_index,
                                  uint32_t index)
{
    const struct salvo_statfile_header *h = view->header;

    salvo_assert(lane_index < h->lanes_count);
    salvo_assert(index < h->lane_counters_count);
    return salvo_counter_get(at_offset(view, h->lanes_offset + lane_index * h->lane_size), index);
}

uint64_t salvo_statfile_view_control(const struct salvo_statfile_view *view, uint32_t index)
{
    salvo_assert(index < view->header->control_counters_count);
    return salvo_counter_get(at_offset(view, view->header->control_offset), index);
}

uint32_t salvo_statfile_view_errors(const struct salvo_statfile_view *view)
{
    /* Pairs with the release in salvo_statfile_copy_errors. */
    uint32_t used = atomic_load_explicit(&view->header->errors_used, memory_order_acquire);

    return SALVO_MIN(used, view->header->errors_max);
}

const struct salvo_statfile_error *salvo_statfile_view_error(const struct salvo_statfile_view *view,
                                                             uint32_t index)
{
    const struct salvo_statfile_error *errors = at_offset(view, view->header->errors_offset);

    salvo_assert(index < view->header->errors_max);
    return &errors[index];
}

const struct salvo_statfile_hist *salvo_statfile_view_hist(const struct salvo_statfile_view *view,
                                                           uint32_t index)
{
    salvo_assert(index < view->header->hists_count);
    return at_offset(view, view->header->hists_offset + index * view->header->hist_size);
}
