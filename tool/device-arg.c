/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a device's name and opening it.
 *
 * Which values make sense is the library's to judge; here it is the spelling.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device-arg.h"
#include "quantity.h"
#include "say.h"
#include "util/error.h"

/* What a key's value is. */
enum key_kind {
    KEY_TIME,
    KEY_SIZE,
    KEY_NUMBER,
};

struct key {
    const char *name;
    enum key_kind kind;
    size_t offset; /* in the options, of an uint32_t */
    uint64_t min;
    uint64_t max;
};

#define OPTION(member) offsetof(struct vfm_vfio_user_options, member)

/* The bounds are those of <vfmig/vfio_user.h>; 0 would mean the default. */
static const struct key vfio_user_keys[] = {
    { "connect-timeout", KEY_TIME, OPTION(connect_timeout_ms), 1, UINT32_MAX },
    { "command-timeout", KEY_TIME, OPTION(command_timeout_ms), 1, UINT32_MAX },
    { "state-timeout", KEY_TIME, OPTION(state_timeout_ms), 1, UINT32_MAX },
    { "data-timeout", KEY_TIME, OPTION(data_timeout_ms), 1, UINT32_MAX },
    { "read-size", KEY_SIZE, OPTION(read_size), 4096, 16 << 20 },
    { "read-depth", KEY_NUMBER, OPTION(read_depth), 1, 16 },
    { "write-size", KEY_SIZE, OPTION(write_size), 4096, 16 << 20 },
    { "write-depth", KEY_NUMBER, OPTION(write_depth), 1, 16 },
    { NULL, KEY_TIME, 0, 0, 0 },
};

/* What a device may be told to do without. */
struct feature_key {
    const char *name;
    uint64_t migration;
};

static const struct feature_key feature_keys[] = {
    { "pre-copy", VFM_MIGRATION_PRE_COPY },
    { "p2p", VFM_MIGRATION_P2P },
    { NULL, 0 },
};

/*
 * Cuts the next part off *@rest, up to a comma that is not doubled, and halves
 * the doubled ones in it.  *@rest becomes NULL after the last part.
 */
static char *cut_part(char **rest)
{
    char *part = *rest;
    char *to = part;

    for (char *from = part;; from++) {
        if (from[0] == ',' && from[1] == ',')
            from++;
        else if (*from == ',' || *from == '\0') {
            *rest = *from == ',' ? from + 1 : NULL;
            *to = '\0';
            return part;
        }
        *to++ = *from;
    }
}

static int parse_value(const struct key *key, const char *text, uint64_t *value,
                       struct vfm_error *err)
{
    uint32_t ms;
    int ret;

    switch (key->kind) {
    case KEY_TIME:
        ret = quantity_parse_time(text, &ms, err);
        *value = ret < 0 ? 0 : ms;
        return ret;
    case KEY_SIZE:
        return quantity_parse_size(text, value, err);
    case KEY_NUMBER:
        return quantity_parse_number(text, UINT32_MAX, value, err);
    }
    return -EINVAL;
}

static int take_key(struct device_arg *arg, const struct key *key,
                    const char *text, struct vfm_error *err)
{
    uint32_t narrow;
    uint64_t value;
    int ret;

    ret = parse_value(key, text, &value, err);
    if (ret < 0)
        return error_set(err, ret, "%s: %s", key->name, err->message);
    if (value < key->min || value > key->max)
        return error_set(err, -EINVAL, "%s: '%.60s' is not from %llu to %llu",
                         key->name, text, (unsigned long long)key->min,
                         (unsigned long long)key->max);

    narrow = (uint32_t)value;
    memcpy((char *)&arg->options + key->offset, &narrow, sizeof(narrow));
    return 0;
}

static int take_id(struct device_arg *arg, const char *id,
                   struct vfm_error *err)
{
    if (id[0] == '\0')
        return error_set(err, -EINVAL, "id: it must not be empty");
    if (strchr(id, '/') != NULL)
        return error_set(err, -EINVAL, "id: '%.60s' has a '/' in it", id);
    if (snprintf(arg->id, sizeof(arg->id), "%s", id) > DEVICE_ID_MAX)
        return error_set(err, -EINVAL, "id: it is longer than %d bytes",
                         DEVICE_ID_MAX);
    return 0;
}

static int parse_switch(const char *name, const char *value, bool *off,
                        struct vfm_error *err)
{
    *off = strcmp(value, "off") == 0;
    if (!*off && strcmp(value, "on") != 0)
        return error_set(err, -EINVAL, "%s: '%.60s' is not on or off", name,
                         value);
    return 0;
}

static int take_feature(struct device_arg *arg, const struct feature_key *key,
                        const char *value, struct vfm_error *err)
{
    bool off;
    int ret = parse_switch(key->name, value, &off, err);

    if (ret < 0)
        return ret;
    if (off)
        arg->without |= key->migration;
    else
        arg->without &= ~key->migration;
    return 0;
}

