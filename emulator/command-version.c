/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * VERSION: what the client proposes, and what becomes of it.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "emulator/command.h"
#include "emulator/misbehave.h"
#include "util/json.h"

/* Levels and values of the client's JSON, and bytes of ours. */
#define JSON_DEPTH  8
#define JSON_VALUES 1024
#define JSON_MAX    512
/* Replies to DMA messages on the twin socket. */
#define TWIN_MESSAGE_MAX \
    (sizeof(struct vfu_header) + sizeof(struct vfu_dma_access) + ENGINE_PIECE)

struct proposal {
    bool max_msg_fds;
    bool max_data_xfer_size;
    bool max_dma_maps;
    bool pgsizes;
    struct personality_limits limits; /* the numbers of those */
    bool write_multiple;
    bool twin_socket;
    bool whole_messages;
    int64_t data_area;
    uint64_t client_max_xfer;
    int64_t migration_page_size; /* of an older protocol; 0: not said */
};

static const struct json_limits json_limits = { .depth = JSON_DEPTH,
                                                .values = JSON_VALUES };

static const struct json *get(const struct json *o, const char *key)
{
    return json_get(o, key, JSON_OBJECT);
}

/* null is as good as nothing. */
static bool has(const struct json *o, const char *key)
{
    return json_has(o, key) && json_get(o, key, JSON_NULL) == NULL;
}

/* 0 if it is no number. */
static uint64_t number(const struct json *o, const char *key)
{
    const struct json *value = json_get(o, key, JSON_INTEGER);

    return value != NULL ? (uint64_t)value->integer : 0;
}

static bool is_true(const struct json *o, const char *key)
{
    const struct json *value = json_get(o, key, JSON_BOOLEAN);

    return value != NULL && value->boolean;
}

static void read_proposal(const struct json *root, struct proposal *p)
{
    const struct json *caps = get(root, "capabilities");

    p->migration_page_size = (int64_t)number(get(caps, "migration"), "pgsize");
    p->max_msg_fds = has(caps, "max_msg_fds");
    p->max_data_xfer_size = has(caps, "max_data_xfer_size");
    p->max_dma_maps = has(caps, "max_dma_maps");
    p->pgsizes = has(caps, "pgsizes");
    p->limits = (struct personality_limits){
        .max_msg_fds = number(caps, "max_msg_fds"),
        .max_data_xfer_size = number(caps, "max_data_xfer_size"),
        .max_dma_maps = number(caps, "max_dma_maps"),
        .pgsizes = number(caps, "pgsizes"),
    };
    p->write_multiple = is_true(caps, "write_multiple");
    p->whole_messages = is_true(caps, VFU_CAP_WHOLE_MESSAGES);
    p->data_area = (int64_t)number(caps, VFU_CAP_DATA_AREA);
    p->twin_socket = is_true(get(caps, "twin_socket"), "supported");
    if (p->max_data_xfer_size)
        p->client_max_xfer = number(caps, "max_data_xfer_size");
}

/* Makes the second socket; returns 0 or a negative errno. */
static int open_twin(struct connection *c)
{
    int fds[2];
    int ret;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    ret = transport_init(&c->twin, fds[0], TWIN_MESSAGE_MAX, TWIN_MESSAGE_MAX);
    if (ret < 0) {
        close(fds[1]);
        return ret;
    }
    /* The other end is the client's: it decides whether it blocks. */
    c->twin_client_fd = fds[1];
    return 0;
}

/* Adds "key": to the reply's capabilities. */
static size_t add(char *text, size_t at, const char *key, const char *value)
{
    int n = snprintf(text + at, JSON_MAX - at, "%s\"%s\":%s", at > 0 ? "," : "",
                     key, value);

    return at + (size_t)n;
}

