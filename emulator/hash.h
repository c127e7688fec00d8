/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_HASH_H
#define VFM_EMULATOR_HASH_H

/*
 * XXH3, in the variant for the processor at hand where xxHash has been built
 * with one: all bytes of a state pass through it.
 */

#ifdef EDEV_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#endif
