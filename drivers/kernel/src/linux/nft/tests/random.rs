//! Rules that nobody thought of: what is written reads back, and what is garbled is never trusted.

use proptest::prelude::*;

use super::*;
use crate::linux::nft::{attributes::Received, expression};

fn any_name() -> impl Strategy<Value = String> {
    "[a-z]{1,12}"
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|bytes| Value::Address(bytes.into())),
        any::<[u8; 16]>().prop_map(|bytes| Value::Address(bytes.into())),
        any::<u8>().prop_map(Value::Protocol),
        any::<u16>().prop_map(Value::Port),
        any_name().prop_map(|text| interface(&text)),
        any::<u32>().prop_map(Value::Mark),
    ]
}

fn any_subnet(family: AddressFamily) -> BoxedStrategy<Value> {
    let of =
        |address, length| Value::Subnet(model::Subnet::around(model::IpNet::new_assert(address, length)));
    match family {
        V4 => (any::<[u8; 4]>(), 0..=32u8)
            .prop_map(move |(bytes, length)| of(bytes.into(), length))
            .boxed(),
        V6 => (any::<[u8; 16]>(), 0..=128u8)
            .prop_map(move |(bytes, length)| of(bytes.into(), length))
            .boxed(),
    }
}

fn any_field(family: AddressFamily) -> impl Strategy<Value = Field> {
    prop_oneof![
        Just(Field::InputInterface),
        Just(Field::OutputInterface),
        Just(Field::Source(family)),
        Just(Field::Destination(family)),
        Just(Field::Protocol),
        Just(Field::Mark),
    ]
}

fn any_test(family: AddressFamily) -> impl Strategy<Value = Test> {
    let is = (any_field(family), any_value())
        .prop_filter("a value of the field's type", |(field, value)| {
            field.kind() == value.kind()
        })
        .prop_map(|(field, value)| Test::Is(field, value));
    let lies = any_subnet(family).prop_map(move |value| Test::Is(Field::Source(family), value));
    let states = prop::sample::subsequence(
        vec![
            State::Invalid,
            State::Established,
            State::Related,
            State::New,
            State::Untracked,
        ],
        1..5,
    );
    prop_oneof![
        is,
        lies,
        (prop::collection::vec(any_field(family), 1..3), any_name())
            .prop_map(|(fields, set)| Test::In(fields, set)),
        states.prop_map(Test::State),
        Just(Test::DestinationType(AddressType::Local)),
        Just(Test::Redirected),
    ]
}

fn any_action(family: AddressFamily) -> impl Strategy<Value = Action> {
    let address = any_value().prop_filter_map("an address", move |value| match value {
        Value::Address(address) if AddressFamily::of(address) == family => Some(address),
        _ => None,
    });
    let map = (
        prop::collection::vec(any_field(family), 1..3),
        any_name(),
        any::<bool>(),
    );
    let map = map.prop_map(move |(fields, map, port)| NatTarget::Map {
        family,
        fields,
        map,
        port,
    });
    prop_oneof![
        Just(Action::Verdict(Verdict::Accept)),
        Just(Action::Verdict(Verdict::Drop)),
        Just(Action::Verdict(Verdict::Return)),
        any_name().prop_map(|chain| Action::Verdict(Verdict::Jump(chain))),
        any_name().prop_map(|chain| Action::Verdict(Verdict::Goto(chain))),
        (prop::collection::vec(any_field(family), 1..3), any_name())
            .prop_map(|(fields, map)| Action::VerdictMap(fields, map)),
        Just(Action::Masquerade),
        (address, any::<Option<u16>>())
            .prop_map(|(address, port)| Action::Dnat(NatTarget::Address(address, port))),
        map.prop_map(Action::Snat),
        any::<Option<u16>>().prop_map(Action::Redirect),
        Just(Action::Reject),
        any::<u32>().prop_map(Action::SetMark),
        any::<u16>().prop_map(|port| Action::SetPort(Transport::Tcp, PortField::Source, port)),
    ]
}

fn any_rule() -> impl Strategy<Value = (Family, Rule)> {
    let family = prop_oneof![Just(V4), Just(V6)];
    family.prop_flat_map(|family| {
        let own = if family == V4 { Family::Ip } else { Family::Ip6 };
        let matches = prop::collection::vec((any::<bool>(), any_test(family)), 0..4);
        let matches = matches.prop_map(|tests| {
            let tests = tests.into_iter();
            tests.map(|(negated, test)| Match { negated, test }).collect()
        });
        (
            prop_oneof![Just(Family::Inet), Just(own)],
            matches,
            any::<bool>(),
            prop::option::of(any_action(family)),
        )
            .prop_map(|(table, matches, counter, action)| {
                (
                    table,
                    Rule {
                        matches,
                        counter,
                        action,
                    },
                )
            })
    })
}

/// Removes what the kernel would miss: sets and chains that a random rule names don't exist.
fn stands_alone(rule: &Rule) -> bool {
    let sets = rule.matches.iter().any(|m| matches!(m.test, Test::In(..)));
    let action = matches!(
        &rule.action,
        Some(
            Action::VerdictMap(..)
                | Action::Masquerade
                | Action::Redirect(_)
                | Action::Snat(_)
                | Action::Dnat(_)
                | Action::Verdict(Verdict::Jump(_) | Verdict::Goto(_))
        )
    );
    !sets && !action
}

proptest! {
    #[test]
    fn a_rule_survives_being_lowered((table, rule) in any_rule()) {
        prop_assert_eq!(lift(&lower(&rule, table), table), rule);
    }

    #[test]
    fn a_rule_survives_being_encoded((table, rule) in any_rule()) {
        let bytes = expression::encode(&lower(&rule, table));
        let read = Received::read(bytes.as_bytes());
        prop_assert_eq!(expression::decode(&read), Some(lower(&rule, table)));
    }

    #[test]
    fn garbled_expressions_are_never_trusted((table, rule) in any_rule(), at in any::<usize>(), bit in 0..8u8) {
        let mut bytes = expression::encode(&lower(&rule, table)).as_bytes().to_vec();
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        if let Some(expressions) = expression::decode(&Received::read(&bytes)) {
            let _ = lift(&expressions, table);
        }
    }
}

#[test]
fn random_rules_survive_the_kernel() {
    in_namespace(|connection| {
        let connection = std::cell::RefCell::new(connection);
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let rules = prop::collection::vec(
            any_rule()
                .prop_map(|(_, rule)| rule)
                .prop_filter("alone", stands_alone),
            1..6,
        );
        let run = runner.run(&rules, |rules| {
            let chain = |rules| chain("forward", base(ChainKind::Filter, Hook::Forward, 5), rules);
            let items = [Item::Table(table()), chain(rules)];
            let connection = &mut *connection.borrow_mut();
            create(connection, &items).map_err(|refused| TestCaseError::fail(format!("{refused:?}")))?;
            prop_assert_eq!(dump(connection), sorted(items.to_vec()));
            remove(connection, &items[..1]).expect("the kernel takes it");
            Ok(())
        });
        run.expect("every rule survives");
    });
}
