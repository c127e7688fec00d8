/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake device: states, calls and faults.  Its session is fake-session.c.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "device/device.h"
#include "fake-device.h"
#include "fake-session.h"
#include "check/model.h"
#include "protocol/vfio-uapi.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/error.h"

const char *fake_op_name(enum fake_op op)
{
    static const char *const names[FAKE_NUM_OPS] = {
        [FAKE_SET_STATE] = "set state",
        [FAKE_GET_STATE] = "get state",
        [FAKE_RESET] = "reset",
        [FAKE_DATA_SIZE] = "data size",
        [FAKE_PRECOPY_INFO] = "precopy info",
        [FAKE_REGION_READ] = "region read",
        [FAKE_REGION_WRITE] = "region write",
        [FAKE_LOG_START] = "log start",
        [FAKE_LOG_STOP] = "log stop",
        [FAKE_LOG_REPORT] = "log report",
        [FAKE_PEEK] = "peek",
        [FAKE_WRITE] = "write",
        [FAKE_ROOM] = "find room in",
        [FAKE_FLUSH] = "flush",
    };

    return names[op];
}

bool fake_runs(const struct fake_device *f, enum fake_content content)
{
    return model_runs(f->state) && f->content == content;
}

static void check_owners(struct fake_device *f)
{
    struct fake_device *twin = f->twin;

    if (twin != NULL &&
        ((fake_runs(f, FAKE_ORIGINAL) && fake_runs(twin, FAKE_LOADED)) ||
         (fake_runs(f, FAKE_LOADED) && fake_runs(twin, FAKE_ORIGINAL))))
        f->two_owners = twin->two_owners = true;
}

/* The only place where the state changes. */
static void enter(struct fake_device *f, enum vfm_state now)
{
    bool ran = model_runs(f->state);

    if (f->state == VFM_STATE_RESUMING && now != VFM_STATE_RESUMING)
        f->content = session_is_complete(f) ? FAKE_LOADED : FAKE_NOTHING;
    if (model_saves(now) && !model_saves(f->state))
        session_begin_saving(f);
    if (now == VFM_STATE_RESUMING && f->state != now)
        session_begin_loading(f);
    f->state = now;
    if (f->clock != NULL && ran && !model_runs(now))
        f->stopped_at = ++*f->clock;
    if (f->clock != NULL && !ran && model_runs(now))
        f->ran_at = ++*f->clock;
    check_owners(f);
}

const struct fake_fault *fake_fault_now(struct fake_device *f, enum fake_op op)
{
    static const struct fake_fault death = { .error = -ENOTCONN,
                                             .state = FAKE_STAY };
    unsigned int n = f->calls[op]++;

    if (++f->all_calls == f->dies_at)
        f->dead = true;
    if (f->dead)
        return &death;
    for (unsigned int i = 0; i < FAKE_FAULTS; i++) {
        const struct fake_fault *fault = &f->faults[i];

        if (fault->op == op && n >= fault->from &&
            n - fault->from < fault->count)
            return fault;
    }
    return NULL;
}

struct fake_fault *fake_fail(struct fake_device *f, enum fake_op op,
                             unsigned int from, int error)
{
    for (unsigned int i = 0; i < FAKE_FAULTS; i++) {
        if (f->faults[i].count != 0)
            continue;
        f->faults[i] = (struct fake_fault){
            .op = op,
            .from = from,
            .count = 1,
            .error = error,
            .state = FAKE_STAY,
        };
        return &f->faults[i];
    }
    abort();
}

static int walk_to(struct fake_device *f, enum vfm_state want)
{
    struct model_path path;

    if (!model_find_path(f->state, want, f->migration, &path))
        return -EINVAL;
    for (unsigned int i = 0; i < path.len; i++) {
        if (f->state == VFM_STATE_RESUMING && !session_is_complete(f))
            return -EBADMSG;
        enter(f, path.steps[i]);
    }
    return 0;
}

static int set_state(struct fake_device *f, enum vfm_state want,
                     const struct fake_fault *fault)
{
    if (f->num_went < FAKE_WENT) {
        f->came_from[f->num_went] = f->state;
        f->went[f->num_went++] = want;
    }
    if (fault == NULL)
        return walk_to(f, want);
    if (fault->state != FAKE_STAY)
        enter(f, fault->state);
    return fault->error;
}

static int reset(struct fake_device *f, const struct fake_fault *fault)
{
    if (fault != NULL)
        return fault->error;
    f->resets++;
    session_end(f);
    if (f->reset_keeps_state)
        return 0;
    f->state = VFM_STATE_STOP; /* whatever was loaded is not looked at */
    f->content = FAKE_NOTHING;
    enter(f, VFM_STATE_RUNNING);
    return 0;
}

