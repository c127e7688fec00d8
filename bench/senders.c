/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What sending a state costs by each way that the kernel has: from pieces of
 * shared memory, filled one after the other as a device fills them, over TCP to
 * a process that reads and forgets.
 *
 *     senders WAY BYTES CHUNK     WAY: send sendfile zerocopy uring uring-zc
 *
 * Prints nanoseconds, and of processor time those of the sender and of the
 * reader.  A piece is filled again when the kernel is done with it.
 */
#include <errno.h>
#include <liburing.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tcp.h"

/* As many as a device and vfmig share. */
#define PIECES 4

struct sender {
    int fd;     /* the socket */
    int memory; /* the pieces */
    char *pieces;
    size_t chunk;
    struct io_uring ring;
    uint32_t sent; /* pieces; with zero copy the kernel counts them as well */
    uint32_t done;
    int left[PIECES]; /* completions that io_uring still owes */
};

typedef void send_fn(struct sender *s, unsigned int piece, size_t len);

static void die(const char *what, int error)
{
    fprintf(stderr, "senders: %s: %s\n", what, strerror(error));
    exit(1);
}

static char *piece_at(const struct sender *s, unsigned int piece)
{
    return s->pieces + piece * s->chunk;
}

static void send_plain(struct sender *s, unsigned int piece, size_t len)
{
    const char *buf = piece_at(s, piece);

    while (len > 0) {
        ssize_t n = send(s->fd, buf, len, MSG_NOSIGNAL);

        if (n <= 0)
            die("send", errno);
        buf += n;
        len -= (size_t)n;
    }
}

static void send_file(struct sender *s, unsigned int piece, size_t len)
{
    off_t at = (off_t)(piece * s->chunk);

    while (len > 0) {
        ssize_t n = sendfile(s->fd, s->memory, &at, len);

        if (n <= 0)
            die("sendfile", errno);
        len -= (size_t)n;
    }
}

/* The kernel tells ranges of calls whose memory it is done with. */
static void take_completion(struct sender *s)
{
    char control[CMSG_SPACE(sizeof(struct sock_extended_err)) * 2];
    struct msghdr msg = { .msg_control = control,
                          .msg_controllen = sizeof(control) };
    struct pollfd p = { .fd = s->fd };

    while (recvmsg(s->fd, &msg, MSG_ERRQUEUE) < 0) {
        if (errno != EAGAIN)
            die("errqueue", errno);
        poll(&p, 1, -1); /* errors are always waited for */
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL;
         c = CMSG_NXTHDR(&msg, c)) {
        struct sock_extended_err e;

        memcpy(&e, CMSG_DATA(c), sizeof(e));
        if (e.ee_origin == SO_EE_ORIGIN_ZEROCOPY)
            s->done = e.ee_data + 1;
    }
}

/* Before @piece is filled again its last calls must be over, and so must those
 * of any piece: they end in order. */
static void send_zerocopy(struct sender *s, unsigned int piece, size_t len)
{
    const char *buf = piece_at(s, piece);

    while (len > 0) {
        ssize_t n = send(s->fd, buf, len, MSG_NOSIGNAL | MSG_ZEROCOPY);

        if (n < 0 && errno == ENOBUFS) {
            take_completion(s);
            continue;
        }
        if (n <= 0)
            die("send", errno);
        s->sent++;
        buf += n;
        len -= (size_t)n;
    }
    while (s->sent - s->done >= PIECES)
        take_completion(s);
}

/* Of a send with zero copy there are two: it is over, the memory is free. */
static void take_cqe(struct sender *s)
{
    struct io_uring_cqe *cqe;
    int ret = io_uring_wait_cqe(&s->ring, &cqe);

    if (ret < 0)
        die("io_uring", -ret);
    if ((cqe->flags & IORING_CQE_F_NOTIF) == 0 && cqe->res <= 0)
        die("io_uring send", -cqe->res);
    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        s->left[cqe->user_data]--;
    io_uring_cqe_seen(&s->ring, cqe);
}

