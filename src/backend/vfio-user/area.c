/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that the server shares with us, for the state to go through instead of
 * messages: docs/vfio-user-data-area.md.
 *
 * It is cut into slots, one for each message that is under way; they are the
 * reader's and the writer's alike, as there is one session at a time.  A slot
 * whose message is not answered is the server's, even if its session is over.
 *
 * What the server writes there it may change at any time.  That is as good as
 * other state: what goes wrong with it is noticed where it is loaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/vfio-user/client.h"

/* A memory file that nobody can cut short.  Returns it or an error. */
static int make_file(size_t size)
{
    int fd = memfd_create("vfmig-data-area", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int ret = 0;

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        ret = -errno;
    if (ret == 0)
        return fd;
    close(fd);
    return ret;
}

/* Hands the memory to the server.  Returns 0 or an error. */
static int hand_over(struct client *c, int fd, size_t size)
{
    struct vfu_mig_area set = { .argsz = sizeof(set), .size = size };
    struct iovec part = { &set, sizeof(set) };
    struct request req = { .timeout_ms = c->settings.command_timeout_ms };
    int ret = client_send(c, &req, VFU_MIG_AREA_SET, &part, 1, &fd, 1);

    return ret < 0 ? ret : client_wait(c, &req);
}

/* Each slot begins on a page. */
static size_t slot_size(uint32_t piece)
{
    const size_t page = 4096;

    return (piece + page - 1) / page * page;
}

uint32_t area_wish(const struct client *c)
{
    const struct settings *s = &c->settings;

    return s->no_area ? 0 : (uint32_t)slot_size(s->area_piece) * s->area_depth;
}

/* Maps @fd, with its pages, for the first state that goes through them is one
 * that a device stands still for, and hands it over. */
static int share(struct client *c, int fd, size_t size)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_POPULATE, fd, 0);
    int ret;

    if (base == MAP_FAILED)
        return -errno;
    ret = hand_over(c, fd, size);
    if (ret < 0)
        munmap(base, size);
    else
        c->area.base = base;
    return ret;
}

int area_open(struct client *c)
{
    struct data_area *a = &c->area;
    uint32_t piece = c->settings.area_piece;
    int fd, ret;

    if (piece > c->max_transfer)
        piece = c->max_transfer;
    a->slot_size = slot_size(piece);
    a->slots = (unsigned int)(c->offered_area / a->slot_size);
    if (a->slots > c->settings.area_depth)
        a->slots = c->settings.area_depth;
    if (a->slots == 0 || c->max_msg_fds == 0)
        return -EOPNOTSUPP;
    fd = make_file(a->slots * a->slot_size);
    if (fd < 0)
        return fd;
    ret = share(c, fd, a->slots * a->slot_size);
    close(fd);
    if (ret == 0)
        c->read_size = c->write_size = piece;
    return ret;
}

void area_close(struct client *c)
{
    struct data_area *a = &c->area;

    if (a->base != NULL)
        munmap(a->base, a->slots * a->slot_size);
    a->base = NULL;
}

bool area_slot_is_free(const struct client *c, unsigned int slot)
{
    return !c->reader.slots[slot].req.outstanding &&
           !c->writer.slots[slot].req.outstanding;
}

uint8_t *area_slot(const struct client *c, unsigned int slot)
{
    return c->area.base + slot * c->area.slot_size;
}

struct vfu_mig_area_data area_request(const struct client *c, unsigned int slot,
                                      size_t size)
{
    return (struct vfu_mig_area_data){
        .argsz = (uint32_t)(sizeof(struct vfu_mig_area_data) + size),
        .size = (uint32_t)size,
        .offset = slot * c->area.slot_size,
    };
}
