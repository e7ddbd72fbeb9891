#!/usr/bin/env bash
# Brings programs that Debian 12 lacks, or has too old, from other Debian releases into a cache folder.
#
#   tests/packages.sh [busybox] [compose] [consul] [dnsmasq] [docker] [docker-28] [docker-py] [dockerd] [dockerd-26] [etcd] [firewalld] [ovn] [podman] [registry] [ufw]
#                                                            (all of these when none is named)
#   tests/packages.sh dockerd-28                             (one more neighbour for the suite "beside")
#   tests/packages.sh linux qemu                             (what tests/vm.sh needs besides)
#
# Nothing is installed: a package is downloaded with apt's signature checks, in a state folder of our own, and unpacked
# with `dpkg -x`. The machine's /etc/apt is read (for its mirror) and never written.
#
#   busybox   1.37 from trixie: bookworm's static build crashes in wget
#   compose   docker compose 2.40 from sid
#   consul    1.8.7 from bullseye, the last one Debian carried
#   dnsmasq   2.90 from bookworm, a DHCP server, with its libraries
#   docker    the docker command line 26 from trixie; docker-28 from sid; the one of dockerd is the old one, 20.10
#   docker-py the Python library 7.1 from trixie, with what it uses
#   dockerd   20.10 from bookworm with containerd and runc; dockerd-26 from trixie and dockerd-28 from sid lie over it
#   etcd      3.4 from bookworm: unpacked, not installed, so that no service of that name starts on this machine
#   firewalld 1.3 from bookworm with a message bus and what else of it is no part of every machine
#   ufw       0.36 from bookworm; neither is installed, because their services would start on this machine
#   podman    4.3 from bookworm with runc, conmon and the plugins of the CNI project
#   linux     Debian's cloud kernel of bookworm with its modules
#   ovn       23.03 from bookworm with its driver for Docker, a plugin that others wrote, and Open vSwitch
#   registry  Debian's docker-registry 2.8 from bookworm
#   qemu      an emulated machine, from bookworm, with those of its libraries that this machine lacks
#
# CNM_TEST_CACHE  the cache folder (default /var/cache/cnm-tests)
set -euo pipefail

cache=${CNM_TEST_CACHE:-/var/cache/cnm-tests}

# name → suite, package, program inside it
declare -A suite=([busybox]=trixie [consul]=bullseye [dnsmasq]=bookworm [docker]=trixie [etcd]=bookworm [linux]=bookworm [qemu]=bookworm)
declare -A package=([busybox]=busybox-static [consul]=consul [docker]=docker-cli
    [dnsmasq]="dnsmasq-base libnetfilter-conntrack3 libnfnetlink0 libdbus-1-3 libidn2-0 libunistring2 libmnl0
        libnftables1 libnftnl11 libjansson4" [etcd]=etcd-server
    [linux]=linux-image-cloud-amd64 [qemu]=qemu-system-x86)
