//! Published ports: who gets them, where they lead, and what becomes of them.

use std::{net::IpAddr, sync::Arc};

use kernel::{
    KernelState, Object,
    traffic::{Flow, HostSocket, Process},
};
use model::{Network, PortBinding, Protocol, PublishedPorts, Sandbox};

use super::host::Host;
use crate::{Connect, CreateSandbox, Error, Namespace, Result};

/// `[IP:]HOST:CONTAINER[/PROTOCOL]`, as a user types it.
pub(super) fn binding(text: &str) -> PortBinding {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (left, container) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (ip, host) = left.rsplit_once(':').unwrap_or(("", left));
    PortBinding {
        protocol: protocol.parse().unwrap(),
        container: container.parse().unwrap(),
        host_ip: (!ip.is_empty()).then(|| ip.parse().unwrap()),
        host: (!host.is_empty()).then(|| host.parse().unwrap()),
        exposure: None,
    }
}

pub(super) fn request(host: &Host, name: &str, ports: &[&str]) -> CreateSandbox {
    CreateSandbox {
        ports: ports.iter().map(|text| binding(text)).collect(),
        ..host.sandbox_request(name)
    }
}

async fn publishing(host: &Host, name: &str, ports: &[&str]) -> Result<Arc<Sandbox>> {
    host.controller()
        .sandboxes
        .create(request(host, name, ports))
        .await
}

/// Objects of the firewall that tell of an address, as text.
fn leading_to(host: &Host, address: IpAddr) -> Vec<String> {
    let address = address.to_string();
    let state = host.kernel.state();
    let mut found: Vec<_> = state
        .objects()
        .filter_map(|object| match object {
            Object::Firewall(_, item) => Some(format!("{item:?}")),
            _ => None,
        })
        .filter(|text| text.contains("8080") && text.contains(&address))
        .collect();
    found.sort();
    found
}

/// What differs, but for the one setting that a bridge keeps once a port led over it.
fn difference(before: &KernelState, after: &KernelState) -> Vec<String> {
    let mut all = super::host::difference(before, after);
    all.retain(|line| !line.contains("route_localnet"));
    all
}

async fn claims(host: &Host) -> Vec<(String, Vec<u8>)> {
    let mut all = host.local.everything().await;
    all.retain(|(key, _)| key.starts_with("ports/"));
    all
}

fn message(error: &Error) -> String {
    format!("{error}; {}", error.hint().unwrap_or_default())
}

async fn lab(host: &Host) -> Arc<Network> {
    host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap()
}

#[tokio::test]
async fn a_port_leads_to_the_endpoint_while_it_is_there() {
    let host = Host::alone().await;
    let network = lab(&host).await;
    let (kernel, store) = (host.kernel.state(), host.local.everything().await);
    let commits = host.local.commits();
    let sandbox = publishing(&host, "web", &["8080:80"]).await.unwrap();
    assert_eq!(host.local.commits() - commits, 2, "no commit for the claim alone");
    let ports: Vec<_> = sandbox.ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports[0], "0.0.0.0:8080->80/tcp");
    assert_eq!(claims(&host).await.len(), 1);
    let endpoint = host.connect(network.id, &sandbox).await.unwrap();
    let address: IpAddr = endpoint.addresses.ipv4.unwrap().addr().into();
    assert!(!leading_to(&host, address).is_empty());
    host.controller()
        .endpoints
        .disconnect(endpoint.id, false)
        .await
        .unwrap();
    assert_eq!(leading_to(&host, address), Vec::<String>::new());
    let commits = host.local.commits();
    host.controller().sandboxes.delete(sandbox.id).await.unwrap();
    assert_eq!(host.local.commits() - commits, 2);
    assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
    assert!(store == host.local.everything().await, "no claim is left");
}

#[tokio::test]
async fn ports_follow_the_gateway_there_and_back() {
    let host = Host::alone().await;
    let first = lab(&host).await;
    let second = host
        .network("other", "bridge", Some("10.2.0.0/24"))
        .await
        .unwrap();
    let sandbox = publishing(&host, "web", &["8080:80"]).await.unwrap();
    let one = host.connect(first.id, &sandbox).await.unwrap();
    let here = |endpoint: &model::Endpoint| {
        let address = endpoint.addresses.ipv4.unwrap().addr();
        !leading_to(&host, address.into()).is_empty()
    };
    assert!(here(&one));
    let before = host.kernel.state();
    let mut request = Connect::new(second.id, sandbox.id, "web");
    request.gateway_priority = 1;
    let other = host.controller().endpoints.connect(request).await.unwrap();
    assert!(!here(&one) && here(&other));
    host.controller()
        .endpoints
        .disconnect(other.id, false)
        .await
        .unwrap();
    assert!(here(&one));
    assert_eq!(difference(&before, &host.kernel.state()), Vec::<String>::new());
}

