/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Showing a probed device.
 */
#include <stdio.h>

#include "json.h"
#include "probe.h"
#include "say.h"

/* The states in an order that a reader expects. */
static const enum vfm_state state_order[] = {
    VFM_STATE_RUNNING,      VFM_STATE_RUNNING_P2P, VFM_STATE_PRE_COPY,
    VFM_STATE_PRE_COPY_P2P, VFM_STATE_STOP,        VFM_STATE_STOP_COPY,
    VFM_STATE_RESUMING,
};

#define STATE_COUNT (sizeof(state_order) / sizeof(state_order[0]))

static bool has_state(const struct probe *probe, enum vfm_state state)
{
    return (probe->states & 1u << state) != 0;
}

static const char *yes_no(bool value)
{
    return value ? "yes" : "no";
}

static void print_pci(const struct vfm_device_info *info)
{
    if (!info->is_pci || info->config_size == 0)
        return;
    printf("  PCI          %04x:%04x rev %02x, class %06x, subsystem "
           "%04x:%04x\n",
           info->vendor_id, info->device_id, info->revision_id,
           info->class_code, info->subsystem_vendor_id, info->subsystem_id);
    printf("  config space %u bytes, %u MSI-X vectors\n", info->config_size,
           info->msix_count);
}

static void print_states(const struct probe *probe)
{
    const char *before = "  states       ";

    if (probe->info.migration == 0)
        return;
    for (size_t i = 0; i < STATE_COUNT; i++)
        if (has_state(probe, state_order[i])) {
            printf("%s%s", before, vfm_state_name(state_order[i]));
            before = ", ";
        }
    putchar('\n');
}

static void print_sizes(const struct probe *probe)
{
    char text[QUANTITY_MAX];
    char initial[QUANTITY_MAX];

    if (probe->has_data_size)
        printf("  data size    %s to save if it were stopped now\n",
               say_bytes(text, probe->data_size));
    if (probe->has_precopy)
        printf("  pre-copy     %s initial, %s dirty%s\n",
               say_bytes(initial, probe->precopy.initial_bytes),
               say_bytes(text, probe->precopy.dirty_bytes),
               (probe->precopy.flags & VFM_PRECOPY_REINIT) != 0
                   ? ", new initial data"
                   : "");
}

void probe_print(const struct probe *probe)
{
    const struct vfm_device_info *info = &probe->info;
    char read_size[QUANTITY_MAX];
    char write_size[QUANTITY_MAX];

    printf("%s\n", probe->word);
    printf("  migration    %s%s\n", probe->reason == NULL ? "yes" : "no: ",
           probe->reason == NULL ? "" : probe->reason);
    if (probe->reason != NULL)
        printf("  what to do   %s\n", probe->advice);
    printf("  state        %s\n", vfm_state_name(probe->state));
    print_states(probe);
    print_sizes(probe);
    printf("  can tell     data size: %s, pre-copy progress: %s\n",
           yes_no(info->has_data_size), yes_no(info->has_precopy_info));
    printf("  DMA logging  %s\n", yes_no(info->has_dma_logging));
    printf("  reset        %s\n", yes_no(info->has_reset));
    print_pci(info);
    printf("  transfers    reads of %s, writes of %s by %s\n",
           say_bytes(read_size, info->read_size),
           say_bytes(write_size, info->write_size), info->backend);
    if (info->data_area_size > 0)
        printf("  shared       %s of memory, for the state to go through\n",
               say_bytes(read_size, info->data_area_size));
    for (size_t i = 0; i < probe->note_count; i++)
        printf("note: %s\n", probe->notes[i]);
}

struct json_tree *probe_migration_object(uint64_t flags)
{
    struct json_tree *object = json_object_make();

    json_add_bool(object, "stop_copy", (flags & VFM_MIGRATION_STOP_COPY) != 0);
    json_add_bool(object, "pre_copy", (flags & VFM_MIGRATION_PRE_COPY) != 0);
    json_add_bool(object, "p2p", (flags & VFM_MIGRATION_P2P) != 0);
    return object;
}

static struct json_tree *states_array(const struct probe *probe)
{
    struct json_tree *states = json_array_make();

    for (size_t i = 0; i < STATE_COUNT; i++)
        if (has_state(probe, state_order[i]))
            json_append(states,
                        json_string_make(vfm_state_name(state_order[i])));
    return states;
}

static struct json_tree *features_object(const struct vfm_device_info *info)
{
    struct json_tree *object = json_object_make();

    json_add_bool(object, "data_size", info->has_data_size);
    json_add_bool(object, "precopy_info", info->has_precopy_info);
    json_add_bool(object, "dma_logging", info->has_dma_logging);
    json_add_bool(object, "reset", info->has_reset);
    return object;
}

static struct json_tree *precopy_object(const struct probe *probe)
{
    struct json_tree *object;

    if (!probe->has_precopy)
        return json_null_make();
    object = json_object_make();
    json_add_number(object, "initial_bytes", probe->precopy.initial_bytes);
    json_add_number(object, "dirty_bytes", probe->precopy.dirty_bytes);
    json_add_bool(object, "reinit",
                  (probe->precopy.flags & VFM_PRECOPY_REINIT) != 0);
    return object;
}

static struct json_tree *pci_object(const struct vfm_device_info *info)
{
    struct json_tree *object;

    if (!info->is_pci || info->config_size == 0)
        return json_null_make();
    object = json_object_make();
    json_add_number(object, "vendor_id", info->vendor_id);
    json_add_number(object, "device_id", info->device_id);
    json_add_number(object, "subsystem_vendor_id", info->subsystem_vendor_id);
    json_add_number(object, "subsystem_id", info->subsystem_id);
    json_add_number(object, "revision_id", info->revision_id);
    json_add_number(object, "class_code", info->class_code);
    json_add_number(object, "config_bytes", info->config_size);
    json_add_number(object, "msix_vectors", info->msix_count);
    return object;
}

static struct json_tree *limits_object(const struct vfm_device_info *info)
{
    struct json_tree *object = json_object_make();

    json_add_number(object, "read_bytes", info->read_size);
    json_add_number(object, "write_bytes", info->write_size);
    json_add_number(object, "data_area_bytes", info->data_area_size);
    return object;
}

void probe_print_json(const struct probe *probe)
{
    struct json_tree *object = json_object_make();
    struct json_tree *notes = json_array_make();

    json_add_string(object, "device", probe->word);
    json_add_string(object, "backend", probe->info.backend);
    json_add_bool(object, "migratable", probe->reason == NULL);
    json_add_string(object, "reason", probe->reason);
    json_add_string(object, "advice", probe->advice);
    json_add_string(object, "state", vfm_state_name(probe->state));
    json_add(object, "migration",
             probe_migration_object(probe->info.migration));
    json_add(object, "states", states_array(probe));
    json_add(object, "features", features_object(&probe->info));
    json_add(object, "data_size_bytes",
             probe->has_data_size ? json_number_make(probe->data_size)
                                  : json_null_make());
    json_add(object, "precopy", precopy_object(probe));
    json_add(object, "pci", pci_object(&probe->info));
    json_add(object, "limits", limits_object(&probe->info));
    for (size_t i = 0; i < probe->note_count; i++)
        json_append(notes, json_string_make(probe->notes[i]));
    json_add(object, "notes", notes);
    json_print(object);
}
