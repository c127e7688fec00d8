/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a device: the connection, then everything worth knowing of it.
 * Nothing here changes the device.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/vfio-user/client.h"
#include "util/error.h"
#include "util/options.h"

#define DEFAULT_CONNECT_MS 5000
#define DEFAULT_COMMAND_MS 5000
#define DEFAULT_STATE_MS   60000
#define DEFAULT_DATA_MS    30000

/* Room for the writes under way, which the kernel doubles: what it does not
 * take at once is copied, and waits. */
#define SEND_BUFFER_SIZE   (2 << 20)

static int check_range(const char *name, uint32_t value, uint32_t min,
                       uint32_t max, const char *what, struct vfm_error *err)
{
    if (value >= min && value <= max)
        return 0;
    return error_set(err, -EINVAL, "%s: %s %u is not between %u and %u", name,
                     what, value, min, max);
}

static uint32_t value_or(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static int read_options(struct settings *s,
                        const struct vfm_vfio_user_options *options,
                        const char *name, struct vfm_error *err)
{
    struct vfm_vfio_user_options o;
    int ret = options_copy(&o, sizeof(o), options, name, err);

    if (ret < 0)
        return ret;
    *s = (struct settings){
        .connect_timeout_ms =
            value_or(o.connect_timeout_ms, DEFAULT_CONNECT_MS),
        .command_timeout_ms =
            value_or(o.command_timeout_ms, DEFAULT_COMMAND_MS),
        .state_timeout_ms = value_or(o.state_timeout_ms, DEFAULT_STATE_MS),
        .data_timeout_ms = value_or(o.data_timeout_ms, DEFAULT_DATA_MS),
        .read_size = value_or(o.read_size, DEFAULT_READ_SIZE),
        .read_depth = value_or(o.read_depth, DEFAULT_READ_DEPTH),
        .write_size = o.write_size,
        .write_depth = o.write_depth,
        .no_area = o.no_data_area,
        .area_piece = value_or(o.read_size, DEFAULT_AREA_PIECE),
        .area_depth = value_or(o.read_depth, DEFAULT_AREA_DEPTH),
    };
    ret = check_range(name, s->read_size, MIN_DATA_SIZE, MAX_DATA_SIZE,
                      "read size", err);
    if (ret == 0 && s->write_size != 0)
        ret = check_range(name, s->write_size, MIN_DATA_SIZE, MAX_DATA_SIZE,
                          "write size", err);
    if (ret == 0)
        ret = check_range(name, s->read_depth, 1, MAX_DEPTH, "read depth", err);
    if (ret == 0 && s->write_depth != 0)
        ret =
            check_range(name, s->write_depth, 1, MAX_DEPTH, "write depth", err);
    return ret;
}

/* Gets or probes a feature: @cap bytes of what it answers go to @data.
 * Returns 0; -EPROTO if it answers less; or an error. */
static int get_feature(struct client *c, uint32_t flags, void *data, size_t cap)
{
    struct vfu_feature feature = {
        .argsz = (uint32_t)(sizeof(feature) + cap),
        .flags = flags,
    };
    uint8_t reply[sizeof(feature) + 16];
    ssize_t n;

    assert(cap <= sizeof(reply) - sizeof(feature));
    n = client_command(c, VFU_DEVICE_FEATURE, &feature, sizeof(feature), reply,
                       sizeof(feature) + cap);
    if (n < 0)
        return (int)n;
    if ((size_t)n != sizeof(feature) + cap)
        return client_lose(c, -EPROTO, "feature %u has %zd bytes",
                           flags & UAPI_FEATURE_MASK, n);
    memcpy(data, reply + sizeof(feature), cap);
    return 0;
}

static bool has_feature(struct client *c, uint32_t feature, uint32_t access)
{
    uint8_t none[1];

    return get_feature(c, UAPI_FEATURE_PROBE | access | feature, none, 0) == 0;
}

/* Where the device is: RUNNING if it has no states, ERROR if it will not
 * say. */
static enum vfm_state learn_state(struct client *c)
{
    struct vfu_feature_device_state now = { 0 };
    int ret = get_feature(c, UAPI_FEATURE_GET | UAPI_FEATURE_DEVICE_STATE, &now,
                          sizeof(now));

    if (ret < 0)
        return means_absent(ret) ? VFM_STATE_RUNNING : VFM_STATE_ERROR;
    if (now.state >= UAPI_NUM_STATES)
        client_lose(c, -EPROTO, "device is in state %u", now.state);
    return (enum vfm_state)now.state;
}

/* The flags of what is left to pre-copy mean something only to who has said
 * that he knows them.  A device that does not know of that sets none. */
static void ask_for_flags(struct client *c)
{
    uint8_t none[1];

    get_feature(c, UAPI_FEATURE_SET | UAPI_FEATURE_PRECOPY_INFO_V2, none, 0);
}

static void learn_features(struct client *c)
{
    struct vfm_device_info *info = &c->dev->info;
    uint64_t migration = 0;
    int ret = get_feature(c, UAPI_FEATURE_GET | UAPI_FEATURE_MIGRATION,
                          &migration, sizeof(migration));

    if (ret == 0)
        info->migration =
            migration & (UAPI_MIGRATION_STOP_COPY | UAPI_MIGRATION_P2P |
                         UAPI_MIGRATION_PRE_COPY);
    info->has_dma_logging =
        has_feature(c, UAPI_FEATURE_LOG_START, UAPI_FEATURE_SET) &&
        has_feature(c, UAPI_FEATURE_LOG_STOP, UAPI_FEATURE_SET) &&
        has_feature(c, UAPI_FEATURE_LOG_REPORT, UAPI_FEATURE_GET);
    info->has_data_size =
        has_feature(c, UAPI_FEATURE_DATA_SIZE, UAPI_FEATURE_GET);
    /* Both were proposed together, and the other cannot be probed for. */
    info->has_precopy_info =
        info->has_data_size && (info->migration & UAPI_MIGRATION_PRE_COPY) != 0;
    if ((info->migration & UAPI_MIGRATION_PRE_COPY) != 0)
        ask_for_flags(c);
}

static void learn_device_info(struct client *c)
{
    struct vfu_device_info info = { .argsz = sizeof(info) };
    ssize_t n = client_command(c, VFU_DEVICE_GET_INFO, &info, sizeof(info),
                               &info, sizeof(info));

    if (n == (ssize_t)sizeof(info)) {
        c->dev->info.has_reset = (info.flags & UAPI_DEVICE_RESET) != 0;
        c->dev->info.is_pci = (info.flags & UAPI_DEVICE_PCI) != 0;
    } else if (n >= 0) {
        client_lose(c, -EPROTO, "DEVICE_GET_INFO has %zd bytes", n);
    } else {
        /* Refused, as some do while the device is stopped.  A reset is worth
         * a try, then, when it is needed. */
        c->dev->info.has_reset = true;
    }
}

static uint32_t at_most(uint32_t value, uint32_t max)
{
    return value < max ? value : max;
}

static void note_sizes(struct client *c)
{
    uint32_t write_size =
        c->whole_messages ? DEFAULT_READ_SIZE : DEFAULT_WRITE_SIZE;
    uint32_t write_depth =
        c->whole_messages ? WHOLE_WRITE_DEPTH : DEFAULT_WRITE_DEPTH;

    c->write_depth = value_or(c->settings.write_depth, write_depth);
    c->read_size = at_most(c->settings.read_size, c->max_transfer);
    c->write_size =
        at_most(value_or(c->settings.write_size, write_size), c->max_transfer);
    c->dev->info.read_size = c->read_size;
    c->dev->info.write_size = c->write_size;
}

/* A server that refuses after all has its state in messages. */
static void learn_area(struct client *c)
{
    struct vfm_device_info *info = &c->dev->info;

    if (area_open(c) < 0)
        return;
    info->data_area_size = c->area.slots * c->area.slot_size;
    info->read_size = c->read_size;
    info->write_size = c->write_size;
}

/* Asks the server for everything.  What it refuses is absent. */
static int learn(struct client *c, struct vfm_error *err)
{
    enum vfm_state state;

    note_sizes(c);
    state = learn_state(c);
    if (c->lost.code == 0)
        learn_features(c);
    if (c->lost.code == 0)
        learn_device_info(c);
    if (c->lost.code == 0)
        config_learn(c);
    if (c->lost.code == 0 && c->offered_area > 0)
        learn_area(c);
    if (c->lost.code != 0)
        return client_error(c, err, c->lost.code, "open it");
    c->is_open = true;
    device_opened(c->dev, state);
    return 0;
}

/* Opens the device behind @fd, proposing version 0.@minor.  On failure @fd is
 * still open. */
static int open_device(int fd, const char *name, const struct settings *s,
                       uint16_t minor, bool *refused, struct vfm_device **devp,
                       struct vfm_error *err)
{
    struct client *c;
    int ret = client_new(fd, s, &c);

    *refused = false;
    if (ret < 0)
        return error_set(err, ret, "%s: %s", name, strerror(-ret));
    c->dev = device_new(&vfio_user_ops, c, name);
    if (c->dev == NULL) {
        wire_release(&c->main);
        client_free(c);
        return error_set(err, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
    }
    c->name = c->dev->name;
    c->offered_transfer = s->read_size > CLIENT_MIN_MAX_TRANSFER
                              ? s->read_size
                              : CLIENT_MIN_MAX_TRANSFER;

    ret = version_negotiate(c, minor, refused, err);
    if (ret == 0)
        ret = learn(c, err);
    if (ret < 0) {
        wire_release(&c->main);
        vfm_device_close(c->dev);
        return ret;
    }
    *devp = c->dev;
    return 0;
}

/* @ret is why there is no connection. */
static int no_connection(const char *path, const char *name, int ret,
                         struct vfm_error *err)
{
    const char *hint =
        ret == -ENOENT || ret == -ECONNREFUSED ? " (does its server run?)" : "";

    if (strcmp(name, path) == 0)
        return error_set(err, ret, "%s: cannot connect: %s%s", name,
                         strerror(-ret), hint);
    return error_set(err, ret, "%s: cannot connect to %s: %s%s", name, path,
                     strerror(-ret), hint);
}

static int connect_socket(const char *path, const char *name,
                          uint32_t timeout_ms, struct vfm_error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval timeout = {
        .tv_sec = timeout_ms / 1000,
        .tv_usec = (timeout_ms % 1000) * 1000,
    };
    int fd, ret;

    if (strlen(path) >= sizeof(address.sun_path))
        return no_connection(path, name, -ENAMETOOLONG, err);
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(err, -errno, "%s: cannot make a socket: %s", name,
                         strerror(errno));

    /* A server whose queue is full makes connect() wait that long. */
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    do
        ret = connect(fd, (struct sockaddr *)&address, sizeof(address));
    while (ret < 0 && errno == EINTR);
    if (ret == 0)
        return fd;

    ret = errno == EAGAIN ? -ETIMEDOUT : -errno;
    close(fd);
    return no_connection(path, name, ret, err);
}

/* More is better but nothing depends on it. */
static void enlarge_send_buffer(int fd)
{
    int size = SEND_BUFFER_SIZE;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int vfm_device_open_vfio_user(const char *path, const char *name,
                              const struct vfm_vfio_user_options *options,
                              struct vfm_device **devp, struct vfm_error *err)
{
    /* Proposed one after the other: there are servers that hear of no minor
     * but their own, which is then 0. */
    static const uint16_t minors[] = { VFU_VERSION_MINOR, 0 };
    struct settings settings;
    bool refused = true;
    int ret;

    if (name == NULL)
        name = path;
    ret = read_options(&settings, options, name, err);
    if (ret < 0)
        return ret;
    for (size_t i = 0; i < 2 && refused; i++) {
        int fd = connect_socket(path, name, settings.connect_timeout_ms, err);

        if (fd < 0)
            return fd;
        enlarge_send_buffer(fd);
        ret = open_device(fd, name, &settings, minors[i], &refused, devp, err);
        if (ret < 0)
            close(fd);
    }
    return ret;
}

static int check_socket(int fd, const char *name, struct vfm_error *err)
{
    socklen_t len = sizeof(int);
    int type = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return error_set(err, -errno, "%s: descriptor %d: %s", name, fd,
                         strerror(errno));
    if (type != SOCK_STREAM)
        return error_set(err, -EINVAL, "%s: descriptor %d is no stream socket",
                         name, fd);
    return 0;
}

int vfm_device_open_vfio_user_fd(int fd, const char *name,
                                 const struct vfm_vfio_user_options *options,
                                 struct vfm_device **devp,
                                 struct vfm_error *err)
{
    struct settings settings;
    char numbered[32];
    bool refused;
    int ret;

    if (name == NULL) {
        snprintf(numbered, sizeof(numbered), "fd:%d", fd);
        name = numbered;
    }
    ret = read_options(&settings, options, name, err);
    if (ret == 0)
        ret = check_socket(fd, name, err);
    if (ret < 0)
        return ret;
    enlarge_send_buffer(fd);
    return open_device(fd, name, &settings, VFU_VERSION_MINOR, &refused, devp,
                       err);
}
