/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands between sections: header, configuration, commands, the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "stream/decoder.h"
#include "util/bytes.h"

static const struct step step_configuration;
static const struct step step_subsection;
static const struct step step_vmdescription;
static const struct step step_vmdescription_or_nothing;

bool item_is_known(uint8_t type)
{
    return type == ITEM_EOF || type == ITEM_COMMAND ||
           (type >= VFM_SECTION_START && type <= VFM_SECTION_FULL);
}

/* ---------------------------------------------------------------------- */

static int run_header(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, HEADER_BYTES, &p);

    if (ret <= 0)
        return ret;
    if (get_be32(p) != STREAM_MAGIC)
        return decoder_fail(dec, -EBADMSG, 0,
                            "no migration stream: the magic is 0x%08" PRIx32
                            ", not 0x%08x (QEVM)",
                            get_be32(p), (unsigned int)STREAM_MAGIC);
    if (get_be32(p + 4) == STREAM_VERSION_OBSOLETE)
        return decoder_fail(dec, -EOPNOTSUPP, 4,
                            "streams of version 2 are obsolete");
    if (get_be32(p + 4) != STREAM_VERSION)
        return decoder_fail(dec, -EBADMSG, 4,
                            "version %" PRIu32 " of the stream is not known",
                            get_be32(p + 4));
    input_consume(&dec->in, HEADER_BYTES);
    decoder_event(dec, ev, VFM_STREAM_HEADER, 0);
    return decoder_go(dec, &step_configuration, STEP_EVENT);
}

const struct step step_header = { "the header", run_header };

/* ---------------------------------------------------------------------- */

static int run_configuration(struct vfm_decoder *dec,
                             struct vfm_stream_event *ev)
{
    uint64_t at = dec->in.offset;
    const uint8_t *p;
    uint32_t len;
    int ret = input_need(&dec->in, 1, &p);

    (void)ev;
    if (ret <= 0)
        return ret;
    if (p[0] != ITEM_CONFIGURATION) {
        if (dec->options.require_configuration)
            return decoder_fail(dec, -EBADMSG, at,
                                "the configuration is missing");
        return decoder_go(dec, &step_item, STEP_AGAIN);
    }

    ret = input_need(&dec->in, 5, &p);
    if (ret <= 0)
        return ret;
    len = get_be32(p + 1);
    if (len > STREAM_NAME_MAX)
        return decoder_fail(dec, -EBADMSG, at + 1,
                            "a machine's name of %" PRIu32 " bytes is too long",
                            len);
    ret = input_need(&dec->in, 5 + len, &p);
    if (ret <= 0)
        return ret;
    if (!decoder_copy_name(dec->machine, p + 5, len))
        return decoder_fail(dec, -EBADMSG, at + 5,
                            "the machine's name has bytes that no name has");
    input_consume(&dec->in, 5 + len);
    dec->configuration_offset = at;
    return decoder_go(dec, &step_subsection, STEP_AGAIN);
}

static const struct step step_configuration = { "front of the first section",
                                                run_configuration };

/* ---------------------------------------------------------------------- */

/* Each reader of a subsection: @p points to the @head bytes of its own
 * header, which it consumes together with the body. */

static int read_page_bits(struct vfm_decoder *dec, size_t head)
{
    const uint8_t *p;
    uint32_t bits;
    int ret = input_need(&dec->in, head + 4, &p);

    if (ret <= 0)
        return ret;
    bits = get_be32(p + head);
    if (bits < 10 || bits > 20)
        return decoder_fail(dec, -EBADMSG, dec->in.offset + head,
                            "pages of %" PRIu32 " bits do not exist", bits);
    dec->page_bits = bits;
    dec->page_size = UINT32_C(1) << bits;
    input_consume(&dec->in, head + 4);
    return STEP_AGAIN;
}

static int add_capability(struct vfm_decoder *dec, const uint8_t *name,
                          size_t len, uint64_t at)
{
    char *to = dec->capabilities[dec->num_capabilities];

    if (!decoder_copy_name(to, name, len))
        return decoder_fail(dec, -EBADMSG, at,
                            "a capability's name has bytes that no name has");
    if (strcmp(to, "mapped-ram") == 0)
        return decoder_fail(dec, -EOPNOTSUPP, at,
                            "the capability mapped-ram keeps pages outside "
                            "of the stream, which is not read");
    if (strcmp(to, "x-ignore-shared") == 0)
        dec->ignore_shared = true;
    dec->capability_list[dec->num_capabilities++] = to;
    return 0;
}

