/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The trackers of the kernel that mtty has: its own DMA log and that of its
 * container.  It does no DMA, so that what they report is known.
 *
 *   trackers ADDRESS reports|does-not    what its own log does on this kernel
 */
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <vfmig/dirty.h>

#include "docs/kernel/fact.h"

#define MEMORY  (UINT64_C(1) << 20)
#define ADDRESS (UINT64_C(1) << 32)
#define PAGES   (MEMORY / VFM_DIRTY_PAGE_SIZE)

static const struct vfm_dirty_range range = { ADDRESS, MEMORY };
static struct vfm_error err;
static struct vfm_dirty_sink *sink;

static void map_memory(int container)
{
    void *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = (uintptr_t)memory,
        .iova = ADDRESS,
        .size = MEMORY,
    };

    fact_check(memory != MAP_FAILED, "no memory");
    fact_check(ioctl(container, VFIO_IOMMU_MAP_DMA, &map) == 0,
               "memory cannot be mapped");
}

static void must(int ret)
{
    if (ret < 0)
        fact_die(err.message);
}

/* Twice, since a report begins anew. */
static void check_tracker(struct vfm_dirty_tracker *tracker, bool reports)
{
    must(vfm_dirty_tracker_start(tracker, &range, 1, &err));
    for (int i = 0; i < 2; i++) {
        int ret = vfm_dirty_tracker_report(tracker, sink, &err);
        uint64_t pages = vfm_dirty_sink_count(sink);

        printf("%s: %s; %llu pages\n", vfm_dirty_tracker_name(tracker),
               ret < 0 ? err.message : "reports", (unsigned long long)pages);
        fact_check((ret == 0) == reports, "the report");
        fact_check(pages == (reports ? 0 : PAGES), "what it says");
        vfm_dirty_sink_clear(sink);
    }
    must(vfm_dirty_tracker_stop(tracker, &err));
    must(vfm_dirty_tracker_start(tracker, &range, 1, &err));
    vfm_dirty_tracker_free(tracker);
}

int main(int argc, char **argv)
{
    struct vfm_dirty_tracker *tracker;
    int container = fact_open_file("/dev/vfio/vfio");
    int dev;

    if (argc != 3) {
        fprintf(stderr, "usage: trackers ADDRESS reports|does-not\n");
        return 2;
    }
    dev = fact_open_in(container, argv[1]);
    map_memory(container);
    must(vfm_dirty_sink_new(&range, 1, &sink, &err));
    must(vfm_dirty_tracker_new_type1(container, &tracker, &err));
    check_tracker(tracker, true);
    must(vfm_dirty_tracker_new_vfio(dev, &tracker, &err));
    check_tracker(tracker, strcmp(argv[2], "reports") == 0);
    vfm_dirty_sink_free(sink);
    return EXIT_SUCCESS;
}
