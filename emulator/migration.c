/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Migration: what happens on each step between states, and the bytes of the
 * sessions.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emulator/device.h"
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

static void begin_saving(struct device *d)
{
    struct stream_header header = describe(d);

    device_advance(d);
    saver_begin(&d->saver, &header, d->options->initial_size,
                device_has(d, FEATURE_REINIT) ? d->options->reinit_after : 0);
    sha256_init(&d->digest);
    d->stats.bytes_saved = 0;
}

static void end_saving(struct device *d)
{
    finish_digest(d, d->stats.saved_sha256);
    saver_end(&d->saver);
}

static void begin_loading(struct device *d)
{
    struct stream_header header = describe(d);

    loader_begin(&d->loader, &header);
    sha256_init(&d->digest);
    d->stats.bytes_loaded = 0;
}

/* Becomes what was loaded. */
static void adopt(struct device *d)
{
    const struct loaded *l = &d->loader.result;

    d->registers = l->registers;
    d->memory.seed = l->seed;
    d->memory.rate = l->registers.mem_rate;
    d->memory.writes = l->registers.mem_writes;
    d->memory.anchor_ns = l->registers.run_ns;
    d->memory.anchor_writes = l->registers.mem_writes;
    memcpy(d->bar2, l->bar2, EDEV_BAR2_SIZE);
    memcpy(d->msix, l->msix, d->options->vectors * 16u);
}

static int refuse_load(struct device *d)
{
    d->stats.loads_refused++;
    fprintf(stderr, "vfmig-device: load refused: %s\n",
            d->stats.last_refusal.message);
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
    } else if (check_loaded(d) < 0) {
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
    d->running_since = clock_now();
    /* The rate may have been changed while the device stood still. */
    d->engine.ring_since = 0;
}

static void stop_running(struct device *d)
{
    device_advance(d);
    d->registers.run_ns = device_run_ns(d);
    d->running_since = 0;
}

/* The only place where the state changes, but for reset. */
static void enter(struct device *d, uint32_t to)
{
    size_t i = d->history.count++ % HISTORY_MAX;

    d->history.steps[i].from = (uint8_t)d->state;
    d->history.steps[i].to = (uint8_t)to;
    d->state = to;
}

static int take_step(struct device *d, uint32_t to)
{
    uint32_t from = d->state;
    int ret;

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
        begin_saving(d);
    if (to == UAPI_STATE_RESUMING)
        begin_loading(d);
    if (!state_runs(from) && state_runs(to))
        start_running(d);
    enter(d, to);
    return 0;
}

/* Leaves the device where a failing step says. */
static void leave_in(struct device *d, uint32_t state)
{
    saver_end(&d->saver);
    loader_end(&d->loader);
    engine_abandon(d);
    if (state_runs(d->state) && !state_runs(state))
        stop_running(d);
    if (!state_runs(d->state) && state_runs(state))
        start_running(d);
    if (state_saves(state))
        begin_saving(d);
    if (state == UAPI_STATE_RESUMING)
        begin_loading(d);
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
        begin_saving(d);
    if (state == UAPI_STATE_RESUMING)
        begin_loading(d);
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
        return take_step(d, to);
    if (f->leave >= 0 && (uint32_t)f->leave != d->state)
        leave_in(d, (uint32_t)f->leave);
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

static size_t read_frames(struct device *d, void *buf, size_t size)
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

ssize_t device_read_state(struct device *d, void *buf, size_t size)
{
    uint64_t at = d->stats.bytes_saved;
    const struct fault *f;
    size_t n;

    if (!state_saves(d->state) || !d->saver.active)
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
    n = read_frames(d, buf, size);
    f = fault_at_bytes(&d->faults, FAULT_CORRUPT, false, at, n);
    if (f != NULL && f->part == PART_DATA)
        ((uint8_t *)buf)[f->where.offset - at] ^= 0x01;
    else
        note(&d->effects.corrupt, f);
    if (wants_digest(d))
        sha256_update(&d->digest, n, buf);
    d->stats.bytes_saved += n;
    return (ssize_t)n;
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
        loader_write(&d->loader, buf, size);
    return 0;
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
    if (d->saver.active)
        return saver_left(&d->saver);
    return saver_total(&d->memory, d->options->initial_size,
                       d->options->vectors * 16u);
}

int device_precopy_info(struct device *d, struct vfu_precopy_info *info)
{
    if (!state_saves(d->state) || !state_runs(d->state) || !d->saver.active)
        return -EINVAL;
    device_advance(d);
    info->argsz = sizeof(*info);
    info->initial_bytes = saver_initial_bytes(&d->saver);
    info->dirty_bytes = saver_dirty_bytes(&d->saver);
    if (d->precopy_flags)
        info->flags = d->saver.reinit ? UAPI_PRECOPY_REINIT : 0;
    return 0;
}
