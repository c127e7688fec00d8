/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trackers that ask the kernel, with a kernel that keeps to the rules.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake-kernel.h"
#include "protocol/iommufd-uapi.h"
#include "protocol/vfio-uapi.h"

#include <vfmig/dirty.h>

#define PAGE     VFM_DIRTY_PAGE_SIZE
#define PER_HUGE 512

static const struct vfm_dirty_range ranges[] = { { 0, 1024 * PAGE },
                                                 { 2048 * PAGE, 64 * PAGE } };
static const struct vfm_dirty_slot slot = { .slot = 3,
                                            .flags = KVM_MEM_READONLY,
                                            .address = 1024 * PAGE,
                                            .length = 1000 * PAGE,
                                            .userspace_address = 0x7000000 };

static struct vfm_dirty_tracker *tracker;
static struct vfm_dirty_sink *sink;
static struct vfm_error err;

static int setup(void **state)
{
    const struct vfm_dirty_range all = { 0, (uint64_t)FAKE_PAGES * PAGE };

    (void)state;
    kernel_reset();
    memset(&err, 0, sizeof(err));
    assert_int_equal(vfm_dirty_sink_new(&all, 1, &sink, &err), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vfm_dirty_tracker_free(tracker);
    tracker = NULL;
    vfm_dirty_sink_free(sink);
    return 0;
}

static bool is_marked(uint64_t page)
{
    return vfm_dirty_sink_bitmap(sink, 0)[page / 64] >> page % 64 & 1;
}

static void start(void)
{
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err), 0);
    assert_true(kernel.logs);
}

static void report(void)
{
    vfm_dirty_sink_clear(sink);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
}

static void stop(void)
{
    assert_int_equal(vfm_dirty_tracker_stop(tracker, &err), 0);
    assert_false(kernel.logs);
}

/* What every one of them has to do: tell each write once, of any range. */
static void check_tells(void)
{
    start();
    report();
    kernel_write(1);
    kernel_write(1023);
    kernel_write(2048);
    kernel_write(2111);
    kernel.interrupts = 2;
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), 4);
    assert_true(is_marked(1) && is_marked(1023));
    assert_true(is_marked(2048) && is_marked(2111));
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
    kernel_write(1);
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), 1);
    stop();
}

/* @request fails: everything counts as written, @pages of it. */
static void check_fails(unsigned long request, unsigned int skip,
                        unsigned int pages)
{
    start();
    kernel.fail_request = request;
    kernel.fail_skip = skip;
    kernel.fail = -EIO;
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), -EIO);
    assert_non_null(strstr(err.message, strerror(EIO)));
    assert_int_equal(vfm_dirty_sink_count(sink), pages);
    kernel.fail = 0;
    stop();
}

static void check_does_not_start(unsigned long request)
{
    kernel.fail_request = request;
    kernel.fail = -ENOSPC;
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err),
                     -ENOSPC);
    assert_non_null(strstr(err.message, strerror(ENOSPC)));
    kernel.fail = 0;
    assert_false(kernel.logs);
    start();
    kernel.fail = -EIO;
    kernel.fail_request = request;
    assert_int_equal(vfm_dirty_tracker_stop(tracker, &err), -EIO);
    kernel.fail = 0;
}

/* --------------------------------------------------------- the uAPI */

/* Our numbers are those of the headers that this machine has. */
static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(UAPI_DEVICE_FEATURE, VFIO_DEVICE_FEATURE);
    assert_int_equal(UAPI_IOMMU_GET_INFO, VFIO_IOMMU_GET_INFO);
    assert_int_equal(UAPI_IOMMU_DIRTY_PAGES, VFIO_IOMMU_DIRTY_PAGES);
    assert_int_equal(UAPI_FEATURE_LOG_START,
                     VFIO_DEVICE_FEATURE_DMA_LOGGING_START);
    assert_int_equal(UAPI_FEATURE_LOG_STOP,
                     VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP);
    assert_int_equal(UAPI_FEATURE_LOG_REPORT,
                     VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT);
    assert_int_equal(sizeof(struct uapi_feature),
                     sizeof(struct vfio_device_feature));
    assert_int_equal(sizeof(struct uapi_log_control),
                     sizeof(struct vfio_device_feature_dma_logging_control));
    assert_int_equal(sizeof(struct uapi_log_report),
                     sizeof(struct vfio_device_feature_dma_logging_report));
    assert_int_equal(sizeof(struct vfm_dirty_range),
                     sizeof(struct vfio_device_feature_dma_logging_range));
}

/* ------------------------------------------------- a device's DMA log */

static void make_vfio(void)
{
    assert_int_equal(vfm_dirty_tracker_new_vfio(FAKE_DEVICE, &tracker, &err),
                     0);
}

static void test_vfio(void **state)
{
    (void)state;
    make_vfio();
    check_tells();
    assert_int_equal(kernel.num_ranges, 2);
}

