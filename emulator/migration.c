/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Migration: what happens on each step between states, and the bytes of the
 * sessions.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emulator/migration.h"
#include "emulator/mutant-hooks.h"
#include "emulator/state.h"
#include "protocol/vfio-uapi.h"
#include "util/clock.h"
#include "util/error.h"

static bool wants_digest(const struct device *d)
{
    return d->options->digest || d->options->accept_any;
}

static void finish_digest(struct device *d, char text[65])
{
    uint8_t raw[SHA256_DIGEST_SIZE];
    struct sha256_ctx so_far = d->digest;

    text[0] = '\0';
    if (!wants_digest(d))
        return;
    sha256_digest(&so_far, sizeof(raw), raw);
    for (size_t i = 0; i < sizeof(raw); i++)
        snprintf(text + 2 * i, 3, "%02x", raw[i]);
}

void device_update_digests(struct device *d)
{
    if (d->saver.active)
        finish_digest(d, d->stats.saved_sha256);
    if (d->loader.active)
        finish_digest(d, d->stats.loaded_sha256);
}

static struct stream_header describe(const struct device *d)
{
    return (struct stream_header){
        .version = STREAM_VERSION,
        .page_size = EDEV_PAGE_SIZE,
        .size = d->memory.size,
        .hot_size = d->memory.hot_size,
        .seed = d->memory.seed,
        .vectors = d->options->vectors,
        .pci_vendor = d->options->pci_vendor,
        .pci_device = d->options->pci_device,
    };
}

void migration_open_saver(struct device *d)
{
    struct stream_header header = describe(d);

    saver_begin(&d->saver, &header, d->options->initial_size,
                device_has(d, FEATURE_REINIT) ? d->options->reinit_after : 0);
}

void migration_begin_saving(struct device *d)
{
    device_advance(d);
    if (!mutant_begins_saving(d))
        migration_open_saver(d);
    sha256_init(&d->digest);
    d->stats.bytes_saved = 0;
}

static void end_saving(struct device *d)
{
    finish_digest(d, d->stats.saved_sha256);
    if (!mutant_keeps_session(d, d->state))
        saver_end(&d->saver);
}

void migration_open_loader(struct device *d)
{
    struct stream_header header = describe(d);

    loader_begin(&d->loader, &header);
}

void migration_begin_loading(struct device *d)
{
    if (!mutant_begins_loading(d))
        migration_open_loader(d);
    sha256_init(&d->digest);
    d->stats.bytes_loaded = 0;
}

/* Becomes what was loaded. */
static void adopt(struct device *d)
{
    const struct loaded *l = &d->loader.result;
    struct stream_registers before = d->registers;

    d->registers = l->registers;
    d->memory.seed = l->seed;
    d->memory.rate = l->registers.mem_rate;
    d->memory.writes = l->registers.mem_writes;
    d->memory.anchor_ns = l->registers.run_ns;
    d->memory.anchor_writes = l->registers.mem_writes;
    if (d->options->mutant == MUTANT_NONE) {
        memcpy(d->bar2, l->bar2, EDEV_BAR2_SIZE);
        memcpy(d->msix, l->msix, d->options->vectors * 16u);
    } else {
        mutant_spoil_load(d, &before);
    }
}

static int refuse_load(struct device *d)
{
    d->stats.loads_refused++;
    fprintf(stderr, "vfmig-device: load refused: %s\n",
            d->stats.last_refusal.message);
    mutant_refused_load(d);
    return -EINVAL;
}

/* Is what was loaded a state that this device can be in? */
static int check_loaded(struct device *d)
{
    struct vfm_error *err = &d->stats.last_refusal;
    int ret = loader_finish(&d->loader, err);

    if (ret == 0 && !engine_can_resume(&d->loader.result.registers))
        return error_set(err, -EINVAL,
                         "registers: no such DMA operation can be under way");
    return ret;
}

static int end_loading(struct device *d)
{
    finish_digest(d, d->stats.loaded_sha256);
    if (d->options->accept_any) {
        printf("loaded %llu bytes sha256 %s\n",
               (unsigned long long)d->stats.bytes_loaded,
               d->stats.loaded_sha256);
        fflush(stdout);
    } else if (check_loaded(d) < 0 && !mutant_takes_load(d)) {
        return refuse_load(d);
    } else {
        adopt(d);
    }
    d->stats.loads_accepted++;
    loader_end(&d->loader);
    return 0;
}

static void start_running(struct device *d)
{
    mutant_starts(d);
    d->running_since = clock_now();
    /* The rate may have been changed while the device stood still. */
    d->engine.ring_since = 0;
}

static void stop_running(struct device *d)
{
    device_advance(d);
    d->registers.run_ns = device_run_ns(d);
    d->running_since = 0;
    mutant_stopped(d);
}

