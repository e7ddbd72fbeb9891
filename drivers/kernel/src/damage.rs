//! What somebody else did to what is ours, as far as the kernel announces it.
//!
//! A signal and no more: whoever hears of it looks at the world and repairs. It names what is concerned, so that a
//! downed link costs the repair of one network and not of a thousand.

use std::{any::Any, collections::BTreeSet, fmt};

use model::InterfaceName;

use crate::Owner;

/// Damage that was announced since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    /// Announcements were lost: anything may have changed.
    pub unknown: bool,
    /// Somebody changed our tables, or a sysctl of the whole host that we had set.
    pub rules: bool,
    /// Somebody changed other people's tables: whether their chains let our packets pass may have changed.
    pub others: bool,
    /// Addresses or default routes of the host itself changed.
    pub surroundings: bool,
    /// Owners of links of ours that were removed, downed, renamed, or lost their master or an address.
    pub owners: BTreeSet<Owner>,
    /// The same for links that bear no mark, as a network may have adopted one, and for those that several networks share.
    pub links: BTreeSet<InterfaceName>,
}

impl Damage {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether something that surely is ours was touched.
    pub fn is_ours(&self) -> bool {
        self.unknown || self.rules || !self.owners.is_empty()
    }

    /// Takes another one in.
    pub fn merge(&mut self, other: Self) {
        self.unknown |= other.unknown;
        self.rules |= other.rules;
        self.others |= other.others;
        self.surroundings |= other.surroundings;
        self.owners.extend(other.owners);
        self.links.extend(other.links);
    }
}

/// Who is told of damage.
pub type Tell = Box<dyn Fn(Damage) + Send + Sync>;

/// Watching goes on as long as this is kept.
pub struct Watch(#[allow(dead_code, reason = "kept for its drop")] Option<Box<dyn Any + Send + Sync>>);

impl Watch {
    /// One that ends when `guard` is dropped.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Some(Box::new(guard)))
    }

    /// A kernel that announces nothing.
    pub const fn nothing() -> Self {
        Self(None)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_damage_is_all_of_it() {
        let mut damage = Damage::default();
        assert!(damage.is_none());
        damage.merge(Damage {
            rules: true,
            ..Damage::default()
        });
        damage.merge(Damage {
            owners: BTreeSet::from([Owner::Host]),
            ..Damage::default()
        });
        assert!(damage.rules && !damage.unknown && damage.owners.contains(&Owner::Host));
        assert!(!damage.is_none());
    }
}
