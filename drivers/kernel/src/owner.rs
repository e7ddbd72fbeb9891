//! Who an object belongs to, in the store and in the kernel.

use std::{fmt, str::FromStr};

use model::{EndpointId, NetworkId, NodeId, SandboxId};

/// The record that an object was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A network's own objects: bridge, VXLAN link, chains.
    Network(NetworkId),
    /// One endpoint's: its veth, map elements, peer entries.
    Endpoint(EndpointId),
    /// A sandbox's: its namespace and what is in it.
    Sandbox(SandboxId),
    /// The daemon's own: tables, base chains, sysctls of the host.
    Host,
}

/// An owner together with the daemon it belongs to, so that several daemons on one kernel leave each other's alone.
/// Written as a link's alias (`cnm:NODE12:network:ID`) and an nft comment; a link's group number, which unlike the
/// alias is honoured in the creating request, is [`Mark::group`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The daemon's node.
    pub node: NodeId,
    /// The owner.
    pub owner: Owner,
}

/// A mark as read from an alias: of the node only the 12 digits that fit in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The node's short id.
    pub node: String,
    /// The owner.
    pub owner: Owner,
}

/// Text that is no mark of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mark: \"cnm:NODE:KIND:ID\" is")]
pub struct MarkError;

impl Mark {
    /// The group number of every link of a node: 31 bits, because tools print it signed, and never 0, which is
    /// everybody's default.
    pub fn group(node: NodeId) -> u32 {
        let [a, b, c, d, ..] = *node.as_bytes();
        (u32::from_be_bytes([a, b, c, d]) >> 1).max(1)
    }

    /// The mark that an alias spells, if it is one of this node.
    pub fn from_alias(node: NodeId, alias: &str) -> Option<Self> {
        let read: Alias = alias.parse().ok()?;
        (read.node == node.short()).then_some(Self {
            node,
            owner: read.owner,
        })
    }
}

/// As a link's alias; the kernel's limit for one is 255 bytes.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cnm:{}:", self.node.short())?;
        match &self.owner {
            Owner::Network(id) => write!(f, "network:{id}"),
            Owner::Endpoint(id) => write!(f, "endpoint:{id}"),
            Owner::Sandbox(id) => write!(f, "sandbox:{id}"),
            Owner::Host => f.write_str("host"),
        }
    }
}

impl FromStr for Alias {
    type Err = MarkError;

    fn from_str(text: &str) -> Result<Self, MarkError> {
        let rest = text.strip_prefix("cnm:").ok_or(MarkError)?;
        let (node, owner) = rest.split_once(':').ok_or(MarkError)?;
        let owner = match owner.split_once(':') {
            Some(("network", id)) => Owner::Network(id.parse().map_err(|_| MarkError)?),
            Some(("endpoint", id)) => Owner::Endpoint(id.parse().map_err(|_| MarkError)?),
            Some(("sandbox", id)) => Owner::Sandbox(id.parse().map_err(|_| MarkError)?),
            None if owner == "host" => Owner::Host,
            _ => return Err(MarkError),
        };
        Ok(Self {
            node: node.to_owned(),
            owner,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_survives_being_written_as_an_alias() {
        let node = NodeId::random();
        for owner in [
            Owner::Network(NetworkId::random()),
            Owner::Endpoint(EndpointId::random()),
            Owner::Sandbox(SandboxId::random()),
            Owner::Host,
        ] {
            let mark = Mark { node, owner };
            assert_eq!(Mark::from_alias(node, &mark.to_string()), Some(mark));
            assert!(mark.to_string().len() < 256);
        }
    }

    #[test]
    fn another_nodes_mark_and_other_peoples_aliases_are_not_ours() {
        let mark = Mark {
            node: NodeId::random(),
            owner: Owner::Host,
        };
        let node = NodeId::random();
        assert_eq!(Mark::from_alias(node, &mark.to_string()), None);
        for text in ["", "uplink", "cnm:", "cnm:x", "cnm:x:network:1", "cnm:x:hosts"] {
            assert_eq!(Mark::from_alias(node, text), None, "{text:?}");
        }
    }

    #[test]
    fn a_group_is_never_everybodys_default() {
        assert_eq!(Mark::group(NodeId::from_bytes([0; 32])), 1);
        assert_eq!(Mark::group(NodeId::from_bytes([0xff; 32])), 0x7fff_ffff);
    }
}
