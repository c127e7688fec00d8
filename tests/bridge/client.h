/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_BRIDGE_CLIENT_H
#define VFM_TESTS_BRIDGE_CLIENT_H

/*
 * A program that knows <linux/vfio.h> and the device's data sheet, and has
 * never heard of the bridge.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emulator/registers.h"
#include "vfio.h"

/* Everything in it ends by itself, or by SIGALRM. */
#define CLIENT_SECONDS 120

struct client {
    const char *address;
    bool by_cdev;
    int container; /* or iommufd */
    int group;     /* -1: by cdev */
    int device;
    uint32_t ioas;
};

/* Ends the program unless it is true; says what is not, and errno. */
void expect(bool is_true, const char *sentence);

/* open.c */
void client_open(struct client *c, const char *how, const char *address);
void client_close(struct client *c);

/* 0 or -errno. */
int client_map(struct client *c, void *memory, uint64_t size, uint64_t iova,
               bool writable);
int client_unmap(struct client *c, uint64_t iova, uint64_t size);

/* Registers, by system calls. */
uint64_t client_region(const struct client *c, uint32_t index,
                       struct vfio_region_info *info);
void client_read(const struct client *c, uint32_t index, uint64_t at,
                 void *data, size_t len);
void client_write(const struct client *c, uint32_t index, uint64_t at,
                  const void *data, size_t len);
uint32_t reg32(const struct client *c, uint64_t at);
uint64_t reg64(const struct client *c, uint64_t at);
void set32(const struct client *c, uint64_t at, uint32_t value);
void set64(const struct client *c, uint64_t at, uint64_t value);

/* 0 or -errno; @data is @len bytes that go in and come back. */
int client_feature(const struct client *c, uint32_t flags, void *data,
                   size_t len);

/* Asks for a state; returns the data descriptor, or -1. */
int client_go(const struct client *c, uint32_t state);
uint32_t client_state(const struct client *c);

/* Each is a chapter of what has to work. */
void try_regions(struct client *c);
void try_interrupts(struct client *c);
void try_dma(struct client *c);
void try_log(struct client *c);
void try_migration(struct client *c);
void try_errors(struct client *c);
void try_processes(struct client *c);
void try_races(struct client *c);

/* dma.c: has the device fill memory, and waits for its interrupt without a
 * call on any descriptor of VFIO. */
uint32_t client_fill(struct client *c, uint64_t iova, uint64_t len,
                     uint64_t seed);
bool is_filled(const void *memory, uint64_t len, uint64_t seed);

#endif
