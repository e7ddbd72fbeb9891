//! Ports: what `--expose` and `--publish` mean, and how a list shows them.

use std::collections::BTreeMap;

use api_types::{Map, PortBinding, SummaryPort};

/// Ports published, by container port as `80/tcp`.
pub(crate) type Bindings = Map<Option<Vec<PortBinding>>>;

/// `80`, `80/udp`, `8000-8010/tcp`: every single port of it, as `80/tcp`.
pub(crate) fn exposed(text: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = with_protocol(text)?;
    Ok(span(range, text)?
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// `8080:80`, `127.0.0.1:8080:80/udp`, `127.0.0.1::80`, `[::1]:80:80`, `8000-8010:80-90`, `80`; and behind any of them
/// `,firewall=host` or `,firewall=open`.
pub(crate) fn published(text: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let (binding, exposure) = match text.split_once(',') {
        Some((binding, option)) => (binding, firewall_option(option, text)?),
        None => (text, String::new()),
    };
    let (rest, protocol) = with_protocol(binding)?;
    let (host_ip, rest) = host_address(rest);
    let (host, inside) = match rest.rsplit_once(':') {
        Some((host, inside)) => (host, inside),
        None => ("", rest),
    };
    let inside: Vec<u16> = span(inside, text)?.collect();
    if !host_ip.is_empty() {
        super::network::address(&host_ip).map_err(|error| format!("invalid port {text:?}: {error}"))?;
    }
    let hosts: Vec<String> = if host.is_empty() {
        vec![String::new(); inside.len()]
    } else {
        let ports: Vec<u16> = span(host, text)?.collect();
        match (ports.len(), inside.len()) {
            (a, b) if a == b => ports.iter().map(ToString::to_string).collect(),
            // Any port of the range will do.
            (_, 1) => vec![host.to_owned()],
            _ => return Err(format!("the two ranges of {text:?} have different lengths")),
        }
    };
    let binding = |host_port: String| PortBinding {
        host_ip: host_ip.clone(),
        host_port,
        exposure: exposure.clone(),
    };
    Ok(inside
        .iter()
        .zip(hosts)
        .map(|(port, host)| (format!("{port}/{protocol}"), binding(host)))
        .collect())
}

/// Whose rules a published port obeys: ours alone, or the host's own firewall too.
pub(crate) fn exposure(text: &str) -> Result<String, String> {
    match text {
        "open" | "host" => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is neither open nor host: a port that is open passes the host's own firewall by, one that is host obeys it"
        )),
    }
}

fn firewall_option(option: &str, text: &str) -> Result<String, String> {
    match option.split_once('=') {
        Some(("firewall", value)) => exposure(value),
        _ => Err(format!(
            "unknown option {option:?} in port {text:?}: write firewall=host or firewall=open"
        )),
    }
}

/// `80`, `80/udp`: one port of a container, as `80/udp`.
pub(crate) fn private(text: &str) -> Result<String, String> {
    match exposed(text)?.as_slice() {
        [port] => Ok(port.clone()),
        _ => Err(format!("{text:?} is a range: write one port, as 80 or 80/udp")),
    }
}

/// Bindings as the API takes them: by container port.
pub(crate) fn by_port<'b>(published: impl IntoIterator<Item = &'b (String, PortBinding)>) -> Bindings {
    let mut bindings = Bindings::new();
    for (port, binding) in published {
        bindings
            .entry(port.clone())
            .or_default()
            .get_or_insert_default()
            .push(binding.clone());
    }
    bindings
}

/// One line of `cnm port`: `0.0.0.0:8080`, `[::]:8080`.
pub(crate) fn host_side(binding: &PortBinding) -> String {
    host_and_port(&binding.host_ip, &binding.host_port)
}

fn with_protocol(text: &str) -> Result<(&str, &str), String> {
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    match protocol {
        "tcp" | "udp" | "sctp" => Ok((rest, protocol)),
        other => Err(format!(
            "unknown protocol {other:?} in port {text:?}; there are tcp, udp, sctp"
        )),
    }
}

/// Splits `[::1]:…` and `1.2.3.4:…` off.
fn host_address(text: &str) -> (String, &str) {
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once("]:")) {
        return (address.to_owned(), rest);
    }
    match text.splitn(3, ':').collect::<Vec<_>>().as_slice() {
        [address, _, _] => ((*address).to_owned(), &text[address.len() + 1..]),
        _ => (String::new(), text),
    }
}

fn span(range: &str, text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let invalid = || format!("invalid port {text:?}: write [ADDRESS:][HOST:]CONTAINER[/PROTOCOL]");
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(invalid)
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        Err(invalid())
    } else {
        Ok(first..=last)
    }
}

