/* Constants of newer kernels that liburing 2.3's header lacks (kernel-bypass 1.2). All are plain
 * fields of an SQE, a CQE or an argument, probed at open or harmless where they are unknown. */
#pragma once

#include <stdint.h>

/* io_uring_params.features, 6.12: getevents_arg.min_wait_usec is looked at. */
#define SALVO_URING_FEAT_MIN_TIMEOUT (1u << 15)

/* sqe.ioprio of SEND_ZC, 6.2: the notification says whether the bytes were copied after all ... */
#define SALVO_URING_SEND_ZC_REPORT_USAGE (1u << 3)
/* ... in this bit of its result. */
#define SALVO_URING_NOTIF_ZC_COPIED (1u << 31)

/* struct io_uring_getevents_arg as of 6.12; older kernels want min_wait_usec (then `pad`) to be 0.
 */
struct salvo_uring_getevents_arg {
    uint64_t sigmask;
    uint32_t sigmask_sz;
    uint32_t min_wait_usec;
    uint64_t ts;
};
