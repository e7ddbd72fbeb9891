//! Leases on a fake kernel with a server on its segment.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use dhcproto::{
    Decodable as _, Decoder, Encodable as _,
    v4::{self, DhcpOption as Opt, MessageType, OptionCode},
};
use kernel::{
    Datagram, Netns, Object,
    object::{Link, LinkKind},
};
use model::{Endpoint, InterfaceName, MacAddress, Network, Timestamp};

use super::host::{Host, create};
use crate::{Connect, CreateNetwork, Error};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 1);

/// A server that gives addresses in a row, as another wrote the protocol.
#[derive(Debug)]
struct Server {
    next: u8,
    /// For how many seconds, and when to ask again.
    lasts: u32,
    renew: u32,
    rebind: u32,
    /// What it says of the address that it is asked for more time for.
    refuses: bool,
    silent: bool,
    heard: Vec<MessageType>,
}

impl Server {
    fn new() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            next: 100,
            lasts: 3600,
            renew: 1800,
            rebind: 3000,
            refuses: false,
            silent: false,
            heard: Vec::new(),
        }))
    }

    fn answer(&mut self, said: &Datagram) -> Vec<Vec<u8>> {
        let asked = v4::Message::decode(&mut Decoder::new(&said.payload)).unwrap();
        let kind = asked.opts().msg_type().unwrap();
        self.heard.push(kind);
        let wanted = match asked.opts().get(OptionCode::RequestedIpAddress) {
            Some(Opt::RequestedIpAddress(address)) => *address,
            _ => asked.ciaddr(),
        };
        let more = !asked.ciaddr().is_unspecified();
        let (kind, address) = match kind {
            _ if self.silent => return Vec::new(),
            MessageType::Discover => (MessageType::Offer, Ipv4Addr::new(10, 5, 0, self.next)),
            MessageType::Request if more && self.refuses => {
                self.next += 1;
                self.refuses = false;
                (MessageType::Nak, Ipv4Addr::UNSPECIFIED)
            }
            MessageType::Request => (MessageType::Ack, wanted),
            MessageType::Decline => {
                self.next += 1;
                return Vec::new();
            }
            _ => return Vec::new(),
        };
        let none = Ipv4Addr::UNSPECIFIED;
        let mut reply = v4::Message::new_with_id(asked.xid(), none, address, none, none, asked.chaddr());
        reply.set_opcode(v4::Opcode::BootReply);
        for option in [
            Opt::MessageType(kind),
            Opt::ServerIdentifier(SERVER),
            Opt::SubnetMask([255, 255, 255, 0].into()),
            Opt::Router(vec![SERVER]),
            Opt::DomainNameServer(vec![[10, 5, 0, 53].into()]),
            Opt::AddressLeaseTime(self.lasts),
            Opt::Renewal(self.renew),
            Opt::Rebinding(self.rebind),
        ] {
            reply.opts_mut().insert(option);
        }
        vec![reply.to_vec().unwrap()]
    }
}

fn named(name: &str) -> InterfaceName {
    InterfaceName::new(name).unwrap()
}

fn interface(name: &str) -> Object {
    Object::Link(Link {
        netns: Netns::Host,
        name: named(name),
        kind: LinkKind::Existing,
        mac: None,
        mtu: None,
        master: None,
        up: true,
    })
}

fn wanted(name: &str) -> CreateNetwork {
    let mut request = create(name, "macvlan", None);
    request.ipam.driver = model::DriverName::new("dhcp").unwrap();
    request
        .ipam
        .options
        .insert("cnm.dhcp.timeout".to_owned(), "1".to_owned());
    request.options.insert("parent".to_owned(), "eth0".to_owned());
    request
}

async fn segment() -> (Host, Arc<Mutex<Server>>, Arc<Network>) {
    let host = Host::alone().await;
    for name in ["eth0", "eth1"] {
        host.kernel.put(interface(name));
    }
    let server = Server::new();
    let answering = Arc::clone(&server);
    host.kernel
        .serve(move |said| answering.lock().unwrap().answer(said));
    let created = host.controller().networks.create(wanted("lan")).await.unwrap();
    let network = host.controller().networks.find(&created.id.to_string()).unwrap();
    (host, server, network)
}

fn v4(endpoint: &Endpoint) -> String {
    endpoint
        .addresses
        .ipv4
        .map_or_else(String::new, |net| net.to_string())
}

