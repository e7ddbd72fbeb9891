//! The other firewall backend: the same objects, realized by `iptables-restore` transactions.
//!
//! The objects are kept in memory, whole, and compiled to chains after each change; what differs from what the kernel has
//! is written, one transaction for each family. A table is replaced at once, tables one after another. Which backend of
//! its own iptables has (nf_tables or legacy) is the host's choice.
//!
//! After a restart the memory is empty while the kernel has everything: until its first look at them nothing is written,
//! and then what is as it should be stays untouched.

mod compile;
mod edits;
mod others;
mod script;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::BorrowedFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{AddressFamily, InterfaceName, NodeId};

use self::{
    compile::{Compiled, Content, compile},
    others::Others,
    script::Look,
};
use super::{netns, passage::run};
use crate::{
    Error, Key, Mark, Netns, Object, Result, Step,
    passage::kept,
    ruleset::{self, Item, Table},
};

/// Every object by its key, with its mark.
type Items = BTreeMap<ruleset::Key, (Mark, Item)>;

/// The host's firewall by way of iptables.
#[derive(Debug)]
pub(super) struct Iptables {
    prefix: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: Items,
    /// What the kernel has, as far as it is known: by family.
    looks: BTreeMap<AddressFamily, Look>,
    /// What was last written.
    written: Compiled,
    gathering: bool,
    legacy: bool,
    others: Others,
}

/// The programs of a family.
const fn programs(family: AddressFamily) -> (&'static str, &'static str) {
    match family {
        AddressFamily::V4 => ("iptables-save", "iptables-restore"),
        AddressFamily::V6 => ("ip6tables-save", "ip6tables-restore"),
    }
}

fn families() -> impl Iterator<Item = AddressFamily> {
    let ipv6 = std::path::Path::new("/proc/sys/net/ipv6").exists();
    [AddressFamily::V4, AddressFamily::V6]
        .into_iter()
        .filter(move |family| *family == AddressFamily::V4 || ipv6)
}

impl Iptables {
    /// The one of a node. Looks for chains that a process before this one left, and then gathers.
    pub(super) fn new(host: BorrowedFd<'_>, node: NodeId) -> io::Result<Self> {
        let backend = Self {
            prefix: compile::prefix(&Table::inet(format!("cnm-{}", node.prefix(8)))),
            state: Mutex::default(),
        };
        let mut state = backend.state();
        state.legacy = run("iptables-restore", &["--version"], "")?.contains("legacy");
        backend.look(&mut state, host)?;
        state.gathering = state.looks.values().any(|look| !look.is_empty());
        drop(state);
        Ok(backend)
    }

    /// Everything that should be there is known: brings it about, and ends what is no longer wanted.
    pub(super) fn gathered(&self, host: BorrowedFd<'_>) -> io::Result<()> {
        let mut state = self.state();
        state.gathering = false;
        let compiled = all(&state.items, &state.others).map_err(io::Error::other)?;
        self.write(&mut state, host, compiled)
    }

    /// Looks whether somebody changed something, and puts it right. With `polled_only` only where nobody announces it.
    /// Of our bridges those are told that somebody else made.
    pub(super) fn verify(
        &self,
        host: BorrowedFd<'_>,
        adopted: Option<&BTreeSet<InterfaceName>>,
        polled_only: bool,
    ) -> io::Result<()> {
        let mut state = self.state();
        state.others.adopted = adopted.cloned().unwrap_or_default();
        if state.gathering || polled_only && !state.legacy {
            return Ok(());
        }
        self.look(&mut state, host)?;
        let compiled = all(&state.items, &state.others).map_err(io::Error::other)?;
        self.write(&mut state, host, compiled)
    }

