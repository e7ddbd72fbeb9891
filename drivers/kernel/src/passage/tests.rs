//! Where our rules go among others'.

use super::*;

fn node() -> NodeId {
    NodeId::from_bytes([7; 32])
}

const CHAIN: &str = "cnm-pass-07070707";
const COMMENT: &str = "-m comment --comment \"cnm:070707070707:host\"";

fn content(guarded: &[&str]) -> String {
    let new = "-m conntrack --ctstate NEW -m conntrack ! --ctstate DNAT";
    let leave = guarded.iter().map(|link| match link.strip_prefix('!') {
        Some(link) => format!(
            "-A {CHAIN} -o {link} -m devgroup --src-group 0x3838383 {new} {COMMENT} -j DROP\n\
             -A {CHAIN} -o {link} {COMMENT} -j RETURN\n"
        ),
        None => format!("-A {CHAIN} -o {link} {COMMENT} -j RETURN\n"),
    });
    let pass = ["src", "dst"]
        .map(|side| format!("-A {CHAIN} -m devgroup --{side}-group 0x3838383 {COMMENT} -j ACCEPT\n"));
    leave.chain(pass).collect()
}

fn table(rules: &[&str]) -> String {
    format!("*filter\n{}\nCOMMIT\n", rules.join("\n"))
}

/// A table in which ours is all there.
fn with_ours(policy: &str, place: &str, before: &[&str], after: &[&str]) -> String {
    let jump = format!("-A {place} {COMMENT} -j {CHAIN}");
    let (policy, declared, content) = (
        format!(":FORWARD {policy} [0:0]"),
        format!(":{CHAIN} - [0:0]"),
        content(&[]),
    );
    let mut lines = vec![policy.as_str(), declared.as_str()];
    lines.extend(before);
    lines.push(&jump);
    lines.extend(after);
    lines.extend(content.lines());
    table(&lines)
}

