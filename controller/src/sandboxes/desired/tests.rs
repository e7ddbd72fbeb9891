//! What a sandbox should look like, as tables.

use std::path::PathBuf;

use drivers::StaticRoute;
use kernel::Key;
use model::{
    DnsConfig, DnsPorts, EndpointAddresses, EndpointId, IpamConfig, Labels, Lifecycle, NetworkId,
    NetworkName, NodeId, SandboxId, SandboxKind, Scope, Timestamp,
};

use super::*;

const PINS: &str = "/run/cnm/netns";

fn sandbox(kind: SandboxKind) -> Sandbox {
    Sandbox {
        id: SandboxId::random(),
        container: None,
        node: NodeId::random(),
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        kind,
        hostname: "web".to_owned(),
        domainname: String::new(),
        dns: DnsConfig::default(),
        extra_hosts: Vec::new(),
        files: PathBuf::from("files"),
        dns_ports: DnsPorts {
            udp: 40001,
            tcp: 40002,
        },
        ports: Vec::new(),
        exposed: Vec::new(),
        links: Vec::new(),
    }
}

fn own() -> Sandbox {
    sandbox(SandboxKind::Own(PathBuf::from("/run/cnm/netns/web")))
}

fn network(name: &str, scope: Scope) -> Network {
    Network {
        id: NetworkId::random(),
        name: NetworkName::new(name).unwrap(),
        driver: model::DriverName::new("bridge").unwrap(),
        scope,
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        labels: Labels::new(),
        options: Labels::new(),
        enable_ipv4: true,
        enable_ipv6: true,
        internal: false,
        attachable: false,
        predefined: false,
        ipam: IpamConfig {
            driver: model::DriverName::new("default").unwrap(),
            options: Labels::new(),
            subnets: Vec::new(),
        },
        pools: Vec::new(),
        vnis: Vec::new(),
        config_only: false,
        config_from: None,
        found: None,
    }
}

fn endpoint(interface: &str, ipv4: &str, ipv6: Option<&str>) -> Endpoint {
    Endpoint {
        id: EndpointId::random(),
        network: NetworkId::random(),
        sandbox: SandboxId::random(),
        container: None,
        node: NodeId::random(),
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        name: "web".to_owned(),
        dns_names: Vec::new(),
        links: Labels::new(),
        addresses: EndpointAddresses {
            mac: None,
            ipv4: ipv4.parse().ok(),
            ipv6: ipv6.and_then(|text| text.parse().ok()),
            link_local: Vec::new(),
        },
        interface: InterfaceName::new(interface).ok(),
        gateway_priority: 0,
        options: Labels::new(),
        requested: Vec::new(),
        answer: None,
        lease: None,
        lease_v6: None,
    }
}

fn through(gateway: &str) -> Attachment {
    Attachment {
        gateway_v4: gateway.parse().ok(),
        ..Attachment::default()
    }
}

fn rules() -> Rules<'static> {
    Rules {
        pins: Path::new(PINS),
        ipv6: true,
        global_up: None,
    }
}

fn joined<'a>(endpoint: &'a Endpoint, network: &'a Network, attachment: &'a Attachment) -> Joined<'a> {
    Joined {
        endpoint,
        network,
        attachment,
        gateway_bridge: false,
        mtu: None,
    }
}

/// The objects without the namespace, its loopback and its firewall, as text.
fn texts(state: &KernelState) -> Vec<String> {
    let plain = |key: &&Key| !matches!(key, Key::Namespace(_) | Key::Firewall(..));
    let text = |key: &Key| {
        key.to_string()
            .replace(" in namespace \"/run/cnm/netns/web\"", "")
    };
    state.keys().filter(plain).map(text).collect()
}

#[test]
fn nothing_of_ours_goes_into_the_hosts_namespace() {
    let (network, attachment) = (network("host", Scope::Local), Attachment::default());
    let endpoint = endpoint("eth0", "10.0.0.2/24", None);
    let state = desired(
        &sandbox(SandboxKind::Host),
        &[joined(&endpoint, &network, &attachment)],
        rules(),
    )
    .unwrap();
    assert!(state.is_empty());
}

#[test]
fn an_endpoint_brings_its_addresses_and_the_way_out() {
    let (network, attachment) = (network("a", Scope::Local), through("10.0.0.1"));
    let endpoint = endpoint("eth0", "10.0.0.2/24", None);
    let state = desired(&own(), &[joined(&endpoint, &network, &attachment)], rules()).unwrap();
    assert_eq!(
        texts(&state),
        [
            "address 10.0.0.2/24 on \"eth0\"",
            "route to 0.0.0.0/0",
            "sysctl \"net/ipv6/conf/eth0/disable_ipv6\"",
        ]
    );
}

