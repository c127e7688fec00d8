#!/bin/bash
# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
#
# A PCI function behind an IOMMU, which no driver migrates, and one beside it
# that the kernel uses: what is said of it at each step.
. "$(dirname "$0")/prelude.bash"
device=0000:00:10.0
neighbour=0000:00:10.1

probe_says() { says "$1" vfmig probe -d vfio:$device; }
list_says() { says "$1" vfmig list; }

bind()
{
    echo vfio-pci >/sys/bus/pci/devices/$device/driver_override &&
        echo $device >/sys/bus/pci/drivers_probe
}

unbind_neighbour()
{
    echo $neighbour >/sys/bus/pci/devices/$neighbour/driver/unbind
}

check "without a driver it is said to have none" \
    probe_says "has no driver: bind it to vfio-pci"
check "and it is not in the list" list_says "no device is bound"
check "the neighbour's driver is named" says "its driver serial is none" \
    vfmig probe -d vfio:$neighbour
check "it can be bound" bind
check "now its group is in the way, and who" \
    probe_says "not bound to a VFIO driver.*: $neighbour (serial)"
check "which the list says, too" list_says "$neighbour (serial)"
check "the neighbour can be unbound" unbind_neighbour
check "without the neighbour it is opened, and offers no migration" \
    probe_says "no: it offers no migration"
check "its configuration space is read" probe_says "PCI *1234:11e8"
check "the list says so" list_says "no: it offers no migration"
check "and for machines" says '"migratable": *false' vfmig list --json
check "a save says so" says "cannot be migrated" \
    vfmig save -d vfio:$device /run/saved
check "and leaves no file" fails test -e /run/saved
finish
