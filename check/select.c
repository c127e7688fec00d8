/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which checks are meant.
 */
#include <fnmatch.h>

#include "check/run.h"

static bool matches(const char *const *globs, size_t count, const char *name,
                    const char *group)
{
    for (size_t i = 0; i < count; i++)
        if (fnmatch(globs[i], name, 0) == 0 || fnmatch(globs[i], group, 0) == 0)
            return true;
    return false;
}

bool check_is_selected(const struct check_selection *s, const char *name,
                       const char *group)
{
    return (s->num_only == 0 || matches(s->only, s->num_only, name, group)) &&
           !matches(s->skip, s->num_skip, name, group);
}
