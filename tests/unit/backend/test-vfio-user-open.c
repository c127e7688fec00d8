/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a device behind a vfio-user server: what is learnt of it, and what
 * servers get away with.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake-server.h"

static struct vfm_device_info info_of(const struct vfm_device *dev)
{
    struct vfm_device_info info = { .size = sizeof(info) };

    assert_int_equal(vfm_device_get_info(dev, &info), 0);
    return info;
}

static void opening_learns_all_there_is_to_know(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct vfm_device_info info = info_of(dev);

    (void)state;
    assert_string_equal(info.backend, "vfio-user");
    assert_int_equal(info.migration,
                     VFM_MIGRATION_STOP_COPY | VFM_MIGRATION_PRE_COPY);
    assert_true(info.has_data_size && info.has_precopy_info);
    assert_true(info.has_dma_logging && info.has_reset && info.is_pci);
    assert_int_equal(info.config_size, 4096);
    assert_int_equal(info.vendor_id, 0x1234);
    assert_int_equal(info.device_id, 0x5678);
    assert_int_equal(info.subsystem_vendor_id, 0x9abc);
    assert_int_equal(info.subsystem_id, 0xdef0);
    assert_int_equal(info.revision_id, 9);
    assert_int_equal(info.class_code, 0x030201);
    assert_int_equal(info.msix_count, 8);
    assert_int_equal(info.read_size, 65536);
    assert_int_equal(info.write_size, 32768);
    assert_int_equal(vfm_device_state(dev), VFM_STATE_RUNNING);
    assert_string_equal(vfm_device_name(dev), "fake");
    vfm_device_close(dev);
    fake_stop(&f);
}

/* Starts a server that @set_up prepares, opens its device and returns what
 * that returned; the device goes to *@devp. */
static int open_with(void (*set_up)(struct fake_server *f),
                     struct fake_server *f, struct vfm_device **devp,
                     struct vfm_error *err)
{
    int ret;

    *devp = NULL;
    fake_start(f);
    set_up(f);
    ret = vfm_device_open_vfio_user_fd(f->client_fd, "fake", NULL, devp, err);
    if (ret == 0)
        f->client_fd = -1;
    return ret;
}

static void check_opens(void (*set_up)(struct fake_server *f),
                        void (*check)(struct vfm_device *dev))
{
    int fds = fake_count_fds();
    struct vfm_error err = { 0 };
    struct fake_server f;
    struct vfm_device *dev;

    if (open_with(set_up, &f, &dev, &err) < 0)
        fail_msg("%s", err.message);
    if (check != NULL)
        check(dev);
    vfm_device_close(dev);
    fake_stop(&f);
    assert_int_equal(fake_count_fds(), fds);
}

static void check_fails(void (*set_up)(struct fake_server *f), int code,
                        const char *words)
{
    int fds = fake_count_fds();
    struct vfm_error err = { 0 };
    struct fake_server f;
    struct vfm_device *dev;

    assert_int_equal(open_with(set_up, &f, &dev, &err), code);
    assert_null(dev);
    if (strstr(err.message, words) == NULL)
        fail_msg("no \"%s\" in \"%s\"", words, err.message);
    /* The socket stayed ours. */
    assert_true(fcntl(f.client_fd, F_GETFD) >= 0);
    fake_stop(&f);
    assert_int_equal(fake_count_fds(), fds);
}

static void no_migration(struct fake_server *f)
{
    f->features = 0;
}

static void check_no_migration(struct vfm_device *dev)
{
    struct vfm_device_info info = info_of(dev);

    assert_int_equal(info.migration, 0);
    assert_false(info.has_data_size || info.has_precopy_info ||
                 info.has_dma_logging);
    assert_int_equal(info.vendor_id, 0x1234);
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP_COPY, NULL),
                     -EOPNOTSUPP);
}

static void a_device_that_cannot_be_migrated_can_be_opened(void **state)
{
    (void)state;
    check_opens(no_migration, check_no_migration);
}

static void unknown_bits(struct fake_server *f)
{
    f->migration = UINT64_MAX;
}

static void check_known_bits(struct vfm_device *dev)
{
    assert_int_equal(info_of(dev).migration, 7);
}

