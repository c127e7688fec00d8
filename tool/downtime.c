/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The downtime by stage and cause.  Rows of less than a hundredth are one
 * together, and what was spent on nobody else is the last.
 */
#include <inttypes.h>

#include "downtime.h"
#include "json.h"
#include "say.h"

/* The stages in which the devices stand still. */
#define FIRST VFM_STAGE_STOP
#define LAST  VFM_STAGE_START

struct table {
    FILE *out;
    uint64_t total_ns;
    uint64_t small_ns;
};

static void print_row(const struct table *table, const char *where,
                      const char *stage, const char *cause, uint64_t ns)
{
    const uint64_t permille =
        (ns * 1000 + table->total_ns / 2) / table->total_ns;
    char time[QUANTITY_MAX];

    fprintf(table->out,
            "    %-6s %-14s %-10s %10s %3" PRIu64 ".%" PRIu64 " %%\n", where,
            stage, cause, say_duration(time, ns), permille / 10, permille % 10);
}

static void add_row(struct table *table, const char *where, const char *stage,
                    const char *cause, uint64_t ns)
{
    if (ns < table->total_ns / 100)
        table->small_ns += ns;
    else if (ns > 0)
        print_row(table, where, stage, cause, ns);
}

static uint64_t sum(const uint64_t ns[VFM_CAUSES_MAX])
{
    uint64_t all = 0;

    for (int cause = 0; cause < VFM_CAUSES_MAX; cause++)
        all += ns[cause];
    return all;
}

/* What we spent on the other side is told below, if it tells. */
static void add_here(struct table *table, const struct vfm_spent *spent)
{
    bool told = sum(spent->there_ns) > 0;

    for (int stage = FIRST; stage <= LAST; stage++)
        for (int cause = 0; cause <= VFM_CAUSE_LOOP; cause++)
            if (cause != VFM_CAUSE_SELF && (cause != VFM_CAUSE_PEER || !told))
                add_row(table, "here", vfm_stage_name((enum vfm_stage)stage),
                        vfm_cause_name((enum vfm_cause)cause),
                        spent->stopped_ns[stage][cause]);
}

static void add_there(struct table *table, const struct vfm_spent *spent)
{
    for (int cause = 0; cause <= VFM_CAUSE_LOOP; cause++)
        if (cause != VFM_CAUSE_SELF)
            add_row(table, "there", "", vfm_cause_name((enum vfm_cause)cause),
                    spent->there_ns[cause]);
}

/* The library's own time, of either side. */
static uint64_t unnamed_ns(const struct vfm_spent *spent)
{
    return spent->downtime_ns[VFM_CAUSE_SELF] + spent->there_ns[VFM_CAUSE_SELF];
}

void downtime_print(const struct vfm_migration *m, FILE *out)
{
    struct vfm_spent spent = { .size = sizeof(spent) };
    struct table table = { .out = out };

    vfm_migration_get_spent(m, &spent);
    table.total_ns = sum(spent.downtime_ns);
    if (table.total_ns == 0)
        return;
    add_here(&table, &spent);
    add_there(&table, &spent);
    if (table.small_ns > 0)
        print_row(&table, "", "", "less each", table.small_ns);
    print_row(&table, "", "", vfm_cause_name(VFM_CAUSE_SELF),
              unnamed_ns(&spent));
}

struct json_tree *downtime_causes(const uint64_t ns[VFM_CAUSES_MAX])
{
    struct json_tree *causes = json_object_make();

    for (int cause = 0; cause <= VFM_CAUSE_LOOP; cause++)
        json_add_number(causes, vfm_cause_name((enum vfm_cause)cause),
                        ns[cause]);
    return causes;
}

void downtime_add(struct json_tree *downtime, const struct vfm_spent *spent)
{
    struct json_tree *stages = json_object_make();
    uint64_t total = sum(spent->downtime_ns);

    for (int stage = FIRST; stage <= LAST; stage++)
        json_add(stages, vfm_stage_name((enum vfm_stage)stage),
                 downtime_causes(spent->stopped_ns[stage]));
    json_add(downtime, "stages_causes_ns", stages);
    json_add(downtime, "there_ns", downtime_causes(spent->there_ns));
    if (total > 0)
        json_add(
            downtime, "named",
            json_thousandths_make((total - unnamed_ns(spent)) * 1000 / total));
}
