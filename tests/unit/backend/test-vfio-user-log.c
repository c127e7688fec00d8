/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of what a device wrote, and accesses beside a call that is under way:
 * what is asked, and what is believed of the answers.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/device.h"
#include "dirty/device-log.h"
#include "dirty/tracker.h"
#include "fake-server.h"

#define PAGE  4096
#define FIRST UINT64_C(0x100000) /* mapped, 100 pages of it */
#define OTHER UINT64_C(0x800000) /* 70 pages, by messages */

static const struct vfm_dirty_range ranges[] = { { FIRST, 100 * PAGE },
                                                 { OTHER, 70 * PAGE } };

static struct fake_server f;
static struct vfm_device *dev;
static struct vfm_dirty_tracker *tracker;
static struct vfm_dirty_sink *sink;
static struct vfm_error err;

/* What the server does. */
static struct {
    uint64_t page_size; /* answers START with it */
    uint64_t bits[2];   /* reports these */
    int longer;         /* bytes that a report is too long */
    uint32_t refuses;   /* the errno of reports */
    unsigned int starts, stops, reports;
    uint32_t num_ranges;
    struct vfu_feature_log_report asked;
} server;

static void answer_start(const struct fake_message *m)
{
    struct {
        struct vfu_feature head;
        struct vfu_feature_log_start start;
    } *body = (void *)m->body;

    server.starts++;
    server.num_ranges = body->start.num_ranges;
    assert_int_equal(body->start.page_size, PAGE);
    assert_int_equal(m->size,
                     sizeof(*body) + server.num_ranges * sizeof(ranges[0]));
    assert_memory_equal(body + 1, ranges,
                        server.num_ranges * sizeof(ranges[0]));
    body->start.page_size = server.page_size;
    fake_reply(&f, m, m->body, m->size);
}

static void answer_report(const struct fake_message *m)
{
    uint8_t reply[256] = { 0 };
    size_t head = sizeof(struct vfu_feature) + sizeof(server.asked);

    server.reports++;
    assert_int_equal(m->size, head);
    memcpy(&server.asked, m->body + sizeof(struct vfu_feature),
           sizeof(server.asked));
    memcpy(reply, m->body, head);
    memcpy(reply + head, server.bits, sizeof(server.bits));
    if (server.refuses != 0)
        fake_refuse(&f, m, server.refuses);
    else
        fake_reply(&f, m, reply,
                   head + sizeof(server.bits) - (size_t)-server.longer);
}

static void on_feature(struct fake_server *s, const struct fake_message *m)
{
    struct vfu_feature feature;

    memcpy(&feature, m->body, sizeof(feature));
    switch (feature.flags & 0xffff) {
    case UAPI_FEATURE_LOG_START:
        answer_start(m);
        break;
    case UAPI_FEATURE_LOG_REPORT:
        answer_report(m);
        break;
    case UAPI_FEATURE_LOG_STOP:
        server.stops++;
        fake_reply(s, m, m->body, m->size);
        break;
    default:
        fake_answer(s, m);
    }
}

static int begin(void **state)
{
    const int fd = STDERR_FILENO; /* nobody reads it */

    (void)state;
    memset(&server, 0, sizeof(server));
    memset(&err, 0, sizeof(err));
    server.page_size = PAGE;
    dev = fake_open(&f, NULL);
    f.on[VFU_DEVICE_FEATURE] = on_feature;
    assert_int_equal(vfm_vfio_user_dma_map(dev, FIRST, 100 * PAGE, fd, 0,
                                           VFM_DMA_READ | VFM_DMA_WRITE, NULL),
                     0);
    assert_int_equal(dirty_tracker_new_device(dev, false, &tracker, NULL), 0);
    assert_int_equal(vfm_dirty_sink_new(ranges, 2, &sink, NULL), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    vfm_dirty_tracker_free(tracker);
    vfm_dirty_sink_free(sink);
    vfm_device_close(dev);
    fake_stop(&f);
    return 0;
}

static void start(void)
{
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err), 0);
}

static uint64_t *marks(size_t range)
{
    return vfm_dirty_sink_bitmap(sink, range);
}

static void a_report_is_asked_for_a_mapping_as_it_is(void **state)
{
    (void)state;
    start();
    assert_int_equal(server.num_ranges, 2);
    server.bits[0] = 5;
    server.bits[1] = UINT64_C(1) << 35;
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(server.asked.iova, FIRST);
    assert_int_equal(server.asked.length, 100 * PAGE);
    assert_int_equal(server.asked.page_size, PAGE);
    assert_int_equal(marks(0)[0], 5);
    assert_int_equal(marks(0)[1], UINT64_C(1) << 35);
    assert_int_equal(vfm_dirty_tracker_stop(tracker, &err), 0);
    assert_int_equal(server.stops, 1);
}

