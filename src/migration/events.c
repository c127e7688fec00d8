/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the user's callbacks are told and asked.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "migration/migration.h"
#include "util/error.h"

static void tell(struct vfm_migration *m, struct vfm_event *event)
{
    event->stage = m->stage;
    if (m->callbacks.event != NULL)
        m->callbacks.event(m->options.opaque, event);
}

void tell_stage(struct vfm_migration *m)
{
    tell(m, &(struct vfm_event){ .kind = VFM_EVENT_STAGE });
}

void tell_state(struct vfm_migration *m, const struct member *member)
{
    tell(m, &(struct vfm_event){ .kind = VFM_EVENT_STATE,
                                 .device = member->id,
                                 .state = vfm_device_state(member->dev) });
}

void tell_warning(struct vfm_migration *m, const char *fmt, ...)
{
    char text[sizeof(((struct vfm_error *)0)->message)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    tell(m, &(struct vfm_event){ .kind = VFM_EVENT_WARNING, .text = text });
}

void vm_slow(struct vfm_migration *m, unsigned int percent)
{
    struct vfm_error err = { 0 };
    int ret;

    if (m->callbacks.slow_vm == NULL || m->ram_stats.slow_percent == percent)
        return;
    ret = m->callbacks.slow_vm(m->options.opaque, percent, &err);
    m->ram_stats.slow_percent = percent;
    if (ret < 0)
        tell_warning(m, "the VM could not be slowed down by %u %%: %s", percent,
                     err.code != 0 ? err.message : strerror(-ret));
}

int vm_stop(struct vfm_migration *m, struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret = 0;

    spend(m, VFM_CAUSE_VM);
    m->stopped_at = spent_stopped(&m->spent);
    if (!m->paused && m->callbacks.stop_vm != NULL)
        ret = m->callbacks.stop_vm(m->options.opaque, &why);
    spend(m, VFM_CAUSE_SELF);
    if (ret < 0)
        return error_of_callback(err, ret, "VM", "cannot be stopped", &why);
    m->vm_stopped = !m->paused;
    return 0;
}

int vm_start(struct vfm_migration *m, struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret = 0;

    if (m->paused)
        return 0;
    spend(m, VFM_CAUSE_VM);
    if (m->callbacks.start_vm != NULL)
        ret = m->callbacks.start_vm(m->options.opaque, &why);
    spend(m, VFM_CAUSE_SELF);
    if (ret < 0)
        return error_of_callback(err, ret, "VM", "cannot be started", &why);
    m->vm_stopped = false;
    return 0;
}

void note_downtime(struct vfm_migration *m)
{
    spend(m, VFM_CAUSE_SELF);
    m->downtime_ns = (uint64_t)(spent_started(&m->spent) - m->stopped_at);
}
