/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading what `vfmig bench` wrote.  It may have been written by anybody, and
 * edited.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "predict.h"
#include "util/error.h"
#include "util/json.h"

/* More than a year, or than a device has: no figure of ours. */
#define VALUE_MAX (INT64_C(1) << 55)

static int take_number(const struct json *object, const char *key,
                       const char *name, uint64_t *value, struct vfm_error *err)
{
    const struct json *number = json_get(object, key, JSON_INTEGER);

    if (number == NULL)
        return error_set(err, -EBADMSG, "'%s' has no number '%s'", name, key);
    if (number->integer < 0 || number->integer > VALUE_MAX)
        return error_set(err, -EBADMSG, "'%s': '%s' cannot be", name, key);
    *value = (uint64_t)number->integer;
    return 0;
}

static int take_value(const struct json *section, const struct bench_name *name,
                      struct bench_value *value, struct vfm_error *err)
{
    const struct json *object = json_get(section, name->name, JSON_OBJECT);
    int ret;

    if (!json_has(section, name->name))
        return 0;
    if (object == NULL)
        return error_set(err, -EBADMSG, "'%s' is no object", name->name);
    ret = take_number(object, "median", name->name, &value->median, err);
    if (ret == 0)
        ret = take_number(object, "min", name->name, &value->min, err);
    if (ret == 0)
        ret = take_number(object, "max", name->name, &value->max, err);
    if (ret < 0)
        return ret;
    if (value->min > value->median || value->median > value->max)
        return error_set(err, -EBADMSG,
                         "'%s': the median is not between the others",
                         name->name);
    value->is_known = true;
    return 0;
}

static int take_root(const struct json *root, struct predict_file *file,
                     struct vfm_error *err)
{
    const struct json *version = json_get(root, "vfmig_bench", JSON_INTEGER);

    if (version == NULL)
        return error_set(err, -EBADMSG, "it was not written by 'vfmig bench'");
    if (version->integer != BENCH_VERSION)
        return error_set(err, -EBADMSG, "it is of version %lld, not %d",
                         (long long)version->integer, BENCH_VERSION);
    for (int i = 0; i < BENCH_FIGURES; i++) {
        const struct bench_name *name = &bench_names[i];
        int ret = take_value(json_get(root, name->section, JSON_OBJECT), name,
                             &file->values[i], err);

        if (ret < 0)
            return ret;
    }
    return 0;
}

int predict_parse(const char *text, size_t len, struct predict_file *file,
                  struct vfm_error *err)
{
    static const struct json_limits limits = { .depth = 8, .values = 4096 };
    struct json *root = NULL;
    int ret = json_read(text, len, &limits, &root);

    *file = (struct predict_file){ 0 };
    if (ret == -ENOMEM)
        return error_set(err, ret, "out of memory");
    if (ret < 0)
        return error_set(err, -EBADMSG, "it is not JSON, or too much of it");
    ret = take_root(root, file, err);
    json_free(root);
    return ret;
}

/* Returns the length, or a negative errno value. */
static ssize_t read_all(const char *name, char *buf, struct vfm_error *err)
{
    bool is_stdin = strcmp(name, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    ssize_t len = 0;
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0 && len <= PREDICT_FILE_MAX) {
        n = read(fd, buf + len, (size_t)(PREDICT_FILE_MAX + 1 - len));
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            len += n;
    }
    if (n < 0)
        len = error_set(err, -errno, "cannot read it: %s", strerror(errno));
    if (fd >= 0 && !is_stdin)
        close(fd);
    return len <= PREDICT_FILE_MAX
               ? len
               : error_set(err, -EFBIG, "it is too large for a bench's file");
}

int predict_read(const char *name, struct predict_file *file,
                 struct vfm_error *err)
{
    char *buf = malloc(PREDICT_FILE_MAX + 1);
    struct vfm_error why = { 0 };
    ssize_t len;
    int ret;

    if (buf == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", name);
    len = read_all(name, buf, &why);
    ret = len < 0 ? (int)len : predict_parse(buf, (size_t)len, file, &why);
    free(buf);
    return ret < 0 ? error_set(err, ret, "%s: %s", name, why.message) : 0;
}
