/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_INTERPOSE_H
#define VFM_BRIDGE_INTERPOSE_H

/*
 * Functions that libc has and declares nowhere: what fortified programs and
 * old ones call.  The names are libc's.
 */

#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* NOLINTBEGIN */
int fcntl64(int fd, int command, ...);
ssize_t __read_chk(int fd, void *buf, size_t len, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t len, off_t pos, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t len, off64_t pos, size_t room);
int __fxstat(int version, int fd, struct stat *st);
int __fxstat64(int version, int fd, struct stat64 *st);

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);
int __xstat(int version, const char *path, struct stat *st);
int __xstat64(int version, const char *path, struct stat64 *st);
int __lxstat(int version, const char *path, struct stat *st);
int __lxstat64(int version, const char *path, struct stat64 *st);
char *__realpath_chk(const char *path, char *resolved, size_t room);
ssize_t __readlink_chk(const char *path, char *buf, size_t len, size_t room);
/* NOLINTEND */

#endif
