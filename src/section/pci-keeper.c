/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM that keeps a device's configuration.  Its record is the same as that of
 * a device that keeps it itself, so that each can load what the other saved.
 */
#include <errno.h>
#include <string.h>

#include "section/pci-keeper.h"
#include "util/error.h"
#include "util/options.h"
#include "util/pci-capability.h"

_Static_assert(VFM_PCI_CONFIG_SIZE == PCI_CFG_SPACE_SIZE &&
                   VFM_PCI_CONFIG_EXTENDED_SIZE == PCI_CFG_SPACE_EXP_SIZE &&
                   VFM_PCI_MSIX_MAX == PCI_CONFIG_MSIX_MAX,
               "a record has to hold what a VMM may keep");

int pci_keeper_set(struct pci_keeper *keeper,
                   const struct vfm_pci_keeper *given, bool loads,
                   const char *who, struct vfm_error *err)
{
    int ret = options_copy(&keeper->is, sizeof(keeper->is), given, who, err);

    if (ret < 0)
        return ret;
    if (loads ? keeper->is.load == NULL : keeper->is.save == NULL)
        return error_set(err, -EINVAL, "%s: nobody %s its configuration", who,
                         loads ? "loads" : "saves");
    keeper->is_set = true;
    return 0;
}

static int check(const struct vfm_pci_state *state, const char *who,
                 struct vfm_error *err)
{
    if (state->config == NULL || (state->config_size != PCI_CFG_SPACE_SIZE &&
                                  state->config_size != PCI_CFG_SPACE_EXP_SIZE))
        return error_set(err, -EINVAL,
                         "%s: its VMM tells of a configuration space of %zu "
                         "bytes",
                         who, state->config == NULL ? 0 : state->config_size);
    if (state->msix_count != pci_msix_count(state->config, PCI_CFG_SPACE_SIZE))
        return error_set(err, -EINVAL,
                         "%s: its VMM tells of %u MSI-X vectors, but the "
                         "capability of %u",
                         who, state->msix_count,
                         pci_msix_count(state->config, PCI_CFG_SPACE_SIZE));
    if (state->msix_count > 0 &&
        (state->msix_table == NULL || state->msix_pending == NULL))
        return error_set(err, -EINVAL, "%s: its VMM tells of no MSI-X table",
                         who);
    return 0;
}

/* The VMM's configuration, as it is now. */
static int ask(const struct pci_keeper *keeper, struct pci_config *config,
               const char *who, struct vfm_error *err)
{
    struct vfm_pci_state state = { .size = sizeof(state) };
    struct vfm_error why = { 0 };
    int ret = keeper->is.save(keeper->is.opaque, &state, &why);

    if (ret < 0)
        return error_of_callback(err, ret, who,
                                 "its configuration cannot be saved", &why);
    ret = check(&state, who, err);
    if (ret < 0)
        return ret;
    *config = (struct pci_config){
        .space = state.config,
        .space_size = state.config_size,
        .msix_count = state.msix_count,
        .msix_table = state.msix_table,
        .msix_pending = state.msix_pending,
    };
    memcpy(config->intx, state.intx, sizeof(config->intx));
    return 0;
}

int pci_keeper_save(const struct pci_keeper *keeper, struct pci_state *ps,
                    const char *who, struct vfm_error *err)
{
    struct pci_config config;
    int ret = ask(keeper, &config, who, err);

    return ret < 0 ? ret : pci_state_encode(ps, &config, err);
}

static int decode(const struct pci_keeper *keeper, const struct pci_state *ps,
                  struct pci_config *theirs, const char *who,
                  struct vfm_error *err)
{
    struct pci_config ours;
    int ret;

    if (keeper->is.save == NULL)
        return pci_state_decode(ps, NULL, who, theirs, err);
    ret = ask(keeper, &ours, who, err);
    return ret < 0 ? ret : pci_state_decode(ps, &ours, who, theirs, err);
}

static int give(const struct pci_keeper *keeper,
                const struct pci_config *config, const char *who,
                struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    struct vfm_pci_state state = {
        .size = sizeof(state),
        .config = config->space,
        .config_size = config->space_size,
        .msix_count = config->msix_count,
        .msix_table = config->msix_table,
        .msix_pending = config->msix_pending,
    };
    int ret;

    memcpy(state.intx, config->intx, sizeof(state.intx));
    ret = keeper->is.load(keeper->is.opaque, &state, &why);
    if (ret < 0)
        return error_of_callback(err, ret, who,
                                 "its configuration cannot be loaded", &why);
    return 0;
}

int pci_keeper_load(struct pci_keeper *keeper, struct pci_state *ps,
                    struct vfm_device *dev, const char *who,
                    struct vfm_error *err)
{
    struct pci_config theirs;
    int ret = 0;

    if (!keeper->has_loaded) {
        ret = decode(keeper, ps, &theirs, who, err);
        if (ret == 0)
            ret = give(keeper, &theirs, who, err);
        if (ret < 0)
            return ret;
        keeper->has_loaded = true;
    }
    return pci_state_write_command(ps, dev, err);
}
