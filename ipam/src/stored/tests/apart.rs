//! Addresses asked for before there is an endpoint.

use store::Txn;

use super::*;
use crate::{Error, Result};

struct Apart {
    ipam: Stored,
    store: Arc<dyn Store>,
    network: NetworkId,
    pool: Pool,
}

impl Apart {
    fn new() -> Self {
        let store = memory();
        Self {
            ipam: with_routes(&store, &[]),
            store,
            network: NetworkId::random(),
            pool: Pool {
                id: "p".to_owned(),
                space: None,
                subnet: subnet("10.0.0.0/29"),
                ip_range: None,
                gateway: None,
                aux_addresses: BTreeMap::new(),
            },
        }
    }

    fn request(&self, name: &str, owner: Option<&str>, wanted: Option<&str>) -> AddressRequest<'_> {
        AddressRequest {
            network: self.network,
            scope: Scope::Local,
            pool: &self.pool,
            holder: Holder::Endpoint(model::EndpointId::random(), name.to_owned()),
            owner: owner.map(str::to_owned),
            node: NodeId::random(),
            wanted: wanted.map(|address| address.parse().expect("an address")),
            mac: None,
            avoid: &[],
        }
    }

    async fn set_apart(&self, wanted: Option<&str>) -> Result<String> {
        let request = self.request("new", Some("docker"), wanted);
        let grant = self.ipam.set_apart(&request, "docker").await?;
        self.store.commit(grant.txn).await.expect("a commit");
        Ok(grant.address.to_string())
    }

    async fn connect(&self, owner: Option<&str>, wanted: &str) -> Result<String> {
        let request = self.request("web", owner, Some(wanted));
        let grant = self.ipam.request_address(&request).await?;
        self.store.commit(grant.txn).await.expect("a commit");
        Ok(grant.address.to_string())
    }

    async fn give_up(&self, address: &str) -> bool {
        let address = address.parse().expect("an address");
        let (network, pool) = (self.network, &self.pool);
        let given_up = self
            .ipam
            .give_up_apart(network, Scope::Local, pool, address, "docker");
        let txn = given_up.await.expect("a fragment");
        let some = txn != Txn::new();
        self.store.commit(txn).await.expect("a commit");
        some
    }

    async fn release(&self, address: &str) {
        let address = address.parse().expect("an address");
        let (network, pool) = (self.network, &self.pool);
        let kept = self.ipam.keep_address(network, Scope::Local, pool, address);
        let txn = kept.await.expect("a fragment");
        self.store.commit(txn).await.expect("a commit");
    }

    async fn waiting(&self) -> Vec<String> {
        let waiting = self.ipam.apart(self.network, Scope::Local, "docker").await;
        let waiting = waiting.expect("a list");
        waiting.iter().map(|(address, _)| address.to_string()).collect()
    }
}

#[tokio::test]
async fn an_address_set_apart_goes_to_its_owners_first_endpoint() {
    let apart = Apart::new();
    assert_eq!(apart.set_apart(None).await.expect("one"), "10.0.0.1/29");
    assert_eq!(apart.set_apart(None).await.expect("another"), "10.0.0.2/29");
    assert_eq!(
        apart.set_apart(Some("10.0.0.5")).await.expect("that"),
        "10.0.0.5/29"
    );
    // Asked for again by who forgot that it has it.
    assert_eq!(
        apart.set_apart(Some("10.0.0.5")).await.expect("again"),
        "10.0.0.5/29"
    );
    assert_eq!(apart.waiting().await, ["10.0.0.1", "10.0.0.2", "10.0.0.5"]);
    let error = apart.connect(None, "10.0.0.1").await.expect_err("a stranger");
    let says = "address 10.0.0.1 is already in use by a container that is about to start";
    assert_eq!(error.to_string(), says);

    apart
        .connect(Some("docker"), "10.0.0.1")
        .await
        .expect("its owner");
    assert_eq!(apart.waiting().await, ["10.0.0.2", "10.0.0.5"]);
    assert!(apart.set_apart(Some("10.0.0.1")).await.is_err(), "held now");
}

