//! What is kept beside the records of networks and endpoints: which Docker network is which of ours, what an endpoint is to
//! be until it joins, and which hosts have a Docker network of one of ours.

use std::net::IpAddr;

use model::{EndpointId, ExposedPorts, Labels, MacAddress, NetworkId, NodeId, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::{Key, Store, Table};

use crate::wanted::Wanted;

const SCHEMA: u32 = 1;

/// A Docker network and ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    /// Docker's id.
    pub(crate) docker: NetworkId,
    /// Ours; of one that is intended, nobody's.
    pub(crate) network: NetworkId,
    /// It was recorded before the network was made, or found, for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) intended: bool,
    /// As it was asked for: to make it again where another host has removed it.
    pub(crate) wanted: Wanted,
    pub(crate) made: Timestamp,
    /// The Docker daemon that was seen to know it.
    #[serde(default)]
    pub(crate) seen_by: Option<String>,
    /// The host's name and the folder of that daemon: with another id there, it has forgotten everything.
    #[serde(default)]
    pub(crate) seen_at: Option<String>,
}

/// An endpoint that Docker has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) id: EndpointId,
    /// Docker's network.
    pub(crate) docker: NetworkId,
    pub(crate) network: NetworkId,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) options: Labels,
    pub(crate) exposed: Vec<ExposedPorts>,
    pub(crate) made: Timestamp,
}

/// A host has a Docker network of this network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) node: NodeId,
}

/// By Docker's id.
pub(crate) fn bindings() -> Table<Binding> {
    Table::new(Key::root("docker").child("networks"), SCHEMA)
}

/// By the endpoint's id.
pub(crate) fn notes() -> Table<Note> {
    Table::new(Key::root("docker").child("endpoints"), SCHEMA)
}

/// By host, in the store of the network's scope.
pub(crate) fn holds(network: NetworkId) -> Table<Hold> {
    Table::new(all_holds().child(network), SCHEMA)
}

/// Where those of all networks are.
pub(crate) fn all_holds() -> Key {
    Key::root("docker").child("holds")
}

/// All records of a table.
pub(crate) async fn all<R>(table: Table<R>, store: &dyn Store) -> Result<Vec<R>, store::Error>
where
    R: Serialize + DeserializeOwned,
{
    let (_, found) = table.list(store).await?;
    Ok(found.into_iter().map(|found| found.record).collect())
}
