//! Against the real kernel, in a namespace of the test's own, and against what nft(8) makes of the same text.

use std::{io::Write as _, process::Command, thread};

use model::{AddressFamily, InterfaceName, NetworkId, NodeId};
use nix::{
    libc,
    sched::{CloneFlags, unshare},
};

use super::{Change, Connection, lift::lift, lower::lower};
use crate::{
    KernelState, Mark, Netns, Object, Owner, plan,
    ruleset::{
        Action, AddressType, Base, Chain, ChainKind, Content, Element, Family, Field, Hook, Item, Mapped,
        Match, NatTarget, Policy, PortField, Rule, Set, State, Table, Test, Transport, Type, Value, Verdict,
        text,
    },
};

const V4: AddressFamily = AddressFamily::V4;
const V6: AddressFamily = AddressFamily::V6;

/// Runs a test in a namespace of its own, with a connection into it.
fn in_namespace(test: impl FnOnce(&mut Connection) + Send + 'static) {
    let visitor = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("tests of the kernel run as root");
        test(&mut Connection::here().expect("a socket"));
    });
    if let Err(panic) = visitor.join() {
        std::panic::resume_unwind(panic);
    }
}

fn mark() -> Mark {
    Mark {
        node: NodeId::from_bytes([0xab; 32]),
        owner: Owner::Network(NetworkId::from_bytes([0xcd; 32])),
    }
}

fn create(connection: &mut Connection, items: &[Item]) -> Result<(), super::Refused> {
    let changes: Vec<_> = items.iter().map(Change::Create).collect();
    connection.commit(&mark(), &changes)
}

fn remove(connection: &mut Connection, items: &[Item]) -> Result<(), super::Refused> {
    let changes: Vec<_> = items.iter().map(Change::Remove).collect();
    connection.commit(&mark(), &changes)
}

fn dump(connection: &mut Connection) -> Vec<Item> {
    let items = connection.dump_ours().expect("a dump");
    sorted(items.into_iter().map(|(_, item)| item).collect())
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by_key(Item::key);
    items
}

fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft")
        .args(arguments)
        .output()
        .expect("nft(8) is there");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

fn nft_load(text: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("nft(8) is there");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    assert!(
        child.wait().expect("it ends").success(),
        "nft(8) refuses:\n{text}"
    );
}

