//! Changes in one transaction, in an order that the kernel accepts.
//!
//! Elements of one set that follow each other share messages: ten thousand ports are a few dozen. A message is refused
//! whole, so when one of many elements is, the transaction is tried again with a message for each, to know which it was.

use std::{collections::BTreeSet, io};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use nix::libc;

use super::{
    attributes::Attributes,
    connection::{Connection, Content},
    message::{self, Message},
};
use crate::{
    Mark,
    ruleset::{Chain, Element, Item, Table},
};

/// Bytes of elements in one message: a list is an attribute, whose length has 16 bits.
const MOST: usize = 60_000;

/// One change of the firewall.
#[derive(Debug, Clone, Copy)]
pub(in crate::linux) enum Change<'a> {
    /// Makes an object that must not be there.
    Create(&'a Item),
    /// Turns an object into another of the same key.
    Replace { from: &'a Item, to: &'a Item },
    /// Removes an object; that it isn't there is no error.
    Remove(&'a Item),
}

/// A transaction that the kernel refused as a whole.
#[derive(Debug)]
pub(in crate::linux) struct Refused {
    /// Index of the first change that it refused.
    pub(in crate::linux) change: usize,
    /// Why.
    pub(in crate::linux) source: io::Error,
}

/// A message of a transaction and the change that it is for.
#[derive(Clone)]
struct Part {
    change: usize,
    /// That the object isn't there is as good.
    removal: bool,
    /// It is for the changes after that one as well.
    shared: bool,
    message: Message,
}

impl Connection {
    /// Does all changes or none.
    pub(in crate::linux) fn commit(&mut self, mark: &Mark, changes: &[Change<'_>]) -> Result<(), Refused> {
        let phases = Phases::of(mark, changes);
        let shared = phases.parts(true);
        if shared.iter().all(|part| !part.shared) {
            return self.commit_parts(shared);
        }
        match self.try_commit(&shared) {
            Ok(failures) if failures.is_empty() => Ok(()),
            Ok(_) => self.commit_parts(phases.parts(false)),
            Err(source) => Err(Refused { change: 0, source }),
        }
    }

    fn commit_parts(&mut self, mut parts: Vec<Part>) -> Result<(), Refused> {
        loop {
            let failures = self
                .try_commit(&parts)
                .map_err(|source| Refused { change: 0, source })?;
            let Some((first, errno)) = failures.iter().find(|(at, errno)| !is_gone(&parts[*at], *errno))
            else {
                if failures.is_empty() {
                    return Ok(());
                }
                let gone: BTreeSet<_> = failures.iter().map(|(at, _)| *at).collect();
                let mut at = 0..;
                parts.retain(|_| at.next().is_some_and(|at| !gone.contains(&at)));
                continue;
            };
            return Err(Refused {
                change: parts[*first].change,
                source: io::Error::from_raw_os_error(*errno),
            });
        }
    }

    /// Sends the parts as one transaction. Returns which of them the kernel refused, each with its error number.
    fn try_commit(&mut self, parts: &[Part]) -> io::Result<Vec<(usize, i32)>> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let mut datagram = message::begin(self.next());
        let mut first = 0;
        for (at, part) in parts.iter().enumerate() {
            // Refusals are always answered; for the rest one answer to the last message is enough.
            let last = if at + 1 == parts.len() { NLM_F_ACK } else { 0 };
            let sequence = self.next();
            if at == 0 {
                first = sequence;
            }
            datagram.extend(part.message.encode(NLM_F_REQUEST | last, sequence));
        }
        datagram.extend(message::end(self.next()));
        let answer = self
            .send(&datagram)
            .and_then(|()| self.collect(first, parts.len()));
        if answer.is_err() {
            self.drain();
        }
        answer
    }

    fn collect(&self, first: u32, count: usize) -> io::Result<Vec<(usize, i32)>> {
        let mut failures = Vec::new();
        loop {
            for answer in self.receive()? {
                let Content::Status(errno) = answer.content else {
                    continue;
                };
                let at = answer.sequence.wrapping_sub(first) as usize;
                if errno != 0 {
                    // A refusal of the transaction itself answers its first message.
                    if at >= count {
                        return Err(io::Error::from_raw_os_error(errno));
                    }
                    failures.push((at, errno));
                }
                if at + 1 == count {
                    return Ok(failures);
                }
            }
        }
    }
}

fn is_gone(part: &Part, errno: i32) -> bool {
    part.removal && errno == libc::ENOENT
}

/// Elements with the change that each is for.
type Elements<'a> = Vec<(usize, &'a Element)>;

/// Messages by what must come before what.
#[derive(Default)]
struct Phases<'a> {
    comment: String,
    lost_elements: Elements<'a>,
    flushed: Vec<Part>,
    lost: Vec<Part>,
    lost_tables: Vec<Part>,
    tables: Vec<Part>,
    chains: Vec<Part>,
    sets: Vec<Part>,
    elements: Elements<'a>,
    rules: Vec<Part>,
}

