/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must be true after any migration, whatever was done to it: at most one
 * owner, none only if somebody says so, and every side knows why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model.h"
#include "pair.h"

/* One of these must be in a sentence, so that one knows whom it is about. */
static const char *const whom[] = {
    "src",    "dst",    "dev0",    "dev1",      "dev2",      "to-target",
    "source", "target", "machine", "to-source", "migration",
};

static void check_sentence(const struct pair_side *side)
{
    const char *text = side->err.message;

    if (side->ret == 0) {
        assert_int_equal(side->outcome, VFM_OUTCOME_DONE);
        return;
    }
    assert_int_equal(side->err.code, side->ret);
    assert_true(strlen(text) > 8);
    for (const char *c = text; *c != '\0'; c++)
        assert_true((unsigned char)*c >= ' ' && *c != 0x7f);
    for (size_t i = 0; i < sizeof(whom) / sizeof(whom[0]); i++)
        if (strstr(text, whom[i]) != NULL)
            return;
    fail_msg("whom is it about: %s", text);
}

static bool says(const struct pair_side *side, const char *what)
{
    return strstr(side->err.message, what) != NULL;
}

static void check_source_device(const struct pair_side *side,
                                const struct fake_device *f)
{
    switch (side->outcome) {
    case VFM_OUTCOME_DONE:
        if (side->options.keep_running)
            assert_int_equal(f->state, side->initial);
        else
            assert_true(f->state == VFM_STATE_STOP ||
                        f->state == VFM_STATE_STOP_COPY);
        break;
    case VFM_OUTCOME_FAILED:
        assert_int_equal(f->state, side->initial);
        assert_int_equal(f->content, FAKE_ORIGINAL);
        break;
    case VFM_OUTCOME_HANDED_OVER:
        assert_true(f->state == VFM_STATE_STOP ||
                    f->state == VFM_STATE_STOP_COPY);
        assert_int_equal(f->content, FAKE_ORIGINAL);
        break;
    case VFM_OUTCOME_LOST:
        break;
    case VFM_OUTCOME_PENDING:
    default:
        fail_msg("the source has no outcome");
    }
}

static void check_source(const struct pair_side *side)
{
    bool lost = false;

    for (unsigned int i = 0; i < side->pair->setup.num_devices; i++) {
        const struct fake_device *f = &side->devices[i];

        check_source_device(side, f);
        lost = lost || f->content != FAKE_ORIGINAL || f->state != side->initial;
    }
    if (side->outcome == VFM_OUTCOME_LOST) {
        assert_true(lost);
        if (!says(side, "was reset") && !says(side, "could not be"))
            fail_msg("the loss is not told: %s", side->err.message);
    }
    if (side->outcome == VFM_OUTCOME_HANDED_OVER)
        assert_true(says(side, "given away"));
}

static void check_target_device(const struct pair_side *side,
                                const struct fake_device *f)
{
    switch (side->outcome) {
    case VFM_OUTCOME_DONE:
        assert_int_equal(f->content, FAKE_LOADED);
        assert_int_equal(f->state,
                         side->vm_to_run ? VFM_STATE_RUNNING : VFM_STATE_STOP);
        break;
    case VFM_OUTCOME_FAILED:
        assert_int_not_equal(f->content, FAKE_LOADED);
        if (f->resets == 0)
            assert_int_equal(f->num_went, 0);
        if (!f->reset_keeps_state)
            assert_int_equal(f->state, side->initial);
        break;
    case VFM_OUTCOME_LOST:
        break;
    case VFM_OUTCOME_HANDED_OVER:
    case VFM_OUTCOME_PENDING:
    default:
        fail_msg("the target has no outcome");
    }
}

static bool any_runs(const struct pair_side *side, enum fake_content content)
{
    for (unsigned int i = 0; i < side->pair->setup.num_devices; i++)
        if (fake_runs(&side->devices[i], content))
            return true;
    return false;
}

static void check_owners(const struct pair *p)
{
    enum vfm_outcome source = p->source.outcome;
    enum vfm_outcome target = p->target.outcome;

    for (unsigned int i = 0; i < p->setup.num_devices; i++) {
        assert_false(p->source.devices[i].two_owners);
        assert_false(p->target.devices[i].two_owners);
    }
    if (p->source.options.peer != VFM_PEER_VFMIG)
        return;
    assert_false(any_runs(&p->source, FAKE_ORIGINAL) &&
                 any_runs(&p->target, FAKE_LOADED));
    if (source == VFM_OUTCOME_DONE)
        assert_int_equal(target, VFM_OUTCOME_DONE);
    if (target == VFM_OUTCOME_DONE)
        assert_true(source == VFM_OUTCOME_DONE ||
                    source == VFM_OUTCOME_HANDED_OVER);
    if (any_runs(&p->target, FAKE_LOADED) && target != VFM_OUTCOME_DONE)
        assert_int_equal(source, VFM_OUTCOME_HANDED_OVER);
}

/* A VM runs where its devices do. */
static void check_vms(const struct pair *p)
{
    const struct pair_side *s = &p->source;
    const struct pair_side *t = &p->target;
    bool ran = !p->setup.paused;

    assert_false(p->vm_order_broken);
    assert_false(p->two_vms);
    if (s->outcome == VFM_OUTCOME_FAILED && s->start_error == 0)
        assert_int_equal(s->vm_runs, ran);
    if (s->outcome == VFM_OUTCOME_HANDED_OVER)
        assert_false(s->vm_runs);
    if (s->outcome == VFM_OUTCOME_DONE)
        assert_int_equal(s->vm_runs, ran && s->options.keep_running);
    if (t->outcome == VFM_OUTCOME_DONE)
        assert_int_equal(t->vm_runs, t->vm_to_run);
    else
        assert_false(t->vm_runs);
}

void pair_check(struct pair *p)
{
    check_sentence(&p->source);
    check_sentence(&p->target);
    check_owners(p);
    check_source(&p->source);
    for (unsigned int i = 0; i < p->setup.num_devices; i++)
        check_target_device(&p->target, &p->target.devices[i]);
    check_vms(p);
}
