//! Who an object belongs to, in the store and in the kernel.

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
