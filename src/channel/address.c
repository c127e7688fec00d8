/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The grammar of channels' URIs.
 *
 * Pure: text in, struct address out.  Whether the thing exists, and names of
 * hosts, are left to the transports.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/un.h>

#include "channel/address.h"
#include "util/error.h"

#define PORT_DIGITS 5
#define FD_DIGITS   10

/* The longest name of a network interface, as in fe80::1%eth0. */
#define ZONE_MAX    15

static int bad(const char *uri, struct vfm_error *err, const char *why)
{
    return error_set(err, -EINVAL, "%.*s: %s", ADDRESS_SHOWN, uri, why);
}

static int too_long(const char *uri, struct vfm_error *err, const char *what)
{
    return error_set(err, -ENAMETOOLONG, "%.*s: %s is too long", ADDRESS_SHOWN,
                     uri, what);
}

static bool has_control_characters(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

/* Reads a number of at most @digits digits and nothing else: no sign, no
 * space.  Returns it, or -1 if it is none or above @max. */
static int64_t parse_number(const char *text, size_t digits, int64_t max)
{
    size_t len = strlen(text);
    int64_t value = 0;

    if (len == 0 || len > digits)
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
    }
    return value > max ? -1 : value;
}

static bool is_name(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("-._", text[i]) == NULL)
            return false;
    return true;
}

/* An IPv6 address, with or without %zone. */
static bool is_ipv6(const char *host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr unused;
    size_t len = strcspn(host, "%");

    if (len >= sizeof(text))
        return false;
    memcpy(text, host, len);
    text[len] = '\0';
    if (inet_pton(AF_INET6, text, &unused) != 1)
        return false;
    if (host[len] == '\0')
        return true;
    host += len + 1;
    len = strlen(host);
    return len > 0 && len <= ZONE_MAX && is_name(host, len);
}

/* Copies the host between @text and @end to @addr. */
static int parse_host(struct address *addr, const char *text, const char *end,
                      const char *uri, struct vfm_error *err)
{
    bool bracketed = *text == '[';
    size_t len;

    if (bracketed) {
        text++;
        end--;
    }
    len = (size_t)(end - text);
    if (len > ADDRESS_HOST_MAX)
        return too_long(uri, err, "the host name");
    memcpy(addr->host, text, len);
    addr->host[len] = '\0';

    if (bracketed)
        return is_ipv6(addr->host) ? 0 : bad(uri, err, "no IPv6 address");
    if (memchr(text, ':', len) != NULL)
        return bad(uri, err, "an IPv6 address belongs in brackets");
    return is_name(text, len) ? 0 : bad(uri, err, "no host name");
}

static int parse_tcp(struct address *addr, const char *text, const char *uri,
                     struct vfm_error *err)
{
    const char *end = *text == '[' ? strchr(text, ']') : strrchr(text, ':');
    int64_t port;

    if (end != NULL && *end == ']')
        end++;
    if (end == NULL || *end != ':')
        return bad(uri, err, "not of the form tcp:HOST:PORT");
    port = parse_number(end + 1, PORT_DIGITS, UINT16_MAX);
    if (port < 0)
        return bad(uri, err, "the port is not a number from 0 to 65535");
    addr->port = (uint16_t)port;
    return parse_host(addr, text, end, uri, err);
}

static int parse_fd(struct address *addr, const char *text, const char *uri,
                    struct vfm_error *err)
{
    int64_t fd = parse_number(text, FD_DIGITS, INT_MAX);

    if (fd < 0)
        return bad(uri, err, "not the number of a descriptor");
    addr->fd = (int)fd;
    return 0;
}

static int parse_unix(struct address *addr, const char *text, const char *uri,
                      struct vfm_error *err)
{
    if (*text == '\0')
        return bad(uri, err, "the path is missing");
    if (has_control_characters(text))
        return bad(uri, err, "the path has control characters");
    if (strlen(text) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return too_long(uri, err, "the path");
    addr->text = text;
    return 0;
}

static int parse_file(struct address *addr, const char *text, const char *uri,
                      struct vfm_error *err)
{
    const char *slash = strrchr(text, '/');
    const char *base = slash == NULL ? text : slash + 1;

    if (*base == '\0')
        return bad(uri, err, "the file's name is missing");
    if (has_control_characters(text))
        return bad(uri, err, "the path has control characters");
    if (strlen(text) >= PATH_MAX || strlen(base) > NAME_MAX)
        return too_long(uri, err, "the path");
    addr->text = text;
    return 0;
}

/* A command may hold any characters; the shell knows them. */
static int parse_exec(struct address *addr, const char *text, const char *uri,
                      struct vfm_error *err)
{
    if (text[strspn(text, " \t\r\n")] == '\0')
        return bad(uri, err, "the command is missing");
    addr->text = text;
    return 0;
}

static const struct {
    const char *prefix;
    int (*parse)(struct address *addr, const char *text, const char *uri,
                 struct vfm_error *err);
} grammar[] = {
    [ADDRESS_UNIX] = { "unix:", parse_unix },
    [ADDRESS_TCP] = { "tcp:", parse_tcp },
    [ADDRESS_FD] = { "fd:", parse_fd },
    [ADDRESS_FILE] = { "file:", parse_file },
    [ADDRESS_EXEC] = { "exec:", parse_exec },
};

static_assert(sizeof(grammar) / sizeof(grammar[0]) == ADDRESS_KINDS,
              "every kind of address has its grammar");

int address_parse(struct address *addr, const char *uri, struct vfm_error *err)
{
    if (strnlen(uri, ADDRESS_URI_MAX + 1) > ADDRESS_URI_MAX)
        return too_long(uri, err, "the URI");

    for (int kind = 0; kind < ADDRESS_KINDS; kind++) {
        size_t len = strlen(grammar[kind].prefix);

        if (strncmp(uri, grammar[kind].prefix, len) != 0)
            continue;
        *addr = (struct address){ .kind = (enum address_kind)kind, .fd = -1 };
        return grammar[kind].parse(addr, uri + len, uri, err);
    }
    return bad(uri, err,
               "a channel's URI begins with unix:, tcp:, fd:, file: or exec:");
}

int address_check_target(const struct address *addr, const char *uri,
                         struct vfm_error *err)
{
    if (addr->kind != ADDRESS_TCP)
        return 0;
    if (addr->host[0] == '\0')
        return bad(uri, err, "a sender needs the receiver's host name");
    if (addr->port == 0)
        return bad(uri, err, "a sender needs the receiver's port");
    return 0;
}
