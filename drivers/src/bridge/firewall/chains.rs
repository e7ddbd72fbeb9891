//! The rules that all bridge networks share, in their order.

use kernel::ruleset::{
    Action, AddressType, Base, Chain, ChainKind, Field, Hook, Item, NatTarget, Policy, Rule, State, Table,
    Test, Value, Verdict,
};
use model::AddressFamily;

use super::{
    APART, BRIDGED, FAMILIES, INTERNAL, LINKS, MASQUERADE, NETWORKS, OPENED, OWN, PORTS, PORTS_ANY, RANGES,
    RELAYED, ROUTED, SOURCES, TRUSTED, UNPROTECTED, WITHIN, of,
};

const V4: AddressFamily = AddressFamily::V4;
const V6: AddressFamily = AddressFamily::V6;

/// The chain that is the user's.
const USER: &str = "user";
/// The chain of what is sent between containers of a network without ICC.
pub(super) const LINKED: &str = "linked";
/// The chain of what internal networks send.
const SHUT: &str = "shut";
/// The chain that translates to containers.
const PUBLISHED: &str = "published";

/// RFC 4861, section 4.5.
const REDIRECT: u8 = 137;

/// IANA's numbers.
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// Every chain.
pub(super) fn all(table: &Table) -> Vec<Item> {
    let rules = [
        (
            "raw",
            Some(base(ChainKind::Filter, Hook::Prerouting, -300)),
            raw(),
        ),
        (SHUT, None, shut()),
        ("input", Some(base(ChainKind::Filter, Hook::Input, -300)), input()),
        (
            "prerouting",
            Some(base(ChainKind::Nat, Hook::Prerouting, -100)),
            prerouting(),
        ),
        ("output", Some(base(ChainKind::Nat, Hook::Output, -100)), output()),
        (PUBLISHED, None, published()),
        (LINKED, None, linked()),
        (
            "forward",
            Some(base(ChainKind::Filter, Hook::Forward, 0)),
            forward(),
        ),
        ("sent", Some(base(ChainKind::Filter, Hook::Output, 0)), sent()),
        (
            "postrouting",
            Some(base(ChainKind::Nat, Hook::Postrouting, 100)),
            postrouting(),
        ),
    ];
    let chain = |name: &str, base, rules, users| {
        Item::Chain(Chain {
            table: table.clone(),
            name: name.to_owned(),
            base,
            rules,
            users,
        })
    };
    let ours = rules
        .into_iter()
        .map(|(name, base, rules)| chain(name, base, rules, false));
    ours.chain([chain(USER, None, Vec::new(), true)]).collect()
}

fn base(kind: ChainKind, hook: Hook, priority: i32) -> Base {
    Base {
        kind,
        hook,
        priority,
        policy: Policy::Accept,
    }
}

/// Loopback addresses on a segment, where `route_localnet` lets the kernel take them.
///
/// Every packet comes through here, and every frame of a bridge where `br_netfilter` is loaded: looking for a link's name
/// in a set is what costs (a fifth of a microsecond, all else here less), so it is not done before an address has told
/// that it matters.
fn raw() -> Vec<Rule> {
    let looped = [Field::Source(V4), Field::Destination(V4)].map(|field| {
        Rule::verdict(Verdict::Drop)
            .when(Test::Is(field, subnet("127.0.0.0/8")))
            .when(member(Field::InputInterface, NETWORKS))
    });
    looped.into()
}

/// What internal networks send to the host itself; frames that stay on a bridge don't come here.
fn input() -> Vec<Rule> {
    vec![Rule::verdict(Verdict::Jump(SHUT.to_owned())).when(member(Field::InputInterface, INTERNAL))]
}

/// From an internal network to the relay, which is none of the host's own servers.
fn shut() -> Vec<Rule> {
    FAMILIES
        .map(|family| {
            let at = vec![
                Field::Destination(family),
                Field::Protocol,
                Field::DestinationPort,
            ];
            Rule::verdict(Verdict::Drop)
                .when(Test::In(at, of(RELAYED, family)))
                .when(Test::DestinationType(AddressType::Local))
        })
        .into()
}

fn prerouting() -> Vec<Rule> {
    let back = |field, net| Rule::verdict(Verdict::Return).when(Test::Is(field, subnet(net)));
    vec![
        back(Field::Destination(V4), "127.0.0.0/8"),
        // Packets with a link's own addresses can't be forwarded, nor answered through another link.
        back(Field::Source(V6), "fe80::/10"),
        to_published(),
    ]
}

fn output() -> Vec<Rule> {
    let loopback = Test::Is(Field::Destination(V6), subnet("::1/128"));
    vec![Rule::verdict(Verdict::Return).when(loopback), to_published()]
}

fn to_published() -> Rule {
    Rule::verdict(Verdict::Jump(PUBLISHED.to_owned())).when(Test::DestinationType(AddressType::Local))
}

fn published() -> Vec<Rule> {
    FAMILIES.into_iter().flat_map(translations).collect()
}

