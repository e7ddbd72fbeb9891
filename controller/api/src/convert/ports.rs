//! Ports: what is asked to be published, and what `inspect`, `port` and `ps` show of it.
//!
//! A binding says `HOST_IP`, `HOST_PORT` and the key `CONTAINER_PORT/PROTOCOL`. An empty or `null` list is one binding
//! without wishes, and port 0 is any port, as Docker has them. Clients write a range as one binding for each port, which
//! is why they are put together again by the engine.

use std::{collections::BTreeSet, net::IpAddr};

use api_types as docker;
use engine::{View, record::NetworkMode};
use model::{ExposedPorts, Exposure, PortBinding, PortRange, Protocol, PublishedPorts};

use crate::status::{Answer, Refusal};

/// What is asked to be published. Everything that is wrong is told in one answer.
pub(crate) fn bindings(asked: &docker::PortMap) -> Answer<Vec<PortBinding>> {
    let mut wrong = Vec::new();
    let mut bindings = Vec::new();
    for (key, list) in asked {
        let (container, protocol) = match port(key) {
            Ok(found) => found,
            Err(message) => {
                wrong.push(message);
                continue;
            }
        };
        let any = [docker::PortBinding::default()];
        let list = list.as_deref().filter(|list| !list.is_empty()).unwrap_or(&any);
        for one in list {
            match binding(key, container, protocol, one) {
                Ok(binding) => bindings.push(binding),
                Err(message) => wrong.push(message),
            }
        }
    }
    refuse(&wrong)?;
    Ok(bindings)
}

fn refuse(wrong: &[String]) -> Answer<()> {
    match wrong {
        [] => Ok(()),
        [one] => Err(Refusal::bad_request(one)),
        several => Err(Refusal::bad_request(format!(
            "invalid ports:\n{}",
            several.join("\n")
        ))),
    }
}

/// `80`, `80/tcp`, `8000-8010/udp`.
pub(super) fn port(text: &str) -> Result<(PortRange, Protocol), String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let range = ports.parse().map_err(|error| {
        format!("invalid container port {text:?}: {error} (hint: 80, 80/udp and 8000-8010/tcp are)")
    })?;
    let protocol = protocol
        .parse()
        .map_err(|error| format!("invalid proto in {text:?}: {error}"))?;
    Ok((range, protocol))
}

fn binding(
    key: &str,
    container: PortRange,
    protocol: Protocol,
    asked: &docker::PortBinding,
) -> Result<PortBinding, String> {
    let host = host_ports(key, &asked.host_port)?;
    if let Some(host) = host
        && host.count() != container.count()
        && container.count() != 1
    {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {host} (hint: both must have one \
             length, unless the container has one port)"
        ));
    }
    Ok(PortBinding {
        protocol,
        container,
        host_ip: host_ip(key, &asked.host_ip)?,
        host,
        exposure: exposure(key, &asked.exposure)?,
    })
}

/// Empty and 0 are any port.
fn host_ports(key: &str, text: &str) -> Result<Option<PortRange>, String> {
    match text {
        "" | "0" => Ok(None),
        text => text.parse().map(Some).map_err(|error| {
            format!("invalid host port {text:?} for {key}: {error} (hint: leave it out for any free port)")
        }),
    }
}

/// An address, an IPv6 one in brackets or not; empty for the network's default.
fn host_ip(key: &str, text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let wrong = |why: &str| {
        Err(format!(
            "invalid host IP {text:?} for {key}: {why} (hint: leave it out for all addresses)"
        ))
    };
    match bare.parse::<IpAddr>() {
        Err(_) => wrong("no IP address"),
        Ok(ip) if ip.is_multicast() || ip == IpAddr::from([255; 4]) => wrong("nobody connects to it"),
        Ok(ip) => Ok(Some(ip.to_canonical())),
    }
}

fn exposure(key: &str, text: &str) -> Result<Option<Exposure>, String> {
    match text {
        "" => Ok(None),
        "open" => Ok(Some(Exposure::Open)),
        "host" => Ok(Some(Exposure::Host)),
        other => Err(format!(
            "invalid exposure {other:?} for {key} (hint: \"open\", or \"host\" for a port that obeys the host's own firewall)"
        )),
    }
}

/// The keys of `ExposedPorts`, checked and with their protocol.
pub(crate) fn exposed(asked: Option<&docker::UnitMap>) -> Answer<BTreeSet<String>> {
    let mut wrong = Vec::new();
    let mut exposed = BTreeSet::new();
    for key in asked.into_iter().flat_map(docker::UnitMap::keys) {
        match port(key) {
            Ok((ports, protocol)) => {
                exposed.insert(ExposedPorts { ports, protocol }.to_string());
            }
            Err(message) => wrong.push(message),
        }
    }
    refuse(&wrong)?;
    Ok(exposed)
}

/// Each port of a recorded range as Docker's clients know it; what is no range of ports as it stands there.
pub(super) fn one_by_one(text: &str) -> Vec<String> {
    match text.parse::<ExposedPorts>() {
        Ok(ports) => ports.each().map(|port| port.to_string()).collect(),
        Err(_) => vec![text.to_owned()],
    }
}

