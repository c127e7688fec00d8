/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration record: made from a device by reading its regions, and
 * given to a device by writing them, one call at a time.
 *
 * Its layout is that of QEMU's vfio-pci (vfmig-stream(5)):
 *
 *     u32 version 2 | configuration space | u32 x 4 interrupt pins, all low |
 *     MSI-X table, 16 bytes an entry | MSI-X pending bits
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/vfio-uapi.h"
#include "section/pci-space.h"
#include "section/pci-state.h"
#include "util/bytes.h"
#include "util/error.h"

#define RECORD_VERSION 2
#define VERSION_SIZE   4
#define PINS_SIZE      16
#define MSIX_ENTRY     16

/* Steps of both directions; a step that has nothing to do is passed over. */
enum { ALLOCATE, CONFIG, MSIX_TABLE, MSIX_PBA, FIELDS, OVER };

static size_t table_size(const struct pci_msix *msix)
{
    return (size_t)msix->count * MSIX_ENTRY;
}

static size_t pba_size(const struct pci_msix *msix)
{
    return (msix->count + 7) / 8;
}

/* Makes or finishes @call.  Returns 0 when it is over. */
static int call(struct vfm_device *dev, struct device_call c,
                struct vfm_error *err)
{
    int ret = 0;

    if (!device_is_busy(dev))
        ret = device_call_start(dev, &c, err);
    return ret == 0 ? device_call_finish(dev, &c, err) : ret;
}

static int read_region(struct vfm_device *dev, uint32_t region, uint64_t offset,
                       void *buf, size_t len, struct vfm_error *err)
{
    const struct device_call c = {
        .op = DEVICE_REGION_READ,
        .region = region,
        .offset = offset,
        .buf = buf,
        .len = len,
    };

    return len == 0 ? 0 : call(dev, c, err);
}

static int write_region(struct vfm_device *dev, uint32_t region,
                        uint64_t offset, const void *data, size_t len,
                        struct vfm_error *err)
{
    const struct device_call c = {
        .op = DEVICE_REGION_WRITE,
        .region = region,
        .offset = offset,
        .data = data,
        .len = len,
    };

    return len == 0 ? 0 : call(dev, c, err);
}

static int allocate(struct pci_state *ps, struct vfm_error *err)
{
    if (ps->config == NULL)
        ps->config = calloc(1, PCI_CONFIG_MAX);
    if (ps->msix == NULL)
        ps->msix = calloc(1, PCI_MSIX_BYTES_MAX);
    if (ps->config == NULL || ps->msix == NULL)
        return error_set(err, -ENOMEM, "configuration: out of memory");
    return 0;
}

static int build_record(struct pci_state *ps, size_t config_size,
                        const struct pci_msix *msix, struct vfm_error *err)
{
    size_t msix_size = table_size(msix) + pba_size(msix);
    size_t len = VERSION_SIZE + config_size + PINS_SIZE + msix_size;
    uint8_t *record = calloc(1, len);

    if (record == NULL)
        return error_set(err, -ENOMEM, "configuration: out of memory");
    put_be32(record, RECORD_VERSION);
    memcpy(record + VERSION_SIZE, ps->config, config_size);
    memcpy(record + VERSION_SIZE + config_size + PINS_SIZE, ps->msix,
           msix_size);
    free(ps->record);
    ps->record = record;
    ps->record_len = len;
    return 0;
}

static int save_step(struct pci_state *ps, struct vfm_device *dev,
                     struct vfm_error *err)
{
    size_t size = dev->info.config_size;
    struct pci_msix msix = { 0 };

    if (ps->step > CONFIG)
        msix = pci_get_msix(ps->config, size);
    switch (ps->step) {
    case ALLOCATE:
        return allocate(ps, err);
    case CONFIG:
        return read_region(dev, UAPI_REGION_CONFIG, 0, ps->config, size, err);
    case MSIX_TABLE:
        return read_region(dev, msix.table_region, msix.table_offset, ps->msix,
                           table_size(&msix), err);
    case MSIX_PBA:
        return read_region(dev, msix.pba_region, msix.pba_offset,
                           ps->msix + table_size(&msix), pba_size(&msix), err);
    default:
        return build_record(ps, size, &msix, err);
    }
}

