/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sections: how they begin and end, and which there are.  Their bodies are
 * read elsewhere; what may come in which order is decided here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "stream/decoder.h"
#include "util/bytes.h"

static const struct step step_version_warning;

/* Type, id, length of the name; instance and version follow the name. */
#define BEGIN_BYTES    6
#define BEGIN_TAIL     8
#define CONTINUE_BYTES 5

/* Whether @name is @suffix with something in front of it. */
static bool has_suffix(const char *name, const char *suffix)
{
    size_t len = strlen(name);
    size_t suffix_len = strlen(suffix);

    return len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

static enum vfm_section_kind kind_of(const char *name)
{
    if (strcmp(name, "ram") == 0)
        return VFM_SECTION_KIND_RAM;
    if (strcmp(name, "vfio") == 0 || has_suffix(name, "/vfio"))
        return VFM_SECTION_KIND_VFIO;
    if (has_suffix(name, BLOB_SECTION_SUFFIX))
        return VFM_SECTION_KIND_BLOB;
    return VFM_SECTION_KIND_OTHER;
}

static struct section *find_id(struct vfm_decoder *dec, uint32_t id)
{
    for (size_t i = 0; i < dec->num_sections; i++)
        if (dec->sections[i].id == id)
            return &dec->sections[i];
    return NULL;
}

static struct section *find_name(struct vfm_decoder *dec, const char *name,
                                 uint32_t instance_id)
{
    for (size_t i = 0; i < dec->num_sections; i++)
        if (dec->sections[i].instance_id == instance_id &&
            strcmp(dec->sections[i].name, name) == 0)
            return &dec->sections[i];
    return NULL;
}

/* Room for one more. */
static int enlarge(struct vfm_decoder *dec)
{
    size_t size = dec->sections_size > 0 ? 2 * dec->sections_size : 8;
    struct section *sections;

    if (dec->num_sections < dec->sections_size)
        return 0;
    if (dec->num_sections == SECTIONS_MAX)
        return decoder_fail(dec, -E2BIG, dec->in.offset,
                            "more than %d sections", SECTIONS_MAX);
    sections = realloc(dec->sections, size * sizeof(*sections));
    if (sections == NULL)
        return -ENOMEM;
    dec->sections = sections;
    dec->sections_size = size;
    return 0;
}

static int check_version(struct vfm_decoder *dec, const struct section *new)
{
    bool good = true;

    if (new->kind == VFM_SECTION_KIND_RAM)
        good = new->version == RAM_SECTION_VERSION;
    else if (new->kind == VFM_SECTION_KIND_VFIO)
        good = new->version <= VFIO_SECTION_VERSION;
    if (good)
        return 0;
    return decoder_fail(dec, -EOPNOTSUPP, dec->in.offset,
                        "version %" PRIu32 " of the section '%s' is not known",
                        new->version, new->name);
}

/* Only RAM and VFIO come in parts as far as we can read, and only they tell
 * where a part ends. */
static int check_kind(struct vfm_decoder *dec, const struct section *new,
                      enum vfm_section_type type)
{
    if (type == VFM_SECTION_START && new->kind == VFM_SECTION_KIND_OTHER)
        return decoder_fail(dec, -EOPNOTSUPP, dec->in.offset,
                            "section '%s' (START): what it holds is not known, "
                            "so neither is its length",
                            new->name);
    if (type == VFM_SECTION_START && new->kind == VFM_SECTION_KIND_BLOB)
        return decoder_fail(dec, -EPROTO, dec->in.offset,
                            "section '%s' (START): a blob comes in one piece",
                            new->name);
    if (type == VFM_SECTION_FULL && new->kind == VFM_SECTION_KIND_RAM)
        return decoder_fail(dec, -EPROTO, dec->in.offset,
                            "section 'ram' (FULL): RAM comes in parts");
    return 0;
}

/* Finds the entry of a section that comes with its name, or makes it. */
static int enter(struct vfm_decoder *dec, const struct section *new,
                 enum vfm_section_type type)
{
    struct section *by_id = find_id(dec, new->id);
    struct section *by_name = find_name(dec, new->name, new->instance_id);
    int ret;

    if (by_id != by_name)
        return decoder_fail(dec, -EPROTO, dec->in.offset,
                            "section '%s' (%s): its id %" PRIu32
                            " is not the only one of its name, or not its own",
                            new->name, vfm_section_type_name(type), new->id);
    if (by_id != NULL) {
        dec->current = (size_t)(by_id - dec->sections);
        return 0;
    }
    ret = enlarge(dec);
    if (ret < 0)
        return ret;
    dec->current = dec->num_sections++;
    dec->sections[dec->current] = *new;
    return 0;
}

/* What may come when.  The section is the current one. */
static int check_order(struct vfm_decoder *dec, enum vfm_section_type type,
                       uint64_t at)
{
    const struct section *s = decoder_section(dec);
    const char *why = NULL;

    switch (type) {
    case VFM_SECTION_START:
        if (s->started || s->full)
            why = "it has begun before";
        break;
    case VFM_SECTION_PART:
    case VFM_SECTION_END:
        if (!s->started)
            why = "it has not begun by a START";
        else if (s->ended)
            why = "it has ended before";
        break;
    case VFM_SECTION_FULL:
        if (s->full)
            why = "it came before";
        else if (s->kind == VFM_SECTION_KIND_VFIO && !s->started)
            why = "it has not begun by a START";
        else if (s->kind == VFM_SECTION_KIND_VFIO && !s->ended)
            why = "its END is missing";
        break;
    }
    if (why == NULL)
        return 0;
    return decoder_fail(dec, -EPROTO, at, "section '%s' (%s): %s", s->name,
                        vfm_section_type_name(type), why);
}

static void note_order(struct vfm_decoder *dec, enum vfm_section_type type)
{
    struct section *s = decoder_section(dec);

    if (type == VFM_SECTION_START)
        s->started = true;
    if (type == VFM_SECTION_END)
        s->ended = true;
    if (type == VFM_SECTION_FULL) {
        s->full = true;
        dec->num_full++;
    }
}

static const struct step *body_step(const struct section *s)
{
    switch (s->kind) {
    case VFM_SECTION_KIND_RAM:
        return &step_ram_word;
    case VFM_SECTION_KIND_VFIO:
        return &step_vfio_tag;
    case VFM_SECTION_KIND_BLOB:
        return &step_blob;
    case VFM_SECTION_KIND_OTHER:
        break;
    }
    return &step_opaque;
}

static int begin_body(struct vfm_decoder *dec, enum vfm_section_type type,
                      size_t len, struct vfm_stream_event *ev)
{
    uint64_t at = dec->in.offset;
    const struct section *s = decoder_section(dec);
    bool warn = s->kind == VFM_SECTION_KIND_VFIO && s->version == 0 &&
                type == VFM_SECTION_START;
    int ret = check_order(dec, type, at);

    if (ret < 0)
        return ret;
    note_order(dec, type);
    dec->type = type;
    dec->setup_seen = false;
    input_consume(&dec->in, len);
    dec->body = dec->in.offset;
    decoder_event(dec, ev, VFM_STREAM_SECTION_BEGIN, at);
    return decoder_go(dec, warn ? &step_version_warning : body_step(s),
                      STEP_EVENT);
}

static int run_version_warning(struct vfm_decoder *dec,
                               struct vfm_stream_event *ev)
{
    decoder_event(dec, ev, VFM_STREAM_WARNING, dec->body);
    ev->u.warning = "a VFIO section of version 0";
    return decoder_go(dec, body_step(decoder_section(dec)), STEP_EVENT);
}

static const struct step step_version_warning = { "the body",
                                                  run_version_warning };

/* START and FULL carry the name. */
static int begin_named(struct vfm_decoder *dec, enum vfm_section_type type,
                       struct vfm_stream_event *ev)
{
    struct section new = { 0 };
    const uint8_t *p;
    size_t len;
    int ret = input_need(&dec->in, BEGIN_BYTES, &p);

    if (ret <= 0)
        return ret;
    len = (size_t)BEGIN_BYTES + p[5] + BEGIN_TAIL;
    ret = input_need(&dec->in, len, &p);
    if (ret <= 0)
        return ret;

    if (!decoder_copy_name(new.name, p + BEGIN_BYTES, p[5]))
        return decoder_fail(dec, -EBADMSG, dec->in.offset + BEGIN_BYTES,
                            "a section's name has bytes that no name has");
    new.id = get_be32(p + 1);
    new.instance_id = get_be32(p + len - 8);
    new.version = get_be32(p + len - 4);
    new.kind = kind_of(new.name);
    ret = check_version(dec, &new);
    if (ret == 0)
        ret = check_kind(dec, &new, type);
    if (ret == 0)
        ret = enter(dec, &new, type);
    if (ret < 0)
        return ret;
    return begin_body(dec, type, len, ev);
}

/* PART and END have the id only. */
static int begin_continued(struct vfm_decoder *dec, enum vfm_section_type type,
                           struct vfm_stream_event *ev)
{
    struct section *s;
    const uint8_t *p;
    int ret = input_need(&dec->in, CONTINUE_BYTES, &p);

    if (ret <= 0)
        return ret;
    s = find_id(dec, get_be32(p + 1));
    if (s == NULL)
        return decoder_fail(dec, -EPROTO, dec->in.offset,
                            "a section (%s) of the id %" PRIu32
                            ", which no START has brought",
                            vfm_section_type_name(type), get_be32(p + 1));
    dec->current = (size_t)(s - dec->sections);
    return begin_body(dec, type, CONTINUE_BYTES, ev);
}

static int run_begin(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, 1, &p);

    if (ret <= 0)
        return ret;
    if (p[0] == VFM_SECTION_START || p[0] == VFM_SECTION_FULL)
        return begin_named(dec, (enum vfm_section_type)p[0], ev);
    return begin_continued(dec, (enum vfm_section_type)p[0], ev);
}