#[tokio::test]
async fn ports_of_an_overlays_container_lead_through_the_gateway_bridge() {
    let host = Host::alone().await;
    let network = host
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    let sandbox = publishing(&host, "web", &["8080:80"]).await.unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    let snapshot = host.controller().snapshot().borrow().clone();
    let outside = snapshot
        .endpoints_of(&sandbox.id)
        .find(|endpoint| endpoint.network != network.id)
        .cloned()
        .unwrap();
    assert!(!leading_to(&host, outside.addresses.ipv4.unwrap().addr().into()).is_empty());
}

#[tokio::test]
async fn a_running_containers_ports_come_and_go() {
    let host = Host::alone().await;
    let network = lab(&host).await;
    let sandbox = host.sandbox("web").await.unwrap();
    let endpoint = host.connect(network.id, &sandbox).await.unwrap();
    let address: IpAddr = endpoint.addresses.ipv4.unwrap().addr().into();
    let (kernel, store) = (host.kernel.state(), host.local.everything().await);
    let sandboxes = &host.controller().sandboxes;
    let commits = host.local.commits();
    let published = sandboxes
        .publish(
            sandbox.id,
            vec![binding("8080-8089:80-89"), binding("127.0.0.1::7/udp")],
        )
        .await
        .unwrap();
    assert_eq!(host.local.commits() - commits, 1);
    assert!(!leading_to(&host, address).is_empty());
    assert_eq!(sandboxes.get(sandbox.id).unwrap().ports, published);
    let flow = |to: &str, to_port, answers_from: IpAddr| Flow {
        protocol: Protocol::Tcp.number(),
        from: "192.0.2.9".parse().unwrap(),
        to: to.parse().unwrap(),
        to_port,
        answers_from,
    };
    host.kernel.put_flow(flow("10.99.0.1", 8085, address));
    host.kernel.put_flow(flow("10.99.0.1", 9999, address));
    let commits = host.local.commits();
    sandboxes.unpublish(sandbox.id, &published).await.unwrap();
    assert_eq!(host.local.commits() - commits, 2);
    assert_eq!(host.kernel.flows(), [flow("10.99.0.1", 9999, address)]);
    assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
    assert!(store == host.local.everything().await);
    sandboxes.unpublish(sandbox.id, &published).await.unwrap();
    // The address is free after this, and nothing of its past is left.
    host.controller()
        .endpoints
        .disconnect(endpoint.id, false)
        .await
        .unwrap();
    host.flows_come_to(&[]).await;
}

#[tokio::test]
async fn a_part_of_a_row_is_given_back() {
    let host = Host::alone().await;
    let network = lab(&host).await;
    let sandbox = publishing(&host, "web", &["127.0.0.1:8080-8089:80-89"])
        .await
        .unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    let part = PublishedPorts {
        host: "8085".parse().unwrap(),
        container: "85".parse().unwrap(),
        ..sandbox.ports[0].clone()
    };
    let sandboxes = &host.controller().sandboxes;
    sandboxes.unpublish(sandbox.id, &[part]).await.unwrap();
    let left = sandboxes.get(sandbox.id).unwrap().ports.clone();
    let left: Vec<_> = left.iter().map(ToString::to_string).collect();
    assert_eq!(
        left,
        ["127.0.0.1:8080-8084->80-84/tcp", "127.0.0.1:8086-8089->86-89/tcp"]
    );
    publishing(&host, "other", &["8085:85"])
        .await
        .expect("it is free");
    publishing(&host, "third", &["8086:85"]).await.unwrap_err();
}

