/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The report: what the device is and has seen, as one JSON object.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "emulator/device.h"
#include "emulator/state.h"
#include "util/error.h"

static void add_number(struct json_object *o, const char *key, uint64_t value)
{
    json_object_object_add(o, key, json_object_new_uint64(value));
}

/* An empty text is left out. */
static void add_text(struct json_object *o, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_object_object_add(o, key, json_object_new_string(text));
}

static struct json_object *steps(const struct history *h)
{
    struct json_object *a = json_object_new_array();
    uint64_t first = h->count > HISTORY_MAX ? h->count - HISTORY_MAX : 0;
    char text[64];

    for (uint64_t i = first; i < h->count; i++) {
        size_t at = i % HISTORY_MAX;

        snprintf(text, sizeof(text), "%s>%s", state_name(h->steps[at].from),
                 state_name(h->steps[at].to));
        json_object_array_add(a, json_object_new_string(text));
    }
    return a;
}

static void add_statistics(struct json_object *o, const struct statistics *s)
{
    add_number(o, "clients", s->clients);
    add_number(o, "commands", s->commands);
    add_number(o, "resets", s->resets);
    add_number(o, "bytes_saved", s->bytes_saved);
    add_number(o, "bytes_loaded", s->bytes_loaded);
    add_number(o, "loads_accepted", s->loads_accepted);
    add_number(o, "loads_refused", s->loads_refused);
    if (s->loads_refused > 0)
        add_text(o, "last_refusal", s->last_refusal.message);
    add_text(o, "saved_sha256", s->saved_sha256);
    add_text(o, "loaded_sha256", s->loaded_sha256);
    add_number(o, "dma_read_bytes", s->dma_read_bytes);
    add_number(o, "dma_written_bytes", s->dma_written_bytes);
    add_number(o, "dma_messages", s->dma_messages);
}

static struct json_object *build(struct device *d)
{
    struct json_object *o = json_object_new_object();

    device_advance(d);
    device_update_digests(d);
    add_text(o, "state", state_name(d->state));
    add_number(o, "counter", device_counter(d));
    json_object_object_add(o, "steps", steps(&d->history));
    add_number(o, "num_steps", d->history.count);
    add_number(o, "memory_bytes", d->memory.size);
    add_number(o, "memory_seed", d->memory.seed);
    add_number(o, "memory_writes", d->memory.writes);
    add_number(o, "dma_sequence", d->registers.dma_sequence);
    add_number(o, "interrupts", d->registers.irq_sent);
    add_number(o, "faults", d->faults.fired);
    add_statistics(o, &d->stats);
    return o;
}

static int write_text(int fd, const char *text)
{
    size_t size = strlen(text);

    while (size > 0) {
        ssize_t n = write(fd, text, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Writes a new file beside @path and moves it there, so that nobody ever sees
 * half a report. */
static int replace(const char *path, const char *text)
{
    char *temporary = NULL;
    int fd = -1;
    int ret = -ENOMEM;

    if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
        return ret;
    fd = mkstemp(temporary);
    ret = fd < 0 ? -errno : write_text(fd, text);
    if (fd >= 0 && close(fd) < 0 && ret == 0)
        ret = -errno;
    if (ret == 0 && rename(temporary, path) < 0)
        ret = -errno;
    if (ret < 0 && fd >= 0)
        unlink(temporary);
    free(temporary);
    return ret;
}

int device_report(struct device *d, struct vfm_error *err)
{
    const char *path = d->options->report_path;
    struct json_object *o;
    int ret;

    if (path == NULL)
        return 0;
    o = build(d);
    ret = replace(
        path, json_object_to_json_string_ext(
                  o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(o);
    if (ret < 0)
        return error_set(err, ret, "%s: cannot be written: %s", path,
                         strerror(-ret));
    return 0;
}
