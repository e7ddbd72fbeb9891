#!/usr/bin/env bash
# Our figures beside the same work done by hand, interleaved in one run; beside Debian's dockerd, in namespaces of its
# own, and beside podman where it is on PATH.
#
#   tests/bench.sh [--samples N] [--seconds S] [--scale N] [--only NAME] [--json]
#
# Prints a Markdown table, and with --json the figures behind it. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$HOME/.cargo/bin:$PATH"
export CNM_TEST_CACHE=${CNM_TEST_CACHE:-/var/cache/cnm-tests}
deploy/needs.sh build run test
tests/packages.sh busybox docker dockerd etcd
cargo build --release --locked --quiet --bin cnm --bin cnmd --bin cnm-names --bin cnm-shim --bin cnm-bench
printf '%s, %s, %s cores, Linux %s\n\n' "$(date -u +%F)" "$(. /etc/os-release; echo "$PRETTY_NAME")" "$(nproc)" "$(uname -r)"
exec target/release/cnm-bench "$@"
