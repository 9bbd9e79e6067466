/* Names of the protocol's numbers. LanguageCode.java. */
#include "codec/remoting.h"

#include <string.h>
#include <strings.h>

/* By number; JSON headers carry the name, binary ones the index. */
static const char *const language_names[] = {
    "JAVA",  "CPP",  "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY",
    "OTHER", "HTTP", "GO",     "PHP",    "OMS",    "RUST",   "NODE_JS",
};

const char *salvo_language_name(int language)
{
    if (language < 0 || (size_t)language >= SALVO_ARRAY_LENGTH(language_names))
        return language_names[SALVO_LANGUAGE_OTHER];
    return language_names[language];
}

int salvo_language_number(const char *name, size_t size)
{
    for (size_t i = 0; i < SALVO_ARRAY_LENGTH(language_names); i++) {
        const char *candidate = language_names[i];

        if (strlen(candidate) == size && strncasecmp(candidate, name, size) == 0)
            return (int)i;
    }
    return SALVO_LANGUAGE_OTHER;
}
