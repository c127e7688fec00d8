/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions of libc that take a descriptor.  One that is not ours costs a
 * look into a table.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bridge/interpose.h"
#include "bridge/memory.h"
#include "bridge/node.h"
#include "bridge/real.h"

/* ---------------------------------------------------------------- life */

static void begin_child(void)
{
    device_forget_all();
    node_forget_all();
    file_forget_all();
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, begin_child);
}

/* A negative errno, as libc says it. */
static ssize_t result(ssize_t ret)
{
    if (ret >= 0)
        return ret;
    errno = (int)-ret;
    return -1;
}

static struct file *get(int fd)
{
    int saved = errno;
    struct file *f = file_maybe(fd) ? file_get(fd) : NULL;

    errno = saved;
    return f;
}

static void put(struct file *f)
{
    int saved = errno;

    file_put(f);
    file_reap();
    errno = saved;
}

int close(int fd)
{
    struct file *f = file_maybe(fd) ? file_forget(fd) : NULL;
    int ret = REAL(close)(fd);

    if (f != NULL)
        put(f);
    return ret;
}

/* @fd is a new number of @f, or -1. */
static int alias(struct file *f, int fd)
{
    if (f != NULL && fd >= 0)
        file_alias(f, fd);
    if (f != NULL)
        put(f);
    return fd;
}

int dup(int fd)
{
    struct file *f = get(fd);

    return alias(f, REAL(dup)(fd));
}

/* What @to was before is gone if the kernel says so. */
static int replace(int from, int to, int flags, bool has_flags)
{
    struct file *f = get(from);
    struct file *old = from != to && file_maybe(to) ? file_forget(to) : NULL;
    int ret = has_flags ? REAL(dup3)(from, to, flags) : REAL(dup2)(from, to);

    if (ret < 0 && old != NULL)
        file_alias(old, to);
    if (old != NULL)
        put(old);
    return alias(f, ret);
}

int dup2(int from, int to)
{
    return replace(from, to, 0, false);
}

int dup3(int from, int to, int flags)
{
    return replace(from, to, flags, true);
}

static int control(int fd, int command, void *arg)
{
    bool is_dup = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
    struct file *f = is_dup ? get(fd) : NULL;
    int ret = REAL(fcntl)(fd, command, arg);

    return is_dup ? alias(f, ret) : ret;
}

#define LAST_ARGUMENT(type, var, before) \
    do {                                 \
        va_list list;                    \
                                         \
        va_start(list, before);          \
        (var) = va_arg(list, type);      \
        va_end(list);                    \
    } while (0)

int fcntl(int fd, int command, ...)
{
    void *arg;

    LAST_ARGUMENT(void *, arg, command);
    return control(fd, command, arg);
}

int fcntl64(int fd, int command, ...)
{
    void *arg;

    LAST_ARGUMENT(void *, arg, command);
    return control(fd, command, arg);
}

/* ------------------------------------------------------------- ioctl() */

int ioctl(int fd, unsigned long request, ...)
{
    bool is_vfio = _IOC_TYPE(request) == VFIO_TYPE;
    struct file *f = NULL;
    int saved = errno;
    void *arg;
    int ret;

    LAST_ARGUMENT(void *, arg, request);
    if (is_vfio)
        f = file_find(fd);
    errno = saved;
    if (f == NULL)
        return REAL(ioctl)(fd, request, arg);
    ret = f->ops->ioctl != NULL ? f->ops->ioctl(f, request, arg) : -ENOTTY;
    put(f);
    errno = saved;
    return (int)result(ret);
}

/* ---------------------------------------------------- read() and write() */

static ssize_t read_file(struct file *f, void *buf, size_t len, int64_t pos)
{
    int saved = errno;
    ssize_t ret =
        f->ops->read != NULL ? f->ops->read(f, buf, len, pos) : -EINVAL;

    put(f);
    errno = saved;
    return result(ret);
}

static ssize_t write_file(struct file *f, const void *buf, size_t len,
                          int64_t pos)
{
    int saved = errno;
    ssize_t ret =
        f->ops->write != NULL ? f->ops->write(f, buf, len, pos) : -EINVAL;

    put(f);
    errno = saved;
    return result(ret);
}

ssize_t read(int fd, void *buf, size_t len)
{
    struct file *f = get(fd);

    return f != NULL ? read_file(f, buf, len, -1) : REAL(read)(fd, buf, len);
}

ssize_t write(int fd, const void *buf, size_t len)
{
    struct file *f = get(fd);

    return f != NULL ? write_file(f, buf, len, -1) : REAL(write)(fd, buf, len);
}