fn worn(host: &Host, address: &str) -> bool {
    let state = host.kernel.state();
    state.objects().any(|object| match object {
        Object::Address(on) => on.address.to_string() == address && on.netns != Netns::Host,
        _ => false,
    })
}

#[tokio::test]
async fn an_address_is_asked_for_worn_told_of_and_given_back() {
    let (host, server, lan) = segment().await;
    let one = host.sandbox("one").await.unwrap();
    let endpoint = host.connect(lan.id, &one).await.unwrap();
    assert_eq!(v4(&endpoint), "10.5.0.100/24");
    assert!(worn(&host, "10.5.0.100/24"));
    let gateways = host.controller().endpoints.gateways(endpoint.id);
    assert_eq!(gateways.v4, Some(SERVER.into()));
    host.comes("it is told of", || !host.kernel.announced().is_empty())
        .await;
    host.controller()
        .endpoints
        .disconnect(endpoint.id, false)
        .await
        .unwrap();
    let heard = server.lock().unwrap().heard.clone();
    let release = MessageType::Release;
    assert_eq!(heard, [MessageType::Discover, MessageType::Request, release]);
    let last = host.kernel.said().pop().unwrap();
    assert_eq!(
        (last.from, last.to),
        (Some([10, 5, 0, 100].into()), SERVER.into())
    );
}

#[tokio::test]
async fn a_container_has_one_ethernet_address_for_ever_and_one_for_each_network() {
    let (host, _server, lan) = segment().await;
    let one = host.sandbox("one").await.unwrap();
    let first = host.connect(lan.id, &one).await.unwrap();
    host.controller()
        .endpoints
        .disconnect(first.id, false)
        .await
        .unwrap();
    let again = host.connect(lan.id, &one).await.unwrap();
    assert_eq!(first.addresses.mac, again.addresses.mac);
    let created = host.controller().networks.create(wanted("lan2")).await.unwrap();
    let other = host.connect(created.id, &one).await.unwrap();
    assert_ne!(other.addresses.mac, again.addresses.mac);
}

#[tokio::test]
async fn a_silent_server_fails_the_connection_in_time_and_nothing_stays() {
    let (host, server, lan) = segment().await;
    server.lock().unwrap().silent = true;
    let one = host.sandbox("one").await.unwrap();
    let (kernel, rows) = (host.kernel.state(), host.local.everything().await);
    let refused = host.connect(lan.id, &one).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    assert!(refused.to_string().contains("within 1 s") && refused.hint().is_some());
    let after = (host.kernel.state(), host.local.everything().await);
    assert!(after == (kernel, rows), "nothing stays");
}

#[tokio::test]
async fn nobody_else_waits_for_a_silent_server() {
    let host = Host::alone().await;
    host.kernel.put(interface("eth0"));
    let server = Server::new();
    server.lock().unwrap().silent = true;
    let answering = Arc::clone(&server);
    host.kernel
        .serve(move |said| answering.lock().unwrap().answer(said));
    let mut patient = wanted("lan");
    let options = &mut patient.ipam.options;
    options.insert("cnm.dhcp.timeout".to_owned(), "120".to_owned());
    let networks = host.controller().networks.clone();
    let id = networks.create(patient).await.unwrap().id;
    let one = host.sandbox("one").await.unwrap();
    let waiting = {
        let (endpoints, request) = (
            host.controller().endpoints.clone(),
            Connect::new(id, one.id, "one"),
        );
        tokio::spawn(async move { endpoints.connect(request).await })
    };
    host.comes("it asks", || !server.lock().unwrap().heard.is_empty())
        .await;
    // None of these waits for the answer; a test that hangs is a test that fails.
    let soon = Duration::from_secs(30);
    let refused = tokio::time::timeout(soon, networks.delete("lan")).await;
    let refused = refused.expect("at once").unwrap_err();
    assert!(refused.to_string().contains("has active endpoints"), "{refused}");
    let change = crate::NetworkChange {
        labels: Some(model::Labels::from([("is".to_owned(), "changed".to_owned())])),
        ..crate::NetworkChange::default()
    };
    let changed = tokio::time::timeout(soon, networks.update("lan", change, false)).await;
    changed.expect("at once").unwrap();
    assert!(!waiting.is_finished());
    server.lock().unwrap().silent = false;
    let endpoint = waiting.await.unwrap().unwrap();
    assert_eq!(v4(&endpoint), "10.5.0.100/24");
    assert_eq!(networks.find("lan").unwrap().labels.len(), 1);
    // Undone, too, when the server has nothing for it.
    let endpoints = &host.controller().endpoints;
    endpoints.disconnect(endpoint.id, false).await.unwrap();
    networks.delete("lan").await.unwrap();
}

