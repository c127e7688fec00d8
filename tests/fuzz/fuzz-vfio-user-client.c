/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user server out of its mind: the client is opened, saved, loaded and
 * used, and the input says how each of its commands is answered.
 *
 * An input is a list of answers, one for each command in turn: a kind, then
 * what the kind takes.  When it is used up the server is a good one, which
 * checks what the client sends.  The server, and a clock that makes waiting
 * free, are those of the unit tests.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device/device.h"
#include "dirty/device-log.h"
#include "tests/unit/backend/fake-server.h"

/* No answer needs more to be strange. */
#define MAX_BODY  1024

/* Reads of a session: a server may always have one more. */
#define MAX_READS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *input;
static size_t input_left;

static void take(void *to, size_t size)
{
    memset(to, 0, size);
    if (size > input_left)
        size = input_left;
    if (size > 0)
        memcpy(to, input, size);
    input += size;
    input_left -= size;
}

static uint32_t take_number(size_t size)
{
    uint32_t n = 0;

    take(&n, size);
    return n;
}

/* Takes a length and that many bytes. */
static size_t take_body(uint8_t *body)
{
    size_t size = take_number(2) % (MAX_BODY + 1);

    take(body, size);
    return size;
}

static void answer_with_body(struct fake_server *f,
                             const struct fake_message *m)
{
    uint8_t body[MAX_BODY];
    size_t size = take_body(body);

    fake_reply(f, m, body, size);
}

static void answer_with_fds(struct fake_server *f, const struct fake_message *m)
{
    int fds[32];
    uint8_t body[MAX_BODY];
    unsigned int n = take_number(1) % 33;
    size_t size = take_body(body);
    int pair[2] = { -1, -1 };

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        abort();
    for (unsigned int i = 0; i < n; i++)
        fds[i] = pair[1];
    if (f->out_size > 0 || f->fd < 0 || n == 0)
        fake_answer(f, m);
    else
        fake_reply_fds(f, m, body, size, fds, n);
    close(pair[0]);
    close(pair[1]);
}

/* A header of any kind, but near the right one: what is zero in the input is
 * right. */
static void answer_with_header(struct fake_server *f,
                               const struct fake_message *m)
{
    uint8_t body[MAX_BODY];
    struct vfu_header change;
    struct vfu_header header = m->header;
    size_t size;

    take(&change, sizeof(change));
    size = take_body(body);
    header.id ^= change.id;
    header.command ^= change.command;
    header.size = (uint32_t)(sizeof(header) + size) ^ change.size;
    header.flags = VFU_TYPE_REPLY ^ change.flags;
    header.error = change.error;
    fake_send_message(f, header, body, size);
}

static void send_bytes(struct fake_server *f)
{
    uint8_t body[MAX_BODY];

    fake_send(f, body, take_body(body));
}

static void send_command(struct fake_server *f)
{
    uint8_t body[MAX_BODY];
    struct vfu_header header = {
        .id = (uint16_t)take_number(2),
        .command = VFU_DMA_READ + (take_number(1) & 1),
        .flags = take_number(1) & VFU_FLAG_NO_REPLY,
    };
    size_t size = take_body(body);

    header.size = (uint32_t)(sizeof(header) + size);
    fake_send_message(f, header, body, size);
}

static void answer(struct fake_server *f, const struct fake_message *m)
{
    switch (take_number(1) & 7) {
    case 1:
        answer_with_body(f, m);
        break;
    case 2:
        fake_refuse(f, m, take_number(4));
        break;
    case 3:
        answer_with_header(f, m);
        break;
    case 4:
        send_bytes(f);
        break;
    case 5:
        send_command(f);
        fake_answer(f, m);
        break;
    case 6:
        answer_with_fds(f, m);
        break;
    case 7:
        if (take_number(1) == 0)
            fake_hang_up(f);
        break;
    default:
        fake_answer(f, m);
        break;
    }
}

static uint8_t memory[64];

static int read_memory(void *opaque, uint64_t iova, void *buf, size_t len)
{
    (void)opaque;
    if (iova > sizeof(memory) || len > sizeof(memory) - iova)
        return -EFAULT;
    memcpy(buf, memory + iova, len);
    return 0;
}

static int write_memory(void *opaque, uint64_t iova, const void *buf,
                        size_t len)
{
    (void)opaque;
    if (iova > sizeof(memory) || len > sizeof(memory) - iova)
        return -EFAULT;
    memcpy(memory + iova, buf, len);
    return 0;
}

