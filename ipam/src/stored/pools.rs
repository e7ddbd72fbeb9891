//! Pools of the address spaces: one key per subnet, and one token per family that every new pool moves.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use model::{AddressFamily, NetworkId, NodeId, Scope, Subnet};
use serde::{Deserialize, Serialize};
use store::{Entry, Guard, Key, Store, Stores, Table, Txn};

use super::HostRoutes;
use crate::{DefaultPool, Error, Occupant, PoolGrant, PoolRequest, Result, Space, has_room};

/// Who has a subnet, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PoolRecord {
    network: NetworkId,
    network_name: String,
    node: NodeId,
    subnet: Subnet,
}

/// One address space as last read, and which of our own grants would bring it up to date.
#[derive(Debug, Default)]
struct Cached {
    /// The token at that time; none before the first pool. What is chosen from `space` is guarded by this very one.
    token: Option<Entry>,
    space: Space,
    /// Grants given out under this token: each holds from the moment its token is the store's.
    granted: HashMap<Vec<u8>, Grants>,
    /// Subnets given back, and by whom: free once their key is gone.
    released: HashMap<Subnet, NetworkId>,
}

impl Cached {
    fn is_at(&self, token: Option<&Entry>) -> bool {
        self.token.as_ref().map(|entry| &entry.value) == token.map(|entry| &entry.value)
    }
}

#[derive(Debug)]
struct Grants {
    network: NetworkId,
    name: String,
    subnets: Vec<Subnet>,
}

type Caches = HashMap<(Scope, AddressFamily), Cached>;

/// The pools of both scopes.
#[derive(Debug)]
pub(super) struct Pools {
    stores: Stores,
    node: NodeId,
    defaults: Vec<DefaultPool>,
    routes: Routes,
    caches: Mutex<Caches>,
}

/// When the host's routes were read, and what they were.
type Dump = (Instant, Vec<(Subnet, String)>);

/// The host's routes, which are read anew where a user's own subnet is checked against them. A default pool that is
/// chosen by routes a moment old is no worse off than one whose route comes a moment later.
struct Routes {
    read: HostRoutes,
    recent: Mutex<Option<Dump>>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Routes")
    }
}

impl Routes {
    /// A dump costs what the host has, so one serves all requests of this time.
    const RECENT: Duration = Duration::from_secs(2);

    fn new(read: HostRoutes) -> Self {
        Self {
            read,
            recent: Mutex::new(None),
        }
    }

    async fn for_request(&self, request: &PoolRequest) -> Vec<(Subnet, String)> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match recent {
            Some((at, routes)) if request.subnet.is_none() && at.elapsed() < Self::RECENT => routes,
            _ => self.read().await,
        }
    }

    async fn read(&self) -> Vec<(Subnet, String)> {
        let (at, read) = (Instant::now(), Arc::clone(&self.read));
        // Only a panic of the reader ends here; then no route is known to be in the way.
        let mut routes = tokio::task::spawn_blocking(move || read())
            .await
            .unwrap_or_default();
        // A default route overlaps everything and says nothing.
        routes.retain(|(subnet, _)| subnet.prefix_len() > 0);
        *self.recent.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, routes.clone()));
        routes
    }
}

impl Pools {
    pub(super) fn new(stores: Stores, node: NodeId, defaults: Vec<DefaultPool>, routes: HostRoutes) -> Self {
        Self {
            stores,
            node,
            defaults,
            routes: Routes::new(routes),
            caches: Mutex::new(HashMap::new()),
        }
    }

    pub(super) async fn request(&self, request: &PoolRequest) -> Result<PoolGrant> {
        self.refresh(request.scope, request.family).await?;
        let routes = self.routes.for_request(request).await;
        let routes: Vec<_> = routes
            .into_iter()
            .filter(|(subnet, link)| subnet.family() == request.family && !request.links.contains(link))
            .filter(|_| !(request.shared_segment && request.subnet.is_some()))
            .collect();
        match self.grant(request, &routes) {
            // The book may be behind: somebody gave back what it still counts.
            Err(Error::Overlap { .. } | Error::Exhausted { .. }) => {
                let token = self.token(request.scope, request.family).await?;
                self.read(request.scope, request.family, token).await?;
                self.grant(request, &routes)
            }
            granted => granted,
        }
    }

