/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vmdescription: written as QEMU writes it, read whoever wrote it, and
 * whatever.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stream/vmdescription.h"

#define NAME "0000:00:01.0/vfio"

static struct vmdescription_section section = { NAME, 0, 4213 };

static struct vmdescription_device device = {
    .section = NAME,
    .bytes = UINT64_C(1) << 40,
    .xxh3_128 = "00112233445566778899aabbccddeeff",
    .identity = {
        .backend = "vfio-user",
        .vendor = 0x1af4,
        .device = 0xffff,
        .subsystem_vendor = 1,
        .subsystem = 2,
        .revision = 0xff,
        .class_code = 0xffffff,
        .config_size = 4096,
        .msix_count = 2048,
    },
};

static const struct vmdescription ours = {
    .machine = "vfmig",
    .page_size = 4096,
    .sections = &section,
    .num_sections = 1,
    .has_vfmig = true,
    .version = "1.2 \"x\\y\"",
    .running = true,
    .devices = &device,
    .num_devices = 1,
};

static void a_device_is_described_as_qemu_does(void **state)
{
    struct vmdescription desc = ours;
    char *json;
    size_t len;

    (void)state;
    desc.has_vfmig = false;
    desc.machine = "pc-q35-10.0";
    assert_int_equal(vmdescription_build(&desc, &json, &len, NULL), 0);
    assert_string_equal(
        json,
        "{\"configuration\": {\"vmsd_name\": \"configuration\", \"version\": 1,"
        " \"fields\": [{\"name\": \"len\", \"type\": \"uint32\", \"size\": 4},"
        " {\"name\": \"name\", \"type\": \"buffer\", \"size\": 11}]},"
        " \"page_size\": 4096, \"devices\": [{\"name\": \"" NAME "\","
        " \"instance_id\": 0, \"size\": 4213, \"fields\": [{\"name\": \"data\","
        " \"size\": 4213, \"type\": \"buffer\"}]}]}");
    assert_int_equal(len, strlen(json));
    free(json);
}

static void what_we_write_we_read(void **state)
{
    struct vmdescription *back;
    char *json;
    size_t len;

    (void)state;
    assert_int_equal(vmdescription_build(&ours, &json, &len, NULL), 0);
    assert_int_equal(vmdescription_parse(json, len, &back, NULL), 0);
    free(json);
    assert_int_equal(back->page_size, 4096);
    assert_int_equal(back->num_sections, 1);
    assert_string_equal(back->sections[0].name, NAME);
    assert_int_equal(back->sections[0].bytes, 4213);
    assert_true(back->has_vfmig && back->running);
    assert_string_equal(back->version, ours.version);
    assert_int_equal(back->num_devices, 1);
    assert_string_equal(back->devices[0].section, NAME);
    assert_int_equal(back->devices[0].bytes, device.bytes);
    assert_string_equal(back->devices[0].xxh3_128, device.xxh3_128);
    assert_string_equal(back->devices[0].identity.backend, "vfio-user");
    assert_int_equal(back->devices[0].identity.vendor, 0x1af4);
    assert_int_equal(back->devices[0].identity.device, 0xffff);
    assert_int_equal(back->devices[0].identity.subsystem_vendor, 1);
    assert_int_equal(back->devices[0].identity.subsystem, 2);
    assert_int_equal(back->devices[0].identity.revision, 0xff);
    assert_int_equal(back->devices[0].identity.class_code, 0xffffff);
    assert_int_equal(back->devices[0].identity.config_size, 4096);
    assert_int_equal(back->devices[0].identity.msix_count, 2048);
    vmdescription_free(back);
}

static void digest_and_identity_are_optional(void **state)
{
    struct vmdescription_device unknown = { .section = NAME, .bytes = 5 };
    struct vmdescription desc = ours;
    struct vmdescription *back;
    char *json;
    size_t len;

    (void)state;
    desc.devices = &unknown;
    desc.version = NULL;
    assert_int_equal(vmdescription_build(&desc, &json, &len, NULL), 0);
    assert_int_equal(vmdescription_parse(json, len, &back, NULL), 0);
    assert_string_equal(back->devices[0].xxh3_128, "");
    assert_null(back->devices[0].identity.backend);
    vmdescription_free(back);
    free(json);
}

