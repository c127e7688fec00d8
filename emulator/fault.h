/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_FAULT_H
#define VFM_EMULATOR_FAULT_H

/*
 * Faults that the device produces on request.
 *
 * A fault is WHAT goes wrong (the option) WHERE (its first word) and how
 * (the rest):
 *
 *   --fail    WHERE[:ERRNO][,leave=STATE]        refuses
 *   --delay   WHERE:MILLISECONDS                 answers late; 0: never
 *   --short   WHERE[:BYTES]                      gives less than it could
 *   --corrupt WHERE[:PART]                       changes what is sent or taken
 *   --close   WHERE[,when=before|mid|after|unanswered]   hangs up
 *   --inject  WHERE[:dma-read|reply]             sends something before the
 *                                                reply; only at a command
 *
 *   WHERE     PRE_COPY>STOP_COPY   a step between states
 *             STOP_COPY            any step to a state
 *             MIG_DATA_READ        a command
 *             LOG_START            a feature of DEVICE_FEATURE, any use of it
 *             read@OFFSET          the MIG_DATA_READ that covers this byte of
 *                                  the session
 *             write@OFFSET         the same for MIG_DATA_WRITE
 *
 * All take ,count=N (how often, default 1, 0: always) and ,skip=N (how many
 * chances to let pass first).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/error.h>

/* Faults in one command line, at most. */
#define FAULTS_MAX 64

enum fault_kind {
    FAULT_FAIL,
    FAULT_DELAY,
    FAULT_SHORT,
    FAULT_CORRUPT,
    FAULT_CLOSE,
    FAULT_INJECT,
    NUM_FAULT_KINDS,
};

enum where_kind {
    WHERE_STEP,    /* from, to */
    WHERE_STATE,   /* to */
    WHERE_COMMAND, /* number */
    WHERE_FEATURE, /* number */
    WHERE_READ,    /* offset */
    WHERE_WRITE,   /* offset */
};

enum fault_part {
    PART_NONE,
    PART_DATA, /* a byte of saved or loaded state */
    PART_ID,
    PART_COMMAND,
    PART_TYPE,
    PART_SIZE_SMALL, /* less than a header */
    PART_SIZE_LARGE, /* more than any limit */
    PART_ARGSZ,
    PART_COUNT,      /* claims more bytes than asked for */
    PART_ERROR_ZERO, /* an error whose number is 0 */
    PART_EXTRA_FD,
    PART_NO_FD,
    PART_TRUNCATED, /* a byte less than the structure has */
    PART_LONGER,    /* eight bytes more */
    PART_BITS,      /* bits of the dirty bitmap that stand for nothing */
    PART_CAP_OFFSET,
    PART_CAP_LOOP,
    PART_NR_AREAS,
    PART_HIGHER_MINOR,
    PART_OTHER_MAJOR,
    PART_NO_JSON,
    PART_NO_NUL,
    PART_NOT_JSON,
    PART_UNKNOWN_KEYS,
    PART_DEEP,
    PART_HUGE,
    PART_DMA_READ,
    PART_REPLY,
    NUM_PARTS,
};

enum close_when { CLOSE_BEFORE, CLOSE_MID, CLOSE_AFTER, CLOSE_UNANSWERED };

struct where {
    enum where_kind kind;
    uint32_t from;
    uint32_t to;
    uint32_t number;
    uint64_t offset;
};

struct fault {
    enum fault_kind kind;
    struct where where;
    enum fault_part part;
    int error;       /* FAIL: positive errno */
    int leave;       /* FAIL: a state, or -1 */
    uint64_t amount; /* DELAY: ms; SHORT: bytes */
    bool has_amount;
    enum close_when when;
    uint64_t count; /* how often yet; 0: always */
    bool spent;
    uint64_t skip;
};

struct fault_list {
    struct fault all[FAULTS_MAX];
    size_t count;
    uint64_t fired;
};

/* Adds the fault of option `--@option @text`.  Returns 0 or -EINVAL. */
int fault_add(struct fault_list *list, const char *option, const char *text,
              struct vfm_error *err);

/* What else is to go wrong with the command that is being carried out. */
struct effects {
    const struct fault *delay;
    const struct fault *corrupt;
    const struct fault *close;
    const struct fault *inject;
};

/*
 * What happens next is at one of these places; is there a fault of this kind
 * for it?  Returns it, counted as done, or null.
 */
const struct fault *fault_at_step(struct fault_list *list, enum fault_kind kind,
                                  uint32_t from, uint32_t to);
const struct fault *fault_at_command(struct fault_list *list,
                                     enum fault_kind kind, uint32_t command,
                                     uint32_t feature);
const struct fault *fault_at_bytes(struct fault_list *list,
                                   enum fault_kind kind, bool is_write,
                                   uint64_t offset, uint64_t length);

/* Must the command stop here, unanswered, because of these effects? */
bool effects_stop(const struct effects *e);

#endif
