//! Address management in other processes, by Docker's plugin protocol.
//!
//! A plugin keeps its own books, so there is nothing to commit. What is given back while it does not answer is owed to it
//! until it does, and said twice only where nobody else can have got it in between; after a restart of this daemon it would have to be told by hand.

mod catalog;
mod translate;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use model::{IpNet, NetworkId, Pool, Scope, Subnet};
use plugin_proto::{
    Call, Error as PluginError, Plugin,
    activation::IPAM_DRIVER,
    ipam_driver::{
        AddressSpaces, Capabilities, GetCapabilities, GetDefaultAddressSpaces, ReleaseAddress, ReleasePool,
        RequestPool,
    },
};
use store::Txn;
use tokio::sync::OnceCell;

use crate::{
    AddressGrant, AddressRequest, Error, Held, HostRoutes, Ipam, PoolGrant, PoolRequest, PoolUse, Result,
};

pub use catalog::Remotes;

/// How often a plugin is asked again for a pool or an address that can't be used.
const TURNS: usize = 16;
/// What is owed to a plugin that never comes back is forgotten at last.
const OWED: usize = 10_000;

/// A plugin as a driver of addresses.
pub struct Remote {
    plugin: Arc<Plugin>,
    routes: HostRoutes,
    facts: OnceCell<Facts>,
    owed: Mutex<Vec<Debt>>,
    /// Held by the one who tells what is owed, with when the plugin was silent about it last.
    settling: tokio::sync::Mutex<Option<Instant>>,
}

/// What a plugin says of itself.
#[derive(Debug, Clone)]
struct Facts {
    capabilities: Capabilities,
    spaces: AddressSpaces,
}

/// What was given back, and the plugin does not know it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owed {
    Address(ReleaseAddress),
    Pool(ReleasePool),
}

/// What the plugin is to be told, and how much may be said twice.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Debt {
    owed: Owed,
    /// Of this host's networks, or of those that others have too.
    scope: Scope,
}

impl Debt {
    /// Pure: whether it stays to be told after an attempt that ended so. A plugin that was silent may have done it, and
    /// what it gives to another host meanwhile must not be taken from there by our saying it again.
    fn stays(&self, error: &PluginError) -> bool {
        let heard = !matches!(
            error,
            PluginError::NotFound { .. } | PluginError::Unreachable { unsent: true, .. }
        );
        error.is_silence() && (self.scope == Scope::Local || !heard)
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remote").field(&self.plugin.name()).finish()
    }
}

impl Remote {
    /// The plugin, which may be there or not. Pools that it chooses are held against the host's routes.
    pub fn new(plugin: Arc<Plugin>, routes: HostRoutes) -> Self {
        Self {
            plugin,
            routes,
            facts: OnceCell::new(),
            owed: Mutex::default(),
            settling: tokio::sync::Mutex::default(),
        }
    }

    /// Finds it and asks what it needs, if it was not asked yet. One whose file is not there yet is waited for.
    ///
    /// # Errors
    /// When it is not there, or is no driver of addresses.
    pub async fn activate(&self, patience: Duration) -> Result<()> {
        self.plugin.require(IPAM_DRIVER, patience).await?;
        self.facts().await.map(drop)
    }

    async fn facts(&self) -> Result<&Facts> {
        let ask = || async {
            // Older plugins have no such call.
            let capabilities = match self.plugin.call(&GetCapabilities).await {
                Ok(capabilities) => capabilities,
                Err(PluginError::Refused { .. }) => Capabilities::default(),
                Err(error) => return Err(error),
            };
            let spaces = self.plugin.call(&GetDefaultAddressSpaces).await?;
            Ok(Facts { capabilities, spaces })
        };
        Ok(self.facts.get_or_try_init(ask).await?)
    }

    fn nonsense(&self, method: &str, reason: String) -> Error {
        Error::Plugin(PluginError::Nonsense {
            plugin: self.plugin.name().to_owned(),
            method: method.to_owned(),
            reason,
        })
    }

