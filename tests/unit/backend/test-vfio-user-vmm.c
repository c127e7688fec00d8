/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a VMM does with its device: memory, interrupts, mappable areas, and
 * answering the device's own accesses.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/device.h"
#include "fake-server.h"

static char log_text[1024]; /* what SET_IRQS messages said */
static ino_t inodes[64];    /* of the descriptors that came, by interrupt */

static void log_irqs(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_irq_set set;
    size_t len = strlen(log_text);
    struct stat st;

    memcpy(&set, m->body, sizeof(set));
    snprintf(log_text + len, sizeof(log_text) - len, "%u+%u:%u ", set.start,
             set.count, m->num_fds);
    for (unsigned int i = 0; i < m->num_fds; i++) {
        assert_int_equal(fstat(m->fds[i], &st), 0);
        inodes[set.start + i] = st.st_ino;
    }
    fake_answer(f, m);
}

static ino_t inode_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return st.st_ino;
}

static void interrupts_are_set_in_slices_the_server_takes(void **state)
{
    int open_fds = fake_count_fds();
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    int fds[13];

    (void)state;
    for (int i = 0; i < 13; i++) {
        fds[i] = i == 6 || i == 7 || i == 12 ? -1 : memfd_create("irq", 0);
        assert_true(fds[i] >= 0 || i == 6 || i == 7 || i == 12);
    }
    f.on[VFU_DEVICE_SET_IRQS] = log_irqs;
    log_text[0] = '\0';
    assert_int_equal(vfm_vfio_user_set_irqs(dev, 2, 3, 13, fds, NULL), 0);
    /* At most four descriptors each; those to be untied by themselves. */
    assert_string_equal(log_text, "3+4:4 7+2:2 9+2:0 11+4:4 15+1:0 ");
    for (unsigned int i = 0; i < 13; i++) {
        if (fds[i] < 0)
            continue;
        assert_int_equal(inodes[3 + i], inode_of(fds[i]));
        close(fds[i]);
    }
    fake_close(&f, dev);
    assert_int_equal(fake_count_fds(), open_fds);
}

static void refuse_second(struct fake_server *f, const struct fake_message *m)
{
    if (f->asked[VFU_DEVICE_SET_IRQS] == 2)
        fake_refuse(f, m, ENOSPC);
    else
        fake_answer(f, m);
}

static void interrupts_stop_at_the_first_refusal(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct vfm_error err;
    int fds[12] = { 0 };

    (void)state;
    f.on[VFU_DEVICE_SET_IRQS] = refuse_second;
    assert_int_equal(vfm_vfio_user_set_irqs(dev, 2, 0, 12, fds, &err), -ENOSPC);
    assert_string_equal(err.message,
                        "fake: cannot set interrupts: No space left on device");
    assert_int_equal(f.asked[VFU_DEVICE_SET_IRQS], 2);
    assert_int_equal(vfm_vfio_user_set_irqs(dev, 2, UINT32_MAX, 12, fds, NULL),
                     -EINVAL);
    fake_close(&f, dev);
}

static ino_t mapped_inode;

static void log_map(struct fake_server *f, const struct fake_message *m)
{
    mapped_inode = m->num_fds == 1 ? inode_of(m->fds[0]) : 0;
    fake_answer(f, m);
}

static void memory_goes_with_its_descriptor(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    int fd = memfd_create("ram", 0);

    (void)state;
    f.on[VFU_DMA_MAP] = log_map;
    assert_int_equal(
        vfm_vfio_user_dma_map(dev, 4096, 4096, fd, 0, VFM_DMA_READ, NULL), 0);
    assert_int_equal(mapped_inode, inode_of(fd));
    assert_int_equal(
        vfm_vfio_user_dma_map(dev, 8192, 4096, -1, 0, VFM_DMA_READ, NULL), 0);
    assert_int_equal(mapped_inode, 0);
    assert_int_equal(
        vfm_vfio_user_dma_map(dev, UINT64_MAX, 2, -1, 0, VFM_DMA_READ, NULL),
        -EINVAL);
    assert_int_equal(
        vfm_vfio_user_dma_map(dev, 0, 0, -1, 0, VFM_DMA_READ, NULL), -EINVAL);
    assert_int_equal(vfm_vfio_user_dma_map(dev, 0, 4096, -1, 0, 8, NULL),
                     -EINVAL);
    close(fd);
    fake_close(&f, dev);
}

