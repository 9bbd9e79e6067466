/* What the simulator and tests may do beyond include/salvo.h: open a sender in a world of their
 * own. */
#pragma once

#include "control/sender.h"

/* salvo_open with time, network and chance from outside. */
salvo *salvo_open_in(const salvo_conf *conf, const struct salvo_sender_env *env, char *errbuf,
                     size_t errbuf_size);

/* What stands behind the handle. */
struct salvo_sender *salvo_sender_of(salvo *sender);
