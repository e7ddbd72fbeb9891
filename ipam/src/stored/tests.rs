//! The contract over real stores, and what only the built-in management does: routes, sizes, ranges, cost.

use std::{collections::BTreeMap, sync::Arc};

use model::{AddressFamily, Labels, NetworkId, NodeId, Pool, Scope, Subnet};
use store::{Store, Stores, memory::Memory};

use super::{Stored, servers};
use crate::{AddressRequest, DefaultPool, Error, Holder, Ipam, PoolRequest, contract};

fn make(stores: Stores) -> Arc<dyn Ipam> {
    let node = NodeId::random();
    Arc::new(Stored::new(
        stores,
        node,
        DefaultPool::built_in(&node),
        Arc::new(Vec::new),
    ))
}

fn with_routes(store: &Arc<dyn Store>, routes: &'static [(&'static str, &'static str)]) -> Stored {
    let node = NodeId::random();
    let read = move || {
        let parse = |(subnet, link): &(&str, &str)| (subnet.parse().expect("a subnet"), (*link).to_owned());
        routes.iter().map(parse).collect()
    };
    let stores = Stores::alone(Arc::clone(store));
    Stored::new(stores, node, DefaultPool::built_in(&node), Arc::new(read))
}

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new())
}

fn request(subnet: Option<&str>) -> PoolRequest {
    PoolRequest {
        network: NetworkId::random(),
        network_name: "lab".to_owned(),
        scope: Scope::Local,
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

fn subnet(text: &str) -> Subnet {
    text.parse().expect("a subnet")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_memory() {
    contract::run(&make, &memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    contract::run(&make, &|| servers::embedded(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_etcd() {
    if let Some(server) = servers::Server::etcd() {
        server.ready().await;
        contract::run(&make, &|| server.store()).await;
        contract::storm(&make, &server.store(), 6, 24, 8).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_consul() {
    if let Some(server) = servers::Server::consul() {
        server.ready().await;
        contract::run(&make, &|| server.store()).await;
    }
}

#[tokio::test]
async fn a_route_of_the_host_is_named_and_stepped_over() {
    let ipam = with_routes(&memory(), &[("172.18.0.0/16", "eth1"), ("0.0.0.0/0", "eth0")]);
    let error = ipam
        .request_pool(&request(Some("172.18.3.0/24")))
        .await
        .expect_err("overlap");
    assert_eq!(
        error.to_string(),
        "invalid pool request: Pool overlaps with other one on this address space: 172.18.3.0/24 overlaps the \
         host's route to 172.18.0.0/16 on link \"eth1\""
    );
    let grant = ipam.request_pool(&request(None)).await.expect("a default pool");
    assert_eq!(grant.subnet, subnet("172.19.0.0/24"));
    let mut own = request(Some("172.18.3.0/24"));
    own.links = vec!["eth1".to_owned()];
    ipam.request_pool(&own)
        .await
        .expect("a route on the network's own link does not count");
    let mut beside = request(Some("172.18.4.0/24"));
    beside.shared_segment = true;
    ipam.request_pool(&beside)
        .await
        .expect("a segment that the host is on too");
    beside.subnet = None;
    let grant = ipam.request_pool(&beside).await.expect("a default pool");
    assert!(
        !grant.subnet.overlaps(subnet("172.18.0.0/16")),
        "unless it is chosen"
    );
    let global = PoolRequest {
        scope: Scope::Global,
        ..request(Some("172.18.3.0/24"))
    };
    ipam.request_pool(&global)
        .await
        .expect("a global network is not on the host's links");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_hint() {
    type Change = fn(&mut PoolRequest);
    let rows: [(&str, Option<&str>, Change, &str); 9] = [
        (
            "too small",
            Some("10.0.0.0/32"),
            |_| {},
            "subnet 10.0.0.0/32 is too small for a gateway and one endpoint",
        ),
        (
            "multicast",
            Some("224.0.1.0/24"),
            |_| {},
            "subnet 224.0.1.0/24 can't be given to hosts",
        ),
        (
            "this host",
            Some("127.0.0.0/24"),
            |_| {},
            "subnet 127.0.0.0/24 can't be given to hosts",
        ),
        (
            "nobody",
            Some("0.1.0.0/24"),
            |_| {},
            "subnet 0.1.0.0/24 can't be given to hosts",
        ),
        (
            "IPv4 in disguise",
            Some("::ffff:10.0.0.0/120"),
            |_| {},
            "subnet ::ffff:10.0.0.0/120 can't be given to hosts",
        ),
        (
            "range outside",
            Some("10.0.0.0/24"),
            |r| r.ip_range = Some(subnet("10.0.1.0/25")),
            "ip-range 10.0.1.0/25 is outside of the subnet 10.0.0.0/24",
        ),
        (
            "range wider",
            Some("10.0.0.0/24"),
            |r| r.ip_range = Some(subnet("10.0.0.0/16")),
            "ip-range 10.0.0.0/16 is outside of the subnet 10.0.0.0/24",
        ),
        (
            "range of the other family",
            Some("10.0.0.0/24"),
            |r| r.ip_range = Some(subnet("fd00::/64")),
            "ip-range fd00::/64 is outside of the subnet 10.0.0.0/24",
        ),
        (
            "auxiliary address outside",
            Some("10.0.0.0/24"),
            |r| {
                r.aux_addresses
                    .insert("router".to_owned(), "10.0.1.1".parse().expect("an address"));
            },
            "auxiliary address \"router\" (10.0.1.1) is outside of the subnet 10.0.0.0/24",
        ),
    ];
    let ipam = with_routes(&memory(), &[]);
    for (name, subnet, change, expected) in rows {
        let mut request = request(subnet);
        change(&mut request);
        match ipam.request_pool(&request).await {
            Err(Error::Invalid { message, hint }) => {
                assert_eq!(message, expected, "{name}");
                assert!(hint.is_some(), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn pools_of_one_operation_are_one_commit_and_never_overlap() {
    let store = memory();
    let ipam = with_routes(&store, &[]);
    let mut first = request(Some("10.0.0.0/24"));
    let one = ipam.request_pool(&first).await.expect("a pool");
    first.siblings = vec![one.subnet];
    let refused = ipam
        .request_pool(&first)
        .await
        .expect_err("the same subnet twice");
    assert!(matches!(refused, Error::Overlap { .. }));
    first.subnet = Some(subnet("10.0.1.0/24"));
    let two = ipam.request_pool(&first).await.expect("a pool");
    store.commit(one.txn.and(two.txn)).await.expect("one transaction");
    for taken in ["10.0.0.0/25", "10.0.1.0/25"] {
        ipam.request_pool(&request(Some(taken))).await.expect_err("taken");
    }
}

#[tokio::test]
async fn auxiliary_addresses_are_set_aside_by_name() {
    let store = memory();
    let ipam = with_routes(&store, &[]);
    let pool = Pool {
        id: "p".to_owned(),
        space: None,
        subnet: subnet("10.0.0.0/24"),
        ip_range: None,
        gateway: None,
        aux_addresses: [("router".to_owned(), "10.0.0.1".parse().expect("an address"))].into(),
    };
    let network = NetworkId::random();
    let mut request = AddressRequest {
        network,
        scope: Scope::Local,
        pool: &pool,
        holder: Holder::Gateway(network),
        owner: None,
        node: NodeId::random(),
        wanted: None,
        mac: None,
        avoid: &[],
    };
    let grant = ipam.request_address(&request).await.expect("an address");
    assert_eq!(grant.address.to_string(), "10.0.0.2/24");
    request.wanted = Some("10.0.0.1".parse().expect("an address"));
    let error = ipam.request_address(&request).await.expect_err("set aside");
    assert_eq!(
        error.to_string(),
        "address 10.0.0.1 is already in use by the auxiliary address \"router\""
    );
}

#[tokio::test]
async fn a_grant_that_was_never_committed_is_given_back_without_a_commit() {
    let store = memory();
    let ipam = with_routes(&store, &[]);
    let pool = Pool {
        id: "p".to_owned(),
        space: None,
        subnet: subnet("10.0.0.0/30"),
        ip_range: None,
        gateway: None,
        aux_addresses: BTreeMap::new(),
    };
    let network = NetworkId::random();
    for _ in 0..5 {
        let request = AddressRequest {
            network,
            scope: Scope::Local,
            pool: &pool,
            holder: Holder::Gateway(network),
            owner: None,
            node: NodeId::random(),
            wanted: None,
            mac: None,
            avoid: &[],
        };
        let grant = ipam.request_address(&request).await.expect("an address");
        assert_eq!(grant.address.addr().to_string(), "10.0.0.1");
        let given_back = ipam
            .release_address(network, Scope::Local, &pool, grant.address.addr())
            .await;
        given_back.expect("a release");
    }
}

mod apart;
mod races;

/// A host that keeps addresses, and one pool.
struct Sticky {
    ipam: Stored,
    store: Arc<dyn Store>,
    network: NetworkId,
    pool: Pool,
}

impl Sticky {
    fn over(store: &Arc<dyn Store>, network: NetworkId) -> Self {
        let ipam = with_routes(store, &[]).remembering(std::time::Duration::from_secs(3600));
        let pool = Pool {
            id: "p".to_owned(),
            space: None,
            subnet: subnet("10.0.0.0/29"),
            ip_range: None,
            gateway: None,
            aux_addresses: BTreeMap::new(),
        };
        Self {
            ipam,
            store: Arc::clone(store),
            network,
            pool,
        }
    }

    fn request<'a>(&'a self, container: &str, wanted: Option<&str>) -> AddressRequest<'a> {
        AddressRequest {
            network: self.network,
            scope: Scope::Local,
            pool: &self.pool,
            holder: Holder::Endpoint(model::EndpointId::random(), container.to_owned()),
            owner: Some(format!("id-of-{container}")),
            node: NodeId::from_bytes([1; 32]),
            wanted: wanted.map(|text| text.parse().expect("an address")),
            mac: None,
            avoid: &[],
        }
    }

    async fn start(&self, container: &str, wanted: Option<&str>) -> Result<String, Error> {
        let request = self.request(container, wanted);
        let grant = self.ipam.request_address(&request).await?;
        self.store.commit(grant.txn).await.expect("a grant is committed");
        Ok(grant.address.addr().to_string())
    }

    async fn stop(&self, address: &str) {
        let address = address.parse().expect("an address");
        let txn = self
            .ipam
            .keep_address(self.network, Scope::Local, &self.pool, address)
            .await;
        self.store
            .commit(txn.expect("a release"))
            .await
            .expect("a release is committed");
    }

    async fn remove(&self, container: &str) {
        let owner = format!("id-of-{container}");
        let txn = self.ipam.forget_owner(self.network, Scope::Local, &owner).await;
        self.store
            .commit(txn.expect("no refusal"))
            .await
            .expect("it is committed");
    }
}

#[tokio::test]
async fn a_stopped_container_finds_its_address_again_and_others_get_it_last() {
    let (store, network) = (memory(), NetworkId::random());
    let host = Sticky::over(&store, network);
    let one = host.start("one", None).await.expect("room");
    assert_eq!(one, "10.0.0.1");
    host.stop(&one).await;
    assert_eq!(
        host.start("two", None).await.expect("room"),
        "10.0.0.2",
        "the kept one is stepped over"
    );
    assert_eq!(host.start("one", None).await.expect("kept"), one);
    host.stop(&one).await;
    // The daemon is started anew in between.
    let host = Sticky::over(&store, network);
    assert_eq!(host.start("one", None).await.expect("kept"), one);
    host.stop(&one).await;
    for n in 3..=6 {
        assert_eq!(
            host.start(&format!("c{n}"), None).await.expect("room"),
            format!("10.0.0.{n}")
        );
    }
    assert_eq!(host.start("late", None).await.expect("nothing else is left"), one);
    assert!(matches!(
        host.start("one", None).await,
        Err(Error::Exhausted { .. })
    ));
    let used = host
        .ipam
        .utilisation(network, Scope::Local, &host.pool)
        .await
        .expect("counted");
    assert_eq!((used.in_use, used.available), (8, 0));
}

#[tokio::test]
async fn a_static_address_is_its_containers_until_that_is_removed() {
    let (store, network) = (memory(), NetworkId::random());
    let host = Sticky::over(&store, network);
    let request = host.request("db", Some("10.0.0.1"));
    let txn = host
        .ipam
        .reserve_address(&request, "id-of-db")
        .await
        .expect("free");
    store.commit(txn).await.expect("committed");
    assert_eq!(host.start("web", None).await.expect("room"), "10.0.0.2");
    let error = host
        .start("thief", Some("10.0.0.1"))
        .await
        .expect_err("set aside");
    assert_eq!(
        error.to_string(),
        "address 10.0.0.1 is already in use by \"db\", which is not running"
    );
    for _ in 0..2 {
        assert_eq!(
            host.start("db", Some("10.0.0.1")).await.expect("its own"),
            "10.0.0.1"
        );
        host.stop("10.0.0.1").await;
    }
    host.start("thief", Some("10.0.0.1"))
        .await
        .expect_err("still set aside");
    host.remove("db").await;
    assert_eq!(
        host.start("thief", Some("10.0.0.1")).await.expect("free"),
        "10.0.0.1"
    );
}

#[tokio::test]
async fn a_network_that_goes_leaves_no_memory() {
    let (store, network) = (memory(), NetworkId::random());
    let host = Sticky::over(&store, network);
    for n in 0..3 {
        let address = host.start(&format!("c{n}"), None).await.expect("room");
        host.stop(&address).await;
    }
    let txn = host
        .ipam
        .release_pool(network, Scope::Local, &host.pool)
        .await
        .expect("a release");
    store.commit(txn).await.expect("committed");
    let left = store.list(&store::Key::root("leases")).await.expect("listed");
    assert_eq!(left.entries.len(), 0);
}
