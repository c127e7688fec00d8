/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_JSON_H
#define VFM_SRC_UTIL_JSON_H

/*
 * Reading JSON (RFC 8259) that a peer sent: one allocation for all of it, whose
 * size follows from the text's before anything is read.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind {
    JSON_NULL,
    JSON_BOOLEAN,
    JSON_INTEGER,
    JSON_REAL, /* a number that is none of those; its value is not kept */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json {
    enum json_kind kind;
    const char *key;   /* if it is a member, else NULL */
    struct json *next; /* in the same array or object */
    union {
        bool boolean;
        int64_t integer; /* the nearest there is */
        struct {
            const char *text; /* UTF-8; ends with a NUL, and holds no other */
            size_t len;
        };
        struct {
            struct json *first;
            size_t count;
        };
    };
};

struct json_limits {
    unsigned int depth; /* of arrays and objects in each other */
    size_t values;
};

/*
 * Reads the one value that @text is; json_free() frees it.  Returns 0 and it.
 *   -EBADMSG   it is no JSON in UTF-8 (RFC 8259, section 8.1), or a string
 *              of it has a \u0000 (section 9 leaves that to the reader)
 *   -E2BIG     it may hold more values than that
 *   -ELOOP     it is nested deeper
 *   -ENOMEM
 */
int json_read(const char *text, size_t len, const struct json_limits *limits,
              struct json **rootp);
void json_free(struct json *root);

/* The last member @key of @object, if it is of that kind, or NULL; also if
 * @object is no object or NULL. */
const struct json *json_get(const struct json *object, const char *key,
                            enum json_kind kind);

/* Whether there is a member @key of any kind. */
bool json_has(const struct json *object, const char *key);

#endif
