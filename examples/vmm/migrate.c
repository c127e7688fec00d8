/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * How this VMM embeds libvfmig: what it has to move, who writes its memory, and
 * what the library asks of it.  docs/embedding.md goes through it.
 */
#include <errno.h>
#include <string.h>

#include "migrate.h"
#include "monitor.h"

#define CPU_STATE_MAX   65536
#define RAM_BLOCK       "pc.ram"
#define CONNECT_TIMEOUT 10000

/* ------------------------------------------------ what the library asks */

static int stop_vm(void *opaque, struct vfm_error *err)
{
    struct migrate *mg = opaque;

    return vm_stop(mg->vm, err);
}

static int start_vm(void *opaque, struct vfm_error *err)
{
    struct migrate *mg = opaque;
    int ret = vm_start(mg->vm, err);

    mg->vm->runs = ret == 0;
    return ret;
}

static int slow_vm(void *opaque, unsigned int percent, struct vfm_error *err)
{
    struct migrate *mg = opaque;

    if (mg->vm->vcpus.ops != &vcpu_thread_ops)
        return vm_fail(err, -EOPNOTSUPP, "processors of KVM cannot be slowed");
    atomic_store(&mg->vm->vcpus.slow_percent, percent);
    return 0;
}

static void event(void *opaque, const struct vfm_event *ev)
{
    (void)opaque;
    monitor_migration_event(ev);
}

static const struct vfm_migration_callbacks callbacks = {
    .size = sizeof(callbacks),
    .stop_vm = stop_vm,
    .start_vm = start_vm,
    .event = event,
    .slow_vm = slow_vm,
};

/* How many there are, then what their kind has to say. */
static ssize_t save_cpus(void *opaque, void *buf, size_t size,
                         struct vfm_error *err)
{
    struct vm *vm = opaque;
    const uint32_t count = vm->vcpus.count;
    ssize_t n = vm->vcpus.ops->save(vm, (uint8_t *)buf + sizeof(count),
                                    size - sizeof(count), err);

    memcpy(buf, &count, sizeof(count));
    return n < 0 ? n : n + (ssize_t)sizeof(count);
}

static int load_cpus(void *opaque, uint32_t version, const void *data,
                     size_t len, struct vfm_error *err)
{
    struct vm *vm = opaque;
    uint32_t count = 0;

    (void)version;
    if (len >= sizeof(count))
        memcpy(&count, data, sizeof(count));
    if (count != vm->vcpus.count)
        return vm_fail(err, -EINVAL,
                       "the source has %u processors, this VMM %u", count,
                       vm->vcpus.count);
    return vm->vcpus.ops->load(vm, (const uint8_t *)data + sizeof(count),
                               len - sizeof(count), err);
}

/* The devices have stopped: whatever they signalled is there to be read. */
static ssize_t save_irqs(void *opaque, void *buf, size_t size,
                         struct vfm_error *err)
{
    struct vm *vm = opaque;

    (void)size;
    (void)err;
    irqs_save(&vm->irqs, buf);
    return sizeof(struct irqs_state);
}

static int load_irqs(void *opaque, uint32_t version, const void *data,
                     size_t len, struct vfm_error *err)
{
    struct vm *vm = opaque;
    struct irqs_state state;

    (void)version;
    if (len != sizeof(state))
        return vm_fail(err, -EINVAL, "chipset: %zu bytes are no state of it",
                       len);
    memcpy(&state, data, sizeof(state));
    irqs_load(&vm->irqs, &state);
    return 0;
}

/* ------------------------------------------------------- what is moved */

static int add_ram(struct migrate *mg, struct vfm_error *err)
{
    const struct vfm_ram_block block = {
        .size = sizeof(block),
        .name = RAM_BLOCK,
        .bytes = mg->vm->memory_size,
        .fd = mg->vm->memory_fd,
        .fresh = !mg->is_source,
    };
    int ret = vfm_ram_new(&mg->ram, err);

    if (ret == 0)
        ret = vfm_ram_add_block(mg->ram, &block, err);
    if (ret == 0)
        ret = vfm_ram_add_mapping(mg->ram, RAM_BLOCK, 0, 0, block.bytes, err);
    if (ret == 0)
        ret = vfm_migration_set_ram(mg->m, mg->ram, err);
    return ret;
}

