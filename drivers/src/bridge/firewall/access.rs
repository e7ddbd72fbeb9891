//! What leads to one endpoint, as elements.

use std::net::IpAddr;

use kernel::{
    Object,
    ruleset::{Mapped, Table, Value},
};
use model::{AddressFamily, ExposedPorts, IpNet, PublishedPorts, Subnet};

use super::{LINKS, OPENED, OWN, PORTS, PORTS_ANY, RANGES, RELAYED, element, of, on_host};

/// Ports of the host that lead to this address: an element for each, or one for all if their numbers stay.
pub(in crate::bridge) fn published(table: &Table, ports: &PublishedPorts, container: IpAddr) -> Vec<Object> {
    let family = AddressFamily::of(container);
    let protocol = || Value::Protocol(ports.protocol.number());
    if ports.host == ports.container && ports.host.count() > 1 {
        let key = vec![
            Value::Subnet(everywhere_or(ports.host_ip)),
            protocol(),
            Value::Ports(ports.host.first(), ports.host.last()),
        ];
        let to = Mapped::Data(vec![Value::Address(container)]);
        return vec![on_host(element(table, &of(RANGES, family), key, to))];
    }
    let any = ports.host_ip.is_unspecified();
    let set = of(if any { PORTS_ANY } else { PORTS }, family);
    let pairs = ports.host.iter().zip(ports.container.iter());
    let elements = pairs.map(|(host, port)| {
        let address = (!any).then_some(Value::Address(ports.host_ip));
        let key = address
            .into_iter()
            .chain([protocol(), Value::Port(host)])
            .collect();
        let to = Mapped::Data(vec![Value::Address(container), Value::Port(port)]);
        on_host(element(table, &set, key, to))
    });
    elements.collect()
}

/// Ports of the host at which the relay listens.
pub(in crate::bridge) fn relayed(table: &Table, ports: &PublishedPorts) -> Object {
    let key = vec![
        Value::Subnet(everywhere_or(ports.host_ip)),
        Value::Protocol(ports.protocol.number()),
        Value::Ports(ports.host.first(), ports.host.last()),
    ];
    on_host(element(table, &of(RELAYED, ports.family()), key, Mapped::Nothing))
}

/// An address that uses its own published ports.
pub(in crate::bridge) fn own(table: &Table, container: IpAddr) -> Object {
    let key = vec![Value::Address(container); 2];
    let set = of(OWN, AddressFamily::of(container));
    on_host(element(table, &set, key, Mapped::Nothing))
}

/// All addresses of a family if it is the unspecified one, else this address alone.
fn everywhere_or(address: IpAddr) -> Subnet {
    let length = match (address.is_unspecified(), address) {
        (true, _) => 0,
        (false, IpAddr::V4(_)) => 32,
        (false, IpAddr::V6(_)) => 128,
    };
    let net = IpNet::new(address, length).expect("its own family's length, or none");
    Subnet::new(net).expect("no host bits are behind it")
}

/// Ports of this address that are open to everybody who has a route to it.
pub(in crate::bridge) fn opened<'a>(
    table: &Table,
    ports: impl IntoIterator<Item = &'a PublishedPorts>,
    container: IpAddr,
) -> Vec<Object> {
    let set = of(OPENED, AddressFamily::of(container));
    let exposed = ports.into_iter().map(|ports| ExposedPorts {
        ports: ports.container,
        protocol: ports.protocol,
    });
    let elements = ExposedPorts::united(exposed).into_iter().map(|ports| {
        let key = vec![
            Value::Subnet(everywhere_or(container)),
            Value::Protocol(ports.protocol.number()),
            Value::Ports(ports.ports.first(), ports.ports.last()),
        ];
        on_host(element(table, &set, key, Mapped::Nothing))
    });
    elements.collect()
}

/// Ports of `to` that `from` reaches although their network lets no two reach each other.
pub(in crate::bridge) fn links(
    table: &Table,
    from: IpAddr,
    to: IpAddr,
    ports: impl IntoIterator<Item = ExposedPorts>,
) -> Vec<Object> {
    let set = of(LINKS, AddressFamily::of(to));
    let elements = ExposedPorts::united(ports).into_iter().map(|ports| {
        let key = vec![
            Value::Subnet(everywhere_or(from)),
            Value::Subnet(everywhere_or(to)),
            Value::Protocol(ports.protocol.number()),
            Value::Ports(ports.ports.first(), ports.ports.last()),
        ];
        on_host(element(table, &set, key, Mapped::Nothing))
    });
    elements.collect()
}
