/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device handle: which state the device is in, which session is open, and
 * the one call that is under way.
 *
 * How to talk to the device is the backend's business (backend/), how to wait
 * is wait.c's, and what to do when a transition fails is recover.c's or the
 * caller's.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "device/state.h"
#include "util/error.h"
#include "util/options.h"

struct vfm_device *device_new(const struct device_ops *ops, void *backend,
                              const char *name)
{
    struct vfm_device *dev = calloc(1, sizeof(*dev));

    if (dev == NULL)
        return NULL;
    dev->name = strdup(name);
    if (dev->name == NULL) {
        free(dev);
        return NULL;
    }
    dev->ops = ops;
    dev->backend = backend;
    dev->info.size = sizeof(dev->info);
    dev->info.backend = ops->name;
    dev->state = VFM_STATE_ERROR;
    return dev;
}

void device_opened(struct vfm_device *dev, enum vfm_state state)
{
    dev->state = state;
    /* A session that somebody else opened is not ours to go on with. */
    dev->session = SESSION_NONE;
}

void vfm_device_close(struct vfm_device *dev)
{
    if (dev == NULL)
        return;
    dev->ops->close(dev);
    free(dev->name);
    free(dev);
}

const char *vfm_device_name(const struct vfm_device *dev)
{
    return dev->name;
}

enum vfm_state vfm_device_state(const struct vfm_device *dev)
{
    return dev->state;
}

bool vfm_device_has_state(const struct vfm_device *dev, enum vfm_state state)
{
    return state_exists(state, dev->info.migration);
}

int vfm_device_do_without(struct vfm_device *dev, uint64_t migration,
                          struct vfm_error *err)
{
    struct vfm_device_info *info = &dev->info;
    uint64_t left = info->migration & ~migration;

    if ((migration & ~(VFM_MIGRATION_PRE_COPY | VFM_MIGRATION_P2P)) != 0)
        return error_set(err, -EINVAL,
                         "%s: only PRE_COPY and P2P can be done without",
                         dev->name);
    if (vfm_device_has_state(dev, dev->state) &&
        !state_exists(dev->state, left))
        return error_set(err, -EBUSY, "%s: cannot do without %s, where it is",
                         dev->name, vfm_state_name(dev->state));
    info->migration = left;
    if ((migration & VFM_MIGRATION_PRE_COPY) != 0)
        info->has_precopy_info = false;
    return 0;
}

#define INFO_SIZE_MIN sizeof(struct vfm_device_info)

int vfm_device_get_info(const struct vfm_device *dev,
                        struct vfm_device_info *info)
{
    return answer_copy(info, INFO_SIZE_MIN, &dev->info, sizeof(dev->info));
}

static void end_session(struct vfm_device *dev)
{
    if (dev->session != SESSION_NONE)
        dev->ops->end_session(dev);
    dev->session = SESSION_NONE;
    dev->refusal_told = false;
}

/* The only place where the state of an open device changes.  @continued: the
 * device came here by a transition that worked, so that a session it should
 * have is there. */
static void enter_state(struct vfm_device *dev, enum vfm_state now,
                        bool continued)
{
    enum session session = state_session(now);
    /* Moving between the states of a session does not open it again. */
    bool lost =
        dev->session == SESSION_NONE && state_session(dev->state) == session;

    if (session != dev->session)
        end_session(dev);
    if (continued && !lost)
        dev->session = session;
    dev->state = now;
}

static int start_call(struct vfm_device *dev, enum device_phase phase,
                      struct vfm_error *err)
{
    int ret = dev->ops->call_start(dev, &dev->call, err);

    assert(ret != -EAGAIN);
    dev->phase = ret == 0 ? phase : DEVICE_IDLE;
    return ret;
}

/* The device did not say where it is. */
static void lose_device(struct vfm_device *dev)
{
    dev->phase = DEVICE_IDLE;
    enter_state(dev, VFM_STATE_ERROR, false);
}

/* A move failed: asks where that left the device. */
static int ask_after_failure(struct vfm_device *dev, int ret)
{
    if (dev->failure.code == 0)
        error_set(&dev->failure, ret, "%s: %s", dev->name, strerror(-ret));
    dev->call = (struct device_call){ .op = DEVICE_GET_STATE };
    if (start_call(dev, DEVICE_ASKING, NULL) < 0)
        lose_device(dev);
    return device_set_state_finish(dev, NULL);
}

static int check_move(const struct vfm_device *dev, enum vfm_state want,
                      struct vfm_error *err)
{
    if (want == VFM_STATE_ERROR)
        return error_set(err, -EINVAL, "%s: ERROR cannot be asked for",
                         dev->name);
    if (!vfm_device_has_state(dev, want))
        return error_set(err, -EOPNOTSUPP, "%s: device has no state %s",
                         dev->name, vfm_state_name(want));
    if (state_next(dev->state, want, dev->info.migration) == VFM_STATE_ERROR)
        return error_set(err, -EINVAL, "%s: there is no way from %s to %s",
                         dev->name, vfm_state_name(dev->state),
                         vfm_state_name(want));
    return 0;
}

