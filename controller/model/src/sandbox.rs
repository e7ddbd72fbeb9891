//! A sandbox: a network namespace with its interfaces, routes, names and files.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{ContainerId, ExposedPorts, Lifecycle, NodeId, PublishedPorts, SandboxId, Timestamp};

/// A sandbox as recorded. Always local scope: a namespace lives on one host. Its endpoints are found by asking
/// which endpoints name it; they are not listed here, so the two can't disagree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Its identity.
    pub id: SandboxId,
    /// The container it is for, when an engine runs one.
    pub container: Option<ContainerId>,
    /// The host it is on.
    pub node: NodeId,
    /// How far its creation or removal has come.
    pub lifecycle: Lifecycle,
    /// When it was made.
    pub created: Timestamp,
    /// Its own namespace, or the host's.
    pub kind: SandboxKind,
    /// The container's host name, without domain.
    pub hostname: String,
    /// The container's domain, perhaps empty.
    pub domainname: String,
    /// Name service settings.
    pub dns: DnsConfig,
    /// Extra lines of the hosts file (`--add-host`).
    pub extra_hosts: Vec<HostEntry>,
    /// Folder that holds its hosts, resolv.conf and hostname files.
    pub files: PathBuf,
    /// Ports that `cnm-names` serves 127.0.0.11 on inside the namespace. Chosen when the sandbox is made and bound
    /// again after every restart, so that the redirect rules never change.
    pub dns_ports: DnsPorts,
    /// Ports of the host that lead into it, by way of whichever endpoint is its gateway. Decided when they are asked for
    /// and kept until they are given back.
    #[serde(default)]
    pub ports: Vec<PublishedPorts>,
    /// Ports it listens on, which links open between containers that else can't reach each other.
    #[serde(default)]
    pub exposed: Vec<ExposedPorts>,
    /// Containers of this host that it knows by further names (`--link` on the default bridge).
    #[serde(default)]
    pub links: Vec<SandboxLink>,
}

/// One `--link` of the default bridge: the sandbox finds the container under these names in its hosts file, wherever
/// the container is now, and reaches its exposed ports on a network that lets no two reach each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxLink {
    /// The container that is linked to.
    pub container: ContainerId,
    /// The names it is found by: the link's alias, its hostname, its name.
    pub names: Vec<String>,
}

/// Whose namespace a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "netns")]
pub enum SandboxKind {
    /// A namespace made for it and pinned at this path.
    Own(PathBuf),
    /// A namespace that somebody else made and will end.
    Foreign(ForeignNamespace),
    /// The host's own namespace: no interface, address or rule of ours goes in.
    Host,
}

/// A namespace that somebody else made, for a container that isn't ours. It is entered by its path and never pinned, so
/// that it ends when its owner says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignNamespace {
    /// By which it is entered: a bind mount such as `/run/netns/NAME`, or `/proc/PID/ns/net`.
    pub path: PathBuf,
    /// Which namespace that was when the sandbox was made: a path may lead to another one later. Empty while there is none
    /// yet, and nothing of ours is to go in.
    pub namespace: String,
    /// Who asked for it: `cni`, or another program's name.
    pub manager: String,
    /// What that calls the container.
    pub key: String,
    /// It takes interfaces from the host and gives them names, addresses and routes itself: of ours, only the name service
    /// is in there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dressed: bool,
}

impl ForeignNamespace {
    /// Whether the namespace has come.
    pub const fn is_entered(&self) -> bool {
        !self.namespace.is_empty()
    }
}

impl Sandbox {
    /// Where its namespace is entered; none for the host's own, and for one that is still to come.
    pub fn netns(&self) -> Option<&PathBuf> {
        match &self.kind {
            SandboxKind::Own(path) => Some(path),
            SandboxKind::Foreign(foreign) => foreign.is_entered().then_some(&foreign.path),
            SandboxKind::Host => None,
        }
    }

    /// Somebody else's namespace, if it is one.
    pub const fn foreign(&self) -> Option<&ForeignNamespace> {
        match &self.kind {
            SandboxKind::Foreign(foreign) => Some(foreign),
            SandboxKind::Own(_) | SandboxKind::Host => None,
        }
    }
}

/// `--dns`, `--dns-search`, `--dns-option`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Upstream servers; empty for the host's.
    pub servers: Vec<IpAddr>,
    /// Search domains; empty for the host's; a single `.` for none.
    pub search: Vec<String>,
    /// Options such as `ndots:2`; empty for the host's.
    pub options: Vec<String>,
}

/// One `--add-host NAME:ADDRESS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// The name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

/// The address that every sandbox's resolv.conf names.
pub const NAME_SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 11));

/// The mark of what the name service itself asks inside a sandbox, at the address where it is asked: another name server is
/// there in a sandbox that somebody else dresses, and answers what ours doesn't know.
pub const NAME_SERVER_MARK: u32 = 0x636e_6d35;

/// Where a sandbox with IPv6 can ask its name service over that family: an address of its own loopback interface, from
/// the range that anybody may use at home (RFC 4193). 127.0.0.11 is there in every sandbox, with IPv4 addresses or not.
pub const NAME_SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd63, 0x6e6d, 0, 0, 0, 0, 0, 0x11);

/// The UDP and the TCP port of a sandbox's name service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsPorts {
    /// UDP port.
    pub udp: u16,
    /// TCP port.
    pub tcp: u16,
}
