/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading JSON.
 *
 * A text has at most one value more than it has commas and opening brackets, so
 * the memory for all of them is had, or not, before the first is read.  Strings
 * become shorter when they are read, never longer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/json.h"

struct reader {
    const char *p;
    const char *end;
    struct json *values; /* the next */
    struct json *values_end;
    char *text; /* where the next string goes */
    unsigned int depth;
    int error;
};

static bool fail(struct reader *r, int error)
{
    if (r->error == 0)
        r->error = error;
    return false;
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end &&
           (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

/* The next character that counts is @c: takes it. */
static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(r->end - r->p) < len || memcmp(r->p, word, len) != 0)
        return fail(r, -EBADMSG);
    r->p += len;
    return true;
}

/* ------------------------------------------------ strings */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_hex(struct reader *r, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = r->p < r->end ? hex_digit(*r->p++) : -1;

        if (digit < 0)
            return fail(r, -EBADMSG);
        *code = *code << 4 | (uint32_t)digit;
    }
    return true;
}

/* UTF-8 (RFC 3629, section 3): a lead byte and @more that begin with 10. */
static const struct {
    uint32_t below;
    uint8_t lead;
    int more;
} forms[] = {
    { 0x80, 0, 0 },
    { 0x800, 0xc0, 1 },
    { 0x10000, 0xe0, 2 },
    { 0x110000, 0xf0, 3 },
};

#define NUM_FORMS (sizeof(forms) / sizeof(forms[0]))

static bool is_surrogate(uint32_t code)
{
    return code >= 0xd800 && code < 0xe000;
}

/* @code is one that there is. */
static void put_utf8(struct reader *r, uint32_t code)
{
    size_t f = 0;

    while (code >= forms[f].below)
        f++;
    *r->text++ = (char)(forms[f].lead | code >> (6 * forms[f].more));
    for (int i = forms[f].more - 1; i >= 0; i--)
        *r->text++ = (char)(0x80 | (code >> (6 * i) & 0x3f));
}

/* The bytes after the lead byte of @form: what comes to mean. */
static bool take_more(struct reader *r, size_t form, uint32_t *code)
{
    *code = (uint8_t)*r->p++ & 0xffu >> (forms[form].more + 2);
    for (int i = 0; i < forms[form].more; i++, r->p++) {
        if (r->p == r->end || ((uint8_t)*r->p & 0xc0) != 0x80)
            return fail(r, -EBADMSG);
        *code = *code << 6 | ((uint8_t)*r->p & 0x3f);
    }
    return true;
}

/* A character that is not ASCII's: one that there is, in its shortest form. */
static bool read_utf8(struct reader *r)
{
    uint8_t lead = (uint8_t)*r->p;
    uint32_t code;

    for (size_t f = 1; f < NUM_FORMS; f++) {
        if ((lead & 0xff << (6 - forms[f].more) & 0xff) != forms[f].lead)
            continue;
        if (!take_more(r, f, &code))
            return false;
        if (code < forms[f - 1].below || code >= forms[f].below ||
            is_surrogate(code))
            return fail(r, -EBADMSG);
        put_utf8(r, code);
        return true;
    }
    return fail(r, -EBADMSG);
}

/* What follows \u: half a pair has no meaning without the other.  A NUL would
 * end the string, or make a name that looks like another. */
static bool read_code(struct reader *r)
{
    uint32_t code;
    uint32_t low;

    if (!read_hex(r, &code))
        return false;
    if (code == 0 || (is_surrogate(code) && code >= 0xdc00))
        return fail(r, -EBADMSG);
    if (is_surrogate(code)) {
        if (!take_word(r, "\\u") || !read_hex(r, &low))
            return false;
        if (low < 0xdc00 || low >= 0xe000)
            return fail(r, -EBADMSG);
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(r, code);
    return true;
}

static bool read_escape(struct reader *r)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    char c = r->p < r->end ? *r->p++ : '\0';
    const char *found = c == '\0' ? NULL : strchr(from, c);

    if (c == 'u')
        return read_code(r);
    if (found == NULL)
        return fail(r, -EBADMSG);
    *r->text++ = to[found - from];
    return true;
}

/* The opening quote has been taken. */
static bool read_string(struct reader *r, const char **text, size_t *len)
{
    *text = r->text;
    while (r->p < r->end && *r->p != '"') {
        uint8_t c = (uint8_t)*r->p;

        if (c < ' ')
            return fail(r, -EBADMSG);
        if (c >= 0x80) {
            if (!read_utf8(r))
                return false;
            continue;
        }
        r->p++;
        if (c != '\\')
            *r->text++ = (char)c;
        else if (!read_escape(r))
            return false;
    }
    if (r->p == r->end)
        return fail(r, -EBADMSG);
    r->p++;
    *len = (size_t)(r->text - *text);
    *r->text++ = '\0';
    return true;
}

/* ------------------------------------------------ numbers */

static size_t take_digits(struct reader *r)
{
    const char *start = r->p;

    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return (size_t)(r->p - start);
}

static int64_t to_integer(const char *digits, size_t n, bool negative)
{
    int64_t value = 0;

    for (size_t i = 0; i < n; i++) {
        int digit = digits[i] - '0';

        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return negative ? INT64_MIN : INT64_MAX;
    }
    /* There is one more below zero than above. */
    if (negative)
        return value;
    return value == INT64_MIN ? INT64_MAX : -value;
}