    /// The fragment that gives a subnet back.
    pub(super) fn release(&self, network: NetworkId, scope: Scope, subnet: Subnet) -> Txn {
        let mut caches = self.caches();
        let cached = caches.entry((scope, subnet.family())).or_default();
        cached.released.insert(subnet, network);
        // Should its commit have taken place after all, an unknown token has everything read again.
        cached.granted.retain(|_, grants| grants.network != network);
        table(subnet.family()).delete(segment(subnet))
    }

    /// The fragment that notes a network's new name with its subnets. Another host that has read them before goes on
    /// naming the old one in its messages, until it reads them again.
    pub(super) async fn rename(
        &self,
        network: NetworkId,
        scope: Scope,
        pools: &[model::Pool],
        name: &str,
    ) -> Result<Txn> {
        let store = self.stores.of(scope);
        let mut txn = Txn::new();
        for subnet in pools.iter().map(|pool| pool.subnet) {
            let table = table(subnet.family());
            let found = table.get(&**store, segment(subnet)).await?;
            let Some(found) = found.filter(|found| found.record.network == network) else {
                continue;
            };
            let record = PoolRecord {
                network_name: name.to_owned(),
                ..found.record
            };
            txn = txn.and(table.put(segment(subnet), &record));
            // What is not at any token is read again before the next choice.
            self.with(scope, subnet.family(), |cached| cached.token = None);
        }
        Ok(txn)
    }

    fn caches(&self) -> MutexGuard<'_, Caches> {
        // A cache is only ever replaced whole or extended: it is whole even if a holder of the lock panicked.
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn token(&self, scope: Scope, family: AddressFamily) -> Result<Option<Entry>> {
        Ok(self.stores.of(scope).get(&token_key(family)).await?)
    }

    /// Brings the cache up to the store's token.
    async fn refresh(&self, scope: Scope, family: AddressFamily) -> Result<()> {
        let token = self.token(scope, family).await?;
        if !self.catch_up(scope, family, token.as_ref()) {
            self.read(scope, family, token.clone()).await?;
        }
        let released = self.with(scope, family, |cached| cached.released.clone());
        let store = self.stores.of(scope);
        for (subnet, network) in released {
            let holder = table(family).get(&**store, segment(subnet)).await?;
            self.with(scope, family, |cached| {
                match holder.map(|found| found.record.network) {
                    // Not yet.
                    Some(holder) if holder == network => return,
                    Some(_) => {}
                    // Somebody may have taken it since, but not without another token.
                    None if cached.is_at(token.as_ref()) => cached.space.remove(subnet),
                    None => return,
                }
                cached.released.remove(&subnet);
            });
        }
        Ok(())
    }

    fn with<T>(&self, scope: Scope, family: AddressFamily, act: impl FnOnce(&mut Cached) -> T) -> T {
        act(self.caches().entry((scope, family)).or_default())
    }

    /// Whether the cache is what the store has, perhaps after one of our own grants.
    fn catch_up(&self, scope: Scope, family: AddressFamily, token: Option<&Entry>) -> bool {
        let Some(token) = token else { return false };
        self.with(scope, family, |cached| {
            if cached.is_at(Some(token)) {
                return true;
            }
            let Some(grants) = cached.granted.remove(&token.value) else {
                return false;
            };
            for subnet in grants.subnets {
                cached.space.insert(subnet, grants.name.clone());
            }
            cached.granted.clear();
            cached.token = Some(token.clone());
            true
        })
    }

