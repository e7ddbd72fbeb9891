//! Who put the ports into each bridge of the host, kept up to date by the monitor: behind a port that isn't ours there may be
//! anybody, with any address.
//!
//! Counted by maker, so that the question costs the same for one port and for a thousand.

use std::collections::HashMap;

use model::NodeId;

use crate::{Mark, owner::Alias};

/// Who made a link, as far as its marks tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Maker {
    /// The daemon with this short id.
    Daemon(String),
    /// Whoever has this group: a daemon that is about to write its mark.
    Group(u32),
    /// Nobody that we know.
    Somebody,
}

impl Maker {
    fn of(alias: &str, group: u32) -> Self {
        match alias.parse::<Alias>() {
            Ok(alias) => Self::Daemon(alias.node),
            Err(_) if group != 0 && alias.is_empty() => Self::Group(group),
            Err(_) => Self::Somebody,
        }
    }

    fn is(&self, node: NodeId) -> bool {
        match self {
            Self::Daemon(short) => *short == node.short(),
            Self::Group(group) => *group == Mark::group(node),
            Self::Somebody => false,
        }
    }
}

/// The bridges, by their indexes.
#[derive(Debug, Default)]
pub(super) struct Segments {
    ports: HashMap<u32, (u32, Maker)>,
    bridges: HashMap<u32, HashMap<Maker, usize>>,
}

impl Segments {
    /// A link is so: a port of that master, or of none.
    pub(super) fn put(&mut self, port: u32, master: Option<u32>, alias: &str, group: u32) {
        let now = master.map(|master| (master, Maker::of(alias, group)));
        if self.ports.get(&port) == now.as_ref() {
            return;
        }
        self.gone(port);
        if let Some((master, maker)) = now {
            *self
                .bridges
                .entry(master)
                .or_default()
                .entry(maker.clone())
                .or_default() += 1;
            self.ports.insert(port, (master, maker));
        }
    }

    /// A link is gone.
    pub(super) fn gone(&mut self, port: u32) {
        let Some((master, maker)) = self.ports.remove(&port) else {
            return;
        };
        let Some(makers) = self.bridges.get_mut(&master) else {
            return;
        };
        if let Some(count) = makers.get_mut(&maker) {
            *count -= 1;
        }
        makers.retain(|_, count| *count > 0);
        if makers.is_empty() {
            self.bridges.remove(&master);
        }
    }

    /// Whether a bridge has ports of others than this node.
    pub(super) fn is_shared(&self, bridge: u32, node: NodeId) -> bool {
        let makers = self.bridges.get(&bridge);
        makers.is_some_and(|makers| makers.keys().any(|maker| !maker.is(node)))
    }
}

#[cfg(test)]
mod tests {
    use model::EndpointId;

    use super::*;
    use crate::Owner;

    #[test]
    fn a_bridge_is_shared_while_it_has_a_port_that_is_not_ours() {
        let (ours, theirs) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let mark = |node| {
            let owner = Owner::Endpoint(EndpointId::from_bytes([3; 32]));
            Mark { node, owner }.to_string()
        };
        let mut segments = Segments::default();
        segments.put(10, Some(1), "", Mark::group(ours));
        segments.put(10, Some(1), &mark(ours), Mark::group(ours));
        segments.put(11, Some(1), &mark(ours), Mark::group(ours));
        assert!(!segments.is_shared(1, ours) && segments.is_shared(1, theirs));
        for (alias, group) in [
            ("", 0),
            ("uplink", 0),
            (mark(theirs).as_str(), Mark::group(theirs)),
            ("", Mark::group(theirs)),
        ] {
            segments.put(12, Some(1), alias, group);
            assert!(segments.is_shared(1, ours), "{alias:?} {group}");
            segments.put(12, None, alias, group);
            assert!(!segments.is_shared(1, ours), "{alias:?} {group}: it has left");
        }
        segments.put(12, Some(1), "", 0);
        segments.put(12, Some(2), "", 0);
        assert!(!segments.is_shared(1, ours) && segments.is_shared(2, ours));
        segments.gone(12);
        assert!(!segments.is_shared(2, ours));
        for port in [10, 11] {
            segments.gone(port);
        }
        assert!(segments.ports.is_empty() && segments.bridges.is_empty());
    }
}
