/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where in a stream the states of devices are that are replaced, and what is
 * written instead.  One part of the new state goes where one of the old was, so
 * that what is between them stays between them; what is left of either is put
 * before the END section, or left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "splice.h"
#include "stream/format.h"
#include "stream/pci-config.h"
#include "util/bytes.h"
#include "util/error.h"

/* Of a state that comes without records. */
#define RECORD_MAX   (UINT64_C(1) << 20)

#define EMPTY_BODY   8
#define CONTINUE_LEN 5

struct planner {
    struct plan *plan;
    struct part *parts;
    size_t num_parts;
    struct part *part; /* whose section we are in, or NULL */
    uint64_t section;  /* where it begins */
    uint64_t body;
    char machine[256]; /* the stream's; "" if it names none */
};

/* Adds an edit, its bytes to be filled in. */
static struct edit *add_edit(struct plan *plan, uint64_t at, uint64_t skip)
{
    size_t size = plan->edits_size > 0 ? 2 * plan->edits_size : 64;
    struct edit *edits;

    if (plan->num_edits == plan->edits_size) {
        edits = realloc(plan->edits, size * sizeof(*edits));
        if (edits == NULL)
            return NULL;
        plan->edits = edits;
        plan->edits_size = size;
    }
    edits = &plan->edits[plan->num_edits++];
    *edits = (struct edit){ .at = at, .skip = skip };
    return edits;
}

static int put_bytes(struct plan *plan, uint64_t at, uint64_t skip,
                     const void *bytes, size_t len)
{
    struct edit *edit = add_edit(plan, at, skip);

    if (edit == NULL)
        return -ENOMEM;
    edit->bytes = malloc(len + 1);
    if (edit->bytes == NULL)
        return -ENOMEM;
    memcpy(edit->bytes, bytes, len);
    edit->len = len;
    return 0;
}

static int put_body(struct plan *plan, uint64_t at, uint64_t skip,
                    const struct part *part, struct body body)
{
    struct edit *edit = add_edit(plan, at, skip);

    if (edit == NULL)
        return -ENOMEM;
    edit->file = &part->file;
    edit->offset = body.offset;
    edit->len = body.len;
    return 0;
}

/* The beginning or the footer of a section of @id. */
static int put_mark(struct plan *plan, uint64_t at, uint8_t type, uint32_t id)
{
    uint8_t bytes[CONTINUE_LEN] = { type };

    put_be32(bytes + 1, id);
    return put_bytes(plan, at, 0, bytes, sizeof(bytes));
}

/* State without records gets some. */
static int put_raw(struct planner *p, uint64_t at, uint64_t skip)
{
    const struct part *part = p->part;
    uint8_t head[2 * VFIO_TAG_BYTES];
    int ret = put_bytes(p->plan, at, skip, "", 0);

    for (uint64_t done = 0; ret == 0 && done < part->bytes;) {
        uint64_t left = part->bytes - done;
        const struct body body = { done,
                                   left < RECORD_MAX ? left : RECORD_MAX };

        put_be64(head, VFIO_TAG_DATA);
        put_be64(head + VFIO_TAG_BYTES, body.len);
        ret = put_bytes(p->plan, at + skip, 0, head, sizeof(head));
        if (ret == 0)
            ret = put_body(p->plan, at + skip, 0, part, body);
        done += body.len;
    }
    put_be64(head, VFIO_TAG_END_OF_STATE);
    return ret < 0 ? ret
                   : put_bytes(p->plan, at + skip, 0, head, VFIO_TAG_BYTES);
}

/* What is left of the new state's parts, as sections of their own. */
static int put_rest(struct planner *p, uint64_t at, uint32_t id, bool footer)
{
    struct part *part = p->part;
    int ret = 0;

    for (; ret == 0 && part->next < part->num_parts; part->next++) {
        ret = put_mark(p->plan, at, VFM_SECTION_PART, id);
        if (ret == 0)
            ret = put_body(p->plan, at, 0, part, part->parts[part->next]);
        if (ret == 0 && footer)
            ret = put_mark(p->plan, at, ITEM_FOOTER, id);
    }
    return ret;
}

