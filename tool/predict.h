/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_PREDICT_H
#define VFM_TOOL_PREDICT_H

/*
 * How long devices will be stopped for, from what a bench measured.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/error.h>

#include "bench.h"

/* No file of a bench is as large. */
#define PREDICT_FILE_MAX    (1 << 20)

/* As many as a migration takes. */
#define PREDICT_DEVICES_MAX 64

struct predict_file {
    struct bench_value values[BENCH_FIGURES];
};

/* Reads the text of a file that `vfmig bench` wrote.  Returns 0, or -EBADMSG
 * and in @err what is wrong with it. */
int predict_parse(const char *text, size_t len, struct predict_file *file,
                  struct vfm_error *err);

/* The same of the file @name, in whose name the error is. */
int predict_read(const char *name, struct predict_file *file,
                 struct vfm_error *err);

struct predict_link {
    uint64_t rtt_ns;
    uint64_t bytes_per_sec; /* 0: unknown; with a trial: that of the trial */
    bool is_given;          /* else it is that of the files */
};

struct predict_input {
    const struct predict_file *files;
    size_t count;
    unsigned int devices; /* of each file */
    struct predict_link link;
    uint64_t max_bandwidth; /* bytes per second, whatever the link; 0: none */
    unsigned int parallel;  /* devices that do something at once; 0: all */
};

struct prediction {
    uint64_t ns;
    uint64_t low_ns;
    uint64_t high_ns;

    /* What it is made of; their sum is @ns. */
    uint64_t device_ns; /* the devices' arcs, the longest of each */
    uint64_t data_ns;   /* the state that is moved while they are stopped */
    uint64_t link_ns;   /* messages there and back */
    uint64_t bytes;

    bool is_from_trial; /* of all files; else from single rates */
    bool has_link;      /* or it counts as one that takes no time */
};

/* Pure.  Returns 0, or -EINVAL and in @err which figure is missing. */
int predict_compute(const struct predict_input *input,
                    struct prediction *prediction, struct vfm_error *err);

/* The same for @input->devices that are all like that of the file @name. */
int predict_alike(const char *name, const struct predict_input *input,
                  struct prediction *prediction, struct vfm_error *err);

#endif
