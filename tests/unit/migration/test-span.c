/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was done when: what travels is what was kept, what cannot be is not
 * taken, and whose clock is ahead comes out right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "migration/migration.h"
#include "pair.h"
#include "util/bytes.h"
#include "util/clock.h"

#define HOUR_NS (3600 * NS_PER_SEC)

static const struct span arc = {
    .kind = VFM_SPAN_ARC,
    .stage = VFM_STAGE_CHECK,
    .cause = VFM_CAUSE_DEVICE,
    .device = 1,
    .from = VFM_STATE_RESUMING,
    .to = VFM_STATE_STOP,
    .began_at = 5000,
    .ended_at = 7000,
    .bytes = 42,
    .channel = 3,
    .blocked_ns = UINT64_C(1) << 40,
};

static void a_span_arrives_as_it_left_on_our_clock(void **state)
{
    uint8_t bytes[SPAN_BYTES];
    struct span got;

    (void)state;
    span_put(&arc, 2, bytes);
    assert_true(span_get(&got, bytes, 3, 1000));
    assert_true(got.there);
    assert_int_equal(got.kind, arc.kind);
    assert_int_equal(got.stage, arc.stage);
    assert_int_equal(got.cause, arc.cause);
    assert_int_equal(got.device, 2);
    assert_int_equal(got.from, arc.from);
    assert_int_equal(got.to, arc.to);
    assert_int_equal(got.began_at, 4000);
    assert_int_equal(got.ended_at, 6000);
    assert_int_equal(got.bytes, 42);
    assert_int_equal(got.channel, 3);
    assert_int_equal(got.blocked_ns, arc.blocked_ns);
}

static void a_span_may_be_of_no_device(void **state)
{
    uint8_t bytes[SPAN_BYTES];
    struct span got;

    (void)state;
    span_put(&arc, SPAN_NO_ONE, bytes);
    assert_true(span_get(&got, bytes, 0, 0));
    assert_int_equal(got.device, SPAN_NO_ONE);
}

static void what_cannot_be_is_not_taken(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } lies[] = {
        { 0, 5 },              /* kind */
        { 1, VFM_STAGE_DONE }, /* stage */
        { 2, 200 },            /* cause */
        { 3, 3 },              /* device */
        { 4, 8 },              /* from */
        { 5, 8 },              /* to */
        { 6, VFM_CHANNELS_MAX },
        { 8, 0x80 },   /* began before the clock did */
        { 8, 0x7f },   /* and in a few hundred years */
        { 16, 0x80 },  /* ended */
        { 16 + 6, 0 }, /* before it began */
    };
    uint8_t bytes[SPAN_BYTES];
    struct span got;

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        span_put(&arc, 2, bytes);
        assert_true(span_get(&got, bytes, 3, 0));
        bytes[lies[i].at] = lies[i].value;
        if (span_get(&got, bytes, 3, 0))
            fail_msg("byte %zu: %u is taken", lies[i].at, lies[i].value);
    }
}

static void a_list_that_is_full_takes_no_more(void **state)
{
    struct spans *spans = calloc(1, sizeof(*spans));

    (void)state;
    assert_non_null(spans);
    for (unsigned int i = 0; i < SPANS_MAX; i++)
        assert_non_null(spans_add(spans, &arc));
    assert_null(spans_add(spans, &arc));
    assert_int_equal(spans->count, SPANS_MAX);
    free(spans);
}

/* The other side's clock is an hour ahead, or behind; the way there takes 30,
 * and the way back 10. */
static void the_error_is_half_of_what_both_ways_take(void **state)
{
    static const int64_t ahead[] = { HOUR_NS, -HOUR_NS };
    const int64_t began = 2 * HOUR_NS;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct offset offset = { 0 };
        int64_t wrong;

        offset_take(&offset, began, began + 30 + ahead[i],
                    began + 530 + ahead[i], began + 540);
        assert_true(offset.known);
        wrong = offset.ns - ahead[i];
        assert_int_equal(offset.error_ns, 21);
        assert_true(wrong >= -21 && wrong <= 21);
    }
}

static void times_that_cannot_be_change_nothing(void **state)
{
    static const int64_t times[][4] = {
        { 100, 200, 300, 90 },        /* answered before it was asked */
        { 100, 300, 200, 400 },       /* answered before it was heard */
        { 100, 200, 800, 400 },       /* it took longer than we waited */
        { 100, -1, 200, 400 },        /* before time */
        { 100, 200, INT64_MAX, 400 }, /* and after it */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct offset offset = { .known = true, .ns = 7, .error_ns = 8 };

        offset_take(&offset, times[i][0], times[i][1], times[i][2],
                    times[i][3]);
        assert_int_equal(offset.ns, 7);
        assert_int_equal(offset.error_ns, 8);
    }
}