static int access_region(struct fake_device *f, bool write,
                         const struct device_access *a)
{
    bool is_config = a->region == UAPI_REGION_CONFIG;
    uint8_t *bytes = is_config ? f->config : f->bar;
    size_t size = is_config ? f->dev->info.config_size : FAKE_BAR_SIZE;

    if ((!is_config && a->region != f->bar_of_msix) || a->offset > size ||
        a->len > size - a->offset)
        return -EINVAL;
    if (!write)
        memcpy(a->buf, bytes + a->offset, a->len);
    else
        memcpy(bytes + a->offset, a->buf, a->len);
    if (write && is_config) {
        f->last_write_at = (uint32_t)a->offset;
        f->num_config_writes++;
    }
    return 0;
}

/* Each counts as a call of its own.  Writes end with the first that fails. */
static int access_regions(struct fake_device *f, const struct device_call *call)
{
    bool write = call->op == DEVICE_REGION_WRITE;
    int ret = 0;

    for (unsigned int i = 0; i < call->num_accesses; i++) {
        struct device_access *a = &call->accesses[i];
        const struct fake_fault *fault;

        if (write && ret < 0) {
            a->ret = -ECANCELED;
            continue;
        }
        fault = fake_fault_now(f, (enum fake_op)call->op);
        a->ret = fault != NULL && fault->error != 0
                     ? fault->error
                     : access_region(f, write, a);
        if (ret == 0)
            ret = a->ret;
    }
    return ret;
}

static int report_log(struct fake_device *f, const struct device_call *call,
                      int ret)
{
    if (!f->logs)
        return -EINVAL;
    if (ret == 0)
        call->mark(call->opaque, 0, 4096, f->wrote, FAKE_LOG_PAGES);
    memset(f->wrote, 0, sizeof(f->wrote));
    return ret;
}

static int set_log(struct fake_device *f, bool on)
{
    if (f->logs == on)
        return -EINVAL;
    f->logs = on;
    memset(f->wrote, 0, sizeof(f->wrote));
    return 0;
}

/* Does what @call asks for, or fails. */
static int act(struct fake_device *f, struct device_call *call)
{
    const struct fake_fault *fault;

    if (call->op == DEVICE_REGION_READ || call->op == DEVICE_REGION_WRITE)
        return access_regions(f, call);
    fault = fake_fault_now(f, (enum fake_op)call->op);
    if (call->op == DEVICE_SET_STATE)
        return set_state(f, call->state, fault);
    if (call->op == DEVICE_RESET)
        return reset(f, fault);
    if (call->op == DEVICE_LOG_REPORT)
        return report_log(f, call, fault != NULL ? fault->error : 0);
    if (fault != NULL && fault->error != 0)
        return fault->error;
    switch (call->op) {
    case DEVICE_LOG_START:
    case DEVICE_LOG_STOP:
        return set_log(f, call->op == DEVICE_LOG_START);
    case DEVICE_GET_STATE:
        call->state = fault != NULL ? fault->state : f->state;
        return 0;
    case DEVICE_DATA_SIZE:
        call->bytes = f->lies_size ? f->says_size : f->size - f->at;
        return 0;
    case DEVICE_PRECOPY_INFO:
        return session_info(f, &call->precopy);
    case DEVICE_REGION_READ:
    case DEVICE_REGION_WRITE:
    case DEVICE_LOG_REPORT:
    case DEVICE_SET_STATE:
    case DEVICE_RESET:
    default:
        abort();
    }
}

static int say(const struct fake_device *f, enum fake_op op, int ret,
               struct vfm_error *err)
{
    if (ret == 0)
        return 0;
    return error_set(err, ret, "%s: device refuses %s: %s",
                     vfm_device_name(f->dev), fake_op_name(op), strerror(-ret));
}

static bool fails_at_start(const struct fake_device *f, enum fake_op op)
{
    for (unsigned int i = 0; i < FAKE_FAULTS; i++) {
        const struct fake_fault *fault = &f->faults[i];

        if (fault->op == op && fault->at_start && f->calls[op] >= fault->from &&
            f->calls[op] - fault->from < fault->count)
            return true;
    }
    return false;
}

void fake_fall_silent(struct fake_device *f)
{
    f->silent = true;
    f->silence_ends = clock_now() + f->silence_ns;
}

bool fake_is_silent(struct fake_device *f)
{
    if (f->silent && f->wakes_up && clock_now() >= f->silence_ends)
        f->silent = false;
    return f->silent;
}

static int call_start(struct vfm_device *dev, struct device_call *call,
                      struct vfm_error *err)
{
    struct fake_device *f = dev->backend;

    f->call_delay = f->delay;
    f->again = true;
    if (++f->started == f->silent_at ||
        (f->slow_moves && call->op == DEVICE_SET_STATE))
        fake_fall_silent(f);
    if (!fails_at_start(f, (enum fake_op)call->op))
        return 0;
    return say(f, (enum fake_op)call->op, act(f, call), err);
}

static int call_finish(struct vfm_device *dev, struct device_call *call,
                       struct vfm_error *err)
{
    struct fake_device *f = dev->backend;

    if (fake_is_silent(f) && clock_now() < f->silence_ends)
        return -EAGAIN;
    if (f->silent)
        return say(f, (enum fake_op)call->op, -ETIMEDOUT, err);
    if (f->call_delay > 0) {
        f->call_delay--;
        f->again = true;
        return -EAGAIN;
    }
    return say(f, (enum fake_op)call->op, act(f, call), err);
}

