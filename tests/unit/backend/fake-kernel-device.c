/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "faults/fail.h"
#include "fake-kernel-device.h"
#include "protocol/iommufd-uapi.h"
#include "protocol/vfio-uapi.h"

/* Debian 12's header is older than these. */
#define MIG_DATA_SIZE    9
#define PRECOPY_INFO_V2  12
#define PRE_COPY         6
#define PRE_COPY_P2P     7
#define GET_PRECOPY_INFO _IO(VFIO_TYPE, VFIO_BASE + 21)

struct precopy {
    uint32_t argsz;
    uint32_t flags;
    uint64_t initial_bytes;
    uint64_t dirty_bytes;
};

#define REGION_OFFSET(index) ((uint64_t)(index) << 40)

struct kdev kdev;

static ino_t session_inode; /* it may be closed by the library */

void kdev_start(void)
{
    memset(&kdev, 0, sizeof(kdev));
    kdev.fd = memfd_create("device", MFD_CLOEXEC);
    assert_true(kdev.fd >= 0);
    kdev.session_fd = kdev.given_fd = -1;
    kdev.real_fd = -2;
    kdev.is_viable = true;
    kdev.migration = 7;
    kdev.state = VFIO_DEVICE_STATE_RUNNING;
    kdev.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
    kdev.has_data_size = true;
    kdev.has_log = true;
    kdev.config_size = 256;
    kdev.config[0] = 0x86;
    kdev.config[1] = 0x80;
}

void kdev_stop(void)
{
    close(kdev.fd);
}

static bool is_pre_copy(uint32_t state)
{
    return state == PRE_COPY || state == PRE_COPY_P2P;
}

static int session_of(uint32_t state)
{
    if (state == VFIO_DEVICE_STATE_RESUMING)
        return 2;
    return state == VFIO_DEVICE_STATE_STOP_COPY || is_pre_copy(state);
}

static int32_t open_session(void)
{
    struct stat st;

    kdev.session_fd = memfd_create("session", MFD_CLOEXEC);
    assert_true(kdev.session_fd >= 0);
    assert_int_equal(fstat(kdev.session_fd, &st), 0);
    session_inode = st.st_ino;
    kdev.sessions++;
    kdev.at = kdev.loaded_size = 0;
    return kdev.session_fd;
}

/* RESUMING to STOP fails unless all was loaded. */
static int move(struct vfio_device_feature_mig_state *next)
{
    int before = session_of(kdev.state);
    int after = session_of(next->device_state);

    next->data_fd = -1;
    if (next->device_state == kdev.state)
        return 0;
    if (kdev.state == VFIO_DEVICE_STATE_ERROR)
        return -EINVAL;
    if (before == 2 && kdev.size > 0 && kdev.loaded_size != kdev.size)
        return -EINVAL;
    kdev.state = next->device_state;
    if (after != 0 && after != before)
        next->data_fd = open_session();
    if (after == 0)
        kdev.session_fd = -1;
    return 0;
}

static int probe(uint32_t number)
{
    switch (number) {
    case MIG_DATA_SIZE:
        return kdev.has_data_size ? 0 : -ENOTTY;
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
        return kdev.has_log ? 0 : -ENOTTY;
    default:
        return -ENOTTY;
    }
}

/* What each feature answers, its argument being as large as it should. */
static int migration_feature(struct vfio_device_feature *f)
{
    if (kdev.migration == 0)
        return -ENOTTY;
    assert_int_equal(f->argsz, sizeof(*f) + sizeof(kdev.migration));
    memcpy(f->data, &kdev.migration, sizeof(kdev.migration));
    return 0;
}

static int state_feature(struct vfio_device_feature *f)
{
    struct vfio_device_feature_mig_state *state = (void *)f->data;

    if (kdev.migration == 0)
        return -ENOTTY;
    assert_int_equal(f->argsz, sizeof(*f) + sizeof(*state));
    if (f->flags & VFIO_DEVICE_FEATURE_SET)
        return move(state);
    state->device_state = kdev.state;
    state->data_fd = -1;
    return 0;
}

