/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig inspect: what is in a migration stream.
 *
 * Of QEMU or of our own, of any size, with its multifd channels if it has
 * some.  It reads once and keeps facts, not data.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "args.h"
#include "cmd.h"
#include "inspect.h"
#include "say.h"
#include "stream-reader.h"
#include "util/error.h"

struct inspect_options {
    bool json;
    const char *extract;
};

static const struct args_option json = {
    .name = "json",
    .take = args_take_flag,
    .offset = offsetof(struct inspect_options, json),
    .help = "print one JSON object",
};

static const struct args_option extract = {
    .name = "extract",
    .value = "DIR",
    .take = args_take_string,
    .offset = offsetof(struct inspect_options, extract),
    .help = "write each device's state and configuration record into "
            "this folder, as ID.state and ID.config",
};

static const struct args_option *const options[] = { &json, &extract, NULL };

static const struct args_syntax syntax = {
    .command = "inspect",
    .words = "[--json] [--extract DIR] FILE [CHANNEL-FILE]...",
    .about = "Prints what is in a migration stream of QEMU or of vfmig: its "
             "sections, the records of VFIO devices, blocks of RAM, sizes and "
             "digests. FILE is the main stream, - is standard input; the "
             "others are its multifd channels.",
    .options = options,
    .min_operands = 1,
    .max_operands = ARGS_ANY,
    .operands = "FILE",
};

static int read_events(struct facts *facts, struct stream_reader *reader,
                       struct map *map, struct vfm_error *err)
{
    struct vfm_stream_event ev;
    int ret;

    while ((ret = stream_reader_next(reader, &ev, err)) > 0) {
        if (ev.type == VFM_STREAM_WARNING)
            say_warning("%s: offset %llu: %s", reader->file.name,
                        (unsigned long long)ev.offset, ev.u.warning);
        ret = facts_take(facts, &ev, err);
        if (ret < 0)
            break;
        if (map != NULL)
            map_take(map, &ev);
    }
    facts->file_bytes = reader->file.bytes;
    return ret;
}

static int read_main(struct facts *facts, const char *name, bool with_map,
                     struct vfm_error *err)
{
    struct stream_reader reader;
    struct map *map = NULL;
    int ret = stream_reader_open(&reader, name, err);

    if (ret < 0)
        return ret;
    if (with_map && (map = map_new()) == NULL)
        ret = error_set(err, -ENOMEM, "out of memory");
    if (ret == 0)
        ret = read_events(facts, &reader, map, err);
    map_free(map);
    stream_reader_close(&reader);
    return ret;
}

/* Without the channels a state is a piece of one. */
static int check_whole(const struct facts *facts, struct vfm_error *err)
{
    for (size_t i = 0; i < facts->num_devices; i++) {
        const struct device_facts *dev = &facts->devices[i];

        if (!device_facts_is_partial(dev))
            continue;
        if (facts->num_channels > 0 || facts->extract_to != NULL)
            return error_set(err, -ENODATA,
                             "section '%s': the rest of its state is on a "
                             "multifd channel whose file is not here",
                             dev->name);
    }
    return 0;
}

static int commit(struct facts *facts, struct vfm_error *err)
{
    int ret = 0;

    if (facts->extract_to == NULL)
        return 0;
    for (size_t i = 0; ret == 0 && i < facts->num_devices; i++) {
        ret = extract_commit(&facts->devices[i].state_file, err);
        if (ret == 0)
            ret = extract_commit(&facts->devices[i].config_file, err);
    }
    return ret;
}

static int make_folder(const char *folder)
{
    if (mkdir(folder, 0777) == 0 || errno == EEXIST)
        return EXIT_DONE;
    say_error("%s: cannot create it: %s", folder, strerror(errno));
    return EXIT_FAILED;
}

static int inspect(struct facts *facts, const struct inspect_options *opts,
                   char *const *names, int count)
{
    const char *culprit = names[0];
    struct vfm_error err;
    int ret = read_main(facts, names[0], !opts->json, &err);

    if (ret == 0 && count > 1)
        ret = channels_read(facts, names + 1, count - 1, &culprit, &err);
    if (culprit == NULL)
        culprit = names[0];
    if (ret == 0)
        ret = check_whole(facts, &err);
    if (ret == 0)
        ret = facts_check_promises(facts, &err);
    if (ret == 0)
        ret = commit(facts, &err);
    if (ret < 0) {
        say_error("%s: %s", culprit, err.message);
        return EXIT_FAILED;
    }
    if (opts->json)
        facts_print_json(facts);
    else
        facts_print_summary(facts);
    return EXIT_DONE;
}

int cmd_inspect(int argc, char **argv)
{
    struct inspect_options opts = { 0 };
    struct facts facts = { 0 };
    int first;
    int code = args_parse(&syntax, argc, argv, &opts, &first);

    if (code != ARGS_GO_ON)
        return code;
    facts.extract_to = opts.extract;
    code = EXIT_DONE;
    if (opts.extract != NULL)
        code = make_folder(opts.extract);
    if (code == EXIT_DONE)
        code = inspect(&facts, &opts, argv + first, argc - first);
    facts_free(&facts);
    return code;
}
