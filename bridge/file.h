/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_FILE_H
#define VFM_BRIDGE_FILE_H

/*
 * Descriptors that are ours.
 *
 * Behind each is an open file of the kernel that nobody else has (a memfd, or
 * a socket for a data descriptor): so the number is taken, and dup(), poll()
 * and fork() do what they do.  A table tells which of our files a number is;
 * an entry counts only while the number still is that open file, as numbers
 * change hands in ways that we do not see.
 *
 * Only the process that opened them is served.  In a child, and in one that
 * shares our memory after vfork(), the numbers are no more than empty files.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct file;

/* All return what the system call would, or a negative errno.  NULL: EINVAL,
 * and ENOTTY for ioctl().  @pos -1: none was given. */
struct file_ops {
    const char *name;
    int (*ioctl)(struct file *f, unsigned long request, void *arg);
    ssize_t (*read)(struct file *f, void *buf, size_t len, int64_t pos);
    ssize_t (*write)(struct file *f, const void *buf, size_t len, int64_t pos);
    /* What to map instead: a descriptor and the offset in it. */
    int (*map)(struct file *f, uint64_t offset, size_t len, int *fd,
               uint64_t *fd_offset);
    /* The last descriptor is gone. */
    void (*release)(struct file *f);
};

/* The first member of every kind of file. */
struct file {
    const struct file_ops *ops;
    int refs;
    dev_t dev;
    ino_t ino;
    dev_t rdev; /* of the character device that it stands for; 0: none */
    struct file *next;
};

/* Makes @f known by a new descriptor and owns it; on failure @f is the
 * caller's.  @flags: O_CLOEXEC, O_NONBLOCK.  @stream: it can be polled.  Can be
 * called with locks held: a file whose number this was, which went without our
 * knowing, is left for file_reap(). */
int file_open(struct file *f, const struct file_ops *ops, int flags,
              bool stream);

/* Releases what is left over, as every call does at its end; with no lock held.
 * Returns whether there was something. */
bool file_reap(void);

/* Looks for files that went without our knowing, and releases them; with no
 * lock held.  Returns whether there was one. */
bool file_sweep(void);

/* The file of @fd with a reference, or NULL.  file_find() also looks for a
 * number that it has not seen yet. */
struct file *file_get(int fd);
struct file *file_find(int fd);
void file_ref(struct file *f);
void file_put(struct file *f);

/* @fd is about to be closed: returns what is to be put when it is. */
struct file *file_forget(int fd);

/* Closes @fd, which file_open() gave and nobody has seen. */
void file_close(int fd);

/* @fd is another number of @f. */
void file_alias(struct file *f, int fd);

/* Whether @fd may be one of ours: quick, and no promise. */
bool file_maybe(int fd);

/* In a child. */
void file_forget_all(void);

#endif
