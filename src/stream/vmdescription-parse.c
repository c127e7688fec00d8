/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the vmdescription: the lengths of the FULL sections, and our own
 * object.  Whether digests agree and an identity will do is judged elsewhere.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "stream/format.h"
#include "stream/vmdescription.h"
#include "util/error.h"

static int bad(struct vfm_error *err, const char *what)
{
    return error_set(err, -EBADMSG, "vmdescription: %s", what);
}

/* A member of @object of the type @type, or NULL. */
static struct json_object *member(struct json_object *object, const char *key,
                                  enum json_type type)
{
    struct json_object *value = NULL;

    if (!json_object_is_type(object, json_type_object) ||
        !json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, type))
        return NULL;
    return value;
}

/* A number from 0 to @max. */
static bool number(struct json_object *object, const char *key, uint64_t max,
                   uint64_t *value)
{
    struct json_object *v = member(object, key, json_type_int);

    if (v == NULL || json_object_get_int64(v) < 0)
        return false;
    *value = json_object_get_uint64(v);
    return *value <= max;
}

/* A string of printable ASCII, as names are; copied. */
static int string(struct json_object *object, const char *key,
                  const char **value)
{
    struct json_object *v = member(object, key, json_type_string);
    const char *s;

    if (v == NULL || json_object_get_string_len(v) > STREAM_NAME_MAX)
        return -EBADMSG;
    s = json_object_get_string(v);
    if (strlen(s) != (size_t)json_object_get_string_len(v))
        return -EBADMSG;
    for (const char *c = s; *c != '\0'; c++)
        if (*c < 0x20 || *c > 0x7e)
            return -EBADMSG;
    *value = strdup(s);
    return *value != NULL ? 0 : -ENOMEM;
}

/* ---------------------------------------------------------------------- */

static bool fields_bytes(struct json_object *device, unsigned int depth,
                         uint64_t *bytes);

static bool add(uint64_t *sum, uint64_t more)
{
    return !__builtin_add_overflow(*sum, more, sum);
}

static bool add_field(struct json_object *field, uint64_t *bytes)
{
    uint64_t count = 1;
    uint64_t size;

    if (!number(field, "size", INT64_MAX, &size))
        return false;
    if (json_object_object_get_ex(field, "array_len", NULL) &&
        !number(field, "array_len", INT64_MAX, &count))
        return false;
    return !__builtin_mul_overflow(size, count, &size) && add(bytes, size);
}

/* A subsection: its type, the length of its name, name and version are in
 * front of its fields. */
static bool add_subsection(struct json_object *sub, unsigned int depth,
                           uint64_t *bytes)
{
    struct json_object *name = member(sub, "vmsd_name", json_type_string);

    return name != NULL &&
           add(bytes, 1 + 1 + (uint64_t)json_object_get_string_len(name) + 4) &&
           fields_bytes(sub, depth + 1, bytes);
}

/* The fields and subsections of a device: the sizes at this level hold for
 * what is inside of them, too. */
static bool fields_bytes(struct json_object *device, unsigned int depth,
                         uint64_t *bytes)
{
    struct json_object *fields = member(device, "fields", json_type_array);
    struct json_object *subs = member(device, "subsections", json_type_array);

    if (depth > VMDESCRIPTION_DEPTH_MAX)
        return false;
    for (size_t i = 0; fields != NULL && i < json_object_array_length(fields);
         i++)
        if (!add_field(json_object_array_get_idx(fields, i), bytes))
            return false;
    for (size_t i = 0; subs != NULL && i < json_object_array_length(subs); i++)
        if (!add_subsection(json_object_array_get_idx(subs, i), depth, bytes))
            return false;
    return true;
}

static int parse_section(struct json_object *o, struct vmdescription_section *s)
{
    uint64_t instance_id;
    int ret = string(o, "name", &s->name);

    if (ret < 0)
        return ret;
    if (!number(o, "instance_id", UINT32_MAX, &instance_id))
        return -EBADMSG;
    s->instance_id = (uint32_t)instance_id;
    if (json_object_object_get_ex(o, "size", NULL))
        return number(o, "size", INT64_MAX, &s->bytes) ? 0 : -EBADMSG;
    return fields_bytes(o, 0, &s->bytes) ? 0 : -EBADMSG;
}

static int parse_sections(struct json_object *root, struct vmdescription *desc,
                          struct vfm_error *err)
{
    struct json_object *list = member(root, "devices", json_type_array);
    size_t count = list != NULL ? json_object_array_length(list) : 0;
    int ret;

    if (list == NULL)
        return bad(err, "the list of devices is missing");
    if (count > VMDESCRIPTION_DEVICES_MAX)
        return error_set(err, -E2BIG, "vmdescription: more than %d devices",
                         VMDESCRIPTION_DEVICES_MAX);
    desc->sections = calloc(count + 1, sizeof(*desc->sections));
    if (desc->sections == NULL)
        return error_set(err, -ENOMEM, "vmdescription: no memory");
    desc->num_sections = count;
    for (size_t i = 0; i < count; i++) {
        ret = parse_section(json_object_array_get_idx(list, i),
                            &desc->sections[i]);
        if (ret < 0)
            return error_set(err, ret,
                             "vmdescription: device %zu has no name, instance "
                             "or size that can be read",
                             i);
    }
    return 0;
}

