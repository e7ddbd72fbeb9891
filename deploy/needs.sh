#!/usr/bin/env bash
# Installs what is missing from Debian, and nothing when nothing is.
#
#   deploy/needs.sh build [test] …
#
#   build   compiler and libraries that the programs are built with
#   run     what the demo and the tests type besides our own programs
#   test    more that only the tests and benchmarks use
#   vm      what tests/vm.sh makes a machine of
set -euo pipefail

declare -A wanted=(
    [build]="gcc libc6-dev pkg-config libseccomp-dev protobuf-compiler libprotobuf-dev"
    [run]="libseccomp2 iproute2 nftables ca-certificates"
    [test]="dnsperf iperf3 iptables jq procps iputils-ping conntrack curl python3 util-linux"
    [vm]="binutils e2fsprogs iptables"
)

fail() { printf 'deploy/needs.sh: %s\n' "$*" >&2; exit 1; }

missing=()
for group; do
    [ -n "${wanted[$group]:-}" ] || fail "unknown group \"$group\": build, run, test and vm are known"
    for package in ${wanted[$group]}; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || fail "these Debian packages are missing: ${missing[*]}"
[ "$(id -u)" = 0 ] || fail "only root can install what is missing: ${missing[*]}"
printf 'installing from Debian: %s\n' "${missing[*]}"
# iperf3 asks whether to start a server; the answer is no.
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
