/* The stat file's writing side, see statfile.h. */
#include "control/statfile.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(sizeof(salvo_counter) == 8, "counters are plain 64-bit words in the file");
static_assert(sizeof(struct salvo_statfile_name) % 8 == 0, "what follows stays aligned");
static_assert(sizeof(struct salvo_statfile_error) % 8 == 0, "what follows stays aligned");

#define STATFILE_PATH_MAX sizeof(((struct salvo_statfile *)NULL)->path)

static uint64_t take(uint64_t *at, uint64_t size)
{
    uint64_t offset = *at;

    *at = salvo_align_up(*at + size, 2 * SALVO_CACHE_LINE); /* sections have different writers */
    return offset;
}

static struct salvo_statfile_header layout(const struct salvo_statfile_conf *conf)
{
    struct salvo_statfile_header h = {
        .magic = SALVO_STATFILE_MAGIC,
        .version = SALVO_STATFILE_VERSION,
        .header_size = sizeof(h),
        .pid = (uint32_t)getpid(),
        .lanes_count = conf->lanes_count,
        .start_ms = conf->start_ms,
        .lane_counters_count = SALVO_LANE_COUNTERS,
        .control_counters_count = SALVO_CONTROL_COUNTERS,
        .name_size = sizeof(struct salvo_statfile_name),
        .errors_max = SALVO_ERROR_LOG_MAX,
        .error_size = sizeof(struct salvo_statfile_error),
        .hists_count = conf->hists_count,
        .hist_size = sizeof(struct salvo_statfile_hist),
        .hist_buckets = SALVO_HIST_BUCKETS,
        .lane_size =
            salvo_align_up(SALVO_LANE_COUNTERS * sizeof(salvo_counter), 2 * SALVO_CACHE_LINE),
    };
    uint64_t at = 0;

    take(&at, sizeof(h));
    h.names_offset =
        take(&at, (uint64_t)h.name_size * (SALVO_LANE_COUNTERS + SALVO_CONTROL_COUNTERS));
    h.control_offset = take(&at, SALVO_CONTROL_COUNTERS * sizeof(salvo_counter));
    h.lanes_offset = take(&at, h.lane_size * h.lanes_count);
    h.errors_offset = take(&at, (uint64_t)h.error_size * h.errors_max);
    h.hists_offset = take(&at, h.hist_size * h.hists_count);
    h.size = at;
    snprintf(h.salvo_version, sizeof(h.salvo_version), "%s", conf->salvo_version);
    return h;
}

static void *at_offset(struct salvo_statfile *file, uint64_t offset)
{
    salvo_assert(offset < file->header->size);
    return (char *)file->header + offset;
}

static void name_fill(struct salvo_statfile_name *name, const struct salvo_counter_info *info)
{
    snprintf(name->name, sizeof(name->name), "%s", info->name);
    snprintf(name->unit, sizeof(name->unit), "%s", info->unit);
    snprintf(name->text, sizeof(name->text), "%s", info->text);
    name->kind = (uint32_t)info->kind;
}

static void fill(struct salvo_statfile *file, const struct salvo_statfile_header *header,
                 const struct salvo_statfile_conf *conf)
{
    struct salvo_statfile_name *names;

    memcpy((void *)file->header, header, sizeof(*header));
    names = at_offset(file, header->names_offset);
    for (uint32_t i = 0; i < SALVO_LANE_COUNTERS; i++)
        name_fill(&names[i], &salvo_lane_counter_info[i]);
    for (uint32_t i = 0; i < SALVO_CONTROL_COUNTERS; i++)
        name_fill(&names[SALVO_LANE_COUNTERS + i], &salvo_control_counter_info[i]);
    for (uint32_t i = 0; i < conf->hists_count; i++) {
        struct salvo_statfile_hist *hist =
            at_offset(file, header->hists_offset + i * header->hist_size);

        snprintf(hist->label, sizeof(hist->label), "%s", conf->hist_labels[i]);
        salvo_hist_reset(&hist->hist);
    }
}

