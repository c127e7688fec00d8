/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * One side of a migration in the caller's own loop:
 *
 *     example-migration receive DEVICE-SOCKET URI
 *     example-migration send    DEVICE-SOCKET URI
 *
 * Prints the stages as they pass and who owns the device at the end.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <vfmig/channel.h>
#include <vfmig/device.h>
#include <vfmig/migration.h>
#include <vfmig/vfio_user.h>

/* A VMM would stop its vCPUs here. */
static int stop_vm(void *opaque, struct vfm_error *err)
{
    (void)err;
    printf("%s: the VM stops\n", (const char *)opaque);
    return 0;
}

static int start_vm(void *opaque, struct vfm_error *err)
{
    (void)err;
    printf("%s: the VM runs\n", (const char *)opaque);
    return 0;
}

static void event(void *opaque, const struct vfm_event *event)
{
    if (event->kind == VFM_EVENT_STAGE)
        printf("%s: %s\n", (const char *)opaque, vfm_stage_name(event->stage));
}

/* Waits for whatever the migration waits for; a VMM has this descriptor among
 * those of its loop. */
static int run(struct vfm_migration *m, struct vfm_error *err)
{
    struct pollfd fd = { .fd = vfm_migration_fd(m), .events = POLLIN };
    int ret;

    while ((ret = vfm_migration_dispatch(m, err)) > 0)
        poll(&fd, 1, -1);
    return ret;
}

/* What a VMM has to know at the end, more than whether it worked: may the VM
 * run here? */
static void print_owner(const char *name, enum vfm_outcome outcome,
                        const struct vfm_device *dev)
{
    if (outcome == VFM_OUTCOME_HANDED_OVER)
        printf("%s: it is not known whether the device runs there; look before "
               "it runs here\n",
               name);
    else if (outcome == VFM_OUTCOME_LOST)
        printf("%s: the device has lost its state\n", name);
    printf("%s: the device is in %s here\n", name,
           vfm_state_name(vfm_device_state(dev)));
}

static int migrate(enum vfm_role role, char *name, struct vfm_device *dev,
                   struct vfm_channel *channel, struct vfm_error *err)
{
    const struct vfm_migration_callbacks callbacks = {
        .size = sizeof(callbacks),
        .stop_vm = stop_vm,
        .start_vm = start_vm,
        .event = event,
    };
    const struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = role,
        .callbacks = &callbacks,
        .opaque = name,
    };
    struct vfm_migration *m = NULL;
    int ret;

    ret = vfm_migration_new(channel, &options, &m, err);
    if (ret == 0)
        ret = vfm_migration_add_device(m, dev, "0000:00:01.0", err);
    if (ret == 0)
        ret = run(m, err);
    if (m != NULL)
        print_owner(name, vfm_migration_get_outcome(m), dev);
    vfm_migration_close(m);
    return ret;
}

int main(int argc, char **argv)
{
    struct vfm_channel *channel = NULL;
    struct vfm_device *dev = NULL;
    struct vfm_error err = { 0 };
    enum vfm_role role;
    int ret;

    if (argc != 4) {
        fprintf(stderr, "usage: example-migration send|receive SOCKET URI\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    role = strcmp(argv[1], "send") == 0 ? VFM_ROLE_SOURCE : VFM_ROLE_TARGET;

    ret = vfm_device_open_vfio_user(argv[2], NULL, NULL, &dev, &err);
    if (ret == 0 && role == VFM_ROLE_SOURCE)
        ret = vfm_channel_connect(argv[3], NULL, &channel, &err);
    else if (ret == 0)
        ret = vfm_channel_accept(argv[3], NULL, &channel, &err);
    if (ret == 0)
        ret = migrate(role, argv[1], dev, channel, &err);
    if (ret < 0)
        fprintf(stderr, "example-migration: %s\n", err.message);

    vfm_channel_close(channel);
    vfm_device_close(dev);
    return ret < 0;
}
