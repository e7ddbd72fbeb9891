//! Scripts from what a look saw.

use super::*;

const PREFIX: &str = "CNM-aaaaaaaa";

fn wanted(chains: &[(&'static str, &str, &[&str], Option<&'static str>)]) -> Compiled {
    let place = |table, chain: &str| Place {
        family: AddressFamily::V4,
        table,
        chain: format!("{PREFIX}-{chain}"),
    };
    chains
        .iter()
        .map(|(table, chain, rules, hook)| {
            let content = Content {
                rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
                hook: *hook,
                users: *chain == "user",
            };
            (place(table, chain), content)
        })
        .collect()
}

/// What `iptables-save` says after a script of ours: every line of it that adds something.
fn saved(script: &str) -> String {
    let mut lines = Vec::new();
    for line in script.lines() {
        match line.strip_prefix("-I ").and_then(|hook| hook.split_once(" 1 ")) {
            Some((hook, rule)) => lines.push(format!("-A {hook} {rule}")),
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

fn forward(rules: &[&str]) -> Compiled {
    wanted(&[
        ("filter", "forward", rules, Some("FORWARD")),
        ("filter", "user", &[], None),
    ])
}

#[test]
fn a_second_look_finds_nothing_to_do() {
    let wanted = forward(&["-i br0 -j ACCEPT"]);
    let first = script(&Look::new(), &Compiled::new(), &wanted, AddressFamily::V4).expect("a script");
    assert!(first.contains("-I FORWARD 1 -j CNM-aaaaaaaa-forward"), "{first}");
    let look = read(&saved(&first), PREFIX);
    assert_eq!(
        script(&look, &Compiled::new(), &wanted, AddressFamily::V4),
        None,
        "{first}"
    );
    let assumed = assumed(&Look::new(), &wanted, AddressFamily::V4);
    assert_eq!(
        script(&assumed, &Compiled::new(), &wanted, AddressFamily::V4),
        None
    );
}

#[test]
fn only_what_differs_is_written_and_the_users_chain_never_again() {
    let (before, after) = (forward(&["-i br0 -j ACCEPT"]), forward(&["-i br1 -j ACCEPT"]));
    let first = script(&Look::new(), &Compiled::new(), &before, AddressFamily::V4).expect("a script");
    let users = format!("{}\n-A CNM-aaaaaaaa-user -s 10.0.0.1/32 -j DROP", saved(&first));
    let look = read(&users, PREFIX);
    let change = script(&look, &Compiled::new(), &after, AddressFamily::V4).expect("a change");
    assert!(
        !change.contains("-user") && !change.contains("FORWARD"),
        "{change}"
    );
    assert!(change.contains(":CNM-aaaaaaaa-forward - [0:0]"), "{change}");
}

#[test]
fn of_a_chain_that_is_as_it_was_left_only_the_rules_that_differ_are_written() {
    let (before, after) = (
        forward(&["-i br0 -j ACCEPT", "-i br2 -j ACCEPT", "-j DROP"]),
        forward(&["-i br0 -j ACCEPT", "-i br1 -j ACCEPT", "-j DROP"]),
    );
    let first = script(&Look::new(), &Compiled::new(), &before, AddressFamily::V4).expect("a script");
    let look = read(&saved(&first), PREFIX);
    let change = script(&look, &before, &after, AddressFamily::V4).expect("a change");
    let lines: Vec<_> = change.lines().collect();
    assert!(
        lines[1].starts_with("-R CNM-aaaaaaaa-forward 1 -m comment"),
        "{change}"
    );
    let wanted = [
        "-D CNM-aaaaaaaa-forward 3",
        "-I CNM-aaaaaaaa-forward 3 -i br1 -j ACCEPT",
        "COMMIT",
    ];
    assert_eq!(lines[2..], wanted);
    // Somebody added a rule: it is not edited blindly.
    let look = read(
        &format!("{}\n-A CNM-aaaaaaaa-forward -j LOG", saved(&first)),
        PREFIX,
    );
    let change = script(&look, &before, &after, AddressFamily::V4).expect("a change");
    assert!(change.contains(":CNM-aaaaaaaa-forward - [0:0]"), "{change}");
}

#[test]
fn damage_is_seen_and_what_is_no_longer_wanted_goes() {
    let wanted = forward(&["-i br0 -j ACCEPT", "-j DROP"]);
    let whole = saved(&script(&Look::new(), &Compiled::new(), &wanted, AddressFamily::V4).expect("a script"));
    let without = |part: &str| -> String {
        let kept = whole.lines().filter(|line| !line.contains(part));
        kept.collect::<Vec<_>>().join("\n")
    };
    for lost in ["-i br0", "-j DROP", "--comment", "-A FORWARD"] {
        let look = read(&without(lost), PREFIX);
        assert!(
            script(&look, &Compiled::new(), &wanted, AddressFamily::V4).is_some(),
            "{lost} is not missed"
        );
    }
    let gone = script(
        &read(&whole, PREFIX),
        &Compiled::new(),
        &Compiled::new(),
        AddressFamily::V4,
    )
    .expect("a script");
    let steps = [
        "-D FORWARD -j CNM-aaaaaaaa-forward",
        "-F CNM-aaaaaaaa-forward",
        "-X CNM-aaaaaaaa-forward",
    ];
    let positions: Vec<_> = steps.iter().map(|step| gone.find(step)).collect();
    assert!(positions.is_sorted() && positions[0].is_some(), "{gone}");
}

#[test]
fn other_peoples_chains_are_not_looked_at() {
    let theirs = "*filter\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n:CNM-bbbbbbbb-forward - [0:0]\n\
                  -A FORWARD -j DOCKER\n-A FORWARD -j CNM-bbbbbbbb-forward\nCOMMIT\n";
    assert!(read(theirs, PREFIX).is_empty());
}

#[test]
fn our_chain_comes_first_again_when_others_judge_before_it() {
    let wanted = forward(&["-i br0 -j ACCEPT"]);
    let none = Compiled::new();
    let first = script(&Look::new(), &none, &wanted, AddressFamily::V4).expect("a script");
    let rows = [
        (
            "Docker accepts what its containers send",
            "-i docker0 ! -o docker0 -j ACCEPT",
            true,
        ),
        ("rules of users", "-j DOCKER-USER", false),
        ("another daemon like us", "-j CNM-bbbbbbbb-forward", false),
    ];
    for (name, theirs, moved) in rows {
        let before = saved(&first).replacen("*filter\n", &format!("*filter\n-A FORWARD {theirs}\n"), 1);
        let again = script(&read(&before, PREFIX), &none, &wanted, AddressFamily::V4);
        let moves = |script: &String| {
            script.contains("-D FORWARD -j CNM-aaaaaaaa-forward")
                && script.contains("-I FORWARD 1 -j CNM-aaaaaaaa-forward")
        };
        assert_eq!(again.as_ref().is_some_and(moves), moved, "{name}: {again:?}");
    }
}
