/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_DECODER_H
#define VFM_SRC_STREAM_DECODER_H

/*
 * The main stream's decoder: a step for each thing that can stand in the
 * stream.  A step waits until its thing is there, checks it, fills in an
 * event and names the step that follows.
 *
 *   item.c     between sections: header, configuration, commands, the end
 *   section.c  where a section begins and ends, which sections there are
 *   vfio.c     the body of a device's section
 *   ram.c      the body of RAM's section
 *   blob.c     the body of a blob's
 *   held.c     bodies whose length is only known at the end of the stream
 */

#include <stdbool.h>

#include <vfmig/stream.h>

#include "stream/format.h"
#include "stream/input.h"
#include "stream/step.h"
#include "stream/vmdescription.h"

/* QEMU's largest machines have a few hundred of each. */
#define SECTIONS_MAX     4096
#define RAM_BLOCKS_MAX   1024
#define CAPABILITIES_MAX 16

struct vfm_decoder;

struct step {
    const char *inside; /* what ends early if the stream ends here */
    int (*run)(struct vfm_decoder *dec, struct vfm_stream_event *ev);
};

struct section {
    uint32_t id;
    uint32_t instance_id;
    uint32_t version;
    enum vfm_section_kind kind;
    bool started; /* each of these: such a section came */
    bool ended;
    bool full;
    char name[STREAM_NAME_MAX + 1];
};

struct ram_block {
    uint64_t bytes;
    char name[STREAM_NAME_MAX + 1];
};

enum footers {
    FOOTERS_UNKNOWN,
    FOOTERS_PRESENT,
    FOOTERS_ABSENT,
};

struct held {
    uint8_t *buf;
    size_t len;
    size_t size;
    size_t scanned; /* nothing before this begins a vmdescription */
    size_t json;    /* where a candidate's text begins, or 0 */
    size_t json_len;
    size_t json_seen; /* of the candidate's text */
    bool replaying;   /* the input comes from here, */
    size_t replayed;  /* up to here */
};

struct vfm_decoder {
    struct vfm_decoder_options options;
    struct vfm_error error; /* the first one; code 0: none */
    struct input in;
    uint64_t taken; /* from the caller */
    const struct step *step;
    bool switchover_started;

    char machine[STREAM_NAME_MAX + 1];
    char capabilities[CAPABILITIES_MAX][STREAM_NAME_MAX + 1];
    const char *capability_list[CAPABILITIES_MAX];
    size_t num_capabilities;
    bool ignore_shared; /* blocks are announced with their address */
    uint32_t page_bits;
    uint8_t uuid[16];
    bool has_uuid;
    uint64_t configuration_offset;

    enum footers footers;
    struct section *sections;
    size_t num_sections;
    size_t sections_size;
    size_t num_full;
    size_t current;             /* index of the section we are in */
    enum vfm_section_type type; /* of it; 0: in none */
    uint64_t body;              /* where its body begins */

    bool setup_seen;         /* in this body */
    uint64_t data_size;      /* of the VFIO record we are in */
    uint64_t data_remaining; /* of it */
    size_t config_scanned;   /* of the configuration record */

    uint32_t page_size;
    struct ram_block *blocks;
    size_t num_blocks;
    size_t blocks_size;
    bool blocks_announced;
    uint64_t announce_remaining;
    size_t block; /* the one pages are for; num_blocks: none yet */
    uint64_t page_address;
    uint64_t page_offset; /* where the record began */

    uint64_t blob_size; /* of the blob we are in */
    uint64_t blob_remaining;

    uint64_t opaque_remaining;
    struct held held;
    struct vmdescription *sizes; /* once the held bytes are understood */
};

/* The steps that others go on to. */
extern const struct step step_header;
extern const struct step step_item;
extern const struct step step_done;
extern const struct step step_section_begin;
extern const struct step step_section_end;
/* As that, but the footer was read with the body and was right. */
extern const struct step step_section_end_read;
extern const struct step step_vfio_tag;
extern const struct step step_ram_word;
extern const struct step step_blob;
extern const struct step step_opaque;

/* Fails with "offset N: " and the rest; @offset is where the culprit is. */
__attribute__((format(printf, 4, 5))) int decoder_fail(struct vfm_decoder *dec,
                                                       int code,
                                                       uint64_t offset,
                                                       const char *fmt, ...);

/* As above, with "section 'NAME' (TYPE): " in front of the rest. */
__attribute__((format(printf, 4, 5))) int decoder_fail_section(
    struct vfm_decoder *dec, int code, uint64_t offset, const char *fmt, ...);

/* Begins an event about what stands at @offset. */
void decoder_event(const struct vfm_decoder *dec, struct vfm_stream_event *ev,
                   enum vfm_stream_event_type type, uint64_t offset);

static inline int decoder_go(struct vfm_decoder *dec, const struct step *step,
                             int ret)
{
    dec->step = step;
    return ret;
}

/* True if a name has only printable ASCII; it is copied, terminated. */
bool decoder_copy_name(char to[STREAM_NAME_MAX + 1], const uint8_t *from,
                       size_t len);

/* The section we are in. */
static inline struct section *decoder_section(struct vfm_decoder *dec)
{
    return &dec->sections[dec->current];
}

/* section.c: may the stream end after these sections? */
int section_check_complete(struct vfm_decoder *dec);

/* item.c: true if @type begins something that may follow a section. */
bool item_is_known(uint8_t type);

#endif
