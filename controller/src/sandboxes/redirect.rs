//! Pure: the firewall of a sandbox, which sends 127.0.0.11:53 to the ports that its name service has.
//!
//! So a container may bind port 53 itself. Only ports are written, going out and coming back: a translation would switch
//! connection tracking on in the sandbox, which every packet of the container then pays for (a twentieth of its
//! throughput, and a record for each query). They are written before a container's own tracking sees a question and after
//! it has seen the answer, so that to it both belong together.
//! 127.0.0.11 is there without any IPv4 address; a sandbox with IPv6 has an address of that family as well, for clients
//! that speak nothing else.

use std::net::IpAddr;

use kernel::ruleset::{
    Action, Base, Chain, ChainKind, Family, Field, Hook, Item, Policy, PortField, Rule, Table, Test,
    Transport, Value, Verdict,
};
use model::{AddressFamily, DnsPorts, NAME_SERVER, NAME_SERVER_V6};

const DOMAIN: u16 = 53;
/// The chain that questions pass.
const OUTPUT: &str = "output";

/// The same for a sandbox that has a name server of its owner's at the same place: what the name service asks that one is
/// marked, and passes.
pub(crate) fn items_before_others(ports: DnsPorts) -> Vec<Item> {
    let mut items = items(ports, AddressFamily::V4);
    let passes = Rule::new(Action::Verdict(Verdict::Accept))
        .when(Test::Is(Field::Mark, Value::Mark(model::NAME_SERVER_MARK)));
    for item in &mut items {
        if let Item::Chain(chain) = item
            && chain.name == OUTPUT
        {
            chain.rules.insert(0, passes.clone());
        }
    }
    items
}

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
    let both = [(Transport::Udp, ports.udp), (Transport::Tcp, ports.tcp)];
    let redirect = both.map(|(transport, port)| {
        let to = Field::Destination(of);
        packet((to, server), transport, (PortField::Destination, DOMAIN), port)
    });
    let restore = both.map(|(transport, port)| {
        let from = Field::Source(of);
        packet((from, server), transport, (PortField::Source, port), DOMAIN)
    });
    vec![
        Item::Table(table.clone()),
        chain(&table, OUTPUT, Hook::Output, -300, redirect.into()),
        chain(&table, "postrouting", Hook::Postrouting, 300, restore.into()),
    ]
}

fn packet(
    (address, server): (Field, IpAddr),
    transport: Transport,
    (which, from): (PortField, u16),
    to: u16,
) -> Rule {
    let protocol = match transport {
        Transport::Udp => Value::UDP,
        Transport::Tcp => Value::TCP,
    };
    let port = match which {
        PortField::Source => Field::SourcePort,
        PortField::Destination => Field::DestinationPort,
    };
    Rule::new(Action::SetPort(transport, which, to))
        .when(Test::Is(address, Value::Address(server)))
        .when(Test::Is(Field::Protocol, protocol))
        .when(Test::Is(port, Value::Port(from)))
}

fn chain(table: &Table, name: &str, hook: Hook, priority: i32, rules: Vec<Rule>) -> Item {
    Item::Chain(Chain {
        table: table.clone(),
        name: name.to_owned(),
        base: Some(Base {
            kind: ChainKind::Filter,
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
            "ip daddr 127.0.0.11 meta l4proto udp th dport 53 udp dport set 40001",
            "ip daddr 127.0.0.11 meta l4proto tcp th dport 53 tcp dport set 40002",
            "ip saddr 127.0.0.11 meta l4proto udp th sport 40001 udp sport set 53",
            "ip saddr 127.0.0.11 meta l4proto tcp th sport 40002 tcp sport set 53",
            "ip6 daddr fd63:6e6d::11 meta l4proto udp th dport 53 udp dport set 40001",
            "ip6 saddr fd63:6e6d::11 meta l4proto tcp th sport 40002 tcp sport set 53",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }
}
