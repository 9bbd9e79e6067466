/* A whole file in memory: see input.h. */
#include "cmd/input.h"
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Grows by doubling. 0 or -errno. */
static int input_read_all(int fd, size_t size_max, struct cmd_input *input)
{
    size_t room = 65536;

    for (;;) {
        uint8_t *bytes = realloc(input->bytes, room);
        ssize_t got;

        if (bytes == NULL)
            return -ENOMEM;
        input->bytes = bytes;
        got = read(fd, bytes + input->size, room - 1 - input->size);
        if (got < 0 && (errno != EINTR || cmd_stop != 0))
            return -errno;
        if (got == 0)
            break;
        input->size += got > 0 ? (size_t)got : 0;
        if (input->size > size_max)
            return -EFBIG;
        if (room - 1 - input->size < room / 4)
            room *= 2;
    }
    input->bytes[input->size] = 0;
    return 0;
}

int cmd_input_read(const char *command, const char *path, size_t size_max,
                   struct cmd_input *ret_input)
{
    struct cmd_input input = {0};
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int r;

    if (fd < 0) {
        cmd_fail(command, 0, "%s: %s", path, salvo_error_text(-errno));
        return -1;
    }
    r = input_read_all(fd, size_max, &input);
    if (fd != STDIN_FILENO)
        close(fd);
    if (r) {
        if (r == -EFBIG)
            cmd_fail(command, 0, "%s: over %zu bytes", path, size_max);
        else
            cmd_fail(command, 0, "%s: %s", path, salvo_error_text(r));
        free(input.bytes);
        return -1;
    }
    *ret_input = input;
    return 0;
}

void cmd_input_free(struct cmd_input *input)
{
    free(input->bytes);
    input->bytes = NULL;
}
