/* Randomness comes in through this struct: seeded, fast, not for secrets (xoshiro256**). */
#pragma once

#include "base/base.h"

struct salvo_random {
    uint64_t state[4];
};

/* Expands a seed by splitmix64; equal seeds give equal sequences on every machine. */
void salvo_random_init(struct salvo_random *random, uint64_t seed);
/* Seeds from the kernel (getrandom). */
void salvo_random_init_system(struct salvo_random *random);

uint64_t salvo_random_next(struct salvo_random *random);

/* Uniform in [0, bound); bound is not 0. */
uint64_t salvo_random_below(struct salvo_random *random, uint64_t bound);
/* True with probability `numerator` / `denominator`. */
bool salvo_random_chance(struct salvo_random *random, uint32_t numerator, uint32_t denominator);
