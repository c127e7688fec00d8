/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_DEVICE_FAKE_DEVICE_H
#define VFM_TESTS_DEVICE_FAKE_DEVICE_H

/*
 * A device behind struct device_ops that lives by the uAPI's rules (model.h),
 * and breaks those that a test tells it to break.
 *
 * It never sleeps and never makes anybody sleep: while it pretends to need time
 * its descriptor is readable.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/device.h"

/* What can be made to fail: the calls of enum device_op, and the session. */
enum fake_op {
    FAKE_SET_STATE = DEVICE_SET_STATE,
    FAKE_GET_STATE = DEVICE_GET_STATE,
    FAKE_RESET = DEVICE_RESET,
    FAKE_DATA_SIZE = DEVICE_DATA_SIZE,
    FAKE_PRECOPY_INFO = DEVICE_PRECOPY_INFO,
    FAKE_REGION_READ = DEVICE_REGION_READ,
    FAKE_REGION_WRITE = DEVICE_REGION_WRITE,
    FAKE_LOG_START = DEVICE_LOG_START,
    FAKE_LOG_STOP = DEVICE_LOG_STOP,
    FAKE_LOG_REPORT = DEVICE_LOG_REPORT,
    FAKE_PEEK,
    FAKE_WRITE,
    FAKE_ROOM,
    FAKE_FLUSH,
    FAKE_NUM_OPS,
};

const char *fake_op_name(enum fake_op op);

/* The state it was in before, in struct fake_fault. */
#define FAKE_STAY     ((enum vfm_state)100)
#define FAKE_FOR_EVER UINT32_MAX

/* The call number @from (0 is the first) and the @count - 1 after it fail. */
struct fake_fault {
    enum fake_op op;
    unsigned int from;
    unsigned int count;   /* 0: no fault */
    int error;            /* 0: it works, but lies: see @state */
    bool at_start;        /* call_start() fails, not call_finish() */
    enum vfm_state state; /* SET_STATE: where it leaves the device;
                           * GET_STATE: what is answered instead */
};

#define FAKE_FAULTS 8
#define FAKE_WENT   32

/* What the device works with, if it runs. */
enum fake_content {
    FAKE_ORIGINAL, /* what it had when it was made */
    FAKE_NOTHING,  /* it was reset */
    FAKE_LOADED,   /* what came from the other side */
};

#define FAKE_LOG_PAGES   1024
#define FAKE_CONFIG_SIZE 4096
#define FAKE_BAR_SIZE    4096

struct fake_device {
    struct vfm_device *dev;

    /* Set before the test begins. */
    uint64_t migration;
    bool silent;            /* answers nothing any more */
    unsigned int silent_at; /* from that call on, 1 is the first, 0: never */
    int64_t silence_ns;     /* for so long */
    bool wakes_up;          /* and then it goes on as if nothing had been */
    bool slow_moves;        /* every transition takes silence_ns */
    bool slow_end;          /* and so does the last of what it reads */
    int64_t silence_ends;   /* then -ETIMEDOUT; CLOCK_NEVER */
    bool gone;              /* the connection to it has ended */
    unsigned int delay;     /* -EAGAIN, so many times for each call */
    unsigned int io_delay;  /* and for each piece of data */
    size_t piece;           /* bytes shown and taken at once */
    size_t room_size;       /* of its own memory for what is loaded; 0: none */
    const uint8_t *data;    /* its state */
    size_t size;            /* of that */
    size_t pre_copy_size;   /* of that, what PRE_COPY yields */
    size_t initial_size;    /* of that, what counts as initial */
    size_t reinit_size;     /* more initial data, once the first was read */
    bool lies_size;         /* answers the following */
    uint64_t says_size;
    bool lies_precopy;
    struct vfm_precopy_info says_precopy;
    const uint8_t *expected; /* what may be loaded; NULL: anything */
    size_t expected_size;
    bool reset_keeps_state; /* a reset leaves it where it is */
    unsigned int dies_at;   /* that call, of any kind, and all later ones fail;
                             * 0: it lives */
    struct fake_fault faults[FAKE_FAULTS];
    uint64_t reach; /* bytes from address 0 on that it can write to */
    /* It wrote these pages: told by the next report, which forgets them, even
     * if it fails. */
    uint64_t wrote[FAKE_LOG_PAGES / 64];
    bool logs;
    uint32_t bar_of_msix;
    uint8_t config[FAKE_CONFIG_SIZE];
    uint8_t bar[FAKE_BAR_SIZE];

    /* The device at the other side: both must never run the same. */
    struct fake_device *twin;
    bool two_owners; /* they did */

    /* What it is and what became of it. */
    enum vfm_state state;
    enum fake_content content;
    unsigned int resets;
    unsigned int calls[FAKE_NUM_OPS];
    unsigned int all_calls;
    bool dead;
    unsigned int stopped_at; /* the count of *clock when it stopped running */
    unsigned int ran_at;     /* ... and ran */
    unsigned int *clock;     /* counts what happens, for who was first */
    enum vfm_state went[FAKE_WENT]; /* what it was told to go to */
    enum vfm_state came_from[FAKE_WENT];
    unsigned int num_went;
    uint32_t last_write_at; /* into config space */
    unsigned int num_config_writes;

    unsigned int landed; /* writes of what lay there */

    /* Inside. */
    uint8_t *room;
    unsigned int started;
    int event_fd;
    bool again;
    unsigned int call_delay;
    unsigned int data_delay;
    int result;
    size_t at;
    int session_error;
    size_t initial_end;
    uint8_t *peeked;
    size_t peeked_len;
    uint8_t *loaded;
    size_t loaded_len;
    size_t loaded_size;
    unsigned int asked_at_end;
};

/* Makes a device in RUNNING, named @name, with these VFM_MIGRATION_* bits. */
void fake_open(struct fake_device *f, const char *name, uint64_t migration);
/* Closes the handle and what the device keeps. */
void fake_close(struct fake_device *f);

/* Puts it into @state, as if it had been there when it was opened. */
void fake_begin_in(struct fake_device *f, enum vfm_state state);

/* Adds a fault. */
struct fake_fault *fake_fail(struct fake_device *f, enum fake_op op,
                             unsigned int from, int error);

/* Gives it a configuration space of @size bytes, with MSI-X in BAR 0. */
void fake_set_config(struct fake_device *f, uint32_t size);

/* Whoever opens it finds that space as it is now. */
void fake_learn(struct fake_device *f);

/* Whether it runs with @content. */
bool fake_runs(const struct fake_device *f, enum fake_content content);

/* Bytes that look like nothing else; the same for the same @seed. */
void fake_pattern(uint8_t *data, size_t len, uint32_t seed);

#endif
