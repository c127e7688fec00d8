/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The map of a stream that people read: a line for each section, in the order
 * of the stream; a run of parts with nothing in them is one line.  And the
 * summary behind it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"
#include "say.h"
#include "util/bytes.h"

/* What is known of the section that the events are in. */
struct map_section {
    uint64_t offset;
    uint64_t pages;
    uint64_t zero;
    uint64_t xbzrle;
    uint64_t flushes;
    uint64_t blocks;
    uint64_t block_bytes;
    uint64_t records;
    uint64_t data_bytes;
    uint64_t config_bytes;
    uint64_t blob_bytes;
    bool blob;
    bool setup;
    bool init_sent;
    bool config;
    bool load_ready;
};

struct map {
    struct map_section section;
    bool is_headed;
    uint64_t empty; /* parts with nothing in them, not printed yet */
    uint64_t empty_offset;
    uint64_t empty_bytes;
};

struct map *map_new(void)
{
    return calloc(1, sizeof(struct map));
}

static void print_place(uint64_t offset, uint64_t bytes)
{
    printf("%12" PRIu64 " %10" PRIu64 "  ", offset, bytes);
}

static void print_empty(struct map *map)
{
    if (map->empty == 0)
        return;
    print_place(map->empty_offset, map->empty_bytes);
    if (map->empty == 1)
        puts("PART   nothing in it");
    else
        printf("PARTs  %" PRIu64 ", nothing in them\n", map->empty);
    map->empty = 0;
    map->empty_bytes = 0;
}

static void print_count(const char **before, uint64_t count, const char *what)
{
    if (count == 0)
        return;
    printf("%s%" PRIu64 " %s%s", *before, count, what, count == 1 ? "" : "s");
    *before = ", ";
}

static void print_word(const char **before, bool is, const char *what)
{
    if (!is)
        return;
    printf("%s%s", *before, what);
    *before = ", ";
}

static void print_contents(const struct map_section *s)
{
    const char *before = ": ";
    char text[QUANTITY_MAX];

    print_count(&before, s->blocks, "block");
    if (s->blocks > 0)
        printf(" of %s", say_bytes(text, s->block_bytes));
    print_count(&before, s->pages, "page");
    print_count(&before, s->zero, "zero page");
    print_count(&before, s->xbzrle, "page delta");
    print_count(&before, s->flushes, "multifd wait");
    print_word(&before, s->setup, "SETUP");
    print_count(&before, s->records, "DATA record");
    if (s->records > 0)
        printf(" of %" PRIu64 " byte%s", s->data_bytes,
               s->data_bytes == 1 ? "" : "s");
    print_word(&before, s->init_sent, "INIT_DATA_SENT");
    print_word(&before, s->config, "CONFIG");
    if (s->config)
        printf(" of %" PRIu64 " bytes", s->config_bytes);
    print_word(&before, s->load_ready, "CONFIG_LOAD_READY");
    print_word(&before, s->blob, "a blob");
    if (s->blob)
        printf(" of %" PRIu64 " bytes", s->blob_bytes);
}

/* A part that only says that it has ended. */
static bool is_empty(const struct map_section *s,
                     const struct vfm_stream_event *ev)
{
    return ev->section.type == VFM_SECTION_PART && s->pages == 0 &&
           s->zero == 0 && s->xbzrle == 0 && s->flushes == 0 &&
           s->records == 0 && !s->init_sent;
}

static void take_section_end(struct map *map, const struct vfm_stream_event *ev)
{
    const struct map_section *s = &map->section;
    uint64_t end = ev->offset + (ev->u.section_end.footer ? 5 : 0);

    if (is_empty(s, ev)) {
        if (map->empty++ == 0)
            map->empty_offset = s->offset;
        map->empty_bytes += end - s->offset;
        return;
    }
    print_empty(map);
    print_place(s->offset, end - s->offset);
    printf("%-5s  %" PRIu32 " '%s'", vfm_section_type_name(ev->section.type),
           ev->section.id, ev->section.name);
    if (ev->section.instance_id != 0)
        printf(" instance %" PRIu32, ev->section.instance_id);
    if (ev->section.type == VFM_SECTION_START ||
        ev->section.type == VFM_SECTION_FULL)
        printf(" version %" PRIu32, ev->section.version);
    print_contents(s);
    putchar('\n');
}

