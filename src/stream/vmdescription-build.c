/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the vmdescription, with QEMU's keys in QEMU's order and QEMU's
 * spaces: whoever reads a stream by a pattern must not notice a difference.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream/vmdescription.h"
#include "util/error.h"

#define CONFIGURATION_VERSION 1

/* Text that grows; the first failure stays. */
struct text {
    char *p;
    size_t len;
    size_t size;
    int error;
};

static bool enlarge(struct text *t, size_t more)
{
    size_t size = t->size > 0 ? t->size : 1024;
    char *p;

    while (size - t->len < more)
        size *= 2;
    if (size == t->size)
        return true;
    p = realloc(t->p, size);
    if (p == NULL) {
        t->error = -ENOMEM;
        return false;
    }
    t->p = p;
    t->size = size;
    return true;
}

__attribute__((format(printf, 2, 3))) static void put(struct text *t,
                                                      const char *fmt, ...)
{
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (t->error != 0 || !enlarge(t, (size_t)len + 1))
        return;
    va_start(ap, fmt);
    vsnprintf(t->p + t->len, (size_t)len + 1, fmt, ap);
    va_end(ap);
    t->len += (size_t)len;
}

static void put_string(struct text *t, const char *s)
{
    put(t, "\"");
    for (; *s != '\0'; s++) {
        if (*s < 0x20 || *s > 0x7e)
            t->error = t->error != 0 ? t->error : -EINVAL;
        put(t, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    }
    put(t, "\"");
}

static void put_configuration(struct text *t, const char *machine)
{
    put(t,
        "\"configuration\": {\"vmsd_name\": \"configuration\", \"version\": %d,"
        " \"fields\": [{\"name\": \"len\", \"type\": \"uint32\", \"size\": 4},"
        " {\"name\": \"name\", \"type\": \"buffer\", \"size\": %zu}]}",
        CONFIGURATION_VERSION, strlen(machine));
}

static void put_section(struct text *t, const struct vmdescription_section *s)
{
    put(t, "{\"name\": ");
    put_string(t, s->name);
    put(t,
        ", \"instance_id\": %" PRIu32 ", \"size\": %" PRIu64
        ", \"fields\": [{\"name\": \"data\", \"size\": %" PRIu64
        ", \"type\": \"buffer\"}]}",
        s->instance_id, s->bytes, s->bytes);
}

static void put_identity(struct text *t, const struct vmdescription_identity *i)
{
    put(t, ", \"identity\": {\"backend\": ");
    put_string(t, i->backend);
    put(t,
        ", \"vendor\": %u, \"device\": %u, \"subsystem_vendor\": %u, "
        "\"subsystem\": %u, \"revision\": %u, \"class\": %" PRIu32
        ", \"config_size\": %" PRIu32 ", \"msix_count\": %" PRIu32 "}",
        i->vendor, i->device, i->subsystem_vendor, i->subsystem, i->revision,
        i->class_code, i->config_size, i->msix_count);
}

static void put_device(struct text *t, const struct vmdescription_device *d)
{
    put(t, "{\"section\": ");
    put_string(t, d->section);
    put(t, ", \"bytes\": %" PRIu64, d->bytes);
    if (d->xxh3_128[0] != '\0') {
        put(t, ", \"xxh3_128\": ");
        put_string(t, d->xxh3_128);
    }
    if (d->identity.backend != NULL)
        put_identity(t, &d->identity);
    put(t, "}");
}

static void put_vfmig(struct text *t, const struct vmdescription *desc)
{
    put(t, ", \"vfmig\": {\"version\": ");
    put_string(t, desc->version != NULL ? desc->version : "");
    put(t, ", \"running\": %s, \"devices\": [",
        desc->running ? "true" : "false");
    for (size_t i = 0; i < desc->num_devices; i++) {
        put(t, i > 0 ? ", " : "");
        put_device(t, &desc->devices[i]);
    }
    put(t, "]}");
}

int vmdescription_build(const struct vmdescription *desc, char **json,
                        size_t *len, struct vfm_error *err)
{
    struct text t = { 0 };

    put(&t, "{");
    put_configuration(&t, desc->machine != NULL ? desc->machine : "");
    put(&t, ", \"page_size\": %" PRIu64 ", \"devices\": [", desc->page_size);
    for (size_t i = 0; i < desc->num_sections; i++) {
        put(&t, i > 0 ? ", " : "");
        put_section(&t, &desc->sections[i]);
    }
    put(&t, "]");
    if (desc->has_vfmig)
        put_vfmig(&t, desc);
    put(&t, "}");

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
