//! Address management: pools for networks, addresses for endpoints, each with an owner.
//!
//! An [`Ipam`] commits nothing: it answers together with a [`Txn`] fragment, which the caller merges into the intent
//! of its own operation, so that leases, names and the record are one commit. When that commit meets a
//! [`store::Error::Conflict`] on one of the fragment's keys, somebody else was faster: ask again.
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod intervals;
mod null;
mod number;
mod pool;
mod remote;
mod space;
mod stored;

use std::{collections::BTreeMap, net::IpAddr};

use async_trait::async_trait;
use model::{
    AddressFamily, EndpointId, IpNet, Labels, MacAddress, NetworkId, NodeId, Pool, Scope, Subnet, Timestamp,
};
use store::Txn;

pub use null::Null;
pub use pool::{Book, Unusable, has_room, unusable, usable, used};
pub use remote::{Remote, Remotes};
pub use space::{DefaultPool, DefaultPoolError, Occupant, Space};
pub use stored::{HostRoutes, Stored};

/// A pool wanted for a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRequest {
    /// The network it is for.
    pub network: NetworkId,
    /// The network's name, for others' error messages.
    pub network_name: String,
    /// Which address space.
    pub scope: Scope,
    /// Which family.
    pub family: AddressFamily,
    /// The subnet; none to take one from the default pools.
    pub subnet: Option<Subnet>,
    /// Where dynamic addresses are taken from, inside the subnet.
    pub ip_range: Option<Subnet>,
    /// Addresses set aside for others.
    pub aux_addresses: BTreeMap<String, IpAddr>,
    /// Options for a plugin.
    pub options: Labels,
    /// Subnets of pools already granted in the same operation (not yet in the store).
    pub siblings: Vec<Subnet>,
    /// Subnets that a pool from the default pools must not overlap: those of the other scope's networks.
    pub avoid: Vec<Subnet>,
    /// Links of the host that will be the network's own, such as an adopted bridge: their routes don't count.
    pub links: Vec<String>,
    /// The subnet is that of a segment which others are on too, the host perhaps among them: its routes don't count where
    /// the subnet is named.
    pub shared_segment: bool,
}

/// Addresses with their holders; none of what is set aside.
pub type Held = Vec<(Option<Holder>, IpAddr)>;

/// A pool granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolGrant {
    /// The driver's handle.
    pub id: String,
    /// The subnet.
    pub subnet: Subnet,
    /// The address space that it is of, where that isn't the built-in management's.
    pub space: Option<String>,
    /// The gateway's address, where the driver has decided it.
    pub gateway: Option<IpAddr>,
    /// To be committed for the grant to hold. Empty for a plugin, which keeps its own books.
    pub txn: Txn,
}

/// Whom an address is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The network's gateway.
    Gateway(NetworkId),
    /// An endpoint, with its name for others' error messages.
    Endpoint(EndpointId, String),
}

/// An address wanted from a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRequest<'a> {
    /// The network.
    pub network: NetworkId,
    /// Which address space.
    pub scope: Scope,
    /// The pool.
    pub pool: &'a Pool,
    /// Whom it is for.
    pub holder: Holder,
    /// The container it is for, which gets again what was kept or set aside for it.
    pub owner: Option<String>,
    /// The host it is for, whose death frees it.
    pub node: NodeId,
    /// The address; none for the next free one.
    pub wanted: Option<IpAddr>,
    /// The Ethernet address that goes with it, as far as it is known.
    pub mac: Option<MacAddress>,
    /// Addresses that a lost commit has shown to be taken.
    pub avoid: &'a [IpAddr],
}

/// An address granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressGrant {
    /// Address with the subnet's prefix length.
    pub address: IpNet,
    /// To be committed for the grant to hold.
    pub txn: Txn,
}

/// How much of a pool is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// The subnet.
    pub subnet: Subnet,
    /// Addresses that can't be handed out: held, set aside, or no host's (network and broadcast).
    pub in_use: u64,
    /// Addresses that the next endpoints may get without asking for them.
    pub available: u64,
}

