/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stream that is kept: a file that breaks while it is written leaves the
 * source as it was, and one that is not whole leaves the target as it was.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "channel/channel.h"
#include "pair.h"
#include "util/error.h"

static struct pair p;

static const struct pair_setup setup = { .migration = PAIR_ALL,
                                         .num_devices = 2,
                                         .size = 64,
                                         .pre_copy_size = 32,
                                         .config_size = 256 };

static uint8_t stream[65536];
static size_t stream_len;

static int new_file(size_t len)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, stream, len), len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void begin(void)
{
    pair_init(&p, &setup);
    p.source.options.peer = p.target.options.peer = VFM_PEER_NONE;
    for (unsigned int i = 0; i < setup.num_devices; i++)
        p.source.devices[i].twin = p.target.devices[i].twin = NULL;
}

static int record(void **state)
{
    int fd = new_file(0);

    (void)state;
    begin();
    side_begin(&p.source, dup(fd));
    side_run(&p.source);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_DONE);
    stream_len = (size_t)pread(fd, stream, sizeof(stream), 0);
    assert_in_range(stream_len, 100, sizeof(stream) - 1);
    pair_close(&p);
    close(fd);
    return 0;
}

static size_t room;

static ssize_t send_while_there_is_room(struct vfm_channel *ch,
                                        const struct iovec *iov, int n)
{
    size_t len = iov[0].iov_len < room ? iov[0].iov_len : room;

    (void)ch;
    (void)n;
    room -= len;
    return len > 0 ? (ssize_t)len : -ENOSPC;
}

static void a_disk_that_is_full_leaves_the_source_as_it_was(void **state)
{
    (void)state;
    for (size_t n = 0; n < stream_len; n++) {
        struct channel_ops ops;

        begin();
        p.source.options.keep_running = n % 2 != 0;
        side_begin(&p.source, new_file(0));
        ops = *p.source.ch->ops;
        ops.send = send_while_there_is_room;
        p.source.ch->ops = &ops;
        room = n;
        side_run(&p.source);
        assert_int_equal(p.source.ret, -ENOSPC);
        assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
        assert_true(fake_runs(&p.source.devices[0], FAKE_ORIGINAL));
        assert_true(fake_runs(&p.source.devices[1], FAKE_ORIGINAL));
        assert_int_equal(p.source.devices[0].state, VFM_STATE_RUNNING);
        assert_true(p.source.vm_runs);
        pair_close(&p);
    }
}

static int refuse_to_finish(struct vfm_channel *ch, struct vfm_error *err)
{
    return error_set(err, -EIO, "%s: cannot sync", ch->name);
}

static void a_file_that_is_not_kept_leaves_the_source_as_it_was(void **state)
{
    struct channel_ops ops;

    (void)state;
    begin();
    side_begin(&p.source, new_file(0));
    ops = *p.source.ch->ops;
    ops.finish = refuse_to_finish;
    p.source.ch->ops = &ops;
    side_run(&p.source);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    assert_true(fake_runs(&p.source.devices[0], FAKE_ORIGINAL));
    assert_true(p.source.vm_runs);
    pair_close(&p);
}

static void a_file_that_is_not_whole_never_runs(void **state)
{
    unsigned int loaded = 0;

    (void)state;
    for (size_t n = 0; n <= stream_len; n++) {
        begin();
        side_begin(&p.target, new_file(n));
        side_run(&p.target);
        if (p.target.outcome == VFM_OUTCOME_DONE) {
            assert_true(fake_runs(&p.target.devices[0], FAKE_LOADED));
            assert_true(fake_runs(&p.target.devices[1], FAKE_LOADED));
            loaded++;
        } else {
            assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
            assert_int_equal(p.target.devices[0].content, FAKE_NOTHING);
            assert_int_equal(p.target.devices[0].state, VFM_STATE_RUNNING);
            assert_int_equal(p.target.vm_starts, 0);
        }
        pair_close(&p);
    }
    /* A QEMU may leave the description out; what it describes is whole. */
    assert_int_equal(loaded, 2);
}

static void a_target_that_is_cancelled_runs_nothing(void **state)
{
    (void)state;
    for (unsigned int stage = 0; stage <= VFM_STAGE_LOADED; stage++) {
        begin();
        p.target.cancel_in = stage;
        side_begin(&p.target, new_file(stream_len));
        side_run(&p.target);
        assert_int_equal(p.target.ret, -ECANCELED);
        assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
        assert_int_equal(p.target.devices[0].content, FAKE_NOTHING);
        pair_close(&p);
    }
}

/* Only the stream says so. */
static void the_state_of_a_paused_vm_stays_stopped(void **state)
{
    const struct fake_device *f = &p.target.devices[0];
    int fd;

    (void)state;
    begin();
    fd = new_file(0);
    p.source.options.paused = true;
    side_begin(&p.source, dup(fd));
    side_run(&p.source);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_DONE);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    side_begin(&p.target, fd);
    side_run(&p.target);
    assert_int_equal(p.target.outcome, VFM_OUTCOME_DONE);
    assert_int_equal(f->content, FAKE_LOADED);
    assert_int_equal(f->state, VFM_STATE_STOP);
    assert_false(p.target.vm_to_run);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_is_full_leaves_the_source_as_it_was),
        cmocka_unit_test(a_file_that_is_not_kept_leaves_the_source_as_it_was),
        cmocka_unit_test(a_file_that_is_not_whole_never_runs),
        cmocka_unit_test(a_target_that_is_cancelled_runs_nothing),
        cmocka_unit_test(the_state_of_a_paused_vm_stays_stopped),
    };

    return cmocka_run_group_tests(tests, record, NULL);
}
