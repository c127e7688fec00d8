/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake device's data.  What it shows lies in a buffer of its own for each
 * piece, so that whoever looks at it afterwards is found by ASan.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "fake-session.h"
#include "check/model.h"
#include "util/clock.h"

void session_end(struct fake_device *f)
{
    free(f->peeked);
    f->peeked = NULL;
    f->peeked_len = 0;
}

static void begin_session(struct fake_device *f)
{
    session_end(f);
    f->session_error = 0;
}

void session_begin_saving(struct fake_device *f)
{
    begin_session(f);
    f->at = 0;
    f->initial_end = f->initial_size;
    f->asked_at_end = 0;
}

void session_begin_loading(struct fake_device *f)
{
    begin_session(f);
    f->loaded_len = 0;
}

bool session_is_complete(const struct fake_device *f)
{
    return f->expected == NULL ||
           (f->loaded_len == f->expected_size &&
            (f->loaded_len == 0 ||
             memcmp(f->loaded, f->expected, f->loaded_len) == 0));
}

/* New initial data appears, after what there was has been told to be over. */
static void begin_anew(struct fake_device *f, struct vfm_precopy_info *info)
{
    if (f->reinit_size == 0)
        return;
    f->initial_end = f->at + f->reinit_size;
    if (f->pre_copy_size < f->initial_end)
        f->pre_copy_size = f->initial_end;
    info->flags = VFM_PRECOPY_REINIT;
}

int session_info(struct fake_device *f, struct vfm_precopy_info *info)
{
    if (!model_saves(f->state) || !model_runs(f->state))
        return -EINVAL;
    *info = (struct vfm_precopy_info){ 0 };
    if (f->at >= f->initial_end && f->asked_at_end++ == 1)
        begin_anew(f, info);
    if (f->at < f->initial_end)
        info->initial_bytes = f->initial_end - f->at;
    info->dirty_bytes = f->pre_copy_size - f->at - info->initial_bytes;
    if (f->lies_precopy)
        *info = f->says_precopy;
    return 0;
}

/* -EAGAIN as often as the device is slow, else 0; what is silent for too long
 * is lost. */
static int be_slow(struct fake_device *f, enum fake_op op,
                   struct vfm_error *err)
{
    if (fake_is_silent(f))
        return clock_now() < f->silence_ends
                   ? -EAGAIN
                   : fake_session_failed(f, op, -ETIMEDOUT, err);
    if (f->data_delay < f->io_delay) {
        f->data_delay++;
        f->again = true;
        return -EAGAIN;
    }
    f->data_delay = 0;
    return 0;
}

/* The first error of a session stays. */
static int fail_if_told(struct fake_device *f, enum fake_op op,
                        struct vfm_error *err)
{
    const struct fake_fault *fault = fake_fault_now(f, op);

    if (fault != NULL && f->session_error == 0)
        f->session_error = fault->error;
    if (f->session_error == 0)
        return 0;
    return fake_session_failed(f, op, f->session_error, err);
}

ssize_t session_peek(struct vfm_device *dev, const void **data,
                     struct vfm_error *err)
{
    struct fake_device *f = dev->backend;
    size_t end = model_runs(f->state) ? f->pre_copy_size : f->size;
    int ret;

    if (f->slow_end && end == f->size && f->at > f->pre_copy_size) {
        f->slow_end = false;
        fake_fall_silent(f);
    }
    if (f->peeked == NULL) {
        /* What there is needs time; that there is nothing is known. */
        ret = f->at < end && f->session_error == 0 ? be_slow(f, FAKE_PEEK, err)
                                                   : 0;
        if (ret == 0)
            ret = fail_if_told(f, FAKE_PEEK, err);
        if (ret < 0)
            return ret;
        if (f->at == end)
            return model_runs(f->state) ? -ENOMSG : 0;
        f->peeked_len = end - f->at < f->piece ? end - f->at : f->piece;
        f->peeked = malloc(f->peeked_len);
        if (f->peeked == NULL)
            abort();
        memcpy(f->peeked, f->data + f->at, f->peeked_len);
        f->at += f->peeked_len;
    }
    *data = f->peeked;
    return (ssize_t)f->peeked_len;
}

void session_consume(struct vfm_device *dev, size_t len)
{
    struct fake_device *f = dev->backend;

    if (f->peeked == NULL || len > f->peeked_len)
        abort();
    f->at -= f->peeked_len - len;
    session_end(f);
}

static void keep(struct fake_device *f, const void *data, size_t len)
{
    if (f->loaded_len + len > f->loaded_size) {
        f->loaded_size = 2 * f->loaded_size + len;
        f->loaded = realloc(f->loaded, f->loaded_size);
        if (f->loaded == NULL)
            abort();
    }
    memcpy(f->loaded + f->loaded_len, data, len);
    f->loaded_len += len;
}

ssize_t session_write(struct vfm_device *dev, const void *data, size_t len,
                      struct vfm_error *err)
{
    struct fake_device *f = dev->backend;
    int ret = be_slow(f, FAKE_WRITE, err);

    if (ret == 0)
        ret = fail_if_told(f, FAKE_WRITE, err);
    if (ret < 0)
        return ret;
    if (data != f->room && len > f->piece)
        len = f->piece;
    keep(f, data, len);
    if (data != f->room)
        return (ssize_t)len;
    /* The device's own memory is nobody else's to read. */
    f->landed++;
    memset(f->room, 0xee, len);
    return (ssize_t)len;
}

ssize_t session_room(struct vfm_device *dev, void **room, struct vfm_error *err)
{
    struct fake_device *f = dev->backend;
    int ret;

    if (f->room_size == 0)
        return 0;
    ret = be_slow(f, FAKE_ROOM, err);
    if (ret == 0)
        ret = fail_if_told(f, FAKE_ROOM, err);
    if (ret < 0)
        return ret;
    if (f->room == NULL)
        f->room = malloc(f->room_size);
    if (f->room == NULL)
        abort();
    *room = f->room;
    return (ssize_t)f->room_size;
}

int session_flush(struct vfm_device *dev, struct vfm_error *err)
{
    struct fake_device *f = dev->backend;
    int ret = be_slow(f, FAKE_FLUSH, err);

    return ret < 0 ? ret : fail_if_told(f, FAKE_FLUSH, err);
}

void session_over(struct vfm_device *dev)
{
    session_end(dev->backend);
}
