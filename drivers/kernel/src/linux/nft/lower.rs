//! Rules into expressions.

use model::AddressFamily;

use super::expression::{
    Answer, Expression, NFPROTO_IPV4, NFPROTO_IPV6, Register, ct, fib, meta, payload, registers,
};
use crate::ruleset::{
    Action, AddressType, Family, Field, Match, NatTarget, PortField, Rule, State, Test, Transport, Value,
};

/// The expressions of a rule in a table of that family.
pub(super) fn lower(rule: &Rule, family: Family) -> Vec<Expression> {
    let mut lowering = Lowering {
        family: family.only(),
        table: family,
        out: Vec::new(),
    };
    rule.matches.iter().for_each(|m| lowering.push_match(m));
    if rule.counter {
        lowering.out.push(Expression::Counter);
    }
    if let Some(action) = &rule.action {
        lowering.push_action(action);
    }
    lowering.out
}

struct Lowering {
    /// The family that a packet must be of at this point of the rule.
    family: Option<AddressFamily>,
    table: Family,
    out: Vec<Expression>,
}

impl Lowering {
    fn push_match(&mut self, m: &Match) {
        let equal = !m.negated;
        match &m.test {
            Test::Is(field, value) => {
                self.push_fields(&[*field]);
                if let Value::Subnet(subnet) = value {
                    self.out.push(Expression::Mask {
                        register: 0,
                        mask: address_bytes(subnet.netmask()),
                    });
                }
                self.compare(equal, value.first());
            }
            Test::In(fields, set) => {
                self.push_fields(fields);
                self.out.push(Expression::Lookup {
                    set: set.clone(),
                    from: 0,
                    to: Answer::Membership,
                    inverted: m.negated,
                });
            }
            Test::State(states) => {
                let bits = states
                    .iter()
                    .map(|state| state_bit(*state))
                    .fold(0, |all, bit| all | bit);
                self.push_connection_bits(ct::STATE, bits, equal);
            }
            Test::Redirected => self.push_connection_bits(ct::STATUS, ct::STATUS_DNAT, equal),
            Test::DestinationType(kind) => {
                self.out.push(Expression::Fib {
                    flags: fib::DESTINATION,
                    result: fib::ADDRESS_TYPE,
                    to: 0,
                });
                self.compare(equal, address_type(*kind).to_ne_bytes().to_vec());
            }
            Test::Family(family) => {
                self.push_family(*family, equal);
                if equal {
                    self.family = Some(*family);
                }
            }
        }
    }

    fn push_connection_bits(&mut self, key: u32, bits: u32, any: bool) {
        self.out.push(Expression::Ct { key, to: 0 });
        self.out.push(Expression::Mask {
            register: 0,
            mask: bits.to_ne_bytes().to_vec(),
        });
        self.compare(!any, vec![0; 4]);
    }

    fn compare(&mut self, equal: bool, with: Vec<u8>) {
        self.out.push(Expression::Compare {
            equal,
            register: 0,
            with,
        });
    }

    fn push_family(&mut self, family: AddressFamily, equal: bool) {
        self.out.push(Expression::Meta {
            key: meta::FAMILY,
            to: 0,
        });
        self.compare(equal, vec![family_number(family)]);
    }

    /// Loads fields side by side, after making sure that the packet is of a family that has them.
    fn push_fields(&mut self, fields: &[Field]) {
        let wanted = fields.iter().find_map(|field| field.family());
        if let Some(wanted) = wanted.filter(|wanted| self.family != Some(*wanted)) {
            self.push_family(wanted, true);
            self.family = Some(wanted);
        }
        let mut to = 0;
        for field in fields {
            self.out.push(load(*field, to));
            to += registers(field.kind());
        }
    }

    fn push_action(&mut self, action: &Action) {
        match action {
            Action::Verdict(verdict) => self.out.push(Expression::Verdict(verdict.clone())),
            Action::VerdictMap(fields, map) => {
                self.push_fields(fields);
                self.lookup(map, Answer::Verdict);
            }
            Action::Masquerade => self.out.push(Expression::Masquerade),
            Action::Snat(target) => self.push_nat(true, target),
            Action::Dnat(target) => self.push_nat(false, target),
            Action::Redirect(None) => self.out.push(Expression::Redirect { port: None }),
            Action::Redirect(Some(port)) => {
                self.load_value(0, &Value::Port(*port));
                self.out.push(Expression::Redirect { port: Some(0) });
            }
            Action::Reject => self.out.push(reject(self.table)),
            Action::SetMark(mark) => {
                self.load_value(0, &Value::Mark(*mark));
                self.out.push(Expression::SetMeta {
                    key: meta::MARK,
                    from: 0,
                });
            }
            Action::SetPort(transport, field, port) => {
                self.load_value(0, &Value::Port(*port));
                self.out.push(set_port(*transport, *field));
            }
            // Somebody else's rule has no expressions that we could write.
            Action::Foreign => {}
        }
    }

