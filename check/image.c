/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * States of any size.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check/image.h"

#define ROOM_MIN ((size_t)4 << 20)

static int open_file(void)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder != NULL ? folder : "/tmp",
                  O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    return fd >= 0 ? fd : memfd_create("vfmig-check", MFD_CLOEXEC);
}

int image_reserve(struct image *image, size_t len)
{
    size_t room = image->room == 0 ? ROOM_MIN : image->room;
    void *data;

    if (len > IMAGE_MAX || image->size > IMAGE_MAX - len)
        return -EFBIG;
    while (room < image->size + len)
        room *= 2;
    if (room == image->room)
        return 0;
    if (image->file == 0) {
        int fd = open_file();

        if (fd < 0)
            return -errno;
        image->file = fd + 1;
    }
    if (ftruncate(image->file - 1, (off_t)room) < 0)
        return -errno;
    data = image->data == NULL
               ? mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED,
                      image->file - 1, 0)
               : mremap(image->data, image->room, room, MREMAP_MAYMOVE);
    if (data == MAP_FAILED)
        return -errno;
    image->data = data;
    image->room = room;
    return 0;
}

bool image_equals(const struct image *a, const struct image *b)
{
    return a->size == b->size &&
           (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

size_t image_difference(const struct image *a, const struct image *b)
{
    size_t shorter = a->size < b->size ? a->size : b->size;
    size_t at = 0;

    while (at < shorter && a->data[at] == b->data[at])
        at++;
    return at;
}

int image_copy(struct image *to, const struct image *from)
{
    int ret;

    image_free(to);
    ret = image_reserve(to, from->size);
    if (ret < 0)
        return ret;
    if (from->size > 0)
        memcpy(to->data, from->data, from->size);
    to->size = from->size;
    return 0;
}

void image_free(struct image *image)
{
    if (image->data != NULL)
        munmap(image->data, image->room);
    if (image->file != 0)
        close(image->file - 1);
    *image = (struct image){ .data = NULL };
}
