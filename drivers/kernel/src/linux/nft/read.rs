//! nf_tables' answers as firewall objects. What can't be understood isn't ours and reads as none.

use super::{
    attributes::Received,
    expression::{self, read_verdict},
    lift::lift,
    message::{INTERVAL, INTERVAL_END, MAP, VERDICTS, chain_kind, family_number, hook_number, type_number},
};
use crate::ruleset::{
    Action, Base, Chain, ChainKind, Content, Element, Family, Hook, Mapped, Policy, Rule, Set, Table, Type,
    Value,
};

pub(super) fn family(number: u8) -> Option<Family> {
    let all = [Family::Inet, Family::Ip, Family::Ip6];
    all.into_iter().find(|family| family_number(*family) == number)
}

/// A table by its message's family and attributes.
pub(super) fn table(number: u8, attributes: &Received<'_>) -> Option<Table> {
    Some(Table {
        family: family(number)?,
        name: attributes.string(1)?.into_owned(),
    })
}

/// A chain, without its rules.
pub(super) fn chain(number: u8, attributes: &Received<'_>) -> Option<Chain> {
    let base = match attributes.nested(4) {
        Some(hook) => Some(base(&hook, attributes)?),
        None => None,
    };
    Some(Chain {
        table: table(number, attributes)?,
        name: attributes.string(3)?.into_owned(),
        base,
        rules: Vec::new(),
        users: false,
    })
}

fn base(hook: &Received<'_>, attributes: &Received<'_>) -> Option<Base> {
    let kinds = [ChainKind::Filter, ChainKind::Nat, ChainKind::Route];
    let hooks = [
        Hook::Prerouting,
        Hook::Input,
        Hook::Forward,
        Hook::Output,
        Hook::Postrouting,
    ];
    let (name, number) = (attributes.string(7)?, hook.u32(1)?);
    Some(Base {
        kind: kinds.into_iter().find(|kind| chain_kind(*kind) == name)?,
        hook: hooks.into_iter().find(|hook| hook_number(*hook) == number)?,
        priority: hook.u32(2)?.cast_signed(),
        policy: if attributes.u32(5)? == 0 {
            Policy::Drop
        } else {
            Policy::Accept
        },
    })
}

/// A rule of a table of that family. One that we could not have written is [`Action::Foreign`].
pub(super) fn rule(family: Family, attributes: &Received<'_>) -> Rule {
    let expressions = attributes.nested(4).unwrap_or_default();
    match expression::decode(&expressions) {
        Some(expressions) => lift(&expressions, family),
        None => Rule::new(Action::Foreign),
    }
}

/// A set or map.
pub(super) fn set(number: u8, attributes: &Received<'_>) -> Option<Set> {
    let flags = attributes.u32(3).unwrap_or_default();
    let content = match attributes.u32(6) {
        _ if flags & MAP == 0 => Content::Keys,
        Some(VERDICTS) => Content::Verdicts,
        data => Content::Data(types(data?)?),
    };
    Some(Set {
        table: table(number, attributes)?,
        name: attributes.string(2)?.into_owned(),
        key: types(attributes.u32(4)?)?,
        content,
        intervals: flags & INTERVAL != 0,
    })
}

fn types(mut number: u32) -> Option<Vec<Type>> {
    let all = [
        Type::Ipv4,
        Type::Ipv6,
        Type::Protocol,
        Type::Port,
        Type::Mark,
        Type::Interface,
    ];
    let mut types = Vec::new();
    while number != 0 {
        types.push(all.into_iter().find(|kind| type_number(*kind) == number & 63)?);
        number >>= 6;
    }
    types.reverse();
    Some(types)
}

