/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices of a machine, as its sysfs tells.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/vfio/kernel.h"
#include "fake-sysfs.h"

#define NIC   "0000:3b:00.2"
#define DISK  "0000:3b:00.1"
#define OTHER "0000:00:1f.0"
#define MTTY  "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"

/* What was told, a line for each device. */
static char told[1000];

static int begin(void **state)
{
    (void)state;
    told[0] = '\0';
    sysfs_make();
    return 0;
}

static int end(void **state)
{
    (void)state;
    sysfs_remove();
    return 0;
}

static int note(void *opaque, const struct vfm_vfio_entry *e)
{
    const int *ends_with = opaque;
    size_t used = strlen(told);

    snprintf(told + used, sizeof(told) - used, "%s %s %d %s%s%s%s\n",
             e->address, e->driver, e->group, e->cdev,
             e->is_mediated ? " mediated" : "", e->by_iommufd ? " iommufd" : "",
             e->debugfs_state);
    return ends_with == NULL ? 0 : *ends_with;
}

static void lists(const char *lines)
{
    struct vfm_error err = { 0 };

    assert_int_equal(kernel_each(sysfs_root, note, NULL, &err), 0);
    assert_string_equal(told, lines);
}

static void a_machine_without_devices_has_none(void **state)
{
    (void)state;
    lists("");
    sysfs_make_folder("sys/bus/pci/devices");
    lists("");
}

static void those_of_vfio_are_told_in_order(void **state)
{
    (void)state;
    sysfs_make_device("mdev", MTTY, "vfio_mdev");
    sysfs_make_device("pci", NIC, "mlx5_vfio_pci");
    sysfs_make_device("pci", OTHER, "ahci");
    sysfs_make_device("pci", DISK, "vfio-pci");
    lists(DISK " vfio-pci 7 \n" NIC " mlx5_vfio_pci 7 \n" MTTY
               " vfio_mdev 7  mediated\n");
}

/* Its driver need not have it in its name. */
static void a_character_device_makes_one(void **state)
{
    (void)state;
    sysfs_make_device("pci", NIC, "qat_4xxx");
    sysfs_make_cdev("pci", NIC);
    lists(NIC " qat_4xxx 7 vfio3 iommufd\n");
}

static void without_iommufd_it_is_opened_by_its_group(void **state)
{
    (void)state;
    sysfs_make_device("pci", NIC, "vfio-pci");
    sysfs_make_cdev("pci", NIC);
    unlink(sysfs_at("dev/iommu"));
    lists(NIC " vfio-pci 7 vfio3\n");
}

static void what_debugfs_says_is_told(void **state)
{
    (void)state;
    sysfs_make_device("pci", NIC, "vfio-pci");
    sysfs_make_file("sys/kernel/debug/vfio/" NIC "/migration/state",
                    "RUNNING_P2P\n");
    lists(NIC " vfio-pci 7 RUNNING_P2P\n");
}

static void an_answer_ends_the_walk(void **state)
{
    int answer = -ECANCELED;

    (void)state;
    sysfs_make_device("pci", NIC, "vfio-pci");
    sysfs_make_device("pci", DISK, "vfio-pci");
    sysfs_make_device("mdev", MTTY, "vfio_mdev");
    assert_int_equal(kernel_each(sysfs_root, note, &answer, NULL), -ECANCELED);
    assert_string_equal(told, DISK " vfio-pci 7 \n");
}

static void fails(int code, const char *why)
{
    struct vfm_error err = { 0 };

    assert_int_equal(kernel_each(sysfs_root, note, NULL, &err), code);
    if (strstr(err.message, why) == NULL)
        fail_msg("'%s' is not in '%s'", why, err.message);
}

/* Errors that a privileged user gets, too: links that lead nowhere but to
 * themselves. */
static void what_cannot_be_read_is_an_error_and_not_left_out(void **state)
{
    (void)state;
    sysfs_make_device("pci", NIC, "vfio-pci");
    sysfs_make_link("sys/bus/pci/devices/" DISK, DISK);
    fails(-ELOOP, DISK ": cannot find out what it is: Too many levels");
    sysfs_make_link("sys/bus/mdev/devices", "devices");
    assert_int_equal(unlink(sysfs_at("sys/bus/pci/devices/" DISK)), 0);
    told[0] = '\0';
    fails(-ELOOP, "cannot list VFIO devices");
    assert_string_equal(told, NIC " vfio-pci 7 \n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_machine_without_devices_has_none),
        TEST(those_of_vfio_are_told_in_order),
        TEST(a_character_device_makes_one),
        TEST(without_iommufd_it_is_opened_by_its_group),
        TEST(what_debugfs_says_is_told),
        TEST(an_answer_ends_the_walk),
        TEST(what_cannot_be_read_is_an_error_and_not_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
