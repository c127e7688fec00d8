/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VMM's own state: saved when everything has stopped, loaded before
 * anything runs, in the source's order, and not at all if it does not fit.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check/model.h"
#include "pair.h"
#include "util/error.h"

#define NUM_BLOBS 3
#define BIG       300000

static struct pair p;

static struct vmm {
    struct vfm_blob blobs[NUM_BLOBS];
    uint8_t bytes[NUM_BLOBS][BIG];
    size_t len[NUM_BLOBS];
    unsigned int calls;
    unsigned int order[NUM_BLOBS];
    uint32_t version[NUM_BLOBS];
    int error; /* of the second */
    bool is_source;
} vmms[2];

/* Which of the two, and which of its blobs. */
static struct vmm *find(void *opaque, unsigned int *i)
{
    struct vmm *v = opaque < (void *)&vmms[1] ? &vmms[0] : &vmms[1];

    *i = (unsigned int)((struct vfm_blob *)opaque - v->blobs);
    return v;
}

static ssize_t save(void *opaque, void *buf, size_t size, struct vfm_error *err)
{
    unsigned int i;
    struct vmm *v = find(opaque, &i);

    assert_false(model_runs(p.source.devices[0].state));
    assert_false(p.source.vm_runs);
    assert_int_equal(size, v->blobs[i].max_bytes);
    v->order[v->calls++] = i;
    if (i == 1 && v->error < 0)
        return v->error == -EAGAIN
                   ? v->error
                   : error_set(err, v->error, "cpu: is on fire");
    if (i == 1 && v->error > 0)
        return (ssize_t)size + v->error;
    memcpy(buf, v->bytes[i], v->len[i]);
    return (ssize_t)v->len[i];
}

static int load(void *opaque, uint32_t version, const void *data, size_t len,
                struct vfm_error *err)
{
    unsigned int i;
    struct vmm *v = find(opaque, &i);

    assert_false(model_runs(p.target.devices[0].state));
    assert_int_equal(p.target.vm_starts, 0);
    v->order[v->calls++] = i;
    v->version[i] = version;
    v->len[i] = len;
    memcpy(v->bytes[i], data, len);
    if (i == 1 && v->error != 0)
        return error_set(err, v->error, "cpu: of another make");
    return 0;
}

static void prepare(struct pair_side *side)
{
    struct vmm *v = &vmms[side->is_source ? 0 : 1];

    /* The target knows them in another order. */
    for (unsigned int n = 0; n < NUM_BLOBS; n++) {
        unsigned int i = side->is_source ? n : NUM_BLOBS - 1 - n;

        if (v->blobs[i].name != NULL)
            assert_int_equal(
                vfm_migration_add_blob(side->m, &v->blobs[i], NULL), 0);
    }
}

static void begin(void)
{
    static const struct vfm_blob blobs[NUM_BLOBS] = {
        { .name = "clock", .version = 1, .min_version = 1, .max_bytes = 8 },
        { .name = "cpu", .version = 3, .min_version = 2, .max_bytes = BIG },
        { .name = "nothing", .version = 0, .max_bytes = 100 },
    };

    memset(vmms, 0, sizeof(vmms));
    pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                        .num_devices = 1,
                                        .size = 30000,
                                        .config_size = 4096 });
    p.prepare = prepare;
    for (unsigned int s = 0; s < 2; s++)
        for (unsigned int i = 0; i < NUM_BLOBS; i++) {
            struct vfm_blob *blob = &vmms[s].blobs[i];

            *blob = blobs[i];
            blob->size = sizeof(*blob);
            blob->opaque = blob;
            blob->save = save;
            blob->load = load;
        }
    vmms[0].len[0] = 8;
    vmms[0].len[1] = BIG;
    for (unsigned int i = 0; i < NUM_BLOBS; i++)
        fake_pattern(vmms[0].bytes[i], vmms[0].len[i], 7 + i);
}

static void fail_with(int error, const char *why)
{
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.ret, error);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    if (strstr(p.source.err.message, why) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", why, p.source.err.message);
    assert_true(p.source.vm_runs);
    assert_int_equal(p.target.vm_starts, 0);
    pair_close(&p);
}

static void blobs_arrive_in_the_sources_order(void **state)
{
    (void)state;
    begin();
    pair_succeeds(&p);
    assert_int_equal(vmms[0].calls, NUM_BLOBS);
    assert_int_equal(vmms[1].calls, NUM_BLOBS);
    for (unsigned int i = 0; i < NUM_BLOBS; i++) {
        assert_int_equal(vmms[1].order[i], i);
        assert_int_equal(vmms[1].len[i], vmms[0].len[i]);
        assert_memory_equal(vmms[1].bytes[i], vmms[0].bytes[i], vmms[0].len[i]);
        assert_int_equal(vmms[1].version[i], vmms[0].blobs[i].version);
    }
    pair_close(&p);
}