/// What nft(8) lists, without comments and with elements in one order.
fn nft_list() -> String {
    let listed = nft(&["-nn", "list", "ruleset"]);
    let comment = format!(" comment \"{}\"", mark());
    let lines = listed
        .lines()
        .filter(|line| !line.trim_start().starts_with("comment "));
    let lines: Vec<_> = lines.map(|line| line.replace(&comment, "")).collect();
    let joined = lines.join("\n").replace(",\n", ",");
    let lines = joined.lines().map(|line| match line.split_once("elements = {") {
        Some((head, elements)) => {
            let elements = elements.trim().trim_end_matches('}');
            let mut elements: Vec<_> = elements.split(',').map(str::trim).collect();
            elements.sort_unstable();
            format!("{head}elements = {{ {} }}", elements.join(", "))
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).expect("a name")
}

fn interface(text: &str) -> Value {
    Value::Interface(name(text))
}

fn subnet(text: &str) -> Value {
    Value::Subnet(text.parse().expect("a subnet"))
}

fn table() -> Table {
    Table::inet("cnm-test")
}

fn chain(name: &str, base: Option<Base>, rules: Vec<Rule>) -> Item {
    Item::Chain(Chain {
        table: table(),
        name: name.to_owned(),
        base,
        rules,
        users: false,
    })
}

fn base(kind: ChainKind, hook: Hook, priority: i32) -> Option<Base> {
    Some(Base {
        kind,
        hook,
        priority,
        policy: Policy::Accept,
    })
}

fn set(name: &str, key: &[Type], content: Content, intervals: bool) -> Item {
    Item::Set(Set {
        table: table(),
        name: name.to_owned(),
        key: key.to_vec(),
        content,
        intervals,
    })
}

fn element(set: &str, key: &[Value], to: Mapped) -> Item {
    Item::Element(Element {
        table: table(),
        set: set.to_owned(),
        key: key.to_vec(),
        to,
    })
}

fn sets() -> Vec<Item> {
    let verdict = Mapped::Verdict;
    vec![
        set("networks", &[Type::Interface], Content::Keys, false),
        element("networks", &[interface("br-a")], Mapped::Nothing),
        element("networks", &[interface("br-0123456789ab")], Mapped::Nothing),
        set(
            "within",
            &[Type::Interface, Type::Interface],
            Content::Verdicts,
            false,
        ),
        element(
            "within",
            &[interface("br-a"), interface("br-a")],
            verdict(Verdict::Accept),
        ),
        element(
            "within",
            &[interface("br-b"), interface("br-b")],
            verdict(Verdict::Drop),
        ),
        element(
            "within",
            &[interface("br-c"), interface("br-c")],
            verdict(Verdict::Jump("in".to_owned())),
        ),
        set(
            "ports",
            &[Type::Protocol, Type::Port],
            Content::Data(vec![Type::Ipv4, Type::Port]),
            false,
        ),
        element(
            "ports",
            &[Value::TCP, Value::Port(8080)],
            Mapped::Data(vec![Value::Address([172, 18, 0, 2].into()), Value::Port(80)]),
        ),
        set("hosts", &[Type::Ipv6], Content::Data(vec![Type::Mark]), false),
        element(
            "hosts",
            &[Value::Address("fd00::1".parse().expect("an address"))],
            Mapped::Data(vec![Value::Mark(7)]),
        ),
        set("subnets", &[Type::Ipv4], Content::Keys, true),
        element("subnets", &[subnet("10.0.0.0/8")], Mapped::Nothing),
        element("subnets", &[subnet("11.0.0.0/8")], Mapped::Nothing),
        element("subnets", &[subnet("192.168.4.0/22")], Mapped::Nothing),
        element("subnets", &[subnet("192.168.0.1/32")], Mapped::Nothing),
        element("subnets", &[subnet("255.0.0.0/8")], Mapped::Nothing),
        set("ranges", &[Type::Ipv4, Type::Port], Content::Verdicts, true),
        element(
            "ranges",
            &[subnet("10.0.0.0/8"), Value::Ports(1024, 65535)],
            verdict(Verdict::Accept),
        ),
    ]
}

fn filter() -> Item {
    let accept = || Rule::verdict(Verdict::Accept);
    let fields = || vec![Field::InputInterface, Field::OutputInterface];
    let rules = vec![
        accept().when(Test::State(vec![State::Established, State::Related])),
        Rule::new(Action::VerdictMap(fields(), "within".to_owned())),
        Rule::verdict(Verdict::Drop)
            .when(Test::In(vec![Field::OutputInterface], "networks".to_owned()))
            .unless(Test::In(vec![Field::InputInterface], "networks".to_owned())),
        accept()
            .when(Test::Is(Field::Source(V4), subnet("10.1.0.0/17")))
            .unless(Test::Is(
                Field::Destination(V4),
                Value::Address([10, 1, 2, 3].into()),
            )),
        Rule::verdict(Verdict::Return).when(Test::Is(Field::Source(V6), subnet("fd00::/61"))),
        Rule {
            counter: true,
            ..Rule::new(Action::Reject).when(Test::Is(Field::InputInterface, interface("eth0")))
        },
        accept().unless(Test::Is(Field::Mark, Value::Mark(0x51))),
        accept().when(Test::Redirected),
        Rule::new(Action::SetMark(9)).when(Test::Family(V6)),
        Rule::new(Action::SetPort(Transport::Udp, PortField::Destination, 4053))
            .when(Test::Is(Field::Protocol, Value::UDP)),
        Rule::verdict(Verdict::Jump("in".to_owned())),
    ];
    chain("forward", base(ChainKind::Filter, Hook::Forward, 0), rules)
}

fn nat() -> Vec<Item> {
    let dns = |protocol| {
        Rule::new(Action::Dnat(NatTarget::Address(
            [127, 0, 0, 11].into(),
            Some(4053),
        )))
        .when(Test::Is(
            Field::Destination(V4),
            Value::Address([127, 0, 0, 11].into()),
        ))
        .when(Test::Is(Field::Protocol, protocol))
        .when(Test::Is(Field::DestinationPort, Value::Port(53)))
    };
    let published = NatTarget::Map {
        family: V4,
        fields: vec![Field::Protocol, Field::DestinationPort],
        map: "ports".to_owned(),
        port: true,
    };
    let prerouting = vec![
        Rule::new(Action::Dnat(published)).when(Test::DestinationType(AddressType::Local)),
        dns(Value::UDP),
        dns(Value::TCP),
        Rule::new(Action::Redirect(Some(8443))).when(Test::Is(Field::Protocol, Value::TCP)),
    ];
    let postrouting = vec![
        Rule::new(Action::Snat(NatTarget::Address(
            "fd00::9".parse().expect("an address"),
            None,
        )))
        .when(Test::Is(Field::OutputInterface, interface("eth0"))),
        Rule::new(Action::Masquerade).when(Test::In(vec![Field::Source(V4)], "subnets".to_owned())),
    ];
    vec![
        chain(
            "prerouting",
            base(ChainKind::Nat, Hook::Prerouting, -100),
            prerouting,
        ),
        chain(
            "postrouting",
            base(ChainKind::Nat, Hook::Postrouting, 100),
            postrouting,
        ),
        chain(
            "in",
            None,
            vec![Rule::verdict(Verdict::Goto("further".to_owned()))],
        ),
        chain("further", None, Vec::new()),
    ]
}

fn everything() -> Vec<Item> {
    let mut items = vec![Item::Table(table()), filter()];
    items.extend(nat());
    items.extend(sets());
    items
}

#[test]
fn every_kind_of_object_reads_back_as_it_was_written() {
    in_namespace(|connection| {
        create(connection, &everything()).expect("the kernel takes it");
        assert_eq!(dump(connection), sorted(everything()));
        for item in everything() {
            let observed = connection.observe(&item.key()).expect("an answer");
            assert_eq!(observed, Some(item));
        }
        let comments = connection.dump_ours().expect("a dump");
        assert!(
            comments
                .iter()
                .all(|(comment, _)| *comment == Some(mark().to_string()))
        );
    });
}

#[test]
fn what_was_committed_leaves_nothing_to_plan() {
    let state = |items: Vec<Item>| -> KernelState {
        let objects = items.into_iter().map(|item| Object::Firewall(Netns::Host, item));
        objects.collect()
    };
    in_namespace(move |connection| {
        create(connection, &everything()).expect("the kernel takes it");
        let steps = plan(&state(dump(connection)), &state(everything()));
        assert_eq!(steps, []);
    });
}

#[test]
fn nft_lists_what_we_wrote_as_it_lists_our_text() {
    in_namespace(|connection| {
        create(connection, &everything()).expect("the kernel takes it");
        let ours = nft_list();
        remove(connection, &[Item::Table(table())]).expect("the kernel takes it");
        assert_eq!(nft(&["list", "ruleset"]), "");
        nft_load(&text(&everything()));
        assert_eq!(ours, nft_list());
    });
}

#[test]
fn a_refused_object_is_named_and_nothing_is_done() {
    let errno = |refused: &super::Refused| refused.source.raw_os_error();
    in_namespace(move |connection| {
        create(connection, &[Item::Table(table())]).expect("the kernel takes it");
        let lost = element("nowhere", &[interface("a")], Mapped::Nothing);
        let rows = [
            (
                vec![chain("in", None, vec![]), Item::Table(table())],
                1,
                libc::EEXIST,
            ),
            (vec![chain("in", None, vec![]), lost], 1, libc::ENOENT),
            (
                vec![chain(
                    "in",
                    None,
                    vec![Rule::verdict(Verdict::Jump("no".to_owned()))],
                )],
                0,
                libc::ENOENT,
            ),
        ];
        for (items, change, wanted) in rows {
            let refused = create(connection, &items).expect_err("it is wrong");
            assert_eq!((refused.change, errno(&refused)), (change, Some(wanted)));
            assert_eq!(dump(connection), [Item::Table(table())]);
        }
    });
}

#[test]
fn what_is_in_use_is_not_removed() {
    in_namespace(|connection| {
        create(connection, &everything()).expect("the kernel takes it");
        let used = chain("in", None, Vec::new());
        let refused = remove(connection, &[used]).expect_err("rules jump to it");
        assert_eq!(refused.source.raw_os_error(), Some(libc::EBUSY));
        assert_eq!(dump(connection), sorted(everything()));
    });
}

#[test]
fn removing_what_is_gone_is_no_error_and_the_rest_is_removed() {
    in_namespace(|connection| {
        create(connection, &everything()).expect("the kernel takes it");
        let gone = element("networks", &[interface("never")], Mapped::Nothing);
        let there = element("networks", &[interface("br-a")], Mapped::Nothing);
        remove(connection, &[gone, there.clone()]).expect("it is as good as done");
        assert_eq!(connection.observe(&there.key()).expect("an answer"), None);
        remove(connection, &everything()).expect("all goes at once");
        remove(connection, &everything()).expect("and again");
        assert_eq!(dump(connection), []);
    });
}

#[test]
fn all_but_the_table_can_be_removed_and_made_again_in_one_transaction() {
    in_namespace(|connection| {
        create(connection, &everything()).expect("the kernel takes it");
        let parts = &everything()[1..];
        let again: Vec<_> = parts
            .iter()
            .map(Change::Remove)
            .chain(parts.iter().map(Change::Create))
            .collect();
        connection.commit(&mark(), &again).expect("the kernel takes it");
        assert_eq!(dump(connection), sorted(everything()));
        remove(connection, parts).expect("the kernel takes it");
        assert_eq!(dump(connection), [Item::Table(table())]);
    });
}

#[test]
fn a_chain_that_somebody_flushed_or_edited_is_noticed_and_replaced() {
    in_namespace(|connection| {
        create(connection, &everything()).expect("the kernel takes it");
        let edits: [&[&str]; 3] = [
            &["flush", "chain", "inet", "cnm-test", "forward"],
            &[
                "add",
                "rule",
                "inet",
                "cnm-test",
                "forward",
                "tcp flags syn",
                "drop",
            ],
            &["insert", "rule", "inet", "cnm-test", "forward", "drop"],
        ];
        for edit in edits {
            nft(edit);
            let observed = connection
                .observe(&filter().key())
                .expect("an answer")
                .expect("it is there");
            assert_ne!(observed, filter(), "{edit:?}");
            let change = Change::Replace {
                from: &observed,
                to: &filter(),
            };
            connection
                .commit(&mark(), &[change])
                .expect("the kernel takes it");
            assert_eq!(
                connection.observe(&filter().key()).expect("an answer"),
                Some(filter())
            );
        }
    });
}

#[test]
fn a_thousand_elements_are_one_transaction() {
    in_namespace(|connection| {
        let mut items = vec![
            Item::Table(table()),
            set("networks", &[Type::Interface], Content::Keys, false),
        ];
        let element_of = |number| element("networks", &[interface(&format!("br-{number}"))], Mapped::Nothing);
        items.extend((0..1000).map(element_of));
        create(connection, &items).expect("the kernel takes it");
        assert_eq!(dump(connection), sorted(items.clone()));
        let refused = create(connection, &items[2..]).expect_err("they are all there");
        assert_eq!(
            (refused.change, refused.source.raw_os_error()),
            (0, Some(libc::EEXIST))
        );
    });
}

#[test]
fn other_peoples_tables_are_not_seen() {
    in_namespace(|connection| {
        nft(&["add", "table", "ip", "filter"]);
        nft(&["add", "table", "bridge", "cnm-other"]);
        assert_eq!(dump(connection), []);
    });
}

mod random;