    async fn read(&self, scope: Scope, family: AddressFamily, token: Option<Entry>) -> Result<()> {
        let store: &dyn Store = &**self.stores.of(scope);
        let (_, records) = table(family).list(store).await?;
        let mut space = Space::default();
        for found in records {
            space.insert(found.record.subnet, found.record.network_name);
        }
        self.with(scope, family, |cached| {
            if !cached.is_at(token.as_ref()) {
                cached.granted.clear();
                cached.token = token;
            }
            cached.space = space;
        });
        Ok(())
    }

    /// Chooses, and guards what was chosen by the token of what it was chosen from: other requests may have moved the
    /// cache since this one refreshed it, also back.
    fn grant(&self, request: &PoolRequest, routes: &[(Subnet, String)]) -> Result<PoolGrant> {
        self.with(request.scope, request.family, |cached| {
            let subnet = self.choose(&cached.space, request, routes)?;
            Ok(PoolGrant {
                id: format!("{}/{subnet}", request.scope),
                subnet,
                space: None,
                gateway: None,
                txn: self.fragment(cached, request, subnet),
            })
        })
    }

    fn choose(&self, space: &Space, request: &PoolRequest, routes: &[(Subnet, String)]) -> Result<Subnet> {
        let next = |size| {
            let avoid: Vec<_> = routes.iter().map(|(subnet, _)| *subnet).collect();
            let avoid = [&avoid, &request.avoid[..], &request.siblings].concat();
            space.next(&self.defaults, request.family, size, &avoid)
        };
        let found = |size| {
            let found = next(size).ok_or_else(|| used_up(request.family))?;
            check_parts(request, found).map(|()| found)
        };
        match request.subnet {
            None => found(None),
            Some(size) if size.network().is_unspecified() && size.prefix_len() > 0 => {
                found(Some(size.prefix_len()))
            }
            Some(wanted) => {
                check_parts(request, wanted)?;
                match occupant(space, request, routes, wanted) {
                    None => Ok(wanted),
                    Some(found) => Err(overlap(wanted, found, next(None))),
                }
            }
        }
    }

    /// The key of the subnet, and, for the first pool of its family in an operation, the family's token.
    fn fragment(&self, cached: &mut Cached, request: &PoolRequest, subnet: Subnet) -> Txn {
        let record = PoolRecord {
            network: request.network,
            network_name: request.network_name.clone(),
            node: self.node,
            subnet,
        };
        let txn = table(request.family).create(segment(subnet), &record);
        let sibling = request
            .siblings
            .iter()
            .any(|other| other.family() == request.family);
        if sibling {
            let mine = cached
                .granted
                .values_mut()
                .find(|grants| grants.network == request.network);
            if let Some(grants) = mine {
                grants.subnets.push(subnet);
            }
            return txn;
        }
        let next = fresh_token();
        cached
            .granted
            .retain(|_, grants| grants.network != request.network);
        let grants = Grants {
            network: request.network,
            name: request.network_name.clone(),
            subnets: vec![subnet],
        };
        cached.granted.insert(next.clone(), grants);
        let key = token_key(request.family);
        let guard = match &cached.token {
            Some(entry) => Guard::Unchanged(key.clone(), entry.revision),
            None => Guard::Absent(key.clone()),
        };
        txn.guard(guard).put(key, next)
    }
}

fn table(family: AddressFamily) -> Table<PoolRecord> {
    Table::new(Key::root("pools").child(family_segment(family)), 1)
}

fn token_key(family: AddressFamily) -> Key {
    Key::root("spaces").child(family_segment(family))
}

const fn family_segment(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::V4 => "v4",
        AddressFamily::V6 => "v6",
    }
}

/// A subnet as part of a key, in which `/` separates.
fn segment(subnet: Subnet) -> String {
    format!("{}_{}", subnet.network(), subnet.prefix_len())
}

/// A value that no other host comes up with; it means nothing.
fn fresh_token() -> Vec<u8> {
    NodeId::random().short().into_bytes()
}

