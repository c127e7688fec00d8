/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Takes a channel's URI apart.  Nothing that it names is touched.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the address says is within the URI, or within its bounds. */
static void check(const struct address *addr, const char *uri, size_t len)
{
    switch (addr->kind) {
    case ADDRESS_UNIX:
    case ADDRESS_FILE:
    case ADDRESS_EXEC:
        if (addr->text < uri || addr->text > uri + len || *addr->text == '\0')
            abort();
        break;
    case ADDRESS_TCP:
        if (memchr(addr->host, '\0', sizeof(addr->host)) == NULL)
            abort();
        break;
    case ADDRESS_FD:
        if (addr->fd < 0)
            abort();
        break;
    case ADDRESS_KINDS:
    default:
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *uri = calloc(1, size + 1);
    struct address addr;
    struct vfm_error err;

    if (uri == NULL)
        return 0;
    memcpy(uri, data, size);
    if (address_parse(&addr, uri, &err) == 0) {
        check(&addr, uri, strlen(uri));
        address_check_target(&addr, uri, &err);
    }
    free(uri);
    return 0;
}
