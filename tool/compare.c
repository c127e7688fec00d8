/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig compare: the first difference of two streams, or of two files with
 * device state, or of one of each.
 *
 * Devices come first, then RAM, then the other sections: a device author asks
 * about the device.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "cmd.h"
#include "compare.h"
#include "json.h"
#include "say.h"
#include "util/error.h"

/* This command's exit codes, as those of cmp(1). */
#define EXIT_EQUAL     0
#define EXIT_DIFFERENT 1

#define CHUNK_BYTES    ((size_t)32 << 10)

struct compare_options {
    bool json;
};

static const struct args_option json = {
    .name = "json",
    .take = args_take_flag,
    .offset = offsetof(struct compare_options, json),
    .help = "print one JSON object",
};

static const struct args_option *const options[] = { &json, NULL };

static const struct args_syntax syntax = {
    .command = "compare",
    .words = "[--json] A B",
    .about = "Prints the first difference of two migration streams, of two "
             "files with the state of a device, or of one of each. How the "
             "state was cut into records makes no difference. Exits with 0 "
             "if they are equal, 1 if not, 2 if that cannot be told.",
    .options = options,
    .min_operands = 2,
    .max_operands = 2,
    .operands = "A and B",
};

struct comparison {
    struct index index[2];
    const char *culprit; /* whose file an error is about */
    struct difference diff;
};

/* ---------------------------------------------------------------------- */

static const char *describe_kind(enum object_kind kind)
{
    switch (kind) {
    case OBJECT_STATE:
        return "the state of ";
    case OBJECT_CONFIG:
        return "the configuration record of ";
    case OBJECT_SECTION:
        return "the section ";
    case OBJECT_FILE:
        break;
    }
    return "the state";
}

/* Begins the sentence about a difference in @object. */
static void begin_difference(struct difference *diff,
                             const struct object *object, const char *how)
{
    const char *quote = object->kind == OBJECT_FILE ? "" : "'";

    diff->found = true;
    diff->kind = object->kind;
    diff->section = object->kind == OBJECT_FILE ? NULL : object->name;
    snprintf(diff->what, sizeof(diff->what), "%s%s%s%s %s",
             describe_kind(object->kind), quote, object->name, quote, how);
}

static void note_byte(struct comparison *c, const struct cursor cursors[2],
                      uint64_t byte)
{
    struct difference *diff = &c->diff;

    begin_difference(diff, cursors[0].object, "differs");
    diff->at_byte = true;
    diff->has_places = true;
    diff->byte = byte;
    for (int i = 0; i < 2; i++)
        diff->place[i] = cursor_piece(&cursors[i]);
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t i = 0;

    if (memcmp(a, b, len) == 0)
        return len;
    while (a[i] == b[i])
        i++;
    return i;
}

/* How much can be compared at once at the cursors. */
static size_t next_chunk(const struct cursor cursors[2])
{
    uint64_t len = CHUNK_BYTES;

    for (int i = 0; i < 2; i++) {
        struct extent piece = cursor_piece(&cursors[i]);

        if (piece.len < len)
            len = piece.len;
    }
    return (size_t)len;
}

static int compare_objects(struct comparison *c, const struct object *a,
                           const struct object *b, struct vfm_error *err)
{
    uint8_t buf[2][CHUNK_BYTES];
    struct cursor cursors[2] = { { .object = a }, { .object = b } };
    uint64_t byte = 0;
    size_t same;
    size_t len;

    while ((len = next_chunk(cursors)) > 0) {
        for (int i = 0; i < 2; i++) {
            int ret = piece_file_read_at(&c->index[i].file, buf[i], len,
                                         cursor_piece(&cursors[i]).offset, err);

            c->culprit = c->index[i].file.name;
            if (ret < 0)
                return ret;
        }
        same = first_difference(buf[0], buf[1], len);
        byte += same;
        for (int i = 0; i < 2; i++)
            if (same > 0)
                cursor_advance(&cursors[i], same);
        if (same < len) {
            note_byte(c, cursors, byte);
            return 0;
        }
    }
    if (a->bytes != b->bytes)
        note_byte(c, cursors, byte);
    return 0;
}

/* ---------------------------------------------------------------------- */

static bool is_of_device(const struct object *o)
{
    return o->kind == OBJECT_STATE || o->kind == OBJECT_CONFIG;
}

/* Is there something that only one of them has? */
static void compare_lists(struct comparison *c)
{
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < c->index[i].num_objects; k++) {
            const struct object *o = &c->index[i].objects[k];

            if (index_find(&c->index[1 - i], o->kind, o->name,
                           o->instance_id) != NULL)
                continue;
            begin_difference(&c->diff, o,
                             i == 0 ? "is only in the first"
                                    : "is only in the second");
            return;
        }
}

static int compare_all(struct comparison *c, bool of_devices,
                       struct vfm_error *err)
{
    int ret = 0;

    for (size_t k = 0;
         ret == 0 && !c->diff.found && k < c->index[0].num_objects; k++) {
        const struct object *o = &c->index[0].objects[k];

        if (is_of_device(o) == of_devices)
            ret = compare_objects(
                c, o,
                index_find(&c->index[1], o->kind, o->name, o->instance_id),
                err);
    }
    return ret;
}

static void compare_machines(struct comparison *c)
{
    const char *a = c->index[0].machine;
    const char *b = c->index[1].machine;

    if (a == NULL || b == NULL || strcmp(a, b) == 0)
        return;
    c->diff.found = true;
    c->diff.kind = OBJECT_SECTION;
    c->diff.section = "configuration";
    snprintf(c->diff.what, sizeof(c->diff.what),
             "the machines differ: '%.150s' and '%.150s'", a, b);
}

