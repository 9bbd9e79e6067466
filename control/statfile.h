/* The stat file: counters, distinct errors and latency histograms of a running salvo, mapped, so
 * that `salvo stat` reads them without asking anybody. Without a path the same layout lives in
 * memory.
 *
 *   0          header: magic, version, sizes, offsets, process, start
 *   names      a struct salvo_statfile_name for each lane counter, then for each control counter
 *   control    its counters
 *   lanes      counters of lane 0, lane 1, ...; each on its own cache lines
 *   errors     a copy of the distinct-error log, made by control
 *   hists      label and struct salvo_hist, one behind the other
 *
 * Numbers are this machine's (no exchange between machines). Counters are 64-bit words, written by
 * their owner with relaxed stores. The file is made whole under another name and renamed into
 * place, and every block of it is allocated first: a full disk is an error at start, never a SIGBUS
 * in a lane. */
#pragma once

#include "base/counters.h"
#include "base/error.h"
#include "base/hist.h"

#define SALVO_STATFILE_MAGIC     UINT64_C(0x315441545356414c) /* "LAVSTAT1" */
#define SALVO_STATFILE_VERSION   1u
#define SALVO_STATFILE_ERROR_MAX 512

struct salvo_statfile_header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_size;
    uint64_t size; /* of the whole file */
    uint32_t pid;
    uint32_t lanes_count;
    int64_t start_ms; /* wall clock */
    char salvo_version[32];
    uint32_t lane_counters_count;
    uint32_t control_counters_count;
    uint32_t name_size;
    uint32_t errors_max;
    uint32_t error_size;
    uint32_t hists_count;
    uint64_t hist_size; /* of label and histogram */
    uint64_t hist_buckets;
    uint64_t lane_size; /* from one lane's counters to the next */
    uint64_t names_offset;
    uint64_t control_offset;
    uint64_t lanes_offset;
    uint64_t errors_offset;
    uint64_t hists_offset;
    _Atomic uint32_t errors_used; /* entries that are whole */
};

struct salvo_statfile_name {
    char name[48];
    char unit[16];
    uint32_t kind; /* enum salvo_counter_kind */
    uint32_t reserved;
    char text[120];
};

struct salvo_statfile_error {
    char place[64];
    int32_t code;
    uint32_t reserved;
    _Atomic uint64_t count;
    int64_t first_ms;
    _Atomic int64_t last_ms;
    char text[SALVO_ERROR_TEXT_MAX];
};

struct salvo_statfile_hist {
    char label[64];
    struct salvo_hist hist;
};

struct salvo_statfile_conf {
    const char *path; /* "" or NULL: in memory */
    uint32_t lanes_count;
    uint32_t hists_count;
    const char *const *hist_labels; /* hists_count of them, at most 63 characters each */
    int64_t start_ms;
    const char *salvo_version;
};

struct salvo_statfile {
    struct salvo_statfile_header *header; /* the mapping; the file is locked while it is there */
    char path[1024];                      /* "": in memory */
    uint64_t device;                      /* of the file, so that only our own is removed */
    uint64_t inode;
};

/* 0, or a negative errno with a sentence in ret_error. What is there under the path goes only when
 * it is a stat file that nobody writes any more, or empty; else -EEXIST. */
int salvo_statfile_open(struct salvo_statfile *file, const struct salvo_statfile_conf *conf,
                        char ret_error[SALVO_STATFILE_ERROR_MAX]);
/* Whether one could be made at path ("" or NULL: in memory): 0, or as salvo_statfile_open. Makes
 * nothing, and cannot see whether there is room. */
int salvo_statfile_check(const char *path, char ret_error[SALVO_STATFILE_ERROR_MAX]);
/* Unmaps, and removes the file if it is still the one that was made. */
void salvo_statfile_close(struct salvo_statfile *file);

salvo_counter *salvo_statfile_lane_counters(struct salvo_statfile *file, uint32_t lane_index);
salvo_counter *salvo_statfile_control_counters(struct salvo_statfile *file);
struct salvo_hist *salvo_statfile_hist(struct salvo_statfile *file, uint32_t index);

/* Brings the copy of the distinct-error log up to date. Thread: the log's writer (control). */
void salvo_statfile_copy_errors(struct salvo_statfile *file, const struct salvo_error_log *log);

/* --- reading (control/statfile_read.c) --------------------------------------------------- */

/* A stat file mapped read only, everything in its header checked against its size. */
struct salvo_statfile_view {
    const struct salvo_statfile_header *header;
    size_t size;
    int fd; /* asked whether the writer holds its lock */
};

/* 0, or a negative errno with a sentence: cannot be opened, too short, not a stat file, of another
 * version, offsets that point outside. */
int salvo_statfile_view_open(struct salvo_statfile_view *view, const char *path,
                             char ret_error[SALVO_STATFILE_ERROR_MAX]);
void salvo_statfile_view_close(struct salvo_statfile_view *view);

/* True while the process that wrote it lives: its lock on the file ends with it, however it ends. A
 * pid would not do: it may be a zombie's, or another's in this namespace. */
bool salvo_statfile_view_alive(const struct salvo_statfile_view *view);

/* False when the file has become shorter: reading what is gone of it ends the process. */
bool salvo_statfile_view_whole(const struct salvo_statfile_view *view);

/* index below lane_counters_count or control_counters_count of the header; texts are terminated. */
const struct salvo_statfile_name *
salvo_statfile_view_lane_name(const struct salvo_statfile_view *view, uint32_t index);
const struct salvo_statfile_name *
salvo_statfile_view_control_name(const struct salvo_statfile_view *view, uint32_t index);
uint64_t salvo_statfile_view_lane(const struct salvo_statfile_view *view, uint32_t lane_index,
                                  uint32_t index);
uint64_t salvo_statfile_view_control(const struct salvo_statfile_view *view, uint32_t index);
uint32_t salvo_statfile_view_errors(const struct salvo_statfile_view *view);
const struct salvo_statfile_error *salvo_statfile_view_error(const struct salvo_statfile_view *view,
                                                             uint32_t index);
/* The histogram is written while it is read: its numbers may be some counts apart. */
const struct salvo_statfile_hist *salvo_statfile_view_hist(const struct salvo_statfile_view *view,
                                                           uint32_t index);
