/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks a device of the kernel for every transition, by system calls alone, and
 * compares what it does with the model of the uAPI.
 *
 *   transitions ADDRESS
 *
 * A device that is to leave RESUMING has been given a whole state before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "docs/kernel/fact.h"
#include "check/model.h"

static int device;
static uint64_t features;
static unsigned int asked, wrong;

static uint8_t saved[1 << 20];
static size_t saved_len;

static void complain(enum vfm_state from, enum vfm_state to, const char *what)
{
    printf("%s>%s: %s\n", vfm_state_name(from), vfm_state_name(to), what);
    wrong++;
}

/* Brings it there by arcs of the model.  What it hands out is closed. */
static void go_to(enum vfm_state state)
{
    struct model_path path;
    int fd;

    fact_reset(device);
    if (state == VFM_STATE_RUNNING)
        return;
    if (!model_find_path(VFM_STATE_RUNNING, state, features, &path))
        fact_die("the model knows no way there");
    for (unsigned int i = 0; i < path.len; i++) {
        fd = fact_must_set_state(device, path.steps[i]);
        if (state == VFM_STATE_RESUMING && fd >= 0)
            fact_check(write(fd, saved, saved_len) == (ssize_t)saved_len,
                       "it does not take its own state");
        if (fd >= 0)
            close(fd);
    }
}

static void save(void)
{
    int fd = fact_must_set_state(device, UAPI_STATE_STOP_COPY);

    saved_len = fact_read_all(fd, saved, sizeof(saved));
    close(fd);
}

static bool has_session(enum vfm_state state)
{
    return model_saves(state) || state == VFM_STATE_RESUMING;
}

static void judge_allowed(enum vfm_state from, enum vfm_state to, int ret,
                          int fd)
{
    bool opens = has_session(to) && !(model_saves(from) && model_saves(to)) &&
                 from != to;

    if (ret < 0)
        complain(from, to, strerror(-ret));
    else if (fact_get_state(device) != to)
        complain(from, to, "succeeded and is not there");
    else if ((fd >= 0) != opens)
        complain(from, to, fd >= 0 ? "opened a session" : "opened no session");
}

static void judge_refused(enum vfm_state from, enum vfm_state to, int ret)
{
    if (ret == 0)
        complain(from, to, "was done and must be refused");
    else if (fact_get_state(device) != from)
        complain(from, to, "was refused and yet it went somewhere");
}

static void try(enum vfm_state from, enum vfm_state to)
{
    struct model_path path;
    int fd = -1;
    int ret;

    go_to(from);
    ret = fact_set_state(device, to, &fd);
    asked++;
    if (model_has(to, features) && to != VFM_STATE_ERROR &&
        (from == to || model_find_path(from, to, features, &path)))
        judge_allowed(from, to, ret, fd);
    else
        judge_refused(from, to, ret);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    device = fact_open(argc, argv);
    features = fact_migration(device);
    save();
    /* Nothing but the device itself enters ERROR. */
    for (int from = VFM_STATE_STOP; from <= VFM_STATE_PRE_COPY_P2P; from++)
        for (int to = 0; to < MODEL_STATES; to++)
            if (model_has((enum vfm_state)from, features))
                try((enum vfm_state)from, (enum vfm_state)to);
    fact_reset(device);
    printf("%u transitions asked for, %u are not as the model says\n", asked,
           wrong);
    return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
