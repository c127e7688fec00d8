/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_COMMAND_H
#define VFM_EMULATOR_COMMAND_H

/*
 * The commands of vfio-user: one handler each.
 *
 * A handler finds a payload of at least the size of its structure, checks
 * everything else, and fills in the reply.  It returns 0, or the negative
 * errno that the reply will carry instead of its payload.  Descriptors that it
 * does not take are closed for it.
 */

#include <stddef.h>
#include <string.h>

#include "emulator/connection.h"

typedef int command_handler(struct connection *c, struct request *rq,
                            struct reply *rp);

command_handler command_version;
command_handler command_dma_map;
command_handler command_dma_unmap;
command_handler command_device_info;
command_handler command_region_info;
command_handler command_region_io_fds;
command_handler command_irq_info;
command_handler command_set_irqs;
command_handler command_region_read;
command_handler command_region_write;
command_handler command_region_write_multi;
command_handler command_reset;
command_handler command_feature;
command_handler command_data_read;
command_handler command_data_write;
command_handler command_precopy_info;
command_handler command_area_set;
command_handler command_area_read;
command_handler command_area_write;

/* Carries out any command.  -EINVAL for those that do not exist. */
int command_run(struct connection *c, struct request *rq, struct reply *rp);

/* "MIG_DATA_READ"; null for a number that is no command. */
const char *command_name(uint32_t command);

/* The number of a command; -EINVAL. */
int command_parse(const char *name);

/* The command that does the same, if the state goes in messages: faults are
 * those of either. */
uint32_t command_by_message(uint32_t command);

/* Is this a change of state that must wait until the DMA engine rests? */
bool feature_must_wait(const struct connection *c, const struct request *rq);

/* "LOG_START" and its like, for faults; -EINVAL. */
int feature_parse(const char *name);

/* The feature that a DEVICE_FEATURE command is about; 0: it is none. */
uint32_t feature_number(const struct request *rq);

#endif
