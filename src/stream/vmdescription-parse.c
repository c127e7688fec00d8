/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the vmdescription: the lengths of the FULL sections, and our own
 * object.  Whether digests agree and an identity will do is judged elsewhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream/format.h"
#include "stream/vmdescription.h"
#include "util/error.h"
#include "util/json.h"

static int bad(struct vfm_error *err, const char *what)
{
    return error_set(err, -EBADMSG, "vmdescription: %s", what);
}

/* A number from 0 to @max. */
static bool number(const struct json *object, const char *key, uint64_t max,
                   uint64_t *value)
{
    const struct json *v = json_get(object, key, JSON_INTEGER);

    if (v == NULL || v->integer < 0)
        return false;
    *value = (uint64_t)v->integer;
    return *value <= max;
}

/* A string of printable ASCII, as names are; copied. */
static int string(const struct json *object, const char *key,
                  const char **value)
{
    const struct json *v = json_get(object, key, JSON_STRING);

    if (v == NULL || v->len > STREAM_NAME_MAX || strlen(v->text) != v->len)
        return -EBADMSG;
    for (const char *c = v->text; *c != '\0'; c++)
        if (*c < 0x20 || *c > 0x7e)
            return -EBADMSG;
    *value = strdup(v->text);
    return *value != NULL ? 0 : -ENOMEM;
}

/* ---------------------------------------------------------------------- */

static bool fields_bytes(const struct json *device, unsigned int depth,
                         uint64_t *bytes);

static bool add(uint64_t *sum, uint64_t more)
{
    return !__builtin_add_overflow(*sum, more, sum);
}

static bool add_field(const struct json *field, uint64_t *bytes)
{
    uint64_t count = 1;
    uint64_t size;

    if (!number(field, "size", INT64_MAX, &size))
        return false;
    if (json_has(field, "array_len") &&
        !number(field, "array_len", INT64_MAX, &count))
        return false;
    return !__builtin_mul_overflow(size, count, &size) && add(bytes, size);
}

/* A subsection: its type, the length of its name, name and version are in
 * front of its fields. */
static bool add_subsection(const struct json *sub, unsigned int depth,
                           uint64_t *bytes)
{
    const struct json *name = json_get(sub, "vmsd_name", JSON_STRING);

    return name != NULL && add(bytes, 1 + 1 + (uint64_t)name->len + 4) &&
           fields_bytes(sub, depth + 1, bytes);
}

/* The fields and subsections of a device: the sizes at this level hold for
 * what is inside of them, too. */
static bool fields_bytes(const struct json *device, unsigned int depth,
                         uint64_t *bytes)
{
    const struct json *v = json_get(device, "fields", JSON_ARRAY);

    if (depth > VMDESCRIPTION_DEPTH_MAX)
        return false;
    for (v = v == NULL ? NULL : v->first; v != NULL; v = v->next)
        if (!add_field(v, bytes))
            return false;
    v = json_get(device, "subsections", JSON_ARRAY);
    for (v = v == NULL ? NULL : v->first; v != NULL; v = v->next)
        if (!add_subsection(v, depth, bytes))
            return false;
    return true;
}

static int parse_section(const struct json *o, struct vmdescription_section *s)
{
    uint64_t instance_id;
    int ret = string(o, "name", &s->name);

    if (ret < 0)
        return ret;
    if (!number(o, "instance_id", UINT32_MAX, &instance_id))
        return -EBADMSG;
    s->instance_id = (uint32_t)instance_id;
    if (json_has(o, "size"))
        return number(o, "size", INT64_MAX, &s->bytes) ? 0 : -EBADMSG;
    return fields_bytes(o, 0, &s->bytes) ? 0 : -EBADMSG;
}

static int parse_sections(const struct json *root, struct vmdescription *desc,
                          struct vfm_error *err)
{
    const struct json *list = json_get(root, "devices", JSON_ARRAY);
    int ret;

    if (list == NULL)
        return bad(err, "the list of devices is missing");
    if (list->count > VMDESCRIPTION_DEVICES_MAX)
        return error_set(err, -E2BIG, "vmdescription: more than %d devices",
                         VMDESCRIPTION_DEVICES_MAX);
    desc->sections = calloc(list->count + 1, sizeof(*desc->sections));
    if (desc->sections == NULL)
        return error_set(err, -ENOMEM, "vmdescription: out of memory");
    for (const struct json *o = list->first; o != NULL; o = o->next) {
        ret = parse_section(o, &desc->sections[desc->num_sections++]);
        if (ret == -ENOMEM)
            return error_set(err, ret, "vmdescription: out of memory");
        if (ret < 0)
            return error_set(err, ret,
                             "vmdescription: device %zu has no name, instance "
                             "or size that can be read",
                             desc->num_sections - 1);
    }
    return 0;
}

/* ---------------------------------------------------------------------- */

static int parse_identity(const struct json *o,
                          struct vmdescription_identity *identity)
{
    uint64_t vendor;
    uint64_t device;
    uint64_t subsystem_vendor;
    uint64_t subsystem;
    uint64_t revision;
    uint64_t class_code;
    uint64_t config_size;
    uint64_t msix_count;

