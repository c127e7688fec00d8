/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * file: whole files or none, and FIFOs and devices, which are used in place.
 *
 * A file is written without a name where the file system can do that, so that
 * a sender that is killed leaves nothing behind; with a temporary name beside
 * the final one where it cannot.  Bytes are moved by fd.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/channel.h"
#include "channel/wait.h"
#include "util/clock.h"
#include "util/error.h"

/* What is saved are a guest's secrets. */
#define FILE_MODE     0600

#define TEMP_LEN      32
#define TEMP_ATTEMPTS 16

/* A file on its way. */
struct file {
    int dir_fd;
    char *name;          /* the final one, in that directory */
    char temp[TEMP_LEN]; /* the temporary one; "": the file has none */
};

static void make_temp_name(char temp[TEMP_LEN])
{
    uint64_t random = 0;

    /* If there is no entropy yet the name is taken at worst. */
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = (uint64_t)clock_now();
    snprintf(temp, TEMP_LEN, ".vfmig-%016llx", (unsigned long long)random);
}

/* Opens a file with a temporary name.  Returns its descriptor. */
static int open_named(struct file *file)
{
    int fd = -1;

    for (int i = 0; i < TEMP_ATTEMPTS; i++) {
        make_temp_name(file->temp);
        fd = openat(file->dir_fd, file->temp,
                    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST)
            break;
    }
    file->temp[0] = '\0';
    return -errno;
}

static int open_temporary(struct file *file)
{
    int fd = -1;

    /* Naming it later needs /proc. */
    if (access("/proc/self/fd", X_OK) == 0)
        fd = openat(file->dir_fd, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC,
                    FILE_MODE);
    return fd >= 0 ? fd : open_named(file);
}

/* Gives a file without name a temporary one. */
static int name_file(struct file *file, int fd)
{
    char path[sizeof("/proc/self/fd/") + 11];

    if (file->temp[0] != '\0')
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    for (int i = 0; i < TEMP_ATTEMPTS; i++) {
        make_temp_name(file->temp);
        if (linkat(AT_FDCWD, path, file->dir_fd, file->temp,
                   AT_SYMLINK_FOLLOW) == 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    file->temp[0] = '\0';
    return -errno;
}

static int file_failed(const struct vfm_channel *ch, const char *what, int code,
                       struct vfm_error *err)
{
    return error_set(err, code, "%s: cannot %s: %s", ch->name, what,
                     strerror(-code));
}

static int file_finish(struct vfm_channel *ch, struct vfm_error *err)
{
    struct file *file = ch->transport;
    int ret;

    /* The data before the name: a name after a crash is a whole file. */
    if (fsync(ch->fd) < 0)
        return file_failed(ch, "write to the disk", -errno, err);
    ret = name_file(file, ch->fd);
    if (ret < 0)
        return file_failed(ch, "name the file", ret, err);
    if (renameat(file->dir_fd, file->temp, file->dir_fd, file->name) < 0)
        return file_failed(ch, "rename the file", -errno, err);
    file->temp[0] = '\0';
    if (fsync(file->dir_fd) < 0)
        return file_failed(ch, "write the directory to the disk", -errno, err);
    return 0;
}

static void file_free(struct file *file)
{
    if (file->temp[0] != '\0')
        unlinkat(file->dir_fd, file->temp, 0);
    if (file->dir_fd >= 0)
        close(file->dir_fd);
    free(file->name);
    free(file);
}

static void file_close(struct vfm_channel *ch)
{
    file_free(ch->transport);
}

static const struct channel_ops file_ops = {
    .send = fd_send,
    .recv = fd_recv,
    .finish = file_finish,
    .close = file_close,
};

static int open_failed(const char *uri, int code, struct vfm_error *err)
{
    return error_set(err, code, "%.*s: cannot open: %s", ADDRESS_SHOWN, uri,
                     strerror(-code));
}

/* Splits @path and opens its directory. */
static struct file *open_directory(const char *path, int *code)
{
    struct file *file = calloc(1, sizeof(*file));
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX] = ".";

    *code = -ENOMEM;
    if (file == NULL)
        return NULL;
    if (slash != NULL)
        snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path) + 1, path);
    file->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->dir_fd < 0)
        *code = -errno;
    else
        file->name = strdup(slash == NULL ? path : slash + 1);
    if (file->name != NULL)
        return file;
    file_free(file);
    return NULL;
}

