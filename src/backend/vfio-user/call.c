/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls of struct device_ops: one message each, but for accesses to
 * regions, which are pieces.c's.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/vfio-user/client.h"

/* "cannot" what; of accesses, the one of this number. */
static void describe(const struct device_call *call, unsigned int access,
                     char *text, size_t size)
{
    switch (call->op) {
    case DEVICE_SET_STATE:
        snprintf(text, size, "enter state %s", vfm_state_name(call->state));
        break;
    case DEVICE_GET_STATE:
        snprintf(text, size, "tell its state");
        break;
    case DEVICE_RESET:
        snprintf(text, size, "reset");
        break;
    case DEVICE_DATA_SIZE:
        snprintf(text, size, "tell the size of its state");
        break;
    case DEVICE_PRECOPY_INFO:
        snprintf(text, size, "tell what is left to pre-copy");
        break;
    case DEVICE_LOG_START:
        snprintf(text, size, "log what it writes");
        break;
    case DEVICE_LOG_STOP:
        snprintf(text, size, "stop logging");
        break;
    case DEVICE_LOG_REPORT:
        snprintf(text, size, "tell what it wrote");
        break;
    case DEVICE_REGION_READ:
    case DEVICE_REGION_WRITE:
    default:
        access_describe(&call->accesses[access],
                        call->op == DEVICE_REGION_WRITE, text, size);
        break;
    }
}

static int call_error(struct client *c, const struct device_call *call, int ret,
                      struct vfm_error *err)
{
    char what[80];

    describe(call, c->call.failed, what, sizeof(what));
    return client_error(c, err, ret, what);
}

bool call_is_set_state(const struct client *c)
{
    return c->call.call != NULL && c->call.call->op == DEVICE_SET_STATE;
}

static int send_call(struct client *c, enum vfu_command command,
                     const struct iovec *parts, int num_parts)
{
    struct client_call *k = &c->call;

    k->req.timeout_ms = c->settings.command_timeout_ms;
    if (command == VFU_DEVICE_RESET || k->call->op == DEVICE_SET_STATE)
        k->req.timeout_ms = c->settings.state_timeout_ms;
    return client_send(c, &k->req, command, parts, num_parts, NULL, 0);
}

int call_send_parts(struct client *c, uint32_t flags, struct iovec *parts,
                    int num_parts, size_t answer_size)
{
    struct vfu_feature feature = { .flags = flags };
    size_t size = 0;
    int ret;

    for (int i = 1; i < num_parts; i++)
        size += parts[i].iov_len;
    if (size < answer_size)
        size = answer_size;
    feature.argsz = (uint32_t)(sizeof(feature) + size);
    parts[0] = (struct iovec){ &feature, sizeof(feature) };
    ret = send_call(c, VFU_DEVICE_FEATURE, parts, num_parts);
    parts[0] = (struct iovec){ 0 };
    return ret;
}

int call_send_feature(struct client *c, uint32_t flags, const void *data,
                      size_t size, size_t answer_size)
{
    struct iovec parts[] = { { 0 }, { (void *)data, size } };

    return call_send_parts(c, flags, parts, 2, answer_size);
}

static int send_state(struct client *c)
{
    struct vfu_feature_device_state state = {
        .state = c->call.call->state,
        .data_fd = UINT32_MAX,
    };

    return call_send_feature(c, UAPI_FEATURE_SET | UAPI_FEATURE_DEVICE_STATE,
                             &state, sizeof(state), sizeof(state));
}

static int send_precopy_info(struct client *c)
{
    struct vfu_precopy_info info = { 0 };
    struct iovec part = { &info, sizeof(info) };

    if (!c->dev->info.has_precopy_info)
        return -EOPNOTSUPP;
    return send_call(c, VFU_MIG_GET_PRECOPY_INFO, &part, 1);
}

static int send_op(struct client *c)
{
    switch (c->call.call->op) {
    case DEVICE_SET_STATE:
        return send_state(c);
    case DEVICE_GET_STATE:
        return call_send_feature(
            c, UAPI_FEATURE_GET | UAPI_FEATURE_DEVICE_STATE, NULL, 0,
            sizeof(struct vfu_feature_device_state));
    case DEVICE_RESET:
        return send_call(c, VFU_DEVICE_RESET, NULL, 0);
    case DEVICE_DATA_SIZE:
        if (!c->dev->info.has_data_size)
            return -EOPNOTSUPP;
        return call_send_feature(c, UAPI_FEATURE_GET | UAPI_FEATURE_DATA_SIZE,
                                 NULL, 0, sizeof(uint64_t));
    case DEVICE_PRECOPY_INFO:
        return send_precopy_info(c);
    case DEVICE_LOG_START:
        return log_send_start(c);
    case DEVICE_LOG_STOP:
        return call_send_feature(c, UAPI_FEATURE_SET | UAPI_FEATURE_LOG_STOP,
                                 NULL, 0, 0);
    case DEVICE_LOG_REPORT:
        return log_send_report(c);
    case DEVICE_REGION_READ:
    case DEVICE_REGION_WRITE:
    default:
        return pieces_start(c, &c->call.pieces,
                            c->call.call->op == DEVICE_REGION_WRITE,
                            c->call.call->accesses, c->call.call->num_accesses);
    }
}

