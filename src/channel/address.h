/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_CHANNEL_ADDRESS_H
#define VFM_SRC_CHANNEL_ADDRESS_H

#include <stdint.h>

#include <vfmig/error.h>

/* The longest URI: room for a command of a few thousand words, below the
 * 128 KiB that the kernel allows one argument of a program. */
#define ADDRESS_URI_MAX  65536

/* The longest host name DNS has; every literal address is shorter. */
#define ADDRESS_HOST_MAX 253

/* How much of a URI a message shows. */
#define ADDRESS_SHOWN    80

/* In the order of the table of transports. */
enum address_kind {
    ADDRESS_UNIX,
    ADDRESS_TCP,
    ADDRESS_FD,
    ADDRESS_FILE,
    ADDRESS_EXEC,
    ADDRESS_KINDS,
};

/* What a channel's URI says. */
struct address {
    enum address_kind kind;

    /* unix, file: the path; exec: the command; it points into the URI. */
    const char *text;

    /* tcp; host is empty for any address, without the brackets. */
    char host[ADDRESS_HOST_MAX + 1];
    uint16_t port;

    /* fd */
    int fd;
};

/* Takes @uri apart; touches nothing that it names.  Returns 0, -EINVAL or
 * -ENAMETOOLONG. */
int address_parse(struct address *addr, const char *uri, struct vfm_error *err);

/* Returns -EINVAL if @addr can be listened on but not connected to. */
int address_check_target(const struct address *addr, const char *uri,
                         struct vfm_error *err);

#endif
