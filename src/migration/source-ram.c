/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: memory goes over in rounds.  The first takes all of it; each of the
 * others what was written during the one before, as the trackers tell; the
 * last, when the VM has stopped, the rest.
 */
#include <errno.h>
#include <stdlib.h>

#include "dirty/sink.h"
#include "migration/source.h"
#include "util/clock.h"
#include "util/error.h"

#define RAM_SECTION_NAME "ram"

/* Rounds that have to be hot before anything is done about it. */
#define HOT_ROUNDS       2

static int out_of_memory(struct vfm_error *err)
{
    return error_set(err, -ENOMEM, "ram: out of memory");
}

static int make_ranges(struct source_ram *r, const struct vfm_ram *ram)
{
    r->ranges = calloc(ram->num_mappings + 1, sizeof(*r->ranges));
    if (r->ranges == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < ram->num_mappings; i++)
        r->ranges[i] = (struct vfm_dirty_range){
            .address = ram->mappings[i].address,
            .length = ram->mappings[i].bytes,
        };
    r->num_ranges = ram->num_mappings;
    return 0;
}

/* What is marked at an address is marked in the block's bitmap. */
static int make_sink(const struct vfm_ram *ram, uint64_t **bitmaps,
                     struct vfm_dirty_sink **sinkp, struct vfm_error *err)
{
    struct dirty_target *targets =
        calloc(ram->num_mappings + 1, sizeof(*targets));
    int ret;

    if (targets == NULL)
        return out_of_memory(err);
    for (size_t i = 0; i < ram->num_mappings; i++) {
        const struct ram_mapping *m = &ram->mappings[i];

        targets[i] = (struct dirty_target){
            .range = { m->address, m->bytes },
            .bitmap = bitmaps[m->block],
            .first_bit = m->offset / VFM_RAM_PAGE_SIZE,
        };
    }
    ret = dirty_sink_new_over(targets, ram->num_mappings, sinkp, err);
    free(targets);
    return ret;
}

static int prepare(struct vfm_migration *m, struct vfm_error *err)
{
    struct source_ram *r = &m->source.ram;
    int ret = ram_save_new(m->ram, &r->save);

    if (ret < 0 || make_ranges(r, m->ram) < 0)
        return out_of_memory(err);
    ret = make_sink(m->ram, r->save->dirty, &r->dirty, err);
    if (ret == 0)
        ret = make_sink(m->ram, r->save->blind, &r->blind, err);
    if (ret == 0)
        ret = ram_save_list_blocks(m->ram, &r->list, &r->list_len, err);
    r->pages_before = r->save->dirty_pages;
    m->ram_stats.rounds = 1;
    return ret;
}

int source_begin_ram(struct vfm_migration *m, struct vfm_error *err)
{
    struct source_ram *r = &m->source.ram;
    int ret = 0;

    if (m->ram == NULL)
        return 0;
    if (r->list == NULL)
        ret = prepare(m, err);
    if (ret < 0)
        return ret;
    if (!memory_is_live(m))
        return 0;
    ret = tracking_start(m, err);
    if (ret == 0) {
        r->synced_at = clock_now();
        m->ram_stats.untracked_bytes = r->save->blind_pages * VFM_RAM_PAGE_SIZE;
    }
    return ret;
}

void source_put_blocks(struct vfm_migration *m)
{
    struct encoder *enc = &m->outbox.head;

    outbox_begin(&m->outbox);
    encode_section_begin(enc, VFM_SECTION_START, RAM_SECTION, RAM_SECTION_NAME,
                         0, RAM_SECTION_VERSION);
    outbox_set_body(&m->outbox, m->source.ram.list, m->source.ram.list_len);
    encode_section_footer(&m->outbox.tail, RAM_SECTION);
}

int source_put_ram(struct vfm_migration *m)
{
    struct ram_save *rs = m->source.ram.save;

    if (rs == NULL || ram_save_gather(rs) == 0)
        return 0;
    outbox_begin(&m->outbox);
    encode_section_continue(&m->outbox.head, VFM_SECTION_PART, RAM_SECTION);
    outbox_set_parts(&m->outbox, rs->parts, rs->num_parts, rs->bytes);
    encode_ram_end(&m->outbox.tail);
    encode_section_footer(&m->outbox.tail, RAM_SECTION);
    m->source.sending_ram = true;
    m->source.send_began_at = clock_now();
    return 1;
}

void source_note_ram_sent(struct vfm_migration *m)
{
    const struct ram_save *rs = m->source.ram.save;

    m->source.ram.sent_pages += rs->normal + rs->zero;
    m->ram_stats.normal_pages += rs->normal;
    m->ram_stats.zero_pages += rs->zero;
    m->ram_stats.wire_bytes += rs->bytes;
    if (m->stage != VFM_STAGE_PRE_COPY)
        m->ram_stats.stopped_pages += rs->normal + rs->zero;
}