static void unknown_migration_flags_are_dropped(void **state)
{
    (void)state;
    check_opens(unknown_bits, check_known_bits);
}

/* As libvfio-user: nothing about the device while it is stopped. */
static void refuse_einval(struct fake_server *f, const struct fake_message *m)
{
    fake_refuse(f, m, EINVAL);
}

static void stopped(struct fake_server *f)
{
    f->state = UAPI_STATE_STOP;
    f->on[VFU_DEVICE_GET_INFO] = refuse_einval;
    f->on[VFU_DEVICE_GET_REGION_INFO] = refuse_einval;
}

static void check_stopped(struct vfm_device *dev)
{
    struct vfm_device_info info = info_of(dev);

    assert_int_equal(vfm_device_state(dev), VFM_STATE_STOP);
    assert_true(info.has_reset && info.is_pci);
    assert_int_equal(info.vendor_id, 0x1234);
    assert_int_equal(info.config_size, 4096);
}

static void a_stopped_device_is_opened_and_stays_stopped(void **state)
{
    (void)state;
    check_opens(stopped, check_stopped);
}

static void very_stopped(struct fake_server *f)
{
    stopped(f);
    f->state = UAPI_STATE_STOP_COPY;
    f->on[VFU_REGION_READ] = refuse_einval;
}

static void check_very_stopped(struct vfm_device *dev)
{
    assert_int_equal(vfm_device_state(dev), VFM_STATE_STOP_COPY);
    assert_int_equal(info_of(dev).config_size, 0);
    assert_int_equal(info_of(dev).vendor_id, 0);
}

static void a_device_that_tells_nothing_is_opened(void **state)
{
    (void)state;
    check_opens(very_stopped, check_very_stopped);
}

/* Configuration space in words only. */
static void words_only(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_region_access access;

    memcpy(&access, m->body, sizeof(access));
    if (access.count > 4)
        fake_refuse(f, m, EINVAL);
    else
        fake_answer(f, m);
}

static void set_words_only(struct fake_server *f)
{
    f->on[VFU_REGION_READ] = words_only;
    f->config_size = 256;
}

static void check_words_only(struct vfm_device *dev)
{
    assert_int_equal(info_of(dev).config_size, 256);
    assert_int_equal(info_of(dev).subsystem_id, 0xdef0);
}

static void configuration_space_is_read_by_the_word_if_need_be(void **state)
{
    (void)state;
    check_opens(set_words_only, check_words_only);
}

static void circle(struct fake_server *f)
{
    f->config[0x51] = 0x40;
    f->config[0x50] = 0x01;
}

static void beyond(struct fake_server *f)
{
    f->config[0x41] = 0xfe;
    f->config[0xfc] = 0x11;
    f->config[0xfe] = 0xff;
    f->config[0xff] = 0xff;
}

static void check_no_msix(struct vfm_device *dev)
{
    assert_int_equal(info_of(dev).msix_count, 0);
}

static void check_full_msix(struct vfm_device *dev)
{
    assert_int_equal(info_of(dev).msix_count, 2048);
}

static void a_list_of_capabilities_may_run_in_a_circle_or_to_the_end(
    void **state)
{
    (void)state;
    check_opens(circle, check_no_msix);
    check_opens(beyond, check_full_msix);
}

/* Only what the test set is answered to VERSION. */
static uint8_t version_reply[32768];
static size_t version_size;

static void answer_bytes(struct fake_server *f, const struct fake_message *m)
{
    fake_reply(f, m, version_reply, version_size);
}

static void set_version_bytes(struct fake_server *f)
{
    f->on[VFU_VERSION] = answer_bytes;
}

static void set_version(uint16_t major, uint16_t minor, const char *json,
                        size_t json_size)
{
    memset(version_reply, 0, sizeof(version_reply));
    memcpy(version_reply, &major, 2);
    memcpy(version_reply + 2, &minor, 2);
    memcpy(version_reply + 4, json, json_size);
    version_size = 4 + json_size;
}

static void set_json(const char *json)
{
    set_version(0, 0, json, strlen(json) + 1);
}

