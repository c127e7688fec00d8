/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults: the grammar, and which fault is due at a place.
 *
 * What a fault does is up to those who ask: migration.c for states and bytes,
 * misbehave.c and corrupt.c for messages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/command.h"
#include "emulator/fault.h"
#include "emulator/options.h"
#include "emulator/state.h"
#include "util/error.h"

#define TEXT_MAX 256

static const struct {
    const char *option;
    bool at_command_only;
} kinds[] = {
    [FAULT_FAIL] = { "fail", false },   [FAULT_DELAY] = { "delay", false },
    [FAULT_SHORT] = { "short", false }, [FAULT_CORRUPT] = { "corrupt", false },
    [FAULT_CLOSE] = { "close", false }, [FAULT_INJECT] = { "inject", true },
};
_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == NUM_FAULT_KINDS,
               "a row for every kind");

static const struct {
    const char *name;
    enum fault_kind kind;
} parts[] = {
    [PART_NONE] = { "", NUM_FAULT_KINDS },
    [PART_DATA] = { "data", FAULT_CORRUPT },
    [PART_ID] = { "id", FAULT_CORRUPT },
    [PART_COMMAND] = { "command", FAULT_CORRUPT },
    [PART_TYPE] = { "type", FAULT_CORRUPT },
    [PART_SIZE_SMALL] = { "size-small", FAULT_CORRUPT },
    [PART_SIZE_LARGE] = { "size-large", FAULT_CORRUPT },
    [PART_ARGSZ] = { "argsz", FAULT_CORRUPT },
    [PART_COUNT] = { "count", FAULT_CORRUPT },
    [PART_ERROR_ZERO] = { "error-zero", FAULT_CORRUPT },
    [PART_EXTRA_FD] = { "extra-fd", FAULT_CORRUPT },
    [PART_NO_FD] = { "no-fd", FAULT_CORRUPT },
    [PART_TRUNCATED] = { "truncated", FAULT_CORRUPT },
    [PART_LONGER] = { "longer", FAULT_CORRUPT },
    [PART_BITS] = { "bits", FAULT_CORRUPT },
    [PART_CAP_OFFSET] = { "cap-offset", FAULT_CORRUPT },
    [PART_CAP_LOOP] = { "cap-loop", FAULT_CORRUPT },
    [PART_NR_AREAS] = { "nr-areas", FAULT_CORRUPT },
    [PART_HIGHER_MINOR] = { "higher-minor", FAULT_CORRUPT },
    [PART_OTHER_MAJOR] = { "other-major", FAULT_CORRUPT },
    [PART_NO_JSON] = { "no-json", FAULT_CORRUPT },
    [PART_NO_NUL] = { "no-nul", FAULT_CORRUPT },
    [PART_NOT_JSON] = { "not-json", FAULT_CORRUPT },
    [PART_UNKNOWN_KEYS] = { "unknown-keys", FAULT_CORRUPT },
    [PART_DEEP] = { "deep", FAULT_CORRUPT },
    [PART_HUGE] = { "huge", FAULT_CORRUPT },
    [PART_DMA_READ] = { "dma-read", FAULT_INJECT },
    [PART_REPLY] = { "reply", FAULT_INJECT },
};
_Static_assert(sizeof(parts) / sizeof(parts[0]) == NUM_PARTS,
               "a row for every part");

static const struct {
    const char *name;
    int number;
} errors[] = {
    { "EPERM", EPERM },   { "ENOENT", ENOENT },         { "EINTR", EINTR },
    { "EIO", EIO },       { "ENXIO", ENXIO },           { "EAGAIN", EAGAIN },
    { "ENOMEM", ENOMEM }, { "EACCES", EACCES },         { "EFAULT", EFAULT },
    { "EBUSY", EBUSY },   { "EEXIST", EEXIST },         { "ENODEV", ENODEV },
    { "EINVAL", EINVAL }, { "ENOTTY", ENOTTY },         { "ENOSPC", ENOSPC },
    { "EPROTO", EPROTO }, { "EOPNOTSUPP", EOPNOTSUPP }, { "ENOSYS", ENOSYS },
    { "ENOMSG", ENOMSG }, { "ETIMEDOUT", ETIMEDOUT },
};

static const char *const whens[] = {
    [CLOSE_BEFORE] = "before",
    [CLOSE_MID] = "mid",
    [CLOSE_AFTER] = "after",
    [CLOSE_UNANSWERED] = "unanswered",
};

static int parse_number(const char *text, uint64_t *number)
{
    char *end;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    *number = strtoull(text, &end, 0);
    return errno != 0 || *end != '\0' ? -EINVAL : 0;
}

