/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions that can fail: system calls and what is made of them.
 *
 * No header declares them here: under _FILE_OFFSET_BITS=64 a header would
 * rename some, and all are told by the names that the linker knows.
 */
#undef _FILE_OFFSET_BITS
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"

/* The function @name: fails with @failure, or calls the real one.  What follows
 * may look at ret. */
#define BEGIN(type, fn, params, args, failure)            \
    type fn params;                                       \
    type fn params                                        \
    {                                                     \
        static struct fail_point point = { .name = #fn }; \
        static type(*real) params;                        \
        type ret;                                         \
                                                          \
        if (real == NULL)                                 \
            real = fail_real(#fn);                        \
        if (fail_strike(&point, CALLER) != FAIL_NOT)      \
            return failure;                               \
        ret = real args;

#define END     \
    return ret; \
    }

#define PLAIN(type, fn, params, args)       \
    BEGIN(type, fn, params, args, (type)-1) \
    END

/* Returns an error number of its own kind. */
#define NUMBER(fn, params, args)              \
    BEGIN(int, fn, params, args, fail_code()) \
    END

/* Returns a new descriptor. */
#define OPENS(fn, params, args)      \
    BEGIN(int, fn, params, args, -1) \
    fail_take_fd(ret, #fn, CALLER);  \
    END

/* Moves bytes; short of them it moves one. */
#define MOVES(fn, params, args, short_args)               \
    ssize_t fn params;                                    \
    ssize_t fn params                                     \
    {                                                     \
        static struct fail_point point = { .name = #fn }; \
        static ssize_t(*real) params;                     \
                                                          \
        if (real == NULL)                                 \
            real = fail_real(#fn);                        \
        switch (fail_strike(&point, CALLER)) {            \
        case FAIL_NOW:                                    \
            return -1;                                    \
        case FAIL_SHORT:                                  \
            return real short_args;                       \
        case FAIL_NOT:                                    \
        default:                                          \
            return real args;                             \
        }                                                 \
    }

#define AT_MOST_1(n) ((n) > 0)

MOVES(read, (int fd, void *buf, size_t n), (fd, buf, n),
      (fd, buf, AT_MOST_1(n)))
MOVES(write, (int fd, const void *buf, size_t n), (fd, buf, n),
      (fd, buf, AT_MOST_1(n)))
MOVES(pread64, (int fd, void *buf, size_t n, int64_t at), (fd, buf, n, at),
      (fd, buf, AT_MOST_1(n), at))
MOVES(pwrite64, (int fd, const void *buf, size_t n, int64_t at),
      (fd, buf, n, at), (fd, buf, AT_MOST_1(n), at))
MOVES(recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags),
      (fd, buf, AT_MOST_1(n), flags))

/* The first part that holds anything, and a byte of it. */
static struct iovec first_byte(const struct iovec *iov, size_t n)
{
    while (n > 1 && iov->iov_len == 0) {
        iov++;
        n--;
    }
    return (struct iovec){ iov->iov_base, iov->iov_len > 0 };
}

static struct msghdr *first_byte_of(const struct msghdr *msg,
                                    struct msghdr *copy, struct iovec *iov)
{
    *copy = *msg;
    *iov = first_byte(msg->msg_iov, msg->msg_iovlen);
    copy->msg_iov = iov;
    copy->msg_iovlen = 1;
    return copy;
}

/* What comes with the message is told in the caller's own header. */
static ssize_t receive_byte(ssize_t (*real)(int, struct msghdr *, int), int fd,
                            struct msghdr *msg, int flags)
{
    struct msghdr copy;
    struct iovec iov;
    ssize_t ret = real(fd, first_byte_of(msg, &copy, &iov), flags);

    msg->msg_controllen = copy.msg_controllen;
    msg->msg_flags = copy.msg_flags;
    return ret;
}

ssize_t readv(int fd, const struct iovec *iov, int n);
ssize_t writev(int fd, const struct iovec *iov, int n);
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t recvmsg(int fd, struct msghdr *msg, int flags);

/* readv() and writev(): one moves the other way. */
#define VECTORED(name_)                                         \
    ssize_t name_(int fd, const struct iovec *iov, int n)       \
    {                                                           \
        static struct fail_point point = { .name = #name_ };    \
        static ssize_t (*real)(int, const struct iovec *, int); \
        struct iovec part;                                      \
                                                                \
        if (real == NULL)                                       \
            real = fail_real(#name_);                           \
        switch (fail_strike(&point, CALLER)) {                  \
        case FAIL_NOW:                                          \
            return -1;                                          \
        case FAIL_SHORT:                                        \
            part = first_byte(iov, (size_t)n);                  \
            return real(fd, &part, 1);                          \
        case FAIL_NOT:                                          \
        default:                                                \
            return real(fd, iov, n);                            \
        }                                                       \
    }

VECTORED(readv)
VECTORED(writev)

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    static struct fail_point point = { .name = "sendmsg" };
    static ssize_t (*real)(int, const struct msghdr *, int);
    struct msghdr copy;
    struct iovec iov;

    if (real == NULL)
        real = fail_real("sendmsg");
    switch (fail_strike(&point, CALLER)) {
    case FAIL_NOW:
        return -1;
    case FAIL_SHORT:
        return real(fd, first_byte_of(msg, &copy, &iov), flags);
    case FAIL_NOT:
    default:
        return real(fd, msg, flags);
    }
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    static struct fail_point point = { .name = "recvmsg" };
    static ssize_t (*real)(int, struct msghdr *, int);

    if (real == NULL)
        real = fail_real("recvmsg");
    switch (fail_strike(&point, CALLER)) {
    case FAIL_NOW:
        return -1;
    case FAIL_SHORT:
        return receive_byte(real, fd, msg, flags);
    case FAIL_NOT:
    default:
        return real(fd, msg, flags);
    }
}

/* ------------------------------------------------ descriptors */

OPENS(socket, (int domain, int type, int protocol), (domain, type, protocol))
OPENS(accept4, (int fd, struct sockaddr *sa, socklen_t *len, int flags),
      (fd, sa, len, flags))
OPENS(epoll_create1, (int flags), (flags))
OPENS(eventfd, (unsigned int count, int flags), (count, flags))
OPENS(timerfd_create, (int clock, int flags), (clock, flags))
OPENS(memfd_create, (const char *name, unsigned int flags), (name, flags))
OPENS(pidfd_open, (pid_t pid, unsigned int flags), (pid, flags))
OPENS(mkostemp64, (char *name, int flags), (name, flags))
OPENS(mkstemp64, (char *name), (name))
OPENS(signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags))

BEGIN(int, pipe2, (int fds[2], int flags), (fds, flags), -1)
if (ret == 0) {
    fail_take_fd(fds[0], "pipe2", CALLER);
    fail_take_fd(fds[1], "pipe2", CALLER);
}
END

BEGIN(int, socketpair, (int domain, int type, int protocol, int fds[2]),
      (domain, type, protocol, fds), -1)
    if (ret == 0)
{
    fail_take_fd(fds[0], "socketpair", CALLER);
    fail_take_fd(fds[1], "socketpair", CALLER);
}
END

    /* A descriptor is gone even if closing it failed. */
    int
    close(int fd);

int close(int fd)
{
    static struct fail_point point = { .name = "close" };
    static int (*real)(int);
    enum fail_how how = fail_strike(&point, CALLER);
    int saved_errno = errno;
    int ret;

    if (real == NULL)
        real = fail_real("close");
    fail_give_fd(fd);
    ret = real(fd);
    if (how == FAIL_NOT)
        return ret;
    errno = saved_errno;
    return -1;
}

/* What follows the named parameters is passed on as a word. */
#define OPEN(fn, params, args, last)                      \
    int fn params;                                        \
    int fn params                                         \
    {                                                     \
        static struct fail_point point = { .name = #fn }; \
        static int(*real) params;                         \
        va_list ap;                                       \
        long word;                                        \
        int ret;                                          \
                                                          \
        va_start(ap, last);                               \
        word = va_arg(ap, long);                          \
        va_end(ap);                                       \
        if (real == NULL)                                 \
            real = fail_real(#fn);                        \
        if (fail_strike(&point, CALLER) != FAIL_NOT)      \
            return -1;                                    \
        ret = real args;

OPEN(open64, (const char *path, int flags, ...), (path, flags, word), flags)
fail_take_fd(ret, "open64", CALLER);
END

    OPEN(openat64, (int dir, const char *path, int flags, ...),
         (dir, path, flags, word), flags) fail_take_fd(ret, "openat64", CALLER);
END

    OPEN(fcntl64, (int fd, int command, ...), (fd, command, word), command)
    /* F_DUPFD_CLOEXEC and F_DUPFD */
    if (command == 1030 || command == 0) fail_take_fd(ret, "fcntl64", CALLER);
END

OPEN(ioctl, (int fd, unsigned long request, ...), (fd, request, word), request)
    END

/* ------------------------------------------------ sockets and waiting */

PLAIN(int, bind, (int fd, const struct sockaddr *sa, socklen_t len),
      (fd, sa, len))
PLAIN(int, listen, (int fd, int backlog), (fd, backlog))
PLAIN(int, connect, (int fd, const struct sockaddr *sa, socklen_t len),
      (fd, sa, len))
PLAIN(int, shutdown, (int fd, int how), (fd, how))
PLAIN(int, getsockname, (int fd, struct sockaddr *sa, socklen_t *len),
      (fd, sa, len))
PLAIN(int, getsockopt,
      (int fd, int level, int name, void *value, socklen_t *len),
      (fd, level, name, value, len))
PLAIN(int, setsockopt,
      (int fd, int level, int name, const void *value, socklen_t len),
      (fd, level, name, value, len))
PLAIN(int, poll, (struct pollfd *fds, nfds_t n, int timeout), (fds, n, timeout))
PLAIN(int, epoll_ctl, (int fd, int op, int other, struct epoll_event *event),
      (fd, op, other, event))
PLAIN(int, timerfd_settime,
      (int fd, int flags, const struct itimerspec *time,
       struct itimerspec *old),
      (fd, flags, time, old))
NUMBER(getaddrinfo,
       (const char *host, const char *port, const struct addrinfo *hints,
        struct addrinfo **list),
       (host, port, hints, list))
NUMBER(getnameinfo,
       (const struct sockaddr *sa, socklen_t len, char *host,
        socklen_t host_len, char *port, socklen_t port_len, int flags),
       (sa, len, host, host_len, port, port_len, flags))

/* ------------------------------------------------ files */

PLAIN(int, fsync, (int fd), (fd))
PLAIN(int, access, (const char *path, int mode), (path, mode))
PLAIN(int, unlink, (const char *path), (path))
PLAIN(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
PLAIN(int, rename, (const char *from, const char *to), (from, to))
PLAIN(int, renameat, (int from_dir, const char *from, int dir, const char *to),
      (from_dir, from, dir, to))
PLAIN(int, linkat,
      (int from_dir, const char *from, int dir, const char *to, int flags),
      (from_dir, from, dir, to, flags))
PLAIN(int, ftruncate64, (int fd, int64_t size), (fd, size))
PLAIN(int, scandir64,
      (const char *path, struct dirent64 ***names,
       int (*filter)(const struct dirent64 *),
       int (*compare)(const struct dirent64 **, const struct dirent64 **)),
      (path, names, filter, compare))
PLAIN(int, mkdir, (const char *path, mode_t mode), (path, mode))
PLAIN(int, fchmod, (int fd, mode_t mode), (fd, mode))
PLAIN(int64_t, lseek64, (int fd, int64_t at, int whence), (fd, at, whence))
PLAIN(int, stat64, (const char *path, struct stat64 *st), (path, st))
PLAIN(int, lstat64, (const char *path, struct stat64 *st), (path, st))
PLAIN(int, fstat64, (int fd, struct stat64 *st), (fd, st))
PLAIN(ssize_t, readlink, (const char *path, char *buf, size_t size),
      (path, buf, size))
PLAIN(int, madvise, (void *at, size_t size, int advice), (at, size, advice))
PLAIN(ssize_t, getrandom, (void *buf, size_t size, unsigned int flags),
      (buf, size, flags))
PLAIN(int, fflush, (FILE *file), (file))

/* ------------------------------------------------ processes and signals */

PLAIN(int, kill, (pid_t pid, int number), (pid, number))
PLAIN(int, sigaction,
      (int number, const struct sigaction *action, struct sigaction *old),
      (number, action, old))
PLAIN(int, sigpending, (sigset_t * set), (set))
PLAIN(int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options),
      (type, id, info, options))
PLAIN(pid_t, waitpid, (pid_t pid, int *status, int options),
      (pid, status, options))
NUMBER(posix_spawn,
       (pid_t * pid, const char *path,
        const posix_spawn_file_actions_t *actions,
        const posix_spawnattr_t *attr, char *const argv[], char *const env[]),
       (pid, path, actions, attr, argv, env))
NUMBER(posix_spawn_file_actions_init, (posix_spawn_file_actions_t * actions),
       (actions))
NUMBER(posix_spawn_file_actions_adddup2,
       (posix_spawn_file_actions_t * actions, int fd, int to),
       (actions, fd, to))
NUMBER(posix_spawn_file_actions_addclosefrom_np,
       (posix_spawn_file_actions_t * actions, int from), (actions, from))
NUMBER(posix_spawnattr_setflags, (posix_spawnattr_t * attr, short flags),
       (attr, flags))
