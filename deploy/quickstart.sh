#!/usr/bin/env bash
# From a fresh clone to two hosts that share an overlay network: installs what is missing from Debian 12, builds the
# release programs and runs `cnm demo`.
#
#   deploy/quickstart.sh [--store etcd|consul|embedded] [--keep]
#
# Everything after the build happens in network namespaces of the demo's own; nothing stays unless --keep is given.
# CNM_TEST_CACHE names the folder for programs that Debian 12 itself lacks (default /var/cache/cnm-tests).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'deploy/quickstart.sh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "namespaces and mounts need root: try \"sudo $0\""
[ "$(uname -s)" = Linux ] || fail "only Linux has network namespaces"
export PATH="$HOME/.cargo/bin:$PATH"
command -v cargo >/dev/null || fail "a Rust toolchain is missing: see https://rustup.rs"

store=etcd previous=
for argument; do
    case $argument in
    --store=*) store=${argument#--store=} ;;
    *) [ "$previous" = --store ] && store=$argument ;;
    esac
    previous=$argument
done

deploy/needs.sh build run
case $store in
embedded) tests/packages.sh busybox ;;
etcd | consul) tests/packages.sh busybox "$store" ;;
*) fail "unknown store \"$store\": etcd, consul and embedded are known" ;;
esac

cargo build --release --locked --bin cnm --bin cnmd --bin cnm-names --bin cnm-shim
exec target/release/cnm demo "$@"
