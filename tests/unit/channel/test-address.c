/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a URI may look like, and that everything else is refused in one
 * sentence.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "channel/address.h"

static const struct {
    const char *uri;
    enum address_kind kind;
    const char *text; /* path, command or host */
    int number;       /* port or descriptor */
} good[] = {
    { "unix:/run/vm.sock", ADDRESS_UNIX, "/run/vm.sock", 0 },
    { "unix:relative", ADDRESS_UNIX, "relative", 0 },
    { "unix:/a:b,c d", ADDRESS_UNIX, "/a:b,c d", 0 },
    { "tcp:host:4444", ADDRESS_TCP, "host", 4444 },
    { "tcp:h-1.example.org:1", ADDRESS_TCP, "h-1.example.org", 1 },
    { "tcp:192.0.2.1:65535", ADDRESS_TCP, "192.0.2.1", 65535 },
    { "tcp:[::1]:4444", ADDRESS_TCP, "::1", 4444 },
    { "tcp:[fe80::1%eth0]:2", ADDRESS_TCP, "fe80::1%eth0", 2 },
    { "tcp::4444", ADDRESS_TCP, "", 4444 },
    { "tcp:localhost:0", ADDRESS_TCP, "localhost", 0 },
    { "fd:0", ADDRESS_FD, NULL, 0 },
    { "fd:2147483647", ADDRESS_FD, NULL, 2147483647 },
    { "file:/tmp/state", ADDRESS_FILE, "/tmp/state", 0 },
    { "file:state", ADDRESS_FILE, "state", 0 },
    { "exec:cat > x", ADDRESS_EXEC, "cat > x", 0 },
    { "exec:two\nlines", ADDRESS_EXEC, "two\nlines", 0 },
};

static void every_form_is_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct address addr;
        const char *text;

        assert_int_equal(address_parse(&addr, good[i].uri, NULL), 0);
        assert_int_equal(vfm_channel_check_uri(good[i].uri, NULL), 0);
        assert_int_equal(addr.kind, good[i].kind);
        text = addr.kind == ADDRESS_TCP ? addr.host : addr.text;
        if (good[i].text != NULL)
            assert_string_equal(text, good[i].text);
        if (addr.kind == ADDRESS_TCP)
            assert_int_equal(addr.port, good[i].number);
        if (addr.kind == ADDRESS_FD)
            assert_int_equal(addr.fd, good[i].number);
    }
}

static const struct {
    const char *uri;
    const char *why;
} wrong[] = {
    { "", "begins with" },
    { "/run/vm.sock", "begins with" },
    { "unix", "begins with" },
    { "UNIX:/x", "begins with" },
    { "rdma:host:1", "begins with" },
    { " unix:/x", "begins with" },
    { "unix:", "path is missing" },
    { "unix:/a\nb", "control characters" },
    { "unix:/a\033[2J", "control characters" },
    { "tcp:", "tcp:HOST:PORT" },
    { "tcp:host", "tcp:HOST:PORT" },
    { "tcp:[::1]", "tcp:HOST:PORT" },
    { "tcp:[::1", "tcp:HOST:PORT" },
    { "tcp:[::1]4444", "tcp:HOST:PORT" },
    { "tcp:host:", "port" },
    { "tcp:host:65536", "port" },
    { "tcp:host:99999999999999999999", "port" },
    { "tcp:host:-1", "port" },
    { "tcp:host:+1", "port" },
    { "tcp:host: 1", "port" },
    { "tcp:host:1 ", "port" },
    { "tcp:host:0x1", "port" },
    { "tcp:host:ssh", "port" },
    { "tcp:host:1,ipv4=on", "port" },
    { "tcp:::1:4444", "brackets" },
    { "tcp:ho st:1", "no host name" },
    { "tcp:host\n:1", "no host name" },
    { "tcp:h/../x:1", "no host name" },
    { "tcp:]:1", "no host name" },
    { "tcp:[]:1", "no IPv6 address" },
    { "tcp:[127.0.0.1]:1", "no IPv6 address" },
    { "tcp:[::1%]:1", "no IPv6 address" },
    { "tcp:[::1%e/h]:1", "no IPv6 address" },
    { "tcp:[::1%interface-too-long]:1", "no IPv6 address" },
    { "tcp:[1:2:3:4:5:6:7:8:9]:1", "no IPv6 address" },
    { "fd:", "descriptor" },
    { "fd:-1", "descriptor" },
    { "fd:2147483648", "descriptor" },
    { "fd:99999999999", "descriptor" },
    { "fd:1x", "descriptor" },
    { "file:", "name is missing" },
    { "file:/tmp/", "name is missing" },
    { "file:/tmp/\r", "control characters" },
    { "exec:", "command is missing" },
    { "exec: \t\n", "command is missing" },
};

static void a_wrong_uri_is_refused_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct vfm_error err = { 0 };
        struct address addr;

        if (address_parse(&addr, wrong[i].uri, &err) != -EINVAL)
            fail_msg("%s was accepted", wrong[i].uri);
        expect_message(&err, wrong[i].why);
        assert_null(strpbrk(err.message, "\n\r\033"));
    }
}

/* Parses @prefix, @n times 'x', and @suffix. */
static int parse_long(const char *prefix, size_t n, const char *suffix)
{
    size_t len = strlen(prefix);
    char *uri = malloc(len + n + strlen(suffix) + 1);
    struct address addr;
    struct vfm_error err = { 0 };
    int ret;

    assert_non_null(uri);
    memcpy(uri, prefix, len);
    memset(uri + len, 'x', n);
    strcpy(uri + len + n, suffix);
    ret = address_parse(&addr, uri, &err);
    if (ret < 0)
        expect_message(&err, "too long");
    free(uri);
    return ret;
}

static void the_longest_name_fits_and_one_more_does_not(void **state)
{
    (void)state;
    assert_int_equal(parse_long("unix:", 107, ""), 0);
    assert_int_equal(parse_long("unix:", 108, ""), -ENAMETOOLONG);
    assert_int_equal(parse_long("tcp:", 253, ":1"), 0);
    assert_int_equal(parse_long("tcp:", 254, ":1"), -ENAMETOOLONG);
    assert_int_equal(parse_long("file:/", 255, ""), 0);
    assert_int_equal(parse_long("file:/", 256, ""), -ENAMETOOLONG);
    assert_int_equal(parse_long("file:/", 5000, "/x"), -ENAMETOOLONG);
    assert_int_equal(parse_long("exec:", ADDRESS_URI_MAX - 5, ""), 0);
    assert_int_equal(parse_long("exec:", ADDRESS_URI_MAX - 4, ""),
                     -ENAMETOOLONG);
    assert_int_equal(parse_long("", 1 << 20, ""), -ENAMETOOLONG);
}

static void a_sender_needs_a_host_and_a_port(void **state)
{
    struct vfm_channel *ch;
    struct vfm_error err;

    (void)state;
    assert_int_equal(vfm_channel_connect("tcp::4444", NULL, &ch, &err),
                     -EINVAL);
    assert_null(ch);
    expect_message(&err, "host name");
    assert_int_equal(vfm_channel_connect("tcp:127.0.0.1:0", NULL, &ch, &err),
                     -EINVAL);
    expect_message(&err, "port");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANNEL_TEST(every_form_is_understood),
        CHANNEL_TEST(a_wrong_uri_is_refused_with_a_reason),
        CHANNEL_TEST(the_longest_name_fits_and_one_more_does_not),
        CHANNEL_TEST(a_sender_needs_a_host_and_a_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
