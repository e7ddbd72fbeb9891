//! A plugin that makes bridges and veth pairs on a host of the lab, manages addresses, and writes down what it is asked.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use netlab::Host;
use plugin_proto::{
    Nothing,
    ipam_driver::{self as ipam, AddressGranted, PoolGranted},
    network_driver::{
        self as net, CreateEndpoint, CreateNetwork, CreatedEndpoint, DeleteEndpoint, DeleteNetwork,
        InterfaceName, Join, Joined, StaticRoute,
    },
    server::{Answer, IpamDriver, NetworkDriver, Server},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

/// A reason to break the connection off instead of an answer.
pub(crate) const DIES: &str = "(dies)";

/// One call: its method and what it said.
pub(crate) type Called = (String, Value);

#[derive(Debug, Default)]
struct State {
    calls: Vec<Called>,
    /// What a method answers instead of what it should.
    refusals: BTreeMap<String, String>,
    gateways: BTreeMap<String, String>,
    pools: u8,
    addresses: BTreeMap<String, u8>,
    everywhere: bool,
    /// What is sent in place of a method's answer, once it is done.
    bent: BTreeMap<String, &'static [u8]>,
}

/// Serves at a socket, which is there when this returns, until the process ends. `bent` may have other bytes for a method's
/// answer than what the server says.
pub(crate) fn in_background(
    server: Server,
    socket: &Path,
    bent: impl Fn(&str) -> Option<&'static [u8]> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let listener = {
        let _inside = runtime.enter();
        UnixListener::bind(socket)?
    };
    let bent = Arc::new(bent);
    std::thread::spawn(move || {
        runtime.block_on(async {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, bent) = (server.clone(), Arc::clone(&bent));
                tokio::spawn(async move { serve_one(&server, stream, &*bent).await });
            }
        });
    });
    Ok(())
}