static int read_capabilities(struct vfm_decoder *dec, size_t head)
{
    size_t end = head + 4;
    const uint8_t *p;
    uint32_t count;
    int ret = input_need(&dec->in, end, &p);

    if (ret <= 0)
        return ret;
    count = get_be32(p + head);
    if (count > CAPABILITIES_MAX)
        return decoder_fail(dec, -E2BIG, dec->in.offset + head,
                            "%" PRIu32 " capabilities are too many", count);
    dec->num_capabilities = 0;
    for (uint32_t i = 0; i < count; i++) {
        ret = input_need(&dec->in, end + 1, &p);
        if (ret > 0)
            ret = input_need(&dec->in, end + 1 + p[end], &p);
        if (ret <= 0)
            return ret;
        ret =
            add_capability(dec, p + end + 1, p[end], dec->in.offset + end + 1);
        if (ret < 0)
            return ret;
        end += 1u + p[end];
    }
    input_consume(&dec->in, end);
    return STEP_AGAIN;
}

static int read_uuid(struct vfm_decoder *dec, size_t head)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, head + sizeof(dec->uuid), &p);

    if (ret <= 0)
        return ret;
    memcpy(dec->uuid, p + head, sizeof(dec->uuid));
    dec->has_uuid = true;
    input_consume(&dec->in, head + sizeof(dec->uuid));
    return STEP_AGAIN;
}

static const struct {
    const char *name;
    int (*read)(struct vfm_decoder *dec, size_t head);
} subsections[] = {
    { "configuration/target-page-bits", read_page_bits },
    { "configuration/capabilities", read_capabilities },
    { "configuration/uuid", read_uuid },
};

static int configuration_event(struct vfm_decoder *dec,
                               struct vfm_stream_event *ev)
{
    decoder_event(dec, ev, VFM_STREAM_CONFIGURATION, dec->configuration_offset);
    ev->u.configuration.machine = dec->machine;
    ev->u.configuration.capabilities = dec->capability_list;
    ev->u.configuration.num_capabilities = dec->num_capabilities;
    ev->u.configuration.page_bits = dec->page_bits;
    ev->u.configuration.uuid = dec->has_uuid ? dec->uuid : NULL;
    return decoder_go(dec, &step_item, STEP_EVENT);
}

/* Only the byte behind the configuration tells that it is complete. */
static int run_subsection(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    char name[STREAM_NAME_MAX + 1];
    const uint8_t *p;
    size_t head;
    int ret = input_need(&dec->in, 1, &p);

    if (ret <= 0)
        return ret;
    if (p[0] != ITEM_SUBSECTION)
        return configuration_event(dec, ev);

    ret = input_need(&dec->in, 2, &p);
    if (ret <= 0)
        return ret;
    head = 2u + p[1] + 4u;
    ret = input_need(&dec->in, head, &p);
    if (ret <= 0)
        return ret;
    if (!decoder_copy_name(name, p + 2, p[1]))
        return decoder_fail(dec, -EBADMSG, dec->in.offset + 2,
                            "a subsection's name has bytes that no name has");
    if (get_be32(p + head - 4) != 1)
        return decoder_fail(dec, -EOPNOTSUPP, dec->in.offset + head - 4,
                            "version %" PRIu32 " of the subsection '%s' is "
                            "not known",
                            get_be32(p + head - 4), name);
    for (size_t i = 0; i < sizeof(subsections) / sizeof(subsections[0]); i++)
        if (strcmp(name, subsections[i].name) == 0)
            return subsections[i].read(dec, head);
    return decoder_fail(dec, -EOPNOTSUPP, dec->in.offset,
                        "the subsection '%s' is not known", name);
}

static const struct step step_subsection = { "the configuration",
                                             run_subsection };

/* ---------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool read; /* understood here */
    uint16_t len;
    bool or_empty; /* length 0 is right as well */
} commands[] = {
    [1] = { "OPEN_RETURN_PATH", true, 0, false },
    [2] = { "PING", true, 4, false },
    [3] = { "POSTCOPY_ADVISE", true, 16, true },
    [4] = { "POSTCOPY_LISTEN", false, 0, false },
    [5] = { "POSTCOPY_RUN", false, 0, false },
    [6] = { "POSTCOPY_RAM_DISCARD", false, 0, false },
    [7] = { "PACKAGED", false, 0, false },
    [8] = { "ENABLE_COLO", false, 0, false },
    [9] = { "POSTCOPY_RESUME", false, 0, false },
    [10] = { "RECV_BITMAP", false, 0, false },
    [11] = { "SWITCHOVER_START", true, 0, false },
};

static int check_command(struct vfm_decoder *dec, uint16_t number, uint16_t len)
{
    uint64_t at = dec->in.offset;

    if (number >= sizeof(commands) / sizeof(commands[0]) ||
        commands[number].name == NULL)
        return decoder_fail(dec, -EBADMSG, at, "command %u is not known",
                            number);
    if (!commands[number].read)
        return decoder_fail(dec, -EOPNOTSUPP, at,
                            "the command %s is of no plain pre-copy migration, "
                            "others are not read",
                            commands[number].name);
    if (len != commands[number].len && !(len == 0 && commands[number].or_empty))
        return decoder_fail(dec, -EBADMSG, at + 3,
                            "the command %s has a length of %u and not %u",
                            commands[number].name, len, commands[number].len);
    return 0;
}

/* Post-copy may follow, but a block with pages of another size would be
 * announced with one word more, and nothing here tells which ones. */