static void an_older_version_is_loaded_as_such(void **state)
{
    (void)state;
    begin();
    vmms[0].blobs[1].version = 2;
    pair_succeeds(&p);
    assert_int_equal(vmms[1].version[1], 2);
    pair_close(&p);
}

static void a_version_that_is_too_new_is_refused_before_the_bulk(void **state)
{
    (void)state;
    begin();
    vmms[0].blobs[1].version = 4;
    fail_with(-EREMOTEIO, "is of version 4, this VMM loads 2 to 3");
    begin();
    vmms[0].blobs[1].version = vmms[0].blobs[1].min_version = 1;
    fail_with(-EREMOTEIO, "is of version 1, this VMM loads 2 to 3");
}

static void a_blob_that_one_side_does_not_know_is_refused(void **state)
{
    (void)state;
    begin();
    vmms[1].blobs[2].name = NULL;
    fail_with(-EREMOTEIO, "sends \"nothing\", which this VMM does not know");
    begin();
    vmms[0].blobs[2].name = NULL;
    fail_with(-EREMOTEIO, "does not send \"nothing\"");
}

static void a_blob_that_is_longer_than_the_target_takes_is_refused(void **state)
{
    (void)state;
    begin();
    vmms[1].blobs[1].max_bytes = BIG - 1;
    fail_with(-EREMOTEIO, "has 300000 bytes, not 299999");
}

static void a_blob_that_cannot_be_saved_ends_it(void **state)
{
    (void)state;
    begin();
    vmms[0].error = -EIO;
    fail_with(-EIO, "cpu: cannot be saved: cpu: is on fire");
}

/* It would be called again for ever. */
static void a_callback_that_wants_to_be_called_again_ends_it(void **state)
{
    (void)state;
    begin();
    vmms[0].error = -EAGAIN;
    fail_with(-EBUSY, "cpu: cannot be saved");
}

static void a_blob_that_is_longer_than_it_can_be_ends_it(void **state)
{
    (void)state;
    begin();
    vmms[0].error = 1;
    fail_with(-E2BIG, "says that it has 300001 bytes");
}

static void a_blob_that_cannot_be_loaded_goes_on_at_the_source(void **state)
{
    (void)state;
    begin();
    vmms[1].error = -EINVAL;
    fail_with(-EREMOTEIO, "cpu: cannot be loaded: cpu: of another make");
}

static void what_is_no_blob_is_not_taken(void **state)
{
    static const struct {
        struct vfm_blob blob;
        int error;
    } bad[] = {
        { { .name = NULL, .max_bytes = 1, .save = save }, -EINVAL },
        { { .name = "", .max_bytes = 1, .save = save }, -EINVAL },
        { { .name = "a/b", .max_bytes = 1, .save = save }, -EINVAL },
        { { .name = "a b", .max_bytes = 1, .save = save }, -EINVAL },
        { { .name = "cpu2", .max_bytes = 0, .save = save }, -EINVAL },
        { { .name = "cpu2", .max_bytes = VFM_BLOB_BYTES_MAX + 1, .save = save },
          -EINVAL },
        { { .name = "cpu2", .max_bytes = 1, .load = load }, -EINVAL },
        { { .name = "cpu2", .max_bytes = 1, .save = save, .min_version = 1 },
          -EINVAL },
        { { .name = "cpu", .max_bytes = 1, .save = save }, -EEXIST },
    };

    (void)state;
    begin();
    pair_begin(&p);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct vfm_blob blob = bad[i].blob;
        struct vfm_error err = { 0 };

        blob.size = sizeof(blob);
        assert_int_equal(vfm_migration_add_blob(p.source.m, &blob, &err),
                         bad[i].error);
        assert_int_equal(err.code, bad[i].error);
    }
    pair_end(&p);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blobs_arrive_in_the_sources_order),
        cmocka_unit_test(an_older_version_is_loaded_as_such),
        cmocka_unit_test(a_version_that_is_too_new_is_refused_before_the_bulk),
        cmocka_unit_test(a_blob_that_one_side_does_not_know_is_refused),
        cmocka_unit_test(
            a_blob_that_is_longer_than_the_target_takes_is_refused),
        cmocka_unit_test(a_blob_that_cannot_be_saved_ends_it),
        cmocka_unit_test(a_callback_that_wants_to_be_called_again_ends_it),
        cmocka_unit_test(a_blob_that_is_longer_than_it_can_be_ends_it),
        cmocka_unit_test(a_blob_that_cannot_be_loaded_goes_on_at_the_source),
        cmocka_unit_test(what_is_no_blob_is_not_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
