/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * DEVICE_FEATURE: the migration states and DMA logging.
 */
#include <errno.h>

#include "emulator/command.h"
#include "emulator/misbehave.h"
#include "emulator/mutant-hooks.h"
#include "emulator/state.h"

#define GET   UAPI_FEATURE_GET
#define SET   UAPI_FEATURE_SET
#define PROBE UAPI_FEATURE_PROBE

/* The request without its struct vfu_feature, and the reply's room after a
 * copy of that. */
typedef int feature_handler(struct connection *c, const uint8_t *data,
                            size_t size, struct reply *rp);

static uint8_t *data_of(struct reply *rp)
{
    return rp->payload + sizeof(struct vfu_feature);
}

static bool is_libvfio_user(const struct device *d)
{
    return d->options->personality == PERSONALITY_LIBVFIO_USER;
}

static int get_migration(struct connection *c, const uint8_t *data, size_t size,
                         struct reply *rp)
{
    const struct device *d = c->device;
    uint64_t flags = UAPI_MIGRATION_STOP_COPY;

    (void)data;
    (void)size;
    if (device_has(d, FEATURE_PRE_COPY) || is_libvfio_user(d) ||
        mutant_is(d, MUTANT_CLAIMS_PRE_COPY))
        flags |= UAPI_MIGRATION_PRE_COPY;
    if (device_has(d, FEATURE_P2P) || mutant_is(d, MUTANT_CLAIMS_P2P))
        flags |= UAPI_MIGRATION_P2P;
    if (mutant_is(d, MUTANT_HIDES_P2P))
        flags &= ~UAPI_MIGRATION_P2P;
    memcpy(data_of(rp), &flags, sizeof(flags));
    rp->size += sizeof(flags);
    return 0;
}

static int get_state(struct connection *c, const uint8_t *data, size_t size,
                     struct reply *rp)
{
    struct vfu_feature_device_state s = {
        .state = mutant_told_state(c->device),
        .data_fd = UINT32_MAX,
    };

    (void)data;
    (void)size;
    memcpy(data_of(rp), &s, sizeof(s));
    rp->size += sizeof(s);
    return 0;
}

static int set_state(struct connection *c, const uint8_t *data, size_t size,
                     struct reply *rp)
{
    struct vfu_feature_device_state s;

    (void)size;
    (void)rp;
    memcpy(&s, data, sizeof(s));
    return device_set_state(c->device, s.state);
}

/* Of so many ranges, how many are kept; 0: everything is logged. */
static uint32_t ranges_kept(const struct device *d, uint32_t num_ranges)
{
    /* That library logs everything, whatever it is asked for. */
    if (is_libvfio_user(d) || mutant_is(d, MUTANT_LOG_RANGES_IGNORED))
        return 0;
    if (mutant_is(d, MUTANT_LOG_FIRST_RANGE_ONLY) && num_ranges > 1)
        return 1;
    return num_ranges;
}

/* Is a START while the log is on no error for the bug?  One that did not heed
 * a STOP begins anew. */
static bool mutant_is_logging_anyway(struct device *d)
{
    if (mutant_is(d, MUTANT_LOG_SURVIVES_STOP) && d->spoiled != 0) {
        log_stop(&d->dma);
        d->spoiled = 0;
    }
    return mutant_is(d, MUTANT_LOG_STARTS_TWICE) && d->dma.log.active;
}

static int start_log(struct connection *c, const uint8_t *data, size_t size,
                     struct reply *rp)
{
    struct vfu_feature_log_start start;
    struct vfu_log_range ranges[LOG_RANGES_MAX];
    size_t bytes;
    int ret;

    memcpy(&start, data, sizeof(start));
    bytes = (size_t)start.num_ranges * sizeof(ranges[0]);
    if (start.num_ranges > LOG_RANGES_MAX)
        return -E2BIG;
    if (start.reserved != 0 || bytes != size - sizeof(start))
        return -EINVAL;
    memcpy(ranges, data + sizeof(start), bytes);
    if (mutant_is_logging_anyway(c->device))
        return 0;
    ret = log_start(&c->device->dma, &start.page_size, ranges,
                    ranges_kept(c->device, start.num_ranges));
    memcpy(data_of(rp), &start, sizeof(start));
    return ret;
}

static int stop_log(struct connection *c, const uint8_t *data, size_t size,
                    struct reply *rp)
{
    (void)data;
    (void)size;
    (void)rp;
    if (mutant_is(c->device, MUTANT_LOG_SURVIVES_STOP))
        c->device->spoiled = c->device->dma.log.active;
    else
        log_stop(&c->device->dma);
    return 0;
}

