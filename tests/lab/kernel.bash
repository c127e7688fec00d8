# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
#
# The lab's kernel: packages of Debian, unpacked in the cache and not installed,
# and modules that are built for it there.  Nothing of it is part of vfmig.
#
#   $cache/kernel/VERSION/root      the packages
#   $cache/kernel/VERSION/stock     mtty for Debian's own vfio
#   $cache/kernel/VERSION/rebuilt   vfio with iommufd, cdevs and debugfs; mtty

# The newest 6.12 that apt knows; or the one that is there when apt knows none.
kernel_version()
{
    local newest

    newest=$(apt-cache pkgnames linux-image-6.12 |
        sed -n 's/^linux-image-\(6\.12\.[0-9]*+deb[0-9]*-amd64\)-unsigned$/\1/p' |
        sort -V | tail -n 1)
    [ -n "$newest" ] || newest=$(ls "$cache/kernel" 2>/dev/null | tail -n 1)
    [ -n "$newest" ] || die "apt knows no kernel 6.12 of Debian: is the archive" \
        "of security updates among its sources, and was it updated?"
    echo "$newest"
}

# fetch FOLDER PACKAGE[=VERSION]...: unpacks them there.
fetch()
{
    local folder=$1 debs
    shift

    debs=$(mktemp -d "$cache/debs.XXXXXX")
    (cd "$debs" &&
        timeout 600 apt-get -qq -o APT::Sandbox::User=root download "$@") ||
        die "cannot download $*"
    for deb in "$debs"/*.deb; do
        dpkg-deb -x "$deb" "$folder"
    done
    rm -r "$debs"
}

fetch_kernel()
{
    local version=$1 base=${1%-amd64} source=linux-source-6.12 exact

    exact=$(apt-cache show "linux-image-$version-unsigned" |
        sed -n 's/^Version: //p' | head -n 1)
    mkdir -p root source
    fetch root "linux-image-$version-unsigned" "linux-headers-$version" \
        "linux-headers-$base-common" "linux-kbuild-$base" "$source=$exact"
    depmod -b root "$version"
    # The headers include each other where they would have been installed.
    sed -i "s#^include /usr/src/#include $PWD/root/usr/src/#" \
        "root/usr/src/linux-headers-$version/Makefile"
    tar -xJf root/usr/src/$source.tar.xz -C source --strip-components=1 \
        $source/{drivers/vfio,drivers/iommu/iommufd,drivers/iommu/iommu-priv.h} \
        $source/{lib/interval_tree.c,samples/vfio-mdev}
    rm root/usr/src/$source.tar.xz
}

# The part of the kernel's interval trees that only iommufd asks for.
span_iterator()
{
    printf '#include <linux/%s.h>\n' compiler export interval_tree \
        interval_tree_generic
    sed -n '/^#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER/,/^#endif/p' \
        source/lib/interval_tree.c
}

lay_out_rebuilt()
{
    mkdir -p rebuilt/samples
    cp -r source/drivers/iommu/iommufd source/drivers/vfio rebuilt
    cp source/drivers/iommu/iommu-priv.h rebuilt
    span_iterator >rebuilt/iommufd/span_iter.c
    # A module's name must not be that of one of its parts.
    mv rebuilt/vfio/vfio_iommu_type1.c rebuilt/vfio/type1.c
    cp source/samples/vfio-mdev/mtty.c rebuilt/samples
    cp "$lab/modules/Kbuild" rebuilt/Kbuild
}

lay_out_stock()
{
    mkdir -p stock
    cp source/samples/vfio-mdev/mtty.c stock
    cp "$lab/modules/Kbuild.stock" stock/Kbuild
}

build_modules()
{
    make -j"$(nproc)" -C "root/usr/src/linux-headers-$1" M="$PWD/$2" \
        CONFIG_DEBUG_INFO_BTF_MODULES= modules
    strip -g "$2"/*.ko
}

build_kernel()
{
    set -e
    mkdir -p "$2"
    cd "$2"
    fetch_kernel "$1"
    lay_out_stock
    lay_out_rebuilt
    build_modules "$1" stock
    build_modules "$1" rebuilt
    rm -r source
}

# What it is built from beside the kernel: another Kbuild, another build.
recipe()
{
    cat "$lab"/modules/Kbuild* "$lab/kernel.bash" | sha256sum
}

# Sets $version and $kernel, its folder.
need_kernel()
{
    version=$(kernel_version)
    kernel=$cache/kernel/$version
    if [ "$(cat "$kernel/recipe" 2>/dev/null)" != "$(recipe)" ]; then
        say "building the modules for $version"
        rm -rf "$kernel"
        # In a shell of its own: "set -e" does nothing where a failure is
        # asked for.
        (build_kernel "$version" "$kernel") >"$cache/build.log" 2>&1
        if [ $? -ne 0 ]; then
            tail -n 30 "$cache/build.log" >&2
            die "the modules for $version cannot be built"
        fi
        recipe >"$kernel/recipe"
    fi
}

# The modules of a guest with vfio as it is (stock) or rebuilt, in the order in
# which they are loaded.
module_files()
{
    local needed="9pnet_virtio 9p virtio_net kvm-amd"

    [ "$1" != stock ] || needed+=" vfio_iommu_type1 vfio_pci mdev"
    for module in $needed; do
        modprobe -d "$kernel/root" -S "$version" --show-depends "$module" |
            awk '{ print $2 }'
    done | awk '!seen[$0]++'
    case $1 in
    stock) echo "$kernel/stock/mtty.ko" ;;
    rebuilt) printf "$kernel/rebuilt/%s.ko\n" iommufd vfio vfio_iommu_type1 \
        mdev mtty ;;
    esac
}