static void test_vfio_without_log(void **state)
{
    (void)state;
    kernel.has_no_log = true;
    assert_int_equal(vfm_dirty_tracker_new_vfio(FAKE_DEVICE, &tracker, &err),
                     -ENOTTY);
    assert_null(tracker);
    assert_string_equal(err.message, "the device has no DMA log");
}

static void test_vfio_fails(void **state)
{
    (void)state;
    make_vfio();
    check_fails(VFIO_DEVICE_FEATURE, 0, 1024 + 64);
    check_fails(VFIO_DEVICE_FEATURE, 1, 1024 + 64);
    check_does_not_start(VFIO_DEVICE_FEATURE);
}

/* Ranges that touch are one; where there are more than the kernel takes, all
 * from the first to the last is. */
static void test_vfio_ranges(void **state)
{
    struct vfm_dirty_range many[600];

    (void)state;
    make_vfio();
    for (uint64_t i = 0; i < 600; i++)
        many[599 - i] = (struct vfm_dirty_range){ i * PAGE, PAGE };
    assert_int_equal(vfm_dirty_tracker_start(tracker, many, 600, &err), 0);
    assert_int_equal(kernel.num_ranges, 1);
    assert_int_equal(kernel.last, 600 * PAGE - 1);
    stop();
    for (uint64_t i = 0; i < 600; i++)
        many[i] = (struct vfm_dirty_range){ 2 * i * PAGE, PAGE };
    assert_int_equal(vfm_dirty_tracker_start(tracker, many, 600, &err), 0);
    assert_int_equal(kernel.num_ranges, 1);
    assert_int_equal(kernel.last, 1199 * PAGE - 1);
    kernel_write(2 * 599);
    kernel_write(2 * 599 + 1);
    report();
    assert_true(is_marked(2 * 599));
    assert_false(is_marked(2 * 599 + 1));
    stop();
    assert_int_equal(vfm_dirty_tracker_start(tracker, many, 200, &err), 0);
    assert_int_equal(kernel.num_ranges, 200);
    stop();
}

/* No bitmap is larger than that of a piece. */
static void test_vfio_large(void **state)
{
    const struct vfm_dirty_range large = { 0, UINT64_C(40) << 30 };

    (void)state;
    make_vfio();
    assert_int_equal(vfm_dirty_tracker_start(tracker, &large, 1, &err), 0);
    kernel_write(77);
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), 1);
    assert_int_equal(kernel.largest, UINT64_C(16) << 30);
    stop();
}

/* ------------------------------------------------------- the IOMMU's */

static void make_iommufd(uint32_t hwpt)
{
    assert_int_equal(
        vfm_dirty_tracker_new_iommufd(FAKE_IOMMU, hwpt, &tracker, &err), 0);
}

static void test_iommufd(void **state)
{
    (void)state;
    make_iommufd(FAKE_HWPT);
    kernel_write(5);
    check_tells();
}

static void test_iommufd_fails(void **state)
{
    (void)state;
    make_iommufd(FAKE_HWPT);
    check_fails(UAPI_HWPT_GET_DIRTY_BITMAP, 1, 1024 + 64);
    check_does_not_start(UAPI_HWPT_SET_DIRTY_TRACKING);
}

static void test_iommufd_wrong_id(void **state)
{
    (void)state;
    make_iommufd(FAKE_HWPT + 1);
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err),
                     -ENOENT);
}

/* ----------------------------------------------------------- type 1 */

static void make_type1(void)
{
    assert_int_equal(
        vfm_dirty_tracker_new_type1(FAKE_CONTAINER, &tracker, &err), 0);
}

static void test_type1(void **state)
{
    (void)state;
    make_type1();
    check_tells();
    assert_int_equal(kernel.largest, 1024 * PAGE);
}

static void test_type1_fails(void **state)
{
    (void)state;
    make_type1();
    check_fails(VFIO_IOMMU_DIRTY_PAGES, 1, 1024 + 64);
    check_does_not_start(VFIO_IOMMU_DIRTY_PAGES);
}

static void test_type1_info_fails(void **state)
{
    (void)state;
    kernel.fail_request = VFIO_IOMMU_GET_INFO;
    kernel.fail = -EBADF;
    assert_int_equal(
        vfm_dirty_tracker_new_type1(FAKE_CONTAINER, &tracker, &err), -EBADF);
    kernel.fail = 0;
    kernel.page_sizes = 0;
    assert_int_equal(
        vfm_dirty_tracker_new_type1(FAKE_CONTAINER, &tracker, &err), -EPROTO);
}

