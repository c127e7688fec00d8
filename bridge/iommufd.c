/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * iommufd: address spaces (IOAS), page tables made from them, which are the
 * same to a server, and the numbers of devices.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/memory.h"
#include "bridge/node.h"

#define MAX_OBJECTS 1024

enum kind { KIND_IOAS, KIND_HWPT, KIND_DEVICE };

struct object {
    enum kind kind;
    uint32_t id;
    unsigned users;      /* of it: devices, page tables */
    struct object *ioas; /* a page table's */
    struct space space;  /* an IOAS's */
    struct object *next;
};

struct iommufd {
    struct file file;
    pthread_mutex_t lock; /* of the list and users */
    struct object *objects;
    unsigned count;
    uint32_t last_id;
};

static struct iommufd *iommufd_of(struct file *f)
{
    return (struct iommufd *)f;
}

static struct object *find(struct iommufd *f, uint32_t id)
{
    struct object *o = f->objects;

    while (o != NULL && o->id != id)
        o = o->next;
    return o;
}

static int add_locked(struct iommufd *f, enum kind kind, struct object *ioas,
                      uint32_t *id)
{
    struct object *o;

    if (f->count == MAX_OBJECTS)
        return -ENOSPC;
    o = calloc(1, sizeof(*o));
    if (o == NULL)
        return -ENOMEM;
    o->kind = kind;
    o->id = *id = ++f->last_id;
    o->ioas = ioas;
    if (ioas != NULL)
        ioas->users++;
    if (kind == KIND_IOAS)
        space_init(&o->space);
    o->next = f->objects;
    f->objects = o;
    f->count++;
    return 0;
}

static int add(struct iommufd *f, enum kind kind, uint32_t *id)
{
    int ret;

    pthread_mutex_lock(&f->lock);
    ret = add_locked(f, kind, NULL, id);
    pthread_mutex_unlock(&f->lock);
    return ret;
}

static void remove_locked(struct iommufd *f, struct object *o)
{
    struct object **at = &f->objects;

    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    f->count--;
    if (o->ioas != NULL)
        o->ioas->users--;
    if (o->kind == KIND_IOAS)
        space_free(&o->space);
    free(o);
}

/* ------------------------------------------------------------- devices */

int iommufd_bind(struct file *file, uint32_t *id)
{
    return add(iommufd_of(file), KIND_DEVICE, id);
}

void iommufd_unbind(struct file *file, uint32_t id)
{
    struct iommufd *f = iommufd_of(file);

    pthread_mutex_lock(&f->lock);
    remove_locked(f, find(f, id));
    pthread_mutex_unlock(&f->lock);
}

/* Both the IOAS and its page table are in use, and only the first is looked at
 * again: a page table that is attached goes with the last of its IOAS. */
struct space *iommufd_use(struct file *file, uint32_t id)
{
    struct iommufd *f = iommufd_of(file);
    struct object *o;

    pthread_mutex_lock(&f->lock);
    o = find(f, id);
    if (o != NULL && o->kind == KIND_HWPT)
        o = o->ioas;
    if (o != NULL && o->kind == KIND_IOAS)
        o->users++;
    else
        o = NULL;
    pthread_mutex_unlock(&f->lock);
    return o == NULL ? NULL : &o->space;
}

void iommufd_unuse(struct file *file, const struct space *space)
{
    struct iommufd *f = iommufd_of(file);

    pthread_mutex_lock(&f->lock);
    for (struct object *o = f->objects; o != NULL; o = o->next)
        if (&o->space == space)
            o->users--;
    pthread_mutex_unlock(&f->lock);
}

/* ----------------------------------------------------------- the ioctl()s */

static int destroy(struct iommufd *f, const void *arg)
{
    struct uapi_iommu_destroy d;
    struct object *o;
    int ret = argument_get(arg, &d, sizeof(d), sizeof(d));

    if (ret < 0)
        return ret;
    pthread_mutex_lock(&f->lock);
    o = find(f, d.id);
    if (o == NULL)
        ret = -ENOENT;
    else if (o->users > 0 || o->kind == KIND_DEVICE)
        ret = -EBUSY;
    else
        remove_locked(f, o);
    pthread_mutex_unlock(&f->lock);
    return ret;
}