static int size_feature(struct vfio_device_feature *f)
{
    uint64_t left = kdev.size - kdev.at;

    assert_int_equal(f->argsz, sizeof(*f) + sizeof(left));
    memcpy(f->data, &left, sizeof(left));
    return 0;
}

static int flags_feature(const struct vfio_device_feature *f)
{
    assert_int_equal(f->flags, VFIO_DEVICE_FEATURE_SET | PRECOPY_INFO_V2);
    assert_int_equal(f->argsz, sizeof(*f));
    assert_false(is_pre_copy(kdev.state));
    kdev.flags_are_valid = kdev.has_flags;
    return kdev.has_flags ? 0 : -ENOTTY;
}

static int start_feature(const struct vfio_device_feature *f)
{
    const struct vfio_device_feature_dma_logging_control *log =
        (const void *)f->data;

    assert_int_equal(f->argsz, sizeof(*f) + sizeof(*log));
    kdev.num_ranges = log->num_ranges;
    return log->num_ranges > 256 ? -E2BIG : 0;
}

static int report_feature(const struct vfio_device_feature *f)
{
    const struct vfio_device_feature_dma_logging_report *report =
        (const void *)f->data;

    assert_int_equal(f->argsz, sizeof(*f) + sizeof(*report));
    if (kdev.num_ranges == 0)
        return -EINVAL;
    *(uint64_t *)(uintptr_t)report->bitmap |= 5;
    return 0;
}

static int feature(struct vfio_device_feature *f)
{
    uint32_t number = f->flags & VFIO_DEVICE_FEATURE_MASK;

    if (f->flags & VFIO_DEVICE_FEATURE_PROBE)
        return probe(number);
    switch (number) {
    case VFIO_DEVICE_FEATURE_MIGRATION:
        return migration_feature(f);
    case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
        return state_feature(f);
    case MIG_DATA_SIZE:
        return size_feature(f);
    case PRECOPY_INFO_V2:
        return flags_feature(f);
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
        return start_feature(f);
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
        kdev.num_ranges = 0;
        return 0;
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
        return report_feature(f);
    default:
        return -ENOTTY;
    }
}

static int region_info(struct vfio_region_info *info)
{
    if (info->index >= 9)
        return -EINVAL;
    info->offset = REGION_OFFSET(info->index);
    info->size =
        info->index == VFIO_PCI_CONFIG_REGION_INDEX ? kdev.config_size : 0;
    return 0;
}

static int device_ioctl(unsigned long request, void *arg)
{
    struct vfio_device_info *info = arg;

    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        info->flags = kdev.flags;
        return 0;
    case VFIO_DEVICE_GET_REGION_INFO:
        return region_info(arg);
    case VFIO_DEVICE_RESET:
        if ((kdev.flags & VFIO_DEVICE_FLAGS_RESET) == 0)
            return -EINVAL;
        kdev.state = VFIO_DEVICE_STATE_RUNNING;
        kdev.session_fd = -1;
        kdev.resets++;
        return 0;
    case VFIO_DEVICE_FEATURE:
        return feature(arg);
    default:
        return -ENOTTY;
    }
}

static int session_ioctl(unsigned long request, void *arg)
{
    struct precopy *info = arg;

    if (request != GET_PRECOPY_INFO)
        return -ENOTTY;
    if (!is_pre_copy(kdev.state))
        return -EINVAL;
    /* Without them it gives back what it was given, or anything. */
    info->flags = kdev.flags_are_valid ? 1 : 3;
    info->initial_bytes = kdev.pre_copy_size - kdev.at;
    info->dirty_bytes = 3;
    return 0;
}

static bool is_session(int fd)
{
    struct stat st;

    return kdev.session_fd >= 0 && fd == kdev.session_fd &&
           fstat(fd, &st) == 0 && st.st_ino == session_inode;
}

/* What the descriptor is of: the file's path, from "/dev/" on. */
static const char *file_of(int fd, char *path, size_t size)
{
    char link[32];
    ssize_t n;
    const char *dev;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, size - 1);
    assert_true(n > 0);
    path[n] = '\0';
    dev = strstr(path, "/dev/");
    return dev == NULL ? path : dev;
}