#[tokio::test]
async fn a_lease_is_made_longer_and_changed_in_a_running_sandbox() {
    let (host, server, lan) = segment().await;
    {
        let mut server = server.lock().unwrap();
        (server.lasts, server.renew, server.rebind) = (60, 1, 30);
    }
    let one = host.sandbox("one").await.unwrap();
    let endpoint = host.connect(lan.id, &one).await.unwrap();
    let obtained = endpoint.lease.clone().unwrap().obtained;
    let lease_of = |snapshot: &model::Snapshot| snapshot.endpoints.get(&endpoint.id)?.lease.clone();
    host.sees("more time", |now| {
        lease_of(now).is_some_and(|lease| lease.obtained > obtained)
    })
    .await;
    assert!(
        host.kernel
            .said()
            .iter()
            .any(|said| said.from.is_some() && said.to == SERVER)
    );
    server.lock().unwrap().refuses = true;
    host.sees("another address", |now| {
        lease_of(now).is_some_and(|lease| lease.address.to_string() == "10.5.0.101/24")
    })
    .await;
    host.comes("it is worn", || {
        worn(&host, "10.5.0.101/24") && !worn(&host, "10.5.0.100/24")
    })
    .await;
    assert_eq!(
        server.lock().unwrap().heard[..2],
        [MessageType::Discover, MessageType::Request]
    );
}

#[tokio::test]
async fn without_a_server_an_address_is_given_up_in_time_and_had_again_later() {
    let (host, server, lan) = segment().await;
    {
        let mut server = server.lock().unwrap();
        (server.lasts, server.renew, server.rebind) = (3, 1, 2);
    }
    let one = host.sandbox("one").await.unwrap();
    let endpoint = host.connect(lan.id, &one).await.unwrap();
    server.lock().unwrap().silent = true;
    let address = |now: &model::Snapshot| now.endpoints.get(&endpoint.id).map(|endpoint| v4(endpoint));
    host.sees("no address", |now| {
        address(now).is_some_and(|text| text.is_empty())
    })
    .await;
    host.comes("it is worn no more", || !worn(&host, "10.5.0.100/24"))
        .await;
    let broadcast = |said: &Datagram| said.from.is_some() && said.to == Ipv4Addr::BROADCAST;
    assert!(host.kernel.said().iter().any(broadcast), "everybody was asked");
    server.lock().unwrap().silent = false;
    host.sees("an address", |now| {
        address(now).as_deref() == Some("10.5.0.100/24")
    })
    .await;
    host.comes("it is worn", || worn(&host, "10.5.0.100/24")).await;
}

#[tokio::test]
async fn a_lease_goes_on_after_a_crash() {
    let (mut host, server, lan) = segment().await;
    let one = host.sandbox("one").await.unwrap();
    let endpoint = host.connect(lan.id, &one).await.unwrap();
    host.kill();
    host.start().await;
    let now = host.controller().endpoints.get(endpoint.id).unwrap();
    assert_eq!((v4(&now), &now.lease), (v4(&endpoint), &endpoint.lease));
    assert!(worn(&host, "10.5.0.100/24"));
    assert_eq!(
        host.controller().endpoints.gateways(endpoint.id).v4,
        Some(SERVER.into())
    );
    assert_eq!(server.lock().unwrap().heard.len(), 2, "nothing is asked again");
    // One that ended meanwhile is asked about before anything else.
    host.kill();
    {
        let mut server = server.lock().unwrap();
        (server.lasts, server.renew, server.rebind) = (2, 1, 2);
    }
    host.start().await;
    host.controller()
        .endpoints
        .disconnect(endpoint.id, false)
        .await
        .unwrap();
    let endpoint = host.connect(lan.id, &one).await.unwrap();
    host.kill();
    let obtained = endpoint.lease.clone().unwrap().obtained;
    let over = obtained.plus(Duration::from_secs(2));
    host.comes("its end", || Timestamp::now() > over).await;
    server.lock().unwrap().lasts = 3600;
    let before = server.lock().unwrap().heard.len();
    host.start().await;
    host.sees("a new lease", |now| {
        let lease = now
            .endpoints
            .get(&endpoint.id)
            .and_then(|endpoint| endpoint.lease.as_ref());
        lease.is_some_and(|lease| lease.obtained > obtained)
    })
    .await;
    assert_eq!(server.lock().unwrap().heard[before], MessageType::Request);
}

