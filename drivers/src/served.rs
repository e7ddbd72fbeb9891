//! The built-in drivers as plugins, for tests of our host: a driver of ours behind a socket.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use async_trait::async_trait;
use kernel::{Handover, Kernel, Netns};
use model::{Endpoint, InterfaceName, Labels, Network};
use plugin_proto::{
    Limits, Nothing, Options, Places, Plugin, Plugins,
    network_driver::{
        CreateEndpoint, CreateNetwork, CreatedEndpoint, DeleteEndpoint, DeleteNetwork, GENERIC, INTERNAL,
        InterfaceName as Named, Join, Joined, Leave, StaticRoute,
    },
    server::{Answer, NetworkDriver, Server},
};
use serde_json::Value;
use tokio::{net::UnixListener, runtime::Builder};

use crate::{
    Driver, Link, Target,
    samples::{endpoint, network},
};

/// A built-in driver as a plugin.
pub(crate) struct Served {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) kernel: Arc<dyn Kernel>,
    /// Interfaces are made in this namespace and go from there to the host; without one, right where they belong.
    pub(crate) stage: Option<PathBuf>,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) networks: HashMap<String, Network>,
    pub(crate) endpoints: HashMap<String, (Endpoint, Option<Target>)>,
    /// A method that fails.
    pub(crate) broken: Option<&'static str>,
}

/// Serves on a thread of its own, and the plugin as our host sees it.
pub(crate) fn serve(folder: &Path, name: &str, served: &Arc<Served>) -> Arc<Plugin> {
    let socket = folder.join(format!("{name}.sock"));
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    listener.set_nonblocking(true).expect("a socket");
    let plugin = Shared(Arc::clone(served));
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = UnixListener::from_std(listener)?;
            Server::default().network(plugin).serve(listener).await
        })
    });
    let places = Places {
        sockets: vec![folder.to_owned()],
        specifications: Vec::new(),
    };
    Plugins::new(places, Limits::default()).named(name)
}

/// The plugin, shared with the test.
struct Shared(Arc<Served>);

impl Served {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn network(&self, id: &str) -> Answer<Network> {
        Ok(self.state().networks.get(id).cloned().ok_or("no such network")?)
    }

    fn endpoint(&self, id: &str) -> Answer<(Endpoint, Option<Target>)> {
        let state = self.state();
        Ok(state.endpoints.get(id).cloned().ok_or("no such endpoint")?)
    }

    /// Where an interface is made.
    fn place(&self, request: &Join) -> Target {
        let sandbox = Some(request.sandbox_key.as_str()).filter(|key| !key.is_empty());
        let (netns, name) = match &self.stage {
            Some(stage) => (Some(stage.clone()), format!("pl{}", &request.endpoint_id[..8])),
            None => (sandbox.map(PathBuf::from), "eth0".to_owned()),
        };
        Target {
            netns,
            interface: InterfaceName::new(name).expect("ten letters"),
            ..crate::samples::target(Path::new(""))
        }
    }

    fn check(&self, method: &'static str) -> Answer<()> {
        match self.state().broken == Some(method) {
            true => Err("broken on demand".into()),
            false => Ok(()),
        }
    }

    async fn leave(&self, network: &str, id: &str) -> Answer<()> {
        let (network, (endpoint, place)) = (self.network(network)?, self.endpoint(id)?);
        if let Some(place) = place {
            self.driver.leave(&network, &endpoint, &place).await?;
        }
        Ok(())
    }
}

/// The options as the user typed them.
fn typed(options: &Options) -> Labels {
    let typed = options
        .get(GENERIC)
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    typed
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[async_trait]
impl NetworkDriver for Shared {
    async fn create_network(&self, request: CreateNetwork) -> Answer<Nothing> {
        self.0.check("CreateNetwork")?;
        let data = request.ipv4_data.iter().chain(&request.ipv6_data);
        let pools: Vec<&str> = data.filter_map(|data| data.pool.as_deref()).collect();
        let network = Network {
            id: request.network_id.parse().map_err(|_| "no id")?,
            options: typed(&request.options),
            internal: request.options.get(INTERNAL) == Some(&Value::Bool(true)),
            ..network("ours", 1, &pools)
        };
        self.0.driver.create_network(&network).await?;
        self.0.state().networks.insert(request.network_id, network);
        Ok(Nothing {})
    }

    async fn delete_network(&self, request: DeleteNetwork) -> Answer<Nothing> {
        let network = self.0.network(&request.network_id)?;
        self.0.driver.delete_network(&network).await?;
        self.0.state().networks.remove(&request.network_id);
        Ok(Nothing {})
    }

    async fn create_endpoint(&self, request: CreateEndpoint) -> Answer<CreatedEndpoint> {
        self.0.check("CreateEndpoint")?;
        let network = self.0.network(&request.network_id)?;
        let asked = &request.interface;
        let addresses = [asked.address.as_str(), asked.address_ipv6.as_str()];
        let addresses: Vec<&str> = addresses.into_iter().filter(|text| !text.is_empty()).collect();
        let made = Endpoint {
            id: request.endpoint_id.parse().map_err(|_| "no id")?,
            ..endpoint(&network, 1, &addresses)
        };
        self.0.state().endpoints.insert(request.endpoint_id, (made, None));
        Ok(CreatedEndpoint::default())
    }

    async fn delete_endpoint(&self, request: DeleteEndpoint) -> Answer<Nothing> {
        self.0.leave(&request.network_id, &request.endpoint_id).await?;
        self.0.state().endpoints.remove(&request.endpoint_id);
        Ok(Nothing {})
    }

    async fn join(&self, request: Join) -> Answer<Joined> {
        self.0.check("Join")?;
        let network = self.0.network(&request.network_id)?;
        let (endpoint, _) = self.0.endpoint(&request.endpoint_id)?;
        let place = self.0.place(&request);
        let attachment = self.0.driver.join(&network, &endpoint, &place).await?;
        let known = (endpoint, Some(place.clone()));
        self.0.state().endpoints.insert(request.endpoint_id, known);
        let mut src_name = String::new();
        if let (Some(stage), Some(Link::InPlace)) = (&self.0.stage, attachment.link) {
            src_name = place.interface.to_string();
            self.0.kernel.hand_over(&Handover {
                from: Netns::Pinned(stage.clone()),
                link: place.interface.clone(),
                to: Netns::Host,
                name: place.interface,
                mac: None,
            })?;
        }
        let text = |gateway: Option<IpAddr>| gateway.map(|ip| ip.to_string()).unwrap_or_default();
        let routes = attachment.routes.iter().map(|route| StaticRoute {
            destination: route.destination.to_string(),
            route_type: i64::from(route.next_hop.is_none()),
            next_hop: text(route.next_hop),
        });
        Ok(Joined {
            interface_name: Some(Named {
                src_name,
                dst_prefix: "eth".to_owned(),
                dst_name: String::new(),
            }),
            gateway: text(attachment.gateway_v4),
            gateway_ipv6: text(attachment.gateway_v6),
            static_routes: routes.collect(),
            ..Joined::default()
        })
    }

    async fn leave(&self, request: Leave) -> Answer<Nothing> {
        self.0.check("Leave")?;
        if self.0.stage.is_none() {
            self.0.leave(&request.network_id, &request.endpoint_id).await?;
        }
        Ok(Nothing {})
    }
}
