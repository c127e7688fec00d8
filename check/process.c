/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process has, as far as /proc tells.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check/process.h"

static int count_descriptors(pid_t pid, uint64_t *count)
{
    char path[64];
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
    dir = opendir(path);
    if (dir == NULL)
        return -errno;
    for (*count = 0; readdir(dir) != NULL; (*count)++)
        ;
    closedir(dir);
    *count -= 2; /* the folder and the one above */
    return 0;
}

/* Memory that it shares is that of files, and grows with what is mapped. */
static int read_memory(pid_t pid, uint64_t *bytes)
{
    unsigned long long kib = 0;
    char line[256];
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
            break;
    fclose(file);
    *bytes = kib << 10;
    return kib == 0 ? -ENOTSUP : 0;
}

static bool has_sanitizer(pid_t pid)
{
    char line[512];
    char path[64];
    bool found = false;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%ld/maps", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), file) != NULL)
        found = strstr(line, "libasan") != NULL ||
                strstr(line, "libclang_rt.asan") != NULL;
    fclose(file);
    return found;
}

int process_measure(pid_t pid, struct process_usage *usage)
{
    int ret = count_descriptors(pid, &usage->descriptors);

    usage->hoards = has_sanitizer(pid);
    return ret < 0 ? ret : read_memory(pid, &usage->memory);
}