/* Bits for what is not mapped say nothing. */
static void bits_behind_the_last_page_are_not_believed(void **state)
{
    (void)state;
    start();
    server.bits[0] = server.bits[1] = ~UINT64_C(0);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(vfm_dirty_sink_count(sink), 100);
}

static void a_page_size_that_the_server_chooses_is_asked_for(void **state)
{
    (void)state;
    server.page_size = 2 * PAGE;
    start();
    server.bits[0] = 1;
    server.longer = -8; /* 50 bits */
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(server.asked.page_size, 2 * PAGE);
    assert_int_equal(marks(0)[0], 3);
}

static void a_page_size_that_is_none_is_refused(void **state)
{
    static const uint64_t sizes[] = {
        0, 1, 256, 3000, UINT64_C(1) << 31, UINT64_MAX
    };

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        server.page_size = sizes[i];
        assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err),
                         -EBADMSG);
        assert_non_null(strstr(err.message, "cannot log what it writes"));
    }
    server.page_size = PAGE;
    start();
}

/* Some servers answer without a bitmap, and say that all is well. */
static void a_report_of_another_length_counts_all_as_written(void **state)
{
    static const int lengths[] = { -16, -8, -1, 1, 8 };

    (void)state;
    start();
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        server.longer = lengths[i];
        vfm_dirty_sink_clear(sink);
        assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err),
                         -EBADMSG);
        assert_int_equal(vfm_dirty_sink_count(sink), 170);
        assert_non_null(strstr(err.message, "cannot tell what it wrote"));
    }
}

static void a_report_that_is_refused_counts_all_as_written(void **state)
{
    (void)state;
    start();
    server.refuses = ENOENT;
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), -ENOENT);
    assert_int_equal(vfm_dirty_sink_count(sink), 170);
    server.refuses = 0;
    vfm_dirty_sink_clear(sink);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
}

static int write_memory(void *opaque, uint64_t iova, const void *buf,
                        size_t len)
{
    (void)opaque;
    (void)iova;
    (void)buf;
    (void)len;
    return 0;
}

/* The device's writes by messages are done here, so they are known here. */
static void what_we_write_for_the_device_is_marked(void **state)
{
    const struct vfm_dma_ops ops = { .size = sizeof(ops),
                                     .write = write_memory };
    struct {
        struct vfu_header header;
        struct vfu_dma_access access;
        uint8_t data[8];
    } c = { { 9, VFU_DMA_WRITE, sizeof(c), 0, 0 }, { 0, 8 }, { 0 } };

    (void)state;
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &ops, NULL, NULL), 0);
    assert_int_equal(vfm_vfio_user_dma_map(dev, OTHER, 70 * PAGE, -1, 0,
                                           VFM_DMA_WRITE, NULL),
                     0);
    start();
    c.access.iova = OTHER + 66 * PAGE - 4;
    fake_send(&f, &c, sizeof(c));
    assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(server.reports, 1);
    assert_int_equal(marks(1)[1], 6);
    assert_int_equal(vfm_dirty_sink_count(sink), 2);
    vfm_dirty_sink_clear(sink);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
}

static void what_cannot_be_written_is_not_asked_for(void **state)
{
    (void)state;
    assert_int_equal(vfm_vfio_user_dma_map(dev, OTHER, 70 * PAGE, STDERR_FILENO,
                                           0, VFM_DMA_READ, NULL),
                     0);
    start();
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(server.reports, 1);
}

/* Nobody can be asked any more what was written to it. */
static void what_is_unmapped_meanwhile_counts_as_written_once(void **state)
{
    (void)state;
    start();
    assert_int_equal(vfm_vfio_user_dma_unmap(dev, FIRST, 100 * PAGE, NULL), 0);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(server.reports, 0);
    assert_int_equal(vfm_dirty_sink_count(sink), 100);
    vfm_dirty_sink_clear(sink);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
}

static void note_reach(void *opaque, uint64_t address, uint64_t length)
{
    uint64_t *all = opaque;

    all[0] += address;
    all[1] += length;
}

static void refuse_because_it_is_there(struct fake_server *s,
                                       const struct fake_message *m)
{
    fake_refuse(s, m, EEXIST);
}

static void a_mapping_that_is_refused_leaves_the_one_before(void **state)
{
    (void)state;
    f.next[VFU_DMA_MAP] = refuse_because_it_is_there;
    assert_int_equal(vfm_vfio_user_dma_map(dev, FIRST, 100 * PAGE,
                                           STDERR_FILENO, 0,
                                           VFM_DMA_READ | VFM_DMA_WRITE, NULL),
                     -EEXIST);
    assert_int_equal(f.asked[VFU_DMA_UNMAP], 0);
    start();
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), 0);
    assert_int_equal(server.asked.iova, FIRST);
}

