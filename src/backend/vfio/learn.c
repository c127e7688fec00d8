/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking the kernel for everything worth knowing of a device.  Nothing here
 * changes the device; what the kernel refuses to tell is absent.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "backend/pci-identity.h"
#include "backend/vfio/kernel.h"
#include "util/error.h"
#include "util/ioctl.h"

int kernel_feature(const struct kernel_device *k, uint32_t flags, void *buf,
                   size_t size)
{
    struct uapi_feature *feature = buf;

    feature->argsz = (uint32_t)size;
    feature->flags = flags;
    return ioctl_retry(k->fd, UAPI_DEVICE_FEATURE, buf);
}

static int kernel_probe_feature(const struct kernel_device *k, uint32_t flags)
{
    struct uapi_feature probe;

    return kernel_feature(k, UAPI_FEATURE_PROBE | flags, &probe, sizeof(probe));
}

int kernel_get_state(const struct kernel_device *k, enum vfm_state *state)
{
    struct {
        struct uapi_feature feature;
        struct uapi_device_state now;
    } arg = { .now.data_fd = -1 };
    int ret = kernel_feature(k, UAPI_FEATURE_GET | UAPI_FEATURE_DEVICE_STATE,
                             &arg, sizeof(arg));

    if (ret < 0)
        return ret;
    if (arg.now.state >= UAPI_NUM_STATES)
        return -EPROTO;
    *state = (enum vfm_state)arg.now.state;
    return 0;
}

/* What a device says that lacks something.  All else is a failure to tell, and
 * no reason to treat the device as one that has less than it has. */
static bool is_no(int ret)
{
    return ret == -ENOTTY || ret == -EINVAL || ret == -EOPNOTSUPP;
}

/* RUNNING if it has no states. */
static int learn_state(const struct kernel_device *k, enum vfm_state *state)
{
    int ret = kernel_get_state(k, state);

    if (ret != -ENOTTY)
        return ret;
    *state = VFM_STATE_RUNNING;
    return 0;
}

static int learn_migration(struct kernel_device *k)
{
    struct {
        struct uapi_feature feature;
        uint64_t flags;
    } migration = { .flags = 0 };
    int ret = kernel_feature(k, UAPI_FEATURE_GET | UAPI_FEATURE_MIGRATION,
                             &migration, sizeof(migration));

    if (ret < 0)
        return is_no(ret) ? 0 : ret;
    k->dev->info.migration =
        migration.flags & (UAPI_MIGRATION_STOP_COPY | UAPI_MIGRATION_P2P |
                           UAPI_MIGRATION_PRE_COPY);
    return 0;
}

/* Whether the device has all of the @n features. */
static int learn_features(const struct kernel_device *k,
                          const uint32_t *features, int n, bool *has)
{
    int ret = 0;

    *has = false;
    for (int i = 0; ret == 0 && i < n; i++)
        ret = kernel_probe_feature(k, features[i]);
    *has = ret == 0;
    return is_no(ret) ? 0 : ret;
}

static int learn_abilities(struct kernel_device *k)
{
    static const uint32_t logging[] = {
        UAPI_FEATURE_LOG_START | UAPI_FEATURE_SET,
        UAPI_FEATURE_LOG_STOP | UAPI_FEATURE_SET,
        UAPI_FEATURE_LOG_REPORT | UAPI_FEATURE_GET,
    };
    static const uint32_t data_size[] = { UAPI_FEATURE_DATA_SIZE |
                                          UAPI_FEATURE_GET };
    struct vfm_device_info *info = &k->dev->info;
    int ret = learn_migration(k);

    if (ret == 0)
        ret = learn_features(k, logging, 3, &info->has_dma_logging);
    if (ret == 0)
        ret = learn_features(k, data_size, 1, &info->has_data_size);
    /* Every driver with PRE_COPY tells. */
    info->has_precopy_info = (info->migration & UAPI_MIGRATION_PRE_COPY) != 0;
    info->read_size = info->write_size = KERNEL_READ_SIZE;
    return ret;
}

static int learn_device_info(struct kernel_device *k)
{
    struct uapi_device_info info = { .argsz = sizeof(info) };
    int ret = ioctl_retry(k->fd, UAPI_DEVICE_GET_INFO, &info);

    if (ret < 0)
        return ret;
    k->dev->info.has_reset = (info.flags & UAPI_DEVICE_RESET) != 0;
    k->dev->info.is_pci = (info.flags & UAPI_DEVICE_PCI) != 0;
    return 0;
}

static int learn_regions(struct kernel_device *k)
{
    for (uint32_t i = 0; i < UAPI_NUM_REGIONS; i++) {
        struct uapi_region_info info = { .argsz = sizeof(info), .index = i };
        int ret = ioctl_retry(k->fd, UAPI_DEVICE_GET_REGION_INFO, &info);

        if (is_no(ret))
            continue;
        if (ret < 0)
            return ret;
        k->region_size[i] = info.size;
        k->region_offset[i] = info.offset;
    }
    return 0;
}

int kernel_access(struct kernel_device *k, bool write, uint32_t region,
                  uint64_t offset, void *buf, size_t len)
{
    uint8_t *p = buf;

    if (region >= UAPI_NUM_REGIONS || offset > k->region_size[region] ||
        len > k->region_size[region] - offset)
        return -EINVAL;
    offset += k->region_offset[region];
    while (len > 0) {
        ssize_t n = write ? pwrite(k->fd, p, len, (off_t)offset)
                          : pread(k->fd, p, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* A device may have less of it than PCI says. */
static int learn_identity(struct kernel_device *k)
{
    struct vfm_device_info *info = &k->dev->info;
    uint64_t size = k->region_size[UAPI_REGION_CONFIG];
    uint8_t config[PCI_CFG_SPACE_SIZE] = { 0 };
    size_t len = size < sizeof(config) ? (size_t)size : sizeof(config);
    int ret;

    if (!info->is_pci || len == 0)
        return 0;
    ret = kernel_access(k, false, UAPI_REGION_CONFIG, 0, config, len);
    if (ret < 0)
        return ret;
    pci_identity_learn(k->dev, config);
    if (size >= PCI_CFG_SPACE_SIZE)
        info->config_size = size >= PCI_CFG_SPACE_EXP_SIZE
                                ? PCI_CFG_SPACE_EXP_SIZE
                                : PCI_CFG_SPACE_SIZE;
    return 0;
}

int kernel_learn(struct kernel_device *k, struct vfm_error *err)
{
    enum vfm_state state = VFM_STATE_ERROR;
    int ret = learn_device_info(k);

    if (ret < 0)
        return error_set(err, ret, "%s: is no VFIO device: %s", k->dev->name,
                         strerror(-ret));
    ret = learn_abilities(k);
    if (ret == 0)
        ret = learn_regions(k);
    if (ret == 0)
        ret = learn_identity(k);
    if (ret == 0)
        ret = learn_state(k, &state);
    if (ret < 0)
        return error_set(err, ret, "%s: does not say what it is: %s",
                         k->dev->name, strerror(-ret));
    device_opened(k->dev, state);
    return 0;
}
