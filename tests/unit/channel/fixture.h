/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_CHANNEL_FIXTURE_H
#define VFM_TESTS_CHANNEL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vfmig/channel.h>

/* Long enough on a busy machine; a test that reaches it has failed. */
#define LIMIT_MS 10000

/* Before and after each test: a directory of its own, the descriptors counted,
 * and an alarm that ends a test that hangs. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

#define CHANNEL_TEST(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

/* Returns the path of @name in the test's directory; static storage, four
 * calls deep. */
const char *path_of(const char *name);

/* Returns @prefix and the path of @name, likewise. */
const char *uri_of(const char *prefix, const char *name);

/* Options that give up after @timeout_ms. */
struct vfm_channel_options options(uint32_t timeout_ms);

int64_t soon(void);

struct vfm_channel *connect_to(const char *uri);
struct vfm_channel *accept_at(const char *uri);
struct vfm_channel *channel_of(int fd);

/* Both ends of a connection: channels over a socket pair. */
void channel_pair(struct vfm_channel *end[2]);

/* Sends all, waiting for the peer; returns 0 or the failure. */
int send_all(struct vfm_channel *ch, const void *buf, size_t len);
int send_text(struct vfm_channel *ch, const char *text);

/* Finishes, waiting for a command. */
int finish(struct vfm_channel *ch, struct vfm_error *err);

/* Receives until the end or @len bytes; returns the count or the failure. */
ssize_t recv_all(struct vfm_channel *ch, void *buf, size_t len);

/* What is received until the end is @text. */
void expect_text(struct vfm_channel *ch, const char *text);

/* The message of @err has @part in it. */
void expect_message(const struct vfm_error *err, const char *part);

/* The file's content is @text. */
void expect_file(const char *path, const char *text);
void write_file(const char *path, const char *text);

/* Entries in the test's directory. */
int count_entries(void);

#endif
