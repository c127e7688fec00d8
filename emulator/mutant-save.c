/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mutants: what is saved, how it is read, and what is told of how much it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "emulator/migration.h"
#include "emulator/mutant-hooks.h"
#include "emulator/state.h"
#include "protocol/vfio-uapi.h"

#define SMALL_READ     512u
#define LARGE_READ     (64u << 10)
#define REPEATED       64u
#define FILLER         64u
/* Where a read gives nothing although there is more. */
#define ZERO_AFTER     (16u << 10)
/* Descriptors that are lost, at most: clients must go on being served. */
#define LOST_MAX       400
#define DIRTY_AT_LEAST (UINT64_C(64) << 20)

static void lose_descriptor(struct device *d)
{
    if (d->stats.leaked < LOST_MAX &&
        fcntl(d->bar2_fd, F_DUPFD_CLOEXEC, 0) >= 0)
        d->stats.leaked++;
}

bool mutant_begins_saving(struct device *d)
{
    bool torn = d->saver.in_frame;

    switch (d->options->mutant) {
    case MUTANT_SECOND_SAVE_CONTINUES:
        if (d->spoiled++ == 0)
            return false;
        d->saver.active = true;
        return true;
    case MUTANT_ABORTED_SAVE_LEFT_OVER:
        migration_open_saver(d);
        d->saver.in_frame = torn;
        return true;
    case MUTANT_LEAK_DESCRIPTORS:
        lose_descriptor(d);
        return false;
    case MUTANT_ZERO_IN_THE_MIDDLE:
    case MUTANT_END_NOT_FOR_GOOD:
        d->spoiled = 0;
        return false;
    default:
        return false;
    }
}

bool mutant_keeps_session(struct device *d, uint32_t from)
{
    if (mutant_is(d, MUTANT_ABORTED_SAVE_LEFT_OVER)) {
        d->saver.active = false;
        return true;
    }
    return mutant_is(d, MUTANT_SESSION_SURVIVES_RUNNING) ||
           (mutant_is(d, MUTANT_SESSION_SURVIVES_STOP) &&
            from == UAPI_STATE_STOP_COPY);
}

bool mutant_allows_read(const struct device *d)
{
    switch (d->options->mutant) {
    case MUTANT_READ_IN_RESUMING:
        return d->state == UAPI_STATE_RESUMING;
    case MUTANT_SESSION_SURVIVES_STOP:
        return d->saver.active && d->state == UAPI_STATE_STOP;
    case MUTANT_SESSION_SURVIVES_RUNNING:
    case MUTANT_RESET_KEEPS_SESSION:
        return d->saver.active && d->state == UAPI_STATE_RUNNING;
    default:
        return false;
    }
}

bool mutant_allows_info(const struct device *d)
{
    return (mutant_is(d, MUTANT_PRECOPY_INFO_IN_STOP_COPY) &&
            d->state == UAPI_STATE_STOP_COPY) ||
           (mutant_is(d, MUTANT_PRECOPY_INFO_IN_RUNNING) &&
            d->state == UAPI_STATE_RUNNING);
}

/* Everything but the last byte. */
static size_t read_but_last(struct device *d, void *buf, size_t size)
{
    uint64_t left = saver_left(&d->saver);

    if (state_runs(d->state))
        return migration_read(d, buf, size);
    if (left <= 1)
        return 0;
    return migration_read(d, buf, size < left - 1 ? size : left - 1);
}

/* Loses @lost bytes, as far as they are there. */
static void lose(struct device *d, size_t lost)
{
    uint8_t bytes[SMALL_READ];

    migration_read(d, bytes, lost < sizeof(bytes) ? lost : sizeof(bytes));
}

static size_t read_and_repeat(struct device *d, uint8_t *buf, size_t size)
{
    size_t n;

    if (size <= LARGE_READ)
        return migration_read(d, buf, size);
    n = migration_read(d, buf, size - REPEATED);
    if (n < REPEATED)
        return n;
    memcpy(buf + n, buf + n - REPEATED, REPEATED);
    return n + REPEATED;
}

static size_t read_with_hole(struct device *d, void *buf, size_t size)
{
    if (d->spoiled != 0 || state_runs(d->state))
        return migration_read(d, buf, size);
    if (d->saver.bytes >= ZERO_AFTER) {
        d->spoiled = 1;
        return 0;
    }
    if (size > ZERO_AFTER - d->saver.bytes)
        size = ZERO_AFTER - d->saver.bytes;
    return migration_read(d, buf, size);
}

