/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts: who is told, and what is no eventfd is not taken for one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "test.h"

#include "emulator/irq.h"

#define VECTORS 16
#define TRIGGER UAPI_IRQ_ACTION_TRIGGER
#define MASK    UAPI_IRQ_ACTION_MASK
#define UNMASK  UAPI_IRQ_ACTION_UNMASK
#define NONE    UAPI_IRQ_DATA_NONE
#define BOOL    UAPI_IRQ_DATA_BOOL
#define EVENTFD UAPI_IRQ_DATA_EVENTFD

static int new_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    assert_true(fd >= 0);
    return fd;
}

/* How often it was notified since the last time. */
static uint64_t count(int fd)
{
    uint64_t n = 0;

    return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static int set(struct irqs *q, uint32_t flags, uint32_t start, uint32_t n,
               int *fds, size_t num_fds)
{
    static const uint8_t bools[4] = { 1, 0, 1, 0 };
    const struct vfu_irq_set s = {
        .flags = flags,
        .index = UAPI_IRQ_MSIX,
        .start = start,
        .count = n,
    };

    return irqs_set(q, &s, bools, (flags & BOOL) != 0 ? sizeof(bools) : 0, fds,
                    num_fds);
}

/* Gives vector @v an eventfd; returns ours. */
static int assign(struct irqs *q, uint32_t v)
{
    int mine = new_eventfd();
    int theirs = fcntl(mine, F_DUPFD_CLOEXEC, 0);

    assert_int_equal(set(q, EVENTFD | TRIGGER, v, 1, &theirs, 1), 0);
    assert_int_equal(theirs, -1);
    return mine;
}

static int set_up(void **state)
{
    static struct irqs q;

    *state = &q;
    return irqs_init(&q, VECTORS);
}

static int tear_down(void **state)
{
    irqs_free(*state);
    return 0;
}

static void a_vector_tells_its_eventfd_and_no_other(void **state)
{
    struct irqs *q = *state;
    int a = assign(q, 0), b = assign(q, VECTORS - 1);

    irqs_fire(q, UAPI_IRQ_MSIX, VECTORS - 1);
    irqs_fire(q, UAPI_IRQ_MSIX, VECTORS - 1);
    irqs_fire(q, UAPI_IRQ_MSIX, 5);
    irqs_fire(q, UAPI_IRQ_MSIX, VECTORS);
    irqs_fire(q, UAPI_NUM_IRQS, 0);
    assert_int_equal(count(a), 0);
    assert_int_equal(count(b), 2);
    close(a);
    close(b);
}

static void a_masked_vector_fires_once_when_unmasked(void **state)
{
    struct irqs *q = *state;
    int fd = assign(q, 3);

    assert_int_equal(set(q, NONE | MASK, 3, 1, NULL, 0), 0);
    irqs_fire(q, UAPI_IRQ_MSIX, 3);
    irqs_fire(q, UAPI_IRQ_MSIX, 3);
    assert_int_equal(count(fd), 0);
    assert_int_equal(set(q, NONE | UNMASK, 3, 1, NULL, 0), 0);
    assert_int_equal(count(fd), 1);
    assert_int_equal(set(q, NONE | UNMASK, 3, 1, NULL, 0), 0);
    assert_int_equal(count(fd), 0);
    close(fd);
}

static void bools_choose_the_vectors(void **state)
{
    struct irqs *q = *state;
    int fds[4];

    for (uint32_t i = 0; i < 4; i++)
        fds[i] = assign(q, 8 + i);
    assert_int_equal(set(q, BOOL | TRIGGER, 8, 4, NULL, 0), 0);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(count(fds[i]), i % 2 == 0);
        close(fds[i]);
    }
    assert_int_equal(set(q, BOOL | TRIGGER, 0, 5, NULL, 0), -EINVAL);
}

static void slices_are_assigned_and_unassigned_where_they_are(void **state)
{
    struct irqs *q = *state;
    int fds[VECTORS];

    for (uint32_t i = 0; i < VECTORS; i++)
        fds[i] = assign(q, i);
    assert_int_equal(set(q, EVENTFD | TRIGGER, 4, 2, NULL, 0), 0);
    for (uint32_t i = 0; i < VECTORS; i++) {
        assert_int_equal(irqs_connected(q, UAPI_IRQ_MSIX, i), i / 2 != 2);
        irqs_fire(q, UAPI_IRQ_MSIX, i);
        assert_int_equal(count(fds[i]), i / 2 != 2);
    }
    assert_int_equal(set(q, NONE | TRIGGER, 0, 0, NULL, 0), 0);
    for (uint32_t i = 0; i < VECTORS; i++) {
        assert_false(irqs_connected(q, UAPI_IRQ_MSIX, i));
        close(fds[i]);
    }
}

static void what_is_no_eventfd_is_refused_and_closed(void **state)
{
    struct irqs *q = *state;
    int fds[2];
    int copies[2];

    assert_int_equal(pipe(fds), 0);
    memcpy(copies, fds, sizeof(fds));
    assert_int_equal(set(q, EVENTFD | TRIGGER, 0, 2, fds, 2), -EINVAL);
    assert_int_equal(fcntl(copies[0], F_GETFD), -1);
    assert_int_equal(fcntl(copies[1], F_GETFD), -1);
    assert_false(irqs_connected(q, UAPI_IRQ_MSIX, 0));
}

static void a_full_eventfd_does_not_block(void **state)
{
    struct irqs *q = *state;
    int fd = assign(q, 0);
    uint64_t full = UINT64_MAX - 1;

    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
    irqs_fire(q, UAPI_IRQ_MSIX, 0);
    assert_int_equal(count(fd), full);
    close(fd);
}

static void requests_that_cannot_be_are_refused(void **state)
{
    static const struct {
        uint32_t flags, start, count;
    } rows[] = {
        { NONE, 0, 1 },
        { TRIGGER, 0, 1 },
        { NONE | BOOL | TRIGGER, 0, 1 },
        { NONE | MASK | UNMASK, 0, 1 },
        { NONE | TRIGGER | 0x40, 0, 1 },
        { EVENTFD | MASK, 0, 1 },
        { NONE | TRIGGER, 0, VECTORS + 1 },
        { NONE | TRIGGER, VECTORS, 1 },
        { NONE | TRIGGER, UINT32_MAX, 1 },
        { NONE | TRIGGER, 1, UINT32_MAX },
        { NONE | TRIGGER, 1, 0 },
        { NONE | MASK, 0, 0 },
        { EVENTFD | TRIGGER, 0, 0 },
    };

    for (size_t i = 0; i < NUM(rows); i++)
        if (set(*state, rows[i].flags, rows[i].start, rows[i].count, NULL, 0) !=
            -EINVAL)
            fail_msg("row %zu is accepted", i);
}

static void the_number_of_descriptors_must_fit(void **state)
{
    struct irqs *q = *state;
    int one = new_eventfd();

    assert_int_equal(set(q, EVENTFD | TRIGGER, 0, 2, &one, 1), -EINVAL);
    one = new_eventfd();
    assert_int_equal(set(q, NONE | TRIGGER, 0, 1, &one, 1), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_vector_tells_its_eventfd_and_no_other),
        TEST(a_masked_vector_fires_once_when_unmasked),
        TEST(bools_choose_the_vectors),
        TEST(slices_are_assigned_and_unassigned_where_they_are),
        TEST(what_is_no_eventfd_is_refused_and_closed),
        TEST(a_full_eventfd_does_not_block),
        TEST(requests_that_cannot_be_are_refused),
        TEST(the_number_of_descriptors_must_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
