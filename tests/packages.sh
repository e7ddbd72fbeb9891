#!/usr/bin/env bash
# Brings programs that Debian 12 lacks, or has too old, from other Debian releases into a cache folder.
#
#   tests/packages.sh [busybox] [consul] [docker] [etcd]     (all of them when none is named)
#
# Nothing is installed: a package is downloaded with apt's signature checks, in a state folder of our own, and unpacked
# with `dpkg -x`. The machine's /etc/apt is read (for its mirror) and never written.
#
#   busybox   1.37 from trixie: bookworm's static build crashes in wget
#   consul    1.8.7 from bullseye, the last one Debian carried
#   docker    the docker command line 26 from trixie
#   etcd      3.4 from bookworm: unpacked, not installed, so that no service of that name starts on this machine
#
# CNM_TEST_CACHE  the cache folder (default /var/cache/cnm-tests)
set -euo pipefail

cache=${CNM_TEST_CACHE:-/var/cache/cnm-tests}

# name → suite, package, program inside it
declare -A suite=([busybox]=trixie [consul]=bullseye [docker]=trixie [etcd]=bookworm)
declare -A package=([busybox]=busybox-static [consul]=consul [docker]=docker-cli [etcd]=etcd-server)
declare -A program=([busybox]=usr/bin/busybox [consul]=usr/bin/consul [docker]=usr/bin/docker [etcd]=usr/bin/etcd)

fail() { printf 'tests/packages.sh: %s\n' "$*" >&2; exit 1; }

known_mirror() {
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL) $(COMPONENT)' 'Identifier: Packages' 2>/dev/null |
        awk '$2 == "Debian" && $3 == "Debian" && $4 == "main" { print $1; exit }'
}

# The mirror that this machine uses for its own release. A machine that never fetched its package lists knows none yet.
mirror() {
    local uri
    uri=$(known_mirror)
    [ -n "$uri" ] || { apt-get -qq update && uri=$(known_mirror); }
    [ -n "$uri" ] || fail "apt knows no Debian mirror: its sources name none"
    printf '%s\n' "$uri"
}

# An apt of our own for one suite: its lists, cache and sources lie under the cache folder.
apt_of() {
    local state=$cache/apt/$1
    shift
    apt-get -qq \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$state/state" -o Dir::State::status=/dev/null -o Dir::Cache="$state/cache" \
        -o Acquire::Languages=none -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}

refresh() {
    local state=$cache/apt/$1
    mkdir -p "$state/state/lists/partial" "$state/cache/archives/partial"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$(mirror)" "$1" \
        >"$state/sources.list"
    apt_of "$1" update || fail "the package lists of $1 can't be fetched"
}

bring() {
    local name=$1 target=$cache/$1 from=${suite[$1]} work
    [ -x "$target/${program[$name]}" ] && return
    [ -n "${refreshed[$from]:-}" ] || { refresh "$from"; refreshed[$from]=1; }
    work=$(mktemp -d "$cache/.$name.XXXXXX")
    (cd "$work" && apt_of "$from" download "${package[$name]}") || fail "package ${package[$name]} of $from can't be fetched"
    mkdir "$work/root"
    dpkg -x "$work"/*.deb "$work/root"
    [ -x "$work/root/${program[$name]}" ] || fail "package ${package[$name]} of $from has no ${program[$name]}"
    rm -rf "$target"
    mv -T "$work/root" "$target"
    rm -rf "$work"
    printf 'brought %s from %s into %s\n' "${package[$name]}" "$from" "$target"
}

declare -A refreshed=()
mkdir -p "$cache"
trap 'rm -rf "$cache"/.*.??????' EXIT
exec 9>"$cache/.lock"
flock 9
[ $# -gt 0 ] || set -- busybox consul docker etcd
for name; do
    [ -n "${suite[$name]:-}" ] || fail "unknown package \"$name\": busybox, consul, docker and etcd are known"
    bring "$name"
done
