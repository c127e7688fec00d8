/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A command line of the emulated device, a word a line; what it takes is a
 * device that can be made, and whose faults can be looked for.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/device.h"
#include "emulator/options.h"
#include "protocol/vfio-uapi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS_MAX    32
/* A larger device is as good, but takes its time. */
#define SMALL_ENOUGH (1u << 20)

static void make(const struct options *o)
{
    struct device *d;

    if (o->help || o->version || o->size > SMALL_ENOUGH ||
        device_create(o, &d, NULL) < 0)
        return;
    device_set_state(d, UAPI_STATE_STOP_COPY);
    device_set_state(d, UAPI_STATE_RUNNING);
    device_reset(d);
    device_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *argv[WORDS_MAX + 1] = { "vfmig-device" };
    char *text = calloc(1, size + 1);
    struct options o;
    struct vfm_error err;
    char *rest = text;
    int argc = 1;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    while (argc < WORDS_MAX && (argv[argc] = strsep(&rest, "\n")) != NULL)
        argc++;
    if (options_parse(&o, argc, argv, &err) == 0)
        make(&o);
    free(text);
    return 0;
}