static int create_file(const char *path, const char *uri,
                       const struct vfm_channel_options *opts,
                       struct vfm_channel **chp, struct vfm_error *err)
{
    int ret;
    struct file *file = open_directory(path, &ret);
    int fd;

    if (file == NULL)
        return open_failed(uri, ret, err);
    fd = open_temporary(file);
    if (fd < 0)
        ret = open_failed(uri, fd, err);
    else
        ret = channel_new(&file_ops, fd, uri, opts, chp, err);
    if (ret < 0) {
        file_free(file);
        if (fd >= 0)
            close(fd);
        return ret;
    }
    (*chp)->transport = file;
    (*chp)->can_send = true;
    (*chp)->pollable = false;
    return 0;
}

/* Opens something that is no file for writing, and a FIFO when it has a
 * reader. */
static int open_in_place(const char *path, const char *uri,
                         const struct vfm_channel_options *opts,
                         struct vfm_error *err)
{
    int64_t deadline = clock_deadline(opts->connect_timeout_ms);
    int fd;
    int ret;

    for (;;) {
        fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd >= 0)
            return fd;
        if (errno != ENXIO)
            return open_failed(uri, -errno, err);
        ret = wait_retry(deadline, opts->cancel_fd);
        if (ret < 0)
            return error_set(err, ret, "%.*s: %s", ADDRESS_SHOWN, uri,
                             ret == -ECANCELED ? "cancelled"
                                               : "nobody reads it");
    }
}

/* Makes a channel of @fd, which is closed if that fails. */
static int take_fd(int fd, const char *uri,
                   const struct vfm_channel_options *opts,
                   struct vfm_channel **chp, struct vfm_error *err)
{
    int ret = vfm_channel_from_fd(fd, uri, opts, chp, err);

    if (ret < 0)
        close(fd);
    return ret;
}

/* Replaces the file @path.  A symbolic link stays one: what it points to is
 * replaced. */
static int replace_file(const char *path, const char *uri,
                        const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err)
{
    char *real = realpath(path, NULL);
    int ret;

    if (real == NULL)
        return open_failed(uri, -errno, err);
    ret = create_file(real, uri, opts, chp, err);
    free(real);
    return ret;
}

static int file_connect(const struct address *addr, const char *uri,
                        const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err)
{
    struct stat st;
    int fd;

    if (stat(addr->text, &st) < 0)
        return errno == ENOENT ? create_file(addr->text, uri, opts, chp, err)
                               : open_failed(uri, -errno, err);
    if (S_ISREG(st.st_mode))
        return replace_file(addr->text, uri, opts, chp, err);
    if (S_ISDIR(st.st_mode))
        return open_failed(uri, -EISDIR, err);
    if (S_ISSOCK(st.st_mode))
        return error_set(err, -EINVAL, "%.*s: cannot open: it is a socket",
                         ADDRESS_SHOWN, uri);

    fd = open_in_place(addr->text, uri, opts, err);
    return fd < 0 ? fd : take_fd(fd, uri, opts, chp, err);
}

static int file_listen(struct vfm_listener *lis, struct vfm_error *err)
{
    (void)lis;
    (void)err;
    return 0;
}

static int file_accept(struct vfm_listener *lis, struct vfm_channel **chp,
                       struct vfm_error *err)
{
    int64_t deadline = clock_deadline(lis->opts.connect_timeout_ms);
    int fd = open(lis->addr.text, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    int ret;

    if (fd < 0)
        return open_failed(lis->uri, -errno, err);
    /* A FIFO that nobody has written to yet would read as ended. */
    if (fstat(fd, &st) < 0) {
        ret = open_failed(lis->uri, -errno, err);
        close(fd);
        return ret;
    }
    if (S_ISFIFO(st.st_mode)) {
        ret = wait_fd(fd, POLLIN, deadline, lis->opts.cancel_fd);
        if (ret < 0) {
            close(fd);
            return error_set(err, ret, "%.*s: %s", ADDRESS_SHOWN, lis->uri,
                             ret == -ECANCELED ? "cancelled"
                                               : "nobody writes to it");
        }
    }
    return take_fd(fd, lis->uri, &lis->opts, chp, err);
}

const struct transport file_transport = {
    .connect = file_connect,
    .listen = file_listen,
    .accept = file_accept,
};