/* Mistakes that come with the size of a read. */
static size_t read_by_size(struct device *d, uint8_t *buf, size_t size)
{
    size_t n;

    switch (d->options->mutant) {
    case MUTANT_LARGE_READS_REPEAT:
        return read_and_repeat(d, buf, size);
    case MUTANT_READS_TOO_MUCH:
        return migration_read(d, buf, size + DEVICE_READ_SLACK);
    default:
        break;
    }
    n = migration_read(d, buf, size);
    if (mutant_is(d, MUTANT_ODD_READS_WRONG) && n > 1 && n == size &&
        n % 2 == 1)
        buf[n - 1] ^= 0x10;
    if (mutant_is(d, MUTANT_SMALL_READS_DROP) && size < SMALL_READ)
        lose(d, SMALL_READ - size);
    if (mutant_is(d, MUTANT_ONE_BYTE_READS_SKIP) && size == 1)
        lose(d, 1);
    return n;
}

/* A session that is at its end, or at PRE_COPY's for now, begins again. */
static ssize_t read_again(struct device *d, void *buf, size_t size)
{
    if (d->spoiled++ % 2 == 0)
        return 0;
    migration_open_saver(d);
    return (ssize_t)migration_read(d, buf, size);
}

/* There is no more, for now or for good. */
static ssize_t read_at_end(struct device *d, void *buf, size_t size)
{
    if (state_runs(d->state)) {
        if (!mutant_is(d, MUTANT_PRE_COPY_NEVER_DONE))
            return 0;
        d->saver.stage = SAVER_HEADER; /* which may be repeated */
        return (ssize_t)migration_read(d, buf, size);
    }
    switch (d->options->mutant) {
    case MUTANT_ENOMSG_IN_STOP_COPY:
        return -ENOMSG;
    case MUTANT_NO_END:
        size = size < FILLER ? size : FILLER;
        memset(buf, 0, size);
        return (ssize_t)size;
    case MUTANT_END_NOT_FOR_GOOD:
        return read_again(d, buf, size);
    case MUTANT_END_CHANGES_STATE:
        (void)migration_step(d, UAPI_STATE_STOP);
        return 0;
    default:
        return 0;
    }
}

ssize_t mutant_read(struct device *d, void *buf, size_t size)
{
    size_t n;

    if (d->state == UAPI_STATE_RESUMING)
        return 0;
    if (mutant_is(d, MUTANT_FIRST_BYTE_LOST) && d->saver.bytes == 0)
        lose(d, 1);
    if (mutant_is(d, MUTANT_LAST_BYTE_LOST))
        n = read_but_last(d, buf, size);
    else if (mutant_is(d, MUTANT_ZERO_IN_THE_MIDDLE))
        n = read_with_hole(d, buf, size);
    else
        n = read_by_size(d, buf, size);
    return n > 0 || size == 0 ? (ssize_t)n : read_at_end(d, buf, size);
}

void mutant_spoil_image(const struct device *d, struct image *image)
{
    if (mutant_is(d, MUTANT_SAVE_FORGETS_DMA_RATE))
        image->registers.dma_rate = 0;
}

uint64_t mutant_data_size(const struct device *d, uint64_t right)
{
    switch (d->options->mutant) {
    case MUTANT_DATA_SIZE_ZERO:
        return 0;
    case MUTANT_DATA_SIZE_HUGE:
        return UINT64_MAX;
    case MUTANT_DATA_SIZE_IN_PAGES:
        return right / EDEV_PAGE_SIZE;
    case MUTANT_DATA_SIZE_NEVER_SHRINKS:
        return saver_total(&d->memory, d->options->initial_size,
                           d->options->vectors * 16u);
    default:
        return right;
    }
}

void mutant_spoil_info(const struct device *d, struct vfu_precopy_info *info)
{
    switch (d->options->mutant) {
    case MUTANT_INITIAL_NEVER_ZERO:
        if (info->initial_bytes < EDEV_PAGE_SIZE)
            info->initial_bytes = EDEV_PAGE_SIZE;
        break;
    case MUTANT_INITIAL_GROWS:
        info->initial_bytes += 2 * d->stats.bytes_saved;
        break;
    case MUTANT_DIRTY_NEVER_REPORTED:
        info->dirty_bytes = 0;
        break;
    case MUTANT_DIRTY_NEVER_ZERO:
        if (info->dirty_bytes < DIRTY_AT_LEAST)
            info->dirty_bytes = DIRTY_AT_LEAST;
        break;
    default:
        break;
    }
}
