//! Pure: from the chains that are to the chains that should be, as input of `iptables-restore --noflush`.
//!
//! Only chains that differ are written. Each begins with a rule that matches everything and does nothing, whose comment
//! tells a number made of the rest: by it, and by how many rules follow, a later look at `iptables-save` sees whether
//! somebody has changed the chain, without having to understand how the program spells a rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use model::AddressFamily;

use super::{
    compile::{Compiled, Content, Place},
    edits::edits,
};

/// Tables in the order that packets meet them.
const TABLES: [&str; 4] = ["raw", "mangle", "nat", "filter"];

/// A chain as a look at the kernel tells it: the comment of its first rule, and how many rules it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    stamp: String,
    rules: usize,
    /// The built-in chains that jump to it, once for each time.
    pub(super) hooks: Vec<String>,
    /// Somebody else's rule judges before it.
    behind: bool,
}

/// The chains of ours in one family, by table and name.
pub(super) type Look = BTreeMap<(String, String), Seen>;

/// Reads what `iptables-save` says of chains whose names begin so.
pub(super) fn read(saved: &str, prefix: &str) -> Look {
    let mut look = Look::new();
    let mut table = String::new();
    // An accept of another's is the last word, and would let into our networks what he has no say in.
    let mut judged = false;
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table);
            judged = false;
        } else if let Some(chain) = line
            .strip_prefix(':')
            .and_then(|line| line.split_whitespace().next())
        {
            if chain.starts_with(prefix) {
                look.entry((table.clone(), chain.to_owned())).or_default();
            }
        } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|rule| rule.split_once(' ')) {
            read_rule(&mut look, &table, chain, rule, (prefix, judged));
            judged |= table == "filter" && chain == "FORWARD" && !goes_first(rule);
        }
    }
    look
}

/// Whether a rule may stand before ours: another daemon's like us, and what users write themselves.
fn goes_first(rule: &str) -> bool {
    rule == "-j DOCKER-USER" || rule.starts_with("-j CNM-") || rule.contains("cnm:")
}

fn read_rule(look: &mut Look, table: &str, chain: &str, rule: &str, (prefix, judged): (&str, bool)) {
    if let Some(seen) = look.get_mut(&(table.to_owned(), chain.to_owned())) {
        if seen.rules == 0 {
            seen.stamp = stamp_of(rule).unwrap_or_default().to_owned();
        }
        seen.rules += 1;
    } else if let Some(to) = rule.strip_prefix("-j ")
        && to.starts_with(prefix)
    {
        let seen = look.entry((table.to_owned(), to.to_owned())).or_default();
        seen.hooks.push(chain.to_owned());
        seen.behind |= judged;
    }
}

fn stamp_of(rule: &str) -> Option<&str> {
    let comment = rule.strip_prefix("-m comment --comment ")?;
    Some(comment.trim_matches('"'))
}

/// What tells a chain's content from another.
fn stamp(content: &Content) -> String {
    let mut hasher = DefaultHasher::new();
    content.rules.hash(&mut hasher);
    format!("cnm:{:016x}", hasher.finish())
}

/// Whether a chain is as it should be.
fn is_right(seen: &Seen, content: &Content) -> bool {
    let hooked = match content.hook {
        Some(hook) => seen.hooks == [hook] && !seen.behind,
        None => true,
    };
    let filled = content.users || (seen.rules == content.rules.len() + 1 && seen.stamp == stamp(content));
    hooked && filled
}

/// The script of one family; none if all is as it should be. Of chains whose content is still that of `known`, only the
/// rules that differ are written.
pub(super) fn script(
    look: &Look,
    known: &Compiled,
    wanted: &Compiled,
    family: AddressFamily,
) -> Option<String> {
    let mut text = String::new();
    for table in TABLES {
        let (known, wanted) = (chains(known, family, table), chains(wanted, family, table));
        let there: BTreeMap<&str, &Seen> = look
            .iter()
            .filter(|((of, _), _)| of == table)
            .map(|((_, chain), seen)| (chain.as_str(), seen))
            .collect();
        if let Some(part) = table_script(&there, &known, &wanted) {
            write!(text, "*{table}\n{part}COMMIT\n").expect("writing to a String cannot fail");
        }
    }
    (!text.is_empty()).then_some(text)
}

type Chains<'a> = BTreeMap<&'a str, &'a Content>;

