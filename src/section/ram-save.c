/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is sent of memory, as QEMU writes it: a word of address and flags, the
 * block's name where it changes, and the page or, for one of zeroes, a byte.
 * Who says which pages are dirty, and when they are sent, is decided above.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dirty/bitmap.h"
#include "section/ram-save.h"
#include "stream/encoder.h"
#include "util/bytes.h"
#include "util/error.h"
#include "util/zero.h"

#define WORD_BYTES     8
/* A word, a name with its length, a byte. */
#define RECORD_MAX     (WORD_BYTES + 256 + 1)
/* An entry of the list of blocks. */
#define LIST_ENTRY_MAX (1 + 255 + 8)

static uint64_t pages_of(const struct ram_save *rs, size_t block)
{
    return ram_block_pages(&rs->ram->blocks[block]);
}

static void fill(const struct ram_save *rs, uint64_t **bitmaps)
{
    for (size_t i = 0; i < rs->ram->num_blocks; i++)
        bitmap_set_range(bitmaps[i], 0, pages_of(rs, i));
}

static uint64_t count(const struct ram_save *rs, uint64_t **bitmaps)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < rs->ram->num_blocks; i++)
        sum += bitmap_count(bitmaps[i], 0, pages_of(rs, i));
    return sum;
}

void ram_save_count_blind(struct ram_save *rs)
{
    rs->blind_pages = count(rs, rs->blind);
}

static void find_blind_pages(struct ram_save *rs)
{
    fill(rs, rs->blind);
    for (size_t i = 0; i < rs->ram->num_mappings; i++) {
        const struct ram_mapping *m = &rs->ram->mappings[i];

        bitmap_clear_range(rs->blind[m->block], m->offset / VFM_RAM_PAGE_SIZE,
                           m->bytes / VFM_RAM_PAGE_SIZE);
    }
    ram_save_count_blind(rs);
}

int ram_save_new(const struct vfm_ram *ram, struct ram_save **rsp)
{
    struct ram_save *rs = malloc(sizeof(*rs));

    if (rs == NULL)
        return -ENOMEM;
    rs->ram = ram;
    rs->dirty = ram_new_bitmaps(ram);
    rs->blind = ram_new_bitmaps(ram);
    if (rs->dirty == NULL || rs->blind == NULL) {
        ram_save_free(rs);
        return -ENOMEM;
    }
    rs->block = 0;
    rs->page = 0;
    rs->named = ram->num_blocks;
    rs->num_parts = 0;
    fill(rs, rs->dirty);
    find_blind_pages(rs);
    rs->dirty_pages = count(rs, rs->dirty);
    *rsp = rs;
    return 0;
}

void ram_save_free(struct ram_save *rs)
{
    if (rs == NULL)
        return;
    ram_free_bitmaps(rs->ram, rs->dirty);
    ram_free_bitmaps(rs->ram, rs->blind);
    free(rs);
}

void ram_save_mark_all_blind(struct ram_save *rs)
{
    fill(rs, rs->blind);
    ram_save_count_blind(rs);
}

void ram_save_settle(struct ram_save *rs, bool stopped)
{
    for (size_t i = 0; i < rs->ram->num_blocks; i++) {
        uint64_t *dirty = rs->dirty[i];
        const uint64_t *blind = rs->blind[i];
        size_t words = bitmap_words(pages_of(rs, i));

        for (size_t w = 0; w < words; w++)
            dirty[w] = stopped ? dirty[w] | blind[w] : dirty[w] & ~blind[w];
    }
    rs->dirty_pages = count(rs, rs->dirty);
    if (stopped)
        rs->blind_pages = 0;
}

/* Forgets where holes are.  What is written to one from now on is dirty anew,
 * but what was written before the trackers were asked last must be found. */
static void forget_holes(struct ram_save *rs)
{
    rs->data_at = rs->hole_at = 0;
}

/* Goes on to the next dirty page, of which there is one. */
static void find_next(struct ram_save *rs)
{
    for (;;) {
        uint64_t pages = pages_of(rs, rs->block);

        rs->page = bitmap_next(rs->dirty[rs->block], rs->page, pages);
        if (rs->page < pages)
            return;
        rs->block = (rs->block + 1) % rs->ram->num_blocks;
        rs->page = 0;
        forget_holes(rs);
    }
}

/* Whether what begins at @base follows the piece's last part. */
static bool follows(const struct ram_save *rs, const void *base)
{
    const struct iovec *last;

    if (rs->num_parts == 0)
        return false;
    last = &rs->parts[rs->num_parts - 1];
    return (const uint8_t *)last->iov_base + last->iov_len == base;
}

