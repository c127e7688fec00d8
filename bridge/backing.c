/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * From an address to the file behind it, by what the kernel says of this
 * process.  Following mmap() calls would tell the same only if nothing was
 * mapped before us or past us.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bridge/backing.h"
#include "bridge/real.h"

/* A line of /proc/self/maps. */
struct area {
    uint64_t start;
    uint64_t end;
    uint64_t offset;
    dev_t dev;
    ino_t ino;
    bool shared;
};

static bool parse_area(const char *line, struct area *a)
{
    unsigned long long start, end, offset, ino;
    unsigned major, minor;
    char access[8];

    if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu", &start, &end, access,
               &offset, &major, &minor, &ino) != 7)
        return false;
    *a = (struct area){
        .start = start,
        .end = end,
        .offset = offset,
        .dev = makedev(major, minor),
        .ino = ino,
        .shared = access[3] == 's',
    };
    return true;
}

/* Adds the next area to @all, which is empty or ends where it begins. */
static bool extend(struct area *all, const struct area *next)
{
    if (!next->shared || next->ino == 0)
        return false;
    if (all->end == 0) {
        *all = *next;
        return true;
    }
    if (next->start != all->end || next->ino != all->ino ||
        next->dev != all->dev ||
        next->offset - all->offset != next->start - all->start)
        return false;
    all->end = next->end;
    return true;
}

/* The areas of one file that together hold all of it. */
static int find_area(uint64_t address, uint64_t size, struct area *all)
{
    FILE *maps = REAL(fopen)("/proc/self/maps", "re");
    struct area next;
    char *line = NULL;
    size_t room = 0;
    int ret = -ENOENT;

    if (maps == NULL)
        return -errno;
    *all = (struct area){ .end = 0 };
    while (ret != 0 && getline(&line, &room, maps) > 0) {
        if (!parse_area(line, &next) || next.end <= address)
            continue;
        if (next.start > address && all->end == 0)
            break;
        if (!extend(all, &next))
            break;
        if (all->end - address >= size)
            ret = 0;
    }
    free(line);
    fclose(maps);
    return ret;
}

/* Whether @fd is the file of @a, and may be written where that matters. */
static bool is_behind(int fd, const struct area *a, bool writable)
{
    struct stat st;
    int flags;

    if (REAL(fstat)(fd, &st) < 0 || st.st_dev != a->dev ||
        st.st_ino != a->ino || !S_ISREG(st.st_mode))
        return false;
    flags = REAL(fcntl)(fd, F_GETFL);
    return flags >= 0 && (!writable || (flags & O_ACCMODE) == O_RDWR);
}

static int find_open_file(const struct area *a, bool writable)
{
    DIR *dir = REAL(opendir)("/proc/self/fd");
    struct dirent *entry;
    int found = -ENOENT;

    if (dir == NULL)
        return -errno;
    while (found < 0 && (entry = readdir(dir)) != NULL) {
        int fd = atoi(entry->d_name);

        if (entry->d_name[0] == '.' || !is_behind(fd, a, writable))
            continue;
        found = REAL(fcntl)(fd, F_DUPFD_CLOEXEC, 0);
        if (found < 0)
            found = -errno;
        /* Another thread may have closed it in between. */
        else if (!is_behind(found, a, writable)) {
            REAL(close)(found);
            found = -ENOENT;
        }
    }
    closedir(dir);
    return found;
}

/* A file that was closed after it was mapped: for who has the privilege. */
static int open_mapped_file(const struct area *a, bool writable)
{
    char path[80];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/map_files/%llx-%llx",
             (unsigned long long)a->start, (unsigned long long)a->end);
    fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (!is_behind(fd, a, writable)) {
        REAL(close)(fd);
        return -ENOENT;
    }
    return fd;
}

int backing_find(uint64_t address, uint64_t size, bool writable,
                 uint64_t *offset)
{
    struct area a = { .start = 0 };
    int fd = find_area(address, size, &a);

    if (fd < 0)
        return fd;
    *offset = a.offset + (address - a.start);
    fd = find_open_file(&a, writable);
    return fd >= 0 ? fd : open_mapped_file(&a, writable);
}
