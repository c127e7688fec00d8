/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_MIGRATION_GUEST_H
#define VFM_TESTS_MIGRATION_GUEST_H

/*
 * A VM's memory and what writes to it, beside a pair's devices: two blocks,
 * mapped at three places, a writer that is at work as long as the VM runs, and
 * a tracker that knows what it wrote and fails if it is told to.
 *
 *     pair_init()
 *     guest_init()    then arrange what is to happen
 *     pair_run()
 *     guest_check()   the target's memory is the source's as it stopped
 *     guest_close()
 *     pair_close()
 */

#include "pair.h"

#define GUEST_PAGE      4096
#define GUEST_RAM_PAGES 600 /* "pc.ram" */
#define GUEST_ROM_PAGES 8   /* "pc.rom" */
#define GUEST_PAGES     (GUEST_RAM_PAGES + GUEST_ROM_PAGES)
#define GUEST_BYTES     (GUEST_PAGES * GUEST_PAGE)

/* The lower part of the RAM is at 0, the rest behind a hole, as on a PC. */
#define GUEST_LOW_PAGES 400
#define GUEST_HIGH_AT   UINT64_C(0x100000000)
#define GUEST_ROM_AT    UINT64_C(0xfffc0000)

struct guest {
    uint8_t *memory[2]; /* the source's, the target's */
    struct vfm_ram *ram[2];
    struct vfm_dirty_tracker *tracker;
    uint64_t written[GUEST_PAGES / 64 + 1];
    uint32_t random;

    /* To be arranged. */
    bool untracked;              /* no tracker is given */
    bool unmapped_rom;           /* the ROM is at no address */
    unsigned int pages_per_step; /* written at random places */
    uint64_t bytes_per_sec;      /* or so much in time */
    unsigned int late_pages;     /* written when devices have stopped */
    unsigned int delay;          /* -EAGAIN before each answer */
    int fail_start;              /* errors of the tracker */
    int fail_stop;
    int fail_report;
    unsigned int fail_report_from; /* that report and those behind it */
    unsigned int fail_reports;     /* so many */
    bool forgets;                  /* a report that fails forgets */
    uint64_t target_rom_pages;     /* as if the target had another VM */
    const char *target_rom_name;

    /* What happened. */
    bool started;
    unsigned int starts;
    unsigned int reports;
    unsigned int stopped_reports; /* of those, when no device ran */
    unsigned int stops;
    unsigned int delayed;
    int64_t wrote_at;
};

extern struct guest guest; /* the pair's */

void guest_init(struct pair *p);
void guest_check(const struct pair *p);
void guest_close(void);

/* Writes page @page of the source, as the processors do. */
void guest_write(unsigned int page);

#endif
