//! The built-in address management: books in memory as a hint, guarded commits as the authority.
//!
//! Keys: `pools/v4/172.18.0.0_24` says which network has the subnet, `leases/NETWORK/172.18.0.2` who has the address
//! and on which host. Both are written only while absent, so of two hosts that choose the same one loses its commit and
//! asks again. Pools of different sizes overlap without sharing a key; so every new pool also moves the family's token
//! `spaces/v4` from the value it was chosen under.

mod leases;
mod pools;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use model::{NetworkId, NodeId, Pool, Scope, Subnet, Timestamp};
use std::net::IpAddr;
use store::{Stores, Txn};

use crate::{AddressGrant, AddressRequest, DefaultPool, Ipam, PoolGrant, PoolRequest, PoolUse, Result};
use leases::Leases;
use pools::Pools;

/// Reads the host's on-link routes: each subnet with the name of its link. May block.
pub type HostRoutes = Arc<dyn Fn() -> Vec<(Subnet, String)> + Send + Sync>;

/// Pools and leases kept in the stores, next to the records they belong to.
#[derive(Debug)]
pub struct Stored {
    pools: Pools,
    leases: Leases,
}

impl Stored {
    /// Address management over these stores. Networks without a subnet get one of `default_pools`, never one that
    /// the host has a route into.
    pub fn new(stores: Stores, node: NodeId, default_pools: Vec<DefaultPool>, routes: HostRoutes) -> Self {
        Self {
            pools: Pools::new(stores.clone(), node, default_pools, routes),
            leases: Leases::new(stores),
        }
    }

    /// The same, keeping addresses given back for whoever had them, for this long. Others get one earlier only when
    /// nothing else is left.
    #[must_use]
    pub fn remembering(mut self, memory: Duration) -> Self {
        self.leases = self.leases.remembering(memory);
        self
    }
}

#[async_trait]
impl Ipam for Stored {
    async fn request_pool(&self, request: &PoolRequest) -> Result<PoolGrant> {
        self.pools.request(request).await
    }

    async fn release_pool(&self, network: NetworkId, scope: Scope, pool: &Pool) -> Result<Txn> {
        self.leases.forget(network, pool.subnet);
        let kept = self.leases.clear(network, scope, pool.subnet).await?;
        Ok(self.pools.release(network, scope, pool.subnet).and(kept))
    }

    async fn request_address(&self, request: &AddressRequest<'_>) -> Result<AddressGrant> {
        self.leases.request(request).await
    }

    async fn release_address(
        &self,
        network: NetworkId,
        scope: Scope,
        pool: &Pool,
        address: IpAddr,
    ) -> Result<Txn> {
        self.leases
            .release(network, scope, pool.subnet, address, false)
            .await
    }

    async fn keep_address(
        &self,
        network: NetworkId,
        scope: Scope,
        pool: &Pool,
        address: IpAddr,
    ) -> Result<Txn> {
        self.leases
            .release(network, scope, pool.subnet, address, true)
            .await
    }

    async fn reserve_address(&self, request: &AddressRequest<'_>, owner: &str) -> Result<Txn> {
        self.leases.reserve(request, owner).await
    }

    async fn forget_owner(&self, network: NetworkId, scope: Scope, owner: &str) -> Result<Txn> {
        self.leases.forget_owner(network, scope, owner).await
    }

    async fn forget_node(&self, network: NetworkId, scope: Scope, node: NodeId) -> Result<Txn> {
        self.leases.forget_node(network, scope, node).await
    }

    async fn set_apart(&self, request: &AddressRequest<'_>, owner: &str) -> Result<AddressGrant> {
        self.leases.set_apart(request, owner).await
    }

    async fn give_up_apart(
        &self,
        network: NetworkId,
        scope: Scope,
        pool: &Pool,
        address: IpAddr,
        owner: &str,
    ) -> Result<Txn> {
        self.leases
            .give_up_apart(network, scope, pool.subnet, address, owner)
            .await
    }

    async fn apart(&self, network: NetworkId, scope: Scope, owner: &str) -> Result<Vec<(IpAddr, Timestamp)>> {
        self.leases.apart(network, scope, owner).await
    }

    async fn utilisation(&self, network: NetworkId, scope: Scope, pool: &Pool) -> Result<PoolUse> {
        self.leases.utilisation(network, scope, pool).await
    }

    async fn rename(&self, network: NetworkId, scope: Scope, pools: &[Pool], name: &str) -> Result<Txn> {
        self.pools.rename(network, scope, pools, name).await
    }
}

#[cfg(test)]
mod servers;
#[cfg(test)]
mod tests;
