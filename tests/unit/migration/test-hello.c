/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hello and its answer: their frame, what is refused, and that nothing that
 * may stand in JSON does harm.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "migration/hello.h"
#include "pair.h"
#include "util/bytes.h"

static struct vfm_channel *channel;
static struct vfm_migration *source;
static struct vfm_migration *target;
static struct fake_device devices[2];
static struct vfm_error err;
static int peer;

static struct vfm_migration *make(enum vfm_role role, const char *machine)
{
    const struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = role,
        .machine = machine,
    };
    struct vfm_migration *m;

    assert_int_equal(vfm_migration_new(channel, &options, &m, NULL), 0);
    return m;
}

static int set_up(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    assert_int_equal(vfm_channel_from_fd(fds[0], "peer", NULL, &channel, NULL),
                     0);
    peer = fds[1];
    source = make(VFM_ROLE_SOURCE, NULL);
    target = make(VFM_ROLE_TARGET, NULL);
    for (int i = 0; i < 2; i++) {
        fake_open(&devices[i], "fake", PAIR_ALL);
        fake_set_config(&devices[i], 256);
    }
    vfm_migration_add_device(source, devices[0].dev, "a", NULL);
    vfm_migration_add_device(target, devices[1].dev, "a", NULL);
    err = (struct vfm_error){ 0 };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vfm_migration_close(source);
    vfm_migration_close(target);
    vfm_channel_close(channel);
    close(peer);
    fake_close(&devices[0]);
    fake_close(&devices[1]);
    return 0;
}

static int check(const char *json)
{
    return hello_check(target, json, strlen(json), &err);
}

static void refused(const char *json, int code, const char *why)
{
    if (check(json) != code || strcmp(err.message, why) != 0)
        fail_msg("%s: %d: %s", json, err.code, err.message);
    target->members[0]->announced = false;
}

static void a_hello_has_this_frame(void **state)
{
    static const char json[] =
        "{\"requires\":[\"handover-1\"],\"devices\":[{\"id\":\"a\","
        "\"backend\":\"fake\",\"vendor\":22150,\"device\":19780,"
        "\"subsystem-vendor\":0,\"subsystem\":0,\"revision\":0,\"class\":0,"
        "\"config-size\":256,\"msix\":8}],\"version\":\"" VFMIG_VERSION
        "\",\"machine\":\"vfmig\",\"running\":true,\"ready\":true}";
    char *frame;
    size_t len;

    (void)state;
    assert_int_equal(hello_build(source, &frame, &len, &err), 0);
    assert_int_equal(len, 12 + sizeof(json) - 1);
    assert_memory_equal(frame, "VFMG\0\1\0\0", 8);
    assert_int_equal(get_be32(frame + 8), sizeof(json) - 1);
    assert_memory_equal(frame + 12, json, sizeof(json) - 1);
    free(frame);
}

static void a_hello_of_the_same_device_is_accepted(void **state)
{
    char *frame;
    size_t len;

    (void)state;
    assert_int_equal(hello_build(source, &frame, &len, &err), 0);
    assert_int_equal(hello_check(target, frame + 12, len - 12, &err), 0);
    assert_true(target->target.source_running);
    assert_true(target->target.tells_ready);
    free(frame);
}

static void a_device_without_configuration_space_takes_any(void **state)
{
    char *frame;
    size_t len;

    (void)state;
    devices[1].dev->info.config_size = 0;
    devices[0].dev->info.vendor_id = 1;
    assert_int_equal(hello_build(source, &frame, &len, &err), 0);
    assert_int_equal(hello_check(target, frame + 12, len - 12, &err), 0);
    free(frame);
}

/* Every number that makes the device another one. */
static void another_kind_of_device_is_refused_by_what_differs(void **state)
{
    struct vfm_device_info *info = &devices[0].dev->info;
    const struct vfm_device_info same = *info;
    static const char *const names[] = {
        "vendor id",
        "device id",
        "subsystem vendor id",
        "subsystem id",
        "revision",
        "class",
        "size of configuration space",
        "number of MSI-X entries",
    };

    (void)state;
    for (int i = 0; i < 8; i++) {
        char why[128];
        char *frame;
        size_t len;

        *info = same;
        info->vendor_id ^= i == 0;
        info->device_id ^= i == 1;
        info->subsystem_vendor_id ^= i == 2;
        info->subsystem_id ^= i == 3;
        info->revision_id ^= i == 4;
        info->class_code ^= i == 5;
        info->config_size ^= i == 6;
        info->msix_count ^= i == 7;
        assert_int_equal(hello_build(source, &frame, &len, &err), 0);
        assert_int_equal(hello_check(target, frame + 12, len - 12, &err),
                         -ENODEV);
        snprintf(why, sizeof(why),
                 "a: another kind of device: the source's %s is 0x", names[i]);
        assert_memory_equal(err.message, why, strlen(why));
        target->members[0]->announced = false;
        free(frame);
    }
}

