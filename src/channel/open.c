/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a URI to a channel or a listener: which transport, which options, and
 * what must hold whatever the transport.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/channel.h"
#include "util/error.h"

static const struct transport *const transports[] = {
    [ADDRESS_UNIX] = &unix_transport, [ADDRESS_TCP] = &tcp_transport,
    [ADDRESS_FD] = &fd_transport,     [ADDRESS_FILE] = &file_transport,
    [ADDRESS_EXEC] = &exec_transport,
};

static_assert(sizeof(transports) / sizeof(transports[0]) == ADDRESS_KINDS,
              "every kind of address has its transport");

int vfm_channel_check_uri(const char *uri, struct vfm_error *err)
{
    struct address addr;

    return address_parse(&addr, uri, err);
}

int vfm_channel_connect(const char *uri, const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err)
{
    struct vfm_channel_options o;
    struct address addr;
    int ret;

    *chp = NULL;
    ret = channel_options_read(&o, opts, err);
    if (ret == 0)
        ret = address_parse(&addr, uri, err);
    if (ret == 0)
        ret = address_check_target(&addr, uri, err);
    if (ret == 0)
        ret = transports[addr.kind]->connect(&addr, uri, &o, chp, err);
    return ret;
}

static int listen_on(struct vfm_listener *lis, const char *uri,
                     struct vfm_error *err)
{
    int ret;

    lis->uri = strdup(uri);
    if (lis->uri == NULL)
        return error_set(err, -ENOMEM, "%.*s: out of memory", ADDRESS_SHOWN,
                         uri);
    ret = address_parse(&lis->addr, lis->uri, err);
    if (ret < 0)
        return ret;
    lis->transport = transports[lis->addr.kind];
    return lis->transport->listen(lis, err);
}

int vfm_listener_open(const char *uri, const struct vfm_channel_options *opts,
                      struct vfm_listener **lisp, struct vfm_error *err)
{
    struct vfm_channel_options o;
    struct vfm_listener *lis;
    int ret;

    *lisp = NULL;
    ret = channel_options_read(&o, opts, err);
    if (ret < 0)
        return ret;
    lis = calloc(1, sizeof(*lis));
    if (lis == NULL)
        return error_set(err, -ENOMEM, "%.*s: out of memory", ADDRESS_SHOWN,
                         uri);
    lis->opts = o;
    lis->fd = -1;

    ret = listen_on(lis, uri, err);
    if (ret < 0) {
        vfm_listener_close(lis);
        return ret;
    }
    *lisp = lis;
    return 0;
}

const char *vfm_listener_address(const struct vfm_listener *lis)
{
    return lis->address != NULL ? lis->address : lis->uri;
}

int vfm_listener_fd(const struct vfm_listener *lis)
{
    return lis->fd;
}

int vfm_listener_accept(struct vfm_listener *lis, struct vfm_channel **chp,
                        struct vfm_error *err)
{
    int ret;

    *chp = NULL;
    if (lis->spent)
        return error_set(err, -EALREADY, "%.*s: has been accepted already",
                         ADDRESS_SHOWN, lis->uri);
    ret = lis->transport->accept(lis, chp, err);
    if (ret == 0)
        lis->spent = !lis->repeat;
    return ret;
}

/* Removes the socket that we made at a path, if it is still there. */
static void remove_socket(const struct vfm_listener *lis)
{
    struct stat st;

    if (!lis->bound || lstat(lis->addr.text, &st) < 0)
        return;
    if (st.st_dev == lis->dev && st.st_ino == lis->ino)
        unlink(lis->addr.text);
}

void vfm_listener_close(struct vfm_listener *lis)
{
    if (lis == NULL)
        return;
    /* Before the socket dies, so that nobody finds it dead. */
    remove_socket(lis);
    if (lis->fd >= 0)
        close(lis->fd);
    free(lis->address);
    free(lis->uri);
    free(lis);
}

int vfm_channel_accept(const char *uri, const struct vfm_channel_options *opts,
                       struct vfm_channel **chp, struct vfm_error *err)
{
    struct vfm_listener *lis;
    int ret;

    *chp = NULL;
    ret = vfm_listener_open(uri, opts, &lis, err);
    if (ret < 0)
        return ret;
    ret = vfm_listener_accept(lis, chp, err);
    vfm_listener_close(lis);
    return ret;
}
