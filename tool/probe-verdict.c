/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a device can be migrated, why not, and what its gaps will cost.
 *
 * Pure: from the answers to sentences.
 */
#include <assert.h>

#include "probe.h"

/* No device's state is as large; one that says so is guessing. */
#define CREDIBLE_BYTES (UINT64_C(1) << 50)

static bool has(const struct probe *probe, uint64_t flag)
{
    return (probe->info.migration & flag) != 0;
}

static void refuse(struct probe *probe, const char *reason, const char *advice)
{
    probe->reason = reason;
    probe->advice = advice;
}

static void note(struct probe *probe, const char *text)
{
    assert(probe->note_count < PROBE_MAX_NOTES);
    probe->notes[probe->note_count++] = text;
}

/* A state that something else left behind, or is still using. */
static void judge_state(struct probe *probe)
{
    switch (probe->state) {
    case VFM_STATE_ERROR:
        refuse(probe, "it is out of order (ERROR)",
               probe->info.has_reset
                   ? "reset it, which loses its state: vfmig state -d DEVICE "
                     "--reset"
                   : "it has no reset: restart what provides it");
        break;
    case VFM_STATE_STOP_COPY:
    case VFM_STATE_PRE_COPY:
    case VFM_STATE_PRE_COPY_P2P:
        refuse(probe, "it is being saved already, or somebody gave up on that",
               "if nobody uses it and it has not moved elsewhere, end that: "
               "vfmig state -d DEVICE RUNNING (or STOP, if its VM is paused)");
        break;
    case VFM_STATE_RESUMING:
        refuse(probe, "it is being loaded, or somebody gave up on that",
               "if nobody uses it, end that: vfmig state -d DEVICE --reset");
        break;
    case VFM_STATE_STOP:
        note(probe,
             "it is stopped, as that of a VM that is paused or has moved "
             "elsewhere, and would stay so on the other side");
        break;
    case VFM_STATE_RUNNING:
    case VFM_STATE_RUNNING_P2P:
        break;
    }
}

static void note_gaps(struct probe *probe)
{
    if (!has(probe, VFM_MIGRATION_PRE_COPY))
        note(probe, "without pre-copy it stands still while all of its state "
                    "is moved");
    if (!has(probe, VFM_MIGRATION_P2P))
        note(probe, "without P2P it must be the only device that reaches "
                    "other devices");
    if (!probe->info.has_data_size)
        note(probe, "it cannot tell the size of its state, so the downtime "
                    "cannot be predicted");
    else if (!probe->has_data_size)
        note(probe, "it offers to tell the size of its state, but refuses to "
                    "in this state");
    else if (probe->data_size == 0)
        note(probe, "it says that its state has 0 bytes; the prediction of the "
                    "downtime will be no better");
    else if (probe->data_size > CREDIBLE_BYTES)
        note(probe, "the size it says its state has is not credible, so the "
                    "downtime cannot be predicted");
    if (!probe->info.has_dma_logging)
        note(probe, "it does not log its writes to memory: something else must "
                    "(an IOMMU), or all of the memory counts as dirty");
    if (!probe->info.has_reset)
        note(probe, "it has no reset: a failure it cannot come back from needs "
                    "a restart");
}

void probe_judge(struct probe *probe)
{
    if (probe->info.migration == 0) {
        refuse(probe, "it offers no migration (VFIO_DEVICE_FEATURE_MIGRATION)",
               "its driver or server must be one that implements it");
        return;
    }
    if (!has(probe, VFM_MIGRATION_STOP_COPY)) {
        refuse(probe,
               "it offers migration without STOP_COPY, which is the "
               "part that cannot be missing",
               "this is a defect of its driver or server: report it there");
        return;
    }
    judge_state(probe);
    note_gaps(probe);
}
