//! A collection of firewall objects in the syntax of nft(8), for golden files, logs and people.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use super::{
    Base, Chain, ChainKind, Content, Element, Hook, Item, Mapped, Policy, Set, Table, set::concatenated,
};

#[derive(Default)]
struct Contents<'a> {
    sets: Vec<&'a Set>,
    elements: BTreeMap<&'a str, Vec<String>>,
    chains: Vec<&'a Chain>,
}

/// Writes the items as nft(8) would list them, table by table: sets with their elements, then chains, in the order
/// given. Elements whose set is not among the items are written as `add element` commands at the end.
pub fn text<'a>(items: impl IntoIterator<Item = &'a Item>) -> String {
    let mut tables: BTreeMap<&Table, Contents<'a>> = BTreeMap::new();
    for item in items {
        match item {
            Item::Table(table) => {
                tables.entry(table).or_default();
            }
            Item::Chain(chain) => tables.entry(&chain.table).or_default().chains.push(chain),
            Item::Set(set) => tables.entry(&set.table).or_default().sets.push(set),
            Item::Element(element) => {
                let elements = &mut tables.entry(&element.table).or_default().elements;
                elements
                    .entry(&element.set)
                    .or_default()
                    .push(element.to_string());
            }
        }
    }
    let mut text = String::new();
    for (table, contents) in &mut tables {
        write_table(&mut text, table, contents).expect("writing to a String cannot fail");
    }
    text
}

fn write_table(text: &mut String, table: &Table, contents: &mut Contents<'_>) -> fmt::Result {
    if !contents.sets.is_empty() || !contents.chains.is_empty() || contents.elements.is_empty() {
        writeln!(text, "table {table} {{")?;
        for set in &contents.sets {
            write_set(text, set, contents.elements.remove(set.name.as_str()))?;
        }
        for chain in &contents.chains {
            write_chain(text, chain)?;
        }
        writeln!(text, "}}")?;
    }
    for (set, elements) in &contents.elements {
        writeln!(text, "add element {table} {set} {{ {} }}", elements.join(", "))?;
    }
    Ok(())
}

fn write_set(text: &mut String, set: &Set, elements: Option<Vec<String>>) -> fmt::Result {
    let word = if set.content == Content::Keys {
        "set"
    } else {
        "map"
    };
    writeln!(text, "\t{word} {} {{", set.name)?;
    write!(text, "\t\ttype {}", concatenated(&set.key))?;
    match &set.content {
        Content::Keys => writeln!(text)?,
        Content::Verdicts => writeln!(text, " : verdict")?,
        Content::Data(types) => writeln!(text, " : {}", concatenated(types))?,
    }
    if set.intervals {
        writeln!(text, "\t\tflags interval")?;
    }
    if let Some(elements) = elements {
        writeln!(text, "\t\telements = {{ {} }}", elements.join(",\n\t\t\t     "))?;
    }
    writeln!(text, "\t}}\n")
}

fn write_chain(text: &mut String, chain: &Chain) -> fmt::Result {
    writeln!(text, "\tchain {} {{", chain.name)?;
    if let Some(base) = &chain.base {
        writeln!(text, "\t\t{base}")?;
    }
    for rule in &chain.rules {
        writeln!(text, "\t\t{rule}")?;
    }
    writeln!(text, "\t}}\n")
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
            ChainKind::Route => "route",
        };
        let hook = match self.hook {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        };
        let policy = match self.policy {
            Policy::Accept => "accept",
            Policy::Drop => "drop",
        };
        write!(
            f,
            "type {kind} hook {hook} priority {}; policy {policy};",
            self.priority
        )
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&concatenated(&self.key))?;
        match &self.to {
            Mapped::Nothing => Ok(()),
            Mapped::Verdict(verdict) => write!(f, " : {verdict}"),
            Mapped::Data(values) => write!(f, " : {}", concatenated(values)),
        }
    }
}