static int ioas_alloc(struct iommufd *f, void *arg)
{
    struct uapi_ioas_alloc a;
    int ret = argument_get(arg, &a, sizeof(a), sizeof(a));

    if (ret == 0 && a.flags != 0)
        ret = -EOPNOTSUPP;
    if (ret == 0)
        ret = add(f, KIND_IOAS, &a.ioas_id);
    return ret < 0 ? ret : argument_put(arg, &a, sizeof(a));
}

/* The space of IOAS @id, which stays until leave(); NULL: there is none. */
static struct space *enter(struct iommufd *f, uint32_t id)
{
    struct object *o;

    pthread_mutex_lock(&f->lock);
    o = find(f, id);
    if (o != NULL && o->kind == KIND_IOAS)
        o->users++;
    else
        o = NULL;
    pthread_mutex_unlock(&f->lock);
    return o != NULL ? &o->space : NULL;
}

static void leave(struct iommufd *f, const struct space *space)
{
    iommufd_unuse(&f->file, space);
}

static int ioas_iova_ranges(struct iommufd *f, void *arg)
{
    struct uapi_iova_range range = { 0, BRIDGE_LAST_IOVA };
    struct uapi_ioas_iova_ranges r;
    struct space *space;
    uint32_t room;
    int ret = argument_get(arg, &r, sizeof(r), sizeof(r));

    if (ret < 0)
        return ret;
    space = enter(f, r.ioas_id);
    if (space == NULL)
        return -ENOENT;
    leave(f, space);
    room = r.num_iovas;
    r.num_iovas = 1;
    r.out_iova_alignment = BRIDGE_PAGE_SIZE;
    if (room > 0)
        ret = memory_write(r.allowed_iovas, &range, sizeof(range));
    if (ret == 0)
        ret = argument_put(arg, &r, sizeof(r));
    return ret == 0 && room == 0 ? -EMSGSIZE : ret;
}

static int ioas_map(struct iommufd *f, void *arg)
{
    const uint32_t known = UAPI_IOAS_MAP_FIXED_IOVA | UAPI_IOAS_MAP_WRITEABLE |
                           UAPI_IOAS_MAP_READABLE;
    struct uapi_ioas_map map;
    struct mapping m;
    struct space *space;
    int ret = argument_get(arg, &map, sizeof(map), sizeof(map));

    if (ret < 0)
        return ret;
    if ((map.flags & ~known) != 0 || map.reserved != 0)
        return -EOPNOTSUPP;
    space = enter(f, map.ioas_id);
    if (space == NULL)
        return -ENOENT;
    if ((map.flags & UAPI_IOAS_MAP_FIXED_IOVA) == 0)
        ret = space_find_free(space, map.length, &map.iova);
    m = (struct mapping){
        .iova = map.iova,
        .size = map.length,
        .address = map.user_va,
        .access =
            ((map.flags & UAPI_IOAS_MAP_READABLE) != 0 ? SPACE_READ : 0) |
            ((map.flags & UAPI_IOAS_MAP_WRITEABLE) != 0 ? SPACE_WRITE : 0),
    };
    if (ret == 0)
        ret = space_map(space, &m);
    leave(f, space);
    return ret < 0 ? ret : argument_put(arg, &map, sizeof(map));
}

static int ioas_unmap(struct iommufd *f, void *arg)
{
    struct uapi_ioas_unmap unmap;
    struct space *space;
    uint64_t last;
    int ret = argument_get(arg, &unmap, sizeof(unmap), sizeof(unmap));

    if (ret < 0)
        return ret;
    last = unmap.iova + (unmap.length - 1);
    if (unmap.iova == 0 && unmap.length == UINT64_MAX)
        last = UINT64_MAX;
    else if (unmap.length == 0 || last < unmap.iova)
        return -EINVAL;
    space = enter(f, unmap.ioas_id);
    if (space == NULL)
        return -ENOENT;
    ret = space_unmap(space, unmap.iova, last, &unmap.length);
    leave(f, space);
    /* It would cut one in two, or there is none. */
    if (ret == -EINVAL || (ret == 0 && unmap.length == 0 && last != UINT64_MAX))
        ret = -ENOENT;
    return ret < 0 ? ret : argument_put(arg, &unmap, sizeof(unmap));
}