/// The elements in a message about this set, and their comments.
pub(super) fn elements(set: &Set, messages: &[(u8, Vec<u8>)]) -> Vec<(Option<String>, Element)> {
    let lists: Vec<_> = messages
        .iter()
        .filter_map(|(_, bytes)| Received::read(bytes).nested(3))
        .collect();
    let mut raw: Vec<_> = lists
        .iter()
        .flat_map(|list| list.entries(1))
        .filter_map(Raw::read)
        .collect();
    if set.intervals && set.key.len() == 1 {
        join_intervals(&mut raw);
    }
    raw.into_iter().filter_map(|raw| raw.element(set)).collect()
}

/// An element as the kernel has it.
struct Raw<'a> {
    attributes: Received<'a>,
    first: Vec<u8>,
    last: Vec<u8>,
    end: bool,
}

impl<'a> Raw<'a> {
    fn read(attributes: Received<'a>) -> Option<Self> {
        let bound = |kind| Some(attributes.nested(kind)?.bytes(1)?.to_vec());
        let first: Vec<u8> = bound(1)?;
        Some(Self {
            last: bound(10).unwrap_or_else(|| first.clone()),
            first,
            end: attributes.u32(3).is_some_and(|flags| flags & INTERVAL_END != 0),
            attributes,
        })
    }

    fn element(&self, set: &Set) -> Option<(Option<String>, Element)> {
        let to = match (&set.content, self.attributes.nested(2)) {
            (Content::Keys, _) => Mapped::Nothing,
            (Content::Verdicts, Some(data)) => Mapped::Verdict(read_verdict(&data)?),
            (Content::Data(types), Some(data)) => {
                let bytes = data.bytes(1)?;
                Mapped::Data(values(types, |kind, at| {
                    Value::from_bytes(kind, bytes.get(at..)?)
                })?)
            }
            _ => return None,
        };
        let element = Element {
            table: set.table.clone(),
            set: set.name.clone(),
            key: self.key(set)?,
            to,
        };
        Some((self.attributes.bytes(6).and_then(comment), element))
    }

    fn key(&self, set: &Set) -> Option<Vec<Value>> {
        values(&set.key, |kind, at| {
            let (first, last) = (self.first.get(at..)?, self.last.get(at..)?);
            if set.intervals {
                Value::from_bounds(kind, first, last)
            } else {
                Value::from_bytes(kind, first)
            }
        })
    }
}

/// Puts the end of each interval into the element that begins it: ends are elements of their own, and exclusive.
fn join_intervals(raw: &mut Vec<Raw<'_>>) {
    raw.sort_by(|a, b| (&a.first, !a.end).cmp(&(&b.first, !b.end)));
    let mut following: Option<Vec<u8>> = None;
    for one in raw.iter_mut().rev() {
        if !one.end {
            one.last = match &following {
                Some(next) => preceding(next.clone()),
                None => vec![0xff; one.first.len()],
            };
        }
        following = Some(one.first.clone());
    }
    raw.retain(|one| !one.end);
}

fn preceding(mut bytes: Vec<u8>) -> Vec<u8> {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_sub(1);
        if *byte != 0xff {
            break;
        }
    }
    bytes
}

/// Values of these types, each read at its place.
fn values(types: &[Type], read: impl Fn(Type, usize) -> Option<Value>) -> Option<Vec<Value>> {
    let mut at = 0;
    let mut values = Vec::new();
    for kind in types {
        values.push(read(*kind, at)?);
        at += kind.padded();
    }
    Some(values)
}

/// The comment in an object's userdata.
pub(super) fn comment(userdata: &[u8]) -> Option<String> {
    note(userdata, 0)
}

/// The comment in a set's userdata.
pub(super) fn set_comment(userdata: &[u8]) -> Option<String> {
    note(userdata, 7)
}

fn note(mut userdata: &[u8], wanted: u8) -> Option<String> {
    while let [kind, length, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*length))?;
        if *kind == wanted {
            let text = value.split(|byte| *byte == 0).next()?;
            return String::from_utf8(text.to_vec()).ok();
        }
        userdata = &rest[value.len()..];
    }
    None
}