/* Says of what was proposed how it is here. */
static void write_reply(const struct connection *c, const struct proposal *p,
                        char *json)
{
    char caps[JSON_MAX] = "";
    char number[24];
    size_t n = 0;

    snprintf(number, sizeof(number), "%llu",
             (unsigned long long)c->device->options->max_data_xfer);
    if (p->max_msg_fds)
        n = add(caps, n, "max_msg_fds", "8");
    if (p->max_data_xfer_size)
        n = add(caps, n, "max_data_xfer_size", number);
    if (p->max_dma_maps)
        n = add(caps, n, "max_dma_maps", "65535");
    if (p->pgsizes)
        n = add(caps, n, "pgsizes", "4096");
    if (p->write_multiple)
        n = add(caps, n, "write_multiple", "true");
    if (p->migration_page_size != 0)
        n = add(caps, n, "migration", "{\"pgsize\":4096}");
    if (p->whole_messages && personality_takes_whole_messages(c))
        n = add(caps, n, VFU_CAP_WHOLE_MESSAGES, "true");
    if (c->area_offered > 0) {
        snprintf(number, sizeof(number), "%llu",
                 (unsigned long long)c->area_offered);
        n = add(caps, n, VFU_CAP_DATA_AREA, number);
    }
    if (p->twin_socket)
        add(caps, n, "twin_socket", "{\"supported\":true,\"fd_index\":0}");
    snprintf(json, JSON_MAX, "{\"capabilities\":{%s}}", caps);
}

static int read_json(const struct request *rq, struct proposal *p)
{
    const char *text = (const char *)rq->payload + sizeof(struct vfu_version);
    size_t size = rq->size - sizeof(struct vfu_version);
    struct json *root;
    int ret;

    if (size == 0)
        return 0;
    if (text[size - 1] != '\0')
        return -EINVAL;
    ret = json_read(text, size - 1, &json_limits, &root);
    if (ret < 0)
        return ret == -ENOMEM ? ret : -EINVAL;
    if (root->kind != JSON_OBJECT)
        ret = -EINVAL;
    else
        read_proposal(root, p);
    json_free(root);
    return ret;
}

/* That library says what it has, whatever was proposed, and wants the page
 * size to be its own. */
static int follow_library(struct proposal *p)
{
    if (p->migration_page_size != 0 && p->migration_page_size != EDEV_PAGE_SIZE)
        return -EINVAL;
    p->max_msg_fds = p->max_data_xfer_size = true;
    p->max_dma_maps = p->pgsizes = p->write_multiple = false;
    p->migration_page_size = EDEV_PAGE_SIZE;
    return 0;
}

/* The client's limit on what we send it. */
static void apply_limits(struct connection *c, const struct proposal *p)
{
    uint64_t max = p->client_max_xfer;

    c->client_max_xfer = max > UINT32_MAX ? UINT32_MAX : (uint32_t)max;
    c->peer.max_size =
        c->client_max_xfer < ENGINE_PIECE ? c->client_max_xfer : ENGINE_PIECE;
}

/* How much of what the client would share is welcome. */
static void apply_area(struct connection *c, const struct proposal *p)
{
    if (p->data_area <= 0 || !personality_takes_area(c))
        return;
    c->area_offered = (uint64_t)p->data_area;
    if (c->area_offered > AREA_SIZE_MAX)
        c->area_offered = AREA_SIZE_MAX;
}

int command_version(struct connection *c, struct request *rq, struct reply *rp)
{
    struct proposal p = { .client_max_xfer = VFU_DEFAULT_MAX_DATA_XFER_SIZE };
    struct vfu_version v;
    char json[JSON_MAX];
    int ret;

    memcpy(&v, rq->payload, sizeof(v));
    c->closing = true; /* unless all goes well */
    if (v.major != VFU_VERSION_MAJOR)
        return -EINVAL;
    ret = read_json(rq, &p);
    if (c->device->options->personality == PERSONALITY_LIBVFIO_USER) {
        if (ret == 0)
            ret = follow_library(&p);
    } else {
        p.migration_page_size = 0; /* no longer part of the protocol */
    }
    if (ret == -ENOMEM)
        return ret;
    if (ret < 0 || p.client_max_xfer == 0 || !personality_accepts(c, &p.limits))
        return -EINVAL;
    if (p.twin_socket) {
        ret = open_twin(c);
        if (ret < 0)
            return ret;
        rp->fd = c->twin_client_fd;
        rp->fd_copies = 1;
    }
    apply_limits(c, &p);
    apply_area(c, &p);
    if (v.minor > personality_minor(c))
        v.minor = personality_minor(c);
    write_reply(c, &p, json);
    memcpy(rp->payload, &v, sizeof(v));
    memcpy(rp->payload + sizeof(v), json, strlen(json) + 1);
    rp->size = sizeof(v) + strlen(json) + 1;
    c->negotiated = true;
    c->closing = false;
    return 0;
}
