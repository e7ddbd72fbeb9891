//! Looking at the firewall: single objects by key, or everything in our tables.

use std::io;

use super::{
    attributes::Received,
    connection::Connection,
    message::{Message, get_element, in_table, kind, name_of},
    read,
};
use crate::ruleset::{Chain, Element, Item, Key, Mapped, Rule, Set, Table, Value};

/// Names of our tables begin so.
const OURS: &str = "cnm";

impl Connection {
    /// The object of a key; none if it isn't there.
    pub(in crate::linux) fn observe(&mut self, key: &Key) -> io::Result<Option<Item>> {
        match key {
            Key::Table(table) => {
                let found = self.get(&Message::new(kind::GET_TABLE, table.family, name_of(table)))?;
                Ok(found.map(|_| Item::Table(table.clone())))
            }
            Key::Chain(table, name) => Ok(self.chain(table, name)?.map(Item::Chain)),
            Key::Set(table, name) => Ok(self.set(table, name)?.map(Item::Set)),
            Key::Element(table, set, key) => Ok(self.element(table, set, key)?.map(Item::Element)),
        }
    }

    fn chain(&mut self, table: &Table, name: &str) -> io::Result<Option<Chain>> {
        let message = Message::new(kind::GET_CHAIN, table.family, in_table(table).string(3, name));
        let Some((family, attributes)) = self.get(&message)? else {
            return Ok(None);
        };
        let Some(mut chain) = read::chain(family, &Received::read(&attributes)) else {
            return Ok(None);
        };
        chain.rules = self.rules(table, name)?;
        Ok(Some(chain))
    }

    fn rules(&mut self, table: &Table, chain: &str) -> io::Result<Vec<Rule>> {
        let message = Message::new(kind::GET_RULE, table.family, in_table(table).string(2, chain));
        let rules = self.dump(&message)?;
        let rules = rules.iter().map(|(_, bytes)| Received::read(bytes));
        // Kernels differ in how far they filter.
        let here = rules.filter(|rule| rule.string(2).is_some_and(|name| name == chain));
        Ok(here.map(|rule| read::rule(table.family, &rule)).collect())
    }

    fn set(&mut self, table: &Table, name: &str) -> io::Result<Option<Set>> {
        let message = Message::new(kind::GET_SET, table.family, in_table(table).string(2, name));
        let found = self.get(&message)?;
        Ok(found.and_then(|(family, bytes)| read::set(family, &Received::read(&bytes))))
    }

    fn element(&mut self, table: &Table, set: &str, key: &[Value]) -> io::Result<Option<Element>> {
        let Some(set) = self.set(table, set)? else {
            return Ok(None);
        };
        let element = Element {
            table: table.clone(),
            set: set.name.clone(),
            key: key.to_vec(),
            to: Mapped::Nothing,
        };
        let found = if set.intervals {
            // The kernel answers for any interval around the key; only the very same is it.
            self.elements(&set)?
        } else {
            let found = self.get(&get_element(&element))?;
            read::elements(&set, &found.into_iter().collect::<Vec<_>>())
        };
        let found = found.into_iter().map(|(_, element)| element);
        Ok(found.into_iter().find(|element| element.key == key))
    }

    fn elements(&mut self, set: &Set) -> io::Result<Vec<(Option<String>, Element)>> {
        let attributes = in_table(&set.table).string(2, &set.name);
        let messages = self.dump(&Message::new(kind::GET_ELEMENT, set.table.family, attributes))?;
        Ok(read::elements(set, &messages))
    }

    /// Everything in our tables, each with its comment, which for what we made is its owner's mark.
    pub(in crate::linux) fn dump_ours(&mut self) -> io::Result<Vec<(Option<String>, Item)>> {
        let mut items = Vec::new();
        for (family, bytes) in self.dump(&Message::of_all(kind::GET_TABLE))? {
            let attributes = Received::read(&bytes);
            if let Some(table) = read::table(family, &attributes).filter(|table| table.name.starts_with(OURS))
            {
                items.push((
                    attributes.bytes(6).and_then(read::comment),
                    Item::Table(table.clone()),
                ));
                self.dump_sets(&table, &mut items)?;
                self.dump_chains(&table, &mut items)?;
            }
        }
        Ok(items)
    }

    fn dump_sets(&mut self, table: &Table, items: &mut Vec<(Option<String>, Item)>) -> io::Result<()> {
        let message = Message::new(kind::GET_SET, table.family, in_table(table));
        for (family, bytes) in self.dump(&message)? {
            let attributes = Received::read(&bytes);
            if let Some(set) = read::set(family, &attributes).filter(|set| set.table == *table) {
                let elements = self.elements(&set)?;
                let comment = attributes.bytes(13).and_then(read::set_comment);
                items.push((comment, Item::Set(set)));
                items.extend(
                    elements
                        .into_iter()
                        .map(|(comment, element)| (comment, Item::Element(element))),
                );
            }
        }
        Ok(())
    }

    fn dump_chains(&mut self, table: &Table, items: &mut Vec<(Option<String>, Item)>) -> io::Result<()> {
        let message = Message::new(kind::GET_CHAIN, table.family, in_table(table));
        for (family, bytes) in self.dump(&message)? {
            let attributes = Received::read(&bytes);
            if let Some(mut chain) = read::chain(family, &attributes).filter(|chain| chain.table == *table) {
                chain.rules = self.rules(table, &chain.name)?;
                items.push((attributes.bytes(12).and_then(read::comment), Item::Chain(chain)));
            }
        }
        Ok(())
    }
}
