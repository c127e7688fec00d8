/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM of memory and one processor moves, while it runs, to a process of its
 * own: memory in rounds, a tracker that knows what was written, the processor's
 * register as a blob.
 *
 *     example-memory
 *
 * The processor is a thread here, and marks what it writes by itself; a VMM has
 * vfm_dirty_tracker_new_kvm_log() for that.  See examples/vmm for one that has
 * devices too.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vfmig/blob.h>
#include <vfmig/channel.h>
#include <vfmig/dirty.h>
#include <vfmig/migration.h>
#include <vfmig/ram.h>

#define PAGES 1024
#define WORDS (PAGES / 64)
#define BYTES ((size_t)PAGES * VFM_RAM_PAGE_SIZE)

struct vm {
    const char *name; /* of the side, for what is printed */

    uint64_t *memory;

    pthread_t processor;
    atomic_bool stops;
    _Atomic uint64_t counter; /* its register */

    _Atomic uint64_t written[WORDS]; /* a bit for each page */
};

static int refuse(struct vfm_error *err, int code, const char *why)
{
    err->code = code;
    snprintf(err->message, sizeof(err->message), "%s", why);
    return code;
}

/* ------------------------------------------------------------- the guest */

static uint64_t *page_of(const struct vm *vm, uint64_t counter)
{
    return vm->memory + counter % PAGES * (VFM_RAM_PAGE_SIZE / 8);
}

/* Page after page holds the counter.  It is marked when it was written and not
 * before: a report in between would take the mark, and the page would be read
 * before it was written. */
static void *run_processor(void *opaque)
{
    struct vm *vm = opaque;

    while (!vm->stops) {
        uint64_t page = vm->counter % PAGES;

        *page_of(vm, page) = vm->counter;
        atomic_fetch_or(&vm->written[page / 64], UINT64_C(1) << page % 64);
        vm->counter++;
    }
    return NULL;
}

/* Whether each page holds the last counter that it was given. */
static bool is_whole(const struct vm *vm)
{
    const uint64_t counter = vm->counter;

    for (uint64_t n = 1; n <= PAGES && n <= counter; n++)
        if (*page_of(vm, counter - n) != counter - n)
            return false;
    return true;
}

static int stop_vm(void *opaque, struct vfm_error *err)
{
    struct vm *vm = opaque;

    (void)err;
    vm->stops = true;
    pthread_join(vm->processor, NULL);
    printf("%s: stops at %llu\n", vm->name, (unsigned long long)vm->counter);
    return 0;
}

static int start_vm(void *opaque, struct vfm_error *err)
{
    struct vm *vm = opaque;
    int ret;

    printf("%s: starts at %llu\n", vm->name, (unsigned long long)vm->counter);
    vm->stops = false;
    ret = pthread_create(&vm->processor, NULL, run_processor, vm);
    return ret != 0 ? refuse(err, -ret, "no thread") : 0;
}

/* ----------------------------------------------------------- the tracker */

/* Takes the marks, of which those from before it was started are of no
 * interest: memory is sent as a whole first. */
static int report(void *opaque, struct vfm_dirty_sink *sink,
                  struct vfm_error *err)
{
    struct vm *vm = opaque;
    uint64_t bitmap[WORDS];

    (void)err;
    for (size_t i = 0; i < WORDS; i++)
        bitmap[i] = atomic_exchange(&vm->written[i], 0);
    vfm_dirty_mark(sink, 0, VFM_RAM_PAGE_SIZE, bitmap, PAGES);
    return 0;
}

static int start(void *opaque, const struct vfm_dirty_range *ranges, size_t n,
                 struct vfm_error *err)
{
    (void)opaque;
    (void)ranges;
    (void)n;
    (void)err;
    return 0;
}

static int stop(void *opaque, struct vfm_error *err)
{
    (void)opaque;
    (void)err;
    return 0;
}

static const struct vfm_dirty_ops tracker_ops = {
    .size = sizeof(tracker_ops),
    .name = "the processor's marks",
    .start = start,
    .report = report,
    .stop = stop,
};

/* -------------------------------------------------------------- the blob */

static ssize_t save(void *opaque, void *buf, size_t size, struct vfm_error *err)
{
    const struct vm *vm = opaque;
    const uint64_t counter = vm->counter;

    (void)size;
    (void)err;
    memcpy(buf, &counter, sizeof(counter));
    return sizeof(counter);
}

/* All of memory has come, and nothing has run: who finds out here that
 * something is wrong is no loss to anybody, the VM goes on at the source. */
static int load(void *opaque, uint32_t version, const void *data, size_t len,
                struct vfm_error *err)
{
    struct vm *vm = opaque;
    uint64_t counter;

    (void)version;
    if (len != sizeof(counter))
        return refuse(err, -EINVAL, "no counter");
    memcpy(&counter, data, len);
    vm->counter = counter;
    if (!is_whole(vm))
        return refuse(err, -EBADMSG, "memory is not what it was");
    printf("%s: each page holds what was written last\n", vm->name);
    return 0;
}

/* --------------------------------------------------------- the migration */

/* Both sides describe what they have; they are compared before anything is
 * sent. */
