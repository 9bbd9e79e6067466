/* What bench/micro/codec.cc measures. The headers of codec are C and stay so; C++ sees a table. */
#pragma once

#include <stddef.h>

struct codec_case {
    const char *name;
    void (*operation)(void *argument);
    void *argument;
    size_t bytes; /* of payload in one operation; 0: none to speak of */
};

/* Makes the cases, which live as long as the process. Returns how many. */
size_t codec_cases(const struct codec_case **ret_cases);
