//! Pure: the firewall of a sandbox, which sends 127.0.0.11:53 to the ports that its name service has.
//!
//! So a container may bind port 53 itself. A late answer, whose connection is forgotten, gets its source back too.
//! 127.0.0.11 is there without any IPv4 address; a sandbox with IPv6 has an address of that family as well, for clients
//! that speak nothing else.

use std::net::{IpAddr, Ipv4Addr};

use kernel::ruleset::{
    Action, Base, Chain, ChainKind, Family, Field, Hook, Item, NatTarget, Policy, Rule, Table, Test, Value,
};
use model::{AddressFamily, DnsPorts, NAME_SERVER_V6};

/// The address that every sandbox's resolv.conf names.
pub(crate) const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

const UDP: u8 = 17;
const TCP: u8 = 6;
const DOMAIN: u16 = 53;

/// The table of one family with its two chains.
pub(crate) fn items(ports: DnsPorts, of: AddressFamily) -> Vec<Item> {
    let (family, server) = match of {
        AddressFamily::V4 => (Family::Ip, NAME_SERVER),
        AddressFamily::V6 => (Family::Ip6, IpAddr::V6(NAME_SERVER_V6)),
    };
    let table = Table {
        family,
        name: "cnm-dns".to_owned(),
    };
    let both = [(UDP, ports.udp), (TCP, ports.tcp)];
    let redirect = both.map(|(protocol, port)| {
        packet(
            (Field::Destination(of), server),
            protocol,
            Field::DestinationPort,
            DOMAIN,
            Action::Dnat,
            port,
        )
    });
    let restore = both.map(|(protocol, port)| {
        packet(
            (Field::Source(of), server),
            protocol,
            Field::SourcePort,
            port,
            Action::Snat,
            DOMAIN,
        )
    });
    vec![
        Item::Table(table.clone()),
        chain(&table, "output", Hook::Output, -100, redirect.into()),
        chain(&table, "postrouting", Hook::Postrouting, 100, restore.into()),
    ]
}

fn packet(
    (address, server): (Field, IpAddr),
    protocol: u8,
    port: Field,
    from: u16,
    action: fn(NatTarget) -> Action,
    to: u16,
) -> Rule {
    Rule::new(action(NatTarget::Address(server, Some(to))))
        .when(Test::Is(address, Value::Address(server)))
        .when(Test::Is(Field::Protocol, Value::Protocol(protocol)))
        .when(Test::Is(port, Value::Port(from)))
}

fn chain(table: &Table, name: &str, hook: Hook, priority: i32, rules: Vec<Rule>) -> Item {
    Item::Chain(Chain {
        table: table.clone(),
        name: name.to_owned(),
        base: Some(Base {
            kind: ChainKind::Nat,
            hook,
            priority,
            policy: Policy::Accept,
        }),
        rules,
        users: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protocols_are_redirected_and_restored() {
        let ports = DnsPorts {
            udp: 40001,
            tcp: 40002,
        };
        let both = [AddressFamily::V4, AddressFamily::V6].map(|family| items(ports, family));
        let text = kernel::ruleset::text(both.iter().flatten());
        for line in [
            "ip daddr 127.0.0.11 meta l4proto udp th dport 53 dnat ip to 127.0.0.11:40001",
            "ip daddr 127.0.0.11 meta l4proto tcp th dport 53 dnat ip to 127.0.0.11:40002",
            "ip saddr 127.0.0.11 meta l4proto udp th sport 40001 snat ip to 127.0.0.11:53",
            "ip saddr 127.0.0.11 meta l4proto tcp th sport 40002 snat ip to 127.0.0.11:53",
            "ip6 daddr fd63:6e6d::11 meta l4proto udp th dport 53 dnat ip6 to [fd63:6e6d::11]:40001",
            "ip6 saddr fd63:6e6d::11 meta l4proto tcp th sport 40002 snat ip6 to [fd63:6e6d::11]:53",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }
}
