/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMA engine.
 *
 * An operation is a sequence of pieces; a piece is read (COPY, VERIFY) or
 * made (FILL, RING), then written or compared.  Either half may have to wait
 * for the client's answer to a message.  Where to go on is always
 * registers.dma_done_bytes or, in a ring, registers.dma_sequence.
 */
#include <string.h>

#include "emulator/device.h"
#include "emulator/state.h"
#include "util/clock.h"

/* Work done in one call, so that messages are not kept waiting. */
#define STEP_BYTES     (256u << 10)
#define ANSWER_TIMEOUT (5 * NS_PER_SEC)
/* How long a ring with a rate sleeps when it is ahead. */
#define RING_PACE      NS_PER_MS
#define RING_LAG_MAX   NS_PER_SEC

static bool is_busy(const struct device *d)
{
    return d->registers.dma_status == EDEV_DMA_BUSY;
}

static void forget_piece(struct device *d)
{
    d->engine.wait = WAIT_NOTHING;
    d->engine.piece_ready = false;
    d->engine.stopping = false;
}

bool engine_is_waiting(const struct device *d)
{
    return d->engine.wait != WAIT_NOTHING;
}

static void finish(struct device *d, uint32_t error)
{
    struct stream_registers *r = &d->registers;

    forget_piece(d);
    r->dma_error = error;
    r->dma_status =
        error == EDEV_DMA_ERR_NONE ? EDEV_DMA_DONE : EDEV_DMA_FAILED;
    if (error == EDEV_DMA_ERR_NONE)
        r->dma_completed++;
    else
        r->dma_failed++;
    device_raise(d, error == EDEV_DMA_ERR_NONE ? EDEV_IRQ_DMA_DONE
                                               : EDEV_IRQ_DMA_ERROR);
}

void engine_abandon(struct device *d)
{
    if (d->engine.stopping)
        finish(d, EDEV_DMA_ERR_NONE);
    forget_piece(d);
    d->engine.ring_since = 0;
}

static bool parameters_are_good(const struct stream_registers *r)
{
    uint64_t unit = r->run_op == EDEV_DMA_OP_RING ? EDEV_PAGE_SIZE : 8;

    return r->run_op >= EDEV_DMA_OP_FILL && r->run_op <= EDEV_DMA_OP_RING &&
           r->run_length != 0 && r->run_length % unit == 0 &&
           r->run_length - 1 <= UINT64_MAX - r->run_src &&
           r->run_length - 1 <= UINT64_MAX - r->run_dst;
}

bool engine_can_resume(const struct stream_registers *r)
{
    if (r->dma_status != EDEV_DMA_BUSY)
        return true;
    if (!parameters_are_good(r))
        return false;
    if (r->run_op == EDEV_DMA_OP_RING)
        return r->dma_done_bytes / EDEV_PAGE_SIZE == r->dma_sequence;
    return r->dma_done_bytes < r->run_length;
}

void engine_start(struct device *d)
{
    struct stream_registers *r = &d->registers;

    if (is_busy(d))
        return;
    r->run_src = r->dma_src;
    r->run_dst = r->dma_dst;
    r->run_length = r->dma_length;
    r->run_seed = r->dma_seed;
    r->run_op = r->dma_op;
    r->dma_done_bytes = r->dma_mismatches = r->dma_sequence = 0;
    r->dma_error = EDEV_DMA_ERR_NONE;
    r->dma_status = EDEV_DMA_BUSY;
    engine_abandon(d);
    if (!parameters_are_good(r))
        finish(d, EDEV_DMA_ERR_PARAMETER);
    else if (!config_bus_master(&d->config))
        finish(d, EDEV_DMA_ERR_BUS_MASTER);
}

void engine_stop(struct device *d)
{
    if (engine_is_waiting(d))
        d->engine.stopping = true;
    else if (is_busy(d))
        finish(d, EDEV_DMA_ERR_NONE);
}

/* How a half of a piece went. */
enum outcome { DONE, WAITING, LATER, FAILED };

