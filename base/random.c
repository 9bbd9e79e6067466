/* xoshiro256** by Blackman and Vigna, seeded by their splitmix64 (public domain, prng.di.unimi.it):
 * four words of state, no multiplication tables, passes the usual batteries. Not for secrets. */
#include "base/random.h"

#include "base/assert.h"

#include <errno.h>
#include <sys/random.h>

static uint64_t random_splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void salvo_random_init(struct salvo_random *random, uint64_t seed)
{
    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(random->state); i++)
        random->state[i] = random_splitmix(&seed);
}

void salvo_random_init_system(struct salvo_random *random)
{
    uint64_t seed;
    ssize_t got;

    /* Eight bytes come whole or not at all once the kernel's pool is up; only a signal before that
     * can interrupt. */
    do
        got = getrandom(&seed, sizeof(seed), 0);
    while (got < 0 && errno == EINTR);
    salvo_assert(got == (ssize_t)sizeof(seed));
    salvo_random_init(random, seed);
}

static uint64_t random_rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

uint64_t salvo_random_next(struct salvo_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = random_rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = random_rotate(s[3], 45);
    return result;
}

uint64_t salvo_random_below(struct salvo_random *random, uint64_t bound)
{
    unsigned __int128 product;
    uint64_t uneven;

    salvo_assert(bound != 0);

    /* Lemire: the high half of a product is the number; the few low halves that would favour small
     * numbers are drawn again, half of the time at worst. */
    product = (unsigned __int128)salvo_random_next(random) * bound;
    if ((uint64_t)product < bound) {
        uneven = (0 - bound) % bound;
        while ((uint64_t)product < uneven)
            product = (unsigned __int128)salvo_random_next(random) * bound;
    }
    return (uint64_t)(product >> 64);
}

bool salvo_random_chance(struct salvo_random *random, uint32_t numerator, uint32_t denominator)
{
    return salvo_random_below(random, denominator) < numerator;
}
