//! What real dockerds were recorded to say (`tests/golden/plugins`) is understood, call by call.

use plugin_proto::{
    ipam_driver::RequestPool,
    network_driver::{CreateEndpoint, CreateNetwork, GENERIC, Join, ProgramExternalConnectivity},
};
use serde_json::{Value, json};

use crate::{
    ports,
    wanted::{DRIVER, NETWORK, Wanted, ipam_name},
};

const RECORDINGS: [&str; 3] = [
    include_str!("../../../tests/golden/plugins/dockerd-20.10.txt"),
    include_str!("../../../tests/golden/plugins/dockerd-26.1.txt"),
    include_str!("../../../tests/golden/plugins/dockerd-28.5.txt"),
];

/// The bodies of one method's calls.
fn calls<'r>(recording: &'r str, method: &'r str) -> impl Iterator<Item = Value> + 'r {
    let lines = recording
        .lines()
        .filter_map(move |line| line.strip_prefix(method));
    lines.filter_map(|body| serde_json::from_str(body.trim()).ok())
}

fn read<T: serde::de::DeserializeOwned>(body: &Value) -> T {
    serde_json::from_value(body.clone()).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn recorded_networks_are_read() {
    for recording in RECORDINGS {
        let mut count = 0;
        for mut body in calls(recording, "NetworkDriver.CreateNetwork ") {
            // As it was said to another plugin, it lacks which network it is.
            let error = Wanted::read(&read::<CreateNetwork>(&body)).expect_err("no name");
            assert!(error.to_string().contains(NETWORK), "{error}");
            body["Options"][GENERIC][NETWORK] = json!("lan");
            body["Options"][GENERIC][DRIVER] = json!("bridge");
            let wanted = Wanted::read(&read::<CreateNetwork>(&body)).expect("a network");
            assert!(!wanted.pools.is_empty() && !wanted.own_addresses, "{wanted:?}");
            assert!(
                wanted.pools.iter().all(|pool| pool.gateway.is_some()),
                "{wanted:?}"
            );
            count += 1;
        }
        assert!(count >= 4, "{count} networks");
    }
}

#[test]
fn recorded_pools_are_refused_for_want_of_a_name() {
    for recording in RECORDINGS {
        for body in calls(recording, "IpamDriver.RequestPool ") {
            assert!(ipam_name(&read::<RequestPool>(&body).options).is_err(), "{body}");
        }
    }
}

#[test]
fn recorded_endpoints_and_ports_are_read() {
    for recording in RECORDINGS {
        let mut published = 0;
        for body in calls(recording, "NetworkDriver.CreateEndpoint ") {
            let call: CreateEndpoint = read(&body);
            ports::exposed(&call.options).expect("exposed ports");
            assert!(!call.interface.address.is_empty(), "{body}");
        }
        for body in calls(recording, "NetworkDriver.Join ") {
            assert!(!read::<Join>(&body).sandbox_key.is_empty(), "{body}");
        }
        for body in calls(recording, "NetworkDriver.ProgramExternalConnectivity ") {
            let call: ProgramExternalConnectivity = read(&body);
            published += ports::bindings(&call.options).expect("bindings").len();
        }
        assert!(published >= 1, "{published} ports");
    }
}
