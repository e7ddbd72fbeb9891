//! Pure: from one content of a chain to another by as few rules as differ.
//!
//! A chain of a thousand networks is not written again because of one: what is gone is deleted by its number, from the
//! last to the first, and what is new inserted before a rule that stays, from the first to the last, so that every number
//! is that of a rule which was there before.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

/// The rule that carries the stamp is the first.
const STAMPED: usize = 1;

/// The lines that turn a chain's rules from the one into the other, without its stamp; none if they say the same in
/// another order, or one of them twice, which edits can't tell apart.
pub(super) fn edits(chain: &str, before: &[String], after: &[String]) -> Option<String> {
    let old = positions(before)?;
    let new = positions(after)?;
    let kept_before = before.iter().filter(|rule| new.contains_key(rule.as_str()));
    let kept_after = after.iter().filter(|rule| old.contains_key(rule.as_str()));
    if !kept_before.eq(kept_after) {
        return None;
    }
    let mut text = String::new();
    write_edits(&mut text, chain, before, after, [&old, &new]).expect("writing to a String cannot fail");
    Some(text)
}

type Positions<'a> = BTreeMap<&'a str, usize>;

fn write_edits(
    text: &mut String,
    chain: &str,
    before: &[String],
    after: &[String],
    [old, new]: [&Positions<'_>; 2],
) -> fmt::Result {
    for (at, rule) in before.iter().enumerate().rev() {
        if !new.contains_key(rule.as_str()) {
            writeln!(text, "-D {chain} {}", at + 1 + STAMPED)?;
        }
    }
    let last_kept = after.iter().rposition(|rule| old.contains_key(rule.as_str()));
    for (at, rule) in after.iter().enumerate() {
        match last_kept {
            _ if old.contains_key(rule.as_str()) => {}
            Some(last) if at < last => writeln!(text, "-I {chain} {} {rule}", at + 1 + STAMPED)?,
            _ => writeln!(text, "-A {chain} {rule}")?,
        }
    }
    Ok(())
}

/// Where each rule is; none if one is there twice.
fn positions(rules: &[String]) -> Option<Positions<'_>> {
    let positions: Positions<'_> = rules
        .iter()
        .enumerate()
        .map(|(at, rule)| (rule.as_str(), at))
        .collect();
    (positions.len() == rules.len()).then_some(positions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(letters: &str) -> Vec<String> {
        letters.chars().map(String::from).collect()
    }

    /// What iptables does with such lines.
    fn edited(before: &[String], lines: &str) -> Vec<String> {
        let mut chain: Vec<String> = [vec!["stamp".to_owned()], before.to_vec()].concat();
        for line in lines.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["-D", _, at] => drop(chain.remove(at.parse::<usize>().expect("a number") - 1)),
                ["-I", _, at, rule] => {
                    chain.insert(at.parse::<usize>().expect("a number") - 1, rule.to_owned());
                }
                ["-A", _, rule] => chain.push(rule.to_owned()),
                _ => panic!("{line:?}"),
            }
        }
        chain.split_off(1)
    }

    #[test]
    fn only_what_differs_is_said() {
        let rows = [
            ("", "", Some(0)),
            ("abc", "abc", Some(0)),
            ("", "abc", Some(3)),
            ("abc", "", Some(3)),
            ("abcdef", "aXbcdYef", Some(2)),
            ("abcdef", "bdefZ", Some(3)),
            ("abc", "acb", None),
            ("aab", "ab", None),
            ("ab", "abb", None),
        ];
        for (before, after, wanted) in rows {
            let lines = edits("c", &rules(before), &rules(after));
            let count = lines.as_ref().map(|lines| lines.lines().count());
            assert_eq!(count, wanted, "{before} to {after}");
            if let Some(lines) = lines {
                assert_eq!(edited(&rules(before), &lines), rules(after), "{lines}");
            }
        }
    }

    proptest! {
        #[test]
        fn edits_lead_from_any_content_to_any_other(before in "[a-h]{0,8}", after in "[a-h]{0,8}") {
            if let Some(lines) = edits("c", &rules(&before), &rules(&after)) {
                prop_assert_eq!(edited(&rules(&before), &lines), rules(&after), "{}", lines);
            }
        }
    }
}