/* ---------------------------------------------------------------------- */

static struct part *find_part(const struct planner *p, const char *section)
{
    for (size_t i = 0; i < p->num_parts; i++)
        if (strcmp(p->parts[i].section, section) == 0)
            return &p->parts[i];
    return NULL;
}

static void begin_section(struct planner *p, const struct vfm_stream_event *ev)
{
    bool named = ev->section.type == VFM_SECTION_START ||
                 ev->section.type == VFM_SECTION_FULL;

    p->part =
        ev->section.instance_id == 0 ? find_part(p, ev->section.name) : NULL;
    p->section = ev->offset;
    p->body =
        ev->offset + CONTINUE_LEN + (named ? 9 + strlen(ev->section.name) : 0);
    if (p->part != NULL)
        p->part->used = true;
}

static int end_part(struct planner *p, const struct vfm_stream_event *ev)
{
    uint64_t len = ev->u.section_end.bytes;
    uint64_t all =
        CONTINUE_LEN + len + (ev->u.section_end.footer ? FOOTER_BYTES : 0);

    if (p->part->next < p->part->num_parts)
        return put_body(p->plan, p->body, len, p->part,
                        p->part->parts[p->part->next++]);
    return put_bytes(p->plan, p->section, all, "", 0);
}

static int end_end(struct planner *p, const struct vfm_stream_event *ev)
{
    uint64_t len = ev->u.section_end.bytes;
    int ret = put_rest(p, p->section, ev->section.id, ev->u.section_end.footer);

    if (ret < 0)
        return ret;
    return p->part->raw
               ? put_raw(p, p->body, len)
               : put_body(p->plan, p->body, len, p->part, p->part->end);
}

/* The record, as the guest of this machine sees the device. */
static int put_record(struct planner *p, uint64_t len, struct vfm_error *err)
{
    const struct part *part = p->part;
    struct body body = part->full;
    uint8_t head[VFIO_TAG_BYTES + PCI_CONFIG_SPACE_AT + PCI_CFG_SPACE_SIZE];
    int ret;

    if (!pci_config_is_integrated(p->machine, part->section) ||
        body.len < sizeof(head))
        return put_body(p->plan, p->body, len, part, body);
    ret = piece_file_read_at(&part->file, head, sizeof(head), body.offset, err);
    if (ret < 0)
        return ret;
    if (get_be64(head) == VFIO_TAG_CONFIG)
        pci_config_integrate(head + VFIO_TAG_BYTES + PCI_CONFIG_SPACE_AT);
    ret = put_bytes(p->plan, p->body, len, head, sizeof(head));
    body.offset += sizeof(head);
    body.len -= sizeof(head);
    return ret < 0 ? ret : put_body(p->plan, p->body + len, 0, part, body);
}

static int end_full(struct planner *p, const struct vfm_stream_event *ev,
                    struct vfm_error *err)
{
    uint64_t len = ev->u.section_end.bytes;

    p->part->full_was = len;
    if (p->part->raw && len <= EMPTY_BODY)
        return error_set(err, -ENODATA,
                         "section '%s': its configuration record went through "
                         "a multifd channel, and '%s' has none",
                         p->part->section, p->part->path);
    return p->part->raw ? 0 : put_record(p, len, err);
}

static int end_section(struct planner *p, const struct vfm_stream_event *ev,
                       struct vfm_error *err)
{
    if (p->part == NULL && ev->section.kind == VFM_SECTION_KIND_VFIO &&
        ev->section.type == VFM_SECTION_FULL &&
        ev->u.section_end.bytes <= EMPTY_BODY)
        return error_set(err, -ENODATA,
                         "section '%s': part of its state went through multifd "
                         "channels",
                         ev->section.name);
    if (p->part == NULL)
        return 0;
    switch (ev->section.type) {
    case VFM_SECTION_PART:
        return end_part(p, ev);
    case VFM_SECTION_END:
        return end_end(p, ev);
    case VFM_SECTION_FULL:
        return end_full(p, ev, err);
    case VFM_SECTION_START:
    default:
        return 0;
    }
}

static int edit_description(struct planner *p,
                            const struct vfm_stream_event *ev,
                            struct vfm_error *err)
{
    uint8_t head[4];
    size_t len;
    char *text;
    int ret;