static int map(struct salvo_statfile *file, int fd, uint64_t size)
{
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

    if (at == MAP_FAILED)
        return salvo_raise(-errno);
    file->header = at;
    return 0;
}

/* What is there already must be a stat file whose writer has gone, or empty: 0, or why not. The
 * lock of a writer ends with it, however it ends. */
static const char *place_taken(const char *path)
{
    uint64_t magic = SALVO_STATFILE_MAGIC;
    const char *why = NULL;
    struct stat st;
    int fd;

    if (lstat(path, &st) != 0)
        return NULL; /* nothing there; if it is something else, rename says so */
    if (!S_ISREG(st.st_mode))
        return "is there and no stat file";
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return "is there and cannot be read";
    if (st.st_size != 0 && (read(fd, &magic, sizeof(magic)) != (ssize_t)sizeof(magic) ||
                            magic != SALVO_STATFILE_MAGIC))
        why = "is there and no stat file";
    else if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) /* readers hold this, too */
        why = "belongs to a salvo that runs";
    close(fd);
    return why;
}

/* The file under its temporary name, with every block there. */
static int create(struct salvo_statfile *file, const char *temporary, uint64_t size)
{
    struct stat st;
    int fd, r;

    unlink(temporary); /* what a process with our pid may have left */
    fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return salvo_raise(-errno);
    r = -posix_fallocate(fd, 0, (off_t)size); /* makes it that long, too */
    if (r == 0 && fstat(fd, &st) != 0)
        r = -errno;
    if (r == 0)
        r = map(file, fd, size);
    if (r) {
        close(fd);
        unlink(temporary);
        return salvo_trace(r);
    }
    /* The mapping keeps the lock, and a child that the host forks has neither: it may live longer
     * than we do. Where there are no locks, others are not kept out. */
    (void)madvise(file->header, size, MADV_DONTFORK);
    (void)flock(fd, LOCK_EX | LOCK_NB);
    close(fd);
    file->device = (uint64_t)st.st_dev;
    file->inode = (uint64_t)st.st_ino;
    return 0;
}

/* Files can be made where the path points to. 0 or -errno. */
static int check_folder(const char *path)
{
    char folder[STATFILE_PATH_MAX];
    char *slash;

    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash == NULL)
        snprintf(folder, sizeof(folder), ".");
    else
        slash[slash == folder] = '\0'; /* of "/x" the folder is "/" */
    return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : -errno;
}

int salvo_statfile_check(const char *path, char ret_error[SALVO_STATFILE_ERROR_MAX])
{
    const char *taken;
    int r;

    if (path == NULL || path[0] == '\0')
        return 0;
    if (strlen(path) >= STATFILE_PATH_MAX) {
        snprintf(ret_error, SALVO_STATFILE_ERROR_MAX, "option stat_file: the path is too long");
        return -ENAMETOOLONG;
    }
    taken = place_taken(path);
    if (taken != NULL) {
        snprintf(ret_error, SALVO_STATFILE_ERROR_MAX,
                 "option stat_file: %.300s %s; choose another path", path, taken);
        return -EEXIST;
    }
    r = check_folder(path);
    if (r)
        snprintf(ret_error, SALVO_STATFILE_ERROR_MAX,
                 "option stat_file: %.300s cannot be made: %s; choose a path that can be written",
                 path, strerror(-r));
    return r;
}

