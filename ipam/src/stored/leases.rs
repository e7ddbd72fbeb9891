//! Addresses of pools: one key per lease, one book per pool in memory.

mod apart;
mod record;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{NetworkId, NodeId, Pool, Scope, Subnet, Timestamp};
use store::{Guard, Key, Stores, Table, Txn, Versioned};
use tokio::sync::Mutex as AsyncMutex;

use self::record::{Kept, Lease, LeaseHolder, Reservation, Without};
use crate::{
    AddressGrant, AddressRequest, Book, Error, Holder, PoolUse, Result, Unusable, unusable, usable, used,
};

/// Forgotten in one commit, at most.
const MOST: usize = Txn::MAX_OPERATIONS / 2;

/// What is known of a pool: what is taken of it, and what of that is only kept.
#[derive(Debug)]
struct Shelf {
    book: Book,
    kept: Kept,
}

type Books = HashMap<(NetworkId, Subnet), Arc<AsyncMutex<Option<Shelf>>>>;

/// The leases of every pool this host has used.
#[derive(Debug)]
pub(super) struct Leases {
    stores: Stores,
    /// How long an address given back is kept for whoever had it.
    memory: Duration,
    /// A book is none until it is read from the store.
    books: Mutex<Books>,
}

impl Leases {
    pub(super) fn new(stores: Stores) -> Self {
        Self {
            stores,
            memory: Duration::ZERO,
            books: Mutex::new(HashMap::new()),
        }
    }

    /// Keeps addresses given back for whoever had them, for this long.
    pub(super) const fn remembering(mut self, memory: Duration) -> Self {
        self.memory = memory;
        self
    }

    pub(super) async fn request(&self, request: &AddressRequest<'_>) -> Result<AddressGrant> {
        let pool = request.pool;
        let mut lease = Lease {
            holder: LeaseHolder::of(&request.holder, request.owner.as_deref()),
            node: request.node,
            reserved: None,
        };
        let (address, before) = match request.wanted {
            Some(wanted) => match self.check_wanted(request, wanted).await? {
                Held::ByHolder => return Ok(grant(pool, wanted, Txn::new())),
                Held::Free(before) => {
                    self.note(request.network, pool.subnet, wanted).await;
                    (wanted, before)
                }
            },
            None => self.next(request).await?,
        };
        let table = table(request.network);
        let txn = match before {
            None => table.create(address, &lease),
            Some(found) => {
                lease.reserved = found.record.reserved;
                table.replace(address, found.revision, &lease)
            }
        };
        Ok(grant(pool, address, txn))
    }

    /// Sets an address aside for a container that is not running.
    pub(super) async fn reserve(&self, request: &AddressRequest<'_>, owner: &str) -> Result<Txn> {
        let Some(wanted) = request.wanted else {
            return Ok(Txn::new());
        };
        let Held::Free(before) = self.check_wanted(request, wanted).await? else {
            return Ok(Txn::new());
        };
        let lease = Lease {
            holder: LeaseHolder::Nobody,
            node: request.node,
            reserved: Some(Reservation {
                owner: owner.to_owned(),
                name: name_of(&request.holder),
                waiting: None,
                left: false,
            }),
        };
        self.note(request.network, request.pool.subnet, wanted).await;
        let table = table(request.network);
        Ok(match before {
            None => table.create(wanted, &lease),
            Some(found) if found.record == lease => Txn::new(),
            Some(found) => table.replace(wanted, found.revision, &lease),
        })
    }

