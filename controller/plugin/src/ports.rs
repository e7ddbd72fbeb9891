//! Pure: published ports, as Docker tells of them and as it is told.

use std::net::IpAddr;

use model::{ExposedPorts, PortBinding, PortRange, Protocol, PublishedPorts};
use plugin_proto::{
    Options,
    network_driver::{EXPOSED_PORTS, PORT_MAP, PortBinding as TheirBinding, TransportPort},
};
use serde::de::DeserializeOwned;

use crate::refusal::{Result, refused};

/// The ports to publish.
pub(crate) fn bindings(options: &Options) -> Result<Vec<PortBinding>> {
    let theirs: Vec<TheirBinding> = read(options, PORT_MAP)?;
    theirs.iter().map(binding).collect()
}

/// The ports that a container says it listens on.
pub(crate) fn exposed(options: &Options) -> Result<Vec<ExposedPorts>> {
    let theirs: Vec<TransportPort> = read(options, EXPOSED_PORTS)?;
    let ours = theirs.iter().map(|one| {
        Ok(ExposedPorts {
            ports: PortRange::single(one.port).map_err(|error| wrong(&error.to_string()))?,
            protocol: protocol(one.proto)?,
        })
    });
    ours.collect()
}

/// What is published, port by port.
pub(crate) fn told(published: &[PublishedPorts]) -> Vec<TheirBinding> {
    let each = published.iter().flat_map(|ports| {
        let both = ports.container.iter().zip(ports.host.iter());
        both.map(|(container, host)| TheirBinding {
            proto: ports.protocol.number(),
            ip: String::new(),
            port: container,
            host_ip: ports.host_ip.to_string(),
            host_port: host,
            host_port_end: host,
        })
    });
    each.collect()
}

fn read<T: DeserializeOwned + Default>(options: &Options, key: &str) -> Result<T> {
    match options.get(key) {
        None | Some(serde_json::Value::Null) => Ok(T::default()),
        Some(value) => serde_json::from_value(value.clone()).map_err(|error| wrong(&error.to_string())),
    }
}

fn binding(theirs: &TheirBinding) -> Result<PortBinding> {
    let host_ip = match theirs.host_ip.as_str() {
        "" => None,
        text => Some(
            text.parse::<IpAddr>()
                .map_err(|error| wrong(&format!("{text:?}: {error}")))?,
        ),
    };
    let range = |first, last| PortRange::new(first, last).map_err(|error| wrong(&error.to_string()));
    Ok(PortBinding {
        protocol: protocol(theirs.proto)?,
        container: range(theirs.port, theirs.port)?,
        host_ip,
        host: match theirs.host_port {
            0 => None,
            first => Some(range(first, theirs.host_port_end.max(first))?),
        },
        exposure: None,
    })
}

fn protocol(number: u8) -> Result<Protocol> {
    let found = Protocol::ALL
        .into_iter()
        .find(|protocol| protocol.number() == number);
    found.ok_or_else(|| wrong(&format!("protocol {number} has no ports")))
}

fn wrong(what: &str) -> crate::refusal::Refused {
    refused(
        format!("ports can't be read: {what}"),
        "tell this to whoever makes Docker's side of the call",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(map: serde_json::Value) -> Options {
        Options::from_iter([(PORT_MAP.to_owned(), map)])
    }

    #[test]
    fn bindings_are_read_as_docker_writes_them() {
        let rows = [
            (json!([]), vec![]),
            (json!(null), vec![]),
            (
                json!([{"HostIP": "127.0.0.1", "HostPort": 8088, "HostPortEnd": 8088, "IP": "", "Port": 80, "Proto": 6}]),
                vec![("127.0.0.1", Some((8088, 8088)), 80, "tcp")],
            ),
            (
                json!([{"HostIP": "", "HostPort": 0, "HostPortEnd": 0, "IP": "", "Port": 53, "Proto": 17}]),
                vec![("", None, 53, "udp")],
            ),
            (
                json!([{"HostIP": "::1", "HostPort": 8000, "HostPortEnd": 8010, "IP": "", "Port": 80, "Proto": 132}]),
                vec![("::1", Some((8000, 8010)), 80, "sctp")],
            ),
        ];
        for (map, expected) in rows {
            let read = bindings(&options(map.clone())).expect("bindings");
            let read: Vec<_> = read
                .iter()
                .map(|one| {
                    let ip = one.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
                    let host = one.host.map(|range| (range.first(), range.last()));
                    (ip, host, one.container.first(), one.protocol.to_string())
                })
                .collect();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(ip, host, port, protocol)| (ip.to_owned(), host, port, protocol.to_owned()))
                .collect();
            assert_eq!(read, expected, "{map}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for map in [
            json!("x"),
            json!([{"Port": 0, "Proto": 6}]),
            json!([{"Port": 80, "Proto": 1}]),
            json!([{"Port": 80, "Proto": 6, "HostIP": "here"}]),
        ] {
            assert!(bindings(&options(map.clone())).is_err(), "{map}");
        }
    }

    #[test]
    fn ranges_are_told_port_by_port() {
        let range = |first, last| PortRange::new(first, last).expect("a range");
        let published = PublishedPorts {
            protocol: Protocol::Udp,
            host_ip: "0.0.0.0".parse().expect("an address"),
            host: range(5000, 5001),
            container: range(80, 81),
            exposure: model::Exposure::Open,
        };
        let told: Vec<_> = told(&[published])
            .into_iter()
            .map(|one| (one.proto, one.port, one.host_ip, one.host_port, one.host_port_end))
            .collect();
        let all = || "0.0.0.0".to_owned();
        assert_eq!(told, [(17, 80, all(), 5000, 5000), (17, 81, all(), 5001, 5001)]);
    }
}
