/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor of the transfer bench: the same bytes over the same kinds of
 * sockets through as many processes, with none of our code in the way.
 *
 *     producer -> relay -> relay -> consumer
 *
 * The outer hops are UNIX sockets, as between a device and its migration; the
 * middle one is what is measured: unix or tcp.  Each relay is the plainest
 * loop there is: read, send.
 *
 *     floor unix|tcp BYTES CHUNK      prints nanoseconds
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tcp.h"

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_all(int fd, const char *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

        if (n <= 0)
            die("send");
        buf += n;
        len -= (size_t)n;
    }
}

static char *new_buffer(size_t size)
{
    char *buf = malloc(size);

    if (buf == NULL)
        die("malloc");
    memset(buf, 0x5a, size);
    return buf;
}

static void produce(int out, uint64_t bytes, size_t chunk)
{
    char *buf = new_buffer(chunk);

    while (bytes > 0) {
        size_t n = bytes < chunk ? (size_t)bytes : chunk;

        send_all(out, buf, n);
        bytes -= n;
    }
    free(buf);
}

static void relay(int in, int out, size_t chunk)
{
    char *buf = new_buffer(chunk);
    ssize_t n;

    while ((n = read(in, buf, chunk)) > 0)
        send_all(out, buf, (size_t)n);
    if (n < 0)
        die("read");
    free(buf);
}

static uint64_t consume(int in, size_t chunk)
{
    char *buf = new_buffer(chunk);
    uint64_t bytes = 0;
    ssize_t n;

    while ((n = read(in, buf, chunk)) > 0)
        bytes += (uint64_t)n;
    free(buf);
    return bytes;
}

static void unix_pair(int pair[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        die("socketpair");
}

static void open_link(const char *link, int pair[2])
{
    if (strcmp(link, "tcp") != 0)
        unix_pair(pair);
    else if (tcp_pair(pair) < 0)
        die("tcp");
}

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Runs a process that uses @in and @out and nothing else. */
static void spawn(int in, int out, uint64_t bytes, size_t chunk)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid > 0)
        return;
    for (int fd = 3; fd < 32; fd++)
        if (fd != in && fd != out)
            close(fd);
    if (in < 0)
        produce(out, bytes, chunk);
    else
        relay(in, out, chunk);
    exit(0);
}

int main(int argc, char **argv)
{
    uint64_t bytes = argc == 4 ? strtoull(argv[2], NULL, 0) : 0;
    size_t chunk = argc == 4 ? strtoull(argv[3], NULL, 0) : 0;
    int a[2], b[2], c[2];
    int64_t start;
    int status;

    if (bytes == 0 || chunk == 0) {
        fprintf(stderr, "usage: floor unix|tcp BYTES CHUNK\n");
        return 2;
    }
    unix_pair(a);
    open_link(argv[1], b);
    unix_pair(c);

    start = now_ns();
    spawn(-1, a[0], bytes, chunk);
    spawn(a[1], b[0], 0, chunk);
    spawn(b[1], c[0], 0, chunk);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    close(c[0]);
    if (consume(c[1], chunk) != bytes)
        die("bytes are missing");
    printf("%lld\n", (long long)(now_ns() - start));
    while (wait(&status) > 0)
        if (status != 0)
            return 1;
    return 0;
}