/* The mapping at @iova, with the permission; shortens *@size to its end. */
static struct mapping *reach(struct device *d, uint64_t iova, uint32_t flag,
                             uint32_t *size, uint32_t *error)
{
    struct mapping *m = dma_find(&d->dma, iova);
    uint64_t left;

    *error = EDEV_DMA_ERR_MAPPING;
    if (m == NULL)
        return NULL;
    *error = EDEV_DMA_ERR_ACCESS;
    if ((m->flags & flag) == 0)
        return NULL;
    left = m->size - (iova - m->iova);
    if (*size > left)
        *size = (uint32_t)left;
    if (m->memory == NULL && *size > d->engine.peer->max_size)
        *size = d->engine.peer->max_size;
    return m;
}

static enum outcome send_request(struct device *d, bool is_write, uint64_t iova,
                                 const void *data, uint32_t size)
{
    struct engine *e = &d->engine;

    if (!e->peer->request(e->peer, is_write, iova, data, size))
        return LATER;
    d->stats.dma_messages++;
    e->wait = is_write ? WAIT_WRITE : WAIT_READ;
    e->wait_size = size;
    e->deadline = clock_now() + ANSWER_TIMEOUT;
    return WAITING;
}

/* Reads at most *@size bytes into the piece. */
static enum outcome read_guest(struct device *d, uint64_t iova, uint32_t *size)
{
    uint32_t error;
    struct mapping *m = reach(d, iova, VFU_DMA_MAP_READ, size, &error);

    if (m == NULL) {
        finish(d, error);
        return FAILED;
    }
    if (m->memory == NULL)
        return send_request(d, false, iova, NULL, *size);
    if (dma_read(m, iova, d->engine.piece, *size) < 0) {
        finish(d, EDEV_DMA_ERR_MAPPING);
        return FAILED;
    }
    if (mutant_is(d, MUTANT_LOG_READS_TOO))
        log_mark(&d->dma, m, iova, *size);
    d->stats.dma_read_bytes += *size;
    return DONE;
}

/* Writes at most *@size bytes of the piece. */
static enum outcome write_guest(struct device *d, uint64_t iova,
                                const uint8_t *from, uint32_t *size)
{
    uint32_t error;
    struct mapping *m = reach(d, iova, VFU_DMA_MAP_WRITE, size, &error);

    if (m == NULL) {
        finish(d, error);
        return FAILED;
    }
    d->stats.dma_written_bytes += *size;
    if (m->memory == NULL) {
        /* From here on the client may have written it. */
        log_mark(&d->dma, m, iova, *size);
        return send_request(d, true, iova, from, *size);
    }
    if (dma_write(&d->dma, m, iova, from, *size) < 0) {
        finish(d, EDEV_DMA_ERR_MAPPING);
        return FAILED;
    }
    return DONE;
}

/* Bytes of the pattern from @at on, counted from the operation's start. */
static void make_pattern(uint64_t seed, uint64_t at, uint8_t *to, uint32_t size)
{
    while (size > 0) {
        size_t in_page = at % EDEV_PAGE_SIZE;
        size_t n = EDEV_PAGE_SIZE - in_page;

        if (n > size)
            n = size;
        memory_fill(edev_page_base(seed, at / EDEV_PAGE_SIZE, 0), in_page, to,
                    n);
        at += n;
        to += n;
        size -= (uint32_t)n;
    }
}

/* Counts wrong words in a piece read for VERIFY, which a mapping's end may
 * have cut within a word. */
static void compare(struct device *d, uint64_t at, uint32_t size)
{
    const uint8_t *piece = d->engine.piece;

    while (size > 0) {
        uint64_t base =
            edev_page_base(d->registers.run_seed, at / EDEV_PAGE_SIZE, 0);
        uint32_t n = 8 - (uint32_t)(at % 8);

        if (n > size)
            n = size;
        d->registers.dma_mismatches +=
            !memory_matches(base, at % EDEV_PAGE_SIZE, piece, n);
        at += n;
        piece += n;
        size -= n;
    }
}