static int check_advise(struct vfm_decoder *dec, const uint8_t *payload)
{
    uint64_t page_sizes = get_be64(payload);

    if (page_sizes == dec->page_size)
        return 0;
    return decoder_fail(dec, -EOPNOTSUPP, dec->in.offset,
                        "post-copy with huge pages (sizes 0x%" PRIx64
                        ") is not read",
                        page_sizes);
}

static int run_command(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    uint64_t at = dec->in.offset;
    const uint8_t *p;
    uint16_t number;
    uint16_t len;
    int ret = input_need(&dec->in, COMMAND_HEAD_BYTES, &p);

    if (ret <= 0)
        return ret;
    number = get_be16(p + 1);
    len = get_be16(p + 3);
    ret = check_command(dec, number, len);
    if (ret < 0)
        return ret;
    ret = input_need(&dec->in, (size_t)COMMAND_HEAD_BYTES + len, &p);
    if (ret <= 0)
        return ret;
    if (number == VFM_COMMAND_POSTCOPY_ADVISE && len > 0) {
        ret = check_advise(dec, p + COMMAND_HEAD_BYTES);
        if (ret < 0)
            return ret;
    }
    if (number == VFM_COMMAND_SWITCHOVER_START) {
        if (dec->switchover_started)
            return decoder_fail(dec, -EPROTO, at,
                                "the command SWITCHOVER_START came twice");
        dec->switchover_started = true;
    }

    input_consume(&dec->in, (size_t)COMMAND_HEAD_BYTES + len);
    decoder_event(dec, ev, VFM_STREAM_COMMAND, at);
    ev->u.command.number = number;
    ev->data = p + COMMAND_HEAD_BYTES;
    ev->len = len;
    return decoder_go(dec, &step_item, STEP_EVENT);
}

static const struct step step_command = { "a command", run_command };

/* ---------------------------------------------------------------------- */

static int run_eof(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    uint64_t at = dec->in.offset;
    int ret = section_check_complete(dec);

    if (ret < 0)
        return ret;
    input_consume(&dec->in, 1);
    decoder_event(dec, ev, VFM_STREAM_EOF, at);
    return decoder_go(dec,
                      dec->options.require_vmdescription
                          ? &step_vmdescription
                          : &step_vmdescription_or_nothing,
                      STEP_EVENT);
}

static int run_item(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, 1, &p);

    if (ret <= 0)
        return ret;
    switch (p[0]) {
    case VFM_SECTION_START:
    case VFM_SECTION_PART:
    case VFM_SECTION_END:
    case VFM_SECTION_FULL:
        return decoder_go(dec, &step_section_begin, STEP_AGAIN);
    case ITEM_COMMAND:
        return decoder_go(dec, &step_command, STEP_AGAIN);
    case ITEM_EOF:
        return run_eof(dec, ev);
    case ITEM_CONFIGURATION:
        return decoder_fail(dec, -EPROTO, dec->in.offset,
                            "a configuration that is not at the beginning");
    case ITEM_VMDESCRIPTION:
        return decoder_fail(dec, -EPROTO, dec->in.offset,
                            "a vmdescription before the end of the sections");
    default:
        return decoder_fail(dec, -EBADMSG, dec->in.offset,
                            "0x%02x begins no section", p[0]);
    }
}

const struct step step_item = { "front of the next section", run_item };

/* ---------------------------------------------------------------------- */

static int run_vmdescription(struct vfm_decoder *dec,
                             struct vfm_stream_event *ev)
{
    uint64_t at = dec->in.offset;
    const uint8_t *p;
    uint32_t len;
    int ret = input_need(&dec->in, 1, &p);

    if (ret <= 0)
        return ret;
    if (p[0] != ITEM_VMDESCRIPTION)
        return decoder_fail(dec, -EBADMSG, at,
                            "0x%02x follows the end of the sections", p[0]);
    ret = input_need(&dec->in, 5, &p);
    if (ret <= 0)
        return ret;
    len = get_be32(p + 1);
    if (len > dec->options.max_vmdescription)
        return decoder_fail(dec, -E2BIG, at + 1,
                            "a vmdescription of %" PRIu32
                            " bytes is above the limit of %zu",
                            len, dec->options.max_vmdescription);
    ret = input_need(&dec->in, 5 + (size_t)len, &p);
    if (ret <= 0)
        return ret;
    input_consume(&dec->in, 5 + (size_t)len);
    decoder_event(dec, ev, VFM_STREAM_VMDESCRIPTION, at);
    ev->data = p + 5;
    ev->len = len;
    return decoder_go(dec, &step_done, STEP_EVENT);
}

static const struct step step_vmdescription = { "front of the vmdescription",
                                                run_vmdescription };
/* The stream may also end in front of it. */
static const struct step step_vmdescription_or_nothing = { NULL,
                                                           run_vmdescription };

static int run_done(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    (void)dec;
    (void)ev;
    return STEP_MORE;
}

const struct step step_done = { NULL, run_done };