static int parse_errno(const char *text, int *number)
{
    uint64_t n;

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strcmp(text, errors[i].name) == 0) {
            *number = errors[i].number;
            return 0;
        }
    }
    if (parse_number(text, &n) < 0 || n == 0 || n > INT32_MAX)
        return -EINVAL;
    *number = (int)n;
    return 0;
}

static int parse_part(const char *text, enum fault_kind kind,
                      enum fault_part *part)
{
    for (unsigned p = PART_NONE + 1; p < NUM_PARTS; p++) {
        if (parts[p].kind == kind && strcmp(text, parts[p].name) == 0) {
            *part = (enum fault_part)p;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_when(const char *text, enum close_when *when)
{
    for (unsigned w = 0; w < sizeof(whens) / sizeof(whens[0]); w++) {
        if (strcmp(text, whens[w]) == 0) {
            *when = (enum close_when)w;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_step(char *text, char *arrow, struct where *w)
{
    int from, to;

    *arrow = '\0';
    from = state_parse(text);
    to = state_parse(arrow + 1);
    if (from < 0 || to < 0)
        return -EINVAL;
    *w = (struct where){ .kind = WHERE_STEP,
                         .from = (uint32_t)from,
                         .to = (uint32_t)to };
    return 0;
}

/* A single word: a state, a command or a feature. */
static int parse_name(const char *text, struct where *w)
{
    int n = state_parse(text);

    *w = (struct where){ .kind = WHERE_STATE, .to = (uint32_t)n };
    if (n >= 0)
        return 0;
    n = command_parse(text);
    *w = (struct where){ .kind = WHERE_COMMAND, .number = (uint32_t)n };
    if (n >= 0)
        return 0;
    n = feature_parse(text);
    *w = (struct where){ .kind = WHERE_FEATURE, .number = (uint32_t)n };
    return n < 0 ? -EINVAL : 0;
}

static int parse_where(char *text, struct where *w)
{
    char *arrow = strchr(text, '>');

    if (arrow != NULL)
        return parse_step(text, arrow, w);
    *w = (struct where){ 0 };
    if (strncmp(text, "read@", 5) == 0) {
        w->kind = WHERE_READ;
        return options_parse_size(text + 5, &w->offset);
    }
    if (strncmp(text, "write@", 6) == 0) {
        w->kind = WHERE_WRITE;
        return options_parse_size(text + 6, &w->offset);
    }
    return parse_name(text, w);
}

static bool at_bytes(const struct where *w)
{
    return w->kind == WHERE_READ || w->kind == WHERE_WRITE;
}

/* What follows the colon; null: nothing does. */
static int parse_argument(const char *text, struct fault *f)
{
    switch (f->kind) {
    case FAULT_FAIL:
        f->error = EIO;
        return text == NULL ? 0 : parse_errno(text, &f->error);
    case FAULT_DELAY:
        return text == NULL ? -EINVAL : parse_number(text, &f->amount);
    case FAULT_SHORT:
        f->has_amount = text != NULL;
        return text == NULL ? 0 : options_parse_size(text, &f->amount);
    case FAULT_CORRUPT:
        f->part = PART_DATA;
        if (text == NULL)
            return at_bytes(&f->where) ? 0 : -EINVAL;
        return parse_part(text, f->kind, &f->part);
    case FAULT_INJECT:
        f->part = PART_DMA_READ;
        return text == NULL ? 0 : parse_part(text, f->kind, &f->part);
    default:
        return text == NULL ? 0 : -EINVAL;
    }
}

static int parse_leave(const char *text, struct fault *f)
{
    f->leave = strcmp(text, "error") == 0 ? 0 : state_parse(text);
    return f->leave < 0 || f->kind != FAULT_FAIL ||
                   (f->where.kind != WHERE_STEP && f->where.kind != WHERE_STATE)
               ? -EINVAL
               : 0;
}

/* One "key=value". */
static int parse_key(char *text, struct fault *f)
{
    char *value = strchr(text, '=');

    if (value == NULL)
        return -EINVAL;
    *value++ = '\0';
    if (strcmp(text, "count") == 0)
        return parse_number(value, &f->count);
    if (strcmp(text, "skip") == 0)
        return parse_number(value, &f->skip);
    if (strcmp(text, "leave") == 0)
        return parse_leave(value, f);
    if (strcmp(text, "when") == 0 && f->kind == FAULT_CLOSE)
        return parse_when(value, &f->when);
    return -EINVAL;
}

/* Does the fault make sense where it is? */
static int check(const struct fault *f)
{
    bool at_command =
        f->where.kind == WHERE_COMMAND || f->where.kind == WHERE_FEATURE;

    if (kinds[f->kind].at_command_only && !at_command)
        return -EINVAL;
    if (f->kind == FAULT_SHORT && f->where.kind != WHERE_READ)
        return -EINVAL;
    if (f->kind == FAULT_CORRUPT && f->part == PART_DATA &&
        !at_bytes(&f->where))
        return -EINVAL;
    return 0;
}

/* WHERE[:ARGUMENT][,KEY=VALUE]... */
static int parse(char *text, struct fault *f)
{
    char *save;
    char *key;
    char *head = strtok_r(text, ",", &save);
    char *argument;
    int ret;

    if (head == NULL)
        return -EINVAL;
    argument = strchr(head, ':');
    if (argument != NULL)
        *argument++ = '\0';
    ret = parse_where(head, &f->where);
    if (ret == 0)
        ret = parse_argument(argument, f);
    while (ret == 0 && (key = strtok_r(NULL, ",", &save)) != NULL)
        ret = parse_key(key, f);
    return ret == 0 ? check(f) : ret;
}

int fault_add(struct fault_list *list, const char *option, const char *text,
              struct vfm_error *err)
{
    struct fault f = { .leave = -1, .count = 1 };
    char copy[TEXT_MAX];

    for (f.kind = 0; f.kind < NUM_FAULT_KINDS; f.kind++)
        if (strcmp(option, kinds[f.kind].option) == 0)
            break;
    if (f.kind == NUM_FAULT_KINDS)
        return error_set(err, -EINVAL, "--%s: not a fault", option);
    if (list->count == FAULTS_MAX)
        return error_set(err, -EINVAL, "--%s %s: more than %d faults", option,
                         text, FAULTS_MAX);
    if (strlen(text) >= sizeof(copy))
        return error_set(err, -EINVAL, "--%s: too long", option);
    strcpy(copy, text);
    if (parse(copy, &f) < 0)
        return error_set(err, -EINVAL, "--%s %s: not such a fault", option,
                         text);
    list->all[list->count++] = f;
    return 0;
}

static bool same_place(const struct where *w, const struct where *here,
                       uint64_t length)
{
    switch (w->kind) {
    case WHERE_STEP:
        return here->kind == WHERE_STEP && here->from == w->from &&
               here->to == w->to;
    case WHERE_STATE:
        return here->kind == WHERE_STEP && here->to == w->to;
    case WHERE_COMMAND:
        return here->kind == WHERE_COMMAND && here->from == w->number;
    case WHERE_FEATURE:
        return here->kind == WHERE_COMMAND && here->number == w->number;
    default:
        return here->kind == w->kind && w->offset >= here->offset &&
               w->offset - here->offset < length;
    }
}

/* Counts a chance that fault @f lets pass, if it does. */
static bool lets_pass(struct fault *f)
{
    if (f->skip == 0)
        return false;
    f->skip--;
    return true;
}

static const struct fault *fire(struct fault_list *list, struct fault *f)
{
    if (f->count > 0 && --f->count == 0)
        f->spent = true;
    list->fired++;
    return f;
}

/* The first fault that is due here.  Others that are due too wait for the
 * next chance; those that let chances pass count this one. */
static const struct fault *find(struct fault_list *list, enum fault_kind kind,
                                const struct where *here, uint64_t length)
{
    struct fault *due = NULL;

    for (size_t i = 0; i < list->count; i++) {
        struct fault *f = &list->all[i];

        if (f->kind == kind && !f->spent &&
            same_place(&f->where, here, length) && !lets_pass(f) && due == NULL)
            due = f;
    }
    return due != NULL ? fire(list, due) : NULL;
}

const struct fault *fault_at_step(struct fault_list *list, enum fault_kind kind,
                                  uint32_t from, uint32_t to)
{
    struct where here = { .kind = WHERE_STEP, .from = from, .to = to };

    return find(list, kind, &here, 0);
}

const struct fault *fault_at_command(struct fault_list *list,
                                     enum fault_kind kind, uint32_t command,
                                     uint32_t feature)
{
    struct where here = {
        .kind = WHERE_COMMAND,
        .from = command,
        .number = feature,
    };

    return find(list, kind, &here, 0);
}

const struct fault *fault_at_bytes(struct fault_list *list,
                                   enum fault_kind kind, bool is_write,
                                   uint64_t offset, uint64_t length)
{
    struct where here = {
        .kind = is_write ? WHERE_WRITE : WHERE_READ,
        .offset = offset,
    };

    return find(list, kind, &here, length);
}

bool effects_stop(const struct effects *e)
{
    return e->close != NULL && e->close->when == CLOSE_BEFORE;
}