/// Why address management refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong. Becomes 400.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The subnet overlaps another network's or a route of the host, which the message names. Becomes 403.
    #[error("{message}")]
    Overlap {
        /// With what, by name.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The address is held, by whom the message names. Becomes 403.
    #[error("address {address} is already in use by {holder}")]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// Its holder: an endpoint's quoted name, or what the address is for.
        holder: String,
    },
    /// No address or subnet is left. Becomes 503.
    #[error("{message}")]
    Exhausted {
        /// Of what.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A plugin is not there, does not answer, or refuses. Becomes 404 when it is not there, else 500.
    #[error(transparent)]
    Plugin(#[from] plugin_proto::Error),
    /// The store failed.
    #[error("reading the address records")]
    Store(#[from] store::Error),
}

/// A `Result` with address management's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Pools and addresses. Releasing what is not held is no error.
#[async_trait]
pub trait Ipam: Send + Sync + std::fmt::Debug {
    /// Grants a pool.
    async fn request_pool(&self, request: &PoolRequest) -> Result<PoolGrant>;
    /// Gives a pool back.
    async fn release_pool(&self, network: NetworkId, scope: Scope, pool: &Pool) -> Result<Txn>;
    /// Grants an address.
    async fn request_address(&self, request: &AddressRequest<'_>) -> Result<AddressGrant>;
    /// Gives an address back.
    async fn release_address(
        &self,
        network: NetworkId,
        scope: Scope,
        pool: &Pool,
        address: IpAddr,
    ) -> Result<Txn>;
    /// Gives an address back, and keeps it for a while for whoever had it.
    async fn keep_address(
        &self,
        network: NetworkId,
        scope: Scope,
        pool: &Pool,
        address: IpAddr,
    ) -> Result<Txn> {
        self.release_address(network, scope, pool, address).await
    }
    /// Sets an address aside for a container that exists and need not run.
    async fn reserve_address(&self, _request: &AddressRequest<'_>, _owner: &str) -> Result<Txn> {
        Ok(Txn::new())
    }
    /// Forgets what is set aside or kept for a container that is gone.
    async fn forget_owner(&self, _network: NetworkId, _scope: Scope, _owner: &str) -> Result<Txn> {
        Ok(Txn::new())
    }
    /// The fragment that forgets what is set aside, apart or kept for whoever was on a host that is gone, some of it at a
    /// time: empty when nothing is left. What an endpoint has stays.
    async fn forget_node(&self, _network: NetworkId, _scope: Scope, _node: NodeId) -> Result<Txn> {
        Ok(Txn::new())
    }
    /// Sets an address apart before there is an endpoint, the one wanted or the next free one: endpoints of `owner` that
    /// ask for it get it, and nobody else does until `owner` gives it up, also when the endpoint has gone.
    async fn set_apart(&self, _request: &AddressRequest<'_>, _owner: &str) -> Result<AddressGrant> {
        Err(Error::Invalid {
            message: "addresses of this network can't be had before there is an endpoint".to_owned(),
            hint: Some("use a network whose addresses are managed by cnm itself".to_owned()),
        })
    }
    /// Gives back what was set apart; what an endpoint has is free when that goes. An address that is not apart for `owner`
    /// stays as it is.
    async fn give_up_apart(
        &self,
        _network: NetworkId,
        _scope: Scope,
        _pool: &Pool,
        _address: IpAddr,
        _owner: &str,
    ) -> Result<Txn> {
        Ok(Txn::new())
    }
    /// What is apart for `owner` on a network, and since when.
    async fn apart(
        &self,
        _network: NetworkId,
        _scope: Scope,
        _owner: &str,
    ) -> Result<Vec<(IpAddr, Timestamp)>> {
        Ok(Vec::new())
    }
    /// Whether it must know an endpoint's Ethernet address before it chooses the other.
    async fn requires_mac(&self) -> Result<bool> {
        Ok(false)
    }
    /// Takes an address out of a pool that was asked for as an auxiliary one. Where the pool's own request says so, there
    /// is nothing left to do.
    async fn set_aside(&self, _pool: &Pool, _address: IpAddr) -> Result<()> {
        Ok(())
    }
    /// Asks again for what is held, as some plugins want after a start. What has no holder is set aside. What is held is
    /// asked for when the plugin is there, which may take a while; none if the network is gone by then.
    async fn remind(
        &self,
        _request: &PoolRequest,
        _pool: &Pool,
        _held: &(dyn Fn() -> Option<Held> + Send + Sync),
    ) -> Result<()> {
        Ok(())
    }
    /// How much of a pool is used.
    async fn utilisation(&self, network: NetworkId, scope: Scope, pool: &Pool) -> Result<PoolUse>;
    /// The fragment that tells others the network's new name.
    async fn rename(&self, _network: NetworkId, _scope: Scope, _pools: &[Pool], _name: &str) -> Result<Txn> {
        Ok(Txn::new())
    }
}
