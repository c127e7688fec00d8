/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tells what passes by, with the time since the source came.
 */
#include <inttypes.h>
#include <stdarg.h>

#include "json.h"
#include "proxy.h"
#include "util/clock.h"

/* What is kept for the end; a migration has some dozens. */
#define LIST_MAX 10000

#define TEXT_MAX 512

static struct json_tree *make_entry(int64_t ns, const char *channel,
                                    const char *kind, uint64_t offset,
                                    const char *text)
{
    struct json_tree *o = json_object_make();

    json_add_number(o, "ns", (uint64_t)ns);
    json_add_string(o, "channel", channel);
    json_add_string(o, "kind", kind);
    json_add_number(o, "offset", offset);
    json_add_string(o, "text", text);
    return o;
}

static void keep(struct proxy_timeline *t, struct json_tree *entry)
{
    if (t->list == NULL || t->length == LIST_MAX) {
        t->cut = t->list != NULL;
        json_drop(entry);
        return;
    }
    t->length++;
    json_append(t->list, entry);
}

/* Names come from a peer. */
static void make_harmless(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = '?';
}

void proxy_timeline_tell(struct proxy_timeline *t, const char *channel,
                         const char *kind, uint64_t offset, const char *fmt,
                         ...)
{
    int64_t ns = clock_now() - t->began_at;
    char text[TEXT_MAX];
    struct json_tree *entry;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    make_harmless(text);
    if (t->print) {
        printf("%4" PRId64 ".%06" PRId64 "  %-11s %s\n", ns / NS_PER_SEC,
               ns % NS_PER_SEC / 1000, channel, text);
        fflush(stdout);
    }
    if (t->file == NULL && t->list == NULL)
        return;
    entry = make_entry(ns, channel, kind, offset, text);
    if (t->file != NULL) {
        json_write_line(entry, t->file);
        fflush(t->file);
    }
    keep(t, entry);
}