/* A fraction, an exponent; true if there is either. */
static bool take_rest(struct reader *r)
{
    bool is_real = false;

    if (r->p < r->end && *r->p == '.') {
        r->p++;
        is_real = true;
        if (take_digits(r) == 0)
            fail(r, -EBADMSG);
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        is_real = true;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
            r->p++;
        if (take_digits(r) == 0)
            fail(r, -EBADMSG);
    }
    return is_real;
}

static bool read_number(struct reader *r, struct json *v)
{
    bool negative = *r->p == '-';
    const char *digits;
    size_t n;

    r->p += negative;
    digits = r->p;
    n = take_digits(r);
    if (n == 0 || (n > 1 && digits[0] == '0'))
        return fail(r, -EBADMSG);
    v->kind = JSON_INTEGER;
    v->integer = to_integer(digits, n, negative);
    if (take_rest(r))
        v->kind = JSON_REAL;
    return r->error == 0;
}

/* ------------------------------------------------ values */

static struct json *read_value(struct reader *r, const struct json_limits *max);

static bool read_key(struct reader *r, const char **key)
{
    size_t len;

    if (!take(r, '"') || !read_string(r, key, &len) || !take(r, ':'))
        return fail(r, -EBADMSG);
    return true;
}

static bool read_entries(struct reader *r, struct json *v, char close,
                         const struct json_limits *max)
{
    struct json **end = &v->first;

    do {
        const char *key = NULL;

        if (v->kind == JSON_OBJECT && !read_key(r, &key))
            return false;
        *end = read_value(r, max);
        if (*end == NULL)
            return false;
        (*end)->key = key;
        end = &(*end)->next;
        v->count++;
    } while (take(r, ','));
    return take(r, close) || fail(r, -EBADMSG);
}

static bool read_container(struct reader *r, struct json *v,
                           const struct json_limits *max)
{
    char close = *r->p++ == '{' ? '}' : ']';
    bool ok;

    v->kind = close == '}' ? JSON_OBJECT : JSON_ARRAY;
    v->first = NULL;
    v->count = 0;
    if (r->depth == max->depth)
        return fail(r, -ELOOP);
    r->depth++;
    ok = take(r, close) || read_entries(r, v, close, max);
    r->depth--;
    return ok;
}

static bool read_boolean(struct reader *r, struct json *v)
{
    v->kind = JSON_BOOLEAN;
    v->boolean = *r->p == 't';
    return take_word(r, v->boolean ? "true" : "false");
}

static bool read_any(struct reader *r, struct json *v,
                     const struct json_limits *max)
{
    switch (*r->p) {
    case '{':
    case '[':
        return read_container(r, v, max);
    case '"':
        r->p++;
        v->kind = JSON_STRING;
        return read_string(r, &v->text, &v->len);
    case 't':
    case 'f':
        return read_boolean(r, v);
    case 'n':
        v->kind = JSON_NULL;
        return take_word(r, "null");
    default:
        return read_number(r, v);
    }
}

/* Returns NULL if there is none that is one. */
static struct json *read_value(struct reader *r, const struct json_limits *max)
{
    struct json *v = r->values;

    skip_space(r);
    if (r->p == r->end || v == r->values_end) {
        fail(r, -EBADMSG);
        return NULL;
    }
    r->values++;
    v->key = NULL;
    v->next = NULL;
    return read_any(r, v, max) ? v : NULL;
}

/* The most values that @text can hold, if it is JSON. */
static size_t count_values(const char *text, size_t len)
{
    size_t n = 1;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string)
            i += text[i] == '\\';
        else
            n += text[i] == ',' || text[i] == '[' || text[i] == '{';
    }
    return n;
}

int json_read(const char *text, size_t len, const struct json_limits *limits,
              struct json **rootp)
{
    struct reader r = { .p = text, .end = text + len };
    size_t most = count_values(text, len);

    *rootp = NULL;
    if (most > limits->values)
        return -E2BIG;
    /* A string loses its quotes and gains a NUL. */
    r.values = malloc(most * sizeof(*r.values) + len);
    if (r.values == NULL)
        return -ENOMEM;
    r.values_end = r.values + most;
    r.text = (char *)r.values_end;

    *rootp = r.values;
    if (read_value(&r, limits) != NULL) {
        skip_space(&r);
        if (r.p != r.end)
            fail(&r, -EBADMSG);
    }
    if (r.error != 0) {
        json_free(*rootp);
        *rootp = NULL;
    }
    return r.error;
}

void json_free(struct json *root)
{
    free(root);
}

static const struct json *find(const struct json *object, const char *key)
{
    const struct json *found = NULL;

    if (object == NULL || object->kind != JSON_OBJECT)
        return NULL;
    for (const struct json *v = object->first; v != NULL; v = v->next)
        if (strcmp(v->key, key) == 0)
            found = v;
    return found;
}

const struct json *json_get(const struct json *object, const char *key,
                            enum json_kind kind)
{
    const struct json *v = find(object, key);

    return v != NULL && v->kind == kind ? v : NULL;
}

bool json_has(const struct json *object, const char *key)
{
    return find(object, key) != NULL;
}
