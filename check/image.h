/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_IMAGE_H
#define VFM_CHECK_IMAGE_H

/*
 * A device's state, as it was read: any size, in a file without a name that is
 * mapped, so that the memory it takes can be taken back.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAX ((size_t)64 << 30)

/* All zero is an empty image. */
struct image {
    uint8_t *data;
    size_t size;
    size_t room;
    int file; /* its descriptor + 1 */
};

/* Makes room for @len more bytes, which the caller puts at data + size.
 * Returns 0, -EFBIG or what the system said. */
int image_reserve(struct image *image, size_t len);
bool image_equals(const struct image *a, const struct image *b);
/* Where the first difference is; the size of the shorter one if there is
 * none. */
size_t image_difference(const struct image *a, const struct image *b);
int image_copy(struct image *to, const struct image *from);
void image_free(struct image *image);

#endif
