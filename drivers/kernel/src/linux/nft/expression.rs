//! Expressions, the instructions that a rule is made of: load into registers, compare, look up, act.
//!
//! Numbers are those of Linux `include/uapi/linux/netfilter/nf_tables.h`, which never change. An expression that isn't
//! among these reads as none; a rule that holds one isn't ours.

use super::attributes::{Attributes, Received};
use crate::ruleset::{Type, Verdict};

/// One of the sixteen 4-byte registers, counted from 0. In messages the first of every four has a short name of its own.
pub(super) type Register = u8;

const LIST_ELEMENT: u16 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Meta {
        key: u32,
        to: Register,
    },
    SetMeta {
        key: u32,
        from: Register,
    },
    Payload {
        base: u32,
        offset: u32,
        length: u32,
        to: Register,
    },
    /// Writes into a packet, and mends the checksum at this offset in the same header.
    SetPayload {
        base: u32,
        offset: u32,
        length: u32,
        from: Register,
        checksum: u32,
    },
    Ct {
        key: u32,
        to: Register,
    },
    Fib {
        flags: u32,
        result: u32,
        to: Register,
    },
    Mask {
        register: Register,
        mask: Vec<u8>,
    },
    Compare {
        equal: bool,
        register: Register,
        with: Vec<u8>,
    },
    Lookup {
        set: String,
        from: Register,
        to: Answer,
        inverted: bool,
    },
    Load {
        to: Register,
        data: Vec<u8>,
    },
    Verdict(Verdict),
    Masquerade,
    Redirect {
        port: Option<Register>,
    },
    Nat {
        source: bool,
        ipv6: bool,
        address: Register,
        port: Option<Register>,
    },
    Reject {
        kind: u32,
        code: u8,
    },
    Counter,
}

/// Where the answer of a lookup goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nowhere: the key is in the set, or the rule ends.
    Membership,
    /// It is a verdict.
    Verdict,
    /// It is data.
    Register(Register),
}

pub(super) mod meta {
    pub(in super::super) const MARK: u32 = 3;
    pub(in super::super) const INPUT_NAME: u32 = 6;
    pub(in super::super) const OUTPUT_NAME: u32 = 7;
    pub(in super::super) const FAMILY: u32 = 15;
    pub(in super::super) const PROTOCOL: u32 = 16;
}
pub(super) mod payload {
    pub(in super::super) const NETWORK: u32 = 1;
    pub(in super::super) const TRANSPORT: u32 = 2;
    /// `NFT_PAYLOAD_CSUM_INET`
    pub(super) const INTERNET_CHECKSUM: u32 = 1;
}
pub(super) mod ct {
    pub(in super::super) const STATE: u32 = 0;
    pub(in super::super) const STATUS: u32 = 2;
    pub(in super::super) const STATUS_DNAT: u32 = 0x20;
}
pub(super) mod fib {
    pub(in super::super) const DESTINATION: u32 = 2;
    pub(in super::super) const ADDRESS_TYPE: u32 = 3;
}
pub(super) const NFPROTO_IPV4: u8 = 2;
pub(super) const NFPROTO_IPV6: u8 = 10;

const VERDICT_REGISTER: u32 = 0;

fn register_number(register: Register) -> u32 {
    if register.is_multiple_of(4) {
        1 + u32::from(register) / 4
    } else {
        8 + u32::from(register)
    }
}

fn register(number: u32) -> Option<Register> {
    match number {
        1..=4 => u8::try_from((number - 1) * 4).ok(),
        8..=23 => u8::try_from(number - 8).ok(),
        _ => None,
    }
}

/// `NFTA_DATA_VALUE`
pub(super) fn data(bytes: &[u8]) -> Attributes {
    Attributes::new().bytes(1, bytes)
}

/// `NFTA_DATA_VERDICT`
pub(super) fn verdict_data(verdict: &Verdict) -> Attributes {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5_i32, None),
    };
    let inner = Attributes::new().bytes(1, &code.to_be_bytes());
    let inner = match chain {
        Some(chain) => inner.string(2, chain),
        None => inner,
    };
    Attributes::new().nested(2, &inner)
}