static ssize_t refuse(struct file *f, int ret)
{
    put(f);
    return result(ret);
}

ssize_t pread(int fd, void *buf, size_t len, off_t pos)
{
    struct file *f = get(fd);

    if (f == NULL)
        return REAL(pread)(fd, buf, len, pos);
    return pos < 0 ? refuse(f, -EINVAL) : read_file(f, buf, len, pos);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t pos)
{
    struct file *f = get(fd);

    if (f == NULL)
        return REAL(pwrite)(fd, buf, len, pos);
    return pos < 0 ? refuse(f, -EINVAL) : write_file(f, buf, len, pos);
}

ssize_t pread64(int fd, void *buf, size_t len, off64_t pos)
{
    return pread(fd, buf, len, pos);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t pos)
{
    return pwrite(fd, buf, len, pos);
}

static void check_room(size_t len, size_t room)
{
    if (len > room)
        abort();
}

/* The forms that a fortified program calls.  It has counted on them to end it
 * if the room is too small. */
ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
    check_room(len, room);
    return read(fd, buf, len);
}

ssize_t __pread_chk(int fd, void *buf, size_t len, off_t pos, size_t room)
{
    check_room(len, room);
    return pread(fd, buf, len, pos);
}

ssize_t __pread64_chk(int fd, void *buf, size_t len, off64_t pos, size_t room)
{
    check_room(len, room);
    return pread(fd, buf, len, pos);
}

/* One part is a short read, or a short write: whoever calls has to go on.
 * Returns 0 or a negative errno. */
static int first_part(const struct iovec *parts, int count, struct iovec *part)
{
    *part = (struct iovec){ .iov_len = 0 };
    if (count < 0 || count > IOV_MAX)
        return -EINVAL;
    for (int i = 0; i < count && part->iov_len == 0; i++)
        if (memory_read((uintptr_t)&parts[i], part, sizeof(*part)) < 0)
            return -EFAULT;
    return 0;
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    struct file *f = get(fd);
    struct iovec part;
    int ret;

    if (f == NULL)
        return REAL(readv)(fd, parts, count);
    ret = first_part(parts, count, &part);
    return ret < 0 ? refuse(f, ret)
                   : read_file(f, part.iov_base, part.iov_len, -1);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    struct file *f = get(fd);
    struct iovec part;
    int ret;

    if (f == NULL)
        return REAL(writev)(fd, parts, count);
    ret = first_part(parts, count, &part);
    return ret < 0 ? refuse(f, ret)
                   : write_file(f, part.iov_base, part.iov_len, -1);
}

/* ------------------------------------------------------ mmap() and stat() */

void *mmap(void *address, size_t len, int prot, int flags, int fd, off_t offset)
{
    struct file *f = (flags & MAP_ANONYMOUS) == 0 ? get(fd) : NULL;
    uint64_t real_offset = 0;
    void *ret = MAP_FAILED;
    int real_fd = -1;
    int error;

    if (f == NULL)
        return REAL(mmap)(address, len, prot, flags, fd, offset);
    if (f->ops->map == NULL)
        error = -ENODEV;
    else if ((flags & MAP_TYPE) == MAP_PRIVATE)
        error = -EINVAL;
    else
        error = f->ops->map(f, (uint64_t)offset, len, &real_fd, &real_offset);
    if (error == 0)
        ret =
            REAL(mmap)(address, len, prot, flags, real_fd, (off_t)real_offset);
    put(f);
    if (error < 0)
        errno = -error;
    return ret;
}

void *mmap64(void *address, size_t len, int prot, int flags, int fd,
             off64_t offset)
{
    return mmap(address, len, prot, flags, fd, offset);
}

int fstat(int fd, struct stat *st)
{
    struct file *f = get(fd);
    int ret = REAL(fstat)(fd, st);

    if (f != NULL && f->rdev != 0 && ret == 0) {
        st->st_mode = S_IFCHR | 0666;
        st->st_rdev = f->rdev;
    }
    if (f != NULL)
        put(f);
    return ret;
}

int fstat64(int fd, struct stat64 *st)
{
    return fstat(fd, (struct stat *)st);
}

/* For programs that were linked with glibc before 2.33. */
int __fxstat(int version, int fd, struct stat *st)
{
    (void)version;
    return fstat(fd, st);
}

int __fxstat64(int version, int fd, struct stat64 *st)
{
    return __fxstat(version, fd, (struct stat *)st);
}
