/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig splice: a stream in which the states of some devices are others'.
 *
 * What is written is read at the same time, by the rules that everything is
 * read by: a stream that would not be taken gets no name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vfmig/channel.h>
#include <vfmig/stream.h>

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

struct writer {
    struct vfm_channel *channel;
    struct vfm_decoder *dec;
    uint8_t *buf;
};

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

static int writer_open(struct writer *w, const char *name, int cancel_fd,
                       struct vfm_error *err)
{
    const struct vfm_decoder_options opts = {
        .size = sizeof(opts),
        .max_vfio_data = UINT64_MAX,
        .require_vmdescription = true,
    };
    int ret = open_output(name, cancel_fd, &w->channel, err);

    if (ret < 0)
        return ret;
    w->buf = malloc(COPY_BYTES);
    if (w->buf == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    return vfm_decoder_new(&opts, &w->dec, err);
}

static void writer_close(struct writer *w)
{
    vfm_channel_close(w->channel);
    vfm_decoder_free(w->dec);
    free(w->buf);
}

static int check(struct writer *w, const uint8_t *data, size_t len,
                 struct vfm_error *err)
{
    struct vfm_stream_event ev;
    struct vfm_error why = { 0 };
    size_t used;
    int ret;

    do {
        ret = vfm_decoder_next(w->dec, data, len, &used, &ev, &why);
        data += used;
        len -= used;
    } while (ret > 0);
    if (ret < 0)
        return error_set(err, ret, "the new stream would be wrong: %s",
                         why.message);
    return 0;
}

static int send_all(struct vfm_channel *ch, const uint8_t *data, size_t len,
                    struct vfm_error *err)
{
    while (len > 0) {
        const struct iovec iov = { (void *)data, len };
        ssize_t n = vfm_channel_send(ch, &iov, 1, err);
        int ret = (int)n;

        if (n == -EAGAIN)
            ret = vfm_channel_wait(ch, POLLOUT, VFM_CHANNEL_NEVER, err);
        if (ret < 0)
            return ret;
        if (n < 0)
            continue;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_bytes(struct writer *w, const uint8_t *data, size_t len,
                       struct vfm_error *err)
{
    int ret = check(w, data, len, err);

    if (ret == 0 && interrupt_is_pending())
        ret = error_set(err, -ECANCELED, "cancelled");
    return ret < 0 ? ret : send_all(w->channel, data, len, err);
}

static int copy(struct writer *w, const struct piece_file *file,
                uint64_t offset, uint64_t len, struct vfm_error *err)
{
    int ret = 0;

    while (ret == 0 && len > 0) {
        size_t n = len < COPY_BYTES ? (size_t)len : COPY_BYTES;

        ret = piece_file_read_at(file, w->buf, n, offset, err);
        if (ret == 0)
            ret = write_bytes(w, w->buf, n, err);
        offset += n;
        len -= n;
    }
    return ret;
}

static int write_stream(struct writer *w, const struct plan *plan,
                        struct vfm_error *err)
{
    uint64_t at = 0;
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < plan->num_edits; i++) {
        const struct edit *edit = &plan->edits[i];

        ret = copy(w, &plan->file, at, edit->at - at, err);
        if (ret == 0 && edit->bytes != NULL)
            ret = write_bytes(w, edit->bytes, edit->len, err);
        else if (ret == 0)
            ret = copy(w, edit->file, edit->offset, edit->len, err);
        at = edit->at + edit->skip;
    }
    if (ret == 0)
        ret = copy(w, &plan->file, at, plan->stream_bytes - at, err);
    if (ret == 0)
        ret = vfm_decoder_finish(w->dec, err);
    return ret < 0 ? ret : vfm_channel_finish(w->channel, err);
}

static int write_output(const struct plan *plan, const char *name,
                        struct vfm_error *err)
{
    struct writer w = { 0 };
    struct vfm_error why = { 0 };
    int ret = interrupt_install("splice", err);

    if (ret < 0)
        return ret;
    ret = writer_open(&w, name, ret, &why);
    if (ret == 0)
        ret = write_stream(&w, plan, &why);
    writer_close(&w);
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
