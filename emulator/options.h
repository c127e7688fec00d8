/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_OPTIONS_H
#define VFM_EMULATOR_OPTIONS_H

/*
 * What device to be and how to misbehave: the command line, decoded.
 *
 * Ownership: strings point into the argument vector.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/error.h>

#include "emulator/fault.h"
#include "emulator/mutant.h"

/* What the device can do. */
#define FEATURE_STOP_COPY    (1u << 0)
#define FEATURE_PRE_COPY     (1u << 1)
#define FEATURE_P2P          (1u << 2)
#define FEATURE_DATA_SIZE    (1u << 3)
#define FEATURE_PRECOPY_INFO (1u << 4)
#define FEATURE_REINIT       (1u << 5)
#define FEATURE_DMA_LOGGING  (1u << 6)

/* Whose habits the server has: the text's, or libvfio-user's. */
enum personality {
    PERSONALITY_SPEC,
    PERSONALITY_LIBVFIO_USER,
    PERSONALITY_RUST,
    PERSONALITY_QEMU_LIMITS,
};

/* What MIG_DATA_SIZE says. */
enum size_report { SIZE_EXACT, SIZE_ZERO, SIZE_HUGE, SIZE_FIXED };

struct options {
    const char *socket_path;
    int fd; /* -1: none */
    const char *report_path;
    uint64_t size;
    uint64_t seed;
    uint64_t dirty_size;
    bool dirty_size_given;
    uint64_t dirty_rate;
    uint64_t initial_size;
    uint64_t reinit_after;
    uint64_t late_dma; /* bytes written on the way to a stop */
    uint64_t max_data_xfer;
    uint64_t split; /* bytes per send; 0: no limit */
    uint32_t features;
    uint32_t vectors;
    uint16_t pci_vendor;
    uint16_t pci_device;
    enum personality personality;
    enum size_report size_report;
    uint64_t size_report_value;
    enum mutant mutant;
    bool no_data_area;
    bool accept_any;
    bool no_mmap;
    bool digest;
    bool list_mutants;
    bool help;
    bool version;
    struct fault_list faults;
};

/* The options of `vfmig-device` without arguments. */
void options_default(struct options *o);

/* Decodes a command line into @o, which may be half filled on failure.
 * Returns 0 or -EINVAL. */
int options_parse(struct options *o, int argc, const char *const argv[],
                  struct vfm_error *err);

/* The text of --help. */
void options_print_help(void);

/* A line for each mutant: its name, and what is wrong with it. */
void options_print_mutants(void);

/* Decodes "4096", "64K", "1M" or "2G".  Returns 0 or -EINVAL. */
int options_parse_size(const char *text, uint64_t *size);

#endif
