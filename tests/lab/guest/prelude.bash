# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
#
# What a script of a guest begins with.  They run as root, in this machine's file
# system, which they can only read; /run is theirs, /mnt is seen by all.

types=/sys/class/mdev_bus/mtty/mdev_supported_types
devices=/sys/bus/mdev/devices
here=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
there=83b8f4f2-509f-382f-3c1e-e6bfe0fa1002

programs=$VFMIG_BUILD/tests/lab
checks=0
failures=0

# make_device UUID PORTS: anew, if it is there.  Its registers are all 0.  That
# it can be made is a check only if it cannot.
make_device()
{
    remake_device "$@" && return
    check "a device of $2 ports can be made" false
}

remake_device()
{
    [ ! -e "$devices/$1" ] || echo 1 >"$devices/$1/remove" || return
    echo "$1" >"$types/mtty-$2/create"
}

# limited COMMAND...: nothing in here takes that long; status 124.
limited() { timeout -k 5 100 "$@"; }

vfmig() { limited "$VFMIG_BUILD/tool/vfmig" "$@"; }
fill() { limited "$programs/mtty" fill "$@"; }
expect() { limited "$programs/mtty" expect "$@"; }

# fails COMMAND...: it says so itself.  What is not found, is killed or does not
# end has not failed.
fails()
{
    local status

    "$@"
    status=$?
    [ $status -gt 0 ] && [ $status -lt 124 ]
}

# differs UUID PORTS SEED: its registers are read, and are others.
differs()
{
    expect "$@"
    [ $? -eq 3 ]
}

# check SENTENCE COMMAND...: a line for it, and what it printed if it failed.
check()
{
    local sentence=$1
    shift

    checks=$((checks + 1))
    if "$@" >/run/check 2>&1; then
        echo "ok - $LAB_MODULES: $sentence"
    else
        echo "not ok - $LAB_MODULES: $sentence"
        sed 's/^/# /' /run/check
        failures=$((failures + 1))
    fi
}

# says TEXT COMMAND...: whether it prints that.
says()
{
    local text=$1
    shift

    "$@" >/run/said 2>&1
    cat /run/said
    grep -q -e "$text" /run/said
}

# await SECONDS COMMAND...: until it succeeds.  It sleeps: nobody tells when a
# file of another machine appears.
await()
{
    local end=$((SECONDS + $1))
    shift

    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

state_is()
{
    [ "$(vfmig state -d "vfio:$1")" = "$2" ]
}

finish()
{
    [ $failures -eq 0 ] && [ $checks -gt 0 ]
    exit
}
