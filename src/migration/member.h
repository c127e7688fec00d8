/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_MEMBER_H
#define VFM_SRC_MIGRATION_MEMBER_H

/*
 * A device as a member of a migration: the section it has in the stream and
 * how far it has got.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/migration.h>
#include <vfmig/stream.h>

#include "device/device.h"
#include "migration/span.h"
#include "section/pci-keeper.h"
#include "section/pci-state.h"
#include "util/digest.h"

/* One move of the device, of those that are made of all devices at once. */
struct member_move {
    bool under_way;
    bool waits; /* for its turn, while there are enough under way */
    int64_t began_at;
    enum vfm_state from;
};

struct member {
    struct vfm_device *dev;
    char *id;
    char *section; /* "<id>/vfio" */
    uint32_t section_id;
    int index; /* among the members */
    int there; /* among those of the source */

    enum vfm_state initial; /* before the migration touched it */
    bool touched;
    struct member_move move;
    struct span *data; /* of its state, in the stage that it says; or NULL */
    bool recovering;
    enum vfm_recovery recovery; /* the worst so far */
    bool known_gone;            /* whoever waits for it was woken */

    /* Of the device's state, as it passes. */
    struct digest *digest;
    struct vfm_device_stats stats;

    struct pci_state config;
    struct pci_keeper keeper; /* of it, if it is not the device */

    bool initial_announced; /* its initial data is complete */

    /* Source. */
    int64_t quiet_until; /* it said that there is nothing more for now */
    bool drained;        /* ... since it was last asked for sizes */
    bool had_an_end;     /* ... since the policy last could decide */
    uint64_t data_size;  /* its last answers; POLICY_UNKNOWN */
    uint64_t precopy_initial;
    uint64_t precopy_dirty;
    unsigned int question; /* which is next; source-look.c */
    bool data_ended;       /* its session gave its end */
    bool config_saved;

    /* Several channels: the packet that is next, and whether all were sent; or
     * which packets came. */
    uint32_t next_packet;
    bool all_sent;
    struct vfm_multifd_window *window;

    /* Target. */
    bool announced;  /* in the hello */
    bool ended;      /* its END section came */
    bool has_config; /* its configuration record came */
};

/* Returns 0 and the member in *@memberp, or -ENOMEM. */
int member_new(struct vfm_device *dev, const char *id, uint32_t section_id,
               struct member **memberp);
void member_free(struct member *member);

/* @n bytes of the device's state pass by. */
void member_note_data(struct member *member, const void *data, size_t n,
                      bool stopped);

/* What vfm_migration_get_device_stats() tells. */
struct vfm_device_stats member_get_stats(const struct member *member);

#endif
