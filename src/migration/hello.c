/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hello and its answer: framing and JSON, no waiting.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "migration/hello.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/json.h"
#include "util/text.h"

#define HELLO_MAGIC   0x56464d47 /* "VFMG" */
#define QEMU_MAGIC    0x5145564d /* "QEVM" */
#define HELLO_VERSION 1
#define FRAME_SIZE    12

/* 64 devices with long names and 1024 blocks of memory are below it; a target's
 * inbox is larger. */
#define HELLO_MAX     (UINT32_C(512) << 10)

static const struct json_limits limits = { .depth = 8, .values = 1 << 16 };

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

static void put_device(const struct vfm_migration *m, size_t i, struct text *t)
{
    const struct member *member = m->members[i];
    int64_t values[NUM_IDENTITY];

    text_put(t, "{\"id\":");
    text_put_json(t, member->id);
    text_put(t, ",\"backend\":");
    text_put_json(t, member->dev->info.backend);
    get_identity(member->dev, values);
    for (size_t n = 0; n < NUM_IDENTITY; n++)
        text_put(t, ",\"%s\":%" PRId64, identity[n].key, values[n]);
    text_put(t, "}");
}

/* Puts an object with a name and a number. */
static void put_named_number(struct text *t, const char *name, const char *key,
                             uint64_t number)
{
    text_put(t, "{\"name\":");
    text_put_json(t, name);
    text_put(t, ",\"%s\":%" PRIu64 "}", key, number);
}

static void put_block(const struct vfm_migration *m, size_t i, struct text *t)
{
    put_named_number(t, m->ram->blocks[i].name, "bytes",
                     m->ram->blocks[i].bytes);
}

static void put_blob(const struct vfm_migration *m, size_t i, struct text *t)
{
    put_named_number(t, m->blobs[i]->is.name, "version",
                     m->blobs[i]->is.version);
}

/* Puts the list @key of @n things, each put by @put. */
static void put_list(const struct vfm_migration *m, struct text *t,
                     const char *key, size_t n,
                     void (*put)(const struct vfm_migration *m, size_t i,
                                 struct text *t))
{
    text_put(t, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        text_put(t, i > 0 ? "," : "");
        put(m, i, t);
    }
    text_put(t, "]");
}

static void put_required(const struct vfm_migration *m, struct text *t)
{
    const char *before = "";

    text_put(t, "\"requires\":[");
    for (size_t i = 0; i < NUM_REQUIRED; i++) {
        if (!required[i].is_needed(m))
            continue;
        text_put(t, "%s\"%s\"", before, required[i].name);
        before = ",";
    }
    text_put(t, "]");
}

/* Room for the frame's head, which is filled in at the end. */
static void begin_frame(struct text *t)
{
    text_put(t, "%*s{", FRAME_SIZE, "");
}

static int end_frame(struct text *t, char **frame, size_t *len,
                     struct vfm_error *err)
{
    text_put(t, "}");
    *frame = NULL;
    if (t->error < 0) {
        free(t->p);
        return out_of_memory(err);
    }
    put_be32(t->p, HELLO_MAGIC);
    put_be16(t->p + 4, HELLO_VERSION);
    put_be16(t->p + 6, 0);
    put_be32(t->p + 8, (uint32_t)(t->len - FRAME_SIZE));
    *frame = t->p;
    *len = t->len;
    return 0;
}

/* A target that does not know of channels passes over it. */
static void put_channels(const struct vfm_migration *m, struct text *t)
{
    char nonce[NONCE_HEX_SIZE];

    nonce_print(m->lanes.nonce, nonce);
    text_put(t, ",\"channels\":%u,\"nonce\":\"%s\"", m->options.channels,
             nonce);
    if (m->options.compress)
        text_put(t, ",\"compress\":\"zstd\"");
}

int hello_build(const struct vfm_migration *m, char **frame, size_t *len,
                struct vfm_error *err)
{
    struct text t = { 0 };

    begin_frame(&t);
    put_required(m, &t);
    put_list(m, &t, "devices", m->num_members, put_device);
    if (m->ram != NULL)
        put_list(m, &t, "ram", m->ram->num_blocks, put_block);
    if (m->num_blobs > 0)
        put_list(m, &t, "blobs", m->num_blobs, put_blob);
    text_put(&t, ",\"version\":\"%s\",\"machine\":", VFMIG_VERSION);
    text_put_json(&t, m->machine);
    text_put(&t, ",\"running\":%s", m->paused ? "false" : "true");
    if (m->source.asked_at > 0)
        text_put(&t, ",\"clock\":%" PRId64, m->source.asked_at);
    text_put(&t, ",\"ready\":true");
    if (m->options.channels > 0)
        put_channels(m, &t);
    return end_frame(&t, frame, len, err);
}

