/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_REAL_H
#define VFM_BRIDGE_REAL_H

/*
 * The functions behind those that the bridge interposes: the next of that
 * name.  The bridge uses these for what is its own.
 */

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Calls the next @name, whose type is that of the function as declared. */
#define REAL(name)        ((__typeof__(&name))real_function(REAL_##name))

/* One row for each kind of them. */
/* clang-format off */
#define REAL_FUNCTIONS(X)                                                  \
    X(open) X(open64) X(openat) X(openat64) X(fopen) X(fopen64)            \
    X(close) X(dup) X(dup2) X(dup3) X(fcntl) X(ioctl)                      \
    X(read) X(write) X(pread) X(pread64) X(pwrite) X(pwrite64)             \
    X(readv) X(writev) X(mmap) X(mmap64)                                   \
    X(fstat) X(fstat64) X(stat) X(stat64) X(lstat) X(lstat64)              \
    X(fstatat) X(fstatat64) X(statx) X(getxattr) X(lgetxattr)              \
    X(access) X(faccessat) X(euidaccess)                                   \
    X(readlink) X(readlinkat) X(realpath)                                  \
    X(opendir) X(scandir) X(scandir64)
/* clang-format on */

#define REAL_NUMBER(name) REAL_##name,
enum real_number { REAL_FUNCTIONS(REAL_NUMBER) REAL_COUNT };
#undef REAL_NUMBER

void *real_function(enum real_number number);

#endif