static const char *command_name(uint16_t number)
{
    switch (number) {
    case VFM_COMMAND_OPEN_RETURN_PATH:
        return "OPEN_RETURN_PATH";
    case VFM_COMMAND_PING:
        return "PING";
    case VFM_COMMAND_POSTCOPY_ADVISE:
        return "POSTCOPY_ADVISE";
    case VFM_COMMAND_SWITCHOVER_START:
        return "SWITCHOVER_START";
    default:
        return "?";
    }
}

static void take_command(const struct vfm_stream_event *ev)
{
    print_place(ev->offset, 5 + ev->len);
    printf("command %u %s", ev->u.command.number,
           command_name(ev->u.command.number));
    if (ev->u.command.number == VFM_COMMAND_PING)
        printf(" %" PRIu32, get_be32(ev->data));
    putchar('\n');
}

static void take_configuration(const struct vfm_stream_event *ev)
{
    print_place(ev->offset, 5 + strlen(ev->u.configuration.machine));
    printf("configuration: machine '%s'", ev->u.configuration.machine);
    for (size_t i = 0; i < ev->u.configuration.num_capabilities; i++)
        printf(", %s", ev->u.configuration.capabilities[i]);
    if (ev->u.configuration.page_bits != 0)
        printf(", pages of %" PRIu32 " bits", ev->u.configuration.page_bits);
    if (ev->u.configuration.uuid != NULL)
        printf(", with a uuid");
    putchar('\n');
}

/* Events between sections. */
static void take_outside(struct map *map, const struct vfm_stream_event *ev)
{
    print_empty(map);
    switch (ev->type) {
    case VFM_STREAM_HEADER:
        print_place(ev->offset, 8);
        puts("header: version 3");
        break;
    case VFM_STREAM_CONFIGURATION:
        take_configuration(ev);
        break;
    case VFM_STREAM_COMMAND:
        take_command(ev);
        break;
    case VFM_STREAM_EOF:
        print_place(ev->offset, 1);
        puts("end of the sections");
        break;
    case VFM_STREAM_VMDESCRIPTION:
        print_place(ev->offset, 5 + ev->len);
        puts("vmdescription");
        break;
    default:
        break;
    }
}

static void take_inside(struct map_section *s,
                        const struct vfm_stream_event *ev)
{
    switch (ev->type) {
    case VFM_STREAM_SECTION_BEGIN:
        *s = (struct map_section){ .offset = ev->offset };
        break;
    case VFM_STREAM_RAM_BLOCK:
        s->blocks++;
        s->block_bytes += ev->u.ram.block_size;
        break;
    case VFM_STREAM_RAM_PAGE:
        s->pages++;
        break;
    case VFM_STREAM_RAM_ZERO:
        s->zero++;
        break;
    case VFM_STREAM_RAM_XBZRLE:
        s->xbzrle++;
        break;
    case VFM_STREAM_RAM_FLUSH:
        s->flushes++;
        break;
    case VFM_STREAM_VFIO_SETUP:
        s->setup = true;
        break;
    case VFM_STREAM_VFIO_DATA_BEGIN:
        s->records++;
        s->data_bytes += ev->u.vfio_data.size;
        break;
    case VFM_STREAM_VFIO_INIT_DATA_SENT:
        s->init_sent = true;
        break;
    case VFM_STREAM_VFIO_CONFIG:
        s->config = true;
        s->config_bytes = ev->len;
        break;
    case VFM_STREAM_VFIO_CONFIG_LOAD_READY:
        s->load_ready = true;
        break;
    case VFM_STREAM_BLOB_BEGIN:
        s->blob = true;
        s->blob_bytes = ev->u.blob.size;
        break;
    default:
        break;
    }
}

