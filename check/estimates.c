/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device says of how much is left, against what then came.
 *
 * Estimates may be wrong; those that are far off make a migration stop the
 * machine too early, or never.
 */
#include <errno.h>
#include <inttypes.h>

#include "check/rig.h"
#include "check/driver.h"
#include "check/groups.h"
#include "check/steps.h"

#define ENOUGH       ((size_t)256 << 20)
/* An estimate is near if it is within this factor of the truth, or this many
 * bytes. */
#define FACTOR       2
#define SLACK        ((uint64_t)1 << 20)

/* What a device rewrites, in bytes per second, and for how long. */
#define REWRITE_RATE (UINT64_C(64) << 20)
#define REWRITE_MS   5

static bool is_near(uint64_t said, uint64_t came)
{
    uint64_t more = said > came ? said : came;
    uint64_t less = said > came ? came : said;

    return more - less <= SLACK || more / FACTOR <= less;
}

static int size_now(struct run *r, uint64_t *bytes)
{
    int ret = raw_data_size(r->raw, bytes);

    return ret < 0 ? check_fail(r, "MIG_DATA_SIZE gives %s", step_errno(ret))
                   : 0;
}

/* The size that is said in a state before the session, or in it. */
static int run_size(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    uint64_t said = 0;
    int ret = step_go(r, *(const uint32_t *)arg);

    if (ret == 0)
        ret = size_now(r, &said);
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_STOP_COPY);
    if (ret == 0)
        ret = step_read_all(r, &image, 0);
    if (ret == 0 && !is_near(said, image.size))
        ret = check_fail(r,
                         "%" PRIu64 " bytes were announced in %s, and %zu "
                         "came",
                         said, step_state_name(*(const uint32_t *)arg),
                         image.size);
    image_free(&image);
    return ret;
}

/* stop_copy_length is what is left to be read in STOP_COPY. */
static int run_size_after_precopy(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    uint64_t said = 0;
    int ret = step_go(r, UAPI_STATE_PRE_COPY);

    (void)arg;
    if (ret == 0)
        ret = step_read_precopy(r, &image, ENOUGH);
    if (ret == 0)
        ret = size_now(r, &said);
    image.size = 0;
    if (ret == 0)
        ret = step_set(r, UAPI_STATE_STOP_COPY);
    if (ret == 0)
        ret = step_read_all(r, &image, 0);
    if (ret == 0 && !is_near(said, image.size))
        ret = check_fail(r,
                         "after all of PRE_COPY %" PRIu64 " bytes were "
                         "announced, and %zu came",
                         said, image.size);
    image_free(&image);
    return ret;
}

static int run_size_falls(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    uint64_t before = 0;
    uint64_t after = 0;
    int ret = step_go(r, UAPI_STATE_STOP_COPY);

    (void)arg;
    if (ret == 0)
        ret = size_now(r, &before);
    if (ret == 0)
        ret = step_read_all(r, &image, 0);
    if (ret == 0)
        ret = size_now(r, &after);
    if (ret == 0 && after > before)
        ret = check_fail(r,
                         "%" PRIu64 " bytes are left at the end of the "
                         "session, and %" PRIu64 " were at its beginning",
                         after, before);
    if (ret == 0 && after == before && before > SLACK)
        ret = check_found(r, "the size does not fall while the state is read");
    image_free(&image);
    return ret;
}

/* How servers say that they do not know of it. */
static bool is_unknown(int ret)
{
    return ret == -EINVAL || ret == -ENOTTY || ret == -EOPNOTSUPP ||
           ret == -ENOSYS;
}

static int info_now(struct run *r, struct uapi_precopy_info *info)
{
    int ret = raw_precopy_info(r->raw, r->fd, info);

    if (is_unknown(ret) && !r->raw->has_descriptors)
        return check_skip(r, "the server gives no PRECOPY_INFO: %s",
                          step_errno(ret));
    return ret < 0 ? check_fail(r, "PRECOPY_INFO gives %s", step_errno(ret))
                   : 0;
}

static int run_info(struct run *r, const void *arg)
{
    struct uapi_precopy_info info;

    if (step_go(r, *(const uint32_t *)arg) != 0 || info_now(r, &info) != 0)
        return CHECK_OVER;
    if (info.initial_bytes > IMAGE_MAX || info.dirty_bytes > IMAGE_MAX)
        return check_fail(r,
                          "initial_bytes is %" PRIu64
                          " and dirty_bytes %" PRIu64
                          ": a counter that ran below 0?",
                          info.initial_bytes, info.dirty_bytes);
    return 0;
}

/* In a state where it makes no sense. */
static int run_info_refused(struct run *r, const void *arg)
{
    uint32_t state = *(const uint32_t *)arg;
    struct uapi_precopy_info info;
    int ret;
    int fd;

    if (step_have_image(r) != 0 || step_go(r, UAPI_STATE_PRE_COPY) != 0 ||
        info_now(r, &info) != 0)
        return CHECK_OVER;
    if (step_go(r, state) != 0)
        return CHECK_OVER;
    fd = r->fd >= 0 ? r->fd : r->old_fd;
    ret = raw_precopy_info(r->raw, fd, &info);
    if (ret == 0)
        return check_fail(r, "PRECOPY_INFO is answered in %s",
                          step_state_name(state));
    if (state == UAPI_STATE_STOP_COPY && ret != -EINVAL)
        return check_fail(r,
                          "PRECOPY_INFO in STOP_COPY gives %s and not "
                          "EINVAL",
                          step_errno(ret));
    return step_expect_state(r, state);
}