static void a_server_that_takes_no_descriptors_gets_none(void **state)
{
    struct vfm_device *dev = NULL;
    struct fake_server f;
    int fd = STDIN_FILENO, none = -1;

    (void)state;
    fake_start(&f);
    f.version = "{\"capabilities\":{\"max_msg_fds\":0}}";
    assert_int_equal(
        vfm_device_open_vfio_user_fd(f.client_fd, "f", NULL, &dev, NULL), 0);
    f.client_fd = -1;
    assert_int_equal(
        vfm_vfio_user_dma_map(dev, 0, 4096, fd, 0, VFM_DMA_READ, NULL),
        -EOPNOTSUPP);
    assert_int_equal(vfm_vfio_user_set_irqs(dev, 2, 0, 1, &fd, NULL),
                     -EOPNOTSUPP);
    assert_int_equal(vfm_vfio_user_set_irqs(dev, 2, 0, 1, &none, NULL), 0);
    fake_close(&f, dev);
}

/* Region information by hand: what both replies say. */
static struct vfu_region_info info;
static uint8_t caps[1024];
static size_t caps_size;
static unsigned int num_region_fds;

static void answer_region(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_region_info ask;
    uint8_t reply[sizeof(info) + sizeof(caps)];
    int fds[3] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };
    size_t size = sizeof(info);

    memcpy(&ask, m->body, sizeof(ask));
    info.index = ask.index;
    if (ask.argsz >= sizeof(info) + caps_size)
        size += caps_size;
    memcpy(reply, &info, sizeof(info));
    memcpy(reply + sizeof(info), caps, caps_size);
    if (num_region_fds > 0 && ask.argsz >= sizeof(info) + caps_size)
        fake_reply_fds(f, m, reply, size, fds, num_region_fds);
    else
        fake_reply(f, m, reply, size);
}

static void set_areas(uint32_t claimed, uint32_t real)
{
    struct vfu_cap_sparse_mmap sparse = { { UAPI_CAP_SPARSE_MMAP, 1, 0 },
                                          claimed,
                                          0 };

    caps_size = sizeof(sparse) + real * sizeof(struct vfu_sparse_area);
    memcpy(caps, &sparse, sizeof(sparse));
    for (uint32_t i = 0; i < real; i++) {
        struct vfu_sparse_area area = { i * UINT64_C(8192), 4096 };

        memcpy(caps + sizeof(sparse) + i * sizeof(area), &area, sizeof(area));
    }
    info = (struct vfu_region_info){
        .argsz = (uint32_t)(sizeof(info) + caps_size),
        .flags = 15,
        .cap_offset = sizeof(info),
        .size = 65536,
        .offset = 0x10000,
    };
    num_region_fds = 1;
}

static struct vfm_region_area areas[4];
static int area_fd;
static uint64_t area_offset;

/* Asks a fresh server.  Checks that nothing leaks. */
static int ask_areas(size_t max)
{
    int open_fds = fake_count_fds();
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    int ret;

    memset(areas, 0xff, sizeof(areas));
    f.on[VFU_DEVICE_GET_REGION_INFO] = answer_region;
    ret = vfm_vfio_user_region_areas(dev, 2, areas, max, &area_fd, &area_offset,
                                     NULL);
    fake_close(&f, dev);
    assert_int_equal(fake_count_fds(), open_fds);
    return ret;
}

static void areas_of_a_region_are_told(void **state)
{
    (void)state;
    set_areas(3, 3);
    assert_int_equal(ask_areas(4), 3);
    assert_true(area_fd >= 0);
    assert_int_equal(area_offset, 0x10000);
    assert_int_equal(areas[2].offset, 16384);
    assert_int_equal(areas[2].size, 4096);
    assert_int_equal(areas[3].size, UINT64_MAX);
}

