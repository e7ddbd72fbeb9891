#!/usr/bin/env bash
# Tests of what this machine's kernel may lack, in an emulated machine with Debian's cloud kernel.
#
#   tests/vm.sh                 all suites
#   tests/vm.sh SUITE…          sctp, macvlan, cgroups, reboot, …: see `suites` below
#   tests/vm.sh -- NAME…        tests whose names contain one of these
#
# The machine is qemu without hardware help, ten to thirty times slower than this one, and has pure cgroup v2. It boots
# from an initramfs into an image of the test programs, with what they run, as its only disk; nothing of this machine
# is mounted and it has no network. Every test is a process of its own there, as under `cargo nextest`. The suite
# "reboot" comes last: each of its tests has a boot of its own, on the same disk.
# Kernel and qemu are brought by tests/packages.sh and never installed.
#
# CNM_VM_LIMIT     seconds until the machine is stopped, tests or no tests (default 5400)
# CNM_TEST_CACHE   the cache folder (default /var/cache/cnm-tests)
set -euo pipefail
cd "$(dirname "$0")/.."

# name → program, and start of the names of its tests: the driver's own, and whole daemons
declare -A suites=(
    [sctp]="drivers bridge::packets::sctp::"
    [contract]="drivers contract::"
    [macvlan]="drivers macvlan::packets::"
    [ipvlan]="drivers ipvlan::packets::"
    [segment]="vm segment::"
    [cgroups]="vm cgroups::"
    [docker]="vm docker::"
    [users]="vm users::"
    [reboot]="vm reboot::"
)

