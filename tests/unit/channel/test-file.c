/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file appears under its name whole or not at all, whatever fails on the way;
 * what is no file is used in place.  The system calls that the way consists of
 * are failed one by one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fixture.h"

#define SHORT_MS 50

/* What the calls below fail with; 0: they do not. */
static struct {
    int tmpfile;
    int linkat;
    int renameat;
    int fsync;
    int fsync_at; /* which fsync() fails, counting down to 0 */
} inject;

int __real_openat64(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat64(int dir, const char *path, int flags, mode_t mode);
int __real_linkat(int dir, const char *path, int to, const char *name, int f);
int __wrap_linkat(int dir, const char *path, int to, const char *name, int f);
int __real_renameat(int dir, const char *path, int to, const char *name);
int __wrap_renameat(int dir, const char *path, int to, const char *name);
int __real_fsync(int fd);
int __wrap_fsync(int fd);

static int failing(int code)
{
    errno = code;
    return code != 0;
}

int __wrap_openat64(int dir, const char *path, int flags, mode_t mode)
{
    if ((flags & O_TMPFILE) == O_TMPFILE && failing(inject.tmpfile))
        return -1;
    return __real_openat64(dir, path, flags, mode);
}

int __wrap_linkat(int dir, const char *path, int to, const char *name, int f)
{
    return failing(inject.linkat) ? -1 : __real_linkat(dir, path, to, name, f);
}

int __wrap_renameat(int dir, const char *path, int to, const char *name)
{
    return failing(inject.renameat) ? -1 : __real_renameat(dir, path, to, name);
}

int __wrap_fsync(int fd)
{
    if (inject.fsync != 0 && inject.fsync_at-- == 0 && failing(inject.fsync))
        return -1;
    return __real_fsync(fd);
}

/* With a file system that has files without names, and with one that has not.
 */
static void in_both_ways(void (*test)(void))
{
    memset(&inject, 0, sizeof(inject));
    test();
    assert_int_equal(count_entries(), 0);
    memset(&inject, 0, sizeof(inject));
    inject.tmpfile = EOPNOTSUPP;
    test();
    assert_int_equal(count_entries(), 0);
    memset(&inject, 0, sizeof(inject));
}

static void appear_when_finished(void)
{
    struct vfm_channel *ch = connect_to(uri_of("file:", "state"));
    struct stat st;

    assert_int_equal(send_text(ch, "first "), 0);
    assert_int_equal(access(path_of("state"), F_OK), -1);
    assert_int_equal(count_entries(), inject.tmpfile != 0);
    assert_int_equal(send_text(ch, "second"), 0);
    assert_int_equal(vfm_channel_finish(ch, NULL), 0);
    assert_int_equal(vfm_channel_bytes_sent(ch), 12);
    expect_file(path_of("state"), "first second");
    vfm_channel_close(ch);

    expect_file(path_of("state"), "first second");
    assert_int_equal(stat(path_of("state"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(count_entries(), 1);
    unlink(path_of("state"));
}

static void a_file_appears_when_it_is_finished(void **state)
{
    (void)state;
    in_both_ways(appear_when_finished);
}

static void keep_the_old_one(void)
{
    struct vfm_channel *ch;

    write_file(path_of("state"), "old");
    ch = connect_to(uri_of("file:", "state"));
    assert_int_equal(send_text(ch, "half"), 0);
    vfm_channel_close(ch);
    expect_file(path_of("state"), "old");
    assert_int_equal(count_entries(), 1);

    ch = connect_to(uri_of("file:", "state"));
    assert_int_equal(send_text(ch, "new"), 0);
    expect_file(path_of("state"), "old");
    assert_int_equal(vfm_channel_finish(ch, NULL), 0);
    vfm_channel_close(ch);
    expect_file(path_of("state"), "new");
    assert_int_equal(count_entries(), 1);
    unlink(path_of("state"));
}

static void an_aborted_file_leaves_the_old_one(void **state)
{
    (void)state;
    in_both_ways(keep_the_old_one);
}

static void a_file_without_name_leaves_nothing_when_killed(void **state)
{
    struct vfm_channel *ch = connect_to(uri_of("file:", "state"));

    (void)state;
    assert_int_equal(send_text(ch, "half"), 0);
    assert_int_equal(count_entries(), 0);
    vfm_channel_close(ch);
}

static void a_link_stays_and_what_it_points_to_is_replaced(void **state)
{
    struct vfm_channel *ch;
    struct stat st;

    (void)state;
    write_file(path_of("real"), "old");
    assert_int_equal(symlink("real", path_of("link")), 0);
    ch = connect_to(uri_of("file:", "link"));
    assert_int_equal(send_text(ch, "new"), 0);
    assert_int_equal(vfm_channel_finish(ch, NULL), 0);
    vfm_channel_close(ch);
    expect_file(path_of("real"), "new");
    assert_int_equal(lstat(path_of("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

/* Finishing fails with @code, says @why, leaves no trace, and goes on
 * failing. */
static void expect_finish_fails(int code, const char *why)
{
    struct vfm_channel *ch;
    struct vfm_error err;

    ch = connect_to(uri_of("file:", "state"));
    assert_int_equal(send_text(ch, "whole"), 0);
    assert_int_equal(vfm_channel_finish(ch, &err), code);
    expect_message(&err, why);
    memset(&err, 0, sizeof(err));
    assert_int_equal(vfm_channel_finish(ch, &err), code);
    expect_message(&err, why);
    vfm_channel_close(ch);
    assert_int_equal(count_entries(), 0);
}

static void fail_every_step(void)
{
    inject.fsync = EIO;
    expect_finish_fails(-EIO, "cannot write to the disk: Input/output error");
    inject.fsync = 0;
    inject.renameat = EROFS;
    expect_finish_fails(-EROFS, "cannot rename the file");
    inject.renameat = 0;
    if (inject.tmpfile == 0) {
        inject.linkat = EMLINK;
        expect_finish_fails(-EMLINK, "cannot name the file: Too many links");
    }
}

static void a_step_of_finishing_that_fails_leaves_no_file(void **state)
{
    (void)state;
    in_both_ways(fail_every_step);
}

static void a_directory_that_does_not_reach_the_disk_is_said(void **state)
{
    struct vfm_channel *ch = connect_to(uri_of("file:", "state"));
    struct vfm_error err;

    (void)state;
    assert_int_equal(send_text(ch, "whole"), 0);
    inject.fsync = EIO;
    inject.fsync_at = 1;
    assert_int_equal(vfm_channel_finish(ch, &err), -EIO);
    memset(&inject, 0, sizeof(inject));
    expect_message(&err, "cannot write the directory to the disk");
    vfm_channel_close(ch);
    expect_file(path_of("state"), "whole");
}

static void a_name_that_became_a_directory_is_refused(void **state)
{
    struct vfm_channel *ch = connect_to(uri_of("file:", "state"));
    struct vfm_error err;

    (void)state;
    assert_int_equal(mkdir(path_of("state"), 0700), 0);
    assert_int_equal(vfm_channel_finish(ch, &err), -EISDIR);
    vfm_channel_close(ch);
    assert_int_equal(count_entries(), 1);
    rmdir(path_of("state"));
}

/* The text of a disk that is full, without the signal that would end us. */
static void a_file_that_does_not_fit_never_gets_its_name(void **state)
{
    static char buf[65536];
    struct vfm_channel *ch = connect_to(uri_of("file:", "state"));
    struct iovec iov = { buf, sizeof(buf) };
    struct rlimit limit;
    struct rlimit small;
    struct vfm_error err;

    (void)state;
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = sizeof(buf) / 2;
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(vfm_channel_send(ch, &iov, 1, NULL), sizeof(buf) / 2);
    assert_int_equal(vfm_channel_send(ch, &iov, 1, &err), -EFBIG);
    setrlimit(RLIMIT_FSIZE, &limit);

    expect_message(&err, "cannot send: File too large");
    assert_int_equal(vfm_channel_send(ch, &iov, 1, NULL), -EFBIG);
    assert_int_equal(vfm_channel_finish(ch, NULL), -EFBIG);
    assert_int_equal(vfm_channel_bytes_sent(ch), sizeof(buf) / 2);
    vfm_channel_close(ch);
    assert_int_equal(count_entries(), 0);
}

static void a_full_device_is_said(void **state)
{
    struct vfm_channel *ch = connect_to("file:/dev/full");
    char letter = 'x';
    struct iovec iov = { &letter, 1 };
    struct vfm_error err;

    (void)state;
    assert_int_equal(vfm_channel_send(ch, &iov, 1, &err), -ENOSPC);
    expect_message(&err, "file:/dev/full: cannot send: No space left");
    vfm_channel_close(ch);
}

static void a_device_is_written_in_place(void **state)
{
    struct vfm_channel *ch = connect_to("file:/dev/null");
    struct stat st;

    (void)state;
    assert_int_equal(send_text(ch, "gone"), 0);
    assert_int_equal(vfm_channel_finish(ch, NULL), 0);
    vfm_channel_close(ch);
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void expect_no_sender(const char *uri, int code, const char *why)
{
    struct vfm_channel_options opts = options(SHORT_MS);
    struct vfm_channel *ch;
    struct vfm_error err;

    assert_int_equal(vfm_channel_connect(uri, &opts, &ch, &err), code);
    assert_null(ch);
    expect_message(&err, why);
}

static void expect_no_receiver(const char *uri, int code, const char *why)
{
    struct vfm_channel_options opts = options(SHORT_MS);
    struct vfm_channel *ch;
    struct vfm_error err;

    assert_int_equal(vfm_channel_accept(uri, &opts, &ch, &err), code);
    assert_null(ch);
    expect_message(&err, why);
}

static void what_cannot_be_written_is_refused(void **state)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path_of("sock"));
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    close(fd);
    write_file(path_of("file"), "");
    expect_no_sender(uri_of("file:", "sock"), -EINVAL, "it is a socket");
    expect_no_sender(uri_of("file:", "no/such/dir"), -ENOENT, "No such file");
    expect_no_sender(uri_of("file:", "file/state"), -ENOTDIR,
                     "Not a directory");
    expect_no_sender("file:/tmp", -EISDIR, "Is a directory");
    assert_int_equal(count_entries(), 2);
}

static void what_cannot_be_read_is_refused(void **state)
{
    (void)state;
    expect_no_receiver(uri_of("file:", "missing"), -ENOENT, "No such file");
    expect_no_receiver("file:/tmp", -EINVAL, "is a directory");
}

static void a_file_is_read_to_its_end(void **state)
{
    struct vfm_listener *lis;
    struct vfm_channel *ch;
    char byte;

    (void)state;
    write_file(path_of("state"), "saved");
    assert_int_equal(
        vfm_listener_open(uri_of("file:", "state"), NULL, &lis, NULL), 0);
    assert_int_equal(vfm_listener_fd(lis), -1);
    assert_int_equal(vfm_listener_accept(lis, &ch, NULL), 0);
    vfm_listener_close(lis);
    assert_false(vfm_channel_is_duplex(ch));
    expect_text(ch, "saved");
    assert_int_equal(vfm_channel_recv(ch, &byte, 1, NULL), 0);
    assert_int_equal(vfm_channel_bytes_received(ch), 5);
    assert_int_equal(vfm_channel_finish(ch, NULL), 0);
    vfm_channel_close(ch);
}

static void a_fifo_carries_bytes_to_its_reader(void **state)
{
    struct vfm_channel *source;
    struct vfm_channel *target;
    int keep;

    (void)state;
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    keep = open(path_of("fifo"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    source = connect_to(uri_of("file:", "fifo"));
    assert_int_equal(send_text(source, "through"), 0);
    target = accept_at(uri_of("file:", "fifo"));
    close(keep);
    assert_int_equal(vfm_channel_finish(source, NULL), 0);
    expect_text(target, "through");
    vfm_channel_close(source);
    vfm_channel_close(target);
}

static void a_fifo_without_the_other_end_is_given_up(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    expect_no_sender(uri_of("file:", "fifo"), -ETIMEDOUT, "nobody reads it");
    expect_no_receiver(uri_of("file:", "fifo"), -ETIMEDOUT,
                       "nobody writes to it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANNEL_TEST(a_file_appears_when_it_is_finished),
        CHANNEL_TEST(an_aborted_file_leaves_the_old_one),
        CHANNEL_TEST(a_file_without_name_leaves_nothing_when_killed),
        CHANNEL_TEST(a_link_stays_and_what_it_points_to_is_replaced),
        CHANNEL_TEST(a_step_of_finishing_that_fails_leaves_no_file),
        CHANNEL_TEST(a_directory_that_does_not_reach_the_disk_is_said),
        CHANNEL_TEST(a_name_that_became_a_directory_is_refused),
        CHANNEL_TEST(a_file_that_does_not_fit_never_gets_its_name),
        CHANNEL_TEST(a_full_device_is_said),
        CHANNEL_TEST(a_device_is_written_in_place),
        CHANNEL_TEST(what_cannot_be_written_is_refused),
        CHANNEL_TEST(what_cannot_be_read_is_refused),
        CHANNEL_TEST(a_file_is_read_to_its_end),
        CHANNEL_TEST(a_fifo_carries_bytes_to_its_reader),
        CHANNEL_TEST(a_fifo_without_the_other_end_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
