#!/bin/bash
# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
#
# Two guests, each with its own kernel, and a network between them.
#
#   pair.bash source|target SCENARIO
#       moves         one and two ports move over TCP
#       source-lost   the source's machine loses power in the middle of a stream
#       target-lost   the target's does
. "$(dirname "$0")/prelude.bash"
side=$1
scenario=$2
target_uri=tcp:10.0.0.2:4444
timeout=3s

mark() { : >"/mnt/$scenario.$1"; }
# The other one may have to be started again.
peer_seconds=100
marked() { check "the other one has $1" await $peer_seconds test -e "/mnt/$scenario.$1"; }

# -------------------------------------------------------------------- moves

source_moves()
{
    for ports in 1 2; do
        make_device "$here" $ports
        fill "$here" $ports $((7 * ports))
        marked "listened-for-$ports"
        check "$ports ports go to another machine" \
            vfmig send -d "vfio:$here" $target_uri
        check "and have stopped on this one" state_is "$here" STOP
    done
}

target_moves()
{
    for ports in 1 2; do
        make_device "$there" $ports
        listen "$there" "listened-for-$ports"
        check "$ports ports come from another machine" wait $listener
        check "and run here" state_is "$there" RUNNING
        check "with their registers" expect "$there" $ports $((7 * ports))
    done
}

# listen UUID MARK: marks when others may come.
listen()
{
    vfmig receive --peer-timeout $timeout -d "vfio:$1" tcp:0.0.0.0:4444 \
        >/run/receive 2>&1 &
    listener=$!
    check "a target listens" await 30 grep -q listening /run/receive
    mark "$2"
}

# --------------------------------------------------------------------- lost

# The link is held after some bytes of the device's state.
hold_the_link()
{
    /usr/bin/python3 "$(dirname "$0")/hold.py" $target_uri \
        /run/relay "/mnt/$scenario.held-the-link" &
    check "the link can be held" await 30 test -S /run/relay
}

# What a machine does that has no power: nothing, and it says nothing.
lose_power()
{
    echo o >/proc/sysrq-trigger
    await 30 false
}

begin_a_stream()
{
    make_device "$here" 1
    fill "$here" 1 99
    marked listened
    hold_the_link
    vfmig send --peer-timeout $timeout -d "vfio:$here" unix:/run/relay \
        2>/run/send &
    sender=$!
    marked "held-the-link"
}

source_source-lost()
{
    begin_a_stream
    lose_power
}

target_source-lost()
{
    make_device "$there" 1
    listen "$there" listened
    marked "held-the-link"
    check "a target notices that its source is gone" fails wait $listener
    check "and says so" says 'did nothing\|no word\|timed out\|for 3' \
        cat /run/receive
    check "and its device was given back to nobody's state" \
        state_is "$there" RUNNING
    check "with nothing of the source's in it" differs "$there" 1 99
}

target_target-lost()
{
    make_device "$there" 1
    listen "$there" listened
    marked "held-the-link"
    lose_power
}

source_target-lost()
{
    begin_a_stream
    check "a source notices that its target is gone" fails wait $sender
    check "and says that its device runs" says RUNNING cat /run/send
    check "which it does" state_is "$here" RUNNING
    check "with all its registers" expect "$here" 1 99
}

"${side}_$scenario"
finish
