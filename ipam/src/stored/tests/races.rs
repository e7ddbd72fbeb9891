//! Requests of one host that overtake each other, over a store that can hold one back.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use store::{Entry, Key, LeaseId, Listing, Revision, Txn, Watch};
use tokio::sync::Notify;

use super::*;

/// Counts what is read, and holds back the answer of one list.
#[derive(Debug, Default)]
struct Gated {
    inner: Memory,
    gets: AtomicUsize,
    armed: AtomicBool,
    entered: Notify,
    gate: Notify,
}

#[async_trait]
impl Store for Gated {
    async fn get(&self, key: &Key) -> store::Result<Option<Entry>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &Key) -> store::Result<Listing> {
        let listing = self.inner.list(prefix).await;
        if self.armed.swap(false, Ordering::SeqCst) {
            self.entered.notify_one();
            self.gate.notified().await;
        }
        listing
    }
    async fn commit(&self, txn: Txn) -> store::Result<Revision> {
        self.inner.commit(txn).await
    }
    async fn watch(&self, prefix: &Key) -> store::Result<Box<dyn Watch>> {
        self.inner.watch(prefix).await
    }
    async fn grant(&self, ttl: Duration) -> store::Result<LeaseId> {
        self.inner.grant(ttl).await
    }
    async fn renew(&self, lease: &LeaseId) -> store::Result<()> {
        self.inner.renew(lease).await
    }
    async fn revoke(&self, lease: &LeaseId) -> store::Result<()> {
        self.inner.revoke(lease).await
    }
}

async fn committed(ipam: &Stored, store: &dyn Store, request: &PoolRequest) -> Pool {
    let grant = ipam.request_pool(request).await.expect("a pool");
    store.commit(grant.txn).await.expect("a commit");
    Pool {
        id: grant.id,
        space: None,
        subnet: grant.subnet,
        ip_range: None,
        gateway: None,
        aux_addresses: BTreeMap::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_request_that_sets_the_book_back_makes_no_pools_overlap() {
    let gated = Arc::new(Gated::default());
    let store: Arc<dyn Store> = Arc::clone(&gated) as _;
    let other = with_routes(&store, &[]);
    committed(&other, &*gated, &request(Some("10.200.0.0/24"))).await;
    // Between its look at the book and its choice, the second request lets the first one go on.
    let (gate, calls) = (Arc::clone(&gated), AtomicUsize::new(0));
    let routes = move || {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            gate.gate.notify_one();
            while calls.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
        }
        Vec::new()
    };
    let ipam = Arc::new(Stored::new(
        Stores::alone(Arc::clone(&store)),
        NodeId::random(),
        Vec::new(),
        Arc::new(routes),
    ));
    gated.armed.store(true, Ordering::SeqCst);
    let slow = Arc::clone(&ipam);
    let slow = tokio::spawn(async move { slow.request_pool(&request(Some("10.9.0.0/16"))).await });
    gated.entered.notified().await;
    committed(&other, &*gated, &request(Some("10.1.0.0/16"))).await;

    let overlapping = ipam.request_pool(&request(Some("10.1.7.0/24"))).await;

    slow.await.expect("no panic").expect("a pool");
    if let Ok(grant) = overlapping {
        let lost = store.commit(grant.txn).await;
        assert!(matches!(lost, Err(store::Error::Conflict { .. })), "{lost:?}");
    }
}

#[tokio::test]
async fn a_subnet_lost_to_somebody_else_is_not_asked_for_ever_after() {
    let gated = Arc::new(Gated::default());
    let store: Arc<dyn Store> = Arc::clone(&gated) as _;
    let (ipam, other) = (with_routes(&store, &[]), with_routes(&store, &[]));
    let lost = ipam.request_pool(&request(None)).await.expect("a pool");
    let pool = committed(&other, &*gated, &request(None)).await;
    assert_eq!(lost.subnet, pool.subnet);
    store.commit(lost.txn).await.expect_err("somebody was faster");
    let released = ipam.release_pool(NetworkId::random(), Scope::Local, &pool).await;
    released.expect("a release");
    let mut gets = Vec::new();
    for _ in 0..3 {
        gated.gets.store(0, Ordering::SeqCst);
        committed(&ipam, &*gated, &request(None)).await;
        gets.push(gated.gets.load(Ordering::SeqCst));
    }
    assert_eq!(gets[2], 1, "only the token is read: {gets:?}");
}

#[tokio::test]
async fn a_range_outside_of_a_subnet_that_was_chosen_for_it_is_refused() {
    let ipam = with_routes(&memory(), &[]);
    for size in [None, Some("0.0.0.0/24")] {
        let mut request = request(size);
        request.ip_range = Some(subnet("10.0.0.0/25"));
        let refused = ipam.request_pool(&request).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
}