static void add_part(struct ram_save *rs, const void *base, size_t len)
{
    rs->bytes += len;
    if (follows(rs, base))
        rs->parts[rs->num_parts - 1].iov_len += len;
    else
        rs->parts[rs->num_parts++] = (struct iovec){ (void *)base, len };
}

static void add_head(struct ram_save *rs, uint64_t flag)
{
    const char *name = rs->ram->blocks[rs->block].name;
    bool same = rs->block == rs->named;
    uint8_t *head = rs->heads + rs->heads_len;
    size_t len = WORD_BYTES;

    if (same)
        flag |= RAM_FLAG_CONTINUE;
    put_be64(head, rs->page * VFM_RAM_PAGE_SIZE | flag);
    if (!same) {
        size_t name_len = strlen(name);

        head[len++] = (uint8_t)name_len;
        memcpy(head + len, name, name_len);
        len += name_len;
    }
    if ((flag & RAM_FLAG_ZERO) != 0)
        head[len++] = 0;
    rs->heads_len += len;
    rs->named = rs->block;
    add_part(rs, head, len);
}

/* The file offset that @whence leads to from @at on, in the block; its end if
 * there is none.  A descriptor that does not know has no holes. */
static uint64_t seek(const struct ram_block *block, uint64_t at, int whence)
{
    off_t offset = lseek(block->fd, (off_t)(block->fd_offset + at), whence);

    if (offset < 0 && errno == ENXIO)
        return block->bytes; /* nothing but a hole is left */
    if (offset < 0)
        return whence == SEEK_DATA ? at : block->bytes;
    return (uint64_t)offset - block->fd_offset;
}

/* Whether the page was never written, and need not be read to know it. */
static bool is_hole(struct ram_save *rs)
{
    const struct ram_block *block = &rs->ram->blocks[rs->block];
    uint64_t at = rs->page * VFM_RAM_PAGE_SIZE;

    if (block->fd < 0)
        return false;
    if (at >= rs->hole_at) {
        rs->data_at = seek(block, at, SEEK_DATA);
        rs->hole_at = rs->data_at < block->bytes
                          ? seek(block, rs->data_at, SEEK_HOLE)
                          : block->bytes;
    }
    return at + VFM_RAM_PAGE_SIZE <= rs->data_at;
}

static void add_page(struct ram_save *rs)
{
    const uint8_t *page =
        rs->ram->blocks[rs->block].memory + rs->page * VFM_RAM_PAGE_SIZE;

    if (is_hole(rs) || zero_is_all(page, VFM_RAM_PAGE_SIZE)) {
        add_head(rs, RAM_FLAG_ZERO);
        rs->zero++;
        return;
    }
    add_head(rs, RAM_FLAG_PAGE);
    add_part(rs, page, VFM_RAM_PAGE_SIZE);
    rs->normal++;
}

uint64_t ram_save_gather(struct ram_save *rs)
{
    rs->num_parts = 0;
    rs->bytes = rs->heads_len = 0;
    rs->normal = rs->zero = 0;
    forget_holes(rs);
    while (rs->dirty_pages > 0 && rs->normal < RAM_SAVE_PAGES &&
           rs->normal + rs->zero < RAM_SAVE_SCAN &&
           rs->heads_len + RECORD_MAX <= RAM_SAVE_HEADS) {
        find_next(rs);
        bitmap_clear(rs->dirty[rs->block], rs->page);
        rs->dirty_pages--;
        add_page(rs);
        rs->page++;
    }
    return rs->normal + rs->zero;
}

int ram_save_list_blocks(const struct vfm_ram *ram, void **body, size_t *len,
                         struct vfm_error *err)
{
    size_t size = 2 * WORD_BYTES + ram->num_blocks * LIST_ENTRY_MAX;
    struct encoder enc;
    int ret;

    *body = malloc(size);
    if (*body == NULL)
        return error_set(err, -ENOMEM, "ram: out of memory");
    encoder_init(&enc, *body, size);
    encode_ram_blocks_head(&enc, ram->bytes);
    for (size_t i = 0; i < ram->num_blocks; i++)
        encode_ram_block(&enc, ram->blocks[i].name, ram->blocks[i].bytes);
    encode_ram_end(&enc);
    ret = encoder_finish(&enc, len, err);
    if (ret < 0) {
        free(*body);
        *body = NULL;
    }
    return ret;
}
