//! The built-in address management behind a socket, and a plugin that behaves in other ways.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use model::{AddressFamily, EndpointId, Labels, MacAddress, NodeId};
use plugin_proto::{
    Limits, Nothing, Places, Plugins,
    ipam_driver::{self as wire, AddressGranted, GATEWAY, PoolGranted, RequestAddress},
    server::{Answer, IpamDriver, Server},
};
use tempfile::TempDir;
use tokio::{net::UnixListener, task::JoinHandle};

use super::*;
use crate::Holder;

/// A plugin with one pool of sixteen addresses after the other, which writes down what it is asked.
#[derive(Default)]
struct Book {
    state: Mutex<State>,
    turns: AtomicUsize,
}

#[derive(Default)]
struct State {
    held: BTreeSet<String>,
    pools: BTreeSet<String>,
    released: Vec<String>,
    /// What a pool is called, whatever it is.
    called: Option<String>,
    options: Vec<BTreeMap<String, String>>,
    /// What is answered instead of an address.
    instead: Option<String>,
    gateway: Option<String>,
}

impl Book {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Shared(Arc<Book>);

#[async_trait]
impl IpamDriver for Shared {
    async fn get_capabilities(&self) -> Answer<Capabilities> {
        Ok(Capabilities {
            requires_mac_address: true,
            requires_request_replay: true,
        })
    }

    async fn request_pool(&self, request: RequestPool) -> Answer<PoolGranted> {
        let turn = self.0.turns.fetch_add(1, Ordering::SeqCst);
        let pool = match request.pool.as_str() {
            "" => format!("10.9.0.{}/28", turn * 16),
            asked => asked.to_owned(),
        };
        let mut state = self.0.state();
        let pool_id = state.called.clone().unwrap_or_else(|| pool.clone());
        state.pools.insert(pool_id.clone());
        let gateway = state.gateway.clone().map(|gateway| (GATEWAY.to_owned(), gateway));
        Ok(PoolGranted {
            pool_id,
            pool,
            data: gateway.into_iter().collect(),
        })
    }

    async fn release_pool(&self, request: ReleasePool) -> Answer<Nothing> {
        match self.0.state().pools.remove(&request.pool_id) {
            true => Ok(Nothing {}),
            false => Err("no such pool".into()),
        }
    }

    async fn request_address(&self, request: RequestAddress) -> Answer<AddressGranted> {
        let mut state = self.0.state();
        state.options.push(request.options);
        if let Some(address) = state.instead.clone() {
            return Ok(AddressGranted {
                address,
                ..AddressGranted::default()
            });
        }
        let (base, length) = request.pool_id.split_once('/').ok_or("no such pool")?;
        let (base, first) = base.rsplit_once('.').ok_or("no such pool")?;
        let first: u8 = first.parse().map_err(|_| "no such pool")?;
        let mut all = (first + 1..first + 15).map(|last| format!("{base}.{last}"));
        let address = match request.address.as_str() {
            "" => all
                .find(|address| !state.held.contains(address))
                .ok_or("the pool is used up")?,
            asked => asked.to_owned(),
        };
        if !state.held.insert(address.clone()) {
            return Err("Address already in use".into());
        }
        Ok(AddressGranted {
            address: format!("{address}/{length}"),
            ..AddressGranted::default()
        })
    }

    async fn release_address(&self, request: ReleaseAddress) -> Answer<Nothing> {
        let mut state = self.0.state();
        state.held.remove(&request.address);
        state.released.push(request.address);
        Ok(Nothing {})
    }
}

struct Scene {
    folder: TempDir,
    book: Arc<Book>,
    remote: Remote,
    serving: Option<JoinHandle<()>>,
}

impl Scene {
    fn new(routes: Vec<(Subnet, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            sockets: vec![folder.path().to_owned()],
            specifications: Vec::new(),
        };
        let limits = Limits {
            patience: Duration::ZERO,
            ..Limits::default()
        };
        let plugin = Plugins::new(places, limits).named("book");
        let mut scene = Self {
            folder,
            book: Arc::default(),
            remote: Remote::new(plugin, Arc::new(move || routes.clone())),
            serving: None,
        };
        scene.start();
        scene
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("book.sock")
    }

