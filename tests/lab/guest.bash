# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
#
# A guest: the lab's kernel, busybox to start it, and this machine's own file
# system, read-only, to work in.  So what was built here runs there.
#
#   $share              seen by every guest of a run as /mnt
#   $share/NAME/run     what guest NAME runs
#   $share/NAME/begun   there as soon as it does
#   $share/NAME/status  what came of it
#   $share/NAME/kernel  what the kernel complained of
#   $share/NAME/console all that was printed

# make_initrd MODULES: stock or rebuilt.  Made anew each time: a second.
make_initrd()
{
    local tree i=10 name

    tree=$(mktemp -d "$work/initrd.XXXXXX")
    mkdir -p "$tree"/{bin,dev,modules,proc,root,sys}
    cp /bin/busybox "$tree/bin"
    ln -s busybox "$tree/bin/sh"
    cp "$lab/init" "$tree/init"
    for module in $(module_files "$1"); do
        name=$i-$(basename "$module" .xz)
        case $module in
        *.xz) xz -dc "$module" ;;
        *) cat "$module" ;;
        esac >"$tree/modules/$name"
        i=$((i + 1))
    done
    (cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/$1.gz"
    rm -r "$tree"
}

# A kernel that is emulated on a busy machine measures its clocks wrongly, and
# panics as its timer does not tick, sees seconds pass in no time and takes that
# for a lockup: it is told to trust the timer, and to go by a clock whose pace
# is known.  Nor does it have the time to test its ciphers.
busy="no_timer_check clocksource=acpi_pm nowatchdog cryptomgr.notests"

# boot NAME MODULES [QEMU OPTION]...: returns when it has powered off.
boot()
{
    local name=$1 modules=$2
    shift 2

    timeout --foreground "$guest_seconds" qemu-system-x86_64 -M q35 $(accelerator) -cpu max \
        -smp 2 -m 1024 -nodefaults -display none -no-reboot \
        -kernel "$kernel"/root/boot/vmlinuz-* -initrd "$work/$modules.gz" \
        -append "console=ttyS0 quiet panic=-1 $busy intel_iommu=on lab=$name" \
        -fsdev "local,id=root,path=/,security_model=none,readonly=on" \
        -device virtio-9p-pci,fsdev=root,mount_tag=root \
        -fsdev "local,id=share,path=$share,security_model=none" \
        -device virtio-9p-pci,fsdev=share,mount_tag=share \
        "$@"
}

# A network of two guests: each is told where the other one's datagrams go.
network()
{
    echo "-netdev dgram,id=net,local.type=unix,local.path=$work/$1.net,"\
"remote.type=unix,remote.path=$work/$2.net"
    echo "-device virtio-net-pci,romfile=,netdev=net,mac=52:54:00:00:00:0$3"
}

# A function that nothing drives, and one in the same group that the kernel does.
pci_devices()
{
    echo "-device intel-iommu -device edu,addr=10.0,multifunction=on"
    echo "-device pci-serial,addr=10.1"
}

# KVM is tried once, with a deadline: some machines have one that cannot run a
# kernel.  The answer is kept.
accelerator()
{
    local software="-accel tcg,thread=multi"

    if [ ! -w /dev/kvm ]; then
        echo "$software"
        return
    fi
    if [ ! -s "$cache/accelerator" ]; then
        if try_kvm; then
            echo "-accel kvm"
        else
            echo "$software"
        fi >"$cache/accelerator"
    fi
    cat "$cache/accelerator"
}

# Without a command to run, a guest powers off as soon as it is up.
try_kvm()
{
    timeout 20 qemu-system-x86_64 -M q35 -accel kvm -cpu host -m 512 \
        -nodefaults -display none -no-reboot -serial "file:$work/kvm" \
        -kernel "$kernel"/root/boot/vmlinuz-* -initrd "$work/stock.gz" \
        -append "console=ttyS0 quiet panic=-1 $busy" </dev/null >/dev/null 2>&1
    grep -q 'the lab is up' "$work/kvm" 2>/dev/null
}

# start NAME MODULES COMMAND...: in the background; output in $share/NAME.
start()
{
    local name=$1 modules=$2 options=()
    shift 2

    mkdir -p "$share/$name"
    {
        printf ': >/mnt/%q/begun\n' "$name"
        printf 'export VFMIG_BUILD=%q LAB_NAME=%q LAB_MODULES=%q\n' \
            "$build" "$name" "$modules"
        printf 'exec %q' "$lab/guest/$1"
        shift
        printf ' %q' "$@"
        echo
    } >"$share/$name/run"
    case $name in
    pci) options=($(pci_devices)) ;;
    source*) options=($(network "$name" "target${name#source}" 1)) ;;
    target*) options=($(network "$name" "source${name#target}" 2)) ;;
    esac
    boot_until_begun "$name" "$modules" "${options[@]}" </dev/null &
}

boot_tries=3

# boot_until_begun NAME MODULES [QEMU OPTION]...: a kernel whose processors are
# emulated, and are kept waiting, may panic before it is up.  It has shown
# nothing of ours then, and is given another chance.
boot_until_begun()
{
    local name=$1 try

    for ((try = 1; try <= boot_tries; try++)); do
        rm -f "$share/$name/console"
        boot "$@" -serial "file:$share/$name/console" >"$share/$name/qemu" 2>&1
        [ ! -e "$share/$name/begun" ] || return
        say "$name: the guest did not come up, try $try of $boot_tries"
        [ "$try" -eq $boot_tries ] || show_end "$name"
    done
}

# show_end NAME: the last that was heard of it.
show_end()
{
    cat "$share/$1/qemu"
    tr -d '\r' <"$share/$1/console" | tail -n 40 | sed 's/^/# /'
}

# finish NAME: what it printed, and whether all went well.
finish()
{
    local folder=$share/$1 status

    status=$(cat "$folder/status" 2>/dev/null)
    tr -d '\r' <"$folder/console" 2>/dev/null | grep -a -E '^(ok|not ok|#)'
    if [ -s "$folder/kernel" ]; then
        say "$1: the kernel complained:"
        cat "$folder/kernel"
        return 1
    fi
    if [ "$status" != 0 ]; then
        say "$1: ${status:+exit status }${status:-it did not end by itself}"
        show_end "$1"
        return 1
    fi
}