/* Devices log their own DMA.  Without a tracker of the processors' writes the
 * library takes all memory for written, and says so: no reason to fail. */
static int add_tracker(struct migrate *mg, struct vfm_error *err)
{
    struct vm *vm = mg->vm;
    struct vfm_error why = { 0 };

    if (!mg->is_source)
        return 0;
    if (vm->vcpus.ops->new_tracker(vm, &mg->tracker, &why) < 0) {
        monitor_warning(why.message);
        return 0;
    }
    return vfm_migration_add_tracker(mg->m, mg->tracker, NULL, err);
}

static int add_blobs(struct migrate *mg, struct vfm_error *err)
{
    const struct vfm_blob blobs[] = {
        { .size = sizeof(blobs[0]),
          .name = "cpus",
          .version = 1,
          .min_version = 1,
          .max_bytes = CPU_STATE_MAX,
          .save = save_cpus,
          .load = load_cpus,
          .opaque = mg->vm },
        { .size = sizeof(blobs[0]),
          .name = "chipset",
          .version = 1,
          .min_version = 1,
          .max_bytes = sizeof(struct irqs_state),
          .save = save_irqs,
          .load = load_irqs,
          .opaque = mg->vm },
    };
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < sizeof(blobs) / sizeof(blobs[0]); i++)
        ret = vfm_migration_add_blob(mg->m, &blobs[i], err);
    return ret;
}

static int add_devices(struct migrate *mg, struct vfm_error *err)
{
    const struct bus *bus = &mg->vm->bus;
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < bus->count; i++)
        ret = vfm_migration_add_device(mg->m, bus->devices[i].dev,
                                       bus->devices[i].id, err);
    return ret;
}

/* A file answers nothing. */
static enum vfm_peer peer_of(const char *uri)
{
    return strncmp(uri, "file:", 5) == 0 ? VFM_PEER_NONE : VFM_PEER_VFMIG;
}

static int new_migration(struct migrate *mg, enum vfm_peer peer,
                         struct vfm_error *err)
{
    const struct migrate_parameters *p = &mg->parameters;
    struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = mg->is_source ? VFM_ROLE_SOURCE : VFM_ROLE_TARGET,
        .peer = peer,
        .machine = "vfmig-vmm",
        .paused = mg->is_source && !mg->vm->runs,
        .callbacks = &callbacks,
        .opaque = mg,
    };
    int ret;

    if (mg->is_source) {
        options.downtime_limit_ms = p->downtime_limit_ms;
        options.max_bandwidth = p->max_bandwidth;
        options.pause_before_switchover = p->pause_before_switchover;
        options.pre_copy_timeout_ms = p->pre_copy_timeout_ms;
        options.force_switchover = p->force_switchover;
    }
    ret = vfm_migration_new(mg->channel, &options, &mg->m, err);
    if (ret == 0)
        ret = add_devices(mg, err);
    if (ret == 0)
        ret = add_ram(mg, err);
    if (ret == 0)
        ret = add_tracker(mg, err);
    if (ret == 0)
        ret = add_blobs(mg, err);
    return ret;
}

/* Lets go of the migration before this one. */
static void forget(struct migrate *mg)
{
    vfm_migration_close(mg->m);
    vfm_channel_close(mg->channel);
    vfm_dirty_tracker_free(mg->tracker);
    vfm_ram_free(mg->ram);
    mg->m = NULL;
    mg->channel = NULL;
    mg->tracker = NULL;
    mg->ram = NULL;
    mg->over = false;
    mg->failure = (struct vfm_error){ 0 };
}

static bool is_under_way(const struct migrate *mg)
{
    return mg->m != NULL && !mg->over;
}