static void a_name_that_is_no_text_is_not_written(void **state)
{
    struct vmdescription_section bad = { "a\nb", 0, 1 };
    struct vmdescription desc = ours;
    char *json;
    size_t len;

    (void)state;
    desc.sections = &bad;
    assert_int_equal(vmdescription_build(&desc, &json, &len, NULL), -EINVAL);
}

/* ---------------------------------------------------------------------- */

static uint64_t bytes_of(const char *device_members)
{
    struct vmdescription *desc;
    struct vfm_error err;
    char json[1024];
    uint64_t bytes;
    int len = snprintf(json, sizeof(json),
                       "{\"devices\": [{\"name\": \"a\", \"instance_id\": 3, "
                       "%s}]}",
                       device_members);

    if (vmdescription_parse(json, (size_t)len, &desc, &err) < 0)
        fail_msg("%s", err.message);
    bytes = desc->sections[0].bytes;
    vmdescription_free(desc);
    return bytes;
}

static void a_length_is_the_sum_of_its_fields(void **state)
{
    (void)state;
    assert_int_equal(bytes_of("\"size\": 7, \"fields\": [{\"size\": 1}]"), 7);
    assert_int_equal(bytes_of("\"fields\": [{\"size\": 4}, {\"size\": 2}]"), 6);
    assert_int_equal(bytes_of("\"fields\": [{\"size\": 4, \"array_len\": 5}]"),
                     20);
    assert_int_equal(bytes_of("\"fields\": [{\"size\": 4, \"index\": 5}, "
                              "{\"size\": 4, \"index\": 6}]"),
                     8);
    assert_int_equal(bytes_of("\"vmsd_name\": \"a\""), 0);
}

/* The fields inside of a struct are part of its size. */
static void a_struct_is_not_counted_twice(void **state)
{
    (void)state;
    assert_int_equal(bytes_of("\"fields\": [{\"size\": 9, \"struct\": {"
                              "\"fields\": [{\"size\": 8}, {\"size\": 1}]}}]"),
                     9);
}

static void a_subsection_has_a_head(void **state)
{
    (void)state;
    assert_int_equal(bytes_of("\"fields\": [{\"size\": 1}], \"subsections\": ["
                              "{\"vmsd_name\": \"a/b\", \"fields\": ["
                              "{\"size\": 2}], \"subsections\": ["
                              "{\"vmsd_name\": \"a/b/c\"}]}]"),
                     1 + (2 + 3 + 4 + 2) + (2 + 5 + 4));
}

static void refused(const char *json, int code, const char *says)
{
    struct vmdescription *desc = NULL;
    struct vfm_error err;

    assert_int_equal(vmdescription_parse(json, strlen(json), &desc, &err),
                     code);
    assert_string_equal(err.message, says);
    assert_null(desc);
}

static void what_is_no_json_object_is_refused(void **state)
{
    static const char *const texts[] = {
        "",      "{",    "[]", "{}x",      "{\"a\"",   "{} {}",
        "\"a\"", "null", "1",  "{\"a\":1", "nonsense", "[\"a\\u0000b\"]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        refused(texts[i], -EBADMSG, "vmdescription: it is no JSON object");
}

static void devices_that_are_none_are_refused(void **state)
{
    static const char *const devices[] = {
        "1",
        "{}",
        "{\"name\": \"a\"}",
        "{\"name\": 1, \"instance_id\": 0}",
        "{\"name\": \"a\\u0001\", \"instance_id\": 0}",
        "{\"name\": \"\\u00e4\", \"instance_id\": 0}",
        "{\"name\": \"a\", \"instance_id\": -1}",
        "{\"name\": \"a\", \"instance_id\": 4294967296}",
        "{\"name\": \"a\", \"instance_id\": 0, \"size\": -1}",
        "{\"name\": \"a\", \"instance_id\": 0, \"size\": \"1\"}",
        "{\"name\": \"a\", \"instance_id\": 0, \"size\": 1e3}",
        "{\"name\": \"a\", \"instance_id\": 0, \"fields\": [{}]}",
        "{\"name\": \"a\", \"instance_id\": 0, \"fields\": [1]}",
        "{\"name\": \"a\", \"instance_id\": 0, \"fields\": [{\"size\": "
        "4611686018427387904, \"array_len\": 8}]}",
        "{\"name\": \"a\", \"instance_id\": 0, \"fields\": [{\"size\": "
        "9223372036854775807}, {\"size\": 9223372036854775807}, "
        "{\"size\": 2}]}",
        "{\"name\": \"a\", \"instance_id\": 0, \"subsections\": [{}]}",
    };
    char json[512];

    (void)state;
    refused("{}", -EBADMSG, "vmdescription: the list of devices is missing");
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        snprintf(json, sizeof(json), "{\"devices\": [%s]}", devices[i]);
        refused(json, -EBADMSG,
                "vmdescription: device 0 has no name, instance or size that "
                "can be read");
    }
}

