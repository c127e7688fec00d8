/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_JSON_H
#define VFM_TOOL_JSON_H

/*
 * Building the objects that --json prints.
 *
 * Every name is added once only.  Where memory runs out the member is missing,
 * as json-c has it.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>

static inline void json_add_string(struct json_object *into, const char *name,
                                   const char *value)
{
    json_object_object_add(
        into, name, value != NULL ? json_object_new_string(value) : NULL);
}

static inline void json_add_number(struct json_object *into, const char *name,
                                   uint64_t value)
{
    json_object_object_add(into, name, json_object_new_uint64(value));
}

static inline void json_add_bool(struct json_object *into, const char *name,
                                 bool value)
{
    json_object_object_add(into, name, json_object_new_boolean(value));
}

/* Prints @object on standard output and frees it. */
static inline void json_print(struct json_object *object)
{
    puts(json_object_to_json_string_ext(
        object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                    JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(object);
}

#endif