#[test]
fn with_an_ipv6_address_ipv6_stays_on_and_without_it_on_the_host_nothing_is_touched() {
    let (network, attachment) = (network("a", Scope::Local), Attachment::default());
    let with = endpoint("eth0", "10.0.0.2/24", Some("fd00::2/64"));
    let state = desired(&own(), &[joined(&with, &network, &attachment)], rules()).unwrap();
    assert_eq!(
        texts(&state),
        [
            "address 10.0.0.2/24 on \"eth0\"",
            "address fd00::2/64 on \"eth0\"",
            "address fd63:6e6d::11/128 on \"lo\""
        ]
    );
    let without = endpoint("eth0", "10.0.0.2/24", None);
    let no_ipv6 = Rules {
        ipv6: false,
        ..rules()
    };
    let state = desired(&own(), &[joined(&without, &network, &attachment)], no_ipv6).unwrap();
    assert_eq!(texts(&state), ["address 10.0.0.2/24 on \"eth0\""]);
}

#[test]
fn an_interface_too_small_for_ipv6_has_no_settings_of_it() {
    let (network, attachment) = (network("a", Scope::Local), Attachment::default());
    let endpoint = endpoint("eth0", "10.0.0.2/24", None);
    for (mtu, settings) in [(None, 1), (Some(1280), 1), (Some(1279), 0)] {
        let one = Joined {
            mtu,
            ..joined(&endpoint, &network, &attachment)
        };
        let state = desired(&own(), &[one], rules()).unwrap();
        let found = state.keys().filter(|key| matches!(key, Key::Sysctl(..))).count();
        assert_eq!(found, settings, "{mtu:?}");
    }
}

#[test]
fn drivers_routes_and_the_users_sysctls_are_there() {
    let network = network("a", Scope::Local);
    let attachment = Attachment {
        routes: vec![StaticRoute {
            destination: "10.9.0.0/16".parse().unwrap(),
            next_hop: "10.0.0.254".parse().ok(),
        }],
        ..Attachment::default()
    };
    let mut endpoint = endpoint("eth0", "10.0.0.2/24", Some("fd00::2/64"));
    let sysctls = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.accept_ra=0";
    endpoint.options.insert(
        "com.docker.network.endpoint.sysctls".to_owned(),
        sysctls.to_owned(),
    );
    let state = desired(&own(), &[joined(&endpoint, &network, &attachment)], rules()).unwrap();
    let texts = texts(&state);
    for expected in [
        "route to 10.9.0.0/16",
        "sysctl \"net/ipv4/conf/eth0/log_martians\"",
        "sysctl \"net/ipv6/conf/eth0/accept_ra\"",
    ] {
        assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:?}");
    }
}

#[test]
fn a_sysctl_that_is_no_interfaces_is_refused() {
    for bad in [
        "",
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.eth0.x=1",
        "kernel.conf.IFNAME.x=1",
        "net.ipv4.../../x.IFNAME.y=1",
    ] {
        let mut endpoint = endpoint("eth0", "10.0.0.2/24", None);
        endpoint
            .options
            .insert("com.docker.network.endpoint.sysctls".to_owned(), bad.to_owned());
        let (network, attachment) = (network("a", Scope::Local), Attachment::default());
        let refused = desired(&own(), &[joined(&endpoint, &network, &attachment)], rules());
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{bad:?}");
    }
}

#[test]
fn a_namespace_of_somebody_elses_is_not_made_but_its_loopback_is_brought_up() {
    let adopted = sandbox(SandboxKind::Own(PathBuf::from("/run/user/1000/netns/x")));
    let state = desired(&adopted, &[], rules()).unwrap();
    assert!(!state.keys().any(|key| matches!(key, Key::Namespace(_))));
    assert!(
        state
            .objects()
            .any(|object| matches!(object, Object::Link(link) if link.name.as_str() == "lo" && link.up))
    );
}

#[test]
fn a_fence_takes_interfaces_on_global_networks_down_and_no_others() {
    let (local, global) = (network("a", Scope::Local), network("b", Scope::Global));
    let (here, there) = (
        endpoint("eth0", "10.0.0.2/24", None),
        endpoint("eth1", "10.1.0.2/24", None),
    );
    let attachment = Attachment::default();
    let both = [
        joined(&here, &local, &attachment),
        joined(&there, &global, &attachment),
    ];
    let links = |global_up| {
        let state = desired(&own(), &both, Rules { global_up, ..rules() }).unwrap();
        let links = state.objects().filter_map(|object| match object {
            Object::Link(link) => Some((link.name.to_string(), link.up)),
            _ => None,
        });
        links.collect::<Vec<_>>()
    };
    assert_eq!(links(None), []);
    assert_eq!(links(Some(false)), [("eth1".to_owned(), false)]);
    assert_eq!(links(Some(true)), [("eth1".to_owned(), true)]);
}

