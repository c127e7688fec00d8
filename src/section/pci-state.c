/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration record: made from a device by reading its regions, and
 * given to a device by writing them.  What can be asked for at once is: the
 * device has stopped, and the VM with it.
 *
 * Its layout is stream/pci-config.h's.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/vfio-uapi.h"
#include "section/pci-space.h"
#include "section/pci-state.h"
#include "stream/pci-config.h"
#include "util/bytes.h"
#include "util/error.h"

/* Steps of both directions. */
enum { PROVIDE, READ, WRITE_OR_BUILD, OVER };

/* What is read of a device that is saved, in this order. */
enum { READ_SPACE, READ_TABLE, READ_PENDING, NUM_READS };

static size_t table_size(const struct pci_msix *msix)
{
    return (size_t)msix->count * PCI_MSIX_ENTRY_SIZE;
}

static size_t pba_size(const struct pci_msix *msix)
{
    return (msix->count + 7) / 8;
}

static void add_access(struct pci_state *ps, uint32_t region, uint64_t offset,
                       const void *buf, size_t len)
{
    assert(ps->num_accesses < PCI_ACCESSES_MAX);
    ps->accesses[ps->num_accesses++] = (struct device_access){
        .region = region,
        .offset = offset,
        .buf = (void *)buf,
        .len = len,
    };
}

/* Makes the accesses, or goes on with them.  Returns 0 when all are made. */
static int make_accesses(struct pci_state *ps, struct vfm_device *dev,
                         enum device_op op, struct vfm_error *err)
{
    struct device_call call = {
        .op = op,
        .accesses = ps->accesses,
        .num_accesses = ps->num_accesses,
    };
    int ret = 0;

    if (ps->num_accesses == 0)
        return 0;
    if (!device_is_busy(dev))
        ret = device_call_start(dev, &call, err);
    return ret == 0 ? device_call_finish(dev, &call, err) : ret;
}

/* What is written to here is there, not only promised: it may be needed when
 * nobody runs.  (It is not zero lest the compiler promise it.) */
static int provide(uint8_t **p, size_t size, struct vfm_error *err)
{
    if (*p == NULL) {
        *p = malloc(size);
        if (*p == NULL)
            return error_set(err, -ENOMEM, "configuration: out of memory");
        memset(*p, 0xff, size);
    }
    return 0;
}

/* Memory for the largest there can be, whatever the device says. */
static int allocate(struct pci_state *ps, const struct vfm_device *dev,
                    struct vfm_error *err)
{
    size_t size = dev->info.config_size;
    int ret;

    if (size != PCI_CFG_SPACE_SIZE && size != PCI_CFG_SPACE_EXP_SIZE)
        return error_set(err, -EINVAL, "%s: a configuration space of %zu bytes",
                         dev->name, size);
    ret = provide(&ps->config, PCI_CFG_SPACE_EXP_SIZE, err);
    if (ret == 0)
        ret = provide(&ps->msix, PCI_MSIX_BYTES_MAX, err);
    return ret < 0 ? ret : provide(&ps->record, PCI_RECORD_MAX, err);
}

static void add_space(struct pci_state *ps, const struct vfm_device *dev)
{
    ps->num_accesses = 0;
    add_access(ps, UAPI_REGION_CONFIG, 0, ps->config, dev->info.config_size);
}

static void add_table(struct pci_state *ps)
{
    const struct pci_msix *msix = &ps->where;

    if (msix->count == 0)
        return;
    add_access(ps, msix->table_region, msix->table_offset, ps->msix,
               table_size(msix));
    add_access(ps, msix->pba_region, msix->pba_offset,
               ps->msix + table_size(msix), pba_size(msix));
}

/* The kernel does not show the table of a device that it drives interrupts for:
 * it reads as all ones, as no table does. */
