/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SCRIPTS_ANALYZER_H
#define VFM_SCRIPTS_ANALYZER_H

/*
 * What clang's analyzer cannot see from one file: error_set() returns its
 * second argument, so after `return error_set(err, -EPROTO, ...)` the caller's
 * check for a negative value holds.  scripts/lint puts this before every file.
 */

#include "util/error.h"

#define error_set(err, code, ...) \
    ((void)error_set((err), (code), __VA_ARGS__), (code))

#endif
