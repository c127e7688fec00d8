/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data descriptors: the bytes of a device's state, by messages.
 *
 * A descriptor is good as long as the device stays in states of its session;
 * then it is an error to use it, and the device has no part in it any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/device.h"
#include "bridge/memory.h"

/* Servers exist that lose their place in larger messages. */
#define SAFE_WRITE 32768

struct session {
    struct file file;
    struct device *device;
    bool is_load;
    atomic_bool has_ended;
    atomic_bool has_hole; /* the server gave what the program had no room for */
};

enum kind { KIND_NONE, KIND_SAVE, KIND_LOAD };

static enum kind kind_of(uint32_t state)
{
    switch (state) {
    case UAPI_STATE_STOP_COPY:
    case UAPI_STATE_PRE_COPY:
    case UAPI_STATE_PRE_COPY_P2P:
        return KIND_SAVE;
    case UAPI_STATE_RESUMING:
        return KIND_LOAD;
    }
    return KIND_NONE;
}

bool session_goes_on(uint32_t from, uint32_t to)
{
    return kind_of(from) == kind_of(to);
}

bool session_begins(uint32_t from, uint32_t to)
{
    return kind_of(to) != KIND_NONE && kind_of(from) != kind_of(to);
}

/* What comes too late is for nobody: it would be for the next session.  And
 * what was refused because the session was ending says so. */
static int call(const struct session *s, struct exchange *x)
{
    struct device *d = s->device;
    bool has_ended;
    int ret;

    x->is_late = &s->has_ended;
    ret = link_call(&d->link, x);
    if (ret == 0)
        return 0;
    pthread_mutex_lock(&d->state_lock);
    has_ended = s->has_ended;
    pthread_mutex_unlock(&d->state_lock);
    return has_ended ? -ENODEV : ret;
}

/* ------------------------------------------------------------- reading */

static int read_piece(const struct session *s, void *buf, size_t len,
                      size_t *got)
{
    struct vfu_mig_data ask = { (uint32_t)(sizeof(ask) + len), (uint32_t)len };
    struct vfu_mig_data answer = { 0 };
    struct exchange x = {
        .command = VFU_MIG_DATA_READ,
        .timeout_ms = LINK_DATA_MS,
        .head = &ask,
        .head_len = sizeof(ask),
        .reply = &answer,
        .reply_room = sizeof(answer),
        .data = buf,
        .data_room = len,
    };
    int ret = call(s, &x);

    if (ret < 0)
        return ret;
    if (x.reply_len < sizeof(answer) || answer.size > len ||
        answer.size > x.reply_len - sizeof(answer))
        return -EIO;
    *got = answer.size;
    return 0;
}

static struct session *session_of(struct file *f)
{
    return (struct session *)f;
}

/* Before STOP_COPY nothing is no end. */
static ssize_t read_session(struct file *f, void *buf, size_t len, int64_t pos)
{
    struct session *s = session_of(f);
    struct device *d = s->device;
    size_t got = 0;
    uint32_t state;
    int ret;

    if (pos >= 0)
        return -ESPIPE;
    if (s->is_load)
        return -EBADF;
    if (s->has_ended)
        return -ENODEV;
    if (s->has_hole)
        return -EIO;
    state = d->state;
    if (len > d->link.max_xfer)
        len = d->link.max_xfer;
    ret = read_piece(s, buf, len, &got);
    if (ret == -EFAULT)
        s->has_hole = true;
    if (ret < 0)
        return ret;
    if (got == 0 && len > 0 && state != UAPI_STATE_STOP_COPY)
        return -ENOMSG;
    return (ssize_t)got;
}

/* ------------------------------------------------------------- writing */

static int write_piece(const struct session *s, const void *buf, size_t len)
{
    struct vfu_mig_data data = { (uint32_t)(sizeof(data) + len),
                                 (uint32_t)len };
    struct exchange x = {
        .command = VFU_MIG_DATA_WRITE,
        .timeout_ms = LINK_DATA_MS,
        .head = &data,
        .head_len = sizeof(data),
        .body = buf,
        .body_len = len,
    };
    int ret = memory_check(buf, len);

    return ret < 0 ? ret : call(s, &x);
}

static ssize_t write_session(struct file *f, const void *buf, size_t len,
                             int64_t pos)
{
    struct session *s = session_of(f);
    struct link *l = &s->device->link;
    size_t most = l->max_xfer;
    size_t done = 0;

    if (pos >= 0)
        return -ESPIPE;
    if (!s->is_load)
        return -EBADF;
    if (!l->whole_messages && most > SAFE_WRITE)
        most = SAFE_WRITE;
    while (done < len) {
        size_t n = len - done < most ? len - done : most;
        int ret = s->has_ended ? -ENODEV
                               : write_piece(s, (const char *)buf + done, n);

        /* What was taken before counts, as in any write(). */
        if (ret < 0)
            return done > 0 ? (ssize_t)done : ret;
        done += n;
    }
    return (ssize_t)done;
}

/* -------------------------------------------------------------- asking */

static int ask_precopy(const struct session *s, struct vfu_precopy_info *info)
{
    struct vfu_precopy_info ask = { .argsz = sizeof(ask) };
    struct exchange x = {
        .command = VFU_MIG_GET_PRECOPY_INFO,
        .head = &ask,
        .head_len = sizeof(ask),
        .reply = info,
        .reply_room = sizeof(*info),
    };
    int ret = call(s, &x);

    return ret == 0 && x.reply_len < sizeof(*info) ? -EIO : ret;
}

static int get_precopy_info(struct session *s, void *arg)
{
    struct uapi_precopy_info info;
    struct vfu_precopy_info answer = { 0 };
    uint32_t state = s->device->state;
    int ret = argument_get(arg, &info, sizeof(info), sizeof(info));

    if (ret < 0)
        return ret;
    if (s->is_load || s->has_ended || state == UAPI_STATE_STOP_COPY)
        return -EINVAL;
    ret = ask_precopy(s, &answer);
    if (ret < 0)
        return ret;
    info.flags = answer.flags;
    info.initial_bytes = answer.initial_bytes;
    info.dirty_bytes = answer.dirty_bytes;
    return argument_put(arg, &info, sizeof(info));
}

static int ioctl_session(struct file *f, unsigned long request, void *arg)
{
    return request == UAPI_GET_PRECOPY_INFO
               ? get_precopy_info(session_of(f), arg)
               : -ENOTTY;
}

static void release_session(struct file *f)
{
    struct session *s = session_of(f);
    struct device *d = s->device;

    pthread_mutex_lock(&d->state_lock);
    if (d->session == s)
        d->session = NULL;
    pthread_mutex_unlock(&d->state_lock);
    device_put(d);
    free(s);
}

static const struct file_ops session_ops = {
    .name = "vfio-session",
    .ioctl = ioctl_session,
    .read = read_session,
    .write = write_session,
    .release = release_session,
};

int session_begin(struct device *d)
{
    struct session *s = calloc(1, sizeof(*s));
    int fd;

    if (s == NULL)
        return -ENOMEM;
    s->device = d;
    s->is_load = kind_of(d->state) == KIND_LOAD;
    fd = file_open(&s->file, &session_ops, O_CLOEXEC, true);
    if (fd < 0) {
        free(s);
        return fd;
    }
    device_ref(d);
    d->session = s;
    return fd;
}

void session_end(struct device *d)
{
    if (d->session != NULL)
        d->session->has_ended = true;
    d->session = NULL;
}
