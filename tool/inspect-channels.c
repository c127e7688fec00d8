/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Multifd channels: packets of device state come on any of them, in any
 * order.  First all channels are read and it is noted where each packet lies;
 * then the packets are read again, in the order of their indices.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"
#include "stream-reader.h"
#include "stream/format.h"
#include "util/error.h"

/* A TiB in packets of QEMU's size, and 24 MiB of memory. */
#define PACKETS_MAX  (1 << 20)

/* A channel's number is a byte. */
#define CHANNELS_MAX 256

#define COPY_BYTES   65536

struct channels {
    struct facts *facts;
    struct channel_reader *readers;
    unsigned int count;
    bool seen[CHANNELS_MAX]; /* by the number in the first packet */
    size_t num_packets;
};

static int check_init(struct channels *ch, const struct vfm_multifd_event *ev,
                      struct vfm_error *err)
{
    uint8_t number = ev->u.init.channel;

    if (ch->seen[number])
        return error_set(err, -EPROTO,
                         "offset %" PRIu64
                         ": channel %u is there more than once",
                         ev->offset, number);
    ch->seen[number] = true;
    return 0;
}

static const struct ram_block_facts *find_block(const struct facts *facts,
                                                const char *name)
{
    for (size_t i = 0; i < facts->num_blocks; i++)
        if (strcmp(facts->blocks[i].name, name) == 0)
            return &facts->blocks[i];
    return NULL;
}

static int take_ram(struct facts *facts, const struct vfm_multifd_event *ev,
                    struct vfm_error *err)
{
    const struct ram_block_facts *block = find_block(facts, ev->u.ram.block);

    if (block == NULL)
        return error_set(err, -EBADMSG,
                         "offset %" PRIu64 ": the block '%s' is not in the "
                         "main stream",
                         ev->offset, ev->u.ram.block);
    for (uint32_t i = 0; i < ev->u.ram.normal + ev->u.ram.zero; i++)
        if (ev->u.ram.addresses[i] >= block->bytes)
            return error_set(err, -EBADMSG,
                             "offset %" PRIu64 ": the page at 0x%" PRIx64
                             " is outside of block '%s'",
                             ev->offset, ev->u.ram.addresses[i], block->name);
    facts->multifd_normal += ev->u.ram.normal;
    facts->multifd_zero += ev->u.ram.zero;
    return 0;
}

static int add_packet(struct channels *ch, unsigned int channel,
                      const struct vfm_multifd_event *ev, uint64_t offset,
                      struct vfm_error *err)
{
    struct device_facts *dev =
        facts_device(ch->facts, ev->u.device.name, ev->u.device.instance_id);
    struct device_packet *packets;
    size_t size;

    if (dev == NULL)
        return error_set(err, -EBADMSG,
                         "offset %" PRIu64 ": the section '%s' is not in the "
                         "main stream",
                         ev->offset, ev->u.device.name);
    if (ch->num_packets == PACKETS_MAX)
        return error_set(err, -E2BIG,
                         "offset %" PRIu64
                         ": more than %d packets of device state",
                         ev->offset, PACKETS_MAX);
    if (dev->num_packets == dev->packets_size) {
        size = dev->packets_size > 0 ? 2 * dev->packets_size : 16;
        packets = reallocarray(dev->packets, size, sizeof(*packets));
        if (packets == NULL)
            return error_set(err, -ENOMEM, "out of memory");
        dev->packets = packets;
        dev->packets_size = size;
    }
    dev->packets[dev->num_packets++] = (struct device_packet){
        .index = ev->u.device.index,
        .size = ev->u.device.size,
        .offset = offset,
        .channel = channel,
    };
    ch->num_packets++;
    return 0;
}

static int take_config(struct channels *ch, unsigned int channel,
                       const struct vfm_multifd_event *ev,
                       struct vfm_error *err)
{
    struct device_facts *dev;
    int ret = add_packet(ch, channel, ev, 0, err);

    if (ret < 0)
        return ret;
    dev = facts_device(ch->facts, ev->u.device.name, ev->u.device.instance_id);
    if (dev->has_config)
        return error_set(err, -EPROTO,
                         "offset %" PRIu64
                         ": a second configuration record of section '%s'",
                         ev->offset, dev->name);
    dev->has_last_packet = true;
    dev->last_packet = ev->u.device.index;
    return device_facts_config(dev, ch->facts->extract_to, ev->data, ev->len,
                               err);
}

