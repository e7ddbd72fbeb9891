//! Firewall objects as nf_tables messages.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};

use super::{
    attributes::Attributes,
    expression::{self, data, verdict_data},
    lower::lower,
};
use crate::ruleset::{
    Base, Chain, ChainKind, Content, Element, Family, Hook, Mapped, Policy, Rule, Set, Table, Type, Value,
};

/// `NFNL_SUBSYS_NFTABLES`
pub(super) const SUBSYSTEM: u16 = 10;

/// Numbers of messages.
pub(super) mod kind {
    pub(in super::super) const NEW_TABLE: u8 = 0;
    pub(in super::super) const GET_TABLE: u8 = 1;
    pub(in super::super) const DELETE_TABLE: u8 = 2;
    pub(in super::super) const NEW_CHAIN: u8 = 3;
    pub(in super::super) const GET_CHAIN: u8 = 4;
    pub(in super::super) const DELETE_CHAIN: u8 = 5;
    pub(in super::super) const NEW_RULE: u8 = 6;
    pub(in super::super) const GET_RULE: u8 = 7;
    pub(in super::super) const DELETE_RULE: u8 = 8;
    pub(in super::super) const NEW_SET: u8 = 9;
    pub(in super::super) const GET_SET: u8 = 10;
    pub(in super::super) const DELETE_SET: u8 = 11;
    pub(in super::super) const NEW_ELEMENT: u8 = 12;
    pub(in super::super) const GET_ELEMENT: u8 = 13;
    pub(in super::super) const DELETE_ELEMENT: u8 = 14;
}
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// Flags of a set.
pub(super) const INTERVAL: u32 = 4;
pub(super) const MAP: u32 = 8;
const CONCATENATION: u32 = 128;
/// The data of a verdict map, where a type's number would be.
pub(super) const VERDICTS: u32 = 0xffff_ff00;
/// An element that ends the interval which the one before it began.
pub(super) const INTERVAL_END: u32 = 1;

/// A message: what it is, and about what.
#[derive(Debug, Clone)]
pub(super) struct Message {
    kind: u8,
    family: u8,
    flags: u16,
    attributes: Attributes,
}

impl Message {
    pub(super) fn new(kind: u8, family: Family, attributes: Attributes) -> Self {
        Self {
            kind,
            family: family_number(family),
            flags: 0,
            attributes,
        }
    }

    /// About every family.
    pub(super) fn of_all(kind: u8) -> Self {
        Self {
            kind,
            family: 0,
            flags: 0,
            attributes: Attributes::new(),
        }
    }

    fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    /// As a datagram or a part of one.
    pub(super) fn encode(&self, flags: u16, sequence: u32) -> Vec<u8> {
        let kind = SUBSYSTEM << 8 | u16::from(self.kind);
        let header = [self.family, 0, 0, 0];
        encode(
            kind,
            flags | self.flags,
            sequence,
            header,
            self.attributes.as_bytes(),
        )
    }
}

/// The message that opens a transaction.
pub(super) fn begin(sequence: u32) -> Vec<u8> {
    batch(BATCH_BEGIN, sequence)
}

/// The message that ends a transaction.
pub(super) fn end(sequence: u32) -> Vec<u8> {
    batch(BATCH_END, sequence)
}

fn batch(kind: u16, sequence: u32) -> Vec<u8> {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    encode(kind, NLM_F_REQUEST, sequence, [0, 0, high, low], &[])
}

fn encode(kind: u16, flags: u16, sequence: u32, header: [u8; 4], attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.len()).expect("attributes are counted in 16 bits each");
    let mut bytes = Vec::with_capacity(20 + attributes.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(header);
    bytes.extend(attributes);
    bytes
}

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

pub(super) fn new_table(table: &Table, comment: &str) -> Message {
    let attributes = name_of(table).bytes(6, &userdata(0, comment));
    Message::new(kind::NEW_TABLE, table.family, attributes).flags(CREATE)
}

pub(super) fn delete_table(table: &Table) -> Message {
    Message::new(kind::DELETE_TABLE, table.family, name_of(table))
}