void source_put_ram_end(struct vfm_migration *m)
{
    outbox_begin(&m->outbox);
    encode_section_continue(&m->outbox.head, VFM_SECTION_END, RAM_SECTION);
    encode_ram_end(&m->outbox.head);
    encode_section_footer(&m->outbox.head, RAM_SECTION);
}

bool source_round_is_over(const struct vfm_migration *m)
{
    return m->ram == NULL || m->source.ram.save->dirty_pages == 0;
}

/* The trackers have answered: a round is over, and what they said is the
 * next. */
static void begin_round(struct vfm_migration *m, bool stopped)
{
    struct source_ram *r = &m->source.ram;
    struct vfm_ram_stats *stats = &m->ram_stats;
    int64_t now = clock_now();
    int64_t took = r->sync_began_at - r->synced_at;

    ram_save_settle(r->save, stopped);
    r->sync_ns = (uint64_t)(now - r->sync_began_at);
    stats->sync_ns += r->sync_ns;
    if (stopped)
        stats->last_sync_ns = r->sync_ns;
    else
        stats->rounds++;
    if (took > 0)
        stats->dirty_bytes_per_sec =
            policy_scale(r->save->dirty_pages * VFM_RAM_PAGE_SIZE, NS_PER_SEC,
                         (uint64_t)took);
    r->synced_at = r->sync_began_at;
    r->exact = true;
    if (r->save->dirty_pages == 0)
        r->quiet_until = now + QUIET_INTERVAL_NS;
}

int source_sync(struct vfm_migration *m, bool stopped, struct vfm_error *err)
{
    struct source_ram *r = &m->source.ram;
    int ret;

    if (!r->syncing)
        r->sync_began_at = clock_now();
    r->syncing = true;
    ret = tracking_report(m, err);
    if (ret < 0)
        return ret;
    r->syncing = false;
    begin_round(m, stopped);
    return 0;
}

void source_sum_up_ram(const struct vfm_migration *m, struct policy_input *in)
{
    const struct source_ram *r = &m->source.ram;

    in->has_ram = memory_is_live(m);
    in->ram_bytes_per_sec = m->source.link.bytes_per_sec;
    if (!in->has_ram)
        return;
    in->ram = (struct policy_ram){
        .exact = r->exact,
        .dirty = r->save->dirty_pages * RAM_SAVE_PAGE_BYTES,
        .dirty_before = r->pages_before * RAM_SAVE_PAGE_BYTES,
        .blind = r->save->blind_pages * RAM_SAVE_PAGE_BYTES,
        .sync_ns = r->sync_ns,
        .chances = r->chances,
    };
}

static void warn_of_heat(struct vfm_migration *m)
{
    if (m->source.ram.warned)
        return;
    m->source.ram.warned = true;
    tell_warning(m,
                 "memory is written at %llu MiB/s, and %llu MiB/s go over: as "
                 "things stand this will not converge",
                 (unsigned long long)(m->ram_stats.dirty_bytes_per_sec >> 20),
                 (unsigned long long)(m->source.link.bytes_per_sec >> 20));
}

/* The guest is slowed down as long as that may help; else somebody should
 * know. */
static void cool(struct vfm_migration *m)
{
    unsigned int percent = policy_slower(m->ram_stats.slow_percent);

    if (m->callbacks.slow_vm != NULL && percent > m->ram_stats.slow_percent)
        vm_slow(m, percent);
    else
        warn_of_heat(m);
}

void source_watch_ram(struct vfm_migration *m, const struct policy_input *in,
                      const struct policy_decision *d)
{
    struct source_ram *r = &m->source.ram;
    bool hot;

    if (!in->has_ram || !r->exact)
        return;
    hot = !d->fits && policy_is_hot(r->save->dirty_pages, r->sent_pages);
    r->hot = hot ? r->hot + 1 : 0;
    if (r->hot >= HOT_ROUNDS) {
        r->hot = 0;
        cool(m);
    }
    r->chances = d->fits ? r->chances + 1 : 0;
    r->pages_before = r->save->dirty_pages;
    r->sent_pages = 0;
    r->exact = false;
}

void source_close_ram(struct vfm_migration *m)
{
    struct source_ram *r = &m->source.ram;

    tracking_close(&m->source.tracking);
    vfm_dirty_sink_free(r->dirty);
    vfm_dirty_sink_free(r->blind);
    ram_save_free(r->save);
    free(r->ranges);
    free(r->list);
}