static int take_event(struct channels *ch, unsigned int channel,
                      const struct vfm_multifd_event *ev, struct vfm_error *err)
{
    switch (ev->type) {
    case VFM_MULTIFD_INIT:
        return check_init(ch, ev, err);
    case VFM_MULTIFD_RAM:
        return take_ram(ch->facts, ev, err);
    case VFM_MULTIFD_DEVICE:
        return add_packet(ch, channel, ev,
                          ev->offset + MULTIFD_DEVICE_HEAD_BYTES +
                              DEVICE_PACKET_HEAD_BYTES,
                          err);
    case VFM_MULTIFD_DEVICE_CONFIG:
        return take_config(ch, channel, ev, err);
    default:
        return 0;
    }
}

static int read_channel(struct channels *ch, unsigned int channel,
                        struct vfm_error *err)
{
    struct vfm_multifd_event ev;
    int ret;

    while ((ret = channel_reader_next(&ch->readers[channel], &ev, err)) > 0) {
        ret = take_event(ch, channel, &ev, err);
        if (ret < 0)
            break;
    }
    return ret;
}

/* ---------------------------------------------------------------------- */

static int compare_packets(const void *a, const void *b)
{
    const struct device_packet *pa = a;
    const struct device_packet *pb = b;

    return (pa->index > pb->index) - (pa->index < pb->index);
}

/* All indices from 0 to the configuration's, each once. */
static int check_packets(const struct device_facts *dev, struct vfm_error *err)
{
    for (size_t i = 0; i < dev->num_packets; i++) {
        uint32_t index = dev->packets[i].index;

        if (index < i)
            return error_set(err, -EPROTO,
                             "section '%s': packet %" PRIu32 " came twice",
                             dev->name, index);
        if (index > i)
            return error_set(err, -ENODATA,
                             "section '%s': packet %zu is missing", dev->name,
                             i);
    }
    if (!dev->has_last_packet)
        return error_set(err, -ENODATA,
                         "section '%s': the packet with the configuration "
                         "record is missing",
                         dev->name);
    if (dev->last_packet != dev->num_packets - 1)
        return error_set(err, -EPROTO,
                         "section '%s': packet %" PRIu32
                         " is beyond the one with the configuration record",
                         dev->name, dev->last_packet + 1);
    return 0;
}

static int copy_packet(struct channels *ch, struct device_facts *dev,
                       const struct device_packet *packet, const char **culprit,
                       struct vfm_error *err)
{
    const struct piece_file *file = &ch->readers[packet->channel].file;
    uint8_t buf[COPY_BYTES];
    uint32_t done = 0;
    int ret = 0;

    while (ret == 0 && done < packet->size) {
        size_t len = packet->size - done;

        if (len > sizeof(buf))
            len = sizeof(buf);
        ret = piece_file_read_at(file, buf, len, packet->offset + done, err);
        if (ret < 0)
            *culprit = file->name;
        if (ret == 0)
            ret = device_facts_data(dev, buf, len, err);
        done += (uint32_t)len;
    }
    return ret;
}

static int read_device(struct channels *ch, struct device_facts *dev,
                       const char **culprit, struct vfm_error *err)
{
    int ret;

    if (dev->num_packets == 0)
        return 0;
    qsort(dev->packets, dev->num_packets, sizeof(*dev->packets),
          compare_packets);
    ret = check_packets(dev, err);
    for (size_t i = 0; ret == 0 && i + 1 < dev->num_packets; i++) {
        dev->records++;
        ret = copy_packet(ch, dev, &dev->packets[i], culprit, err);
    }
    return ret;
}

static int read_channels(struct channels *ch, char *const *names,
                         const char **culprit, struct vfm_error *err)
{
    struct vfm_multifd_options options = {
        .size = sizeof(options),
        .max_device_data = UINT32_MAX,
        .page_size = ch->facts->page_size,
    };
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < ch->count; i++) {
        *culprit = names[i];
        ret = channel_reader_open(&ch->readers[i], names[i], &options, err);
        if (ret == 0)
            ret = read_channel(ch, i, err);
        channel_reader_shrink(&ch->readers[i]);
    }
    if (ret == 0)
        *culprit = NULL;
    for (size_t i = 0; ret == 0 && i < ch->facts->num_devices; i++)
        ret = read_device(ch, &ch->facts->devices[i], culprit, err);
    return ret;
}

int channels_read(struct facts *facts, char *const *names, int count,
                  const char **culprit, struct vfm_error *err)
{
    struct channels ch = { .facts = facts, .count = (unsigned int)count };
    int ret;

    *culprit = NULL;
    if (count > CHANNELS_MAX)
        return error_set(err, -E2BIG, "more than %d channels", CHANNELS_MAX);
    ch.readers = calloc((size_t)count + 1, sizeof(*ch.readers));
    if (ch.readers == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    facts->num_channels = (size_t)count;
    ret = read_channels(&ch, names, culprit, err);
    for (unsigned int i = 0; i < ch.count; i++)
        channel_reader_close(&ch.readers[i]);
    free(ch.readers);
    return ret;
}
