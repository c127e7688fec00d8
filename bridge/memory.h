/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_MEMORY_H
#define VFM_BRIDGE_MEMORY_H

/*
 * What the program's pointers lead to.  It may not be there: then an ioctl() is
 * -EFAULT, as of the kernel, and no signal.
 */

#include <stddef.h>
#include <stdint.h>

/* Memory of this process, which may go away at any time: 0 or -EFAULT. */
int memory_read(uint64_t address, void *buf, size_t len);
int memory_write(uint64_t address, const void *buf, size_t len);

/* Whether all of it can be read: 0 or -EFAULT. */
int memory_check(const void *from, size_t len);

/* Copies an argument of at least @min bytes, whose first four say how many
 * there are, and at most @max of it. */
int argument_get(const void *arg, void *to, size_t min, size_t max);
int argument_put(void *arg, const void *from, size_t len);

#endif