    fn push_nat(&mut self, source: bool, target: &NatTarget) {
        let (ipv6, port) = match target {
            NatTarget::Address(address, port) => {
                self.load_value(0, &Value::Address(*address));
                let behind = registers(Value::Address(*address).kind());
                if let Some(port) = port {
                    self.load_value(behind, &Value::Port(*port));
                }
                (address.is_ipv6(), port.map(|_| behind))
            }
            NatTarget::Map {
                family,
                fields,
                map,
                port,
            } => {
                self.push_fields(fields);
                self.lookup(map, Answer::Register(0));
                let behind = registers(Field::Source(*family).kind());
                (*family == AddressFamily::V6, port.then_some(behind))
            }
        };
        self.out.push(Expression::Nat {
            source,
            ipv6,
            address: 0,
            port,
        });
    }

    fn lookup(&mut self, set: &str, to: Answer) {
        self.out.push(Expression::Lookup {
            set: set.to_owned(),
            from: 0,
            to,
            inverted: false,
        });
    }

    fn load_value(&mut self, to: Register, value: &Value) {
        self.out.push(Expression::Load {
            to,
            data: value.first(),
        });
    }
}

/// Loads one field.
pub(super) fn load(field: Field, to: Register) -> Expression {
    let packet = |base, offset, length| Expression::Payload {
        base,
        offset,
        length,
        to,
    };
    let known = |key| Expression::Meta { key, to };
    match field {
        Field::InputInterface => known(meta::INPUT_NAME),
        Field::OutputInterface => known(meta::OUTPUT_NAME),
        Field::Protocol => known(meta::PROTOCOL),
        Field::Mark => known(meta::MARK),
        Field::Source(AddressFamily::V4) => packet(payload::NETWORK, 12, 4),
        Field::Destination(AddressFamily::V4) => packet(payload::NETWORK, 16, 4),
        Field::Source(AddressFamily::V6) => packet(payload::NETWORK, 8, 16),
        Field::Destination(AddressFamily::V6) => packet(payload::NETWORK, 24, 16),
        Field::SourcePort => packet(payload::TRANSPORT, 0, 2),
        Field::DestinationPort => packet(payload::TRANSPORT, 2, 2),
        Field::IcmpV6Type => packet(payload::TRANSPORT, 0, 1),
    }
}

/// Writes a port from the first register.
pub(super) const fn set_port(transport: Transport, field: PortField) -> Expression {
    Expression::SetPayload {
        base: payload::TRANSPORT,
        offset: match field {
            PortField::Source => 0,
            PortField::Destination => 2,
        },
        length: 2,
        from: 0,
        checksum: match transport {
            Transport::Tcp => 16,
            Transport::Udp => 6,
        },
    }
}

/// What `reject` alone means: port unreachable, in the table's own kind of ICMP.
pub(super) const fn reject(table: Family) -> Expression {
    match table {
        Family::Inet => Expression::Reject { kind: 2, code: 1 },
        Family::Ip => Expression::Reject { kind: 0, code: 3 },
        Family::Ip6 => Expression::Reject { kind: 0, code: 4 },
    }
}

pub(super) const fn family_number(family: AddressFamily) -> u8 {
    match family {
        AddressFamily::V4 => NFPROTO_IPV4,
        AddressFamily::V6 => NFPROTO_IPV6,
    }
}

/// Bits of `ct state` in the kernel.
pub(super) const fn state_bit(state: State) -> u32 {
    match state {
        State::Invalid => 1,
        State::Established => 2,
        State::Related => 4,
        State::New => 8,
        State::Untracked => 64,
    }
}

/// Numbers of `RTN_*` in `linux/rtnetlink.h`.
pub(super) const fn address_type(kind: AddressType) -> u32 {
    match kind {
        AddressType::Unicast => 1,
        AddressType::Local => 2,
        AddressType::Broadcast => 3,
        AddressType::Multicast => 5,
    }
}

fn address_bytes(address: std::net::IpAddr) -> Vec<u8> {
    Value::Address(address).first()
}