/// What was asked, port by port, as `HostConfig.PortBindings` shows it.
pub(crate) fn asked(bindings: &[PortBinding]) -> docker::PortMap {
    let mut map = docker::PortMap::new();
    for binding in bindings {
        let pairs = binding
            .host
            .filter(|host| host.count() == binding.container.count());
        for (at, container) in binding.container.iter().enumerate() {
            let host_port = match (pairs, binding.host) {
                (Some(pairs), _) => pairs.iter().nth(at).map(|port| port.to_string()),
                (None, range) => range.map(|range| range.to_string()),
            };
            let shown = docker::PortBinding {
                host_ip: binding.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                host_port: host_port.unwrap_or_default(),
                exposure: binding.exposure.map(word).unwrap_or_default(),
            };
            map.entry(format!("{container}/{}", binding.protocol))
                .or_default()
                .get_or_insert_default()
                .push(shown);
        }
    }
    map
}

/// `open` and `host`.
fn word(exposure: Exposure) -> String {
    match exposure {
        Exposure::Open => "open".to_owned(),
        Exposure::Host => "host".to_owned(),
    }
}

/// A running container's ports as `inspect` shows them: those decided, and `null` for one that is exposed only.
pub(crate) fn shown(view: &View) -> docker::PortMap {
    let mut map = docker::PortMap::new();
    if !view.record.state.phase.is_up() {
        return map;
    }
    for text in &view.record.settings.exposed_ports {
        let Ok((ports, protocol)) = port(text) else {
            continue;
        };
        map.extend(ports.iter().map(|port| (format!("{port}/{protocol}"), None)));
    }
    each(view, |published, host, container| {
        insert(&mut map, published, host, container);
    });
    map
}

/// Ports of a sandbox that is no container's of ours.
pub(crate) fn published(all: &[PublishedPorts]) -> docker::PortMap {
    let mut map = docker::PortMap::new();
    for published in all {
        for (host, container) in published.host.iter().zip(published.container.iter()) {
            insert(&mut map, published, host, container);
        }
    }
    map
}

fn insert(map: &mut docker::PortMap, published: &PublishedPorts, host: u16, container: u16) {
    let shown = docker::PortBinding {
        host_ip: published.host_ip.to_string(),
        host_port: host.to_string(),
        exposure: Some(published.exposure)
            .filter(|exposure| *exposure != Exposure::default())
            .map(word)
            .unwrap_or_default(),
    };
    map.entry(format!("{container}/{}", published.protocol))
        .or_default()
        .get_or_insert_default()
        .push(shown);
}

/// The same in a list.
pub(crate) fn listed(view: &View) -> Vec<docker::SummaryPort> {
    if !view.record.state.phase.is_up() {
        return Vec::new();
    }
    let mut list = Vec::new();
    let mut published_ports = BTreeSet::new();
    each(view, |published, host, container| {
        published_ports.insert((container, published.protocol));
        list.push(docker::SummaryPort {
            ip: published.host_ip.to_string(),
            private_port: container,
            public_port: host,
            r#type: published.protocol.to_string(),
        });
    });
    for text in &view.record.settings.exposed_ports {
        let Ok((ports, protocol)) = port(text) else {
            continue;
        };
        list.extend(
            ports
                .iter()
                .filter(|port| !published_ports.contains(&(*port, protocol)))
                .map(|private_port| docker::SummaryPort {
                    private_port,
                    r#type: protocol.to_string(),
                    ..docker::SummaryPort::default()
                }),
        );
    }
    list
}

