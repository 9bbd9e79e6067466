/* The machine and the build, as a report names them. */
#include "base/cpu.h"
#include "bench/build_info.h"
#include "bench/report.h"

#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

static void machine_read_model(char *ret_model, size_t size)
{
    FILE *info = fopen("/proc/cpuinfo", "r");
    char line[256];

    snprintf(ret_model, size, "unknown");
    if (info == NULL)
        return;
    while (fgets(line, sizeof(line), info) != NULL) {
        char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(ret_model, size, "%s", colon + 1 + (colon[1] == ' '));
        break;
    }
    fclose(info);
}

void salvo_machine_read(struct salvo_machine *ret_machine)
{
    struct utsname names;
    struct sysinfo info;

    memset(ret_machine, 0, sizeof(*ret_machine));
    machine_read_model(ret_machine->model, sizeof(ret_machine->model));
    if (uname(&names) == 0)
        snprintf(ret_machine->kernel, sizeof(ret_machine->kernel), "%.20s %.60s", names.sysname,
                 names.release);
    ret_machine->cores = salvo_cpu_allowed(NULL, 0);
    if (sysinfo(&info) == 0)
        ret_machine->memory_bytes = (uint64_t)info.totalram * info.mem_unit;
}

struct salvo_build salvo_build_info(void)
{
#if defined(__clang__)
    const char *compiler = "clang " __clang_version__;
#else
    const char *compiler = "gcc " __VERSION__;
#endif

    return (struct salvo_build){
        .version = salvo_version(),
        .git = SALVO_BUILD_GIT,
        .compiler = compiler,
        .buildtype = SALVO_BUILD_TYPE,
    };
}
