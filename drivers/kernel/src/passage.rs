//! Pure: where other people's iptables rules would drop what our bridges forward, and what lets it pass.
//!
//! An accept in our own table does not help against a drop in theirs. So two marked rules go where the owner of a chain
//! wants such rules to be: behind the user's in `DOCKER-USER` or `ufw-user-forward`; only where there is no such place at
//! the head of `FORWARD`. They name our links by their group, so there are two, whatever the number of networks. What
//! they let pass there still has to pass our own chains. Nobody else's rule is changed, moved or removed.
//!
//! firewalld has a table of its own, which no iptables rule of ours could open: it is told of by [`Passage::Blocked`].

use model::NodeId;

use crate::{Mark, Owner};

/// How packets that we forward fare with everybody else's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// Two rules of ours in this chain let them pass.
    Opened {
        /// As its program is called: `iptables`, `ip6tables`, and for each `-legacy`.
        by: &'static str,
        /// The chain.
        chain: String,
    },
    /// Somebody's rules may refuse them, and it is for the administrator to say otherwise.
    Blocked {
        /// Who.
        by: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
}

/// What is to be done about one program's filter table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The chain where our rules are afterwards.
    pub(crate) chain: Option<String>,
    /// For `iptables-restore --noflush`; none if all is as it should be.
    pub(crate) script: Option<String>,
}

/// Chains whose owners made them for rules of others, the best first. Our rules go behind all that is there.
const PLACES: [&str; 3] = ["DOCKER-USER", "ufw-user-forward", "ufw-before-forward"];

/// Compares a filter table, as `iptables-save -t filter` tells it, with what we want of it.
pub(crate) fn change(saved: &str, node: NodeId, wanted: bool) -> Change {
    let mark = Mark {
        node,
        owner: Owner::Host,
    };
    let comment = mark.to_string();
    let ours: Vec<_> = rules(saved).filter(|rule| rule.contains(&comment)).collect();
    let place = place(saved, &comment).filter(|_| wanted);
    let rule = |chain: &str, side: &str| {
        let group = Mark::group(node);
        format!("{chain} -m devgroup --{side}-group {group:#x} -m comment --comment \"{comment}\" -j ACCEPT")
    };
    let add: Vec<_> = place
        .iter()
        .flat_map(|chain| ["src", "dst"].map(|side| rule(chain, side)))
        .collect();
    let there = ours.len() == add.len() && add.iter().all(|rule| ours.contains(&rule.as_str()));
    Change {
        script: (!there).then(|| script(saved, &ours, place, &add)),
        chain: place.map(str::to_owned),
    }
}

fn script(saved: &str, ours: &[&str], place: Option<&str>, add: &[String]) -> String {
    let mut script = "*filter\n".to_owned();
    for rule in ours {
        script += &format!("-D {rule}\n");
    }
    let first = place.map_or(1, |chain| position(saved, chain, ours));
    for (position, rule) in (first..).zip(add) {
        let (chain, rest) = rule.split_once(' ').unwrap_or((rule, ""));
        script += &format!("-I {chain} {position} {rest}\n");
    }
    script + "COMMIT\n"
}

/// Behind everything but a last `RETURN`; in `FORWARD` before everything.
fn position(saved: &str, chain: &str, ours: &[&str]) -> usize {
    if chain == "FORWARD" {
        return 1;
    }
    let theirs: Vec<_> = rules(saved)
        .filter(|rule| rule.split_whitespace().next() == Some(chain) && !ours.contains(rule))
        .collect();
    let returns = theirs
        .last()
        .is_some_and(|rule| *rule == format!("{chain} -j RETURN"));
    theirs.len() + usize::from(!returns)
}

