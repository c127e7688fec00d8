/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_PROBE_H
#define VFM_TOOL_PROBE_H

/*
 * What a device answered, and what that is worth.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/device.h>

/* States that a device can have: VFM_STATE_ERROR to VFM_STATE_PRE_COPY_P2P. */
#define PROBE_STATES    8

/* The most sentences of advice. */
#define PROBE_MAX_NOTES 8

struct json_tree;

struct probe {
    const char *word; /* the device's, on the command line */
    struct vfm_device_info info;
    enum vfm_state state;
    uint32_t states; /* a bit for each */
    bool has_data_size;
    uint64_t data_size;
    bool has_precopy; /* the device is in a PRE_COPY state and told */
    struct vfm_precopy_info precopy;

    /* The verdict. */
    const char *reason; /* why it cannot be migrated; NULL: it can */
    const char *advice; /* what to do then */
    const char *notes[PROBE_MAX_NOTES]; /* what it costs, static */
    size_t note_count;
};

/* Fills in what the device answers.  Returns 0, or the error that broke it. */
int probe_ask(struct vfm_device *dev, struct probe *probe,
              struct vfm_error *err);

/* Fills in the verdict. */
void probe_judge(struct probe *probe);

void probe_print(const struct probe *probe);
void probe_print_json(const struct probe *probe);

/* What a device can do, for those who show several. */
struct json_tree *probe_migration_object(uint64_t migration);

#endif