/* Goes from step to step until one waits or fails; that one begins anew at
 * the next call. */
static int walk(struct pci_state *ps, struct vfm_device *dev,
                int (*step)(struct pci_state *, struct vfm_device *,
                            struct vfm_error *),
                struct vfm_error *err)
{
    if (dev->info.config_size == 0)
        return 0;
    while (ps->step < OVER) {
        int ret = step(ps, dev, err);

        if (ret < 0)
            return ret;
        ps->step++;
    }
    ps->step = ALLOCATE;
    return 0;
}

int pci_state_save(struct pci_state *ps, struct vfm_device *dev,
                   struct vfm_error *err)
{
    return walk(ps, dev, save_step, err);
}

int pci_state_set(struct pci_state *ps, const void *record, size_t len,
                  struct vfm_error *err)
{
    if (len > PCI_RECORD_MAX)
        return error_set(err, -E2BIG,
                         "configuration: a record of %zu bytes is too long",
                         len);
    free(ps->record);
    ps->record_len = 0;
    ps->record = malloc(len > 0 ? len : 1);
    if (ps->record == NULL)
        return error_set(err, -ENOMEM, "configuration: out of memory");
    if (len > 0)
        memcpy(ps->record, record, len);
    ps->record_len = len;
    return 0;
}

/* The device's own configuration is in ps->config: does the record fit? */
static int check_record(const struct pci_state *ps,
                        const struct vfm_device *dev, struct vfm_error *err)
{
    size_t size = dev->info.config_size;
    struct pci_msix msix = pci_get_msix(ps->config, size);
    size_t len =
        VERSION_SIZE + size + PINS_SIZE + table_size(&msix) + pba_size(&msix);

    if (ps->record_len != len)
        return error_set(err, -EINVAL,
                         "%s: a configuration record of %zu bytes, this "
                         "device's has %zu",
                         dev->name, ps->record_len, len);
    if (get_be32(ps->record) > RECORD_VERSION)
        return error_set(err, -EINVAL,
                         "%s: a configuration record of version %u", dev->name,
                         get_be32(ps->record));
    return pci_compare(ps->config, ps->record + VERSION_SIZE, size, dev->name,
                       err);
}

static int write_fields(struct pci_state *ps, struct vfm_device *dev,
                        struct vfm_error *err)
{
    const uint8_t *theirs = ps->record + VERSION_SIZE;
    struct pci_field fields[PCI_FIELDS_MAX];
    unsigned int n = pci_get_fields(ps->config, dev->info.config_size, fields);

    for (; ps->next_write < n; ps->next_write++) {
        const struct pci_field *f = &fields[ps->next_write];
        int ret = 0;

        if (memcmp(ps->config + f->offset, theirs + f->offset, f->len) != 0)
            ret = write_region(dev, UAPI_REGION_CONFIG, f->offset,
                               theirs + f->offset, f->len, err);
        if (ret < 0)
            return ret;
    }
    ps->next_write = 0;
    return 0;
}

static int apply_step(struct pci_state *ps, struct vfm_device *dev,
                      struct vfm_error *err)
{
    size_t size = dev->info.config_size;
    struct pci_msix msix = { 0 };
    int ret;

    if (ps->step > CONFIG)
        msix = pci_get_msix(ps->config, size);
    switch (ps->step) {
    case ALLOCATE:
        return allocate(ps, err);
    case CONFIG:
        ret = read_region(dev, UAPI_REGION_CONFIG, 0, ps->config, size, err);
        return ret == 0 ? check_record(ps, dev, err) : ret;
    case MSIX_TABLE:
        return write_region(dev, msix.table_region, msix.table_offset,
                            ps->record + VERSION_SIZE + size + PINS_SIZE,
                            table_size(&msix), err);
    case MSIX_PBA:
        return 0; /* read-only: pending interrupts are the device's state */
    default:
        return write_fields(ps, dev, err);
    }
}

int pci_state_apply(struct pci_state *ps, struct vfm_device *dev,
                    struct vfm_error *err)
{
    return walk(ps, dev, apply_step, err);
}

void pci_state_close(struct pci_state *ps)
{
    free(ps->record);
    free(ps->config);
    free(ps->msix);
    *ps = (struct pci_state){ 0 };
}
