/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device: how it begins and ends, its running time, and its registers'
 * values at reset.
 *
 * Steps between states and the sessions are in migration.c, regions in
 * region.c, DMA in engine.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emulator/device.h"
#include "emulator/mutant-hooks.h"
#include "emulator/state.h"
#include "protocol/vfio-uapi.h"
#include "util/clock.h"
#include "util/error.h"

bool device_has(const struct device *d, unsigned feature)
{
    if ((mutant_is(d, MUTANT_CLAIMS_P2P) && feature == FEATURE_P2P) ||
        (mutant_is(d, MUTANT_CLAIMS_PRE_COPY) && feature == FEATURE_PRE_COPY))
        return false;
    return (d->options->features & feature) != 0;
}

uint64_t device_run_ns(const struct device *d)
{
    if (d->running_since == 0)
        return d->registers.run_ns;
    return d->registers.run_ns + (uint64_t)(clock_now() - d->running_since);
}

void device_advance(struct device *d)
{
    d->now_ns = device_run_ns(d);
    memory_advance(&d->memory, d->now_ns);
    d->registers.mem_writes = d->memory.writes;
}

uint64_t device_counter(const struct device *d)
{
    return d->now_ns / ((uint64_t)NS_PER_SEC / EDEV_COUNTER_HZ);
}

static void power_on(struct device *d)
{
    const struct options *o = d->options;

    d->registers = (struct stream_registers){ .mem_rate = o->dirty_rate };
    d->memory = (struct memory){
        .size = o->size,
        .hot_size = o->dirty_size,
        .seed = o->seed,
        .rate = o->dirty_rate,
    };
    if (!mutant_is(d, MUTANT_RESET_KEEPS_MEMORY))
        memset(d->bar2, 0, EDEV_BAR2_SIZE);
    memset(d->msix, 0, o->vectors * 16u + 1);
    config_init(&d->config, o->pci_vendor, o->pci_device, o->vectors);
    d->state = UAPI_STATE_RUNNING;
    d->running_since = clock_now();
    d->precopy_flags = false;
    d->spoiled = 0;
}

void device_reset(struct device *d)
{
    struct stream_registers before = d->registers;

    if (mutant_stays_unreset(d))
        return;
    if (!mutant_is(d, MUTANT_RESET_KEEPS_SESSION))
        saver_end(&d->saver);
    loader_end(&d->loader);
    engine_abandon(d);
    power_on(d);
    mutant_was_reset(d, &before);
    d->stats.resets++;
}

void device_disconnect(struct device *d)
{
    if (mutant_is(d, MUTANT_CLOSE_WHILE_SAVING_RESETS) && d->saver.active)
        device_reset(d);
    engine_abandon(d);
    d->engine.peer = NULL;
    irqs_drop(&d->irqs);
    dma_drop(&d->dma);
}

/* Sends the interrupt by the first way that reaches the client. */
static void send_interrupt(struct device *d)
{
    const struct stream_registers *r = &d->registers;

    if (irqs_connected(&d->irqs, UAPI_IRQ_MSIX, r->irq_vector))
        irqs_fire(&d->irqs, UAPI_IRQ_MSIX, r->irq_vector);
    else if (irqs_connected(&d->irqs, UAPI_IRQ_MSI,
                            r->irq_vector % CONFIG_MSI_VECTORS))
        irqs_fire(&d->irqs, UAPI_IRQ_MSI, r->irq_vector % CONFIG_MSI_VECTORS);
    else
        irqs_fire(&d->irqs, UAPI_IRQ_INTX, 0);
}

void device_raise(struct device *d, uint32_t cause)
{
    struct stream_registers *r = &d->registers;
    uint64_t before = d->irqs.fired;

    r->irq_cause |= cause;
    if ((r->irq_enable & cause) == 0 ||
        !(state_runs(d->state) || mutant_is(d, MUTANT_IRQ_IN_STOP)))
        return;
    send_interrupt(d);
    if (mutant_is(d, MUTANT_IRQ_DOUBLED))
        send_interrupt(d);
    r->irq_sent += d->irqs.fired - before;
}

static int make_bar2(struct device *d)
{
    void *p;

    d->bar2_fd = memfd_create("bar2", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (d->bar2_fd < 0 || ftruncate(d->bar2_fd, EDEV_BAR2_SIZE) < 0)
        return -errno;
    /* The client gets this descriptor: it must not be able to shrink it. */
    if (fcntl(d->bar2_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        return -errno;
    p = mmap(NULL, EDEV_BAR2_SIZE, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_POPULATE, d->bar2_fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    d->bar2 = p;
    return 0;
}

static int make_parts(struct device *d)
{
    uint32_t vectors = d->options->vectors;
    int ret = make_bar2(d);

    d->msix = calloc(vectors * 16u + 1, 1);
    if (ret == 0 && d->msix == NULL)
        ret = -ENOMEM;
    if (ret == 0)
        ret = irqs_init(&d->irqs, vectors);
    if (ret != 0)
        return ret;
    d->irqs.mutant = d->dma.mutant = d->options->mutant;
    power_on(d);
    ret = saver_init(&d->saver, &d->memory);
    if (ret == 0)
        ret = loader_init(&d->loader, &d->memory, vectors);
    d->loader.mutant = d->options->mutant;
    return ret;
}

int device_create(const struct options *options, struct device **out,
                  struct vfm_error *err)
{
    struct device *d = calloc(1, sizeof(*d));
    int ret;

    if (d == NULL)
        return error_set(err, -ENOMEM, "device: out of memory");
    d->options = options;
    d->faults = options->faults;
    d->bar2_fd = -1;
    ret = make_parts(d);
    if (ret < 0) {
        device_free(d);
        return error_set(err, ret, "device: cannot be made: %s",
                         strerror(-ret));
    }
    *out = d;
    return 0;
}

void device_free(struct device *d)
{
    if (d == NULL)
        return;
    irqs_free(&d->irqs);
    dma_drop(&d->dma);
    saver_free(&d->saver);
    loader_free(&d->loader);
    if (d->bar2 != NULL)
        munmap(d->bar2, EDEV_BAR2_SIZE);
    if (d->bar2_fd >= 0)
        close(d->bar2_fd);
    free(d->msix);
    free(d);
}
