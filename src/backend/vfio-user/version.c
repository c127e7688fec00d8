/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first exchange: which version is spoken and what each side can take.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "backend/vfio-user/client.h"
#include "util/error.h"
#include "util/json.h"

/* The server's capabilities are a few hundred bytes. */
#define MAX_VERSION_BODY 16384

static const struct json_limits json_limits = { .depth = 8,
                                                .values = MAX_VERSION_BODY };

static int bad_json(struct client *c, const char *what)
{
    return client_lose(c, -EPROTO, "capabilities: %s", what);
}

/* Finds member @key of @object, which must be of that kind if it is there.
 * Returns 0 and it, or NULL if it is absent. */
static int get_member(struct client *c, const struct json *object,
                      const char *key, enum json_kind kind,
                      const struct json **member)
{
    static const char *const names[] = {
        [JSON_BOOLEAN] = "boolean",
        [JSON_INTEGER] = "int",
        [JSON_OBJECT] = "object",
    };

    *member = json_get(object, key, kind);
    if (*member != NULL || !json_has(object, key) ||
        json_get(object, key, JSON_NULL) != NULL)
        return 0;
    return client_lose(c, -EPROTO, "capabilities: %s is not of type %s", key,
                       names[kind]);
}

/* Reads the number @key, if it is there, into *@value: between @min and
 * @max, a larger one counting as @max. */
static int get_number(struct client *c, const struct json *object,
                      const char *key, uint32_t min, uint32_t max,
                      uint32_t *value)
{
    const struct json *member;
    int64_t number;
    int ret = get_member(c, object, key, JSON_INTEGER, &member);

    if (ret < 0 || member == NULL)
        return ret;
    number = member->integer;
    if (number < (int64_t)min)
        return client_lose(c, -EPROTO, "capabilities: %s is %" PRId64, key,
                           number);
    *value = number > (int64_t)max ? max : (uint32_t)number;
    return 0;
}

/* Reads the boolean @key; false if it is absent. */
static int read_flag(struct client *c, const struct json *object,
                     const char *key, bool *value)
{
    const struct json *member;
    int ret = get_member(c, object, key, JSON_BOOLEAN, &member);

    *value = ret == 0 && member != NULL && member->boolean;
    return ret;
}

/* Takes the socket that came with the reply over for the server's commands. */
static int adopt_twin(struct client *c, int fd)
{
    struct epoll_event event = { .events = EPOLLIN };
    socklen_t len = sizeof(int);
    int type = 0;

    wire_init(&c->twin, fd);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 &&
        errno != ENOTSOCK)
        return client_lose(c, -errno, "capabilities: twin_socket: %s",
                           strerror(errno));
    if (type != SOCK_STREAM)
        return bad_json(c, "twin_socket is no stream socket");

    c->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (c->poll_fd < 0 ||
        epoll_ctl(c->poll_fd, EPOLL_CTL_ADD, c->main.fd, &event) < 0 ||
        epoll_ctl(c->poll_fd, EPOLL_CTL_ADD, c->twin.fd, &event) < 0)
        return client_lose(c, -errno, "cannot poll the twin socket: %s",
                           strerror(errno));
    return 0;
}

static int read_twin(struct client *c, const struct json *caps)
{
    const struct json *object;
    bool supported = false;
    uint32_t index = UINT32_MAX;
    int fd;
    int ret = get_member(c, caps, "twin_socket", JSON_OBJECT, &object);

    if (ret < 0 || object == NULL)
        return ret;
    ret = read_flag(c, object, "supported", &supported);
    if (ret == 0)
        ret = get_number(c, object, "fd_index", 0, UINT32_MAX - 1, &index);
    if (ret < 0 || !supported)
        return ret;
    if (index == UINT32_MAX)
        return 0;
    fd = wire_take_fd(&c->main, index);
    if (fd < 0)
        return bad_json(c, "twin_socket has no descriptor");
    return adopt_twin(c, fd);
}

/* How much of the memory we would share the server takes. */
static int read_area(struct client *c, const struct json *caps)
{
    uint32_t size = 0;
    int ret = get_number(c, caps, VFU_CAP_DATA_AREA, 0, area_wish(c), &size);

    c->offered_area = size;
    return ret;
}

/* Reads what the server says of itself; unknown members are ignored. */
static int read_capabilities(struct client *c, const struct json *root)
{
    const struct json *caps;
    int ret;

    if (root->kind != JSON_OBJECT)
        return bad_json(c, "not an object");
    ret = get_member(c, root, "capabilities", JSON_OBJECT, &caps);
    if (ret < 0 || caps == NULL)
        return ret;
    ret = get_number(c, caps, "max_msg_fds", 0, WIRE_MAX_SEND_FDS,
                     &c->max_msg_fds);
    if (ret == 0)
        ret = get_number(c, caps, "max_data_xfer_size", 1, MAX_DATA_SIZE,
                         &c->max_transfer);
    if (ret == 0)
        ret = read_flag(c, caps, VFU_CAP_WHOLE_MESSAGES, &c->whole_messages);
    if (ret == 0 && !c->settings.no_area)
        ret = read_area(c, caps);
    if (ret == 0)
        ret = read_twin(c, caps);
    return ret;
}