static void make_ring_page(struct device *d)
{
    const struct stream_registers *r = &d->registers;
    struct edev_ring_page head = {
        .magic = EDEV_RING_MAGIC,
        .sequence = r->dma_sequence,
        .seed = r->run_seed,
    };

    device_advance(d);
    head.counter = device_counter(d);
    memory_fill(edev_page_base(r->run_seed, r->dma_sequence, 0), 0,
                d->engine.piece, EDEV_PAGE_SIZE);
    memcpy(d->engine.piece, &head, sizeof(head));
}

/* Fills the piece with what is to be written. */
static enum outcome prepare(struct device *d)
{
    struct stream_registers *r = &d->registers;
    struct engine *e = &d->engine;
    uint64_t left = r->run_length - r->dma_done_bytes;
    uint32_t size = left < ENGINE_PIECE ? (uint32_t)left : ENGINE_PIECE;
    enum outcome outcome = DONE;

    if (r->run_op == EDEV_DMA_OP_RING) {
        make_ring_page(d);
        size = EDEV_PAGE_SIZE;
    } else if (r->run_op == EDEV_DMA_OP_FILL) {
        make_pattern(r->run_seed, r->dma_done_bytes, e->piece, size);
    } else {
        outcome = read_guest(d, r->run_src + r->dma_done_bytes, &size);
    }
    e->piece_size = size;
    e->piece_ready = outcome == DONE;
    return outcome;
}

/* @size bytes of the operation are done. */
static void advance(struct device *d, uint32_t size)
{
    struct stream_registers *r = &d->registers;

    r->dma_done_bytes += size;
    if (r->run_op == EDEV_DMA_OP_RING) {
        if (r->dma_done_bytes % EDEV_PAGE_SIZE != 0)
            return;
        r->dma_sequence++;
    }
    d->engine.piece_ready = false;
    if (r->run_op != EDEV_DMA_OP_RING && r->dma_done_bytes == r->run_length)
        finish(d, EDEV_DMA_ERR_NONE);
}

/* Writes the piece, or what it was read for. */
static enum outcome apply(struct device *d)
{
    struct stream_registers *r = &d->registers;
    struct engine *e = &d->engine;
    uint64_t to = r->run_dst + r->dma_done_bytes;
    uint32_t skip = 0;
    uint32_t size = e->piece_size;
    enum outcome outcome;

    if (r->run_op == EDEV_DMA_OP_VERIFY) {
        compare(d, r->dma_done_bytes, size);
        advance(d, size);
        return DONE;
    }
    if (r->run_op == EDEV_DMA_OP_RING) {
        to = r->run_dst + r->dma_done_bytes % r->run_length;
        /* A page that a mapping's end cuts goes out in parts. */
        skip = (uint32_t)(r->dma_done_bytes % EDEV_PAGE_SIZE);
        size = EDEV_PAGE_SIZE - skip;
    }
    outcome = write_guest(d, to, e->piece + skip, &size);
    if (outcome == DONE)
        advance(d, size);
    return outcome;
}

static enum outcome do_piece(struct device *d)
{
    enum outcome outcome = DONE;

    if (!d->engine.piece_ready)
        outcome = prepare(d);
    if (outcome == DONE && is_busy(d))
        outcome = apply(d);
    return outcome;
}

/* When the ring's next page is due. */
static int64_t ring_due(struct device *d, int64_t now)
{
    struct stream_registers *r = &d->registers;
    struct engine *e = &d->engine;
    unsigned __int128 ns;
    int64_t due;

    if (r->run_op != EDEV_DMA_OP_RING || r->dma_rate == 0)
        return now;
    if (e->ring_since == 0) {
        e->ring_since = now;
        e->ring_anchor = r->dma_sequence;
    }
    ns = r->dma_sequence - e->ring_anchor;
    ns = ns * EDEV_PAGE_SIZE * (uint64_t)NS_PER_SEC / r->dma_rate;
    due = ns > INT64_MAX / 2 ? CLOCK_NEVER : e->ring_since + (int64_t)ns;
    if (now - due > RING_LAG_MAX)
        e->ring_since = 0; /* too slow for this rate: begin anew */
    return due;
}