/* ---------------------------------------------------------------------- */

static int parse_identity(struct json_object *o,
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

static int parse_digest(struct json_object *o, char hex[DIGEST_HEX_SIZE])
{
    struct json_object *v = member(o, "xxh3_128", json_type_string);
    const char *s;

    if (!json_object_object_get_ex(o, "xxh3_128", NULL))
        return 0;
    if (v == NULL || json_object_get_string_len(v) != DIGEST_HEX_SIZE - 1)
        return -EBADMSG;
    s = json_object_get_string(v);
    if (strspn(s, "0123456789abcdef") != DIGEST_HEX_SIZE - 1)
        return -EBADMSG;
    memcpy(hex, s, DIGEST_HEX_SIZE);
    return 0;
}

static int parse_device(struct json_object *o, struct vmdescription_device *d)
{
    struct json_object *identity;
    int ret = string(o, "section", &d->section);

    if (ret == 0 && !number(o, "bytes", INT64_MAX, &d->bytes))
        ret = -EBADMSG;
    if (ret == 0)
        ret = parse_digest(o, d->xxh3_128);
    if (ret == 0 && json_object_object_get_ex(o, "identity", &identity))
        ret = parse_identity(identity, &d->identity);
    return ret;
}

static int parse_devices(struct json_object *vfmig, struct vmdescription *desc)
{
    struct json_object *list = member(vfmig, "devices", json_type_array);
    size_t count = list != NULL ? json_object_array_length(list) : 0;
    int ret = 0;

    if (list == NULL || count > VMDESCRIPTION_DEVICES_MAX)
        return -EBADMSG;
    desc->devices = calloc(count + 1, sizeof(*desc->devices));
    if (desc->devices == NULL)
        return -ENOMEM;
    desc->num_devices = count;
    for (size_t i = 0; ret == 0 && i < count; i++)
        ret =
            parse_device(json_object_array_get_idx(list, i), &desc->devices[i]);
    return ret;
}

static int parse_vfmig(struct json_object *root, struct vmdescription *desc,
                       struct vfm_error *err)
{
    struct json_object *vfmig = NULL;
    struct json_object *running;
    int ret;

    if (!json_object_object_get_ex(root, "vfmig", &vfmig))
        return 0;
    running = member(vfmig, "running", json_type_boolean);
    ret = running != NULL ? string(vfmig, "version", &desc->version) : -EBADMSG;
    if (ret == 0)
        ret = parse_devices(vfmig, desc);
    if (ret < 0)
        return error_set(err, ret, "vmdescription: the object \"vfmig\": %s",
                         ret == -ENOMEM ? strerror(ENOMEM)
                                        : "it has not the form it should have");
    desc->has_vfmig = true;
    desc->running = json_object_get_boolean(running);
    return 0;
}

/* ---------------------------------------------------------------------- */

/* Whether @json has no more values than we would hold in memory, where one of
 * three bytes can take several hundred.  Objects and arrays are the large ones;
 * every other value has a comma beside it, or is the first in one of them.
 * Comments and the other quotes, which are no JSON, but which the parser takes,
 * could hide some. */
static int check_values(const char *json, size_t len, struct vfm_error *err)
{
    size_t containers = 0;
    size_t commas = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        if (json[i] == '"')
            in_string = !in_string;
        else if (in_string)
            i += json[i] == '\\';
        else if (json[i] == '/' || json[i] == '\'')
            return bad(err, "it is no JSON object");
        else if (json[i] == '{' || json[i] == '[')
            containers++;
        else
            commas += json[i] == ',';
    }
    if (containers > VMDESCRIPTION_CONTAINERS_MAX ||
        commas > VMDESCRIPTION_VALUES_MAX)
        return error_set(err, -E2BIG, "vmdescription: too many values");
    return 0;
}

/* One value and nothing behind it. */
static int parse_json(const char *json, size_t len, struct json_object **root,
                      struct vfm_error *err)
{
    struct json_tokener *tok;
    enum json_tokener_error error;
    size_t end;
    int ret = check_values(json, len, err);

    if (ret < 0)
        return ret;
    tok = json_tokener_new_ex(VMDESCRIPTION_DEPTH_MAX);
    if (tok == NULL)
        return error_set(err, -ENOMEM, "vmdescription: no memory");
    *root = len <= INT_MAX ? json_tokener_parse_ex(tok, json, (int)len) : NULL;
    error = json_tokener_get_error(tok);
    end = json_tokener_get_parse_end(tok);
    json_tokener_free(tok);
    if (*root == NULL && error == json_tokener_error_depth)
        return error_set(err, -E2BIG, "vmdescription: nested too deep");
    if (*root != NULL && end == len &&
        json_object_is_type(*root, json_type_object))
        return 0;
    json_object_put(*root);
    return bad(err, "it is no JSON object");
}

int vmdescription_parse(const char *json, size_t len,
                        struct vmdescription **descp, struct vfm_error *err)
{
    struct vmdescription *desc = NULL;
    struct json_object *root = NULL;
    int ret = parse_json(json, len, &root, err);

    if (ret < 0)
        return ret;
    desc = calloc(1, sizeof(*desc));
    if (desc == NULL) {
        ret = error_set(err, -ENOMEM, "vmdescription: no memory");
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
    json_object_put(root);
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
