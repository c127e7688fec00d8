/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer that has no handover: a QEMU runs the devices as soon as it has read
 * the end of the stream, and says nothing.  Both sides here are ours and speak
 * as they would to a QEMU.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pair.h"

static struct pair p;

static const struct pair_setup plain = { .migration = PAIR_SC,
                                         .num_devices = 1,
                                         .size = 16 };

static bool return_path;

static void begin(const char *how, size_t n)
{
    pair_init(&p, &plain);
    p.source.options.return_path = return_path;
    snprintf(p.title, sizeof(p.title), "%s %zu", how, n);
    p.source.options.peer = p.target.options.peer = VFM_PEER_QEMU;
}

/* Runs it and sees to it that no more than one side has the device. */
static void end(void)
{
    const struct fake_device *src = &p.source.devices[0];
    const struct fake_device *dst = &p.target.devices[0];

    pair_run(&p);
    if (src->two_owners || dst->two_owners || p.two_vms ||
        (fake_runs(src, FAKE_ORIGINAL) && fake_runs(dst, FAKE_LOADED)))
        fail_msg("%s: two owners: source: %s, target: %s", p.title,
                 p.source.err.message, p.target.err.message);
    if (p.source.outcome == VFM_OUTCOME_HANDED_OVER)
        assert_non_null(strstr(p.source.err.message, "given away"));
    else if (p.source.outcome == VFM_OUTCOME_FAILED)
        assert_true(fake_runs(src, FAKE_ORIGINAL));
    pair_close(&p);
}

static void a_cancelled_source_keeps_its_devices_until_the_stream_ends(
    void **state)
{
    (void)state;
    for (unsigned int stage = 0; stage < VFM_STAGE_DONE; stage++) {
        bool too_late = stage > VFM_STAGE_COMPLETE;

        begin("the source is cancelled in stage", stage);
        p.source.cancel_in = stage;
        end();
        assert_int_equal(p.source.outcome,
                         too_late ? VFM_OUTCOME_DONE : VFM_OUTCOME_FAILED);
    }
}

static void a_source_that_is_cancelled_before_any_dispatch_is_the_only_owner(
    void **state)
{
    unsigned int dispatches;

    (void)state;
    begin("nobody is cancelled", 0);
    end();
    assert_int_equal(p.source.outcome, VFM_OUTCOME_DONE);
    dispatches = p.source.dispatches;
    for (unsigned int n = 0; n <= dispatches; n++) {
        begin("the source is cancelled before dispatch", n);
        p.source.cancel_before = n;
        end();
    }
}

static void a_link_that_dies_leaves_no_two_owners(void **state)
{
    size_t bytes;

    (void)state;
    begin("nothing is cut", 0);
    pair_use_relay(&p, SIZE_MAX, SIZE_MAX);
    end();
    bytes = p.relay.done[0];
    for (size_t n = 0; n <= bytes; n++) {
        begin("the link dies after byte", n);
        pair_use_relay(&p, n, SIZE_MAX);
        end();
    }
}

/* The command has read all there is, and may be what runs the device now. */
static void a_source_whose_peer_fails_after_the_end_hands_over(void **state)
{
    const struct fake_device *src = &p.source.devices[0];
    struct pair_side *side = &p.source;

    (void)state;
    begin("the peer fails at the end", 0);
    side_begin_uri(side, "exec:cat >/dev/null; exit 1");
    side_run(side);
    assert_int_equal(side->ret, -ECHILD);
    assert_int_equal(side->outcome, VFM_OUTCOME_HANDED_OVER);
    assert_int_equal(src->state, VFM_STATE_STOP_COPY);
    assert_false(side->vm_runs);
    pair_close(&p);
}

static int with_return_path(void **state)
{
    (void)state;
    return_path = true;
    return 0;
}

static int without_return_path(void **state)
{
    (void)state;
    return_path = false;
    return 0;
}

/* Once it can answer: before anybody could believe the contrary. */
static void a_target_that_cannot_load_gives_the_devices_back(void **state)
{
    (void)state;
    for (unsigned int stage = VFM_STAGE_PRE_COPY; stage <= VFM_STAGE_CHECK;
         stage++) {
        begin("the target is cancelled in stage", stage);
        p.target.cancel_in = stage;
        end();
        assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
        assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
        assert_null(strstr(p.target.err.message, "does not hear"));
    }
}

static void who_is_not_heard_says_so(void **state)
{
    (void)state;
    begin("the target is cancelled", 0);
    p.target.cancel_in = VFM_STAGE_PRE_COPY;
    end();
    assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
    assert_non_null(strstr(p.target.err.message, "does not hear of it"));
}

static void who_has_ended_it_need_not_hear(void **state)
{
    (void)state;
    begin("the source is cancelled", 0);
    p.source.cancel_in = VFM_STAGE_COMPLETE;
    end();
    assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
    assert_null(strstr(p.target.err.message, "does not hear"));
}

/* Nothing but its word is success. */
static void a_word_that_is_lost_leaves_the_source_handed_over(void **state)
{
    size_t bytes;

    (void)state;
    begin("nothing is cut", 0);
    pair_use_relay(&p, SIZE_MAX, SIZE_MAX);
    end();
    bytes = p.relay.done[1];
    assert_true(bytes > 0);
    for (size_t n = 0; n < bytes; n++) {
        begin("the way back dies after byte", n);
        pair_use_relay(&p, SIZE_MAX, n);
        end();
        assert_int_not_equal(p.source.outcome, VFM_OUTCOME_DONE);
    }
}

#define WITH_RETURN_PATH(test)                                               \
    {                                                                        \
#test " (return path)", test, with_return_path, without_return_path, \
            NULL                                                             \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_cancelled_source_keeps_its_devices_until_the_stream_ends),
        cmocka_unit_test(
            a_source_that_is_cancelled_before_any_dispatch_is_the_only_owner),
        cmocka_unit_test(a_link_that_dies_leaves_no_two_owners),
        cmocka_unit_test(a_source_whose_peer_fails_after_the_end_hands_over),
        cmocka_unit_test(who_is_not_heard_says_so),
        cmocka_unit_test(who_has_ended_it_need_not_hear),
        WITH_RETURN_PATH(
            a_cancelled_source_keeps_its_devices_until_the_stream_ends),
        WITH_RETURN_PATH(
            a_source_that_is_cancelled_before_any_dispatch_is_the_only_owner),
        WITH_RETURN_PATH(a_link_that_dies_leaves_no_two_owners),
        WITH_RETURN_PATH(a_target_that_cannot_load_gives_the_devices_back),
        WITH_RETURN_PATH(a_word_that_is_lost_leaves_the_source_handed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
