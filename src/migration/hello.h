/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_HELLO_H
#define VFM_SRC_MIGRATION_HELLO_H

/*
 * What two vfmigs say to each other before the stream, so that what cannot work
 * is refused before the bulk is sent and not after.
 *
 *     u32 magic "VFMG", u16 version 1, u16 zero, u32 length, JSON
 *
 * from the source, and the same from the target as the answer; big-endian.
 * docs/handover.md describes the JSON.
 */

#include "migration/migration.h"

/* Returns 0 and the frame in *@frame, to be freed, or an error. */
int hello_build(const struct vfm_migration *m, char **frame, size_t *len,
                struct vfm_error *err);

/* The target's answer: yes, with as many channels beside this one as it takes,
 * if @refusal is NULL, else why not. */
int hello_build_answer(const struct vfm_migration *m, const char *refusal,
                       char **frame, size_t *len, struct vfm_error *err);

/* Takes one frame out of @in: 1 and its JSON text, valid until @in is filled
 * again, 0 if it is not all there, or -EPROTO. */
int hello_next(struct inbox *in, const char **json, size_t *len,
               struct vfm_error *err);

/* Target: compares what the source says with our devices; 0, or the refusal. */
int hello_check(struct vfm_migration *m, const char *json, size_t len,
                struct vfm_error *err);

/* Source: 0 if the answer is yes, else the target's reason. */
int hello_check_answer(struct vfm_migration *m, const char *json, size_t len,
                       struct vfm_error *err);

#endif
