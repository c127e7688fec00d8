/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The backend's vtable, and how its owner waits.
 */
#include <stdlib.h>
#include <unistd.h>

#include "backend/vfio-user/client.h"

static void end_session(struct vfm_device *dev)
{
    struct client *c = device_client(dev);

    reader_end(c);
    writer_end(c);
}

/*
 * Receives first, so that the caller wakes up for news only, whoever this is
 * about: a reply that one operation received may be what another waits for.
 */
static int wait_fds(struct vfm_device *dev, struct pollfd *fds,
                    int64_t *deadline)
{
    struct client *c = device_client(dev);
    uint64_t count;
    int n;

    client_pump(c);
    n = client_poll_fds(c, fds, deadline);
    if (c->news)
        *deadline = 0;
    c->news = false;
    if (read(c->news_fd, &count, sizeof(count)) < 0)
        count = 0; /* nobody took a reply out of turn */
    fds[n++] = (struct pollfd){ .fd = c->news_fd, .events = POLLIN };
    return n;
}

static int check(struct vfm_device *dev, struct vfm_error *err)
{
    struct client *c = device_client(dev);

    client_pump(c);
    return c->lost.code < 0 ? client_error(c, err, c->lost.code, "go on") : 0;
}

static void close_client(struct vfm_device *dev)
{
    client_free(device_client(dev));
}

const struct device_ops vfio_user_ops = {
    .name = "vfio-user",
    .call_start = call_start,
    .call_finish = call_finish,
    .peek = reader_peek,
    .consume = reader_consume,
    .write = writer_write,
    .room = writer_room,
    .flush = writer_flush,
    .end_session = end_session,
    .access = access_region,
    .reach = memory_reach,
    .wait_fds = wait_fds,
    .check = check,
    .close = close_client,
};

int vfm_vfio_user_process(struct vfm_device *dev, struct vfm_error *err)
{
    struct client *c;
    int ret = client_of(dev, &c, err);

    uint64_t replies;

    if (ret < 0)
        return ret;
    replies = c->replies;
    ret = check(dev, err);
    client_pass_on_news(c, replies);
    return ret;
}

int vfm_vfio_user_fd(const struct vfm_device *dev)
{
    const struct client *c;

    if (client_of(dev, (struct client **)&c, NULL) < 0)
        return -1;
    return c->poll_fd >= 0 ? c->poll_fd : c->main.fd;
}
