/* dataplane/net, net_epoll: what only it has: it runs where newer system calls are refused. What
 * all backends share: dataplane_net.c. */
#include "tests/support/net_fixture.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const struct net_backend epoll = {.name = "epoll", .open = salvo_net_epoll_open};
static struct net_fixture fixture;

/* Linux before 5.11 has no epoll_pwait2, and old container profiles refuse what they do not know.
 */
static int echo_without_epoll_pwait2(unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = SALVO_ARRAY_LENGTH(filter), .filter = filter};
    struct net_fixture *f = &fixture;
    uint32_t link;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 1;
    fixture_init(f, &epoll);
    fixture_open(f);
    link = fixture_connect(f);
    f->server.echo = true;
    fixture_send(f, &f->client, link, SALVO_MIB(1), 0);
    FIXTURE_TURN_UNTIL(f, f->client.ends[link].received == SALVO_MIB(1));
    salvo_net_wait(f->client.net, 1, 0, SALVO_NS_PER_MS);
    salvo_net_wait(f->client.net, 8, SALVO_NS_PER_MS, 5 * SALVO_NS_PER_MS);
    return 0;
}

static void it_needs_no_call_that_old_hosts_lack(void **state)
{
    const unsigned errors[] = {ENOSYS, EPERM};

    for (unsigned i = 0; i < SALVO_ARRAY_LENGTH(errors); i++) {
        int status;
        pid_t child = fork(); /* a filter cannot be taken off */

        assert_true(child >= 0);
        if (child == 0)
            _exit(echo_without_epoll_pwait2(errors[i]));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_needs_no_call_that_old_hosts_lack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
