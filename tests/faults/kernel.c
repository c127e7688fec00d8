/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that saves a device of the kernel, or loads one, with a kernel of
 * our own behind the system calls; one of them is to fail.
 *
 *   kernel save|load|list cdev|group FOLDER
 *
 * Ends as vfmig does: 0, 1 or 3, and a line for an error.  What then is not
 * true of the device is told in lines that begin with "kernel:".
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <vfmig/channel.h>
#include <vfmig/migration.h>

#include "backend/vfio/kernel.h"
#include "fail.h"
#include "fake-kernel-device.h"
#include "fake-sysfs.h"

#define BDF        "0000:3b:00.2"
#define UUID       "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
#define STATE_SIZE 3000

static uint8_t state_bytes[STATE_SIZE];
static uint8_t config_before[sizeof(kdev.config)];
static bool all_is_well = true;

/* ------------------------------------------- what fails */

/* Of the library that is preloaded, if it is. */
static enum fail_how (*strike)(struct fail_point *point, const void *caller);
static void (*begin)(void);
static void (*end)(void);
static void (*pause_counting)(bool pause);

static void find_preloaded(void)
{
    *(void **)&strike = dlsym(RTLD_DEFAULT, "fail_strike");
    *(void **)&begin = dlsym(RTLD_DEFAULT, "fail_begin");
    *(void **)&end = dlsym(RTLD_DEFAULT, "fail_end");
    *(void **)&pause_counting = dlsym(RTLD_DEFAULT, "fail_pause");
}

/* Called by the fake kernel. */
int kdev_strikes(struct fail_point *point, const void *caller)
{
    switch (strike == NULL ? FAIL_NOT : strike(point, caller)) {
    case FAIL_NOW:
        return -1;
    case FAIL_SHORT:
        return 1;
    case FAIL_NOT:
    default:
        return 0;
    }
}

/* What the fake kernel does is not the library's. */
void kdev_works(bool works)
{
    if (pause_counting != NULL)
        pause_counting(works);
}

/* ------------------------------------------- what is done */

static int migrate(struct vfm_device *dev, enum vfm_role role,
                   struct vfm_channel *channel, enum vfm_outcome *outcome,
                   struct vfm_error *err)
{
    struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = role,
        .peer = VFM_PEER_NONE,
        .keep_running = role == VFM_ROLE_SOURCE,
    };
    struct vfm_migration *m = NULL;
    int ret = vfm_migration_new(channel, &options, &m, err);

    if (ret == 0)
        ret = vfm_migration_add_device(m, dev, "nic0", err);
    if (ret == 0) {
        ret = vfm_migration_run(m, err);
        *outcome = vfm_migration_get_outcome(m);
    }
    vfm_migration_close(m);
    return ret;
}

static int run(enum vfm_role role, const char *uri, enum vfm_outcome *outcome,
               struct vfm_error *err)
{
    struct vfm_device *dev = NULL;
    struct vfm_channel *channel = NULL;
    int ret = kernel_open(sysfs_root, BDF, &dev, err);

    *outcome = VFM_OUTCOME_FAILED;
    if (ret == 0)
        ret = role == VFM_ROLE_SOURCE
                  ? vfm_channel_connect(uri, NULL, &channel, err)
                  : vfm_channel_accept(uri, NULL, &channel, err);
    if (ret == 0)
        ret = migrate(dev, role, channel, outcome, err);
    vfm_channel_close(channel);
    vfm_device_close(dev);
    return ret;
}

/* ------------------------------------------- what must be true */

static void must(bool truth, const char *sentence)
{
    if (truth)
        return;
    all_is_well = false;
    fprintf(stderr, "kernel: %s\n", sentence);
}

/* By its group the library is given another descriptor, which it closes. */
static int device_fd;

static void stop_device(void)
{
    kdev.fd = device_fd;
    kdev_stop();
}

static void start_device(void)
{
    kdev_start();
    device_fd = kdev.fd;
    kdev.data = state_bytes;
    kdev.size = STATE_SIZE;
    kdev.pre_copy_size = STATE_SIZE / 2;
    kdev.config[4] = 6; /* it may do DMA */
    memcpy(config_before, kdev.config, sizeof(config_before));
}

/* What was saved can be loaded, and is what the device held. */
static void check_file(const char *uri)
{
    enum vfm_outcome outcome;
    struct vfm_error err = { 0 };

    stop_device();
    start_device();
    kdev.config[4] = 0;
    must(run(VFM_ROLE_TARGET, uri, &outcome, &err) == 0, err.message);
    must(kdev.loaded_size == STATE_SIZE &&
             memcmp(kdev.loaded, state_bytes, STATE_SIZE) == 0,
         "the file holds something else");
    must(memcmp(kdev.config, config_before, kdev.config_size) == 0,
         "the file holds another configuration");
}

