//! Pure: firewall objects as the rules of iptables that do the same.
//!
//! A lookup in a set becomes a rule for each element, a verdict map a rule for each with its verdict, a map of
//! translations a rule for each with its target. "Not in this set" is a chain of its own, which the elements leave and the
//! rest goes through. Every chain is made in each of iptables' tables that it is reached from.
//!
//! One thing differs: an accept of nft lets other tables go on to judge, one of iptables is the last word. So what our
//! `nat` and `raw` chains accept merely leaves them, and what of our own links falls off the end of the `forward` chain
//! is accepted there, or somebody's policy to drop would cut containers off.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::AddressFamily;

use crate::ruleset::{
    Action, AddressType, Base, Chain, ChainKind, Element, Field, Hook, Item, Mapped, Match, NatTarget, Rule,
    State, Table, Test, Value, Verdict,
};

/// The longest name of a chain (`XT_EXTENSION_MAXNAMELEN` less its zero).
const LONGEST: usize = 28;

/// A chain of iptables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) family: AddressFamily,
    /// `raw`, `mangle`, `nat` or `filter`.
    pub(super) table: &'static str,
    pub(super) chain: String,
}

/// What a chain holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    /// Each as behind `-A CHAIN`.
    pub(super) rules: Vec<String>,
    /// The built-in chain that it hangs on.
    pub(super) hook: Option<&'static str>,
    /// Its rules are the user's.
    pub(super) users: bool,
}

impl Content {
    /// How many rules it is: with the one that carries its stamp and the one that leads to it.
    pub(super) fn count(&self) -> usize {
        match self.users {
            true => 0,
            false => self.rules.len() + 1 + usize::from(self.hook.is_some()),
        }
    }
}

/// Every chain by its place.
pub(super) type Compiled = BTreeMap<Place, Content>;

/// What iptables has no word for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("iptables can't say {0}")]
pub(super) struct Unsayable(String);

type Result<T> = std::result::Result<T, Unsayable>;

/// Items by what they are.
struct Objects<'a> {
    chains: BTreeMap<(Table, String), &'a Chain>,
    elements: BTreeMap<(Table, String), Vec<&'a Element>>,
}

impl<'a> Objects<'a> {
    fn of(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut objects = Self {
            chains: BTreeMap::new(),
            elements: BTreeMap::new(),
        };
        for item in items {
            match item {
                Item::Chain(chain) => {
                    let key = (chain.table.clone(), chain.name.clone());
                    objects.chains.insert(key, chain);
                }
                Item::Element(element) => {
                    let set = (element.table.clone(), element.set.clone());
                    objects.elements.entry(set).or_default().push(element);
                }
                Item::Table(_) | Item::Set(_) => {}
            }
        }
        objects
    }

    fn elements(&self, table: &Table, set: &str) -> &[&'a Element] {
        let found = self.elements.get(&(table.clone(), set.to_owned()));
        found.map(Vec::as_slice).unwrap_or_default()
    }
}

/// All chains of both families that do what the items say.
pub(super) fn compile<'a>(items: impl IntoIterator<Item = &'a Item>) -> Result<Compiled> {
    let objects = Objects::of(items);
    let mut compiled = Compiled::new();
    for family in [AddressFamily::V4, AddressFamily::V6] {
        for chain in objects.chains.values() {
            if let Some(base) = &chain.base
                && chain.table.family.only().is_none_or(|only| only == family)
            {
                let (table, hook) = built_in(base)?;
                let mut compiler = Compiler {
                    objects: &objects,
                    family,
                    table,
                    done: BTreeSet::new(),
                    compiled: &mut compiled,
                };
                compiler.chain(chain, Some(hook))?;
            }
        }
    }
    Ok(compiled)
}

