/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * From figures to a downtime.  Pure.
 *
 * What devices do by themselves they do at the same time: the slowest counts.
 * What they have to move shares the link and the processors: as far as those
 * have room it goes at the same time too, and beyond one after the other.
 */
#include <errno.h>

#include "predict.h"
#include "util/clock.h"
#include "util/error.h"

/* Round trips that stopped devices wait for: the end of their state and LOADED,
 * YOURS and RUNNING. */
#define HANDOVER_ROUND_TRIPS 2

/* A trial is cancelled after the first. */
#define TRIAL_ROUND_TRIPS    1

/* Single rates say nothing of how the parts get along: their times are added,
 * which is too much if they go on at the same time, and too little if they
 * stand in each other's way. */
#define RATES_LOW            0.5
#define RATES_HIGH           2.0

/* No two runs are the same, whatever the samples say. */
#define SPREAD_MIN           0.1

/* Nanoseconds are nine years then. */
#define WHOLE_MAX            ((double)(UINT64_C(1) << 58))

/* What one device takes; ns. */
struct share {
    double stop;
    double check;
    double start;
    double data;
    double bytes;
    double room; /* how many times as fast several could be, 1 at least */
    bool is_trial;
};

enum which { MEDIAN, MIN, MAX };

static double get(const struct predict_file *file, enum bench_figure figure,
                  enum which which)
{
    const struct bench_value *value = &file->values[figure];

    if (!value->is_known)
        return 0;
    return (double)(which == MEDIAN ? value->median
                    : which == MIN  ? value->min
                                    : value->max);
}

static bool knows(const struct predict_file *file, enum bench_figure figure)
{
    return file->values[figure].is_known;
}