#[tokio::test]
async fn what_others_use_is_declined_and_at_last_told_of() {
    let (host, server, lan) = segment().await;
    let mac: MacAddress = "02:00:00:00:00:77".parse().unwrap();
    for last in [100, 101] {
        host.kernel.put_stranger([10, 5, 0, last].into(), mac);
    }
    let one = host.sandbox("one").await.unwrap();
    assert_eq!(v4(&host.connect(lan.id, &one).await.unwrap()), "10.5.0.102/24");
    let declined = server
        .lock()
        .unwrap()
        .heard
        .iter()
        .filter(|kind| **kind == MessageType::Decline)
        .count();
    assert_eq!(declined, 2);
    for last in 100..=110 {
        host.kernel.put_stranger([10, 5, 0, last].into(), mac);
    }
    let two = host.sandbox("two").await.unwrap();
    let refused = host.connect(lan.id, &two).await.unwrap_err();
    assert!(refused.to_string().contains("others use already"), "{refused}");
}

#[tokio::test]
async fn another_address_than_the_one_asked_for_is_refused() {
    let (host, server, lan) = segment().await;
    let one = host.sandbox("one").await.unwrap();
    let request = Connect {
        ipv4: "10.5.0.7".parse().ok(),
        ..Connect::new(lan.id, one.id, "one")
    };
    let refused = host.controller().endpoints.connect(request).await.unwrap_err();
    assert!(refused.to_string().contains("10.5.0.7 is asked for"), "{refused}");
    assert_eq!(server.lock().unwrap().heard.last(), Some(&MessageType::Release));
}

#[tokio::test]
async fn at_each_step_that_fails_nothing_stays() {
    let (host, _server, lan) = segment().await;
    let one = host.sandbox("one").await.unwrap();
    let before = (host.kernel.state(), host.local.everything().await);
    let mut steps = 0;
    loop {
        host.kernel.fail_at(steps);
        let connected = host.connect(lan.id, &one).await;
        let more = !host.kernel.heal();
        match connected {
            Ok(endpoint) => {
                host.controller()
                    .endpoints
                    .disconnect(endpoint.id, false)
                    .await
                    .unwrap();
                // A step whose failure nobody minds, such as a farewell, may still be among them.
                if !more {
                    break;
                }
            }
            Err(error) => {
                assert!(more, "{error}");
                let after = (host.kernel.state(), host.local.everything().await);
                assert!(after == before, "step {steps}: {error}");
            }
        }
        steps += 1;
        assert!(steps < 100, "it never succeeds");
    }
    assert!(steps > 3, "{steps} steps");
}

#[tokio::test]
async fn only_segments_with_room_for_a_server_have_one() {
    let (host, _server, _lan) = segment().await;
    let networks = &host.controller().networks;
    let mut without = wanted("net-a");
    without.options.clear();
    let mut bridge = wanted("net-b");
    bridge.driver = Some(model::DriverName::new("bridge").unwrap());
    bridge.options.clear();
    let mut routed = wanted("net-c");
    routed.driver = Some(model::DriverName::new("ipvlan").unwrap());
    routed.options.insert("ipvlan_mode".to_owned(), "l3".to_owned());
    routed.options.insert("parent".to_owned(), "eth1".to_owned());
    for request in [without, bridge, routed] {
        let name = request.name.to_string();
        let refused = networks.create(request).await.unwrap_err();
        assert!(
            refused.to_string().contains("needs a segment"),
            "{name}: {refused}"
        );
        assert!(networks.find(&name).is_err());
    }
}

#[tokio::test]
async fn who_wears_his_parents_ethernet_address_has_none_of_his_own() {
    let (host, _server, _lan) = segment().await;
    let mut request = create("shared", "ipvlan", Some("10.6.0.0/24"));
    request.options.insert("parent".to_owned(), "eth1".to_owned());
    let created = host.controller().networks.create(request).await.unwrap();
    let one = host.sandbox("one").await.unwrap();
    let asked = Connect {
        mac: "02:00:00:00:00:05".parse().ok(),
        ..Connect::new(created.id, one.id, "one")
    };
    let refused = host.controller().endpoints.connect(asked).await.unwrap_err();
    assert!(
        refused.to_string().contains("do not support custom mac address"),
        "{refused}"
    );
    let endpoint = host.connect(created.id, &one).await.unwrap();
    assert_eq!(
        (endpoint.addresses.mac, v4(&endpoint).as_str()),
        (None, "10.6.0.1/24")
    );
}
