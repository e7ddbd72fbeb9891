//! Pure: what the end of our `forward` chain says of links that aren't ours.
//!
//! That chain accepts in the end what nobody of ours has judged, and that is the last word: so what goes to a link that
//! Docker or libvirt keeps leaves it before, for their rules to judge; and the accepts know our links by their group,
//! which a bridge of somebody else's that a network has adopted isn't in.

use std::collections::{BTreeMap, BTreeSet};

use model::{AddressFamily, InterfaceName};

use super::compile::Compiled;
use crate::passage::Kept;

/// Links of others.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Those that somebody keeps for himself, by family.
    pub(super) keepers: BTreeMap<AddressFamily, BTreeSet<Kept>>,
    /// Those that networks of ours have adopted.
    pub(super) adopted: BTreeSet<InterfaceName>,
}

/// Puts what concerns them where the accepts at the end of what hangs on `FORWARD` are.
pub(super) fn put(compiled: &mut Compiled, others: &Others) {
    for (place, content) in compiled {
        if place.table != "filter" || content.hook != Some("FORWARD") {
            continue;
        }
        let end = content.rules.iter().enumerate().find_map(|(at, rule)| {
            let (_, rest) = rule.split_once("--src-group 0x")?;
            let group = rest.split(' ').next()?;
            Some((at, u32::from_str_radix(group, 16).ok()?))
        });
        let Some((at, group)) = end else { continue };
        let kept = others.keepers.get(&place.family);
        let leaving = kept.into_iter().flatten().flat_map(|kept| kept.rules(group, ""));
        let accepts = others
            .adopted
            .iter()
            .flat_map(|link| ["-i", "-o"].map(|option| format!("{option} {link} -j ACCEPT")));
        let more: Vec<_> = leaving.chain(accepts).collect();
        content.rules.splice(at..at, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::iptables::compile::{Content, Place};

    #[test]
    fn what_is_kept_leaves_before_the_accepts_and_what_is_adopted_is_accepted() {
        let place = Place {
            family: AddressFamily::V4,
            table: "filter",
            chain: "CNM-1-forward".to_owned(),
        };
        let accept = "-m devgroup --src-group 0x7 -j ACCEPT".to_owned();
        let content = Content {
            rules: vec!["-j DROP".to_owned(), accept.clone()],
            hook: Some("FORWARD"),
            users: false,
        };
        let mut compiled = Compiled::from([(place.clone(), content)]);
        let docker = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -o docker0 -j DOCKER\nCOMMIT\n";
        let others = Others {
            keepers: BTreeMap::from([(AddressFamily::V4, crate::passage::kept(docker))]),
            adopted: BTreeSet::from([InterfaceName::new("lan0").expect("a name")]),
        };
        put(&mut compiled, &others);
        let expected = [
            "-j DROP",
            "-o docker0 -j RETURN",
            "-i lan0 -j ACCEPT",
            "-o lan0 -j ACCEPT",
            &accept,
        ];
        assert_eq!(compiled[&place].rules, expected);
    }
}
