/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of a channel: their defaults and their first version.
 */
#include <errno.h>
#include <stddef.h>

#include "channel/channel.h"
#include "util/error.h"
#include "util/options.h"

/* The first version.  Less would leave out cancel_fd, whose zero is no default
 * but a descriptor. */
#define OPTIONS_SIZE_MIN                               \
    (offsetof(struct vfm_channel_options, cancel_fd) + \
     sizeof(((struct vfm_channel_options *)NULL)->cancel_fd))

int channel_options_read(struct vfm_channel_options *to,
                         const struct vfm_channel_options *from,
                         struct vfm_error *err)
{
    *to = (struct vfm_channel_options)VFM_CHANNEL_OPTIONS_INIT;
    if (from == NULL)
        return 0;
    if (from->size < OPTIONS_SIZE_MIN)
        return error_set(err, -EINVAL, "channel: options of %zu bytes",
                         from->size);
    return options_copy(to, sizeof(*to), from, "channel", err);
}
