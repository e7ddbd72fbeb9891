//! Rules of all bridge networks, and the elements that make them apply to one.
//!
//! The rules are constant; a network is a handful of elements, whatever the number of networks:
//!
//! ```text
//! forward      known connections           accept
//!              in and out by one bridge    the network's verdict: accept, or drop without ICC
//!              in by an internal network   drop
//!              out by any of our bridges   drop: from another network, or from outside to what isn't published
//! postrouting  in and out by one bridge    stays as it is
//!              in by a network that may    masquerade
//! ```
//!
//! Frames between two ports of one bridge pass here only where `br_netfilter` is loaded; without ICC the ports
//! themselves are isolated from each other.

use kernel::{
    Netns, Object,
    ruleset::{
        Action, Base, Chain, ChainKind, Content, Element, Field, Hook, Item, Mapped, Policy, Rule, Set,
        State, Table, Test, Type, Value, Verdict,
    },
};
use model::{InterfaceName, NodeId};

/// Map: in by this bridge and out by it → verdict.
const WITHIN: &str = "within";
/// Set: internal networks.
const INTERNAL: &str = "internal";
/// Set: all networks.
const NETWORKS: &str = "networks";
/// Set: networks whose packets to the outside get the host's address.
const MASQUERADE: &str = "masquerade";

/// What the firewall must know of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policies {
    /// The bridge.
    pub(super) device: InterfaceName,
    /// Containers reach each other.
    pub(super) icc: bool,
    /// Nothing passes in or out.
    pub(super) internal: bool,
    /// Packets to the outside get the host's address.
    pub(super) masquerade: bool,
}

/// The table of a node's daemon; of its own, so that several share a host.
pub(super) fn table(node: NodeId) -> Table {
    Table::inet(format!("cnm-{}", node.prefix(8)))
}

/// Table, sets and chains.
pub(super) fn base(table: &Table) -> Vec<Object> {
    let within = vec![Type::Interface, Type::Interface];
    let items = [
        Item::Table(table.clone()),
        set(table, WITHIN, within, Content::Verdicts),
        set(table, INTERNAL, vec![Type::Interface], Content::Keys),
        set(table, NETWORKS, vec![Type::Interface], Content::Keys),
        set(table, MASQUERADE, vec![Type::Interface], Content::Keys),
        Item::Chain(forward(table)),
        Item::Chain(postrouting(table)),
    ];
    items.map(on_host).into()
}

/// A network's elements.
pub(super) fn network(table: &Table, policies: &Policies) -> Vec<Object> {
    let device = || Value::Interface(policies.device.clone());
    let within = if policies.icc {
        Verdict::Accept
    } else {
        Verdict::Drop
    };
    let mut items = vec![
        element(table, WITHIN, vec![device(), device()], Mapped::Verdict(within)),
        element(table, NETWORKS, vec![device()], Mapped::Nothing),
    ];
    if policies.internal {
        items.push(element(table, INTERNAL, vec![device()], Mapped::Nothing));
    } else if policies.masquerade {
        items.push(element(table, MASQUERADE, vec![device()], Mapped::Nothing));
    }
    items.into_iter().map(on_host).collect()
}

fn forward(table: &Table) -> Chain {
    let base = Base {
        kind: ChainKind::Filter,
        hook: Hook::Forward,
        priority: 0,
        policy: Policy::Accept,
    };
    let rules = vec![
        Rule::verdict(Verdict::Accept).when(Test::State(vec![State::Established, State::Related])),
        within(),
        Rule::verdict(Verdict::Drop).when(member(Field::InputInterface, INTERNAL)),
        Rule::verdict(Verdict::Drop).when(member(Field::OutputInterface, NETWORKS)),
    ];
    chain(table, "forward", base, rules)
}

fn postrouting(table: &Table) -> Chain {
    let base = Base {
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: 100,
        policy: Policy::Accept,
    };
    let rules = vec![
        within(),
        Rule::new(Action::Masquerade).when(member(Field::InputInterface, MASQUERADE)),
    ];
    chain(table, "postrouting", base, rules)
}

fn within() -> Rule {
    let fields = vec![Field::InputInterface, Field::OutputInterface];
    Rule::new(Action::VerdictMap(fields, WITHIN.to_owned()))
}

fn member(field: Field, set: &str) -> Test {
    Test::In(vec![field], set.to_owned())
}

fn chain(table: &Table, name: &str, base: Base, rules: Vec<Rule>) -> Chain {
    Chain {
        table: table.clone(),
        name: name.to_owned(),
        base: Some(base),
        rules,
    }
}

fn set(table: &Table, name: &str, key: Vec<Type>, content: Content) -> Item {
    Item::Set(Set {
        table: table.clone(),
        name: name.to_owned(),
        key,
        content,
        intervals: false,
    })
}

fn element(table: &Table, set: &str, key: Vec<Value>, to: Mapped) -> Item {
    Item::Element(Element {
        table: table.clone(),
        set: set.to_owned(),
        key,
        to,
    })
}

fn on_host(item: Item) -> Object {
    Object::Firewall(Netns::Host, item)
}