fn translations(family: AddressFamily) -> [Rule; 3] {
    let at = || {
        vec![
            Field::Destination(family),
            Field::Protocol,
            Field::DestinationPort,
        ]
    };
    let port = || vec![Field::Protocol, Field::DestinationPort];
    let to = |name, fields, port| {
        let target = NatTarget::Map {
            family,
            fields,
            map: of(name, family),
            port,
        };
        Rule::new(Action::Dnat(target))
    };
    [
        to(PORTS, at(), true),
        to(PORTS_ANY, port(), true).when(Test::Family(family)),
        to(RANGES, at(), false),
    ]
}

fn forward() -> Vec<Rule> {
    let accept = || Rule::verdict(Verdict::Accept);
    let drop = || Rule::verdict(Verdict::Drop);
    let mut rules = vec![
        Rule::verdict(Verdict::Jump(USER.to_owned())),
        accept().when(Test::State(vec![State::Established, State::Related])),
        accept()
            .when(Test::Redirected)
            .unless(member(Field::InputInterface, INTERNAL))
            .when(member(Field::OutputInterface, NETWORKS)),
    ];
    let pair = || vec![Field::InputInterface, Field::OutputInterface];
    rules.push(Rule::new(Action::VerdictMap(pair(), WITHIN.to_owned())));
    rules.push(drop().when(member(Field::InputInterface, INTERNAL)));
    rules.push(accept().when(Test::In(pair(), TRUSTED.to_owned())));
    rules.extend(FAMILIES.into_iter().flat_map(direct));
    rules.push(drop().when(member(Field::OutputInterface, NETWORKS)));
    rules
}

/// From one container to another across a bridge that lets none through.
fn linked() -> Vec<Rule> {
    let linked = FAMILIES.map(|family| {
        let fields = vec![
            Field::Source(family),
            Field::Destination(family),
            Field::Protocol,
            Field::DestinationPort,
        ];
        Rule::verdict(Verdict::Accept).when(Test::In(fields, of(LINKS, family)))
    });
    linked.into_iter().chain([Rule::verdict(Verdict::Drop)]).collect()
}

/// The host would tell a container that a neighbour is nearer than it: true, and of no use to it where no frame passes.
fn sent() -> Vec<Rule> {
    let redirect = Rule::verdict(Verdict::Drop)
        .when(Test::Is(Field::Protocol, Value::Protocol(ICMP_V6)))
        .when(Test::Is(Field::IcmpV6Type, Value::Protocol(REDIRECT)))
        .when(member(Field::OutputInterface, APART));
    vec![redirect]
}

/// What may reach containers by their own addresses.
fn direct(family: AddressFamily) -> [Rule; 3] {
    let accept = || Rule::verdict(Verdict::Accept);
    let out = |name| Test::In(vec![Field::OutputInterface], of(name, family));
    let echo = match family {
        AddressFamily::V4 => ICMP,
        AddressFamily::V6 => ICMP_V6,
    };
    let opened = vec![
        Field::Destination(family),
        Field::Protocol,
        Field::DestinationPort,
    ];
    [
        accept().when(Test::Family(family)).when(out(UNPROTECTED)),
        accept()
            .when(Test::Family(family))
            .when(Test::Is(Field::Protocol, Value::Protocol(echo)))
            .when(out(ROUTED)),
        accept().when(Test::In(opened, of(OPENED, family))),
    ]
}

fn postrouting() -> Vec<Rule> {
    let bridged = || {
        Test::In(
            vec![Field::InputInterface, Field::OutputInterface],
            BRIDGED.to_owned(),
        )
    };
    let masquerade = || Rule::new(Action::Masquerade);
    let mut rules = vec![
        // To a neighbour by the host's address: its answers must come back this way to be translated.
        masquerade().when(Test::Redirected).when(bridged()),
        itself(AddressFamily::V4),
        itself(AddressFamily::V6),
        Rule::verdict(Verdict::Accept).when(bridged()),
        masquerade()
            .when(Test::Is(Field::Source(V4), subnet("127.0.0.0/8")))
            .when(member(Field::OutputInterface, NETWORKS)),
    ];
    rules.extend(FAMILIES.into_iter().flat_map(|family| {
        let to = NatTarget::Map {
            family,
            fields: vec![Field::InputInterface],
            map: of(SOURCES, family),
            port: false,
        };
        let from = Test::In(vec![Field::InputInterface], of(MASQUERADE, family));
        [
            Rule::new(Action::Snat(to)).when(Test::Family(family)),
            masquerade().when(Test::Family(family)).when(from),
        ]
    }));
    rules
}

fn itself(family: AddressFamily) -> Rule {
    let fields = vec![Field::Source(family), Field::Destination(family)];
    Rule::new(Action::Masquerade)
        .when(Test::Redirected)
        .when(Test::In(fields, of(OWN, family)))
}

fn member(field: Field, set: &str) -> Test {
    Test::In(vec![field], set.to_owned())
}

fn subnet(text: &str) -> Value {
    Value::Subnet(text.parse().expect("a subnet without host bits"))
}