suite+=([docker-28]=sid [docker-py]=trixie)
package+=([docker-28]=docker-cli)
package+=([docker-py]="python3-docker python3-requests python3-urllib3 python3-websocket python3-certifi
    python3-charset-normalizer python3-idna python3-packaging")
declare -A program=([busybox]=usr/bin/busybox [consul]=usr/bin/consul [dnsmasq]=usr/sbin/dnsmasq [docker]=usr/bin/docker [etcd]=usr/bin/etcd
    [linux]=boot/vmlinuz [qemu]=usr/bin/qemu-system-x86_64)

program+=([docker-28]=usr/bin/docker [docker-py]=usr/lib/python3/dist-packages/docker/client.py)

# Neighbours of ours on a host of the lab: whole package trees, mounted over the machine's own.
suite+=([dockerd]=bookworm [dockerd-26]=trixie [dockerd-28]=sid [firewalld]=bookworm [ufw]=bookworm)
package+=([dockerd]="docker.io containerd runc tini libdevmapper1.02.1" [dockerd-26]=docker.io [dockerd-28]=docker.io
    [firewalld]="firewalld python3-firewall python3-nftables python3-dbus python3-gi python3-cap-ng gir1.2-glib-2.0
        libgirepository-1.0-1 libglib2.0-0 dbus-daemon dbus-bin libdbus-1-3 libapparmor1 libaudit1 libcap-ng0"
    [ufw]=ufw)
suite+=([compose]=sid)
package+=([compose]=docker-compose)
program+=([compose]=usr/libexec/docker/cli-plugins/docker-compose)
suite+=([registry]=bookworm)
package+=([registry]=docker-registry)
program+=([registry]=usr/bin/docker-registry)
suite+=([podman]=bookworm)
package+=([podman]="podman runc conmon containernetworking-plugins golang-github-containers-common
        golang-github-containers-image libgpgme11 libassuan0 libsubid4 libglib2.0-0 libdevmapper1.02.1")
program+=([podman]=usr/bin/podman)
suite+=([compose]=sid)
package+=([compose]=docker-compose)
program+=([compose]=usr/libexec/docker/cli-plugins/docker-compose)
program+=([dockerd]=usr/sbin/dockerd [dockerd-26]=usr/sbin/dockerd [dockerd-28]=usr/sbin/dockerd
    [firewalld]=usr/sbin/firewalld [ufw]=usr/sbin/ufw)

# OVN's driver for Docker with all that it runs on.
suite+=([ovn]=bookworm)
package+=([ovn]="ovn-docker ovn-central ovn-host openvswitch-switch python3-flask")
program+=([ovn]=usr/bin/ovn-docker-overlay-driver)

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

# An apt of our own for one suite: its lists, cache and sources lie under the cache folder. Lists of sid are valid for a
# week, and a mirror may be older than that: what is signed is taken.
apt_of() {
    local state=$cache/apt/$1
    shift
    apt-get -qq \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$state/state" -o Dir::State::status=/dev/null -o Dir::Cache="$state/cache" \
        -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root \
        -o Acquire::Retries=3 "$@"
}

refresh() {
    local state=$cache/apt/$1
    mkdir -p "$state/state/lists/partial" "$state/cache/archives/partial"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$(mirror)" "$1" \
        >"$state/sources.list"
    apt_of "$1" update || fail "the package lists of $1 can't be fetched"
}

# Whether what was brought is there and, if it needs libraries of this machine, still finds them.
is_there() {
    local root=$cache/$1
    case $1 in
        linux | docker-py) [ -e "$root/${program[$1]}" ] ;;
        qemu) [ -x "$root/${program[$1]}" ] &&
            LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu \
                "$root/${program[$1]}" --version >/dev/null 2>&1 ;;
        *) [ -x "$root/${program[$1]}" ] ;;
    esac
}

# Downloads a package into the current folder.
download() {
    local name=$1 from=${suite[$1]}
    case $name in
        # The package of that name only names the newest one.
        linux)
            apt_of "$from" download "${package[$name]}" || return
            set -- "$(dpkg-deb -f ./*.deb Depends | sed -n 's/^\(linux-image-[^ ,]*\).*/\1/p')"
            rm ./*.deb
            apt_of "$from" download "$1" ;;
        # With what this machine lacks of what they need.
        qemu | ovn)
            mkdir partial
            apt_of "$from" -y --no-install-recommends --download-only \
                -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache::archives="$PWD" \
                install ${package[$name]} >/dev/null ;;
        # One or more, separated by blanks.
        *) apt_of "$from" download ${package[$name]} ;;
    esac
}

bring() {
    local name=$1 target=$cache/$1 from=${suite[$1]} work archive
    ! is_there "$name" || return 0
    [ -n "${refreshed[$from]:-}" ] || { refresh "$from"; refreshed[$from]=1; }
    work=$(mktemp -d "$cache/.$name.XXXXXX")
    (cd "$work" && download "$name") || fail "package ${package[$name]} of $from can't be fetched"
    mkdir "$work/root"
    for archive in "$work"/*.deb; do dpkg -x "$archive" "$work/root"; done
    # Debian's folders have moved below /usr, while some packages still name them without it.
    case $name in
        dnsmasq | dockerd* | firewalld | ovn | podman | ufw)
            [ ! -d "$work/root/lib" ] || { cp -a "$work/root/lib" "$work/root/usr" && rm -r "$work/root/lib"; } ;;
    esac
    [ "$name" != linux ] || mv "$work"/root/boot/vmlinuz-* "$work/root/boot/vmlinuz"
    [ -e "$work/root/${program[$name]}" ] || fail "package ${package[$name]} of $from has no ${program[$name]}"
    rm -rf "$target"
    mv -T "$work/root" "$target"
    rm -rf "$work"
    is_there "$name" || fail "${program[$name]} of package ${package[$name]} does not run here"
    printf 'brought %s from %s into %s\n' "${package[$name]}" "$from" "$target"
}

declare -A refreshed=()
mkdir -p "$cache"
trap 'rm -rf "$cache"/.*.??????' EXIT
exec 9>"$cache/.lock"
flock 9
[ $# -gt 0 ] || set -- busybox compose consul dnsmasq docker docker-28 docker-py dockerd dockerd-26 etcd firewalld ovn podman registry ufw
for name; do
    [ -n "${suite[$name]:-}" ] || fail "unknown package \"$name\": ${!suite[*]} are known"
    bring "$name"
done
