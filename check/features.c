/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the device says that it can do, and how it answers to questions that
 * are put wrong.
 */
#include <errno.h>

#include "check/groups.h"
#include "check/steps.h"

#define GET          UAPI_FEATURE_GET
#define SET          UAPI_FEATURE_SET
#define PROBE        UAPI_FEATURE_PROBE

#define UNKNOWN      0xfff0u
#define UNKNOWN_FLAG (UINT32_C(1) << 19)

static int run_flags_known(struct run *r, const void *arg)
{
    const uint64_t known =
        UAPI_MIGRATION_STOP_COPY | UAPI_MIGRATION_P2P | UAPI_MIGRATION_PRE_COPY;

    (void)arg;
    if ((r->migration & ~known) != 0)
        return check_fail(r,
                          "the flags are 0x%llx, of which 0x%llx mean "
                          "nothing",
                          (unsigned long long)r->migration,
                          (unsigned long long)(r->migration & ~known));
    return 0;
}

static int run_flags_constant(struct run *r, const void *arg)
{
    static const uint32_t states[] = { UAPI_STATE_STOP, UAPI_STATE_STOP_COPY };

    (void)arg;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        uint64_t flags;
        int ret;

        if (step_go(r, states[i]) != 0)
            return CHECK_OVER;
        ret = raw_migration(r->raw, &flags);
        if (ret < 0)
            return check_fail(r, "in %s it does not answer: %s",
                              step_state_name(states[i]), step_errno(ret));
        if (flags != r->migration)
            return check_fail(r,
                              "the flags are 0x%llx in RUNNING and 0x%llx "
                              "in %s",
                              (unsigned long long)r->migration,
                              (unsigned long long)flags,
                              step_state_name(states[i]));
    }
    return 0;
}

static int run_probes(struct run *r, const void *arg)
{
    static const struct {
        uint32_t flags;
        const char *name;
    } all[] = {
        { UAPI_FEATURE_MIGRATION | GET, "GET of MIGRATION" },
        { UAPI_FEATURE_DEVICE_STATE | GET, "GET of MIG_DEVICE_STATE" },
        { UAPI_FEATURE_DEVICE_STATE | SET, "SET of MIG_DEVICE_STATE" },
        { UAPI_FEATURE_DEVICE_STATE | GET | SET,
          "GET and SET of MIG_DEVICE_STATE" },
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct raw_feature f = { .flags = all[i].flags | PROBE };
        int ret = raw_feature(r->raw, &f);

        if (ret < 0)
            return check_fail(r, "a PROBE for %s gives %s", all[i].name,
                              step_errno(ret));
    }
    return 0;
}

static int run_probe_acts(struct run *r, const void *arg)
{
    struct uapi_device_state s = { .state = UAPI_STATE_STOP, .data_fd = -1 };
    struct raw_feature f = {
        .flags = UAPI_FEATURE_DEVICE_STATE | SET | PROBE,
        .data = &s,
        .size = sizeof(s),
    };

    (void)arg;
    raw_feature(r->raw, &f);
    return step_expect_state(r, UAPI_STATE_RUNNING);
}

/* vfio-user's text names no errno; that of the kernel is ENOTTY. */
static int judge_unknown(struct run *r, int ret)
{
    if (ret == 0)
        return check_fail(r, "feature 0x%x, which nobody knows, is there",
                          UNKNOWN);
    if (ret == -ENOTTY)
        return 0;
    if (!r->raw->has_descriptors)
        return check_found(r,
                           "an unknown feature is refused with %s and not "
                           "ENOTTY; clients take both",
                           step_errno(ret));
    return check_fail(r, "an unknown feature is refused with %s and not ENOTTY",
                      step_errno(ret));
}

static int run_unknown(struct run *r, const void *arg)
{
    uint64_t data = 0;
    struct raw_feature f = {
        .flags = UNKNOWN | *(const uint32_t *)arg,
        .data = &data,
        .size = sizeof(data),
    };

    return judge_unknown(r, raw_feature(r->raw, &f));
}

/* A request that has to be refused. */
struct wrong {
    uint32_t flags;
    uint32_t argsz;
    const char *what;
};

static int run_wrong(struct run *r, const void *arg)
{
    const struct wrong *wrong = arg;
    struct uapi_device_state s = { .state = UAPI_STATE_STOP, .data_fd = -1 };
    struct raw_feature f = {
        .flags = wrong->flags,
        .argsz = wrong->argsz,
        .data = &s,
        .size = sizeof(s),
    };
    int ret = raw_feature(r->raw, &f);

    if (ret == 0)
        return check_fail(r, "%s was accepted", wrong->what);
    if (ret != -EINVAL && r->raw->has_descriptors)
        return check_fail(r, "%s is refused with %s and not EINVAL",
                          wrong->what, step_errno(ret));
    return step_expect_state(r, UAPI_STATE_RUNNING);
}

