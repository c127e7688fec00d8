/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device of the fake server: the answers of a good one.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fake-server.h"

static void answer_version(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_version version = { 0, 0 };
    uint8_t body[1024] = { 0 };
    size_t len = strlen(f->version) + 1;

    memcpy(&version, m->body, sizeof(version));
    memcpy(body, &version, sizeof(version));
    memcpy(body + sizeof(version), f->version, len);
    fake_reply(f, m, body, sizeof(version) + len);
}

static void answer_state(struct fake_server *f, const struct fake_message *m,
                         struct vfu_feature feature)
{
    struct {
        struct vfu_feature feature;
        struct vfu_feature_device_state state;
    } reply = { feature, { f->state, UINT32_MAX } };

    if ((feature.flags & UAPI_FEATURE_SET) != 0) {
        assert(m->size == sizeof(reply));
        memcpy(&reply, m->body, sizeof(reply));
        f->state = reply.state.state;
        f->data_at = 0;
    }
    fake_reply(f, m, &reply, sizeof(reply));
}

static void answer_u64(struct fake_server *f, const struct fake_message *m,
                       struct vfu_feature feature, uint64_t value)
{
    struct {
        struct vfu_feature feature;
        uint64_t value;
    } reply = { feature, value };

    fake_reply(f, m, &reply, sizeof(reply));
}

/* The first eight pages of each report were written; at most 64 are asked
 * for. */
static void answer_log(struct fake_server *f, const struct fake_message *m,
                       uint32_t number)
{
    struct vfu_feature_log_report asked;
    uint8_t reply[sizeof(struct vfu_feature) + sizeof(asked) + 8] = { 0 };
    size_t head = sizeof(struct vfu_feature) + sizeof(asked);

    if (number != UAPI_FEATURE_LOG_REPORT) {
        fake_reply(f, m, m->body, m->size);
        return;
    }
    assert(m->size == head);
    memcpy(&asked, m->body + sizeof(struct vfu_feature), sizeof(asked));
    assert(asked.page_size > 0 && asked.length / asked.page_size <= 64);
    memcpy(reply, m->body, head);
    reply[head] = 0xff;
    fake_reply(f, m, reply,
               head + (asked.length / asked.page_size + 63) / 64 * 8);
}

static void answer_feature(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_feature feature;
    uint32_t number;

    assert(m->size >= sizeof(feature));
    memcpy(&feature, m->body, sizeof(feature));
    number = feature.flags & UAPI_FEATURE_MASK;
    if (number >= 64 || (f->features & UINT64_C(1) << number) == 0)
        fake_refuse(f, m, EINVAL);
    else if ((feature.flags & UAPI_FEATURE_PROBE) != 0)
        fake_reply(f, m, m->body, m->size);
    else if (number == UAPI_FEATURE_MIGRATION)
        answer_u64(f, m, feature, f->migration);
    else if (number == UAPI_FEATURE_DEVICE_STATE)
        answer_state(f, m, feature);
    else if (number == UAPI_FEATURE_DATA_SIZE)
        answer_u64(f, m, feature, f->data_size);
    else if (number >= UAPI_FEATURE_LOG_START &&
             number <= UAPI_FEATURE_LOG_REPORT)
        answer_log(f, m, number);
    else
        fake_refuse(f, m, EOPNOTSUPP);
}

static void answer_info(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_device_info info = { 16, 3, 9, 5 };

    fake_reply(f, m, &info, sizeof(info));
}

static void answer_region_info(struct fake_server *f,
                               const struct fake_message *m)
{
    struct vfu_region_info info;

    assert(m->size == sizeof(info));
    memcpy(&info, m->body, sizeof(info));
    info.flags = UAPI_REGION_READ | UAPI_REGION_WRITE;
    info.size = info.index == UAPI_REGION_CONFIG ? f->config_size : 0;
    info.argsz = sizeof(info);
    fake_reply(f, m, &info, sizeof(info));
}

static void answer_region_access(struct fake_server *f,
                                 const struct fake_message *m)
{
    struct vfu_region_access access;
    uint8_t reply[sizeof(access) + sizeof(f->config)];

    assert(m->size >= sizeof(access));
    memcpy(&access, m->body, sizeof(access));
    if (access.region != UAPI_REGION_CONFIG ||
        access.offset + access.count > f->config_size) {
        fake_refuse(f, m, EINVAL);
    } else if (m->header.command == VFU_REGION_READ) {
        memcpy(reply, &access, sizeof(access));
        memcpy(reply + sizeof(access), f->config + access.offset, access.count);
        fake_reply(f, m, reply, sizeof(access) + access.count);
    } else {
        assert(m->size == sizeof(access) + access.count);
        memcpy(f->config + access.offset, m->body + sizeof(access),
               access.count);
        fake_reply(f, m, &access, sizeof(access));
    }
}