int fake_session_failed(struct fake_device *f, enum fake_op op, int ret,
                        struct vfm_error *err)
{
    return say(f, op, ret, err);
}

static int access_now(struct vfm_device *dev, bool write, uint32_t region,
                      uint64_t offset, void *buf, size_t len,
                      struct vfm_error *err)
{
    struct fake_device *f = dev->backend;
    struct device_access a = {
        .region = region,
        .offset = offset,
        .buf = buf,
        .len = len,
    };
    struct device_call call = {
        .op = write ? DEVICE_REGION_WRITE : DEVICE_REGION_READ,
        .accesses = &a,
        .num_accesses = 1,
    };

    return say(f, (enum fake_op)call.op, act(f, &call), err);
}

static void reach(struct vfm_device *dev, device_reach_fn *each, void *opaque)
{
    const struct fake_device *f = dev->backend;

    if (f->reach > 0)
        each(opaque, 0, f->reach);
}

static int wait_fds(struct vfm_device *dev, struct pollfd *fds,
                    int64_t *deadline)
{
    struct fake_device *f = dev->backend;

    *deadline = f->silent ? f->silence_ends : CLOCK_NEVER;
    if (f->gone) {
        *deadline = 0;
        return 0;
    }
    fds[0] = (struct pollfd){ .fd = f->event_fd,
                              .events = f->again && !f->silent ? POLLIN : 0 };
    f->again = false;
    return 1;
}

static int check(struct vfm_device *dev, struct vfm_error *err)
{
    struct fake_device *f = dev->backend;

    if (!f->gone)
        return 0;
    return error_set(err, -ENOTCONN, "%s: the device is gone", dev->name);
}

static void close_backend(struct vfm_device *dev)
{
    struct fake_device *f = dev->backend;

    session_end(f);
    free(f->loaded);
    free(f->room);
    close(f->event_fd);
}

static const struct device_ops fake_ops = {
    .name = "fake",
    .call_start = call_start,
    .call_finish = call_finish,
    .peek = session_peek,
    .consume = session_consume,
    .write = session_write,
    .room = session_room,
    .flush = session_flush,
    .end_session = session_over,
    .access = access_now,
    .reach = reach,
    .wait_fds = wait_fds,
    .check = check,
    .close = close_backend,
};

void fake_open(struct fake_device *f, const char *name, uint64_t migration)
{
    *f = (struct fake_device){
        .migration = migration,
        .silence_ends = CLOCK_NEVER,
        .piece = 4096,
        .state = VFM_STATE_RUNNING,
    };
    f->event_fd = eventfd(1, EFD_CLOEXEC);
    if (f->event_fd < 0)
        abort();
    f->dev = device_new(&fake_ops, f, name);
    if (f->dev == NULL)
        abort();
    f->dev->info.migration = migration;
    f->dev->info.has_reset = true;
    f->dev->info.has_data_size = true;
    f->dev->info.has_precopy_info = (migration & VFM_MIGRATION_PRE_COPY) != 0;
    device_opened(f->dev, f->state);
}

void fake_close(struct fake_device *f)
{
    vfm_device_close(f->dev);
    f->dev = NULL;
}

void fake_begin_in(struct fake_device *f, enum vfm_state state)
{
    f->state = state;
    device_opened(f->dev, state);
}

/* A device with power management, MSI with 64 bits, PCI Express and MSI-X. */
void fake_set_config(struct fake_device *f, uint32_t size)
{
    static const uint8_t ids[] = { 0x86, 0x56, 0x44, 0x4d };
    uint8_t *c = f->config;

    memcpy(c, ids, sizeof(ids));
    c[0x06] = 0x10; /* there are capabilities */
    c[0x0a] = 0x12;
    c[0x34] = 0x40;
    put_le16(c + 0x40, 0x5001); /* power management, next at 0x50 */
    put_le16(c + 0x50, 0x6805); /* MSI */
    put_le16(c + 0x52, 0x0080);
    put_le16(c + 0x68, 0xa010); /* PCI Express */
    put_le16(c + 0xa0, 0x0011); /* MSI-X */
    put_le16(c + 0xa2, 8 - 1);
    put_le32(c + 0xa4, 0x100 | f->bar_of_msix);
    put_le32(c + 0xa8, 0x800 | f->bar_of_msix);
    f->dev->info.config_size = size;
    f->dev->info.is_pci = true;
    f->dev->info.vendor_id = get_le16(c);
    f->dev->info.device_id = get_le16(c + 2);
    f->dev->info.msix_count = 8;
    fake_learn(f);
}

void fake_learn(struct fake_device *f)
{
    memcpy(f->dev->pci_space, f->config, sizeof(f->dev->pci_space));
}

void fake_pattern(uint8_t *data, size_t len, uint32_t seed)
{
    uint32_t x = seed * 2654435761U + 1;

    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)(x >> 24);
    }
}
