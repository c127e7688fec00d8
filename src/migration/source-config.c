/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: the configurations of the devices.  Memory for them is there before
 * anybody stops.  A device that has stopped is asked for its own while its data
 * is read; a VMM for one that it keeps, when there is nothing else left.
 */
#include <errno.h>

#include "migration/source.h"

/* What a VMM keeps is what its guest sees; a device does not know where it is
 * seen. */
static int get_config(struct vfm_migration *m, struct member *member,
                      struct vfm_error *err)
{
    struct pci_state *config = &member->config;
    int ret;

    if (member->keeper.is_set)
        return pci_keeper_save(&member->keeper, config, member->id, err);
    ret = pci_state_save(config, member->dev, err);
    if (ret == 0 && peer_is(m, VFM_PEER_QEMU) &&
        pci_config_is_integrated(m->machine, member->id))
        pci_state_integrate(config);
    return ret;
}

int source_prepare_configs(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < m->num_members; i++) {
        struct member *member = m->members[i];

        if (!member->keeper.is_set)
            ret = pci_state_prepare_save(&member->config, member->dev, err);
    }
    return ret;
}

static int save_config(struct vfm_migration *m, struct member *member,
                       struct vfm_error *err)
{
    enum vfm_cause cause = spend_for(
        m, member->keeper.is_set ? VFM_CAUSE_VM : VFM_CAUSE_DEVICE, member);
    int ret = get_config(m, member, err);

    spend(m, cause);
    member->config_saved = ret == 0;
    return ret;
}

/* Some servers refuse access to regions in STOP_COPY, though not in STOP. */
static bool may_be_asked_again(const struct member *member)
{
    return !member->keeper.is_set &&
           vfm_device_state(member->dev) == VFM_STATE_STOP_COPY;
}

/* With @kept_too also who keeps some.  Once one wants to be in STOP for that,
 * nobody is asked anew: two that do could keep each other waiting.  0 when each
 * asked has told its own, 1 when nobody is asked any more, -EAGAIN, or an
 * error. */
static int save_configs(struct vfm_migration *m, bool kept_too,
                        struct vfm_error *err)
{
    struct source *s = &m->source;
    int busy = 0;

    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];
        int ret;

        if (member->config_saved || (member->keeper.is_set && !kept_too) ||
            (s->config_refused && !device_is_busy(member->dev)))
            continue;
        ret = save_config(m, member, err);
        if (ret == -EAGAIN)
            busy = ret;
        else if (ret < 0 && may_be_asked_again(member) &&
                 device_check(member->dev, NULL) == 0)
            s->config_refused = true;
        else if (ret < 0)
            return ret;
    }
    return busy < 0 ? busy : s->config_refused;
}

int source_ask_for_configs(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = save_configs(m, false, err);

    return ret < 0 && ret != -EAGAIN ? ret : 0;
}

int source_finish_configs(struct vfm_migration *m, struct vfm_error *err)
{
    for (;;) {
        int ret = m->moving ? 1 : save_configs(m, true, err);

        if (ret <= 0)
            return ret;
        ret = source_move(m, want_stop, source_note_stopped, err);
        if (ret < 0)
            return ret;
        m->source.config_refused = false;
    }
}