/* Reads @size bytes of JSON at @text, which must hold a NUL. */
static int read_json(struct client *c, const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    struct json *root;
    int ret;

    if (len == size)
        return bad_json(c, "not terminated");
    if (len == 0)
        return 0;
    ret = json_read(text, len, &json_limits, &root);
    if (ret == -ENOMEM)
        return client_lose(c, ret, "capabilities: %s", strerror(ENOMEM));
    if (ret < 0)
        return bad_json(c, ret == -ELOOP ? "nesting too deep" : "no JSON");
    ret = read_capabilities(c, root);
    json_free(root);
    return ret;
}

struct exchange {
    struct request req;
    uint16_t minor; /* proposed */
    uint8_t body[MAX_VERSION_BODY];
};

/* The reply is there, with its descriptors. */
static void replied(struct client *c, struct request *req)
{
    struct exchange *x = (struct exchange *)req;
    struct vfu_version version;

    if (req->error < 0)
        return;
    if (req->size < sizeof(version) || req->size > sizeof(x->body)) {
        client_lose(c, -EPROTO, "VERSION reply has %zu bytes", req->size);
        return;
    }
    memcpy(&version, x->body, sizeof(version));
    if (version.major != VFU_VERSION_MAJOR) {
        client_lose(c, -EPROTONOSUPPORT, "server speaks version %u.%u",
                    version.major, version.minor);
        return;
    }
    if (version.minor > x->minor) {
        client_lose(c, -EPROTO,
                    "server chose version %u.%u, proposed was %u.%u",
                    version.major, version.minor, VFU_VERSION_MAJOR, x->minor);
        return;
    }
    if (req->size > sizeof(version))
        read_json(c, (const char *)x->body + sizeof(version),
                  req->size - sizeof(version));
}

static int send_version(struct client *c, struct exchange *x)
{
    struct vfu_version version = { VFU_VERSION_MAJOR, x->minor };
    char json[320];
    struct iovec parts[] = {
        { &version, sizeof(version) },
        { json, 0 },
    };
    /* The twin socket came with minor 2. */
    char area[64] = "";
    int n;

    if (!c->settings.no_area)
        snprintf(area, sizeof(area), ",\"%s\":%" PRIu32, VFU_CAP_DATA_AREA,
                 area_wish(c));
    n = snprintf(json, sizeof(json),
                 "{\"capabilities\":{\"max_msg_fds\":%d,"
                 "\"max_data_xfer_size\":%" PRIu32 ",\"%s\":true%s%s}}",
                 CLIENT_MAX_MSG_FDS, c->offered_transfer,
                 VFU_CAP_WHOLE_MESSAGES, area,
                 x->minor < 2 ? "" : ",\"twin_socket\":{\"supported\":true}");

    parts[1].iov_len = (size_t)n + 1;
    return client_send(c, &x->req, VFU_VERSION, parts, 2, NULL, 0);
}

int version_negotiate(struct client *c, uint16_t minor, bool *refused,
                      struct vfm_error *err)
{
    struct exchange *x = calloc(1, sizeof(*x));
    int ret;

    *refused = false;
    if (x == NULL)
        return client_error(c, err, -ENOMEM, "open it");
    x->minor = minor;
    x->req.buf = x->body;
    x->req.cap = sizeof(x->body);
    x->req.timeout_ms = c->settings.connect_timeout_ms;
    x->req.done = replied;
    c->max_msg_fds = VFU_DEFAULT_MAX_MSG_FDS;
    c->max_transfer = VFU_DEFAULT_MAX_DATA_XFER_SIZE;

    ret = send_version(c, x);
    if (ret == 0)
        ret = client_wait(c, &x->req);
    if (ret == 0)
        ret = c->lost.code;
    if (x->req.answered && x->req.error < 0) {
        *refused = true;
        ret = error_set(err, -EPROTONOSUPPORT,
                        "%s: server refuses protocol %u.%u: %s", c->name,
                        VFU_VERSION_MAJOR, minor, strerror(-ret));
    } else if (ret < 0) {
        ret = client_error(c, err, ret,
                           ret == -ETIMEDOUT
                               ? "begin (does it serve another client?)"
                               : "agree on a version");
    }
    free(x);
    return ret;
}
