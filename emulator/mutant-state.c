/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mutants: changes of state, stopping and running, reset.
 */
#include <errno.h>

#include "emulator/migration.h"
#include "emulator/mutant-hooks.h"
#include "emulator/state.h"
#include "protocol/vfio-uapi.h"
#include "util/clock.h"

/* How long a mutant runs, or does DMA, where it should not. */
#define FOR_SOME_MS  (20 * NS_PER_MS)
/* Sessions until there are no more. */
#define SESSIONS_MAX 100

static bool is_pre_copy(uint32_t state)
{
    return state_saves(state) && state_runs(state);
}

static bool is_p2p(uint32_t state)
{
    return state == UAPI_STATE_RUNNING_P2P || state == UAPI_STATE_PRE_COPY_P2P;
}

/* Arcs that the bug refuses. */
static bool is_refused(const struct device *d, uint32_t to)
{
    static const struct {
        enum mutant mutant;
        uint8_t from;
        uint8_t to;
    } arcs[] = {
        { MUTANT_RESUMING_TO_STOP_COPY_REFUSED, UAPI_STATE_RESUMING,
          UAPI_STATE_STOP_COPY },
        { MUTANT_PRE_COPY_TO_STOP_REFUSED, UAPI_STATE_PRE_COPY,
          UAPI_STATE_STOP },
        { MUTANT_STOP_TO_RUNNING_P2P_REFUSED, UAPI_STATE_STOP,
          UAPI_STATE_RUNNING_P2P },
        { MUTANT_PRE_COPY_P2P_TO_PRE_COPY_REFUSED, UAPI_STATE_PRE_COPY_P2P,
          UAPI_STATE_PRE_COPY },
        { MUTANT_RUNNING_TO_RESUMING_REFUSED, UAPI_STATE_RUNNING,
          UAPI_STATE_RESUMING },
    };

    for (size_t i = 0; i < sizeof(arcs) / sizeof(arcs[0]); i++)
        if (mutant_is(d, arcs[i].mutant) && arcs[i].from == d->state &&
            arcs[i].to == to)
            return true;
    return false;
}

/* The state that it is in is asked for. */
static bool sets_same_state(struct device *d, int *ret)
{
    *ret = 0;
    switch (d->options->mutant) {
    case MUTANT_SAME_STATE_REFUSED:
        *ret = -EINVAL;
        return true;
    case MUTANT_SAME_STATE_OPENS_SESSION:
        if (state_saves(d->state))
            migration_begin_saving(d);
        return true;
    case MUTANT_SAME_STATE_DROPS_LOAD:
        if (d->state == UAPI_STATE_RESUMING)
            migration_begin_loading(d);
        return true;
    default:
        return false;
    }
}

static bool sets_unknown_state(struct device *d, int *ret)
{
    if (mutant_is(d, MUTANT_UNKNOWN_STATE_ACCEPTED)) {
        *ret = 0;
        return true;
    }
    if (!mutant_is(d, MUTANT_UNKNOWN_STATE_MOVES))
        return false;
    (void)device_set_state(d, UAPI_STATE_STOP);
    *ret = -EINVAL;
    return true;
}

/* STOP_COPY to PRE_COPY, which there is no way for. */
static bool sets_pre_copy_again(struct device *d, uint32_t want, int *ret)
{
    if (mutant_is(d, MUTANT_STOP_COPY_TO_PRE_COPY)) {
        *ret = migration_step(d, want);
        return true;
    }
    if (!mutant_is(d, MUTANT_REFUSED_ARC_MOVES))
        return false;
    (void)migration_step(d, UAPI_STATE_STOP);
    *ret = -EINVAL;
    return true;
}

/* RESUMING to STOP_COPY by RUNNING, where the device has no business. */
static int run_on_the_way(struct device *d)
{
    int ret = migration_step(d, UAPI_STATE_STOP);

    if (ret == 0)
        d->registers.run_ns += (uint64_t)FOR_SOME_MS;
    return ret == 0 ? migration_step(d, UAPI_STATE_STOP_COPY) : ret;
}

bool mutant_sets_state(struct device *d, uint32_t want, int *ret)
{
    if (d->options->mutant == MUTANT_NONE)
        return false;
    *ret = -EINVAL;
    if (is_refused(d, want))
        return true;
    if (want == d->state)
        return sets_same_state(d, ret);
    if (want >= UAPI_NUM_STATES)
        return sets_unknown_state(d, ret);
    if (d->state == UAPI_STATE_STOP_COPY && is_pre_copy(want))
        return sets_pre_copy_again(d, want, ret);
    *ret = 0;
    if (mutant_is(d, MUTANT_P2P_NOT_ENTERED))
        return d->state == UAPI_STATE_RUNNING && want == UAPI_STATE_RUNNING_P2P;
    if ((mutant_is(d, MUTANT_SET_ERROR_ACCEPTED) && want == UAPI_STATE_ERROR) ||
        (mutant_is(d, MUTANT_ERROR_LEFT_BY_SET) &&
         d->state == UAPI_STATE_ERROR)) {
        migration_leave_in(d, want);
        return true;
    }
    if (!mutant_is(d, MUTANT_RESUMING_TO_STOP_COPY_RUNS) ||
        d->state != UAPI_STATE_RESUMING || want != UAPI_STATE_STOP_COPY)
        return false;
    *ret = run_on_the_way(d);
    return true;
}

