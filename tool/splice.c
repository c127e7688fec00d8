/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig splice: a stream in which the states of some devices are others'.  The
 * output gets its name when it is complete and was read without a fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vfmig/channel.h>

#include "args.h"
#include "cmd.h"
#include "interrupt.h"
#include "say.h"
#include "splice.h"
#include "util/error.h"

/* As many as a migration has. */
#define PARTS_MAX  64

#define COPY_BYTES ((size_t)1 << 20)

struct words {
    const char *items[PARTS_MAX];
    size_t count;
};

struct splice_options {
    struct words devices;
    const char *output;
};

static int take_device(const char *value, void *into, struct vfm_error *err)
{
    struct words *words = into;

    if (words->count == PARTS_MAX)
        return error_set(err, -E2BIG, "more than %d devices", PARTS_MAX);
    words->items[words->count++] = value;
    return 0;
}

static const struct args_option device = {
    .letter = 'd',
    .name = "device",
    .value = "NAME=STATE-FILE",
    .take = take_device,
    .offset = offsetof(struct splice_options, devices),
    .help =
        "the device NAME gets the state that is in STATE-FILE: a stream, or "
        "what inspect --extract wrote; once for each device",
};

static const struct args_option output = {
    .letter = 'o',
    .name = "output",
    .value = "OUT",
    .take = args_take_string,
    .offset = offsetof(struct splice_options, output),
    .help = "the new stream; - is standard output",
};

static const struct args_option *const options[] = { &device, &output, NULL };

static const struct args_syntax syntax = {
    .command = "splice",
    .words = "-d NAME=STATE-FILE [-d NAME=STATE-FILE]... -o OUT IN",
    .about = "Writes the stream IN again, with the states of some of its "
             "devices replaced. Everything else stays as it is, byte for byte.",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .operands = "IN",
};

/* ---------------------------------------------------------------------- */

static int open_output(const char *name, int cancel_fd,
                       struct vfm_channel **chp, struct vfm_error *err)
{
    struct vfm_channel_options opts = VFM_CHANNEL_OPTIONS_INIT;
    char *uri = NULL;
    int ret;

    opts.cancel_fd = cancel_fd;
    if (strcmp(name, "-") == 0)
        ret =
            asprintf(&uri, "fd:%d",
                     fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    else
        ret = asprintf(&uri, "file:%s", name);
    if (ret < 0)
        return error_set(err, -ENOMEM, "out of memory");
    ret = vfm_channel_connect(uri, &opts, chp, err);
    free(uri);
    return ret;
}

static int write_output(const struct plan *plan, const char *name,
                        struct vfm_error *err)
{
    struct vfm_channel *channel = NULL;
    struct vfm_error why = { 0 };
    bool given;
    int ret = interrupt_install("splice", err);

    if (ret < 0)
        return ret;
    ret = open_output(name, ret, &channel, &why);
    if (ret == 0)
        ret = plan_write(plan, channel, 0, &given, &why);
    if (ret == 0)
        ret = vfm_channel_finish(channel, &why);
    vfm_channel_close(channel);
    return ret < 0 ? error_set(err, ret, "%s: %s", name, why.message) : 0;
}

static int run_splice(const struct splice_options *opts, const char *name,
                      struct part *parts, struct vfm_error *err)
{
    struct plan plan = { 0 };
    struct vfm_error why = { 0 };
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < opts->devices.count; i++)
        ret = part_open(&parts[i], opts->devices.items[i], err);
    if (ret < 0)
        return ret;
    ret = plan_make(&plan, name, parts, opts->devices.count, &why);
    if (ret < 0)
        error_set(err, ret, "%s: %s", name, why.message);
    else
        ret = write_output(&plan, opts->output, err);
    plan_free(&plan);
    return ret;
}

/* What can be told from the words alone. */
static int check_words(const struct splice_options *opts)
{
    if (opts->devices.count == 0)
        return say_usage("splice", "-d NAME=STATE-FILE is missing");
    if (opts->output == NULL)
        return say_usage("splice", "-o OUT is missing");
    for (size_t i = 0; i < opts->devices.count; i++) {
        const char *word = opts->devices.items[i];
        const char *equals = strchr(word, '=');

        if (equals == NULL || equals == word || equals[1] == '\0')
            return say_usage("splice", "'%s' is not NAME=STATE-FILE", word);
        for (size_t j = 0; j < i; j++)
            if (strncmp(word, opts->devices.items[j],
                        (size_t)(equals - word) + 1) == 0)
                return say_usage("splice", "'%.*s' is replaced twice",
                                 (int)(equals - word), word);
    }
    return EXIT_DONE;
}

int cmd_splice(int argc, char **argv)
{
    struct splice_options opts = { 0 };
    struct part parts[PARTS_MAX] = { 0 };
    struct vfm_error err = { 0 };
    int first;
    int code = args_parse(&syntax, argc, argv, &opts, &first);

    if (code != ARGS_GO_ON)
        return code;
    code = check_words(&opts);
    if (code != EXIT_DONE)
        return code;
    if (run_splice(&opts, argv[first], parts, &err) < 0) {
        say_error("%s", err.message);
        code = EXIT_FAILED;
    }
    for (size_t i = 0; i < opts.devices.count; i++)
        part_close(&parts[i]);
    return code;
}
