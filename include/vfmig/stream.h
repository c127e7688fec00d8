/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_STREAM_H
#define VFM_STREAM_H

/*
 * QEMU's migration stream, taken apart.
 *
 * Two decoders, one for the main stream and one for a multifd channel.  They
 * are pure: bytes go in, events come out.  They hold no descriptor, wait for
 * nothing and allocate nothing whose size the stream chooses without a limit
 * from the options.  The input may be split anywhere; the events are the
 * same, but for the borders between chunks of bulk data.
 *
 * The caller pulls, so nothing is read ahead of what it can digest:
 *
 *     while ((ret = vfm_decoder_next(dec, buf, len, &used, &ev, &err)) == 1) {
 *         buf += used, len -= used;
 *         handle(&ev);
 *     }
 *     // ret == 0: all of buf was used, come back with more
 *
 * Errors     Negative errno values; the sentence begins with "offset N: ",
 *            counted from the first byte of the stream.  The first error
 *            stays: every later call returns it.
 *              -EBADMSG     the bytes break the format
 *              -EPROTO      well formed, but in the wrong order or twice
 *              -EOPNOTSUPP  valid QEMU, but something that is not read here
 *              -E2BIG       a limit of the options would be passed
 *              -ENODATA     the stream ends where it may not (finish)
 *              -ENOMEM      out of memory
 * Ownership  What an event points to is valid until the next call with the
 *            same decoder: bulk data points into the caller's buffer or into
 *            the decoder.
 * Threads    One thread at a time per decoder.  Decoders share nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Section types, as they stand in the stream. */
enum vfm_section_type {
    VFM_SECTION_START = 1, /* set-up of something that is sent in parts */
    VFM_SECTION_PART = 2,  /* one part, while it still changes */
    VFM_SECTION_END = 3,   /* the rest, once it has stopped */
    VFM_SECTION_FULL = 4,  /* something that is sent in one piece */
};

/* Returns "START", "PART", "END" or "FULL"; "?" for anything else. */
const char *vfm_section_type_name(enum vfm_section_type type);

/* Commands that the decoder passes on; all others are refused by name. */
enum vfm_stream_command {
    VFM_COMMAND_OPEN_RETURN_PATH = 1,
    VFM_COMMAND_PING = 2,
    VFM_COMMAND_POSTCOPY_ADVISE = 3,
    VFM_COMMAND_SWITCHOVER_START = 11,
};

/* What a section holds, known by its name. */
enum vfm_section_kind {
    VFM_SECTION_KIND_OTHER, /* opaque; only FULL sections can be passed over */
    VFM_SECTION_KIND_RAM,   /* "ram" */
    VFM_SECTION_KIND_VFIO,  /* "<device>/vfio" or "vfio" */
    VFM_SECTION_KIND_BLOB,  /* "<name>/vfmig-blob": see <vfmig/blob.h> */
};

struct vfm_stream_section {
    enum vfm_section_type type;
    enum vfm_section_kind kind;
    uint32_t id;
    uint32_t instance_id;
    uint32_t version;
    const char *name; /* printable ASCII, at most 255 characters */
};

enum vfm_stream_event_type {
    VFM_STREAM_HEADER = 1,

    /* u.configuration.  At most once, directly after the header. */
    VFM_STREAM_CONFIGURATION,

    /* u.command; payload in data, len.  Never inside a section. */
    VFM_STREAM_COMMAND,

    /* Every event between these two belongs to `section`.
     * SECTION_END: u.section_end; the footer was right, if there is one. */
    VFM_STREAM_SECTION_BEGIN,
    VFM_STREAM_SECTION_END,

    /* VFIO.  SETUP is in START.  DATA_BEGIN (u.vfio_data) and then
     * u.vfio_data.size bytes in any number of DATA events; none if 0. */
    VFM_STREAM_VFIO_SETUP,
    VFM_STREAM_VFIO_DATA_BEGIN,
    VFM_STREAM_VFIO_DATA,
    VFM_STREAM_VFIO_INIT_DATA_SENT,
    /* The configuration record in data, len: whole, without its tags. */
    VFM_STREAM_VFIO_CONFIG,
    VFM_STREAM_VFIO_CONFIG_LOAD_READY,

    /* RAM: u.ram.  BLOCK announces a block; the others are within one. */
    VFM_STREAM_RAM_BLOCK,
    VFM_STREAM_RAM_PAGE,   /* data, len: the page, whole */
    VFM_STREAM_RAM_ZERO,   /* a page of zeroes */
    VFM_STREAM_RAM_XBZRLE, /* data, len: the delta, encoded */
    VFM_STREAM_RAM_FLUSH,  /* wait for a SYNC on every multifd channel */