static void more_areas_than_there_is_room_for_are_counted(void **state)
{
    (void)state;
    set_areas(8, 8);
    assert_int_equal(ask_areas(2), 8);
    assert_int_equal(areas[1].offset, 8192);
    assert_int_equal(areas[2].size, UINT64_MAX);
    assert_int_equal(ask_areas(0), 8);
}

static void a_region_without_a_list_is_one_area(void **state)
{
    (void)state;
    set_areas(0, 0);
    info.flags = 7;
    info.argsz = sizeof(info);
    info.cap_offset = 0;
    caps_size = 0;
    assert_int_equal(ask_areas(4), 1);
    assert_int_equal(areas[0].size, 65536);
}

static void a_region_that_cannot_be_mapped_has_no_areas(void **state)
{
    (void)state;
    set_areas(1, 1);
    info.flags = 3;
    assert_int_equal(ask_areas(4), 0);
    assert_int_equal(area_fd, -1);
    /* Or one without its descriptor. */
    set_areas(1, 1);
    num_region_fds = 0;
    assert_int_equal(ask_areas(4), 0);
    assert_int_equal(area_fd, -1);
    set_areas(1, 1);
    info.size = 0;
    assert_int_equal(ask_areas(4), 0);
}

static void surplus_descriptors_of_a_region_are_closed(void **state)
{
    (void)state;
    set_areas(1, 1);
    num_region_fds = 3;
    assert_int_equal(ask_areas(4), 1);
}

static void areas_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    set_areas(UINT32_MAX, 2);
    assert_int_equal(ask_areas(4), -EPROTO);
    set_areas(3, 2);
    assert_int_equal(ask_areas(4), -EPROTO);
    set_areas(9, 9); /* ends beyond the region */
    assert_int_equal(ask_areas(4), -EPROTO);
    set_areas(1, 1);
    info.cap_offset = UINT32_MAX;
    assert_int_equal(ask_areas(4), -EPROTO);
    info.cap_offset = 31;
    assert_int_equal(ask_areas(4), -EPROTO);
    info.cap_offset = (uint32_t)(sizeof(info) + caps_size - 7);
    assert_int_equal(ask_areas(4), -EPROTO);
    info.cap_offset = (uint32_t)(sizeof(info) + caps_size - 8);
    assert_int_equal(ask_areas(4), 1); /* another capability, the last */
    info.cap_offset = sizeof(info);
    info.argsz = UINT32_MAX;
    assert_int_equal(ask_areas(4), -EPROTO);
    set_areas(1, 1);
    caps[0] = 9; /* some capability, whose next is itself */
    caps[4] = sizeof(info);
    assert_int_equal(ask_areas(4), 1);
}

static void the_descriptor_of_a_region_stays_the_same(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    int first, second;

    (void)state;
    set_areas(1, 1);
    f.on[VFU_DEVICE_GET_REGION_INFO] = answer_region;
    assert_int_equal(vfm_vfio_user_region_areas(dev, 2, areas, 4, &first,
                                                &area_offset, NULL),
                     1);
    assert_int_equal(vfm_vfio_user_region_areas(dev, 2, areas, 4, &second,
                                                &area_offset, NULL),
                     1);
    assert_int_equal(first, second);
    assert_int_equal(fcntl(first, F_GETFD), FD_CLOEXEC);
    assert_int_equal(vfm_vfio_user_region_areas(dev, 9, areas, 4, &second,
                                                &area_offset, NULL),
                     -EINVAL);
    fake_close(&f, dev);
}

/* Guest memory that is reached by messages. */
static uint8_t guest[4096];

static int read_guest(void *opaque, uint64_t iova, void *buf, size_t len)
{
    assert_ptr_equal(opaque, guest);
    if (iova > sizeof(guest) || len > sizeof(guest) - iova)
        return -EFAULT;
    memcpy(buf, guest + iova, len);
    return 0;
}

static int write_guest(void *opaque, uint64_t iova, const void *buf, size_t len)
{
    assert_ptr_equal(opaque, guest);
    if (iova > sizeof(guest) || len > sizeof(guest) - iova)
        return -EFAULT;
    memcpy(guest + iova, buf, len);
    return 0;
}

