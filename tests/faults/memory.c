/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions that can fail: memory.
 *
 * dlsym() may want memory itself before it has found malloc(): that comes from
 * a piece of our own, and stays there.
 */
#undef _FILE_OFFSET_BITS
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fail.h"

#define EARLY_SIZE 65536

static _Alignas(16) char early[EARLY_SIZE];
static size_t early_used;
static bool searching;

static bool is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + EARLY_SIZE;
}

static void *early_calloc(size_t n, size_t size)
{
    size_t bytes = (n * size + 15) & ~(size_t)15;
    void *p = early + early_used;

    if (bytes > EARLY_SIZE - early_used)
        abort();
    early_used += bytes;
    return p;
}

static void *find(const char *name)
{
    void *real;

    searching = true;
    real = fail_real(name);
    searching = false;
    return real;
}

/* A function that returns memory. */
#define GIVES(fn, params, args, libc, while_searching)                     \
    void *fn params;                                                       \
    void *fn params                                                        \
    {                                                                      \
        static struct fail_point point = { .name = #fn, .by_libc = libc }; \
        static void *(*real)params;                                        \
        void *ret;                                                         \
                                                                           \
        if (searching)                                                     \
            return while_searching;                                        \
        if (real == NULL)                                                  \
            real = find(#fn);                                              \
        if (fail_strike(&point, CALLER) != FAIL_NOT)                       \
            return NULL;                                                   \
        ret = real args;                                                   \
        fail_take_memory(ret, #fn, CALLER);                                \
        return ret;                                                        \
    }

GIVES(malloc, (size_t size), (size), true, early_calloc(1, size))
GIVES(calloc, (size_t n, size_t size), (n, size), true, early_calloc(n, size))
GIVES(aligned_alloc, (size_t align, size_t size), (align, size), false, NULL)

#define RESIZES(fn, params, args)                                          \
    void *fn params;                                                       \
    void *fn params                                                        \
    {                                                                      \
        static struct fail_point point = { .name = #fn, .by_libc = true }; \
        static void *(*real)params;                                        \
        void *ret;                                                         \
                                                                           \
        if (real == NULL)                                                  \
            real = find(#fn);                                              \
        if (is_early(p))                                                   \
            abort();                                                       \
        if (fail_strike(&point, CALLER) != FAIL_NOT)                       \
            return NULL;                                                   \
        fail_give_memory(p);                                               \
        ret = real args;                                                   \
        fail_take_memory(ret == NULL ? p : ret, #fn, CALLER);              \
        return ret;                                                        \
    }

RESIZES(realloc, (void *p, size_t size), (p, size))
RESIZES(reallocarray, (void *p, size_t n, size_t size), (p, n, size))

int posix_memalign(void **p, size_t align, size_t size);
void free(void *p);
char *strdup(const char *text);
char *strndup(const char *text, size_t size);
int asprintf(char **text, const char *fmt, ...);
char *realpath(const char *path, char *buf);

int posix_memalign(void **p, size_t align, size_t size)
{
    static struct fail_point point = { .name = "posix_memalign" };
    static int (*real)(void **, size_t, size_t);
    int ret;

    if (real == NULL)
        real = find("posix_memalign");
    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return fail_code();
    ret = real(p, align, size);
    if (ret == 0)
        fail_take_memory(*p, "posix_memalign", CALLER);
    return ret;
}

void free(void *p)
{
    static void (*real)(void *);

    /* What dlsym() frees while it searches is little. */
    if (is_early(p) || (real == NULL && searching))
        return;
    if (real == NULL)
        real = find("free");
    fail_give_memory(p);
    real(p);
}

char *strdup(const char *text)
{
    static struct fail_point point = { .name = "strdup" };
    static char *(*real)(const char *);
    char *ret;

    if (real == NULL)
        real = find("strdup");
    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return NULL;
    fail_pause(true);
    ret = real(text);
    fail_pause(false);
    fail_take_memory(ret, "strdup", CALLER);
    return ret;
}

char *strndup(const char *text, size_t size)
{
    static struct fail_point point = { .name = "strndup" };
    static char *(*real)(const char *, size_t);
    char *ret;

    if (real == NULL)
        real = find("strndup");
    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return NULL;
    fail_pause(true);
    ret = real(text, size);
    fail_pause(false);
    fail_take_memory(ret, "strndup", CALLER);
    return ret;
}

int asprintf(char **text, const char *fmt, ...)
{
    static struct fail_point point = { .name = "asprintf" };
    va_list ap;
    int ret;

    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return -1;
    va_start(ap, fmt);
    fail_pause(true);
    ret = vasprintf(text, fmt, ap);
    fail_pause(false);
    va_end(ap);
    if (ret >= 0)
        fail_take_memory(*text, "asprintf", CALLER);
    return ret;
}

char *realpath(const char *path, char *buf)
{
    static struct fail_point point = { .name = "realpath" };
    static char *(*real)(const char *, char *);
    char *ret;

    if (real == NULL)
        real = find("realpath");
    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return NULL;
    fail_pause(true);
    ret = real(path, buf);
    fail_pause(false);
    if (buf == NULL)
        fail_take_memory(ret, "realpath", CALLER);
    return ret;
}

/* ------------------------------------------------ mappings */

void *mmap64(void *at, size_t size, int prot, int flags, int fd,
             int64_t offset);
int munmap(void *at, size_t size);
void *mremap(void *at, size_t old, size_t size, int flags, ...);

void *mmap64(void *at, size_t size, int prot, int flags, int fd, int64_t offset)
{
    static struct fail_point point = { .name = "mmap64" };
    static void *(*real)(void *, size_t, int, int, int, int64_t);
    void *ret;

    if (real == NULL)
        real = find("mmap64");
    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return MAP_FAILED;
    ret = real(at, size, prot, flags, fd, offset);
    /* What replaces a part of another mapping goes with that. */
    if (ret != MAP_FAILED && (flags & MAP_FIXED) == 0)
        fail_take_memory(ret, "mmap64", CALLER);
    return ret;
}

int munmap(void *at, size_t size)
{
    static int (*real)(void *, size_t);

    if (real == NULL)
        real = find("munmap");
    fail_give_memory(at);
    return real(at, size);
}

/* Of what may be moved to wherever there is room. */
void *mremap(void *at, size_t old, size_t size, int flags, ...)
{
    static struct fail_point point = { .name = "mremap" };
    static void *(*real)(void *, size_t, size_t, int, ...);
    void *ret;

    if (real == NULL)
        real = find("mremap");
    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return MAP_FAILED;
    fail_give_memory(at);
    ret = real(at, old, size, flags);
    fail_take_memory(ret == MAP_FAILED ? at : ret, "mremap", CALLER);
    return ret;
}

/* ------------------------------------------------ files of the C library */

FILE *fopen64(const char *path, const char *mode);
FILE *fdopen(int fd, const char *mode);
int fclose(FILE *file);
DIR *opendir(const char *path);

FILE *fopen64(const char *path, const char *mode)
{
    static struct fail_point point = { .name = "fopen64" };
    static FILE *(*real)(const char *, const char *);
    FILE *ret;

    if (real == NULL)
        real = find("fopen64");
    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return NULL;
    ret = real(path, mode);
    if (ret != NULL)
        fail_take_fd(fileno(ret), "fopen64", CALLER);
    return ret;
}

FILE *fdopen(int fd, const char *mode)
{
    static struct fail_point point = { .name = "fdopen" };
    static FILE *(*real)(int, const char *);

    if (real == NULL)
        real = find("fdopen");
    return fail_strike(&point, CALLER) != FAIL_NOT ? NULL : real(fd, mode);
}

FILE *tmpfile64(void);
FILE *open_memstream(char **text, size_t *size);

FILE *tmpfile64(void)
{
    static struct fail_point point = { .name = "tmpfile64" };
    static FILE *(*real)(void);
    FILE *ret;

    if (real == NULL)
        real = find("tmpfile64");
    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return NULL;
    ret = real();
    if (ret != NULL)
        fail_take_fd(fileno(ret), "tmpfile64", CALLER);
    return ret;
}

FILE *open_memstream(char **text, size_t *size)
{
    static struct fail_point point = { .name = "open_memstream" };
    static FILE *(*real)(char **, size_t *);

    if (real == NULL)
        real = find("open_memstream");
    return fail_strike(&point, CALLER) != FAIL_NOT ? NULL : real(text, size);
}

/* It is closed, and what it held may be lost; one without a descriptor, which
 * is memory, for want of that. */
int fclose(FILE *file)
{
    static struct fail_point points[] = { { .name = "fclose" },
                                          { .name = "fclose-memory" } };
    static int (*real)(FILE *);
    enum fail_how how = fail_strike(&points[fileno(file) < 0], CALLER);
    int saved_errno = errno;
    int ret;

    if (real == NULL)
        real = find("fclose");
    ret = real(file);
    if (how == FAIL_NOT)
        return ret;
    errno = saved_errno;
    return EOF;
}

DIR *opendir(const char *path)
{
    static struct fail_point point = { .name = "opendir" };
    static DIR *(*real)(const char *);
    DIR *ret;

    if (real == NULL)
        real = find("opendir");
    if (fail_strike(&point, CALLER) != FAIL_NOT)
        return NULL;
    ret = real(path);
    if (ret != NULL)
        fail_take_fd(dirfd(ret), "opendir", CALLER);
    return ret;
}