#[tokio::test]
async fn what_is_taken_is_refused_with_its_holder_and_changes_nothing() {
    let host = Host::alone().await;
    publishing(&host, "first", &["8080:80"]).await.unwrap();
    let socket = |port, inode| HostSocket {
        protocol: Protocol::Tcp,
        ip: "127.0.0.1".parse().unwrap(),
        port,
        both_families: false,
        inode,
    };
    let process = |pid, name: &str| Process {
        pid,
        name: name.to_owned(),
    };
    host.kernel.listen(socket(22, 1), process(77, "sshd"));
    host.kernel.listen(socket(9090, 2), process(78, "cnm-names"));
    let (kernel, store) = (host.kernel.state(), host.local.everything().await);
    let rows: [(&[&str], &str); 3] = [
        (
            &["8080:80"],
            "Bind for 0.0.0.0:8080 failed: port is already allocated (by container \"first\"); \
             choose another port of the host, or stop container \"first\"",
        ),
        (
            &["22:22"],
            "Bind for 0.0.0.0:22 failed: port is already allocated (by process \"sshd\" (pid 77)); \
             choose another port of the host, or stop process \"sshd\" (pid 77)",
        ),
        (
            &["8000-8080:8000-8080", "22:1", "5:6", "5:7"],
            "Bind for 0.0.0.0:8080 failed: port is already allocated (by container \"first\")\n\
             Bind for 0.0.0.0:22 failed: port is already allocated (by process \"sshd\" (pid 77))\n\
             Bind for 0.0.0.0:5 failed: port is already allocated (by another port of the same container); \
             choose another port of the host, or stop container \"first\"",
        ),
    ];
    for (ports, expected) in rows {
        let error = publishing(&host, "second", ports).await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        assert_eq!(message(&error), expected);
    }
    let error = publishing(&host, "second", &["1-2:1-3"]).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
    assert!(store == host.local.everything().await);
    publishing(&host, "third", &["9090:90"])
        .await
        .expect("our own relay makes way");
}

#[tokio::test]
async fn of_two_that_want_one_port_at_once_one_gets_it() {
    let host = Host::alone().await;
    let (one, other) = tokio::join!(
        publishing(&host, "one", &["8080:80"]),
        publishing(&host, "other", &["8000-8999:8000-8999"])
    );
    let error = match (one, other) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        other => panic!("{other:?}"),
    };
    assert!(
        message(&error).contains("port is already allocated (by container"),
        "{error}"
    );
    assert_eq!(host.controller().sandboxes.list().len(), 1);
}

#[tokio::test]
async fn a_network_and_the_daemon_say_what_a_wish_leaves_open() {
    let mut host = Host::new(1, None);
    let settings = crate::Settings {
        host_ip: "127.0.0.9".parse().ok(),
        ..host.settings()
    };
    host.start_with(settings).await.unwrap();
    let mut create = super::host::create("local", "bridge", Some("10.1.0.0/24"));
    let options = [
        ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
        ("cnm.firewall", "host"),
    ];
    create.options = options
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let network = host.controller().networks.create(create).await.unwrap().id;
    let with = |network| CreateSandbox {
        ports_network: network,
        ..request(&host, "web", &["80"])
    };
    for (network, ip, exposure) in [
        (None, "127.0.0.9", model::Exposure::Open),
        (Some(network), "127.0.0.1", model::Exposure::Host),
    ] {
        let sandbox = host.controller().sandboxes.create(with(network)).await.unwrap();
        let [
            PublishedPorts {
                host_ip,
                exposure: whose,
                ..
            },
        ] = &sandbox.ports[..]
        else {
            panic!("{:?}", sandbox.ports);
        };
        assert_eq!((host_ip.to_string().as_str(), *whose), (ip, exposure));
        assert!((32768..61000).contains(&sandbox.ports[0].host.first()));
    }
}

#[tokio::test]
async fn a_container_in_the_hosts_network_has_no_ports_of_its_own() {
    let host = Host::alone().await;
    let request = CreateSandbox {
        kind: Namespace::Host,
        ..request(&host, "on-host", &["8080:80"])
    };
    let sandbox = host.controller().sandboxes.create(request).await.unwrap();
    assert_eq!(sandbox.ports, []);
    let refused = host
        .controller()
        .sandboxes
        .publish(sandbox.id, vec![binding("1:1")])
        .await;
    assert!(matches!(refused, Err(Error::Invalid { .. })));
    assert!(claims(&host).await.is_empty());
}

#[tokio::test]
async fn ten_thousand_ports_are_one_interval() {
    let host = Host::alone().await;
    let network = lab(&host).await;
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    let objects = host.kernel.state().keys().count();
    let began = std::time::Instant::now();
    host.controller()
        .sandboxes
        .publish(sandbox.id, vec![binding("10000-19999:10000-19999")])
        .await
        .unwrap();
    eprintln!("10,000 ports in {:?}", began.elapsed());
    let more = host.kernel.state().keys().count() - objects;
    assert!(more < 20, "{more} objects for one interval");
    let (_, value) = claims(&host).await.remove(0);
    assert!(value.len() < 250, "{}", String::from_utf8_lossy(&value));
}