static int group_ioctl(unsigned long request, void *arg)
{
    struct vfio_group_status *status = arg;

    switch (request) {
    case VFIO_GROUP_GET_STATUS:
        kdev.given_fd = -1; /* it has been closed */
        status->flags = kdev.is_viable ? VFIO_GROUP_FLAGS_VIABLE : 0;
        return 0;
    case VFIO_GROUP_SET_CONTAINER:
        kdev.container_fd = *(const int *)arg;
        return 0;
    case VFIO_GROUP_GET_DEVICE_FD:
        assert_string_equal(arg, "0000:3b:00.2");
        assert_true(kdev.has_iommu);
        kdev.given_fd = dup(kdev.fd);
        return kdev.given_fd;
    default:
        return -ENOTTY;
    }
}

/* Getting at the device. */
static int open_ioctl(int fd, unsigned long request, void *arg)
{
    char path[512];
    const char *file = file_of(fd, path, sizeof(path));
    struct uapi_bind_iommufd *bind = arg;

    if (strcmp(file, "/dev/vfio/7") == 0)
        return group_ioctl(request, arg);
    if (strcmp(file, "/dev/vfio/vfio") == 0 && request == VFIO_SET_IOMMU) {
        assert_int_equal(fd, kdev.container_fd);
        assert_ptr_equal(arg, (void *)VFIO_TYPE1v2_IOMMU);
        kdev.has_iommu = true;
        return 0;
    }
    if (strcmp(file, "/dev/iommu") == 0 && request == UAPI_IOAS_ALLOC) {
        ((struct uapi_ioas_alloc *)arg)->ioas_id = 11;
        return 0;
    }
    assert_string_equal(file, "/dev/vfio/devices/vfio3");
    if (request == UAPI_DEVICE_BIND_IOMMUFD) {
        kdev.is_bound = true;
        file = file_of(bind->iommufd, path, sizeof(path));
        assert_string_equal(file, "/dev/iommu");
        return 0;
    }
    if (request == UAPI_DEVICE_ATTACH_IOMMUFD) {
        assert_true(kdev.is_bound);
        assert_int_equal(((struct uapi_attach_iommufd *)arg)->pt_id, 11);
        kdev.has_iommu = true;
        return 0;
    }
    assert_true(kdev.has_iommu); /* before that it answers nothing */
    return device_ioctl(request, arg);
}

static bool is_to_fail(unsigned long request, const void *arg)
{
    const struct vfio_device_feature *f = arg;

    if (kdev.fail == 0 || request != kdev.fail_request)
        return false;
    return kdev.fail_flags == 0 || f->flags == kdev.fail_flags;
}

static long answer(long ret)
{
    if (ret >= 0)
        return ret;
    errno = (int)-ret;
    return -1;
}

static bool interrupts(void)
{
    if (kdev.interrupts == 0)
        return false;
    kdev.interrupts--;
    errno = EINTR;
    return true;
}

/* ------------------------------------------- the linker's names */

int __wrap_ioctl(int fd, unsigned long request, void *arg);
int __real_ioctl(int fd, unsigned long request, void *arg);
ssize_t __wrap_read(int fd, void *buf, size_t size);
ssize_t __wrap_write(int fd, const void *buf, size_t size);
ssize_t __wrap_pread64(int fd, void *buf, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t size, off_t offset);
ssize_t __real_read(int fd, void *buf, size_t size);
ssize_t __real_write(int fd, const void *buf, size_t size);

/* Whether a call of @function fails; may make *@size one byte. */
#define STRIKES(function, size)                                \
    ({                                                         \
        static struct fail_point point = { .name = function }; \
                                                               \
        strikes(&point, __builtin_return_address(0), size);    \
    })

static bool strikes(struct fail_point *point, const void *caller, size_t *size)
{
    int ret = kdev_strikes == NULL ? 0 : kdev_strikes(point, caller);

    if (ret == 1 && *size > 1)
        *size = 1;
    return ret < 0;
}