static void answer_read(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_mig_data ask;
    size_t n = f->data_size - f->data_at;
    uint8_t *reply;

    assert(m->size == sizeof(ask));
    memcpy(&ask, m->body, sizeof(ask));
    assert(ask.argsz == sizeof(ask) + ask.size);
    if (f->state != UAPI_STATE_STOP_COPY && f->state != UAPI_STATE_PRE_COPY) {
        fake_refuse(f, m, EINVAL);
        return;
    }
    if (n > ask.size)
        n = ask.size;
    if (f->data_piece > 0 && n > f->data_piece)
        n = f->data_piece;
    reply = malloc(sizeof(ask) + n);
    assert(reply != NULL);
    ask = (struct vfu_mig_data){ (uint32_t)(sizeof(ask) + n), (uint32_t)n };
    memcpy(reply, &ask, sizeof(ask));
    if (n > 0)
        memcpy(reply + sizeof(ask), f->data + f->data_at, n);
    f->data_at += n;
    fake_reply(f, m, reply, sizeof(ask) + n);
    free(reply);
}

/* Takes @size bytes at @data into the device. */
static void load(struct fake_server *f, const uint8_t *data, size_t size)
{
    f->loaded = realloc(f->loaded, f->loaded_size + size);
    assert(f->loaded != NULL);
    memcpy(f->loaded + f->loaded_size, data, size);
    f->loaded_size += size;
}

static void answer_write(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_mig_data head;

    assert(m->size >= sizeof(head));
    memcpy(&head, m->body, sizeof(head));
    assert(head.argsz == sizeof(head) + head.size && head.argsz == m->size);
    if (f->state != UAPI_STATE_RESUMING) {
        fake_refuse(f, m, EINVAL);
        return;
    }
    load(f, m->body + sizeof(head), head.size);
    fake_reply(f, m, NULL, 0);
}

static void answer_area_set(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_mig_area set;

    assert(m->size == sizeof(set) && m->num_fds == 1);
    memcpy(&set, m->body, sizeof(set));
    assert(set.argsz == sizeof(set) && set.flags == 0);
    /* Nobody can take it away. */
    assert((fcntl(m->fds[0], F_GET_SEALS) & F_SEAL_SHRINK) != 0);
    /* Again, on another connection. */
    if (f->area != NULL)
        munmap(f->area, f->area_size);
    f->area =
        mmap(NULL, set.size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[0], 0);
    assert(f->area != MAP_FAILED);
    f->area_size = set.size;
    fake_reply(f, m, NULL, 0);
}

static void answer_area(struct fake_server *f, const struct fake_message *m)
{
    bool is_read = m->header.command == VFU_MIG_AREA_READ;
    struct vfu_mig_area_data data;
    size_t n = f->data_size - f->data_at;

    assert(m->size == sizeof(data));
    if (f->area == NULL) { /* a test has answered in our place */
        fake_refuse(f, m, EINVAL);
        return;
    }
    memcpy(&data, m->body, sizeof(data));
    assert(data.argsz == sizeof(data) + data.size);
    assert(data.offset + data.size <= f->area_size);
    if (!is_read) {
        load(f, f->area + data.offset, data.size);
        fake_reply(f, m, NULL, 0);
        return;
    }
    if (f->state != UAPI_STATE_STOP_COPY && f->state != UAPI_STATE_PRE_COPY) {
        fake_refuse(f, m, EINVAL);
        return;
    }
    if (n > data.size)
        n = data.size;
    if (f->data_piece > 0 && n > f->data_piece)
        n = f->data_piece;
    if (n > 0)
        memcpy(f->area + data.offset, f->data + f->data_at, n);
    f->data_at += n;
    data.size = (uint32_t)n;
    data.argsz = (uint32_t)(sizeof(data) + n);
    fake_reply(f, m, &data, sizeof(data));
}

void fake_answer(struct fake_server *f, const struct fake_message *m)
{
    switch (m->header.command) {
    case VFU_VERSION:
        answer_version(f, m);
        break;
    case VFU_DEVICE_FEATURE:
        answer_feature(f, m);
        break;
    case VFU_DEVICE_GET_INFO:
        answer_info(f, m);
        break;
    case VFU_DEVICE_GET_REGION_INFO:
        answer_region_info(f, m);
        break;
    case VFU_REGION_READ:
    case VFU_REGION_WRITE:
        answer_region_access(f, m);
        break;
    case VFU_MIG_DATA_READ:
        answer_read(f, m);
        break;
    case VFU_MIG_DATA_WRITE:
        answer_write(f, m);
        break;
    case VFU_MIG_AREA_SET:
        answer_area_set(f, m);
        break;
    case VFU_MIG_AREA_READ:
    case VFU_MIG_AREA_WRITE:
        answer_area(f, m);
        break;
    case VFU_DEVICE_RESET:
        f->state = UAPI_STATE_RUNNING;
        fake_reply(f, m, NULL, 0);
        break;
    case VFU_DEVICE_SET_IRQS:
    case VFU_DMA_MAP:
        fake_reply(f, m, NULL, 0);
        break;
    case VFU_DMA_UNMAP:
        fake_reply(f, m, m->body, m->size);
        break;
    default:
        fake_refuse(f, m, EINVAL);
        break;
    }
}
