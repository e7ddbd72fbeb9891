//! Expressions back into rules: what [`super::lower`] wrote reads as the rule it was written from, and anything else
//! as a rule of somebody else.

use std::net::IpAddr;

use model::{AddressFamily, IpNet, Subnet};

use super::{
    expression::{Answer, Expression, NFPROTO_IPV4, NFPROTO_IPV6, Register, ct, fib, meta, registers},
    lower::{address_type, load, reject, set_port, state_bit},
};
use crate::ruleset::{
    Action, AddressType, Family, Field, Match, NatTarget, PortField, Rule, State, Test, Transport, Value,
};

/// The rule that these expressions are, in a table of that family.
pub(super) fn lift(expressions: &[Expression], family: Family) -> Rule {
    let mut lifting = Lifting::new(family);
    let understood = expressions
        .iter()
        .try_for_each(|expression| lifting.take(expression));
    match understood.and_then(|()| lifting.finish()) {
        Some(rule) => rule,
        None => Rule::new(Action::Foreign),
    }
}

struct Lifting {
    table: Family,
    rule: Rule,
    /// A family test that belongs to the next fields, or is one of its own.
    family: Option<AddressFamily>,
    loaded: Vec<(Register, Loaded)>,
    mask: Option<Vec<u8>>,
    constants: Vec<(Register, Vec<u8>)>,
    mapped: Option<(Vec<Field>, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loaded {
    Field(Field),
    Family,
    State,
    Status,
    DestinationType,
}

impl Lifting {
    fn new(table: Family) -> Self {
        Self {
            table,
            rule: Rule::default(),
            family: None,
            loaded: Vec::new(),
            mask: None,
            constants: Vec::new(),
            mapped: None,
        }
    }

    fn take(&mut self, expression: &Expression) -> Option<()> {
        // Nothing but a mark or the end may follow an action.
        if self.rule.action.is_some() {
            return None;
        }
        match expression {
            Expression::Meta {
                key: meta::FAMILY,
                to,
            } => self.loaded.push((*to, Loaded::Family)),
            Expression::Meta { to, .. } | Expression::Payload { to, .. } => {
                let field = field(expression)?;
                self.loaded.push((*to, Loaded::Field(field)));
            }
            Expression::Ct { key: ct::STATE, to } => self.loaded.push((*to, Loaded::State)),
            Expression::Ct { key: ct::STATUS, to } => self.loaded.push((*to, Loaded::Status)),
            Expression::Fib {
                flags: fib::DESTINATION,
                result: fib::ADDRESS_TYPE,
                to,
            } => {
                self.loaded.push((*to, Loaded::DestinationType));
            }
            Expression::Ct { .. } | Expression::Fib { .. } => return None,
            Expression::Mask { register: 0, mask } if self.mask.is_none() => self.mask = Some(mask.clone()),
            Expression::Mask { .. } => return None,
            Expression::Compare {
                equal,
                register: 0,
                with,
            } => self.take_compare(*equal, with)?,
            Expression::Compare { .. } => return None,
            Expression::Lookup {
                set,
                from: 0,
                to,
                inverted,
            } => self.take_lookup(set, *to, *inverted)?,
            Expression::Lookup { .. } => return None,
            Expression::Load { to, data } => self.constants.push((*to, data.clone())),
            Expression::Counter => {
                self.settle_family(&[]);
                self.rule.counter = true;
            }
            action => self.take_action(action)?,
        }
        Some(())
    }

    fn take_compare(&mut self, equal: bool, with: &[u8]) -> Option<()> {
        let mask = self.mask.take();
        let [(0, loaded)] = std::mem::take(&mut self.loaded)[..] else {
            return None;
        };
        if loaded == Loaded::Family {
            return self.take_family(equal, with);
        }
        let (negated, test) = match loaded {
            Loaded::Field(field) => {
                self.settle_family(&[field]);
                (!equal, Test::Is(field, value(field, mask.as_deref(), with)?))
            }
            Loaded::DestinationType => (!equal, Test::DestinationType(read_type(with)?)),
            Loaded::State => (equal, Test::State(read_states(&mask?, with)?)),
            Loaded::Status => {
                let dnat = mask? == ct::STATUS_DNAT.to_ne_bytes() && with == [0; 4];
                (equal, dnat.then_some(Test::Redirected)?)
            }
            Loaded::Family => return None,
        };
        self.push(negated, test);
        Some(())
    }

    fn take_family(&mut self, equal: bool, with: &[u8]) -> Option<()> {
        let family = match with {
            [NFPROTO_IPV4] => AddressFamily::V4,
            [NFPROTO_IPV6] => AddressFamily::V6,
            _ => return None,
        };
        if equal {
            self.settle_family(&[]);
            self.family = Some(family);
        } else {
            self.push(true, Test::Family(family));
        }
        Some(())
    }

    fn push(&mut self, negated: bool, test: Test) {
        self.settle_family(&[]);
        self.rule.matches.push(Match { negated, test });
    }

    /// A family test right before fields that need it goes without saying; any other was meant.
    fn settle_family(&mut self, fields: &[Field]) {
        if let Some(family) = self.family.take() {
            let implied = fields.iter().any(|field| field.family() == Some(family));
            if !implied {
                let test = Test::Family(family);
                self.rule.matches.push(Match { negated: false, test });
            }
        }
    }

    /// The fields loaded side by side.
    fn take_fields(&mut self) -> Option<Vec<Field>> {
        let mut next = 0;
        let mut fields = Vec::new();
        for (register, loaded) in std::mem::take(&mut self.loaded) {
            let Loaded::Field(field) = loaded else { return None };
            if register != next {
                return None;
            }
            next += registers(field.kind());
            fields.push(field);
        }
        self.settle_family(&fields);
        (!fields.is_empty() && self.mask.is_none()).then_some(fields)
    }

    fn take_lookup(&mut self, set: &str, to: Answer, inverted: bool) -> Option<()> {
        let fields = self.take_fields()?;
        match to {
            Answer::Membership => self.push(inverted, Test::In(fields, set.to_owned())),
            Answer::Verdict => self.rule.action = Some(Action::VerdictMap(fields, set.to_owned())),
            Answer::Register(0) => self.mapped = Some((fields, set.to_owned())),
            Answer::Register(_) => return None,
        }
        Some(())
    }

    fn take_action(&mut self, expression: &Expression) -> Option<()> {
        self.settle_family(&[]);
        let action = match expression {
            Expression::Verdict(verdict) => Action::Verdict(verdict.clone()),
            Expression::Masquerade => Action::Masquerade,
            Expression::Redirect { port: None } => Action::Redirect(None),
            Expression::Redirect { port: Some(port) } => Action::Redirect(Some(self.take_port(*port)?)),
            Expression::SetMeta {
                key: meta::MARK,
                from,
            } => Action::SetMark(u32::from_ne_bytes(self.take_constant(*from)?.try_into().ok()?)),
            Expression::SetPayload { .. } => {
                let (transport, field) = written_port(expression)?;
                Action::SetPort(transport, field, self.take_port(0)?)
            }
            Expression::Nat {
                source,
                ipv6,
                address: 0,
                port,
            } => {
                let target = self.take_target(*ipv6, *port)?;
                if *source {
                    Action::Snat(target)
                } else {
                    Action::Dnat(target)
                }
            }
            rejected if *rejected == reject(self.table) => Action::Reject,
            _ => return None,
        };
        self.rule.action = Some(action);
        Some(())
    }

    fn take_target(&mut self, ipv6: bool, port: Option<Register>) -> Option<NatTarget> {
        let family = if ipv6 {
            AddressFamily::V6
        } else {
            AddressFamily::V4
        };
        if let Some((fields, map)) = self.mapped.take() {
            let port = port.is_some();
            return Some(NatTarget::Map {
                family,
                fields,
                map,
                port,
            });
        }
        let bytes = self.take_constant(0)?;
        let Value::Address(address) = Value::from_bytes(Field::Source(family).kind(), &bytes)? else {
            return None;
        };
        let port = match port {
            Some(register) => Some(self.take_port(register)?),
            None => None,
        };
        Some(NatTarget::Address(address, port))
    }

    fn take_port(&mut self, register: Register) -> Option<u16> {
        let bytes = self.take_constant(register)?;
        Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
    }

    fn take_constant(&mut self, register: Register) -> Option<Vec<u8>> {
        let at = self.constants.iter().position(|(r, _)| *r == register)?;
        Some(self.constants.swap_remove(at).1)
    }

    fn finish(mut self) -> Option<Rule> {
        self.settle_family(&[]);
        let nothing_left = self.loaded.is_empty() && self.constants.is_empty() && self.mapped.is_none();
        (nothing_left && self.mask.is_none()).then_some(self.rule)
    }
}

/// The field that this expression loads.
fn field(expression: &Expression) -> Option<Field> {
    const V4: AddressFamily = AddressFamily::V4;
    const V6: AddressFamily = AddressFamily::V6;
    let all = [
        Field::InputInterface,
        Field::OutputInterface,
        Field::Source(V4),
        Field::Source(V6),
        Field::Destination(V4),
        Field::Destination(V6),
        Field::Protocol,
        Field::SourcePort,
        Field::DestinationPort,
        Field::IcmpV6Type,
        Field::Mark,
    ];
    let to = match expression {
        Expression::Meta { to, .. } | Expression::Payload { to, .. } => *to,
        _ => return None,
    };
    all.into_iter().find(|field| load(*field, to) == *expression)
}

/// The port that this expression writes.
fn written_port(expression: &Expression) -> Option<(Transport, PortField)> {
    let all = [Transport::Tcp, Transport::Udp]
        .into_iter()
        .flat_map(|transport| [PortField::Source, PortField::Destination].map(|field| (transport, field)));
    let mut all = all.into_iter();
    all.find(|(transport, field)| set_port(*transport, *field) == *expression)
}

fn value(field: Field, mask: Option<&[u8]>, with: &[u8]) -> Option<Value> {
    let Some(mask) = mask else {
        return Value::from_bytes(field.kind(), with);
    };
    let (Value::Address(network), Value::Address(mask)) = (
        Value::from_bytes(field.kind(), with)?,
        Value::from_bytes(field.kind(), mask)?,
    ) else {
        return None;
    };
    let length = mask_length(mask)?;
    Some(Value::Subnet(
        Subnet::new(IpNet::new(network, length).ok()?).ok()?,
    ))
}

fn mask_length(mask: IpAddr) -> Option<u8> {
    Some(IpNet::with_netmask(mask, mask).ok()?.prefix_len())
}

fn read_states(mask: &[u8], with: &[u8]) -> Option<Vec<State>> {
    let bits = u32::from_ne_bytes(mask.try_into().ok()?);
    let all = [
        State::Invalid,
        State::Established,
        State::Related,
        State::New,
        State::Untracked,
    ];
    let states: Vec<_> = all
        .into_iter()
        .filter(|state| bits & state_bit(*state) != 0)
        .collect();
    (with == [0; 4]).then_some(states)
}

fn read_type(with: &[u8]) -> Option<AddressType> {
    let number = u32::from_ne_bytes(with.try_into().ok()?);
    let all = [
        AddressType::Local,
        AddressType::Broadcast,
        AddressType::Multicast,
        AddressType::Unicast,
    ];
    all.into_iter().find(|kind| address_type(*kind) == number)
}
