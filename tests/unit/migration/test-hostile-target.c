/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A source whose target says what it likes: until it has given the devices away
 * they go on here, and afterwards they stand still until it gives them back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "channel/channel.h"
#include "migration/migration.h"
#include "pair.h"
#include "util/bytes.h"

static struct pair p;
static int peer; /* the target's end */

static const struct pair_setup setup = { .migration = PAIR_ALL,
                                         .num_devices = 1,
                                         .size = 6000,
                                         .pre_copy_size = 4000,
                                         .initial_size = 1000,
                                         .config_size = 256 };

static const char yes[] = "{\"accept\": true, \"version\": \"9.9\"}";
static const char yes_and_ready[] = "{\"accept\": true, \"ready\": true}";

static void say(const void *what, size_t len)
{
    if (peer >= 0)
        assert_int_equal(send(peer, what, len, MSG_NOSIGNAL), len);
}

static void say_message(uint16_t type, const void *payload, size_t len)
{
    uint8_t frame[1024];

    put_be16(frame, type);
    put_be16(frame + 2, (uint16_t)len);
    memcpy(frame + 4, payload, len);
    say(frame, 4 + len);
}

static void say_hello(const char *json)
{
    uint8_t frame[12];

    put_be32(frame, 0x56464d47);
    put_be16(frame + 4, 1);
    put_be16(frame + 6, 0);
    put_be32(frame + 8, (uint32_t)strlen(json));
    say(frame, sizeof(frame));
    say(json, strlen(json));
}

static void say_loaded(void)
{
    uint8_t ns[8];

    put_be64(ns, INT64_MAX); /* no check takes that long */
    say_message(0x8002, ns, sizeof(ns));
}

static void begin(void)
{
    int fds[2];

    pair_init(&p, &setup);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    peer = fds[1];
    p.source.options.peer_timeout_ms = 300;
    side_begin(&p.source, fds[0]);
}

/* Takes what the source sends until it waits, or is in @stage. */
static void listen_until(enum vfm_stage stage)
{
    uint8_t bin[65536];

    while (!p.source.over && vfm_migration_get_stage(p.source.m) < stage &&
           side_step(&p.source, 1000))
        while (recv(peer, bin, sizeof(bin), MSG_DONTWAIT) > 0)
            continue;
}

/* The same, and acknowledges the initial data when it is told of it. */
static void follow_until(enum vfm_stage stage)
{
    static const uint8_t told[8] = { 0xff, 0xff, 0xff, 0xff,
                                     0xef, 0x10, 0x00, 0x05 };
    uint8_t bin[65536];
    ssize_t n;

    while (!p.source.over && vfm_migration_get_stage(p.source.m) < stage) {
        assert_true(side_step(&p.source, 1000));
        while ((n = recv(peer, bin, sizeof(bin), MSG_DONTWAIT)) > 0)
            if (memmem(bin, (size_t)n, told, sizeof(told)) != NULL)
                say_message(7, "", 0);
    }
}

static void hang_up(void)
{
    close(peer);
    peer = -1;
}

static void finish(void)
{
    side_run(&p.source);
    if (peer >= 0)
        hang_up();
}

static void ends(enum vfm_outcome outcome, int code, const char *why)
{
    const struct pair_side *side = &p.source;
    const struct fake_device *f = &side->devices[0];

    if (side->ret != code || strstr(side->err.message, why) == NULL)
        fail_msg("%d: %s", side->ret, side->err.message);
    assert_int_equal(side->outcome, outcome);
    assert_int_equal(f->content, FAKE_ORIGINAL);
    if (outcome == VFM_OUTCOME_FAILED)
        assert_int_equal(f->state, VFM_STATE_RUNNING);
    else
        assert_true(f->state == VFM_STATE_STOP ||
                    f->state == VFM_STATE_STOP_COPY);
    assert_int_equal(side->vm_runs, outcome == VFM_OUTCOME_FAILED);
    pair_close(&p);
}

