/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A blob of the VMM's on its way: saved, carried, loaded; and everything that
 * can be wrong with it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "section/blob.h"
#include "util/error.h"

static struct vmm {
    ssize_t saves; /* what save() returns; the bytes are 'a' */
    int loads;
    bool speechless;
    uint32_t version;
    size_t len;
} vmm;

static ssize_t save(void *opaque, void *buf, size_t size, struct vfm_error *err)
{
    assert_ptr_equal(opaque, &vmm);
    memset(buf, 'a', size);
    if (vmm.saves < 0 && !vmm.speechless)
        error_set(err, (int)vmm.saves, "the clock has stopped");
    return vmm.saves;
}

static int load(void *opaque, uint32_t version, const void *data, size_t len,
                struct vfm_error *err)
{
    assert_ptr_equal(opaque, &vmm);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(((const char *)data)[i], 'a');
    vmm.version = version;
    vmm.len = len;
    if (vmm.loads < 0 && !vmm.speechless)
        error_set(err, vmm.loads, "there is no such clock");
    return vmm.loads;
}

static const struct vfm_blob good = { .size = sizeof(good),
                                      .name = "clock",
                                      .version = 3,
                                      .min_version = 2,
                                      .max_bytes = 100,
                                      .save = save,
                                      .load = load,
                                      .opaque = &vmm };

static struct blob *from, *to;
static struct vfm_error err;

static int setup(void **state)
{
    (void)state;
    vmm = (struct vmm){ .saves = 42 };
    memset(&err, 0, sizeof(err));
    assert_int_equal(blob_new(&good, false, &from, &err), 0);
    assert_int_equal(blob_new(&good, true, &to, &err), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    blob_free(from);
    blob_free(to);
    return 0;
}

static void carry(void)
{
    assert_int_equal(blob_begin(to, 3, from->len, &err), 0);
    blob_add(to, from->bytes, 1);
    blob_add(to, from->bytes + 1, from->len - 1);
}

static void what_is_saved_is_loaded(void **state)
{
    (void)state;
    assert_string_equal(from->section, "clock/vfmig-blob");
    assert_int_equal(blob_save(from, &err), 0);
    assert_int_equal(from->len, 42);
    carry();
    assert_false(to->came);
    assert_int_equal(blob_end(to, from->digest, &err), 0);
    assert_true(to->came);
    assert_int_equal(blob_load(to, &err), 0);
    assert_int_equal(vmm.version, 3);
    assert_int_equal(vmm.len, 42);
}

static void what_is_empty_is_a_blob(void **state)
{
    (void)state;
    vmm.saves = 0;
    assert_int_equal(blob_save(from, &err), 0);
    assert_int_equal(blob_begin(to, 2, 0, &err), 0);
    assert_int_equal(blob_end(to, from->digest, &err), 0);
    vmm.len = 7;
    assert_int_equal(blob_load(to, &err), 0);
    assert_int_equal(vmm.len, 0);
    assert_int_equal(vmm.version, 2);
}

static void a_vmm_that_cannot_save_says_why(void **state)
{
    (void)state;
    vmm.saves = -ENODEV;
    assert_int_equal(blob_save(from, &err), -ENODEV);
    assert_string_equal(err.message,
                        "clock: cannot be saved: the clock has stopped");
    vmm.speechless = true;
    assert_int_equal(blob_save(from, &err), -ENODEV);
    assert_string_equal(err.message, "clock: cannot be saved: No such device");
    /* Or it would be asked for ever. */
    vmm.saves = -EAGAIN;
    assert_int_equal(blob_save(from, &err), -EBUSY);
}

static void a_vmm_that_saves_more_than_it_said_is_refused(void **state)
{
    (void)state;
    vmm.saves = 101;
    assert_int_equal(blob_save(from, &err), -E2BIG);
    assert_string_equal(err.message,
                        "clock: says that it has 101 bytes, not 100");
    vmm.saves = 100;
    assert_int_equal(blob_save(from, &err), 0);
}

static void a_vmm_that_cannot_load_says_why(void **state)
{
    (void)state;
    assert_int_equal(blob_save(from, &err), 0);
    carry();
    vmm.loads = -EINVAL;
    assert_int_equal(blob_load(to, &err), -EINVAL);
    assert_string_equal(err.message,
                        "clock: cannot be loaded: there is no such clock");
}

static void a_byte_that_changed_is_noticed(void **state)
{
    (void)state;
    assert_int_equal(blob_save(from, &err), 0);
    from->bytes[41] ^= 1;
    carry();
    assert_int_equal(blob_end(to, from->digest, &err), -EBADMSG);
    assert_string_equal(err.message, "clock: was damaged on the way");
    assert_false(to->came);
}

static void what_the_target_cannot_take_is_refused(void **state)
{
    (void)state;
    assert_int_equal(blob_begin(to, 1, 42, &err), -EOPNOTSUPP);
    assert_int_equal(blob_begin(to, 4, 42, &err), -EOPNOTSUPP);
    assert_string_equal(err.message, "clock: the source's is of version 4, "
                                     "this VMM loads 2 to 3");
    assert_int_equal(blob_begin(to, 3, 101, &err), -E2BIG);
    assert_string_equal(err.message, "clock: the source's has 101 bytes, not "
                                     "100");
    assert_int_equal(blob_begin(to, 3, 100, &err), 0);
}

static void refuse(const struct vfm_blob *bad, bool loads)
{
    struct blob *blob = NULL;

    assert_true(blob_new(bad, loads, &blob, &err) < 0);
    assert_null(blob);
}

static void what_makes_no_blob_is_refused(void **state)
{
    char long_name[202] = { 0 };
    struct vfm_blob bad;

    (void)state;
    memset(long_name, 'x', 201);
    const char *names[] = { NULL, "", "a/b", "a b", "\n", long_name };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        bad = good;
        bad.name = names[i];
        refuse(&bad, true);
    }
    bad = good;
    bad.max_bytes = 0;
    refuse(&bad, true);
    bad.max_bytes = VFM_BLOB_BYTES_MAX + 1;
    refuse(&bad, true);
    bad = good;
    bad.min_version = 4;
    refuse(&bad, true);
    bad = good;
    bad.save = NULL;
    refuse(&bad, false);
    bad = good;
    bad.load = NULL;
    refuse(&bad, true);
    bad.size = 4;
    refuse(&bad, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_saved_is_loaded),
        TEST(what_is_empty_is_a_blob),
        TEST(a_vmm_that_cannot_save_says_why),
        TEST(a_vmm_that_saves_more_than_it_said_is_refused),
        TEST(a_vmm_that_cannot_load_says_why),
        TEST(a_byte_that_changed_is_noticed),
        TEST(what_the_target_cannot_take_is_refused),
        TEST(what_makes_no_blob_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