static int run_large_argsz(struct run *r, const void *arg)
{
    uint64_t flags = 0;
    struct raw_feature f = {
        .flags = UAPI_FEATURE_MIGRATION | GET,
        .argsz = 4096,
        .data = &flags,
        .size = sizeof(flags),
    };
    int ret = raw_feature(r->raw, &f);

    (void)arg;
    if (ret < 0)
        return check_fail(r, "an argsz of 4096 for MIGRATION gives %s",
                          step_errno(ret));
    if (flags != r->migration)
        return check_fail(r, "with an argsz of 4096 the flags are 0x%llx",
                          (unsigned long long)flags);
    return 0;
}

static int run_offers_size(struct run *r, const void *arg)
{
    (void)arg;
    if ((r->has & NEEDS_DATA_SIZE) != 0)
        return 0;
    if (!r->raw->has_descriptors)
        return check_found(r, "the server has no MIG_DATA_SIZE, which is not "
                              "in the text of vfio-user: nobody can tell how "
                              "long the device will be stopped");
    return check_fail(r, "the device does not offer it");
}

/* Some are reset when asked and do not say so. */
static int run_resets(struct run *r, const void *arg)
{
    struct uapi_device_info info = { .flags = 0 };
    int ret = raw_device_info(r->raw, &info);

    (void)arg;
    if (ret < 0)
        return check_fail(r, "VFIO_DEVICE_GET_INFO gives %s", step_errno(ret));
    if ((info.flags & UAPI_DEVICE_RESET) != 0)
        return 0;
    if ((r->has & NEEDS_RESET) != 0)
        return check_found(r, "VFIO_DEVICE_FLAGS_RESET is not set, and a reset "
                              "works all the same");
    return check_fail(r, "the device does not offer it");
}

static int run_size_any_state(struct run *r, const void *arg)
{
    static const uint32_t states[] = { UAPI_STATE_RUNNING, UAPI_STATE_STOP,
                                       UAPI_STATE_STOP_COPY,
                                       UAPI_STATE_RESUMING };

    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        uint64_t bytes;
        int ret;

        if (step_go(r, states[i]) != 0)
            return CHECK_OVER;
        ret = raw_data_size(r->raw, &bytes);
        if (ret < 0)
            return check_fail(r, "MIG_DATA_SIZE in %s gives %s",
                              step_state_name(states[i]), step_errno(ret));
    }
    return 0;
}

static int run_log_complete(struct run *r, const void *arg)
{
    bool start = raw_probe(r->raw, UAPI_FEATURE_LOG_START, SET);
    bool stop = raw_probe(r->raw, UAPI_FEATURE_LOG_STOP, SET);
    bool report = raw_probe(r->raw, UAPI_FEATURE_LOG_REPORT, GET);

    (void)arg;
    if (start == stop && stop == report)
        return 0;
    return check_fail(
        r, "START %s, STOP %s, REPORT %s", start ? "is there" : "is missing",
        stop ? "is there" : "is missing", report ? "is there" : "is missing");
}

static const uint32_t get_access = GET;
static const uint32_t set_access = SET;

#define FEATURE_RULE(text) text " (linux/vfio.h, VFIO_DEVICE_FEATURE)"
#define FEATURE_LOOK                                     \
    "the checks at the head of the feature's function: " \
    "vfio_check_feature() for a driver of the kernel"

#define WRONG(name_, flags_, argsz_, what_, rule_)                           \
    {                                                                        \
        .name = name_, .severity = CHECK_MUST, .rule = FEATURE_RULE(rule_),  \
        .look = FEATURE_LOOK, .run = run_wrong, .arg = &(const struct wrong) \
        {                                                                    \
            flags_, argsz_, what_                                            \
        }                                                                    \
    }

