/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hello and its answer: framing and JSON, no waiting.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "migration/hello.h"
#include "util/bytes.h"
#include "util/error.h"

#define HELLO_MAGIC   0x56464d47 /* "VFMG" */
#define QEMU_MAGIC    0x5145564d /* "QEVM" */
#define HELLO_VERSION 1
#define FRAME_SIZE    12

/* 64 devices with long names and 1024 blocks of memory are below it; a target's
 * inbox is larger. */
#define HELLO_MAX     (UINT32_C(512) << 10)
#define DEPTH_MAX     8

/* What a target must understand to take part, if the source needs it. */
static bool needs_handover(const struct vfm_migration *m)
{
    (void)m;
    return true;
}

static bool needs_ram(const struct vfm_migration *m)
{
    return m->ram != NULL;
}

static bool needs_blobs(const struct vfm_migration *m)
{
    return m->num_blobs > 0;
}

static const struct {
    const char *name;
    bool (*is_needed)(const struct vfm_migration *m);
} required[] = {
    { "handover-1", needs_handover },
    { "ram-1", needs_ram },
    { "blobs-1", needs_blobs },
};
#define NUM_REQUIRED (sizeof(required) / sizeof(required[0]))

static int out_of_memory(struct vfm_error *err)
{
    return error_set(err, -ENOMEM, "hello: out of memory");
}

