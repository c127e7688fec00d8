/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO_DEVICE_FEATURE: migration and the log of DMA.  What the kernel passes by
 * address goes inline, and the state brings a descriptor.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/device.h"
#include "bridge/memory.h"

#define GET            UAPI_FEATURE_GET
#define SET            UAPI_FEATURE_SET
#define PROBE          UAPI_FEATURE_PROBE
#define MAX_LOG_RANGES 1024

/* Sends @head with @body after it; what comes back after a copy of the head
 * is put into @data. */
struct feature_call {
    uint32_t flags;
    const void *body;
    size_t body_len;
    void *data;
    size_t data_len; /* all of it has to come */
    uint32_t timeout_ms;
};

static int call(struct device *d, const struct feature_call *c)
{
    struct vfu_feature head = {
        .argsz =
            (uint32_t)(sizeof(head) +
                       (c->body_len > c->data_len ? c->body_len : c->data_len)),
        .flags = c->flags,
    };
    struct vfu_feature answer;
    struct exchange x = {
        .command = VFU_DEVICE_FEATURE,
        .timeout_ms = c->timeout_ms,
        .head = &head,
        .head_len = sizeof(head),
        .body = c->body,
        .body_len = c->body_len,
        .reply = &answer,
        .reply_room = sizeof(answer),
        .data = c->data,
        .data_room = c->data_len,
    };
    int ret = link_call(&d->link, &x);

    if (ret == 0 && c->data_len > 0 &&
        x.reply_len < sizeof(answer) + c->data_len)
        ret = -EIO;
    return ret;
}

/* Servers say in several ways that they do not have a feature. */
static bool is_absent(int ret)
{
    return ret == -EINVAL || ret == -ENOTTY || ret == -EOPNOTSUPP ||
           ret == -ENOSYS;
}

static int has_feature(struct device *d, uint32_t flags)
{
    struct feature_call c = { .flags = flags | PROBE };
    int ret = call(d, &c);

    return is_absent(ret) ? -ENOTTY : ret;
}

/* ------------------------------------------------------------- states */

int feature_learn_state(struct device *d)
{
    struct vfu_feature_device_state s = { 0 };
    struct feature_call c = {
        .flags = GET | UAPI_FEATURE_DEVICE_STATE,
        .data = &s,
        .data_len = sizeof(s),
    };
    int ret = call(d, &c);

    if (is_absent(ret)) {
        d->state = UAPI_STATE_RUNNING;
        return 0;
    }
    if (ret == 0)
        d->state = s.state;
    return ret;
}

static int get_state(struct device *d, void *data)
{
    struct uapi_device_state s = { .data_fd = -1 };
    int ret;

    pthread_mutex_lock(&d->state_lock);
    ret = feature_learn_state(d);
    s.state = d->state;
    pthread_mutex_unlock(&d->state_lock);
    return ret < 0 ? ret : argument_put(data, &s, sizeof(s));
}

/* Asks for @state; afterwards the state is known and the session that it does
 * not go on with has ended. */
static int walk(struct device *d, uint32_t state)
{
    struct vfu_feature_device_state s = { state, UINT32_MAX };
    struct feature_call c = {
        .flags = SET | UAPI_FEATURE_DEVICE_STATE,
        .body = &s,
        .body_len = sizeof(s),
        .timeout_ms = LINK_STATE_MS,
    };
    uint32_t before = d->state;
    int ret = call(d, &c);

    if (ret == 0)
        d->state = state;
    else if (feature_learn_state(d) < 0)
        d->state = UAPI_STATE_ERROR;
    if (!session_goes_on(before, d->state))
        session_end(d);
    return ret;
}

static int set_state_locked(struct device *d, uint32_t state, int32_t *fd)
{
    uint32_t before = d->state;
    int ret = walk(d, state);

    if (ret < 0 || !session_begins(before, state))
        return ret;
    ret = session_begin(d);
    if (ret < 0)
        return ret;
    *fd = ret;
    return 0;
}

