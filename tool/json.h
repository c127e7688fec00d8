/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_JSON_H
#define VFM_TOOL_JSON_H

/*
 * Building what --json prints.
 *
 * A value that could not be made is NULL, and whatever it is put into is not
 * printed: there is no half of an answer.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json_tree;

struct json_tree *json_object_make(void);
struct json_tree *json_array_make(void);
struct json_tree *json_string_make(const char *value);
struct json_tree *json_number_make(uint64_t value);
/* A number with three digits behind the point, which @value has before it. */
struct json_tree *json_thousandths_make(uint64_t value);
struct json_tree *json_bool_make(bool value);
struct json_tree *json_null_make(void);
void json_drop(struct json_tree *value);

/* Take @value over.  Every name is added once only. */
void json_add(struct json_tree *into, const char *name,
              struct json_tree *value);
void json_append(struct json_tree *into, struct json_tree *value);

/* A @value that is NULL is null. */
void json_add_string(struct json_tree *into, const char *name,
                     const char *value);
void json_add_number(struct json_tree *into, const char *name, uint64_t value);
void json_add_bool(struct json_tree *into, const char *name, bool value);

/* Prints @value to @out and frees it.  Returns whether it was whole; if not,
 * nothing was printed. */
bool json_write(struct json_tree *value, FILE *out);

/* The same on one line, and @value stays. */
bool json_write_line(const struct json_tree *value, FILE *out);

/* As json_write(), of what the command is asked for; on standard output. */
void json_print_to(struct json_tree *value, FILE *out);
void json_print(struct json_tree *value);

/* Whether something was to be printed and there was no memory for it. */
bool json_is_missing(void);

#endif