impl<'a> Phases<'a> {
    fn of(mark: &Mark, changes: &[Change<'a>]) -> Self {
        let comment = mark.to_string();
        let removed: BTreeSet<&Table> = changes
            .iter()
            .filter_map(|change| change.removed_table())
            .collect();
        let mut phases = Self::default();
        for (at, change) in changes.iter().enumerate() {
            match *change {
                Change::Create(item) => phases.create(at, item, &comment),
                Change::Remove(Item::Table(table)) => {
                    phases.lost_tables.push(removal(at, message::delete_table(table)));
                }
                // It goes with its table.
                Change::Remove(item) if removed.contains(item.table()) => {}
                Change::Remove(item) => phases.remove(at, item),
                Change::Replace {
                    from: Item::Chain(from),
                    to: Item::Chain(to),
                } if from.base == to.base && to.users => {
                    tracing::debug!(at, chain = %to.name, "its rules are the user's");
                }
                Change::Replace {
                    from: Item::Chain(from),
                    to: Item::Chain(to),
                } if from.base == to.base => {
                    phases.flushed.push(part(at, message::flush(from)));
                    phases.append_rules(at, to, &comment);
                }
                Change::Replace { from, to } => {
                    phases.remove(at, from);
                    phases.create(at, to, &comment);
                }
            }
        }
        Self { comment, ..phases }
    }

    fn create(&mut self, at: usize, item: &'a Item, comment: &str) {
        match item {
            Item::Table(table) => self.tables.push(part(at, message::new_table(table, comment))),
            Item::Set(set) => self.sets.push(part(at, message::new_set(set, comment))),
            Item::Element(element) => self.elements.push((at, element)),
            Item::Chain(chain) => {
                self.chains.push(part(at, message::new_chain(chain, comment)));
                self.append_rules(at, chain, comment);
            }
        }
    }

    fn append_rules(&mut self, at: usize, chain: &Chain, comment: &str) {
        let append = |rule| part(at, message::append_rule(chain, rule, comment));
        self.rules.extend(chain.rules.iter().map(append));
    }

    fn remove(&mut self, at: usize, item: &'a Item) {
        match item {
            Item::Table(table) => self.lost_tables.push(removal(at, message::delete_table(table))),
            Item::Set(set) => self.lost.push(removal(at, message::delete_set(set))),
            Item::Element(element) => self.lost_elements.push((at, element)),
            Item::Chain(chain) => {
                self.flushed.push(removal(at, message::flush(chain)));
                self.lost.push(removal(at, message::delete_chain(chain)));
            }
        }
    }

    /// All messages in order, elements sharing theirs or each in its own.
    fn parts(&self, sharing: bool) -> Vec<Part> {
        let most = if sharing { MOST } else { 0 };
        let lost = messages(&self.lost_elements, most, message::lost, message::delete_elements);
        let lost = lost
            .into_iter()
            .map(|part| Part {
                removal: true,
                ..part
            })
            .collect::<Vec<_>>();
        let made = |element: &Element| message::made(element, &self.comment);
        let new = messages(&self.elements, most, made, message::new_elements);
        let phases: [&[Part]; 9] = [
            &lost,
            &self.flushed,
            &self.lost,
            &self.lost_tables,
            &self.tables,
            &self.chains,
            &self.sets,
            &new,
            &self.rules,
        ];
        phases.concat()
    }
}

/// Messages about elements; those of one set share one until it has so many bytes.
fn messages(
    elements: &Elements<'_>,
    most: usize,
    entries: impl Fn(&Element) -> Attributes,
    message: fn(&Element, &Attributes) -> Message,
) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = elements.iter().peekable();
    while let Some((change, first)) = rest.next() {
        let mut list = entries(first);
        let mut shared = false;
        while list.as_bytes().len() < most
            && let Some((_, next)) = rest.next_if(|(_, next)| next.is_beside(first))
        {
            list = list.and(&entries(next));
            shared = true;
        }
        let message = message(first, &list);
        parts.push(Part {
            shared,
            ..part(*change, message)
        });
    }
    parts
}

impl<'a> Change<'a> {
    fn removed_table(&self) -> Option<&'a Table> {
        match self {
            Self::Remove(Item::Table(table)) => Some(table),
            _ => None,
        }
    }
}

fn part(change: usize, message: Message) -> Part {
    Part {
        change,
        removal: false,
        shared: false,
        message,
    }
}

fn removal(change: usize, message: Message) -> Part {
    Part {
        removal: true,
        ..part(change, message)
    }
}

#[cfg(test)]
mod tests {
    use model::NodeId;

    use super::*;
    use crate::{
        Owner,
        ruleset::{Mapped, Value},
    };

    #[test]
    fn ten_thousand_elements_share_a_few_dozen_messages() {
        let mark = Mark {
            node: NodeId::from_bytes([1; 32]),
            owner: Owner::Host,
        };
        let port = |set: &str, port: u16| {
            Item::Element(Element {
                table: Table::inet("cnm-01010101"),
                set: set.to_owned(),
                key: vec![Value::TCP, Value::Port(port)],
                to: Mapped::Data(vec![Value::Address([10, 0, 0, 2].into()), Value::Port(port + 1)]),
            })
        };
        let items: Vec<_> = (20_000..30_000)
            .map(|number| port("one", number))
            .chain([port("other", 1)])
            .collect();
        for change in [Change::Create, Change::Remove] {
            let changes: Vec<_> = items.iter().map(change).collect();
            let phases = Phases::of(&mark, &changes);
            let (shared, single) = (phases.parts(true), phases.parts(false));
            assert_eq!(single.len(), 10_001);
            assert!(shared.len() < 40, "{} messages", shared.len());
            assert!(
                shared.last().is_some_and(|part| part.change == 10_000),
                "another set's own"
            );
        }
    }
}
