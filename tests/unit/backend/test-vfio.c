/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices of the kernel, with a kernel that keeps to the rules, and one that
 * does not.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <vfmig/dirty.h>
#include <vfmig/vfio.h>

#include "device/device.h"
#include "dirty/device-log.h"
#include "fake-kernel-device.h"
#include "protocol/iommufd-uapi.h"
#include "protocol/vfio-uapi.h"
#include "util/clock.h"

static uint8_t state_bytes[3000];
static struct vfm_device *dev;
static struct vfm_error err;

static int begin(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(state_bytes); i++)
        state_bytes[i] = (uint8_t)(i * 7 + i / 256);
    kdev_start();
    kdev.data = state_bytes;
    kdev.size = sizeof(state_bytes);
    kdev.pre_copy_size = 1000;
    memset(&err, 0, sizeof(err));
    assert_int_equal(vfm_device_open_vfio_fd(kdev.fd, "nic", &dev, &err), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    vfm_device_close(dev);
    kdev_stop();
    return 0;
}

static void reopen(void)
{
    vfm_device_close(dev);
    assert_int_equal(vfm_device_open_vfio_fd(kdev.fd, "nic", &dev, &err), 0);
}

static void go(enum vfm_state state)
{
    if (vfm_device_set_state(dev, state, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(kdev.state, state);
}

/* Reads until there is no more for now; the last answer. */
static ssize_t read_all(uint8_t *buf, size_t size, size_t *have)
{
    ssize_t n;

    while ((n = vfm_device_read(dev, buf + *have, size - *have, &err)) > 0)
        *have += (size_t)n;
    return n;
}

/* ---------------------------------------------------------------------- */

static void our_numbers_are_the_kernels(void **state)
{
    (void)state;
    assert_int_equal(UAPI_DEVICE_GET_INFO, VFIO_DEVICE_GET_INFO);
    assert_int_equal(UAPI_DEVICE_GET_REGION_INFO, VFIO_DEVICE_GET_REGION_INFO);
    assert_int_equal(UAPI_DEVICE_RESET_NOW, VFIO_DEVICE_RESET);
    assert_int_equal(UAPI_SET_IOMMU, VFIO_SET_IOMMU);
    assert_int_equal(UAPI_TYPE1V2_IOMMU, VFIO_TYPE1v2_IOMMU);
    assert_int_equal(UAPI_GROUP_GET_STATUS, VFIO_GROUP_GET_STATUS);
    assert_int_equal(UAPI_GROUP_SET_CONTAINER, VFIO_GROUP_SET_CONTAINER);
    assert_int_equal(UAPI_GROUP_GET_DEVICE_FD, VFIO_GROUP_GET_DEVICE_FD);
    assert_int_equal(UAPI_GROUP_VIABLE, VFIO_GROUP_FLAGS_VIABLE);
    assert_int_equal(sizeof(struct uapi_region_info),
                     sizeof(struct vfio_region_info));
    assert_int_equal(sizeof(struct uapi_device_state),
                     sizeof(struct vfio_device_feature_mig_state));
    assert_int_equal(sizeof(struct uapi_group_status),
                     sizeof(struct vfio_group_status));
}

static void what_a_device_is_is_learnt(void **state)
{
    struct vfm_device_info info = { .size = sizeof(info) };

    (void)state;
    assert_int_equal(vfm_device_get_info(dev, &info), 0);
    assert_string_equal(info.backend, "vfio");
    assert_int_equal(info.migration, 7);
    assert_true(info.has_data_size && info.has_precopy_info);
    assert_true(info.has_dma_logging && info.has_reset && info.is_pci);
    assert_int_equal(info.vendor_id, 0x8086);
    assert_int_equal(info.config_size, 256);
    assert_int_equal(vfm_device_state(dev), VFM_STATE_RUNNING);
}

static void a_device_that_cannot_migrate_is_opened_all_the_same(void **state)
{
    struct vfm_device_info info = { .size = sizeof(info) };

    (void)state;
    kdev.migration = 0;
    kdev.has_log = kdev.has_data_size = false;
    kdev.flags = 0;
    reopen();
    assert_int_equal(vfm_device_get_info(dev, &info), 0);
    assert_int_equal(info.migration, 0);
    assert_false(info.has_reset || info.has_dma_logging || info.is_pci);
    assert_int_equal(vfm_device_state(dev), VFM_STATE_RUNNING);
}

/* A device may have less config space than PCI says: mtty has 255 bytes. */
static void config_space_that_is_short_is_read_as_far_as_it_goes(void **state)
{
    struct vfm_device_info info = { .size = sizeof(info) };

    (void)state;
    kdev.config_size = 255;
    kdev.piece = 100;
    reopen();
    assert_int_equal(vfm_device_get_info(dev, &info), 0);
    assert_int_equal(info.vendor_id, 0x8086);
    assert_int_equal(info.config_size, 0);
}

static void what_is_no_device_is_refused(void **state)
{
    struct vfm_device *none;

    (void)state;
    kdev.fail_request = VFIO_DEVICE_GET_INFO;
    kdev.fail = -ENOTTY;
    assert_int_equal(vfm_device_open_vfio_fd(kdev.fd, "x", &none, &err),
                     -ENOTTY);
    assert_null(none);
    assert_string_equal(err.message,
                        "x: is no VFIO device: Inappropriate ioctl "
                        "for device");
}

/* Other descriptors are the real kernel's. */
static void descriptors_that_are_no_devices_are_refused(void **state)
{
    int ends[2];
    struct vfm_device *none;
    struct vfm_dirty_tracker *tracker;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    for (int i = -1; i < 2; i++) {
        int fd = i < 0 ? -1 : ends[i];
        int code = i < 0 ? -EBADF : -ENOTTY;

        kdev.real_fd = fd;
        assert_int_equal(vfm_device_open_vfio_fd(fd, "x", &none, &err), code);
        assert_null(none);
        assert_int_equal(vfm_device_open_vfio_fd(fd, NULL, &none, &err), code);
        assert_memory_equal(err.message, "vfio: is no VFIO device", 23);
        assert_int_equal(vfm_dirty_tracker_new_vfio(fd, &tracker, &err), code);
        assert_null(tracker);
    }
    assert_true(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static void a_state_is_saved(void **state)
{
    uint8_t buf[4000];
    size_t have = 0;

    (void)state;
    kdev.piece = 333;
    go(VFM_STATE_PRE_COPY);
    assert_int_equal(read_all(buf, sizeof(buf), &have), -ENOMSG);
    assert_int_equal(have, 1000);
    kdev.pre_copy_size = 1500;
    assert_int_equal(read_all(buf, sizeof(buf), &have), -ENOMSG);
    assert_int_equal(have, 1500);
    go(VFM_STATE_STOP_COPY);
    assert_int_equal(read_all(buf, sizeof(buf), &have), 0);
    assert_int_equal(read_all(buf, sizeof(buf), &have), 0);
    assert_int_equal(have, sizeof(state_bytes));
    assert_memory_equal(buf, state_bytes, have);
    assert_int_equal(kdev.sessions, 1);
    go(VFM_STATE_STOP);
}

/* Or the rest of the state would be lost. */
static void an_end_in_pre_copy_is_none(void **state)
{
    uint8_t buf[4000];
    size_t have = 0;

    (void)state;
    kdev.ends_by_zero = true;
    go(VFM_STATE_PRE_COPY);
    assert_int_equal(read_all(buf, sizeof(buf), &have), -ENOMSG);
    go(VFM_STATE_STOP_COPY);
    assert_int_equal(read_all(buf, sizeof(buf), &have), 0);
    assert_int_equal(have, sizeof(state_bytes));
    assert_memory_equal(buf, state_bytes, have);
}

static void a_state_is_loaded(void **state)
{
    (void)state;
    kdev.piece = 500;
    kdev.interrupts = 3;
    go(VFM_STATE_RESUMING);
    kdev.interrupts = 2;
    assert_int_equal(
        vfm_device_write(dev, state_bytes, sizeof(state_bytes), &err), 0);
    go(VFM_STATE_STOP);
    assert_int_equal(kdev.loaded_size, sizeof(state_bytes));
    assert_memory_equal(kdev.loaded, state_bytes, sizeof(state_bytes));
    go(VFM_STATE_RUNNING);
}

static void a_load_that_is_short_is_refused_on_the_way_out(void **state)
{
    (void)state;
    go(VFM_STATE_RESUMING);
    assert_int_equal(vfm_device_write(dev, state_bytes, 10, &err), 0);
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP, &err), -EINVAL);
    assert_string_equal(err.message,
                        "nic: cannot go to STOP: Invalid argument");
    assert_int_equal(vfm_device_state(dev), VFM_STATE_RESUMING);
    assert_int_equal(vfm_device_recover(dev, VFM_STATE_RUNNING, &err),
                     VFM_RECOVERY_RESET);
    assert_int_equal(kdev.state, VFM_STATE_RUNNING);
}

/* Nothing to poll for would be a loop that never sleeps. */
static void a_device_that_is_busy_is_polled_for(void **state)
{
    struct pollfd fds[DEVICE_MAX_FDS];
    const void *data;
    int64_t deadline;

    (void)state;
    go(VFM_STATE_STOP_COPY);
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 0);
    kdev.busy = 2;
    assert_int_equal(device_peek(dev, &data, &err), -EAGAIN);
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 1);
    assert_int_equal(fds[0].events, POLLIN);
    assert_true(deadline > clock_now());
    assert_true(deadline <= clock_now() + 30 * NS_PER_SEC);
    assert_int_equal(device_peek(dev, &data, &err), -EAGAIN);
    assert_int_equal(device_peek(dev, &data, &err), sizeof(state_bytes));
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 0);
}

