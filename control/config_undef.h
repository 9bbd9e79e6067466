/* Ends one use of config.def. Included again and again: no pragma once. */
#undef OPT_TEXT
#undef OPT_U32
#undef OPT_BOOL
#undef OPT_ENUM
#undef OPT_TIME
#undef OPT_SIZE