static void check_json(const char *json, int code, const char *words)
{
    set_json(json);
    if (code == 0)
        check_opens(set_version_bytes, NULL);
    else
        check_fails(set_version_bytes, code, words);
}

static void capabilities_may_be_missing_or_unknown(void **state)
{
    (void)state;
    set_version(0, 0, "", 0);
    check_opens(set_version_bytes, NULL);
    check_json("", 0, NULL);
    check_json("{}", 0, NULL);
    check_json("{\"x\":[{\"y\":null}],\"capabilities\":{}}", 0, NULL);
    check_json("{\"capabilities\":{\"migration\":{\"pgsize\":4096},"
               "\"colour\":\"red\"}}",
               0, NULL);
    check_json("{\"capabilities\":null}", 0, NULL);
    check_json("{\"capabilities\":{\"max_data_xfer_size\":null}}", 0, NULL);
}

static void capabilities_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    check_json("[]", -EPROTO, "not an object");
    check_json("7", -EPROTO, "not an object");
    check_json("{", -EPROTO, "capabilities");
    check_json("{\"capabilities\":7}", -EPROTO, "is not of type object");
    check_json("{\"capabilities\":{\"max_msg_fds\":\"8\"}}", -EPROTO,
               "max_msg_fds is not of type int");
    check_json("{\"capabilities\":{\"max_msg_fds\":8.5}}", -EPROTO,
               "is not of type int");
    check_json("{\"capabilities\":{\"max_msg_fds\":-1}}", -EPROTO, "is -1");
    check_json("{\"capabilities\":{\"max_data_xfer_size\":0}}", -EPROTO,
               "max_data_xfer_size is 0");
    check_json("{\"capabilities\":{\"max_data_xfer_size\":"
               "-99999999999999999999999}}",
               -EPROTO, "max_data_xfer_size is -");
    check_json("{\"capabilities\":{\"a\":[[[[[[[[[[1]]]]]]]]]]}}", -EPROTO,
               "nesting");
    set_version(0, 0, "{}", 2);
    check_fails(set_version_bytes, -EPROTO, "not terminated");
    set_version(0, 0, "", 0);
    version_size = 3;
    check_fails(set_version_bytes, -EPROTO, "has 3 bytes");
    version_size = sizeof(version_reply);
    check_fails(set_version_bytes, -EPROTO, "VERSION reply has");
}

static void check_largest(struct vfm_device *dev)
{
    assert_int_equal(info_of(dev).read_size, 1 << 20);
}

static void check_tiny(struct vfm_device *dev)
{
    assert_int_equal(info_of(dev).read_size, 100);
    assert_int_equal(info_of(dev).write_size, 100);
    assert_int_equal(info_of(dev).vendor_id, 0x1234);
}

static void limits_of_the_server_are_kept_to_within_reason(void **state)
{
    (void)state;
    set_json("{\"capabilities\":{\"max_data_xfer_size\":"
             "99999999999999999999999,\"max_msg_fds\":123456789123}}");
    check_opens(set_version_bytes, check_largest);
    set_json("{\"capabilities\":{\"max_data_xfer_size\":100}}");
    check_opens(set_version_bytes, check_tiny);
}

static void another_version_is_refused(void **state)
{
    (void)state;
    set_version(1, 0, "{}", 3);
    check_fails(set_version_bytes, -EPROTONOSUPPORT,
                "server speaks version 1.0");
    set_version(0, 3, "{}", 3);
    check_fails(set_version_bytes, -EPROTO, "server chose version 0.3");
}

static void refuse_version(struct fake_server *f)
{
    f->on[VFU_VERSION] = refuse_einval;
}

static void refuse_and_leave(struct fake_server *f,
                             const struct fake_message *m)
{
    fake_refuse(f, m, EINVAL);
    fake_hang_up(f);
}

static void refuse_version_and_leave(struct fake_server *f)
{
    f->on[VFU_VERSION] = refuse_and_leave;
}

static void a_refused_version_is_named(void **state)
{
    (void)state;
    check_fails(refuse_version, -EPROTONOSUPPORT,
                "fake: server refuses protocol 0.2: Invalid argument");
    check_fails(refuse_version_and_leave, -EPROTONOSUPPORT,
                "fake: server refuses protocol 0.2: Invalid argument");
}

