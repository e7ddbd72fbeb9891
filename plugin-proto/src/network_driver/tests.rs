//! The JSON of every call, as Docker writes and reads it.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::{activation::Activate, decode, ipam_driver as ipam};

fn options(value: serde_json::Value) -> Options {
    match value {
        serde_json::Value::Object(options) => options,
        other => panic!("{other} is no map"),
    }
}

/// Written as wanted, and read back as it was.
fn call<C: Call + DeserializeOwned + PartialEq + Debug>(call: &C, method: &str, json: &str) {
    assert_eq!(C::METHOD, method);
    let body = call.body();
    if json.is_empty() {
        assert!(body.is_empty(), "{method} has no arguments");
        return;
    }
    assert_eq!(
        String::from_utf8(body.clone()).unwrap(),
        format!("{json}\n"),
        "{method}"
    );
    assert_eq!(&serde_json::from_slice::<C>(&body).unwrap(), call, "{method}");
}

fn reply<R: DeserializeOwned + PartialEq + Debug>(json: &str, wanted: &R) {
    assert_eq!(&decode::<R>(json.as_bytes()).unwrap(), wanted, "{json}");
}

fn ids() -> (String, String) {
    ("n1".to_owned(), "e1".to_owned())
}

#[test]
fn calls_about_the_driver() {
    call(&Activate, "Plugin.Activate", "");
    call(&GetCapabilities, "NetworkDriver.GetCapabilities", "");
    reply(
        r#"{"Scope":"local","ConnectivityScope":"global","GwAllocChecker":true}"#,
        &Capabilities {
            scope: "local".to_owned(),
            connectivity_scope: "global".to_owned(),
            gw_alloc_checker: true,
        },
    );
    let generic = options(json!({GENERIC: {"a": "b"}, INTERNAL: true}));
    call(
        &GwAllocCheck { options: generic },
        "NetworkDriver.GwAllocCheck",
        r#"{"Options":{"com.docker.network.generic":{"a":"b"},"com.docker.network.internal":true}}"#,
    );
    reply(
        r#"{"SkipIPv4":true}"#,
        &GwAllocChecked {
            skip_ipv4: true,
            skip_ipv6: false,
        },
    );
    for (new, method) in [
        (true, "NetworkDriver.DiscoverNew"),
        (false, "NetworkDriver.DiscoverDelete"),
    ] {
        let data = NodeDiscovery {
            address: "192.0.2.1".to_owned(),
            bind_address: "192.0.2.1".to_owned(),
            itself: true,
        };
        let json = r#"{"DiscoveryType":1,"DiscoveryData":{"Address":"192.0.2.1","BindAddress":"192.0.2.1","Self":true}}"#;
        let (discovery_type, discovery_data) = (NODE_DISCOVERY, data);
        match new {
            true => call(
                &DiscoverNew {
                    discovery_type,
                    discovery_data,
                },
                method,
                json,
            ),
            false => call(
                &DiscoverDelete {
                    discovery_type,
                    discovery_data,
                },
                method,
                json,
            ),
        }
    }
}