static int hwpt_alloc(struct iommufd *f, void *arg)
{
    struct uapi_hwpt_alloc a;
    struct object *o;
    size_t min = offsetof(struct uapi_hwpt_alloc, data_type);
    int ret = argument_get(arg, &a, min, sizeof(a));

    if (ret < 0)
        return ret;
    if (a.flags != 0 || a.reserved != 0 || a.data_type != 0 || a.data_len != 0)
        return -EOPNOTSUPP; /* no tracking of what is written, no nesting */
    pthread_mutex_lock(&f->lock);
    o = find(f, a.pt_id);
    if (find(f, a.dev_id) == NULL || o == NULL)
        ret = -ENOENT;
    else if (find(f, a.dev_id)->kind != KIND_DEVICE || o->kind != KIND_IOAS)
        ret = -EINVAL;
    else
        ret = add_locked(f, KIND_HWPT, o, &a.out_hwpt_id);
    pthread_mutex_unlock(&f->lock);
    return ret < 0 ? ret : argument_put(arg, &a, min);
}

/* It is an IOMMU of no known make that can do nothing special. */
static int get_hw_info(struct iommufd *f, void *arg)
{
    struct uapi_hw_info info;
    const struct object *o;
    bool is_device;
    int ret = argument_get(arg, &info, sizeof(info), sizeof(info));

    if (ret < 0)
        return ret;
    if (info.flags != 0 || info.reserved != 0)
        return -EOPNOTSUPP;
    pthread_mutex_lock(&f->lock);
    o = find(f, info.dev_id);
    is_device = o != NULL && o->kind == KIND_DEVICE;
    pthread_mutex_unlock(&f->lock);
    if (!is_device)
        return -ENOENT;
    info.data_len = 0;
    info.out_data_type = 0;
    info.out_capabilities = 0;
    return argument_put(arg, &info, sizeof(info));
}

static int ioctl_iommufd(struct file *file, unsigned long request, void *arg)
{
    struct iommufd *f = iommufd_of(file);

    switch (request) {
    case UAPI_IOMMU_DESTROY:
        return destroy(f, arg);
    case UAPI_IOAS_ALLOC:
        return ioas_alloc(f, arg);
    case UAPI_IOAS_IOVA_RANGES:
        return ioas_iova_ranges(f, arg);
    case UAPI_IOAS_MAP:
        return ioas_map(f, arg);
    case UAPI_IOAS_UNMAP:
        return ioas_unmap(f, arg);
    case UAPI_HWPT_ALLOC:
        return hwpt_alloc(f, arg);
    case UAPI_GET_HW_INFO:
        return get_hw_info(f, arg);
    }
    return -ENOTTY;
}

static void release_iommufd(struct file *file)
{
    struct iommufd *f = iommufd_of(file);

    /* Page tables first: they use an IOAS. */
    for (struct object *o = f->objects, *next; o != NULL; o = next) {
        next = o->next;
        if (o->kind == KIND_HWPT)
            remove_locked(f, o);
    }
    while (f->objects != NULL)
        remove_locked(f, f->objects);
    free(f);
}

static const struct file_ops iommufd_ops = {
    .name = "iommufd",
    .ioctl = ioctl_iommufd,
    .release = release_iommufd,
};

int iommufd_open(int flags)
{
    struct iommufd *f = calloc(1, sizeof(*f));
    int fd;

    if (f == NULL)
        return -ENOMEM;
    pthread_mutex_init(&f->lock, NULL);
    f->file.rdev = node_number("/dev/iommu");
    fd = file_open(&f->file, &iommufd_ops, flags, false);
    if (fd < 0)
        free(f);
    return fd;
}

bool is_iommufd(const struct file *f)
{
    return f->ops == &iommufd_ops;
}
