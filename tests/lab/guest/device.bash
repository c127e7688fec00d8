#!/bin/bash
# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Everything that one guest can show of its devices.
#
#   device.bash group|cdev    how they have to be opened here
. "$(dirname "$0")/prelude.bash"
way=$1

in_a_file()
{
    vfmig save -q -d "vfio:$here$1" /run/saved &&
        vfmig load -q -d "vfio:$there$1" /run/saved
}

# over URI [OPTION]: both sides at once.
over()
{
    local target status

    coproc receive { vfmig receive -d "vfio:$there$2" "$1" 2>&1; }
    target=$receive_PID
    # It says where it listens, when it does.
    read -r -t 30 _ _ uri <&"${receive[0]}" || return 1
    vfmig send -v -d "vfio:$here$2" "$uri"
    status=$?
    cat <&"${receive[0]}"
    wait "$target" && return $status
}

# moves SENTENCE PORTS HOW...: the registers are there afterwards, and were not
# before.
moves()
{
    local sentence=$1 ports=$2 seed=$((RANDOM % 256))
    shift 2

    make_device "$here" "$ports"
    make_device "$there" "$ports"
    fill "$here" "$ports" $seed
    check "$sentence: at first they differ" differs "$there" "$ports" $seed
    check "$sentence" "$@"
    cp /run/check /run/moved
    check "$sentence: the registers are there" \
        expect "$there" "$ports" $seed
}

# It was told to, and did before it had to.
ended()
{
    wait "$1"
    [ $? -ne 124 ]
}

entered() { [ -s /run/moved ] && grep -E "$1" /run/moved; }
did_not_enter() { [ -s /run/moved ] && ! grep -E "$1" /run/moved; }

for ports in 1 2; do
    p="ports: $ports"
    make_device "$here" $ports
    check "$p: list names it" says "$here" vfmig list
    check "$p: list says by which way" says "\"way\": *\"$way\"" \
        vfmig list --json
    check "$p: probe" says 'PRE_COPY' vfmig probe -d "vfio:$here"
    moves "$p: save and load" $ports in_a_file
    moves "$p: send and receive by a socket" $ports over unix:/run/socket
    moves "$p: send and receive by TCP" $ports over tcp:127.0.0.1:0
    check "$p: that used PRE_COPY" entered 'PRE_COPY( |$)'
    moves "$p: without PRE_COPY" $ports over unix:/run/socket ,pre-copy=off
    check "$p: that did not use PRE_COPY" did_not_enter 'PRE_COPY'
    moves "$p: without P2P" $ports over unix:/run/socket ,p2p=off
    check "$p: that used no P2P state" did_not_enter 'P2P'
    moves "$p: with neither" $ports over unix:/run/socket ,p2p=off,pre-copy=off
    check "$p: that used none of them" did_not_enter 'P2P|PRE_COPY'
done

# Of another kernel, if it ran before this one.
for ports in 1 2; do
    if [ -e /mnt/saved-$ports ]; then
        make_device "$there" $ports
        check "what another kernel saved of $ports ports is loaded" \
            vfmig load -q -d "vfio:$there" /mnt/saved-$ports
        check "and its registers are there" expect "$there" $ports 42
    fi
    make_device "$here" $ports
    fill "$here" $ports 42
    check "what is saved of $ports ports is kept for others" \
        vfmig save -q -d "vfio:$here" /mnt/saved-$ports
done

make_device "$here" 2
make_device "$there" 1
check "a device of two ports is saved" vfmig save -q -d "vfio:$here" /run/saved
check "two ports' state does not load into one" \
    fails vfmig load -q -d "vfio:$there" /run/saved
check "and that one runs" state_is "$there" RUNNING

# The bitmap of a report needs a part of the kernel that comes with iommufd.
make_device "$here" 1
case $way in
group) log=does-not ;;
cdev) log=reports ;;
esac
check "the kernel's logs of DMA" limited "$programs/trackers" "$here" $log
if [ $way = cdev ]; then
    check "list has the state from debugfs" \
        says '"debugfs_state": *"RUNNING"' vfmig list --json
fi

# What mtty is known to break, and no more or less: a reset leaves its registers as
# they are, and what is written to them in STOP raises interrupts, which is a must and
# so makes the status 1.  The state of two ports is long enough for damage that nothing
# checks.  docs/testing-your-device.md says more; the reports are published in
# docs/reports.
irq=irq-silent-in-STOP
reset=register-cleared-by-reset
broken=([1]="$irq $reset"
    [2]="$irq refusal-damaged-anywhere refusal-damaged-tail $reset")

# breaks_only FILE STATUS CHECKS [OPTION]...: CHECKS as sort puts them.
breaks_only()
{
    local file=$1 status=$2 checks=$3 found
    shift 3

    vfmig check "$@" -d "vfio:$here" -o "$file"
    [ $? -eq "$status" ] || return 1
    found=$(awk '$1 == "FAILED" { print $2 }' "$file" | LC_ALL=C sort | xargs)
    [ "$found" = "$checks" ] || {
        echo "found: $found"
        return 1
    }
}
for ports in 1 2; do
    report=/mnt/check-$way-$ports
    make_device "$here" $ports
    check "vfmig check finds what mtty breaks, and no more, ports: $ports" \
        breaks_only "$report" 1 "${broken[ports]}"
    cat "$report"
    check "a should alone has its own status, ports: $ports" \
        breaks_only /run/registers 5 "$reset" --only registers
    check "and knows what the driver has put into mtty, ports: $ports" \
        grep -E '^registers +11 passed' "$report"
done

# A device has one user at a time.
make_device "$here" 1
timeout -k 5 100 "$VFMIG_BUILD/tool/vfmig" receive -d "vfio:$here" \
    unix:/run/holder >/run/held 2>&1 &
holder=$!
check "a device is held" await 30 grep -q listening /run/held
check "somebody else is told that it is in use" \
    says 'somebody else has it open' vfmig probe -d "vfio:$here"
check "and the list does not need it" says "$here" vfmig list
kill $holder
check "who holds it can be ended" ended $holder

make_device "$here" 1
check "every transition is as the uAPI says" \
    limited "$programs/transitions" "$here"
for source in "$(dirname "$0")"/../../../docs/kernel/*.c; do
    fact=$(basename "$source" .c)
    make_device "$here" 1
    check "fact: $fact" limited "$VFMIG_BUILD/docs/kernel/$fact" "$here"
done
finish