/// The PORTS column: neighbours drawn together, as `80-81/tcp, 0.0.0.0:8080-8081->8080-8081/tcp`.
pub(crate) fn column(ports: &[SummaryPort]) -> String {
    let mut sorted: Vec<&SummaryPort> = ports.iter().collect();
    sorted.sort_by_key(|port| {
        (
            port.private_port,
            port.ip.clone(),
            port.public_port,
            port.r#type.clone(),
        )
    });
    let mut groups: BTreeMap<String, (u16, u16)> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut shown = Vec::new();
    for port in sorted {
        // Only ports published under their own number run together with others.
        if !port.ip.is_empty() && port.public_port != port.private_port {
            shown.push(format!(
                "{}->{}/{}",
                host_and_port(&port.ip, &port.public_port.to_string()),
                port.private_port,
                port.r#type
            ));
            continue;
        }
        let key = if port.ip.is_empty() {
            port.r#type.clone()
        } else {
            format!("{}/{}", port.ip, port.r#type)
        };
        match groups.get_mut(&key) {
            Some((_, last))
                if *last == port.private_port || last.checked_add(1) == Some(port.private_port) =>
            {
                *last = port.private_port;
            }
            Some(range) => {
                let ended = std::mem::replace(range, (port.private_port, port.private_port));
                shown.push(group(&key, ended));
            }
            None => {
                groups.insert(key.clone(), (port.private_port, port.private_port));
                order.push(key);
            }
        }
    }
    shown.extend(
        order
            .iter()
            .filter_map(|key| groups.get(key).map(|range| group(key, *range))),
    );
    shown.sort_by_key(|text| natural(text));
    shown.join(", ")
}

fn host_and_port(address: &str, port: &str) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

fn group(key: &str, (first, last): (u16, u16)) -> String {
    let range = if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    };
    match key.rsplit_once('/') {
        Some((address, protocol)) => format!("{}->{range}/{protocol}", host_and_port(address, &range)),
        None => format!("{range}/{key}"),
    }
}

/// Published ports come after those that are only exposed.
fn natural(text: &str) -> bool {
    text.contains("->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposed_ranges_are_taken_apart() {
        assert_eq!(exposed("80"), Ok(vec!["80/tcp".into()]));
        assert_eq!(
            exposed("80-82/udp"),
            Ok(vec!["80/udp".into(), "81/udp".into(), "82/udp".into()])
        );
        for text in ["", "0", "70000", "82-80", "80/icmp", "a"] {
            assert!(exposed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn published_ports_have_up_to_three_parts() {
        let cases = [
            ("80", "80/tcp=:"),
            ("8080:80", "80/tcp=:8080"),
            ("127.0.0.1:5000:5000", "5000/tcp=127.0.0.1:5000"),
            ("127.0.0.1::5000", "5000/tcp=127.0.0.1:"),
            ("10.0.0.100::53/udp", "53/udp=10.0.0.100:"),
            ("[::1]:80:8080", "8080/tcp=::1:80"),
            ("8000-8001:80-81", "80/tcp=:8000 81/tcp=:8001"),
            ("8000-8010:80", "80/tcp=:8000-8010"),
        ];
        for (text, expected) in cases {
            let got = published(text).expect(text);
            let got: Vec<String> = got
                .iter()
                .map(|(port, binding)| format!("{port}={}:{}", binding.host_ip, binding.host_port))
                .collect();
            assert_eq!(got.join(" "), expected, "{text}");
        }
        let guarded = published("127.0.0.1:8080:80/udp,firewall=host").expect("an option");
        assert_eq!(guarded[0].1.exposure, "host");
        for text in [
            "80,firewall=closed",
            "80,colour=red",
            "",
            "a:80",
            "8000-8002:80-81",
            "nowhere:80:80",
            "80:",
            "80:80/icmp",
        ] {
            assert!(published(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_port_of_a_container_is_asked_for_with_or_without_its_protocol() {
        assert_eq!(private("80"), Ok("80/tcp".into()));
        assert_eq!(private("53/udp"), Ok("53/udp".into()));
        assert!(private("80-81").is_err() && private("http").is_err());
    }

    #[test]
    fn neighbouring_ports_are_shown_together() {
        let port = |ip: &str, private_port, public_port, kind: &str| SummaryPort {
            ip: ip.into(),
            private_port,
            public_port,
            r#type: kind.into(),
        };
        let ports = [
            port("", 80, 0, "tcp"),
            port("0.0.0.0", 8080, 8080, "tcp"),
            port("0.0.0.0", 8081, 8081, "tcp"),
            port("", 53, 0, "udp"),
            port("", 81, 0, "tcp"),
            port("::", 443, 8443, "tcp"),
        ];
        let expected = "53/udp, 80-81/tcp, [::]:8443->443/tcp, 0.0.0.0:8080-8081->8080-8081/tcp";
        assert_eq!(column(&ports), expected);
        assert_eq!(column(&[]), "");
    }
}