    fn start(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let server = Server::default().ipam(Shared(Arc::clone(&self.book)));
        self.serving = Some(tokio::spawn(async move {
            // It ends with the test.
            let _ = server.serve(listener).await;
        }));
    }

    async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
        std::fs::remove_file(self.socket()).unwrap();
    }

    async fn pool(&self, subnet: Option<&str>) -> Result<Pool> {
        let grant = self.remote.request_pool(&wanted(subnet)).await?;
        assert_eq!(grant.txn, Txn::new());
        Ok(Pool {
            id: grant.id,
            space: grant.space,
            subnet: grant.subnet,
            ip_range: None,
            gateway: grant.gateway,
            aux_addresses: BTreeMap::new(),
        })
    }

    async fn address(&self, pool: &Pool, wanted: Option<&str>, avoid: &[IpAddr]) -> Result<String> {
        let request = AddressRequest {
            network: NetworkId::from_bytes([1; 32]),
            scope: Scope::Local,
            pool,
            holder: Holder::Endpoint(EndpointId::random(), "web".to_owned()),
            owner: None,
            node: NodeId::from_bytes([1; 32]),
            wanted: wanted.map(ip),
            mac: MacAddress::new([2, 0, 0, 0, 0, 7]).ok(),
            avoid,
        };
        Ok(self.remote.request_address(&request).await?.address.to_string())
    }

