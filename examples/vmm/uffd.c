/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty tracking by userfaultfd.
 *
 * A page is written only after its bit was set, and read by the migration only
 * after it was protected again: first the bits are taken, then their pages
 * protected.  What is written between these two is read with the page, what is
 * written afterwards sets the bit anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "machine.h"
#include "uffd.h"

/* Kernel headers of Debian 12 have it, older ones do not. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define PAGE   UINT64_C(4096)
#define EVENTS 64

struct uffd {
    uint8_t *memory;
    uint64_t size;
    int fd;      /* -1: not started */
    int quit_fd; /* ends the thread */
    pthread_t thread;
    _Atomic uint64_t *written; /* a bit per page */
    uint64_t *taken;           /* the same, while it reports */
};

static size_t num_words(const struct uffd *u)
{
    return (u->size / PAGE + 63) / 64;
}

static int protect(const struct uffd *u, uint64_t at, uint64_t length, bool on)
{
    struct uffdio_writeprotect wp = {
        .range = { (uintptr_t)u->memory + at, length },
        .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };

    while (ioctl(u->fd, UFFDIO_WRITEPROTECT, &wp) < 0)
        if (errno != EAGAIN)
            return -errno;
    return 0;
}

static void note_fault(struct uffd *u, const struct uffd_msg *msg)
{
    uint64_t page;

    if (msg->event != UFFD_EVENT_PAGEFAULT)
        return;
    page = (msg->arg.pagefault.address - (uintptr_t)u->memory) / PAGE;
    atomic_fetch_or(&u->written[page / 64], UINT64_C(1) << page % 64);
    protect(u, page * PAGE, PAGE, false); /* and the writer goes on */
}

static void *serve(void *opaque)
{
    struct uffd *u = opaque;
    struct pollfd fds[2] = { { u->fd, POLLIN, 0 }, { u->quit_fd, POLLIN, 0 } };
    struct uffd_msg msgs[EVENTS];

    for (;;) {
        ssize_t n;

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        n = read(u->fd, msgs, sizeof(msgs));
        for (ssize_t i = 0; i < n / (ssize_t)sizeof(msgs[0]); i++)
            note_fault(u, &msgs[i]);
        if (n <= 0 && (fds[1].revents & POLLIN) != 0)
            return NULL;
    }
}

static int open_uffd(void)
{
    const uint64_t features =
        UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
    struct uffdio_api api = { .api = UFFD_API, .features = features };
    int fd = (int)syscall(SYS_userfaultfd,
                          O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

    if (fd < 0)
        return -errno;
    if (ioctl(fd, UFFDIO_API, &api) < 0) {
        int ret = -errno;

        close(fd);
        return ret;
    }
    return fd;
}

static int watch_memory(const struct uffd *u)
{
    struct uffdio_register reg = {
        .range = { (uintptr_t)u->memory, u->size },
        .mode = UFFDIO_REGISTER_MODE_WP,
    };

    if (ioctl(u->fd, UFFDIO_REGISTER, &reg) < 0)
        return -errno;
    return protect(u, 0, u->size, true);
}

static void clear(struct uffd *u)
{
    for (size_t w = 0; w < num_words(u); w++)
        atomic_store(&u->written[w], 0);
}

static int uffd_start(void *opaque, const struct vfm_dirty_range *ranges,
                      size_t n, struct vfm_error *err)
{
    struct uffd *u = opaque;
    int ret;

    (void)ranges; /* all of it */
    (void)n;
    clear(u);
    u->fd = open_uffd();
    if (u->fd < 0)
        return vm_fail(err, u->fd, "userfaultfd: %s", strerror(-u->fd));
    ret = -pthread_create(&u->thread, NULL, serve, u);
    if (ret == 0) {
        ret = watch_memory(u);
        if (ret == 0)
            return 0;
        eventfd_write(u->quit_fd, 1);
        pthread_join(u->thread, NULL);
    }
    close(u->fd);
    u->fd = -1;
    return vm_fail(err, ret, "userfaultfd: memory cannot be watched: %s",
                   strerror(-ret));
}

/* The next run of pages that were taken, from *@page on; false: none. */
static bool next_run(const struct uffd *u, uint64_t *page, uint64_t *length)
{
    uint64_t pages = u->size / PAGE;
    uint64_t at = *page;

    while (at < pages && (u->taken[at / 64] >> at % 64 & 1) == 0)
        at += u->taken[at / 64] >> at % 64 == 0 ? 64 - at % 64 : 1;
    *page = at;
    while (at < pages && (u->taken[at / 64] >> at % 64 & 1) != 0)
        at++;
    *length = at - (*page < pages ? *page : at);
    return *length > 0;
}

static int uffd_report(void *opaque, struct vfm_dirty_sink *sink,
                       struct vfm_error *err)
{
    struct uffd *u = opaque;
    uint64_t length;

    for (size_t w = 0; w < num_words(u); w++)
        u->taken[w] = atomic_exchange(&u->written[w], 0);
    for (uint64_t page = 0; next_run(u, &page, &length); page += length) {
        int ret = protect(u, page * PAGE, length * PAGE, true);

        if (ret < 0)
            return vm_fail(err, ret, "userfaultfd: cannot protect memory: %s",
                           strerror(-ret));
    }
    vfm_dirty_mark(sink, 0, PAGE, u->taken, u->size / PAGE);
    return 0;
}

static int uffd_stop(void *opaque, struct vfm_error *err)
{
    struct uffd *u = opaque;
    struct uffdio_range range = { (uintptr_t)u->memory, u->size };
    int ret = protect(u, 0, u->size, false);

    if (ret == 0 && ioctl(u->fd, UFFDIO_UNREGISTER, &range) < 0)
        ret = -errno;
    eventfd_write(u->quit_fd, 1);
    pthread_join(u->thread, NULL);
    eventfd_read(u->quit_fd, &(eventfd_t){ 0 });
    close(u->fd);
    u->fd = -1;
    return ret < 0 ? vm_fail(err, ret, "userfaultfd: %s", strerror(-ret)) : 0;
}

static void uffd_free(void *opaque)
{
    struct uffd *u = opaque;

    close(u->quit_fd);
    free(u->written);
    free(u->taken);
    free(u);
}

static struct uffd *new_uffd(uint8_t *memory, uint64_t size)
{
    struct uffd *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return NULL;
    *u = (struct uffd){ .memory = memory, .size = size, .fd = -1 };
    u->quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    u->written = calloc(num_words(u), sizeof(*u->written));
    u->taken = calloc(num_words(u), sizeof(*u->taken));
    if (u->quit_fd < 0 || u->written == NULL || u->taken == NULL) {
        uffd_free(u);
        return NULL;
    }
    return u;
}

int uffd_new_tracker(uint8_t *memory, uint64_t size,
                     struct vfm_dirty_tracker **trackerp, struct vfm_error *err)
{
    static const struct vfm_dirty_ops ops = {
        .size = sizeof(ops),
        .name = "userfaultfd",
        .start = uffd_start,
        .report = uffd_report,
        .stop = uffd_stop,
        .free = uffd_free,
    };
    int fd = open_uffd();
    struct uffd *u;
    int ret;

    *trackerp = NULL;
    if (fd < 0)
        return vm_fail(err, fd, "userfaultfd: %s", strerror(-fd));
    close(fd);
    u = new_uffd(memory, size);
    if (u == NULL)
        return vm_fail(err, -ENOMEM, "userfaultfd: out of memory");
    ret = vfm_dirty_tracker_new(&ops, u, trackerp, err);
    if (ret < 0)
        uffd_free(u);
    return ret;
}
