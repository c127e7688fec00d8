/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connecting to a device, once however many have it, and what it consists of.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/device.h"
#include "bridge/memory.h"
#include "bridge/space.h"

/* All that are connected. */
static struct device *devices;
static pthread_mutex_t devices_lock = PTHREAD_MUTEX_INITIALIZER;

/* ------------------------------------------------------------ learning */

static int ask_info(struct device *d)
{
    struct vfu_device_info ask = { .argsz = sizeof(ask) };
    struct exchange x = {
        .command = VFU_DEVICE_GET_INFO,
        .head = &ask,
        .head_len = sizeof(ask),
        .reply = &d->info,
        .reply_room = sizeof(d->info),
    };
    int ret = link_call(&d->link, &x);

    if (ret == 0 && x.reply_len < sizeof(d->info))
        ret = -EPROTO;
    if (d->info.num_regions > UAPI_NUM_REGIONS)
        d->info.num_regions = UAPI_NUM_REGIONS;
    if (d->info.num_irqs > UAPI_NUM_IRQS)
        d->info.num_irqs = UAPI_NUM_IRQS;
    return ret;
}

static int learn_irq(struct device *d, uint32_t index)
{
    struct vfu_irq_info ask = { .argsz = sizeof(ask), .index = index };
    struct exchange x = {
        .command = VFU_DEVICE_GET_IRQ_INFO,
        .head = &ask,
        .head_len = sizeof(ask),
        .reply = &d->irqs[index],
        .reply_room = sizeof(d->irqs[index]),
    };
    int ret = link_call(&d->link, &x);

    return ret == 0 && x.reply_len < sizeof(ask) ? -EPROTO : ret;
}

static int learn(struct device *d)
{
    int ret = ask_info(d);

    for (uint32_t i = 0; i < d->info.num_regions && ret == 0; i++)
        ret = region_learn(d, i);
    for (uint32_t i = 0; i < d->info.num_irqs && ret == 0; i++)
        ret = learn_irq(d, i);
    return ret;
}

/* A device that was opened runs and remembers nothing. */
static int reset(struct device *d)
{
    struct exchange x = { .command = VFU_DEVICE_RESET,
                          .timeout_ms = LINK_STATE_MS };
    int ret;

    pthread_mutex_lock(&d->state_lock);
    ret = link_call(&d->link, &x);
    if (ret == 0)
        ret = feature_learn_state(d);
    session_end(d);
    pthread_mutex_unlock(&d->state_lock);
    return ret;
}

/* ---------------------------------------------------- getting at one */

/* Whoever is not there is no device; one that serves somebody else is busy. */
static int open_link(struct device *d)
{
    int ret = link_open(&d->link, d->place.socket, &space_memory, d);

    if (ret == -ENOENT || ret == -ECONNREFUSED)
        return -ENODEV;
    return ret == -EIO ? -EBUSY : ret;
}

static int new_device(const struct place *place, bool anew, struct device **dp)
{
    struct device *d = calloc(1, sizeof(*d));
    int ret;

    if (d == NULL)
        return -ENOMEM;
    d->place = *place;
    atomic_init(&d->refs, 0);
    for (unsigned i = 0; i < UAPI_NUM_REGIONS; i++)
        d->regions[i].fd = -1;
    pthread_mutex_init(&d->state_lock, NULL);
    pthread_mutex_init(&d->space_lock, NULL);
    ret = open_link(d);
    if (ret < 0) {
        free(d);
        return ret;
    }
    ret = learn(d);
    if (ret == 0 && anew && (d->info.flags & UAPI_DEVICE_RESET) != 0)
        ret = reset(d);
    else if (ret == 0)
        ret = feature_learn_state(d);
    if (ret < 0) {
        link_close(&d->link);
        region_close_all(d);
        free(d);
        return ret;
    }
    *dp = d;
    return 0;
}

int device_open(const struct place *place, bool anew, bool alone,
                struct device **dp)
{
    struct device *d;
    int ret = 0;

    pthread_mutex_lock(&devices_lock);
    for (d = devices; d != NULL; d = d->next)
        if (d->place.group == place->group)
            break;
    if (d != NULL && alone)
        ret = -EBUSY;
    else if (d == NULL)
        ret = new_device(place, anew, &d);
    if (ret == 0 && d->opens == 0) {
        d->next = devices;
        devices = d;
    }
    if (ret == 0) {
        d->refs++;
        d->opens++;
    }
    pthread_mutex_unlock(&devices_lock);
    *dp = ret == 0 ? d : NULL;
    return ret;
}

void device_ref(struct device *d)
{
    atomic_fetch_add(&d->refs, 1);
}

void device_put(struct device *d)
{
    if (atomic_fetch_sub(&d->refs, 1) == 1)
        free(d);
}

/* The last descriptor takes what it had set up with it. */
static void shut(struct device *d)
{
    struct device **at = &devices;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    pthread_mutex_lock(&d->state_lock);
    session_end(d);
    pthread_mutex_unlock(&d->state_lock);
    link_close(&d->link);
    region_close_all(d);
}

void device_close(struct device *d)
{
    pthread_mutex_lock(&devices_lock);
    if (--d->opens == 0)
        shut(d);
    pthread_mutex_unlock(&devices_lock);
    device_put(d);
}

void device_forget_all(void)
{
    for (struct device *d = devices; d != NULL; d = d->next)
        link_forget(&d->link);
    devices = NULL;
    pthread_mutex_init(&devices_lock, NULL);
}

int device_place(int n, struct place *place)
{
    const char *at = getenv(PLACE_ENV_SOCKET);
    size_t len;

    for (int i = 0; at != NULL && i < n; i++) {
        at = strchr(at, ':');
        if (at != NULL)
            at++;
    }
    if (at == NULL || n < 0 || n >= PLACE_MAX)
        return -ENODEV;
    len = strcspn(at, ":");
    if (len == 0 || len >= sizeof(place->socket))
        return -ENODEV;
    memcpy(place->socket, at, len);
    place->socket[len] = '\0';
    snprintf(place->bdf, sizeof(place->bdf), PLACE_BDF, PLACE_BDF_ARG(n));
    place->group = PLACE_GROUP(n);
    return 0;
}

/* --------------------------------------------------------- the ioctl()s */

static int get_info(struct device *d, void *arg)
{
    struct vfu_device_info info;
    int ret = argument_get(arg, &info, sizeof(info), sizeof(info));

    if (ret < 0)
        return ret;
    info = d->info;
    info.argsz = sizeof(info);
    info.flags &= UAPI_DEVICE_RESET | UAPI_DEVICE_PCI;
    return argument_put(arg, &info, sizeof(info));
}

int device_ioctl(struct device *d, unsigned long request, void *arg)
{
    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        return get_info(d, arg);
    case VFIO_DEVICE_GET_REGION_INFO:
        return device_region_info(d, arg);
    case VFIO_DEVICE_GET_IRQ_INFO:
        return device_irq_info(d, arg);
    case VFIO_DEVICE_SET_IRQS:
        return device_set_irqs(d, arg);
    case VFIO_DEVICE_RESET:
        return (d->info.flags & UAPI_DEVICE_RESET) != 0 ? reset(d) : -EINVAL;
    case VFIO_DEVICE_FEATURE:
        return device_feature(d, arg);
    case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        return -ENODEV; /* its slot and bus are its own */
    }
    return -ENOTTY;
}