static void an_answer_that_is_no_hello_is_refused(void **state)
{
    static const struct {
        const char *json;
        int code;
        const char *why;
    } answers[] = {
        { "{\"accept\": false, \"reason\": \"it is\\nlate\"}", -EREMOTEIO,
          "to-target: the target refuses: it is late" },
        { "{\"accept\": \"yes\"}", -EREMOTEIO, "the target refuses" },
        { "{\"accept\": 1}", -EREMOTEIO, "the target refuses" },
        { "{}", -EPROTO, "no receiver of vfmig's" },
        { "", -EPROTO, "no JSON object" },
        { "true", -EPROTO, "no JSON object" },
        { "{\"accept\": tru", -EPROTO, "no JSON object" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        begin();
        say_hello(answers[i].json);
        finish();
        assert_int_equal(p.source.devices[0].num_went, 0);
        ends(VFM_OUTCOME_FAILED, answers[i].code, answers[i].why);
    }
}

static void bytes_that_are_no_hello_are_refused(void **state)
{
    (void)state;
    begin();
    say("HTTP/1.1 400", 12);
    finish();
    ends(VFM_OUTCOME_FAILED, -EPROTO, "so the peer is no vfmig");
    begin();
    say("VFMG\0\1\0\0\xff\xff\xff\xff", 12);
    finish();
    ends(VFM_OUTCOME_FAILED, -EPROTO, "4294967295 bytes are too long");
    begin();
    say("VFMG\0\2\0\0\0\0\0\0", 12);
    finish();
    ends(VFM_OUTCOME_FAILED, -EPROTO, "hello: version 2, not 1");
}

static void what_is_said_too_early_is_refused(void **state)
{
    static const struct {
        uint16_t type;
        const char *payload;
        int code;
        const char *why;
    } messages[] = {
        { 0x8002, "12345678", -EPROTO, "target: says loaded in stage" },
        { 0x8009, "", -EPROTO, "target: says ready in stage" },
        { 0x8004, "", -EPROTO, "runs devices that were not given" },
        { 0x8005, "no", -EREMOTEIO, "the target gave the devices back: no" },
        { 0x8006, "a\nb", -EREMOTEIO, "the target failed: a b" },
        { 7, "", -EPROTO, "acknowledges initial data once too often" },
        { 0x8003, "\1", -EPROTO, "message 0x8003 is not for a source" },
        { 1, "1234", -EPROTO, "message 0x0001 is not for a source" },
        { 0xffff, "", -EPROTO, "message 0xffff is not for a source" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        begin();
        say_hello(yes);
        say_message(messages[i].type, messages[i].payload,
                    strlen(messages[i].payload));
        finish();
        ends(VFM_OUTCOME_FAILED, messages[i].code, messages[i].why);
    }
}

/* One that says nothing, and one that is busy for ever. */
static void a_target_that_is_never_ready_costs_nothing(void **state)
{
    static const uint8_t progress[16];
    uint8_t bin[4096];

    (void)state;
    for (int talks = 0; talks < 2; talks++) {
        begin();
        say_hello(yes_and_ready);
        while (side_step(&p.source, 1000)) {
            while (recv(peer, bin, sizeof(bin), MSG_DONTWAIT) > 0)
                continue;
            if (talks && p.source.devices[0].state == VFM_STATE_PRE_COPY)
                say_message(0x8001, progress, sizeof(progress));
        }
        finish();
        assert_int_equal(p.source.vm_stops, 0);
        ends(VFM_OUTCOME_FAILED, -ETIMEDOUT, "in stage setup");
    }
}

static void no_device_stops_before_the_target_is_ready(void **state)
{
    (void)state;
    begin();
    say_hello(yes_and_ready);
    while (p.source.devices[0].state != VFM_STATE_PRE_COPY)
        assert_true(side_step(&p.source, 1000));
    while (side_step(&p.source, 0))
        continue;
    assert_int_equal(vfm_migration_get_stage(p.source.m), VFM_STAGE_SETUP);
    assert_int_equal(p.source.vm_stops, 0);
    say_message(0x8009, "", 0);
    follow_until(VFM_STAGE_LOADED);
    assert_int_equal(vfm_migration_get_stage(p.source.m), VFM_STAGE_LOADED);
    hang_up();
    finish();
    ends(VFM_OUTCOME_FAILED, -ECONNRESET, "the target hung up");
}

static void ready_is_said_once(void **state)
{
    (void)state;
    begin();
    say_hello(yes_and_ready);
    say_message(0x8009, "", 0);
    say_message(0x8009, "", 0);
    finish();
    ends(VFM_OUTCOME_FAILED, -EPROTO, "target: says ready in stage setup");
}

static void a_message_that_is_too_long_is_refused(void **state)
{
    uint8_t payload[513] = { 0 };

    (void)state;
    begin();
    say_hello(yes);
    say_message(0x8001, payload, sizeof(payload));
    finish();
    ends(VFM_OUTCOME_FAILED, -EPROTO, "message 0x8001 of 513 bytes");
}

static void an_acknowledgement_too_many_is_refused(void **state)
{
    (void)state;
    begin();
    say_hello(yes);
    follow_until(VFM_STAGE_STOP);
    say_message(7, "", 0);
    finish();
    ends(VFM_OUTCOME_FAILED, -EPROTO, "once too often");
}

/* Goes on up to YOURS, and past it. */
static void take_yours(void)
{
    begin();
    say_hello(yes);
    follow_until(VFM_STAGE_LOADED);
    say_loaded();
    follow_until(VFM_STAGE_START);
}

static void progress_beyond_belief_is_no_harm(void **state)
{
    static const uint64_t numbers[][2] = {
        { UINT64_MAX, UINT64_MAX }, { 0, 0 },    { UINT64_MAX, 1 },
        { UINT64_MAX / 2, 1 },      { 1, 1 },    { UINT64_C(1) << 60, 0 },
        { UINT64_MAX, UINT64_MAX }, { 3, 1000 },
    };
    uint8_t payload[16];

    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        begin();
        say_hello(yes);
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            put_be64(payload, numbers[i][0]);
            put_be64(payload + 8, numbers[i][1]);
            say_message(0x8001, payload, whole ? 16 : 9);
        }
        follow_until(VFM_STAGE_LOADED);
        say_loaded();
        follow_until(VFM_STAGE_START);
        say_message(0x8004, "", 0);
        finish();
        assert_int_equal(p.source.ret, 0);
        assert_int_equal(p.source.outcome, VFM_OUTCOME_DONE);
        for (unsigned int s = 0; s < VFM_STAGE_DONE; s++)
            assert_true(p.source.progress.stage_ns[s] <=
                        p.source.progress.elapsed_ns);
        pair_close(&p);
    }
}

