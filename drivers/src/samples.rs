//! Records, hosts and golden files that tests of drivers share.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use kernel::{
    KernelState, Netns, Object,
    object::{BridgePort, LinkKind},
    ruleset,
};
use model::{
    AddressFamily, DriverName, Endpoint, EndpointAddresses, EndpointId, ExposedPorts, Exposure,
    InterfaceName, IpNet, IpamConfig, Labels, Lifecycle, MacAddress, Network, NetworkId, NetworkName, NodeId,
    Pool, PublishedPorts, SandboxId, Scope, Subnet, Timestamp, Vni,
};

use crate::{Peer, Target};

/// An id whose every byte is this one.
pub(crate) const fn bytes(byte: u8) -> [u8; 32] {
    [byte; 32]
}

pub(crate) const fn node() -> NodeId {
    NodeId::from_bytes(bytes(0xaa))
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A network with these subnets, the first address of each its gateway's, and VNIs from 256 on.
pub(crate) fn network(driver: &str, number: u8, subnets: &[&str]) -> Network {
    let subnets: Vec<Subnet> = subnets
        .iter()
        .map(|text| text.parse().expect("a subnet"))
        .collect();
    let has = |family| subnets.iter().any(|subnet| subnet.family() == family);
    let first = u32::from(number) * 16 + 256;
    let vnis = (first..)
        .take(subnets.len())
        .map(|vni| Vni::new(vni).expect("in range"));
    Network {
        id: NetworkId::from_bytes(bytes(number)),
        name: NetworkName::new(format!("net{number}")).expect("a name"),
        driver: DriverName::new(driver).expect("a name"),
        scope: Scope::Local,
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        labels: Labels::new(),
        options: Labels::new(),
        enable_ipv4: has(AddressFamily::V4),
        enable_ipv6: has(AddressFamily::V6),
        internal: false,
        attachable: true,
        predefined: false,
        ipam: IpamConfig {
            driver: DriverName::new("default").expect("a name"),
            options: Labels::new(),
            subnets: Vec::new(),
        },
        vnis: vnis.collect(),
        config_only: false,
        config_from: None,
        found: None,
        pools: subnets.into_iter().map(pool).collect(),
    }
}

fn pool(subnet: Subnet) -> Pool {
    Pool {
        id: subnet.to_string(),
        space: None,
        subnet,
        ip_range: None,
        gateway: subnet.hosts().find(|address| *address != subnet.network()),
        aux_addresses: BTreeMap::new(),
    }
}

/// An endpoint with these addresses, and the Ethernet address that the first of them makes.
pub(crate) fn endpoint(network: &Network, number: u8, addresses: &[&str]) -> Endpoint {
    let nets: Vec<IpNet> = addresses
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    let mut wears = EndpointAddresses {
        mac: nets.first().map(|net| MacAddress::from_ip(net.addr())),
        ..EndpointAddresses::default()
    };
    for net in nets {
        match net {
            IpNet::V4(net) => wears.ipv4 = Some(net),
            IpNet::V6(net) => wears.ipv6 = Some(net),
        }
    }
    Endpoint {
        id: EndpointId::from_bytes(bytes(number)),
        network: network.id,
        sandbox: SandboxId::from_bytes(bytes(number)),
        container: None,
        node: node(),
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        name: format!("test{number}"),
        dns_names: Vec::new(),
        links: Labels::new(),
        addresses: wears,
        interface: None,
        gateway_priority: 0,
        options: Labels::new(),
        requested: Vec::new(),
        answer: None,
        lease: None,
        lease_v6: None,
    }
}

/// Published ports as they are written: `HOST_IP:HOST->CONTAINER/PROTOCOL`.
pub(crate) fn ports(text: &str) -> PublishedPorts {
    let (host, container) = text.split_once("->").expect("an arrow");
    let (ip, host) = host.rsplit_once(':').expect("an address and ports");
    let container = exposed(container);
    PublishedPorts {
        protocol: container.protocol,
        host_ip: ip.trim_matches(['[', ']']).parse().expect("an address"),
        host: host.parse().expect("a range"),
        container: container.ports,
        exposure: Exposure::Open,
    }
}

/// Exposed ports as they are written: `PORTS/PROTOCOL`.
pub(crate) fn exposed(text: &str) -> ExposedPorts {
    let (ports, protocol) = text.split_once('/').expect("a protocol");
    ExposedPorts {
        ports: ports.parse().expect("a range"),
        protocol: protocol.parse().expect("a protocol"),
    }
}

pub(crate) fn target(netns: &Path) -> Target {
    Target {
        netns: Some(netns.to_owned()),
        interface: InterfaceName::new("eth0").expect("a name"),
        ports: Vec::new(),
        exposed: Vec::new(),
        on_host: false,
    }
}

pub(crate) fn peer(endpoint: Endpoint, vtep: &str) -> Peer {
    Peer {
        endpoint: Arc::new(endpoint),
        vtep: vtep.parse().expect("an address"),
    }
}

/// Compares with a file in `drivers/golden`. With `UPDATE_GOLDEN` set, writes it instead.
pub(crate) fn assert_golden(name: &str, state: &KernelState) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    let text = text(state);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).expect("the folder is there");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "differs from {path:?}; UPDATE_GOLDEN=1 accepts it");
}

