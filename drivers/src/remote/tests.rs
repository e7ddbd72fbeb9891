//! Our own drivers behind our own host: the built-in bridge served over a socket, and driven through it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use kernel::{FakeKernel, Handover, Kernel, Mark, Netns, Object, Owner, Step};
use model::{Endpoint, EndpointAddresses, Lifecycle, Network, Subnet};
use plugin_proto::{
    Limits, Places, Plugins,
    server::{Answer, NetworkDriver, Server},
};
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Builder};

use super::*;
use crate::{
    BuiltIn, Catalog, Error, HostSettings, VXLAN_PORT,
    samples::{endpoint, network, node, target},
    served::{Served, serve},
};

/// The plugin's process, the host's side, and a sandbox.
struct Scene {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
    kernel: Arc<FakeKernel>,
    served: Arc<Served>,
    remote: Remote,
    network: Network,
    endpoint: Endpoint,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Arc::new(FakeKernel::new());
        let settings = HostSettings {
            node: node(),
            address: [192, 0, 2, 1].into(),
            vxlan_port: VXLAN_PORT,
            exec_root: folder.path().to_owned(),
            firewall: true,
            ip_forward: true,
        };
        let as_kernel: Arc<dyn Kernel> = kernel.clone();
        let built_in = BuiltIn::new(&settings, &as_kernel).unwrap();
        let served = Arc::new(Served {
            driver: built_in.driver("bridge").unwrap(),
            kernel: kernel.clone(),
            stage: Some(folder.path().join("stage")),
            state: Mutex::default(),
        });
        let plugin = serve(folder.path(), "ours", &served);
        let network = Network {
            lifecycle: Lifecycle::Creating,
            ..network("ours", 1, &["172.16.2.0/24", "fd00:2::/64"])
        };
        let mut endpoint = endpoint(&network, 0xe1, &["172.16.2.2/24", "fd00:2::2/64"]);
        (endpoint.lifecycle, endpoint.addresses.mac) = (Lifecycle::Creating, None);
        let scene = Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            remote: Remote::new(plugin),
            kernel,
            served,
            network,
            endpoint,
            folder,
        };
        let mark = Mark {
            node: node(),
            owner: Owner::Host,
        };
        let places = [scene.pin(), scene.folder.path().join("stage")];
        let places = places.map(|place| Step::Create(Object::Namespace(place)));
        scene.kernel.apply(&mark, &places).unwrap();
        scene
    }

    fn pin(&self) -> PathBuf {
        self.folder.path().join("box")
    }

    fn create(&self) -> Result<()> {
        self.runtime.block_on(self.remote.create_network(&self.network))
    }

    fn delete(&self) {
        self.runtime
            .block_on(self.remote.delete_network(&self.network))
            .unwrap();
    }

    /// As the controller does it: the interface goes into the sandbox, and the answer into the record.
    fn join(&mut self) -> Result<Attachment> {
        let place = target(&self.pin());
        let joining = self.remote.join(&self.network, &self.endpoint, &place);
        let attachment = self.runtime.block_on(joining)?;
        if let Some(Link::OnHost { name, .. }) = &attachment.link {
            let handover = Handover {
                from: Netns::Host,
                link: name.clone(),
                to: Netns::Pinned(self.pin()),
                name: place.interface,
                mac: None,
            };
            self.kernel.hand_over(&handover).unwrap();
        }
        self.endpoint.answer.clone_from(&attachment.answer);
        Ok(attachment)
    }

    fn leave(&mut self) {
        let place = target(&self.pin());
        let endpoint = &self.endpoint;
        self.runtime
            .block_on(self.remote.leave(&self.network, endpoint, &place))
            .unwrap();
        if let Some(name) = endpoint.answer.as_ref().and_then(|answer| answer.link.clone()) {
            let back = Handover {
                from: Netns::Pinned(self.pin()),
                link: place.interface,
                to: Netns::Host,
                name,
                mac: None,
            };
            // Gone with the sandbox, or moved already.
            let _ = self.kernel.hand_over(&back);
        }
        self.runtime
            .block_on(self.remote.delete_endpoint(&self.network, endpoint))
            .unwrap();
        self.endpoint.answer = None;
    }

    /// What is there of the plugin's making.
    fn made(&self) -> usize {
        let owned = self.kernel.observe_owned(&Netns::Host, node()).unwrap();
        owned.iter().filter(|(mark, _)| mark.owner != Owner::Host).count()
    }

    fn in_sandbox(&self) -> bool {
        self.kernel.link(&Netns::Pinned(self.pin()), "eth0").is_some()
    }
}