    fn owed(&self) -> MutexGuard<'_, Vec<Debt>> {
        // The list is whole even if a holder of the lock panicked.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back; what the plugin refuses to take it has not got, and what it does not hear it is told later.
    async fn give_back(&self, owed: Owed, scope: Scope) {
        self.settle().await;
        if let Err(error) = self.tell(&owed).await {
            tracing::warn!(plugin = self.plugin.name(), %error, "giving back");
            let debt = Debt { owed, scope };
            if debt.stays(&error) {
                let mut all = self.owed();
                all.push(debt);
                let surplus = all.len().saturating_sub(OWED);
                all.drain(..surplus);
            }
        }
    }

    async fn tell(&self, owed: &Owed) -> Result<(), PluginError> {
        match owed {
            Owed::Address(release) => self.plugin.call(release).await.map(drop),
            Owed::Pool(release) => self.plugin.call(release).await.map(drop),
        }
    }

    /// Tells what is owed, oldest first, as far as the plugin listens. One at a time: what is told twice may be somebody
    /// else's by the second time.
    async fn settle(&self) {
        if self.owed().is_empty() {
            return;
        }
        let began = Instant::now();
        let mut silent = self.settling.lock().await;
        // Who waited for one that was not heard needn't try again.
        if silent.is_some_and(|silent| silent >= began) {
            return;
        }
        loop {
            let Some(next) = self.owed().first().cloned() else {
                return;
            };
            let told = self.tell(&next.owed).await;
            let silence = told.err().filter(PluginError::is_silence);
            if silence.as_ref().is_none_or(|error| !next.stays(error)) {
                self.no_longer(&next.owed);
            }
            if silence.is_some() {
                *silent = Some(Instant::now());
                return;
            }
        }
    }

    /// It was told, or granted anew.
    fn no_longer(&self, owed: &Owed) {
        let mut all = self.owed();
        if let Some(at) = all.iter().position(|one| one.owed == *owed) {
            all.remove(at);
        }
    }

    /// One pool, whether it can be used or not.
    async fn one_pool(&self, call: &RequestPool, request: &PoolRequest) -> Result<PoolGrant> {
        let answer = self.plugin.call(call).await?;
        let pool_id = answer.pool_id.clone();
        let owed = Owed::Pool(ReleasePool { pool_id });
        match translate::pool(&answer, &call.address_space, request.family) {
            Ok(grant) => {
                self.no_longer(&owed);
                Ok(grant)
            }
            Err(reason) => {
                self.give_back(owed, request.scope).await;
                Err(self.nonsense(RequestPool::METHOD, reason))
            }
        }
    }

    /// With what of the host or of the same operation a pool is in conflict.
    fn conflict(&self, request: &PoolRequest, subnet: Subnet) -> Option<String> {
        let known = request.siblings.iter().chain(&request.avoid);
        let known = known.map(|other| (*other, "another network".to_owned()));
        let routes = (self.routes)().into_iter();
        let routes = routes.filter(|(_, link)| !request.links.contains(link));
        known
            .chain(routes)
            .find(|(other, _)| other.overlaps(subnet))
            .map(|(other, whose)| format!("{subnet} overlaps {other} of {whose}"))
    }

    async fn one_address(&self, request: &AddressRequest<'_>) -> Result<IpNet> {
        let call = translate::request_address(request);
        let answer = self.plugin.call(&call).await?;
        match translate::address(&answer, request.pool.subnet) {
            Ok(address) => {
                self.no_longer(&Owed::Address(release(request.pool, address.addr())));
                Ok(address)
            }
            Err(reason) => {
                if let Some(address) = translate::plain_address(&answer) {
                    self.give_back(Owed::Address(release(request.pool, address)), request.scope)
                        .await;
                }
                Err(self.nonsense("IpamDriver.RequestAddress", reason))
            }
        }
    }
}

fn release(pool: &Pool, address: IpAddr) -> ReleaseAddress {
    ReleaseAddress {
        pool_id: pool.id.clone(),
        address: address.to_string(),
    }
}

