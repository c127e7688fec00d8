/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the vmdescription, with QEMU's keys in QEMU's order and QEMU's
 * spaces: whoever reads a stream by a pattern must not notice a difference.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "stream/vmdescription.h"
#include "util/error.h"
#include "util/text.h"

#define CONFIGURATION_VERSION 1

static void put_string(struct text *t, const char *s)
{
    for (const char *c = s; *c != '\0'; c++)
        if (*c < 0x20 || *c > 0x7e)
            t->error = t->error != 0 ? t->error : -EINVAL;
    text_put_json(t, s);
}

static void put_configuration(struct text *t, const char *machine)
{
    text_put(
        t,
        "\"configuration\": {\"vmsd_name\": \"configuration\", \"version\": %d,"
        " \"fields\": [{\"name\": \"len\", \"type\": \"uint32\", \"size\": 4},"
        " {\"name\": \"name\", \"type\": \"buffer\", \"size\": %zu}]}",
        CONFIGURATION_VERSION, strlen(machine));
}

static void put_section(struct text *t, const struct vmdescription_section *s)
{
    text_put(t, "{\"name\": ");
    put_string(t, s->name);
    text_put(t,
             ", \"instance_id\": %" PRIu32 ", \"size\": %" PRIu64
             ", \"fields\": [{\"name\": \"data\", \"size\": %" PRIu64
             ", \"type\": \"buffer\"}]}",
             s->instance_id, s->bytes, s->bytes);
}

static void put_identity(struct text *t, const struct vmdescription_identity *i)
{
    text_put(t, ", \"identity\": {\"backend\": ");
    put_string(t, i->backend);
    text_put(t,
             ", \"vendor\": %u, \"device\": %u, \"subsystem_vendor\": %u, "
             "\"subsystem\": %u, \"revision\": %u, \"class\": %" PRIu32
             ", \"config_size\": %" PRIu32 ", \"msix_count\": %" PRIu32 "}",
             i->vendor, i->device, i->subsystem_vendor, i->subsystem,
             i->revision, i->class_code, i->config_size, i->msix_count);
}

static void put_device(struct text *t, const struct vmdescription_device *d)
{
    text_put(t, "{\"section\": ");
    put_string(t, d->section);
    text_put(t, ", \"bytes\": %" PRIu64, d->bytes);
    if (d->xxh3_128[0] != '\0') {
        text_put(t, ", \"xxh3_128\": ");
        put_string(t, d->xxh3_128);
    }
    if (d->identity.backend != NULL)
        put_identity(t, &d->identity);
    text_put(t, "}");
}

static void put_vfmig(struct text *t, const struct vmdescription *desc)
{
    text_put(t, ", \"vfmig\": {\"version\": ");
    put_string(t, desc->version != NULL ? desc->version : "");
    text_put(t, ", \"running\": %s, \"devices\": [",
             desc->running ? "true" : "false");
    for (size_t i = 0; i < desc->num_devices; i++) {
        text_put(t, i > 0 ? ", " : "");
        put_device(t, &desc->devices[i]);
    }
    text_put(t, "]}");
}

int vmdescription_build(const struct vmdescription *desc, char **json,
                        size_t *len, struct vfm_error *err)
{
    struct text t = { 0 };

    text_put(&t, "{");
    put_configuration(&t, desc->machine != NULL ? desc->machine : "");
    text_put(&t, ", \"page_size\": %" PRIu64 ", \"devices\": [",
             desc->page_size);
    for (size_t i = 0; i < desc->num_sections; i++) {
        text_put(&t, i > 0 ? ", " : "");
        put_section(&t, &desc->sections[i]);
    }
    text_put(&t, "]");
    if (desc->has_vfmig)
        put_vfmig(&t, desc);
    text_put(&t, "}");

    if (t.error != 0) {
        free(t.p);
        return error_set(err, t.error,
                         "stream: cannot write the vmdescription: %s",
                         strerror(-t.error));
    }
    *json = t.p;
    *len = t.len;
    return 0;
}
