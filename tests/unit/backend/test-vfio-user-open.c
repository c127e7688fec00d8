/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a device behind a vfio-user server: what is learnt of it, and what
 * servers get away with.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake-server.h"

static void opening_learns_all_there_is_to_know(void **state)
{
    struct vfm_device_info info = { .size = sizeof(info) };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    assert_int_equal(vfm_device_get_info(dev, &info), 0);
    assert_string_equal(info.backend, "vfio-user");
    assert_int_equal(info.migration,
                     VFM_MIGRATION_STOP_COPY | VFM_MIGRATION_PRE_COPY);
    assert_true(info.has_data_size && info.has_precopy_info);
    assert_true(info.has_dma_logging && info.has_reset && info.is_pci);
    assert_int_equal(info.config_size, 4096);
    assert_int_equal(info.vendor_id, 0x1234);
    assert_int_equal(info.device_id, 0x5678);
    assert_int_equal(info.subsystem_vendor_id, 0x9abc);
    assert_int_equal(info.subsystem_id, 0xdef0);
    assert_int_equal(info.revision_id, 9);
    assert_int_equal(info.class_code, 0x030201);
    assert_int_equal(info.msix_count, 8);
    assert_int_equal(info.read_size, 65536);
    assert_int_equal(info.write_size, 32768);
    assert_int_equal(vfm_device_state(dev), VFM_STATE_RUNNING);
    assert_string_equal(vfm_device_name(dev), "fake");
    vfm_device_close(dev);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_learns_all_there_is_to_know),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