pub(super) fn new_chain(chain: &Chain, comment: &str) -> Message {
    let attributes = in_table(&chain.table).string(3, &chain.name);
    let attributes = match &chain.base {
        Some(base) => with_base(attributes, base),
        None => attributes,
    };
    let attributes = attributes.bytes(12, &userdata(0, comment));
    Message::new(kind::NEW_CHAIN, chain.table.family, attributes).flags(CREATE)
}

fn with_base(attributes: Attributes, base: &Base) -> Attributes {
    let priority = base.priority.to_be_bytes();
    let hook = Attributes::new()
        .u32(1, hook_number(base.hook))
        .bytes(2, &priority);
    let attributes = attributes
        .nested(4, &hook)
        .u32(5, u32::from(base.policy == Policy::Accept));
    attributes.string(7, chain_kind(base.kind))
}

pub(super) fn delete_chain(chain: &Chain) -> Message {
    let attributes = in_table(&chain.table).string(3, &chain.name);
    Message::new(kind::DELETE_CHAIN, chain.table.family, attributes)
}

pub(super) fn append_rule(chain: &Chain, rule: &Rule, comment: &str) -> Message {
    let expressions = expression::encode(&lower(rule, chain.table.family));
    let attributes = in_table(&chain.table)
        .string(2, &chain.name)
        .nested(4, &expressions);
    let attributes = attributes.bytes(7, &userdata(0, comment));
    Message::new(kind::NEW_RULE, chain.table.family, attributes).flags(NLM_F_CREATE | NLM_F_APPEND)
}

/// Deletes all rules of a chain.
pub(super) fn flush(chain: &Chain) -> Message {
    let attributes = in_table(&chain.table).string(2, &chain.name);
    Message::new(kind::DELETE_RULE, chain.table.family, attributes)
}

pub(super) fn new_set(set: &Set, comment: &str) -> Message {
    let flag = |on, flag| if on { flag } else { 0 };
    let ranges = set.intervals && set.key.len() > 1;
    let flags =
        flag(set.intervals, INTERVAL) | flag(set.content != Content::Keys, MAP) | flag(ranges, CONCATENATION);
    let attributes = in_table(&set.table).string(2, &set.name).u32(3, flags);
    let attributes = attributes
        .u32(4, types_number(&set.key))
        .u32(5, types_width(&set.key));
    let attributes = match &set.content {
        Content::Keys => attributes,
        Content::Verdicts => attributes.u32(6, VERDICTS),
        Content::Data(types) => attributes.u32(6, types_number(types)).u32(7, types_width(types)),
    };
    let description = |attributes: Attributes| {
        let field = |kind: &Type| Attributes::new().u32(1, width(kind.width()));
        let fields = Attributes::list(1, set.key.iter().map(field));
        attributes.nested(9, &Attributes::new().nested(2, &fields))
    };
    let attributes = if ranges {
        description(attributes)
    } else {
        attributes
    };
    // The kernel wants a number by which the same transaction could refer to the set; names do as well.
    let attributes = attributes.u32(10, 1).bytes(13, &set_userdata(set, comment));
    Message::new(kind::NEW_SET, set.table.family, attributes).flags(CREATE)
}

pub(super) fn delete_set(set: &Set) -> Message {
    let attributes = in_table(&set.table).string(2, &set.name);
    Message::new(kind::DELETE_SET, set.table.family, attributes)
}

/// A list of elements made: the entries of one.
pub(super) fn made(element: &Element, comment: &str) -> Attributes {
    let first = key_of(element, Value::first);
    let attributes = Attributes::new().nested(1, &data(&first));
    let attributes = match &element.to {
        Mapped::Nothing => attributes,
        Mapped::Verdict(verdict) => attributes.nested(2, &verdict_data(verdict)),
        Mapped::Data(values) => attributes.nested(2, &data(&concatenate(values, Value::first))),
    };
    entries(element, attributes.bytes(6, &userdata(0, comment)))
}

/// A list of elements removed: the entries of one.
pub(super) fn lost(element: &Element) -> Attributes {
    let first = key_of(element, Value::first);
    entries(element, Attributes::new().nested(1, &data(&first)))
}

