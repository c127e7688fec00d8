/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vmdescription of a stream in which states of devices were replaced.
 *
 * It is edited as text, so that every other byte stays: QEMU, and vfmig after
 * it, write what is looked for here in one way only.  Whoever writes the stream
 * reads it as well, and would notice a length that is wrong.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "splice.h"
#include "util/error.h"

/* More than any number or digest in here. */
#define PIECE_MAX 512

/* A string of @len bytes that ends: text that came from outside. */
struct text {
    char *p;
    size_t len;
};

static char *find(const struct text *t, const char *what)
{
    return memmem(t->p, t->len, what, strlen(what));
}

/* Puts @new in the place of the @old_len bytes at @at. */
static int replace(struct text *t, size_t at, size_t old_len, const char *new)
{
    size_t new_len = strlen(new);
    char *p = malloc(t->len - old_len + new_len);

    if (p == NULL)
        return -ENOMEM;
    memcpy(p, t->p, at);
    memcpy(p + at, new, new_len);
    memcpy(p + at + new_len, t->p + at + old_len, t->len - at - old_len);
    free(t->p);
    t->p = p;
    t->len = t->len - old_len + new_len;
    return 0;
}

/* The entry of a FULL section as old as VFIO's: its length stands there twice.
 */
static int edit_size(struct text *t, const struct part *part,
                     struct vfm_error *err)
{
    static const char form[] =
        "{\"name\": \"%s\", \"instance_id\": 0, \"size\": %" PRIu64
        ", \"fields\": [{\"name\": \"data\", \"size\": %" PRIu64 ", ";
    char old[PIECE_MAX];
    char new[PIECE_MAX];
    char *at;

    snprintf(old, sizeof(old), form, part->section, part->full_was,
             part->full_was);
    snprintf(new, sizeof(new), form, part->section, part->full.len,
             part->full.len);
    at = find(t, old);
    if (at == NULL)
        return error_set(err, -EOPNOTSUPP,
                         "the vmdescription tells the length of '%s' in a way "
                         "that is not known here",
                         part->section);
    if (replace(t, (size_t)(at - t->p), strlen(old), new) < 0)
        return error_set(err, -ENOMEM, "out of memory");
    return 0;
}

/* Where what vfmig says of @section begins, and its length; NULL if it says
 * nothing.  An entry has braces in pairs, and none within a string. */
static char *find_promise(const struct text *t, const char *section,
                          size_t *len)
{
    char head[PIECE_MAX];
    unsigned int depth = 1;
    char *at;

    snprintf(head, sizeof(head), "{\"section\": \"%s\", ", section);
    at = find(t, head);
    if (at == NULL)
        return NULL;
    at += strlen(head);
    for (*len = 0; at + *len < t->p + t->len; ++*len) {
        depth += at[*len] == '{';
        depth -= at[*len] == '}';
        if (depth == 0)
            return at;
    }
    return NULL;
}

/* What was said of the state that came is what is said of it now. */
static int edit_promise(struct text *t, const struct part *part)
{
    char plain[PIECE_MAX];
    size_t len;
    char *at = find_promise(t, part->section, &len);

    if (at == NULL)
        return 0;
    snprintf(plain, sizeof(plain),
             "\"bytes\": %" PRIu64 ", \"xxh3_128\": \"%s\"", part->bytes,
             part->hex);
    return replace(t, (size_t)(at - t->p), len,
                   part->text != NULL ? part->text : plain);
}

int text_promise(const char *json, size_t len, const char *section,
                 char **promise)
{
    const struct text t = { (char *)json, len };
    size_t found;
    const char *at = find_promise(&t, section, &found);

    *promise = at != NULL ? strndup(at, found) : NULL;
    return at != NULL && *promise == NULL ? -ENOMEM : 0;
}

int text_edit(const char *json, size_t len, const struct part *parts,
              size_t num_parts, char **newp, size_t *new_len,
              struct vfm_error *err)
{
    struct text t = { malloc(len + 1), len };
    int ret = 0;

    if (t.p == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    memcpy(t.p, json, len);
    for (size_t i = 0; ret == 0 && i < num_parts; i++) {
        if (!parts[i].raw)
            ret = edit_size(&t, &parts[i], err);
        if (ret == 0 && edit_promise(&t, &parts[i]) < 0)
            ret = error_set(err, -ENOMEM, "out of memory");
    }
    if (ret < 0) {
        free(t.p);
        return ret;
    }
    *newp = t.p;
    *new_len = t.len;
    return 0;
}