static void hide_table(struct pci_state *ps)
{
    size_t size = table_size(&ps->where);

    for (size_t i = 0; i < size; i++)
        if (ps->msix[i] != 0xff)
            return;
    memset(ps->msix, 0, size);
    for (size_t at = 0; at < size; at += PCI_MSIX_ENTRY_SIZE)
        ps->msix[at + PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

/* The kernel reads no BAR whose device decodes no memory: -EIO.  Nothing is
 * pending then. */
static bool pending_is_hidden(const struct pci_state *ps)
{
    return ps->num_accesses == NUM_READS && ps->accesses[READ_SPACE].ret == 0 &&
           ps->accesses[READ_TABLE].ret == 0 &&
           ps->accesses[READ_PENDING].ret == -EIO &&
           (get_le16(ps->config + PCI_COMMAND) & PCI_COMMAND_MEMORY) == 0;
}

static int read_all(struct pci_state *ps, struct vfm_device *dev,
                    struct vfm_error *err)
{
    const struct pci_msix *msix = &ps->where;
    int ret;

    if (!device_is_busy(dev)) {
        add_space(ps, dev);
        add_table(ps);
    }
    ret = make_accesses(ps, dev, DEVICE_REGION_READ, err);
    if (ret == -EIO && pending_is_hidden(ps)) {
        memset(ps->msix + table_size(msix), 0, pba_size(msix));
        ret = 0;
    }
    if (ret == 0)
        hide_table(ps);
    return ret;
}

int pci_state_encode(struct pci_state *ps, const struct pci_config *config,
                     struct vfm_error *err)
{
    int ret;

    ps->record_len = 0;
    ret = provide(&ps->record, PCI_RECORD_MAX, err);
    if (ret < 0)
        return ret;
    return pci_config_encode(config, ps->record, PCI_RECORD_MAX,
                             &ps->record_len, err);
}

/* What was read of it was read where it was said to be at first. */
static int check_place(const struct pci_state *ps, const struct vfm_device *dev,
                       struct vfm_error *err)
{
    struct pci_msix now;
    int ret =
        pci_get_msix(ps->config, PCI_CFG_SPACE_SIZE, dev->name, &now, err);

    if (ret < 0 || memcmp(&now, &ps->where, sizeof(now)) == 0)
        return ret;
    return error_set(err, -EINVAL,
                     "%s: its MSI-X table is not where it was when the device "
                     "was opened",
                     dev->name);
}

static int build_record(struct pci_state *ps, const struct vfm_device *dev,
                        struct vfm_error *err)
{
    const struct pci_config config = {
        .space = ps->config,
        .space_size = dev->info.config_size,
        .msix_count = ps->where.count,
        .msix_table = ps->msix,
        .msix_pending = ps->msix + table_size(&ps->where),
    };
    int ret = check_place(ps, dev, err);

    return ret < 0 ? ret : pci_state_encode(ps, &config, err);
}

/* Where the table is does not change; whatever else is in the space may. */
static int begin(struct pci_state *ps, const struct vfm_device *dev,
                 struct vfm_error *err)
{
    int ret = allocate(ps, dev, err);

    return ret < 0 ? ret
                   : pci_get_msix(dev->pci_space, sizeof(dev->pci_space),
                                  dev->name, &ps->where, err);
}

static int save_step(struct pci_state *ps, struct vfm_device *dev,
                     struct vfm_error *err)
{
    switch (ps->step) {
    case PROVIDE:
        return begin(ps, dev, err);
    case READ:
        return read_all(ps, dev, err);
    case WRITE_OR_BUILD:
    default:
        return build_record(ps, dev, err);
    }
}

/* Goes from step to step up to @end, until one waits or fails; that one begins
 * anew at the next call. */
static int walk(struct pci_state *ps, struct vfm_device *dev,
                int (*step)(struct pci_state *, struct vfm_device *,
                            struct vfm_error *),
                int end, struct vfm_error *err)
{
    if (dev->info.config_size == 0)
        return 0;
    while (ps->step < end) {
        int ret = step(ps, dev, err);

        if (ret < 0)
            return ret;
        ps->step++;
    }
    if (ps->step == OVER)
        ps->step = PROVIDE;
    return 0;
}

int pci_state_prepare_save(struct pci_state *ps, struct vfm_device *dev,
                           struct vfm_error *err)
{
    return walk(ps, dev, save_step, READ, err);
}

int pci_state_save(struct pci_state *ps, struct vfm_device *dev,
                   struct vfm_error *err)
{
    return walk(ps, dev, save_step, OVER, err);
}

int pci_state_set(struct pci_state *ps, const void *record, size_t len,
                  struct vfm_error *err)
{
    int ret;

    if (len > PCI_RECORD_MAX)
        return error_set(err, -E2BIG,
                         "configuration: a record of %zu bytes is too long",
                         len);
    ps->record_len = 0;
    ret = provide(&ps->record, PCI_RECORD_MAX, err);
    if (ret < 0)
        return ret;
    if (len > 0)
        memcpy(ps->record, record, len);
    ps->record_len = len;
    return 0;
}

static int compare(const struct pci_config *ours,
                   const struct pci_config *theirs, const char *who,
                   struct vfm_error *err)
{
    if (theirs->space_size != ours->space_size)
        return error_set(err, -EINVAL,
                         "%s: a configuration space of %zu bytes, this "
                         "device's has %zu",
                         who, theirs->space_size, ours->space_size);
    if (theirs->msix_count != ours->msix_count)
        return error_set(err, -EINVAL,
                         "%s: %u MSI-X vectors, this device has %u", who,
                         theirs->msix_count, ours->msix_count);
    return pci_compare(ours->space, theirs->space, ours->space_size, who, err);
}

int pci_state_decode(const struct pci_state *ps, const struct pci_config *ours,
                     const char *who, struct pci_config *theirs,
                     struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret = pci_config_decode(ps->record, ps->record_len, theirs, &why);

    if (ret < 0)
        return error_set(err, ret, "%s: %s", who, why.message);
    return ours == NULL ? 0 : compare(ours, theirs, who, err);
}

/* The device's own configuration is in ps->config: does the record fit? */
static int check_record(const struct pci_state *ps,
                        const struct vfm_device *dev, struct pci_config *theirs,
                        struct vfm_error *err)
{
    const struct pci_config ours = {
        .space = ps->config,
        .space_size = dev->info.config_size,
        .msix_count = ps->where.count,
    };

    return pci_state_decode(ps, &ours, dev->name, theirs, err);
}

static int read_space(struct pci_state *ps, struct vfm_device *dev,
                      struct vfm_error *err)
{
    if (!device_is_busy(dev))
        add_space(ps, dev);
    return make_accesses(ps, dev, DEVICE_REGION_READ, err);
}

static void add_fields(struct pci_state *ps, const uint8_t *theirs,
                       size_t config_size)
{
    struct pci_field fields[PCI_FIELDS_MAX];
    unsigned int n = pci_get_fields(ps->config, config_size, fields);

    for (unsigned int i = 0; i < n; i++) {
        const struct pci_field *f = &fields[i];

        if (memcmp(ps->config + f->offset, theirs + f->offset, f->len) != 0)
            add_access(ps, UAPI_REGION_CONFIG, f->offset, theirs + f->offset,
                       f->len);
    }
}

/* Pending interrupts are the device's state: nobody else writes them. */
static int add_writes(struct pci_state *ps, const struct vfm_device *dev,
                      struct vfm_error *err)
{
    const struct pci_msix *msix = &ps->where;
    struct pci_config theirs = { 0 };
    int ret = check_record(ps, dev, &theirs, err);

    if (ret < 0)
        return ret;
    assert(theirs.space != NULL); /* the record was decoded */
    ps->num_accesses = 0;
    if (msix->count > 0)
        add_access(ps, msix->table_region, msix->table_offset,
                   theirs.msix_table, table_size(msix));
    add_fields(ps, theirs.space, dev->info.config_size);
    return 0;
}

static int write_all(struct pci_state *ps, struct vfm_device *dev,
                     struct vfm_error *err)
{
    int ret = device_is_busy(dev) ? 0 : add_writes(ps, dev, err);

    return ret < 0 ? ret : make_accesses(ps, dev, DEVICE_REGION_WRITE, err);
}

static int apply_step(struct pci_state *ps, struct vfm_device *dev,
                      struct vfm_error *err)
{
    switch (ps->step) {
    case PROVIDE:
        return begin(ps, dev, err);
    case READ:
        return read_space(ps, dev, err);
    case WRITE_OR_BUILD:
    default:
        return write_all(ps, dev, err);
    }
}

int pci_state_write_command(struct pci_state *ps, struct vfm_device *dev,
                            struct vfm_error *err)
{
    struct pci_config theirs;
    int ret;

    if (dev->info.config_size == 0)
        return 0;
    ret = pci_state_decode(ps, NULL, dev->name, &theirs, err);
    if (ret < 0)
        return ret;
    if (!device_is_busy(dev)) {
        ps->num_accesses = 0;
        add_access(ps, UAPI_REGION_CONFIG, PCI_COMMAND,
                   theirs.space + PCI_COMMAND, 2);
    }
    return make_accesses(ps, dev, DEVICE_REGION_WRITE, err);
}

int pci_state_prepare_apply(struct pci_state *ps, struct vfm_device *dev,
                            struct vfm_error *err)
{
    return walk(ps, dev, apply_step, WRITE_OR_BUILD, err);
}

int pci_state_apply(struct pci_state *ps, struct vfm_device *dev,
                    struct vfm_error *err)
{
    return walk(ps, dev, apply_step, OVER, err);
}

void pci_state_integrate(struct pci_state *ps)
{
    if (ps->record_len > 0)
        pci_config_integrate(ps->record + PCI_CONFIG_SPACE_AT);
}

void pci_state_close(struct pci_state *ps)
{
    free(ps->record);
    free(ps->config);
    free(ps->msix);
    *ps = (struct pci_state){ 0 };
}