/// Whether hosts can have addresses of it at all: not of those that are this host, nobody, a group, or IPv4 in disguise.
fn is_assignable(subnet: Subnet) -> bool {
    match subnet.network() {
        IpAddr::V4(first) => !(first.is_multicast() || first.is_loopback() || first.octets()[0] == 0),
        IpAddr::V6(first) => {
            !(first.is_multicast() || first.is_unspecified() || first.is_loopback())
                && first.to_ipv4_mapped().is_none()
        }
    }
}

/// That the parts of a request lie inside its subnet, and that the subnet is large enough.
fn check_parts(request: &PoolRequest, wanted: Subnet) -> Result<()> {
    let invalid = |message: String, hint: String| Error::Invalid {
        message,
        hint: Some(hint),
    };
    if !is_assignable(wanted) {
        let hint = "a private range such as 172.16.2.0/24 is usual".to_owned();
        return Err(invalid(format!("subnet {wanted} can't be given to hosts"), hint));
    }
    if !has_room(wanted) {
        let shortest = match wanted.family() {
            AddressFamily::V4 => 31,
            AddressFamily::V6 => 126,
        };
        return Err(invalid(
            format!("subnet {wanted} is too small for a gateway and one endpoint"),
            format!("a prefix length of {shortest} or less leaves room"),
        ));
    }
    if let Some(range) = request.ip_range
        && !(wanted.family() == range.family() && wanted.contains(&range.net()))
    {
        let hint = format!("an ip-range is a part of its subnet, such as {}", half(wanted));
        return Err(invalid(
            format!("ip-range {range} is outside of the subnet {wanted}"),
            hint,
        ));
    }
    let mut aux = request.aux_addresses.iter();
    if let Some((name, address)) = aux.find(|(_, address)| !wanted.contains(*address)) {
        let message = format!("auxiliary address {name:?} ({address}) is outside of the subnet {wanted}");
        return Err(invalid(
            message,
            "leave it out, or choose one of the subnet".to_owned(),
        ));
    }
    Ok(())
}

/// The lower half of a subnet.
fn half(subnet: Subnet) -> Subnet {
    let longer = (subnet.prefix_len() + 1).min(subnet.max_prefix_len());
    model::IpNet::new(subnet.network(), longer).map_or(subnet, Subnet::around)
}

fn occupant(
    space: &Space,
    request: &PoolRequest,
    routes: &[(Subnet, String)],
    wanted: Subnet,
) -> Option<(Subnet, Occupant)> {
    if let Some((other, name)) = space.overlap(wanted) {
        return Some((other, Occupant::Network(name.to_owned())));
    }
    if let Some(other) = request.siblings.iter().find(|other| other.overlaps(wanted)) {
        return Some((*other, Occupant::Network(request.network_name.clone())));
    }
    // A global network is not on the host's links: it has a namespace of its own on every host.
    let local = request.scope == Scope::Local;
    let route = routes
        .iter()
        .find(|(subnet, _)| local && subnet.overlaps(wanted))?;
    Some((route.0, Occupant::Route(route.1.clone())))
}

fn overlap(wanted: Subnet, (other, occupant): (Subnet, Occupant), free: Option<Subnet>) -> Error {
    let with = match occupant {
        Occupant::Network(name) => format!("{other} of network {name:?}"),
        Occupant::Route(link) => format!("the host's route to {other} on link {link:?}"),
    };
    Error::Overlap {
        message: format!(
            "invalid pool request: Pool overlaps with other one on this address space: {wanted} overlaps {with}"
        ),
        hint: free.map(|free| format!("{free} is free; without --subnet a free one is chosen")),
    }
}

fn used_up(family: AddressFamily) -> Error {
    Error::Exhausted {
        message: format!("all predefined address pools have been fully subnetted ({family})"),
        hint: Some(
            "choose a --subnet, remove networks that nobody uses (network prune), or configure more \
             default-address-pools"
                .to_owned(),
        ),
    }
}