static const struct vfm_dma_ops guest_ops = { sizeof(guest_ops), read_guest,
                                              write_guest };

struct dma_command {
    struct vfu_header header;
    struct vfu_dma_access access;
    uint8_t data[8];
};

static struct dma_command make_command(enum vfu_command command, uint64_t iova,
                                       uint64_t count, size_t data_size)
{
    struct dma_command c = {
        .header = { .id = 0xabc,
                    .command = (uint16_t)command,
                    .size = (uint32_t)(32 + data_size) },
        .access = { iova, count },
        .data = "ABCDEFG",
    };

    return c;
}

static void check_reply(struct fake_server *f, enum vfu_command command,
                        uint32_t error, const void *data, size_t data_size)
{
    struct vfu_header header;
    size_t size = error != 0 ? 16 : 32 + data_size;

    fake_serve(f);
    assert_int_equal(f->replies_size, size);
    memcpy(&header, f->replies, sizeof(header));
    assert_int_equal(header.id, 0xabc);
    assert_int_equal(header.command, command);
    assert_int_equal(header.size, size);
    assert_int_equal(header.flags, error != 0 ? 0x21 : 1);
    assert_int_equal(header.error, error);
    if (data_size > 0)
        assert_memory_equal(f->replies + 32, data, data_size);
    f->replies_size = 0;
}

static void the_device_reaches_memory_by_messages(void **state)
{
    struct dma_command c;
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct pollfd pollfd = { vfm_vfio_user_fd(dev), POLLIN, 0 };

    (void)state;
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &guest_ops, guest, NULL),
                     0);
    c = make_command(VFU_DMA_WRITE, 100, 8, 8);
    assert_int_equal(poll(&pollfd, 1, 0), 0);
    fake_send(&f, &c, 40);
    assert_int_equal(poll(&pollfd, 1, 0), 1);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    check_reply(&f, VFU_DMA_WRITE, 0, NULL, 0);
    assert_memory_equal(guest + 100, "ABCDEFG", 8);

    c = make_command(VFU_DMA_READ, 102, 4, 0);
    fake_send(&f, &c, 32);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    check_reply(&f, VFU_DMA_READ, 0, "CDEF", 4);
    fake_close(&f, dev);
}

static void check_dma_refusal(struct fake_server *f, struct vfm_device *dev,
                              struct dma_command c, size_t size, uint32_t error)
{
    fake_send(f, &c, size);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    check_reply(f, (enum vfu_command)c.header.command, error, NULL, 0);
}

static void access_that_nobody_answers_is_refused(void **state)
{
    struct vfm_dma_ops ops = { sizeof(ops), read_guest, NULL };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &ops, guest, NULL), 0);
    ops.read = NULL; /* ours now, and not the device's */
    check_dma_refusal(&f, dev, make_command(VFU_DMA_WRITE, 100, 8, 8), 40,
                      EFAULT);
    memcpy(guest, "here", 4);
    fake_send(
        &f, &(struct dma_command[]){ make_command(VFU_DMA_READ, 0, 4, 0) }, 32);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    check_reply(&f, VFU_DMA_READ, 0, "here", 4);
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, NULL, NULL, NULL), 0);
    check_dma_refusal(&f, dev, make_command(VFU_DMA_READ, 0, 4, 0), 32, EFAULT);
    fake_close(&f, dev);
}

static void functions_of_another_version_are_refused(void **state)
{
    struct {
        struct vfm_dma_ops ops;
        void *more;
    } newer = { { sizeof(newer), read_guest, NULL }, NULL };
    struct vfm_dma_ops none = { 0, read_guest, NULL };
    struct vfm_error err;
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    memcpy(guest, "here", 4);
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &newer.ops, guest, NULL),
                     0);
    newer.more = guest;
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &newer.ops, NULL, &err),
                     -E2BIG);
    assert_non_null(strstr(err.message, "does not know"));
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &none, NULL, &err),
                     -EINVAL);

    /* Those set before answer. */
    fake_send(
        &f, &(struct dma_command[]){ make_command(VFU_DMA_READ, 0, 4, 0) }, 32);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    check_reply(&f, VFU_DMA_READ, 0, "here", 4);
    fake_close(&f, dev);
}