#define THIRD UINT64_C(0x4000000)

static void map_a_third(void)
{
    assert_int_equal(vfm_vfio_user_dma_map(dev, THIRD, 100 * PAGE,
                                           STDERR_FILENO, 0,
                                           VFM_DMA_READ | VFM_DMA_WRITE, NULL),
                     0);
}

/* The first has reported, the next one was asked. */
static void report_half(void)
{
    assert_int_equal(dirty_tracker_report(tracker, sink, &err), -EAGAIN);
    fake_serve(&f);
    assert_int_equal(dirty_tracker_report(tracker, sink, &err), -EAGAIN);
}

static void report_the_rest(void)
{
    int ret;

    while ((ret = dirty_tracker_report(tracker, sink, &err)) == -EAGAIN)
        fake_serve(&f);
    assert_int_equal(ret, 0);
}

/* Its answer is taken, wherever it stands in the list by then. */
static void a_mapping_that_goes_takes_no_answer_along(void **state)
{
    (void)state;
    assert_int_equal(vfm_vfio_user_dma_map(dev, OTHER, 70 * PAGE, STDERR_FILENO,
                                           0, VFM_DMA_READ, NULL),
                     0);
    assert_int_equal(vfm_vfio_user_dma_unmap(dev, FIRST, 100 * PAGE, NULL), 0);
    map_a_third();
    assert_int_equal(vfm_vfio_user_dma_map(dev, FIRST, 100 * PAGE,
                                           STDERR_FILENO, 0,
                                           VFM_DMA_READ | VFM_DMA_WRITE, NULL),
                     0);
    start();
    server.bits[0] = 1;
    report_half(); /* of the third; now FIRST was asked */
    assert_int_equal(vfm_vfio_user_dma_unmap(dev, OTHER, 70 * PAGE, NULL), 0);
    report_the_rest();
    assert_int_equal(server.reports, 2);
    assert_int_equal(vfm_dirty_sink_count(sink), 1);
    assert_int_equal(marks(0)[0], 1);
}

/* When it had reported it could still be written, until it went. */
static void what_goes_after_its_turn_counts_as_written_next_time(void **state)
{
    (void)state;
    map_a_third();
    start();
    report_half();
    assert_int_equal(vfm_vfio_user_dma_unmap(dev, FIRST, 100 * PAGE, NULL), 0);
    report_the_rest();
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
    report_the_rest();
    assert_int_equal(vfm_dirty_sink_count(sink), 100);
    vfm_dirty_sink_clear(sink);
    report_the_rest();
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
}

static void what_goes_while_it_is_asked_counts_as_written(void **state)
{
    (void)state;
    start();
    assert_int_equal(dirty_tracker_report(tracker, sink, &err), -EAGAIN);
    assert_int_equal(vfm_vfio_user_dma_unmap(dev, FIRST, 100 * PAGE, NULL), 0);
    report_the_rest();
    assert_int_equal(vfm_dirty_sink_count(sink), 100);
}

static void a_device_reaches_what_it_may_write(void **state)
{
    uint64_t all[2] = { 0 };

    (void)state;
    assert_int_equal(vfm_vfio_user_dma_map(dev, OTHER, 70 * PAGE, STDERR_FILENO,
                                           0, VFM_DMA_READ, NULL),
                     0);
    device_reach(dev, note_reach, all);
    assert_int_equal(all[0], FIRST);
    assert_int_equal(all[1], 100 * PAGE);
    assert_int_equal(vfm_vfio_user_dma_unmap(dev, FIRST, 100 * PAGE, NULL), 0);
    all[0] = all[1] = 0;
    device_reach(dev, note_reach, all);
    assert_int_equal(all[1], 0);
}

/* 40 GiB are three mappings, of 512 KiB of bitmap at most. */
static void large_memory_is_mapped_in_pieces(void **state)
{
    const uint64_t at = UINT64_C(1) << 40;
    const uint64_t size = UINT64_C(40) << 30;
    unsigned int before = f.asked[VFU_DMA_MAP];

    (void)state;
    assert_int_equal(vfm_vfio_user_dma_map(dev, at, size, STDERR_FILENO, 0,
                                           VFM_DMA_WRITE, NULL),
                     0);
    assert_int_equal(f.asked[VFU_DMA_MAP] - before, 3);
    assert_int_equal(vfm_vfio_user_dma_unmap(dev, at, size, NULL), 0);
    assert_int_equal(f.asked[VFU_DMA_UNMAP], 3);
}

static void a_server_that_goes_away_is_an_error(void **state)
{
    (void)state;
    start();
    fake_hang_up(&f);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), -ENOTCONN);
    assert_int_equal(vfm_dirty_sink_count(sink), 170);
}

