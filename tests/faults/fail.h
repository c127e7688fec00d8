/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_FAULTS_FAIL_H
#define VFM_TESTS_FAULTS_FAIL_H

#include <stdbool.h>
#include <stddef.h>

enum fail_how { FAIL_NOT, FAIL_NOW, FAIL_SHORT };

/* A function that can fail, and how often it was called. */
struct fail_point {
    const char *name;
    bool by_libc; /* calls by the C library count */
    bool known;
    unsigned long count;
};

/* A call by @caller: is it the one?  Sets errno if it is. */
enum fail_how fail_strike(struct fail_point *point, const void *caller);
int fail_code(void);

/* What the C library does by itself within a function that counts is not
 * counted once more. */
void fail_pause(bool pause);

/* The function of that name that would be called without us. */
void *fail_real(const char *name);

bool fail_is_ours(const void *caller);

/* From here on: for programs that have something to do before. */
void fail_begin(void);
void fail_end(void);

/* What is kept: memory, descriptors, mappings.  Given back is what was not
 * taken by us, too. */
void fail_take_memory(const void *p, const char *function, const void *caller);
void fail_give_memory(const void *p);
void fail_take_fd(int fd, const char *function, const void *caller);
void fail_give_fd(int fd);
void fail_note_open_fds(void);
void fail_say_kept(void);
void fail_say_leak(const char *kind, const char *function, const void *caller);

#define CALLER __builtin_return_address(0)

#endif