static void our_own_object_must_have_its_form(void **state)
{
    static const char *const objects[] = {
        "1",
        "{}",
        "{\"version\": \"1\", \"running\": 1, \"devices\": []}",
        "{\"version\": 1, \"running\": true, \"devices\": []}",
        "{\"version\": \"1\", \"running\": true}",
        "{\"version\": \"1\", \"running\": true, \"devices\": [{}]}",
        "{\"version\": \"1\", \"running\": true, \"devices\": [{\"section\": "
        "\"a\", \"bytes\": 1, \"xxh3_128\": \"0\"}]}",
        "{\"version\": \"1\", \"running\": true, \"devices\": [{\"section\": "
        "\"a\", \"bytes\": 1, \"xxh3_128\": "
        "\"0011223344556677889900112233445G\"}]}",
        "{\"version\": \"1\", \"running\": true, \"devices\": [{\"section\": "
        "\"a\", \"bytes\": 1, \"identity\": {}}]}",
    };
    char json[512];

    (void)state;
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        snprintf(json, sizeof(json), "{\"devices\": [], \"vfmig\": %s}",
                 objects[i]);
        refused(json, -EBADMSG,
                "vmdescription: the object \"vfmig\": it has not the form it "
                "should have");
    }
}

static void deep_nesting_is_refused(void **state)
{
    char json[1000];

    (void)state;
    memset(json, '[', sizeof(json));
    memcpy(json, "{\"a\":", 5);
    json[sizeof(json) - 1] = '\0';
    refused(json, -E2BIG, "vmdescription: nested too deep");
}

/* Puts "{"a": [@value, ... @value]}" of @count values into @json. */
static void repeat(char *json, const char *value, size_t count)
{
    char *to = stpcpy(json, "{\"a\": [");

    for (size_t i = 0; i < count; i++) {
        to = stpcpy(to, value);
        *to++ = ',';
    }
    stpcpy(to - 1, "]}");
}

static void what_hides_brackets_is_no_json(void **state)
{
    static const char says[] = "vmdescription: it is no JSON object";

    (void)state;
    refused("{\"devices\": /*\"*/ []}", -EBADMSG, says);
    refused("{\"devices\": [], 'a\"': [[]]}", -EBADMSG, says);
}

static void memory_is_not_for_the_taking(void **state)
{
    const size_t count = 2 << 20;
    char *json = malloc(4 * count);

    (void)state;
    assert_non_null(json);
    repeat(json, "{}", VMDESCRIPTION_VALUES_MAX / 2);
    refused(json, -E2BIG, "vmdescription: too many values");
    repeat(json, "1", count);
    refused(json, -E2BIG, "vmdescription: too many values");
    free(json);
}

static void brackets_in_a_text_are_no_values(void **state)
{
    char *json = malloc(2 << 20);
    char *to;

    (void)state;
    assert_non_null(json);
    to = stpcpy(json, "{\"a\": \"\\\"");
    memset(to, '[', 1 << 20);
    strcpy(to + (1 << 20), "\"}");
    refused(json, -EBADMSG, "vmdescription: the list of devices is missing");
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_is_described_as_qemu_does),
        cmocka_unit_test(what_we_write_we_read),
        cmocka_unit_test(digest_and_identity_are_optional),
        cmocka_unit_test(a_name_that_is_no_text_is_not_written),
        cmocka_unit_test(a_length_is_the_sum_of_its_fields),
        cmocka_unit_test(a_struct_is_not_counted_twice),
        cmocka_unit_test(a_subsection_has_a_head),
        cmocka_unit_test(what_is_no_json_object_is_refused),
        cmocka_unit_test(devices_that_are_none_are_refused),
        cmocka_unit_test(our_own_object_must_have_its_form),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(memory_is_not_for_the_taking),
        cmocka_unit_test(brackets_in_a_text_are_no_values),
        cmocka_unit_test(what_hides_brackets_is_no_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