    async fn free(&self, pool: &Pool, address: &str) {
        let network = NetworkId::from_bytes([1; 32]);
        let freed = self
            .remote
            .release_address(network, Scope::Local, pool, ip(address));
        assert_eq!(freed.await.unwrap(), Txn::new());
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn wanted(subnet: Option<&str>) -> PoolRequest {
    PoolRequest {
        network: NetworkId::from_bytes([1; 32]),
        network_name: "lan".to_owned(),
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

#[tokio::test]
async fn addresses_are_held_until_they_are_given_back() {
    let scene = Scene::new(Vec::new());
    let pool = scene.pool(Some("10.1.0.0/28")).await.unwrap();
    assert_eq!(pool.space.as_deref(), Some("local"));
    assert!(scene.remote.requires_mac().await.unwrap());
    assert_eq!(scene.address(&pool, None, &[]).await.unwrap(), "10.1.0.1/28");
    assert_eq!(
        scene.address(&pool, Some("10.1.0.9"), &[]).await.unwrap(),
        "10.1.0.9/28"
    );
    let refused = scene.address(&pool, Some("10.1.0.9"), &[]).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "IpamDriver.RequestAddress: Address already in use"
    );
    scene.free(&pool, "10.1.0.9").await;
    scene.free(&pool, "10.1.0.9").await;
    scene.address(&pool, Some("10.1.0.9"), &[]).await.unwrap();
    let first = scene.book.state().options[0].clone();
    assert_eq!(first[wire::MAC_ADDRESS], "02:00:00:00:00:07");
    assert_eq!(first[wire::ENDPOINT_NAME], "web");
}

#[tokio::test]
async fn what_can_not_be_used_is_asked_for_again_and_given_back_at_the_end() {
    let route = ("10.9.0.0/27".parse().unwrap(), "eth0".to_owned());
    let scene = Scene::new(vec![route]);
    let pool = scene.pool(None).await.unwrap();
    assert_eq!(pool.subnet.to_string(), "10.9.0.32/28");
    assert_eq!(scene.book.state().pools.len(), 1, "the two before it went back");
    let address = scene
        .address(&pool, None, &[ip("10.9.0.33"), ip("10.9.0.34")])
        .await;
    assert_eq!(address.unwrap(), "10.9.0.35/28");
    assert_eq!(scene.book.state().held.len(), 1);
    let everywhere = Scene::new(vec![("10.0.0.0/8".parse().unwrap(), "eth0".to_owned())]);
    let refused = everywhere.pool(None).await.unwrap_err();
    assert!(refused.to_string().contains("eth0"), "{refused}");
    assert!(everywhere.book.state().pools.is_empty());
    everywhere
        .pool(Some("10.9.0.0/28"))
        .await
        .expect("asked for in so many words");
}

#[tokio::test]
async fn nonsense_is_refused_and_given_back() {
    let scene = Scene::new(Vec::new());
    let pool = scene.pool(Some("10.1.0.0/28")).await.unwrap();
    for nonsense in ["", "10.1.0.2", "10.2.0.1/28", "fd00::1/64", "x"] {
        scene.book.state().instead = Some(nonsense.to_owned());
        let refused = scene.address(&pool, None, &[]).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Plugin(PluginError::Nonsense { .. })),
            "{nonsense}: {refused:?}"
        );
    }
    scene.book.state().gateway = Some("10.7.0.1/28".to_owned());
    assert!(
        scene.pool(Some("10.2.0.0/28")).await.is_err(),
        "the gateway is elsewhere"
    );
    assert_eq!(scene.book.state().pools.len(), 1);
    scene.book.state().gateway = None;
    scene.book.state().called = Some("x".repeat(5000));
    assert!(
        scene.pool(Some("10.2.0.0/28")).await.is_err(),
        "no record has room for it"
    );
    scene.book.state().called = None;
    scene.book.state().gateway = Some("10.2.0.5/28".to_owned());
    let pool = scene.pool(Some("10.2.0.0/28")).await.unwrap();
    assert_eq!(pool.gateway, Some(ip("10.2.0.5")));
}

#[tokio::test]
async fn what_is_given_back_in_silence_is_told_when_the_plugin_is_back() {
    let mut scene = Scene::new(Vec::new());
    let pool = scene.pool(Some("10.1.0.0/28")).await.unwrap();
    scene.address(&pool, Some("10.1.0.9"), &[]).await.unwrap();
    scene.stop().await;
    scene.free(&pool, "10.1.0.9").await;
    assert_eq!(scene.remote.owed().len(), 1);
    assert!(scene.address(&pool, None, &[]).await.is_err());
    scene.start();
    scene
        .address(&pool, Some("10.1.0.9"), &[])
        .await
        .expect("it was told first");
    assert!(scene.remote.owed().is_empty());
}

#[tokio::test]
async fn what_is_owed_is_told_once_however_many_come_for_something_else() {
    let mut scene = Scene::new(Vec::new());
    let pool = scene.pool(Some("10.1.0.0/28")).await.unwrap();
    let owed = ["10.1.0.9", "10.1.0.10", "10.1.0.11"];
    for address in owed {
        scene.address(&pool, Some(address), &[]).await.unwrap();
    }
    scene.stop().await;
    for address in owed {
        scene.free(&pool, address).await;
    }
    scene.start();
    let ask = || scene.address(&pool, None, &[]);
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(scene.book.state().released, owed);
    assert!(scene.remote.owed().is_empty());
}

#[tokio::test]
async fn what_is_granted_anew_is_owed_no_longer() {
    let scene = Scene::new(Vec::new());
    let pool = scene.pool(Some("10.1.0.0/28")).await.unwrap();
    // Its answer to the release was lost, and somebody was faster than the one who tells it again.
    let release = Owed::Address(release(&pool, ip("10.1.0.1")));
    let mut settling = scene.remote.settling.lock().await;
    scene.remote.owed().push(Debt {
        owed: release,
        scope: Scope::Local,
    });
    let asking = scene.address(&pool, None, &[]);
    tokio::pin!(asking);
    assert!(is_waiting(&mut asking).await);
    *settling = Some(Instant::now());
    drop(settling);
    assert_eq!(asking.await.unwrap(), "10.1.0.1/28");
    assert!(scene.remote.owed().is_empty());
}

/// Whether it waits for something.
async fn is_waiting(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(polled.is_pending())
    })
    .await
}

