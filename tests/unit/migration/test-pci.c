/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM that keeps a device's configuration: asked for it when everything has
 * stopped, given it before anything runs, and the device becomes bus master
 * last.  Its record is that of a device that keeps it itself.
 *
 * The argument is a stream that QEMU wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "check/model.h"
#include "pair.h"
#include "section/pci-state.h"
#include "util/bytes.h"
#include "util/error.h"

/* The device's, as fake_set_config() makes it. */
#define VECTORS              8

/* Of QEMU's captured device. */
#define QEMU_ID              "0000:00:01.0"
#define QEMU_VECTORS         5
#define CONFIG_AT            12 /* after the tag and the version */
#define RECORD_SIZE(vectors) (CONFIG_AT + 4096 + 16 + 16 * (vectors) + 1)

static const char *capture;

static struct pair p;

/* The two VMMs, and what the guest sees of the device. */
static struct keeper {
    struct pair_side *side;
    struct vfm_pci_keeper is;
    bool is_used;

    uint8_t config[PCI_CFG_SPACE_EXP_SIZE];
    size_t config_size;
    bool intx[4];
    uint32_t vectors;
    uint8_t table[64 * 16];
    uint8_t pending[8];
    bool has_table;

    int error;
    bool is_silent; /* about the error */
    unsigned int saves;
    unsigned int loads;
} keepers[2];

static int save(void *opaque, struct vfm_pci_state *state,
                struct vfm_error *err)
{
    struct keeper *k = opaque;

    k->saves++;
    assert_int_equal(state->size, sizeof(*state));
    assert_false(model_runs(k->side->devices[0].state));
    assert_false(k->side->vm_runs);
    if (k->error != 0 && k->side->is_source)
        return k->is_silent ? k->error
                            : error_set(err, k->error, "slot 1: is on fire");
    state->config = k->config;
    state->config_size = k->config_size;
    memcpy(state->intx, k->intx, sizeof(state->intx));
    state->msix_count = k->vectors;
    state->msix_table = k->has_table ? k->table : NULL;
    state->msix_pending = k->pending;
    return 0;
}

static int load(void *opaque, const struct vfm_pci_state *state,
                struct vfm_error *err)
{
    struct keeper *k = opaque;
    const struct fake_device *f = &k->side->devices[0];

    k->loads++;
    assert_int_equal(state->size, sizeof(*state));
    /* It has taken its state, and is not bus master yet. */
    assert_int_equal(f->state, VFM_STATE_STOP);
    assert_int_equal(f->content, FAKE_LOADED);
    assert_int_equal(f->num_config_writes, 0);
    assert_int_equal(k->side->vm_starts, 0);
    if (k->error != 0)
        return k->is_silent ? k->error
                            : error_set(err, k->error, "slot 1: no eventfd");
    memcpy(k->config, state->config, state->config_size);
    k->config_size = state->config_size;
    memcpy(k->intx, state->intx, sizeof(k->intx));
    k->vectors = state->msix_count;
    assert_in_range(k->vectors, 0, 64);
    if (k->vectors == 0)
        return 0; /* and there is no table */
    memcpy(k->table, state->msix_table, (size_t)16 * k->vectors);
    memcpy(k->pending, state->msix_pending, (k->vectors + 7) / 8);
    return 0;
}

static void prepare(struct pair_side *side)
{
    const struct keeper *k = &keepers[side->is_source ? 0 : 1];
    struct vfm_error err = { 0 };

    const char *id = p.first_id != NULL ? p.first_id : "dev0";

    if (k->is_used && vfm_migration_set_pci(side->m, id, &k->is, &err) != 0)
        fail_msg("%s", err.message);
}