static int set_state(struct device *d, void *data)
{
    struct uapi_device_state s;
    int ret = memory_read((uintptr_t)data, &s, sizeof(s));

    if (ret < 0)
        return ret;
    if (s.state >= UAPI_NUM_STATES)
        return -EINVAL;
    s.data_fd = -1;
    pthread_mutex_lock(&d->state_lock);
    ret = set_state_locked(d, s.state, &s.data_fd);
    pthread_mutex_unlock(&d->state_lock);
    if (ret == 0)
        ret = argument_put(data, &s, sizeof(s));
    if (ret < 0 && s.data_fd >= 0)
        file_close(s.data_fd);
    return ret;
}

/* -------------------------------------------------------------- the log */

static int start_log(struct device *d, void *data)
{
    struct uapi_log_control control;
    struct vfu_feature_log_start *start;
    struct feature_call c = { .flags = SET | UAPI_FEATURE_LOG_START };
    size_t bytes;
    int ret = memory_read((uintptr_t)data, &control, sizeof(control));

    if (ret < 0)
        return ret;
    if (control.num_ranges == 0)
        return -EINVAL;
    if (control.num_ranges > MAX_LOG_RANGES)
        return -E2BIG;
    bytes = control.num_ranges * sizeof(struct vfu_log_range);
    start = malloc(sizeof(*start) + bytes);
    if (start == NULL)
        return -ENOMEM;
    *start = (struct vfu_feature_log_start){
        .page_size = control.page_size,
        .num_ranges = control.num_ranges,
    };
    ret = memory_read(control.ranges, start + 1, bytes);
    c.body = start;
    c.body_len = sizeof(*start) + bytes;
    if (ret == 0)
        ret = call(d, &c);
    free(start);
    return ret;
}

static int stop_log(struct device *d, void *data)
{
    struct feature_call c = { .flags = SET | UAPI_FEATURE_LOG_STOP };

    (void)data;
    return call(d, &c);
}

/* Adds the bits of @from to those at @address, which may begin in the middle
 * of a word. */
static int add_bits(uint64_t address, uint64_t first, const uint8_t *from,
                    uint64_t count)
{
    int ret = 0;

    for (uint64_t i = 0; i < count && ret == 0; i++) {
        uint64_t bit = first + i;
        uint64_t word;

        /* Whole words of nothing are the rule. */
        if (i % 8 == 0 && from[i / 8] == 0) {
            i += 7;
            continue;
        }
        if ((from[i / 8] >> i % 8 & 1) == 0)
            continue;
        ret = memory_read(address + bit / 64 * 8, &word, sizeof(word));
        word |= UINT64_C(1) << bit % 64;
        if (ret == 0)
            ret = memory_write(address + bit / 64 * 8, &word, sizeof(word));
    }
    return ret;
}

struct log_piece {
    struct vfu_feature_log_report head;
    uint8_t bits[];
};

/* @first: the number of the piece's first page in the whole. */
static int report_piece(struct device *d, const struct uapi_log_report *r,
                        uint64_t first, uint64_t pages, struct log_piece *p)
{
    struct vfu_feature_log_report ask = {
        .iova = r->iova + first * r->page_size,
        .length = pages * r->page_size,
        .page_size = r->page_size,
    };
    struct feature_call c = {
        .flags = GET | UAPI_FEATURE_LOG_REPORT,
        .body = &ask,
        .body_len = sizeof(ask),
        .data = p,
        .data_len = sizeof(*p) + (pages + 63) / 64 * 8,
    };
    int ret = call(d, &c);

    return ret < 0 ? ret : add_bits(r->bitmap, first, p->bits, pages);
}

