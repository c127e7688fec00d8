/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a failed call tells: a code to act on and a sentence to show.  The
 * storage is the caller's, so an error costs nothing to pass on and two
 * threads never see each other's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vfmig/channel.h>
#include <vfmig/error.h>

/* Acts on the code, shows the sentence. */
static int check(const char *uri)
{
    struct vfm_error err = { 0 };
    int ret = vfm_channel_check_uri(uri, &err);

    switch (ret) {
    case 0:
        printf("'%s' is a channel\n", uri);
        break;
    case -EINVAL:
        printf("'%s' is none: %s\n", uri, err.message);
        break;
    default:
        printf("'%.20s...': %s (%s)\n", uri, err.message, strerror(-ret));
        break;
    }
    return ret;
}

int main(void)
{
    char path[8192] = "unix:/";

    memset(path + strlen(path), 'x', sizeof(path) - strlen(path) - 1);

    /* Who is happy with the code alone passes NULL for the sentence. */
    if (vfm_channel_check_uri("tcp:", NULL) != -EINVAL)
        return 1;
    return check("tcp:localhost:4444") != 0 || check("carrier:pigeon") == 0 ||
           check(path) == 0;
}