static void begin_with(const struct pair_setup *setup)
{
    memset(keepers, 0, sizeof(keepers));
    pair_init(&p, setup);
    p.prepare = prepare;
    for (unsigned int i = 0; i < 2; i++) {
        struct keeper *k = &keepers[i];

        k->side = i == 0 ? &p.source : &p.target;
        k->is = (struct vfm_pci_keeper){
            .size = sizeof(k->is), .save = save, .load = load, .opaque = k
        };
        k->is_used = true;
        k->config_size = setup->config_size;
        memcpy(k->config, k->side->devices[0].config, sizeof(k->config));
        k->vectors = VECTORS;
        k->has_table = true;
    }
    put_le16(keepers[0].config + PCI_COMMAND, 0x0406);
    put_le32(keepers[0].config + PCI_BASE_ADDRESS_0, 0xfebd0000);
    keepers[0].intx[2] = true;
    fake_pattern(keepers[0].table, 16 * VECTORS, 5);
    keepers[0].pending[0] = 0xa5;
}

static void begin(void)
{
    begin_with(&(struct pair_setup){ .migration = PAIR_ALL,
                                     .num_devices = 2,
                                     .size = 30000,
                                     .config_size = 4096 });
}

static void fail_with(const struct pair_side *side, int error, const char *why)
{
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(side->ret, error);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    if (strstr(side->err.message, why) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", why, side->err.message);
    assert_true(p.source.vm_runs);
    assert_int_equal(p.target.vm_starts, 0);
    assert_int_equal(p.target.devices[0].num_config_writes, 0);
    pair_close(&p);
}

static void check_same(const struct keeper *theirs)
{
    const struct keeper *k = &keepers[1];

    assert_int_equal(k->loads, 1);
    assert_int_equal(k->config_size, theirs->config_size);
    assert_memory_equal(k->config, theirs->config, k->config_size);
    assert_memory_equal(k->intx, theirs->intx, sizeof(k->intx));
    assert_int_equal(k->vectors, theirs->vectors);
    assert_memory_equal(k->table, theirs->table, (size_t)16 * k->vectors);
    assert_memory_equal(k->pending, theirs->pending, (k->vectors + 7) / 8);
}

/* What the fake is written besides is for another device to see. */
static void only_the_command_was_written(const struct fake_device *f)
{
    assert_int_equal(f->num_config_writes, 1);
    assert_int_equal(f->last_write_at, PCI_COMMAND);
    assert_int_equal(get_le16(f->config + PCI_COMMAND), 0x0406);
    assert_int_equal(get_le32(f->config + PCI_BASE_ADDRESS_0), 0);
    assert_int_equal(f->calls[FAKE_REGION_READ], 0);
    assert_int_equal(f->calls[FAKE_REGION_WRITE], 1);
}

static void what_the_guest_saw_is_what_it_sees(void **state)
{
    static const uint32_t sizes[] = { 256, 4096 };

    (void)state;
    for (unsigned int i = 0; i < 2; i++) {
        begin_with(&(struct pair_setup){ .migration = PAIR_ALL,
                                         .num_devices = 2,
                                         .size = 30000,
                                         .config_size = sizes[i] });
        pair_succeeds(&p);
        assert_int_equal(keepers[0].saves, 1);
        assert_int_equal(keepers[0].loads, 0);
        check_same(&keepers[0]);
        only_the_command_was_written(&p.target.devices[0]);
        assert_int_equal(p.source.devices[0].calls[FAKE_REGION_READ], 0);
        pair_close(&p);
    }
}

/* The write of the command is waited for; load() is not called again. */
static void a_slow_device_is_loaded_once(void **state)
{
    (void)state;
    begin_with(&(struct pair_setup){ .migration = PAIR_ALL,
                                     .num_devices = 1,
                                     .size = 3000,
                                     .config_size = 256,
                                     .delay = 3 });
    pair_succeeds(&p);
    check_same(&keepers[0]);
    only_the_command_was_written(&p.target.devices[0]);
    pair_close(&p);
}

/* Of a device whose configuration space nobody shows. */
static void a_device_without_configuration_space_has_its_vmms(void **state)
{
    (void)state;
    begin();
    for (unsigned int i = 0; i < 2; i++)
        keepers[i].side->devices[0].dev->info.config_size = 0;
    pair_succeeds(&p);
    check_same(&keepers[0]);
    assert_int_equal(p.target.devices[0].calls[FAKE_REGION_WRITE], 0);
    pair_close(&p);
}

static void a_device_without_msix_has_no_table(void **state)
{
    (void)state;
    begin();
    for (unsigned int i = 0; i < 2; i++) {
        keepers[i].config[0x68 + 1] = 0;
        keepers[i].vectors = 0;
        keepers[i].has_table = false;
    }
    pair_succeeds(&p);
    check_same(&keepers[0]);
    pair_close(&p);
}

static void one_side_may_keep_it_and_the_other_not(void **state)
{
    const struct fake_device *f = &p.target.devices[0];

    (void)state;
    begin();
    keepers[1].is_used = false;
    pair_succeeds(&p);
    assert_int_equal(f->last_write_at, PCI_COMMAND);
    assert_int_equal(get_le32(f->config + PCI_BASE_ADDRESS_0), 0xfebd0000);
    assert_memory_equal(f->bar + 0x100, keepers[0].table, 16 * VECTORS);
    pair_close(&p);

    begin();
    keepers[0].is_used = false;
    put_le32(p.source.devices[0].config + PCI_BASE_ADDRESS_0, 0xfebd0000);
    put_le16(p.source.devices[0].config + PCI_COMMAND, 0x0406);
    pair_succeeds(&p);
    assert_int_equal(get_le32(keepers[1].config + PCI_BASE_ADDRESS_0),
                     0xfebd0000);
    only_the_command_was_written(f);
    pair_close(&p);
}

static void a_vmm_that_cannot_save_it_ends_the_migration(void **state)
{
    (void)state;
    begin();
    keepers[0].error = -EIO;
    fail_with(&p.source, -EIO,
              "dev0: its configuration cannot be saved: slot 1: is on fire");
    assert_int_equal(keepers[0].saves, 1);
}

static void a_vmm_that_does_not_say_why_has_a_sentence_too(void **state)
{
    (void)state;
    begin();
    keepers[0].error = -ENOMEM;
    keepers[0].is_silent = true;
    fail_with(&p.source, -ENOMEM, "cannot be saved: Cannot allocate memory");
}

/* It would be called again for ever. */
static void a_callback_that_wants_to_be_called_again_ends_it(void **state)
{
    (void)state;
    begin();
    keepers[0].error = -EAGAIN;
    fail_with(&p.source, -EBUSY, "cannot be saved");
    begin();
    keepers[1].error = -EAGAIN;
    fail_with(&p.target, -EBUSY, "cannot be loaded");
}

static void a_vmm_that_cannot_load_it_leaves_it_to_the_source(void **state)
{
    (void)state;
    begin();
    keepers[1].error = -EMFILE;
    fail_with(&p.target, -EMFILE,
              "dev0: its configuration cannot be loaded: slot 1: no eventfd");
}

static void a_device_that_does_not_become_bus_master_is_refused(void **state)
{
    (void)state;
    begin();
    fake_fail(&p.target.devices[0], FAKE_REGION_WRITE, 0, -EIO);
    fail_with(&p.target, -EIO, "dst0: device refuses region write");
    assert_int_equal(keepers[1].loads, 1);
}

static void a_configuration_that_is_none_is_refused(void **state)
{
    static const struct {
        size_t size;
        uint32_t vectors;
        bool has_table;
        const char *why;
    } bad[] = {
        { 0, VECTORS, true, "a configuration space of 0 bytes" },
        { 255, VECTORS, true, "a configuration space of 255 bytes" },
        { 4097, VECTORS, true, "a configuration space of 4097 bytes" },
        { SIZE_MAX, VECTORS, true, "a configuration space of" },
        { 4096, 0, true, "of 0 MSI-X vectors, but the capability of 8" },
        { 4096, UINT32_MAX, true, "of 4294967295 MSI-X vectors" },
        { 4096, VECTORS, false, "tells of no MSI-X table" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin();
        keepers[0].config_size = bad[i].size;
        keepers[0].vectors = bad[i].vectors;
        keepers[0].has_table = bad[i].has_table;
        fail_with(&p.source, -EINVAL, bad[i].why);
    }
}

static void another_kind_of_device_is_refused_before_it_is_loaded(void **state)
{
    (void)state;
    begin();
    keepers[1].config[PCI_VENDOR_ID] ^= 1;
    fail_with(&p.target, -EINVAL, "byte 0x0 (vendor and device id)");
    assert_int_equal(keepers[1].loads, 0);
    begin();
    keepers[1].config_size = 256;
    fail_with(&p.target, -EINVAL, "4096 bytes, this device's has 256");
    begin();
    put_le16(keepers[1].config + 0xa2, 3);
    keepers[1].vectors = 4;
    fail_with(&p.target, -EINVAL, "8 MSI-X vectors, this device has 4");
}

/* A target that does not tell what it has is not compared. */
static void a_target_may_compare_by_itself(void **state)
{
    (void)state;
    begin();
    keepers[1].is.save = NULL;
    keepers[1].config[PCI_VENDOR_ID] ^= 1;
    pair_succeeds(&p);
    check_same(&keepers[0]);
    pair_close(&p);
}

static void misuse_is_refused(void **state)
{
    struct {
        struct vfm_pci_keeper known;
        size_t later;
    } newer = { .known.size = sizeof(newer), .later = 1 };
    struct vfm_pci_keeper half;
    struct vfm_error err = { 0 };
    struct vfm_migration *m;

    (void)state;
    begin();
    keepers[0].is_used = keepers[1].is_used = false;
    pair_begin(&p);
    m = p.source.m;
    assert_int_equal(vfm_migration_set_pci(m, "dev9", &keepers[0].is, &err),
                     -ENOENT);
    assert_string_equal(err.message, "dev9: no device of this migration");
    half = keepers[0].is;
    half.save = NULL;
    assert_int_equal(vfm_migration_set_pci(m, "dev0", &half, &err), -EINVAL);
    assert_string_equal(err.message, "dev0: nobody saves its configuration");
    assert_int_equal(vfm_migration_set_pci(m, "dev0", NULL, &err), -EINVAL);
    newer.known.save = save;
    assert_int_equal(vfm_migration_set_pci(m, "dev0", &newer.known, &err),
                     -E2BIG);
    half = keepers[1].is;
    half.load = NULL;
    assert_int_equal(vfm_migration_set_pci(p.target.m, "dev0", &half, &err),
                     -EINVAL);
    assert_string_equal(err.message, "dev0: nobody loads its configuration");

    /* None of these was taken. */
    assert_int_equal(vfm_migration_set_pci(m, "dev0", &keepers[0].is, &err), 0);
    assert_int_equal(vfm_migration_set_pci(m, "dev0", &keepers[0].is, &err),
                     -EBUSY);
    pair_step(&p);
    assert_int_equal(vfm_migration_set_pci(m, "dev1", &keepers[0].is, &err),
                     -EBUSY);
    assert_string_equal(err.message, "dev1: the migration has begun");
    pair_end(&p);
    assert_int_equal(p.source.ret, 0);
    pair_close(&p);
}

/* A stream of one device, which has one record. */
static uint8_t stream[1 << 22];
static size_t stream_len;

static size_t find_record(void)
{
    static const uint8_t tag[] = { 0xff, 0xff, 0xff, 0xff,
                                   0xef, 0x10, 0x00, 0x02 };
    const uint8_t *at = memmem(stream, stream_len, tag, sizeof(tag));

    assert_non_null(at);
    assert_in_range(at - stream, 1, stream_len - RECORD_SIZE(VECTORS));
    return (size_t)(at - stream);
}

static void read_capture(void)
{
    int fd = open(capture, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, stream, sizeof(stream));

    close(fd);
    assert_in_range(n, 1, sizeof(stream) - 1);
    stream_len = (size_t)n;
}

/* One side alone. */
static void begin_file(void)
{
    begin_with(&(struct pair_setup){ .migration = PAIR_ALL,
                                     .num_devices = 1,
                                     .size = 3000,
                                     .config_size = 4096 });
    p.source.devices[0].twin = p.target.devices[0].twin = NULL;
    p.source.options.peer = p.target.options.peer = VFM_PEER_NONE;
}

static void send_stream(void)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);

    begin_file();
    side_begin(&p.source, dup(fd));
    side_run(&p.source);
    assert_int_equal(p.source.ret, 0);
    stream_len = (size_t)pread(fd, stream, sizeof(stream), 0);
    pair_close(&p);
    close(fd);
}