/* Takes one "KEY=VALUE". */
static int take_part(struct device_arg *arg, char *part, struct vfm_error *err)
{
    char *value = strchr(part, '=');

    if (value == NULL)
        return error_set(err, -EINVAL, "'%.60s' is not KEY=VALUE", part);
    *value++ = '\0';

    if (strcmp(part, "id") == 0)
        return take_id(arg, value, err);
    for (const struct feature_key *key = feature_keys; key->name != NULL; key++)
        if (strcmp(part, key->name) == 0)
            return take_feature(arg, key, value, err);
    if (strcmp(part, "data-area") == 0 && !arg->is_kernel)
        return parse_switch(part, value, &arg->options.no_data_area, err);
    for (const struct key *key = vfio_user_keys;
         key->name != NULL && !arg->is_kernel; key++)
        if (strcmp(part, key->name) == 0)
            return take_key(arg, key, value, err);
    return error_set(err, -EINVAL, "unknown key '%.60s'", part);
}

/* Returns the address in "TYPE:ADDRESS...", or NULL if the type is none that we
 * have. */
static const char *skip_type(const char *word, bool *is_kernel,
                             struct vfm_error *err)
{
    static const char user[] = "vfio-user:";
    static const char kernel[] = "vfio:";

    *is_kernel = strncmp(word, kernel, sizeof(kernel) - 1) == 0;
    if (*is_kernel)
        return word + sizeof(kernel) - 1;
    if (strncmp(word, user, sizeof(user) - 1) == 0)
        return word + sizeof(user) - 1;
    error_set(err, -EINVAL,
              "'%.60s' is no device, such as vfio-user:/path/socket or "
              "vfio:0000:00:01.0",
              word);
    return NULL;
}

/* Takes the address and the keys after it apart, in @arg's copy of them. */
static int parse_parts(struct device_arg *arg, struct vfm_error *err)
{
    char *rest = arg->address;
    int ret = 0;

    cut_part(&rest);
    if (arg->address[0] == '\0')
        return error_set(err, -EINVAL, "'%.60s' names no device", arg->word);

    while (ret == 0 && rest != NULL)
        ret = take_part(arg, cut_part(&rest), err);
    if (ret < 0)
        return error_set(err, ret, "'%.60s': %s", arg->word, err->message);
    return 0;
}

int device_arg_parse(const char *word, struct device_arg *arg,
                     struct vfm_error *err)
{
    const char *address;
    int ret;

    *arg = (struct device_arg){
        .word = word,
        .id = DEVICE_ID_DEFAULT,
        .options = { .size = sizeof(arg->options) },
    };
    address = skip_type(word, &arg->is_kernel, err);
    if (address == NULL)
        return -EINVAL;

    arg->address = strdup(address);
    if (arg->address == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    ret = parse_parts(arg, err);
    if (ret < 0)
        device_arg_free(arg);
    return ret;
}

void device_arg_free(struct device_arg *arg)
{
    free(arg->address);
    arg->address = NULL;
}

int device_arg_can_move(const struct vfm_device *dev, struct vfm_error *err)
{
    if (vfm_device_has_state(dev, VFM_STATE_STOP_COPY))
        return 0;
    return error_set(err, -EOPNOTSUPP,
                     "%s: it cannot be migrated: see 'vfmig probe'",
                     vfm_device_name(dev));
}

int device_arg_open(const struct device_arg *arg, struct vfm_device **devp,
                    struct vfm_error *err)
{
    int ret = arg->is_kernel
                  ? vfm_device_open_vfio(arg->address, devp, err)
                  : vfm_device_open_vfio_user(arg->address, NULL, &arg->options,
                                              devp, err);

    if (ret < 0)
        return ret;
    ret = vfm_device_do_without(*devp, arg->without, err);
    if (ret < 0) {
        vfm_device_close(*devp);
        *devp = NULL;
    }
    return ret;
}

int device_list_take(const char *value, void *into, struct vfm_error *err)
{
    struct device_list *list = into;
    int ret;

    if (list->count == VFM_DEVICES_MAX)
        return error_set(err, -EINVAL, "more than %d devices", VFM_DEVICES_MAX);

    ret = device_arg_parse(value, &list->items[list->count], err);
    if (ret == 0)
        list->count++;
    return ret;
}

bool device_list_is_usable(const struct device_list *list, const char *command)
{
    if (list->count == 0) {
        say_usage(command, "-d DEVICE is missing");
        return false;
    }
    for (size_t i = 0; i < list->count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(list->items[i].id, list->items[j].id) == 0) {
                say_usage(command,
                          "two devices have the id %s: tell them apart by "
                          "',id=ID' after each",
                          list->items[i].id);
                return false;
            }
    return true;
}

void device_list_free(struct device_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        device_arg_free(&list->items[i]);
    list->count = 0;
}
