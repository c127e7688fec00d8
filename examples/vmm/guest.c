/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest program: a driver that trusts nobody.  It knows guest memory, the
 * devices' registers and the machine's, and nothing of migration.
 */
#include "guest.h"

#include "emulator/registers.h"

/* Of a job, at most; what fits into the part of BAR2 that can be mapped. */
#define JOB_PAGES_MAX  15

/* Pages of its own that a processor writes before it looks at its devices. */
#define OWN_PAGES_STEP 64

#define OWN_SEED       UINT64_C(0x0c)
#define MICROSECONDS   UINT64_C(1000000)

#ifdef GUEST_BARE
/* On a processor, a register is an address. */
uint64_t guest_mmio_read(uint64_t address, unsigned int size)
{
    return size == 8 ? *(volatile uint64_t *)address
                     : *(volatile uint32_t *)address;
}

void guest_mmio_write(uint64_t address, uint64_t value, unsigned int size)
{
    if (size == 8)
        *(volatile uint64_t *)address = value;
    else
        *(volatile uint32_t *)address = (uint32_t)value;
}

/* The compiler may want these for a structure. */
void *memcpy(void *to, const void *from, __SIZE_TYPE__ n);
void *memset(void *to, int byte, __SIZE_TYPE__ n);

void *memcpy(void *to, const void *from, __SIZE_TYPE__ n)
{
    void *result = to;

    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    return result;
}

void *memset(void *to, int byte, __SIZE_TYPE__ n)
{
    void *result = to;

    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
    return result;
}

/* Where it begins: the processor's number is in the first argument's register,
 * the stack is ready. */
__attribute__((section(".text.start"), noreturn)) void guest_start(
    unsigned int cpu);

void guest_start(unsigned int cpu)
{
    for (;;)
        guest_step(0, cpu);
}
#endif

static uint64_t bar0(unsigned int device)
{
    return VM_BARS + device * VM_BARS_STEP;
}

static uint64_t read_register(unsigned int device, uint64_t reg,
                              unsigned int size)
{
    return guest_mmio_read(bar0(device) + reg, size);
}

static void write_register(unsigned int device, uint64_t reg, uint64_t value,
                           unsigned int size)
{
    guest_mmio_write(bar0(device) + reg, value, size);
}

/* ---------------------------------------------------------------- jobs */

static uint64_t peer_memory(const struct guest_config *c, unsigned int device)
{
    return bar0((device + 1) % c->num_devices) + VM_BAR2_OFFSET +
           EDEV_BAR2_TRAPPED;
}

/* Somewhere in the lower or the upper half of a device's part of memory. */
static uint64_t place(const struct guest_config *c, unsigned int device,
                      uint64_t half, uint64_t random)
{
    uint64_t pages = c->lane_size / 2 / GUEST_PAGE - JOB_PAGES_MAX;

    return c->lanes + device * c->lane_size + half * (c->lane_size / 2) +
           random % pages * GUEST_PAGE;
}

/*
 * What job number @n is, after @last: a fill of memory, a copy of that; and if
 * there is another device, a fill of its BAR2, and a copy of that.
 */
static struct guest_job make_job(const struct guest_config *c,
                                 unsigned int device, uint64_t n,
                                 const struct guest_job *last)
{
    uint64_t random = edev_mix(n * EDEV_WORD_STEP + device + 1);
    struct guest_job job = {
        .op = n % 2 == 0 ? EDEV_DMA_OP_FILL : EDEV_DMA_OP_COPY,
        .src = last->dst,
        .dst = place(c, device, n % 2, random >> 8),
        .length = last->length,
        .seed = last->seed,
    };

    if (n % 2 == 0) {
        job.src = 0;
        job.length = (1 + random % JOB_PAGES_MAX) * GUEST_PAGE;
        job.seed = random;
    }
    if (c->num_devices > 1 && n % 4 == 2)
        job.dst = peer_memory(c, device);
    else
        job.check = job.dst;
    return job;
}