/// Reads a nested `NFTA_DATA_VERDICT`.
pub(super) fn read_verdict(data: &Received<'_>) -> Option<Verdict> {
    let verdict = data.nested(2)?;
    let chain = || verdict.string(2).map(String::from);
    Some(match i32::from_be_bytes(verdict.bytes(1)?.try_into().ok()?) {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -3 => Verdict::Jump(chain()?),
        -4 => Verdict::Goto(chain()?),
        -5 => Verdict::Return,
        _ => return None,
    })
}

impl Expression {
    /// As an entry of a rule's list of expressions.
    fn encode(&self) -> Attributes {
        let (name, inner) = self.name_and_data();
        Attributes::new().string(1, name).nested(2, &inner)
    }

    fn name_and_data(&self) -> (&'static str, Attributes) {
        let new = Attributes::new;
        let number = |register: &Register| register_number(*register);
        match self {
            Self::Meta { key, to } => ("meta", new().u32(2, *key).u32(1, number(to))),
            Self::SetMeta { key, from } => ("meta", new().u32(2, *key).u32(3, number(from))),
            Self::Payload {
                base,
                offset,
                length,
                to,
            } => {
                let what = new().u32(1, number(to)).u32(2, *base);
                ("payload", what.u32(3, *offset).u32(4, *length))
            }
            Self::SetPayload { .. } => ("payload", self.write_data()),
            Self::Ct { key, to } => ("ct", new().u32(1, number(to)).u32(2, *key)),
            Self::Fib { flags, result, to } => {
                ("fib", new().u32(1, number(to)).u32(2, *result).u32(3, *flags))
            }
            Self::Mask { register, mask } => {
                let what = new().u32(1, number(register)).u32(2, number(register));
                let what = what.u32(3, length(mask)).nested(4, &data(mask));
                ("bitwise", what.nested(5, &data(&vec![0; mask.len()])))
            }
            Self::Compare {
                equal,
                register,
                with,
            } => {
                let what = new().u32(1, number(register)).u32(2, u32::from(!equal));
                ("cmp", what.nested(3, &data(with)))
            }
            Self::Lookup {
                set,
                from,
                to,
                inverted,
            } => {
                let what = new().string(1, set).u32(2, number(from));
                let what = match to {
                    Answer::Membership => what,
                    Answer::Verdict => what.u32(3, VERDICT_REGISTER),
                    Answer::Register(to) => what.u32(3, number(to)),
                };
                ("lookup", if *inverted { what.u32(5, 1) } else { what })
            }
            Self::Load { to, data: bytes } => ("immediate", new().u32(1, number(to)).nested(2, &data(bytes))),
            Self::Verdict(verdict) => {
                let what = new().u32(1, VERDICT_REGISTER);
                ("immediate", what.nested(2, &verdict_data(verdict)))
            }
            Self::Masquerade => ("masq", new()),
            Self::Redirect { port: None } => ("redir", new()),
            Self::Redirect { port: Some(port) } => ("redir", new().u32(1, number(port))),
            Self::Nat {
                source,
                ipv6,
                address,
                port,
            } => {
                let family = if *ipv6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 };
                let what = new()
                    .u32(1, u32::from(!source))
                    .u32(2, family.into())
                    .u32(3, number(address));
                (
                    "nat",
                    port.iter().fold(what, |what, port| what.u32(5, number(port))),
                )
            }
            Self::Reject { kind, code } => ("reject", new().u32(1, *kind).bytes(2, &[*code])),
            Self::Counter => ("counter", new()),
        }
    }

    fn write_data(&self) -> Attributes {
        let Self::SetPayload {
            base,
            offset,
            length,
            from,
            checksum,
        } = self
        else {
            return Attributes::new();
        };
        let what = Attributes::new().u32(2, *base).u32(3, *offset).u32(4, *length);
        let what = what
            .u32(5, register_number(*from))
            .u32(6, payload::INTERNET_CHECKSUM);
        what.u32(7, *checksum)
    }

    fn decode(entry: &Received<'_>) -> Option<Self> {
        let inner = entry.nested(2).unwrap_or_default();
        let at = |kind| register(inner.u32(kind)?);
        let value = |kind| Some(inner.nested(kind)?.bytes(1)?.to_vec());
        Some(match &*entry.string(1)? {
            "meta" if inner.u32(3).is_some() => Self::SetMeta {
                key: inner.u32(2)?,
                from: at(3)?,
            },
            "meta" => Self::Meta {
                key: inner.u32(2)?,
                to: at(1)?,
            },
            "payload" if inner.u32(5).is_some() => Self::decode_set_payload(&inner)?,
            "payload" => Self::Payload {
                base: inner.u32(2)?,
                offset: inner.u32(3)?,
                length: inner.u32(4)?,
                to: at(1)?,
            },
            "ct" => Self::Ct {
                key: inner.u32(2)?,
                to: at(1)?,
            },
            "fib" => Self::Fib {
                flags: inner.u32(3)?,
                result: inner.u32(2)?,
                to: at(1)?,
            },
            "bitwise" => Self::decode_mask(&inner)?,
            "cmp" => Self::Compare {
                equal: match inner.u32(2)? {
                    0 => true,
                    1 => false,
                    _ => return None,
                },
                register: at(1)?,
                with: value(3)?,
            },
            "lookup" => Self::Lookup {
                set: inner.string(1)?.into_owned(),
                from: at(2)?,
                to: match inner.u32(3) {
                    None => Answer::Membership,
                    Some(VERDICT_REGISTER) => Answer::Verdict,
                    Some(number) => Answer::Register(register(number)?),
                },
                inverted: inner.u32(5).is_some_and(|flags| flags & 1 == 1),
            },
            "immediate" if inner.u32(1)? == VERDICT_REGISTER => {
                Self::Verdict(read_verdict(&inner.nested(2)?)?)
            }
            "immediate" => Self::Load {
                to: at(1)?,
                data: value(2)?,
            },
            "masq" => Self::Masquerade,
            "redir" => Self::Redirect { port: at(1) },
            "nat" => Self::decode_nat(&inner)?,
            "reject" => Self::Reject {
                kind: inner.u32(1)?,
                code: *inner.bytes(2).unwrap_or(&[0]).first()?,
            },
            "counter" => Self::Counter,
            _ => return None,
        })
    }

    fn decode_set_payload(inner: &Received<'_>) -> Option<Self> {
        let flags = inner.u32(8).unwrap_or_default();
        let plain = inner.u32(6)? == payload::INTERNET_CHECKSUM && flags == 0;
        plain.then_some(Self::SetPayload {
            base: inner.u32(2)?,
            offset: inner.u32(3)?,
            length: inner.u32(4)?,
            from: register(inner.u32(5)?)?,
            checksum: inner.u32(7)?,
        })
    }

    fn decode_mask(inner: &Received<'_>) -> Option<Self> {
        let value = |kind| Some(inner.nested(kind)?.bytes(1)?.to_vec());
        let (from, to) = (register(inner.u32(1)?)?, register(inner.u32(2)?)?);
        let plain = from == to && value(5)?.iter().all(|byte| *byte == 0);
        plain.then_some(Self::Mask {
            register: from,
            mask: value(4)?,
        })
    }

    fn decode_nat(inner: &Received<'_>) -> Option<Self> {
        let at = |kind| register(inner.u32(kind)?);
        Some(Self::Nat {
            source: inner.u32(1)? == 0,
            ipv6: inner.u32(2)? == u32::from(NFPROTO_IPV6),
            address: at(3)?,
            port: at(5),
        })
    }
}

/// A rule's list of expressions.
pub(super) fn encode(expressions: &[Expression]) -> Attributes {
    Attributes::list(LIST_ELEMENT, expressions.iter().map(Expression::encode))
}

/// Reads a rule's list of expressions; none if one of them isn't known here.
pub(super) fn decode(list: &Received<'_>) -> Option<Vec<Expression>> {
    list.entries(LIST_ELEMENT)
        .map(|entry| Expression::decode(&entry))
        .collect()
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("registers hold 64 bytes")
}

/// How many registers a value of that type takes.
pub(super) fn registers(kind: Type) -> Register {
    u8::try_from(kind.padded() / 4).expect("the widest type takes four")
}