static void an_error_of_the_session_stays(void **state)
{
    uint8_t buf[10];

    (void)state;
    go(VFM_STATE_STOP_COPY);
    kdev.fail_read = -EIO;
    assert_int_equal(vfm_device_read(dev, buf, sizeof(buf), &err), -EIO);
    assert_string_equal(err.message,
                        "nic: cannot read its state: Input/output error");
    kdev.fail_read = 0;
    assert_int_equal(vfm_device_read(dev, buf, sizeof(buf), &err), -EIO);
    go(VFM_STATE_STOP);
    go(VFM_STATE_STOP_COPY);
    assert_int_equal(vfm_device_read(dev, buf, sizeof(buf), &err), 10);
    go(VFM_STATE_STOP);
    go(VFM_STATE_RESUMING);
    kdev.fail_write = -ENOMEM;
    assert_int_equal(vfm_device_write(dev, buf, sizeof(buf), &err), -ENOMEM);
}

static void what_is_left_is_told(void **state)
{
    struct vfm_precopy_info info = { .size = sizeof(info) };
    uint64_t bytes;

    (void)state;
    assert_int_equal(vfm_device_data_size(dev, &bytes, &err), 0);
    assert_int_equal(bytes, sizeof(state_bytes));
    assert_int_equal(vfm_device_precopy_info(dev, &info, &err), -EINVAL);
    go(VFM_STATE_PRE_COPY);
    assert_int_equal(vfm_device_precopy_info(dev, &info, &err), 0);
    assert_int_equal(info.initial_bytes, 1000);
    assert_int_equal(info.dirty_bytes, 3);
    assert_int_equal(info.flags, 0);
}