static void loaded_is_said_once(void **state)
{
    (void)state;
    begin();
    say_hello(yes);
    follow_until(VFM_STAGE_LOADED);
    say_loaded();
    say_loaded();
    finish();
    ends(VFM_OUTCOME_FAILED, -EPROTO, "says loaded");
}

static void a_target_that_loads_and_fails_is_given_nothing(void **state)
{
    (void)state;
    begin();
    say_hello(yes);
    follow_until(VFM_STAGE_LOADED);
    say_loaded();
    say_message(0x8006, "no", 2);
    finish();
    ends(VFM_OUTCOME_FAILED, -EREMOTEIO, "the target failed: no");
}

static void a_target_that_loads_and_hangs_up_is_given_nothing(void **state)
{
    (void)state;
    begin();
    say_hello(yes);
    follow_until(VFM_STAGE_LOADED);
    say_loaded();
    hang_up();
    finish();
    ends(VFM_OUTCOME_FAILED, -ECONNRESET, "the target hung up");
}

static void what_a_target_says_after_yours_does_not_give_back(void **state)
{
    static const struct {
        uint16_t type;
        const char *payload;
        int code;
        const char *why;
    } messages[] = {
        { 0x8006, "no", -EREMOTEIO, "the target failed: no" },
        { 0x8002, "12345678", -EPROTO, "says loaded" },
        { 0x8003, "\1", -EPROTO, "not for a source" },
        { 0xaaaa, "", -EPROTO, "not for a source" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        take_yours();
        say_message(messages[i].type, messages[i].payload,
                    strlen(messages[i].payload));
        finish();
        ends(VFM_OUTCOME_HANDED_OVER, messages[i].code, messages[i].why);
    }
}

static void only_returned_gives_back(void **state)
{
    (void)state;
    take_yours();
    say_message(0x8005, "no", 2);
    finish();
    ends(VFM_OUTCOME_FAILED, -EREMOTEIO,
         "the target gave the devices back: no; src0 is RUNNING");
}

static void a_target_that_hangs_up_after_yours_has_the_devices(void **state)
{
    (void)state;
    take_yours();
    hang_up();
    finish();
    ends(VFM_OUTCOME_HANDED_OVER, -ECONNRESET, "given away");
}

static void a_target_that_is_silent_after_yours_has_the_devices(void **state)
{
    (void)state;
    take_yours();
    finish();
    ends(VFM_OUTCOME_HANDED_OVER, -ETIMEDOUT, "given away");
}

/* It is over, but somebody has to know which side it went to. */
static void what_is_said_after_the_deadline_is_still_reported(void **state)
{
    (void)state;
    take_yours();
    while (p.source.m->unwind < UNWIND_LISTEN)
        assert_true(side_step(&p.source, 1000));
    say_message(0x8004, "", 0);
    finish();
    ends(VFM_OUTCOME_HANDED_OVER, -ETIMEDOUT, "says that it runs them");
}

/* Not even the user gets them back by a cancel. */
static void after_yours_it_is_too_late_to_cancel(void **state)
{
    (void)state;
    take_yours();
    vfm_migration_cancel(p.source.m);
    listen_until(VFM_STAGE_CLEANUP);
    finish();
    ends(VFM_OUTCOME_HANDED_OVER, -ETIMEDOUT, "given away");
}

static void what_is_returned_after_it_ran_is_not_taken_back(void **state)
{
    (void)state;
    take_yours();
    say_message(0x8004, "", 0);
    say_message(0x8005, "no", 2);
    finish();
    assert_int_equal(p.source.outcome, VFM_OUTCOME_DONE);
    assert_int_equal(p.source.devices[0].state, VFM_STATE_STOP);
    pair_close(&p);
}

static size_t takes; /* bytes that the channel takes before it breaks */

static ssize_t send_some(struct vfm_channel *ch, const struct iovec *iov, int n)
{
    size_t len = takes;

    (void)ch;
    (void)n;
    if (takes == 0)
        return -EPIPE;
    if (len > iov[0].iov_len)
        len = iov[0].iov_len;
    takes -= len;
    return (ssize_t)len;
}

/* Nobody knows what became of them: one byte may be all that was missing. */
static void the_first_byte_of_yours_gives_the_devices_away(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 5; n++) {
        struct channel_ops ops;

        begin();
        say_hello(yes);
        follow_until(VFM_STAGE_LOADED);
        ops = *p.source.ch->ops;
        ops.send = send_some;
        p.source.ch->ops = &ops;
        takes = n;
        say_loaded();
        listen_until(VFM_STAGE_CLEANUP);
        hang_up();
        finish();
        if (n == 0)
            ends(VFM_OUTCOME_FAILED, -EPIPE, "src0 is RUNNING");
        else
            ends(VFM_OUTCOME_HANDED_OVER, n < 5 ? -EPIPE : -ETIMEDOUT,
                 "given away");
    }
}