/// Hands a connection's first request on. Where the answer is to be bent, it is thrown away.
async fn serve_one(
    server: &Server,
    mut stream: UnixStream,
    bent: &(dyn Fn(&str) -> Option<&'static [u8]> + Sync),
) {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let serving = server.serve_connection(far);
    let passing = async {
        let mut start = vec![0; 4096];
        let count = stream.read(&mut start).await.unwrap_or_default();
        start.truncate(count);
        let line = String::from_utf8_lossy(&start).into_owned();
        let method = line.split([' ', '/']).nth(2).unwrap_or_default();
        if near.write_all(&start).await.is_err() {
            return;
        }
        let short = method.rsplit('.').next().unwrap_or_default();
        match bent(short) {
            None => drop(tokio::io::copy_bidirectional(&mut stream, &mut near).await),
            Some(bytes) => {
                // What it should do is done when it answers.
                let _ = near.read(&mut [0; 1]).await;
                let _ = stream.write_all(bytes).await;
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = passing => {}
    }
}

/// The plugin, serving until the process ends.
#[derive(Clone)]
pub(crate) struct Stub {
    host: Host,
    state: Arc<Mutex<State>>,
    socket: PathBuf,
}

impl Stub {
    /// Serves at this socket, and makes its links on that host.
    pub(crate) fn serve(host: &Host, socket: PathBuf) -> anyhow::Result<Self> {
        let stub = Self {
            host: host.clone(),
            state: Arc::default(),
            socket,
        };
        let noted = stub.clone();
        let server = Server::default()
            .network(stub.clone())
            .ipam(stub.clone())
            .observed_by(move |method, body| noted.note(method, body));
        let bent = stub.clone();
        let answer = move |method: &str| bent.state().bent.get(method).copied();
        in_background(server, &stub.socket, answer)?;
        Ok(stub)
    }

    /// Where it serves.
    pub(crate) fn socket(&self) -> &PathBuf {
        &self.socket
    }

    fn note(&self, method: &str, body: &[u8]) {
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        self.state().calls.push((method.to_owned(), body));
    }

    /// Its networks are those of all hosts.
    pub(crate) fn everywhere(&self) {
        self.state().everywhere = true;
    }

    /// What it was asked since the last time.
    pub(crate) fn calls(&self) -> Vec<Called> {
        std::mem::take(&mut self.state().calls)
    }

    /// The methods of that alone.
    pub(crate) fn methods(&self) -> Vec<String> {
        self.calls().into_iter().map(|(method, _)| method).collect()
    }

    /// Lets a method fail from now on; without a reason, work again.
    pub(crate) fn refuse(&self, method: &str, reason: Option<&str>) {
        let mut state = self.state();
        match reason {
            Some(reason) => state.refusals.insert(method.to_owned(), reason.to_owned()),
            None => state.refusals.remove(method),
        };
    }

    /// Lets a method do what it should and then answer these bytes; without any, answer as it should again.
    pub(crate) fn bend(&self, method: &str, bytes: Option<&'static [u8]>) {
        let mut state = self.state();
        match bytes {
            Some(bytes) => state.bent.insert(method.to_owned(), bytes),
            None => state.bent.remove(method),
        };
    }

    fn check(&self, method: &str) -> Answer<()> {
        let refusal = self.state().refusals.get(method).cloned();
        match refusal.as_deref() {
            Some(DIES) => panic!("asked to die in {method}"),
            Some(reason) => Err(reason.into()),
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ip(&self, line: String) -> Answer<()> {
        let host = self.host.clone();
        let done = tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = line.split(' ').collect();
            host.run("ip", &words)?.ok()
        });
        done.await?
            .map(drop)
            .map_err(|error| format!("{error:#}").as_str().into())
    }
}

#[async_trait]
impl NetworkDriver for Stub {
    async fn get_capabilities(&self) -> Answer<net::Capabilities> {
        let scope = if self.state().everywhere {
            "global"
        } else {
            "local"
        };
        Ok(net::Capabilities {
            scope: scope.to_owned(),
            connectivity_scope: scope.to_owned(),
            ..net::Capabilities::default()
        })
    }

    async fn create_network(&self, request: CreateNetwork) -> Answer<Nothing> {
        self.check("CreateNetwork")?;
        let bridge = format!("b{}", &request.network_id[..8]);
        self.ip(format!("link add {bridge} type bridge")).await?;
        self.ip(format!("link set {bridge} up")).await?;
        let gateway = request.ipv4_data.first().and_then(|data| data.gateway.clone());
        if let Some(gateway) = gateway {
            self.ip(format!("address add {gateway} dev {bridge}")).await?;
            let plain = gateway.split('/').next().unwrap_or_default().to_owned();
            self.state().gateways.insert(request.network_id, plain);
        }
        Ok(Nothing {})
    }

    async fn delete_network(&self, request: DeleteNetwork) -> Answer<Nothing> {
        self.check("DeleteNetwork")?;
        self.state().gateways.remove(&request.network_id);
        self.ip(format!("link del b{}", &request.network_id[..8])).await?;
        Ok(Nothing {})
    }

    async fn create_endpoint(&self, request: CreateEndpoint) -> Answer<CreatedEndpoint> {
        self.check("CreateEndpoint")?;
        let (name, bridge) = (&request.endpoint_id[..8], &request.network_id[..8]);
        let everywhere = self.state().everywhere;
        if everywhere {
            // Made elsewhere, as far as this host was told.
            let _ = self.ip(format!("link add b{bridge} type bridge")).await;
        }
        self.ip(format!("link add v{name} type veth peer name c{name}"))
            .await?;
        self.ip(format!("link set v{name} master b{bridge} up")).await?;
        Ok(CreatedEndpoint::default())
    }

    async fn delete_endpoint(&self, request: DeleteEndpoint) -> Answer<Nothing> {
        self.check("DeleteEndpoint")?;
        // By the end that was in the sandbox: it must have come back.
        self.ip(format!("link del c{}", &request.endpoint_id[..8]))
            .await?;
        Ok(Nothing {})
    }

    async fn join(&self, request: Join) -> Answer<Joined> {
        self.check("Join")?;
        let gateway = self.state().gateways.get(&request.network_id).cloned();
        Ok(Joined {
            interface_name: Some(InterfaceName {
                src_name: format!("c{}", &request.endpoint_id[..8]),
                dst_prefix: "stub".to_owned(),
                dst_name: String::new(),
            }),
            gateway: gateway.unwrap_or_default(),
            static_routes: vec![StaticRoute {
                destination: "198.51.100.0/24".to_owned(),
                route_type: net::CONNECTED,
                next_hop: String::new(),
            }],
            ..Joined::default()
        })
    }

    async fn program_external_connectivity(&self, _: net::ProgramExternalConnectivity) -> Answer<Nothing> {
        self.check("ProgramExternalConnectivity").map(|()| Nothing {})
    }

    async fn revoke_external_connectivity(&self, _: net::RevokeExternalConnectivity) -> Answer<Nothing> {
        Ok(Nothing {})
    }
}

#[async_trait]
impl IpamDriver for Stub {
    async fn request_pool(&self, request: ipam::RequestPool) -> Answer<PoolGranted> {
        self.check("RequestPool")?;
        let mut state = self.state();
        let pool = match request.pool.as_str() {
            "" => {
                state.pools += 1;
                format!("10.77.{}.0/24", state.pools)
            }
            asked => asked.to_owned(),
        };
        Ok(PoolGranted {
            pool_id: format!("stub-{pool}"),
            pool,
            ..PoolGranted::default()
        })
    }

    async fn release_pool(&self, _: ipam::ReleasePool) -> Answer<Nothing> {
        Ok(Nothing {})
    }

    async fn request_address(&self, request: ipam::RequestAddress) -> Answer<AddressGranted> {
        self.check("RequestAddress")?;
        let mut state = self.state();
        let pool = request.pool_id.trim_start_matches("stub-").to_owned();
        let (base, length) = pool
            .split_once(".0/")
            .ok_or("the pool is no /24 of this plugin")?;
        let address = match request.address.as_str() {
            "" => {
                // Not the first, so that it can be told from the built-in management.
                let next = state.addresses.entry(pool.clone()).or_insert(39);
                *next += 1;
                format!("{base}.{next}")
            }
            asked => asked.to_owned(),
        };
        Ok(AddressGranted {
            address: format!("{address}/{length}"),
            ..AddressGranted::default()
        })
    }

    async fn release_address(&self, _: ipam::ReleaseAddress) -> Answer<Nothing> {
        Ok(Nothing {})
    }
}