static void flags_are_valid_if_they_were_asked_for(void **state)
{
    struct vfm_precopy_info info = { .size = sizeof(info) };

    (void)state;
    kdev.has_flags = true;
    go(VFM_STATE_PRE_COPY);
    assert_int_equal(vfm_device_precopy_info(dev, &info, &err), 0);
    assert_int_equal(info.flags, VFM_PRECOPY_REINIT);
}

/* A stop in between made a driver forget what it would then be told. */
static void a_target_stops_on_no_way(void **state)
{
    unsigned int before = kdev.ioctls;

    (void)state;
    go(VFM_STATE_RESUMING);
    assert_int_equal(kdev.ioctls, before + 1);
}

static void a_change_of_state_that_fails_is_told(void **state)
{
    (void)state;
    kdev.fail_request = VFIO_DEVICE_FEATURE;
    kdev.fail_flags = UAPI_FEATURE_SET | UAPI_FEATURE_DEVICE_STATE;
    kdev.fail = -EBUSY;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP, &err), -EBUSY);
    assert_int_equal(vfm_device_state(dev), VFM_STATE_RUNNING);
    go(VFM_STATE_STOP);
}

/* Where it means that it did not get a lock, and not that we shall ask again
 * for the answer: that would be for ever. */
static void a_driver_that_says_to_try_again_is_busy(void **state)
{
    uint8_t byte;

    (void)state;
    kdev.fail_request = VFIO_DEVICE_RESET;
    kdev.fail = -EAGAIN;
    assert_int_equal(vfm_device_reset(dev, &err), -EBUSY);
    assert_string_equal(err.message,
                        "nic: cannot reset: Device or resource busy");
    assert_int_equal(vfm_device_reset(dev, &err), 0);
    kdev.fail_request = VFIO_DEVICE_FEATURE;
    kdev.fail_flags = UAPI_FEATURE_SET | UAPI_FEATURE_DEVICE_STATE;
    kdev.fail = -EAGAIN;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP, &err), -EBUSY);
    kdev.fail_access = -EAGAIN;
    assert_int_equal(vfm_device_region_read(dev, 7, 0, &byte, 1, &err), -EBUSY);
    assert_int_equal(vfm_device_region_write(dev, 7, 0, &byte, 1, &err),
                     -EBUSY);
}

