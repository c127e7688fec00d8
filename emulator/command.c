/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of commands.
 */
#include <errno.h>
#include <string.h>

#include "emulator/command.h"

struct command {
    const char *name;
    size_t size; /* of the payload, at least */
    command_handler *run;
};

static const struct command commands[] = {
    [VFU_VERSION] = { "VERSION", sizeof(struct vfu_version), command_version },
    [VFU_DMA_MAP] = { "DMA_MAP", sizeof(struct vfu_dma_map), command_dma_map },
    [VFU_DMA_UNMAP] = { "DMA_UNMAP", sizeof(struct vfu_dma_unmap),
                        command_dma_unmap },
    [VFU_DEVICE_GET_INFO] = { "DEVICE_GET_INFO", sizeof(struct vfu_device_info),
                              command_device_info },
    [VFU_DEVICE_GET_REGION_INFO] = { "DEVICE_GET_REGION_INFO",
                                     sizeof(struct vfu_region_info),
                                     command_region_info },
    [VFU_DEVICE_GET_REGION_IO_FDS] = { "DEVICE_GET_REGION_IO_FDS",
                                       4 * sizeof(uint32_t),
                                       command_region_io_fds },
    [VFU_DEVICE_GET_IRQ_INFO] = { "DEVICE_GET_IRQ_INFO",
                                  sizeof(struct vfu_irq_info),
                                  command_irq_info },
    [VFU_DEVICE_SET_IRQS] = { "DEVICE_SET_IRQS", sizeof(struct vfu_irq_set),
                              command_set_irqs },
    [VFU_REGION_READ] = { "REGION_READ", sizeof(struct vfu_region_access),
                          command_region_read },
    [VFU_REGION_WRITE] = { "REGION_WRITE", sizeof(struct vfu_region_access),
                           command_region_write },
    /* These two only ever come from the device. */
    [VFU_DMA_READ] = { "DMA_READ", 0, NULL },
    [VFU_DMA_WRITE] = { "DMA_WRITE", 0, NULL },
    [VFU_DEVICE_RESET] = { "DEVICE_RESET", 0, command_reset },
    [VFU_REGION_WRITE_MULTI] = { "REGION_WRITE_MULTI", sizeof(uint64_t),
                                 command_region_write_multi },
    [VFU_DEVICE_FEATURE] = { "DEVICE_FEATURE", sizeof(struct vfu_feature),
                             command_feature },
    [VFU_MIG_DATA_READ] = { "MIG_DATA_READ", sizeof(struct vfu_mig_data),
                            command_data_read },
    [VFU_MIG_DATA_WRITE] = { "MIG_DATA_WRITE", sizeof(struct vfu_mig_data),
                             command_data_write },
    [VFU_MIG_GET_PRECOPY_INFO] = { "MIG_GET_PRECOPY_INFO", 0,
                                   command_precopy_info },
    [VFU_MIG_AREA_SET] = { "MIG_AREA_SET", sizeof(struct vfu_mig_area),
                           command_area_set },
    [VFU_MIG_AREA_READ] = { NULL, sizeof(struct vfu_mig_area_data),
                            command_area_read },
    [VFU_MIG_AREA_WRITE] = { NULL, sizeof(struct vfu_mig_area_data),
                             command_area_write },
};

#define NUM_COMMANDS (sizeof(commands) / sizeof(commands[0]))

const char *command_name(uint32_t command)
{
    return command < NUM_COMMANDS ? commands[command].name : NULL;
}

int command_parse(const char *name)
{
    for (size_t i = 0; i < NUM_COMMANDS; i++)
        if (commands[i].name != NULL && strcmp(name, commands[i].name) == 0)
            return (int)i;
    return -EINVAL;
}

uint32_t command_by_message(uint32_t command)
{
    if (command == VFU_MIG_AREA_READ)
        return VFU_MIG_DATA_READ;
    return command == VFU_MIG_AREA_WRITE ? VFU_MIG_DATA_WRITE : command;
}

int command_run(struct connection *c, struct request *rq, struct reply *rp)
{
    const struct command *command;

    if (rq->command >= NUM_COMMANDS || commands[rq->command].run == NULL)
        return -EINVAL;
    command = &commands[rq->command];
    if (rq->size < command->size)
        return -EINVAL;
    if (c->negotiated != (rq->command != VFU_VERSION))
        return -EINVAL;
    return command->run(c, rq, rp);
}