const struct step step_section_begin = { "the beginning of a section",
                                         run_begin };

/* ---------------------------------------------------------------------- */

/* The first section decides whether all of them have a footer. */
static int decide_footers(struct vfm_decoder *dec, uint8_t next)
{
    if (next == ITEM_FOOTER)
        dec->footers = FOOTERS_PRESENT;
    else if (item_is_known(next))
        dec->footers = FOOTERS_ABSENT;
    else
        return decoder_fail_section(dec, -EBADMSG, dec->in.offset,
                                    "0x%02x stands where it should end", next);
    return 0;
}

static int check_footer(struct vfm_decoder *dec, const uint8_t *p)
{
    if (p[0] != ITEM_FOOTER)
        return decoder_fail_section(dec, -EBADMSG, dec->in.offset,
                                    "0x%02x stands where its footer should",
                                    p[0]);
    if (get_be32(p + 1) != decoder_section(dec)->id)
        return decoder_fail_section(dec, -EBADMSG, dec->in.offset,
                                    "its id is %" PRIu32
                                    ", but its footer's %" PRIu32,
                                    decoder_section(dec)->id, get_be32(p + 1));
    return 0;
}

/* A length that the vmdescription tells must be the true one. */
static int check_length(struct vfm_decoder *dec, uint64_t end)
{
    uint64_t bytes = end - dec->body;
    uint64_t told;

    if (dec->sizes == NULL || dec->type != VFM_SECTION_FULL)
        return 0;
    told = dec->sizes->sections[dec->num_full - 1].bytes;
    if (bytes == told)
        return 0;
    return decoder_fail_section(dec, -EBADMSG, end,
                                "it has %" PRIu64 " bytes, but %" PRIu64
                                " by the vmdescription",
                                bytes, told);
}

