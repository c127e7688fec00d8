/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bodies of sections whose contents we do not know.  They carry no length;
 * only the vmdescription at the end of the stream tells it.  So from the
 * first such body on all bytes are kept until the vmdescription is found:
 * something that looks like one, is JSON, and whose lengths lead through the
 * kept bytes exactly to its own beginning.  Then the steps run again, over
 * the kept bytes.
 *
 * The end of the input is not waited for: a peer may keep a socket open.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream/decoder.h"
#include "util/bytes.h"

static const struct step step_hold;

/* EOF, the type, the length and the beginning of the text: 00 06 len32, {"
 * and letters of the first key.  The letters see to it that no candidate
 * begins in the first bytes of another. */
#define CANDIDATE_BYTES   12
#define CANDIDATE_JSON    6 /* where its text begins */
#define CANDIDATE_LETTERS 8

#define HELD_MIN          65536

static int run_opaque_bytes(struct vfm_decoder *dec,
                            struct vfm_stream_event *ev)
{
    uint64_t at = dec->in.offset;
    const uint8_t *p;
    size_t len;

    if (dec->opaque_remaining == 0)
        return decoder_go(dec, &step_section_end, STEP_AGAIN);
    len = input_take(&dec->in, dec->opaque_remaining, &p);
    if (len == 0)
        return STEP_MORE;
    dec->opaque_remaining -= len;
    decoder_event(dec, ev, VFM_STREAM_OPAQUE, at);
    ev->data = p;
    ev->len = len;
    return STEP_EVENT;
}

static const struct step step_opaque_bytes = { "the body", run_opaque_bytes };

static int run_opaque(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    (void)ev;
    if (dec->sizes == NULL)
        return decoder_go(dec, &step_hold, STEP_AGAIN);
    /* The lengths were found to lead through all sections: see walk(). */
    dec->opaque_remaining = dec->sizes->sections[dec->num_full - 1].bytes;
    return decoder_go(dec, &step_opaque_bytes, STEP_AGAIN);
}

const struct step step_opaque = { "the body", run_opaque };

/* ---------------------------------------------------------------------- */

/* A position in the kept bytes, up to where the vmdescription may begin. */
struct walk {
    const uint8_t *p;
    size_t left;
};

static bool skip(struct walk *w, uint64_t len)
{
    if (len > w->left)
        return false;
    w->p += len;
    w->left -= (size_t)len;
    return true;
}

static bool skip_footer(struct walk *w, const struct vfm_decoder *dec,
                        uint32_t id)
{
    bool there = w->left >= FOOTER_BYTES && w->p[0] == ITEM_FOOTER &&
                 get_be32(w->p + 1) == id;

    if (dec->footers == FOOTERS_ABSENT)
        return true;
    if (dec->footers == FOOTERS_UNKNOWN && !there)
        return true;
    return there && skip(w, FOOTER_BYTES);
}

static bool is_named(const struct vmdescription_section *told, const char *name,
                     size_t len, uint32_t instance_id)
{
    return told->instance_id == instance_id && strlen(told->name) == len &&
           memcmp(told->name, name, len) == 0;
}

/* Passes over the header of a FULL section, which must be @told. */
static bool skip_header(struct walk *w,
                        const struct vmdescription_section *told, uint32_t *id)
{
    size_t len;

    if (w->left < 6 || w->p[0] != VFM_SECTION_FULL)
        return false;
    len = w->p[5];
    if (w->left < 6 + len + 8)
        return false;
    *id = get_be32(w->p + 1);
    return is_named(told, (const char *)w->p + 6, len,
                    get_be32(w->p + 6 + len)) &&
           skip(w, 6 + len + 8);
}

/* Do the lengths of @told lead from the current section's body, with which
 * the kept bytes begin, through @len of them exactly? */
static bool walk(struct vfm_decoder *dec, const struct vmdescription *told,
                 size_t len)
{
    const struct section *s = decoder_section(dec);
    struct walk w = { dec->held.buf, len };
    size_t i = dec->num_full - 1;
    uint32_t id = s->id;

    if (i >= told->num_sections ||
        !is_named(&told->sections[i], s->name, strlen(s->name), s->instance_id))
        return false;
    for (; i < told->num_sections; i++) {
        if (i >= dec->num_full && !skip_header(&w, &told->sections[i], &id))
            return false;
        if (!skip(&w, told->sections[i].bytes) || !skip_footer(&w, dec, id))
            return false;
    }
    return w.left == 0;
}

/* ---------------------------------------------------------------------- */

static bool is_candidate(const uint8_t *p)
{
    if (p[0] != ITEM_EOF || p[1] != ITEM_VMDESCRIPTION ||
        p[CANDIDATE_JSON] != '{' || p[CANDIDATE_JSON + 1] != '"')
        return false;
    for (size_t i = CANDIDATE_LETTERS; i < CANDIDATE_BYTES; i++)
        if (p[i] < 'a' || p[i] > 'z')
            return false;
    return true;
}