/// Table and chain where a base chain hangs.
fn built_in(base: &Base) -> Result<(&'static str, &'static str)> {
    Ok(match (base.kind, base.hook) {
        (ChainKind::Nat, Hook::Prerouting) => ("nat", "PREROUTING"),
        (ChainKind::Nat, Hook::Input) => ("nat", "INPUT"),
        (ChainKind::Nat, Hook::Output) => ("nat", "OUTPUT"),
        (ChainKind::Nat, Hook::Postrouting) => ("nat", "POSTROUTING"),
        (ChainKind::Filter, Hook::Prerouting) if base.priority <= -300 => ("raw", "PREROUTING"),
        (ChainKind::Filter, Hook::Prerouting) => ("mangle", "PREROUTING"),
        // Nothing of iptables is so early there; before it is known where a packet goes, all come by.
        (ChainKind::Filter, Hook::Input) if base.priority <= -300 => ("raw", "PREROUTING"),
        (ChainKind::Filter, Hook::Input) => ("filter", "INPUT"),
        (ChainKind::Filter, Hook::Forward) => ("filter", "FORWARD"),
        (ChainKind::Filter, Hook::Output) => ("filter", "OUTPUT"),
        (ChainKind::Filter, Hook::Postrouting) => ("mangle", "POSTROUTING"),
        (ChainKind::Route, Hook::Output) => ("mangle", "OUTPUT"),
        _ => return Err(Unsayable(format!("\"{base}\""))),
    })
}

/// The name that a chain has there: the table's in capitals, then its own.
pub(super) fn name(table: &Table, chain: &str) -> Result<String> {
    let name = format!("{}-{chain}", prefix(table));
    if name.len() > LONGEST {
        return Err(Unsayable(format!("so long a name as {name:?}")));
    }
    Ok(name)
}

/// What the names of a table's chains begin with.
pub(super) fn prefix(table: &Table) -> String {
    table
        .name
        .strip_prefix("cnm")
        .map_or_else(|| format!("CNM-{}", table.name), |rest| format!("CNM{rest}"))
}

struct Compiler<'a> {
    objects: &'a Objects<'a>,
    family: AddressFamily,
    table: &'static str,
    done: BTreeSet<String>,
    compiled: &'a mut Compiled,
}

