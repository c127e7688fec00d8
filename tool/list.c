/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig list: the VFIO devices of this machine's kernel, and which of them can
 * be migrated.
 */
#include <stddef.h>
#include <stdio.h>

#include <vfmig/vfio.h>

#include "args.h"
#include "cmd.h"
#include "json.h"
#include "probe.h"
#include "say.h"

struct list_options {
    bool json;
};

static const struct args_option json = {
    .name = "json",
    .take = args_take_flag,
    .offset = offsetof(struct list_options, json),
    .help = "print one JSON array",
};

static const struct args_option *const options[] = {
    &json,
    NULL,
};

static const struct args_syntax syntax = {
    .command = "list",
    .words = "[--json]",
    .about = "Shows every device of this machine that is bound to a VFIO "
             "driver, and whether it can be migrated. Each is opened to ask "
             "it, unless somebody else has it open.",
    .options = options,
};

/* What one device is, from outside and from inside. */
struct listed {
    const struct vfm_vfio_entry *entry;
    bool is_open; /* the probe is valid, else the error is */
    struct probe probe;
    struct vfm_error err;
};

struct listing {
    struct json_tree *array; /* NULL: lines for people */
    size_t count;
};

/* Of both names the one that says how it was opened. */
static const char *way(const struct vfm_vfio_entry *entry)
{
    return entry->by_iommufd ? "cdev" : "group";
}

static const char *why_not(const struct listed *l)
{
    return l->is_open ? l->probe.reason : l->err.message;
}

static void print_where(const struct vfm_vfio_entry *entry)
{
    printf("%s\n  driver       %s\n", entry->address,
           entry->driver[0] != '\0' ? entry->driver : "none");
    if (entry->group >= 0)
        printf("  group        /dev/vfio/%d%s\n", entry->group,
               entry->by_iommufd ? "" : " (opened by it)");
    if (entry->cdev[0] != '\0' && entry->by_iommufd)
        printf("  cdev         /dev/vfio/devices/%s (opened by it)\n",
               entry->cdev);
}

static void print_for_people(const struct listed *l)
{
    uint64_t migration = l->probe.info.migration;

    print_where(l->entry);
    if (why_not(l) == NULL)
        printf("  migration    yes: STOP_COPY%s%s\n",
               (migration & VFM_MIGRATION_PRE_COPY) != 0 ? ", PRE_COPY" : "",
               (migration & VFM_MIGRATION_P2P) != 0 ? ", P2P" : "");
    else
        printf("  migration    %s%s\n",
               l->is_open ? "no: " : "unknown: ", why_not(l));
    if (l->is_open)
        printf("  state        %s\n", vfm_state_name(l->probe.state));
    if (l->entry->debugfs_state[0] != '\0')
        printf("  debugfs      %s\n", l->entry->debugfs_state);
}

static struct json_tree *describe(const struct listed *l)
{
    const struct vfm_vfio_entry *entry = l->entry;
    struct json_tree *object = json_object_make();

    json_add_string(object, "address", entry->address);
    json_add_string(object, "driver", entry->driver);
    json_add_bool(object, "mediated", entry->is_mediated);
    json_add_string(object, "way", way(entry));
    json_add(object, "group",
             entry->group < 0 ? json_null_make()
                              : json_number_make((uint64_t)entry->group));
    json_add_string(object, "cdev",
                    entry->cdev[0] != '\0' ? entry->cdev : NULL);
    json_add_string(object, "debugfs_state",
                    entry->debugfs_state[0] != '\0' ? entry->debugfs_state
                                                    : NULL);
    json_add_bool(object, "opened", l->is_open);
    json_add_bool(object, "migratable", why_not(l) == NULL);
    json_add_string(object, "reason", why_not(l));
    json_add_string(object, "state",
                    l->is_open ? vfm_state_name(l->probe.state) : NULL);
    json_add(object, "migration",
             l->is_open ? probe_migration_object(l->probe.info.migration)
                        : json_null_make());
    return object;
}

static void ask(struct listed *l)
{
    struct vfm_device *dev;

    if (vfm_device_open_vfio(l->entry->address, &dev, &l->err) < 0)
        return;
    l->is_open = probe_ask(dev, &l->probe, &l->err) == 0;
    if (l->is_open)
        probe_judge(&l->probe);
    vfm_device_close(dev);
}

static int show(void *opaque, const struct vfm_vfio_entry *entry)
{
    struct listing *listing = opaque;
    struct listed listed = { .entry = entry };

    ask(&listed);
    listing->count++;
    if (listing->array != NULL)
        json_append(listing->array, describe(&listed));
    else
        print_for_people(&listed);
    return 0;
}

static int run(const struct list_options *opts)
{
    struct listing listing = { .array = NULL };
    struct vfm_error err = { 0 };

    if (opts->json)
        listing.array = json_array_make();
    if (vfm_vfio_each(show, &listing, &err) < 0) {
        say_error("%s", err.message);
        json_drop(listing.array);
        return EXIT_FAILED;
    }
    if (listing.array != NULL)
        json_print(listing.array);
    else if (listing.count == 0)
        puts("no device is bound to a VFIO driver: a PCI function has to be "
             "bound to vfio-pci or to the variant driver of its vendor");
    return EXIT_DONE;
}

int cmd_list(int argc, char **argv)
{
    struct list_options opts = { .json = false };
    int first;
    int code;

    code = args_parse(&syntax, argc, argv, &opts, &first);
    return code == ARGS_GO_ON ? run(&opts) : code;
}