/// The same rules by way of iptables, with the base that they stand on, compared with a file in `drivers/golden/iptables`.
pub(crate) fn assert_golden_iptables(name: &str, base: &KernelState, state: &KernelState) {
    let items: Vec<_> = base
        .objects()
        .chain(state.objects())
        .filter_map(firewall)
        .collect();
    let [v4, v6] = kernel::linux::iptables::text(&items).expect("iptables has words for it");
    let text = format!("# iptables\n{v4}\n# ip6tables\n{v6}");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/iptables");
    let path = folder.join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(&path, &text).expect("the folder is there");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "differs from {path:?}; UPDATE_GOLDEN=1 accepts it");
}

/// A state for people to read: objects line by line, then the firewall in nft's syntax.
fn text(state: &KernelState) -> String {
    let lines = state.objects().filter_map(line).map(|line| line + "\n");
    let items: Vec<ruleset::Item> = state.objects().filter_map(firewall).collect();
    lines.collect::<String>() + &ruleset::text(&items)
}

fn firewall(object: &Object) -> Option<ruleset::Item> {
    match object {
        Object::Firewall(_, item) => Some(item.clone()),
        _ => None,
    }
}

fn line(object: &Object) -> Option<String> {
    Some(match object {
        Object::Firewall(..) => return None,
        Object::Namespace(path) => format!("namespace {}", path.display()),
        Object::Link(link) => {
            let some = |name: &str, value: Option<String>| value.map(|value| format!(" {name} {value}"));
            let parts = [
                some("mac", link.mac.map(|mac| mac.to_string())),
                some("mtu", link.mtu.map(|mtu| mtu.to_string())),
                some("master", link.master.as_ref().map(ToString::to_string)),
            ];
            let parts: String = parts.into_iter().flatten().collect();
            format!("{}: link {} {}{parts}", link.netns, link.name, kind(&link.kind))
        }
        Object::Address(o) => format!("{}: address {} on {}", o.netns, o.address, o.link),
        Object::Route(o) => format!("{}: route {} by {}", o.netns, o.destination, o.link),
        Object::Neighbor(o) => format!("{}: neighbour {} is {} on {}", o.netns, o.address, o.mac, o.link),
        Object::Proxy(o) => format!("{}: answers for {} on {}", o.netns, o.address, o.link),
        Object::Fdb(o) => {
            let behind = o.vtep.map(|vtep| format!(" at {vtep}")).unwrap_or_default();
            format!("{}: forwarding {} by {}{behind}", o.netns, o.mac, o.link)
        }
        Object::Sysctl(o) => format!("{}: sysctl {} = {}", o.netns, o.name, o.value),
    })
}

fn kind(kind: &LinkKind) -> String {
    match kind {
        LinkKind::Veth { peer, port } => {
            let mac = peer.mac.map(|mac| format!(" mac {mac}")).unwrap_or_default();
            format!("veth to {} in {}{mac}{}", peer.name, peer.netns, flags(*port))
        }
        LinkKind::Vxlan(vxlan) => format!(
            "vxlan {} port {} from {}{}{}",
            vxlan.vni,
            vxlan.port,
            vxlan.local.map(|address| address.to_string()).unwrap_or_default(),
            if vxlan.proxy { " proxy" } else { "" },
            if vxlan.learning { " learning" } else { "" },
        ),
        LinkKind::Upper(upper) => {
            let place = match &upper.lower_in {
                Netns::Host => String::new(),
                elsewhere => format!(" in {elsewhere}"),
            };
            format!("{:?} on {}{place}", upper.kind, upper.lower).to_lowercase()
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

fn flags(port: BridgePort) -> String {
    let flags = [
        (port.hairpin, " hairpin"),
        (port.isolated, " isolated"),
        (!port.flood, " no flood"),
        (!port.learning, " no learning"),
    ];
    flags
        .into_iter()
        .filter(|(on, _)| *on)
        .map(|(_, text)| text)
        .collect()
}