void mutant_stepped(struct device *d, uint32_t from)
{
    switch (d->options->mutant) {
    case MUTANT_PRE_COPY_STARTS_OVER:
        if (is_pre_copy(from) && d->state == UAPI_STATE_STOP_COPY)
            migration_begin_saving(d);
        break;
    case MUTANT_PRE_COPY_P2P_STARTS_OVER:
        if (from == UAPI_STATE_PRE_COPY && d->state == UAPI_STATE_PRE_COPY_P2P)
            migration_begin_saving(d);
        break;
    case MUTANT_SAVE_HARMS_REGISTER:
        if (from == UAPI_STATE_STOP_COPY)
            d->registers.scratch[EDEV_NUM_SCRATCH - 1] = 0;
        break;
    case MUTANT_LOG_SLEEPS_IN_PRE_COPY:
        d->dma.log_sleeps = d->state == UAPI_STATE_PRE_COPY;
        break;
    case MUTANT_IRQ_AGAIN_AFTER_LOAD:
        if (d->spoiled != 0 && state_runs(d->state)) {
            device_raise(d, d->registers.irq_cause);
            d->spoiled = 0;
        }
        break;
    default:
        break;
    }
}

static void begin_dma_anew(struct device *d)
{
    if (d->registers.dma_status == EDEV_DMA_BUSY)
        d->registers.dma_done_bytes = d->registers.dma_sequence = 0;
}

void mutant_starts(struct device *d)
{
    if (mutant_is(d, MUTANT_COUNTER_RUNS_IN_STOP))
        d->registers.run_ns = device_run_ns(d);
    if (mutant_is(d, MUTANT_DMA_ANEW_AFTER_STOP))
        begin_dma_anew(d);
}

void mutant_stopped(struct device *d)
{
    switch (d->options->mutant) {
    case MUTANT_COUNTER_RUNS_IN_STOP:
        d->running_since = clock_now();
        break;
    case MUTANT_COUNTER_LOST_AT_STOP:
        d->registers.run_ns = 0;
        break;
    case MUTANT_DMA_LATE:
        d->engine.late_until = clock_now() + FOR_SOME_MS;
        break;
    case MUTANT_LOG_LOST_AT_STOP:
        log_forget(&d->dma);
        break;
    case MUTANT_IRQ_CAUSE_LOST_AT_STOP:
        d->registers.irq_cause = 0;
        break;
    case MUTANT_IRQ_CUT_OFF_BY_STOP:
        irqs_drop(&d->irqs);
        break;
    default:
        break;
    }
}

uint32_t mutant_told_state(struct device *d)
{
    uint64_t steps = d->history.count;

    if (mutant_is(d, MUTANT_GET_STATE_HIDES_P2P) && is_p2p(d->state))
        return state_saves(d->state) ? UAPI_STATE_PRE_COPY : UAPI_STATE_RUNNING;
    if (!mutant_is(d, MUTANT_GET_STATE_LATE) || d->spoiled == steps)
        return d->state;
    d->spoiled = steps;
    return d->history.steps[(steps - 1) % HISTORY_MAX].from;
}

bool mutant_stays_unreset(const struct device *d)
{
    return (mutant_is(d, MUTANT_ERROR_SURVIVES_RESET) &&
            d->state == UAPI_STATE_ERROR) ||
           (mutant_is(d, MUTANT_RESET_KEEPS_STOP_COPY) &&
            d->state == UAPI_STATE_STOP_COPY) ||
           (mutant_is(d, MUTANT_RESET_KEEPS_RESUMING) &&
            d->state == UAPI_STATE_RESUMING);
}

/* What a DMA operation under way is made of. */
static void keep_dma(struct stream_registers *r,
                     const struct stream_registers *before)
{
    r->dma_status = before->dma_status;
    r->dma_done_bytes = before->dma_done_bytes;
    r->dma_sequence = before->dma_sequence;
    r->dma_rate = before->dma_rate;
    r->run_src = before->run_src;
    r->run_dst = before->run_dst;
    r->run_length = before->run_length;
    r->run_seed = before->run_seed;
    r->run_op = before->run_op;
}

void mutant_was_reset(struct device *d, const struct stream_registers *before)
{
    struct stream_registers *r = &d->registers;

    switch (d->options->mutant) {
    case MUTANT_RESET_GOES_STOP:
        d->state = UAPI_STATE_STOP;
        d->running_since = 0;
        break;
    case MUTANT_RESET_KEEPS_SCRATCH:
        for (unsigned i = 0; i < EDEV_NUM_SCRATCH; i++)
            r->scratch[i] = before->scratch[i];
        break;
    case MUTANT_RESET_KEEPS_CAUSE:
        r->irq_cause = before->irq_cause;
        break;
    case MUTANT_RESET_KEEPS_DMA:
        keep_dma(r, before);
        break;
    case MUTANT_GET_STATE_LATE:
        d->spoiled = d->history.count;
        break;
    default:
        break;
    }
}

bool mutant_is_out_of_sessions(struct device *d, uint32_t to)
{
    bool opens = (state_saves(to) && !state_saves(d->state)) ||
                 to == UAPI_STATE_RESUMING;

    return mutant_is(d, MUTANT_LEAK_SESSIONS) && opens &&
           d->spoiled++ >= SESSIONS_MAX;
}
