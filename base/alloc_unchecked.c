/* Linked unless alloc_check.c is: nobody watches, nothing is forbidden. */
#include "base/arena.h"

void salvo_alloc_forbid(bool forbidden)
{
    (void)forbidden;
}