/* ---------------------------------------------------------------------- */

static struct fake_message held;
static uint8_t held_body[64];

/* Something is asked of the device on behalf of a guest, while a migration
 * waits for a change of its state. */
static struct fake_message held;
static uint8_t held_body[64];

/* Answers the change of state only when it is asked for something else. */
static void hold(struct fake_server *s, const struct fake_message *m)
{
    (void)s;
    held = *m;
    memcpy(held_body, m->body, m->size);
    held.body = held_body;
}

static void answer_both(struct fake_server *s, const struct fake_message *m)
{
    fake_answer(s, &held);
    fake_answer(s, m);
}

static bool has_news(void)
{
    struct pollfd fds[DEVICE_MAX_FDS];
    int64_t deadline;
    int n = device_wait_fds(dev, fds, &deadline);

    for (int i = 0; i < n; i++)
        if (fds[i].fd >= 0 && poll(&fds[i], 1, 0) == 1)
            return true;
    return deadline == 0;
}

static void access_it(void)
{
    uint32_t value;

    assert_int_equal(vfm_device_region_read(dev, UAPI_REGION_CONFIG, 0, &value,
                                            sizeof(value), &err),
                     0);
    assert_int_equal(value, 0x56781234);
}

static void set_its_interrupts(void)
{
    assert_int_equal(vfm_vfio_user_set_irqs(dev, 2, 0, 0, NULL, &err), 0);
}

static void map_more(void)
{
    assert_int_equal(vfm_vfio_user_dma_map(dev, UINT64_C(1) << 40, PAGE, -1, 0,
                                           VFM_DMA_READ, &err),
                     0);
}

static void process_what_came(void)
{
    fake_answer(&f, &held);
    assert_int_equal(vfm_vfio_user_process(dev, &err), 0);
}

static void check_woken(void (*meanwhile)(void))
{
    struct pollfd fds[DEVICE_MAX_FDS];
    int64_t deadline;
    bool woken = false;
    int n;

    f.on[VFU_DEVICE_FEATURE] = NULL;
    f.next[VFU_DEVICE_FEATURE] = hold;
    f.next[VFU_REGION_READ] = answer_both;
    f.next[VFU_DEVICE_SET_IRQS] = answer_both;
    f.next[VFU_DMA_MAP] = answer_both;
    assert_int_equal(device_set_state_start(dev, VFM_STATE_STOP, NULL),
                     -EAGAIN);
    n = device_wait_fds(dev, fds, &deadline);
    fake_serve(&f);
    assert_int_equal(device_set_state_finish(dev, NULL), -EAGAIN);
    meanwhile();
    /* Whoever polls what he was told to poll hears of it. */
    for (int i = 0; i < n && i < DEVICE_MAX_FDS; i++)
        woken = woken || (fds[i].events & POLLIN && poll(&fds[i], 1, 0) == 1);
    assert_true(woken);
    assert_int_equal(device_set_state_finish(dev, NULL), 0);
    has_news();
    assert_false(has_news());
}

static void an_access_wakes_who_waits(void **state)
{
    (void)state;
    check_woken(access_it);
}

static void interrupts_wake_who_waits(void **state)
{
    (void)state;
    check_woken(set_its_interrupts);
}

static void a_mapping_wakes_who_waits(void **state)
{
    (void)state;
    check_woken(map_more);
}

static void processing_wakes_who_waits(void **state)
{
    (void)state;
    check_woken(process_what_came);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(a_report_is_asked_for_a_mapping_as_it_is),
        TEST(bits_behind_the_last_page_are_not_believed),
        TEST(a_page_size_that_the_server_chooses_is_asked_for),
        TEST(a_page_size_that_is_none_is_refused),
        TEST(a_report_of_another_length_counts_all_as_written),
        TEST(a_report_that_is_refused_counts_all_as_written),
        TEST(what_we_write_for_the_device_is_marked),
        TEST(what_cannot_be_written_is_not_asked_for),
        TEST(what_is_unmapped_meanwhile_counts_as_written_once),
        TEST(a_mapping_that_is_refused_leaves_the_one_before),
        TEST(a_mapping_that_goes_takes_no_answer_along),
        TEST(what_goes_after_its_turn_counts_as_written_next_time),
        TEST(what_goes_while_it_is_asked_counts_as_written),
        TEST(a_device_reaches_what_it_may_write),
        TEST(large_memory_is_mapped_in_pieces),
        TEST(a_server_that_goes_away_is_an_error),
        TEST(an_access_wakes_who_waits),
        TEST(interrupts_wake_who_waits),
        TEST(a_mapping_wakes_who_waits),
        TEST(processing_wakes_who_waits),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