static int open_file(struct salvo_statfile *file, const struct salvo_statfile_header *header,
                     const struct salvo_statfile_conf *conf,
                     char ret_error[SALVO_STATFILE_ERROR_MAX])
{
    char temporary[sizeof(file->path) + 32];
    const char *what = "cannot be made";
    int r = salvo_statfile_check(conf->path, ret_error);

    if (r)
        return r;
    snprintf(file->path, sizeof(file->path), "%s", conf->path);
    snprintf(temporary, sizeof(temporary), "%s.new.%d", file->path, (int)getpid());
    r = create(file, temporary, header->size);
    if (r == 0) {
        fill(file, header, conf);
        if (rename(temporary, file->path) == 0)
            return 0;
        r = -errno;
        what = "cannot be put in place";
        munmap(file->header, header->size);
        file->header = NULL;
        unlink(temporary);
    }
    snprintf(
        ret_error, SALVO_STATFILE_ERROR_MAX,
        "option stat_file: %.300s %s: %s; choose a path that can be written, with %zu KiB free",
        file->path, what, strerror(-r), (size_t)(header->size >> 10) + 1);
    return salvo_raise(r);
}

int salvo_statfile_open(struct salvo_statfile *file, const struct salvo_statfile_conf *conf,
                        char ret_error[SALVO_STATFILE_ERROR_MAX])
{
    struct salvo_statfile_header header = layout(conf);
    int r;

    *file = (struct salvo_statfile){0};
    if (conf->path != NULL && conf->path[0] != '\0')
        return open_file(file, &header, conf, ret_error);
    r = map(file, -1, header.size);
    if (r) {
        snprintf(ret_error, SALVO_STATFILE_ERROR_MAX, "counters: %s", salvo_error_text(r));
        return r;
    }
    fill(file, &header, conf);
    return 0;
}

void salvo_statfile_close(struct salvo_statfile *file)
{
    struct stat st;

    if (file->header == NULL)
        return;
    if (file->path[0] != '\0' && lstat(file->path, &st) == 0 &&
        (uint64_t)st.st_dev == file->device && (uint64_t)st.st_ino == file->inode)
        unlink(file->path);
    munmap(file->header, file->header->size);
    *file = (struct salvo_statfile){0};
}

salvo_counter *salvo_statfile_lane_counters(struct salvo_statfile *file, uint32_t lane_index)
{
    salvo_assert(lane_index < file->header->lanes_count);
    return at_offset(file, file->header->lanes_offset + lane_index * file->header->lane_size);
}

salvo_counter *salvo_statfile_control_counters(struct salvo_statfile *file)
{
    return at_offset(file, file->header->control_offset);
}

struct salvo_hist *salvo_statfile_hist(struct salvo_statfile *file, uint32_t index)
{
    struct salvo_statfile_hist *hist;

    salvo_assert(index < file->header->hists_count);
    hist = at_offset(file, file->header->hists_offset + index * file->header->hist_size);
    return &hist->hist;
}

void salvo_statfile_copy_errors(struct salvo_statfile *file, const struct salvo_error_log *log)
{
    struct salvo_statfile_error *errors = at_offset(file, file->header->errors_offset);
    struct salvo_error_entry entries[SALVO_ERROR_LOG_MAX];
    uint32_t used = salvo_error_log_read(log, entries, SALVO_ERROR_LOG_MAX);
    uint32_t copied = atomic_load_explicit(&file->header->errors_used, memory_order_relaxed);

    salvo_assert(used <= SALVO_ERROR_LOG_MAX);
    for (uint32_t i = 0; i < used; i++) {
        struct salvo_error_entry *entry = &entries[i];

        if (i >= copied) {
            snprintf(errors[i].place, sizeof(errors[i].place), "%s", entry->place);
            snprintf(errors[i].text, sizeof(errors[i].text), "%s", entry->text);
            errors[i].code = entry->code;
            errors[i].first_ms = entry->first_ms;
        }
        atomic_store_explicit(&errors[i].count, entry->count, memory_order_relaxed);
        atomic_store_explicit(&errors[i].last_ms, entry->last_ms, memory_order_relaxed);
    }
    /* Publishes the entries: pairs with the acquire in salvo_statfile_view_errors. */
    atomic_store_explicit(&file->header->errors_used, used, memory_order_release);
}
