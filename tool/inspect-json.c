/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The facts about a stream as one JSON object.  Scripts rely on the keys.
 */
#include <inttypes.h>

#include "inspect.h"
#include "json.h"

static struct json_tree *sections_json(const struct facts *facts)
{
    struct json_tree *o = json_object_make();

    for (int type = VFM_SECTION_START; type <= VFM_SECTION_FULL; type++)
        json_add_number(o, vfm_section_type_name((enum vfm_section_type)type),
                        facts->sections[type]);
    return o;
}

static struct json_tree *commands_json(const struct facts *facts)
{
    struct json_tree *list = json_array_make();

    for (size_t i = 0; i < facts->num_commands; i++)
        json_append(list, json_number_make(facts->commands[i]));
    return list;
}

static struct json_tree *blocks_json(const struct facts *facts)
{
    struct json_tree *list = json_array_make();

    for (size_t i = 0; i < facts->num_blocks; i++) {
        struct json_tree *pair = json_array_make();

        json_append(pair, json_string_make(facts->blocks[i].name));
        json_append(pair, json_number_make(facts->blocks[i].bytes));
        json_append(list, pair);
    }
    return list;
}

static void add_unless_zero(struct json_tree *into, const char *name,
                            uint64_t value)
{
    if (value != 0)
        json_add_number(into, name, value);
}

static struct json_tree *pages_json(const struct facts *facts)
{
    struct json_tree *o = json_object_make();

    add_unless_zero(o, "normal", facts->ram_normal);
    add_unless_zero(o, "zero", facts->ram_zero);
    add_unless_zero(o, "xbzrle", facts->ram_xbzrle);
    add_unless_zero(o, "flush", facts->ram_flush);
    add_unless_zero(o, "multifd_normal", facts->multifd_normal);
    add_unless_zero(o, "multifd_zero", facts->multifd_zero);
    return o;
}

static struct json_tree *device_json(const struct device_facts *dev)
{
    struct json_tree *o = json_object_make();
    char hex[SHA256_HEX_SIZE];

    json_add_number(o, "bytes", dev->bytes);
    json_add_number(o, "records", dev->records);
    json_add_number(o, "precopy_bytes", dev->precopy_bytes);
    json_add_number(o, "init_data_sent", dev->init_data_sent);
    sha256_hex(&dev->data_sha256, hex);
    json_add_string(o, "data_sha256", hex);
    if (dev->has_config) {
        hex_of(dev->config_sha256, sizeof(dev->config_sha256), hex);
        json_add_number(o, "config_bytes", dev->config_bytes);
        json_add_string(o, "config_sha256", hex);
    }
    add_unless_zero(o, "multifd_packets", dev->num_packets);
    return o;
}

static struct json_tree *devices_json(const struct facts *facts)
{
    struct json_tree *o = json_object_make();
    char key[300];

    for (size_t i = 0; i < facts->num_devices; i++) {
        const struct device_facts *dev = &facts->devices[i];

        snprintf(key, sizeof(key), "%s", dev->name);
        if (dev->instance_id != 0)
            snprintf(key, sizeof(key), "%s@%" PRIu32, dev->name,
                     dev->instance_id);
        json_add(o, key, device_json(dev));
    }
    return o;
}

static struct json_tree *identity_json(const struct vmdescription_identity *id)
{
    struct json_tree *o = json_object_make();

    json_add_string(o, "backend", id->backend);
    json_add_number(o, "vendor", id->vendor);
    json_add_number(o, "device", id->device);
    json_add_number(o, "subsystem_vendor", id->subsystem_vendor);
    json_add_number(o, "subsystem", id->subsystem);
    json_add_number(o, "revision", id->revision);
    json_add_number(o, "class", id->class_code);
    json_add_number(o, "config_bytes", id->config_size);
    json_add_number(o, "msix_vectors", id->msix_count);
    return o;
}

/* What the stream says of itself. */
static struct json_tree *vfmig_json(const struct vmdescription *desc)
{
    struct json_tree *o = json_object_make();
    struct json_tree *devices = json_object_make();

    json_add_string(o, "version", desc->version);
    json_add_bool(o, "running", desc->running);
    for (size_t i = 0; i < desc->num_devices; i++) {
        const struct vmdescription_device *dev = &desc->devices[i];
        struct json_tree *d = json_object_make();

        json_add_number(d, "bytes", dev->bytes);
        if (dev->xxh3_128[0] != '\0')
            json_add_string(d, "xxh3_128", dev->xxh3_128);
        if (dev->identity.backend != NULL)
            json_add(d, "identity", identity_json(&dev->identity));
        json_add(devices, dev->section, d);
    }
    json_add(o, "devices", devices);
    return o;
}

void facts_print_json(const struct facts *facts)
{
    struct json_tree *o = json_object_make();

    json_add_number(o, "file_bytes", facts->file_bytes);
    json_add_string(o, "machine", facts->machine);
    json_add(o, "sections", sections_json(facts));
    json_add(o, "commands", commands_json(facts));
    json_add_number(o, "full_sections", facts->sections[VFM_SECTION_FULL]);
    json_add(o, "ram_blocks", blocks_json(facts));
    json_add(o, "ram_pages", pages_json(facts));
    json_add_number(o, "vmdescription_bytes", facts->vmdescription_bytes);
    json_add(o, "vfio", devices_json(facts));
    if (facts->num_blobs > 0)
        json_add(o, "blobs", facts_blobs_json(facts));
    if (facts->vmdescription != NULL && facts->vmdescription->has_vfmig)
        json_add(o, "vfmig", vfmig_json(facts->vmdescription));
    json_print(o);
}