static void submit(unsigned int device, struct guest_lane *lane)
{
    const struct guest_job *job = &lane->now;

    write_register(device, EDEV_REG_DMA_SRC, job->src, 8);
    write_register(device, EDEV_REG_DMA_DST, job->dst, 8);
    write_register(device, EDEV_REG_DMA_LENGTH, job->length, 8);
    write_register(device, EDEV_REG_DMA_SEED, job->seed, 8);
    write_register(device, EDEV_REG_DMA_OP, job->op, 4);
    lane->submitted = 1;
    write_register(device, EDEV_REG_DMA_DOORBELL, EDEV_DMA_START, 4);
}

/* -------------------------------------------------------------- checks */

/* The hash of what a job brings, if it is as it should be. */
static uint64_t expected_sum(const struct guest_job *job)
{
    uint64_t sum = job->length;

    for (uint64_t p = 0; job->check != 0 && p < job->length / GUEST_PAGE; p++)
        for (unsigned int i = 0; i < EDEV_WORDS_PER_PAGE; i++)
            sum = sum * EDEV_WORD_STEP + edev_word(job->seed, p, 0, i);
    return sum;
}

/* The hash of what is there. */
static uint64_t actual_sum(const uint8_t *memory, const struct guest_job *job)
{
    const uint64_t *words =
        (const uint64_t *)(const void *)(memory + job->check);
    uint64_t sum = job->length;

    for (uint64_t i = 0; job->check != 0 && i < job->length / 8; i++)
        sum = sum * EDEV_WORD_STEP + words[i];
    return sum;
}

static uint64_t add_link(uint64_t hash, uint64_t job, uint64_t sum)
{
    return edev_mix(hash ^ edev_mix(job + 1) ^ sum);
}

uint64_t guest_expected_hash(const struct guest_config *config,
                             unsigned int device, uint64_t jobs)
{
    struct guest_job job = { 0 };
    uint64_t hash = 0;

    for (uint64_t n = 0; n < jobs; n++) {
        job = make_job(config, device, n, &job);
        hash = add_link(hash, n, expected_sum(&job));
    }
    return hash;
}

static void fail(struct guest_lane *lane, enum guest_error error,
                 uint64_t detail)
{
    lane->error = error;
    lane->detail = (uint32_t)detail;
}

/* Whether the device says that it did this job, and no other. */
static int device_agrees(unsigned int device, struct guest_lane *lane)
{
    uint64_t status = read_register(device, EDEV_REG_DMA_STATUS, 4);
    uint64_t completed = read_register(device, EDEV_REG_DMA_COMPLETED, 8);
    uint64_t cause = read_register(device, EDEV_REG_IRQ_CAUSE, 4);

    if (status != EDEV_DMA_DONE)
        fail(lane, GUEST_BAD_STATUS, status);
    else if (completed != lane->before + lane->job + 1)
        fail(lane, GUEST_BAD_COUNT, completed);
    else if (cause != EDEV_IRQ_DMA_DONE)
        fail(lane, GUEST_BAD_CAUSE, cause);
    return lane->error == GUEST_FINE;
}

/* The interrupt came: there must have been one, for one job. */
static void complete(const uint8_t *memory, unsigned int device,
                     struct guest_lane *lane)
{
    uint64_t interrupts =
        guest_mmio_read(VM_REGISTERS + VM_IRQ_CLAIM + UINT64_C(8) * device, 4);
    uint64_t sum;

    if (interrupts != 1)
        fail(lane, GUEST_BAD_INTERRUPTS, interrupts);
    if (lane->error != GUEST_FINE || !device_agrees(device, lane))
        return;
    write_register(device, EDEV_REG_IRQ_CAUSE, EDEV_IRQ_DMA_DONE, 4);
    sum = actual_sum(memory, &lane->now);
    if (sum != expected_sum(&lane->now)) {
        fail(lane, GUEST_BAD_BYTES, sum);
        return;
    }
    lane->hash = add_link(lane->hash, lane->job, sum);
    lane->last = lane->now;
    lane->submitted = 0;
    lane->job++;
}

