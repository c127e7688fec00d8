/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bridge/file.h"
#include "bridge/real.h"
#include "bridge/wire.h"
#include "util/clock.h"

/* Numbers beyond are not served: the limit that systemd sets. */
#define MAX_FD 524288

static struct file *_Atomic slots[MAX_FD];
static struct file *files;        /* all that are open */
static struct file *_Atomic dead; /* by next: file_reap() */
static _Atomic pid_t owner;       /* 0: nothing was opened yet */
static atomic_int highest;        /* of the numbers that were ours */

/* Of slots, files, dead, refs.  Nothing is called with it held but fstat(). */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

bool file_maybe(int fd)
{
    return fd >= 0 && fd < MAX_FD &&
           atomic_load_explicit(&slots[fd], memory_order_relaxed) != NULL;
}

/* A process that shares our memory, or a child, has numbers of its own. */
static bool is_owner(void)
{
    return owner == getpid();
}

static bool is_file(const struct file *f, const struct stat *st)
{
    return f->dev == st->st_dev && f->ino == st->st_ino;
}

static void put_locked(struct file *f, struct file **gone)
{
    struct file **at = &files;

    if (--f->refs > 0)
        return;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    *gone = f;
}

void file_put(struct file *f)
{
    struct file *gone = NULL;

    if (f == NULL)
        return;
    pthread_mutex_lock(&lock);
    put_locked(f, &gone);
    pthread_mutex_unlock(&lock);
    if (gone != NULL)
        gone->ops->release(gone);
}

void file_ref(struct file *f)
{
    pthread_mutex_lock(&lock);
    f->refs++;
    pthread_mutex_unlock(&lock);
}

struct file *file_get(int fd)
{
    struct file *stale = NULL;
    struct file *f;
    struct stat st;

    if (!file_maybe(fd) || !is_owner())
        return NULL;
    pthread_mutex_lock(&lock);
    f = slots[fd];
    if (f != NULL && (REAL(fstat)(fd, &st) < 0 || !is_file(f, &st))) {
        slots[fd] = NULL;
        put_locked(f, &stale);
        f = NULL;
    }
    if (f != NULL)
        f->refs++;
    pthread_mutex_unlock(&lock);
    if (stale != NULL)
        stale->ops->release(stale);
    return f;
}

struct file *file_find(int fd)
{
    struct file *f = file_get(fd);
    struct stat st;

    if (f != NULL || fd < 0 || fd >= MAX_FD || !is_owner() ||
        REAL(fstat)(fd, &st) < 0)
        return f;
    pthread_mutex_lock(&lock);
    for (f = files; f != NULL; f = f->next)
        if (is_file(f, &st))
            break;
    if (f != NULL && slots[fd] == NULL) {
        slots[fd] = f;
        f->refs++;
        if (fd > highest)
            highest = fd;
    }
    if (f != NULL)
        f->refs++;
    pthread_mutex_unlock(&lock);
    return f;
}

struct file *file_forget(int fd)
{
    struct file *f = file_get(fd);
    struct file *gone = NULL;

    if (f == NULL)
        return NULL;
    pthread_mutex_lock(&lock);
    if (slots[fd] == f) {
        slots[fd] = NULL;
        put_locked(f, &gone); /* not the last: file_get()'s is left */
    }
    pthread_mutex_unlock(&lock);
    return f;
}

void file_close(int fd)
{
    struct file *f = file_forget(fd);

    REAL(close)(fd);
    file_put(f);
}

static void alias_locked(struct file *f, int fd, struct file **gone)
{
    f->refs++;
    if (slots[fd] != NULL)
        put_locked(slots[fd], gone);
    slots[fd] = f;
    if (fd > highest)
        highest = fd;
}

void file_alias(struct file *f, int fd)
{
    struct file *gone = NULL;

    if (fd < 0 || fd >= MAX_FD)
        return;
    pthread_mutex_lock(&lock);
    alias_locked(f, fd, &gone);
    pthread_mutex_unlock(&lock);
    if (gone != NULL)
        gone->ops->release(gone);
}

bool file_reap(void)
{
    struct file *f;
    bool found;

    if (atomic_load_explicit(&dead, memory_order_relaxed) == NULL)
        return false;
    pthread_mutex_lock(&lock);
    f = dead;
    dead = NULL;
    pthread_mutex_unlock(&lock);
    found = f != NULL;
    while (f != NULL) {
        struct file *next = f->next;

        f->ops->release(f);
        f = next;
    }
    return found;
}

bool file_sweep(void)
{
    bool found = file_reap();

    for (int fd = 0; fd <= highest; fd++) {
        struct file *f;

        if (!file_maybe(fd))
            continue;
        f = file_get(fd);
        found = found || f == NULL;
        file_put(f);
    }
    return found;
}

/* A byte, and the other end of the pair itself: it lives on in the queue of
 * ours, and goes with it. */
static int send_itself(int fd)
{
    char byte = 0;
    struct iovec part = { &byte, 1 };
    struct wire_fds fds = { .fd = { fd }, .count = 1 };

    return wire_send(fd, &part, 1, &fds, clock_now());
}

/* A socket that can always be read and written, as poll() says of a driver's
 * file that has no poll() of its own; but epoll takes it. */
static int open_stream(int flags)
{
    int type = SOCK_STREAM | ((flags & O_CLOEXEC) != 0 ? SOCK_CLOEXEC : 0) |
               ((flags & O_NONBLOCK) != 0 ? SOCK_NONBLOCK : 0);
    int pair[2];
    int ret;

    if (socketpair(AF_UNIX, type, 0, pair) < 0)
        return -errno;
    ret = send_itself(pair[1]);
    REAL(close)(pair[1]);
    if (ret < 0) {
        REAL(close)(pair[0]);
        return ret;
    }
    return pair[0];
}

static int open_backing(const char *name, int flags, bool stream)
{
    int fd;

    if (stream)
        return open_stream(flags);
    fd = memfd_create(name, (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0);
    return fd < 0 ? -errno : fd;
}

int file_open(struct file *f, const struct file_ops *ops, int flags,
              bool stream)
{
    struct file *gone = NULL;
    struct stat st;
    int fd = open_backing(ops->name, flags, stream);

    if (fd < 0)
        return fd;
    if (fd >= MAX_FD || REAL(fstat)(fd, &st) < 0) {
        REAL(close)(fd);
        return -EMFILE;
    }
    f->ops = ops;
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    f->refs = 0;
    pthread_mutex_lock(&lock);
    owner = getpid();
    f->next = files;
    files = f;
    alias_locked(f, fd, &gone);
    if (gone != NULL) {
        gone->next = dead;
        dead = gone;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

void file_forget_all(void)
{
    for (int fd = 0; fd <= highest; fd++)
        slots[fd] = NULL;
    files = NULL;
    dead = NULL;
    owner = 0;
    pthread_mutex_init(&lock, NULL);
}