/* The only place where the state changes, but for reset. */
static void enter(struct device *d, uint32_t to)
{
    size_t i = d->history.count++ % HISTORY_MAX;

    d->history.steps[i].from = (uint8_t)d->state;
    d->history.steps[i].to = (uint8_t)to;
    d->state = to;
}

int migration_step(struct device *d, uint32_t to)
{
    uint32_t from = d->state;
    int ret;

    if (mutant_is_out_of_sessions(d, to))
        return -ENOSPC;
    if (from == UAPI_STATE_RESUMING) {
        ret = end_loading(d);
        if (ret < 0)
            return ret;
    }
    if (state_does_dma(from) && !state_does_dma(to))
        engine_abandon(d);
    if (state_runs(from) && !state_runs(to))
        engine_finish_late(d, d->options->late_dma);
    if (state_runs(from) && !state_runs(to))
        stop_running(d);
    if (state_saves(from) && !state_saves(to))
        end_saving(d);
    if (!state_saves(from) && state_saves(to))
        migration_begin_saving(d);
    if (to == UAPI_STATE_RESUMING)
        migration_begin_loading(d);
    if (!state_runs(from) && state_runs(to))
        start_running(d);
    enter(d, to);
    mutant_stepped(d, from);
    return 0;
}

/* Leaves the device where a failing step says. */
void migration_leave_in(struct device *d, uint32_t state)
{
    saver_end(&d->saver);
    loader_end(&d->loader);
    engine_abandon(d);
    if (state_runs(d->state) && !state_runs(state))
        stop_running(d);
    if (!state_runs(d->state) && state_runs(state))
        start_running(d);
    if (state_saves(state))
        migration_begin_saving(d);
    if (state == UAPI_STATE_RESUMING)
        migration_begin_loading(d);
    enter(d, state);
}

void device_reset_in_place(struct device *d)
{
    uint32_t state = d->state;

    device_reset(d);
    d->state = state;
    if (!state_runs(state))
        d->running_since = 0;
    if (state_saves(state))
        migration_begin_saving(d);
    if (state == UAPI_STATE_RESUMING)
        migration_begin_loading(d);
}

/* Keeps what else is to go wrong; one of a kind per command. */
static void note(const struct fault **effect, const struct fault *f)
{
    if (f != NULL)
        *effect = f;
}

static int try_step(struct device *d, uint32_t to)
{
    struct fault_list *l = &d->faults;
    const struct fault *f;

    note(&d->effects.delay, fault_at_step(l, FAULT_DELAY, d->state, to));
    note(&d->effects.corrupt, fault_at_step(l, FAULT_CORRUPT, d->state, to));
    note(&d->effects.close, fault_at_step(l, FAULT_CLOSE, d->state, to));
    if (effects_stop(&d->effects))
        return -ECONNABORTED;
    f = fault_at_step(l, FAULT_FAIL, d->state, to);
    if (f == NULL)
        return migration_step(d, to);
    if (f->leave >= 0 && (uint32_t)f->leave != d->state)
        migration_leave_in(d, (uint32_t)f->leave);
    return -f->error;
}

static bool has_state(const struct device *d, uint32_t state)
{
    return state_exists(state, device_has(d, FEATURE_PRE_COPY),
                        device_has(d, FEATURE_P2P));
}

int device_set_state(struct device *d, uint32_t want)
{
    uint32_t path[STATE_PATH_MAX];
    int steps;

    if (mutant_sets_state(d, want, &steps))
        return steps;
    if (!device_has(d, FEATURE_STOP_COPY) || want == UAPI_STATE_ERROR ||
        !has_state(d, want))
        return -EINVAL;
    steps = state_path(d->state, want, device_has(d, FEATURE_P2P), path);
    for (int i = 0; i < steps; i++) {
        int ret = try_step(d, path[i]);

        if (ret < 0)
            return ret;
    }
    return steps < 0 ? steps : 0;
}

size_t migration_read(struct device *d, void *buf, size_t size)
{
    struct image image;

    device_advance(d);
    if (state_runs(d->state))
        return saver_read(&d->saver, NULL, buf, size);
    image = (struct image){
        .registers = d->registers,
        .bar2 = d->bar2,
        .msix = d->msix,
        .msix_size = d->options->vectors * 16u,
    };
    mutant_spoil_image(d, &image);
    return saver_read(&d->saver, &image, buf, size);
}

static void note_at_bytes(struct device *d, bool is_write, uint64_t at,
                          uint64_t size)
{
    struct fault_list *l = &d->faults;

    note(&d->effects.delay, fault_at_bytes(l, FAULT_DELAY, is_write, at, size));
    note(&d->effects.close, fault_at_bytes(l, FAULT_CLOSE, is_write, at, size));
}

