/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of channels share: a directory, both ends, waiting.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "util/clock.h"

#define PATH_LEN  256
#define PATHS     4
#define TEXT_MAX  4096
#define ALARM_SEC 60

static struct {
    char dir[64];
    int descriptors;
} fixture;

static int count_names(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;

    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            n++;
    closedir(dir);
    return n;
}

int fixture_setup(void **state)
{
    (void)state;
    alarm(ALARM_SEC);
    snprintf(fixture.dir, sizeof(fixture.dir), "/tmp/vfmig-test-XXXXXX");
    fixture.descriptors = count_names("/proc/self/fd");
    return mkdtemp(fixture.dir) == NULL ? -1 : 0;
}

int fixture_teardown(void **state)
{
    DIR *dir = opendir(fixture.dir);

    (void)state;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    rmdir(fixture.dir);
    assert_int_equal(count_names("/proc/self/fd"), fixture.descriptors);
    alarm(0);
    return 0;
}

int count_entries(void)
{
    return count_names(fixture.dir);
}

const char *uri_of(const char *prefix, const char *name)
{
    static char paths[PATHS][PATH_LEN];
    static unsigned next;
    char *path = paths[next++ % PATHS];

    snprintf(path, PATH_LEN, "%s%s/%s", prefix, fixture.dir, name);
    return path;
}

const char *path_of(const char *name)
{
    return uri_of("", name);
}

struct vfm_channel_options options(uint32_t timeout_ms)
{
    struct vfm_channel_options opts = VFM_CHANNEL_OPTIONS_INIT;

    opts.connect_timeout_ms = timeout_ms;
    opts.finish_timeout_ms = timeout_ms;
    return opts;
}

int64_t soon(void)
{
    return clock_deadline(LIMIT_MS);
}

struct vfm_channel *connect_to(const char *uri)
{
    struct vfm_error err = { 0 };
    struct vfm_channel *ch;

    if (vfm_channel_connect(uri, NULL, &ch, &err) < 0)
        fail_msg("%s", err.message);
    return ch;
}

struct vfm_channel *accept_at(const char *uri)
{
    struct vfm_error err = { 0 };
    struct vfm_channel *ch;

    if (vfm_channel_accept(uri, NULL, &ch, &err) < 0)
        fail_msg("%s", err.message);
    return ch;
}

struct vfm_channel *channel_of(int fd)
{
    struct vfm_channel *ch;

    assert_int_equal(vfm_channel_from_fd(fd, "test", NULL, &ch, NULL), 0);
    return ch;
}

void channel_pair(struct vfm_channel *end[2])
{
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    end[0] = channel_of(fd[0]);
    end[1] = channel_of(fd[1]);
}

int send_all(struct vfm_channel *ch, const void *buf, size_t len)
{
    struct iovec iov = { (void *)buf, len };

    while (iov.iov_len > 0) {
        ssize_t ret = vfm_channel_send(ch, &iov, 1, NULL);

        if (ret == -EAGAIN) {
            ret = vfm_channel_wait(ch, POLLOUT, soon(), NULL);
        } else if (ret > 0) {
            iov.iov_base = (char *)iov.iov_base + ret;
            iov.iov_len -= (size_t)ret;
        }
        if (ret < 0)
            return (int)ret;
    }
    return 0;
}

int send_text(struct vfm_channel *ch, const char *text)
{
    return send_all(ch, text, strlen(text));
}

int finish(struct vfm_channel *ch, struct vfm_error *err)
{
    int ret;

    while ((ret = vfm_channel_finish(ch, err)) == -EAGAIN)
        assert_int_equal(vfm_channel_wait(ch, 0, soon(), NULL), 0);
    return ret;
}

ssize_t recv_all(struct vfm_channel *ch, void *buf, size_t len)
{
    size_t have = 0;

    while (have < len) {
        ssize_t ret =
            vfm_channel_recv(ch, (char *)buf + have, len - have, NULL);

        if (ret == 0)
            break;
        if (ret > 0)
            have += (size_t)ret;
        else if (ret == -EAGAIN)
            ret = vfm_channel_wait(ch, POLLIN, soon(), NULL);
        if (ret < 0)
            return ret;
    }
    return (ssize_t)have;
}

void expect_text(struct vfm_channel *ch, const char *text)
{
    char buf[TEXT_MAX];
    ssize_t len = recv_all(ch, buf, sizeof(buf));

    assert_int_equal(len, strlen(text));
    assert_memory_equal(buf, text, strlen(text));
}

void expect_message(const struct vfm_error *err, const char *part)
{
    if (strstr(err->message, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, err->message);
}

void expect_file(const char *path, const char *text)
{
    char buf[TEXT_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len;

    assert_true(fd >= 0);
    len = read(fd, buf, sizeof(buf));
    close(fd);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(buf, text, strlen(text));
}

void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}
