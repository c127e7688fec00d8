/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the program has and has not given back: its leaks, when it ends.
 *
 * A table of fixed size; more than that is no leak but a flood, and told as
 * one.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fail.h"

#define BLOCKS_MAX ((size_t)1 << 16)
#define FDS_MAX    900

struct kept {
    const void *key;
    const char *function;
    const void *caller;
};

static struct kept blocks[BLOCKS_MAX];
static struct kept fds[FDS_MAX];
static bool open_before[FDS_MAX];
static bool flooded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Where a deleted entry was, searches go on. */
static const char deleted;

static size_t slot_of(const void *p)
{
    return ((uintptr_t)p >> 4) * (size_t)0x9e3779b97f4a7c15 % BLOCKS_MAX;
}

void fail_take_memory(const void *p, const char *function, const void *caller)
{
    size_t at = slot_of(p);

    if (p == NULL || !fail_is_ours(caller))
        return;
    pthread_mutex_lock(&lock);
    for (size_t n = 0; n < BLOCKS_MAX; n++, at = (at + 1) % BLOCKS_MAX) {
        if (blocks[at].key != NULL && blocks[at].key != &deleted)
            continue;
        blocks[at] = (struct kept){ p, function, caller };
        break;
    }
    flooded = flooded || blocks[at].key != p;
    pthread_mutex_unlock(&lock);
}

void fail_give_memory(const void *p)
{
    size_t at = slot_of(p);

    if (p == NULL)
        return;
    pthread_mutex_lock(&lock);
    for (size_t n = 0; n < BLOCKS_MAX && blocks[at].key != NULL; n++) {
        if (blocks[at].key == p) {
            blocks[at].key = &deleted;
            break;
        }
        at = (at + 1) % BLOCKS_MAX;
    }
    pthread_mutex_unlock(&lock);
}

void fail_take_fd(int fd, const char *function, const void *caller)
{
    if (fd >= 0 && fd < FDS_MAX && fail_is_ours(caller))
        fds[fd] = (struct kept){ &fds[fd], function, caller };
}

void fail_give_fd(int fd)
{
    if (fd >= 0 && fd < FDS_MAX)
        fds[fd] = (struct kept){ 0 };
}

static bool is_open(int fd)
{
    return syscall(SYS_fcntl, fd, F_GETFD) >= 0;
}

void fail_note_open_fds(void)
{
    for (int fd = 0; fd < FDS_MAX; fd++)
        open_before[fd] = is_open(fd);
}

void fail_say_kept(void)
{
    for (size_t i = 0; i < BLOCKS_MAX; i++)
        if (blocks[i].key != NULL && blocks[i].key != &deleted)
            fail_say_leak("memory", blocks[i].function, blocks[i].caller);
    for (int fd = 0; fd < FDS_MAX; fd++)
        if (!open_before[fd] && is_open(fd))
            fail_say_leak("descriptor",
                          fds[fd].key != NULL ? fds[fd].function : "recvmsg",
                          fds[fd].caller);
    if (flooded)
        fail_say_leak("memory", "flood", NULL);
}