static double positive(double x)
{
    return x > 0 ? x : 0;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* No sum of a few of them overflows. */
static uint64_t whole(double x)
{
    return x < WHOLE_MAX ? (uint64_t)x : (uint64_t)WHOLE_MAX;
}

static double time_for(double bytes, double bytes_per_sec)
{
    return bytes_per_sec > 0 ? bytes / bytes_per_sec * NS_PER_SEC : 0;
}

static struct predict_link link_of(const struct predict_input *in,
                                   const struct predict_file *file)
{
    struct predict_link link = in->link;

    if (!link.is_given)
        link = (struct predict_link){
            .rtt_ns = file->values[BENCH_RTT_NS].median,
            .bytes_per_sec = file->values[BENCH_LINK_RATE].median,
        };
    if (in->max_bandwidth > 0 &&
        (link.bytes_per_sec == 0 || link.bytes_per_sec > in->max_bandwidth))
        link.bytes_per_sec = in->max_bandwidth;
    return link;
}

static double room_of(const struct predict_file *file,
                      const struct predict_link *link,
                      const struct share *share)
{
    double busy = get(file, BENCH_TRIAL_BUSY, MEDIAN);
    double room = busy > 0 ? 1000 / busy : 1;
    double rate = share->data > 0 ? share->bytes / share->data * NS_PER_SEC : 0;

    if (rate > 0 && link->bytes_per_sec > 0 &&
        (double)link->bytes_per_sec / rate < room)
        room = (double)link->bytes_per_sec / rate;
    return room > 1 ? room : 1;
}

static struct share trial_share(const struct predict_file *file,
                                const struct predict_link *link,
                                enum which which)
{
    struct share share = {
        .stop = get(file, BENCH_TRIAL_STOP_NS, which),
        .check = get(file, BENCH_TRIAL_CHECK_NS, which),
        .start = get(file, BENCH_TRIAL_START_NS, which),
        .bytes = get(file, BENCH_TRIAL_BYTES, which),
        .is_trial = true,
    };

    share.data = positive(get(file, BENCH_TRIAL_STOPPED_NS, which) -
                          share.stop - share.check -
                          TRIAL_ROUND_TRIPS * get(file, BENCH_RTT_NS, which));
    share.data =
        larger(share.data, time_for(share.bytes, (double)link->bytes_per_sec));
    share.room = room_of(file, link, &share);
    return share;
}

/* Save, carry, load: one after the other. */
static struct share rates_share(const struct predict_file *file,
                                const struct predict_link *link,
                                enum which which)
{
    struct share share = {
        .stop = get(file, BENCH_STOP_NS, which),
        .check = get(file, BENCH_CHECK_NS, which),
        .start = get(file, BENCH_RUN_NS, which),
        .bytes = get(file, BENCH_STOP_COPY_BYTES, which),
        .room = 1,
    };

    share.data = time_for(share.bytes, get(file, BENCH_SAVE_RATE, MEDIAN)) +
                 time_for(share.bytes, (double)link->bytes_per_sec) +
                 time_for(share.bytes, get(file, BENCH_LOAD_RATE, MEDIAN));
    return share;
}

static bool has_trial(const struct predict_file *file)
{
    return knows(file, BENCH_TRIAL_STOPPED_NS) &&
           knows(file, BENCH_TRIAL_STOP_NS) &&
           knows(file, BENCH_TRIAL_CHECK_NS) &&
           knows(file, BENCH_TRIAL_START_NS) && knows(file, BENCH_TRIAL_BYTES);
}

/* All devices together. */
struct sum {
    double stop, check, start;
    double data;     /* one after the other */
    double data_max; /* the longest of one device */
    double room;     /* the least */
    double rtt;
    double bytes;
    double carried; /* how long the links take for them */
    bool is_trial;
    bool has_link;
};

static void add(struct sum *sum, const struct share *share, double devices)
{
    sum->stop = larger(sum->stop, share->stop);
    sum->check = larger(sum->check, share->check);
    sum->start = larger(sum->start, share->start);
    sum->data += share->data * devices;
    sum->data_max = larger(sum->data_max, share->data);
    sum->room = smaller(sum->room, share->room);
    sum->bytes += share->bytes * devices;
    sum->is_trial = sum->is_trial && share->is_trial;
}

static struct sum sum_up(const struct predict_input *in, enum which which)
{
    struct sum sum = { .room = PREDICT_DEVICES_MAX * PREDICT_DEVICES_MAX,
                       .is_trial = true,
                       .has_link = true };

    for (size_t i = 0; i < in->count; i++) {
        const struct predict_file *file = &in->files[i];
        struct predict_link link = link_of(in, file);
        struct share share = has_trial(file) ? trial_share(file, &link, which)
                                             : rates_share(file, &link, which);

        add(&sum, &share, in->devices);
        sum.rtt = larger(sum.rtt, (double)link.rtt_ns);
        sum.carried +=
            time_for(share.bytes * in->devices, (double)link.bytes_per_sec);
        sum.has_link = sum.has_link && link.bytes_per_sec > 0;
    }
    return sum;
}

/* As many at once as may, the others after them. */
static double arcs(const struct predict_input *in, const struct sum *sum)
{
    unsigned int n = in->devices * (unsigned int)in->count;
    unsigned int turns =
        in->parallel > 0 ? (n + in->parallel - 1) / in->parallel : 1;

    return turns * (sum->stop + sum->check + sum->start);
}

static double data(const struct sum *sum, double room)
{
    return larger(sum->data_max, sum->data / room);
}

static int check(const struct predict_input *in, struct vfm_error *err)
{
    for (size_t i = 0; i < in->count; i++) {
        const struct predict_file *file = &in->files[i];

        if (has_trial(file))
            continue;
        if (!knows(file, BENCH_STOP_COPY_BYTES) ||
            !knows(file, BENCH_SAVE_RATE) || !knows(file, BENCH_STOP_NS) ||
            !knows(file, BENCH_RUN_NS))
            return error_set(err, -EINVAL,
                             "no figures of a device that was running when it "
                             "was measured: 'vfmig bench -d DEVICE -o FILE' "
                             "while it is");
    }
    return 0;
}

int predict_compute(const struct predict_input *in, struct prediction *p,
                    struct vfm_error *err)
{
    struct sum mid = sum_up(in, MEDIAN);
    struct sum min = sum_up(in, MIN);
    struct sum max = sum_up(in, MAX);
    double handover = HANDOVER_ROUND_TRIPS * mid.rtt;
    double moved = data(&mid, mid.room);
    double ns = arcs(in, &mid) + moved + handover;
    double low, high;
    int ret = check(in, err);

    if (ret < 0)
        return ret;
    /* At best everything at the same time that a link can carry, at worst
     * nothing. */
    low = arcs(in, &min) + larger(min.data_max, min.carried) + handover;
    high = arcs(in, &max) + data(&max, 1) + handover;
    low = smaller(low, ns * (mid.is_trial ? 1 - SPREAD_MIN : RATES_LOW));
    high = larger(high, ns * (mid.is_trial ? 1 + SPREAD_MIN : RATES_HIGH));
    *p = (struct prediction){
        .device_ns = whole(arcs(in, &mid)),
        .data_ns = whole(moved),
        .link_ns = whole(handover),
        .bytes = whole(mid.bytes),
        .is_from_trial = mid.is_trial,
        .has_link = mid.has_link,
    };
    p->ns = p->device_ns + p->data_ns + p->link_ns;
    p->low_ns = whole(smaller(low, (double)p->ns));
    p->high_ns = whole(larger(high, (double)p->ns));
    /* Of large ones a double has not every digit. */
    if (p->low_ns > p->ns)
        p->low_ns = p->ns;
    if (p->high_ns < p->ns)
        p->high_ns = p->ns;
    return 0;
}