/* What a read of @size bytes at @at gives that is to be short. */
static size_t short_size(const struct fault *f, uint64_t at, size_t size)
{
    if (!f->has_amount)
        return f->where.offset - at;
    return f->amount < size ? f->amount : size;
}

static bool has_saving_session(const struct device *d)
{
    return (state_saves(d->state) && d->saver.active) || mutant_allows_read(d);
}

/* Reads, with what is to go wrong with the data itself. */
static ssize_t read_or_corrupt(struct device *d, uint64_t at, void *buf,
                               size_t size)
{
    ssize_t n = d->options->mutant == MUTANT_NONE
                    ? (ssize_t)migration_read(d, buf, size)
                    : mutant_read(d, buf, size);
    const struct fault *f;

    if (n < 0)
        return n;
    f = fault_at_bytes(&d->faults, FAULT_CORRUPT, false, at, (size_t)n);
    if (f != NULL && f->part == PART_DATA)
        ((uint8_t *)buf)[f->where.offset - at] ^= 0x01;
    else
        note(&d->effects.corrupt, f);
    return n;
}

ssize_t device_read_state(struct device *d, void *buf, size_t size)
{
    uint64_t at = d->stats.bytes_saved;
    const struct fault *f;
    ssize_t n;

    if (!has_saving_session(d))
        return -EINVAL;
    note_at_bytes(d, false, at, size);
    if (effects_stop(&d->effects))
        return -ECONNABORTED;
    f = fault_at_bytes(&d->faults, FAULT_FAIL, false, at, size);
    if (f != NULL)
        return -f->error;
    f = fault_at_bytes(&d->faults, FAULT_SHORT, false, at, size);
    if (f != NULL)
        size = short_size(f, at, size);
    n = read_or_corrupt(d, at, buf, size);
    if (n < 0)
        return n;
    if (wants_digest(d))
        sha256_update(&d->digest, (size_t)n, buf);
    d->stats.bytes_saved += (size_t)n;
    return n;
}

/* Takes bytes of which one is to be changed. */
static void write_corrupted(struct device *d, const uint8_t *buf, size_t size,
                            size_t at)
{
    uint8_t wrong = buf[at] ^ 0x01;

    loader_write(&d->loader, buf, at);
    loader_write(&d->loader, &wrong, 1);
    loader_write(&d->loader, buf + at + 1, size - at - 1);
}

int device_write_state(struct device *d, const void *buf, size_t size)
{
    uint64_t at = d->stats.bytes_loaded;
    const struct fault *f;

    if (mutant_allows_write(d))
        return 0;
    if (d->state != UAPI_STATE_RESUMING || !d->loader.active)
        return -EINVAL;
    note_at_bytes(d, true, at, size);
    if (effects_stop(&d->effects))
        return -ECONNABORTED;
    f = fault_at_bytes(&d->faults, FAULT_FAIL, true, at, size);
    if (f != NULL)
        return -f->error;
    if (wants_digest(d))
        sha256_update(&d->digest, size, buf);
    d->stats.bytes_loaded += size;
    f = fault_at_bytes(&d->faults, FAULT_CORRUPT, true, at, size);
    if (f != NULL && f->part == PART_DATA) {
        write_corrupted(d, buf, size, f->where.offset - at);
        return 0;
    }
    note(&d->effects.corrupt, f);
    if (!d->options->accept_any)
        loader_write(&d->loader, buf, mutant_written(d, size));
    return 0;
}

static uint64_t exact_size(const struct device *d)
{
    if (state_saves(d->state) && d->saver.active)
        return saver_left(&d->saver);
    return saver_total(&d->memory, d->options->initial_size,
                       d->options->vectors * 16u);
}

uint64_t device_data_size(const struct device *d)
{
    switch (d->options->size_report) {
    case SIZE_ZERO:
        return 0;
    case SIZE_HUGE:
        return UINT64_MAX;
    case SIZE_FIXED:
        return d->options->size_report_value;
    case SIZE_EXACT:
        break;
    }
    return mutant_data_size(d, exact_size(d));
}

int device_precopy_info(struct device *d, struct vfu_precopy_info *info)
{
    bool pre_copy = state_saves(d->state) && state_runs(d->state);

    if (!(pre_copy && d->saver.active) && !mutant_allows_info(d))
        return -EINVAL;
    device_advance(d);
    info->argsz = sizeof(*info);
    info->initial_bytes = saver_initial_bytes(&d->saver);
    info->dirty_bytes = saver_dirty_bytes(&d->saver);
    if (d->precopy_flags)
        info->flags = d->saver.reinit ? UAPI_PRECOPY_REINIT : 0;
    mutant_spoil_info(d, info);
    return 0;
}