fn chains<'a>(compiled: &'a Compiled, family: AddressFamily, table: &str) -> Chains<'a> {
    let here = compiled
        .iter()
        .filter(|(place, _)| place.family == family && place.table == table);
    here.map(|(place, content)| (place.chain.as_str(), content))
        .collect()
}

/// The lines that make of a chain what is wanted, if all that is wrong with it is that it was meant to be like `known`.
fn edited(chain: &str, seen: Option<&Seen>, known: Option<&&Content>, content: &Content) -> Option<String> {
    let (seen, known) = (seen?, known?);
    let hooked = content
        .hook
        .is_none_or(|hook| seen.hooks == [hook] && !seen.behind);
    if content.users || !hooked || !is_right(seen, known) {
        return None;
    }
    let edits = edits(chain, &known.rules, &content.rules)?;
    let stamp = stamp(content);
    Some(format!("-R {chain} 1 -m comment --comment \"{stamp}\"\n{edits}"))
}

fn table_script(there: &BTreeMap<&str, &Seen>, known: &Chains<'_>, wanted: &Chains<'_>) -> Option<String> {
    let (mut declared, mut unhooked, mut filled) = (String::new(), String::new(), String::new());
    let (mut hooked, mut emptied, mut gone) = (String::new(), String::new(), String::new());
    let nothing = Seen::default();
    for (chain, content) in wanted {
        let seen = there.get(chain).copied();
        if seen.is_some_and(|seen| is_right(seen, content)) {
            continue;
        }
        if let Some(lines) = edited(chain, seen, known.get(chain), content) {
            filled += &lines;
            continue;
        }
        // Declaring a chain empties it, and the user's is only made.
        if !content.users || seen.is_none() {
            declared += &format!(":{chain} - [0:0]\n");
        }
        if !content.users {
            filled += &format!("-A {chain} -m comment --comment \"{}\"\n", stamp(content));
            filled.extend(content.rules.iter().map(|rule| format!("-A {chain} {rule}\n")));
        }
        let Seen { hooks, behind, .. } = seen.unwrap_or(&nothing);
        if let Some(hook) = content.hook.filter(|hook| *behind || hooks != &[*hook]) {
            unhooked.extend(hooks.iter().map(|hook| format!("-D {hook} -j {chain}\n")));
            hooked += &format!("-I {hook} 1 -j {chain}\n");
        }
    }
    for (chain, seen) in there.iter().filter(|(chain, _)| !wanted.contains_key(*chain)) {
        unhooked.extend(seen.hooks.iter().map(|hook| format!("-D {hook} -j {chain}\n")));
        emptied += &format!("-F {chain}\n");
        gone += &format!("-X {chain}\n");
    }
    let text = [declared, unhooked, emptied, filled, hooked, gone].concat();
    (!text.is_empty()).then_some(text)
}

/// What the kernel would show if it had all of it: what is known without a look after a script was carried out.
pub(super) fn assumed(before: &Look, wanted: &Compiled, family: AddressFamily) -> Look {
    let mut look = Look::new();
    for (place, content) in wanted.iter().filter(|(place, _)| place.family == family) {
        let key = (place.table.to_owned(), place.chain.clone());
        let seen = match before.get(&key) {
            Some(seen) if content.users => seen.clone(),
            _ => Seen {
                stamp: stamp(content),
                rules: content.rules.len() + 1,
                hooks: content.hook.map(str::to_owned).into_iter().collect(),
                behind: false,
            },
        };
        look.insert(key, seen);
    }
    look
}

/// All chains as text, for golden files and people: as a script for a host that has none of them, without stamps.
pub(super) fn text(compiled: &Compiled, family: AddressFamily) -> String {
    let mut text = String::new();
    for table in TABLES {
        let here = |place: &&Place| place.family == family && place.table == table;
        let places: BTreeSet<_> = compiled.keys().filter(here).collect();
        if places.is_empty() {
            continue;
        }
        text += &format!("*{table}\n");
        for place in &places {
            text += &format!(":{} -\n", place.chain);
        }
        for place in places {
            let content = &compiled[place];
            if let Some(hook) = content.hook {
                text += &format!("-I {hook} 1 -j {}\n", place.chain);
            }
            for rule in &content.rules {
                text += &format!("-A {} {rule}\n", place.chain);
            }
        }
        text += "COMMIT\n";
    }
    text
}

#[cfg(test)]
mod tests;
