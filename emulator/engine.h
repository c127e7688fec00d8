/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_ENGINE_H
#define VFM_EMULATOR_ENGINE_H

/*
 * The DMA engine: carries out the operation that the driver started, a piece
 * at a time, while the device may do DMA.
 *
 * Where it is in an operation is in the device's registers, so that it goes
 * on after a migration with the piece that it had not finished.  Memory that
 * is mapped without a descriptor is reached by messages, one at a time; the
 * engine waits for the answer without blocking, until a deadline.
 *
 * Threads: none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;
struct stream_registers;

/* The most that one piece, and so one message, carries. */
#define ENGINE_PIECE 65536

/* How to send DMA messages to the client; false: not now. */
struct dma_peer {
    bool (*request)(struct dma_peer *peer, bool is_write, uint64_t iova,
                    const void *data, uint32_t size);
    uint32_t max_size;
};

enum engine_wait { WAIT_NOTHING, WAIT_READ, WAIT_WRITE };

struct engine {
    struct dma_peer *peer; /* null: no client */
    enum engine_wait wait;
    uint32_t wait_size;
    int64_t deadline;
    int64_t ring_since;   /* when the ring's pace began ... */
    uint64_t ring_anchor; /* ... and its sequence number then */
    int64_t late_until;   /* a mutant's: it goes on until then */
    bool stopping;        /* when the message under way is answered */
    bool piece_ready;     /* piece[] holds what is to be written next */
    uint32_t piece_size;
    uint8_t piece[ENGINE_PIECE];
};

/* The doorbell. */
void engine_start(struct device *d);
void engine_stop(struct device *d);

/* Can the operation in these registers, which come from a saved state, be
 * gone on with? */
bool engine_can_resume(const struct stream_registers *r);

/* Does some work.  Returns when it wants to be called again: a time of
 * clock_now(), in the past if there is more to do at once. */
int64_t engine_step(struct device *d, int64_t now);

/* Is a message under way whose answer must be waited for? */
bool engine_is_waiting(const struct device *d);

/* The answer: @error is 0 or positive; @data is what was read. */
void engine_answer(struct device *d, uint32_t error, const void *data,
                   size_t size);

/* Forgets the message under way; its piece is done again later. */
void engine_abandon(struct device *d);

/* Writes up to @bytes more of the operation that is under way, if it is FILL or
 * RING and goes to memory: what hardware has in its queues when it is told to
 * stop.  It is logged, and part of the state, like all that it does. */
void engine_finish_late(struct device *d, uint64_t bytes);

#endif
