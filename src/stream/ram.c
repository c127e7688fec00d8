/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The body of RAM's section: words of an address with flags in its low bits,
 * each followed by what the flags say.  Nobody's memory is written here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "stream/decoder.h"
#include "util/bytes.h"

static const struct step step_block;
static const struct step step_page;

#define WORD_BYTES 8

/* ---------------------------------------------------------------------- */

static int find_block(const struct vfm_decoder *dec, const char *name,
                      size_t *block)
{
    for (size_t i = 0; i < dec->num_blocks; i++)
        if (strcmp(dec->blocks[i].name, name) == 0) {
            *block = i;
            return 0;
        }
    return -ENOENT;
}

static int add_block(struct vfm_decoder *dec, const char *name, uint64_t bytes)
{
    size_t size = dec->blocks_size > 0 ? 2 * dec->blocks_size : 8;
    struct ram_block *blocks;
    size_t known;

    if (find_block(dec, name, &known) == 0)
        return decoder_fail_section(dec, -EPROTO, dec->in.offset,
                                    "the block '%s' is announced twice", name);
    if (dec->num_blocks == RAM_BLOCKS_MAX)
        return decoder_fail_section(dec, -E2BIG, dec->in.offset,
                                    "more than %d blocks", RAM_BLOCKS_MAX);
    if (dec->num_blocks == dec->blocks_size) {
        blocks = realloc(dec->blocks, size * sizeof(*blocks));
        if (blocks == NULL)
            return -ENOMEM;
        dec->blocks = blocks;
        dec->blocks_size = size;
    }
    dec->blocks[dec->num_blocks].bytes = bytes;
    strcpy(dec->blocks[dec->num_blocks].name, name);
    dec->num_blocks++;
    return 0;
}

/* One of the blocks behind a MEM_SIZE word, until its total is used up. */
static int run_block(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    uint64_t at = dec->in.offset;
    char name[STREAM_NAME_MAX + 1];
    const uint8_t *p;
    uint64_t bytes;
    size_t len;
    int ret = input_need(&dec->in, 1, &p);

    if (ret <= 0)
        return ret;
    len = 1u + p[0] + 8u + (dec->ignore_shared ? 8u : 0u);
    ret = input_need(&dec->in, len, &p);
    if (ret <= 0)
        return ret;
    if (!decoder_copy_name(name, p + 1, p[0]))
        return decoder_fail_section(dec, -EBADMSG, at,
                                    "a block's name has bytes that no name "
                                    "has");
    bytes = get_be64(p + 1 + p[0]);
    if (bytes > dec->announce_remaining)
        return decoder_fail_section(dec, -EBADMSG, at,
                                    "the blocks have more bytes than their "
                                    "total, at '%s'",
                                    name);
    ret = add_block(dec, name, bytes);
    if (ret < 0)
        return ret;

    decoder_event(dec, ev, VFM_STREAM_RAM_BLOCK, at);
    ev->u.ram.block = dec->blocks[dec->num_blocks - 1].name;
    ev->u.ram.block_size = bytes;
    if (dec->ignore_shared)
        ev->u.ram.address = get_be64(p + len - 8);
    input_consume(&dec->in, len);
    dec->block = dec->num_blocks;
    dec->announce_remaining -= bytes;
    return decoder_go(
        dec, dec->announce_remaining > 0 ? &step_block : &step_ram_word,
        STEP_EVENT);
}

static const struct step step_block = { "the list of blocks", run_block };

static int read_mem_size(struct vfm_decoder *dec, uint64_t total)
{
    if (dec->type != VFM_SECTION_START || dec->blocks_announced)
        return decoder_fail_section(dec, -EPROTO, dec->in.offset,
                                    "a list of blocks does not belong here");
    dec->blocks_announced = true;
    dec->announce_remaining = total;
    input_consume(&dec->in, WORD_BYTES);
    return decoder_go(dec, total > 0 ? &step_block : &step_ram_word,
                      STEP_AGAIN);
}

/* ---------------------------------------------------------------------- */

static void page_event(const struct vfm_decoder *dec,
                       struct vfm_stream_event *ev,
                       enum vfm_stream_event_type type)
{
    decoder_event(dec, ev, type, dec->page_offset);
    ev->u.ram.block = dec->blocks[dec->block].name;
    ev->u.ram.block_size = dec->blocks[dec->block].bytes;
    ev->u.ram.address = dec->page_address;
}

static int run_page(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, dec->page_size, &p);

    if (ret <= 0)
        return ret;
    page_event(dec, ev, VFM_STREAM_RAM_PAGE);
    ev->data = p;
    ev->len = dec->page_size;
    input_consume(&dec->in, dec->page_size);
    return decoder_go(dec, &step_ram_word, STEP_EVENT);
}

static const struct step step_page = { "a page", run_page };

static int read_zero(struct vfm_decoder *dec, struct vfm_stream_event *ev,
                     size_t head)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, head + 1, &p);

    if (ret <= 0)
        return ret;
    if (p[head] != 0)
        return decoder_fail_section(dec, -EBADMSG, dec->in.offset + head,
                                    "a page of zeroes is said to be of 0x%02x",
                                    p[head]);
    input_consume(&dec->in, head + 1);
    page_event(dec, ev, VFM_STREAM_RAM_ZERO);
    return STEP_EVENT;
}