#[async_trait]
impl Ipam for Remote {
    async fn request_pool(&self, request: &PoolRequest) -> Result<PoolGrant> {
        self.settle().await;
        let call = translate::request_pool(request, &self.facts().await?.spaces);
        let mut rejected: Vec<PoolGrant> = Vec::new();
        let mut outcome = None;
        let mut why = String::new();
        for _ in 0..TURNS {
            match self.one_pool(&call, request).await {
                Ok(grant) => match self.conflict(request, grant.subnet) {
                    // What was asked for in so many words is the user's own affair.
                    Some(conflict) if request.subnet.is_none() => {
                        why = conflict;
                        rejected.push(grant);
                    }
                    _ => outcome = Some(Ok(grant)),
                },
                Err(error) => outcome = Some(Err(error)),
            }
            if outcome.is_some() {
                break;
            }
        }
        // Not earlier, or it would offer them again.
        for PoolGrant { id: pool_id, .. } in rejected {
            self.give_back(Owed::Pool(ReleasePool { pool_id }), request.scope)
                .await;
        }
        outcome.unwrap_or_else(|| Err(self.nonsense(RequestPool::METHOD, why)))
    }

    async fn release_pool(&self, _: NetworkId, scope: Scope, pool: &Pool) -> Result<Txn> {
        for address in pool.aux_addresses.values() {
            self.give_back(Owed::Address(release(pool, *address)), scope)
                .await;
        }
        let pool_id = pool.id.clone();
        self.give_back(Owed::Pool(ReleasePool { pool_id }), scope).await;
        Ok(Txn::new())
    }

    async fn request_address(&self, request: &AddressRequest<'_>) -> Result<AddressGrant> {
        self.settle().await;
        let mut rejected = Vec::new();
        let mut outcome = Err(Error::Exhausted {
            message: format!(
                "the plugin {:?} only has addresses that others use",
                self.plugin.name()
            ),
            hint: None,
        });
        for _ in 0..TURNS {
            match self.one_address(request).await {
                Ok(address) if request.wanted.is_none() && request.avoid.contains(&address.addr()) => {
                    rejected.push(address.addr());
                }
                other => {
                    outcome = other;
                    break;
                }
            }
        }
        for address in rejected {
            self.give_back(Owed::Address(release(request.pool, address)), request.scope)
                .await;
        }
        outcome.map(|address| AddressGrant {
            address,
            txn: Txn::new(),
        })
    }

    async fn release_address(&self, _: NetworkId, scope: Scope, pool: &Pool, address: IpAddr) -> Result<Txn> {
        self.give_back(Owed::Address(release(pool, address)), scope).await;
        Ok(Txn::new())
    }

    async fn utilisation(&self, _: NetworkId, _: Scope, _: &Pool) -> Result<PoolUse> {
        Err(Error::Invalid {
            message: format!(
                "the plugin {:?} does not tell how much is used",
                self.plugin.name()
            ),
            hint: None,
        })
    }

    async fn requires_mac(&self) -> Result<bool> {
        Ok(self.facts().await?.capabilities.requires_mac_address)
    }

    async fn set_aside(&self, pool: &Pool, address: IpAddr) -> Result<()> {
        let call = translate::held_address(pool, None, address);
        self.plugin.call(&call).await?;
        self.no_longer(&Owed::Address(release(pool, address)));
        Ok(())
    }

    async fn remind(
        &self,
        request: &PoolRequest,
        pool: &Pool,
        held: &(dyn Fn() -> Option<Held> + Send + Sync),
    ) -> Result<()> {
        self.activate(Duration::from_secs(30)).await?;
        let facts = self.facts().await?;
        if !facts.capabilities.requires_request_replay {
            return Ok(());
        }
        let Some(held) = held() else {
            return Ok(());
        };
        let asked = PoolRequest {
            subnet: Some(pool.subnet),
            ..request.clone()
        };
        let call = translate::request_pool(&asked, &facts.spaces);
        let answer = self.plugin.call(&call).await?;
        let wrong = match translate::pool(&answer, &call.address_space, request.family) {
            Ok(_) if answer.pool_id == pool.id => None,
            Ok(_) => Some(format!(
                "asked again for {}, it calls it {:?} and no longer {:?}",
                pool.subnet, answer.pool_id, pool.id
            )),
            Err(reason) => Some(reason),
        };
        if let Some(reason) = wrong {
            // The one that the network lives in stays.
            if answer.pool_id != pool.id {
                let pool_id = answer.pool_id;
                self.give_back(Owed::Pool(ReleasePool { pool_id }), request.scope)
                    .await;
            }
            return Err(self.nonsense(RequestPool::METHOD, reason));
        }
        for (holder, address) in held {
            let call = translate::held_address(pool, holder.as_ref(), address);
            self.plugin.call(&call).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
