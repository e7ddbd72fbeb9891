//! What every address management with pools must show, run on each over each store.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use model::{AddressFamily, EndpointId, Labels, NetworkId, NodeId, Pool, Scope, Subnet};
use store::{Store, Stores};

use crate::{AddressRequest, Error, Holder, Ipam, PoolRequest};

/// Makes one host's address management over a store that other hosts may share.
pub type Make<'a> = &'a dyn Fn(Stores) -> Arc<dyn Ipam>;

/// In which way an implementation says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// With errors of its own, which tell of networks by name.
    Itself,
    /// In a plugin's words: the protocol has no names of networks, and no kinds of errors.
    ByAPlugin,
}

impl Says {
    /// Whether this is the no that was expected: of that kind, or else in these words.
    fn no(self, error: &Error, kind: impl Fn(&Error) -> bool, words: &str) {
        let right = match self {
            Self::Itself => kind(error),
            Self::ByAPlugin => matches!(error, Error::Plugin(plugin_proto::Error::Refused { .. })),
        };
        assert!(right, "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// One host in a test.
struct Host {
    ipam: Arc<dyn Ipam>,
    store: Arc<dyn Store>,
    node: NodeId,
}

impl Host {
    fn new(make: Make<'_>, store: &Arc<dyn Store>) -> Self {
        Self {
            ipam: make(Stores::alone(Arc::clone(store))),
            store: Arc::clone(store),
            node: NodeId::random(),
        }
    }

    /// Asks for a pool and commits it, as often as somebody else is faster.
    async fn pool(&self, request: &PoolRequest) -> Result<Pool, Error> {
        loop {
            let grant = self.ipam.request_pool(request).await?;
            match self.store.commit(grant.txn).await {
                Ok(_) => return Ok(pool(&grant.id, grant.subnet)),
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks for an address and commits it, as often as somebody else is faster.
    async fn address(
        &self,
        network: NetworkId,
        pool: &Pool,
        holder: &Holder,
        wanted: Option<IpAddr>,
    ) -> Result<IpAddr, Error> {
        let mut avoid = Vec::new();
        loop {
            let request = AddressRequest {
                network,
                scope: Scope::Global,
                pool,
                holder: holder.clone(),
                owner: None,
                node: self.node,
                wanted,
                mac: None,
                avoid: &avoid,
            };
            let grant = self.ipam.request_address(&request).await?;
            match self.store.commit(grant.txn).await {
                Ok(_) => return Ok(grant.address.addr()),
                Err(store::Error::Conflict { .. }) => avoid.push(grant.address.addr()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn free(&self, network: NetworkId, pool: &Pool, address: IpAddr) {
        let txn = self
            .ipam
            .release_address(network, Scope::Global, pool, address)
            .await;
        let txn = txn.expect("a release is not refused");
        self.store.commit(txn).await.expect("a release is committed");
    }
}

fn pool(id: &str, subnet: Subnet) -> Pool {
    Pool {
        id: id.to_owned(),
        space: None,
        subnet,
        ip_range: None,
        gateway: None,
        aux_addresses: BTreeMap::new(),
    }
}

fn wanted(name: &str, subnet: Option<&str>) -> PoolRequest {
    PoolRequest {
        network: NetworkId::random(),
        network_name: name.to_owned(),
        scope: Scope::Global,
        family: AddressFamily::V4,
        subnet: subnet.map(|text| text.parse().expect("a subnet")),
        ip_range: None,
        aux_addresses: BTreeMap::new(),
        options: Labels::new(),
        siblings: Vec::new(),
        avoid: Vec::new(),
        links: Vec::new(),
        shared_segment: false,
    }
}

fn endpoint(name: &str) -> Holder {
    Holder::Endpoint(EndpointId::random(), name.to_owned())
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Runs the whole suite. `store` makes an empty one.
pub async fn run(make: Make<'_>, store: &dyn Fn() -> Arc<dyn Store>) {
    run_as(Says::Itself, make, store).await;
}

/// The same of one that says no in its own way.
pub async fn run_as(says: Says, make: Make<'_>, store: &dyn Fn() -> Arc<dyn Store>) {
    overlap_names_the_other_network(says, make, &store()).await;
    default_pools_never_overlap_what_is_there(make, &store()).await;
    a_pool_given_back_is_free(make, &store()).await;
    an_address_is_held_until_it_is_given_back(says, make, &store()).await;
    a_full_pool_says_so_until_something_is_given_back(says, make, &store()).await;
    what_another_host_took_is_seen(make, &store()).await;
    storm(make, &store(), 4, 8, 12).await;
}

async fn overlap_names_the_other_network(says: Says, make: Make<'_>, store: &Arc<dyn Store>) {
    let (host, other) = (Host::new(make, store), Host::new(make, store));
    host.pool(&wanted("lab", Some("10.1.0.0/16")))
        .await
        .expect("a free subnet");
    for subnet in ["10.1.0.0/16", "10.0.0.0/8", "10.1.7.0/24"] {
        let error = other.pool(&wanted("x", Some(subnet))).await.expect_err("overlap");
        let words = match says {
            Says::Itself => "\"lab\"",
            Says::ByAPlugin => "overlap",
        };
        says.no(&error, |error| matches!(error, Error::Overlap { .. }), words);
    }
    other
        .pool(&wanted("y", Some("10.2.0.0/16")))
        .await
        .expect("a free subnet");
}

async fn default_pools_never_overlap_what_is_there(make: Make<'_>, store: &Arc<dyn Store>) {
    let (host, other) = (Host::new(make, store), Host::new(make, store));
    let mut seen: Vec<Subnet> = Vec::new();
    for turn in 0..6 {
        let host = if turn % 2 == 0 { &host } else { &other };
        let pool = host.pool(&wanted("n", None)).await.expect("a default pool");
        assert!(
            seen.iter().all(|known| !known.overlaps(pool.subnet)),
            "{} again",
            pool.subnet
        );
        seen.push(pool.subnet);
    }
}

async fn a_pool_given_back_is_free(make: Make<'_>, store: &Arc<dyn Store>) {
    let (host, other) = (Host::new(make, store), Host::new(make, store));
    let request = wanted("lab", Some("10.1.0.0/16"));
    let pool = host.pool(&request).await.expect("a free subnet");
    other
        .pool(&wanted("x", Some("10.1.0.0/24")))
        .await
        .expect_err("taken");
    for _ in 0..2 {
        let txn = host
            .ipam
            .release_pool(request.network, Scope::Global, &pool)
            .await;
        store.commit(txn.expect("a release")).await.expect("a commit");
    }
    other
        .pool(&wanted("x", Some("10.1.0.0/24")))
        .await
        .expect("free again");
    host.pool(&wanted("y", Some("10.1.1.0/24")))
        .await
        .expect("free again here too");
}

async fn an_address_is_held_until_it_is_given_back(says: Says, make: Make<'_>, store: &Arc<dyn Store>) {
    let host = Host::new(make, store);
    let request = wanted("lab", Some("10.1.0.0/24"));
    let (network, pool) = (request.network, host.pool(&request).await.expect("a pool"));
    let gateway = host
        .address(network, &pool, &Holder::Gateway(network), None)
        .await;
    assert_eq!(gateway.expect("a gateway"), ip("10.1.0.1"));
    let first = endpoint("test01");
    let address = host.address(network, &pool, &first, Some(ip("10.1.0.9"))).await;
    assert_eq!(address.expect("a free address"), ip("10.1.0.9"));
    let again = host.address(network, &pool, &first, Some(ip("10.1.0.9"))).await;
    assert_eq!(
        again.expect("its own address"),
        ip("10.1.0.9"),
        "asking again is no conflict"
    );

    for (address, holder) in [("10.1.0.9", "test01"), ("10.1.0.1", "gateway")] {
        let other = endpoint("test02");
        let asked = host.address(network, &pool, &other, Some(ip(address)));
        let refused = asked.await.expect_err("it is held");
        says.no(
            &refused,
            |error| matches!(error, Error::AddressInUse { .. }),
            holder,
        );
    }
    for bad in ["10.1.0.0", "10.1.0.255", "10.1.1.1"] {
        let other = endpoint("x");
        let asked = host.address(network, &pool, &other, Some(ip(bad)));
        let refused = asked.await.expect_err("nobody can have it");
        says.no(&refused, |error| matches!(error, Error::Invalid { .. }), bad);
    }
    host.free(network, &pool, ip("10.1.0.9")).await;
    host.free(network, &pool, ip("10.1.0.9")).await;
    let freed = host
        .address(network, &pool, &endpoint("test02"), Some(ip("10.1.0.9")))
        .await;
    assert_eq!(freed.expect("free again"), ip("10.1.0.9"));
}

async fn a_full_pool_says_so_until_something_is_given_back(
    says: Says,
    make: Make<'_>,
    store: &Arc<dyn Store>,
) {
    let (host, other) = (Host::new(make, store), Host::new(make, store));
    let request = wanted("lab", Some("10.1.0.0/29"));
    let (network, pool) = (request.network, host.pool(&request).await.expect("a pool"));
    for turn in 0..6 {
        let host = if turn % 2 == 0 { &host } else { &other };
        host.address(network, &pool, &endpoint("e"), None)
            .await
            .expect("a free address");
    }
    let late = endpoint("e");
    let asked = host.address(network, &pool, &late, None);
    let full = asked.await.expect_err("it is full");
    says.no(
        &full,
        |error| matches!(error, Error::Exhausted { .. }),
        "10.1.0.0/29",
    );
    other.free(network, &pool, ip("10.1.0.3")).await;
    let freed = host.address(network, &pool, &endpoint("e"), None).await;
    assert_eq!(freed.expect("what the other host gave back"), ip("10.1.0.3"));
}

async fn what_another_host_took_is_seen(make: Make<'_>, store: &Arc<dyn Store>) {
    let (host, other) = (Host::new(make, store), Host::new(make, store));
    let request = wanted("lab", Some("10.1.0.0/24"));
    let (network, pool) = (request.network, host.pool(&request).await.expect("a pool"));
    host.address(network, &pool, &endpoint("a"), None)
        .await
        .expect("an address");
    for _ in 0..20 {
        other
            .address(network, &pool, &endpoint("b"), None)
            .await
            .expect("an address");
    }
    let address = host.address(network, &pool, &endpoint("a"), None).await;
    assert_eq!(address.expect("an address"), ip("10.1.0.22"));
}

/// Many tasks on several hosts take and give back addresses and subnets of one store; nobody ever gets what another
/// holds.
pub async fn storm(make: Make<'_>, store: &Arc<dyn Store>, hosts: usize, tasks: usize, turns: usize) {
    let hosts: Vec<_> = (0..hosts).map(|_| Arc::new(Host::new(make, store))).collect();
    let request = wanted("storm", Some("10.1.0.0/24"));
    let network = request.network;
    let pool = Arc::new(hosts[0].pool(&request).await.expect("a pool"));
    let held = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let work = hosts
        .iter()
        .cycle()
        .take(tasks)
        .cloned()
        .enumerate()
        .map(|(task, host)| {
            let (pool, held) = (Arc::clone(&pool), Arc::clone(&held));
            tokio::spawn(async move {
                let mut subnets: Vec<Subnet> = Vec::new();
                for turn in 0..turns {
                    let address = host
                        .address(network, &pool, &endpoint("storm"), None)
                        .await
                        .expect("an address");
                    let before = held.lock().expect("the test's own lock").insert(address, task);
                    assert_eq!(before, None, "{address} is held by two");
                    if turn % 3 == 1 {
                        // Forgotten first: from the moment of the release another task may have it.
                        held.lock().expect("the test's own lock").remove(&address);
                        host.free(network, &pool, address).await;
                    }
                    if turn % 4 == 0 {
                        let pool = host.pool(&wanted("n", None)).await.expect("a subnet");
                        subnets.push(pool.subnet);
                    }
                }
                subnets
            })
        });
    let work: Vec<_> = work.collect();
    let mut all: Vec<Subnet> = Vec::new();
    for task in work {
        for subnet in task.await.expect("a task without a failed assertion") {
            assert!(!all.contains(&subnet), "{subnet} was given to two networks");
            all.push(subnet);
        }
    }
    let kept = tasks * turns - tasks * (0..turns).filter(|turn| turn % 3 == 1).count();
    assert_eq!(held.lock().expect("the test's own lock").len(), kept);
}
