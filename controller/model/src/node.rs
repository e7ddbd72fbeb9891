//! A host of the cluster, as the others know it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Timestamp};

/// A host, as recorded in the cluster store. Its liveness is a key of its own that hangs on a lease; this record stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// Its hostname, for people.
    pub hostname: String,
    /// Underlay address of its VXLAN tunnel endpoint (VTEP), which others send to.
    pub address: IpAddr,
    /// When its daemon last started.
    pub started: Timestamp,
}
