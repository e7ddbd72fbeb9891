//! Routes of users' own (`cnm.routes`), on the real kernel with a router between two networks, and what is refused.

use std::sync::Arc;

use model::{Network, Sandbox};
use store::{Stores, memory::Memory};

use super::{
    host::{Host, asked, create},
    linux::{in_namespaces_of_its_own, inside, sandbox, start},
};
use crate::{Connect, Controller, CreateNetwork, Error, NetworkChange};

const ROUTES: &str = "cnm.routes";

fn dual(name: &str, v4: &str, v6: &str, routes: &str) -> CreateNetwork {
    let mut request = create(name, "bridge", Some(v4));
    request.enable_ipv6 = true;
    request.ipam.subnets.push(asked(v6));
    request.options.insert(ROUTES.to_owned(), routes.to_owned());
    request
}

fn connection(network: &Network, sandbox: &Sandbox, number: u8, routes: Option<&str>) -> Connect {
    let mut request = Connect::new(network.id, sandbox.id, sandbox.hostname.clone());
    for pool in &network.pools {
        let text = pool.subnet.network().to_string();
        match pool.subnet.network() {
            std::net::IpAddr::V4(_) => {
                request.ipv4 = text.replace(".0.0", &format!(".0.{number}")).parse().ok();
            }
            std::net::IpAddr::V6(_) => request.ipv6 = format!("{text}{number}").parse().ok(),
        }
    }
    let routes = routes.map(|routes| (ROUTES.to_owned(), routes.to_owned()));
    request.options.extend(routes);
    request
}

fn has_route(sandbox: &Sandbox, family: &str, destination: &str) -> bool {
    let (_, text) = inside(sandbox, &["ip", family, "route", "show", destination]);
    !text.trim().is_empty()
}

async fn two_networks(controller: &Controller) -> (Arc<Network>, Arc<Network>) {
    let lan = dual(
        "lan",
        "10.1.0.0/24",
        "fd00:1::/64",
        "10.9.0.0/24=10.1.0.5,fd00:9::/64=fd00:1::5",
    );
    let back = dual(
        "back",
        "10.9.0.0/24",
        "fd00:9::/64",
        "10.1.0.0/24=10.9.0.5,fd00:1::/64=fd00:9::5",
    );
    let lan = controller.networks.create(lan).await.unwrap();
    let back = controller.networks.create(back).await.unwrap();
    let snapshot = controller.snapshot().borrow().clone();
    let found = |id| Arc::clone(&snapshot.networks[&id]);
    (found(lan.id), found(back.id))
}

#[test]
fn a_router_container_carries_packets_between_networks_over_both_families() {
    in_namespaces_of_its_own(async || {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::alone(Arc::new(Memory::new()));
        let controller = start(folder.path(), &stores).await;
        let (lan, back) = two_networks(&controller).await;
        let make = async |name: &str| sandbox(&controller, folder.path(), name).await;
        let (client, router, server) = (make("client").await, make("router").await, make("server").await);
        let join = async |network: &Network, sandbox: &Sandbox, number, routes| {
            let request = connection(network, sandbox, number, routes);
            controller.endpoints.connect(request).await.unwrap()
        };
        // The routes of both networks lead to the router: it gets none that lead to itself.
        join(&lan, &router, 5, None).await;
        join(&back, &router, 5, None).await;
        for knob in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            assert!(inside(&router, &["sysctl", "-w", &format!("{knob}=1")]).0);
        }
        join(&lan, &client, 7, Some("10.8.0.0/16=10.1.0.5,10.7.0.0/16=link")).await;
        let behind = join(&back, &server, 9, None).await;

        for address in ["10.9.0.9", "fd00:9::9"] {
            let (reached, text) = inside(&client, &["ping", "-c1", "-W5", address]);
            assert!(
                reached,
                "{address}: {text}\n{}",
                inside(&client, &["ip", "route"]).1
            );
        }
        let ttl = inside(&client, &["ping", "-c1", "-W5", "10.9.0.9"]).1;
        assert!(
            ttl.contains("ttl=63"),
            "by way of the router, not of the host: {ttl}"
        );
        let routes = inside(&client, &["ip", "route"]).1;
        for wanted in ["10.8.0.0/16 via 10.1.0.5", "10.7.0.0/16 dev eth0"] {
            assert!(routes.contains(wanted), "{wanted} in {routes}");
        }

        // Taken away by hand and come back with the next repair; another process knows them too.
        assert!(inside(&client, &["ip", "route", "del", "10.9.0.0/24"]).0);
        assert!(inside(&client, &["ip", "-6", "route", "del", "fd00:9::/64"]).0);
        drop(controller);
        let controller = start(folder.path(), &stores).await;
        assert!(has_route(&client, "-4", "10.9.0.0/24") && has_route(&client, "-6", "fd00:9::/64"));

        // Kept when the network changes, gone when the connection is.
        let more = NetworkChange {
            add_subnets: vec![asked("10.2.0.0/24")],
            ..NetworkChange::default()
        };
        controller.networks.update("lan", more, false).await.unwrap();
        assert!(inside(&client, &["ping", "-c1", "-W5", "10.9.0.9"]).0);
        controller.endpoints.disconnect(behind.id, false).await.unwrap();
        assert!(!has_route(&server, "-4", "10.1.0.0/24") && !has_route(&server, "-6", "fd00:1::/64"));
        controller.stop().await;
    });
}

#[tokio::test]
async fn routes_that_can_not_be_meant_are_refused_at_create_at_change_and_at_connect() {
    let host = Host::alone().await;
    let networks = &host.controller().networks;
    let mut request = create("x", "bridge", Some("10.1.0.0/24"));
    let all = "10.1.0.0/25=link,10.9.0.0/16=10.2.0.5,0.0.0.0/0=10.1.0.5";
    request.options.insert(ROUTES.to_owned(), all.to_owned());
    request.ipam.subnets[0].gateway = "10.7.0.1".parse().ok();
    let refused = networks.create(request).await.unwrap_err();
    for part in ["overlaps", "in no subnet", "gw-priority", "gateway 10.7.0.1"] {
        assert!(refused.to_string().contains(part), "{part} in {refused}");
    }
    // Of a chosen subnet it is known only once it is chosen, and then nothing stays.
    let before = host.kernel.state();
    let mut request = create("x", "bridge", None);
    request
        .options
        .insert(ROUTES.to_owned(), "10.9.0.0/16=10.2.0.5".to_owned());
    let refused = networks.create(request).await.unwrap_err();
    assert!(refused.to_string().contains("in no subnet"), "{refused}");
    assert!(before == host.kernel.state());

    let mut request = create("lab", "bridge", Some("10.1.0.0/24"));
    request
        .options
        .insert(ROUTES.to_owned(), "10.9.0.0/16=10.1.0.5".to_owned());
    let lab = networks.create(request).await.unwrap();
    let more = NetworkChange {
        add_subnets: vec![asked("10.9.1.0/24")],
        ..NetworkChange::default()
    };
    let refused = networks.update("lab", more, false).await.unwrap_err();
    assert!(refused.to_string().contains("overlaps"), "{refused}");
    let web = host.sandbox("web").await.unwrap();
    let mut request = Connect::new(lab.id, web.id, "web");
    request
        .options
        .insert(ROUTES.to_owned(), "10.1.0.64/26=link,10.8.0.0/16".to_owned());
    let refused = host.controller().endpoints.connect(request).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
    for part in ["overlaps", "SUBNET=NEXTHOP"] {
        assert!(refused.to_string().contains(part), "{part} in {refused}");
    }
}
