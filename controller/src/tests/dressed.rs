//! Endpoints of an engine that dresses its sandboxes itself.

use std::net::IpAddr;

use kernel::{
    Key, Netns, Object,
    object::{Link, LinkKind},
};
use model::{EndpointId, Lifecycle, NetworkId, PortBinding, PortRange, Protocol};

use super::host::{Host, difference};
use crate::{Dressed, JoinDressed, Learnt};

pub(super) fn request(network: NetworkId, key: &str) -> JoinDressed {
    JoinDressed {
        id: EndpointId::random(),
        network,
        manager: "docker".to_owned(),
        netns: format!("/run/docker/netns/{key}").into(),
        ipv4: None,
        ipv6: None,
        mac: None,
        options: model::Labels::new(),
        exposed: Vec::new(),
    }
}

fn port(host: u16) -> PortBinding {
    let single = |port| PortRange::single(port).expect("a port");
    PortBinding {
        protocol: Protocol::Tcp,
        container: single(80),
        host_ip: None,
        host: Some(single(host)),
        exposure: None,
    }
}

#[tokio::test]
async fn an_endpoint_is_on_the_host_until_it_is_taken_and_leaves_nothing() {
    let host = Host::alone().await;
    let network = host.network("lan", "bridge", Some("10.88.0.0/24")).await.unwrap();
    let before = host.kernel.state();
    let dressed = &host.controller().dressed;

    let apart = dressed
        .set_apart(network.id, &network.pools[0], None)
        .await
        .unwrap();
    let IpAddr::V4(address) = apart.addr() else {
        panic!("{apart}");
    };
    let mut wanted = request(network.id, "one");
    wanted.ipv4 = Some(address);
    let joined = dressed.join(wanted.clone()).await.unwrap();
    let name = Dressed::name_on_host(wanted.id);
    assert_eq!(joined.endpoint.interface, Some(name.clone()));
    assert_eq!((joined.endpoint.id, joined.prefix.as_str()), (wanted.id, "eth"));
    let gateway = joined.attachment.gateway_v4.map(|ip| ip.to_string());
    assert_eq!(gateway.as_deref(), Some("10.88.0.1"));
    let on_host = Key::Link(Netns::Host, name);
    assert!(
        host.kernel.state().get(&on_host).is_some(),
        "its interface is on the host"
    );
    assert!(
        dressed.apart(network.id).await.unwrap().is_empty(),
        "the address is its own now"
    );
    // Said again, as after an answer that was lost.
    let again = dressed.join(wanted.clone()).await.unwrap();
    assert_eq!(again.endpoint.id, joined.endpoint.id);
    // Another endpoint of the same namespace is in the same sandbox.
    let second = host
        .network("more", "bridge", Some("10.89.0.0/24"))
        .await
        .unwrap();
    let other = dressed.join(request(second.id, "one")).await.unwrap();
    assert_eq!(other.endpoint.sandbox, joined.endpoint.sandbox);

    let published = dressed.publish(wanted.id, vec![port(8080)]).await.unwrap();
    assert_eq!(published.len(), 2, "both families: {published:?}");
    dressed.publish(wanted.id, vec![port(8081)]).await.unwrap();
    let list = dressed.list("docker");
    assert_eq!(
        list[0].0.ports[0].host.first(),
        8081,
        "all of them, and no others"
    );
    dressed.unpublish(wanted.id).await.unwrap();
    assert!(dressed.list("docker")[0].0.ports.is_empty());

    for id in [other.endpoint.id, wanted.id, wanted.id] {
        dressed.leave(id).await.unwrap();
        dressed.delete(id).await.unwrap();
    }
    assert!(
        dressed.list("docker").is_empty(),
        "the sandbox went with the last one"
    );
    host.controller().networks.delete("more").await.unwrap();
    host.kernel_comes_to("what it was", |state| difference(&before, state).is_empty())
        .await;
}

#[tokio::test]
async fn names_are_learnt_and_two_containers_of_one_name_are_both_found() {
    let host = Host::alone().await;
    let network = host.network("lan", "bridge", Some("10.88.0.0/24")).await.unwrap();
    let dressed = &host.controller().dressed;
    let (one, two) = (request(network.id, "one"), request(network.id, "two"));
    let learnt = || Learnt {
        container: None,
        name: "web".to_owned(),
        dns_names: vec!["web".to_owned(), "www".to_owned()],
    };
    for wanted in [&one, &two] {
        dressed.join(wanted.clone()).await.unwrap();
        dressed.learn(wanted.id, learnt()).await.unwrap();
        dressed.learn(wanted.id, learnt()).await.unwrap();
    }
    let get = |id| host.controller().endpoints.get(id).unwrap();
    let (first, second) = (get(one.id), get(two.id));
    assert_eq!(first.name, "web");
    assert_eq!(second.name, format!("web-{}", two.id.short()));
    assert_eq!(first.dns_names, second.dns_names);
    // Whoever is gone is no longer asked about.
    dressed.delete(one.id).await.unwrap();
    dressed.learn(one.id, learnt()).await.unwrap_err();
    dressed.learn(two.id, learnt()).await.unwrap();
    assert_eq!(
        get(two.id).name,
        second.name,
        "a name that is known does not jump"
    );
}

#[tokio::test]
async fn a_restart_leaves_an_endpoint_that_waits_for_its_namespace_where_it_is() {
    let mut host = Host::alone().await;
    let network = host.network("lan", "bridge", Some("10.88.0.0/24")).await.unwrap();
    let wanted = request(network.id, "one");
    host.controller().dressed.join(wanted.clone()).await.unwrap();
    let before = host.kernel.state();
    host.kill();
    host.start().await;
    assert_eq!(difference(&before, &host.kernel.state()), Vec::<String>::new());
    let endpoint = host.controller().endpoints.get(wanted.id).unwrap();
    assert_eq!(endpoint.lifecycle, Lifecycle::Active);
    let list = host.controller().dressed.list("docker");
    assert!(list.len() == 1 && !host.controller().dressed.enter(list[0].0.id).await.unwrap());
    host.controller().dressed.delete(wanted.id).await.unwrap();
}

