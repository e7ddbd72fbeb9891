//! Addresses that somebody has whom we don't know, on a bridge that isn't ours alone.

use std::{net::IpAddr, sync::Arc};

use kernel::{
    Netns, Object,
    object::{Link, LinkKind},
};
use model::{Endpoint, InterfaceName, MacAddress};
use store::{Stores, memory::Memory};

use super::{
    host::{Host, asked, create},
    linux::{in_namespaces_of_its_own, run, sandbox, start},
};
use crate::{Connect, CreateNetwork, Error};

const MAC: &str = "02:00:00:00:00:77";

fn link(name: &str, kind: LinkKind, master: Option<&str>) -> Object {
    let named = |text: &str| InterfaceName::new(text).unwrap();
    Object::Link(Link {
        netns: Netns::Host,
        name: named(name),
        kind,
        mac: None,
        mtu: None,
        master: master.map(named),
        up: true,
    })
}

fn adopting(subnet: &str) -> CreateNetwork {
    let mut request = create("lan", "bridge", Some(subnet));
    let name = "com.docker.network.bridge.name".to_owned();
    request.options.insert(name, "br-lan".to_owned());
    request
}

/// A host with a bridge that leads elsewhere, and a machine there that has these addresses.
async fn with_strangers(addresses: &[&str]) -> Host {
    let host = Host::alone().await;
    host.kernel.put(link("br-lan", LinkKind::Bridge, None));
    host.kernel.put(link("eth1", LinkKind::Existing, Some("br-lan")));
    for address in addresses {
        let mac: MacAddress = MAC.parse().unwrap();
        host.kernel.put_stranger(address.parse().unwrap(), mac);
    }
    host
}

fn v4(endpoint: &Endpoint) -> String {
    endpoint.addresses.ipv4.unwrap().addr().to_string()
}

#[tokio::test]
async fn taken_addresses_are_passed_over_in_a_row_and_not_asked_for_again() {
    let host = with_strangers(&["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.7"]).await;
    let lan = host
        .controller()
        .networks
        .create(adopting("10.1.0.0/24"))
        .await
        .unwrap();
    let one = host.sandbox("one").await.unwrap();
    assert_eq!(v4(&host.connect(lan.id, &one).await.unwrap()), "10.1.0.6");
    let asked = host.kernel.asked().len();
    let two = host.sandbox("two").await.unwrap();
    assert_eq!(v4(&host.connect(lan.id, &two).await.unwrap()), "10.1.0.8");
    assert_eq!(host.kernel.asked().len(), asked + 1, "for the one it got alone");
}

#[tokio::test]
async fn of_a_pool_that_strangers_have_all_of_none_is_handed_out_until_one_is_given_up() {
    let host = with_strangers(&["10.1.0.2"]).await;
    let networks = &host.controller().networks;
    let lan = networks.create(adopting("10.1.0.0/30")).await.unwrap();
    let one = host.sandbox("one").await.unwrap();
    let full = host.connect(lan.id, &one).await.unwrap_err();
    assert!(matches!(full, Error::Unavailable { .. }), "{full}");
    host.kernel.take_stranger("10.1.0.2".parse().unwrap());
    assert_eq!(v4(&host.connect(lan.id, &one).await.unwrap()), "10.1.0.2");
}

