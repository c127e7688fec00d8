/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_VMDESCRIPTION_H
#define VFM_SRC_STREAM_VMDESCRIPTION_H

/*
 * The JSON text at the end of a stream.
 *
 * QEMU writes it for tools and passes over it when loading.  It tells how
 * long each FULL section is, and it is where we put what QEMU's format has
 * no place for: an object "vfmig" with a digest and the identity of every
 * device.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/error.h>

#include "util/digest.h"

/* Nothing real comes near these.  The last two bound the memory that reading
 * takes: the description of a small machine has 900 objects and arrays. */
#define VMDESCRIPTION_DEPTH_MAX   64
#define VMDESCRIPTION_DEVICES_MAX 65536
#define VMDESCRIPTION_VALUES_MAX  (1 << 20)

/* A FULL section, in the order of the stream. */
struct vmdescription_section {
    const char *name;
    uint32_t instance_id;
    uint64_t bytes; /* of its body */
};

/* What a device is.  Numbers as config space has them; all 0 and backend
 * NULL if nothing is known. */
struct vmdescription_identity {
    const char *backend; /* "vfio-user", "vfio" */
    uint16_t vendor;
    uint16_t device;
    uint16_t subsystem_vendor;
    uint16_t subsystem;
    uint8_t revision;
    uint32_t class_code; /* 24 bits */
    uint32_t config_size;
    uint32_t msix_count;
};

struct vmdescription_device {
    const char *section;            /* the name of its section */
    uint64_t bytes;                 /* of its state */
    char xxh3_128[DIGEST_HEX_SIZE]; /* of its state, "" if unknown */
    struct vmdescription_identity identity;
};

struct vmdescription {
    const char *machine; /* NULL: unknown, and after reading always */
    uint64_t page_size;
    struct vmdescription_section *sections;
    size_t num_sections;

    /* The rest is our own object. */
    bool has_vfmig;
    const char *version; /* of the library that wrote it */
    bool running;        /* the devices ran before they were stopped */
    struct vmdescription_device *devices;
    size_t num_devices;
};

/*
 * Writes @desc as QEMU would: same keys, same order, same spaces.
 *
 * Nothing in @desc is kept.
 * Returns 0 and the text in *@json (to be freed, terminated), its length in
 * *@len.  -EINVAL: a name that is no printable ASCII; -ENOMEM.
 */
int vmdescription_build(const struct vmdescription *desc, char **json,
                        size_t *len, struct vfm_error *err);

/*
 * Reads @len bytes of JSON; QEMU's or ours.
 *
 * Returns 0 and the description in *@descp.
 *   -EBADMSG  no JSON, or without the members that the above needs
 *   -E2BIG    nested too deep, or too many devices or values
 */
int vmdescription_parse(const char *json, size_t len,
                        struct vmdescription **descp, struct vfm_error *err);

/* NULL is allowed. */
void vmdescription_free(struct vmdescription *desc);

#endif