static int compare_streams(struct comparison *c, struct vfm_error *err)
{
    int ret;

    compare_lists(c);
    if (c->diff.found)
        return 0;
    ret = compare_all(c, true, err);
    if (ret == 0 && !c->diff.found)
        compare_machines(c);
    if (ret == 0 && !c->diff.found && c->index[0].has_ram &&
        c->index[1].has_ram)
        ret = ram_compare(c->index[0].file.name, c->index[1].file.name,
                          &c->diff, &c->culprit, err);
    if (ret == 0 && !c->diff.found)
        ret = compare_all(c, false, err);
    return ret;
}

/* The only device of a stream, or the whole of another file. */
static const struct object *only_state(struct comparison *c, int i,
                                       struct vfm_error *err)
{
    const struct index *index = &c->index[i];
    const struct object *only = NULL;

    for (size_t k = 0; k < index->num_objects; k++) {
        if (index->objects[k].kind != OBJECT_STATE &&
            index->objects[k].kind != OBJECT_FILE)
            continue;
        if (only != NULL) {
            only = NULL;
            break;
        }
        only = &index->objects[k];
    }
    if (only == NULL) {
        c->culprit = index->file.name;
        error_set(err, -EINVAL,
                  "a stream with not exactly one device cannot be compared "
                  "with the state of one");
    }
    return only;
}

static int compare_states(struct comparison *c, struct vfm_error *err)
{
    const struct object *a = only_state(c, 0, err);
    const struct object *b = a != NULL ? only_state(c, 1, err) : NULL;

    if (b == NULL)
        return -EINVAL;
    return compare_objects(c, a, b, err);
}

static int compare(struct comparison *c, char *const names[2],
                   struct vfm_error *err)
{
    int ret = 0;

    for (int i = 0; ret == 0 && i < 2; i++) {
        c->culprit = names[i];
        ret = index_build(&c->index[i], names[i], err);
        if (ret == 0 && c->index[i].on_channels)
            say_warning("%s: the state that went on multifd channels is not "
                        "compared",
                        names[i]);
    }
    if (ret < 0)
        return ret;
    return c->index[0].is_stream && c->index[1].is_stream
               ? compare_streams(c, err)
               : compare_states(c, err);
}

/* ---------------------------------------------------------------------- */

static void print_place(const char *name, const struct extent *place)
{
    printf("  %s: ", name);
    if (place->len == 0) {
        puts("it ends there");
        return;
    }
    printf("offset %" PRIu64, place->offset);
    if (place->type != 0)
        printf(", in a section %s",
               vfm_section_type_name((enum vfm_section_type)place->type));
    if (place->record != 0)
        printf(", DATA record %" PRIu32, place->record);
    putchar('\n');
}

static void print_text(const struct comparison *c)
{
    const struct difference *diff = &c->diff;
    const char *a = c->index[0].file.name;
    const char *b = c->index[1].file.name;

    if (!diff->found) {
        printf("%s and %s are equal\n", a, b);
        return;
    }
    printf("%s and %s are different: %s", a, b, diff->what);
    if (diff->at_byte)
        printf(" at byte %" PRIu64, diff->byte);
    putchar('\n');
    if (!diff->has_places)
        return;
    print_place(a, &diff->place[0]);
    print_place(b, &diff->place[1]);
}

static struct json_tree *place_json(const struct extent *place)
{
    struct json_tree *o = json_object_make();

    if (place->len == 0)
        return o;
    json_add_number(o, "offset", place->offset);
    if (place->type != 0)
        json_add_string(
            o, "section_type",
            vfm_section_type_name((enum vfm_section_type)place->type));
    if (place->record != 0)
        json_add_number(o, "record", place->record);
    return o;
}

static void print_json(const struct comparison *c)
{
    static const char *const kinds[] = {
        [OBJECT_FILE] = "state",
        [OBJECT_STATE] = "state",
        [OBJECT_CONFIG] = "config",
        [OBJECT_SECTION] = "section",
    };
    const struct difference *diff = &c->diff;
    struct json_tree *o = json_object_make();

    json_add_bool(o, "equal", !diff->found);
    if (diff->found) {
        json_add_string(o, "difference", diff->what);
        json_add_string(o, "kind", kinds[diff->kind]);
        if (diff->section != NULL)
            json_add_string(o, "section", diff->section);
    }
    if (diff->at_byte)
        json_add_number(o, "byte", diff->byte);
    if (diff->has_places) {
        json_add(o, "a", place_json(&diff->place[0]));
        json_add(o, "b", place_json(&diff->place[1]));
    }
    json_print(o);
}

int cmd_compare(int argc, char **argv)
{
    struct compare_options opts = { 0 };
    struct comparison c = { 0 };
    struct vfm_error err;
    int first;
    int code = args_parse(&syntax, argc, argv, &opts, &first);

    if (code != ARGS_GO_ON)
        return code;
    if (compare(&c, argv + first, &err) < 0) {
        say_error("%s: %s", c.culprit, err.message);
        code = EXIT_TROUBLE;
    } else {
        code = c.diff.found ? EXIT_DIFFERENT : EXIT_EQUAL;
        if (opts.json)
            print_json(&c);
        else
            print_text(&c);
    }
    index_free(&c.index[0]);
    index_free(&c.index[1]);
    return code;
}