void map_take(struct map *map, const struct vfm_stream_event *ev)
{
    /* What is no stream has no first line, and nothing above it. */
    if (!map->is_headed)
        printf("%12s %10s  %s\n", "offset", "bytes", "what");
    map->is_headed = true;
    if (ev->section.type == 0)
        take_outside(map, ev);
    else if (ev->type == VFM_STREAM_SECTION_END)
        take_section_end(map, ev);
    else
        take_inside(&map->section, ev);
}

void map_free(struct map *map)
{
    if (map == NULL)
        return;
    print_empty(map);
    free(map);
}

/* ---------------------------------------------------------------------- */

static void print_identity(const char *before,
                           const struct vmdescription_identity *id)
{
    printf("  %s %04x:%04x, subsystem %04x:%04x, revision %02x, class "
           "%06" PRIx32 ", %" PRIu32 " bytes of config space, %" PRIu32
           " MSI-X vectors\n",
           before, id->vendor, id->device, id->subsystem_vendor, id->subsystem,
           id->revision, id->class_code, id->config_size, id->msix_count);
}

static void print_promise(const struct device_facts *dev,
                          const struct vmdescription_device *promise)
{
    if (promise == NULL)
        return;
    if (promise->xxh3_128[0] != '\0' && !device_facts_is_partial(dev))
        printf("  xxh3      %s, as the stream says\n", promise->xxh3_128);
    if (promise->identity.backend != NULL) {
        printf("  backend   %s\n", promise->identity.backend);
        print_identity("was      ", &promise->identity);
    }
}

static void print_device(const struct facts *facts,
                         const struct device_facts *dev)
{
    char hex[SHA256_HEX_SIZE];
    char text[QUANTITY_MAX];

    printf("\ndevice '%s'\n", dev->name);
    printf("  state     %" PRIu64 " bytes (%s) in %" PRIu64
           " record%s, %" PRIu64 " of them in pre-copy\n",
           dev->bytes, say_bytes(text, dev->bytes), dev->records,
           dev->records == 1 ? "" : "s", dev->precopy_bytes);
    if (dev->num_packets > 0)
        printf("  packets   %zu on multifd channels\n", dev->num_packets);
    if (dev->init_data_sent > 0)
        printf("  initial   data complete, said %" PRIu64 " time%s\n",
               dev->init_data_sent, dev->init_data_sent == 1 ? "" : "s");
    sha256_hex(&dev->data_sha256, hex);
    printf("  sha256    %s\n", hex);
    print_promise(dev, device_facts_promise(facts, dev));
    if (!dev->has_config) {
        puts("  config    not in these files: it went on multifd channels");
        return;
    }
    hex_of(dev->config_sha256, sizeof(dev->config_sha256), hex);
    printf("  config    %" PRIu64 " bytes, sha256 %s\n", dev->config_bytes,
           hex);
    if (dev->has_pci)
        print_identity("pci      ", &dev->pci);
}

void facts_print_summary(const struct facts *facts)
{
    const struct vmdescription *desc = facts->vmdescription;
    char text[QUANTITY_MAX];

    printf("\n%" PRIu64 " bytes: %" PRIu64 " START, %" PRIu64 " PART, %" PRIu64
           " END, %" PRIu64 " FULL\n",
           facts->file_bytes, facts->sections[VFM_SECTION_START],
           facts->sections[VFM_SECTION_PART], facts->sections[VFM_SECTION_END],
           facts->sections[VFM_SECTION_FULL]);
    if (desc != NULL && desc->has_vfmig)
        printf("written by vfmig %s; the device%s\n", desc->version,
               desc->running ? "s ran" : "s were stopped");
    for (size_t i = 0; i < facts->num_blocks; i++)
        printf("%s%s (%s)", i > 0 ? ", " : "RAM: ", facts->blocks[i].name,
               say_bytes(text, facts->blocks[i].bytes));
    if (facts->num_blocks > 0)
        putchar('\n');
    if (facts->num_channels > 0)
        printf("%zu multifd channels: %" PRIu64 " pages, %" PRIu64
               " pages of zeroes\n",
               facts->num_channels, facts->multifd_normal, facts->multifd_zero);
    for (size_t i = 0; i < facts->num_devices; i++)
        print_device(facts, &facts->devices[i]);
    facts_print_blobs(facts);
}
