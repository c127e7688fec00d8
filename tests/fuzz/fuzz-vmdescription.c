/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the JSON at the end of a stream.  What can be read can be written, and
 * is then read as the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stream/vmdescription.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool are_alike(const struct vmdescription *a,
                      const struct vmdescription *b)
{
    bool alike = a->num_sections == b->num_sections &&
                 a->num_devices == b->num_devices && a->running == b->running;

    for (size_t i = 0; alike && i < a->num_devices; i++)
        alike = strcmp(a->devices[i].section, b->devices[i].section) == 0 &&
                a->devices[i].bytes == b->devices[i].bytes &&
                strcmp(a->devices[i].xxh3_128, b->devices[i].xxh3_128) == 0;
    return alike;
}

static void write_and_read(const struct vmdescription *d)
{
    struct vmdescription *again;
    char *json;
    size_t len;

    if (vmdescription_build(d, &json, &len, NULL) < 0)
        return; /* a name that is not printable */
    if (vmdescription_parse(json, len, &again, NULL) < 0 ||
        !are_alike(d, again))
        abort();
    vmdescription_free(again);
    free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmdescription *d;
    struct vfm_error err;

    if (vmdescription_parse((const char *)data, size, &d, &err) < 0)
        return 0;
    if (d->has_vfmig)
        write_and_read(d);
    vmdescription_free(d);
    return 0;
}