    /// Frees an address in the book, unless it is set aside; the caller commits the fragment, if the lease ever was
    /// committed. With `keep`, whoever had it finds it again for a while.
    pub(super) async fn release(
        &self,
        network: NetworkId,
        scope: Scope,
        subnet: Subnet,
        address: IpAddr,
        keep: bool,
    ) -> Result<Txn> {
        let table = table(network);
        let found = table.get(&**self.stores.of(scope), address).await?;
        let lease = found.map(|found| found.record);
        if let Some(idle) = lease.as_ref().and_then(|lease| lease.idle(Timestamp::now())) {
            return Ok(table.put(address, &idle));
        }
        let memory = lease.filter(|_| keep && !self.memory.is_zero());
        let kept = memory.and_then(|lease| lease.kept(Timestamp::now()));
        let book = self.books().get(&(network, subnet)).cloned();
        if let Some(book) = book
            && let Some(shelf) = book.lock().await.as_mut()
        {
            match &kept {
                Some(kept) => shelf.kept.put(address, &kept.holder),
                None => {
                    shelf.book.free(address);
                    shelf.kept.forget(address);
                }
            }
        }
        Ok(match kept {
            Some(kept) => table.put(address, &kept),
            None => table.delete(address),
        })
    }

    /// Forgets what is set aside and kept for a container on a network.
    pub(super) async fn forget_owner(&self, network: NetworkId, scope: Scope, owner: &str) -> Result<Txn> {
        let table = table(network);
        let mut txn = Txn::new();
        let mut freed = Vec::new();
        let listing = self.stores.of(scope).list(table.root()).await?;
        for entry in &listing.entries {
            // Nearly all are others': those are not even read.
            if !String::from_utf8_lossy(&entry.value).contains(owner) {
                continue;
            }
            let (Ok(address), found) = (entry.key.last().parse(), table.decode(entry)?) else {
                continue;
            };
            match found.record.without(owner) {
                Without::Same => {}
                Without::Less(lease) => txn = txn.and(table.put(address, &lease)),
                Without::Nothing => {
                    txn = txn.delete(table.key(address));
                    freed.push(address);
                }
            }
        }
        self.free(network, &freed).await;
        Ok(txn)
    }

    /// The fragment that forgets what nobody holds of what was given to a host, as much of it as fits a commit.
    pub(super) async fn forget_node(&self, network: NetworkId, scope: Scope, node: NodeId) -> Result<Txn> {
        let table = table(network);
        let leases = self.list(network, scope).await?.into_iter();
        // Each takes a guard, too, for its container may have started elsewhere.
        let some: Vec<_> = leases
            .filter(|(_, found)| found.record.node == node && !found.record.is_held())
            .take(MOST / 2)
            .collect();
        let freed: Vec<_> = some.iter().map(|(address, _)| *address).collect();
        self.free(network, &freed).await;
        Ok(some.into_iter().fold(Txn::new(), |txn, (address, found)| {
            let unchanged = Guard::Unchanged(table.key(address), found.revision);
            txn.and(table.delete(address)).guard(unchanged)
        }))
    }

    /// Notes in the books of a network that addresses are free.
    async fn free(&self, network: NetworkId, freed: &[IpAddr]) {
        let books: Vec<_> = self
            .books()
            .iter()
            .filter(|((of, _), _)| *of == network)
            .map(|((_, subnet), book)| (*subnet, Arc::clone(book)))
            .collect();
        for (subnet, book) in books {
            if let Some(shelf) = book.lock().await.as_mut() {
                for address in freed.iter().filter(|address| subnet.contains(*address)) {
                    shelf.book.free(*address);
                    shelf.kept.forget(*address);
                }
            }
        }
    }

    /// The fragment that forgets what of a pool is only kept or set aside, when its network goes. What is more than fits
    /// a commit is forgotten at once: it is a memory and no claim.
    pub(super) async fn clear(&self, network: NetworkId, scope: Scope, subnet: Subnet) -> Result<Txn> {
        let table = table(network);
        let store = self.stores.of(scope);
        let leases = self.list(network, scope).await?.into_iter();
        let idle: Vec<_> = leases
            .filter(|(address, found)| !found.record.is_held() && subnet.contains(address))
            .map(|(address, _)| address)
            .collect();
        let (last, first) = idle.split_at(idle.len().min(MOST));
        for chunk in first.chunks(MOST) {
            let txn = chunk
                .iter()
                .fold(Txn::new(), |txn, address| txn.delete(table.key(address)));
            store.commit(txn).await?;
        }
        Ok(last
            .iter()
            .fold(Txn::new(), |txn, address| txn.delete(table.key(address))))
    }