static void a_hello_that_comes_byte_by_byte_is_one(void **state)
{
    struct inbox in;
    const char *json;
    char *frame;
    size_t len;
    size_t got;

    (void)state;
    assert_int_equal(inbox_init(&in, 4096), 0);
    assert_int_equal(hello_build(source, &frame, &len, &err), 0);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(hello_next(&in, &json, &got, &err), 0);
        in.buf[in.end++] = (uint8_t)frame[i];
    }
    in.buf[in.end++] = 'x';
    assert_int_equal(hello_next(&in, &json, &got, &err), 1);
    assert_int_equal(got, len - 12);
    assert_memory_equal(json, frame + 12, got);
    assert_int_equal(inbox_len(&in), 1);
    free(frame);
    inbox_close(&in);
}

static void a_frame_that_is_none_is_refused_at_once(void **state)
{
    static const struct {
        char bytes[12];
        const char *why;
    } frames[] = {
        { "QEVM\0\0\0\3\x07\0\0\0", "begins without one, as a QEMU's" },
        { "GET / HTTP/", "begins with 0x47455420, so the peer is no vfmig" },
        { "VFMG\0\2\0\0\0\0\0\1", "hello: version 2, not 1" },
        { "VFMG\0\1\0\0\0\x08\0\1", "hello: 524289 bytes are too long" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct inbox in;
        const char *json;
        size_t len;

        assert_int_equal(inbox_init(&in, 64), 0);
        memcpy(in.buf, frames[i].bytes, 12);
        in.end = 12;
        assert_int_equal(hello_next(&in, &json, &len, &err), -EPROTO);
        assert_non_null(strstr(err.message, frames[i].why));
        inbox_close(&in);
    }
}

#define OK_REQUIRES "\"requires\": [\"handover-1\"]"

static void what_is_no_hello_is_refused(void **state)
{
    (void)state;
    refused("", -EPROTO, "hello: is no JSON object");
    refused("[]", -EPROTO, "hello: is no JSON object");
    refused("{", -EPROTO, "hello: is no JSON object");
    refused("null", -EPROTO, "hello: is no JSON object");
    refused("{}", -EPROTO, "hello: does not say what it requires");
    refused("{\"requires\": 5}", -EPROTO,
            "hello: does not say what it requires");
    refused("{\"requires\": null}", -EPROTO,
            "hello: does not say what it requires");
    refused("{" OK_REQUIRES "}", -EPROTO, "hello: names no devices");
    refused("{" OK_REQUIRES ", \"devices\": {}}", -EPROTO,
            "hello: names no devices");
}

static void what_is_nested_too_deep_is_refused(void **state)
{
    char json[20000];
    size_t at = 0;

    (void)state;
    at += (size_t)sprintf(json, "{" OK_REQUIRES ", \"devices\": ");
    memset(json + at, '[', sizeof(json) - at);
    json[sizeof(json) - 1] = '\0';
    refused(json, -EPROTO, "hello: is no JSON object");
}

static void what_it_requires_must_be_known(void **state)
{
    (void)state;
    refused("{\"requires\": [\"handover-1\", \"handover-2\"]}", -EOPNOTSUPP,
            "hello: the source requires \"handover-2\", which this version "
            "does not know");
    refused("{\"requires\": [null]}", -EOPNOTSUPP,
            "hello: the source requires \"\", which this version does not "
            "know");
    refused("{\"requires\": [{\"a\": 1}]}", -EOPNOTSUPP,
            "hello: the source requires \"\", which this version does not "
            "know");
}

#define DEVICES(list) "{" OK_REQUIRES ", \"devices\": [" list "]}"

static void the_lists_of_devices_must_agree(void **state)
{
    (void)state;
    refused(DEVICES(""), -ENODEV,
            "the source sends 0 devices, but 1 are waiting");
    refused(DEVICES("{\"id\": \"a\"}, {\"id\": \"b\"}"), -ENODEV,
            "the source sends 2 devices, but 1 are waiting");
    refused(DEVICES("{\"id\": \"b\"}"), -ENODEV,
            "the source sends device \"b\", for which none is waiting");
    refused(DEVICES("{}"), -ENODEV,
            "the source sends device \"\", for which none is waiting");
    refused(DEVICES("{\"id\": 5}"), -ENODEV,
            "the source sends device \"\", for which none is waiting");
    refused(DEVICES("null"), -ENODEV,
            "the source sends device \"\", for which none is waiting");
    refused(DEVICES("[[]]"), -ENODEV,
            "the source sends device \"\", for which none is waiting");
    assert_int_equal(check(DEVICES("{\"id\": \"a\"}")), 0);
}

static void a_device_that_is_named_twice_is_refused(void **state)
{
    (void)state;
    vfm_migration_add_device(target, devices[0].dev, "b", NULL);
    refused(DEVICES("{\"id\": \"a\"}, {\"id\": \"a\"}"), -ENODEV,
            "the source sends device \"a\", for which none is waiting");
    assert_int_equal(check(DEVICES("{\"id\": \"b\"}, {\"id\": \"a\"}")), 0);
}

static void numbers_that_are_none_are_another_device(void **state)
{
    static const char *const vendors[] = {
        "null", "\"x\"", "[]",   "{}",
        "true", "-1",    "1e99", "99999999999999999999999",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(vendors) / sizeof(vendors[0]); i++) {
        char json[256];

        snprintf(json, sizeof(json), DEVICES("{\"id\": \"a\", \"vendor\": %s}"),
                 vendors[i]);
        assert_int_equal(check(json), -ENODEV);
        target->members[0]->announced = false;
    }
}

static void a_target_that_insists_on_a_machine_takes_no_other(void **state)
{
    (void)state;
    vfm_migration_close(target);
    target = make(VFM_ROLE_TARGET, "pc-q35-7.2");
    vfm_migration_add_device(target, devices[1].dev, "a", NULL);
    refused("{" OK_REQUIRES ", \"machine\": \"pc\"}", -ENODEV,
            "the source's machine is \"pc\", ours \"pc-q35-7.2\"");
    refused("{" OK_REQUIRES ", \"machine\": 5}", -ENODEV,
            "the source's machine is \"\", ours \"pc-q35-7.2\"");
    assert_int_equal(check("{" OK_REQUIRES ", \"machine\": \"pc-q35-7.2\", "
                           "\"devices\": [{\"id\": \"a\"}]}"),
                     0);
}

static void only_a_source_that_says_so_runs(void **state)
{
    (void)state;
    check("{" OK_REQUIRES ", \"running\": true, "
          "\"devices\": [{\"id\": \"a\"}]}");
    assert_true(target->target.source_running);
    check("{" OK_REQUIRES ", \"running\": \"no\"}");
    assert_false(target->target.source_running);
    check("{" OK_REQUIRES ", \"running\": 1}");
    assert_false(target->target.source_running);
    check("{" OK_REQUIRES "}");
    assert_false(target->target.source_running);
}

static int answer(const char *refusal)
{
    char *frame;
    size_t len;
    int ret;

    assert_int_equal(hello_build_answer(target, refusal, &frame, &len, &err),
                     0);
    ret = hello_check_answer(source, frame + 12, len - 12, &err);
    free(frame);
    return ret;
}

static void an_answer_is_yes_or_the_reason(void **state)
{
    (void)state;
    assert_int_equal(answer(NULL), 0);
    assert_int_equal(answer("not \"today\"\n"), -EREMOTEIO);
    assert_string_equal(err.message,
                        "peer: the target refuses: not \"today\" ");
    assert_int_equal(answer(""), -EREMOTEIO);
}

static void sixty_four_devices_with_long_names_fit(void **state)
{
    char id[300];
    char *frame;
    size_t len;

    (void)state;
    memset(id, '"', sizeof(id)); /* two characters each in JSON */
    id[250] = '\0';
    for (unsigned int i = 1; i < VFM_DEVICES_MAX; i++) {
        id[0] = (char)('0' + i);
        assert_int_equal(
            vfm_migration_add_device(source, devices[0].dev, id, &err), 0);
    }
    assert_int_equal(hello_build(source, &frame, &len, &err), 0);
    assert_true(len < (64 << 10) + 12);
    free(frame);
}

static void a_refusal_is_known_to_both_and_touches_no_device(void **state)
{
    static struct pair p;

    (void)state;
    pair_init(&p, &(struct pair_setup){
                      .migration = PAIR_ALL, .num_devices = 1, .size = 100 });
    p.target.options.machine = "pc";
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.target.ret, -ENODEV);
    assert_string_equal(p.target.err.message,
                        "the source's machine is \"vfmig\", ours \"pc\"");
    assert_int_equal(p.source.ret, -EREMOTEIO);
    assert_string_equal(p.source.err.message,
                        "to-target: the target refuses: the source's machine "
                        "is \"vfmig\", ours \"pc\"");
    assert_int_equal(p.source.devices[0].num_went, 0);
    assert_int_equal(p.target.devices[0].num_went, 0);
    assert_int_equal(p.target.devices[0].resets, 0);
    pair_close(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hello_has_this_frame),
        TEST(a_hello_of_the_same_device_is_accepted),
        TEST(a_device_without_configuration_space_takes_any),
        TEST(another_kind_of_device_is_refused_by_what_differs),
        TEST(a_hello_that_comes_byte_by_byte_is_one),
        TEST(a_frame_that_is_none_is_refused_at_once),
        TEST(what_is_no_hello_is_refused),
        TEST(what_is_nested_too_deep_is_refused),
        TEST(what_it_requires_must_be_known),
        TEST(the_lists_of_devices_must_agree),
        TEST(a_device_that_is_named_twice_is_refused),
        TEST(numbers_that_are_none_are_another_device),
        TEST(a_target_that_insists_on_a_machine_takes_no_other),
        TEST(only_a_source_that_says_so_runs),
        TEST(an_answer_is_yes_or_the_reason),
        cmocka_unit_test(a_refusal_is_known_to_both_and_touches_no_device),
        TEST(sixty_four_devices_with_long_names_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