impl Compiler<'_> {
    fn chain(&mut self, chain: &Chain, hook: Option<&'static str>) -> Result<()> {
        let name = name(&chain.table, &chain.name)?;
        if !self.done.insert(name.clone()) {
            return Ok(());
        }
        let mut content = Content {
            hook,
            users: chain.users,
            ..Content::default()
        };
        if !chain.users {
            for (number, rule) in chain.rules.iter().enumerate() {
                self.rule(chain, number, rule, &mut content.rules)?;
            }
            content.rules.extend(self.end(chain));
        }
        self.put(name, content);
        Ok(())
    }

    fn put(&mut self, chain: String, content: Content) {
        let place = Place {
            family: self.family,
            table: self.table,
            chain,
        };
        self.compiled.insert(place, content);
    }

    /// What becomes of packets that fall off a base chain's end.
    fn end(&self, chain: &Chain) -> Vec<String> {
        let group = chain.table.name.strip_prefix("cnm-");
        let group = group.and_then(|prefix| u32::from_str_radix(prefix, 16).ok());
        match (&chain.base, group) {
            (Some(base), Some(first)) if self.table == "filter" && base.hook == Hook::Forward => {
                // As the group of a node's links is made of its number.
                let group = (first >> 1).max(1);
                ["src", "dst"]
                    .map(|side| format!("-m devgroup --{side}-group {group:#x} -j ACCEPT"))
                    .into()
            }
            _ => Vec::new(),
        }
    }

    fn rule(&mut self, chain: &Chain, number: usize, rule: &Rule, into: &mut Vec<String>) -> Result<()> {
        let mut ways = vec![Vec::new()];
        let mut excluded = Vec::new();
        for found in &rule.matches {
            if let Match {
                negated: true,
                test: Test::In(fields, set),
            } = found
            {
                excluded.extend(self.keys(&chain.table, fields, set)?);
                continue;
            }
            let Some(more) = self.test(&chain.table, found)? else {
                return Ok(());
            };
            ways = product(&ways, &more);
        }
        let actions = self.actions(chain, rule)?;
        if excluded.is_empty() {
            into.extend(product(&ways, &actions).iter().map(|parts| parts.join(" ")));
            return Ok(());
        }
        let aside = name(&chain.table, &format!("{}-{number}", chain.name))?;
        let mut content = Content::default();
        let leave = excluded
            .into_iter()
            .map(|key| format!("{} -j RETURN", key.join(" ")));
        content.rules.extend(leave);
        content.rules.extend(actions.iter().map(|parts| parts.join(" ")));
        into.extend(
            ways.iter()
                .map(|way| [way.as_slice(), &[format!("-j {aside}")]].concat().join(" ")),
        );
        self.put(aside, content);
        Ok(())
    }

    /// The ways in which a test holds, each as arguments; none if no packet of this family can pass it.
    fn test(&self, table: &Table, found: &Match) -> Result<Option<Vec<Vec<String>>>> {
        let not = if found.negated { "! " } else { "" };
        let one = |text: String| Ok(Some(vec![vec![text]]));
        match &found.test {
            Test::Is(field, value) => match self.field(*field, value)? {
                Some(text) => one(format!("{not}{text}")),
                None => Ok(None),
            },
            Test::In(fields, set) => {
                let keys = self.keys(table, fields, set)?;
                Ok((!keys.is_empty()).then_some(keys))
            }
            Test::State(states) => {
                let states: Vec<_> = states.iter().map(|state| state_word(*state)).collect();
                one(format!("-m conntrack {not}--ctstate {}", states.join(",")))
            }
            Test::Redirected => one(format!("-m conntrack {not}--ctstate DNAT")),
            Test::DestinationType(kind) => {
                let kind = match kind {
                    AddressType::Local => "LOCAL",
                    AddressType::Broadcast => "BROADCAST",
                    AddressType::Multicast => "MULTICAST",
                    AddressType::Unicast => "UNICAST",
                };
                one(format!("-m addrtype {not}--dst-type {kind}"))
            }
            Test::Family(family) => {
                let holds = (*family == self.family) != found.negated;
                Ok(holds.then(|| vec![Vec::new()]))
            }
        }
    }

    /// The keys of a set as arguments.
    fn keys(&self, table: &Table, fields: &[Field], set: &str) -> Result<Vec<Vec<String>>> {
        let mut keys = Vec::new();
        for element in self.objects.elements(table, set) {
            keys.extend(self.key(fields, element)?);
        }
        Ok(keys)
    }

    fn key(&self, fields: &[Field], element: &Element) -> Result<Option<Vec<String>>> {
        let parts = fields.iter().zip(&element.key);
        parts.map(|(field, value)| self.field(*field, value)).collect()
    }

    /// A field's value as an argument; none if packets of this family have no such field.
    fn field(&self, field: Field, value: &Value) -> Result<Option<String>> {
        if field.family().is_some_and(|only| only != self.family) {
            return Ok(None);
        }
        let value = match value {
            Value::Ports(first, last) if first == last => first.to_string(),
            Value::Ports(first, last) => format!("{first}:{last}"),
            Value::Interface(name) => name.to_string(),
            Value::Mark(mark) => format!("{mark:#x}"),
            other => other.to_string(),
        };
        let option = match field {
            Field::InputInterface => "-i",
            Field::OutputInterface => "-o",
            Field::Source(_) => "-s",
            Field::Destination(_) => "-d",
            Field::Protocol => "-p",
            Field::SourcePort => "--sport",
            Field::DestinationPort => "--dport",
            Field::IcmpV6Type => "--icmpv6-type",
            Field::Mark => "-m mark --mark",
        };
        Ok(Some(format!("{option} {value}")))
    }

    /// What is done, in each way with its own conditions.
    fn actions(&mut self, chain: &Chain, rule: &Rule) -> Result<Vec<Vec<String>>> {
        let one = |text: &str| Ok(vec![vec![text.to_owned()]]);
        let Some(action) = &rule.action else {
            return Ok(vec![Vec::new()]);
        };
        match action {
            Action::Verdict(verdict) => Ok(vec![vec![self.verdict(chain, verdict)?]]),
            Action::VerdictMap(fields, map) => {
                let mut ways = Vec::new();
                for element in self.objects.elements(&chain.table, map) {
                    if let (Some(mut way), Mapped::Verdict(verdict)) =
                        (self.key(fields, element)?, &element.to)
                    {
                        way.push(self.verdict(chain, verdict)?);
                        ways.push(way);
                    }
                }
                Ok(ways)
            }
            Action::Masquerade => one("-j MASQUERADE"),
            Action::Snat(target) => self.translation(chain, "-j SNAT --to-source", target),
            Action::Dnat(target) => self.translation(chain, "-j DNAT --to-destination", target),
            Action::Redirect(None) => one("-j REDIRECT"),
            Action::Redirect(Some(port)) => one(&format!("-j REDIRECT --to-ports {port}")),
            Action::Reject => one("-j REJECT"),
            Action::SetMark(mark) => one(&format!("-j MARK --set-mark {mark:#x}")),
            Action::SetPort(..) => Err(Unsayable(format!("\"{action}\""))),
            Action::Foreign => Err(Unsayable("somebody else's rule".to_owned())),
        }
    }

    fn verdict(&mut self, chain: &Chain, verdict: &Verdict) -> Result<String> {
        Ok(match verdict {
            Verdict::Accept if self.table != "filter" && chain.base.is_some() => "-j RETURN".to_owned(),
            Verdict::Accept => "-j ACCEPT".to_owned(),
            Verdict::Drop => "-j DROP".to_owned(),
            Verdict::Return => "-j RETURN".to_owned(),
            Verdict::Jump(to) => format!("-j {}", self.reach(chain, to)?),
            Verdict::Goto(to) => format!("-g {}", self.reach(chain, to)?),
        })
    }

    /// Makes a chain that is gone to in this table too.
    fn reach(&mut self, from: &Chain, to: &str) -> Result<String> {
        if let Some(chain) = self.objects.chains.get(&(from.table.clone(), to.to_owned())) {
            self.chain(chain, None)?;
        }
        name(&from.table, to)
    }

    fn translation(&self, chain: &Chain, option: &str, target: &NatTarget) -> Result<Vec<Vec<String>>> {
        match target {
            NatTarget::Address(address, port) => {
                let here = AddressFamily::of(*address) == self.family;
                Ok(Vec::from_iter(here.then(|| {
                    vec![format!("{option} {}", destination(*address, *port))]
                })))
            }
            NatTarget::Map {
                family, fields, map, ..
            } if *family == self.family => {
                let mut ways = Vec::new();
                for element in self.objects.elements(&chain.table, map) {
                    if let (Some(mut way), Some(to)) = (self.key(fields, element)?, data(&element.to)) {
                        way.push(format!("{option} {to}"));
                        ways.push(way);
                    }
                }
                Ok(ways)
            }
            NatTarget::Map { .. } => Ok(Vec::new()),
        }
    }
}

/// The data of an element as where a translation goes.
fn data(to: &Mapped) -> Option<String> {
    let Mapped::Data(values) = to else { return None };
    match values.as_slice() {
        [Value::Address(address)] => Some(destination(*address, None)),
        [Value::Address(address), Value::Port(port)] => Some(destination(*address, Some(*port))),
        _ => None,
    }
}

fn destination(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (address, None) => address.to_string(),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    }
}

const fn state_word(state: State) -> &'static str {
    match state {
        State::Invalid => "INVALID",
        State::Established => "ESTABLISHED",
        State::Related => "RELATED",
        State::New => "NEW",
        State::Untracked => "UNTRACKED",
    }
}

/// Every way of the one with every way of the other.
fn product(left: &[Vec<String>], right: &[Vec<String>]) -> Vec<Vec<String>> {
    let all = left.iter().flat_map(|left| {
        right
            .iter()
            .map(move |right| left.iter().chain(right).cloned().collect())
    });
    all.collect()
}
