/* Captures over DPDK: control switches the lanes' mirrors (dataplane/mirror.h) on and off and
 * writes what they copy into a pcap file.
 *
 * One capture at a time. Whoever begins it opens the file and hands it to control by `state`;
 * control tells the lanes, empties their rings each millisecond and closes the file. It is at all
 * times a whole capture, as far as it goes: when its size is reached or nothing more can be written
 * it ends there, behind a whole packet. Packets of several lanes come in the order of their times
 * within one look at the rings.
 *
 * Owner: control, but for what says `Thread: any`. */
#pragma once

#include "control/config.h"
#include "control/report.h"
#include "dataplane/lane_port.h"

struct salvo_capture_conf {
    struct salvo_mirror *mirrors;   /* lanes_count of them; NULL: not over DPDK */
    struct salvo_lane_port **ports; /* lanes_count */
    uint32_t lanes_count;
    uint64_t size_max; /* of a file */
    struct salvo_report *report;
};

enum salvo_capture_state {
    SALVO_CAPTURE_IDLE,
    SALVO_CAPTURE_OPENING, /* somebody is at it */
    SALVO_CAPTURE_RUNNING,
    SALVO_CAPTURE_STOPPING, /* lanes have it still, or rings are not empty */
};

struct salvo_capture {
    /* fixed after start */
    struct salvo_capture_conf conf;

    /* its opener, then control until it is idle */
    int fd;
    char path[1024];
    struct salvo_mirror_filter filter;
    uint64_t size; /* of the file */
    uint64_t packets;
    uint64_t dropped;
    bool touched; /* the rings' memory is there */

    /* control only */
    uint64_t lanes_begun; /* a bit each: told so */
    uint64_t lanes_ended;
    uint32_t ended_before[64]; /* a lane's count of ends when it was told to begin */
    bool over;                 /* nothing more goes into the file */
    bool lost;                 /* because it takes nothing: what comes counts as dropped */
    uint64_t dropped_seen;     /* by the mirrors */
    int64_t wall_offset_ns;    /* wall less mono */
    int64_t clocks_due_ns;
    int64_t due_ns; /* the next look */

    /* anyone <-> control */
    alignas(SALVO_CACHE_LINE) _Atomic uint32_t state; /* enum salvo_capture_state */
};

void salvo_capture_init(struct salvo_capture *capture, const struct salvo_capture_conf *conf);
/* When no lane runs any more: what there is goes into the file. */
void salvo_capture_deinit(struct salvo_capture *capture);

/* "host 10.0.0.2 and port 10911", as tcpdump has it: one host and up to two ports, each of either
 * end; "": everything. 0, or -EINVAL with what it takes. */
int salvo_capture_filter_parse(const char *text, struct salvo_mirror_filter *ret_filter,
                               char ret_error[SALVO_CONFIG_ERROR_MAX]);
/* The options of captures; 0, or -EINVAL with one sentence. */
int salvo_capture_check(const struct salvo_config *config, char ret_error[SALVO_CONFIG_ERROR_MAX]);

/* Makes the file and begins; lanes follow within a turn. 0; -EBUSY: one runs; -EEXIST; -EINVAL: the
 * filter; -ENOTSUP: not over DPDK; or what the file says; with a sentence that begins with `what`.
 * Wake control then. Thread: any. */
int salvo_capture_begin(struct salvo_capture *capture, const char *what, const char *path,
                        const char *filter, char *errbuf, size_t errbuf_size);
/* Asks for its end; 0, or -ENOENT: none runs. Wake control then. Thread: any. */
int salvo_capture_end(struct salvo_capture *capture);
/* Until the file is closed. Thread: any. */
bool salvo_capture_runs(const struct salvo_capture *capture);

int salvo_capture_do_work(struct salvo_capture *capture, int64_t now_ns);
int64_t salvo_capture_next_ns(const struct salvo_capture *capture);
