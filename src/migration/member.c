/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bookkeeping of one device in a migration.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migration/member.h"

#define SECTION_SUFFIX "/vfio"

_Static_assert(VFM_DIGEST_SIZE == DIGEST_HEX_SIZE,
               "a digest has to fit where users find it");

int member_new(struct vfm_device *dev, const char *id, uint32_t section_id,
               struct member **memberp)
{
    struct member *member = calloc(1, sizeof(*member));

    if (member == NULL)
        return -ENOMEM;
    member->dev = dev;
    member->section_id = section_id;
    member->id = strdup(id);
    member->digest = digest_new();
    if (asprintf(&member->section, "%s" SECTION_SUFFIX, id) < 0)
        member->section = NULL;
    if (member->id == NULL || member->digest == NULL ||
        member->section == NULL) {
        member_free(member);
        return -ENOMEM;
    }
    member->initial = vfm_device_state(dev);
    *memberp = member;
    return 0;
}

void member_free(struct member *member)
{
    if (member == NULL)
        return;
    pci_state_close(&member->config);
    digest_free(member->digest);
    vfm_multifd_window_free(member->window);
    free(member->section);
    free(member->id);
    free(member);
}

void member_note_data(struct member *member, const void *data, size_t n,
                      bool stopped)
{
    digest_update(member->digest, data, n);
    if (stopped)
        member->stats.stop_copy_bytes += n;
    else
        member->stats.pre_copy_bytes += n;
}

struct vfm_device_stats member_get_stats(const struct member *member)
{
    struct vfm_device_stats stats = member->stats;

    stats.id = member->id;
    stats.state = vfm_device_state(member->dev);
    stats.config_bytes = member->config.record_len;
    digest_hex(member->digest, stats.digest);
    return stats;
}