static void bad_accesses_of_the_device_are_refused(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct dma_command c = make_command(VFU_DMA_READ, 0, 8, 0);

    (void)state;
    check_dma_refusal(&f, dev, c, 32, EFAULT); /* nobody to ask */
    c = make_command(VFU_DMA_WRITE, 0, 8, 8);
    check_dma_refusal(&f, dev, c, 40, EFAULT);
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &guest_ops, guest, NULL),
                     0);
    c = make_command(VFU_DMA_READ, 4090, 8, 0);
    check_dma_refusal(&f, dev, c, 32, EFAULT);
    c = make_command(VFU_DMA_READ, 0, 0, 0);
    check_dma_refusal(&f, dev, c, 32, EINVAL);
    c = make_command(VFU_DMA_READ, 0, UINT64_MAX, 0);
    check_dma_refusal(&f, dev, c, 32, EINVAL);
    c = make_command(VFU_DMA_READ, UINT64_MAX, 8, 0);
    check_dma_refusal(&f, dev, c, 32, EINVAL);
    c = make_command(VFU_DMA_READ, 0, 1 << 21, 0);
    check_dma_refusal(&f, dev, c, 32, EINVAL);
    c = make_command(VFU_DMA_WRITE, 0, 9, 8);
    check_dma_refusal(&f, dev, c, 40, EINVAL);
    c = make_command(VFU_DMA_WRITE, 0, 0, 0);
    check_dma_refusal(&f, dev, c, 32, EINVAL);
    c = make_command(VFU_DEVICE_RESET, 0, 0, 0);
    check_dma_refusal(&f, dev, c, 32, EOPNOTSUPP);
    c = make_command(VFU_DMA_READ, 0, 8, 0);
    c.header.size = 16 + 8;
    check_dma_refusal(&f, dev, c, 24, EINVAL);
    fake_close(&f, dev);
}

static void a_command_that_wants_no_reply_gets_none(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct dma_command c = make_command(VFU_DMA_WRITE, 0, 8, 8);

    (void)state;
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &guest_ops, guest, NULL),
                     0);
    memset(guest, 0, sizeof(guest));
    c.header.flags = VFU_FLAG_NO_REPLY;
    fake_send(&f, &c, 40);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    fake_serve(&f);
    assert_int_equal(f.replies_size, 0);
    assert_memory_equal(guest, "ABCDEFG", 8);
    fake_close(&f, dev);
}

static void a_command_larger_than_allowed_ends_the_connection(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct dma_command c = make_command(VFU_DMA_WRITE, 0, 1 << 20, 0);

    (void)state;
    c.header.size = 32 + (1 << 20) + 1;
    fake_send(&f, &c, 40);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), -EPROTO);
    fake_close(&f, dev);
}

/* The device wants memory before it answers. */
static void ask_before_answering(struct fake_server *f,
                                 const struct fake_message *m)
{
    struct dma_command c = make_command(VFU_DMA_READ, 0, 8, 0);

    c.header.id = m->header.id;
    fake_send(f, &c, 32);
    fake_answer(f, m);
}

static void commands_between_request_and_reply_are_served(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    uint64_t bytes;

    (void)state;
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &guest_ops, guest, NULL),
                     0);
    f.on[VFU_DEVICE_FEATURE] = ask_before_answering;
    assert_int_equal(vfm_device_data_size(dev, &bytes, NULL), 0);
    fake_serve(&f);
    assert_int_equal(f.replies_size, 40);
    fake_close(&f, dev);
}

static void answer_with_twin(struct fake_server *f,
                             const struct fake_message *m)
{
    static const char json[] = "\0\0\2\0{\"capabilities\":{\"twin_socket\":"
                               "{\"supported\":true,\"fd_index\":0}}}";
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    f->twin = pair[0];
    fake_reply_fds(f, m, json, sizeof(json), &pair[1], 1);
    close(pair[1]);
}

static struct vfm_device *open_twin(struct fake_server *f)
{
    struct vfm_device *dev = NULL;