    /* A blob.  BEGIN (u.blob), then u.blob.size bytes in any number of DATA
     * events, none if 0; END has the XXH3-128 digest of these in data, len: 16
     * bytes.  Whether it is right is the caller's to compare. */
    VFM_STREAM_BLOB_BEGIN,
    VFM_STREAM_BLOB_DATA,
    VFM_STREAM_BLOB_END,

    /* A piece of the body of a section of kind OTHER in data, len. */
    VFM_STREAM_OPAQUE,

    /* No section follows. */
    VFM_STREAM_EOF,

    /* The JSON text in data, len (not terminated). The stream is complete. */
    VFM_STREAM_VMDESCRIPTION,

    /* u.warning: accepted, as QEMU does, but it should not be so. */
    VFM_STREAM_WARNING,
};

/* Returns a static name such as "VFIO_DATA", or "?". */
const char *vfm_stream_event_name(enum vfm_stream_event_type type);

struct vfm_stream_event {
    enum vfm_stream_event_type type;
    uint64_t offset; /* of the first byte of what the event is about */
    struct vfm_stream_section section; /* type 0 outside of sections */
    const void *data;
    size_t len;
    union {
        struct {
            const char *machine;
            const char *const *capabilities;
            size_t num_capabilities;
            uint32_t page_bits;  /* 0: not said */
            const uint8_t *uuid; /* 16 bytes, or NULL */
        } configuration;
        struct {
            uint16_t number; /* enum vfm_stream_command */
        } command;
        struct {
            uint64_t bytes; /* of the body: no header, no footer */
            bool footer;
        } section_end;
        struct {
            uint64_t size;      /* of the record */
            uint64_t remaining; /* of it, after this event */
        } vfio_data;
        struct {
            const char *block;
            uint64_t block_size;
            uint64_t address; /* in the block; BLOCK: its guest physical
                               * address, if the stream tells it */
        } ram;
        struct {
            uint64_t size;      /* of the whole */
            uint64_t remaining; /* of it, after this event */
        } blob;
        const char *warning;
        uint64_t reserved[16]; /* room for kinds to come */
    } u;
};

/* 0 in a member means its default. */
struct vfm_decoder_options {
    size_t size; /* sizeof(struct vfm_decoder_options) */

    /* The largest VFIO data record.  Nothing is allocated by it.  1 GiB. */
    uint64_t max_vfio_data;
    /* The longest vmdescription.  16 MiB. */
    size_t max_vmdescription;
    /* A section of kind OTHER does not say how long it is; only the
     * vmdescription does.  From the first such section on the decoder keeps
     * all bytes until it has found it, this many at most.  16 MiB. */
    size_t max_held;
    /* Size of a guest page unless the stream tells it.  4096. */
    uint32_t page_size;

    /* Device state may travel on multifd channels: a VFIO FULL section may
     * be without a configuration record. */
    bool allow_multifd;
    /* Missing parts that QEMU only sends to old machine types. */
    bool require_configuration;
    bool require_vmdescription;

    /* The longest blob.  Nothing is allocated by it.  64 MiB. */
    uint64_t max_blob;
};

struct vfm_decoder;

/*
 * Makes a decoder for a main stream; @options may be NULL.
 *
 * Returns 0 and the decoder in *@decp.
 *   -E2BIG    @options has members that this library does not know
 *   -EINVAL   @options->page_size is no power of two from 1 KiB to 1 MiB
 */
int vfm_decoder_new(const struct vfm_decoder_options *options,
                    struct vfm_decoder **decp, struct vfm_error *err);

/* NULL is allowed. */
void vfm_decoder_free(struct vfm_decoder *dec);

/*
 * Takes bytes from @buf until there is an event.
 *
 * *@used is how many bytes were taken, which may be 0 with an event: call
 * again until 0 is returned.  @len may be 0.  Once vfm_decoder_done(), no
 * byte is taken any more: what follows is not the stream's.
 *
 * Returns 1 and *@event, 0 if all of @buf was taken and more is needed or
 * the stream is complete, or a negative errno value.
 */
int vfm_decoder_next(struct vfm_decoder *dec, const void *buf, size_t len,
                     size_t *used, struct vfm_stream_event *event,
                     struct vfm_error *err);

/* True after the vmdescription. */
bool vfm_decoder_done(const struct vfm_decoder *dec);

/* How many bytes of the stream were taken so far. */
uint64_t vfm_decoder_offset(const struct vfm_decoder *dec);

