#!/bin/bash
# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
#
# What QEMU's vfio-pci saved of a device, or sent, goes into another one by vfmig.
. "$(dirname "$0")/prelude.bash"

# No guest runs in this VM but the firmware: it is the device that matters.
vm=(qemu-system-x86_64 -M pc -accel tcg -m 64 -nodefaults -display none
    -device "vfio-pci,sysfsdev=$devices/$here,addr=4,enable-migration=on")
# As QEMU names what is in slot 4 of its bus.
target=vfio:$there,id=0000:00:04.0

# migrate [OPTION]... URI: as migrate.py says.
migrate()
{
    /usr/bin/python3 "$(dirname "$0")/migrate.py" "$@" "${vm[@]}"
}

# two_devices PORTS SEED: one with registers, one without.
two_devices()
{
    make_device "$here" "$1"
    make_device "$there" "$1"
    fill "$here" "$1" "$2"
    check "$p: at first they differ" differs "$there" "$1" "$2"
}

# to_a_receiver [OPTION]...: a live migration, with what it asks of the other end.
to_a_receiver()
{
    local receiver status

    vfmig receive --peer qemu -d "$target" unix:/run/socket >/run/receive 2>&1 &
    receiver=$!
    await 30 grep -q listening /run/receive || return 1
    migrate "$@" unix:/run/socket
    status=$?
    wait $receiver && return $status
    cat /run/receive
    return 1
}

for ports in 1 2; do
    p="ports: $ports"
    saved=/run/saved-$ports
    two_devices $ports 5
    check "$p: QEMU saves a VM that runs" migrate "file:$saved"
    check "$p: inspect names the device" says 0000:00:04.0/vfio \
        vfmig inspect "$saved"
    check "$p: load" vfmig load -q -d "$target" "$saved"
    check "$p: the registers are there" expect "$there" $ports 5
    check "$p: and the device runs" state_is "$there" RUNNING

    two_devices $ports 6
    check "$p: QEMU saves a VM that is paused" migrate --stopped "file:$saved"
    check "$p: receive" vfmig receive -q -d "$target" "file:$saved"
    check "$p: the registers are there" expect "$there" $ports 6
    check "$p: and the device is as the VM was" state_is "$there" STOP

    two_devices $ports 7
    check "$p: QEMU migrates to a receiver" to_a_receiver \
        --capability return-path --capability switchover-ack
    check "$p: the registers are there" expect "$there" $ports 7
done
finish