/* Two sends under way would be mixed: one waits for the other. */
static void send_uring_by(struct sender *s, unsigned int piece, size_t len,
                          bool zero_copy)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);
    unsigned int next = (piece + 1) % PIECES;
    int flags = MSG_NOSIGNAL | MSG_WAITALL;

    if (zero_copy)
        io_uring_prep_send_zc(sqe, s->fd, piece_at(s, piece), len, flags, 0);
    else
        io_uring_prep_send(sqe, s->fd, piece_at(s, piece), len, flags);
    sqe->user_data = piece;
    s->left[piece]++;
    if (io_uring_submit(&s->ring) != 1)
        die("io_uring_submit", EIO);
    while (s->left[zero_copy ? next : piece] > 0)
        take_cqe(s);
}

static void send_uring(struct sender *s, unsigned int piece, size_t len)
{
    send_uring_by(s, piece, len, false);
}

static void send_uring_zc(struct sender *s, unsigned int piece, size_t len)
{
    send_uring_by(s, piece, len, true);
}

static const struct {
    const char *name;
    send_fn *fn;
} ways[] = {
    { "send", send_plain },        { "sendfile", send_file },
    { "zerocopy", send_zerocopy }, { "uring", send_uring },
    { "uring-zc", send_uring_zc },
};

static send_fn *find_way(const char *name)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(name, ways[i].name) == 0)
            return ways[i].fn;
    return NULL;
}

static void open_sender(struct sender *s)
{
    size_t size = PIECES * s->chunk;
    int one = 1;
    int ret;

    s->memory = memfd_create("senders", MFD_CLOEXEC);
    if (s->memory < 0 || ftruncate(s->memory, (off_t)size) < 0)
        die("memory", errno);
    s->pieces = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_POPULATE, s->memory, 0);
    if (s->pieces == MAP_FAILED)
        die("mmap", errno);
    if (setsockopt(s->fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) < 0)
        die("SO_ZEROCOPY", errno);
    ret = io_uring_queue_init(2 * PIECES, &s->ring, 0);
    if (ret < 0)
        die("io_uring", -ret);
}

static pid_t start_reader(int pair[2], size_t chunk)
{
    pid_t pid = fork();
    char *buf;

    if (pid != 0) {
        close(pair[1]);
        return pid;
    }
    close(pair[0]);
    buf = malloc(chunk);
    while (buf != NULL && read(pair[1], buf, chunk) > 0)
        ;
    exit(buf == NULL);
}

static long long cpu_ns(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000LL +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000LL;
}

static long long now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int main(int argc, char **argv)
{
    send_fn *fn = argc == 4 ? find_way(argv[1]) : NULL;
    uint64_t bytes = argc == 4 ? strtoull(argv[2], NULL, 0) : 0;
    struct sender s = { .chunk = argc == 4 ? strtoull(argv[3], NULL, 0) : 0 };
    long long start, before;
    int pair[2];
    int status;

    if (fn == NULL || bytes == 0 || s.chunk == 0 || bytes % s.chunk != 0) {
        fprintf(stderr, "usage: senders WAY BYTES CHUNK, BYTES a multiple\n");
        return 2;
    }
    if (tcp_pair(pair) < 0)
        die("tcp", errno);
    s.fd = pair[0];
    start_reader(pair, 1 << 20);
    open_sender(&s);

    start = now_ns();
    before = cpu_ns(RUSAGE_SELF);
    for (uint64_t i = 0; i < bytes / s.chunk; i++) {
        unsigned int piece = (unsigned int)(i % PIECES);

        memset(piece_at(&s, piece), (int)i, s.chunk);
        fn(&s, piece, s.chunk);
    }
    shutdown(s.fd, SHUT_WR);
    if (wait(&status) < 0 || status != 0)
        die("reader", ECHILD);
    printf("%lld %lld %lld\n", now_ns() - start, cpu_ns(RUSAGE_SELF) - before,
           cpu_ns(RUSAGE_CHILDREN));
    return 0;
}