/* It is the end of what there is for now, and of a state there is no more. */
static void a_state_that_has_no_end_is_an_error(void **state)
{
    uint8_t buf[4000];
    size_t have = 0;

    (void)state;
    kdev.never_ends = true;
    go(VFM_STATE_STOP_COPY);
    assert_int_equal(read_all(buf, sizeof(buf), &have), -EPROTO);
    assert_int_equal(have, sizeof(state_bytes));
    assert_string_equal(err.message,
                        "nic: cannot read its state: Protocol error");
    assert_int_equal(read_all(buf, sizeof(buf), &have), -EPROTO);
}

/* The time that it has for an answer begins anew when it has stopped. */
static void a_stop_begins_the_wait_for_data_anew(void **state)
{
    struct pollfd fds[DEVICE_MAX_FDS];
    const void *data;
    int64_t deadline;

    (void)state;
    go(VFM_STATE_PRE_COPY);
    kdev.busy = 1;
    assert_int_equal(device_peek(dev, &data, &err), -EAGAIN);
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 1);
    go(VFM_STATE_STOP_COPY);
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 0);
    assert_int_equal(deadline, CLOCK_NEVER);
}

static void a_device_out_of_order_is_reset(void **state)
{
    (void)state;
    kdev.state = VFM_STATE_ERROR;
    reopen();
    assert_int_equal(vfm_device_state(dev), VFM_STATE_ERROR);
    assert_true(vfm_device_set_state(dev, VFM_STATE_STOP, &err) < 0);
    assert_int_equal(vfm_device_reset(dev, &err), 0);
    assert_int_equal(vfm_device_state(dev), VFM_STATE_RUNNING);
}