/* Returns 1, 0 if there is none yet, or a negative errno if there can be none
 * within the limit: a limit on where it begins, so that it does not depend on
 * how the input was split. */
static int find_candidate(struct vfm_decoder *dec)
{
    struct held *held = &dec->held;
    const uint8_t *p;

    for (; held->scanned + CANDIDATE_BYTES <= held->len; held->scanned++) {
        if (held->scanned > dec->options.max_held)
            return decoder_fail_section(
                dec, -E2BIG, dec->in.offset,
                "its length is not known, and no vmdescription that tells it "
                "came within %zu bytes",
                dec->options.max_held);
        p = held->buf + held->scanned;
        if (!is_candidate(p))
            continue;
        held->json_len = get_be32(p + 2);
        if (held->json_len < CANDIDATE_BYTES - CANDIDATE_JSON ||
            held->json_len > dec->options.max_vmdescription)
            continue;
        held->json = held->scanned + CANDIDATE_JSON;
        held->json_seen = 0;
        return 1;
    }
    return 0;
}

/* The text of a vmdescription has no control characters.  Whatever begins
 * another candidate is one, so no byte is looked at often. */
static bool text_goes_on(struct held *held)
{
    size_t have = held->len - held->json;

    if (have > held->json_len)
        have = held->json_len;
    for (; held->json_seen < have; held->json_seen++)
        if (held->buf[held->json + held->json_seen] < 0x20)
            return false;
    return true;
}

/* Is the candidate, whose text is complete, the vmdescription? */
static int try_candidate(struct vfm_decoder *dec)
{
    struct held *held = &dec->held;
    struct vmdescription *told;
    int ret = vmdescription_parse((const char *)held->buf + held->json,
                                  held->json_len, &told, NULL);

    if (ret == -ENOMEM)
        return ret;
    if (ret < 0)
        return false;
    if (!walk(dec, told, held->scanned)) {
        vmdescription_free(told);
        return false;
    }
    dec->sizes = told;
    return true;
}

/* Returns 1 if the vmdescription is there, whole, 0 if not, or a negative
 * errno. */
static int search(struct vfm_decoder *dec)
{
    struct held *held = &dec->held;
    int ret;

    for (;;) {
        if (held->json == 0) {
            ret = find_candidate(dec);
            if (ret <= 0)
                return ret;
        }
        ret = text_goes_on(held);
        if (ret > 0 && held->json_seen < held->json_len)
            return 0;
        if (ret > 0)
            ret = try_candidate(dec);
        if (ret != 0)
            return ret;
        held->json = 0;
        held->scanned++;
    }
}

/* ---------------------------------------------------------------------- */

static int enlarge(struct held *held, size_t len)
{
    size_t size = held->size > 0 ? held->size : HELD_MIN;
    uint8_t *buf;

    while (size < len)
        size *= 2;
    if (size == held->size)
        return 0;
    buf = realloc(held->buf, size);
    if (buf == NULL)
        return -ENOMEM;
    held->buf = buf;
    held->size = size;
    return 0;
}

/* Keeps what the window holds.  The limit is never reached: before that there
 * is a vmdescription or an error. */
static int keep(struct vfm_decoder *dec)
{
    struct held *held = &dec->held;
    size_t limit = dec->options.max_held + CANDIDATE_BYTES +
                   dec->options.max_vmdescription + 1;
    size_t len = dec->in.len;
    int ret;

    assert(held->len < limit);
    if (len > limit - held->len)
        len = limit - held->len;
    ret = enlarge(held, held->len + len);
    if (ret < 0)
        return ret;
    memcpy(held->buf + held->len, dec->in.window, len);
    held->len += len;
    dec->in.window += len;
    dec->in.len -= len;
    return 0;
}

/* Gives back to the window what came after the vmdescription. */
static void give_back(struct vfm_decoder *dec)
{
    size_t rest = dec->held.len - (dec->held.json + dec->held.json_len);

    dec->held.len -= rest;
    dec->in.window -= rest;
    dec->in.len += rest;
}

static int run_hold(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    int ret;

    (void)ev;
    while (dec->in.len > 0) {
        ret = keep(dec);
        if (ret == 0)
            ret = search(dec);
        if (ret < 0)
            return ret;
        if (ret > 0) {
            give_back(dec);
            dec->held.replaying = true;
            return decoder_go(dec, &step_opaque, STEP_REFEED);
        }
    }
    return STEP_MORE;
}

static const struct step step_hold = {
    "the body, whose length is only told by the vmdescription", run_hold
};