fail() { printf 'tests/vm.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*"; }

[ "$(id -u)" = 0 ] || fail "only root can bring and unpack packages: try \"sudo $0\""
export PATH="$HOME/.cargo/bin:$PATH"
export CNM_TEST_CACHE=${CNM_TEST_CACHE:-/var/cache/cnm-tests}
limit=${CNM_VM_LIMIT:-5400}

wanted=()
for word; do
    if [ "$word" = -- ]; then
        shift
        wanted+=("$@")
        break
    fi
    [ -n "${suites[$word]:-}" ] || fail "no suite \"$word\": ${!suites[*]} are known"
    wanted+=("${suites[$word]}")
    shift
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${suites[@]}")

deploy/needs.sh build run test vm
tests/packages.sh busybox dnsmasq docker dockerd linux qemu
busybox=$CNM_TEST_CACHE/busybox/usr/bin/busybox
qemu=$CNM_TEST_CACHE/qemu
modules=$(echo "$CNM_TEST_CACHE"/linux/lib/modules/*)
version=${modules##*/}

say "programs for Linux $version"
built() {
    cargo test "$@" --no-run --locked --quiet --message-format=json-render-diagnostics |
        jq -r 'select(.profile.test == true and .executable != null) | .executable'
}
declare -A programs=()
# As a part of the whole workspace, whose crates are then built once for all.
if printf '%s\n' "${wanted[@]}" | grep -qv '^drivers '; then
    cargo build --workspace --bins --locked --quiet
    programs[vm]=$(built --workspace --test vm --features system-tests/vm)
fi
if printf '%s\n' "${wanted[@]}" | grep -qv '^vm '; then
    programs[drivers]=$(built -p drivers --lib --features vm)
fi
for program in "${programs[@]}"; do [ -x "$program" ] || fail "the tests were not built"; done

work=$(mktemp -d "${TMPDIR:-/tmp}/cnm-vm.XXXXXX")
machine=
finish() {
    [ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

names=$(for word in "${!programs[@]}"; do
    "${programs[$word]}" --list --format terse | sed -n "s/^\(.*\): test$/$word \1/p"
done | grep -F -f <(printf '%s\n' "${wanted[@]}")) || fail "no test is called so"
boots=$(grep '^vm reboot::' <<<"$names" | sort || true)
names=$(grep -v '^vm reboot::' <<<"$names" || true)

# Copies programs to where they are, with the libraries they are linked to.
carry() {
    local file library
    for file; do
        mkdir -p "$work/root/${file%/*}"
        cp -L "$file" "$work/root/$file"
        for library in $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*'); do
            [ -e "$work/root/$library" ] || { mkdir -p "$work/root/${library%/*}"; cp -L "$library" "$work/root/$library"; }
        done
    done
}

# Copies what is in a package that was unpacked, where the lab looks for it, with the libraries that this machine lacks.
carry_package() {
    local name=$1 from=$CNM_TEST_CACHE/$1 to=$work/root/cache/$1 file library
    shift
    for file; do
        mkdir -p "$to/${file%/*}"
        cp -a "$from/$file" "$to/${file%/*}/"
        for library in $(LD_LIBRARY_PATH=$from/usr/lib/x86_64-linux-gnu ldd "$from/$file" 2>/dev/null | grep -o '/[^ ]*'); do
            case $library in
                "$from"/*) library=${library#"$from/"} && mkdir -p "$to/${library%/*}" && cp -L "$from/$library" "$to/$library" ;;
                *) carry "$library" ;;
            esac
        done
    done
}

found() { command -v "$1" || fail "program \"$1\" is missing"; }

root() {
    local root=$work/root word link
    mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,lib,lib64,etc,dev,proc,sys,run,tmp,root,var/lib,var/tmp,tests}
    cp "$busybox" "$root/bin/busybox"
    for word in "${!programs[@]}"; do
        strip -o "$root/tests/$word" "${programs[$word]}"
        carry "${programs[$word]}"
        rm "$root/${programs[$word]}"
    done
    if grep -q '^vm ' <<<"$names $boots"; then
        for word in cnmd cnm cnm-shim cnm-names cnm-cni; do
            strip -o "$root/tests/$word" "target/debug/$word"
            carry "$PWD/target/debug/$word"
            rm "$root/$PWD/target/debug/$word"
        done
        carry_package busybox usr/bin/busybox
        carry_package dnsmasq usr/sbin/dnsmasq
    fi
    if grep -q '^vm docker::' <<<"$names"; then
        carry_package docker usr/bin/docker
        carry_package dockerd usr/sbin/{dockerd,docker-proxy,runc} usr/bin/{containerd,containerd-shim-runc-v2,docker-init,tini-static}
    fi
    for word in ip nft ping nsenter conntrack flock tar mount unshare curl; do carry "$(found "$word")"; done
    # The tools of iptables are one program under many names, with an extension for each match and target.
    for word in iptables ip6tables; do
        carry "$(readlink -f "$(found "$word")")"
        for link in "" -save -restore; do
            ln -sf "$(basename "$(readlink -f "$(found $word$link)")")" "$root/usr/sbin/$word$link"
        done
    done
    for link in "$(dirname "$(find /usr/lib -name libxt_conntrack.so -print -quit)")"/*.so; do carry "$link"; done
    [ ! -e /etc/protocols ] || cp /etc/protocols "$root/etc/"
    mkdir -p "$root/lib/modules/$version/kernel/drivers/net" "$root/lib/modules/$version/kernel/fs"
    cp "$modules"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$version/"
    cp -r "$modules"/kernel/{net,crypto,lib} "$root/lib/modules/$version/kernel/"
    cp -r "$modules"/kernel/fs/overlayfs "$root/lib/modules/$version/kernel/fs/"
    cp -r "$modules"/kernel/block "$root/lib/modules/$version/kernel/"
    cp -r "$modules"/kernel/drivers/net/{*.ko,ipvlan,vxlan,wireguard} "$root/lib/modules/$version/kernel/drivers/net/"
    "$busybox" depmod -b "$root" "$version"
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\n' >"$root/etc/group"
    printf '%s\n' "$names" | sed '/^$/d' >"$root/tests/names"
    printf '%s\n' "$boots" | sed '/^$/d' >"$root/tests/boots"
    cp tests/vm/init "$root/sbin/init"
    chmod +x "$root/sbin/init"
}

# What brings the machine as far as its disk.
boot() {
    local boot=$work/boot module
    mkdir -p "$boot"/{bin,proc,dev,root}
    cp "$busybox" "$boot/bin/busybox"
    # In the order of what needs what.
    for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
        find "$modules" -name "$module.ko" -exec cp {} "$boot/$module.ko" \;
        printf '%s\n' "$module"
    done >"$boot/modules"
    cp tests/vm/boot "$boot/init"
    chmod +x "$boot/init"
    (cd "$boot" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs"
}

say "a machine"
root
boot
size=$(du -sm "$work/root" | cut -f1)
mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -m 0 -d "$work/root" "$work/disk" "$((size * 5 / 4 + 256))M" >/dev/null

# Two serial lines: the kernel's own words go to a file, the tests' to us.
libraries=$qemu/usr/lib/x86_64-linux-gnu
: >"$work/console"
mkfifo "$work/said"
LD_LIBRARY_PATH=$libraries:$qemu/lib/x86_64-linux-gnu QEMU_MODULE_DIR=$libraries/qemu \
    "$qemu/usr/bin/qemu-system-x86_64" -L "$qemu/usr/share/qemu" -L "$qemu/usr/share/seabios" \
    -machine pc -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults -no-user-config -display none \
    -kernel "$CNM_TEST_CACHE/linux/boot/vmlinuz" -initrd "$work/initramfs" \
    -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off cgroup_no_v1=all" \
    -drive "file=$work/disk,if=virtio,format=raw,cache=unsafe" \
    -serial "file:$work/console" -serial stdio </dev/null >"$work/said" 2>"$work/qemu" &
machine=$!
# A watch over the machine that ends with it.
(
    for ((second = 0; second < limit; second++)); do
        kill -0 "$machine" 2>/dev/null || exit 0
        sleep 1
    done
    kill -KILL "$machine" 2>/dev/null
) &
watch=$!
sed -u 's/\r$//' <"$work/said" | tee "$work/log"
wait "$machine" || true
machine=
kill "$watch" 2>/dev/null || true

case $(sed -n 's/^vm: //p' "$work/log" | tail -n 1) in
    "all passed") ;;
    "some failed") exit 1 ;;
    *)
        cat "$work/qemu" >&2
        tail -n 30 "$work/console" >&2
        fail "the machine did not come to the end of its tests within $limit seconds"
        ;;
esac