static int read_xbzrle(struct vfm_decoder *dec, struct vfm_stream_event *ev,
                       size_t head)
{
    const uint8_t *p;
    size_t len;
    int ret = input_need(&dec->in, head + 3, &p);

    if (ret <= 0)
        return ret;
    len = get_be16(p + head + 1);
    if (p[head] != 1 || len > dec->page_size)
        return decoder_fail_section(dec, -EBADMSG, dec->in.offset + head,
                                    "an XBZRLE record of the kind %u with %zu "
                                    "bytes",
                                    p[head], len);
    ret = input_need(&dec->in, head + 3 + len, &p);
    if (ret <= 0)
        return ret;
    input_consume(&dec->in, head + 3 + len);
    page_event(dec, ev, VFM_STREAM_RAM_XBZRLE);
    ev->data = p + head + 3;
    ev->len = len;
    return STEP_EVENT;
}

/* Finds out which block the record at @p is for. */
static int choose_block(struct vfm_decoder *dec, const uint8_t *p,
                        bool same_block)
{
    char name[STREAM_NAME_MAX + 1];

    if (same_block) {
        if (dec->block < dec->num_blocks)
            return 0;
        return decoder_fail_section(dec, -EPROTO, dec->in.offset,
                                    "a page of the same block as before, but "
                                    "there was none");
    }
    if (!decoder_copy_name(name, p + WORD_BYTES + 1, p[WORD_BYTES]))
        return decoder_fail_section(dec, -EBADMSG, dec->in.offset + WORD_BYTES,
                                    "a block's name has bytes that no name "
                                    "has");
    if (find_block(dec, name, &dec->block) == 0)
        return 0;
    return decoder_fail_section(dec, -EBADMSG, dec->in.offset + WORD_BYTES,
                                "the block '%s' was not announced", name);
}

static int check_page(struct vfm_decoder *dec, uint64_t address)
{
    const struct ram_block *block = &dec->blocks[dec->block];

    dec->page_offset = dec->in.offset;
    dec->page_address = address;
    if (block->bytes >= dec->page_size &&
        address <= block->bytes - dec->page_size)
        return 0;
    return decoder_fail_section(dec, -EBADMSG, dec->in.offset,
                                "the page at 0x%" PRIx64
                                " is outside of block '%s'",
                                address, block->name);
}

static int read_page_record(struct vfm_decoder *dec,
                            struct vfm_stream_event *ev, uint64_t word)
{
    uint64_t flags = word & (dec->page_size - 1);
    bool same_block = (flags & RAM_FLAG_CONTINUE) != 0;
    size_t head = WORD_BYTES;
    const uint8_t *p;
    int ret;

    if (!same_block) {
        ret = input_need(&dec->in, WORD_BYTES + 1, &p);
        if (ret <= 0)
            return ret;
        head += 1u + p[WORD_BYTES];
    }
    ret = input_need(&dec->in, head, &p);
    if (ret <= 0)
        return ret;
    ret = choose_block(dec, p, same_block);
    if (ret == 0)
        ret = check_page(dec, word - flags);
    if (ret < 0)
        return ret;

    flags &= ~(uint64_t)RAM_FLAG_CONTINUE;
    if (flags == RAM_FLAG_ZERO)
        return read_zero(dec, ev, head);
    if (flags == RAM_FLAG_XBZRLE)
        return read_xbzrle(dec, ev, head);
    input_consume(&dec->in, head);
    return decoder_go(dec, &step_page, STEP_AGAIN);
}

/* ---------------------------------------------------------------------- */

static int refuse_flags(struct vfm_decoder *dec, uint64_t flags)
{
    if (flags == RAM_FLAG_HOOK)
        return decoder_fail_section(dec, -EOPNOTSUPP, dec->in.offset,
                                    "RDMA is not read");
    if (flags == RAM_FLAG_COMPRESSED || flags == RAM_FLAG_FULL)
        return decoder_fail_section(dec, -EOPNOTSUPP, dec->in.offset,
                                    "the flags 0x%" PRIx64 " are obsolete",
                                    flags);
    return decoder_fail_section(dec, -EBADMSG, dec->in.offset,
                                "the flags 0x%" PRIx64 " are not known", flags);
}

static int read_eos(struct vfm_decoder *dec)
{
    if (dec->type == VFM_SECTION_START && !dec->blocks_announced)
        return decoder_fail_section(dec, -EPROTO, dec->in.offset,
                                    "the list of blocks is missing");
    input_consume(&dec->in, WORD_BYTES);
    return decoder_go(dec, &step_section_end, STEP_AGAIN);
}

static int run_word(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    uint64_t word;
    uint64_t flags;
    const uint8_t *p;
    int ret = input_need(&dec->in, WORD_BYTES, &p);

    if (ret <= 0)
        return ret;
    word = get_be64(p);
    flags = word & (dec->page_size - 1);
    switch (flags) {
    case RAM_FLAG_MEM_SIZE:
        return read_mem_size(dec, word - flags);
    case RAM_FLAG_EOS:
        return read_eos(dec);
    case RAM_FLAG_MULTIFD_FLUSH:
        decoder_event(dec, ev, VFM_STREAM_RAM_FLUSH, dec->in.offset);
        input_consume(&dec->in, WORD_BYTES);
        return STEP_EVENT;
    case RAM_FLAG_ZERO:
    case RAM_FLAG_PAGE:
    case RAM_FLAG_XBZRLE:
    case RAM_FLAG_ZERO | RAM_FLAG_CONTINUE:
    case RAM_FLAG_PAGE | RAM_FLAG_CONTINUE:
    case RAM_FLAG_XBZRLE | RAM_FLAG_CONTINUE:
        return read_page_record(dec, ev, word);
    default:
        return refuse_flags(dec, flags);
    }
}

const struct step step_ram_word = { "the records", run_word };