/* What this kernel does in its own name does not count. */
#define OURS __attribute__((cleanup(leave), unused)) int ours = enter()

static int enter(void)
{
    if (kdev_works != NULL)
        kdev_works(true);
    return 0;
}

static void leave(const int *unused)
{
    (void)unused;
    if (kdev_works != NULL)
        kdev_works(false);
}

static bool is_session_call(int fd)
{
    OURS;

    return is_session(fd);
}

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
    size_t none = 0;

    if (fd == kdev.real_fd)
        return __real_ioctl(fd, request, arg);
    kdev.ioctls++;
    if (STRIKES("ioctl", &none))
        return -1;

    OURS;

    if (interrupts())
        return -1;
    if (is_to_fail(request, arg)) {
        int ret = kdev.fail;

        kdev.fail = 0;
        return (int)answer(ret);
    }
    if (is_session(fd))
        return (int)answer(session_ioctl(request, arg));
    if (fd != kdev.fd && fd != kdev.given_fd)
        return (int)answer(open_ioctl(fd, request, arg));
    return (int)answer(device_ioctl(request, arg));
}

static ssize_t save(void *buf, size_t size)
{
    size_t end = is_pre_copy(kdev.state) ? kdev.pre_copy_size : kdev.size;
    size_t left = end - kdev.at;

    if (kdev.fail_read != 0)
        return kdev.fail_read;
    if (kdev.busy > 0) {
        kdev.busy--;
        return -EAGAIN;
    }
    if (left == 0 && kdev.never_ends)
        return -ENOMSG;
    if (left == 0)
        return is_pre_copy(kdev.state) && !kdev.ends_by_zero ? -ENOMSG : 0;
    if (size > left)
        size = left;
    if (kdev.piece > 0 && size > kdev.piece)
        size = kdev.piece;
    memcpy(buf, kdev.data + kdev.at, size);
    kdev.at += size;
    return (ssize_t)size;
}

static ssize_t load(const void *buf, size_t size)
{
    if (kdev.fail_write != 0)
        return kdev.fail_write;
    if (kdev.busy > 0) {
        kdev.busy--;
        return -EAGAIN;
    }
    if (kdev.piece > 0 && size > kdev.piece)
        size = kdev.piece;
    if (size > sizeof(kdev.loaded) - kdev.loaded_size)
        return -ENOMEM;
    memcpy(kdev.loaded + kdev.loaded_size, buf, size);
    kdev.loaded_size += size;
    return (ssize_t)size;
}

ssize_t __wrap_read(int fd, void *buf, size_t size)
{
    if (!is_session_call(fd))
        return __real_read(fd, buf, size);
    if (STRIKES("session-read", &size))
        return -1;
    return interrupts() ? -1 : answer(save(buf, size));
}

ssize_t __wrap_write(int fd, const void *buf, size_t size)
{
    if (!is_session_call(fd))
        return __real_write(fd, buf, size);
    if (STRIKES("session-write", &size))
        return -1;
    return interrupts() ? -1 : answer(load(buf, size));
}

static uint8_t *config_at(size_t size, off_t offset)
{
    uint64_t at =
        (uint64_t)offset - REGION_OFFSET(VFIO_PCI_CONFIG_REGION_INDEX);

    assert_true(at + size <= kdev.config_size);
    return kdev.config + at;
}

static bool refuses_access(void)
{
    if (interrupts())
        return true;
    if (kdev.fail_access == 0)
        return false;
    errno = -kdev.fail_access;
    return true;
}

/* Regions are read in pieces if all else is, and written as they come. */
ssize_t __wrap_pread64(int fd, void *buf, size_t size, off_t offset)
{
    (void)fd;
    if (STRIKES("pread64", &size) || refuses_access())
        return -1;
    if (kdev.piece > 0 && size > kdev.piece)
        size = kdev.piece;
    memcpy(buf, config_at(size, offset), size);
    return (ssize_t)size;
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t size, off_t offset)
{
    (void)fd;
    if (STRIKES("pwrite64", &size) || refuses_access())
        return -1;
    memcpy(config_at(size, offset), buf, size);
    return (ssize_t)size;
}