static void begin_lane(unsigned int device, struct guest_lane *lane)
{
    lane->before = read_register(device, EDEV_REG_DMA_COMPLETED, 8);
    write_register(device, EDEV_REG_IRQ_VECTOR, 0, 4);
    write_register(device, EDEV_REG_IRQ_ENABLE,
                   EDEV_IRQ_DMA_DONE | EDEV_IRQ_DMA_ERROR, 4);
    lane->begun = 1;
}

static struct guest_lane *lane_of(uint8_t *memory, unsigned int device)
{
    return (struct guest_lane *)(void *)(memory + GUEST_LANES +
                                         device * GUEST_PAGE);
}

static void step_lane(uint8_t *memory, const struct guest_config *config,
                      unsigned int device, uint64_t pending)
{
    struct guest_lane *lane = lane_of(memory, device);

    if (lane->error != GUEST_FINE)
        return;
    if (!lane->begun)
        begin_lane(device, lane);
    if (lane->submitted && (pending >> device & 1) != 0)
        complete(memory, device, lane);
    if (lane->submitted || lane->error != GUEST_FINE)
        return;
    lane->now = make_job(config, device, lane->job, &lane->last);
    submit(device, lane);
}

/* ------------------------------------------------- pages of its own */

static uint64_t own_word(unsigned int cpu, uint64_t n, unsigned int i)
{
    return edev_word(OWN_SEED + cpu, n, 0, i);
}

static int is_own_page(const uint64_t *words, unsigned int cpu, uint64_t n)
{
    for (unsigned int i = 0; i < EDEV_WORDS_PER_PAGE; i++)
        if (words[i] != own_word(cpu, n, i))
            return 0;
    return 1;
}

/* Page @n goes where the one before the last round is, which must be there. */
static void write_own_page(uint8_t *memory, const struct guest_config *c,
                           unsigned int cpu, struct guest_cpu *state)
{
    uint64_t n = state->pages;
    uint64_t at =
        GUEST_OWN + (cpu * c->own_pages + n % c->own_pages) * GUEST_PAGE;
    uint64_t *words = (uint64_t *)(void *)(memory + at);

    if (n >= c->own_pages && !is_own_page(words, cpu, n - c->own_pages)) {
        state->error = GUEST_BAD_OWN_PAGE;
        return;
    }
    for (unsigned int i = 0; i < EDEV_WORDS_PER_PAGE; i++)
        words[i] = own_word(cpu, n, i);
    state->pages++;
}

static void write_own_pages(uint8_t *memory, const struct guest_config *c,
                            unsigned int cpu)
{
    struct guest_cpu *state =
        (struct guest_cpu *)(void *)(memory + GUEST_CPUS + cpu * GUEST_PAGE);
    uint64_t due;

    if (c->own_rate == 0 || c->own_pages == 0)
        return;
    due = guest_mmio_read(VM_REGISTERS + VM_TIMER, 8) / GUEST_PAGE *
          c->own_rate / MICROSECONDS;
    for (unsigned int i = 0;
         i < OWN_PAGES_STEP && state->error == 0 && state->pages < due; i++)
        write_own_page(memory, c, cpu, state);
}

void guest_step(uint8_t *memory, unsigned int cpu)
{
    const struct guest_config *config =
        (const struct guest_config *)(const void *)(memory + GUEST_CONFIG);
    uint64_t pending =
        guest_mmio_read(VM_REGISTERS + VM_IRQ_WAIT + UINT64_C(8) * cpu, 4);

    for (unsigned int d = cpu; d < config->num_devices; d += config->num_cpus)
        step_lane(memory, config, d, pending);
    write_own_pages(memory, config, cpu);
}