/* Reading makes it less, at the end nothing is left of the initial bytes. */
static int run_info_falls(struct run *r, const void *arg)
{
    struct uapi_precopy_info before = { .argsz = 0 };
    struct uapi_precopy_info after = { .argsz = 0 };
    struct image image = { .data = NULL };
    int ret = step_go(r, UAPI_STATE_PRE_COPY);

    (void)arg;
    if (ret == 0)
        ret = info_now(r, &before);
    if (ret == 0)
        ret = step_read_precopy(r, &image, ENOUGH);
    if (ret == 0)
        ret = info_now(r, &after);
    if (ret == 0 && after.initial_bytes > before.initial_bytes)
        ret = check_fail(r,
                         "initial_bytes rose from %" PRIu64 " to %" PRIu64
                         " while the session was read",
                         before.initial_bytes, after.initial_bytes);
    if (ret == 0 && image.size < ENOUGH && after.initial_bytes != 0)
        ret = check_fail(r,
                         "initial_bytes is %" PRIu64 " where nothing comes "
                         "any more",
                         after.initial_bytes);
    image_free(&image);
    return ret;
}

/* What is announced can be read.  More may come of a device that goes on
 * writing, but not of one that had nothing. */
static bool is_true(uint64_t said, uint64_t came)
{
    return is_near(said, came) || (said != 0 && said < came);
}

static int run_info_true(struct run *r, const void *arg)
{
    struct uapi_precopy_info info = { .argsz = 0 };
    struct image image = { .data = NULL };
    int ret = step_go(r, UAPI_STATE_PRE_COPY);
    uint64_t said;

    (void)arg;
    if (ret == 0)
        ret = info_now(r, &info);
    said = info.initial_bytes + info.dirty_bytes;
    if (ret == 0)
        ret = step_read_precopy(r, &image, ENOUGH);
    if (ret == 0 && said <= ENOUGH && image.size < ENOUGH &&
        !is_true(said, image.size))
        ret = check_fail(r,
                         "initial_bytes %" PRIu64 " and dirty_bytes %" PRIu64
                         " were announced, and %zu bytes came",
                         info.initial_bytes, info.dirty_bytes, image.size);
    image_free(&image);
    return ret;
}

static int rewrite(struct run *r, uint64_t rate)
{
    int ret = r->driver->rewrite(r->raw, rate);

    return ret < 0
               ? rig_driver_failed(r, ret, "let the device rewrite its memory")
               : 0;
}

/* All was read; then the device wrote more. */
static int run_dirty_told(struct run *r, const void *arg)
{
    struct uapi_precopy_info info = { .argsz = 0 };
    struct image image = { .data = NULL };
    int ret;

    (void)arg;
    if (r->driver->rewrite == NULL)
        return check_skip(r, "the driver of %s changes no memory",
                          r->driver->name);
    ret = step_go(r, UAPI_STATE_PRE_COPY);
    if (ret == 0)
        ret = step_read_precopy(r, &image, ENOUGH);
    if (ret == 0)
        ret = rewrite(r, REWRITE_RATE);
    if (ret == 0) {
        rig_sleep_ms(REWRITE_MS);
        ret = rewrite(r, 0);
    }
    if (ret == 0)
        ret = info_now(r, &info);
    image.size = 0;
    if (ret == 0 && info.initial_bytes + info.dirty_bytes == 0 &&
        step_read_precopy(r, &image, ENOUGH) == 0)
        ret = image.size == 0
                  ? check_skip(r, "the device rewrites nothing")
                  : check_fail(r, "nothing was announced, and %zu bytes came",
                               image.size);
    image_free(&image);
    return ret;
}

static int run_info_part(struct run *r, const void *arg)
{
    struct uapi_precopy_info before = { .argsz = 0 };
    struct uapi_precopy_info after = { .argsz = 0 };
    struct image image = { .data = NULL };
    int ret = step_go(r, UAPI_STATE_PRE_COPY);

    (void)arg;
    if (ret == 0)
        ret = info_now(r, &before);
    if (ret == 0 && before.initial_bytes < 2)
        ret = check_skip(r, "the device has no initial bytes");
    if (ret == 0)
        ret = step_read_precopy(r, &image, (size_t)before.initial_bytes / 2);
    if (ret == 0)
        ret = info_now(r, &after);
    if (ret == 0 && after.initial_bytes > before.initial_bytes - image.size)
        ret = check_fail(r,
                         "initial_bytes was %" PRIu64 "; after %zu bytes it "
                         "is %" PRIu64,
                         before.initial_bytes, image.size, after.initial_bytes);
    if (ret == 0 && after.initial_bytes == 0 && image.size > 0 &&
        before.initial_bytes - image.size > SLACK)
        ret = check_fail(r,
                         "initial_bytes was %" PRIu64 "; after %zu bytes it "
                         "is 0",
                         before.initial_bytes, image.size);
    image_free(&image);
    return ret;
}

