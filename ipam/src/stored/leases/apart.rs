//! Addresses that somebody has asked for before there is an endpoint: who hands them on keeps his own books.

use std::net::IpAddr;

use model::{NetworkId, Scope, Subnet, Timestamp};
use store::Txn;

use super::{
    Held, Leases, grant,
    record::{Lease, LeaseHolder, Reservation},
    table,
};
use crate::{AddressGrant, AddressRequest, Error, Result};

impl Leases {
    /// Sets an address apart, the one wanted or the next free one, for the first endpoint of `owner` that takes it.
    pub(in crate::stored) async fn set_apart(
        &self,
        request: &AddressRequest<'_>,
        owner: &str,
    ) -> Result<AddressGrant> {
        let pool = request.pool;
        let (address, before) = match request.wanted {
            Some(wanted) => match self.check_wanted(request, wanted).await? {
                Held::ByHolder => return Ok(grant(pool, wanted, Txn::new())),
                Held::Free(Some(before)) if before.record.reserved.as_ref().is_some_and(|own| own.left) => {
                    return Err(Error::AddressInUse {
                        address: wanted,
                        holder: before.record.describe(),
                    });
                }
                Held::Free(before) => {
                    self.note(request.network, pool.subnet, wanted).await;
                    (wanted, before)
                }
            },
            None => self.next(request).await?,
        };
        let lease = Lease {
            holder: LeaseHolder::Nobody,
            node: request.node,
            reserved: Some(Reservation {
                owner: owner.to_owned(),
                name: owner.to_owned(),
                waiting: Some(Timestamp::now()),
                left: false,
            }),
        };
        let table = table(request.network);
        let txn = match before {
            None => table.create(address, &lease),
            Some(found) => table.replace(address, found.revision, &lease),
        };
        Ok(grant(pool, address, txn))
    }

    /// The fragment that gives back what is apart. An endpoint that has it keeps it, and then it is free; what is anybody
    /// else's stays.
    pub(in crate::stored) async fn give_up_apart(
        &self,
        network: NetworkId,
        scope: Scope,
        subnet: Subnet,
        address: IpAddr,
        owner: &str,
    ) -> Result<Txn> {
        let table = table(network);
        let found = table.get(&**self.stores.of(scope), address).await?;
        let Some(found) = found.filter(|found| since(&found.record, owner).is_some()) else {
            return Ok(Txn::new());
        };
        let unchanged = store::Guard::Unchanged(table.key(address), found.revision);
        if found.record.is_held() {
            let held = Lease {
                reserved: None,
                ..found.record
            };
            return Ok(table.put(address, &held).guard(unchanged));
        }
        let book = self.books().get(&(network, subnet)).cloned();
        if let Some(book) = book
            && let Some(shelf) = book.lock().await.as_mut()
        {
            shelf.book.free(address);
        }
        Ok(table.delete(address).guard(unchanged))
    }

    /// What is apart for `owner`, and since when.
    pub(in crate::stored) async fn apart(
        &self,
        network: NetworkId,
        scope: Scope,
        owner: &str,
    ) -> Result<Vec<(IpAddr, Timestamp)>> {
        let leases = self.list(network, scope).await?.into_iter();
        Ok(leases
            .filter_map(|(address, found)| Some((address, waits(&found.record, owner)?)))
            .collect())
    }
}

/// Since when a lease waits for an endpoint of `owner`, or for its word, if it does.
fn waits(lease: &Lease, owner: &str) -> Option<Timestamp> {
    since(lease, owner).filter(|_| !lease.is_held())
}

/// Since when it is apart for `owner`, whether an endpoint has it or not.
fn since(lease: &Lease, owner: &str) -> Option<Timestamp> {
    let reserved = lease.reserved.as_ref();
    reserved.filter(|reserved| reserved.owner == owner)?.waiting
}
