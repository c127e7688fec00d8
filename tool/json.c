/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building and printing JSON.
 *
 * That something is missing is kept here, as stdio keeps that a write failed:
 * the program's end looks at both.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "util/text.h"

enum kind { OBJECT, ARRAY, STRING, NUMBER, THOUSANDTHS, BOOL, NOTHING };

struct json_tree {
    enum kind kind;
    char *name; /* if it is a member */
    struct json_tree *next;

    uint64_t number; /* or whether it is true */
    char *text;

    struct json_tree *first;
    struct json_tree **end;
    bool has_failed; /* something in it is missing */
};

static bool is_missing;

bool json_is_missing(void)
{
    return is_missing;
}

static struct json_tree *make(enum kind kind, uint64_t number)
{
    struct json_tree *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    t->kind = kind;
    t->number = number;
    t->end = &t->first;
    return t;
}

struct json_tree *json_object_make(void)
{
    return make(OBJECT, 0);
}

struct json_tree *json_array_make(void)
{
    return make(ARRAY, 0);
}

struct json_tree *json_number_make(uint64_t value)
{
    return make(NUMBER, value);
}

struct json_tree *json_thousandths_make(uint64_t value)
{
    return make(THOUSANDTHS, value);
}

struct json_tree *json_bool_make(bool value)
{
    return make(BOOL, value);
}

struct json_tree *json_null_make(void)
{
    return make(NOTHING, 0);
}

struct json_tree *json_string_make(const char *value)
{
    struct json_tree *t = make(STRING, 0);

    if (t == NULL)
        return NULL;
    t->text = strdup(value);
    if (t->text != NULL)
        return t;
    json_drop(t);
    return NULL;
}

void json_drop(struct json_tree *value)
{
    if (value == NULL)
        return;
    while (value->first != NULL) {
        struct json_tree *first = value->first;

        value->first = first->next;
        json_drop(first);
    }
    free(value->name);
    free(value->text);
    free(value);
}

void json_append(struct json_tree *into, struct json_tree *value)
{
    if (into == NULL || value == NULL) {
        if (into != NULL)
            into->has_failed = true;
        json_drop(value);
        return;
    }
    into->has_failed = into->has_failed || value->has_failed;
    *into->end = value;
    into->end = &value->next;
}

void json_add(struct json_tree *into, const char *name, struct json_tree *value)
{
    if (value != NULL) {
        value->name = strdup(name);
        value->has_failed = value->has_failed || value->name == NULL;
    }
    json_append(into, value);
}

void json_add_string(struct json_tree *into, const char *name,
                     const char *value)
{
    json_add(into, name,
             value != NULL ? json_string_make(value) : json_null_make());
}

void json_add_number(struct json_tree *into, const char *name, uint64_t value)
{
    json_add(into, name, json_number_make(value));
}

void json_add_bool(struct json_tree *into, const char *name, bool value)
{
    json_add(into, name, json_bool_make(value));
}

/* ------------------------------------------------ printing */

#define INDENT   2

/* Instead of an indent: all on one line. */
#define ONE_LINE (-1)

/* A path need not be UTF-8, and JSON has to be. */
static void print_text(const char *text, FILE *out)
{
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";

    putc('"', out);
    for (const char *c = text; *c != '\0';) {
        const char *found = strchr(from, *c);
        size_t len = text_utf8(c);

        if (len == 0)
            fputs("\\ufffd", out);
        else if (found != NULL)
            fprintf(out, "\\%c", to[found - from]);
        else if ((unsigned char)*c < ' ')
            fprintf(out, "\\u%04x", (unsigned int)*c);
        else
            fwrite(c, 1, len, out);
        c += len > 0 ? len : 1;
    }
    putc('"', out);
}

static void print_value(const struct json_tree *value, int indent, FILE *out);

static void print_break(int indent, FILE *out)
{
    if (indent != ONE_LINE)
        fprintf(out, "\n%*s", indent, "");
}

static void print_entries(const struct json_tree *value, int indent, FILE *out)
{
    const char *brackets = value->kind == OBJECT ? "{}" : "[]";
    int deeper = indent == ONE_LINE ? ONE_LINE : indent + INDENT;

    putc(brackets[0], out);
    for (const struct json_tree *v = value->first; v != NULL; v = v->next) {
        print_break(deeper, out);
        if (v->name != NULL) {
            print_text(v->name, out);
            fputs(": ", out);
        }
        print_value(v, deeper, out);
        if (v->next != NULL)
            fputs(indent == ONE_LINE ? ", " : ",", out);
    }
    if (value->first != NULL)
        print_break(indent, out);
    putc(brackets[1], out);
}

static void print_value(const struct json_tree *value, int indent, FILE *out)
{
    switch (value->kind) {
    case OBJECT:
    case ARRAY:
        print_entries(value, indent, out);
        break;
    case STRING:
        print_text(value->text, out);
        break;
    case NUMBER:
        fprintf(out, "%" PRIu64, value->number);
        break;
    case THOUSANDTHS:
        fprintf(out, "%" PRIu64 ".%03" PRIu64, value->number / 1000,
                value->number % 1000);
        break;
    case BOOL:
        fputs(value->number != 0 ? "true" : "false", out);
        break;
    case NOTHING:
        fputs("null", out);
        break;
    }
}

bool json_write_line(const struct json_tree *value, FILE *out)
{
    if (value == NULL || value->has_failed)
        return false;
    print_value(value, ONE_LINE, out);
    putc('\n', out);
    return true;
}

bool json_write(struct json_tree *value, FILE *out)
{
    bool whole = value != NULL && !value->has_failed;

    if (whole) {
        print_value(value, 0, out);
        putc('\n', out);
    }
    json_drop(value);
    return whole;
}

void json_print_to(struct json_tree *value, FILE *out)
{
    if (!json_write(value, out))
        is_missing = true;
}

void json_print(struct json_tree *value)
{
    json_print_to(value, stdout);
}
