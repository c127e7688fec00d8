/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program of somebody else's, who has nothing but what was installed.
 */
#include <errno.h>
#include <stdio.h>

#include <vfmig/device.h>
#include <vfmig/vfio_user.h>

int main(void)
{
    struct vfm_device *dev;
    struct vfm_error err = { 0 };

    puts(vfm_state_name(VFM_STATE_PRE_COPY_P2P));

    /* Reaches as deep into the library as one can without a device. */
    if (vfm_device_open_vfio_user("/nonexistent/socket", NULL, NULL, &dev,
                                  &err) != -ENOENT)
        return 1;
    puts(err.message);
    return 0;
}
