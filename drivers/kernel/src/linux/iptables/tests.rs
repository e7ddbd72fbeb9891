//! The backend on the real kernel.

use std::process::Command;

use model::NodeId;

use crate::{
    Error, Kernel, KernelState, Linux, Mark, Netns, Object, Owner, ensure, holds, linux::tests::apart,
    remove, ruleset::*,
};

/// The contract's cases, by this backend.
mod contract {
    use super::super::super::tests::{Pins, apart};
    use crate::{
        Linux,
        contract::{Case, kernel_contract},
    };

    fn on_iptables(case: fn(&Case<'_>)) {
        apart(|| {
            let folder = Pins::new();
            let linux = Linux::here().and_then(|linux| linux.with_iptables(super::node()));
            case(&Case::new(&linux.expect("a kernel"), &folder.path()));
        });
    }

    kernel_contract!(on_iptables);
}

fn node() -> NodeId {
    NodeId::from_bytes([0xaa; 32])
}

fn mark() -> Mark {
    Mark {
        node: node(),
        owner: Owner::Host,
    }
}

fn table() -> Table {
    Table::inet("cnm-aaaaaaaa")
}

fn on_host(items: impl IntoIterator<Item = Item>) -> KernelState {
    items
        .into_iter()
        .map(|item| Object::Firewall(Netns::Host, item))
        .collect()
}

/// A chain that drops what comes by a bridge, but for members of a set.
fn base() -> Vec<Item> {
    let field = vec![Field::InputInterface];
    let chain = |name: &str, base, rules, users| {
        Item::Chain(Chain {
            table: table(),
            name: name.to_owned(),
            base,
            rules,
            users,
        })
    };
    let hook = Base {
        kind: ChainKind::Filter,
        hook: Hook::Forward,
        priority: 0,
        policy: Policy::Accept,
    };
    let rules = vec![
        Rule::verdict(Verdict::Jump("user".to_owned())),
        Rule::verdict(Verdict::Accept).when(Test::State(vec![State::Established, State::Related])),
        Rule::verdict(Verdict::Drop).unless(Test::In(field, "trusted".to_owned())),
    ];
    vec![
        Item::Table(table()),
        Item::Set(Set {
            table: table(),
            name: "trusted".to_owned(),
            key: vec![Type::Interface],
            content: Content::Keys,
            intervals: false,
        }),
        chain("forward", Some(hook), rules, false),
        chain("user", None, Vec::new(), true),
    ]
}

fn trusted(name: &str) -> Item {
    Item::Element(Element {
        table: table(),
        set: "trusted".to_owned(),
        key: vec![Value::Interface(name.parse().expect("a name"))],
        to: Mapped::Nothing,
    })
}

fn rules(program: &str) -> String {
    let output = Command::new(program).args(["-S"]).output().expect("iptables");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status();
    assert!(status.expect("a shell").success(), "{script}");
}

fn kernel() -> Linux {
    let linux = Linux::here().expect("a kernel");
    linux.with_iptables(node()).expect("iptables")
}

#[test]
fn objects_become_rules_of_both_families_and_go_without_a_trace() {
    apart(|| {
        let (kernel, before) = (kernel(), rules("iptables"));
        let all = on_host(base().into_iter().chain([trusted("br0")]));
        ensure(&kernel, &mark(), &all).expect("rules");
        assert!(holds(&kernel, &all).expect("a look"));
        for program in ["iptables", "ip6tables"] {
            let rules = rules(program);
            for part in [
                "-A FORWARD -j CNM-aaaaaaaa-forward",
                "-A CNM-aaaaaaaa-forward-2 -i br0 -j RETURN",
                "-A CNM-aaaaaaaa-forward-2 -j DROP",
                "-A CNM-aaaaaaaa-forward -j CNM-aaaaaaaa-user",
            ] {
                assert!(rules.contains(part), "{program} has no {part:?} in {rules}");
            }
        }
        ensure(&kernel, &mark(), &all).expect("the same again");
        remove(&kernel, &mark(), &all).expect("removing it");
        assert_eq!(rules("iptables"), before);
    });
}

#[test]
fn what_somebody_changed_is_put_right_and_the_users_chain_and_other_peoples_are_kept() {
    apart(|| {
        let kernel = kernel();
        let all = on_host(base().into_iter().chain([trusted("br0")]));
        ensure(&kernel, &mark(), &all).expect("rules");
        shell("iptables -A CNM-aaaaaaaa-user -s 10.0.0.1 -j DROP; iptables -A FORWARD -i eth9 -j ACCEPT");
        let before = rules("iptables");
        for damage in [
            "iptables -F CNM-aaaaaaaa-forward",
            "iptables -D FORWARD -j CNM-aaaaaaaa-forward",
            "iptables -D CNM-aaaaaaaa-forward-2 -j DROP",
            "iptables -A CNM-aaaaaaaa-forward -j DROP",
        ] {
            shell(damage);
            assert_ne!(rules("iptables"), before, "{damage}");
            kernel
                .let_pass(node(), Some(&std::collections::BTreeSet::new()), false)
                .expect("a look");
            assert_eq!(rules("iptables"), before, "{damage}");
        }
        shell("iptables -F; iptables -X");
        kernel
            .let_pass(node(), Some(&std::collections::BTreeSet::new()), false)
            .expect("a look");
        assert!(holds(&kernel, &all).expect("a look"));
        assert!(rules("iptables").contains("-i br0 -j RETURN"));
    });
}

#[test]
fn a_restart_touches_nothing_that_is_as_it_should_be() {
    apart(|| {
        let all = on_host(base().into_iter().chain([trusted("br0")]));
        ensure(&kernel(), &mark(), &all).expect("rules");
        shell("nft list ruleset >/dev/null");
        let generation = || {
            let output = Command::new("iptables").args(["-L", "-v", "-x", "-n"]).output();
            String::from_utf8_lossy(&output.expect("iptables").stdout).into_owned()
        };
        let before = generation();
        let kernel = kernel();
        ensure(&kernel, &mark(), &on_host(base())).expect("the base");
        assert_eq!(generation(), before, "nothing is written while it gathers");
        ensure(&kernel, &mark(), &all).expect("the rest");
        kernel.gathered().expect("the end of it");
        assert_eq!(generation(), before, "nothing was to be written");
        remove(&kernel, &mark(), &on_host([trusted("br0")])).expect("removing one");
        assert!(!rules("iptables").contains("br0"));
    });
}

#[test]
fn a_change_that_iptables_refuses_leaves_all_as_it_was() {
    apart(|| {
        let kernel = kernel();
        let all = on_host(base());
        ensure(&kernel, &mark(), &all).expect("rules");
        let before = [rules("iptables"), rules("ip6tables")];
        // A port without its protocol is nothing that iptables takes.
        let refused = Item::Chain(Chain {
            table: table(),
            name: "input".to_owned(),
            base: Some(Base {
                kind: ChainKind::Filter,
                hook: Hook::Input,
                priority: 0,
                policy: Policy::Accept,
            }),
            rules: vec![Rule::verdict(Verdict::Drop).when(Test::Is(Field::DestinationPort, Value::Port(80)))],
            users: false,
        });
        let error = ensure(&kernel, &mark(), &on_host([refused])).expect_err("a refusal");
        assert!(matches!(error, Error::System { .. }), "{error:?}");
        assert_eq!([rules("iptables"), rules("ip6tables")], before);
        assert!(holds(&kernel, &all).expect("a look"));
    });
}

#[test]
fn the_backend_that_is_left_takes_its_rules_along() {
    apart(|| {
        let all = on_host(base());
        ensure(&kernel(), &mark(), &all).expect("rules of iptables");
        let nftables = Linux::here().expect("a kernel");
        nftables.remove_other_firewall(node()).expect("cleaning up");
        assert!(!rules("iptables").contains("CNM-"));
        ensure(&nftables, &mark(), &all).expect("rules of nftables");
        kernel().remove_other_firewall(node()).expect("cleaning up");
        let table = Object::Firewall(Netns::Host, Item::Table(table())).key();
        assert!(nftables.observe(&[table]).expect("a look").is_empty());
    });
}
