/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts, sums and digests over the events of a main stream.  All memory is
 * bounded by the decoder's limits and the one of commands.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"
#include "util/bytes.h"
#include "util/error.h"

static int no_memory(struct vfm_error *err)
{
    return error_set(err, -ENOMEM, "out of memory");
}

void hex_of(const uint8_t *bytes, size_t len, char *hex)
{
    for (size_t i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

void sha256_hex(const struct sha256_ctx *ctx, char hex[SHA256_HEX_SIZE])
{
    struct sha256_ctx copy = *ctx;
    uint8_t digest[SHA256_DIGEST_SIZE];

    sha256_digest(&copy, sizeof(digest), digest);
    hex_of(digest, sizeof(digest), hex);
}

/* ---------------------------------------------------------------------- */

struct device_facts *facts_device(const struct facts *facts, const char *name,
                                  uint32_t instance_id)
{
    for (size_t i = 0; i < facts->num_devices; i++)
        if (facts->devices[i].instance_id == instance_id &&
            strcmp(facts->devices[i].name, name) == 0)
            return &facts->devices[i];
    return NULL;
}

static int add_device(struct facts *facts,
                      const struct vfm_stream_section *section,
                      struct vfm_error *err)
{
    struct device_facts *dev =
        reallocarray(facts->devices, facts->num_devices + 1, sizeof(*dev));

    if (dev == NULL)
        return no_memory(err);
    facts->devices = dev;
    dev += facts->num_devices++;
    *dev = (struct device_facts){ .instance_id = section->instance_id };
    dev->name = strdup(section->name);
    dev->digest = digest_new();
    sha256_init(&dev->data_sha256);
    if (dev->name == NULL || dev->digest == NULL)
        return no_memory(err);
    if (facts->extract_to == NULL)
        return 0;
    return extract_open(&dev->state_file, facts->extract_to, dev->name,
                        dev->instance_id, ".state", err);
}

int device_facts_data(struct device_facts *dev, const void *data, size_t len,
                      struct vfm_error *err)
{
    dev->bytes += len;
    sha256_update(&dev->data_sha256, len, data);
    digest_update(dev->digest, data, len);
    if (dev->state_file.file == NULL)
        return 0;
    return extract_write(&dev->state_file, data, len, err);
}

/* What config space says of the device.  A record of another kind of device
 * is none of ours to judge. */
static void read_pci(struct device_facts *dev, const void *data, size_t len)
{
    struct pci_config config;

    if (pci_config_decode(data, len, &config, NULL) < 0)
        return;
    dev->has_pci = true;
    dev->pci = (struct vmdescription_identity){
        .vendor = get_le16(config.space),
        .device = get_le16(config.space + 2),
        .revision = config.space[8],
        .class_code = get_le32(config.space + 8) >> 8,
        .subsystem_vendor = get_le16(config.space + 0x2c),
        .subsystem = get_le16(config.space + 0x2e),
        .config_size = (uint32_t)config.space_size,
        .msix_count = config.msix_count,
    };
}

static int extract_config(struct device_facts *dev, const char *folder,
                          const void *data, size_t len, struct vfm_error *err)
{
    int ret = extract_open(&dev->config_file, folder, dev->name,
                           dev->instance_id, ".config", err);

    if (ret == 0)
        ret = extract_write(&dev->config_file, data, len, err);
    return ret;
}

int device_facts_config(struct device_facts *dev, const char *extract_to,
                        const void *data, size_t len, struct vfm_error *err)
{
    struct sha256_ctx ctx;

    dev->has_config = true;
    dev->config_bytes = len;
    sha256_init(&ctx);
    sha256_update(&ctx, len, data);
    sha256_digest(&ctx, sizeof(dev->config_sha256), dev->config_sha256);
    read_pci(dev, data, len);
    if (extract_to == NULL)
        return 0;
    return extract_config(dev, extract_to, data, len, err);
}

/* ---------------------------------------------------------------------- */

static int add_command(struct facts *facts, const struct vfm_stream_event *ev,
                       struct vfm_error *err)
{
    size_t size = facts->commands_size > 0 ? 2 * facts->commands_size : 16;
    uint16_t *commands;

    if (facts->num_commands == FACTS_COMMANDS_MAX)
        return error_set(err, -E2BIG,
                         "offset %" PRIu64 ": more than %d commands",
                         ev->offset, FACTS_COMMANDS_MAX);
    if (facts->num_commands == facts->commands_size) {
        commands = reallocarray(facts->commands, size, sizeof(*commands));
        if (commands == NULL)
            return no_memory(err);
        facts->commands = commands;
        facts->commands_size = size;
    }
    facts->commands[facts->num_commands++] = ev->u.command.number;
    return 0;
}

static int add_block(struct facts *facts, const struct vfm_stream_event *ev,
                     struct vfm_error *err)
{
    struct ram_block_facts *block =
        reallocarray(facts->blocks, facts->num_blocks + 1, sizeof(*block));

    if (block == NULL)
        return no_memory(err);
    facts->blocks = block;
    block += facts->num_blocks;
    block->bytes = ev->u.ram.block_size;
    block->name = strdup(ev->u.ram.block);
    if (block->name == NULL)
        return no_memory(err);
    facts->num_blocks++;
    return 0;
}

static int take_section(struct facts *facts, const struct vfm_stream_event *ev,
                        struct vfm_error *err)
{
    facts->sections[ev->section.type]++;
    if (ev->section.kind == VFM_SECTION_KIND_VFIO &&
        ev->section.type == VFM_SECTION_START)
        return add_device(facts, &ev->section, err);
    return 0;
}

static int take_vfio(struct facts *facts, const struct vfm_stream_event *ev,
                     struct vfm_error *err)
{
    struct device_facts *dev =
        facts_device(facts, ev->section.name, ev->section.instance_id);

    switch (ev->type) {
    case VFM_STREAM_VFIO_DATA_BEGIN:
        dev->records++;
        return 0;
    case VFM_STREAM_VFIO_DATA:
        if (ev->section.type == VFM_SECTION_PART)
            dev->precopy_bytes += ev->len;
        return device_facts_data(dev, ev->data, ev->len, err);
    case VFM_STREAM_VFIO_INIT_DATA_SENT:
        dev->init_data_sent++;
        return 0;
    default:
        return device_facts_config(dev, facts->extract_to, ev->data, ev->len,
                                   err);
    }
}

static int take_vmdescription(struct facts *facts,
                              const struct vfm_stream_event *ev,
                              struct vfm_error *err)
{
    struct vfm_error cause;
    int ret =
        vmdescription_parse(ev->data, ev->len, &facts->vmdescription, &cause);

    facts->vmdescription_bytes = ev->len;
    if (ret < 0)
        return error_set(err, ret, "offset %" PRIu64 ": %s", ev->offset,
                         cause.message);
    return 0;
}

static int take_configuration(struct facts *facts,
                              const struct vfm_stream_event *ev,
                              struct vfm_error *err)
{
    if (ev->u.configuration.page_bits != 0)
        facts->page_size = UINT32_C(1) << ev->u.configuration.page_bits;
    facts->machine = strdup(ev->u.configuration.machine);
    return facts->machine != NULL ? 0 : no_memory(err);
}

int facts_take(struct facts *facts, const struct vfm_stream_event *ev,
               struct vfm_error *err)
{
    switch (ev->type) {
    case VFM_STREAM_CONFIGURATION:
        return take_configuration(facts, ev, err);
    case VFM_STREAM_COMMAND:
        return add_command(facts, ev, err);
    case VFM_STREAM_SECTION_BEGIN:
        return take_section(facts, ev, err);
    case VFM_STREAM_VFIO_DATA_BEGIN:
    case VFM_STREAM_VFIO_DATA:
    case VFM_STREAM_VFIO_INIT_DATA_SENT:
    case VFM_STREAM_VFIO_CONFIG:
        return take_vfio(facts, ev, err);
    case VFM_STREAM_RAM_BLOCK:
        return add_block(facts, ev, err);
    case VFM_STREAM_RAM_PAGE:
        facts->ram_normal++;
        return 0;
    case VFM_STREAM_RAM_ZERO:
        facts->ram_zero++;
        return 0;
    case VFM_STREAM_RAM_XBZRLE:
        facts->ram_xbzrle++;
        return 0;
    case VFM_STREAM_RAM_FLUSH:
        facts->ram_flush++;
        return 0;
    case VFM_STREAM_BLOB_BEGIN:
    case VFM_STREAM_BLOB_DATA:
    case VFM_STREAM_BLOB_END:
        return facts_take_blob(facts, ev, err);
    case VFM_STREAM_VMDESCRIPTION:
        return take_vmdescription(facts, ev, err);
    default:
        return 0;
    }
}

/* ---------------------------------------------------------------------- */

const struct vmdescription_device *device_facts_promise(
    const struct facts *facts, const struct device_facts *dev)
{
    const struct vmdescription *desc = facts->vmdescription;

    if (desc == NULL || !desc->has_vfmig || dev->instance_id != 0)
        return NULL;
    for (size_t i = 0; i < desc->num_devices; i++)
        if (strcmp(desc->devices[i].section, dev->name) == 0)
            return &desc->devices[i];
    return NULL;
}

static int check_promise(const struct device_facts *dev,
                         const struct vmdescription_device *promise,
                         struct vfm_error *err)
{
    char hex[DIGEST_HEX_SIZE];

    if (promise->bytes != dev->bytes)
        return error_set(err, -EBADMSG,
                         "section '%s': it has %" PRIu64
                         " bytes of state, but should have %" PRIu64,
                         dev->name, dev->bytes, promise->bytes);
    digest_hex(dev->digest, hex);
    if (promise->xxh3_128[0] != '\0' && strcmp(promise->xxh3_128, hex) != 0)
        return error_set(err, -EBADMSG,
                         "section '%s': its state is damaged: the digest is "
                         "%s, but should be %s",
                         dev->name, hex, promise->xxh3_128);
    return 0;
}

int facts_check_promises(const struct facts *facts, struct vfm_error *err)
{
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < facts->num_devices; i++) {
        const struct device_facts *dev = &facts->devices[i];
        const struct vmdescription_device *promise =
            device_facts_promise(facts, dev);

        if (promise != NULL && !device_facts_is_partial(dev))
            ret = check_promise(dev, promise, err);
    }
    return ret;
}

void facts_free(struct facts *facts)
{
    for (size_t i = 0; i < facts->num_devices; i++) {
        struct device_facts *dev = &facts->devices[i];

        extract_abort(&dev->state_file);
        extract_abort(&dev->config_file);
        digest_free(dev->digest);
        free(dev->packets);
        free(dev->name);
    }
    for (size_t i = 0; i < facts->num_blocks; i++)
        free(facts->blocks[i].name);
    facts_free_blobs(facts);
    free(facts->devices);
    free(facts->blocks);
    free(facts->commands);
    free(facts->machine);
    vmdescription_free(facts->vmdescription);
}