/* Does a bug do DMA in a state that has none? */
static bool mutant_does_dma(const struct device *d)
{
    if (mutant_is(d, MUTANT_DMA_LATE))
        return !state_runs(d->state) && clock_now() < d->engine.late_until;
    switch (d->state) {
    case UAPI_STATE_STOP:
        return mutant_is(d, MUTANT_DMA_IN_STOP);
    case UAPI_STATE_STOP_COPY:
        return mutant_is(d, MUTANT_DMA_IN_STOP_COPY);
    case UAPI_STATE_RUNNING_P2P:
        return mutant_is(d, MUTANT_DMA_IN_RUNNING_P2P);
    case UAPI_STATE_PRE_COPY_P2P:
        return mutant_is(d, MUTANT_DMA_IN_PRE_COPY_P2P);
    default:
        return false;
    }
}

static bool may_work(const struct device *d)
{
    return is_busy(d) && (state_does_dma(d->state) || mutant_does_dma(d)) &&
           d->engine.peer != NULL && d->dma.count > 0 &&
           config_bus_master(&d->config);
}

static int64_t wait_for_answer(struct device *d, int64_t now)
{
    if (now < d->engine.deadline)
        return d->engine.deadline;
    finish(d, EDEV_DMA_ERR_TIMEOUT);
    return CLOCK_NEVER;
}

int64_t engine_step(struct device *d, int64_t now)
{
    uint64_t begun = d->registers.dma_done_bytes;

    if (engine_is_waiting(d))
        return wait_for_answer(d, now);
    while (may_work(d)) {
        int64_t due = ring_due(d, now);
        enum outcome outcome;

        if (due > now)
            return due > now + RING_PACE ? due : now + RING_PACE;
        outcome = do_piece(d);
        if (outcome == WAITING)
            return d->engine.deadline;
        if (outcome == LATER)
            return now + RING_PACE;
        if (d->registers.dma_done_bytes - begun >= STEP_BYTES)
            return now;
    }
    return CLOCK_NEVER;
}

void engine_answer(struct device *d, uint32_t error, const void *data,
                   size_t size)
{
    struct engine *e = &d->engine;
    enum engine_wait what = e->wait;

    e->wait = WAIT_NOTHING;
    if (what == WAIT_NOTHING)
        return;
    if (error != 0 || (what == WAIT_READ && size != e->wait_size)) {
        finish(d, EDEV_DMA_ERR_PEER);
    } else if (what == WAIT_READ) {
        memcpy(e->piece, data, size);
        d->stats.dma_read_bytes += size;
        e->piece_size = (uint32_t)size;
        e->piece_ready = true;
    } else {
        advance(d, e->wait_size);
    }
    if (e->stopping)
        engine_abandon(d);
}

/* Whether the next piece goes to memory that needs no message. */
static bool writes_memory(struct device *d)
{
    const struct stream_registers *r = &d->registers;
    uint64_t at = r->run_op == EDEV_DMA_OP_RING
                      ? r->dma_done_bytes % r->run_length
                      : r->dma_done_bytes;
    const struct mapping *m;

    if (!is_busy(d) || !config_bus_master(&d->config) ||
        (r->run_op != EDEV_DMA_OP_FILL && r->run_op != EDEV_DMA_OP_RING))
        return false;
    m = dma_find(&d->dma, r->run_dst + at);
    return m != NULL && m->memory != NULL;
}

void engine_finish_late(struct device *d, uint64_t bytes)
{
    uint64_t begun = d->registers.dma_done_bytes;

    while (d->registers.dma_done_bytes - begun < bytes && writes_memory(d))
        if (do_piece(d) != DONE)
            break;
    engine_abandon(d);
}
