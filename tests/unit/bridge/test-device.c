/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the bridge makes of a region that a server lets it map in part.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "bridge/device.h"
#include "server.h"

#define PAGE        4096
#define CAP_UNKNOWN 999
#define FIRST       sizeof(struct vfu_region_info)
#define SECOND      (FIRST + 16)

/* A region of four pages.  Its capabilities: one that nobody knows, then the
 * areas, which is one, of its second page. */
struct answer {
    struct vfu_region_info info;
    struct vfu_cap_header unknown;
    uint64_t payload;
    struct vfu_cap_sparse_mmap sparse;
    struct vfu_sparse_area area;
};

static const struct answer good = {
    .info = { .argsz = sizeof(struct answer),
              .flags = UAPI_REGION_MMAP | UAPI_REGION_CAPS,
              .cap_offset = FIRST,
              .size = 4 * PAGE },
    .unknown = { .id = CAP_UNKNOWN, .version = 1, .next = SECOND },
    .sparse = { .header = { .id = UAPI_CAP_SPARSE_MMAP, .version = 1 },
                .nr_areas = 1 },
    .area = { .offset = PAGE, .size = PAGE },
};

static struct answer answer; /* what the server says */
static uint32_t refusal;     /* or that */

/* ----------------------------------------------------------- the server */

static void reply_with_descriptor(int fd, struct vfu_header head)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { .space = { 0 } };
    struct iovec parts[] = { { &head, sizeof(head) },
                             { &answer, sizeof(answer) } };
    struct msghdr m = { .msg_iov = parts,
                        .msg_iovlen = 2,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int memory = memfd_create("region", MFD_CLOEXEC);

    head.flags = VFU_TYPE_REPLY | (refusal != 0 ? VFU_FLAG_ERROR : 0);
    head.error = refusal;
    head.size = sizeof(head) + sizeof(answer);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &memory, sizeof(int));
    (void)!sendmsg(fd, &m, MSG_NOSIGNAL);
    close(memory);
}

/* Until the client hangs up. */
static void serve_a_region(int fd)
{
    static const struct vfu_device_info info = { .argsz = sizeof(info),
                                                 .num_regions = 1 };
    int asked = 0;

    for (;;) {
        struct vfu_header head = server_next(fd);

        if (head.size == 0)
            return;
        if (head.command == VFU_DEVICE_GET_INFO)
            server_reply(fd, head, &info, sizeof(info));
        else if (head.command != VFU_DEVICE_GET_REGION_INFO)
            server_refuse(fd, head, ENOTTY);
        else if (asked++ == 0) /* with no room for more */
            server_reply(fd, head, &answer.info, sizeof(answer.info));
        else
            reply_with_descriptor(fd, head);
    }
}

/* ------------------------------------------------------------ the cases */

/* Which of the region's pages can be mapped: a bit for each. */
static unsigned int pages_mapped(void)
{
    struct server s = { .json = "{}" };
    struct place place = { .group = 1 };
    struct device *d;
    unsigned int mapped = 0;
    uint64_t fd_offset;
    int fd;

    server_start(&s, serve_a_region);
    strcpy(place.socket, s.path);
    assert_int_equal(device_open(&place, false, true, &d), 0);
    for (unsigned int i = 0; i < 4; i++)
        if (device_map(d, i * PAGE, PAGE, &fd, &fd_offset) == 0)
            mapped |= 1U << i;
    device_close(d);
    server_finish(&s);
    return mapped;
}

static void a_region_is_mapped_as_a_whole(void **state)
{
    (void)state;
    answer = good;
    answer.info.flags = UAPI_REGION_MMAP;
    assert_int_equal(pages_mapped(), 0xf);
    answer = good;
    answer.unknown.next = 0;
    assert_int_equal(pages_mapped(), 0xf);
}

static void areas_are_found_behind_another_capability(void **state)
{
    (void)state;
    answer = good;
    assert_int_equal(pages_mapped(), 0x2);
    answer.info.cap_offset = SECOND;
    assert_int_equal(pages_mapped(), 0x2);
}

static void what_makes_no_sense_is_not_mapped(void **state)
{
    (void)state;
    answer = good;
    answer.unknown.next = FIRST; /* a circle */
    assert_int_equal(pages_mapped(), 0);
    answer.unknown.next = UINT32_MAX;
    assert_int_equal(pages_mapped(), 0);
    answer.unknown.next = sizeof(answer) + 8; /* beyond what was sent */
    assert_int_equal(pages_mapped(), 0);
    answer = good;
    answer.info.cap_offset = 4000; /* likewise */
    assert_int_equal(pages_mapped(), 0);
    answer = good;
    answer.info.cap_offset = 8; /* in what comes before it */
    assert_int_equal(pages_mapped(), 0);
    answer = good;
    answer.sparse.nr_areas = UINT32_MAX;
    assert_int_equal(pages_mapped(), 0);
    answer = good;
    answer.area.size = 4 * PAGE; /* beyond the end */
    assert_int_equal(pages_mapped(), 0);
}

static unsigned int count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned int n = 0;

    assert_non_null(folder);
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n;
}

static void what_comes_with_a_refusal_is_closed(void **state)
{
    struct server s = { .json = "{}" };
    struct place place = { .group = 1 };
    unsigned int before = count_descriptors();
    struct device *d;

    (void)state;
    answer = good;
    refusal = ENODEV;
    server_start(&s, serve_a_region);
    strcpy(place.socket, s.path);
    assert_true(device_open(&place, false, true, &d) < 0);
    server_finish(&s);
    refusal = 0;
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_region_is_mapped_as_a_whole),
        cmocka_unit_test(areas_are_found_behind_another_capability),
        cmocka_unit_test(what_makes_no_sense_is_not_mapped),
        cmocka_unit_test(what_comes_with_a_refusal_is_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
