/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM's dirty rings: processors that write as fast as they can while somebody
 * asks, and a ring that is full now and then.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake-kernel.h"

#include <vfmig/dirty.h>

#define PAGE       VFM_DIRTY_PAGE_SIZE
#define VCPUS      2
#define RING_BYTES ((size_t)4096)
#define ENTRIES    (RING_BYTES / sizeof(struct kvm_dirty_gfn))
#define WRITES     20000
#define SLOT_PAGES 1024

static const struct vfm_dirty_slot slots[] = {
    { .slot = 1, .address = 0, .length = SLOT_PAGES * PAGE },
    { .slot = 1 << 16, .address = 2 * SLOT_PAGES * PAGE, .length = 8 * PAGE },
};

/* A processor: KVM's side of a ring. */
struct vcpu {
    int fd;
    struct kvm_dirty_gfn *ring;
    uint32_t next;
    unsigned int fulls;
    pthread_t thread;
    struct vfm_dirty_tracker *tracker;
};

static struct vcpu vcpus[VCPUS];
static struct vfm_dirty_tracker *tracker;
static struct vfm_dirty_sink *sink;
static struct vfm_error err;

static void make_vcpu(struct vcpu *v)
{
    off_t offset = KVM_DIRTY_LOG_PAGE_OFFSET * (off_t)sysconf(_SC_PAGESIZE);

    memset(v, 0, sizeof(*v));
    v->fd = memfd_create("vcpu", 0);
    assert_true(v->fd >= 0);
    assert_int_equal(ftruncate(v->fd, offset + (off_t)RING_BYTES), 0);
    v->ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd,
                   offset);
    assert_true(v->ring != MAP_FAILED);
}

static int setup(void **state)
{
    const struct vfm_dirty_range all = { 0, (uint64_t)FAKE_PAGES * PAGE };
    int fds[VCPUS];

    (void)state;
    kernel_reset();
    for (int i = 0; i < VCPUS; i++) {
        make_vcpu(&vcpus[i]);
        fds[i] = vcpus[i].fd;
    }
    assert_int_equal(vfm_dirty_sink_new(&all, 1, &sink, &err), 0);
    assert_int_equal(vfm_dirty_tracker_new_kvm_ring(FAKE_VM, fds, VCPUS,
                                                    RING_BYTES, slots, 2,
                                                    &tracker, &err),
                     0);
    for (int i = 0; i < VCPUS; i++)
        vcpus[i].tracker = tracker;
    assert_int_equal(vfm_dirty_tracker_start(tracker, NULL, 0, &err), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vfm_dirty_tracker_free(tracker);
    vfm_dirty_sink_free(sink);
    for (int i = 0; i < VCPUS; i++) {
        munmap(vcpus[i].ring, RING_BYTES);
        close(vcpus[i].fd);
    }
    return 0;
}

/* False if the ring has no room. */
static bool push(struct vcpu *v, uint32_t slot, uint64_t offset)
{
    struct kvm_dirty_gfn *e = &v->ring[v->next % ENTRIES];

    if (__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) == KVM_DIRTY_GFN_F_DIRTY)
        return false;
    e->slot = slot;
    e->offset = offset;
    __atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_DIRTY, __ATOMIC_RELEASE);
    v->next++;
    return true;
}

static void report(void)
{
    vfm_dirty_sink_clear(sink);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
}

static bool is_marked(uint64_t page)
{
    return vfm_dirty_sink_bitmap(sink, 0)[page / 64] >> page % 64 & 1;
}

static void test_tells(void **state)
{
    (void)state;
    assert_true(push(&vcpus[0], 1, 3));
    assert_true(push(&vcpus[1], 1 << 16, 7));
    assert_true(push(&vcpus[1], 5, 12345)); /* nobody asked about it */
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), 2);
    assert_true(is_marked(3) && is_marked(2 * SLOT_PAGES + 7));
    assert_int_equal(kernel.resets, 1);
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
}