static int judge_save(const char *uri, int ret, enum vfm_outcome outcome,
                      const struct vfm_error *err)
{
    if (outcome == VFM_OUTCOME_LOST) {
        must(strstr(err->message, "was reset") != NULL ||
                 strstr(err->message, "could not be brought back") != NULL,
             "does not say what became of the device");
        return 3;
    }
    must(kdev.state == VFIO_DEVICE_STATE_RUNNING, "the device does not run");
    must(kdev.resets == 0, "the device was reset");
    if (ret == 0)
        check_file(uri);
    return ret < 0;
}

static int judge_load(int ret, enum vfm_outcome outcome,
                      const struct vfm_error *err)
{
    bool loaded = kdev.loaded_size == STATE_SIZE && kdev.resets == 0 &&
                  memcmp(kdev.loaded, state_bytes, STATE_SIZE) == 0;

    if (outcome == VFM_OUTCOME_LOST) {
        must(strstr(err->message, "could not be brought back") != NULL,
             "does not say what became of the device");
        return 3;
    }
    must(kdev.state == VFIO_DEVICE_STATE_RUNNING, "the device does not run");
    if (ret == 0) {
        must(loaded, "the device has not what was saved");
        must(memcmp(kdev.config, config_before, kdev.config_size) == 0,
             "the device has not its configuration");
    } else {
        must(kdev.loaded_size == 0 || kdev.resets > 0,
             "what was loaded is still there");
    }
    return ret < 0;
}

static void make_device(const char *way)
{
    sysfs_make();
    sysfs_make_file("dev/vfio/7", "");
    sysfs_make_file("dev/vfio/vfio", "");
    sysfs_make_device("pci", BDF, "vfio-pci");
    if (strcmp(way, "cdev") == 0)
        sysfs_make_cdev("pci", BDF);
    for (size_t i = 0; i < STATE_SIZE; i++)
        state_bytes[i] = (uint8_t)(i * 7 + i / 256);
}

/* What is loaded was saved before, by whatever fails in this run. */
static void save_first(const char *uri)
{
    enum vfm_outcome outcome;
    struct vfm_error err = { 0 };

    if (run(VFM_ROLE_SOURCE, uri, &outcome, &err) < 0) {
        must(false, err.message);
        return;
    }
    stop_device();
    start_device();
    kdev.config[4] = 0;
}

static int print_entry(void *opaque, const struct vfm_vfio_entry *entry)
{
    (void)opaque;
    printf("%s %s %s %s %d\n", entry->address, entry->driver, entry->cdev,
           entry->debugfs_state, entry->group);
    return 0;
}

/* Two more, of either kind, one of which tells its state. */
static int list(const char *way)
{
    struct vfm_error err = { 0 };
    int ret;

    find_preloaded();
    make_device(way);
    sysfs_make_device("mdev", UUID, "vfio_mdev");
    sysfs_make_device("pci", "0000:00:1f.0", "mlx5_vfio_pci");
    sysfs_make_file("sys/kernel/debug/vfio/" BDF "/migration/state",
                    "RUNNING\n");
    if (begin != NULL)
        begin();
    ret = kernel_each(sysfs_root, print_entry, NULL, &err);
    if (end != NULL)
        end();
    if (ret < 0)
        fprintf(stderr, "vfmig: %s\n", err.message);
    sysfs_remove();
    return ret < 0;
}

static bool take_words(int argc, char **argv, enum vfm_role *role)
{
    if (argc != 4)
        return false;
    *role = strcmp(argv[1], "load") == 0 ? VFM_ROLE_TARGET : VFM_ROLE_SOURCE;
    return strcmp(argv[1], "save") == 0 || *role == VFM_ROLE_TARGET;
}

int main(int argc, char **argv)
{
    struct vfm_error err = { 0 };
    enum vfm_outcome outcome;
    enum vfm_role role;
    char uri[256];
    int code;
    int ret;

    if (argc == 4 && strcmp(argv[1], "list") == 0)
        return list(argv[2]);
    if (!take_words(argc, argv, &role))
        return 2;
    find_preloaded();
    make_device(argv[2]);
    start_device();
    snprintf(uri, sizeof(uri), "file:%s/state", argv[3]);
    if (role == VFM_ROLE_TARGET)
        save_first(uri);

    if (begin != NULL)
        begin();
    ret = run(role, uri, &outcome, &err);
    if (end != NULL)
        end();
    if (ret < 0)
        fprintf(stderr, "vfmig: %s\n", err.message);
    code = role == VFM_ROLE_TARGET ? judge_load(ret, outcome, &err)
                                   : judge_save(uri, ret, outcome, &err);
    /* The fake's own, before what is left open is looked for. */
    stop_device();
    sysfs_remove();
    return all_is_well ? code : 99;
}
