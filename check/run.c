/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs checks one after the other, each from RUNNING.
 *
 * A device that has failed a check is brought back by what a migration would
 * do: ask for RUNNING, else reset it, else load what it once was, else close
 * and open it.  One that stays away, or does not answer in several checks, is
 * not asked again: the rest is skipped, and says why.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check/driver.h"
#include "check/image.h"
#include "check/run.h"
#include "check/steps.h"
#include "util/clock.h"
#include "util/error.h"

/* Bringing the device back may take as long as a check. */
#define BACK_TIMEOUT_MS 60000
/* Of a state that is loaded to that end. */
#define PIECE           ((size_t)1 << 20)
/* So many checks in which the device did not answer in time, and the rest is
 * left out: each may wait for CHECK_TIMEOUT_MS. */
#define SILENT_MAX      3

static const struct {
    uint32_t bit;
    const char *why; /* a check that needs it is skipped */
} needs[NEEDS_COUNT] = {
    { NEEDS_P2P, "the device has no P2P states" },
    { NEEDS_PRE_COPY, "the device has no PRE_COPY" },
    { NEEDS_RESET, "the device cannot be reset" },
    { NEEDS_DATA_SIZE, "the device has no MIG_DATA_SIZE" },
    { NEEDS_LOG, "the device keeps no log of its DMA" },
    { NEEDS_PRECOPY_INFO, "the device gives no PRECOPY_INFO" },
    { NEEDS_DESCRIPTORS, "sessions of vfio-user have no descriptor" },
    { NEEDS_DRIVER, "vfmig has no description of this device, by which it "
                    "could be made to work: docs/testing-your-device.md" },
    { NEEDS_MAPPING, "no memory can be mapped for this device" },
};

void run_close_session(struct run *r)
{
    if (r->fd >= 0)
        close(r->fd);
    if (r->old_fd >= 0)
        close(r->old_fd);
    r->fd = r->old_fd = -1;
}

/* Where the device is; a device that cannot be asked is nowhere. */
static bool is_running(struct run *r)
{
    uint32_t state;

    return raw_get_state(r->raw, &state) == 0 && state == UAPI_STATE_RUNNING;
}

static bool is_asked_back(struct run *r)
{
    int fd = -1;

    raw_set_state(r->raw, UAPI_STATE_RUNNING, &fd);
    if (fd >= 0)
        close(fd);
    return is_running(r);
}

static bool is_reset_back(struct run *r)
{
    return raw_reset(r->raw) == 0 && (is_running(r) || is_asked_back(r));
}

/* Some servers stay in RESUMING when they are reset; what leads out is a state
 * that is whole, after a reset that forgets what they refused. */
static bool is_loaded_back(struct run *r)
{
    size_t piece = r->raw->max_write < PIECE ? r->raw->max_write : PIECE;
    uint32_t state;

    if (r->image.size == 0 || r->raw->has_descriptors ||
        raw_get_state(r->raw, &state) < 0 || state != UAPI_STATE_RESUMING)
        return false;
    raw_reset(r->raw);
    for (size_t done = 0; done < r->image.size; done += piece) {
        size_t left = r->image.size - done;

        if (raw_write(r->raw, -1, r->image.data + done,
                      left < piece ? left : piece) < 0)
            return false;
    }
    return is_asked_back(r);
}

static bool is_reopened_back(struct run *r)
{
    struct vfm_error err;

    return raw_reopen(r->raw, &err) == 0 &&
           (is_running(r) || is_asked_back(r) || is_reset_back(r) ||
            is_loaded_back(r));
}

static bool is_back(struct run *r)
{
    if (raw_is_broken(r->raw) && is_reopened_back(r))
        return true;
    return is_running(r) || is_asked_back(r) || is_reset_back(r) ||
           is_loaded_back(r) || is_reopened_back(r);
}

int run_bring_back(struct run *r)
{
    int64_t deadline = r->raw->deadline;
    uint32_t state = UINT32_MAX;
    int ret;

    run_close_session(r);
    r->raw->deadline = clock_deadline(BACK_TIMEOUT_MS);
    if (is_back(r)) {
        r->raw->deadline = deadline;
        return 0;
    }
    ret = raw_get_state(r->raw, &state);
    snprintf(
        r->lost, sizeof(r->lost),
        "the device could not be brought back to RUNNING after %s: it %s %s",
        r->now != NULL ? r->now->check->name : "it was opened",
        ret < 0 ? "says" : "stays in",
        ret < 0 ? step_errno(ret) : step_state_name(state));
    return -EIO;
}

static void learn_migration(struct run *r)
{
    uint64_t migration = r->migration & ~r->options->without;

    if ((migration & UAPI_MIGRATION_P2P) != 0)
        r->has |= NEEDS_P2P;
    if ((migration & UAPI_MIGRATION_PRE_COPY) != 0)
        r->has |= NEEDS_PRE_COPY;
}

/* vfio-user's text knows neither sizes; those who have one have both. */
static void learn_sizes(struct run *r)
{
    struct raw *raw = r->raw;

    if (raw_probe(raw, UAPI_FEATURE_DATA_SIZE, UAPI_FEATURE_GET))
        r->has |= NEEDS_DATA_SIZE;
    /* Its errors are for the checks. */
    if ((r->has & NEEDS_DATA_SIZE) != 0 &&
        raw_data_size(raw, &r->announced) < 0)
        r->announced = 0;
    if ((r->has & NEEDS_PRE_COPY) != 0 &&
        (raw->has_descriptors || (r->has & NEEDS_DATA_SIZE) != 0))
        r->has |= NEEDS_PRECOPY_INFO;
}

