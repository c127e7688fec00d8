/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_EXPECT_H
#define VFM_SRC_STREAM_EXPECT_H

/*
 * What a decoder will do with bytes that it has not seen, for who wants to put
 * them where they belong at once.
 */

#include <stdint.h>

#include <vfmig/stream.h>

/* How many bytes of a device's data the next window begins with; 0: it may
 * begin with something else. */
uint64_t decoder_data_expected(const struct vfm_decoder *dec);
uint64_t multifd_data_expected(const struct vfm_multifd_decoder *dec);

#endif
