//! Pure: where other people's iptables rules would drop what our bridges forward, and what lets it pass.
//!
//! An accept in our own table does not help against a drop in theirs. So a jump to a chain of ours goes where the owner of
//! a chain wants such rules to be: behind the user's in `DOCKER-USER` or `ufw-user-forward`; only where there is no such
//! place at the head of `FORWARD`. Our chain names our links by their group, so its length is not that of the networks.
//! What it lets pass there still has to pass our own chains, and what our containers send to a link that Docker or libvirt
//! keeps is left to their rules: they shut others out by dropping what nobody accepts. Nobody else's rule is changed,
//! moved or removed.
//!
//! Other base chains of nf_tables may drop too. firewalld is asked to let our bridges forward; a chain that is anybody's
//! is told of by [`Passage::Blocked`].

use std::collections::BTreeSet;

use model::{InterfaceName, NodeId};

use crate::{Mark, Owner};

/// How packets that we forward fare with everybody else's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// A jump to a chain of ours, in this one, lets them pass.
    Opened {
        /// As its program is called: `iptables`, `ip6tables`, and for each `-legacy`.
        by: &'static str,
        /// The chain.
        chain: String,
    },
    /// Somebody's rules may refuse them, and it is for the administrator to say otherwise.
    Blocked {
        /// Who: a program, or a chain of nf_tables.
        by: String,
        /// What to do about it.
        hint: String,
    },
}

/// What is to be done about one program's filter table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The chain that leads to ours afterwards.
    pub(crate) chain: Option<String>,
    /// For `iptables-restore --noflush`; none if all is as it should be.
    pub(crate) script: Option<String>,
}

/// Chains whose owners made them for rules of others, the best first. Our rules go behind all that is there.
const PLACES: [&str; 3] = ["DOCKER-USER", "ufw-user-forward", "ufw-before-forward"];

/// Owners of links that nothing may enter but what they let: what their chains' names begin with.
const KEEPERS: [&str; 2] = ["DOCKER", "LIBVIRT_"];

/// Compares a filter table, as `iptables-save -t filter` tells it, with what we want of it: nothing of ours, or that our
/// links and those that a network has adopted pass.
pub(crate) fn change(saved: &str, node: NodeId, wanted: Option<&BTreeSet<InterfaceName>>) -> Change {
    let mark = Mark {
        node,
        owner: Owner::Host,
    };
    let own = Own {
        chain: format!("cnm-pass-{}", node.prefix(8)),
        comment: mark.to_string(),
    };
    let placed = place(saved, &own).zip(wanted);
    let place = placed.map(|(place, _)| place);
    let script = match placed {
        Some((place, adopted)) => own.put(saved, place, &own.content(node, &kept(saved), adopted)),
        None => own.remove(saved),
    };
    Change {
        script,
        chain: place.map(str::to_owned),
    }
}

/// A link that somebody else keeps, and lets nobody into but whom he wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept {
    link: String,
    /// Only the policy of `FORWARD` would shut others out, and it doesn't. dockerd leaves it as it is on a host that
    /// forwarded before it came, as one does where we were first.
    open: bool,
}

impl Kept {
    /// What becomes of packets that our links' `group` sends there, each as behind `-A CHAIN`: its keeper's own rules go
    /// on to judge them.
    pub(crate) fn rules(&self, group: u32, comment: &str) -> Vec<String> {
        let link = &self.link;
        let new = "-m conntrack --ctstate NEW -m conntrack ! --ctstate DNAT";
        let shut = || format!("-o {link} -m devgroup --src-group {group:#x} {new}{comment} -j DROP");
        let leave = format!("-o {link}{comment} -j RETURN");
        self.open.then(shut).into_iter().chain([leave]).collect()
    }
}

/// Links that somebody else keeps, in a filter table.
pub(crate) fn kept(saved: &str) -> BTreeSet<Kept> {
    let drops = saved.lines().any(|line| line.starts_with(":FORWARD DROP"));
    let shut: BTreeSet<_> = keeping(saved)
        .filter(|(_, shut)| *shut)
        .map(|(link, _)| link)
        .collect();
    let kept = keeping(saved).map(|(link, _)| Kept {
        link: link.to_owned(),
        open: !drops && !shut.contains(link),
    });
    kept.collect()
}

/// Each rule by which somebody keeps a link: the link, and whether that rule shuts it.
fn keeping(saved: &str) -> impl Iterator<Item = (&str, bool)> {
    rules(saved).filter_map(|rule| {
        let words: Vec<_> = rule.split_whitespace().collect();
        let behind = |option| {
            let at = words.iter().position(|word| *word == option)?;
            (words[at - 1] != "!").then(|| words.get(at + 1).copied())?
        };
        let (chain, link, target) = (words[0], behind("-o")?, behind("-j")?);
        let keeper = KEEPERS.iter().any(|keeper| chain.starts_with(keeper));
        let refuses = keeper && matches!(target, "DROP" | "REJECT");
        // Its user's own rules may be about any link, and Docker's second stage about its own packets.
        let shuts = refuses && chain != "DOCKER-ISOLATION-STAGE-2";
        (chain != PLACES[0] && (target == "DOCKER" || refuses)).then_some((link, shuts))
    })
}

