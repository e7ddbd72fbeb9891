//! A driver that behaves as plugins do: its interface is made on the host, and it wants it back there.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use drivers::{
    Attachment, BuiltIn, Capabilities, Catalog, Draft, Driver, Link, Needs, NetworkView, Result, Target,
};
use kernel::{
    FakeKernel, Key, Netns, Object,
    object::{Link as KernelLink, LinkKind, Route},
};
use model::{Endpoint, InterfaceName, Network, PluginAnswer, Scope};

use super::{host::Host, spy::At};

/// The built-in drivers and `plug`.
#[derive(Debug)]
pub(super) struct WithPlug {
    pub(super) built_in: BuiltIn,
    pub(super) kernel: Arc<FakeKernel>,
}

impl Catalog for WithPlug {
    fn driver(&self, name: &str) -> Option<Arc<dyn Driver>> {
        match name {
            "plug" => Some(Arc::new(Plug(Arc::clone(&self.kernel)))),
            other => self.built_in.driver(other),
        }
    }

    fn names(&self) -> Vec<String> {
        self.built_in.names()
    }
}

#[derive(Debug)]
struct Plug(Arc<FakeKernel>);

fn made() -> InterfaceName {
    InterfaceName::new("plug0").unwrap()
}

fn answer(link: InterfaceName) -> Attachment {
    Attachment {
        link: Some(Link::OnHost {
            name: link.clone(),
            prefix: Some("plug".to_owned()),
        }),
        answer: Some(PluginAnswer {
            link: Some(link),
            ..PluginAnswer::default()
        }),
        ..Attachment::default()
    }
}

#[async_trait]
impl Driver for Plug {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            scope: Scope::Local,
            addresses: true,
            single: false,
            gateway_bridge: false,
            several_pools: true,
        }
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn check(&self, _: &Draft<'_>) -> Result<Needs> {
        Ok(Needs::default())
    }

    async fn create_network(&self, _: &Network) -> Result<()> {
        Ok(())
    }

    async fn delete_network(&self, _: &Network) -> Result<()> {
        Ok(())
    }

    async fn join(&self, _: &Network, endpoint: &Endpoint, _: &Target) -> Result<Attachment> {
        if let Some(answer) = &endpoint.answer {
            return Ok(Attachment {
                link: Some(Link::InPlace),
                answer: Some(answer.clone()),
                ..Attachment::default()
            });
        }
        if let Some(named) = endpoint.options.get("plug.link") {
            return Ok(answer(InterfaceName::new(named.as_str()).unwrap()));
        }
        self.0.put(Object::Link(KernelLink {
            netns: Netns::Host,
            name: made(),
            kind: LinkKind::Existing,
            mac: None,
            mtu: None,
            master: None,
            up: false,
        }));
        Ok(answer(made()))
    }

    async fn leave(&self, _: &Network, _: &Endpoint, _: &Target) -> Result<()> {
        Ok(())
    }

    async fn delete_endpoint(&self, _: &Network, _: &Endpoint) -> Result<()> {
        self.0.take(&Key::Link(Netns::Host, made()));
        Ok(())
    }

    async fn repair(&self, _: &NetworkView) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_plugins_interface_is_given_back_wherever_the_daemon_dies() {
    for at in [At::DiesBefore, At::DiesAfter] {
        for commit in 0.. {
            let mut host = Host::alone().await;
            let lan = host.network("lan", "plug", Some("10.1.0.0/24")).await.unwrap();
            let one = host.sandbox("one").await.unwrap();
            host.local.at(commit, at);
            let died = tokio::select! {
                () = host.local.death() => true,
                connected = host.connect(lan.id, &one) => {
                    connected.unwrap();
                    false
                }
            };
            host.local.heal();
            host.kill();
            host.start().await;
            let inside = Netns::Pinned(PathBuf::from(one.netns().unwrap()));
            let told = format!("{at:?} commit {commit}");
            let snapshot = host.controller().snapshot().borrow().clone();
            if snapshot.endpoints.is_empty() {
                let endpoint = host.connect(lan.id, &one).await.expect(&told);
                let controller = host.controller();
                controller.endpoints.disconnect(endpoint.id, false).await.unwrap();
                let left = [&inside, &Netns::Host].map(|netns| host.kernel.link(netns, "plug0"));
                assert_eq!(left, [None, None], "{told}");
            } else {
                assert!(host.kernel.link(&inside, "plug0").is_some(), "{told}");
            }
            if !died {
                assert!(
                    commit > 2,
                    "what the plugin answered is recorded before it is used"
                );
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_plugin_does_not_get_the_hosts_own_interfaces_moved() {
    let host = Host::alone().await;
    let own = host.network("own", "bridge", None).await.unwrap();
    let lan = host.network("lan", "plug", Some("10.1.0.0/24")).await.unwrap();
    let uplink = InterfaceName::new("up0").unwrap();
    host.kernel.put(Object::Link(KernelLink {
        netns: Netns::Host,
        name: uplink.clone(),
        kind: LinkKind::Existing,
        mac: None,
        mtu: None,
        master: None,
        up: true,
    }));
    host.kernel.put(Object::Route(Route {
        netns: Netns::Host,
        destination: "0.0.0.0/0".parse().unwrap(),
        gateway: None,
        link: uplink,
        source: None,
    }));
    let one = host.sandbox("one").await.unwrap();
    let before = (host.kernel.state(), host.local.everything().await);
    let bridge = format!("br-{}", own.id.short());
    for (link, why) in [
        ("up0", "default route"),
        (&bridge, "network of this host"),
        ("lo", "loopback"),
    ] {
        let request = crate::Connect {
            options: [("plug.link".to_owned(), link.to_owned())].into(),
            ..crate::Connect::new(lan.id, one.id, "one")
        };
        let error = host.controller().endpoints.connect(request).await.unwrap_err();
        assert!(
            error.to_string().contains(why) && error.hint().is_some(),
            "{link}: {error}"
        );
        let after = (host.kernel.state(), host.local.everything().await);
        assert!(after == before, "{link} stays, and nothing else");
    }
    host.connect(lan.id, &one).await.expect("its own is moved");
}
