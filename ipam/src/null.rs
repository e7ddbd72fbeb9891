//! The IPAM driver `null`: no pools and no addresses, for networks whose addresses somebody else gives.

use std::net::IpAddr;

use async_trait::async_trait;
use model::{NetworkId, Pool, Scope};
use store::Txn;

use crate::{AddressGrant, AddressRequest, Error, Ipam, PoolGrant, PoolRequest, PoolUse, Result};

/// Gives nothing; refuses what is asked for in so many words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Null;

fn refused() -> Error {
    Error::Invalid {
        message: "the IPAM driver \"null\" has no address pools".to_owned(),
        hint: Some("leave out --subnet, or leave out --ipam-driver".to_owned()),
    }
}

#[async_trait]
impl Ipam for Null {
    async fn request_pool(&self, _: &PoolRequest) -> Result<PoolGrant> {
        Err(refused())
    }

    async fn release_pool(&self, _: NetworkId, _: Scope, _: &Pool) -> Result<Txn> {
        Ok(Txn::new())
    }

    async fn request_address(&self, _: &AddressRequest<'_>) -> Result<AddressGrant> {
        Err(refused())
    }

    async fn release_address(&self, _: NetworkId, _: Scope, _: &Pool, _: IpAddr) -> Result<Txn> {
        Ok(Txn::new())
    }

    async fn utilisation(&self, _: NetworkId, _: Scope, pool: &Pool) -> Result<PoolUse> {
        Ok(PoolUse {
            subnet: pool.subnet,
            in_use: 0,
            available: 0,
        })
    }
}
