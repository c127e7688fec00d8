/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_SOURCE_H
#define VFM_SRC_MIGRATION_SOURCE_H

/*
 * What the stages of a source share.
 */

#include "migration/migration.h"
#include "migration/stage.h"

/* How long a device that had nothing more is left alone, and a tracker. */
#define QUIET_INTERVAL_NS (10 * NS_PER_MS)

/* source-listen.c: takes what the target has said.  0, or an error. */
int source_listen(struct vfm_migration *m, struct vfm_error *err);
/* Of that, what is in the inbox already. */
int source_take_messages(struct vfm_migration *m, struct vfm_error *err);

/* Sends what is in the outbox, or if there was nothing for a while, a sign of
 * life: between sections, or within an END section.  0 when the outbox is
 * empty, -EAGAIN, or an error. */
int source_keep_alive(struct vfm_migration *m, struct vfm_error *err);

/* As members_move(); a transition may take long, and the target is kept awake
 * meanwhile. */
int source_move(struct vfm_migration *m, want_fn *want, moved_fn *moved,
                struct vfm_error *err);

/* What the transitions that stop a device take. */
moved_fn source_note_stopped;

/* source-look.c: asks the devices how much is left.  0 when all have answered,
 * -EAGAIN, or an error. */
int source_look(struct vfm_migration *m, struct vfm_error *err);
/* What the answers say, for the policy. */
void source_sum_up(struct vfm_migration *m, struct policy_input *in);

/* source-ram.c: makes memory ready to be sent, and lets the trackers begin.  0
 * when they have, -EAGAIN, or an error. */
int source_begin_ram(struct vfm_migration *m, struct vfm_error *err);
/* Announces its blocks. */
void source_put_blocks(struct vfm_migration *m);
/* The next piece.  Returns 1, or 0 if there is none. */
int source_put_ram(struct vfm_migration *m);
void source_note_ram_sent(struct vfm_migration *m);
/* Ends the section. */
void source_put_ram_end(struct vfm_migration *m);
/* Whether all that was known to be dirty is sent; true if there is no
 * memory. */
bool source_round_is_over(const struct vfm_migration *m);
/* Asks the trackers: a new round.  @stopped: for the last time.  0 when they
 * have answered, -EAGAIN, or an error. */
int source_sync(struct vfm_migration *m, bool stopped, struct vfm_error *err);
/* What is left of memory, for the policy. */
void source_sum_up_ram(const struct vfm_migration *m, struct policy_input *in);
/* A round was judged: slows the guest, or warns, if it gets nowhere. */
void source_watch_ram(struct vfm_migration *m, const struct policy_input *in,
                      const struct policy_decision *d);
void source_close_ram(struct vfm_migration *m);

/* source-data.c: makes the next data of @member the outbox's piece, in a
 * section of type @type.  Returns 1 if there is, 0 at the end of its state,
 * -ENOMSG, -EAGAIN, or an error. */
int source_put_data(struct vfm_migration *m, struct member *member,
                    enum vfm_section_type type, struct vfm_error *err);
/* Sends it; the device's buffer is free again when that returns 0. */
int source_send_data(struct vfm_migration *m, struct vfm_error *err);
/* Lets devices read ahead while something else is waited for. */
void source_prefetch(struct vfm_migration *m);

/* source-config.c: provides for what they will take.  0 or an error. */
int source_prepare_configs(struct vfm_migration *m, struct vfm_error *err);
/* Asks the devices, all at once, while their data is still read.  Returns 0,
 * whether they have answered or will, or an error. */
int source_ask_for_configs(struct vfm_migration *m, struct vfm_error *err);
/* All data was read: asks who keeps a configuration beside its device, too, and
 * has devices stop that tell theirs in STOP only.  Returns 0 when all are here,
 * -EAGAIN, or an error. */
int source_finish_configs(struct vfm_migration *m, struct vfm_error *err);

/* Whether @member is in a PRE_COPY state. */
static inline bool pre_copies(const struct member *member)
{
    enum vfm_state state = vfm_device_state(member->dev);

    return state == VFM_STATE_PRE_COPY || state == VFM_STATE_PRE_COPY_P2P;
}

#endif