/* Its pages may be larger than ours. */
static void test_type1_large_pages(void **state)
{
    const struct vfm_dirty_range uneven = { 0, PAGE };
    const struct vfm_dirty_range even = { 0, 2 * PER_HUGE * PAGE };

    (void)state;
    kernel.page_sizes = PER_HUGE * PAGE;
    make_type1();
    assert_int_equal(vfm_dirty_tracker_start(tracker, &uneven, 1, &err),
                     -EINVAL);
    assert_int_equal(vfm_dirty_tracker_start(tracker, &even, 1, &err), 0);
    kernel_write(PER_HUGE + 3);
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), PER_HUGE);
    assert_true(is_marked(PER_HUGE) && !is_marked(PER_HUGE - 1));
    stop();
}

static void test_type1_too_large(void **state)
{
    const struct vfm_dirty_range huge = { 0, UINT64_C(1) << 43 };

    (void)state;
    make_type1();
    assert_int_equal(vfm_dirty_tracker_start(tracker, &huge, 1, &err), -E2BIG);
}

/* -------------------------------------------------------------- KVM */

static void make_kvm(unsigned int flags)
{
    assert_int_equal(
        vfm_dirty_tracker_new_kvm_log(FAKE_VM, &slot, 1, flags, &tracker, &err),
        0);
}

static void check_kvm(void)
{
    start();
    assert_int_equal(kernel.slot_flags,
                     KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES);
    kernel_write(1024);
    kernel_write(2023);
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), 2);
    assert_true(is_marked(1024) && is_marked(2023));
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
    stop();
    assert_int_equal(kernel.slot_flags, KVM_MEM_READONLY);
}

static void test_kvm_log(void **state)
{
    (void)state;
    make_kvm(0);
    check_kvm();
}

static void write_again(void)
{
    kernel_write(1024);
    kernel.before_clear = NULL;
}

/* With manual protection a page stays dirty until it is cleared; what is
 * written after that is told the next time. */
static void test_kvm_manual_protect(void **state)
{
    (void)state;
    kernel.manual_protect = true;
    make_kvm(VFM_DIRTY_KVM_MANUAL_PROTECT);
    check_kvm();
    start();
    kernel_write(1024);
    kernel.before_clear = write_again;
    report();
    assert_true(is_marked(1024));
    report();
    assert_true(is_marked(1024));
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
}

static void test_kvm_fails(void **state)
{
    (void)state;
    make_kvm(VFM_DIRTY_KVM_MANUAL_PROTECT);
    check_fails(KVM_GET_DIRTY_LOG, 0, 1024 + 64);
    check_fails(KVM_CLEAR_DIRTY_LOG, 0, 1024 + 64);
    check_does_not_start(KVM_SET_USER_MEMORY_REGION);
}

/* One slot that cannot be logged: none is. */
static void test_kvm_half(void **state)
{
    const struct vfm_dirty_slot two[] = {
        slot, { .slot = 9, .address = 0, .length = PAGE }
    };

    (void)state;
    assert_int_equal(
        vfm_dirty_tracker_new_kvm_log(FAKE_VM, two, 2, 0, &tracker, &err), 0);
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err),
                     -EINVAL);
    assert_int_equal(kernel.slot_flags, KVM_MEM_READONLY);
}

static void test_kvm_misuse(void **state)
{
    struct vfm_dirty_slot odd = slot;

    (void)state;
    assert_int_equal(
        vfm_dirty_tracker_new_kvm_log(FAKE_VM, &slot, 0, 0, &tracker, &err),
        -EINVAL);
    assert_int_equal(
        vfm_dirty_tracker_new_kvm_log(FAKE_VM, &slot, 1, 2, &tracker, &err),
        -EINVAL);
    odd.length = PAGE + 1;
    assert_int_equal(
        vfm_dirty_tracker_new_kvm_log(FAKE_VM, &odd, 1, 0, &tracker, &err),
        -EINVAL);
    odd.length = 0;
    assert_int_equal(
        vfm_dirty_tracker_new_kvm_log(FAKE_VM, &odd, 1, 0, &tracker, &err),
        -EINVAL);
    odd.length = ~UINT64_C(0) - PAGE + 1;
    assert_int_equal(
        vfm_dirty_tracker_new_kvm_log(FAKE_VM, &odd, 1, 0, &tracker, &err),
        -EINVAL);
    assert_null(tracker);
    make_kvm(0);
    assert_int_equal(vfm_dirty_tracker_collect(tracker, &err), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_numbers),           TEST(test_vfio),
        TEST(test_vfio_without_log),  TEST(test_vfio_fails),
        TEST(test_vfio_ranges),       TEST(test_vfio_large),
        TEST(test_iommufd),           TEST(test_iommufd_fails),
        TEST(test_iommufd_wrong_id),  TEST(test_type1),
        TEST(test_type1_fails),       TEST(test_type1_info_fails),
        TEST(test_type1_large_pages), TEST(test_type1_too_large),
        TEST(test_kvm_log),           TEST(test_kvm_manual_protect),
        TEST(test_kvm_fails),         TEST(test_kvm_half),
        TEST(test_kvm_misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