static int report_log(struct connection *c, const uint8_t *data, size_t size,
                      struct reply *rp)
{
    struct vfu_feature_log_report r;
    uint64_t bytes;
    int ret;

    (void)size;
    memcpy(&r, data, sizeof(r));
    ret = personality_check_report(c, &r);
    if (ret != 0) {
        rp->size = 0;
        return ret < 0 ? ret : 0;
    }
    bytes = log_report_size(r.iova, r.length, r.page_size);
    if (bytes == 0)
        return -EINVAL;
    if (bytes > c->device->options->max_data_xfer || bytes > c->client_max_xfer)
        return -E2BIG;
    memcpy(data_of(rp), &r, sizeof(r));
    rp->size += sizeof(r) + bytes;
    if (mutant_is(c->device, MUTANT_LOG_REPORTS_UNSTARTED) &&
        !c->device->dma.log.active) {
        memset(data_of(rp) + sizeof(r), 0, bytes);
        return 0;
    }
    return log_report(&c->device->dma, r.iova, r.length, r.page_size,
                      data_of(rp) + sizeof(r));
}

static int get_data_size(struct connection *c, const uint8_t *data, size_t size,
                         struct reply *rp)
{
    uint64_t bytes;

    (void)data;
    (void)size;
    if (mutant_is(c->device, MUTANT_DATA_SIZE_REFUSED_IN_STOP) &&
        c->device->state == UAPI_STATE_STOP)
        return -EINVAL;
    device_advance(c->device);
    bytes = device_data_size(c->device);
    memcpy(data_of(rp), &bytes, sizeof(bytes));
    rp->size += sizeof(bytes);
    return 0;
}

static int set_precopy_info_v2(struct connection *c, const uint8_t *data,
                               size_t size, struct reply *rp)
{
    (void)data;
    (void)size;
    (void)rp;
    c->device->precopy_flags = true;
    return 0;
}

static const struct feature {
    const char *name;
    uint32_t number;
    uint32_t needs;    /* an ability that can be switched off */
    size_t get_size;   /* of the data in a GET's request, at least */
    size_t reply_size; /* of the data in its reply, at least */
    size_t set_size;
    feature_handler *get;
    feature_handler *set;
} features[] = {
    { "MIGRATION", UAPI_FEATURE_MIGRATION, FEATURE_STOP_COPY, 0, 8, 0,
      get_migration, NULL },
    { "DEVICE_STATE", UAPI_FEATURE_DEVICE_STATE, FEATURE_STOP_COPY, 0,
      sizeof(struct vfu_feature_device_state),
      sizeof(struct vfu_feature_device_state), get_state, set_state },
    { "LOG_START", UAPI_FEATURE_LOG_START, FEATURE_DMA_LOGGING, 0, 0,
      sizeof(struct vfu_feature_log_start), NULL, start_log },
    { "LOG_STOP", UAPI_FEATURE_LOG_STOP, FEATURE_DMA_LOGGING, 0, 0, 0, NULL,
      stop_log },
    { "LOG_REPORT", UAPI_FEATURE_LOG_REPORT, FEATURE_DMA_LOGGING,
      sizeof(struct vfu_feature_log_report),
      sizeof(struct vfu_feature_log_report), 0, report_log, NULL },
    { "DATA_SIZE", UAPI_FEATURE_DATA_SIZE, FEATURE_DATA_SIZE, 0, 8, 0,
      get_data_size, NULL },
    { "PRECOPY_INFO_V2", UAPI_FEATURE_PRECOPY_INFO_V2, FEATURE_REINIT, 0, 0, 0,
      NULL, set_precopy_info_v2 },
};

#define NUM_FEATURES (sizeof(features) / sizeof(features[0]))

int feature_parse(const char *name)
{
    for (size_t i = 0; i < NUM_FEATURES; i++)
        if (strcmp(name, features[i].name) == 0)
            return (int)features[i].number;
    return -EINVAL;
}

static bool read_request(const struct request *rq, struct vfu_feature *f)
{
    if (rq->command != VFU_DEVICE_FEATURE || rq->size < sizeof(*f))
        return false;
    memcpy(f, rq->payload, sizeof(*f));
    return true;
}

uint32_t feature_number(const struct request *rq)
{
    struct vfu_feature f;

    return read_request(rq, &f) ? f.flags & UAPI_FEATURE_MASK : 0;
}

bool feature_must_wait(const struct connection *c, const struct request *rq)
{
    struct vfu_feature_device_state s;
    struct vfu_feature f;

    if (!engine_is_waiting(c->device) || !read_request(rq, &f) ||
        f.flags != (UAPI_FEATURE_DEVICE_STATE | SET) ||
        rq->size < sizeof(f) + sizeof(s))
        return false;
    memcpy(&s, rq->payload + sizeof(f), sizeof(s));
    return !state_does_dma(s.state);
}

