/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replies that are wrong in one chosen way: --corrupt WHERE:PART.
 */
#include <stdio.h>
#include <string.h>

#include "emulator/command.h"
#include "emulator/misbehave.h"

/* Levels of the JSON that is nested too deeply. */
#define DEEP       10000
#define HUGE_BYTES (1u << 20)

static void put32(struct reply *rp, size_t offset, uint32_t value)
{
    if (offset + sizeof(value) <= rp->size)
        memcpy(rp->payload + offset, &value, sizeof(value));
}

static uint32_t get32(const struct reply *rp, size_t offset)
{
    uint32_t value = 0;

    if (offset + sizeof(value) <= rp->size)
        memcpy(&value, rp->payload + offset, sizeof(value));
    return value;
}

/* Claims that more bytes follow than do. */
static void inflate_count(uint32_t command, struct reply *rp)
{
    size_t at = 0;

    switch (command_by_message(command)) {
    case VFU_MIG_DATA_READ:
    case VFU_MIG_DATA_WRITE:
        at = offsetof(struct vfu_mig_data, size);
        break;
    case VFU_REGION_READ:
    case VFU_REGION_WRITE:
        at = offsetof(struct vfu_region_access, count);
        break;
    default:
        break;
    }
    put32(rp, at, get32(rp, at) + 4096);
}

static void corrupt_header(enum fault_part part, struct vfu_header *h,
                           struct reply *rp)
{
    switch (part) {
    case PART_ID:
        h->id ^= 0x5555;
        break;
    case PART_COMMAND:
        h->command ^= 1;
        break;
    case PART_TYPE:
        h->flags ^= 2;
        break;
    case PART_SIZE_SMALL:
        h->size = sizeof(*h) - 1;
        break;
    case PART_SIZE_LARGE:
        h->size = UINT32_MAX - 15;
        break;
    case PART_ERROR_ZERO:
        h->flags |= VFU_FLAG_ERROR;
        h->error = 0;
        rp->size = 0;
        break;
    default:
        break;
    }
}

static void corrupt_size(enum fault_part part, struct reply *rp)
{
    if (part == PART_TRUNCATED && rp->size > 0)
        rp->size--;
    if (part == PART_LONGER && rp->room - rp->size >= 8) {
        memset(rp->payload + rp->size, 0xff, 8);
        rp->size += 8;
    }
}

static void corrupt_fd(enum fault_part part, const struct device *d,
                       struct reply *rp)
{
    if (part == PART_NO_FD) {
        rp->fd = -1;
        rp->fd_copies = 0;
    } else {
        if (rp->fd < 0)
            rp->fd_copies = 0;
        rp->fd = rp->fd >= 0 ? rp->fd : d->bar2_fd;
        rp->fd_copies++;
    }
}

static void corrupt_region_info(enum fault_part part, struct reply *rp)
{
    uint32_t cap = get32(rp, offsetof(struct vfu_region_info, cap_offset));

    if (part == PART_CAP_OFFSET)
        put32(rp, offsetof(struct vfu_region_info, cap_offset), 0xfffffff0);
    else if (part == PART_CAP_LOOP)
        put32(rp, cap + offsetof(struct vfu_cap_header, next), cap);
    else
        put32(rp, cap + offsetof(struct vfu_cap_sparse_mmap, nr_areas),
              0x10000000);
}

/* Replaces the JSON by @size bytes of @text and a NUL. */
static void set_json(struct reply *rp, const char *text, size_t size)
{
    if (size + 1 > rp->room - sizeof(struct vfu_version))
        size = rp->room - sizeof(struct vfu_version) - 1;
    memcpy(rp->payload + sizeof(struct vfu_version), text, size);
    rp->payload[sizeof(struct vfu_version) + size] = '\0';
    rp->size = sizeof(struct vfu_version) + size + 1;
}

/* {"capabilities":{"x":"aaa..."}}, or {"a":{"a":...}}. */
static void set_large_json(enum fault_part part, struct reply *rp)
{
    static char text[HUGE_BYTES];
    size_t n = 0;

    if (part == PART_DEEP) {
        for (int i = 0; i < DEEP; i++)
            n += (size_t)sprintf(text + n, "{\"a\":");
        text[n++] = '1';
        memset(text + n, '}', DEEP);
        n += DEEP;
    } else {
        n = (size_t)sprintf(text, "{\"capabilities\":{\"x\":\"");
        memset(text + n, 'a', sizeof(text) - n - 3);
        n = sizeof(text) - 3;
        memcpy(text + n, "\"}}", 3);
        n += 3;
    }
    set_json(rp, text, n);
}

static void corrupt_version(enum fault_part part, struct reply *rp)
{
    static const char unknown[] =
        "{\"extra\":[1,2,3],\"capabilities\":{\"max_msg_fds\":8,"
        "\"teleport\":true,\"nested\":{\"a\":null}}}";
    static const char not_json[] = "}}{\"capabilities\":";
    struct vfu_version v;

    if (rp->size < sizeof(v))
        return;
    memcpy(&v, rp->payload, sizeof(v));
    if (part == PART_HIGHER_MINOR)
        v.minor++;
    else if (part == PART_OTHER_MAJOR)
        v.major++;
    else if (part == PART_NO_JSON)
        rp->size = sizeof(v);
    else if (part == PART_NO_NUL)
        rp->size--;
    else if (part == PART_NOT_JSON)
        set_json(rp, not_json, sizeof(not_json) - 1);
    else if (part == PART_UNKNOWN_KEYS)
        set_json(rp, unknown, sizeof(unknown) - 1);
    else
        set_large_json(part, rp);
    memcpy(rp->payload, &v, sizeof(v));
}

/* Sets bits of the dirty bitmap's last word. */
static void corrupt_bitmap(struct reply *rp)
{
    if (rp->size > 0)
        rp->payload[rp->size - 1] |= 0xf0;
}

void corrupt_reply(enum fault_part part, struct device *d, struct vfu_header *h,
                   struct reply *rp)
{
    switch (part) {
    case PART_ARGSZ:
        put32(rp, 0, UINT32_MAX);
        break;
    case PART_COUNT:
        inflate_count(h->command, rp);
        break;
    case PART_EXTRA_FD:
    case PART_NO_FD:
        corrupt_fd(part, d, rp);
        break;
    case PART_TRUNCATED:
    case PART_LONGER:
        corrupt_size(part, rp);
        break;
    case PART_BITS:
        corrupt_bitmap(rp);
        break;
    case PART_CAP_OFFSET:
    case PART_CAP_LOOP:
    case PART_NR_AREAS:
        corrupt_region_info(part, rp);
        break;
    default:
        if (part >= PART_HIGHER_MINOR && part <= PART_HUGE)
            corrupt_version(part, rp);
        break;
    }
    h->size = (uint32_t)(sizeof(*h) + rp->size);
    corrupt_header(part, h, rp);
    if (part == PART_ERROR_ZERO)
        h->size = sizeof(*h);
}