static void refuse_minor_2(struct fake_server *f, const struct fake_message *m)
{
    uint16_t minor;

    memcpy(&minor, m->body + 2, sizeof(minor));
    if (minor == 0)
        fake_answer(f, m);
    else
        refuse_and_leave(f, m);
}

static void check_path(fake_handler *on_version, int code, unsigned int asked)
{
    char dir[] = "/tmp/vfmig-test-XXXXXX";
    int fds = fake_count_fds();
    struct vfm_device *dev = NULL;
    struct fake_server f;
    char path[64];

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/socket", dir);
    fake_listen(&f, path);
    f.on[VFU_VERSION] = on_version;
    assert_int_equal(vfm_device_open_vfio_user(path, NULL, NULL, &dev, NULL),
                     code);
    assert_int_equal(f.asked[VFU_VERSION], asked);
    if (code == 0)
        assert_string_equal(vfm_device_name(dev), path);
    vfm_device_close(dev);
    fake_stop(&f);
    unlink(path);
    rmdir(dir);
    assert_int_equal(fake_count_fds(), fds);
}

static void a_server_that_refuses_the_version_is_asked_for_an_older_one(
    void **state)
{
    (void)state;
    check_path(NULL, 0, 1);
    check_path(refuse_minor_2, 0, 2);
    check_path(refuse_and_leave, -EPROTONOSUPPORT, 2);
}

static void answer_with_twin(struct fake_server *f,
                             const struct fake_message *m)
{
    static const char json[] = "\0\0\2\0{\"capabilities\":{\"twin_socket\":"
                               "{\"supported\":true,\"fd_index\":1}}}";
    int pair[2], fds[2];

    assert_non_null(strstr((const char *)m->body + 4, "twin_socket"));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    f->twin = pair[0];
    fds[0] = STDIN_FILENO;
    fds[1] = pair[1];
    fake_reply_fds(f, m, json, sizeof(json), fds, 2);
    close(pair[1]);
}

static void set_twin(struct fake_server *f)
{
    f->on[VFU_VERSION] = answer_with_twin;
}

static void a_twin_socket_is_taken(void **state)
{
    (void)state;
    check_opens(set_twin, NULL);
}

static void answer_bad_twin(struct fake_server *f, const struct fake_message *m)
{
    int fd = STDIN_FILENO;

    fake_reply_fds(f, m, version_reply, version_size, &fd, 1);
}

static void set_bad_twin(struct fake_server *f)
{
    f->on[VFU_VERSION] = answer_bad_twin;
}

static void a_twin_socket_that_is_none_is_refused(void **state)
{
    (void)state;
    set_json("{\"capabilities\":{\"twin_socket\":"
             "{\"supported\":true,\"fd_index\":0}}}");
    check_fails(set_bad_twin, -EPROTO, "no stream socket");
    set_json("{\"capabilities\":{\"twin_socket\":"
             "{\"supported\":true,\"fd_index\":1}}}");
    check_fails(set_bad_twin, -EPROTO, "twin_socket has no descriptor");
    set_json("{\"capabilities\":{\"twin_socket\":"
             "{\"supported\":true,\"fd_index\":99999999999}}}");
    check_fails(set_bad_twin, -EPROTO, "twin_socket has no descriptor");
    set_json("{\"capabilities\":{\"twin_socket\":{\"supported\":false,"
             "\"fd_index\":0}}}");
    check_opens(set_bad_twin, NULL);
    set_json("{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}");
    check_opens(set_bad_twin, NULL);
}

/* The server goes silent, or away, at its @n-th message. */
static unsigned int stop_at;
static bool stop_by_leaving;

static void count_and_stop(struct fake_server *f, const struct fake_message *m)
{
    unsigned int n = 0;

    for (int i = 0; i < FAKE_MAX_COMMAND; i++)
        n += f->asked[i];
    if (n < stop_at)
        fake_answer(f, m);
    else if (stop_by_leaving)
        fake_hang_up(f);
}

