/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast memory goes over, against the plainest way to send the same bytes:
 * two processes, a UNIX or TCP socket, and memory that is full.  Ours is in
 * QEMU's format, a word before each page.
 *
 *     bench-ram unix|tcp MIB warm|fresh    prints nanoseconds: the floor's,
 * then ours
 *
 * Memory that is fresh is given by the host as it is received, which may take
 * longer than everything else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vfmig/migration.h>

#define CHUNK ((size_t)1 << 20)
#define PAGE  4096

static void die(const char *what)
{
    fprintf(stderr, "bench-ram: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void tcp_pair(int pair[2])
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    if (listener < 0 || bind(listener, (void *)&addr, len) < 0 ||
        listen(listener, 1) < 0 ||
        getsockname(listener, (void *)&addr, &len) < 0)
        die("listen");
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (pair[0] < 0 || connect(pair[0], (void *)&addr, len) < 0)
        die("connect");
    pair[1] = accept(listener, NULL, NULL);
    close(listener);
}

static void make_pair(const char *kind, int pair[2])
{
    int size = 512 << 10;

    if (strcmp(kind, "tcp") == 0)
        tcp_pair(pair);
    else if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        die("socketpair");
    /* As channels do, or the floor would be that of the default. */
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static uint8_t *new_memory(int *fd, size_t size)
{
    void *memory;

    *fd = memfd_create("bench", 0);
    if (*fd < 0 || ftruncate(*fd, (off_t)size) < 0)
        die("memfd");
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    return memory;
}

/* Both sides' memory; the target's is new each time. */
struct sides {
    size_t size;
    int from_fd;
    uint8_t *from;
    bool fresh;
    int pair[2];
};

/* The target's memory; the source begins when it is there. */
static uint8_t *make_ready(const struct sides *s, int *fd)
{
    uint8_t *memory = new_memory(fd, s->size);

    if (!s->fresh)
        memset(memory, 0, s->size);
    if (write(s->pair[1], "", 1) != 1)
        die("write");
    return memory;
}

static void send_plainly(const struct sides *s)
{
    char done;

    for (size_t at = 0; at < s->size;) {
        size_t left = s->size - at;
        ssize_t n =
            send(s->pair[0], s->from + at, left < CHUNK ? left : CHUNK, 0);

        if (n <= 0)
            die("send");
        at += (size_t)n;
    }
    if (read(s->pair[0], &done, 1) != 1)
        die("read");
}

/* By way of a buffer that stays in the cache: where receiving in place is
 * slower than that, which is the case on some hosts, the floor would be too
 * easy. */
static void receive_plainly(const struct sides *s)
{
    static uint8_t buffer[CHUNK / 4];
    int fd;
    uint8_t *memory = make_ready(s, &fd);

    for (size_t at = 0; at < s->size;) {
        size_t left = s->size - at;
        ssize_t n = recv(s->pair[1], buffer,
                         left < sizeof(buffer) ? left : sizeof(buffer), 0);

        if (n <= 0)
            die("recv");
        memcpy(memory + at, buffer, (size_t)n);
        at += (size_t)n;
    }
    if (write(s->pair[1], "", 1) != 1)
        die("write");
}

static int nothing(void *opaque, const struct vfm_dirty_range *ranges, size_t n,
                   struct vfm_error *err)
{
    (void)opaque;
    (void)ranges;
    (void)n;
    (void)err;
    return 0;
}

static int report_nothing(void *opaque, struct vfm_dirty_sink *sink,
                          struct vfm_error *err)
{
    (void)opaque;
    (void)sink;
    (void)err;
    return 0;
}

static int stop_nothing(void *opaque, struct vfm_error *err)
{
    (void)opaque;
    (void)err;
    return 0;
}

static const struct vfm_dirty_ops no_writer = {
    .size = sizeof(no_writer),
    .name = "nobody",
    .start = nothing,
    .report = report_nothing,
    .stop = stop_nothing,
};

static void migrate(enum vfm_role role, int socket, uint8_t *memory,
                    size_t size)
{
    const struct vfm_migration_options options = { .size = sizeof(options),
                                                   .role = role };
    const struct vfm_ram_block block = { .size = sizeof(block),
                                         .name = "ram",
                                         .bytes = size,
                                         .memory = memory,
                                         .fresh = true };
    struct vfm_dirty_tracker *tracker;
    struct vfm_migration *m;
    struct vfm_channel *channel;
    struct vfm_error err;
    struct vfm_ram *ram;

    if (vfm_channel_from_fd(socket, "bench", NULL, &channel, &err) < 0 ||
        vfm_migration_new(channel, &options, &m, &err) < 0 ||
        vfm_dirty_tracker_new(&no_writer, NULL, &tracker, &err) < 0 ||
        vfm_ram_new(&ram, &err) < 0 ||
        vfm_ram_add_block(ram, &block, &err) < 0 ||
        vfm_ram_add_mapping(ram, "ram", 0, 0, size, &err) < 0 ||
        vfm_migration_set_ram(m, ram, &err) < 0 ||
        (options.role == VFM_ROLE_SOURCE &&
         vfm_migration_add_tracker(m, tracker, NULL, &err) < 0) ||
        vfm_migration_run(m, &err) < 0) {
        fprintf(stderr, "bench-ram: %s\n", err.message);
        exit(1);
    }
    vfm_migration_close(m);
    vfm_dirty_tracker_free(tracker);
    vfm_ram_free(ram);
    vfm_channel_close(channel);
}

static void send_ours(const struct sides *s)
{
    migrate(VFM_ROLE_SOURCE, s->pair[0], s->from, s->size);
}

static void receive_ours(const struct sides *s)
{
    int fd;
    uint8_t *memory = make_ready(s, &fd);

    migrate(VFM_ROLE_TARGET, s->pair[1], memory, s->size);
}

/* Nanoseconds from the first byte until the other side has it all. */
static int64_t measure(const char *kind, struct sides *s,
                       void (*send)(const struct sides *),
                       void (*receive)(const struct sides *))
{
    int64_t began_at;
    char ready;
    int status;
    pid_t pid;

    make_pair(kind, s->pair);
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        close(s->pair[0]);
        receive(s);
        _exit(0);
    }
    close(s->pair[1]);
    if (read(s->pair[0], &ready, 1) != 1)
        die("the receiver is not ready");
    began_at = now();
    send(s);
    began_at = now() - began_at;
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        die("the receiver failed");
    return began_at;
}

int main(int argc, char **argv)
{
    struct sides s;

    if (argc != 4) {
        fprintf(stderr, "usage: bench-ram unix|tcp MIB warm|fresh\n");
        return 2;
    }
    s.size = (size_t)strtoull(argv[2], NULL, 10) << 20;
    s.fresh = strcmp(argv[3], "fresh") == 0;
    s.from = new_memory(&s.from_fd, s.size);
    for (size_t i = 0; i < s.size; i += 8)
        *(uint64_t *)(void *)(s.from + i) = i + 1;
    /* The first time is that of the host, which has to find memory. */
    measure(argv[1], &s, send_plainly, receive_plainly);
    printf("%lld ",
           (long long)measure(argv[1], &s, send_plainly, receive_plainly));
    printf("%lld\n", (long long)measure(argv[1], &s, send_ours, receive_ours));
    return 0;
}
