/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig predict: how long devices will be stopped for; the words of it.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "cmd.h"
#include "json.h"
#include "predict.h"
#include "quantity.h"
#include "say.h"
#include "util/error.h"

struct predict_options {
    uint32_t devices;
    const char *link;
    bool json;
};

static int take_devices(const char *value, void *into, struct vfm_error *err)
{
    uint64_t devices;
    int ret = quantity_parse_number(value, PREDICT_DEVICES_MAX, &devices, err);

    if (ret == 0 && devices == 0)
        ret = error_set(err, -EINVAL, "'%.60s' is not above 0", value);
    if (ret == 0)
        *(uint32_t *)into = (uint32_t)devices;
    return ret;
}

static const struct args_option devices = {
    .letter = 'n',
    .name = "devices",
    .value = "N",
    .take = take_devices,
    .offset = offsetof(struct predict_options, devices),
    .help = "so many devices like that of each FILE, 1 to 64; 1 without it",
};

static const struct args_option over = {
    .name = "link",
    .value = "LINK",
    .take = args_take_string,
    .offset = offsetof(struct predict_options, link),
    .help = "over another link than that of the files: a FILE of 'vfmig bench "
            "URI', or RATE[,MICROSECONDS], bytes per second and the time there "
            "and back",
};

static const struct args_option json = {
    .name = "json",
    .take = args_take_flag,
    .offset = offsetof(struct predict_options, json),
    .help = "print one JSON object",
};

static const struct args_option *const options[] = {
    &devices,
    &over,
    &json,
    NULL,
};

static const struct args_syntax syntax = {
    .command = "predict",
    .words = "[-n N] [--link LINK] [--json] FILE...",
    .about = "Says how long devices will be stopped for when they are moved, "
             "by what 'vfmig bench -o FILE' has measured. Touches no device.",
    .options = options,
    .min_operands = 1,
    .max_operands = PREDICT_DEVICES_MAX,
    .operands = "FILE",
};

/* Whether @text is "RATE[,MICROSECONDS]". */
static bool parse_link(const char *text, struct predict_link *link)
{
    size_t len = strcspn(text, ",");
    char rate[32];

    if (len >= sizeof(rate))
        return false;
    memcpy(rate, text, len);
    rate[len] = '\0';
    if (quantity_parse_size(rate, &link->bytes_per_sec, NULL) < 0 ||
        link->bytes_per_sec == 0)
        return false;
    if (text[len] == '\0')
        return true;
    if (quantity_parse_number(text + len + 1, UINT32_MAX, &link->rtt_ns, NULL) <
        0)
        return false;
    link->rtt_ns *= 1000;
    return true;
}

static int find_link(const char *text, struct predict_link *link,
                     struct vfm_error *err)
{
    struct predict_file file;
    int ret;

    if (text == NULL)
        return 0;
    link->is_given = true;
    if (parse_link(text, link))
        return 0;
    if (access(text, F_OK) < 0)
        return error_set(err, -EINVAL,
                         "'%.60s' is neither a rate above 0, such as "
                         "1G or 1G,200, nor a file",
                         text);
    ret = predict_read(text, &file, err);
    if (ret < 0)
        return ret;
    if (!file.values[BENCH_LINK_RATE].is_known)
        return error_set(err, -EINVAL, "%s: no link was measured", text);
    link->rtt_ns = file.values[BENCH_RTT_NS].median;
    link->bytes_per_sec = file.values[BENCH_LINK_RATE].median;
    return 0;
}

static void print(const struct prediction *p, unsigned int n)
{
    char time[QUANTITY_MAX];
    char low[QUANTITY_MAX];
    char high[QUANTITY_MAX];
    char bytes[QUANTITY_MAX];

    printf("%u %s, stopped for %s (%s to %s)\n", n,
           n == 1 ? "device" : "devices", say_duration(time, p->ns),
           say_duration(low, p->low_ns), say_duration(high, p->high_ns));
    printf("  devices   %s\n", say_duration(time, p->device_ns));
    printf("  state     %s, for %s\n", say_duration(time, p->data_ns),
           say_bytes(bytes, p->bytes));
    printf("  handover  %s\n", say_duration(time, p->link_ns));
    if (!p->has_link)
        puts("note: no link was measured, and none takes no time: '--link "
             "RATE[,MICROSECONDS]' adds one");
    if (!p->is_from_trial)
        puts("note: from single rates; 'vfmig bench -d DEVICE URI' tries it");
}

static void print_json(const struct prediction *p, unsigned int n)
{
    struct json_tree *object = json_object_make();

    json_add_number(object, "devices", n);
    json_add_number(object, "downtime_ns", p->ns);
    json_add_number(object, "low_ns", p->low_ns);
    json_add_number(object, "high_ns", p->high_ns);
    json_add_number(object, "device_ns", p->device_ns);
    json_add_number(object, "data_ns", p->data_ns);
    json_add_number(object, "link_ns", p->link_ns);
    json_add_number(object, "stop_copy_bytes", p->bytes);
    json_add_bool(object, "from_trial", p->is_from_trial);
    json_print(object);
}

int predict_alike(const char *name, const struct predict_input *how,
                  struct prediction *prediction, struct vfm_error *err)
{
    struct predict_input input = *how;
    struct predict_file file;
    int ret = predict_read(name, &file, err);

    input.files = &file;
    input.count = 1;

    return ret == 0 ? predict_compute(&input, prediction, err) : ret;
}

static int predict(const struct predict_options *opts, char **names,
                   size_t count, struct predict_file *files,
                   struct vfm_error *err)
{
    struct predict_input input = {
        .files = files,
        .count = count,
        .devices = opts->devices,
    };
    unsigned int n = opts->devices * (unsigned int)count;
    struct prediction p = { 0 };
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < count; i++)
        ret = predict_read(names[i], &files[i], err);
    if (ret == 0)
        ret = find_link(opts->link, &input.link, err);
    if (ret == 0)
        ret = predict_compute(&input, &p, err);
    if (ret < 0)
        return ret;
    if (opts->json)
        print_json(&p, n);
    else
        print(&p, n);
    return 0;
}

int cmd_predict(int argc, char **argv)
{
    struct predict_options opts = { .devices = 1 };
    struct predict_file *files;
    struct vfm_error err = { 0 };
    int first;
    int code = args_parse(&syntax, argc, argv, &opts, &first);

    if (code != ARGS_GO_ON)
        return code;
    files = calloc((size_t)(argc - first), sizeof(*files));
    if (files == NULL) {
        say_error("predict: out of memory");
        return EXIT_FAILED;
    }
    code = EXIT_DONE;
    if (predict(&opts, argv + first, (size_t)(argc - first), files, &err) < 0) {
        say_error("%s", err.message);
        code = EXIT_FAILED;
    }
    free(files);
    return code;
}