static ssize_t break_with_a_reason(struct vfm_channel *ch,
                                   const struct iovec *iov, int n)
{
    (void)ch;
    (void)iov;
    (void)n;
    say_message(0x8006, "no room", 7);
    return -EPIPE;
}

/* What it said is a better reason than that the channel broke. */
static void the_last_words_of_a_target_are_heard(void **state)
{
    struct channel_ops ops;

    (void)state;
    begin();
    say_hello(yes);
    follow_until(VFM_STAGE_PRE_COPY);
    ops = *p.source.ch->ops;
    ops.send = break_with_a_reason;
    p.source.ch->ops = &ops;
    finish();
    ends(VFM_OUTCOME_FAILED, -EREMOTEIO, "the target failed: no room");
}

static void a_source_that_is_closed_under_way_is_as_it_was(void **state)
{
    (void)state;
    begin();
    say_hello(yes);
    follow_until(VFM_STAGE_LOADED);
    vfm_migration_close(p.source.m);
    p.source.m = NULL;
    hang_up();
    assert_true(fake_runs(&p.source.devices[0], FAKE_ORIGINAL));
    assert_true(p.source.vm_runs);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_that_is_no_hello_is_refused),
        cmocka_unit_test(bytes_that_are_no_hello_are_refused),
        cmocka_unit_test(what_is_said_too_early_is_refused),
        cmocka_unit_test(a_target_that_is_never_ready_costs_nothing),
        cmocka_unit_test(no_device_stops_before_the_target_is_ready),
        cmocka_unit_test(ready_is_said_once),
        cmocka_unit_test(a_message_that_is_too_long_is_refused),
        cmocka_unit_test(an_acknowledgement_too_many_is_refused),
        cmocka_unit_test(progress_beyond_belief_is_no_harm),
        cmocka_unit_test(loaded_is_said_once),
        cmocka_unit_test(a_target_that_loads_and_fails_is_given_nothing),
        cmocka_unit_test(a_target_that_loads_and_hangs_up_is_given_nothing),
        cmocka_unit_test(what_a_target_says_after_yours_does_not_give_back),
        cmocka_unit_test(only_returned_gives_back),
        cmocka_unit_test(a_target_that_hangs_up_after_yours_has_the_devices),
        cmocka_unit_test(a_target_that_is_silent_after_yours_has_the_devices),
        cmocka_unit_test(what_is_said_after_the_deadline_is_still_reported),
        cmocka_unit_test(after_yours_it_is_too_late_to_cancel),
        cmocka_unit_test(what_is_returned_after_it_ran_is_not_taken_back),
        cmocka_unit_test(the_first_byte_of_yours_gives_the_devices_away),
        cmocka_unit_test(the_last_words_of_a_target_are_heard),
        cmocka_unit_test(a_source_that_is_closed_under_way_is_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