/// The chain that our rules belong in; none if nothing there drops what is forwarded.
fn place<'a>(saved: &'a str, comment: &str) -> Option<&'a str> {
    let chains = || saved.lines().filter_map(|line| line.strip_prefix(':'));
    let named = |wanted: &str| {
        chains()
            .filter_map(|line| line.split_whitespace().next())
            .find(|name| *name == wanted)
    };
    let jumped_to = |name: &str| {
        let jump = format!(" -j {name}");
        rules(saved).any(|rule| rule.ends_with(&jump))
    };
    let provided = PLACES
        .iter()
        .find_map(|name| named(name).filter(|name| jumped_to(name)));
    provided.or_else(|| {
        let drops = chains().any(|line| line.starts_with("FORWARD DROP"));
        let theirs = |rule: &&str| rule.starts_with("FORWARD ") && !rule.contains(comment);
        let passes = |rule: &str| {
            rule.ends_with("-j ACCEPT") || rule.ends_with("-j LOG") || rule.ends_with("-j RETURN")
        };
        let filters = rules(saved).filter(theirs).any(|rule| !passes(rule));
        named("FORWARD").filter(|_| drops || filters)
    })
}

fn rules(saved: &str) -> impl Iterator<Item = &str> {
    saved.lines().filter_map(|line| line.strip_prefix("-A "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeId {
        NodeId::from_bytes([7; 32])
    }

    fn rule(side: &str) -> String {
        format!(
            "-m devgroup --{side}-group 0x3838383 -m comment --comment \"cnm:070707070707:host\" -j ACCEPT"
        )
    }

    fn table(rules: &[&str]) -> String {
        format!("*filter\n{}\nCOMMIT\n", rules.join("\n"))
    }

    /// What it is, the table, and where our rules go.
    type Row<'a> = (&'a str, &'a [&'a str], Option<(&'a str, usize)>);

    #[test]
    fn our_rules_go_where_the_owner_of_a_chain_wants_them() {
        let rows: [Row<'_>; 7] = [
            ("nobody filters", &[":FORWARD ACCEPT [0:0]"], None),
            ("a policy alone", &[":FORWARD DROP [0:0]"], Some(("FORWARD", 1))),
            (
                "a user's own drop",
                &[":FORWARD ACCEPT [0:0]", "-A FORWARD -i eth0 -j DROP"],
                Some(("FORWARD", 1)),
            ),
            (
                "accepts alone drop nothing",
                &[":FORWARD ACCEPT [0:0]", "-A FORWARD -i eth0 -j ACCEPT"],
                None,
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
            ),
            (
                "a place that nobody jumps to any more is none",
                &[":FORWARD DROP [0:0]", ":DOCKER-USER - [0:0]"],
                Some(("FORWARD", 1)),
            ),
        ];
        for (name, lines, expected) in rows {
            let change = change(&table(lines), node(), true);
            let script = expected.map(|(chain, at)| {
                let (src, dst) = (rule("src"), rule("dst"));
                format!(
                    "*filter\n-I {chain} {at} {src}\n-I {chain} {} {dst}\nCOMMIT\n",
                    at + 1
                )
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
    fn rules_that_are_there_are_left_alone_and_go_when_they_are_not_wanted() {
        let (src, dst) = (
            format!("-A FORWARD {}", rule("src")),
            format!("-A FORWARD {}", rule("dst")),
        );
        let saved = table(&[":FORWARD DROP [0:0]", &src, &dst]);
        assert_eq!(change(&saved, node(), true).script, None);
        let gone = change(&saved, node(), false).script.unwrap_or_default();
        let (src, dst) = (src.replacen("-A", "-D", 1), dst.replacen("-A", "-D", 1));
        assert_eq!(gone, format!("*filter\n{src}\n{dst}\nCOMMIT\n"));
        let half = table(&[":FORWARD DROP [0:0]", &format!("-A FORWARD {}", rule("src"))]);
        let healed = change(&half, node(), true).script.unwrap_or_default();
        assert_eq!(healed.matches("-I FORWARD").count(), 2, "{healed}");
    }

    #[test]
    fn our_rules_alone_are_no_reason_to_keep_them() {
        let (src, dst) = (
            format!("-A FORWARD {}", rule("src")),
            format!("-A FORWARD {}", rule("dst")),
        );
        let saved = table(&[":FORWARD ACCEPT [0:0]", &src, &dst]);
        let script = change(&saved, node(), true).script.unwrap_or_default();
        assert!(
            script.contains("-D FORWARD") && !script.contains("-I "),
            "{script}"
        );
    }
}
