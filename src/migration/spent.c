/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a migration spends its time on: the account.  Who is to blame is known
 * where it is waited (wait.c), and where devices, the channel and the VMM are
 * called.
 */
#include <assert.h>
#include <string.h>

#include "migration/spent.h"
#include "util/clock.h"

static const char *const names[] = {
    [VFM_CAUSE_SELF] = "self",     [VFM_CAUSE_VM] = "vm",
    [VFM_CAUSE_DEVICE] = "device", [VFM_CAUSE_LINK] = "link",
    [VFM_CAUSE_PEER] = "peer",     [VFM_CAUSE_POLICY] = "policy",
    [VFM_CAUSE_DIGEST] = "digest", [VFM_CAUSE_LOOP] = "loop",
};
_Static_assert(sizeof(names) / sizeof(names[0]) == CAUSES,
               "names[] must have a row for every cause");
_Static_assert(CAUSES <= VFM_CAUSES_MAX,
               "every cause needs its place in struct vfm_spent");

const char *vfm_cause_name(enum vfm_cause cause)
{
    return (unsigned int)cause < CAUSES ? names[cause] : "?";
}

void spent_on(struct spent *spent, enum vfm_stage stage, enum vfm_cause cause)
{
    int64_t now = clock_now();

    if (spent->at == 0) {
        spent->began_at = now;
    } else {
        uint64_t ns = (uint64_t)(now - spent->at);

        spent->total_ns[spent->cause] += ns;
        if (stage < VFM_STAGE_DONE)
            spent->stage_ns[stage][spent->cause] += ns;
    }
    spent->cause = cause;
    spent->at = now;
}

void spent_move(struct spent *spent, enum vfm_stage from, enum vfm_stage to,
                uint64_t ns)
{
    uint64_t *waited = &spent->stage_ns[from][VFM_CAUSE_PEER];

    if (ns > *waited)
        ns = *waited;
    *waited -= ns;
    spent->stage_ns[to][VFM_CAUSE_PEER] += ns;
}

int64_t spent_stopped(struct spent *spent)
{
    memcpy(spent->before_ns, spent->total_ns, sizeof(spent->before_ns));
    memcpy(spent->stage_before_ns, spent->stage_ns, sizeof(spent->stage_ns));
    return spent->at;
}

int64_t spent_started(struct spent *spent)
{
    for (unsigned int i = 0; i < CAUSES; i++)
        spent->downtime_ns[i] = spent->total_ns[i] - spent->before_ns[i];
    for (unsigned int stage = 0; stage < VFM_STAGE_DONE; stage++)
        for (unsigned int i = 0; i < CAUSES; i++)
            spent->stopped_ns[stage][i] =
                spent->stage_ns[stage][i] - spent->stage_before_ns[stage][i];
    return spent->at;
}