#[test]
fn calls_about_networks() {
    let (network_id, _) = ids();
    let pool = IpamData {
        address_space: "local".to_owned(),
        pool: Some("10.0.0.0/24".to_owned()),
        gateway: Some("10.0.0.1/24".to_owned()),
        aux_addresses: [("host".to_owned(), "10.0.0.9/24".to_owned())].into(),
    };
    let bare = IpamData {
        gateway: None,
        aux_addresses: BTreeMap::new(),
        ..pool.clone()
    };
    call(
        &CreateNetwork {
            network_id: network_id.clone(),
            options: options(json!({ENABLE_IPV6: false, GENERIC: {}})),
            ipv4_data: vec![pool, bare],
            ipv6_data: Vec::new(),
        },
        "NetworkDriver.CreateNetwork",
        "{\"NetworkID\":\"n1\",\"Options\":{\"com.docker.network.enable_ipv6\":false,\"com.docker.network.generic\":{}},\
         \"IPv4Data\":[{\"AddressSpace\":\"local\",\"Pool\":\"10.0.0.0/24\",\"Gateway\":\"10.0.0.1/24\",\
         \"AuxAddresses\":{\"host\":\"10.0.0.9/24\"}},{\"AddressSpace\":\"local\",\"Pool\":\"10.0.0.0/24\"}],\
         \"IPv6Data\":[]}",
    );
    call(
        &AllocateNetwork {
            network_id: network_id.clone(),
            options: [("a".to_owned(), "b".to_owned())].into(),
            ipv4_data: Vec::new(),
            ipv6_data: Vec::new(),
        },
        "NetworkDriver.AllocateNetwork",
        r#"{"NetworkID":"n1","Options":{"a":"b"},"IPv4Data":[],"IPv6Data":[]}"#,
    );
    reply(
        r#"{"Options":{"vni":"7"}}"#,
        &AllocatedNetwork {
            options: [("vni".to_owned(), "7".to_owned())].into(),
        },
    );
    let json = r#"{"NetworkID":"n1"}"#;
    call(
        &FreeNetwork {
            network_id: network_id.clone(),
        },
        "NetworkDriver.FreeNetwork",
        json,
    );
    call(&DeleteNetwork { network_id }, "NetworkDriver.DeleteNetwork", json);
    reply(r#"{"Err":""}"#, &Nothing {});
}

#[test]
fn calls_about_endpoints() {
    let (network_id, endpoint_id) = ids();
    let interface = EndpointInterface {
        address: "10.0.0.2/24".to_owned(),
        address_ipv6: String::new(),
        mac_address: "02:42:0a:00:00:02".to_owned(),
    };
    let port = PortBinding {
        proto: 6,
        port: 80,
        host_port: 8080,
        host_port_end: 8080,
        ..PortBinding::default()
    };
    call(
        &CreateEndpoint {
            network_id: network_id.clone(),
            endpoint_id: endpoint_id.clone(),
            interface: interface.clone(),
            options: options(
                json!({EXPOSED_PORTS: [TransportPort { proto: 6, port: 80 }], PORT_MAP: [port]}),
            ),
        },
        "NetworkDriver.CreateEndpoint",
        "{\"NetworkID\":\"n1\",\"EndpointID\":\"e1\",\"Interface\":{\"Address\":\"10.0.0.2/24\",\"AddressIPv6\":\"\",\
         \"MacAddress\":\"02:42:0a:00:00:02\"},\"Options\":{\"com.docker.network.endpoint.exposedports\":[{\"Proto\":6,\
         \"Port\":80}],\"com.docker.network.portmap\":[{\"Proto\":6,\"IP\":\"\",\"Port\":80,\"HostIP\":\"\",\
         \"HostPort\":8080,\"HostPortEnd\":8080}]}}",
    );
    reply(r#"{"Interface":null}"#, &CreatedEndpoint { interface: None });
    reply(
        r#"{"Interface":{"MacAddress":"02:42:0a:00:00:02","Address":"10.0.0.2/24"}}"#,
        &CreatedEndpoint {
            interface: Some(interface),
        },
    );
    reply(
        r#"{"Value":{"x":1}}"#,
        &OperInfo {
            value: options(json!({"x": 1})),
        },
    );
    let json = r#"{"NetworkID":"n1","EndpointID":"e1"}"#;
    macro_rules! both {
        ($($name:ident)*) => { $(
            let request = $name { network_id: network_id.clone(), endpoint_id: endpoint_id.clone() };
            call(&request, concat!("NetworkDriver.", stringify!($name)), json);
        )* };
    }
    both!(DeleteEndpoint EndpointOperInfo Leave RevokeExternalConnectivity);
}

#[test]
fn calls_about_sandboxes() {
    let (network_id, endpoint_id) = ids();
    call(
        &Join {
            network_id: network_id.clone(),
            endpoint_id: endpoint_id.clone(),
            sandbox_key: "/run/cnm/netns/x".to_owned(),
            options: options(json!({PORT_MAP: []})),
        },
        "NetworkDriver.Join",
        "{\"NetworkID\":\"n1\",\"EndpointID\":\"e1\",\"SandboxKey\":\"/run/cnm/netns/x\",\"Options\":\
         {\"com.docker.network.portmap\":[]}}",
    );
    reply(
        r#"{"InterfaceName":{"SrcName":"veth1","DstPrefix":"eth"},"Gateway":"10.0.0.1","GatewayIPv6":"fd00::1",
            "StaticRoutes":[{"Destination":"10.9.0.0/16","RouteType":1,"NextHop":""}],"DisableGatewayService":true}"#,
        &Joined {
            interface_name: Some(InterfaceName {
                src_name: "veth1".to_owned(),
                dst_prefix: "eth".to_owned(),
                dst_name: String::new(),
            }),
            gateway: "10.0.0.1".to_owned(),
            gateway_ipv6: "fd00::1".to_owned(),
            static_routes: vec![StaticRoute {
                destination: "10.9.0.0/16".to_owned(),
                route_type: CONNECTED,
                next_hop: String::new(),
            }],
            disable_gateway_service: true,
        },
    );
    reply(
        r#"{"InterfaceName":null,"StaticRoutes":null}"#,
        &Joined::default(),
    );
    call(
        &ProgramExternalConnectivity {
            network_id,
            endpoint_id,
            options: Options::new(),
        },
        "NetworkDriver.ProgramExternalConnectivity",
        r#"{"NetworkID":"n1","EndpointID":"e1","Options":{}}"#,
    );
}

#[test]
fn calls_about_addresses() {
    call(&ipam::GetCapabilities, "IpamDriver.GetCapabilities", "");
    reply(
        r#"{"RequiresMACAddress":true,"RequiresRequestReplay":true}"#,
        &ipam::Capabilities {
            requires_mac_address: true,
            requires_request_replay: true,
        },
    );
    call(
        &ipam::GetDefaultAddressSpaces,
        "IpamDriver.GetDefaultAddressSpaces",
        "",
    );
    reply(
        r#"{"LocalDefaultAddressSpace":"l","GlobalDefaultAddressSpace":"g"}"#,
        &ipam::AddressSpaces {
            local_default_address_space: "l".to_owned(),
            global_default_address_space: "g".to_owned(),
        },
    );
    let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    call(
        &ipam::RequestPool {
            address_space: "l".to_owned(),
            pool: "10.0.0.0/24".to_owned(),
            sub_pool: String::new(),
            options: map("a", "b"),
            v6: false,
        },
        "IpamDriver.RequestPool",
        r#"{"AddressSpace":"l","Pool":"10.0.0.0/24","SubPool":"","Options":{"a":"b"},"V6":false}"#,
    );
    reply(
        r#"{"PoolID":"p","Pool":"10.0.0.0/24","Data":{"com.docker.network.gateway":"10.0.0.1/24"}}"#,
        &ipam::PoolGranted {
            pool_id: "p".to_owned(),
            pool: "10.0.0.0/24".to_owned(),
            data: map(ipam::GATEWAY, "10.0.0.1/24"),
        },
    );
    call(
        &ipam::ReleasePool {
            pool_id: "p".to_owned(),
        },
        "IpamDriver.ReleasePool",
        r#"{"PoolID":"p"}"#,
    );
    call(
        &ipam::RequestAddress {
            pool_id: "p".to_owned(),
            address: String::new(),
            options: map(ipam::ADDRESS_TYPE, ipam::GATEWAY),
        },
        "IpamDriver.RequestAddress",
        r#"{"PoolID":"p","Address":"","Options":{"RequestAddressType":"com.docker.network.gateway"}}"#,
    );
    reply(
        r#"{"Address":"10.0.0.2/24","Data":null}"#,
        &ipam::AddressGranted {
            address: "10.0.0.2/24".to_owned(),
            data: BTreeMap::new(),
        },
    );
    call(
        &ipam::ReleaseAddress {
            pool_id: "p".to_owned(),
            address: "10.0.0.2".to_owned(),
        },
        "IpamDriver.ReleaseAddress",
        r#"{"PoolID":"p","Address":"10.0.0.2"}"#,
    );
}