/* The body has ended at @end, and the footer is read, if there is one. */
static int end_section(struct vfm_decoder *dec, struct vfm_stream_event *ev,
                       uint64_t end)
{
    int ret = check_length(dec, end);

    if (ret < 0)
        return ret;
    decoder_event(dec, ev, VFM_STREAM_SECTION_END, end);
    ev->u.section_end.bytes = end - dec->body;
    ev->u.section_end.footer = dec->footers == FOOTERS_PRESENT;
    dec->type = (enum vfm_section_type)0;
    return decoder_go(dec, &step_item, STEP_EVENT);
}

static int run_section_end(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    uint64_t end = dec->in.offset;
    const uint8_t *p;
    int ret = input_need(&dec->in, 1, &p);

    if (ret > 0 && dec->footers == FOOTERS_UNKNOWN) {
        ret = decide_footers(dec, p[0]);
        if (ret < 0)
            return ret;
        ret = 1;
    }
    if (ret > 0 && dec->footers == FOOTERS_PRESENT)
        ret = input_need(&dec->in, p[0] == ITEM_FOOTER ? FOOTER_BYTES : 1, &p);
    if (ret <= 0)
        return ret;
    if (dec->footers == FOOTERS_PRESENT) {
        ret = check_footer(dec, p);
        if (ret < 0)
            return ret;
        input_consume(&dec->in, FOOTER_BYTES);
    }
    return end_section(dec, ev, end);
}

const struct step step_section_end = { "its footer", run_section_end };

static int run_section_end_read(struct vfm_decoder *dec,
                                struct vfm_stream_event *ev)
{
    return end_section(dec, ev, dec->in.offset - FOOTER_BYTES);
}

const struct step step_section_end_read = { "its footer",
                                            run_section_end_read };

/* ---------------------------------------------------------------------- */

int section_check_complete(struct vfm_decoder *dec)
{
    for (size_t i = 0; i < dec->num_sections; i++) {
        const struct section *s = &dec->sections[i];
        const char *missing = NULL;

        if (s->started && !s->ended)
            missing = "END";
        else if (s->kind == VFM_SECTION_KIND_VFIO && !s->full)
            missing = "FULL";
        if (missing != NULL)
            return decoder_fail(dec, -EPROTO, dec->in.offset,
                                "the sections end, but section '%s' has no %s",
                                s->name, missing);
    }
    return 0;
}
