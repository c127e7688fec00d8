/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_PROBES_H
#define VFM_SRC_MIGRATION_PROBES_H

/*
 * What a tracer of the system can look at: a probe for each kind of span, of
 * the same name, when it is over.  One that nobody looks at is an instruction
 * that does nothing; and without meson's option `probes` there is not even
 * that.  tools/vfmig.bt prints them.
 *
 * All give the side first, "source" or "target", and what they are, then when
 * it began and how long it took, in nanoseconds.
 */

#ifdef VFMIG_PROBES
#include <sys/sdt.h>

#define PROBE_STAGE(side, stage, began, ns, bytes) \
    DTRACE_PROBE5(vfmig, stage, side, stage, began, ns, bytes)
#define PROBE_ARC(side, device, from, to, began, ns) \
    DTRACE_PROBE6(vfmig, arc, side, device, from, to, began, ns)
#define PROBE_DATA(side, device, stage, began, ns, bytes) \
    DTRACE_PROBE6(vfmig, data, side, device, stage, began, ns, bytes)
#define PROBE_WAIT(side, cause, device, began, ns) \
    DTRACE_PROBE5(vfmig, wait, side, cause, device, began, ns)
#define PROBE_CHANNEL(side, number, began, ns, bytes, blocked) \
    DTRACE_PROBE6(vfmig, channel, side, number, began, ns, bytes, blocked)
#else
#define PROBE_STAGE(side, ...)   ((void)(side))
#define PROBE_ARC(side, ...)     ((void)(side))
#define PROBE_DATA(side, ...)    ((void)(side))
#define PROBE_WAIT(side, ...)    ((void)(side))
#define PROBE_CHANNEL(side, ...) ((void)(side))
#endif

#endif