/// Every published port of the container's own sandbox, one by one.
fn each(view: &View, mut tell: impl FnMut(&PublishedPorts, u16, u16)) {
    if matches!(view.record.settings.network_mode, NetworkMode::Container(_)) {
        return;
    }
    let Some(sandbox) = &view.sandbox else {
        return;
    };
    for published in &sandbox.ports {
        for (host, container) in published.host.iter().zip(published.container.iter()) {
            tell(published, host, container);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(json: serde_json::Value) -> Answer<Vec<PortBinding>> {
        bindings(&serde_json::from_value(json).expect("a map of ports"))
    }

    #[test]
    fn the_whole_grammar_is_read() {
        for (name, json, wanted) in [
            (
                "-p 8080:80",
                json!({"80/tcp": [{"HostPort": "8080"}]}),
                "80/tcp None Some(8080)",
            ),
            (
                "-p 80",
                json!({"80": [{"HostIp": "", "HostPort": ""}]}),
                "80/tcp None None",
            ),
            ("port 0", json!({"80": [{"HostPort": "0"}]}), "80/tcp None None"),
            ("no list", json!({"80/tcp": null}), "80/tcp None None"),
            ("an empty list", json!({"80/tcp": []}), "80/tcp None None"),
            (
                "-p 127.0.0.1:5000:5000",
                json!({"5000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5000"}]}),
                "5000/tcp Some(127.0.0.1) Some(5000)",
            ),
            (
                "-p 10.0.0.100::53/udp",
                json!({"53/udp": [{"HostIp": "10.0.0.100"}]}),
                "53/udp Some(10.0.0.100) None",
            ),
            (
                "-p [::1]:80:80/sctp",
                json!({"80/SCTP": [{"HostIp": "[::1]", "HostPort": "80"}]}),
                "80/sctp Some(::1) Some(80)",
            ),
            (
                "one of a range",
                json!({"80/tcp": [{"HostPort": "8000-8010"}]}),
                "80/tcp None Some(8000-8010)",
            ),
            (
                "range to range",
                json!({"90-99/tcp": [{"HostPort": "8000-8009"}]}),
                "90-99/tcp None Some(8000-8009)",
            ),
        ] {
            let found = parsed(json).expect(name);
            let [one] = &found[..] else {
                panic!("{name}: {found:?}")
            };
            let shown =
                |value: Option<String>| value.map_or("None".to_owned(), |value| format!("Some({value})"));
            let text = format!(
                "{}/{} {} {}",
                one.container,
                one.protocol,
                shown(one.host_ip.map(|ip| ip.to_string())),
                shown(one.host.map(|host| host.to_string())),
            );
            assert_eq!(text, wanted, "{name}");
        }
    }

    #[test]
    fn every_violation_is_told_and_all_at_once() {
        let rows = [
            (json!({"0/tcp": null}), "invalid container port \"0/tcp\""),
            (json!({"65536/tcp": null}), "invalid container port"),
            (json!({"": null}), "invalid container port"),
            (json!({"http": null}), "invalid container port"),
            (json!({"90-80/tcp": null}), "invalid container port"),
            (json!({"80/icmp": null}), "invalid proto in \"80/icmp\""),
            (json!({"80/": null}), "invalid proto"),
            (json!({"80/tcp/udp": null}), "invalid proto"),
            (
                json!({"80": [{"HostPort": "x"}]}),
                "invalid host port \"x\" for 80",
            ),
            (json!({"80": [{"HostPort": "-1"}]}), "invalid host port"),
            (json!({"80": [{"HostPort": "70000"}]}), "invalid host port"),
            (json!({"80": [{"HostPort": "90-80"}]}), "invalid host port"),
            (json!({"80": [{"HostPort": "80-"}]}), "invalid host port"),
            (
                json!({"80": [{"HostIp": "localhost"}]}),
                "invalid host IP \"localhost\"",
            ),
            (json!({"80": [{"HostIp": "10.0.0.256"}]}), "invalid host IP"),
            (json!({"80": [{"HostIp": "10.0.0.0/8"}]}), "invalid host IP"),
            (json!({"80": [{"HostIp": "224.0.0.1"}]}), "invalid host IP"),
            (json!({"80": [{"HostIp": "fe80::1%eth0"}]}), "invalid host IP"),
            (json!({"80": [{"Exposure": "shut"}]}), "invalid exposure \"shut\""),
            (json!({"80-81": [{"HostPort": "8000-8003"}]}), "invalid ranges"),
            (json!({"80-81": [{"HostPort": "8000"}]}), "invalid ranges"),
        ];
        for (json, says) in rows {
            let refusal = parsed(json.clone()).expect_err("refused");
            assert_eq!(refusal.status().as_u16(), 400);
            assert!(
                refusal.message().starts_with(says),
                "{json}: {}",
                refusal.message()
            );
        }
        let all =
            parsed(json!({"0": null, "80": [{"HostPort": "x"}, {"HostIp": "y"}]})).expect_err("refused");
        assert_eq!(all.message().lines().count(), 4, "{}", all.message());
    }

    #[test]
    fn what_was_asked_comes_back_port_by_port() {
        let json = json!({
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "", "Exposure": "host"}],
            "53/udp": [{"HostIp": "", "HostPort": "5000-5010"}]
        });
        let found = parsed(json.clone()).expect("bindings");
        assert_eq!(serde_json::to_value(asked(&found)).expect("JSON"), json);
        let range = parsed(json!({"90-91/tcp": [{"HostPort": "8000-8001"}]})).expect("a range");
        assert_eq!(
            serde_json::to_value(asked(&range)).expect("JSON"),
            json!({"90/tcp": [{"HostIp": "", "HostPort": "8000"}], "91/tcp": [{"HostIp": "", "HostPort": "8001"}]})
        );
    }

    #[test]
    fn exposed_ports_have_their_protocol_and_are_checked() {
        let map = |json| serde_json::from_value::<docker::UnitMap>(json).expect("a set");
        let found =
            exposed(Some(&map(json!({"80": {}, "53/UDP": {}, "7000-7002/sctp": {}})))).expect("ports");
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            ["53/udp", "7000-7002/sctp", "80/tcp"]
        );
        let refusal = exposed(Some(&map(json!({"0": {}, "x/tcp": {}})))).expect_err("refused");
        assert_eq!(refusal.message().lines().count(), 3);
    }
}
