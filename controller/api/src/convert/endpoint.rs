//! Endpoint settings: wishes at creation and connect, facts in `inspect`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api_types::{EndpointIpamConfig, EndpointResource, EndpointSettings};
use engine::{Attached, record::Wishes};
use model::{Endpoint, IpNet, MacAddress};

use crate::status::{Answer, Refusal};

/// What a client asks of an endpoint. Everything that only `inspect` fills in is passed over, because clients send
/// back what they read.
pub(crate) fn wishes(settings: EndpointSettings) -> Answer<Wishes> {
    let ipam = settings.ipam_config.unwrap_or_default();
    Ok(Wishes {
        network: String::new(),
        aliases: settings.aliases.unwrap_or_default(),
        links: settings.links.unwrap_or_default(),
        ipv4: address::<Ipv4Addr>(&ipam.ipv4_address, "IPv4")?,
        ipv6: address::<Ipv6Addr>(&ipam.ipv6_address, "IPv6")?,
        link_local: ipam
            .link_local_ips
            .iter()
            .filter_map(|text| address::<IpAddr>(text, "link-local").transpose())
            .collect::<Answer<_>>()?,
        mac: mac(&settings.mac_address)?,
        gateway_priority: i32::try_from(settings.gw_priority).map_err(|_| {
            Refusal::bad_request(format!("invalid gateway priority {}", settings.gw_priority))
        })?,
        options: settings.driver_opts.unwrap_or_default(),
    })
}

fn address<A: std::str::FromStr>(text: &str, kind: &str) -> Answer<Option<A>> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || {
        Refusal::bad_request(format!(
            "invalid endpoint settings: invalid {kind} address: {text}"
        ))
    };
    text.parse().map(Some).map_err(|_| invalid())
}

/// An Ethernet address; empty for none.
pub(crate) fn mac(text: &str) -> Answer<Option<MacAddress>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|error| Refusal::bad_request(format!("invalid MAC address: {error}")))
}

/// One network of a container as `inspect` shows it: wishes always, facts while there is an endpoint.
pub(crate) fn settings(attached: &Attached) -> EndpointSettings {
    let wishes = &attached.wishes;
    let mut settings = EndpointSettings {
        ipam_config: ipam_config(wishes),
        links: some(wishes.links.clone()),
        aliases: some(wishes.aliases.clone()),
        mac_address: wishes.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        driver_opts: Some(wishes.options.clone()).filter(|options| !options.is_empty()),
        gw_priority: wishes.gateway_priority.into(),
        network_id: attached.id.to_string(),
        ..EndpointSettings::default()
    };
    let Some(endpoint) = &attached.endpoint else {
        return settings;
    };
    let text = |address: Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    settings.endpoint_id = endpoint.id.to_string();
    settings.mac_address = endpoint
        .addresses
        .mac
        .map(|mac| mac.to_string())
        .unwrap_or_default();
    settings.dns_names = some(endpoint.dns_names.clone());
    if let Some(net) = endpoint.addresses.ipv4 {
        (settings.ip_address, settings.ip_prefix_len) = (net.addr().to_string(), net.prefix_len().into());
        settings.gateway = text(attached.gateways.v4);
    }
    if let Some(net) = endpoint.addresses.ipv6 {
        settings.global_ipv6_address = net.addr().to_string();
        settings.global_ipv6_prefix_len = net.prefix_len().into();
        settings.ipv6_gateway = text(attached.gateways.v6);
    }
    settings
}

/// `null` when no address was asked for; an empty object would read as one that was.
fn ipam_config(wishes: &Wishes) -> Option<EndpointIpamConfig> {
    wishes.has_address().then(|| EndpointIpamConfig {
        ipv4_address: wishes.ipv4.map(|address| address.to_string()).unwrap_or_default(),
        ipv6_address: wishes.ipv6.map(|address| address.to_string()).unwrap_or_default(),
        link_local_ips: wishes.link_local.iter().map(IpAddr::to_string).collect(),
    })
}

/// Docker writes `null`, not `[]`, for lists that nothing was put in.
fn some(list: Vec<String>) -> Option<Vec<String>> {
    Some(list).filter(|list| !list.is_empty())
}

/// An endpoint as `inspect` of its network shows it.
pub(crate) fn resource(endpoint: &Endpoint) -> EndpointResource {
    let text = |net: Option<IpNet>| net.map(|net| net.to_string()).unwrap_or_default();
    EndpointResource {
        name: endpoint.name.clone(),
        endpoint_id: endpoint.id.to_string(),
        mac_address: endpoint
            .addresses
            .mac
            .map(|mac| mac.to_string())
            .unwrap_or_default(),
        ipv4_address: text(endpoint.addresses.ipv4.map(IpNet::V4)),
        ipv6_address: text(endpoint.addresses.ipv6.map(IpNet::V6)),
    }
}

#[cfg(test)]
mod tests {
    use engine::Gateways;
    use model::NetworkId;

    use super::*;

    fn asked() -> EndpointSettings {
        EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: "10.0.0.5".into(),
                ..Default::default()
            }),
            aliases: Some(vec!["db".into()]),
            mac_address: "02:42:0a:00:00:05".into(),
            gw_priority: 3,
            ..Default::default()
        }
    }

    #[test]
    fn wishes_come_back_in_inspect_of_a_stopped_container() {
        let attached = Attached {
            id: NetworkId::random(),
            name: "n".into(),
            wishes: wishes(asked()).expect("good settings"),
            network: None,
            endpoint: None,
            gateways: Gateways::default(),
        };
        let shown = settings(&attached);
        assert_eq!(
            shown,
            EndpointSettings {
                network_id: attached.id.to_string(),
                ..asked()
            }
        );
    }

    #[test]
    fn nothing_asked_is_null_and_not_empty() {
        assert_eq!(
            wishes(EndpointSettings::default()).expect("nothing"),
            Wishes::default()
        );
        let empty = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig::default()),
            ..Default::default()
        };
        assert_eq!(
            wishes(empty).expect("an empty IPAMConfig is none"),
            Wishes::default()
        );
        assert_eq!(ipam_config(&Wishes::default()), None);
        assert_eq!(some(Vec::new()), None);
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for (v4, v6, mac) in [
            ("fd00::1", "", ""),
            ("10.0.0.256", "", ""),
            ("", "10.0.0.1", ""),
            ("", "", "01:00:5e:00:00:01"),
        ] {
            let settings = EndpointSettings {
                ipam_config: Some(EndpointIpamConfig {
                    ipv4_address: v4.into(),
                    ipv6_address: v6.into(),
                    ..Default::default()
                }),
                mac_address: mac.into(),
                ..Default::default()
            };
            assert!(wishes(settings).is_err(), "{v4} {v6} {mac}");
        }
    }
}
