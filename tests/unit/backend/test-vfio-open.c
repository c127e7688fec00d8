/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Getting at a device of the kernel: a file system with what sysfs and /dev
 * have, and a kernel that answers for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/vfio/kernel.h"
#include "fake-kernel-device.h"
#include "fake-sysfs.h"
#include "protocol/iommufd-uapi.h"

#define BDF  "0000:3b:00.2"
#define UUID "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"

static struct vfm_device *dev;
static struct vfm_error err;
static int fds_before;

static int count_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 200; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void make_cdev(void)
{
    sysfs_make_cdev("pci", BDF);
}

static int begin(void **state)
{
    (void)state;
    sysfs_make();
    sysfs_make_file("dev/vfio/7", "");
    sysfs_make_file("dev/vfio/vfio", "");
    sysfs_make_device("pci", BDF, "vfio-pci");
    kdev_start();
    memset(&err, 0, sizeof(err));
    dev = NULL;
    fds_before = count_fds();
    return 0;
}

static int end(void **state)
{
    (void)state;
    vfm_device_close(dev);
    assert_int_equal(count_fds(), fds_before);
    kdev_stop();
    sysfs_remove();
    return 0;
}

static void opens(const char *text)
{
    if (kernel_open(sysfs_root, text, &dev, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(vfm_device_state(dev), VFM_STATE_RUNNING);
}

static void does_not_open(const char *text, int code, const char *says)
{
    assert_int_equal(kernel_open(sysfs_root, text, &dev, &err), code);
    assert_null(dev);
    if (strstr(err.message, says) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", says, err.message);
}

static void a_device_is_opened_by_its_group(void **state)
{
    (void)state;
    opens(BDF);
    assert_true(kdev.has_iommu && !kdev.is_bound);
}

static void a_device_is_opened_by_iommufd(void **state)
{
    (void)state;
    make_cdev();
    opens(BDF);
    assert_true(kdev.is_bound && kdev.has_iommu);
}

static void a_character_device_is_one(void **state)
{
    (void)state;
    make_cdev();
    opens("/dev/vfio/devices/vfio3");
    assert_true(kdev.is_bound);
}

static void its_descriptor_can_be_used_beside_the_handle(void **state)
{
    struct uapi_device_info info = { .argsz = sizeof(info) };

    (void)state;
    make_cdev();
    opens(BDF);
    assert_true(fcntl(vfm_vfio_device_fd(dev), F_GETFD) >= 0);
    assert_int_equal(
        ioctl(vfm_vfio_device_fd(dev), UAPI_DEVICE_GET_INFO, &info), 0);
}

/* A kernel with one and not the other. */
static void without_iommufd_the_group_will_do(void **state)
{
    (void)state;
    make_cdev();
    unlink(sysfs_at("dev/iommu"));
    opens(BDF);
    assert_false(kdev.is_bound);
}

static void what_is_not_there_is_said(void **state)
{
    (void)state;
    does_not_open("0000:3b:00.3", -ENODEV, "there is no such device");
    does_not_open(UUID, -ENODEV, "there is no such device");
    does_not_open("/dev/vfio/devices/vfio4", -ENODEV,
                  "there is no such device");
}

/* Nor is anything looked at that it may lead to. */
static void what_names_no_device_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        ".",
        "..",
        "/",
        "...",
        "-1",
        "0000:3b:00.2/",
        " 0000:3b:00.2",
        "0000:3b:00.2\n",
        "vfio3",
        "/dev/vfio/7",
        "/dev/vfio/devices/",
        "/dev/vfio/devices/.",
        "/dev/vfio/devices/vfio",
        "/dev/vfio/devices/vfio-3",
        "/dev/vfio/devices/vfio3 ",
        "/dev/vfio/devices/vfio3/",
        "/dev/vfio/devices/../vfio-dev/vfio3",
        "/dev/vfio/devices/vfio33333333333",
        UUID "0",
    };
    char text[5000];

    (void)state;
    make_cdev();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        does_not_open(bad[i], -EINVAL, "names no device");
    memset(text, '7', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    does_not_open(text, -EINVAL, "names no device");
    memcpy(text, "/dev/vfio/devices/vfio", 22);
    does_not_open(text, -EINVAL, "names no device");
}

static void addresses_may_be_written_large(void **state)
{
    (void)state;
    make_cdev();
    opens("0000:3B:00.2");
}

static void a_device_without_a_driver_of_vfio_is_said_to_be(void **state)
{
    (void)state;
    sysfs_make_device("pci", "0000:3b:00.1", "ahci");
    unlink(sysfs_at("dev/vfio/7"));
    does_not_open("0000:3b:00.1", -ENODEV, "its driver ahci is none of VFIO's");
    unlink(sysfs_at("sys/bus/pci/devices/" BDF "/iommu_group"));
    does_not_open(BDF, -ENODEV, "is in no IOMMU group");
    unlink(sysfs_at("sys/bus/pci/devices/" BDF "/driver"));
    does_not_open(BDF, -ENODEV, "has no driver: bind it to vfio-pci");
}

static void a_group_that_others_use_is_said_to_be(void **state)
{
    (void)state;
    kdev.is_viable = false;
    does_not_open(BDF, -EPERM, "its group 7 holds other devices");
    sysfs_make_device("pci", "0000:3b:00.1", "ahci");
    sysfs_make_device("pci", "0000:3b:00.3", "vfio-pci");
    sysfs_make_device("pci", "0000:3b:00.0", "mlx5_core");
    sysfs_make_folder("sys/bus/pci/devices/0000:3b:00.4");
    sysfs_make_group("0000:3b:00.0");
    sysfs_make_group("0000:3b:00.1");
    sysfs_make_group(BDF);
    sysfs_make_group("0000:3b:00.3");
    sysfs_make_group("0000:3b:00.4");
    does_not_open(BDF, -EPERM,
                  "these, too: 0000:3b:00.0 (mlx5_core), 0000:3b:00.1 (ahci)");
}

static void fails_at(unsigned long request, int code, const char *says)
{
    kdev.fail_request = request;
    kdev.fail = code;
    does_not_open(BDF, code, says);
    assert_int_equal(kdev.fail, 0);
    assert_int_equal(count_fds(), fds_before);
}

static void every_step_to_a_group_may_fail(void **state)
{
    (void)state;
    fails_at(VFIO_GROUP_GET_STATUS, -EIO, "cannot ask its group");
    fails_at(VFIO_GROUP_SET_CONTAINER, -EBUSY, "cannot join");
    fails_at(VFIO_SET_IOMMU, -EPERM, "cannot join");
    fails_at(VFIO_SET_IOMMU, -ENODEV, "(is vfio_iommu_type1 loaded?)");
    fails_at(VFIO_GROUP_GET_DEVICE_FD, -ENODEV, "does not give it out");
    fails_at(VFIO_DEVICE_GET_INFO, -EIO, "is no VFIO device");
    unlink(sysfs_at("dev/vfio/vfio"));
    does_not_open(BDF, -ENOENT, "cannot open a container");
    unlink(sysfs_at("dev/vfio/7"));
    does_not_open(BDF, -ENOENT, "cannot open its group");
}

static void what_cannot_be_opened_comes_with_what_to_do(void **state)
{
    (void)state;
    unlink(sysfs_at("dev/vfio/7"));
    does_not_open(BDF, -ENOENT, "(are the modules of VFIO loaded,");
    sysfs_make_folder("dev/vfio/7");
    does_not_open(BDF, -EISDIR, "cannot open its group: Is a directory");
}

static void every_step_to_a_cdev_may_fail(void **state)
{
    (void)state;
    make_cdev();
    fails_at(UAPI_DEVICE_BIND_IOMMUFD, -EBUSY, "(somebody else has it open)");
    fails_at(UAPI_DEVICE_BIND_IOMMUFD, -ENODEV, "cannot bind it");
    fails_at(UAPI_IOAS_ALLOC, -ENOMEM, "cannot attach it");
    fails_at(UAPI_DEVICE_ATTACH_IOMMUFD, -EINVAL, "cannot attach it");
    unlink(sysfs_at("dev/vfio/devices/vfio3"));
    does_not_open(BDF, -ENOENT, "cannot open its character device");
}

/* The kernel has another number for it. */
static void a_device_that_somebody_has_open_is_busy(void **state)
{
    (void)state;
    make_cdev();
    kdev.fail_request = UAPI_DEVICE_BIND_IOMMUFD;
    kdev.fail = -EINVAL;
    does_not_open(BDF, -EBUSY, "(somebody else has it open)");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_is_opened_by_its_group),
        TEST(a_device_is_opened_by_iommufd),
        TEST(a_character_device_is_one),
        TEST(its_descriptor_can_be_used_beside_the_handle),
        TEST(without_iommufd_the_group_will_do),
        TEST(what_is_not_there_is_said),
        TEST(what_names_no_device_is_refused),
        TEST(addresses_may_be_written_large),
        TEST(what_cannot_be_opened_comes_with_what_to_do),
        TEST(a_device_without_a_driver_of_vfio_is_said_to_be),
        TEST(a_group_that_others_use_is_said_to_be),
        TEST(every_step_to_a_group_may_fail),
        TEST(every_step_to_a_cdev_may_fail),
        TEST(a_device_that_somebody_has_open_is_busy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