static int describe(struct vm *vm, struct vfm_ram *ram, struct vfm_migration *m,
                    struct vfm_error *err)
{
    const struct vfm_ram_block block = {
        .size = sizeof(block),
        .name = "ram",
        .bytes = BYTES,
        .memory = vm->memory,
        .fresh = true,
    };
    const struct vfm_blob blob = {
        .size = sizeof(blob),
        .name = "processor",
        .version = 1,
        .min_version = 1,
        .max_bytes = sizeof(uint64_t),
        .save = save,
        .load = load,
        .opaque = vm,
    };
    int ret = vfm_ram_add_block(ram, &block, err);

    if (ret == 0)
        ret = vfm_ram_add_mapping(ram, "ram", 0, 0, BYTES, err);
    if (ret == 0)
        ret = vfm_migration_set_ram(m, ram, err);
    if (ret == 0)
        ret = vfm_migration_add_blob(m, &blob, err);
    return ret;
}

/* What failed is no reason to start the VM here: the library has done that if
 * it may run here.  Where it may not, the VMM has to know. */
static void say_owner(const struct vm *vm, enum vfm_outcome outcome)
{
    if (outcome == VFM_OUTCOME_HANDED_OVER)
        printf("%s: it was given away, and may run there\n", vm->name);
}

/* Returns 0 if the VM is now where it is to be. */
static int migrate(struct vm *vm, enum vfm_role role,
                   struct vfm_channel *channel, struct vfm_error *err)
{
    const struct vfm_migration_callbacks callbacks = {
        .size = sizeof(callbacks),
        .stop_vm = stop_vm,
        .start_vm = start_vm,
    };
    const struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = role,
        .callbacks = &callbacks,
        .opaque = vm,
        /* A guest that writes all its memory all the time, on a machine that
         * has other things to do: without this it would be given up. */
        .downtime_limit_ms = 3000,
    };
    struct vfm_dirty_tracker *tracker = NULL;
    struct vfm_migration *m = NULL;
    struct vfm_ram *ram = NULL;
    int ret;

    ret = vfm_migration_new(channel, &options, &m, err);
    if (ret == 0)
        ret = vfm_ram_new(&ram, err);
    if (ret == 0)
        ret = describe(vm, ram, m, err);
    if (ret == 0 && role == VFM_ROLE_SOURCE)
        ret = vfm_dirty_tracker_new(&tracker_ops, vm, &tracker, err);
    if (ret == 0 && role == VFM_ROLE_SOURCE)
        ret = vfm_migration_add_tracker(m, tracker, NULL, err);
    if (ret == 0)
        ret = vfm_migration_run(m, err);
    if (m != NULL)
        say_owner(vm, vfm_migration_get_outcome(m));
    vfm_migration_close(m);
    vfm_dirty_tracker_free(tracker);
    vfm_ram_free(ram);
    return ret;
}

/* ----------------------------------------------------------- the two sides */

static int vm_create(struct vm *vm, const char *name, struct vfm_error *err)
{
    void *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *vm = (struct vm){ .name = name };
    if (memory == MAP_FAILED)
        return refuse(err, -errno, "no memory");
    vm->memory = memory;
    return 0;
}

/* Until all of memory was written, again. */
static void let_run(const struct vm *vm)
{
    const uint64_t until = vm->counter + PAGES;

    while (vm->counter < until)
        continue;
}

static int source(struct vm *vm, struct vfm_channel *channel,
                  struct vfm_error *err)
{
    int ret = start_vm(vm, err);

    if (ret < 0)
        return ret;
    let_run(vm);
    return migrate(vm, VFM_ROLE_SOURCE, channel, err);
}

static int target(struct vm *vm, struct vfm_channel *channel,
                  struct vfm_error *err)
{
    int ret = migrate(vm, VFM_ROLE_TARGET, channel, err);

    if (ret < 0)
        return ret;
    let_run(vm);
    return stop_vm(vm, err);
}

/* Returns the exit status of this side. */
static int run_side(const char *name, int fd,
                    int (*side)(struct vm *vm, struct vfm_channel *channel,
                                struct vfm_error *err))
{
    struct vfm_channel *channel = NULL;
    struct vfm_error err = { 0 };
    static struct vm vm;
    int ret;

    setvbuf(stdout, NULL, _IOLBF, 0);
    ret = vm_create(&vm, name, &err);
    if (ret == 0)
        ret = vfm_channel_from_fd(fd, "socket", NULL, &channel, &err);
    if (ret < 0)
        close(fd);
    if (ret == 0)
        ret = side(&vm, channel, &err);
    if (ret < 0)
        fprintf(stderr, "%s: %s\n", name, err.message);
    vfm_channel_close(channel);
    return ret < 0;
}

int main(void)
{
    int status = 1;
    int failed;
    int fds[2];
    pid_t child;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
        (child = fork()) < 0) {
        perror("example-memory");
        return 1;
    }
    if (child == 0) {
        close(fds[0]);
        return run_side("target", fds[1], target);
    }
    close(fds[1]);
    failed = run_side("source", fds[0], source);
    waitpid(child, &status, 0);
    return failed != 0 || status != 0;
}
