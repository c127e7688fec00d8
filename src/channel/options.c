/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options' versions: an older or newer caller's structure is understood
 * as far as this library knows it.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "channel/channel.h"
#include "util/error.h"

/* No version will be longer; a larger size is a caller's mistake. */
#define OPTIONS_SIZE_MAX 4096

/* The first version. */
#define OPTIONS_SIZE_MIN                               \
    (offsetof(struct vfm_channel_options, cancel_fd) + \
     sizeof(((struct vfm_channel_options *)NULL)->cancel_fd))

int channel_options_read(struct vfm_channel_options *to,
                         const struct vfm_channel_options *from,
                         struct vfm_error *err)
{
    const unsigned char *bytes = (const unsigned char *)from;

    *to = (struct vfm_channel_options)VFM_CHANNEL_OPTIONS_INIT;
    if (from == NULL)
        return 0;
    if (from->size < OPTIONS_SIZE_MIN)
        return error_set(err, -EINVAL,
                         "channel options: the size %zu is too small",
                         from->size);
    if (from->size > OPTIONS_SIZE_MAX)
        return error_set(err, -E2BIG,
                         "channel options: the size %zu is too large",
                         from->size);
    for (size_t i = sizeof(*to); i < from->size; i++)
        if (bytes[i] != 0)
            return error_set(err, -E2BIG,
                             "channel options: byte %zu is an option that "
                             "this library does not know",
                             i);

    memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
    to->size = sizeof(*to);
    return 0;
}