int migrate_begin(struct migrate *mg, const char *uri, struct vfm_error *err)
{
    struct vfm_channel_options options = VFM_CHANNEL_OPTIONS_INIT;
    int ret;

    if (is_under_way(mg) || mg->listener != NULL || mg->handed_over)
        return vm_fail(err, -EBUSY,
                       "migrate: there is one under way, or the "
                       "VM is not here");
    forget(mg);
    mg->is_source = true;
    options.connect_timeout_ms = CONNECT_TIMEOUT;
    ret = vfm_channel_connect(uri, &options, &mg->channel, err);
    if (ret == 0)
        ret = new_migration(mg, peer_of(uri), err);
    if (ret < 0)
        forget(mg);
    return ret;
}

int migrate_listen(struct migrate *mg, const char *uri, struct vfm_error *err)
{
    struct vfm_channel_options options = VFM_CHANNEL_OPTIONS_INIT;
    int ret;

    options.connect_timeout_ms = CONNECT_TIMEOUT;
    mg->is_source = false;
    ret = vfm_listener_open(uri, &options, &mg->listener, err);
    if (ret == 0)
        monitor_listening(vfm_listener_address(mg->listener));
    return ret;
}

int migrate_listen_fd(const struct migrate *mg)
{
    return mg->listener == NULL ? -1 : vfm_listener_fd(mg->listener);
}

int migrate_accept(struct migrate *mg, struct vfm_error *err)
{
    enum vfm_peer peer = peer_of(vfm_listener_address(mg->listener));
    int ret = vfm_listener_accept(mg->listener, &mg->channel, err);

    vfm_listener_close(mg->listener);
    mg->listener = NULL;
    if (ret == 0)
        ret = new_migration(mg, peer, err);
    if (ret < 0)
        forget(mg);
    return ret;
}

int migrate_fd(const struct migrate *mg)
{
    return is_under_way(mg) ? vfm_migration_fd(mg->m) : -1;
}

int migrate_dispatch(struct migrate *mg)
{
    int ret = vfm_migration_dispatch(mg->m, &mg->failure);

    if (ret == 1)
        return 1;
    mg->over = true;
    mg->handed_over = mg->is_source && vfm_migration_get_outcome(mg->m) ==
                                           VFM_OUTCOME_HANDED_OVER;
    /* It is the other side's, or not known whose. */
    if (mg->is_source && (ret == 0 || mg->handed_over))
        mg->vm->runs = false;
    return 0;
}

int migrate_set(struct migrate *mg, const struct migrate_parameters *parameters,
                struct vfm_error *err)
{
    (void)err;
    mg->parameters = *parameters;
    if (is_under_way(mg) && mg->is_source) {
        vfm_migration_set_downtime_limit(mg->m, parameters->downtime_limit_ms);
        vfm_migration_set_max_bandwidth(mg->m, parameters->max_bandwidth);
    }
    return 0;
}

/* All to RUNNING_P2P before any to RUNNING, as the devices reach each other. */
static int run_devices(struct bus *bus, struct vfm_error *err)
{
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && bus->count > 1 && i < bus->count; i++)
        ret = vfm_device_set_state(bus->devices[i].dev, VFM_STATE_RUNNING_P2P,
                                   err);
    for (unsigned int i = 0; ret == 0 && i < bus->count; i++)
        ret = vfm_device_set_state(bus->devices[i].dev, VFM_STATE_RUNNING, err);
    return ret;
}

int migrate_take_back(struct migrate *mg, struct vfm_error *err)
{
    int ret;

    if (!mg->handed_over)
        return vm_fail(err, -EINVAL, "take-back: nothing was handed over");
    ret = run_devices(&mg->vm->bus, err);
    if (ret == 0)
        ret = vm_start(mg->vm, err);
    if (ret == 0) {
        mg->handed_over = false;
        mg->vm->runs = true;
    }
    return ret;
}

void migrate_close(struct migrate *mg)
{
    forget(mg);
    vfm_listener_close(mg->listener);
    mg->listener = NULL;
}