static void learn(struct run *r)
{
    struct uapi_device_info info = { .flags = 0 };
    struct raw *raw = r->raw;

    learn_migration(r);
    learn_sizes(r);
    if (raw_device_info(raw, &info) == 0 &&
        ((info.flags & UAPI_DEVICE_RESET) != 0 || raw_reset(raw) == 0))
        r->has |= NEEDS_RESET;
    if (raw_probe(raw, UAPI_FEATURE_LOG_START, UAPI_FEATURE_SET) &&
        raw_probe(raw, UAPI_FEATURE_LOG_REPORT, UAPI_FEATURE_GET))
        r->has |= NEEDS_LOG;
    if (raw->has_descriptors)
        r->has |= NEEDS_DESCRIPTORS;
    if (raw->ops->dma_map != NULL)
        r->has |= NEEDS_MAPPING;
    r->driver = driver_find(raw);
    if (r->driver != NULL)
        r->has |= NEEDS_DRIVER;
}

static int prepare(struct run *r, struct vfm_error *err)
{
    int ret;

    r->raw->deadline = clock_deadline(BACK_TIMEOUT_MS);
    ret = raw_migration(r->raw, &r->migration);
    if (ret < 0 && raw_is_broken(r->raw))
        return error_set(err, ret, "the device does not answer: %s",
                         strerror(-ret));
    if (ret < 0 || (r->migration & UAPI_MIGRATION_STOP_COPY) == 0)
        return error_set(err, -EOPNOTSUPP,
                         "the device cannot be migrated: it does not offer "
                         "VFIO_DEVICE_FEATURE_MIGRATION with STOP_COPY");
    ret = run_bring_back(r);
    if (ret < 0)
        return error_set(err, ret, "%s", r->lost);
    learn(r);
    return 0;
}

static const char too_silent[] =
    "the device did not answer in time in several checks before: run this one "
    "alone with --only";

/* Why @check cannot be run, or NULL. */
static const char *obstacle(const struct run *r, const struct check *check)
{
    if (r->lost[0] != '\0')
        return r->lost;
    if (r->options->is_cancelled != NULL && r->options->is_cancelled())
        return "cancelled";
    if (r->silent >= SILENT_MAX)
        return too_silent;
    for (size_t i = 0; i < NEEDS_COUNT; i++)
        if ((check->needs & needs[i].bit) != 0 && (r->has & needs[i].bit) == 0)
            return needs[i].why;
    return NULL;
}

/* A server that breaks the rules, is silent, or is gone: each is looked for
 * elsewhere. */
static void fail_broken(struct run *r)
{
    int error = r->raw->broken;

    if (error == -EPROTO)
        check_fail(r, "the connection broke: the server sent what is no answer "
                      "to what it was asked");
    else
        check_fail(r, "the connection broke: %s%s", step_errno(error),
                   error == -ETIMEDOUT ? "" : ": did the server crash?");
}

static void run_one(struct run *r)
{
    const struct check *check = r->now->check;
    const char *why = obstacle(r, check);
    int64_t start = clock_now();

    if (why != NULL) {
        r->is_given_up = r->is_given_up || why == too_silent;
        check_skip(r, "%s", why);
        return;
    }
    r->raw->deadline = clock_deadline(
        check->timeout_ms != 0 ? check->timeout_ms : CHECK_TIMEOUT_MS);
    check->run(r, check->arg);
    if (r->raw->broken == -ETIMEDOUT)
        r->silent++;
    if (raw_is_broken(r->raw))
        fail_broken(r);
    r->now->ns = clock_now() - start;
    if (run_bring_back(r) < 0)
        check_lose(r, r->lost);
}

static size_t count_all(void)
{
    size_t count = 0;

    for (const struct check_group *g = check_groups; g->name != NULL; g++)
        for (const struct check *c = g->checks; c->name != NULL; c++)
            count++;
    return count;
}

static void run_group(struct run *r, const struct check_group *group,
                      run_tell_fn *tell, void *opaque,
                      struct check_result *results, size_t *count)
{
    for (const struct check *c = group->checks; c->name != NULL; c++) {
        struct check_result *result = &results[*count];

        if (!check_is_selected(&r->options->selection, c->name, group->name))
            continue;
        *result = (struct check_result){ .check = c, .group = group };
        r->now = result;
        tell(opaque, c, NULL);
        run_one(r);
        tell(opaque, c, result);
        (*count)++;
    }
}

int run_checks(struct raw *raw, const struct run_options *options,
               run_tell_fn *tell, void *opaque, struct run_results *results,
               struct vfm_error *err)
{
    struct run r = { .raw = raw, .options = options, .fd = -1, .old_fd = -1 };
    int ret;

    *results = (struct run_results){ .count = 0 };
    /* One more: a table may be empty. */
    results->all = calloc(count_all() + 1, sizeof(*results->all));
    if (results->all == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    ret = prepare(&r, err);
    if (ret < 0) {
        free(results->all);
        results->all = NULL;
        return ret;
    }
    for (const struct check_group *g = check_groups; g->name != NULL; g++)
        run_group(&r, g, tell, opaque, results->all, &results->count);
    results->is_lost = r.lost[0] != '\0';
    results->is_given_up = r.is_given_up;
    image_free(&r.image);
    return 0;
}