/// What it is, the table, where the jump goes, and the links that are somebody's, with a `!` those that we shut.
type Row<'a> = (&'a str, &'a [&'a str], Option<(&'a str, usize)>, &'a [&'a str]);

fn check(rows: &[Row<'_>]) {
    for (name, lines, expected, guarded) in rows.iter().copied() {
        let change = change(&table(lines), node(), Some(&BTreeSet::new()));
        let script = expected.map(|(chain, at)| {
            let content = content(guarded);
            format!("*filter\n:{CHAIN} - [0:0]\n{content}-I {chain} {at} {COMMENT} -j {CHAIN}\nCOMMIT\n")
        });
        assert_eq!(change.script, script, "{name}");
        assert_eq!(
            change.chain.as_deref(),
            expected.map(|(chain, _)| chain),
            "{name}"
        );
    }
}

#[test]
fn our_rules_go_where_the_owner_of_a_chain_wants_them() {
    let rows: [Row<'_>; 5] = [
        ("nobody filters", &[":FORWARD ACCEPT [0:0]"], None, &[]),
        (
            "a policy alone",
            &[":FORWARD DROP [0:0]"],
            Some(("FORWARD", 1)),
            &[],
        ),
        (
            "a user's own drop",
            &[":FORWARD ACCEPT [0:0]", "-A FORWARD -i eth0 -j DROP"],
            Some(("FORWARD", 1)),
            &[],
        ),
        (
            "accepts alone drop nothing",
            &[":FORWARD ACCEPT [0:0]", "-A FORWARD -i eth0 -j ACCEPT"],
            None,
            &[],
        ),
        (
            "Docker's place, before its last return and behind the user's rules",
            &[
                ":FORWARD DROP [0:0]",
                ":DOCKER-USER - [0:0]",
                "-A FORWARD -j DOCKER-USER",
                "-A DOCKER-USER -s 10.0.0.1/32 -j DROP",
                "-A DOCKER-USER -j RETURN",
            ],
            Some(("DOCKER-USER", 2)),
            &[],
        ),
    ];
    check(&rows);
}

#[test]
fn links_that_somebody_keeps_are_left_to_their_rules() {
    let rows: [Row<'_>; 5] = [
        (
            "Docker's bridges are Docker's, and a user's rule makes no link its",
            &[
                ":FORWARD DROP [0:0]",
                ":DOCKER-USER - [0:0]",
                "-A FORWARD -j DOCKER-USER",
                "-A FORWARD -o docker0 -j DOCKER",
                "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
                "-A DOCKER-BRIDGE -o br-1 -j DOCKER",
                "-A DOCKER-ISOLATION-STAGE-1 ! -s 172.19.0.0/16 -o br-2 -j DROP",
                "-A DOCKER-USER -o eth0 -d 10.0.0.1/32 -j DROP",
            ],
            Some(("DOCKER-USER", 2)),
            &["br-1", "br-2", "docker0"],
        ),
        (
            "where nobody drops by policy, what is Docker's is shut all the same",
            &[
                ":FORWARD ACCEPT [0:0]",
                "-A FORWARD -j DOCKER-USER",
                ":DOCKER-USER - [0:0]",
                "-A DOCKER-BRIDGE -o docker0 -j DOCKER",
                "-A DOCKER-BRIDGE -o br-1 -j DOCKER",
                "-A DOCKER ! -i docker0 -o docker0 -j DROP",
            ],
            Some(("DOCKER-USER", 1)),
            &["!br-1", "docker0"],
        ),
        (
            "libvirt refuses what enters its network",
            &[
                ":FORWARD ACCEPT [0:0]",
                "-A FORWARD -j LIBVIRT_FWI",
                "-A LIBVIRT_FWI -d 192.168.122.0/24 -o virbr0 -j ACCEPT",
                "-A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable",
            ],
            Some(("FORWARD", 1)),
            &["virbr0"],
        ),
        (
            "ufw's place for routed traffic",
            &[
                ":FORWARD DROP [0:0]",
                ":ufw-before-forward - [0:0]",
                ":ufw-user-forward - [0:0]",
                "-A FORWARD -j ufw-before-forward",
                "-A ufw-before-forward -j ufw-user-forward",
                "-A ufw-user-forward -s 10.0.0.1/32 -j DROP",
            ],
            Some(("ufw-user-forward", 2)),
            &[],
        ),
        (
            "a place that nobody jumps to any more is none",
            &[":FORWARD DROP [0:0]", ":DOCKER-USER - [0:0]"],
            Some(("FORWARD", 1)),
            &[],
        ),
    ];
    check(&rows);
}

#[test]
fn rules_that_are_there_are_left_alone_and_go_when_they_are_not_wanted() {
    let saved = with_ours("DROP", "FORWARD", &[], &[]);
    assert_eq!(change(&saved, node(), Some(&BTreeSet::new())).script, None);
    let gone = change(&saved, node(), None).script.unwrap_or_default();
    let removed = format!("*filter\n-D FORWARD {COMMENT} -j {CHAIN}\n-F {CHAIN}\n-X {CHAIN}\nCOMMIT\n");
    assert_eq!(gone, removed);
    assert_eq!(
        change(&table(&[":FORWARD DROP [0:0]"]), node(), None).script,
        None
    );
    let half = saved.replacen("--dst-group", "--src-group", 1);
    let healed = change(&half, node(), Some(&BTreeSet::new()))
        .script
        .unwrap_or_default();
    assert!(
        healed.contains(&content(&[])) && healed.contains("-D FORWARD"),
        "{healed}"
    );
}

#[test]
fn a_rule_that_its_user_adds_later_is_before_ours_again() {
    let docker = [":DOCKER-USER - [0:0]", "-A FORWARD -j DOCKER-USER"];
    let last = with_ours("DROP", "DOCKER-USER", &docker, &["-A DOCKER-USER -j RETURN"]);
    assert_eq!(change(&last, node(), Some(&BTreeSet::new())).script, None);
    let added = with_ours(
        "DROP",
        "DOCKER-USER",
        &docker,
        &["-A DOCKER-USER -s 10.0.0.1/32 -j DROP"],
    );
    let moved = change(&added, node(), Some(&BTreeSet::new()))
        .script
        .unwrap_or_default();
    assert!(
        moved.contains("-D DOCKER-USER") && moved.contains("-I DOCKER-USER 2 "),
        "{moved}"
    );
}

#[test]
fn our_rules_alone_are_no_reason_to_keep_them() {
    let saved = with_ours("ACCEPT", "FORWARD", &[], &[]);
    let script = change(&saved, node(), Some(&BTreeSet::new()))
        .script
        .unwrap_or_default();
    assert!(
        script.contains("-D FORWARD") && script.contains("-X ") && !script.contains("-I "),
        "{script}"
    );
}

#[test]
fn a_bridge_that_a_network_adopted_passes_by_its_name() {
    let adopted = BTreeSet::from([InterfaceName::new("lan0").expect("a name")]);
    let script = change(&table(&[":FORWARD DROP [0:0]"]), node(), Some(&adopted))
        .script
        .unwrap_or_default();
    for option in ["-i", "-o"] {
        let rule = format!("-A {CHAIN} {option} lan0 {COMMENT} -j ACCEPT\n");
        assert!(script.contains(&rule), "{script}");
    }
}
