/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages before they are needed.  One call for all of them costs a tenth of a
 * fault for each.  They are touched all the same: if this machine is itself a
 * guest, its host may have a table of its own to fill, which only an access
 * does.
 */
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/pages.h"

/* Linux 5.14; not in every libc's headers. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/* What they are: to be written, or only read. */
enum use { READ = MADV_POPULATE_READ, WRITE = MADV_POPULATE_WRITE };

/* A program's pages also hold AddressSanitizer's red zones, which instrumented
 * code may not look at. */
__attribute__((no_sanitize("address"))) static void touch(
    volatile uint8_t *byte, enum use use)
{
    uint8_t value = *byte;

    if (use == WRITE)
        *byte = value;
}

/* All pages that hold one of @size bytes at @p. */
static void fetch(uintptr_t p, size_t size, enum use use)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = p & ~(page - 1);
    uintptr_t end = (p + size + page - 1) & ~(page - 1);

    (void)madvise((void *)start, end - start, (int)use);
    for (uintptr_t at = p; at < p + size; at = (at & ~(page - 1)) + page)
        touch((volatile uint8_t *)at, use);
}

void pages_fetch(void *p, size_t size)
{
    if (size > 0)
        fetch((uintptr_t)p, size, WRITE);
}

void *pages_new(size_t size)
{
    void *p = malloc(size);

    if (p != NULL)
        pages_fetch(p, size);
    return p;
}

static int fetch_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && part->p_flags & PF_R)
            fetch(info->dlpi_addr + part->p_vaddr, part->p_filesz, READ);
    }
    return 0;
}

void pages_fetch_program(void)
{
    dl_iterate_phdr(fetch_object, NULL);
}