static const struct feature *find(const struct device *d, uint32_t number)
{
    for (size_t i = 0; i < NUM_FEATURES; i++)
        if (features[i].number == number && device_has(d, features[i].needs))
            return &features[i];
    return NULL;
}

/* May the flags be these, and the size? */
static int check_form(const struct device *d, const struct vfu_feature *f)
{
    const uint32_t known = UAPI_FEATURE_MASK | GET | SET | PROBE;

    if ((f->flags & ~known) != 0 &&
        !mutant_is(d, MUTANT_FEATURE_FLAGS_UNCHECKED))
        return -EINVAL;
    if (f->argsz < sizeof(*f) && !mutant_is(d, MUTANT_FEATURE_ARGSZ_UNCHECKED))
        return -EINVAL;
    return 0;
}

/* Would the feature do what the flags say? */
static int check(const struct device *d, const struct feature *feature,
                 const struct vfu_feature *f)
{
    uint32_t ops = f->flags & (GET | SET);

    if (((ops & GET) != 0 && feature->get == NULL &&
         !mutant_is(d, MUTANT_GET_OF_SET_ONLY)) ||
        ((ops & SET) != 0 && feature->set == NULL &&
         !mutant_is(d, MUTANT_SET_OF_GET_ONLY)))
        return -EINVAL;
    if ((f->flags & PROBE) == 0 && ops != GET && ops != SET &&
        !(mutant_is(d, MUTANT_FEATURE_GET_AND_SET) && ops == (GET | SET)))
        return -EINVAL;
    if (mutant_is(d, MUTANT_PROBE_DENIES) && (f->flags & PROBE) != 0 &&
        feature->number == UAPI_FEATURE_DATA_SIZE)
        return -ENOTTY;
    return check_form(d, f);
}

static int run(struct connection *c, const struct feature *feature,
               const struct vfu_feature *f, const struct request *rq,
               struct reply *rp)
{
    const uint8_t *data = rq->payload + sizeof(*f);
    size_t size = rq->size - sizeof(*f);
    struct vfu_feature head = *f;
    int ret;

    if ((f->flags & (GET | SET)) == SET) {
        if (size < feature->set_size || size > rp->room - sizeof(*f))
            return -EINVAL;
        /* The reply repeats the request. */
        memcpy(data_of(rp), data, size);
        rp->size += size;
        ret = feature->set != NULL ? feature->set(c, data, size, rp) : 0;
    } else {
        if (size < feature->get_size ||
            (f->argsz < sizeof(*f) + feature->reply_size &&
             !mutant_is(c->device, MUTANT_FEATURE_ARGSZ_UNCHECKED)))
            return -EINVAL;
        ret = feature->get != NULL ? feature->get(c, data, size, rp) : 0;
    }
    if (rp->size == 0)
        return ret; /* not even that: a habit of some */
    head.argsz = (uint32_t)rp->size;
    memcpy(rp->payload, &head, sizeof(head));
    return ret;
}

/* The whole answer to a probe. */
static int repeat_request(const struct request *rq, struct reply *rp)
{
    if (rq->size > rp->room)
        return -EINVAL;
    memcpy(rp->payload, rq->payload, rq->size);
    rp->size = rq->size;
    return 0;
}

static bool mutant_acts_on_probe(const struct device *d,
                                 const struct vfu_feature *f,
                                 const struct request *rq)
{
    return mutant_is(d, MUTANT_PROBE_ACTS) &&
           f->flags == (UAPI_FEATURE_DEVICE_STATE | SET | PROBE) &&
           rq->size >= sizeof(*f) + sizeof(struct vfu_feature_device_state);
}

int command_feature(struct connection *c, struct request *rq, struct reply *rp)
{
    const struct feature *feature;
    struct vfu_feature f;
    int ret;

    memcpy(&f, rq->payload, sizeof(f));
    feature = find(c->device, f.flags & UAPI_FEATURE_MASK);
    if (feature == NULL &&
        mutant_is(c->device, MUTANT_UNKNOWN_FEATURE_SUCCEEDS))
        return repeat_request(rq, rp);
    if (feature == NULL)
        return is_libvfio_user(c->device) ? -EINVAL : -ENOTTY;
    ret = check(c->device, feature, &f);
    if (ret < 0)
        return ret;
    rp->size = sizeof(f);
    if ((f.flags & PROBE) == 0 || mutant_acts_on_probe(c->device, &f, rq))
        return run(c, feature, &f, rq, rp);
    return repeat_request(rq, rp);
}