    /// Forgets a pool's book.
    pub(super) fn forget(&self, network: NetworkId, subnet: Subnet) {
        self.books().remove(&(network, subnet));
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        // The map is whole even if a holder of the lock panicked.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self, network: NetworkId, subnet: Subnet) -> Arc<AsyncMutex<Option<Shelf>>> {
        self.books().entry((network, subnet)).or_default().clone()
    }

    async fn check_wanted(&self, request: &AddressRequest<'_>, wanted: IpAddr) -> Result<Held> {
        refuse_unusable(request, wanted)?;
        let aux = request.pool.aux_addresses.iter();
        if let Some((name, _)) = aux.clone().find(|(_, address)| **address == wanted) {
            let holder = format!("the auxiliary address {name:?}");
            return Err(Error::AddressInUse {
                address: wanted,
                holder,
            });
        }
        let store = self.stores.of(request.scope);
        let Some(found) = table(request.network).get(&**store, wanted).await? else {
            return Ok(Held::Free(None));
        };
        let lease = &found.record;
        if lease.holder.is(&request.holder) {
            return Ok(Held::ByHolder);
        }
        let others = |reserved: &Reservation| Some(reserved.owner.as_str()) != request.owner.as_deref();
        match lease.is_held() || lease.reserved.as_ref().is_some_and(others) {
            true => Err(Error::AddressInUse {
                address: wanted,
                holder: lease.describe(),
            }),
            false => Ok(Held::Free(Some(found))),
        }
    }

    /// Counted from the store, which knows every host's. What is only kept can be handed out.
    pub(super) async fn utilisation(&self, network: NetworkId, scope: Scope, pool: &Pool) -> Result<PoolUse> {
        let leases = self.list(network, scope).await?.into_iter();
        let held = leases.filter(|(_, found)| found.record.is_held() || found.record.reserved.is_some());
        let taken: BTreeSet<IpAddr> = held
            .map(|(address, _)| address)
            .chain(pool.aux_addresses.values().copied())
            .filter(|address| pool.subnet.contains(address))
            .collect();
        Ok(used(pool.subnet, pool.ip_range, &taken))
    }

    async fn list(&self, network: NetworkId, scope: Scope) -> Result<Vec<(IpAddr, Versioned<Lease>)>> {
        let table = table(network);
        let listing = self.stores.of(scope).list(table.root()).await?;
        let mut leases = Vec::new();
        for entry in &listing.entries {
            if let Ok(address) = entry.key.last().parse() {
                leases.push((address, table.decode(entry)?));
            }
        }
        Ok(leases)
    }

    async fn note(&self, network: NetworkId, subnet: Subnet, address: IpAddr) {
        if let Some(shelf) = self.book(network, subnet).lock().await.as_mut() {
            shelf.book.take(address);
            shelf.kept.forget(address);
        }
    }

    /// The next free address, noted as taken, and the lease that it has in the store if it was kept. The book is read from
    /// the store when there is none yet, when a lost commit has shown it to be behind, and before an answer that nothing
    /// is left.
    async fn next(&self, request: &AddressRequest<'_>) -> Result<(IpAddr, Option<Versioned<Lease>>)> {
        let slot = self.book(request.network, request.pool.subnet);
        let mut slot = slot.lock().await;
        let known = match (slot.as_mut(), request.avoid.is_empty()) {
            (Some(shelf), true) => shelf.next(request, self.memory),
            _ => None,
        };
        let found = match known {
            Some(found) => Some(found),
            None => {
                let mut shelf = self.read(request.network, request.scope, request.pool).await?;
                for lost in request.avoid {
                    shelf.book.take(*lost);
                    shelf.kept.forget(*lost);
                }
                slot.insert(shelf).next(request, self.memory)
            }
        };
        let (address, was_kept) = found.ok_or_else(|| exhausted(request.pool))?;
        let store = self.stores.of(request.scope);
        let before = match was_kept {
            true => table(request.network).get(&**store, address).await?,
            false => None,
        };
        // Somebody else's by now: made anew, it is refused, and the caller asks again.
        Ok((address, before.filter(|found| !found.record.is_held())))
    }

