//! Every option of the daemon in one table: ours, and dockerd's that we don't have (yet).
//!
//! A flag and a `daemon.json` key of one row are the same option. What dockerd knows and we don't is taken with a
//! warning, so that an existing command line or file still starts us; what nobody knows is refused.

/// What an option's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--flag`, `--flag=false`; JSON true or false.
    Switch,
    /// One text.
    Text,
    /// One number.
    Number,
    /// Repeated text; a JSON list.
    List,
    /// Repeated `key=value`; a JSON object.
    Pairs,
    /// Repeated `driver=key=value`; a JSON object of objects.
    DriverPairs,
    /// Repeated comma lists of `key=value`; a JSON list of objects.
    Objects,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Key in `daemon.json`.
    pub key: &'static str,
    /// Long flag.
    pub flag: &'static str,
    /// Short flag.
    pub short: Option<char>,
    /// Its value.
    pub kind: Kind,
    /// What `--help` says; none for an option that is dockerd's alone.
    pub help: Option<&'static str>,
}

const fn ours(
    key: &'static str,
    flag: &'static str,
    short: Option<char>,
    kind: Kind,
    help: &'static str,
) -> Row {
    Row {
        key,
        flag,
        short,
        kind,
        help: Some(help),
    }
}

const fn theirs(key: &'static str, flag: &'static str, kind: Kind) -> Row {
    Row {
        key,
        flag,
        short: None,
        kind,
        help: None,
    }
}

use Kind::{DriverPairs, List, Number, Objects, Pairs, Switch, Text};