/* Copies the answer's @size bytes after the first @skip to @data. */
static int take_answer(struct client *c, size_t skip, void *data, size_t size)
{
    if (c->call.req.size < skip + size)
        return client_lose(c, -EPROTO, "answer of %zu bytes, %zu are missing",
                           c->call.req.size, skip + size - c->call.req.size);
    memcpy(data, c->call.reply + skip, size);
    return 0;
}

static int take_state(struct client *c, struct device_call *call)
{
    struct vfu_feature_device_state answer = { 0 };
    int ret =
        take_answer(c, sizeof(struct vfu_feature), &answer, sizeof(answer));

    if (ret < 0)
        return ret;
    if (answer.state >= UAPI_NUM_STATES)
        return client_lose(c, -EPROTO, "device is in state %u", answer.state);
    if (call->op == DEVICE_SET_STATE && answer.state != call->state)
        return client_lose(c, -EPROTO, "answer is about state %u",
                           answer.state);
    call->state = (enum vfm_state)answer.state;
    return 0;
}

static int take_precopy_info(struct client *c, struct device_call *call)
{
    struct vfu_precopy_info info = { 0 };
    int ret = take_answer(c, 0, &info, sizeof(info));

    if (ret < 0)
        return ret;
    call->precopy = (struct vfm_precopy_info){
        .flags = info.flags & UAPI_PRECOPY_REINIT,
        .initial_bytes = info.initial_bytes,
        .dirty_bytes = info.dirty_bytes,
    };
    return 0;
}

static int take_op(struct client *c, struct device_call *call)
{
    switch (call->op) {
    case DEVICE_SET_STATE:
    case DEVICE_GET_STATE:
        return take_state(c, call);
    case DEVICE_DATA_SIZE:
        return take_answer(c, sizeof(struct vfu_feature), &call->bytes,
                           sizeof(call->bytes));
    case DEVICE_PRECOPY_INFO:
        return take_precopy_info(c, call);
    case DEVICE_LOG_START:
        return log_take_start(c);
    case DEVICE_LOG_REPORT:
        return log_take_report(c);
    case DEVICE_LOG_STOP:
    case DEVICE_RESET:
    case DEVICE_REGION_READ:
    case DEVICE_REGION_WRITE:
    default:
        return 0;
    }
}

/* The server refused.  It may be that the command is not one it has: the
 * answer is the same as to one that comes in the wrong state. */
static int judge_refusal(struct client *c, const struct device_call *call,
                         int ret)
{
    bool in_pre_copy = c->dev->state == VFM_STATE_PRE_COPY ||
                       c->dev->state == VFM_STATE_PRE_COPY_P2P;

    if (call->op != DEVICE_PRECOPY_INFO || !means_absent(ret) || !in_pre_copy)
        return ret;
    c->dev->info.has_precopy_info = false;
    return -EOPNOTSUPP;
}

static void end_call(struct client *c)
{
    /* Whatever the server said to that, nobody asks any more. */
    if (c->call.call->op == DEVICE_LOG_STOP)
        log_stopped(c);
    free(c->call.buf);
    c->call.buf = NULL;
    pieces_end(&c->call.pieces);
    c->call.call = NULL;
}

/* Whether there is nothing that the server need be asked. */
static bool is_empty(const struct client *c, const struct device_call *call)
{
    return call->op == DEVICE_LOG_REPORT && c->call.req.command == 0;
}

static bool is_access(const struct device_call *call)
{
    return call->op == DEVICE_REGION_READ || call->op == DEVICE_REGION_WRITE;
}

int call_start(struct vfm_device *dev, struct device_call *call,
               struct vfm_error *err)
{
    struct client *c = device_client(dev);
    struct client_call *k = &c->call;
    int ret;

    assert(k->call == NULL);
    assert(!is_access(call) || call->num_accesses > 0);
    k->call = call;
    k->req = (struct request){ .buf = k->reply, .cap = sizeof(k->reply) };
    k->done = 0;
    k->failed = 0;
    ret = c->lost.code;
    if (ret == 0)
        ret = send_op(c);
    if (ret < 0) {
        end_call(c);
        return call_error(c, call, ret, err);
    }
    return 0;
}

/* What became of the one message of @call. */
static int finish_message(struct client *c, struct device_call *call)
{
    const struct request *req = &c->call.req;

    if (req->outstanding)
        return -EAGAIN;
    if (!req->answered && !is_empty(c, call))
        return c->lost.code;
    if (req->error < 0)
        return judge_refusal(c, call, req->error);
    return take_op(c, call);
}

int call_finish(struct vfm_device *dev, struct device_call *call,
                struct vfm_error *err)
{
    struct client *c = device_client(dev);
    int ret;

    assert(c->call.call == call);
    client_pump(c);
    ret = is_access(call) ? pieces_finish(c, &c->call.pieces, &c->call.failed)
                          : finish_message(c, call);
    if (ret == -EAGAIN)
        return ret;
    end_call(c);
    return ret < 0 ? call_error(c, call, ret, err) : 0;
}