    async fn read(&self, network: NetworkId, scope: Scope, pool: &Pool) -> Result<Shelf> {
        let mut shelf = Shelf {
            book: Book::new(pool.subnet, pool.ip_range),
            kept: Kept::default(),
        };
        for address in pool.aux_addresses.values() {
            shelf.book.take(*address);
        }
        for (address, found) in self.list(network, scope).await? {
            if pool.subnet.contains(&address) {
                shelf.book.take(address);
                shelf.kept.put(address, &found.record.holder);
            }
        }
        Ok(shelf)
    }
}

impl Shelf {
    /// The address this holder had, else one that nobody has had lately, else the one given back longest ago; and whether
    /// it was kept.
    fn next(&mut self, request: &AddressRequest<'_>, memory: Duration) -> Option<(IpAddr, bool)> {
        let now = Timestamp::now();
        let Holder::Endpoint(_, name) = &request.holder else {
            let address = self.book.next_anywhere()?;
            self.book.take(address);
            return Some((address, false));
        };
        let own = self.kept.of(request.owner.as_deref(), name);
        let kept = own.or_else(|| self.kept.oldest(now, Some(memory)));
        let (address, was_kept) = match (kept, self.book.next()) {
            (Some(address), _) => (address, true),
            (None, Some(address)) => (address, false),
            (None, None) => (self.kept.oldest(now, None)?, true),
        };
        self.book.take(address);
        self.kept.forget(address);
        Some((address, was_kept))
    }
}

/// Whose an address is that was asked for.
enum Held {
    /// Nobody's now; with the lease that tells whose it was or will be.
    Free(Option<Versioned<Lease>>),
    ByHolder,
}

fn table(network: NetworkId) -> Table<Lease> {
    Table::new(Key::root("leases").child(network), 1)
}

fn grant(pool: &Pool, address: IpAddr, txn: Txn) -> AddressGrant {
    AddressGrant {
        address: pool.subnet.with_address(address),
        txn,
    }
}

fn name_of(holder: &Holder) -> String {
    match holder {
        Holder::Gateway(_) => "the network's gateway".to_owned(),
        Holder::Endpoint(_, name) => name.clone(),
    }
}

fn refuse_unusable(request: &AddressRequest<'_>, wanted: IpAddr) -> Result<()> {
    let subnet = request.pool.subnet;
    let what = match request.holder {
        Holder::Gateway(_) => "gateway",
        Holder::Endpoint(..) => "address",
    };
    let message = match unusable(subnet, wanted) {
        None => return Ok(()),
        Some(Unusable::Outside) => format!("{what} {wanted} is outside of the subnet {subnet}"),
        Some(Unusable::Network) => format!("{what} {wanted} is the network address of {subnet}"),
        Some(Unusable::Broadcast) => format!("{what} {wanted} is the broadcast address of {subnet}"),
    };
    let hint = usable(subnet).map(|(low, high)| format!("addresses from {low} to {high} can be used"));
    Err(Error::Invalid { message, hint })
}

fn exhausted(pool: &Pool) -> Error {
    let family = pool.subnet.family();
    let window = pool.ip_range.unwrap_or(pool.subnet);
    Error::Exhausted {
        message: format!(
            "no available {family} addresses on this network's address pools: {window} is used up"
        ),
        hint: Some(
            "disconnect what is no longer needed, or make a network with a larger --subnet".to_owned(),
        ),
    }
}