static void receive_stream(const char *id)
{
    int fd;

    begin_file();
    keepers[1].is.save = NULL;
    p.target.devices[0].expected = NULL;
    p.first_id = id;
    fd = memfd_create("stream", MFD_CLOEXEC);
    assert_int_equal(write(fd, stream, stream_len), stream_len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    side_begin(&p.target, fd);
    side_run(&p.target);
}

static void a_stream_of_qemu_has_the_bytes_that_its_file_has(void **state)
{
    struct keeper theirs = { .config_size = 4096, .vectors = QEMU_VECTORS };
    const uint8_t *record;

    (void)state;
    read_capture();
    record = stream + find_record() + CONFIG_AT;
    memcpy(theirs.config, record, 4096);
    record += 4096 + 16;
    memcpy(theirs.table, record, 16 * QEMU_VECTORS);
    memcpy(theirs.pending, record + 16 * QEMU_VECTORS, 1);
    receive_stream(QEMU_ID);
    if (p.target.ret != 0)
        fail_msg("%s", p.target.err.message);
    check_same(&theirs);
    assert_int_equal(get_le16(p.target.devices[0].config + PCI_COMMAND),
                     get_le16(theirs.config + PCI_COMMAND));
    pair_close(&p);
}

static void a_stream_without_the_configuration_is_refused(void **state)
{
    /* The head of its section, and after it a tag and the footer. */
    const size_t head = 1 + 4 + 1 + strlen("dev0/vfio") + 8;
    const size_t size = head + RECORD_SIZE(VECTORS) + 8 + 5;
    size_t at;

    (void)state;
    send_stream();
    at = find_record() - head;
    memmove(stream + at, stream + at + size, stream_len - at - size);
    stream_len -= size;
    receive_stream(NULL);
    assert_int_equal(p.target.ret, -EPROTO);
    if (strstr(p.target.err.message, "'dev0/vfio' has no FULL") == NULL)
        fail_msg("%s", p.target.err.message);
    assert_int_equal(keepers[1].loads, 0);
    pair_close(&p);
}

static void an_empty_configuration_is_refused(void **state)
{
    (void)state;
    begin();
    keepers[0].is_used = false;
    for (unsigned int i = 0; i < 2; i++)
        keepers[i].side->devices[0].dev->info.config_size = 0;
    fail_with(&p.target, -EBADMSG, "dev0: configuration record: 0 bytes");
    assert_int_equal(keepers[1].loads, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_guest_saw_is_what_it_sees),
        cmocka_unit_test(a_slow_device_is_loaded_once),
        cmocka_unit_test(a_device_without_configuration_space_has_its_vmms),
        cmocka_unit_test(a_device_without_msix_has_no_table),
        cmocka_unit_test(one_side_may_keep_it_and_the_other_not),
        cmocka_unit_test(a_vmm_that_cannot_save_it_ends_the_migration),
        cmocka_unit_test(a_vmm_that_does_not_say_why_has_a_sentence_too),
        cmocka_unit_test(a_callback_that_wants_to_be_called_again_ends_it),
        cmocka_unit_test(a_vmm_that_cannot_load_it_leaves_it_to_the_source),
        cmocka_unit_test(a_device_that_does_not_become_bus_master_is_refused),
        cmocka_unit_test(a_configuration_that_is_none_is_refused),
        cmocka_unit_test(another_kind_of_device_is_refused_before_it_is_loaded),
        cmocka_unit_test(a_target_may_compare_by_itself),
        cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(a_stream_of_qemu_has_the_bytes_that_its_file_has),
        cmocka_unit_test(a_stream_without_the_configuration_is_refused),
        cmocka_unit_test(an_empty_configuration_is_refused),
    };

    if (argc != 2)
        return 2;
    capture = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
