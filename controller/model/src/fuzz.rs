//! The texts that users write, and the records that other versions of this program have written.

use std::str::FromStr;

use fuzz::run;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Endpoint, ExposedPorts, InterfaceName, IpNet, MacAddress, Network, NetworkId, NetworkName, Node,
    PortRange, Protocol, Sandbox, Subnet, Timestamp,
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Whether a text is one of these; then what it says of itself must be one too, and the same.
fn is<T: FromStr + ToString + PartialEq + std::fmt::Debug>(text: &str) -> bool {
    let Ok(read) = text.parse::<T>() else {
        return false;
    };
    let again = read.to_string();
    let reread = again.parse::<T>().ok();
    assert_eq!(reread, Some(read), "{again:?} of {text:?}");
    true
}

#[test]
fn texts() {
    let good: [&[u8]; 12] = [
        b"80",
        b"8000-8010",
        b"53/udp",
        b"6000-6010/sctp",
        b"02:42:ac:11:00:02",
        b"172.17.0.0/16",
        b"fd00:1::/64",
        b"10.0.0.1/8",
        b"veth0123456789",
        b"my_net.1-a",
        b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        b"2026-01-02T03:04:05.000000006Z",
    ];
    run("texts", HERE, &good, |bytes| {
        let text = &*String::from_utf8_lossy(bytes);
        [
            is::<PortRange>(text),
            is::<ExposedPorts>(text),
            is::<Protocol>(text),
            is::<MacAddress>(text),
            is::<Subnet>(text),
            is::<IpNet>(text),
            is::<InterfaceName>(text),
            is::<NetworkName>(text),
            is::<NetworkId>(text),
            is::<Timestamp>(text),
        ]
    });
}

/// Whether bytes are a record; then it is the same when it was written and read again.
fn keeps<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> bool {
    let Ok(record) = serde_json::from_slice::<T>(bytes) else {
        return false;
    };
    let written = serde_json::to_vec(&record).expect("a record has a JSON form");
    let again = serde_json::from_slice::<T>(&written).expect("what was written can be read");
    assert_eq!(again, record);
    true
}

#[test]
fn records() {
    let id = "ab".repeat(32);
    let network = format!(
        r#"{{"id":"{id}","name":"lan","driver":"bridge","scope":"local","lifecycle":"active","created":
        "2026-01-02T03:04:05Z","labels":{{"a":"b"}},"options":{{}},"enable_ipv4":true,"enable_ipv6":false,"internal":false,
        "attachable":false,"predefined":false,"ipam":{{"driver":"default","options":{{}},"subnets":[]}},"pools":[{{"id":
        "p","subnet":"10.1.0.0/24","ip_range":null,"gateway":"10.1.0.1","aux_addresses":{{"far":"10.1.0.9"}}}}],"vnis":[]}}"#
    );
    let node =
        format!(r#"{{"id":"{id}","hostname":"a","address":"192.0.2.1","started":"2026-01-02T03:04:05Z"}}"#);
    assert!(
        keeps::<Network>(network.as_bytes()) && keeps::<Node>(node.as_bytes()),
        "good ones"
    );
    run("records", HERE, &[network.as_bytes(), node.as_bytes()], |bytes| {
        [
            keeps::<Network>(bytes),
            keeps::<Endpoint>(bytes),
            keeps::<Sandbox>(bytes),
            keeps::<Node>(bytes),
        ]
    });
}
