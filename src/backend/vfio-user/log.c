/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's log of its DMA.  Reports are asked for as the least able servers
 * want it: at the page size that START agreed on, one mapping at a time,
 * exactly as it was mapped.  Memory without a descriptor is written by us, and
 * noted here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/vfio-user/client.h"

#define PAGE_SIZE     UINT64_C(4096)

/* What a server may make of it: more than this much is no page. */
#define PAGE_SIZE_MAX (UINT64_C(1) << 30)

/* More than that are asked for as "everything". */
#define RANGES_MAX    256

static size_t bitmap_bytes(uint64_t size, uint64_t page_size)
{
    uint64_t pages = size / page_size + (size % page_size != 0);

    return (size_t)((pages + 63) / 64 * 8);
}

static int add_bitmap(struct dma_mapping *m)
{
    if (!m->by_message || m->written != NULL)
        return 0;
    m->written = calloc(1, bitmap_bytes(m->size, PAGE_SIZE));
    return m->written != NULL ? 0 : -ENOMEM;
}

static void free_bitmap(struct dma_mapping *m)
{
    free(m->written);
    m->written = NULL;
}

int log_send_start(struct client *c)
{
    const struct device_call *call = c->call.call;
    struct vfu_feature_log_start start = { .page_size = PAGE_SIZE };
    struct vfu_log_range ranges[RANGES_MAX];
    struct iovec parts[3] = { { 0 }, { &start, sizeof(start) } };

    for (size_t i = 0; i < c->log.count; i++)
        if (add_bitmap(&c->log.mappings[i]) < 0)
            return -ENOMEM;
    if (call->num_ranges <= RANGES_MAX)
        start.num_ranges = (uint32_t)call->num_ranges;
    for (uint32_t i = 0; i < start.num_ranges; i++)
        ranges[i] = (struct vfu_log_range){ call->ranges[i].address,
                                            call->ranges[i].length };
    parts[2] = (struct iovec){ ranges, start.num_ranges * sizeof(ranges[0]) };
    return call_send_parts(c, UAPI_FEATURE_SET | UAPI_FEATURE_LOG_START, parts,
                           3, sizeof(start));
}

/* The server may have chosen another page size; one that leaves it out agrees
 * to ours. */
int log_take_start(struct client *c)
{
    struct vfu_feature_log_start start = { .page_size = PAGE_SIZE };
    const size_t head = sizeof(struct vfu_feature);

    if (c->call.req.size >= head + sizeof(start))
        memcpy(&start, c->call.reply + head, sizeof(start));
    if (start.page_size < 512 || start.page_size > PAGE_SIZE_MAX ||
        (start.page_size & (start.page_size - 1)) != 0)
        return -EBADMSG;
    c->log.page_size = start.page_size;
    c->log.is_on = true;
    return 0;
}

/* Tells of what needs no message. */
static void mark_here(struct client *c, struct dma_mapping *m)
{
    const struct device_call *call = c->call.call;
    static const uint64_t one = 1;

    if (m->is_gone) {
        call->mark(call->opaque, m->iova, m->size, &one, 1);
        m->is_told = true;
    }
    if (m->written != NULL) {
        call->mark(call->opaque, m->iova, PAGE_SIZE, m->written,
                   m->size / PAGE_SIZE + (m->size % PAGE_SIZE != 0));
        memset(m->written, 0, bitmap_bytes(m->size, PAGE_SIZE));
    }
}

/* Goes on to the next mapping that the server has to be asked about; NULL:
 * there is none. */
static struct dma_mapping *next_mapping(struct client *c)
{
    for (; c->call.done < c->log.count; c->call.done++) {
        struct dma_mapping *m = &c->log.mappings[c->call.done];

        if (m->can_write && !m->by_message && !m->is_gone)
            return m;
        mark_here(c, m);
    }
    return NULL;
}

static size_t report_bytes(const struct client *c, const struct dma_mapping *m)
{
    return sizeof(struct vfu_feature) + sizeof(struct vfu_feature_log_report) +
           bitmap_bytes(m->size, c->log.page_size);
}

