//! Addresses of pools: one key per lease, one book per pool in memory.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use model::{NetworkId, NodeId, Pool, Scope, Subnet};
use serde::{Deserialize, Serialize};
use store::{Key, Stores, Table, Txn};
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    AddressGrant, AddressRequest, Book, Error, Holder, PoolUse, Result, Unusable, unusable, usable, used,
};

/// Who holds an address, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    /// Who it was given to.
    holder: LeaseHolder,
    /// The host whose death frees it.
    node: NodeId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum LeaseHolder {
    Gateway,
    Endpoint { id: model::EndpointId, name: String },
}

impl LeaseHolder {
    fn of(holder: &Holder) -> Self {
        match holder {
            Holder::Gateway(_) => Self::Gateway,
            Holder::Endpoint(id, name) => Self::Endpoint {
                id: *id,
                name: name.clone(),
            },
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gateway, Self::Gateway) => true,
            (Self::Endpoint { id: a, .. }, Self::Endpoint { id: b, .. }) => a == b,
            _ => false,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Gateway => "the network's gateway".to_owned(),
            Self::Endpoint { name, .. } => format!("{name:?}"),
        }
    }
}

type Books = HashMap<(NetworkId, Subnet), Arc<AsyncMutex<Option<Book>>>>;

/// The leases of every pool this host has used.
#[derive(Debug)]
pub(super) struct Leases {
    stores: Stores,
    /// A book is none until it is read from the store.
    books: Mutex<Books>,
}

impl Leases {
    pub(super) fn new(stores: Stores) -> Self {
        Self {
            stores,
            books: Mutex::new(HashMap::new()),
        }
    }

    pub(super) async fn request(&self, request: &AddressRequest<'_>) -> Result<AddressGrant> {
        let pool = request.pool;
        let address = match request.wanted {
            Some(wanted) => match self.check_wanted(request, wanted).await? {
                Held::ByHolder => return Ok(grant(pool, wanted, Txn::new())),
                Held::Free => {
                    self.note(request.network, pool.subnet, wanted).await;
                    wanted
                }
            },
            None => self.next(request).await?,
        };
        let lease = Lease {
            holder: LeaseHolder::of(&request.holder),
            node: request.node,
        };
        let txn = table(request.network).create(address, &lease);
        Ok(grant(pool, address, txn))
    }

    /// Frees an address in the book; the caller commits the fragment, if the lease ever was committed.
    pub(super) async fn release(&self, network: NetworkId, subnet: Subnet, address: IpAddr) -> Txn {
        let book = self.books().get(&(network, subnet)).cloned();
        if let Some(book) = book
            && let Some(book) = book.lock().await.as_mut()
        {
            book.free(address);
        }
        table(network).delete(address)
    }

    /// Forgets a pool's book.
    pub(super) fn forget(&self, network: NetworkId, subnet: Subnet) {
        self.books().remove(&(network, subnet));
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        // The map is whole even if a holder of the lock panicked.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self, network: NetworkId, subnet: Subnet) -> Arc<AsyncMutex<Option<Book>>> {
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
            return Ok(Held::Free);
        };
        if found.record.holder.is(&LeaseHolder::of(&request.holder)) {
            return Ok(Held::ByHolder);
        }
        Err(Error::AddressInUse {
            address: wanted,
            holder: found.record.holder.describe(),
        })
    }

    /// Counted from the store, which knows every host's.
    pub(super) async fn utilisation(&self, network: NetworkId, scope: Scope, pool: &Pool) -> Result<PoolUse> {
        let listing = self.stores.of(scope).list(table(network).root()).await?;
        let held = listing
            .entries
            .iter()
            .filter_map(|entry| entry.key.last().parse().ok());
        let taken: BTreeSet<IpAddr> = held
            .chain(pool.aux_addresses.values().copied())
            .filter(|address| pool.subnet.contains(address))
            .collect();
        Ok(used(pool.subnet, pool.ip_range, &taken))
    }

    async fn note(&self, network: NetworkId, subnet: Subnet, address: IpAddr) {
        if let Some(book) = self.book(network, subnet).lock().await.as_mut() {
            book.take(address);
        }
    }

    /// The next free address, noted as taken. The book is read from the store when there is none yet, when a lost
    /// commit has shown it to be behind, and before an answer that nothing is left.
    async fn next(&self, request: &AddressRequest<'_>) -> Result<IpAddr> {
        let slot = self.book(request.network, request.pool.subnet);
        let mut slot = slot.lock().await;
        if let (Some(book), true) = (slot.as_mut(), request.avoid.is_empty())
            && let Some(address) = next_of(book, &request.holder)
        {
            book.take(address);
            return Ok(address);
        }
        let mut book = self.read(request.network, request.scope, request.pool).await?;
        for lost in request.avoid {
            book.take(*lost);
        }
        let found = next_of(&book, &request.holder);
        if let Some(address) = found {
            book.take(address);
        }
        *slot = Some(book);
        found.ok_or_else(|| exhausted(request.pool))
    }

    async fn read(&self, network: NetworkId, scope: Scope, pool: &Pool) -> Result<Book> {
        let mut book = Book::new(pool.subnet, pool.ip_range);
        for address in pool.aux_addresses.values() {
            book.take(*address);
        }
        let listing = self.stores.of(scope).list(table(network).root()).await?;
        let addresses = listing
            .entries
            .iter()
            .filter_map(|entry| entry.key.last().parse().ok());
        for address in addresses.filter(|address| pool.subnet.contains(address)) {
            book.take(address);
        }
        Ok(book)
    }
}

/// Whose an address is that was asked for.
enum Held {
    Free,
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

fn next_of(book: &Book, holder: &Holder) -> Option<IpAddr> {
    match holder {
        Holder::Gateway(_) => book.next_anywhere(),
        Holder::Endpoint(..) => book.next(),
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