/* A ring that is full is emptied before anybody asks, and nothing is lost. */
static void test_full(void **state)
{
    unsigned int n = 0;

    (void)state;
    while (push(&vcpus[0], 1, n))
        n++;
    assert_int_equal(n, ENTRIES);
    assert_int_equal(vfm_dirty_tracker_collect(tracker, &err), 0);
    assert_true(push(&vcpus[0], 1, n));
    report();
    assert_int_equal(vfm_dirty_sink_count(sink), ENTRIES + 1);
}

static void test_fails(void **state)
{
    const struct vfm_dirty_range all = { 0, 64 * PAGE };

    (void)state;
    kernel.fail_request = KVM_RESET_DIRTY_RINGS;
    kernel.fail = -EIO;
    assert_int_equal(vfm_dirty_tracker_collect(tracker, &err), -EIO);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), -EIO);
    kernel.fail = 0;
    /* A page that the slot does not have. */
    assert_int_equal(vfm_dirty_tracker_stop(tracker, &err), 0);
    assert_int_equal(vfm_dirty_tracker_start(tracker, &all, 1, &err), 0);
    assert_true(push(&vcpus[0], 1, SLOT_PAGES));
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), -EPROTO);
    assert_int_equal(vfm_dirty_sink_count(sink), 64);
}

/* Whatever was collected and not told is told, even after an error. */
static void test_keeps(void **state)
{
    (void)state;
    assert_true(push(&vcpus[0], 1, 9));
    kernel.fail_request = KVM_RESET_DIRTY_RINGS;
    kernel.fail = -EIO;
    assert_int_equal(vfm_dirty_tracker_collect(tracker, &err), -EIO);
    kernel.fail = 0;
    report();
    assert_true(is_marked(9));
}

static void *run_vcpu(void *opaque)
{
    struct vcpu *v = opaque;

    for (uint64_t i = 0; i < WRITES; i++) {
        while (!push(v, 1, i * 7 % SLOT_PAGES)) {
            v->fulls++;
            vfm_dirty_tracker_collect(v->tracker, NULL);
        }
    }
    return NULL;
}

/* Processors collect by themselves while reports are taken. */
static void test_threads(void **state)
{
    (void)state;
    for (int i = 0; i < VCPUS; i++)
        assert_int_equal(
            pthread_create(&vcpus[i].thread, NULL, run_vcpu, &vcpus[i]), 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    for (int i = 0; i < VCPUS; i++)
        pthread_join(vcpus[i].thread, NULL);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(vfm_dirty_sink_count(sink), SLOT_PAGES);
    assert_true(vcpus[0].fulls + vcpus[1].fulls > 0);
}

static void test_misuse(void **state)
{
    struct vfm_dirty_tracker *t;
    int fd = vcpus[0].fd;
    int bad = -1;

    (void)state;
    assert_int_equal(vfm_dirty_tracker_new_kvm_ring(FAKE_VM, &fd, 0, RING_BYTES,
                                                    slots, 2, &t, &err),
                     -EINVAL);
    assert_int_equal(vfm_dirty_tracker_new_kvm_ring(FAKE_VM, &fd, 1, 5000,
                                                    slots, 2, &t, &err),
                     -EINVAL);
    assert_int_equal(
        vfm_dirty_tracker_new_kvm_ring(FAKE_VM, &fd, 1, 64, slots, 2, &t, &err),
        -EINVAL);
    assert_int_equal(vfm_dirty_tracker_new_kvm_ring(FAKE_VM, &fd, 1, RING_BYTES,
                                                    slots, 0, &t, &err),
                     -EINVAL);
    assert_int_equal(vfm_dirty_tracker_new_kvm_ring(
                         FAKE_VM, &bad, 1, RING_BYTES, slots, 2, &t, &err),
                     -EBADF);
    assert_null(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tells), TEST(test_full),    TEST(test_fails),
        TEST(test_keeps), TEST(test_threads), TEST(test_misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
