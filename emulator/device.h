/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_DEVICE_H
#define VFM_EMULATOR_DEVICE_H

/*
 * The emulated device, apart from any connection: its migration state, what
 * it holds, and what it has seen.
 *
 * It outlives its clients: device_disconnect() drops what a client lent
 * (mappings, eventfds), all else stays.
 *
 * Threads: none; everything happens in the calls below.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <nettle/sha2.h>

#include <vfmig/error.h>

#include "emulator/config.h"
#include "emulator/dma.h"
#include "emulator/engine.h"
#include "emulator/irq.h"
#include "emulator/loader.h"
#include "emulator/memory.h"
#include "emulator/mutant.h"
#include "emulator/options.h"
#include "emulator/saver.h"

/* Steps that the report lists, at most; the oldest are forgotten. */
#define HISTORY_MAX 256

struct history {
    struct {
        uint8_t from;
        uint8_t to;
    } steps[HISTORY_MAX];
    uint64_t count;
};

/* What the report tells. */
struct statistics {
    uint64_t commands;
    uint64_t clients;
    uint64_t bytes_saved;  /* of the last saving session */
    uint64_t bytes_loaded; /* of the last loading session */
    uint64_t loads_accepted;
    uint64_t loads_refused;
    uint64_t resets;
    uint64_t dma_read_bytes;
    uint64_t dma_written_bytes;
    uint64_t dma_messages;
    uint64_t leaked; /* by a mutant */
    struct vfm_error last_refusal;
    char saved_sha256[65];  /* empty: not computed */
    char loaded_sha256[65]; /* empty: not computed */
};

struct device {
    const struct options *options;
    struct fault_list faults; /* those of the options, and what is left */
    struct effects effects;   /* of the command being carried out */
    uint32_t state;

    struct stream_registers registers;
    int64_t running_since; /* 0: it does not run */
    uint64_t now_ns;       /* running time at the last device_advance() */
    struct memory memory;
    struct config config;
    int bar2_fd;
    uint8_t *bar2;
    uint8_t *msix;

    struct irqs irqs;
    struct dma dma;
    struct engine engine;
    struct saver saver;
    struct loader loader;
    struct sha256_ctx digest; /* of the session */
    bool precopy_flags;       /* the client understands them */

    struct history history;
    uint64_t spoiled; /* what a mutant has to remember; 0 after reset */
    struct statistics stats;
};

/* @options must outlive the device. */
int device_create(const struct options *options, struct device **out,
                  struct vfm_error *err);
void device_free(struct device *d);

bool device_has(const struct device *d, unsigned feature);

/* Is the device to have this bug? */
static inline bool mutant_is(const struct device *d, enum mutant mutant)
{
    return d->options->mutant == mutant;
}

/* How long the device has run since reset, here and before, in ns. */
uint64_t device_run_ns(const struct device *d);

/* The counter's value as of the last device_advance(). */
uint64_t device_counter(const struct device *d);

/* Brings registers and memory up to date. */
void device_advance(struct device *d);

/*
 * Goes to @want, step by step.
 *
 * Returns 0, or the error of the step that failed; d->state tells where that
 * left the device.
 */
int device_set_state(struct device *d, uint32_t want);

/* Power-on state, RUNNING. */
void device_reset(struct device *d);

/* Loses everything but the state that it is in, whose session begins anew. */
void device_reset_in_place(struct device *d);

/* Drops what the client lent. */
void device_disconnect(struct device *d);

/* A mutant gives up to so many bytes more than it was asked for. */
#define DEVICE_READ_SLACK 8u

/* The session's bytes.  -EINVAL in states that have none.  @buf has room for
 * @size bytes and, if the device is a mutant, DEVICE_READ_SLACK. */
ssize_t device_read_state(struct device *d, void *buf, size_t size);
int device_write_state(struct device *d, const void *buf, size_t size);

/* MIG_DATA_SIZE and PRECOPY_INFO. */
uint64_t device_data_size(const struct device *d);
int device_precopy_info(struct device *d, struct vfu_precopy_info *info);

/* Computes the digest of the session so far, if one is open. */
void device_update_digests(struct device *d);

/* A cause of interrupts: remembers it, and fires if it is enabled. */
void device_raise(struct device *d, uint32_t cause);

/* Writes the --report file, if one is wanted.  Returns 0 or a negative
 * errno. */
int device_report(struct device *d, struct vfm_error *err);

#endif