/// A namespace of the kernel's, as long as a thread is in it.
struct RealNamespace {
    path: std::path::PathBuf,
    _alive: std::sync::mpsc::Sender<()>,
}

impl RealNamespace {
    fn with(interface: &'static str) -> Option<Self> {
        let (tell, told) = std::sync::mpsc::channel();
        let (alive, ended) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let new = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            let made = new.is_ok().then(|| {
                let add = ["link", "add", interface, "type", "veth", "peer", "name", "other"];
                let added = std::process::Command::new("ip").args(add).status();
                assert!(added.unwrap().success(), "a pair of interfaces");
                let thread = nix::unistd::gettid();
                format!("/proc/{}/task/{thread}/ns/net", std::process::id()).into()
            });
            tell.send(made).unwrap();
            let _ = ended.recv();
        });
        let path = told.recv().unwrap()?;
        Some(Self { path, _alive: alive })
    }
}

/// The engine takes an endpoint's interface into its namespace, under this name.
fn take_in(host: &Host, wanted: &JoinDressed, name: &str) {
    let on_host = Key::Link(Netns::Host, Dressed::name_on_host(wanted.id));
    let state = host.kernel.state();
    let Some(Object::Link(link)) = state.get(&on_host).cloned() else {
        panic!("its interface is on the host");
    };
    let mac = host.controller().endpoints.get(wanted.id).unwrap().addresses.mac;
    host.kernel.put(Object::Link(Link {
        netns: Netns::Pinned(wanted.netns.clone()),
        name: name.parse().unwrap(),
        kind: LinkKind::Existing,
        mac,
        ..link
    }));
}

#[tokio::test]
async fn an_interface_that_is_being_taken_out_is_not_found_in_there_again() {
    let host = Host::alone().await;
    let network = host.network("lan", "bridge", Some("10.88.0.0/24")).await.unwrap();
    let dressed = &host.controller().dressed;
    let mut wanted = request(network.id, "one");
    // Names are read in the namespace itself, what is behind them from the fake.
    let Some(namespace) = RealNamespace::with("eth0") else {
        eprintln!("skipped: needs the privilege to make namespaces");
        return;
    };
    wanted.netns.clone_from(&namespace.path);
    super::foreign::put(&host, &wanted.netns);
    dressed.join(wanted.clone()).await.unwrap();
    let name = "eth0";
    take_in(&host, &wanted, name);
    let sandbox = dressed.list("docker")[0].0.id;
    let interface = || {
        let endpoint = host.controller().endpoints.get(wanted.id).unwrap();
        endpoint.interface.clone().unwrap().to_string()
    };
    assert!(dressed.enter(sandbox).await.unwrap(), "all of it is in there");
    assert_eq!(interface(), name);
    dressed.leave(wanted.id).await.unwrap();
    // Another container of the sandbox's is waited for, so it is looked at again before the engine moves anything.
    assert!(dressed.enter(sandbox).await.unwrap(), "nothing is waited for");
    assert_eq!(interface(), Dressed::name_on_host(wanted.id).to_string());
    // It thinks better of it.
    dressed.join(wanted.clone()).await.unwrap();
    assert!(dressed.enter(sandbox).await.unwrap());
    assert_eq!(interface(), name);
    dressed.leave(wanted.id).await.unwrap();
    dressed.delete(wanted.id).await.unwrap();
    let on_host = Key::Link(Netns::Host, Dressed::name_on_host(wanted.id));
    assert!(
        host.kernel.state().get(&on_host).is_none(),
        "nothing is left on the host"
    );
}

#[tokio::test]
async fn a_join_said_again_after_a_restart_answers_with_its_gateway_or_not_at_all() {
    let mut host = Host::alone().await;
    let network = host.network("lan", "bridge", Some("10.88.0.0/24")).await.unwrap();
    let wanted = request(network.id, "one");
    let first = host.controller().dressed.join(wanted.clone()).await.unwrap();
    // As after a start at which it could not be joined again.
    host.controller().dressed.core.attachments.remove(wanted.id);
    let again = host.controller().dressed.join(wanted.clone()).await.unwrap();
    assert_eq!(again.attachment.gateway_v4, first.attachment.gateway_v4);
    assert!(again.attachment.gateway_v4.is_some());
    host.stop().await;
}

#[tokio::test]
async fn an_address_is_its_engines_until_that_gives_it_back() {
    let host = Host::alone().await;
    let network = host.network("lan", "bridge", Some("10.88.0.0/29")).await.unwrap();
    let (dressed, pool) = (&host.controller().dressed, &network.pools[0]);
    let next = async || dressed.set_apart(network.id, pool, None).await;
    let mut all = Vec::new();
    while let Ok(net) = next().await {
        all.push(net.addr());
    }
    let first = all[0];
    let IpAddr::V4(v4) = first else { panic!("{first}") };
    let mut wanted = request(network.id, "one");
    wanted.ipv4 = Some(v4);
    dressed.join(wanted.clone()).await.unwrap();
    dressed.leave(wanted.id).await.unwrap();
    dressed.delete(wanted.id).await.unwrap();
    next().await.expect_err("the engine has not given it back");
    dressed.give_up(network.id, pool, first).await.unwrap();
    assert_eq!(next().await.unwrap().addr(), first);
}