/* Adds @value, whose reference it takes; false without memory. */
static bool add(struct json_object *object, const char *key,
                struct json_object *value)
{
    if (value != NULL && json_object_object_add(object, key, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

static bool add_int(struct json_object *object, const char *key, int64_t value)
{
    return add(object, key, json_object_new_int64(value));
}

static bool add_text(struct json_object *object, const char *key,
                     const char *text)
{
    return add(object, key, json_object_new_string(text));
}

static bool append(struct json_object *array, struct json_object *value)
{
    if (value != NULL && json_object_array_add(array, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

/* The members of struct vfm_device_info that both sides must agree on. */
static const struct {
    const char *key;
    const char *text;
} identity[] = {
    { "vendor", "vendor id" },
    { "device", "device id" },
    { "subsystem-vendor", "subsystem vendor id" },
    { "subsystem", "subsystem id" },
    { "revision", "revision" },
    { "class", "class" },
    { "config-size", "size of configuration space" },
    { "msix", "number of MSI-X entries" },
};
#define NUM_IDENTITY (sizeof(identity) / sizeof(identity[0]))

static void get_identity(const struct vfm_device *dev,
                         int64_t values[NUM_IDENTITY])
{
    const struct vfm_device_info *info = &dev->info;
    const int64_t all[NUM_IDENTITY] = {
        info->vendor_id,    info->device_id,   info->subsystem_vendor_id,
        info->subsystem_id, info->revision_id, info->class_code,
        info->config_size,  info->msix_count,
    };

    memcpy(values, all, sizeof(all));
}

static struct json_object *device_object(const struct member *member)
{
    struct json_object *object = json_object_new_object();
    int64_t values[NUM_IDENTITY];
    bool ok = object != NULL && add_text(object, "id", member->id) &&
              add_text(object, "backend", member->dev->info.backend);

    get_identity(member->dev, values);
    for (size_t i = 0; ok && i < NUM_IDENTITY; i++)
        ok = add_int(object, identity[i].key, values[i]);
    if (ok)
        return object;
    json_object_put(object);
    return NULL;
}

/* Adds the list @key of @n things, each made by @make. */
static bool add_list(const struct vfm_migration *m, struct json_object *object,
                     const char *key, size_t n,
                     struct json_object *(*make)(const struct vfm_migration *m,
                                                 size_t i))
{
    struct json_object *list = json_object_new_array();
    bool ok = add(object, key, list);

    for (size_t i = 0; ok && i < n; i++)
        ok = append(list, make(m, i));
    return ok;
}

static struct json_object *make_device(const struct vfm_migration *m, size_t i)
{
    return device_object(m->members[i]);
}

/* An object with a name and a number. */
static struct json_object *named_number(const char *name, const char *key,
                                        uint64_t number)
{
    struct json_object *object = json_object_new_object();

    if (object != NULL && add_text(object, "name", name) &&
        add(object, key, json_object_new_uint64(number)))
        return object;
    json_object_put(object);
    return NULL;
}

static struct json_object *make_block(const struct vfm_migration *m, size_t i)
{
    return named_number(m->ram->blocks[i].name, "bytes",
                        m->ram->blocks[i].bytes);
}

static struct json_object *make_blob(const struct vfm_migration *m, size_t i)
{
    return named_number(m->blobs[i]->is.name, "version",
                        m->blobs[i]->is.version);
}

static bool add_required(const struct vfm_migration *m,
                         struct json_object *object)
{
    struct json_object *requires = json_object_new_array();
    bool ok = add(object, "requires", requires);

    for (size_t i = 0; ok && i < NUM_REQUIRED; i++)
        if (required[i].is_needed(m))
            ok = append(requires, json_object_new_string(required[i].name));
    return ok;
}

static bool fill_hello(const struct vfm_migration *m,
                       struct json_object *object)
{
    bool ok = add_required(m, object) &&
              add_list(m, object, "devices", m->num_members, make_device);

    if (ok && m->ram != NULL)
        ok = add_list(m, object, "ram", m->ram->num_blocks, make_block);
    if (ok && m->num_blobs > 0)
        ok = add_list(m, object, "blobs", m->num_blobs, make_blob);
    return ok && add_text(object, "version", VFMIG_VERSION) &&
           add_text(object, "machine", m->machine) &&
           add(object, "running", json_object_new_boolean(!m->paused));
}

/* Puts @object, which it frees, into a frame. */
static int make_frame(struct json_object *object, bool ok, char **frame,
                      size_t *len, struct vfm_error *err)
{
    const char *text = NULL;
    size_t text_len = 0;

    *frame = NULL;
    if (ok)
        text = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN,
                                                 &text_len);
    if (text != NULL)
        *frame = malloc(FRAME_SIZE + text_len);
    if (*frame != NULL) {
        put_be32(*frame, HELLO_MAGIC);
        put_be16(*frame + 4, HELLO_VERSION);
        put_be16(*frame + 6, 0);
        put_be32(*frame + 8, (uint32_t)text_len);
        memcpy(*frame + FRAME_SIZE, text, text_len);
        *len = FRAME_SIZE + text_len;
    }
    json_object_put(object);
    return *frame == NULL ? out_of_memory(err) : 0;
}

int hello_build(const struct vfm_migration *m, char **frame, size_t *len,
                struct vfm_error *err)
{
    struct json_object *object = json_object_new_object();

    return make_frame(object, object != NULL && fill_hello(m, object), frame,
                      len, err);
}

int hello_build_answer(const char *refusal, char **frame, size_t *len,
                       struct vfm_error *err)
{
    struct json_object *object = json_object_new_object();
    bool ok = object != NULL &&
              add(object, "accept", json_object_new_boolean(refusal == NULL)) &&
              add_text(object, "version", VFMIG_VERSION);

    if (ok && refusal != NULL)
        ok = add_text(object, "reason", refusal);
    return make_frame(object, ok, frame, len, err);
}

static int check_frame(const uint8_t *frame, struct vfm_error *err)
{
    uint32_t magic = get_be32(frame);

    if (magic == QEMU_MAGIC)
        return error_set(err, -EPROTO,
                         "hello: the sender's stream begins without one, as a "
                         "QEMU's or a file's does: peer qemu or none takes it");
    if (magic != HELLO_MAGIC)
        return error_set(err, -EPROTO,
                         "hello: begins with 0x%08x, so the peer is no vfmig",
                         magic);
    if (get_be16(frame + 4) != HELLO_VERSION)
        return error_set(err, -EPROTO, "hello: version %u, not %u",
                         get_be16(frame + 4), HELLO_VERSION);
    if (get_be32(frame + 8) > HELLO_MAX)
        return error_set(err, -EPROTO, "hello: %u bytes are too long",
                         get_be32(frame + 8));
    return 0;
}

int hello_next(struct inbox *in, const char **json, size_t *len,
               struct vfm_error *err)
{
    const uint8_t *frame = inbox_data(in);
    int ret;

    if (inbox_len(in) < FRAME_SIZE)
        return 0;
    ret = check_frame(frame, err);
    if (ret < 0)
        return ret;
    *len = get_be32(frame + 8);
    if (inbox_len(in) < FRAME_SIZE + *len)
        return 0;
    *json = (const char *)frame + FRAME_SIZE;
    inbox_use(in, FRAME_SIZE + *len);
    return 1;
}

/* Returns the object that @json is, or NULL. */
static struct json_object *parse(const char *json, size_t len)
{
    struct json_tokener *tok = json_tokener_new_ex(DEPTH_MAX);
    struct json_object *object = NULL;

    if (tok == NULL)
        return NULL;
    object = json_tokener_parse_ex(tok, json, (int)len);
    if (json_tokener_get_error(tok) != json_tokener_success ||
        !json_object_is_type(object, json_type_object)) {
        json_object_put(object);
        object = NULL;
    }
    json_tokener_free(tok);
    return object;
}

static const char *get_text(struct json_object *object, const char *key)
{
    struct json_object *value;

    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return "";
    return json_object_get_string(value);
}

/* Whether @key is there and true; what is no boolean is not. */
static bool get_true(struct json_object *object, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(object, key, &value) &&
           json_object_is_type(value, json_type_boolean) &&
           json_object_get_boolean(value);
}

static bool is_required_known(const char *name)
{
    for (size_t i = 0; i < NUM_REQUIRED; i++)
        if (strcmp(required[i].name, name) == 0)
            return true;
    return false;
}

static int check_required(struct json_object *hello, struct vfm_error *err)
{
    struct json_object *array;

    if (!json_object_object_get_ex(hello, "requires", &array) ||
        !json_object_is_type(array, json_type_array))
        return error_set(err, -EPROTO, "hello: does not say what it requires");
    for (size_t i = 0; i < json_object_array_length(array); i++) {
        const char *name =
            json_object_get_string(json_object_array_get_idx(array, i));

        if (name == NULL || !is_required_known(name))
            return error_set(err, -ENOTSUP,
                             "hello: the source requires \"%.64s\", which this "
                             "version does not know",
                             name == NULL ? "" : name);
    }
    return 0;
}

/* A device without configuration space takes the state of any. */
static int compare_device(const struct member *member,
                          struct json_object *theirs, struct vfm_error *err)
{
    int64_t ours[NUM_IDENTITY];

    get_identity(member->dev, ours);
    if (member->dev->info.config_size == 0)
        return 0;
    for (size_t i = 0; i < NUM_IDENTITY; i++) {
        struct json_object *value;

        if (!json_object_object_get_ex(theirs, identity[i].key, &value))
            continue;
        if (json_object_get_int64(value) != ours[i])
            return error_set(err, -ENODEV,
                             "%s: another kind of device: the source's %s is "
                             "0x%llx, ours 0x%llx",
                             member->id, identity[i].text,
                             (unsigned long long)json_object_get_int64(value),
                             (unsigned long long)ours[i]);
    }
    return 0;
}

static struct member *find_id(struct vfm_migration *m, const char *id)
{
    for (unsigned int i = 0; i < m->num_members; i++)
        if (strcmp(m->members[i]->id, id) == 0)
            return m->members[i];
    return NULL;
}

static int check_devices(struct vfm_migration *m, struct json_object *hello,
                         struct vfm_error *err)
{
    struct json_object *array;
    size_t n;

    if (!json_object_object_get_ex(hello, "devices", &array) ||
        !json_object_is_type(array, json_type_array))
        return error_set(err, -EPROTO, "hello: names no devices");
    n = json_object_array_length(array);
    if (n != m->num_members)
        return error_set(err, -ENODEV,
                         "the source sends %zu devices, but %u are waiting", n,
                         m->num_members);
    for (size_t i = 0; i < n; i++) {
        struct json_object *theirs = json_object_array_get_idx(array, i);
        const char *id = json_object_is_type(theirs, json_type_object)
                             ? get_text(theirs, "id")
                             : "";
        struct member *member = find_id(m, id);
        int ret;

        if (member == NULL || member->announced)
            return error_set(err, -ENODEV,
                             "the source sends device \"%.64s\", for which "
                             "none is waiting",
                             id);
        member->announced = true;
        ret = compare_device(member, theirs, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int check_machine(const struct vfm_migration *m,
                         struct json_object *hello, struct vfm_error *err)
{
    const char *theirs = get_text(hello, "machine");

    if (m->machine == NULL || strcmp(m->machine, theirs) == 0)
        return 0;
    return error_set(err, -ENODEV,
                     "the source's machine is \"%.64s\", ours \"%.64s\"",
                     theirs, m->machine);
}

/* The list @key of @hello, or NULL: none, or none that is one. */
static struct json_object *get_list(struct json_object *hello, const char *key)
{
    struct json_object *list;

    if (!json_object_object_get_ex(hello, key, &list) ||
        !json_object_is_type(list, json_type_array))
        return NULL;
    return list;
}

/* The name and the number of entry @i; "" and 0 if it has none. */
static const char *get_named_number(struct json_object *list, size_t i,
                                    const char *key, uint64_t *number)
{
    struct json_object *entry = json_object_array_get_idx(list, i);
    struct json_object *value;

    *number = 0;
    if (!json_object_is_type(entry, json_type_object))
        return "";
    if (json_object_object_get_ex(entry, key, &value) &&
        json_object_is_type(value, json_type_int))
        *number = json_object_get_uint64(value);
    return get_text(entry, "name");
}

/* The same as when the stream announces its blocks, but before anything was
 * sent. */
static int check_blocks(const struct vfm_migration *m, struct json_object *list,
                        struct vfm_error *err)
{
    struct ram_load *rl = NULL;
    int ret = ram_load_new(m->ram, &rl);

    if (ret < 0)
        return out_of_memory(err);
    for (size_t i = 0; ret == 0 && i < json_object_array_length(list); i++) {
        uint64_t bytes;
        const char *name = get_named_number(list, i, "bytes", &bytes);

        ret = ram_load_block(rl, name, bytes, err);
    }
    if (ret == 0)
        ret = ram_load_list_over(rl, err);
    ram_load_free(rl);
    return ret;
}

static int check_ram(const struct vfm_migration *m, struct json_object *hello,
                     struct vfm_error *err)
{
    struct json_object *list = get_list(hello, "ram");

    if (list == NULL && m->ram == NULL)
        return 0;
    if (list == NULL)
        return error_set(err, -ENODEV,
                         "the source sends no memory, and %llu bytes are "
                         "waiting",
                         (unsigned long long)m->ram->bytes);
    if (m->ram == NULL)
        return error_set(err, -ENODEV,
                         "the source sends memory, and none is waiting");
    return check_blocks(m, list, err);
}

static struct blob *find_blob(const struct vfm_migration *m, const char *name)
{
    for (unsigned int i = 0; i < m->num_blobs; i++)
        if (strcmp(m->blobs[i]->is.name, name) == 0)
            return m->blobs[i];
    return NULL;
}

static int check_blob(const struct vfm_migration *m, const char *name,
                      uint64_t version, struct vfm_error *err)
{
    struct blob *blob = find_blob(m, name);

    if (blob == NULL || blob->announced)
        return error_set(err, -ENODEV,
                         "the source sends \"%.64s\", which this VMM does not "
                         "know",
                         name);
    blob->announced = true;
    return blob_check_version(
        blob, version > UINT32_MAX ? UINT32_MAX : (uint32_t)version, err);
}

static int check_blobs(const struct vfm_migration *m, struct json_object *hello,
                       struct vfm_error *err)
{
    struct json_object *list = get_list(hello, "blobs");
    size_t n = list == NULL ? 0 : json_object_array_length(list);

    for (size_t i = 0; i < n; i++) {
        uint64_t version;
        const char *name = get_named_number(list, i, "version", &version);
        int ret = check_blob(m, name, version, err);

        if (ret < 0)
            return ret;
    }
    for (unsigned int i = 0; i < m->num_blobs; i++)
        if (!m->blobs[i]->announced)
            return error_set(err, -ENODEV, "the source does not send \"%s\"",
                             m->blobs[i]->is.name);
    return 0;
}

int hello_check(struct vfm_migration *m, const char *json, size_t len,
                struct vfm_error *err)
{
    struct json_object *hello = parse(json, len);
    int ret;

    if (hello == NULL)
        return error_set(err, -EPROTO, "hello: is no JSON object");
    ret = check_required(hello, err);
    if (ret == 0)
        ret = check_machine(m, hello, err);
    if (ret == 0)
        ret = check_devices(m, hello, err);
    if (ret == 0)
        ret = check_ram(m, hello, err);
    if (ret == 0)
        ret = check_blobs(m, hello, err);
    m->target.source_running = get_true(hello, "running");
    json_object_put(hello);
    return ret;
}

int hello_check_answer(const struct vfm_migration *m, const char *json,
                       size_t len, struct vfm_error *err)
{
    struct json_object *answer = parse(json, len);
    int ret = 0;

    if (answer == NULL)
        return error_set(err, -EPROTO, "hello: the answer is no JSON object");
    if (!get_true(answer, "accept"))
        ret =
            error_set(err, -EREMOTEIO, "%s: the target refuses: %.160s",
                      vfm_channel_name(m->channel), get_text(answer, "reason"));
    json_object_put(answer);
    return ret;
}