static const struct vfm_dma_ops memory_ops = { sizeof(memory_ops), read_memory,
                                               write_memory };

static void read_all(struct vfm_device *dev)
{
    uint8_t buf[600];

    for (int i = 0; i < MAX_READS; i++)
        if (vfm_device_read(dev, buf, sizeof(buf), NULL) <= 0)
            break;
}

static void save(struct vfm_device *dev)
{
    struct vfm_precopy_info precopy = { .size = sizeof(precopy) };
    const void *data;
    uint64_t bytes;

    vfm_device_data_size(dev, &bytes, NULL);
    vfm_device_set_state(dev, VFM_STATE_PRE_COPY, NULL);
    vfm_device_precopy_info(dev, &precopy, NULL);
    read_all(dev);
    device_peek(dev, &data, NULL);
    vfm_device_set_state(dev, VFM_STATE_STOP_COPY, NULL);
    read_all(dev);
}

static void load(struct vfm_device *dev)
{
    static uint8_t data[20000];

    vfm_device_set_state(dev, VFM_STATE_RESUMING, NULL);
    vfm_device_write(dev, data, sizeof(data), NULL);
    while (device_flush(dev, NULL) == -EAGAIN)
        device_wait(dev, NULL);
    vfm_device_set_state(dev, VFM_STATE_STOP, NULL);
}

/* What the device wrote, by its own word. */
static void watch(struct vfm_device *dev)
{
    static const struct vfm_dirty_range range = { 0x10000, 9 * 4096 };
    struct vfm_dirty_tracker *tracker;
    struct vfm_dirty_sink *sink;

    if (vfm_dirty_sink_new(&range, 1, &sink, NULL) < 0)
        abort();
    vfm_vfio_user_dma_map(dev, range.address, range.length, 0, 0,
                          VFM_DMA_READ | VFM_DMA_WRITE, NULL);
    if (dirty_tracker_new_device(dev, false, &tracker, NULL) == 0) {
        vfm_dirty_tracker_start(tracker, &range, 1, NULL);
        vfm_dirty_tracker_report(tracker, sink, NULL);
        vfm_dirty_tracker_report(tracker, sink, NULL);
        vfm_dirty_tracker_free(tracker);
    }
    vfm_vfio_user_dma_unmap(dev, range.address, range.length, NULL);
    vfm_dirty_sink_free(sink);
}

static void use(struct vfm_device *dev)
{
    struct vfm_region_area areas[4];
    uint64_t fd_offset;
    uint8_t buf[100];
    int fds[6] = { 0, 0, 0, -1, 0, 0 };
    int fd;

    vfm_vfio_user_region_areas(dev, 2, areas, 4, &fd, &fd_offset, NULL);
    vfm_device_region_read(dev, 7, 4, buf, sizeof(buf), NULL);
    vfm_device_region_write(dev, 7, 4, buf, sizeof(buf), NULL);
    vfm_vfio_user_dma_map(dev, 0, 4096, 0, 0, VFM_DMA_READ, NULL);
    vfm_vfio_user_dma_unmap(dev, 0, 4096, NULL);
    vfm_vfio_user_set_irqs(dev, 2, 0, 6, fds, NULL);
    vfm_vfio_user_process(dev, NULL);
    vfm_device_recover(dev, VFM_STATE_RUNNING, NULL);
    vfm_device_reset(dev, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t state[5000];
    struct vfm_vfio_user_options options = {
        .size = sizeof(options),
        .read_size = 4096,
        .read_depth = 3,
        .write_size = 4096,
        .write_depth = 3,
    };
    struct vfm_device *dev;
    struct fake_server f;

    input = data;
    input_left = size;
    fake_start(&f);
    f.data = state;
    f.data_size = sizeof(state);
    f.features |= UINT64_C(7) << UAPI_FEATURE_LOG_START;
    for (int i = 0; i < FAKE_MAX_COMMAND; i++)
        f.on[i] = answer;

    if (vfm_device_open_vfio_user_fd(f.client_fd, "f", &options, &dev, NULL) ==
        0) {
        f.client_fd = -1;
        vfm_vfio_user_set_dma_ops(dev, &memory_ops, NULL, NULL);
        save(dev);
        load(dev);
        use(dev);
        watch(dev);
        vfm_device_close(dev);
    }
    fake_stop(&f);
    return 0;
}
