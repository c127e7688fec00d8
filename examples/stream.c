/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads a migration stream of QEMU or of vfmig and says how much state each
 * device in it has.  The loop is the same for a file, a socket or bytes that
 * arrive in a callback: the decoder takes what there is.
 */
#include <inttypes.h>
#include <stdio.h>

#include <vfmig/stream.h>

#define DEVICES_MAX 16

struct device {
    uint32_t section;
    uint64_t bytes;
};

static struct device *find(struct device *devices, uint32_t section)
{
    struct device *dev = devices;

    while (dev < devices + DEVICES_MAX - 1 && dev->section != section)
        dev++;
    return dev;
}

/* Data is counted here; a loader would write it to the device. */
static void handle(const struct vfm_stream_event *ev, struct device *devices)
{
    struct device *dev = devices;

    if (ev->section.kind != VFM_SECTION_KIND_VFIO)
        return;
    if (ev->type == VFM_STREAM_VFIO_SETUP) {
        dev = find(devices, 0);
        dev->section = ev->section.id;
    } else if (ev->type == VFM_STREAM_VFIO_DATA) {
        find(devices, ev->section.id)->bytes += ev->len;
    } else if (ev->type == VFM_STREAM_VFIO_CONFIG) {
        printf("%s: %" PRIu64 " bytes of state, %zu of configuration\n",
               ev->section.name, find(devices, ev->section.id)->bytes, ev->len);
    }
}

/* Decodes one piece.  Returns 0 if more can follow. */
static int decode(struct vfm_decoder *dec, const unsigned char *p, size_t len,
                  struct device *devices, struct vfm_error *err)
{
    struct vfm_stream_event ev;
    size_t used;
    int ret;

    while ((ret = vfm_decoder_next(dec, p, len, &used, &ev, err)) == 1) {
        p += used;
        len -= used;
        handle(&ev, devices);
    }
    return ret;
}

static int read_stream(FILE *f, struct vfm_error *err)
{
    static unsigned char piece[65536];
    struct device devices[DEVICES_MAX] = { { 0, 0 } };
    struct vfm_decoder *dec;
    size_t len;
    int ret = vfm_decoder_new(NULL, &dec, err);

    if (ret < 0)
        return ret;
    while (ret == 0 && (len = fread(piece, 1, sizeof(piece), f)) > 0)
        ret = decode(dec, piece, len, devices, err);
    if (ret == 0)
        ret = vfm_decoder_finish(dec, err);
    vfm_decoder_free(dec);
    return ret;
}

int main(int argc, char **argv)
{
    struct vfm_error err;
    FILE *f;
    int ret;

    if (argc != 2) {
        fprintf(stderr, "usage: example-stream FILE\n");
        return 2;
    }
    f = fopen(argv[1], "rb");
    if (f == NULL) {
        perror(argv[1]);
        return 1;
    }
    ret = read_stream(f, &err);
    if (ret < 0)
        fprintf(stderr, "example-stream: %s: %s\n", argv[1], err.message);
    fclose(f);
    return ret < 0;
}