#[tokio::test]
async fn a_plugin_that_is_reminded_keeps_the_pool_that_is_in_use_and_takes_back_another() {
    let scene = Scene::new(Vec::new());
    let pool = scene.pool(Some("10.1.0.0/28")).await.unwrap();
    scene.book.state().gateway = Some("10.7.0.1/28".to_owned());
    assert!(
        scene
            .remote
            .remind(&wanted(None), &pool, &|| Some(Vec::new()))
            .await
            .is_err()
    );
    assert_eq!(scene.book.state().pools, [pool.id.clone()].into());
    scene.book.state().gateway = None;
    scene.book.state().called = Some("another".to_owned());
    assert!(
        scene
            .remote
            .remind(&wanted(None), &pool, &|| Some(Vec::new()))
            .await
            .is_err()
    );
    assert_eq!(scene.book.state().pools, [pool.id].into());
}

#[tokio::test]
async fn a_plugin_that_forgets_is_reminded() {
    let scene = Scene::new(Vec::new());
    let pool = scene.pool(Some("10.1.0.0/28")).await.unwrap();
    let network = NetworkId::from_bytes([1; 32]);
    let held = || {
        let gateway = (Some(Holder::Gateway(network)), ip("10.1.0.1"));
        Some(vec![gateway, (None, ip("10.1.0.7"))])
    };
    let turns = scene.book.turns.load(Ordering::SeqCst);
    scene.remote.remind(&wanted(None), &pool, &|| None).await.unwrap();
    let again = scene.book.turns.load(Ordering::SeqCst);
    assert_eq!(again, turns, "of a network that is gone nothing is asked for");
    scene.remote.remind(&wanted(None), &pool, &held).await.unwrap();
    let state = scene.book.state();
    assert_eq!(state.held, ["10.1.0.1", "10.1.0.7"].map(str::to_owned).into());
    assert_eq!(state.options[0][wire::ADDRESS_TYPE], GATEWAY);
    assert!(state.options[1].is_empty());
}

#[tokio::test]
async fn nobody_of_that_name_is_said_so() {
    let remotes = Remotes::default();
    let error = remotes.find("nobody").await.unwrap_err();
    assert_eq!(error.to_string(), "plugin \"nobody\" not found");
}

#[test]
fn what_a_plugin_may_have_done_is_said_again_only_of_this_hosts_own_pools() {
    let unreachable = |unsent| PluginError::Unreachable {
        plugin: "p".to_owned(),
        address: "/run/p.sock".to_owned(),
        method: "IpamDriver.ReleaseAddress".to_owned(),
        reason: "gone".to_owned(),
        unsent,
    };
    let late = PluginError::Late {
        plugin: "p".to_owned(),
        method: "IpamDriver.ReleaseAddress".to_owned(),
        limit: Duration::from_secs(25),
    };
    let missing = PluginError::NotFound {
        plugin: "p".to_owned(),
    };
    let nonsense = PluginError::Nonsense {
        plugin: "p".to_owned(),
        method: "IpamDriver.ReleaseAddress".to_owned(),
        reason: "no".to_owned(),
    };
    let rows = [
        ("not found", &missing, [true, true]),
        ("nobody listened", &unreachable(true), [true, true]),
        ("it broke off", &unreachable(false), [true, false]),
        ("too late", &late, [true, false]),
        ("refused", &nonsense, [false, false]),
    ];
    for (name, error, wanted) in rows {
        let stays = [Scope::Local, Scope::Global].map(|scope| {
            let pool_id = "pool".to_owned();
            let owed = Owed::Pool(ReleasePool { pool_id });
            Debt { owed, scope }.stays(error)
        });
        assert_eq!(stays, wanted, "{name}");
    }
}
