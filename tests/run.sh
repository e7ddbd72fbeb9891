#!/usr/bin/env bash
# Every check and every test, on a machine with nothing but Debian 12, a Rust toolchain and root.
#
#   tests/run.sh                 checks, then all tests
#   tests/run.sh --check         checks only: format, lints, documentation, dependencies
#   tests/run.sh --vm [SUITE…]   only what this machine's kernel may lack, in an emulated machine: see tests/vm.sh
#   tests/run.sh [ARGUMENT…]     more arguments go to the test runner, e.g. -p store or --test demo
#
# What is missing is installed from Debian; what Debian 12 lacks is unpacked into a cache folder
# (CNM_TEST_CACHE, default /var/cache/cnm-tests). A test that can't run here fails: nothing is skipped in silence.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*"; }

[ "$(id -u)" = 0 ] || fail "namespaces and mounts need root: try \"sudo $0\""
export PATH="$HOME/.cargo/bin:$PATH"
command -v cargo >/dev/null || fail "a Rust toolchain is missing: see https://rustup.rs"

[ "${1:-}" != --vm ] || { shift; exec tests/vm.sh "$@"; }

only_check=
[ "${1:-}" != --check ] || { only_check=1; shift; }

export CNM_TEST_CACHE=${CNM_TEST_CACHE:-/var/cache/cnm-tests}
export CNM_TEST_REQUIRE=1
deploy/needs.sh build run test
tests/packages.sh

say "format"
cargo fmt --all --check

say "dependencies (licences, sources, bans and their wrappers)"
deny=$CNM_TEST_CACHE/cargo-deny/bin/cargo-deny
if ! command -v cargo-deny >/dev/null && [ ! -x "$deny" ]; then
    # Built away from the tree, once for this machine.
    CARGO_TARGET_DIR=$CNM_TEST_CACHE/cargo-deny/target cargo install --quiet --locked --no-default-features \
        --root "$CNM_TEST_CACHE/cargo-deny" cargo-deny
    rm -rf "$CNM_TEST_CACHE/cargo-deny/target"
fi
export PATH="$PATH:${deny%/*}"
# The crates of every platform are looked at, also of those that a build here never fetches.
cargo fetch --locked --quiet
cargo deny --offline --log-level error check bans licenses sources
if advisories=$(timeout 60 cargo deny --log-level error check advisories 2>&1); then
    printf '%s\n' "$advisories"
elif grep -q 'failed to fetch advisory database' <<<"$advisories"; then
    echo "advisories: NOT CHECKED, the database can't be fetched from here"
else
    printf '%s\n' "$advisories" >&2
    fail "an advisory applies to a dependency"
fi

say "units"
tests/units.sh

say "lints"
cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

[ -z "$only_check" ] || exit 0

say "programs"
cargo build --workspace --bins --locked --quiet

say "tests"
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked "$@"
else
    cargo test --workspace --locked "$@" -- --test-threads=1
fi