/// What of a table is ours: a chain that lets our packets pass, and a jump to it.
struct Own {
    chain: String,
    comment: String,
}

impl Own {
    fn is_ours(&self, rule: &str) -> bool {
        rule.contains(&self.comment)
    }

    /// The rules of our chain, each as behind `-A`.
    fn content(&self, node: NodeId, kept: &BTreeSet<Kept>, adopted: &BTreeSet<InterfaceName>) -> Vec<String> {
        let (chain, group) = (&self.chain, Mark::group(node));
        let comment = format!(" -m comment --comment \"{}\"", self.comment);
        let leave = kept.iter().flat_map(|kept| kept.rules(group, &comment));
        let pass =
            ["src", "dst"].map(|side| format!("-m devgroup --{side}-group {group:#x}{comment} -j ACCEPT"));
        let adopted = adopted
            .iter()
            .flat_map(|link| ["-i", "-o"].map(|option| format!("{option} {link}{comment} -j ACCEPT")));
        let rules = leave.chain(pass).chain(adopted);
        rules.map(|rule| format!("{chain} {rule}")).collect()
    }

    /// The script that brings our chain about, unless it is there.
    fn put(&self, saved: &str, place: &str, content: &[String]) -> Option<String> {
        let jump = format!(
            "{place} -m comment --comment \"{}\" -j {}",
            self.comment, self.chain
        );
        let (inside, outside) = self.there(saved);
        let well_placed = || {
            let place: Vec<_> = of(saved, place).collect();
            place.iter().position(|rule| *rule == jump) == Some(self.position(&place) - 1)
        };
        if inside == content && outside == [&jump] && (place == "FORWARD" || well_placed()) {
            return None;
        }
        let mut script = format!("*filter\n:{} - [0:0]\n", self.chain);
        script.extend(outside.iter().map(|rule| format!("-D {rule}\n")));
        script.extend(content.iter().map(|rule| format!("-A {rule}\n")));
        let position = match place {
            "FORWARD" => 1,
            _ => self.position(&of(saved, place).collect::<Vec<_>>()),
        };
        let (_, rest) = jump.split_once(' ')?;
        script += &format!("-I {place} {position} {rest}\n");
        Some(script + "COMMIT\n")
    }

    /// The script that takes it away, if something of it is there.
    fn remove(&self, saved: &str) -> Option<String> {
        let (_, outside) = self.there(saved);
        let declared = chains(saved).any(|chain| chain == self.chain);
        if outside.is_empty() && !declared {
            return None;
        }
        let mut script = "*filter\n".to_owned();
        script.extend(outside.iter().map(|rule| format!("-D {rule}\n")));
        if declared {
            script += &format!("-F {0}\n-X {0}\n", self.chain);
        }
        Some(script + "COMMIT\n")
    }

    /// Our rules: those of our chain, and those elsewhere.
    fn there<'a>(&self, saved: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
        let inside = of(saved, &self.chain).collect();
        let ours = rules(saved).filter(|rule| self.is_ours(rule));
        let outside = ours.filter(|rule| rule.split_whitespace().next() != Some(&self.chain));
        (inside, outside.collect())
    }

    /// Where among a chain's rules ours belongs, from 1: behind everything but a last `RETURN`.
    fn position(&self, place: &[&str]) -> usize {
        let theirs: Vec<_> = place.iter().filter(|rule| !self.is_ours(rule)).collect();
        let returns = theirs.last().is_some_and(|rule| {
            let mut words = rule.split_whitespace().skip(1);
            words.by_ref().eq(["-j", "RETURN"])
        });
        theirs.len() + usize::from(!returns)
    }
}

/// The chain that our rules belong in; none if nothing there drops what is forwarded.
fn place<'a>(saved: &'a str, own: &Own) -> Option<&'a str> {
    let named = |wanted: &str| chains(saved).find(|name| *name == wanted);
    let jumped_to = |name: &str| {
        let jump = format!(" -j {name}");
        rules(saved).any(|rule| rule.ends_with(&jump))
    };
    let provided = PLACES
        .iter()
        .find_map(|name| named(name).filter(|name| jumped_to(name)));
    provided.or_else(|| {
        let drops = saved.lines().any(|line| line.starts_with(":FORWARD DROP"));
        let theirs = |rule: &&str| !own.is_ours(rule);
        let passes = |rule: &str| {
            rule.ends_with("-j ACCEPT") || rule.ends_with("-j LOG") || rule.ends_with("-j RETURN")
        };
        let filters = of(saved, "FORWARD").filter(theirs).any(|rule| !passes(rule));
        named("FORWARD").filter(|_| drops || filters)
    })
}

fn chains(saved: &str) -> impl Iterator<Item = &str> {
    let declared = saved.lines().filter_map(|line| line.strip_prefix(':'));
    declared.filter_map(|line| line.split_whitespace().next())
}

/// The rules of one chain.
fn of<'a>(saved: &'a str, chain: &str) -> impl Iterator<Item = &'a str> {
    rules(saved).filter(move |rule| rule.split_whitespace().next() == Some(chain))
}

fn rules(saved: &str) -> impl Iterator<Item = &str> {
    saved.lines().filter_map(|line| line.strip_prefix("-A "))
}

#[cfg(test)]
mod tests;