static int report_log(struct device *d, void *data)
{
    struct uapi_log_report r;
    struct log_piece *p;
    uint64_t pages, at, most, n;
    int ret = memory_read((uintptr_t)data, &r, sizeof(r));

    if (ret < 0)
        return ret;
    if (r.page_size < BRIDGE_PAGE_SIZE ||
        (r.page_size & (r.page_size - 1)) != 0 || r.length == 0 ||
        r.iova + (r.length - 1) < r.iova || r.iova % r.page_size != 0)
        return -EINVAL;
    pages = (r.length - 1) / r.page_size + 1;
    most = ((uint64_t)d->link.max_xfer - 256) / 8 * 64;
    p = malloc(d->link.max_xfer);
    if (p == NULL)
        return -ENOMEM;
    for (at = 0; at < pages && ret == 0; at += n) {
        n = pages - at < most ? pages - at : most;
        ret = report_piece(d, &r, at, n, p);
    }
    free(p);
    return ret;
}

/* ----------------------------------------------------------- the rest */

static int get_u64(struct device *d, uint32_t number, void *data)
{
    uint64_t value = 0;
    struct feature_call c = {
        .flags = GET | number,
        .data = &value,
        .data_len = sizeof(value),
    };
    int ret = call(d, &c);

    return ret < 0 ? ret : argument_put(data, &value, sizeof(value));
}

static int get_migration(struct device *d, void *data)
{
    return get_u64(d, UAPI_FEATURE_MIGRATION, data);
}

static int get_data_size(struct device *d, void *data)
{
    return get_u64(d, UAPI_FEATURE_DATA_SIZE, data);
}

static int set_precopy_v2(struct device *d, void *data)
{
    struct feature_call c = { .flags = SET | UAPI_FEATURE_PRECOPY_INFO_V2 };

    (void)data;
    return call(d, &c);
}

static const struct feature {
    uint32_t number;
    size_t size; /* of its data */
    int (*get)(struct device *d, void *data);
    int (*set)(struct device *d, void *data);
} features[] = {
    { UAPI_FEATURE_MIGRATION, 8, get_migration, NULL },
    { UAPI_FEATURE_DEVICE_STATE, sizeof(struct uapi_device_state), get_state,
      set_state },
    { UAPI_FEATURE_LOG_START, sizeof(struct uapi_log_control), NULL,
      start_log },
    { UAPI_FEATURE_LOG_STOP, 0, NULL, stop_log },
    { UAPI_FEATURE_LOG_REPORT, sizeof(struct uapi_log_report), report_log,
      NULL },
    { UAPI_FEATURE_DATA_SIZE, 8, get_data_size, NULL },
    { UAPI_FEATURE_PRECOPY_INFO_V2, 0, NULL, set_precopy_v2 },
};

static const struct feature *find(uint32_t number)
{
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if (features[i].number == number)
            return &features[i];
    return NULL;
}

/* The kernel's checks, in its order: first whether the feature is there, then
 * what is to be done with it. */
int device_feature(struct device *d, void *arg)
{
    const struct feature *f;
    struct uapi_feature head;
    void *data = (char *)arg + sizeof(head);
    int ret = argument_get(arg, &head, sizeof(head), sizeof(head));

    if (ret < 0)
        return ret;
    if ((head.flags & ~(UAPI_FEATURE_MASK | GET | SET | PROBE)) != 0 ||
        ((head.flags & PROBE) == 0 &&
         ((head.flags & GET) != 0) == ((head.flags & SET) != 0)))
        return -EINVAL;
    f = find(head.flags & UAPI_FEATURE_MASK);
    if (f == NULL)
        return -ENOTTY;
    ret = has_feature(d, f->number | (f->get != NULL ? GET : SET));
    if (ret < 0)
        return ret;
    if (((head.flags & GET) != 0 && f->get == NULL) ||
        ((head.flags & SET) != 0 && f->set == NULL))
        return -EINVAL;
    if ((head.flags & PROBE) != 0)
        return 0;
    if (head.argsz < sizeof(head) + f->size)
        return -EINVAL;
    return (head.flags & GET) != 0 ? f->get(d, data) : f->set(d, data);
}
