/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of a device that takes another's place: the bodies of its sections
 * in a stream, or a file with nothing else in it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "splice.h"
#include "stream/format.h"
#include "util/bytes.h"
#include "util/error.h"

#define SUFFIX     "/vfio"

/* A FULL section with nothing but the end of the record: what it should hold
 * went through a multifd channel. */
#define EMPTY_BODY 8

struct search {
    struct part *part;
    struct stream_reader reader;
    char *found; /* the section it is taken from */
    bool others; /* there are other devices */
    struct digest *digest;
    uint64_t body; /* where the section's begins */
    bool ours;
};

static bool has_suffix(const char *name)
{
    size_t len = strlen(name);

    return strcmp(name, "vfio") == 0 ||
           (len > strlen(SUFFIX) &&
            strcmp(name + len - strlen(SUFFIX), SUFFIX) == 0);
}

static int split(struct part *part, const char *word, struct vfm_error *err)
{
    const char *equals = strchr(word, '=');
    size_t len = equals != NULL ? (size_t)(equals - word) : 0;
    char *name;

    if (len == 0 || equals[1] == '\0')
        return error_set(err, -EINVAL, "'%.60s' is not NAME=STATE-FILE", word);
    part->word = word;
    part->path = equals + 1;
    name = malloc(len + sizeof(SUFFIX));
    if (name == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", part->path);
    memcpy(name, word, len);
    name[len] = '\0';
    if (!has_suffix(name))
        strcat(name, SUFFIX);
    part->section = name;
    return 0;
}

static int add_body(struct part *part, struct body body)
{
    size_t size = part->parts_size > 0 ? 2 * part->parts_size : 64;
    struct body *parts;

    if (part->num_parts == part->parts_size) {
        parts = realloc(part->parts, size * sizeof(*parts));
        if (parts == NULL)
            return -ENOMEM;
        part->parts = parts;
        part->parts_size = size;
    }
    part->parts[part->num_parts++] = body;
    return 0;
}

/* From here on it is @name's state that is taken. */
static int choose(struct search *s, const char *name)
{
    struct part *part = s->part;

    s->others = s->found != NULL;
    free(s->found);
    digest_free(s->digest);
    s->found = strdup(name);
    s->digest = digest_new();
    part->num_parts = 0;
    part->bytes = 0;
    part->end = part->full = (struct body){ 0 };
    return s->found != NULL && s->digest != NULL ? 0 : -ENOMEM;
}

/* The device of the name that was asked for, else the first one. */
static bool is_better(const struct search *s, const char *name)
{
    const char *wanted = s->part->section;

    return s->found == NULL ||
           (strcmp(s->found, wanted) != 0 && strcmp(name, wanted) == 0);
}

static int begin(struct search *s, const struct vfm_stream_event *ev)
{
    const char *name = ev->section.name;
    bool named = ev->section.type == VFM_SECTION_START ||
                 ev->section.type == VFM_SECTION_FULL;
    int ret = 0;

    s->ours = false;
    if (ev->section.kind != VFM_SECTION_KIND_VFIO)
        return 0;
    if (is_better(s, name))
        ret = choose(s, name);
    if (ret < 0)
        return ret;
    s->ours = strcmp(s->found, name) == 0;
    s->others = s->others || !s->ours;
    s->body = ev->offset + 5 + (named ? 9 + strlen(name) : 0);
    return 0;
}

static int end(struct search *s, const struct vfm_stream_event *ev)
{
    const struct body body = { s->body, ev->u.section_end.bytes };

    if (!s->ours)
        return 0;
    s->ours = false;
    switch (ev->section.type) {
    case VFM_SECTION_PART:
        return add_body(s->part, body);
    case VFM_SECTION_END:
        s->part->end = body;
        break;
    case VFM_SECTION_FULL:
        s->part->full = body;
        break;
    case VFM_SECTION_START:
        break;
    }
    return 0;
}

static int take(struct search *s, const struct vfm_stream_event *ev)
{
    switch (ev->type) {
    case VFM_STREAM_SECTION_BEGIN:
        return begin(s, ev);
    case VFM_STREAM_SECTION_END:
        return end(s, ev);
    case VFM_STREAM_VFIO_DATA:
        if (!s->ours)
            return 0;
        digest_update(s->digest, ev->data, ev->len);
        s->part->bytes += ev->len;
        return 0;
    case VFM_STREAM_VMDESCRIPTION:
        return s->found == NULL
                   ? 0
                   : text_promise(ev->data, ev->len, s->found, &s->part->text);
    default:
        return 0;
    }
}

static int judge(const struct search *s, struct vfm_error *err)
{
    if (s->found == NULL)
        return error_set(err, -ENODEV, "it holds the state of no device");
    if (s->others && strcmp(s->found, s->part->section) != 0)
        return error_set(err, -ENODEV,
                         "it holds several devices, and none is '%s'",
                         s->part->section);
    if (s->part->full.len <= EMPTY_BODY)
        return error_set(err, -ENODATA,
                         "section '%s': part of its state went through multifd "
                         "channels",
                         s->found);
    return 0;
}

static int read_stream(struct search *s, struct vfm_error *err)
{
    struct vfm_stream_event ev;
    int ret;

    while ((ret = stream_reader_next(&s->reader, &ev, err)) > 0)
        if (take(s, &ev) < 0)
            return error_set(err, -ENOMEM, "out of memory");
    return ret < 0 ? ret : judge(s, err);
}

/* The promise goes over as it stands. */
static int judge_digest(const struct part *part, struct vfm_error *err)
{
    if (part->text == NULL || strstr(part->text, "\"xxh3_128\"") == NULL ||
        strstr(part->text, part->hex) != NULL)
        return 0;
    return error_set(err, -EBADMSG,
                     "its state is damaged: its digest is %s, and not what the "
                     "stream says",
                     part->hex);
}

static int search(struct part *part, struct vfm_error *err)
{
    struct search s = { .part = part };
    int ret = stream_reader_open(&s.reader, part->path, err);

    if (ret < 0)
        return ret;
    ret = read_stream(&s, err);
    if (ret == 0) {
        digest_hex(s.digest, part->hex);
        ret = judge_digest(part, err);
    }
    digest_free(s.digest);
    stream_reader_close(&s.reader);
    free(s.found);
    return ret;
}

/* No stream: all of the file is state. */
static int read_raw(struct part *part, struct vfm_error *err)
{
    struct digest *digest = digest_new();
    int ret;

    if (digest == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    while ((ret = piece_file_fill(&part->file, err)) > 0)
        digest_update(digest, part->file.buf, part->file.len);
    part->raw = true;
    part->bytes = part->file.bytes;
    digest_hex(digest, part->hex);
    digest_free(digest);
    return ret;
}

static int read_file(struct part *part, struct vfm_error *err)
{
    uint8_t magic[4] = { 0 };
    uint64_t size;
    int ret = piece_file_size(&part->file,
                              "it is read twice, so it must be a regular file",
                              &size, err);

    if (ret == 0 && size >= sizeof(magic))
        ret = piece_file_read_at(&part->file, magic, sizeof(magic), 0, err);
    if (ret < 0)
        return ret;
    return get_be32(magic) == STREAM_MAGIC ? search(part, err)
                                           : read_raw(part, err);
}

int part_open(struct part *part, const char *word, struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret;

    *part = (struct part){ 0 };
    ret = split(part, word, err);
    if (ret < 0)
        return ret;
    ret = piece_file_open(&part->file, part->path, &why);
    if (ret == 0)
        ret = read_file(part, &why);
    if (ret < 0)
        return error_set(err, ret, "%s: %s", part->path, why.message);
    return 0;
}

void part_close(struct part *part)
{
    if (part->path != NULL)
        piece_file_close(&part->file);
    free(part->section);
    free(part->parts);
    free(part->text);
    *part = (struct part){ 0 };
}