/// Makes elements, of which the first is this.
pub(super) fn new_elements(first: &Element, list: &Attributes) -> Message {
    elements(kind::NEW_ELEMENT, first, list).flags(CREATE)
}

/// Removes elements, of which the first is this.
pub(super) fn delete_elements(first: &Element, list: &Attributes) -> Message {
    elements(kind::DELETE_ELEMENT, first, list)
}

pub(super) fn get_element(element: &Element) -> Message {
    elements(kind::GET_ELEMENT, element, &lost(element))
}

fn elements(kind: u8, first: &Element, list: &Attributes) -> Message {
    let attributes = in_table(&first.table).string(2, &first.set).nested(3, list);
    Message::new(kind, first.table.family, attributes)
}

/// A range of a concatenation is one element with two keys; a single value's range is two elements, its first value and
/// the one behind its last, unless nothing is behind it.
fn entries(element: &Element, first: Attributes) -> Attributes {
    let last = key_of(element, Value::last);
    let ranged = element.key.iter().any(Value::is_range);
    match (ranged, element.key.len()) {
        (true, 1) => {
            let end =
                following(last).map(|end| Attributes::new().nested(1, &data(&end)).u32(3, INTERVAL_END));
            Attributes::list(1, [Some(first), end].into_iter().flatten())
        }
        (true, _) => Attributes::list(1, [first.nested(10, &data(&last))]),
        (false, _) => Attributes::list(1, [first]),
    }
}

/// The next number of that width, if there is one.
pub(super) fn following(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(bytes);
        }
    }
    None
}

fn key_of(element: &Element, bound: fn(&Value) -> Vec<u8>) -> Vec<u8> {
    concatenate(&element.key, bound)
}

/// Values side by side: alone with their own width, together each padded to registers.
pub(super) fn concatenate(values: &[Value], bound: fn(&Value) -> Vec<u8>) -> Vec<u8> {
    if let [alone] = values {
        return bound(alone);
    }
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend(bound(value));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

pub(super) fn name_of(table: &Table) -> Attributes {
    Attributes::new().string(1, &table.name)
}

pub(super) fn in_table(table: &Table) -> Attributes {
    name_of(table)
}

fn width(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a value has at most 16 bytes")
}

fn types_width(types: &[Type]) -> u32 {
    match types {
        [alone] => width(alone.width()),
        several => several.iter().map(|kind| width(kind.padded())).sum(),
    }
}

/// The user's view of types, six bits for each; nft(8) reads it, the kernel doesn't care.
fn types_number(types: &[Type]) -> u32 {
    types
        .iter()
        .fold(0, |number, kind| number << 6 | type_number(*kind))
}

pub(super) const fn type_number(kind: Type) -> u32 {
    match kind {
        Type::Ipv4 => 7,
        Type::Ipv6 => 8,
        Type::Protocol => 12,
        Type::Port => 13,
        Type::Mark => 19,
        Type::Interface => 41,
    }
}

const HOST_ENDIAN: u32 = 1;
const BIG_ENDIAN: u32 = 2;

/// Byte order and a comment, as nft(8) notes them.
fn set_userdata(set: &Set, comment: &str) -> Vec<u8> {
    let order = |types: &[Type]| match types {
        [Type::Mark | Type::Interface | Type::Protocol] => HOST_ENDIAN,
        _ => BIG_ENDIAN,
    };
    let note = |kind: u8, number: u32| [&[kind, 4][..], &number.to_ne_bytes()[..]].concat();
    let mut bytes = note(0, order(&set.key));
    if let Content::Data(types) = &set.content {
        bytes.extend(note(1, order(types)));
    }
    bytes.extend(userdata(7, comment));
    bytes
}

/// A comment as nft(8) notes it: kind, length, text, zero.
fn userdata(kind: u8, comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).expect("a mark has at most 127 bytes");
    [&[kind, length][..], comment.as_bytes(), &[0]].concat()
}

pub(super) const fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Ip6 => 10,
    }
}

pub(super) const fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

pub(super) const fn chain_kind(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
        ChainKind::Route => "route",
    }
}
