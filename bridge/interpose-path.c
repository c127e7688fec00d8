/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions of libc that take a path.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "bridge/interpose.h"
#include "bridge/node.h"
#include "bridge/path.h"
#include "bridge/real.h"

/* ------------------------------------------------------------- opening */

static int open_path(const char *path, int flags, mode_t mode)
{
    char buf[PATH_MAX];
    int saved = errno;
    int ret = path != NULL && path[0] == '/' ? node_open(path, flags) : -ENXIO;

    file_reap();
    errno = saved;
    if (ret == -ENXIO)
        return REAL(open)(path_redirect(path, buf), flags, mode);
    if (ret >= 0)
        return ret;
    errno = -ret;
    return -1;
}

static int openat_path(int folder, const char *path, int flags, mode_t mode)
{
    if (path != NULL && path[0] == '/')
        return open_path(path, flags, mode);
    return REAL(openat)(folder, path, flags, mode);
}

#define MODE_OF(mode, flags)                            \
    do {                                                \
        if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) { \
            va_list list;                               \
                                                        \
            va_start(list, flags);                      \
            (mode) = va_arg(list, mode_t);              \
            va_end(list);                               \
        }                                               \
    } while (0)

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(mode, flags);
    return open_path(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(mode, flags);
    return open_path(path, flags | O_LARGEFILE, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(mode, flags);
    return openat_path(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(mode, flags);
    return openat_path(folder, path, flags | O_LARGEFILE, mode);
}

/* NOLINTBEGIN: libc's names. */
int __open_2(const char *path, int flags)
{
    return open_path(path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_path(path, flags | O_LARGEFILE, 0);
}

int __openat_2(int folder, const char *path, int flags)
{
    return openat_path(folder, path, flags, 0);
}

int __openat64_2(int folder, const char *path, int flags)
{
    return openat_path(folder, path, flags | O_LARGEFILE, 0);
}
/* NOLINTEND */

FILE *fopen(const char *path, const char *mode)
{
    char buf[PATH_MAX];

    return REAL(fopen)(path_redirect(path, buf), mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    char buf[PATH_MAX];

    return REAL(fopen64)(path_redirect(path, buf), mode);
}

DIR *opendir(const char *path)
{
    char buf[PATH_MAX];

    /* cppcheck-suppress CastIntegerToAddressAtReturn */
    return REAL(opendir)(path_redirect(path, buf));
}

int scandir(const char *path, struct dirent ***entries,
            int (*filter)(const struct dirent *),
            int (*compare)(const struct dirent **, const struct dirent **))
{
    char buf[PATH_MAX];

    return REAL(scandir)(path_redirect(path, buf), entries, filter, compare);
}

int scandir64(const char *path, struct dirent64 ***entries,
              int (*filter)(const struct dirent64 *),
              int (*compare)(const struct dirent64 **,
                             const struct dirent64 **))
{
    char buf[PATH_MAX];

    return REAL(scandir64)(path_redirect(path, buf), entries, filter, compare);
}

/* -------------------------------------------------------------- asking */

int stat(const char *path, struct stat *st)
{
    char buf[PATH_MAX];
    int ret = REAL(stat)(path_redirect(path, buf), st);

    if (ret == 0)
        path_fix_stat(path, st);
    return ret;
}

int lstat(const char *path, struct stat *st)
{
    char buf[PATH_MAX];
    int ret = REAL(lstat)(path_redirect(path, buf), st);

    if (ret == 0)
        path_fix_stat(path, st);
    return ret;
}

int fstatat(int folder, const char *path, struct stat *st, int flags)
{
    char buf[PATH_MAX];
    int ret = REAL(fstatat)(folder, path_redirect(path, buf), st, flags);

    if (ret == 0)
        path_fix_stat(path, st);
    return ret;
}

int stat64(const char *path, struct stat64 *st)
{
    return stat(path, (struct stat *)st);
}

int lstat64(const char *path, struct stat64 *st)
{
    return lstat(path, (struct stat *)st);
}

int fstatat64(int folder, const char *path, struct stat64 *st, int flags)
{
    return fstatat(folder, path, (struct stat *)st, flags);
}

int statx(int folder, const char *path, int flags, unsigned mask,
          struct statx *st)
{
    char buf[PATH_MAX];
    struct stat plain = { .st_mode = 0 };
    int ret = REAL(statx)(folder, path_redirect(path, buf), flags, mask, st);

    if (ret != 0)
        return ret;
    path_fix_stat(path, &plain);
    if (plain.st_rdev != 0) {
        st->stx_mode = (uint16_t)plain.st_mode;
        st->stx_rdev_major = major(plain.st_rdev);
        st->stx_rdev_minor = minor(plain.st_rdev);
    }
    return 0;
}

/* NOLINTBEGIN: libc's names. */
int __xstat(int version, const char *path, struct stat *st)
{
    (void)version;
    return stat(path, st);
}

int __xstat64(int version, const char *path, struct stat64 *st)
{
    return __xstat(version, path, (struct stat *)st);
}

int __lxstat(int version, const char *path, struct stat *st)
{
    (void)version;
    return lstat(path, st);
}

int __lxstat64(int version, const char *path, struct stat64 *st)
{
    return __lxstat(version, path, (struct stat *)st);
}
/* NOLINTEND */

int access(const char *path, int mode)
{
    char buf[PATH_MAX];

    return REAL(access)(path_redirect(path, buf), mode);
}

int euidaccess(const char *path, int mode)
{
    char buf[PATH_MAX];

    return REAL(euidaccess)(path_redirect(path, buf), mode);
}

int faccessat(int folder, const char *path, int mode, int flags)
{
    char buf[PATH_MAX];

    return REAL(faccessat)(folder, path_redirect(path, buf), mode, flags);
}

/* Asked for by ls(1), and by nobody who knows what a device is. */
ssize_t getxattr(const char *path, const char *name, void *value, size_t size)
{
    char buf[PATH_MAX];

    return REAL(getxattr)(path_redirect(path, buf), name, value, size);
}

ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
    char buf[PATH_MAX];

    return REAL(lgetxattr)(path_redirect(path, buf), name, value, size);
}

/* --------------------------------------------------------------- links */

ssize_t readlink(const char *path, char *to, size_t len)
{
    char buf[PATH_MAX];

    return REAL(readlink)(path_redirect(path, buf), to, len);
}

ssize_t readlinkat(int folder, const char *path, char *to, size_t len)
{
    char buf[PATH_MAX];

    return REAL(readlinkat)(folder, path_redirect(path, buf), to, len);
}

char *realpath(const char *path, char *resolved)
{
    char buf[PATH_MAX];
    char *ret = REAL(realpath)(path_redirect(path, buf), resolved);

    if (ret != NULL)
        path_restore(ret);
    return ret;
}

char *canonicalize_file_name(const char *path)
{
    return realpath(path, NULL);
}

/* NOLINTBEGIN: libc's names. */
char *__realpath_chk(const char *path, char *resolved, size_t room)
{
    if (room < PATH_MAX)
        abort();
    return realpath(path, resolved);
}

ssize_t __readlink_chk(const char *path, char *to, size_t len, size_t room)
{
    if (len > room)
        abort();
    return readlink(path, to, len);
}
/* NOLINTEND */
