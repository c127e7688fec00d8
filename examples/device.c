/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saves the state of a stopped device to a file, or loads it from one:
 *
 *     example-device SOCKET save FILE
 *     example-device SOCKET load FILE
 *
 * The file holds the bare state: no header, no digest.  For those see
 * <vfmig/migration.h>.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vfmig/device.h>
#include <vfmig/vfio_user.h>

static char buf[1 << 20];

static int file_failed(struct vfm_error *err)
{
    err->code = errno > 0 ? -errno : -EIO;
    snprintf(err->message, sizeof(err->message), "the file: %s",
             strerror(-err->code));
    return err->code;
}

/* The device stops, tells its state and goes on. */
static int save(struct vfm_device *dev, FILE *file, struct vfm_error *err)
{
    ssize_t n;
    int ret = vfm_device_set_state(dev, VFM_STATE_STOP_COPY, err);

    if (ret < 0)
        return ret;
    while ((n = vfm_device_read(dev, buf, sizeof(buf), err)) > 0)
        if (fwrite(buf, 1, (size_t)n, file) != (size_t)n)
            return file_failed(err);
    return n < 0 ? (int)n : vfm_device_set_state(dev, VFM_STATE_RUNNING, err);
}

/* The device takes the state, checks it on the way to STOP, and runs. */
static int load(struct vfm_device *dev, FILE *file, struct vfm_error *err)
{
    size_t n;
    int ret = vfm_device_set_state(dev, VFM_STATE_RESUMING, err);

    while (ret == 0 && (n = fread(buf, 1, sizeof(buf), file)) > 0)
        ret = vfm_device_write(dev, buf, n, err);
    if (ret == 0 && ferror(file))
        ret = file_failed(err);
    if (ret == 0)
        ret = vfm_device_set_state(dev, VFM_STATE_STOP, err);
    return ret < 0 ? ret : vfm_device_set_state(dev, VFM_STATE_RUNNING, err);
}

/* Does it, and sees to it that the device runs whatever happens. */
static int move(struct vfm_device *dev, const char *verb, FILE *file)
{
    struct vfm_error err = { 0 };
    int ret;

    if (strcmp(verb, "save") == 0)
        ret = save(dev, file, &err);
    else
        ret = load(dev, file, &err);
    if (ret < 0) {
        vfm_device_recover(dev, VFM_STATE_RUNNING, &err);
        fprintf(stderr, "example-device: %s\n", err.message);
    }
    return ret;
}

int main(int argc, char *argv[])
{
    struct vfm_error err = { 0 };
    struct vfm_device *dev;
    FILE *file;
    int ret;

    if (argc != 4 ||
        (strcmp(argv[2], "save") != 0 && strcmp(argv[2], "load") != 0)) {
        fprintf(stderr, "usage: example-device SOCKET save|load FILE\n");
        return 2;
    }
    file = fopen(argv[3], strcmp(argv[2], "save") == 0 ? "wb" : "rb");
    if (file == NULL) {
        fprintf(stderr, "example-device: %s: %s\n", argv[3], strerror(errno));
        return 1;
    }
    ret = vfm_device_open_vfio_user(argv[1], NULL, NULL, &dev, &err);
    if (ret < 0) {
        fprintf(stderr, "example-device: %s\n", err.message);
    } else {
        ret = move(dev, argv[2], file);
        vfm_device_close(dev);
    }
    if (fclose(file) != 0 && ret == 0) {
        fprintf(stderr, "example-device: %s: %s\n", argv[3], strerror(errno));
        ret = -1;
    }
    return ret < 0 ? 1 : 0;
}
