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

#include "check/model.h"
#include "pair.h"

/* One of these must be in a sentence, so that one knows whom it is about. */
static const char *const whom[] = {
    "src",       "dst",     "dev0",   "dev1",    "dev2",
    "to-target", "source",  "target", "machine", "to-source",
    "migration", "channel", "ram",    "cpu",     "VM is paused",
};

static const char *outcome_name(enum vfm_outcome outcome)
{
    static const char *const names[] = { "pending", "done", "failed", "lost",
                                         "handed over" };

    return (unsigned int)outcome < sizeof(names) / sizeof(names[0])
               ? names[outcome]
               : "?";
}

static void expect(const struct pair *p, bool is_true, const char *what)
{
    if (is_true)
        return;
    fail_msg("%s: not true: %s\nsource: %s: %s\ntarget: %s: %s", p->title, what,
             outcome_name(p->source.outcome), p->source.err.message,
             outcome_name(p->target.outcome), p->target.err.message);
}

static void check_sentence(const struct pair_side *side)
{
    const char *text = side->err.message;

    if (side->ret == 0) {
        expect(side->pair, side->outcome == VFM_OUTCOME_DONE,
               "a success is done");
        return;
    }
    expect(side->pair, side->err.code == side->ret,
           "the error's code is what was returned");
    expect(side->pair, strlen(text) > 8, "there is a sentence");
    for (const char *c = text; *c != '\0'; c++)
        expect(side->pair, (unsigned char)*c >= ' ' && *c != 0x7f,
               "a sentence is one line");
    for (size_t i = 0; i < sizeof(whom) / sizeof(whom[0]); i++)
        if (strstr(text, whom[i]) != NULL)
            return;
    expect(side->pair, false, "a sentence says whom it is about");
}

static bool says(const struct pair_side *side, const char *what)
{
    return strstr(side->err.message, what) != NULL;
}

static void check_source_device(const struct pair_side *side,
                                const struct fake_device *f)
{
    const struct pair *p = side->pair;
    bool stopped =
        f->state == VFM_STATE_STOP || f->state == VFM_STATE_STOP_COPY;

    switch (side->outcome) {
    case VFM_OUTCOME_DONE:
        if (side->options.keep_running)
            expect(p, f->state == side->initial, "the source goes on");
        else
            expect(p,
                   stopped ||
                       (f->state == VFM_STATE_ERROR && side->warnings > 0),
                   "what was given away is stopped");
        break;
    case VFM_OUTCOME_FAILED:
        expect(p, f->state == side->initial && f->content == FAKE_ORIGINAL,
               "after a failure the source is as it was");
        break;
    case VFM_OUTCOME_HANDED_OVER:
        expect(p, stopped && f->content == FAKE_ORIGINAL,
               "what was handed over is stopped and kept");
        break;
    case VFM_OUTCOME_LOST:
        break;
    case VFM_OUTCOME_PENDING:
    default:
        expect(p, false, "a source has an outcome");
    }
}

static void check_source(const struct pair_side *side)
{
    bool lost = false;

    for (unsigned int i = 0; i < side->pair->setup.num_devices; i++) {
        const struct fake_device *f = &side->devices[i];

        check_source_device(side, f);
        lost = lost || f->dead || f->content != FAKE_ORIGINAL ||
               f->state != side->initial;
    }
    if (side->outcome == VFM_OUTCOME_LOST)
        expect(side->pair,
               lost && (says(side, "was reset") || says(side, "could not be")),
               "a loss is one, and is told");
    if (side->outcome == VFM_OUTCOME_HANDED_OVER)
        expect(side->pair, says(side, "given away"), "giving away is told");
}

static void check_target_device(const struct pair_side *side,
                                const struct fake_device *f)
{
    const struct pair *p = side->pair;
    enum vfm_state end = side->vm_to_run ? VFM_STATE_RUNNING : VFM_STATE_STOP;

    switch (side->outcome) {
    case VFM_OUTCOME_DONE:
        expect(p, f->content == FAKE_LOADED && f->state == end,
               "the target is as the source was");
        break;
    case VFM_OUTCOME_FAILED:
        expect(p, f->resets > 0 || f->num_went == 0,
               "a target that failed resets what it touched");
        if (!f->reset_keeps_state)
            expect(p, f->content != FAKE_LOADED && f->state == side->initial,
                   "a target that failed is as it was");
        break;
    case VFM_OUTCOME_LOST:
        expect(p, says(side, "could not be"), "a loss is told");
        break;
    case VFM_OUTCOME_HANDED_OVER:
    case VFM_OUTCOME_PENDING:
    default:
        expect(p, false, "a target has an outcome");
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
    bool both = any_runs(&p->source, FAKE_ORIGINAL) &&
                any_runs(&p->target, FAKE_LOADED);

    for (unsigned int i = 0; i < p->setup.num_devices; i++)
        both = both || p->source.devices[i].two_owners;
    if (p->source.options.peer != VFM_PEER_VFMIG)
        return;
    expect(p, !both, "there are never two owners");
    if (source == VFM_OUTCOME_DONE)
        expect(p, target == VFM_OUTCOME_DONE, "somebody has the devices");
    if (target == VFM_OUTCOME_DONE)
        expect(p,
               source == VFM_OUTCOME_DONE || source == VFM_OUTCOME_HANDED_OVER,
               "the source knows that it is not the owner");
    else if (any_runs(&p->target, FAKE_LOADED))
        expect(p, source == VFM_OUTCOME_HANDED_OVER,
               "the source does not know, and says so");
}

/* A VM runs where its devices do. */
static void check_vms(const struct pair *p)
{
    const struct pair_side *s = &p->source;
    const struct pair_side *t = &p->target;
    bool ran = !p->setup.paused;

    expect(p, !p->vm_order_broken, "VMs run on devices that run");
    expect(p, !p->two_vms, "only one VM runs");
    if (s->outcome == VFM_OUTCOME_FAILED && s->start_error == 0)
        expect(p, s->vm_runs == ran, "the source's VM goes on");
    if (s->outcome == VFM_OUTCOME_HANDED_OVER)
        expect(p, !s->vm_runs, "the VM of what was handed over is stopped");
    if (s->outcome == VFM_OUTCOME_DONE)
        expect(p, s->vm_runs == (ran && s->options.keep_running),
               "the source's VM is stopped");
    expect(p, t->vm_runs == (t->outcome == VFM_OUTCOME_DONE && t->vm_to_run),
           "the target's VM runs if it has the devices");
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