static void every_kind_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(vfm_span_kind_name(VFM_SPAN_STAGE), "stage");
    assert_string_equal(vfm_span_kind_name(VFM_SPAN_ARC), "arc");
    assert_string_equal(vfm_span_kind_name(VFM_SPAN_DATA), "data");
    assert_string_equal(vfm_span_kind_name(VFM_SPAN_WAIT), "wait");
    assert_string_equal(vfm_span_kind_name(VFM_SPAN_CHANNEL), "channel");
    assert_string_equal(vfm_span_kind_name((enum vfm_span_kind)99), "?");
}

static struct pair p;

static bool find(const struct vfm_migration *m, enum vfm_span_kind kind,
                 bool there, enum vfm_stage stage, struct vfm_span *found)
{
    *found = (struct vfm_span){ .size = sizeof(*found) };
    for (unsigned int i = 0; vfm_migration_get_span(m, i, found) == 0; i++)
        if (found->kind == kind && found->there == there &&
            found->stage == stage)
            return true;
    return false;
}

/* The clocks of both are one here. */
static void check_clock(const struct vfm_migration *m)
{
    struct vfm_clock clock = { .size = sizeof(clock) };

    assert_int_equal(vfm_migration_get_clock(m, &clock), 0);
    assert_true(clock.known);
    assert_true(llabs(clock.offset_ns) <= (int64_t)clock.error_ns);
}

static void check_side(const struct vfm_migration *m, bool there)
{
    struct vfm_span span;

    assert_true(find(m, VFM_SPAN_STAGE, there, VFM_STAGE_COMPLETE, &span));
    assert_true(span.ended_ns > span.began_ns && span.bytes > 0);
    assert_null(span.device);
    assert_true(find(m, VFM_SPAN_DATA, there, VFM_STAGE_COMPLETE, &span));
    assert_true(span.ended_ns >= span.began_ns);
    assert_true(span.bytes > 0 && span.bytes <= 100001);
    assert_true(strncmp(span.device, "dev", 3) == 0);
}

static uint64_t sum(const uint64_t ns[VFM_CAUSES_MAX])
{
    uint64_t all = 0;

    for (int i = 0; i < VFM_CAUSES_MAX; i++)
        all += ns[i];
    return all;
}

static unsigned int sources_over;

static void knows_both(struct pair_side *side)
{
    struct vfm_span span;

    if (!side->is_source)
        return;
    sources_over++;
    check_clock(side->m);
    check_side(side->m, false);
    check_side(side->m, true);
    assert_true(find(side->m, VFM_SPAN_ARC, true, VFM_STAGE_CHECK, &span));
    assert_int_equal(span.from, VFM_STATE_RESUMING);
    assert_int_equal(span.to, VFM_STATE_STOP);
    assert_int_equal(sum(side->spent.there_ns),
                     side->spent.downtime_ns[VFM_CAUSE_PEER]);
}

static void begin(void (*over)(struct pair_side *side))
{
    pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                        .num_devices = 2,
                                        .size = 100000,
                                        .config_size = 256 });
    p.over = over;
    sources_over = 0;
}

static void a_source_knows_what_both_sides_did(void **state)
{
    (void)state;
    begin(knows_both);
    pair_succeeds(&p);
    assert_int_equal(sources_over, 1);
    pair_close(&p);
}

static void knows_itself(struct pair_side *side)
{
    struct vfm_clock clock = { .size = sizeof(clock) };
    struct vfm_span span;

    if (!side->is_source)
        return;
    sources_over++;
    vfm_migration_get_clock(side->m, &clock);
    assert_false(clock.known);
    check_side(side->m, false);
    assert_false(find(side->m, VFM_SPAN_STAGE, true, VFM_STAGE_START, &span));
    assert_int_equal(sum(side->spent.there_ns), 0);
}

/* Neither asks or answers with what the other does not know. */
static void an_older_peer_is_not_told_and_tells_nothing(void **state)
{
    (void)state;
    for (int old = 0; old < 2; old++) {
        begin(knows_itself);
        pair_use_relay(&p, SIZE_MAX, SIZE_MAX);
        p.relay.ages[old] = true;
        pair_succeeds(&p);
        assert_int_equal(sources_over, 1);
        pair_close(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_arrives_as_it_left_on_our_clock),
        cmocka_unit_test(a_span_may_be_of_no_device),
        cmocka_unit_test(what_cannot_be_is_not_taken),
        cmocka_unit_test(a_list_that_is_full_takes_no_more),
        cmocka_unit_test(the_error_is_half_of_what_both_ways_take),
        cmocka_unit_test(times_that_cannot_be_change_nothing),
        cmocka_unit_test(every_kind_has_a_name),
        cmocka_unit_test(a_source_knows_what_both_sides_did),
        cmocka_unit_test(an_older_peer_is_not_told_and_tells_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