    if (!number(o, "vendor", UINT16_MAX, &vendor) ||
        !number(o, "device", UINT16_MAX, &device) ||
        !number(o, "subsystem_vendor", UINT16_MAX, &subsystem_vendor) ||
        !number(o, "subsystem", UINT16_MAX, &subsystem) ||
        !number(o, "revision", UINT8_MAX, &revision) ||
        !number(o, "class", 0xffffff, &class_code) ||
        !number(o, "config_size", UINT32_MAX, &config_size) ||
        !number(o, "msix_count", UINT32_MAX, &msix_count))
        return -EBADMSG;
    identity->vendor = (uint16_t)vendor;
    identity->device = (uint16_t)device;
    identity->subsystem_vendor = (uint16_t)subsystem_vendor;
    identity->subsystem = (uint16_t)subsystem;
    identity->revision = (uint8_t)revision;
    identity->class_code = (uint32_t)class_code;
    identity->config_size = (uint32_t)config_size;
    identity->msix_count = (uint32_t)msix_count;
    return string(o, "backend", &identity->backend);
}

static int parse_digest(const struct json *o, char hex[DIGEST_HEX_SIZE])
{
    const struct json *v = json_get(o, "xxh3_128", JSON_STRING);

    if (!json_has(o, "xxh3_128"))
        return 0;
    if (v == NULL || v->len != DIGEST_HEX_SIZE - 1)
        return -EBADMSG;
    if (strspn(v->text, "0123456789abcdef") != DIGEST_HEX_SIZE - 1)
        return -EBADMSG;
    memcpy(hex, v->text, DIGEST_HEX_SIZE);
    return 0;
}

static int parse_device(const struct json *o, struct vmdescription_device *d)
{
    int ret = string(o, "section", &d->section);

    if (ret == 0 && !number(o, "bytes", INT64_MAX, &d->bytes))
        ret = -EBADMSG;
    if (ret == 0)
        ret = parse_digest(o, d->xxh3_128);
    if (ret == 0 && json_has(o, "identity"))
        ret =
            parse_identity(json_get(o, "identity", JSON_OBJECT), &d->identity);
    return ret;
}

static int parse_devices(const struct json *vfmig, struct vmdescription *desc)
{
    const struct json *list = json_get(vfmig, "devices", JSON_ARRAY);
    int ret = 0;

    if (list == NULL || list->count > VMDESCRIPTION_DEVICES_MAX)
        return -EBADMSG;
    desc->devices = calloc(list->count + 1, sizeof(*desc->devices));
    if (desc->devices == NULL)
        return -ENOMEM;
    for (const struct json *o = list->first; ret == 0 && o != NULL; o = o->next)
        ret = parse_device(o, &desc->devices[desc->num_devices++]);
    return ret;
}

static int parse_vfmig(const struct json *root, struct vmdescription *desc,
                       struct vfm_error *err)
{
    const struct json *vfmig = json_get(root, "vfmig", JSON_OBJECT);
    const struct json *running = json_get(vfmig, "running", JSON_BOOLEAN);
    int ret;

    if (!json_has(root, "vfmig"))
        return 0;
    ret = running != NULL ? string(vfmig, "version", &desc->version) : -EBADMSG;
    if (ret == 0)
        ret = parse_devices(vfmig, desc);
    if (ret < 0)
        return error_set(err, ret, "vmdescription: the object \"vfmig\": %s",
                         ret == -ENOMEM ? strerror(ENOMEM)
                                        : "it has not the form it should have");
    desc->has_vfmig = true;
    desc->running = running->boolean;
    return 0;
}

/* ---------------------------------------------------------------------- */

/* One value and nothing behind it. */
static int parse_json(const char *text, size_t len, struct json **root,
                      struct vfm_error *err)
{
    static const struct json_limits limits = {
        .depth = VMDESCRIPTION_DEPTH_MAX,
        .values = VMDESCRIPTION_VALUES_MAX,
    };
    int ret = json_read(text, len, &limits, root);

    if (ret == -ENOMEM)
        return error_set(err, ret, "vmdescription: out of memory");
    if (ret == -ELOOP)
        return error_set(err, -E2BIG, "vmdescription: nested too deep");
    if (ret == -E2BIG)
        return error_set(err, ret, "vmdescription: too many values");
    if (ret == 0 && (*root)->kind == JSON_OBJECT)
        return 0;
    json_free(*root);
    return bad(err, "it is no JSON object");
}

int vmdescription_parse(const char *json, size_t len,
                        struct vmdescription **descp, struct vfm_error *err)
{
    struct vmdescription *desc = NULL;
    struct json *root = NULL;
    int ret = parse_json(json, len, &root, err);

    if (ret < 0)
        return ret;
    desc = calloc(1, sizeof(*desc));
    if (desc == NULL) {
        ret = error_set(err, -ENOMEM, "vmdescription: out of memory");
        goto out;
    }
    /* Streams of old machine types leave it out. */
    if (!number(root, "page_size", INT64_MAX, &desc->page_size))
        desc->page_size = 0;
    ret = parse_sections(root, desc, err);
    if (ret == 0)
        ret = parse_vfmig(root, desc, err);
    if (ret == 0)
        *descp = desc;
    else
        vmdescription_free(desc);
out:
    json_free(root);
    return ret;
}

static void free_string(const char *s)
{
    free((char *)s);
}

void vmdescription_free(struct vmdescription *desc)
{
    if (desc == NULL)
        return;
    for (size_t i = 0; i < desc->num_sections; i++)
        free_string(desc->sections[i].name);
    for (size_t i = 0; i < desc->num_devices; i++) {
        free_string(desc->devices[i].section);
        free_string(desc->devices[i].identity.backend);
    }
    free_string(desc->machine);
    free_string(desc->version);
    free(desc->sections);
    free(desc->devices);
    free(desc);
}