/*
 * Tells whether the stream may end here: after EOF or the vmdescription.
 * It may be asked at any time; more may follow.
 *
 * Returns 0.
 *   -ENODATA  it may not; the sentence says inside what it ends
 */
int vfm_decoder_finish(struct vfm_decoder *dec, struct vfm_error *err);

/* ---------------------------------------------------------------------- */

/*
 * A multifd channel: an INIT packet, then packets with guest pages, barriers
 * and pieces of device state.  Used like the decoder above.
 */
enum vfm_multifd_event_type {
    VFM_MULTIFD_INIT = 1, /* u.init */
    /* u.ram; then u.ram.size bytes of RAM_DATA: the normal pages in order */
    VFM_MULTIFD_RAM,
    VFM_MULTIFD_RAM_DATA,
    VFM_MULTIFD_SYNC, /* u.ram.packet_number */
    /* u.device; then u.device.size bytes of DEVICE_DATA */
    VFM_MULTIFD_DEVICE,
    VFM_MULTIFD_DEVICE_DATA,
    /* u.device; the configuration record in data, len: whole, no tags.
     * No packet with a higher index may follow for this device. */
    VFM_MULTIFD_DEVICE_CONFIG,
};

/* Returns a static name such as "DEVICE_DATA", or "?". */
const char *vfm_multifd_event_name(enum vfm_multifd_event_type type);

struct vfm_multifd_event {
    enum vfm_multifd_event_type type;
    uint64_t offset;
    const void *data;
    size_t len;
    union {
        struct {
            const uint8_t *uuid; /* 16 bytes, zero if the VM has none */
            uint8_t channel;
        } init;
        struct {
            const char *block;
            uint64_t packet_number;
            const uint64_t *addresses; /* in the block: normal, then zero */
            uint32_t normal;
            uint32_t zero;
            uint32_t size;
        } ram;
        struct {
            const char *name; /* of the section */
            uint32_t instance_id;
            uint32_t index;
            uint32_t flags;
            uint32_t size;      /* of the device data */
            uint32_t remaining; /* of it, after this event */
        } device;
        uint64_t reserved[16]; /* room for kinds to come */
    } u;
};

struct vfm_multifd_options {
    size_t size; /* sizeof(struct vfm_multifd_options) */

    uint32_t page_size;       /* of the guest.  4096 */
    uint32_t max_device_data; /* in one packet.  64 MiB */
    unsigned int channels;    /* the channel's number is below.  256 */
};

struct vfm_multifd_decoder;

/* As their counterparts above.  A channel may end after any packet. */
int vfm_multifd_decoder_new(const struct vfm_multifd_options *options,
                            struct vfm_multifd_decoder **decp,
                            struct vfm_error *err);
void vfm_multifd_decoder_free(struct vfm_multifd_decoder *dec);
int vfm_multifd_decoder_next(struct vfm_multifd_decoder *dec, const void *buf,
                             size_t len, size_t *used,
                             struct vfm_multifd_event *event,
                             struct vfm_error *err);
uint64_t vfm_multifd_decoder_offset(const struct vfm_multifd_decoder *dec);
int vfm_multifd_decoder_finish(struct vfm_multifd_decoder *dec,
                               struct vfm_error *err);

/*
 * Which packets of one device came, over all channels.
 *
 * Packets come in any order, but each index once, none missing in the end,
 * and the configuration's index the highest.  A peer is not free to leave
 * gaps of any width: an index may be at most @span ahead of the lowest one
 * that is missing.
 */
struct vfm_multifd_window;

/* @span: 1 to 1048576.  Returns 0, -EINVAL or -ENOMEM. */
int vfm_multifd_window_new(uint32_t span, struct vfm_multifd_window **winp,
                           struct vfm_error *err);
void vfm_multifd_window_free(struct vfm_multifd_window *win);

/*
 * Notes that packet @index came; @config: with the configuration record.
 *
 * Returns 0.
 *   -EEXIST   it came before
 *   -ERANGE   too far ahead, or beyond the configuration's
 *   -EPROTO   a second configuration, or not the highest index
 */
int vfm_multifd_window_add(struct vfm_multifd_window *win, uint32_t index,
                           bool config, struct vfm_error *err);

/* The lowest index that is missing: all below have come. */
uint32_t vfm_multifd_window_next(const struct vfm_multifd_window *win);

/* True if the configuration and everything before it came. */
bool vfm_multifd_window_complete(const struct vfm_multifd_window *win);

#ifdef __cplusplus
}
#endif

#endif /* VFM_STREAM_H */
