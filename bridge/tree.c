/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making the folder: what sysfs would say of a device that is bound to
 * vfio-pci and alone in its group.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bridge/device.h"
#include "bridge/node.h"
#include "bridge/tree.h"
#include "util/bytes.h"

#define CONFIG_SIZE 4096

/* -------------------------------------------------- files and folders */

/* "@root/..." with the folders on the way to it. */
static int make_path(char path[PATH_MAX], const char *root, const char *format,
                     va_list list)
{
    int n = snprintf(path, PATH_MAX, "%s/", root);

    if (n < 0 || n >= PATH_MAX - 256)
        return -ENAMETOOLONG;
    vsnprintf(path + n, (size_t)(PATH_MAX - n), format, list);
    for (char *at = strchr(path + n, '/'); at != NULL;
         at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return -errno;
        *at = '/';
    }
    return 0;
}

__attribute__((format(printf, 4, 5))) static int put_file(
    const char *root, const void *data, size_t len, const char *format, ...)
{
    char path[PATH_MAX];
    va_list list;
    int ret;
    int fd;

    va_start(list, format);
    ret = make_path(path, root, format, list);
    va_end(list);
    if (ret < 0)
        return ret;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    if (write(fd, data, len) != (ssize_t)len)
        ret = -EIO;
    close(fd);
    return ret;
}

__attribute__((format(printf, 3, 4))) static int put_link(const char *root,
                                                          const char *target,
                                                          const char *format,
                                                          ...)
{
    char path[PATH_MAX];
    va_list list;
    int ret;

    va_start(list, format);
    ret = make_path(path, root, format, list);
    va_end(list);
    if (ret < 0)
        return ret;
    return symlink(target, path) < 0 && errno != EEXIST ? -errno : 0;
}

/* A folder, for there is nothing else to say of it. */
static int put_folder(const char *root, const char *name)
{
    return put_file(root, "", 0, "%s/uevent", name);
}

int tree_begin(const char *root)
{
    static const char *const folders[] = {
        "sys/module/vfio",
        "sys/module/vfio_pci",
        "sys/module/vfio_iommu_type1",
        "sys/bus/pci/drivers/vfio-pci",
    };
    int ret = put_file(root, "", 0, "dev/vfio/vfio");

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && ret == 0;
         i++)
        ret = put_folder(root, folders[i]);
    return ret == 0 ? put_file(root, "", 0, "dev/iommu") : ret;
}

/* ---------------------------------------------------------- one device */

struct tree_device {
    const char *root;
    const struct device *device;
    const char *bdf;
    int group;
    dev_t cdev;
    uint8_t config[CONFIG_SIZE];
    size_t config_size;
};

/* The file @name of the device. */
static int put_text(const struct tree_device *t, const char *name,
                    const char *text)
{
    return put_file(t->root, text, strlen(text), "sys/devices/vfmig/%s/%s",
                    t->bdf, name);
}

static int put_number(const struct tree_device *t, const char *name,
                      unsigned digits, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof(text), "0x%0*x\n", (int)digits, value);
    return put_text(t, name, text);
}

static int put_numbers(const struct tree_device *t)
{
    const uint8_t *c = t->config;
    const struct {
        const char *name;
        unsigned digits;
        uint32_t value;
    } numbers[] = {
        { "vendor", 4, get_le16(c) },
        { "device", 4, get_le16(c + 2) },
        { "revision", 2, c[8] },
        { "class", 6, get_le32(c + 8) >> 8 },
        { "subsystem_vendor", 4, get_le16(c + 0x2c) },
        { "subsystem_device", 4, get_le16(c + 0x2e) },
    };
    int ret = 0;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && ret == 0;
         i++)
        ret =
            put_number(t, numbers[i].name, numbers[i].digits, numbers[i].value);
    return ret;
}

static int put_texts(const struct tree_device *t)
{
    static const char *const texts[][2] = {
        { "irq", "0\n" },
        { "numa_node", "-1\n" },
        { "enable", "1\n" },
        { "driver_override", "vfio-pci\n" },
        { "uevent", "DRIVER=vfio-pci\n" },
    };
    int ret = 0;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && ret == 0; i++)
        ret = put_text(t, texts[i][0], texts[i][1]);
    return ret;
}

/* Where the BARs are, as nobody has placed them: one after the other. */
static int put_resource(const struct tree_device *t)
{
    char text[16 * 64] = "";
    uint64_t at = UINT64_C(0xe0000000);
    size_t n = 0;

    for (unsigned i = 0; i < 13; i++) {
        uint64_t size = i < UAPI_REGION_CONFIG ? t->device->regions[i].size : 0;
        uint64_t start = size > 0 ? (at + size - 1) / size * size : 0;

        n += (size_t)snprintf(
            text + n, sizeof(text) - n, "0x%016llx 0x%016llx 0x%016llx\n",
            (unsigned long long)start,
            (unsigned long long)(size > 0 ? start + size - 1 : 0),
            size > 0 ? 0x40200ULL : 0);
        at = size > 0 ? start + size : at;
    }
    return put_text(t, "resource", text);
}