    fake_start(f);
    f->on[VFU_VERSION] = answer_with_twin;
    assert_int_equal(
        vfm_device_open_vfio_user_fd(f->client_fd, "f", NULL, &dev, NULL), 0);
    f->client_fd = -1;
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &guest_ops, guest, NULL),
                     0);
    return dev;
}

static void commands_on_the_twin_socket_are_answered_there(void **state)
{
    struct dma_command c = make_command(VFU_DMA_READ, 0, 8, 0);
    struct fake_server f;
    struct vfm_device *dev = open_twin(&f);
    struct pollfd pollfd = { vfm_vfio_user_fd(dev), POLLIN, 0 };
    struct pollfd fds[DEVICE_MAX_FDS];
    int64_t deadline;

    (void)state;
    memcpy(guest, "abcdefgh", 8);
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 3);
    assert_int_equal(poll(&pollfd, 1, 0), 0);
    fake_send_twin(&f, &c, 32);
    assert_int_equal(poll(&pollfd, 1, 0), 1);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    check_reply(&f, VFU_DMA_READ, 0, "abcdefgh", 8);
    fake_close(&f, dev);
}

static void a_reply_on_the_twin_socket_ends_the_connection(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_twin(&f);
    struct vfu_header header = { .size = 16, .flags = VFU_TYPE_REPLY };

    (void)state;
    fake_send_twin(&f, &header, sizeof(header));
    assert_int_equal(vfm_vfio_user_process(dev, NULL), -EPROTO);
    fake_close(&f, dev);
}

static void a_twin_socket_may_close_alone(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_twin(&f);
    struct pollfd fds[DEVICE_MAX_FDS];
    int64_t deadline;
    uint64_t bytes;

    (void)state;
    close(f.twin);
    f.twin = -1;
    assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 2);
    assert_int_equal(vfm_device_data_size(dev, &bytes, NULL), 0);
    fake_close(&f, dev);
}

static struct device_ops other_ops;

static void devices_of_another_kind_are_refused(void **state)
{
    struct vfm_device other = { .ops = &other_ops, .name = (char *)"other" };
    struct vfm_error err;

    (void)state;
    assert_int_equal(vfm_vfio_user_dma_unmap(&other, 0, 1, &err), -EINVAL);
    assert_string_equal(err.message, "other: is not a vfio-user device");
    assert_int_equal(vfm_vfio_user_process(&other, NULL), -EINVAL);
    assert_int_equal(vfm_vfio_user_fd(&other), -1);
    assert_int_equal(vfm_vfio_user_set_dma_ops(&other, NULL, NULL, NULL),
                     -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interrupts_are_set_in_slices_the_server_takes),
        cmocka_unit_test(interrupts_stop_at_the_first_refusal),
        cmocka_unit_test(memory_goes_with_its_descriptor),
        cmocka_unit_test(a_server_that_takes_no_descriptors_gets_none),
        cmocka_unit_test(areas_of_a_region_are_told),
        cmocka_unit_test(more_areas_than_there_is_room_for_are_counted),
        cmocka_unit_test(a_region_without_a_list_is_one_area),
        cmocka_unit_test(a_region_that_cannot_be_mapped_has_no_areas),
        cmocka_unit_test(surplus_descriptors_of_a_region_are_closed),
        cmocka_unit_test(areas_that_make_no_sense_are_refused),
        cmocka_unit_test(the_descriptor_of_a_region_stays_the_same),
        cmocka_unit_test(the_device_reaches_memory_by_messages),
        cmocka_unit_test(access_that_nobody_answers_is_refused),
        cmocka_unit_test(functions_of_another_version_are_refused),
        cmocka_unit_test(bad_accesses_of_the_device_are_refused),
        cmocka_unit_test(a_command_that_wants_no_reply_gets_none),
        cmocka_unit_test(a_command_larger_than_allowed_ends_the_connection),
        cmocka_unit_test(commands_between_request_and_reply_are_served),
        cmocka_unit_test(commands_on_the_twin_socket_are_answered_there),
        cmocka_unit_test(a_reply_on_the_twin_socket_ends_the_connection),
        cmocka_unit_test(a_twin_socket_may_close_alone),
        cmocka_unit_test(devices_of_another_kind_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
