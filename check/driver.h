/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_DRIVER_H
#define VFM_CHECK_DRIVER_H

/*
 * A driver: what the suite has to know of a device to make it do something.
 *
 * The states and the bytes of any device can be checked by whoever speaks VFIO.
 * That its DMA stops, that its log is true, that registers and interrupts move
 * with it: for that somebody has to start DMA, write registers and raise an
 * interrupt, and only the author of the device knows how.
 *
 * Every member but the first two may be NULL: what needs it is skipped.  All
 * functions return 0 or a negative errno, are called in RUNNING if nothing else
 * is said, and wait for nothing.
 *
 * Adding one: a file driver-NAME.c with a struct driver, and a row in driver.c.
 */

#include <stdbool.h>
#include <stdint.h>

#include "check/raw.h"

struct driver {
    const char *name;
    /* Whether this is such a device; the ids are those of PCI. */
    bool (*match)(struct raw *raw, uint16_t vendor, uint16_t device);

    /* Makes DMA possible after a reset: the bus master bit, and the like.
     * Starts nothing and changes nothing that is saved. */
    int (*enable)(struct raw *raw);

    /* DMA.  Starts to write each byte of @range once. */
    int (*fill)(struct raw *raw, struct raw_range range);
    /* Starts to read @from and to write as many bytes to @to. */
    int (*copy)(struct raw *raw, uint64_t from, struct raw_range to);
    /* Starts to write the 4 KiB pages of @range, one after the other and again
     * from the first, for ever, at about @rate bytes per second. */
    int (*stream)(struct raw *raw, struct raw_range range, uint64_t rate);
    /* Which page of a stream this is, from 0; UINT64_MAX: none. */
    uint64_t (*page_number)(const void *page);
    /* Whether any of it is under way. */
    int (*is_busy)(struct raw *raw, bool *busy);
    /* Stops it. */
    int (*stop)(struct raw *raw);
    /* All DMA counts as such between devices: none in the P2P states. */
    bool is_quiet_in_p2p;

    /* What is saved.  Writes values that follow from @seed wherever the device
     * keeps some. */
    int (*mark)(struct raw *raw, uint64_t seed);
    /* Whether they are all there; -EILSEQ: no, and *@what names one.  May use
     * them up, as reading a FIFO does. */
    int (*find)(struct raw *raw, uint64_t seed, const char **what);
    /* Whether there are none, as after a reset; -EILSEQ as above. */
    int (*find_none)(struct raw *raw, const char **what);
    /* Something that grows while the device runs, and stands still while it is
     * stopped.  Called in STOP too. */
    int (*count)(struct raw *raw, uint64_t *ticks);
    /* Makes the device change its own memory at @rate bytes per second, which
     * gives PRE_COPY something to do; 0: no more. */
    int (*rewrite)(struct raw *raw, uint64_t rate);

    /* Interrupts: the one that is used, UAPI_IRQ_*. */
    uint32_t irq_index;
    uint32_t irq_vector;
    /* Lets the interrupt through, and forgets what is pending. */
    int (*arm)(struct raw *raw);
    /* Raises it; called in STOP too. */
    int (*raise)(struct raw *raw);
    /* Whether the device remembers that it was raised. */
    int (*is_pending)(struct raw *raw, bool *pending);
};

/* The first driver that knows the device, or NULL. */
const struct driver *driver_find(struct raw *raw);

extern const struct driver driver_mtty;
extern const struct driver driver_vfmig;

#endif