#[test]
fn a_bridge_of_our_own_lives_its_life_over_the_wire() {
    let mut scene = Scene::new();
    scene.create().expect("it is made");
    let network = scene.made();
    assert!(network > 0);
    let attachment = scene.join().expect("it joins");
    assert_eq!(attachment.gateway_v4, "172.16.2.1".parse().ok());
    assert_eq!(attachment.gateway_v6, "fd00:2::1".parse().ok());
    assert!(scene.in_sandbox() && scene.made() > network);

    let again = scene.join().expect("it has joined");
    assert_eq!(again.link, Some(Link::InPlace), "nobody is asked again");
    assert_eq!(again.gateway_v4, attachment.gateway_v4);
    assert_eq!(again.addresses, EndpointAddresses::default());

    scene.leave();
    assert!(!scene.in_sandbox());
    assert_eq!(scene.made(), network);
    scene.leave();
    scene.join().expect("it comes back");
    scene.leave();
    scene.delete();
    scene.delete();
    assert_eq!(scene.made(), 0);
}

#[test]
fn a_sandbox_that_ended_takes_its_interface_along_and_the_plugin_hears_of_it() {
    let mut scene = Scene::new();
    scene.create().expect("it is made");
    scene.join().expect("it joins");
    scene.kernel.take(&kernel::Key::Namespace(scene.pin()));
    scene.leave();
    scene.delete();
    assert_eq!(scene.made(), 0);
    assert!(scene.served.state().endpoints.is_empty());
}

#[test]
fn a_failure_at_any_call_leaves_nothing() {
    for broken in ["CreateNetwork", "CreateEndpoint", "Join", "Leave"] {
        let mut scene = Scene::new();
        scene.served.state().broken = Some(broken);
        let created = scene.create();
        assert_eq!(created.is_err(), broken == "CreateNetwork", "{created:?}");
        if created.is_ok() {
            let joined = scene.join();
            assert_eq!(joined.is_err(), broken != "Leave", "{joined:?}");
            if let Err(error) = joined {
                let text = error.to_string();
                assert_eq!(text, format!("NetworkDriver.{broken}: broken on demand"));
            }
            scene.leave();
        }
        scene.delete();
        assert_eq!(scene.made(), 0, "after {broken}");
        let left = scene.served.state();
        assert!(
            left.networks.is_empty() && left.endpoints.is_empty(),
            "after {broken}"
        );
    }
}

#[test]
fn a_network_that_is_made_is_not_made_again_by_a_new_process() {
    let scene = Scene::new();
    scene.create().expect("it is made");
    let active = Network {
        lifecycle: Lifecycle::Active,
        ..scene.network.clone()
    };
    let made = scene.made();
    scene.served.state().broken = Some("CreateNetwork");
    scene
        .runtime
        .block_on(scene.remote.create_network(&active))
        .expect("the plugin is not asked");
    assert_eq!(scene.made(), made);
}

#[test]
fn a_plugin_is_not_told_of_changes_so_there_are_none() {
    let scene = Scene::new();
    let view = |network: Network| NetworkView {
        network: Arc::new(network),
        local: Vec::new(),
        peers: Vec::new(),
    };
    let before = view(scene.network.clone());
    let renamed = view(Network {
        name: model::NetworkName::new("other").unwrap(),
        ..scene.network.clone()
    });
    let changed = view(Network {
        options: crate::samples::labels(&[("colour", "blue")]),
        ..scene.network.clone()
    });
    let change = |after| scene.runtime.block_on(scene.remote.change(&before, after));
    change(&renamed).expect("a name is ours alone");
    assert!(matches!(change(&changed), Err(Error::Forbidden { .. })));
}

