//! Who judges what a host forwards: everybody's base chains on that hook, as far as they can stand in our way.

use std::io;

use super::{
    attributes::Received,
    connection::Connection,
    message::{Message, in_table, kind},
    read,
};
use crate::{
    Passage,
    ruleset::{Action, Base, Chain, ChainKind, Family, Hook, Policy, Rule, Table, Verdict},
};

/// A chain that judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::linux) struct Judge {
    table: Table,
    chain: String,
    /// What nobody accepts in it is dropped.
    drops: bool,
    /// Our links' group.
    group: u32,
    /// Some rule of it speaks of that.
    admits: bool,
}

impl Judge {
    /// Whether it is the chain of iptables' filter table.
    pub(in crate::linux) fn is_iptables(&self, family: Family) -> bool {
        self.table.family == family && self.table.name == "filter" && self.chain == "FORWARD"
    }

    /// Whether it is firewalld's.
    pub(in crate::linux) fn is_firewalld(&self) -> bool {
        self.table == Table::inet("firewalld")
    }

    /// Tells that our packets don't pass, if so: no accept of ours overrides a drop of another chain.
    pub(in crate::linux) fn blocks(&self) -> Option<Passage> {
        let Self { table, chain, .. } = self;
        // Programs that are spoken to leave no rule for the administrator to add.
        let spoken_to = self.is_iptables(table.family) || self.is_firewalld();
        let foreign = !spoken_to && !table.name.starts_with("cnm");
        (foreign && self.drops && !self.admits).then(|| Passage::Blocked {
            by: format!("chain {table} {chain}"),
            hint: format!(
                "it drops what none of its rules accepts; to let containers pass: nft insert rule {table} {chain} \
                 meta iifgroup {0:#x} accept; nft insert rule {table} {chain} meta oifgroup {0:#x} accept",
                self.group
            ),
        })
    }
}

impl Connection {
    /// Every chain that judges what is forwarded, whoever's it is.
    pub(in crate::linux) fn judges(&mut self, group: u32) -> io::Result<Vec<Judge>> {
        let mut judges = Vec::new();
        for (family, bytes) in self.dump(&Message::of_all(kind::GET_CHAIN))? {
            if let Some(chain) = read::chain(family, &Received::read(&bytes))
                && let Some(base) = chain.base.as_ref().filter(|base| judges_forwarded(base))
            {
                let drops = base.policy == Policy::Drop;
                judges.push(self.judge(&chain, drops, group)?);
            }
        }
        Ok(judges)
    }

    fn judge(&mut self, chain: &Chain, drops: bool, group: u32) -> io::Result<Judge> {
        let attributes = in_table(&chain.table).string(2, &chain.name);
        let message = Message::new(kind::GET_RULE, chain.table.family, attributes);
        let mut judge = Judge {
            table: chain.table.clone(),
            chain: chain.name.clone(),
            drops,
            group,
            admits: false,
        };
        for (_, bytes) in self.dump(&message)? {
            let attributes = Received::read(&bytes);
            if attributes.string(2).is_some_and(|name| name == chain.name) {
                judge.drops |= refuses_all(&read::rule(chain.table.family, &attributes));
                // We have no word for groups in rules; what a comparison holds is the number as the host writes it.
                judge.admits |= bytes.windows(4).any(|four| four == group.to_ne_bytes());
            }
        }
        Ok(judge)
    }
}

fn judges_forwarded(base: &Base) -> bool {
    base.kind == ChainKind::Filter && base.hook == Hook::Forward
}

/// Whether nothing passes a rule.
fn refuses_all(rule: &Rule) -> bool {
    let refuses = matches!(rule.action, Some(Action::Verdict(Verdict::Drop) | Action::Reject));
    refuses && rule.matches.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(table: Table, chain: &str, drops: bool, admits: bool) -> Judge {
        Judge {
            table,
            chain: chain.to_owned(),
            drops,
            group: 7,
            admits,
        }
    }

    #[test]
    fn a_chain_that_drops_blocks_unless_it_names_us_or_is_spoken_to() {
        let ip = Table {
            family: Family::Ip,
            name: "filter".to_owned(),
        };
        let rows = [
            (
                "it drops",
                judge(Table::inet("filter"), "forward", true, false),
                true,
            ),
            (
                "it accepts",
                judge(Table::inet("filter"), "forward", false, false),
                false,
            ),
            (
                "it names us",
                judge(Table::inet("filter"), "forward", true, true),
                false,
            ),
            ("iptables'", judge(ip.clone(), "FORWARD", true, false), false),
            (
                "one of that name by hand",
                judge(ip, "forward", true, false),
                true,
            ),
            (
                "firewalld's",
                judge(Table::inet("firewalld"), "filter_FORWARD", true, false),
                false,
            ),
            (
                "another daemon's like us",
                judge(Table::inet("cnm-1"), "forward", true, false),
                false,
            ),
        ];
        for (name, judge, blocks) in rows {
            assert_eq!(judge.blocks().is_some(), blocks, "{name}");
        }
    }

    #[test]
    fn a_rule_that_lets_nothing_by_blocks_wherever_it_stands() {
        crate::linux::tests::apart(|| {
            let rows = [
                ("ct state established accept; counter drop", true),
                ("drop; counter", true),
                ("ct state invalid drop; counter", false),
            ];
            for (rules, blocks) in rows {
                let script = format!(
                    "flush ruleset; table inet t {{ chain c {{ type filter hook forward priority 0; {rules}; }}; }}"
                );
                let nft = std::process::Command::new("nft").arg(&script).status();
                assert!(nft.expect("nft is there").success(), "{script}");
                let judges = Connection::here().and_then(|mut connection| connection.judges(7));
                let judges = judges.expect("listed");
                let blocked: Vec<_> = judges.iter().filter_map(Judge::blocks).collect();
                assert_eq!(!blocked.is_empty(), blocks, "{rules}");
            }
        });
    }

    #[test]
    fn what_to_do_is_told_as_typed() {
        let Some(Passage::Blocked { by, hint }) = judge(Table::inet("t"), "c", true, false).blocks() else {
            panic!("it blocks");
        };
        assert_eq!(by, "chain inet t c");
        for side in ["iif", "oif"] {
            let rule = format!("nft insert rule inet t c meta {side}group 0x7 accept");
            assert!(hint.contains(&rule), "{hint}");
        }
    }
}