static int put_links(const struct tree_device *t)
{
    char target[128];
    char number[32];
    int ret;

    snprintf(target, sizeof(target), "../../../kernel/iommu_groups/%d",
             t->group);
    ret = put_link(t->root, target, "sys/devices/vfmig/%s/iommu_group", t->bdf);
    if (ret == 0)
        ret = put_link(t->root, "../../../bus/pci/drivers/vfio-pci",
                       "sys/devices/vfmig/%s/driver", t->bdf);
    if (ret == 0)
        ret = put_link(t->root, "../../../bus/pci",
                       "sys/devices/vfmig/%s/subsystem", t->bdf);
    snprintf(number, sizeof(number), "%u:%u\n", major(t->cdev), minor(t->cdev));
    if (ret == 0)
        ret = put_file(t->root, number, strlen(number),
                       "sys/devices/vfmig/%s/vfio-dev/vfio%d/dev", t->bdf,
                       t->group);
    snprintf(target, sizeof(target), "../../../%s", t->bdf);
    if (ret == 0)
        ret = put_link(t->root, target,
                       "sys/devices/vfmig/%s/vfio-dev/vfio%d/device", t->bdf,
                       t->group);
    return ret;
}

/* Where it is found from. */
static int put_places(const struct tree_device *t)
{
    static const char reserved[] =
        "0x00000000fee00000 0x00000000feefffff msi\n";
    char target[128];
    int ret;

    snprintf(target, sizeof(target), "../../../devices/vfmig/%s", t->bdf);
    ret = put_link(t->root, target, "sys/bus/pci/devices/%s", t->bdf);
    snprintf(target, sizeof(target), "../../../../devices/vfmig/%s", t->bdf);
    if (ret == 0)
        ret = put_link(t->root, target, "sys/bus/pci/drivers/vfio-pci/%s",
                       t->bdf);
    if (ret == 0)
        ret = put_link(t->root, target, "sys/kernel/iommu_groups/%d/devices/%s",
                       t->group, t->bdf);
    if (ret == 0)
        ret = put_file(t->root, "DMA\n", 4, "sys/kernel/iommu_groups/%d/type",
                       t->group);
    if (ret == 0)
        ret = put_file(t->root, reserved, sizeof(reserved) - 1,
                       "sys/kernel/iommu_groups/%d/reserved_regions", t->group);
    snprintf(target, sizeof(target), "../../devices/vfmig/%s/vfio-dev/vfio%d",
             t->bdf, t->group);
    if (ret == 0)
        ret = put_link(t->root, target, "sys/class/vfio-dev/vfio%d", t->group);
    return ret;
}

static int put_nodes(const struct tree_device *t)
{
    int ret = put_file(t->root, "", 0, "dev/vfio/%d", t->group);

    return ret < 0
               ? ret
               : put_file(t->root, "", 0, "dev/vfio/devices/vfio%d", t->group);
}

/* As it is now: a program that reads it by sysfs sees what it was. */
static int read_config(struct device *d, struct tree_device *t)
{
    size_t size = d->regions[UAPI_REGION_CONFIG].size;
    int64_t pos = (int64_t)UAPI_REGION_CONFIG << DEVICE_REGION_SHIFT;
    ssize_t n;

    if (size > sizeof(t->config))
        size = sizeof(t->config);
    if (size < 64)
        return -EINVAL; /* not a PCI device */
    n = device_read(d, t->config, size, pos);
    if (n < 0)
        return (int)n;
    t->config_size = (size_t)n;
    return n < 64 ? -EIO : 0;
}

int tree_add(const char *root, int n, struct device *d)
{
    static int (*const parts[])(const struct tree_device *) = {
        put_numbers, put_texts, put_resource, put_links, put_places, put_nodes,
    };
    struct tree_device t = { .root = root,
                             .device = d,
                             .bdf = d->place.bdf,
                             .group = d->place.group,
                             .cdev = node_cdev_number(n) };
    int ret = read_config(d, &t);

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && ret == 0; i++)
        ret = parts[i](&t);
    if (ret == 0)
        ret = put_file(root, t.config, t.config_size,
                       "sys/devices/vfmig/%s/config", t.bdf);
    return ret;
}

/* --------------------------------------------------- the machine's own */

/* In the tree they lead nowhere: what they are the kernel says. */
static int borrow(const char *root, const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int ret = 0;

    if (dir == NULL)
        return 0;
    while (ret == 0 && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];
        char target[PATH_MAX];
        ssize_t n;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%.255s", folder, entry->d_name);
        n = readlink(path, target, sizeof(target) - 1);
        target[n < 0 ? 0 : n] = '\0';
        ret = put_link(root, target[0] == '.' ? target : "./of-the-kernel",
                       "%s/%.255s", folder + 1, entry->d_name);
    }
    closedir(dir);
    return ret;
}

int tree_finish(const char *root)
{
    static const char *const folders[] = {
        "/dev/vfio",
        "/dev/vfio/devices",
        "/sys/bus/pci/devices",
        "/sys/bus/pci/drivers/vfio-pci",
        "/sys/class/vfio-dev",
        "/sys/kernel/iommu_groups",
    };
    int ret = 0;

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && ret == 0;
         i++)
        ret = borrow(root, folders[i]);
    return ret;
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    remove(path);
    return 0;
}

void tree_remove(const char *root)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