    /// How many chains and rules there should be, in both families: no look at the kernel.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        let rules = state.written.values().map(Content::count);
        (state.written.len(), rules.sum())
    }

    /// One object.
    pub(super) fn observe(&self, key: &ruleset::Key) -> Option<Item> {
        self.state().items.get(key).map(|(_, item)| item.clone())
    }

    /// Every object of a node.
    pub(super) fn owned(&self, node: NodeId) -> Vec<(Mark, Object)> {
        let state = self.state();
        let items = state.items.values().filter(|(mark, _)| mark.node == node);
        items
            .map(|(mark, item)| (*mark, Object::Firewall(Netns::Host, item.clone())))
            .collect()
    }

    /// All steps or none; on failure which of them.
    pub(super) fn commit(
        &self,
        host: BorrowedFd<'_>,
        mark: &Mark,
        steps: &[Step],
    ) -> Result<(), (usize, Error)> {
        let mut state = self.state();
        let items = changed(&state.items, mark, steps)?;
        let first = || steps[0].object().key();
        let compiled = all(&items, &state.others).map_err(|unsayable| {
            let error = Error::Invalid {
                object: first().into(),
                detail: unsayable.to_string(),
            };
            (0, error)
        })?;
        if !state.gathering
            && let Err(source) = self.write(&mut state, host, compiled)
        {
            self.take_back(&mut state, host);
            let error = Error::System {
                object: first().to_string(),
                action: "committing it by way of iptables",
                source,
            };
            return Err((0, error));
        }
        state.items = items;
        Ok(())
    }

    /// One family may have been written before the other was refused.
    fn take_back(&self, state: &mut State, host: BorrowedFd<'_>) {
        let undone = all(&state.items, &state.others)
            .map_err(io::Error::other)
            .and_then(|before| {
                self.look(state, host)?;
                self.write(state, host, before)
            });
        if let Err(error) = undone {
            tracing::error!(%error, "iptables: undoing a change; it is tried again with the next");
        }
    }

    /// Reads what the kernel has, of us and of who keeps links of his own.
    fn look(&self, state: &mut State, host: BorrowedFd<'_>) -> io::Result<()> {
        let saved: Vec<_> = netns::inside(host, || {
            let save = |family| Ok((family, run(programs(family).0, &[], "")?));
            families().map(save).collect::<io::Result<_>>()
        })?;
        let looks = saved
            .iter()
            .map(|(family, saved)| (*family, script::read(saved, &self.prefix)));
        state.looks = looks.collect();
        state.others.keepers = saved
            .iter()
            .map(|(family, saved)| (*family, kept(saved)))
            .collect();
        Ok(())
    }

    /// Whether its rules are in iptables-legacy's tables.
    pub(super) fn is_legacy(&self) -> bool {
        self.state().legacy
    }

    fn write(&self, state: &mut State, host: BorrowedFd<'_>, compiled: Compiled) -> io::Result<()> {
        for family in families() {
            let look = state.looks.get(&family).cloned().unwrap_or_default();
            let Some(text) = script::script(&look, &state.written, &compiled, family) else {
                continue;
            };
            tracing::debug!(
                ?family,
                lines = text.lines().count(),
                "restoring rules of iptables"
            );
            netns::inside(host, || run(programs(family).1, &["--noflush", "-w", "5"], &text))?;
            state
                .looks
                .insert(family, script::assumed(&look, &compiled, family));
        }
        state.written = compiled;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes all chains of a node, where iptables' tables exist: for a daemon that goes on with nftables.
pub(super) fn clean(host: BorrowedFd<'_>, node: NodeId) -> io::Result<()> {
    let left = match Iptables::new(host, node) {
        Ok(backend) => backend,
        // Who has no iptables has none of its rules.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    left.gathered(host)
}

fn all(items: &Items, others: &Others) -> std::result::Result<Compiled, compile::Unsayable> {
    let mut compiled = compile(items.values().map(|(_, item)| item))?;
    others::put(&mut compiled, others);
    Ok(compiled)
}

/// The items after the steps, if each can be done.
fn changed(before: &Items, mark: &Mark, steps: &[Step]) -> Result<Items, (usize, Error)> {
    let mut items = before.clone();
    for (at, step) in steps.iter().enumerate() {
        let Object::Firewall(_, item) = step.object() else {
            continue;
        };
        let key = item.key();
        match step {
            Step::Create(object) if items.contains_key(&key) => {
                return Err((at, Error::Exists(object.key().into())));
            }
            Step::Create(_) | Step::Change { .. } => drop(items.insert(key, (*mark, item.clone()))),
            Step::Remove(_) => {
                if let Item::Table(table) = item {
                    items.retain(|key, _| key.table() != table);
                }
                items.remove(&key);
            }
        }
    }
    for (at, step) in steps.iter().enumerate() {
        if let (Step::Create(Object::Firewall(netns, item)), false) = (step, matches!(step, Step::Remove(_)))
            && let Some(missing) = missing(&items, item)
        {
            let error = Error::NoSuch {
                object: Key::Firewall(netns.clone(), item.key()).into(),
                missing,
            };
            return Err((at, error));
        }
    }
    Ok(items)
}

/// What an item needs and isn't there.
fn missing(items: &Items, item: &Item) -> Option<String> {
    let key = item.key();
    let table = ruleset::Key::Table(key.table().clone());
    let set = match item {
        Item::Element(element) => Some(ruleset::Key::Set(element.table.clone(), element.set.clone())),
        _ => None,
    };
    let needed = [Some(table), set];
    let lacking = needed.into_iter().flatten().find(|key| !items.contains_key(key));
    lacking.map(|key| key.to_string())
}

/// The rules of both families that do what the items say, as for `iptables-restore` and `ip6tables-restore` on a host
/// that has none of them yet: for golden files and people. An error where iptables has no word for something.
pub fn text<'a>(items: impl IntoIterator<Item = &'a Item>) -> Result<[String; 2], String> {
    let compiled = compile(items).map_err(|unsayable| unsayable.to_string())?;
    Ok([AddressFamily::V4, AddressFamily::V6].map(|family| script::text(&compiled, family)))
}

/// The transactions of both families that lead from some items to others: what a change costs, for tests and people.
///
/// # Errors
/// Where iptables has no word for something.
pub fn change<'a>(
    before: impl IntoIterator<Item = &'a Item>,
    after: impl IntoIterator<Item = &'a Item>,
) -> Result<[String; 2], String> {
    let [before, after] = [compile(before), compile(after)];
    let before = before.map_err(|unsayable| unsayable.to_string())?;
    let after = after.map_err(|unsayable| unsayable.to_string())?;
    Ok([AddressFamily::V4, AddressFamily::V6].map(|family| {
        let there = script::assumed(&Look::new(), &before, family);
        script::script(&there, &before, &after, family).unwrap_or_default()
    }))
}

/// How many chains of ours there are in what is saved.
#[cfg(test)]
pub(super) fn chains_in(saved: &str, prefix: &str) -> usize {
    script::read(saved, prefix).len()
}

#[cfg(test)]
mod tests;