#[tokio::test]
async fn a_restart_changes_nothing_and_finishes_what_was_cut_off() {
    let mut host = Host::alone().await;
    let network = lab(&host).await;
    let sandbox = publishing(&host, "web", &["8080:80", "9090:90"]).await.unwrap();
    let endpoint = host.connect(network.id, &sandbox).await.unwrap();
    let (kernel, store) = (host.kernel.state(), host.local.everything().await);
    host.kill();
    host.start().await;
    assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
    assert!(store == host.local.everything().await);
    // The process dies between the record and the kernel.
    host.local.at(0, super::spy::At::DiesAfter);
    let unpublish: Vec<_> = sandbox
        .ports
        .iter()
        .filter(|ports| ports.host.first() == 8080)
        .cloned()
        .collect();
    tokio::select! {
        () = host.local.death() => {}
        _ = host.controller().sandboxes.unpublish(sandbox.id, &unpublish) => panic!("it dies"),
    }
    host.local.heal();
    let address: IpAddr = endpoint.addresses.ipv4.unwrap().addr().into();
    assert!(
        !leading_to(&host, address).is_empty(),
        "the kernel was not asked yet"
    );
    host.kill();
    host.start().await;
    assert_eq!(leading_to(&host, address), Vec::<String>::new());
    publishing(&host, "other", &["8080:80"])
        .await
        .expect("the claim is released");
    let error = publishing(&host, "third", &["9090:80"]).await.unwrap_err();
    assert!(message(&error).contains("container \"web\""), "{error}");
}

#[tokio::test]
async fn an_address_that_is_not_the_hosts_is_refused_with_all_else_that_is_wrong() {
    let host = Host::alone().await;
    lab(&host).await;
    let before = host.local.everything().await;
    let ports = ["203.0.113.5:8080:80", "8081-8083:81-82", "127.0.0.9:8084:84"];
    let error = publishing(&host, "web", &ports).await.unwrap_err();
    let text = message(&error);
    for part in [
        "failed to bind host port 203.0.113.5:8080/tcp: cannot assign requested address",
        "differ in number",
        "one of the host's addresses",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert!(before == host.local.everything().await, "nothing is claimed");
    // The bridge's own is the host's.
    publishing(&host, "web", &["10.1.0.1:8080:80"]).await.unwrap();
}

#[tokio::test]
async fn more_ports_under_the_hosts_rules_than_the_relay_serves_are_refused_with_a_hint() {
    let host = Host::alone().await;
    lab(&host).await;
    let before = host.local.everything().await;
    let under_the_hosts_rules = |text: &str| CreateSandbox {
        ports: vec![PortBinding {
            exposure: Some(model::Exposure::Host),
            ..binding(text)
        }],
        ..host.sandbox_request("web")
    };
    for (text, says) in [
        ("8000-20000:8000-20000", "at most 1024 of a container"),
        ("127.0.0.1:8000-9024:8000-9024", "at most 1024 of a container"),
        ("127.0.0.1:80:80/sctp", "SCTP is not"),
    ] {
        let refused = host
            .controller()
            .sandboxes
            .create(under_the_hosts_rules(text))
            .await;
        let error = refused.expect_err(text);
        assert!(
            message(&error).contains(says) && error.hint().is_some(),
            "{text}: {error}"
        );
    }
    assert!(before == host.local.everything().await, "nothing is left");
    let fits = under_the_hosts_rules("127.0.0.1:8000-9023:8000-9023");
    host.controller()
        .sandboxes
        .create(fits)
        .await
        .expect("it just fits");
}

#[tokio::test]
async fn all_ports_at_once_are_one_interval_in_the_record() {
    let host = Host::alone().await;
    lab(&host).await;
    let sandbox = publishing(&host, "web", &["1-65535:1-65535", "1-65535:1-65535/udp"])
        .await
        .unwrap();
    assert!(
        sandbox.ports.iter().all(|ports| ports.host.count() == 65535),
        "{:?}",
        sandbox.ports
    );
    let bytes: usize = host
        .local
        .everything()
        .await
        .iter()
        .map(|(_, value)| value.len())
        .sum();
    assert!(bytes < 16 * 1024, "{bytes}");
}
