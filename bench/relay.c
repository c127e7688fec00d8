/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moves the state of one vfio-user device into another, in one process: by our
 * backend, or as clients of the usual kind do it, one request at a time.
 *
 *     relay plain CHUNK FROM TO       CHUNK bytes in a message
 *     relay messages [CHUNK READS WRITES] FROM TO
 *                                     our backend, state in messages
 *     relay area [CHUNK READS WRITES] FROM TO
 *                                     our backend, state in shared memory
 *
 * READS and WRITES are how many of them may be under way.  FROM and TO are the
 * devices' sockets.  Prints bytes and nanoseconds, from
 * before the first read to after the last answer.  The plain client is a loop
 * without anything of the library: a request, its answer, the other request,
 * its answer; header and data in one call; and no copies but the kernel's.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include <vfmig/vfio_user.h>

#include "device/device.h"
#include "protocol/vfio-uapi.h"
#include "protocol/vfio-user.h"

static void die(const char *what)
{
    fprintf(stderr, "relay: %s\n", what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* The plain client. */

static void send_message(int fd, uint16_t command, const void *head,
                         size_t head_size, const void *data, size_t size)
{
    struct vfu_header h = {
        .command = command,
        .size = (uint32_t)(sizeof(h) + head_size + size),
    };
    struct iovec parts[] = {
        { &h, sizeof(h) },
        { (void *)head, head_size },
        { (void *)data, size },
    };
    struct iovec *part = parts;
    int left = 3;

    while (left > 0) {
        ssize_t n = writev(fd, part, left);

        if (n < 0)
            die(strerror(errno));
        for (; left > 0 && (size_t)n >= part->iov_len; part++, left--)
            n -= (ssize_t)part->iov_len;
        if (left > 0) {
            part->iov_base = (char *)part->iov_base + n;
            part->iov_len -= (size_t)n;
        }
    }
}

static void receive_all(int fd, void *buf, size_t size)
{
    if (size > 0 && recv(fd, buf, size, MSG_WAITALL) != (ssize_t)size)
        die("the server is gone");
}

/* Returns the size of the answer, which goes to @buf. */
static size_t receive_answer(int fd, void *buf, size_t room)
{
    struct vfu_header h;

    receive_all(fd, &h, sizeof(h));
    if ((h.flags & VFU_FLAG_ERROR) != 0)
        die(strerror((int)h.error));
    if (h.size < sizeof(h) || h.size - sizeof(h) > room)
        die("an answer of that size was not asked for");
    receive_all(fd, buf, h.size - sizeof(h));
    return h.size - sizeof(h);
}

static int open_plainly(const char *path, size_t chunk)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct vfu_version version = { VFU_VERSION_MAJOR, VFU_VERSION_MINOR };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char json[128];
    char answer[4096];

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die(path);
    snprintf(json, sizeof(json),
             "{\"capabilities\":{\"max_data_xfer_size\":%zu}}", chunk);
    send_message(fd, VFU_VERSION, &version, sizeof(version), json,
                 strlen(json) + 1);
    receive_answer(fd, answer, sizeof(answer));
    return fd;
}

static void set_state_plainly(int fd, uint32_t state)
{
    struct {
        struct vfu_feature feature;
        struct vfu_feature_device_state state;
    } set = {
        .feature = { sizeof(set),
                     UAPI_FEATURE_SET | UAPI_FEATURE_DEVICE_STATE },
        .state = { state, UINT32_MAX },
    };

    send_message(fd, VFU_DEVICE_FEATURE, &set, sizeof(set), NULL, 0);
    receive_answer(fd, &set, sizeof(set));
}

static uint64_t relay_plainly(int from, int to, size_t chunk, uint8_t *buf)
{
    struct vfu_mig_data data;
    uint64_t bytes = 0;

    for (;;) {
        data = (struct vfu_mig_data){ (uint32_t)(sizeof(data) + chunk),
                                      (uint32_t)chunk };
        send_message(from, VFU_MIG_DATA_READ, &data, sizeof(data), NULL, 0);
        receive_answer(from, buf, sizeof(data) + chunk);
        memcpy(&data, buf, sizeof(data));
        if (data.size == 0)
            return bytes;
        send_message(to, VFU_MIG_DATA_WRITE, buf, sizeof(data),
                     buf + sizeof(data), data.size);
        receive_answer(to, &data, sizeof(data));
        bytes += data.size;
    }
}

static uint64_t run_plainly(const char *from_path, const char *to_path,
                            size_t chunk, int64_t *ns)
{
    int from = open_plainly(from_path, chunk);
    int to = open_plainly(to_path, chunk);
    uint8_t *buf = calloc(1, sizeof(struct vfu_mig_data) + chunk);
    uint64_t bytes;
    int64_t start;

    if (buf == NULL)
        die("out of memory");
    set_state_plainly(from, UAPI_STATE_STOP_COPY);
    set_state_plainly(to, UAPI_STATE_RESUMING);
    start = now_ns();
    bytes = relay_plainly(from, to, chunk, buf);
    *ns = now_ns() - start;
    set_state_plainly(to, UAPI_STATE_STOP);
    free(buf);
    return bytes;
}

/* Our backend. */

static struct vfm_device *open_ours(const char *path,
                                    const struct vfm_vfio_user_options *options)
{
    struct vfm_device *dev;
    struct vfm_error err;

    if (vfm_device_open_vfio_user(path, NULL, options, &dev, &err) < 0)
        die(err.message);
    return dev;
}

static void wait_for(struct vfm_device *dev)
{
    struct vfm_error err;

    if (device_wait(dev, &err) < 0)
        die(err.message);
}

static void write_all(struct vfm_device *to, const uint8_t *data, size_t len)
{
    struct vfm_error err;

    while (len > 0) {
        ssize_t n = device_write(to, data, len, &err);

        if (n == -EAGAIN) {
            wait_for(to);
            continue;
        }
        if (n < 0)
            die(err.message);
        data += n;
        len -= (size_t)n;
    }
}

static uint64_t relay_ours(struct vfm_device *from, struct vfm_device *to)
{
    struct vfm_error err;
    uint64_t bytes = 0;
    const void *data;
    ssize_t n;
    int ret;

    while ((n = device_peek(from, &data, &err)) != 0) {
        if (n == -EAGAIN) {
            wait_for(from);
            continue;
        }
        if (n < 0)
            die(err.message);
        write_all(to, data, (size_t)n);
        device_consume(from, (size_t)n);
        bytes += (size_t)n;
    }
    while ((ret = device_flush(to, &err)) == -EAGAIN)
        wait_for(to);
    if (ret < 0)
        die(err.message);
    return bytes;
}

static uint64_t run_ours(const char *from_path, const char *to_path,
                         const struct vfm_vfio_user_options *options,
                         int64_t *ns)
{
    struct vfm_device *from = open_ours(from_path, options);
    struct vfm_device *to = open_ours(to_path, options);
    struct vfm_error err;
    uint64_t bytes;
    int64_t start;

    if (vfm_device_set_state(from, VFM_STATE_STOP_COPY, &err) < 0 ||
        vfm_device_set_state(to, VFM_STATE_RESUMING, &err) < 0)
        die(err.message);
    start = now_ns();
    bytes = relay_ours(from, to);
    *ns = now_ns() - start;
    if (vfm_device_set_state(to, VFM_STATE_STOP, &err) < 0)
        die(err.message);
    vfm_device_close(from);
    vfm_device_close(to);
    return bytes;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: relay plain CHUNK FROM TO\n"
            "       relay messages|area [CHUNK READS WRITES] FROM TO\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct vfm_vfio_user_options options = { .size = sizeof(options) };
    size_t chunk = argc > 4 ? strtoull(argv[2], NULL, 0) : 0;
    const char *from, *to;
    uint64_t bytes;
    int64_t ns;

    if (argc < 4 || argc > 7 || chunk > (16 << 20))
        return usage();
    from = argv[argc - 2];
    to = argv[argc - 1];
    options.no_data_area = strcmp(argv[1], "messages") == 0;
    options.read_size = options.write_size = (uint32_t)chunk;
    if (argc == 7) {
        options.read_depth = (uint32_t)strtoul(argv[3], NULL, 0);
        options.write_depth = (uint32_t)strtoul(argv[4], NULL, 0);
    }
    if (strcmp(argv[1], "plain") == 0)
        bytes = run_plainly(from, to, chunk, &ns);
    else
        bytes = run_ours(from, to, &options, &ns);
    printf("%llu %lld\n", (unsigned long long)bytes, (long long)ns);
    return 0;
}