    for (size_t i = 0; i < p->num_parts; i++)
        if (!p->parts[i].used)
            return error_set(err, -ENODEV,
                             "it holds no device '%s' whose state could be "
                             "replaced",
                             p->parts[i].section);
    ret =
        text_edit(ev->data, ev->len, p->parts, p->num_parts, &text, &len, err);
    if (ret < 0)
        return ret;
    put_be32(head, (uint32_t)len);
    ret = put_bytes(p->plan, ev->offset + 1, 4 + ev->len, head, sizeof(head));
    if (ret == 0)
        ret = put_bytes(p->plan, ev->offset + 5 + ev->len, 0, text, len);
    free(text);
    return ret;
}

/* Behind the configuration, and before all else, a stream may ask for answers.
 */
static int edit_return_path(struct planner *p,
                            const struct vfm_stream_event *ev)
{
    static const uint8_t ask[] = { ITEM_COMMAND, 0, 1, 0, 0, /* OPEN */
                                   ITEM_COMMAND, 0, 2, 0, 4, 0, 0, 0, 1 };
    bool opens = ev->type == VFM_STREAM_COMMAND &&
                 ev->u.command.number == VFM_COMMAND_OPEN_RETURN_PATH;

    if (!p->plan->ask || ev->type == VFM_STREAM_HEADER ||
        ev->type == VFM_STREAM_CONFIGURATION)
        return 0;
    p->plan->ask = false;
    return opens ? 0 : put_bytes(p->plan, ev->offset, 0, ask, sizeof(ask));
}

static int take(struct planner *p, const struct vfm_stream_event *ev,
                struct vfm_error *err)
{
    int ret = edit_return_path(p, ev);

    if (ret < 0)
        return ret;
    switch (ev->type) {
    case VFM_STREAM_CONFIGURATION:
        strncpy(p->machine, ev->u.configuration.machine,
                sizeof(p->machine) - 1);
        return 0;
    case VFM_STREAM_SECTION_BEGIN:
        begin_section(p, ev);
        return 0;
    case VFM_STREAM_SECTION_END:
        return end_section(p, ev, err);
    case VFM_STREAM_RAM_FLUSH:
        return error_set(err, -EOPNOTSUPP,
                         "offset %" PRIu64 ": memory went through multifd "
                         "channels, and the stream is not whole without them",
                         ev->offset);
    case VFM_STREAM_EOF:
        p->plan->eof_at = ev->offset;
        return 0;
    case VFM_STREAM_VMDESCRIPTION:
        return edit_description(p, ev, err);
    default:
        return 0;
    }
}

static int read_stream(struct planner *p, struct stream_reader *reader,
                       struct vfm_error *err)
{
    struct vfm_stream_event ev;
    int ret;

    while ((ret = stream_reader_next(reader, &ev, err)) > 0) {
        struct vfm_error why = { 0 };

        ret = take(p, &ev, &why);
        if (ret < 0)
            return error_set(err, ret, "%s",
                             why.code < 0 ? why.message : "out of memory");
    }
    p->plan->stream_bytes = reader->file.bytes;
    return ret;
}

int plan_make(struct plan *plan, const char *name, struct part *parts,
              size_t num_parts, struct vfm_error *err)
{
    struct planner p = { .plan = plan, .parts = parts, .num_parts = num_parts };
    struct stream_reader reader;
    uint64_t size;
    int ret = piece_file_open(&plan->file, name, err);

    if (ret == 0)
        ret = piece_file_size(&plan->file,
                              "it is read twice, so it must be a regular file",
                              &size, err);
    if (ret < 0)
        return ret;
    ret = stream_reader_open(&reader, name, err);
    if (ret < 0)
        return ret;
    ret = read_stream(&p, &reader, err);
    stream_reader_close(&reader);
    return ret;
}

void plan_free(struct plan *plan)
{
    for (size_t i = 0; i < plan->num_edits; i++)
        free(plan->edits[i].bytes);
    free(plan->edits);
    piece_file_close(&plan->file);
    *plan = (struct plan){ 0 };
}