#[test]
fn what_goes_with_a_link_that_left_is_not_removed_once_more() {
    let (network, attachment) = (network("a", Scope::Local), through("10.0.0.1"));
    let (first, second) = (
        endpoint("eth0", "10.0.0.2/24", None),
        endpoint("eth1", "10.1.0.2/24", None),
    );
    let other = through("10.1.0.1");
    let sandbox = own();
    let both = [
        joined(&first, &network, &attachment),
        joined(&second, &network, &other),
    ];
    let (old, new) = (
        desired(&sandbox, &both, rules()).unwrap(),
        desired(&sandbox, &both[1..], rules()).unwrap(),
    );
    let (ensure, remove) = difference(&old, &new);
    assert!(texts(&remove).is_empty(), "{:?}", texts(&remove));
    let moved = old.get(
        &"0.0.0.0/0"
            .parse()
            .map(|to| Key::Route(Netns::Pinned("/run/cnm/netns/web".into()), to))
            .unwrap(),
    ) != new.get(
        &"0.0.0.0/0"
            .parse()
            .map(|to| Key::Route(Netns::Pinned("/run/cnm/netns/web".into()), to))
            .unwrap(),
    );
    assert_eq!(texts(&ensure).is_empty(), !moved);
    assert_eq!(difference(&new, &new), (KernelState::new(), KernelState::new()));
}

fn with_routes(options: &mut Labels, routes: &str) {
    options.insert("cnm.routes".to_owned(), routes.to_owned());
}

/// The routes that have a next hop or a user's destination, as text.
fn routes(state: &KernelState) -> Vec<String> {
    let text = |object: &Object| match object {
        Object::Route(route) => {
            let hop = route
                .gateway
                .map_or_else(|| "the link".to_owned(), |hop| hop.to_string());
            Some(format!("{} by {hop} on {}", route.destination, route.link))
        }
        _ => None,
    };
    state.objects().filter_map(text).collect()
}

#[test]
fn users_routes_are_a_connections_own_then_its_networks_then_those_of_the_next_gateway() {
    let (mut first, mut second) = (network("b", Scope::Local), network("a", Scope::Local));
    with_routes(
        &mut first.options,
        "10.8.0.0/16=10.0.0.5,10.9.0.0/16=10.0.0.5,10.7.0.0/16=link,2001:db8::/32=fd00::5",
    );
    with_routes(&mut second.options, "10.9.0.0/16=10.1.0.5,10.6.0.0/16=10.1.0.5");
    let mut here = endpoint("eth0", "10.0.0.2/24", None);
    here.gateway_priority = 1;
    with_routes(&mut here.options, "10.8.0.0/16=10.0.0.6");
    let there = endpoint("eth1", "10.1.0.2/24", None);
    let attachment = Attachment::default();
    let both = [
        joined(&here, &first, &attachment),
        joined(&there, &second, &attachment),
    ];
    let state = desired(&own(), &both, rules()).unwrap();
    assert_eq!(
        routes(&state),
        [
            "10.6.0.0/16 by 10.1.0.5 on eth1",
            "10.7.0.0/16 by the link on eth0",
            "10.8.0.0/16 by 10.0.0.6 on eth0",
            "10.9.0.0/16 by 10.0.0.5 on eth0",
        ],
        "and none of IPv6, which it has no address of"
    );
    // The one that had it leaves: the other's takes its place.
    let left = desired(&own(), &both[1..], rules()).unwrap();
    assert_eq!(
        routes(&left),
        [
            "10.6.0.0/16 by 10.1.0.5 on eth1",
            "10.9.0.0/16 by 10.1.0.5 on eth1"
        ]
    );
}

#[test]
fn no_users_route_leads_to_the_sandbox_itself_or_takes_the_place_of_an_interfaces_subnet() {
    let mut network = network("a", Scope::Local);
    with_routes(
        &mut network.options,
        "10.9.0.0/16=10.0.0.2,10.1.0.0/24=10.0.0.5,10.3.0.0/24=10.0.0.5,10.2.0.0/24=10.0.0.5",
    );
    let router = endpoint("eth0", "10.0.0.2/24", None);
    let other = endpoint("eth1", "10.1.0.2/24", None);
    let (plain, attachment) = (
        network.clone(),
        Attachment {
            routes: vec![StaticRoute {
                destination: "10.3.0.0/24".parse().unwrap(),
                next_hop: None,
            }],
            ..Attachment::default()
        },
    );
    let (mut plain, none) = (plain, Attachment::default());
    plain.options.clear();
    let both = [
        joined(&router, &network, &attachment),
        joined(&other, &plain, &none),
    ];
    let state = desired(&own(), &both, rules()).unwrap();
    assert_eq!(
        routes(&state),
        [
            "10.2.0.0/24 by 10.0.0.5 on eth0",
            "10.3.0.0/24 by the link on eth0"
        ]
    );
}