static void set_count_and_stop(struct fake_server *f)
{
    for (int i = 0; i < FAKE_MAX_COMMAND; i++)
        f->on[i] = count_and_stop;
}

static void a_server_lost_at_any_moment_of_opening_is_an_error(void **state)
{
    /* VERSION, seven features, DEVICE_GET_INFO, region info, one read. */
    const unsigned int messages = 11;

    (void)state;
    for (stop_at = 1; stop_at <= messages; stop_at++) {
        stop_by_leaving = false;
        check_fails(set_count_and_stop, -ETIMEDOUT, "no answer");
        stop_by_leaving = true;
        check_fails(set_count_and_stop, -ENOTCONN, "closed");
    }
    check_opens(set_count_and_stop, NULL);
}

static void bad_options_are_refused(void **state)
{
    struct {
        struct vfm_vfio_user_options options;
        uint64_t later;
    } o = { .options = { .size = sizeof(o) } };
    struct vfm_device *dev;
    struct vfm_error err;

    (void)state;
    o.later = 1;
    assert_int_equal(
        vfm_device_open_vfio_user("/none", NULL, &o.options, &dev, &err),
        -E2BIG);
    o.later = 0;
    assert_int_equal(
        vfm_device_open_vfio_user("/none", NULL, &o.options, &dev, &err),
        -ENOENT);
    assert_string_equal(
        err.message,
        "/none: cannot connect: No such file or directory (does its server "
        "run?)");
    o.options.read_size = 4095;
    assert_int_equal(
        vfm_device_open_vfio_user("/none", NULL, &o.options, &dev, &err),
        -EINVAL);
    assert_string_equal(err.message, "/none: read size 4095 is not between "
                                     "4096 and 16777216");
    o.options.read_size = 0;
    o.options.write_depth = 17;
    assert_int_equal(
        vfm_device_open_vfio_user("/none", NULL, &o.options, &dev, NULL),
        -EINVAL);
    o.options.size = 3;
    assert_int_equal(
        vfm_device_open_vfio_user("/none", NULL, &o.options, &dev, NULL),
        -EINVAL);
}

static void a_descriptor_that_is_no_socket_is_refused(void **state)
{
    struct vfm_device *dev;
    struct vfm_error err;
    int pair[2];

    (void)state;
    assert_int_equal(vfm_device_open_vfio_user_fd(-1, NULL, NULL, &dev, &err),
                     -EBADF);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    assert_int_equal(
        vfm_device_open_vfio_user_fd(pair[0], "d", NULL, &dev, &err), -EINVAL);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(pipe(pair), 0);
    assert_int_equal(
        vfm_device_open_vfio_user_fd(pair[0], "d", NULL, &dev, &err),
        -ENOTSOCK);
    close(pair[0]);
    close(pair[1]);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    struct vfm_device *dev;
    char path[200];

    (void)state;
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(vfm_device_open_vfio_user(path, NULL, NULL, &dev, NULL),
                     -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_learns_all_there_is_to_know),
        cmocka_unit_test(a_device_that_cannot_be_migrated_can_be_opened),
        cmocka_unit_test(unknown_migration_flags_are_dropped),
        cmocka_unit_test(a_stopped_device_is_opened_and_stays_stopped),
        cmocka_unit_test(a_device_that_tells_nothing_is_opened),
        cmocka_unit_test(configuration_space_is_read_by_the_word_if_need_be),
        cmocka_unit_test(
            a_list_of_capabilities_may_run_in_a_circle_or_to_the_end),
        cmocka_unit_test(capabilities_may_be_missing_or_unknown),
        cmocka_unit_test(capabilities_that_make_no_sense_are_refused),
        cmocka_unit_test(limits_of_the_server_are_kept_to_within_reason),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(a_refused_version_is_named),
        cmocka_unit_test(
            a_server_that_refuses_the_version_is_asked_for_an_older_one),
        cmocka_unit_test(a_twin_socket_is_taken),
        cmocka_unit_test(a_twin_socket_that_is_none_is_refused),
        cmocka_unit_test(a_server_lost_at_any_moment_of_opening_is_an_error),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(a_descriptor_that_is_no_socket_is_refused),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