int hello_build_answer(const struct vfm_migration *m, const char *refusal,
                       char **frame, size_t *len, struct vfm_error *err)
{
    struct text t = { 0 };

    begin_frame(&t);
    text_put(&t, "\"accept\":%s,\"version\":\"%s\"",
             refusal == NULL ? "true" : "false", VFMIG_VERSION);
    if (refusal == NULL && m->lanes.count > 0)
        text_put(&t, ",\"channels\":%u%s", m->lanes.count,
                 m->lanes.compressed ? ",\"compress\":\"zstd\"" : "");
    if (refusal == NULL && m->target.tells_ready)
        text_put(&t, ",\"ready\":true");
    if (refusal != NULL) {
        text_put(&t, ",\"reason\":");
        text_put_json(&t, refusal);
    }
    if (m->target.asked)
        text_put(&t, ",\"clock\":[%" PRId64 ",%" PRId64 "]", m->target.heard_at,
                 clock_now());
    return end_frame(&t, frame, len, err);
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

/* Reads the object that @json is; @what names it. */
static int parse(const char *json, size_t len, const char *what,
                 struct json **objectp, struct vfm_error *err)
{
    int ret = json_read(json, len, &limits, objectp);

    if (ret == -ENOMEM)
        return out_of_memory(err);
    if (ret == 0 && (*objectp)->kind == JSON_OBJECT)
        return 0;
    json_free(*objectp);
    return error_set(err, -EPROTO, "hello: %sis no JSON object", what);
}

static const char *get_text(const struct json *object, const char *key)
{
    const struct json *v = json_get(object, key, JSON_STRING);

    return v == NULL ? "" : v->text;
}

/* Whether @key is there and true; what is no boolean is not. */
static bool get_true(const struct json *object, const char *key)
{
    const struct json *v = json_get(object, key, JSON_BOOLEAN);

    return v != NULL && v->boolean;
}

static bool is_required_known(const char *name)
{
    for (size_t i = 0; i < NUM_REQUIRED; i++)
        if (strcmp(required[i].name, name) == 0)
            return true;
    return false;
}

static int check_required(const struct json *hello, struct vfm_error *err)
{
    const struct json *list = json_get(hello, "requires", JSON_ARRAY);

    if (list == NULL)
        return error_set(err, -EPROTO, "hello: does not say what it requires");
    for (const struct json *v = list->first; v != NULL; v = v->next) {
        const char *name = v->kind == JSON_STRING ? v->text : "";

        if (!is_required_known(name))
            return error_set(err, -EOPNOTSUPP,
                             "hello: the source requires \"%.64s\", which this "
                             "version does not know",
                             name);
    }
    return 0;
}

/* A device without configuration space takes the state of any. */
static int compare_device(const struct member *member,
                          const struct json *theirs, struct vfm_error *err)
{
    int64_t ours[NUM_IDENTITY];

    get_identity(member->dev, ours);
    if (member->dev->info.config_size == 0)
        return 0;
    for (size_t i = 0; i < NUM_IDENTITY; i++) {
        const struct json *v = json_get(theirs, identity[i].key, JSON_INTEGER);
        int64_t value = v == NULL ? 0 : v->integer;

        if (!json_has(theirs, identity[i].key))
            continue;
        if (value != ours[i])
            return error_set(err, -ENODEV,
                             "%s: another kind of device: the source's %s is "
                             "0x%llx, ours 0x%llx",
                             member->id, identity[i].text,
                             (unsigned long long)value,
                             (unsigned long long)ours[i]);
    }
    return 0;
}

static int check_devices(struct vfm_migration *m, const struct json *hello,
                         struct vfm_error *err)
{
    const struct json *list = json_get(hello, "devices", JSON_ARRAY);
    int there = 0;

    if (list == NULL)
        return error_set(err, -EPROTO, "hello: names no devices");
    if (list->count != m->num_members)
        return error_set(err, -ENODEV,
                         "the source sends %zu devices, but %u are waiting",
                         list->count, m->num_members);
    for (const struct json *theirs = list->first; theirs != NULL;
         theirs = theirs->next) {
        const char *id = get_text(theirs, "id");
        struct member *member = migration_find(m, id);
        int ret;

        if (member == NULL || member->announced)
            return error_set(err, -ENODEV,
                             "the source sends device \"%.64s\", for which "
                             "none is waiting",
                             id);
        member->announced = true;
        member->there = there++;
        ret = compare_device(member, theirs, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int check_machine(const struct vfm_migration *m,
                         const struct json *hello, struct vfm_error *err)
{
    const char *theirs = get_text(hello, "machine");

    if (m->machine == NULL || strcmp(m->machine, theirs) == 0)
        return 0;
    return error_set(err, -ENODEV,
                     "the source's machine is \"%.64s\", ours \"%.64s\"",
                     theirs, m->machine);
}

/* The name and the number of @entry; "" and 0 if it has none. */
static const char *get_named_number(const struct json *entry, const char *key,
                                    uint64_t *number)
{
    const struct json *v = json_get(entry, key, JSON_INTEGER);

    *number = v == NULL || v->integer < 0 ? 0 : (uint64_t)v->integer;
    return get_text(entry, "name");
}

/* The same as when the stream announces its blocks, but before anything was
 * sent. */
static int check_blocks(const struct vfm_migration *m, const struct json *list,
                        struct vfm_error *err)
{
    struct ram_load *rl = NULL;
    int ret = ram_load_new(m->ram, &rl);

    if (ret < 0)
        return out_of_memory(err);
    for (const struct json *v = list->first; ret == 0 && v != NULL;
         v = v->next) {
        uint64_t bytes;
        const char *name = get_named_number(v, "bytes", &bytes);

        ret = ram_load_block(rl, name, bytes, err);
    }
    if (ret == 0)
        ret = ram_load_list_over(rl, err);
    ram_load_free(rl);
    return ret;
}

static int check_ram(const struct vfm_migration *m, const struct json *hello,
                     struct vfm_error *err)
{
    const struct json *list = json_get(hello, "ram", JSON_ARRAY);

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

static int check_blobs(const struct vfm_migration *m, const struct json *hello,
                       struct vfm_error *err)
{
    const struct json *v = json_get(hello, "blobs", JSON_ARRAY);

    for (v = v == NULL ? NULL : v->first; v != NULL; v = v->next) {
        uint64_t version;
        const char *name = get_named_number(v, "version", &version);
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

/* The number @key, which may be missing and then is 0; no more than @max. */
static unsigned int get_count(const struct json *object, const char *key,
                              unsigned int max)
{
    const struct json *v = json_get(object, key, JSON_INTEGER);

    if (v == NULL || v->integer <= 0)
        return 0;
    return v->integer < max ? (unsigned int)v->integer : max;
}

/* Compression costs a target little: it takes what it can. */
static bool is_compressed(const struct json *object)
{
    return packing_exists() &&
           strcmp(get_text(object, "compress"), "zstd") == 0;
}

/* As many as both sides want. */
static int check_channels(struct vfm_migration *m, const struct json *hello,
                          struct vfm_error *err)
{
    m->lanes.count = get_count(hello, "channels", m->options.channels);
    m->lanes.compressed = is_compressed(hello);
    if (m->lanes.count == 0 ||
        nonce_parse(get_text(hello, "nonce"), m->lanes.nonce))
        return 0;
    return error_set(err, -EPROTO,
                     "hello: has channels, but no nonce that they could be "
                     "known by");
}

int hello_check(struct vfm_migration *m, const char *json, size_t len,
                struct vfm_error *err)
{
    struct json *hello;
    int ret = parse(json, len, "", &hello, err);

    if (ret < 0)
        return ret;
    ret = check_required(hello, err);
    if (ret == 0)
        ret = check_machine(m, hello, err);
    if (ret == 0)
        ret = check_devices(m, hello, err);
    if (ret == 0)
        ret = check_ram(m, hello, err);
    if (ret == 0)
        ret = check_blobs(m, hello, err);
    if (ret == 0)
        ret = check_channels(m, hello, err);
    m->target.source_running = get_true(hello, "running");
    m->target.tells_ready = get_true(hello, "ready");
    m->target.asked = json_get(hello, "clock", JSON_INTEGER) != NULL;
    json_free(hello);
    return ret;
}

/* An older target's answer has no times. */
static void take_clock(struct vfm_migration *m, const struct json *answer)
{
    const struct json *times = json_get(answer, "clock", JSON_ARRAY);
    const struct json *heard = times == NULL ? NULL : times->first;
    const struct json *answered = heard == NULL ? NULL : heard->next;

    if (answered != NULL && heard->kind == JSON_INTEGER &&
        answered->kind == JSON_INTEGER)
        offset_take(&m->source.clock, m->source.asked_at, heard->integer,
                    answered->integer, clock_now());
}

int hello_check_answer(struct vfm_migration *m, const char *json, size_t len,
                       struct vfm_error *err)
{
    struct json *answer;
    int ret = parse(json, len, "the answer ", &answer, err);

    if (ret < 0)
        return ret;
    if (!json_has(answer, "accept"))
        ret = error_set(err, -EPROTO,
                        "%s: what answers there is no receiver of vfmig's; if "
                        "nobody is to answer, the peer is none",
                        vfm_channel_name(m->channel));
    else if (!get_true(answer, "accept"))
        ret =
            error_set(err, -EREMOTEIO, "%s: the target refuses: %.160s",
                      vfm_channel_name(m->channel), get_text(answer, "reason"));
    take_clock(m, answer);
    m->lanes.count = get_count(answer, "channels", m->options.channels);
    m->lanes.compressed = m->options.compress && is_compressed(answer);
    m->source.ready = !get_true(answer, "ready");
    json_free(answer);
    return ret;
}