static void regions_are_read_and_written(void **state)
{
    uint8_t bytes[4] = { 1, 2, 3, 4 };

    (void)state;
    kdev.piece = 3;
    kdev.interrupts = 1;
    assert_int_equal(vfm_device_region_write(dev, 7, 252, bytes, 4, &err), 0);
    memset(bytes, 0, 4);
    assert_int_equal(vfm_device_region_read(dev, 7, 252, bytes, 4, &err), 0);
    assert_int_equal(bytes[3], 4);
    assert_int_equal(vfm_device_region_read(dev, 7, 253, bytes, 4, &err),
                     -EINVAL);
    assert_int_equal(vfm_device_region_read(dev, 0, 0, bytes, 4, &err),
                     -EINVAL);
    assert_int_equal(vfm_device_region_read(dev, 99, 0, bytes, 4, &err),
                     -EINVAL);
}

static void its_log_is_a_tracker(void **state)
{
    static const struct vfm_dirty_range ranges[] = { { 0x100000, 0x10000 },
                                                     { 0, 0x10000 } };
    struct vfm_dirty_tracker *tracker;
    struct vfm_dirty_sink *sink;

    (void)state;
    assert_int_equal(vfm_dirty_sink_new(ranges, 2, &sink, &err), 0);
    assert_int_equal(dirty_tracker_new_device(dev, false, &tracker, &err), 0);
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err), 0);
    assert_int_equal(kdev.num_ranges, 2);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(vfm_dirty_sink_count(sink), 4);
    kdev.fail_request = VFIO_DEVICE_FEATURE;
    kdev.fail = -ENOMEM;
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), -ENOMEM);
    assert_int_equal(vfm_dirty_sink_count(sink), 32);
    assert_int_equal(vfm_dirty_tracker_stop(tracker, &err), 0);
    assert_int_equal(kdev.num_ranges, 0);
    vfm_dirty_tracker_free(tracker);
    vfm_dirty_sink_free(sink);
}

static void note_reach(void *opaque, uint64_t address, uint64_t length)
{
    assert_int_equal(address, 0);
    *(uint64_t *)opaque = length;
}

static void it_may_reach_everything(void **state)
{
    uint64_t length = 0;

    (void)state;
    device_reach(dev, note_reach, &length);
    assert_true(length > UINT64_C(1) << 60);
}

static void what_is_no_address_is_refused(void **state)
{
    struct vfm_device *none;

    (void)state;
    assert_int_equal(vfm_device_open_vfio("/etc/passwd", &none, &err), -EINVAL);
    assert_int_equal(vfm_device_open_vfio("ffff:ff:1f.7", &none, &err),
                     -ENODEV);
    assert_int_equal(
        vfm_device_open_vfio("/dev/vfio/devices/vfio9999", &none, &err),
        -ENODEV);
    assert_null(none);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(our_numbers_are_the_kernels),
        TEST(what_a_device_is_is_learnt),
        TEST(a_device_that_cannot_migrate_is_opened_all_the_same),
        TEST(config_space_that_is_short_is_read_as_far_as_it_goes),
        TEST(what_is_no_device_is_refused),
        TEST(descriptors_that_are_no_devices_are_refused),
        TEST(a_state_is_saved),
        TEST(an_end_in_pre_copy_is_none),
        TEST(a_state_is_loaded),
        TEST(a_load_that_is_short_is_refused_on_the_way_out),
        TEST(a_device_that_is_busy_is_polled_for),
        TEST(an_error_of_the_session_stays),
        TEST(what_is_left_is_told),
        TEST(flags_are_valid_if_they_were_asked_for),
        TEST(a_target_stops_on_no_way),
        TEST(a_change_of_state_that_fails_is_told),
        TEST(a_driver_that_says_to_try_again_is_busy),
        TEST(a_state_that_has_no_end_is_an_error),
        TEST(a_stop_begins_the_wait_for_data_anew),
        TEST(a_device_out_of_order_is_reset),
        TEST(regions_are_read_and_written),
        TEST(its_log_is_a_tracker),
        TEST(it_may_reach_everything),
        TEST(what_is_no_address_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
