/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_INSPECT_H
#define VFM_TOOL_INSPECT_H

/*
 * What vfmig inspect finds out about a stream.
 *
 *   inspect.c           the command
 *   inspect-facts.c     events of the main stream become facts
 *   inspect-channels.c  multifd channels become facts
 *   inspect-extract.c   device state becomes files
 *   inspect-map.c       the facts and the way to them, for people
 *   inspect-json.c      the facts, for programs
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <nettle/sha2.h>

#include <vfmig/stream.h>

#include "stream/pci-config.h"
#include "stream/vmdescription.h"
#include "util/digest.h"

/* One line of the report is about each; nothing real comes near it. */
#define FACTS_COMMANDS_MAX 65536

/* A file that appears under its name only when it is whole. */
struct extract_file {
    FILE *file;
    char *path;
    char *temporary;
};

/* A piece of device state on a channel. */
struct device_packet {
    uint32_t index;
    uint32_t size;
    uint64_t offset; /* of its data, in the channel's file */
    unsigned int channel;
};

struct device_facts {
    char *name; /* of the section */
    uint32_t instance_id;

    uint64_t bytes;
    uint64_t records;
    uint64_t precopy_bytes;
    uint64_t init_data_sent;
    struct sha256_ctx data_sha256;
    struct digest *digest;
    struct extract_file state_file;
    struct extract_file config_file;

    bool has_config;
    uint64_t config_bytes;
    uint8_t config_sha256[SHA256_DIGEST_SIZE];
    bool has_pci; /* the record is one of vfio-pci: */
    struct vmdescription_identity pci;

    /* Of channels: the configuration's is among them. */
    struct device_packet *packets;
    size_t num_packets;
    size_t packets_size;
    bool has_last_packet;
    uint32_t last_packet;
};

struct ram_block_facts {
    char *name;
    uint64_t bytes;
};

struct blob_facts {
    char *name; /* of the section */
    uint32_t version;
    uint64_t bytes;
    struct digest *digest;
    char xxh3_128[DIGEST_HEX_SIZE]; /* when it has ended */
};

struct facts {
    uint64_t file_bytes;
    char *machine;
    uint32_t page_size; /* 0: the usual one */
    uint64_t sections[VFM_SECTION_FULL + 1];
    uint16_t *commands;
    size_t num_commands;
    size_t commands_size;
    struct ram_block_facts *blocks;
    size_t num_blocks;
    uint64_t ram_normal;
    uint64_t ram_zero;
    uint64_t ram_xbzrle;
    uint64_t ram_flush;
    uint64_t multifd_normal;
    uint64_t multifd_zero;
    size_t num_channels;
    struct device_facts *devices;
    size_t num_devices;
    struct blob_facts *blobs;
    size_t num_blobs;
    uint64_t vmdescription_bytes;
    struct vmdescription *vmdescription;

    const char *extract_to; /* a folder, or NULL */
};

void facts_free(struct facts *facts);

/* Learns from @ev.  Returns 0. */
int facts_take(struct facts *facts, const struct vfm_stream_event *ev,
               struct vfm_error *err);

/* The device behind a section, or NULL. */
struct device_facts *facts_device(const struct facts *facts, const char *name,
                                  uint32_t instance_id);

/* The next @len bytes of a device's state. */
int device_facts_data(struct device_facts *dev, const void *data, size_t len,
                      struct vfm_error *err);
/* A device's configuration record. */
int device_facts_config(struct device_facts *dev, const char *extract_to,
                        const void *data, size_t len, struct vfm_error *err);

/* Learns from an event of a blob.  -EBADMSG if it is damaged. */
int facts_take_blob(struct facts *facts, const struct vfm_stream_event *ev,
                    struct vfm_error *err);
void facts_print_blobs(const struct facts *facts);
struct json_tree *facts_blobs_json(const struct facts *facts);
void facts_free_blobs(struct facts *facts);

/* What the stream itself says about the device, or NULL. */
const struct vmdescription_device *device_facts_promise(
    const struct facts *facts, const struct device_facts *dev);

/* Does every device agree with what the stream says about it? */
int facts_check_promises(const struct facts *facts, struct vfm_error *err);

/* True if the device's configuration is neither in the main stream nor on
 * any channel that was read. */
static inline bool device_facts_is_partial(const struct device_facts *dev)
{
    return !dev->has_config;
}

/*
 * Reads the channels, after the main stream.  On failure *@culprit is the
 * file's name, or NULL if it is no single file's fault.
 */
int channels_read(struct facts *facts, char *const *names, int count,
                  const char **culprit, struct vfm_error *err);

/* Opens the file for NAME@suffix of a device in the folder. */
int extract_open(struct extract_file *file, const char *folder,
                 const char *section, uint32_t instance_id, const char *suffix,
                 struct vfm_error *err);
int extract_write(struct extract_file *file, const void *data, size_t len,
                  struct vfm_error *err);
/* Gives it its name. */
int extract_commit(struct extract_file *file, struct vfm_error *err);
/* Removes what was not committed. */
void extract_abort(struct extract_file *file);

/* Prints a line for what the events tell, while they come. */
struct map;
struct map *map_new(void);
void map_take(struct map *map, const struct vfm_stream_event *ev);
/* Prints what is left. */
void map_free(struct map *map);

void facts_print_summary(const struct facts *facts);
void facts_print_json(const struct facts *facts);

#define SHA256_HEX_SIZE (2 * SHA256_DIGEST_SIZE + 1)
void hex_of(const uint8_t *bytes, size_t len, char *hex);
/* The digest so far; more may follow. */
void sha256_hex(const struct sha256_ctx *ctx, char hex[SHA256_HEX_SIZE]);

#endif