static int report_failure(const struct vfm_device *dev, struct vfm_error *err)
{
    if (err != NULL)
        *err = dev->failure;
    return dev->failure.code;
}

int device_set_state_start(struct vfm_device *dev, enum vfm_state want,
                           struct vfm_error *err)
{
    int ret;

    assert(dev->phase == DEVICE_IDLE);
    ret = check_move(dev, want, err);
    if (ret < 0)
        return ret;
    if (want == dev->state)
        return 0;

    dev->failure = (struct vfm_error){ 0 };
    dev->call = (struct device_call){ .op = DEVICE_SET_STATE, .state = want };
    ret = start_call(dev, DEVICE_MOVING, &dev->failure);
    if (ret < 0)
        ret = ask_after_failure(dev, ret);
    else
        ret = device_set_state_finish(dev, err);
    return ret == 0 || ret == -EAGAIN ? ret : report_failure(dev, err);
}

/* The SET_STATE call is over or goes on. */
static int finish_move(struct vfm_device *dev)
{
    int ret = dev->ops->call_finish(dev, &dev->call, &dev->failure);

    if (ret == -EAGAIN)
        return ret;
    if (ret < 0)
        return ask_after_failure(dev, ret);
    dev->phase = DEVICE_IDLE;
    enter_state(dev, dev->call.state, true);
    return 0;
}

/* The GET_STATE call after a failure is over or goes on. */
static int finish_asking(struct vfm_device *dev)
{
    int ret = dev->ops->call_finish(dev, &dev->call, NULL);

    if (ret == -EAGAIN)
        return ret;
    if (ret < 0 || (unsigned int)dev->call.state >= NUM_STATES) {
        lose_device(dev);
    } else {
        dev->phase = DEVICE_IDLE;
        /* A session of the same kind as before is the one we had. */
        enter_state(dev, dev->call.state, false);
    }
    return dev->failure.code;
}

int device_set_state_finish(struct vfm_device *dev, struct vfm_error *err)
{
    int ret;

    switch (dev->phase) {
    case DEVICE_MOVING:
        ret = finish_move(dev);
        break;
    case DEVICE_ASKING:
        ret = finish_asking(dev);
        break;
    case DEVICE_IDLE:
    default:
        ret = dev->failure.code;
        break;
    }
    return ret == 0 || ret == -EAGAIN ? ret : report_failure(dev, err);
}

int device_call_start(struct vfm_device *dev, const struct device_call *call,
                      struct vfm_error *err)
{
    assert(dev->phase == DEVICE_IDLE);
    assert(call->op != DEVICE_SET_STATE);
    dev->call = *call;
    return start_call(dev, DEVICE_CALLING, err);
}

/* What the answer means for the handle. */
static int note_answer(struct vfm_device *dev, struct vfm_error *err)
{
    if (dev->call.op == DEVICE_GET_STATE) {
        if ((unsigned int)dev->call.state >= NUM_STATES)
            return error_set(err, -EPROTO, "%s: device is in state %u",
                             dev->name, (unsigned int)dev->call.state);
        enter_state(dev, dev->call.state, false);
    }
    if (dev->call.op == DEVICE_RESET)
        end_session(dev);
    return 0;
}

int device_call_finish(struct vfm_device *dev, struct device_call *result,
                       struct vfm_error *err)
{
    int ret;

    assert(dev->phase == DEVICE_CALLING);
    ret = dev->ops->call_finish(dev, &dev->call, err);
    if (ret == -EAGAIN)
        return ret;
    dev->phase = DEVICE_IDLE;
    if (ret == 0)
        ret = note_answer(dev, err);
    if (ret == 0)
        *result = dev->call;
    return ret;
}

static int check_session(const struct vfm_device *dev, enum session session,
                         struct vfm_error *err)
{
    if (dev->session == session)
        return 0;
    return error_set(err, -EBADFD, "%s: no %s session in state %s", dev->name,
                     session == SESSION_SAVE ? "saving" : "loading",
                     vfm_state_name(dev->state));
}

ssize_t device_peek(struct vfm_device *dev, const void **data,
                    struct vfm_error *err)
{
    int ret = check_session(dev, SESSION_SAVE, err);

    return ret < 0 ? ret : dev->ops->peek(dev, data, err);
}

void device_consume(struct vfm_device *dev, size_t len)
{
    dev->ops->consume(dev, len);
}

ssize_t device_write(struct vfm_device *dev, const void *data, size_t len,
                     struct vfm_error *err)
{
    int ret = check_session(dev, SESSION_LOAD, err);

    return ret < 0 ? ret : dev->ops->write(dev, data, len, err);
}

ssize_t device_room(struct vfm_device *dev, void **room, struct vfm_error *err)
{
    int ret = check_session(dev, SESSION_LOAD, err);

    if (ret < 0 || dev->ops->room == NULL)
        return ret;
    return dev->ops->room(dev, room, err);
}

int device_flush(struct vfm_device *dev, struct vfm_error *err)
{
    int ret = check_session(dev, SESSION_LOAD, err);

    return ret < 0 ? ret : dev->ops->flush(dev, err);
}
