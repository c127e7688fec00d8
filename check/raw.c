/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kinds of devices have in common: which operations there are, and
 * the features that look alike everywhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check/raw.h"
#include "util/error.h"

/* The transport has failed, or the kind has no such operation. */
#define REFUSE_WITHOUT(raw, op)     \
    do {                            \
        if ((raw)->broken != 0)     \
            return (raw)->broken;   \
        if ((raw)->ops->op == NULL) \
            return -EOPNOTSUPP;     \
    } while (0)

void raw_close(struct raw *raw)
{
    if (raw == NULL)
        return;
    raw->ops->close(raw);
    free(raw);
}

int raw_reopen(struct raw *raw, struct vfm_error *err)
{
    if (raw->ops->reopen == NULL)
        return error_set(err, -EOPNOTSUPP, "it cannot be opened again");
    raw->broken = 0;
    return raw->ops->reopen(raw, err);
}

int raw_open_twice(struct raw *raw)
{
    REFUSE_WITHOUT(raw, open_twice);
    return raw->ops->open_twice(raw);
}

bool raw_is_broken(const struct raw *raw)
{
    return raw->broken != 0;
}

int raw_feature(struct raw *raw, struct raw_feature *f)
{
    REFUSE_WITHOUT(raw, feature);
    f->got = 0;
    return raw->ops->feature(raw, f);
}

bool raw_probe(struct raw *raw, uint32_t feature, uint32_t access)
{
    struct raw_feature f = {
        .flags = feature | UAPI_FEATURE_PROBE | access,
    };

    return raw_feature(raw, &f) == 0;
}

/* A GET whose answer is @size bytes at @data, no less. */
static int get(struct raw *raw, uint32_t feature, void *data, size_t size)
{
    struct raw_feature f = {
        .flags = feature | UAPI_FEATURE_GET,
        .data = data,
        .size = size,
    };
    int ret = raw_feature(raw, &f);

    if (ret < 0)
        return ret;
    return f.got < size ? -EPROTO : 0;
}

int raw_migration(struct raw *raw, uint64_t *flags)
{
    *flags = 0;
    return get(raw, UAPI_FEATURE_MIGRATION, flags, sizeof(*flags));
}

int raw_get_state(struct raw *raw, uint32_t *state)
{
    struct uapi_device_state s = { .state = UINT32_MAX };
    int ret = get(raw, UAPI_FEATURE_DEVICE_STATE, &s, sizeof(s));

    *state = s.state;
    return ret;
}

int raw_set_state(struct raw *raw, uint32_t state, int *data_fd)
{
    struct uapi_device_state s = { .state = state, .data_fd = -1 };
    struct raw_feature f = {
        .flags = UAPI_FEATURE_DEVICE_STATE | UAPI_FEATURE_SET,
        .data = &s,
        .size = sizeof(s),
    };
    int ret = raw_feature(raw, &f);

    if (data_fd != NULL)
        *data_fd = ret == 0 && raw->has_descriptors ? s.data_fd : -1;
    return ret;
}

int raw_data_size(struct raw *raw, uint64_t *bytes)
{
    *bytes = 0;
    return get(raw, UAPI_FEATURE_DATA_SIZE, bytes, sizeof(*bytes));
}

ssize_t raw_read(struct raw *raw, int fd, void *buf, size_t len)
{
    REFUSE_WITHOUT(raw, read);
    return raw->ops->read(raw, fd, buf, len);
}

ssize_t raw_write(struct raw *raw, int fd, const void *buf, size_t len)
{
    REFUSE_WITHOUT(raw, write);
    return raw->ops->write(raw, fd, buf, len);
}

int raw_precopy_info(struct raw *raw, int fd, struct uapi_precopy_info *info)
{
    REFUSE_WITHOUT(raw, precopy_info);
    return raw->ops->precopy_info(raw, fd, info);
}

int raw_reset(struct raw *raw)
{
    REFUSE_WITHOUT(raw, reset);
    return raw->ops->reset(raw);
}

int raw_device_info(struct raw *raw, struct uapi_device_info *info)
{
    REFUSE_WITHOUT(raw, device_info);
    return raw->ops->device_info(raw, info);
}

int raw_region_info(struct raw *raw, uint32_t index, struct raw_region *region)
{
    REFUSE_WITHOUT(raw, region_info);
    return raw->ops->region_info(raw, index, region);
}

int raw_region_read(struct raw *raw, uint32_t index, uint64_t offset, void *buf,
                    size_t len)
{
    REFUSE_WITHOUT(raw, region_read);
    return raw->ops->region_read(raw, index, offset, buf, len);
}

int raw_region_write(struct raw *raw, uint32_t index, uint64_t offset,
                     const void *buf, size_t len)
{
    REFUSE_WITHOUT(raw, region_write);
    return raw->ops->region_write(raw, index, offset, buf, len);
}

int raw_irq_count(struct raw *raw, uint32_t index)
{
    REFUSE_WITHOUT(raw, irq_count);
    return raw->ops->irq_count(raw, index);
}

int raw_set_irq(struct raw *raw, uint32_t index, uint32_t start, int eventfd)
{
    REFUSE_WITHOUT(raw, set_irq);
    return raw->ops->set_irq(raw, index, start, eventfd);
}

int raw_mask_irq(struct raw *raw, uint32_t index, uint32_t start,
                 uint32_t action)
{
    REFUSE_WITHOUT(raw, mask_irq);
    return raw->ops->mask_irq(raw, index, start, action);
}

pid_t raw_peer(struct raw *raw)
{
    REFUSE_WITHOUT(raw, peer);
    return raw->ops->peer(raw);
}

int raw_dma_map(struct raw *raw, struct raw_range range, int fd)
{
    REFUSE_WITHOUT(raw, dma_map);
    return raw->ops->dma_map(raw, range, fd);
}

int raw_dma_unmap(struct raw *raw, struct raw_range range)
{
    REFUSE_WITHOUT(raw, dma_unmap);
    return raw->ops->dma_unmap(raw, range);
}

int raw_log_start(struct raw *raw, uint64_t page_size,
                  const struct raw_range *ranges, size_t num_ranges)
{
    REFUSE_WITHOUT(raw, log_start);
    return raw->ops->log_start(raw, page_size, ranges, num_ranges);
}

int raw_log_stop(struct raw *raw)
{
    struct raw_feature f = {
        .flags = UAPI_FEATURE_LOG_STOP | UAPI_FEATURE_SET,
    };

    return raw_feature(raw, &f);
}

int raw_log_report(struct raw *raw, struct raw_range range, uint64_t page_size,
                   uint64_t *bitmap)
{
    REFUSE_WITHOUT(raw, log_report);
    return raw->ops->log_report(raw, range, page_size, bitmap);
}