#[tokio::test]
async fn it_is_its_owners_until_that_gives_it_up_whoever_asks_meanwhile() {
    let apart = Apart::new();
    for last in 1..=6 {
        assert_eq!(
            apart.set_apart(None).await.expect("one"),
            format!("10.0.0.{last}/29")
        );
    }
    apart
        .connect(Some("docker"), "10.0.0.1")
        .await
        .expect("its owner");
    apart.release("10.0.0.1").await;
    // Its endpoint has gone, and the owner's books say that it has it still.
    let full = apart.set_apart(None).await.expect_err("none is free");
    assert!(matches!(full, Error::Exhausted { .. }), "{full}");
    let error = apart.set_apart(Some("10.0.0.1")).await.expect_err("not free yet");
    let says = "address 10.0.0.1 is already in use by a container that is being removed";
    assert_eq!(error.to_string(), says);
    assert_eq!(apart.waiting().await[0], "10.0.0.1");
    assert!(apart.give_up("10.0.0.1").await);
    assert_eq!(apart.set_apart(None).await.expect("free"), "10.0.0.1/29");
}

#[tokio::test]
async fn what_is_given_up_while_an_endpoint_has_it_is_free_when_that_goes() {
    let apart = Apart::new();
    apart.set_apart(Some("10.0.0.1")).await.expect("one");
    apart
        .connect(Some("docker"), "10.0.0.1")
        .await
        .expect("its owner");
    apart.give_up("10.0.0.1").await;
    assert!(
        apart.connect(None, "10.0.0.1").await.is_err(),
        "the endpoint has it"
    );
    apart.release("10.0.0.1").await;
    apart.connect(None, "10.0.0.1").await.expect("free for all");
}

#[tokio::test]
async fn what_no_endpoint_took_is_given_up_once() {
    let apart = Apart::new();
    apart.set_apart(Some("10.0.0.3")).await.expect("that");
    assert!(apart.give_up("10.0.0.3").await);
    assert!(!apart.give_up("10.0.0.3").await);
    apart.connect(None, "10.0.0.3").await.expect("free for all");
}

#[tokio::test]
async fn what_a_host_that_is_gone_has_set_aside_is_free_and_what_an_endpoint_has_is_not() {
    let apart = Apart::new();
    let (network, gone) = (apart.network, NodeId::random());
    let at = |wanted| AddressRequest {
        node: gone,
        ..apart.request("web", Some("docker"), Some(wanted))
    };
    let aside = apart.ipam.reserve_address(&at("10.0.0.1"), "docker").await;
    let mut txn = aside.expect("a fragment");
    for wanted in ["10.0.0.2", "10.0.0.3"] {
        let grant = apart.ipam.set_apart(&at(wanted), "docker").await;
        txn = txn.and(grant.expect("a grant").txn);
    }
    apart.store.commit(txn).await.expect("a commit");
    let held = apart.ipam.request_address(&at("10.0.0.3")).await;
    apart
        .store
        .commit(held.expect("a grant").txn)
        .await
        .expect("a commit");
    apart.set_apart(Some("10.0.0.4")).await.expect("another host's");

    let forget = || apart.ipam.forget_node(network, Scope::Local, gone);
    let txn = forget().await.expect("a fragment");
    apart.store.commit(txn).await.expect("a commit");
    assert_eq!(forget().await.expect("nothing"), Txn::new());
    assert_eq!(apart.waiting().await, ["10.0.0.4"]);
    apart.connect(None, "10.0.0.1").await.expect("free");
    apart.connect(None, "10.0.0.2").await.expect("free");
    apart
        .connect(None, "10.0.0.3")
        .await
        .expect_err("an endpoint has it");
}