const struct check checks_features[] = {
    { .name = "feature-flags-known",
      .severity = CHECK_SHOULD,
      .rule = "MIGRATION's flags are STOP_COPY, P2P and PRE_COPY "
              "(linux/vfio.h, struct vfio_device_feature_migration)",
      .look = "migration_flags of the device",
      .run = run_flags_known },
    { .name = "feature-flags-constant",
      .severity = CHECK_MUST,
      .rule = "What a device can do does not depend on the state it is in "
              "(linux/vfio.h, VFIO_DEVICE_FEATURE_MIGRATION)",
      .look = "whether MIGRATION is answered from a constant",
      .run = run_flags_constant },
    { .name = "feature-probe-answers",
      .severity = CHECK_MUST,
      .rule = FEATURE_RULE("A PROBE with GET or SET tells whether that is "
                           "supported"),
      .look = FEATURE_LOOK,
      .run = run_probes },
    { .name = "feature-probe-does-nothing",
      .severity = CHECK_MUST,
      .rule = FEATURE_RULE("A PROBE asks and never acts"),
      .look = "PROBE is tested for before the SET is done",
      .run = run_probe_acts },
    { .name = "feature-unknown-get",
      .severity = CHECK_MUST,
      .rule = FEATURE_RULE("An unknown feature is ENOTTY"),
      .look = FEATURE_LOOK,
      .run = run_unknown,
      .arg = &get_access },
    { .name = "feature-unknown-set",
      .severity = CHECK_MUST,
      .rule = FEATURE_RULE("An unknown feature is ENOTTY"),
      .look = FEATURE_LOOK,
      .run = run_unknown,
      .arg = &set_access },
    WRONG("feature-argsz-below-head", UAPI_FEATURE_MIGRATION | GET, 4,
          "an argsz of 4, less than the head",
          "An argsz that is too small is EINVAL"),
    WRONG("feature-argsz-without-data", UAPI_FEATURE_MIGRATION | GET, 8,
          "an argsz of 8, without room for MIGRATION's flags",
          "An argsz that is too small is EINVAL"),
    WRONG("feature-no-operation", UAPI_FEATURE_DEVICE_STATE, 0,
          "a feature without GET, SET or PROBE",
          "Without PROBE, exactly one of GET and SET is asked for"),
    WRONG("feature-get-and-set", UAPI_FEATURE_DEVICE_STATE | GET | SET, 0,
          "GET and SET at once, without PROBE",
          "Without PROBE, exactly one of GET and SET is asked for"),
    WRONG("feature-set-of-flags", UAPI_FEATURE_MIGRATION | SET, 0,
          "a SET of MIGRATION, which can only be read",
          "What is not supported is EINVAL"),
    WRONG("feature-flags-unknown", UAPI_FEATURE_MIGRATION | GET | UNKNOWN_FLAG,
          0, "a flag that there is not",
          "Flags other than GET, SET and PROBE are EINVAL"),
    { .name = "feature-get-of-log-stop",
      .severity = CHECK_MUST,
      .rule = FEATURE_RULE("What is not supported is EINVAL"),
      .look = FEATURE_LOOK,
      .needs = NEEDS_LOG,
      .run = run_wrong,
      .arg = &(const struct wrong){ UAPI_FEATURE_LOG_STOP | GET, 0,
                                    "a GET of LOG_STOP, which only acts" } },
    { .name = "feature-argsz-large",
      .severity = CHECK_MUST,
      .rule = FEATURE_RULE("argsz is at least what is needed; more is no "
                           "mistake"),
      .look = "argsz is compared by <, not by !=",
      .run = run_large_argsz },
    { .name = "feature-data-size-offered",
      .severity = CHECK_SHOULD,
      .rule = "MIG_DATA_SIZE lets a migration predict its downtime "
              "(linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE)",
      .look = "migration_get_data_size of the driver's operations",
      .run = run_offers_size },
    { .name = "feature-data-size-in-every-state",
      .severity = CHECK_MUST,
      .rule = "MIG_DATA_SIZE is an estimate that may be asked for in any "
              "state (linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE)",
      .look = "what migration_get_data_size asks of a device that is stopped",
      .needs = NEEDS_DATA_SIZE,
      .run = run_size_any_state },
    { .name = "feature-reset-offered",
      .severity = CHECK_SHOULD,
      .rule = "A reset is the only way out of ERROR (linux/vfio.h, "
              "VFIO_DEVICE_STATE_ERROR)",
      .look = "VFIO_DEVICE_FLAGS_RESET in the answer to VFIO_DEVICE_GET_INFO",
      .run = run_resets },
    { .name = "feature-log-complete",
      .severity = CHECK_MUST,
      .rule = "DMA logging is START, REPORT and STOP; one without the others "
              "is of no use (linux/vfio.h, "
              "VFIO_DEVICE_FEATURE_DMA_LOGGING_START)",
      .look = "the probes of the three features",
      .run = run_log_complete },
    { .name = NULL },
};