static int ask(struct client *c, const struct dma_mapping *m)
{
    struct vfu_feature_log_report report = {
        .iova = m->iova,
        .length = m->size,
        .page_size = c->log.page_size,
    };
    size_t bytes = report_bytes(c, m);

    if (bytes - sizeof(struct vfu_feature) > c->offered_transfer)
        return -E2BIG;
    free(c->call.buf);
    c->call.buf = malloc(bytes);
    if (c->call.buf == NULL)
        return -ENOMEM;
    c->call.req = (struct request){ .buf = c->call.buf, .cap = bytes };
    return call_send_feature(c, UAPI_FEATURE_GET | UAPI_FEATURE_LOG_REPORT,
                             &report, sizeof(report),
                             bytes - sizeof(struct vfu_feature));
}

/* One that was unmapped when its turn was over is told of by the next report.
 */
static void forget_told(struct client *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->log.count; i++)
        if (!c->log.mappings[i].is_told)
            c->log.mappings[kept++] = c->log.mappings[i];
    c->log.count = kept;
}

int log_send_report(struct client *c)
{
    struct dma_mapping *m;

    if (!c->log.is_on)
        return -EINVAL;
    m = next_mapping(c);
    if (m != NULL)
        return ask(c, m);
    forget_told(c);
    c->call.done = c->log.count;
    return 0;
}

/* An answer of another length is none: which bits it means nobody knows. */
int log_take_report(struct client *c)
{
    const struct device_call *call = c->call.call;
    const size_t head =
        sizeof(struct vfu_feature) + sizeof(struct vfu_feature_log_report);
    struct dma_mapping *m;
    uint64_t pages;
    int ret;

    if (c->call.done == c->log.count)
        return 0;
    m = &c->log.mappings[c->call.done];
    if (c->call.req.size != report_bytes(c, m))
        return -EBADMSG;
    pages = m->size / c->log.page_size + (m->size % c->log.page_size != 0);
    /* malloc()'s alignment, and the head's 32 bytes, keep words aligned. */
    call->mark(call->opaque, m->iova, c->log.page_size,
               (const uint64_t *)(const void *)(c->call.buf + head), pages);
    /* Unmapped meanwhile: what was written after the server had answered? */
    mark_here(c, m);
    c->call.done++;
    ret = log_send_report(c);
    if (ret < 0)
        return ret;
    return c->call.done == c->log.count ? 0 : -EAGAIN;
}

void log_stopped(struct client *c)
{
    c->log.is_on = false;
    for (size_t i = 0; i < c->log.count; i++) {
        free_bitmap(&c->log.mappings[i]);
        c->log.mappings[i].is_told = c->log.mappings[i].is_gone;
    }
    forget_told(c);
}

int log_add(struct client *c, struct dma_mapping *mapping)
{
    return c->log.is_on ? add_bitmap(mapping) : 0;
}

/* Those behind it move up, and the report that is under way with them. */
static void take_out(struct client *c, struct dma_mapping *mapping)
{
    size_t at = (size_t)(mapping - c->log.mappings);

    memmove(mapping, mapping + 1,
            (--c->log.count - at) * sizeof(*c->log.mappings));
    if (at < c->call.done)
        c->call.done--;
}

void log_drop(struct client *c, struct dma_mapping *mapping)
{
    free_bitmap(mapping);
    if (!c->log.is_on)
        *mapping = c->log.mappings[--c->log.count];
    else if (mapping->can_write)
        mapping->is_gone = true;
    else
        take_out(c, mapping);
}

void log_note_write(struct client *c, uint64_t iova, uint64_t len)
{
    for (size_t i = 0; c->log.is_on && i < c->log.count; i++) {
        const struct dma_mapping *m = &c->log.mappings[i];
        uint64_t first = iova > m->iova ? iova - m->iova : 0;
        uint64_t end;

        if (m->written == NULL || first >= m->size || iova + len <= m->iova)
            continue;
        end = iova + len - m->iova;
        if (end > m->size)
            end = m->size;
        for (uint64_t p = first / PAGE_SIZE; p <= (end - 1) / PAGE_SIZE; p++)
            m->written[p / 64] |= UINT64_C(1) << p % 64;
    }
}
