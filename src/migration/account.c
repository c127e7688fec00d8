/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a migration spends its time on, where it is spent: calls to devices and
 * of the digest have their causes here.
 */
#include "migration/migration.h"

enum vfm_cause spend(struct vfm_migration *m, enum vfm_cause cause)
{
    enum vfm_cause before = m->spent.cause;

    spent_on(&m->spent, m->stage, cause);
    return before;
}

int flush_device(struct vfm_migration *m, const struct member *member,
                 struct vfm_error *err)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_DEVICE);
    int ret = device_flush(member->dev, err);

    spend(m, cause);
    return wish_data(m, ret);
}

void note_data(struct vfm_migration *m, struct member *member, const void *data,
               size_t n, bool stopped)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_DIGEST);

    member_note_data(member, data, n, stopped);
    spend(m, cause);
}