/// All of them: ours first.
pub const ROWS: &[Row] = &[
    ours(
        "hosts",
        "host",
        Some('H'),
        List,
        "Socket to listen on, e.g. unix:///run/cnm/cnm.sock (repeat for several)",
    ),
    ours("group", "group", Some('G'), Text, "Group that may use the socket"),
    ours(
        "data-root",
        "data-root",
        None,
        Text,
        "Folder of what must survive a reboot",
    ),
    ours("exec-root", "exec-root", None, Text, "Folder of what must not"),
    ours(
        "pidfile",
        "pidfile",
        Some('p'),
        Text,
        "File for the daemon's process id",
    ),
    ours(
        "debug",
        "debug",
        Some('D'),
        Switch,
        "Log everything, as --log-level debug",
    ),
    ours(
        "log-level",
        "log-level",
        Some('l'),
        Text,
        "debug, info, warn, error or fatal",
    ),
    ours(
        "userns-remap",
        "userns-remap",
        None,
        Text,
        "User and group whose subordinate numbers containers' users get: \"default\", USER or USER:GROUP",
    ),
    ours(
        "cgroup-parent",
        "cgroup-parent",
        None,
        Text,
        "Cgroup that containers' cgroups are made in",
    ),
    ours(
        "shim-path",
        "shim-path",
        None,
        Text,
        "Folder of cnm-shim and cnm-names, if not beside cnmd",
    ),
    ours(
        "docker-plugin",
        "docker-plugin",
        None,
        Switch,
        "Be a plugin of the Docker daemon on this host, which then has networks with -d cnm",
    ),
    ours(
        "docker-socket",
        "docker-socket",
        None,
        Text,
        "Where that Docker daemon listens (default /run/docker.sock): it tells what its containers are called",
    ),
    ours(
        "labels",
        "label",
        None,
        List,
        "Label of this daemon, key=value (repeat)",
    ),
    ours(
        "cluster-store",
        "cluster-store",
        None,
        Text,
        "Store of global networks: etcd://HOST:PORT,… or consul://HOST:PORT",
    ),
    ours(
        "cluster-advertise",
        "cluster-advertise",
        None,
        Text,
        "Address that other hosts reach this one by, or its interface: ADDRESS[:PORT]",
    ),
    ours(
        "bridge",
        "bridge",
        Some('b'),
        Text,
        "Device of the default bridge network, or \"none\" for no such network",
    ),
    ours(
        "bip",
        "bip",
        None,
        Text,
        "Address and prefix length of the default bridge, e.g. 172.17.0.1/16",
    ),
    ours(
        "fixed-cidr",
        "fixed-cidr",
        None,
        Text,
        "Part of the default bridge's subnet that addresses are taken from",
    ),
    ours(
        "icc",
        "icc",
        None,
        Switch,
        "Containers on the default bridge reach each other",
    ),
    ours(
        "ip-masq",
        "ip-masq",
        None,
        Switch,
        "Masquerade what leaves the default bridge",
    ),
    ours("mtu", "mtu", None, Number, "MTU of the default bridge in bytes"),
    ours("dns", "dns", None, List, "DNS server for containers (repeat)"),
    ours(
        "dns-opts",
        "dns-opt",
        None,
        List,
        "Resolver option for containers (repeat)",
    ),
    ours(
        "dns-search",
        "dns-search",
        None,
        List,
        "Search domain for containers (repeat)",
    ),
    ours(
        "host-gateway-ips",
        "host-gateway-ip",
        None,
        List,
        "What host-gateway means in --add-host, for each family; the default bridge's gateway if not given (repeat)",
    ),
    ours(
        "default-address-pools",
        "default-address-pool",
        None,
        Objects,
        "Pool that user networks take subnets from: base=CIDR,size=LENGTH (repeat)",
    ),
    ours(
        "metrics-addr",
        "metrics-addr",
        None,
        Text,
        "HOST:PORT to serve figures for Prometheus on, beside /metrics of the socket",
    ),
    ours(
        "bip6",
        "bip6",
        None,
        Text,
        "IPv6 address and prefix length of the default bridge, e.g. fd00:17::1/64",
    ),
    ours(
        "default-gateway",
        "default-gateway",
        None,
        Text,
        "IPv4 gateway of containers on the default bridge, if not the bridge",
    ),
    ours(
        "default-gateway-v6",
        "default-gateway-v6",
        None,
        Text,
        "IPv6 gateway of containers on the default bridge, if not the bridge",
    ),
    ours(
        "default-network-opts",
        "default-network-opt",
        None,
        DriverPairs,
        "Option of every new network of a driver: DRIVER=KEY=VALUE (repeat)",
    ),
    ours(
        "firewall",
        "firewall",
        None,
        Text,
        "Whose rules published ports obey: open (ours alone) or host (the host's input policy too)",
    ),
    ours(
        "firewall-backend",
        "firewall-backend",
        None,
        Text,
        "What makes the firewall rules: nftables or iptables",
    ),
    ours(
        "fixed-cidr-v6",
        "fixed-cidr-v6",
        None,
        Text,
        "Part of the default bridge's IPv6 subnet that addresses are taken from",
    ),
    ours(
        "ip",
        "ip",
        None,
        Text,
        "Address of the host that ports are published on unless one is given",
    ),
    ours(
        "ip-forward",
        "ip-forward",
        None,
        Switch,
        "Switch the host's forwarding on",
    ),
    ours(
        "ip6tables",
        "ip6tables",
        None,
        Switch,
        "Taken for dockerd; rules of both families follow --iptables",
    ),
    ours(
        "iptables",
        "iptables",
        None,
        Switch,
        "Make firewall rules on the host",
    ),
    ours("ipv6", "ipv6", None, Switch, "Give the default bridge IPv6"),
    ours(
        "userland-proxy",
        "userland-proxy",
        None,
        Switch,
        "Taken for dockerd; no port has a process of its own",
    ),
    ours(
        "tls",
        "tls",
        None,
        Switch,
        "Speak TLS on TCP without asking clients for certificates",
    ),
    ours(
        "tlsverify",
        "tlsverify",
        None,
        Switch,
        "Speak TLS on TCP with clients whose certificates --tlscacert vouches for",
    ),
    ours(
        "tlscacert",
        "tlscacert",
        None,
        Text,
        "Authority of clients' certificates, a PEM file",
    ),
    ours(
        "tlscert",
        "tlscert",
        None,
        Text,
        "The daemon's certificate, a PEM file",
    ),
    ours("tlskey", "tlskey", None, Text, "The daemon's key, a PEM file"),
    ours(
        "insecure-tcp",
        "insecure-tcp",
        None,
        Switch,
        "Listen on TCP though everybody who can reach the port becomes root on this host",
    ),
    theirs("add-runtime", "add-runtime", List),
    theirs("allow-direct-routing", "allow-direct-routing", Switch),
    theirs(
        "allow-nondistributable-artifacts",
        "allow-nondistributable-artifacts",
        List,
    ),
    theirs("api-cors-header", "api-cors-header", Text),
    theirs("authorization-plugins", "authorization-plugin", List),
    theirs("bridge-accept-fwmark", "bridge-accept-fwmark", Text),
    theirs("builder", "builder", Pairs),
    theirs("cdi-spec-dirs", "cdi-spec-dir", List),
    theirs("cluster-store-opts", "cluster-store-opt", Pairs),
    theirs("containerd", "containerd", Text),
    theirs("containerd-namespace", "containerd-namespace", Text),
    theirs(
        "containerd-plugins-namespace",
        "containerd-plugins-namespace",
        Text,
    ),
    theirs("cpu-rt-period", "cpu-rt-period", Number),
    theirs("cpu-rt-runtime", "cpu-rt-runtime", Number),
    theirs("cri-containerd", "cri-containerd", Switch),
    theirs("data-path-addr", "data-path-addr", Text),
    theirs("default-cgroupns-mode", "default-cgroupns-mode", Text),
    theirs("default-ipc-mode", "default-ipc-mode", Text),
    ours(
        "default-runtime",
        "default-runtime",
        None,
        Text,
        "Runtime of containers, if another is ever there: cnm-shim; runc means it, too",
    ),
    theirs("default-shm-size", "default-shm-size", Text),
    theirs("default-ulimits", "default-ulimit", Pairs),
    theirs("exec-opts", "exec-opt", List),
    theirs("experimental", "experimental", Switch),
    ours(
        "features",
        "feature",
        None,
        Pairs,
        "Taken for dockerd; none of its features is here",
    ),
    theirs("graph", "graph", Text),
    theirs("http-proxy", "http-proxy", Text),
    theirs("https-proxy", "https-proxy", Text),
    theirs("init", "init", Switch),
    theirs("init-path", "init-path", Text),
    ours(
        "insecure-registries",
        "insecure-registry",
        None,
        List,
        "Registry that needs no certificate, HOST[:PORT] or a subnet (repeat)",
    ),
    theirs("ip-forward-no-drop", "ip-forward-no-drop", Switch),
    ours(
        "live-restore",
        "live-restore",
        None,
        Switch,
        "Taken for dockerd; containers always go on while the daemon is away",
    ),
    theirs("log-driver", "log-driver", Text),
    theirs("log-format", "log-format", Text),
    theirs("log-opts", "log-opt", Pairs),
    ours(
        "max-concurrent-downloads",
        "max-concurrent-downloads",
        None,
        Number,
        "Taken for dockerd; nothing is downloaded yet",
    ),
    ours(
        "max-concurrent-uploads",
        "max-concurrent-uploads",
        None,
        Number,
        "Taken for dockerd; nothing is uploaded yet",
    ),
    ours(
        "max-download-attempts",
        "max-download-attempts",
        None,
        Number,
        "Taken for dockerd; nothing is downloaded yet",
    ),
    theirs("network-control-plane-mtu", "network-control-plane-mtu", Number),
    theirs("no-new-privileges", "no-new-privileges", Switch),
    theirs("no-proxy", "no-proxy", Text),
    theirs("node-generic-resources", "node-generic-resource", List),
    theirs("oom-score-adjust", "oom-score-adjust", Number),
    theirs("proxies", "proxy", Pairs),
    theirs("raw-logs", "raw-logs", Switch),
    ours(
        "registry-mirrors",
        "registry-mirror",
        None,
        List,
        "Registry that has what Docker Hub has, a URL (repeat); for info only, nothing is downloaded yet",
    ),
    theirs("runtimes", "runtime", Pairs),
    theirs("seccomp-profile", "seccomp-profile", Text),
    theirs("selinux-enabled", "selinux-enabled", Switch),
    ours(
        "shutdown-timeout",
        "shutdown-timeout",
        None,
        Number,
        "Taken for dockerd; each container is stopped by its own timeout",
    ),
    theirs("storage-driver", "storage-driver", Text),
    theirs("storage-opts", "storage-opt", List),
    theirs(
        "swarm-default-advertise-addr",
        "swarm-default-advertise-addr",
        Text,
    ),
    theirs("userland-proxy-path", "userland-proxy-path", Text),
];

/// The row of a `daemon.json` key.
pub fn by_key(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

/// The known key nearest to one that nobody knows, if any is near.
pub fn nearest_key(key: &str) -> Option<&'static str> {
    let near = |row: &&Row| row.help.is_some() || row.key.len() > 3;
    ROWS.iter()
        .filter(near)
        .map(|row| (distance(key, row.key), row.key))
        .min()
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .map(|(_, known)| known)
}

/// Levenshtein's edit distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_rows_share_a_key_or_a_flag() {
        let keys: BTreeSet<_> = ROWS.iter().map(|row| row.key).collect();
        let flags: BTreeSet<_> = ROWS.iter().map(|row| row.flag).collect();
        assert_eq!((keys.len(), flags.len()), (ROWS.len(), ROWS.len()));
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        assert_eq!(nearest_key("cluster-stor"), Some("cluster-store"));
        assert_eq!(nearest_key("databroot"), Some("data-root"));
        assert_eq!(nearest_key("zzzzzz"), None);
    }
}