static const uint32_t running = UAPI_STATE_RUNNING;
static const uint32_t stop = UAPI_STATE_STOP;
static const uint32_t stop_copy = UAPI_STATE_STOP_COPY;
static const uint32_t resuming = UAPI_STATE_RESUMING;
static const uint32_t pre_copy = UAPI_STATE_PRE_COPY;
static const uint32_t pre_copy_p2p = UAPI_STATE_PRE_COPY_P2P;

#define SIZE_RULE                                                          \
    "stop_copy_length is an estimate of what has to be read in STOP_COPY " \
    "(linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE)"
#define INFO_RULE(text) text " (linux/vfio.h, VFIO_MIG_GET_PRECOPY_INFO)"
#define INFO_LOOK       "where initial_bytes and dirty_bytes are counted down"

#define SIZE(name_, arg_)                                                \
    {                                                                    \
        .name = name_, .severity = CHECK_SHOULD, .rule = SIZE_RULE,      \
        .look = "how migration_get_data_size counts: what of the state " \
                "is not in it, or twice",                                \
        .needs = NEEDS_DATA_SIZE, .run = run_size, .arg = arg_           \
    }

#define REFUSED(name_, arg_)                                              \
    {                                                                     \
        .name = name_, .severity = CHECK_MUST,                            \
        .rule = INFO_RULE("Anywhere but in PRE_COPY and PRE_COPY_P2P "    \
                          "this is EINVAL"),                              \
        .look = "whether the state is looked at before the answer",       \
        .needs = NEEDS_PRECOPY_INFO, .run = run_info_refused, .arg = arg_ \
    }

const struct check checks_estimates[] = {
    SIZE("estimate-size-in-RUNNING", &running),
    SIZE("estimate-size-in-STOP", &stop),
    SIZE("estimate-size-in-STOP_COPY", &stop_copy),
    { .name = "estimate-size-after-PRE_COPY",
      .severity = CHECK_SHOULD,
      .rule = SIZE_RULE,
      .look = "whether what was read in PRE_COPY is still counted",
      .needs = NEEDS_DATA_SIZE | NEEDS_PRE_COPY,
      .run = run_size_after_precopy },
    { .name = "estimate-size-falls-in-STOP_COPY",
      .severity = CHECK_SHOULD,
      .rule = SIZE_RULE,
      .look = "whether what was read is still counted",
      .needs = NEEDS_DATA_SIZE,
      .run = run_size_falls },
    { .name = "estimate-info-in-PRE_COPY",
      .severity = CHECK_MUST,
      .rule = INFO_RULE("It is answered in PRE_COPY"),
      .look = "the ioctl of the session's file operations",
      .needs = NEEDS_PRECOPY_INFO,
      .run = run_info,
      .arg = &pre_copy },
    { .name = "estimate-info-in-PRE_COPY_P2P",
      .severity = CHECK_MUST,
      .rule = INFO_RULE("It is answered in PRE_COPY_P2P"),
      .look = "whether PRE_COPY_P2P is treated as PRE_COPY",
      .needs = NEEDS_PRECOPY_INFO | NEEDS_P2P,
      .run = run_info,
      .arg = &pre_copy_p2p },
    REFUSED("estimate-info-refused-in-RUNNING", &running),
    REFUSED("estimate-info-refused-in-STOP", &stop),
    REFUSED("estimate-info-refused-in-STOP_COPY", &stop_copy),
    REFUSED("estimate-info-refused-in-RESUMING", &resuming),
    { .name = "estimate-info-is-what-comes",
      .severity = CHECK_SHOULD,
      .rule = INFO_RULE("initial_bytes and dirty_bytes estimate what can be "
                        "read now"),
      .look = INFO_LOOK,
      .needs = NEEDS_PRECOPY_INFO,
      .run = run_info_true },
    { .name = "estimate-dirty-bytes-are-told",
      .severity = CHECK_MUST,
      .rule = INFO_RULE("dirty_bytes tells what has changed and can be read "
                        "again"),
      .look = INFO_LOOK,
      .needs = NEEDS_PRECOPY_INFO | NEEDS_DRIVER,
      .run = run_dirty_told },
    { .name = "estimate-initial-bytes-follow-the-reads",
      .severity = CHECK_MUST,
      .rule = INFO_RULE("initial_bytes is what is left of the initial data, "
                        "and only falls"),
      .look = INFO_LOOK,
      .needs = NEEDS_PRECOPY_INFO,
      .run = run_info_part },
    { .name = "estimate-initial-bytes-end-at-0",
      .severity = CHECK_MUST,
      .rule = INFO_RULE("initial_bytes only falls, and is 0 when the initial "
                        "data has been read"),
      .look = INFO_LOOK,
      .needs = NEEDS_PRECOPY_INFO,
      .run = run_info_falls },
    { .name = NULL },
};