#[tokio::test]
async fn a_taken_address_that_was_asked_for_is_refused_with_its_holder_and_nothing_stays() {
    let host = with_strangers(&["10.1.0.9"]).await;
    let lan = host
        .controller()
        .networks
        .create(adopting("10.1.0.0/24"))
        .await
        .unwrap();
    let one = host.sandbox("one").await.unwrap();
    let (kernel, rows) = (host.kernel.state(), host.local.everything().await);
    let request = |address: &str| Connect {
        ipv4: address.parse().ok(),
        ..Connect::new(lan.id, one.id, "one")
    };
    let endpoints = &host.controller().endpoints;
    let refused = endpoints.connect(request("10.1.0.9")).await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }), "{refused}");
    assert!(refused.to_string().contains("10.1.0.9") && refused.to_string().contains(MAC));
    assert!(refused.hint().is_some());
    let after = (host.kernel.state(), host.local.everything().await);
    assert!(after == (kernel, rows), "nothing stays");
    endpoints.connect(request("10.1.0.10")).await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_somebody_has_is_refused_unless_the_bridge_does_not_wear_it() {
    let host = with_strangers(&["10.1.0.1"]).await;
    let rows = host.local.everything().await;
    let networks = &host.controller().networks;
    let refused = networks.create(adopting("10.1.0.0/24")).await.unwrap_err();
    assert!(
        refused.to_string().contains("gateway 10.1.0.1 is already in use"),
        "{refused}"
    );
    assert!(refused.hint().unwrap().contains("inhibit_ipv4"));
    assert!(host.local.everything().await == rows, "nothing stays");
    let mut elsewhere = adopting("10.1.0.0/24");
    let key = "com.docker.network.bridge.inhibit_ipv4".to_owned();
    elsewhere.options.insert(key, "true".to_owned());
    networks.create(elsewhere).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_segment_is_asked_others_make_their_networks() {
    let host = with_strangers(&["10.9.0.9"]).await;
    host.kernel.hold_answers(true);
    let controller = Arc::clone(host.controller());
    let adopting = tokio::spawn(async move { controller.networks.create(adopting("10.1.0.0/24")).await });
    let patience = std::time::Duration::from_secs(60);
    let other = async {
        while host.kernel.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        host.network("own", "bridge", None).await
    };
    let other = tokio::time::timeout(patience, other).await;
    host.kernel.hold_answers(false);
    other.expect("nobody waits for the segment").unwrap();
    adopting.await.unwrap().unwrap();
    assert_eq!(
        host.kernel.asked(),
        ["10.1.0.1".parse::<IpAddr>().unwrap()],
        "once"
    );
}

#[tokio::test]
async fn nobody_is_asked_on_a_segment_that_is_ours_alone() {
    let host = with_strangers(&["10.2.0.2"]).await;
    let own = host.network("own", "bridge", Some("10.2.0.0/24")).await.unwrap();
    let one = host.sandbox("one").await.unwrap();
    assert_eq!(v4(&host.connect(own.id, &one).await.unwrap()), "10.2.0.2");
    assert_eq!(host.kernel.asked(), Vec::<IpAddr>::new());
}

#[test]
fn a_machine_on_an_adopted_bridge_keeps_its_addresses() {
    in_namespaces_of_its_own(async || {
        let folder = tempfile::tempdir().unwrap();
        let pin = folder.path().join("machine");
        kernel::netns::create(&pin).unwrap();
        let pin = pin.display().to_string();
        let peer = format!("ip link add port0 type veth peer name eth0 address {MAC} netns {pin}");
        let inside = |line: &str| format!("nsenter --net={pin} ip {line}");
        for line in [
            "ip link add br-lan type bridge",
            "ip link set br-lan up",
            &peer,
            "ip link set port0 master br-lan up",
            &inside("link set eth0 up"),
            &inside("address add 10.1.0.2/24 dev eth0"),
            &inside("address add fd00:1::2/64 dev eth0 nodad"),
        ] {
            let words: Vec<_> = line.split(' ').collect();
            let (done, said) = run(words[0], &words[1..]);
            assert!(done, "{line}: {said}");
        }
        let stores = Stores::alone(Arc::new(Memory::new()));
        let controller = start(folder.path(), &stores).await;
        let mut request = adopting("10.1.0.0/24");
        request.enable_ipv6 = true;
        request.ipam.subnets.push(asked("fd00:1::/64"));
        let lan = controller.networks.create(request).await.unwrap();
        let one = sandbox(&controller, folder.path(), "one").await;
        let connect = Connect {
            ipv4: "10.1.0.2".parse().ok(),
            ..Connect::new(lan.id, one.id, "one")
        };
        let refused = controller.endpoints.connect(connect).await.unwrap_err();
        assert!(refused.to_string().contains(MAC), "{refused}");
        let connect = Connect::new(lan.id, one.id, "one");
        let endpoint = controller.endpoints.connect(connect).await.unwrap();
        let worn: Vec<_> = endpoint.addresses.iter().map(|net| net.to_string()).collect();
        assert_eq!(worn, ["10.1.0.3/24", "fd00:1::3/64"]);
        controller.stop().await;
        kernel::netns::remove(pin.as_ref()).unwrap();
    });
}

#[tokio::test]
async fn with_its_network_what_was_taken_there_is_forgotten() {
    let host = with_strangers(&["10.1.0.2"]).await;
    let networks = &host.controller().networks;
    let lan = networks.create(adopting("10.1.0.0/24")).await.unwrap();
    let one = host.sandbox("one").await.unwrap();
    let endpoint = host.connect(lan.id, &one).await.unwrap();
    let known = || {
        let strangers = &host.controller().core.strangers;
        strangers.on(lan.id, std::time::Instant::now()).len()
    };
    assert_eq!(known(), 1);
    host.controller()
        .endpoints
        .disconnect(endpoint.id, false)
        .await
        .unwrap();
    networks.delete("lan").await.unwrap();
    assert_eq!(known(), 0);
}
