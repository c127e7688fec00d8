/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_MISBEHAVE_H
#define VFM_EMULATOR_MISBEHAVE_H

/*
 * Where a connection departs from the protocol because it was told to: by
 * faults, or by a personality.
 */

#include <stdbool.h>
#include <stddef.h>

#include "emulator/connection.h"

/* Before a command.  Returns 0, or the negative errno it shall fail with. */
int misbehave_before(struct connection *c, const struct request *rq);

/* Must there be no reply, because the connection ends? */
bool misbehave_is_silent(const struct connection *c);

/* Changes a reply that is complete. */
void misbehave_in_reply(struct connection *c, struct vfu_header *h,
                        struct reply *rp);

/* When the reply, of @size bytes, is queued. */
void misbehave_after(struct connection *c, size_t size);

/* Carries out @part on a reply (corrupt.c). */
void corrupt_reply(enum fault_part part, struct device *d, struct vfu_header *h,
                   struct reply *rp);

/*
 * The habits of other servers (personality.c): those of libvfio-user, where
 * nothing else is said.
 */

/* Numbers of a proposal; 0: not said. */
struct personality_limits {
    uint64_t max_msg_fds;
    uint64_t max_data_xfer_size;
    uint64_t max_dma_maps;
    uint64_t pgsizes;
};

/* The newest minor version that is spoken: 0.1 by the Rust crate, 0.0 by
 * QEMU. */
uint16_t personality_minor(const struct connection *c);

/* Whether QEMU would take such numbers. */
bool personality_accepts(const struct connection *c,
                         const struct personality_limits *limits);

/* Is the command refused in this state?  0 or -EINVAL. */
int personality_check(const struct connection *c, const struct request *rq);

/* Fills in the payload that an error reply has; returns its size. */
size_t personality_error_payload(const struct connection *c,
                                 const struct request *rq, struct reply *rp);

/* Takes a header with an impossible size for a command without a body. */
bool personality_survives_bad_size(const struct connection *c);

/* Whether messages of any size arrive whole: see VFU_CAP_WHOLE_MESSAGES. */
bool personality_takes_whole_messages(const struct connection *c);

/* Does the state go through memory of the client, if that has some? */
bool personality_takes_area(const struct connection *c);

/* Bytes of this message that a single receive gets; less than its size: the
 * rest is taken for the next message. */
size_t personality_received_size(const struct connection *c,
                                 const struct vfu_header *h);

/*
 * A report of dirty pages: only of one mapping, from its start, at the page
 * size that logging was started with.
 *
 * Returns 0: as it should be; 1: success without a bitmap; or a negative
 * errno.  A smaller page size is never answered.
 */
int personality_check_report(struct connection *c,
                             const struct vfu_feature_log_report *r);

/* Zeros after the data of a reply to @rq that carries @size bytes. */
size_t personality_padding(const struct connection *c, const struct request *rq,
                           size_t asked, size_t size);

#endif