#[test]
fn what_a_plugin_can_do_must_make_sense() {
    struct Odd(&'static str, &'static str);
    #[async_trait]
    impl NetworkDriver for Odd {
        async fn get_capabilities(&self) -> Answer<net::Capabilities> {
            Ok(net::Capabilities {
                scope: self.0.to_owned(),
                connectivity_scope: self.1.to_owned(),
                gw_alloc_checker: true,
            })
        }
        async fn gw_alloc_check(&self, _: GwAllocCheck) -> Answer<net::GwAllocChecked> {
            Ok(net::GwAllocChecked {
                skip_ipv4: true,
                skip_ipv6: false,
            })
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let rows = [
        ("local", "", Ok(Scope::Local)),
        ("global", "local", Ok(Scope::Global)),
        ("", "", Err(())),
        ("swarm", "local", Err(())),
        ("local", "world", Err(())),
    ];
    for (number, (scope, reach, wanted)) in rows.into_iter().enumerate() {
        let name = format!("odd{number}");
        let socket = folder.path().join(format!("{name}.sock"));
        let places = Places {
            sockets: vec![folder.path().to_owned()],
            specifications: Vec::new(),
        };
        let remote = Remote::new(Plugins::new(places, Limits::default()).named(&name));
        runtime.block_on(async {
            let listener = UnixListener::bind(socket).unwrap();
            let serving = tokio::spawn(Server::default().network(Odd(scope, reach)).serve(listener));
            let activated = remote.activate(Duration::ZERO).await;
            let found = activated.map(|()| remote.capabilities().scope);
            match wanted {
                Ok(scope) => assert_eq!(found.unwrap(), scope),
                Err(()) => assert!(matches!(found, Err(Error::Plugin(_))), "{name}: {found:?}"),
            }
            if wanted.is_ok() {
                let draft = Draft {
                    id: NetworkId::from_bytes([7; 32]),
                    options: &model::Labels::new(),
                    internal: false,
                    families: &[AddressFamily::V4],
                    subnets: &[] as &[Subnet],
                };
                let needs = remote.check(&draft).await.unwrap();
                assert_eq!(needs.without_gateway, [AddressFamily::V4]);
            }
            serving.abort();
        });
    }
}

#[test]
fn names_that_were_mistyped_do_not_pile_up() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let as_kernel: Arc<dyn Kernel> = Arc::new(FakeKernel::new());
    let settings = HostSettings {
        node: node(),
        address: [192, 0, 2, 1].into(),
        vxlan_port: VXLAN_PORT,
        exec_root: folder.path().to_owned(),
        firewall: true,
        ip_forward: true,
    };
    let places = Places {
        sockets: vec![folder.path().to_owned()],
        specifications: Vec::new(),
    };
    let plugins = Plugins::new(places, Limits::default());
    let catalog = WithPlugins::new(BuiltIn::new(&settings, &as_kernel).unwrap(), Arc::clone(&plugins));
    let mistyped = Arc::downgrade(&plugins.named("brigde"));
    let found = runtime.block_on(Catalog::find(&catalog, "brigde")).unwrap();
    assert!(found.is_none() && mistyped.upgrade().is_none());
}

/// The next calls that a plugin hears: methods, and for hosts their addresses.
fn heard(calls: &std::sync::mpsc::Receiver<String>, count: usize) -> Vec<String> {
    let next = || {
        calls
            .recv_timeout(Duration::from_secs(20))
            .expect("one more call")
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_plugin_of_all_hosts_hears_of_each_once_and_a_local_one_of_none() {
    struct Everywhere(&'static str);
    #[async_trait]
    impl NetworkDriver for Everywhere {
        async fn get_capabilities(&self) -> Answer<net::Capabilities> {
            Ok(net::Capabilities {
                scope: self.0.to_owned(),
                ..net::Capabilities::default()
            })
        }
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (sender, calls) = std::sync::mpsc::channel();
    let serve = |name: &str, scope| {
        let sender = sender.clone();
        let server = Server::default()
            .network(Everywhere(scope))
            .observed_by(move |method, body| {
                let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
                let address = body["DiscoveryData"]["Address"].as_str().unwrap_or_default();
                let _ = sender.send(format!("{method} {address}").trim().to_owned());
            });
        let listener = UnixListener::bind(folder.path().join(format!("{name}.sock"))).unwrap();
        tokio::spawn(server.serve(listener));
    };
    let as_kernel: Arc<dyn Kernel> = Arc::new(FakeKernel::new());
    let settings = HostSettings {
        node: node(),
        address: [192, 0, 2, 1].into(),
        vxlan_port: VXLAN_PORT,
        exec_root: folder.path().to_owned(),
        firewall: true,
        ip_forward: true,
    };
    let places = Places {
        sockets: vec![folder.path().to_owned()],
        specifications: Vec::new(),
    };
    let plugins = Plugins::new(places, Limits::default());
    let catalog = WithPlugins::new(BuiltIn::new(&settings, &as_kernel).unwrap(), plugins);
    let host = |number: u8| KnownHost {
        node: NodeId::from_bytes([number; 32]),
        address: [192, 0, 2, number].into(),
        itself: number == 9,
    };
    runtime.block_on(async {
        serve("here", "local");
        serve("wide", "global");
        catalog.hosts_changed(&[host(9), host(1)]).await;
        for name in ["here", "wide"] {
            assert!(Catalog::find(&catalog, name).await.unwrap().is_some());
        }
        let begins = ["Plugin.Activate", "NetworkDriver.GetCapabilities"];
        assert_eq!(heard(&calls, 2), begins);
        assert_eq!(heard(&calls, 2), begins);
        let (new, gone) = ("NetworkDriver.DiscoverNew", "NetworkDriver.DiscoverDelete");
        assert_eq!(
            heard(&calls, 2),
            [format!("{new} 192.0.2.1"), format!("{new} 192.0.2.9")]
        );
        for hosts in [&[host(9), host(1)][..], &[host(9), host(2)], &[host(9), host(2)]] {
            catalog.hosts_changed(hosts).await;
        }
        assert_eq!(
            heard(&calls, 2),
            [format!("{gone} 192.0.2.1"), format!("{new} 192.0.2.2")]
        );
        Catalog::find(&catalog, "wide").await.unwrap();
        catalog.hosts_changed(&[host(9)]).await;
        assert_eq!(
            heard(&calls, 1),
            [format!("{gone} 192.0.2.2")],
            "and nothing between"
        );
    });
}

#[test]
fn a_plugin_that_starts_a_little_later_is_waited_for_but_not_for_a_mistyped_name() {
    struct Anything;
    impl NetworkDriver for Anything {}
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let as_kernel: Arc<dyn Kernel> = Arc::new(FakeKernel::new());
    let settings = HostSettings {
        node: node(),
        address: [192, 0, 2, 1].into(),
        vxlan_port: VXLAN_PORT,
        exec_root: folder.path().to_owned(),
        firewall: true,
        ip_forward: true,
    };
    let places = Places {
        sockets: vec![folder.path().to_owned()],
        specifications: Vec::new(),
    };
    let plugins = Plugins::new(places, Limits::default());
    let catalog = WithPlugins::new(BuiltIn::new(&settings, &as_kernel).unwrap(), plugins);
    let serving = async {
        let listener = UnixListener::bind(folder.path().join("weave.sock")).unwrap();
        Server::default().network(Anything).serve(listener).await
    };
    runtime.block_on(async {
        tokio::select! {
            biased;
            found = Catalog::find(&catalog, "brigde") => assert!(found.unwrap().is_none()),
            () = std::future::ready(()) => panic!("it is looked for again"),
        }
        tokio::select! {
            biased;
            found = Catalog::find(&catalog, "weave") => assert!(found.unwrap().is_some()),
            _ = serving => unreachable!("it serves to the end"),
        }
    });
}
