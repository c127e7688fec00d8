/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_STEP_H
#define VFM_SRC_STREAM_STEP_H

/* What a step of a decoder returns, if it is no negative errno value. */
#define STEP_MORE   0 /* more input is needed */
#define STEP_EVENT  1 /* the event is filled in */
#define STEP_AGAIN  2 /* nothing to tell; go on with the next step */
#define STEP_REFEED 3 /* as AGAIN, and the input changes */

#endif
