/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel may refuse to watch a descriptor.  A migration is under way then,
 * and devices are stopped: it has to come to its end all the same.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "pair.h"

static struct pair p;

static const struct pair_setup full = { .migration = PAIR_ALL,
                                        .num_devices = 2,
                                        .size = 3000,
                                        .pre_copy_size = 2000,
                                        .config_size = 256 };

/* From then on nothing more can be watched. */
static unsigned int refuse_after;
static unsigned int additions;

/* Stands before the C library's. */
int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (op == EPOLL_CTL_ADD && additions++ >= refuse_after) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

static void what_cannot_be_watched_is_looked_at(void **state)
{
    unsigned int all;

    (void)state;
    refuse_after = UINT32_MAX;
    additions = 0;
    pair_init(&p, &full);
    pair_succeeds(&p);
    pair_close(&p);
    all = additions;
    /* Three of each side are its own; without them there is no migration. */
    for (unsigned int n = 6; n < all; n++) {
        refuse_after = n;
        additions = 0;
        pair_init(&p, &full);
        snprintf(p.title, sizeof(p.title), "blind after %u", n);
        pair_succeeds(&p);
        assert_true(p.source.warnings + p.target.warnings > 0);
        pair_close(&p);
    }
}

static void a_failure_in_the_blind_brings_the_devices_back(void **state)
{
    (void)state;
    refuse_after = 6;
    additions = 0;
    pair_init(&p, &full);
    snprintf(p.title, sizeof(p.title), "blind and cancelled");
    p.source.cancel_in = VFM_STAGE_COMPLETE;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    pair_close(&p);
}

static void a_migration_that_can_watch_nothing_is_not_begun(void **state)
{
    struct vfm_channel *channel;
    struct vfm_migration *m;
    struct vfm_error err = { 0 };
    int fds[2];

    (void)state;
    refuse_after = UINT32_MAX;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(vfm_channel_from_fd(fds[1], "pipe", NULL, &channel, NULL),
                     0);
    for (refuse_after = 0; refuse_after < 3; refuse_after++) {
        const struct vfm_migration_options options = { .size = sizeof(options),
                                                       .peer = VFM_PEER_NONE };

        additions = 0;
        assert_int_equal(vfm_migration_new(channel, &options, &m, &err),
                         -ENOSPC);
        assert_null(m);
        assert_string_equal(err.message,
                            "migration: cannot wait: No space left on device");
    }
    vfm_channel_close(channel);
    close(fds[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_watched_is_looked_at),
        cmocka_unit_test(a_failure_in_the_blind_brings_the_devices_back),
        cmocka_unit_test(a_migration_that_can_watch_nothing_is_not_begun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
