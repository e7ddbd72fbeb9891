//! `--network` in its two forms, and the endpoint it asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api_types::{EndpointIpamConfig, EndpointSettings, Map};

/// One `--network`: a name, or `name=…,alias=…,ip=…`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NetworkChoice {
    pub(crate) target: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
    pub(crate) link_local: Vec<IpAddr>,
    pub(crate) mac_address: Option<String>,
    pub(crate) driver_options: Map<String>,
    pub(crate) gateway_priority: i64,
}

const KEYS: &str = "name, alias, ip, ip6, mac-address, link-local-ip, driver-opt, gw-priority";

/// Parses one `--network`.
pub(crate) fn choice(text: &str) -> Result<NetworkChoice, String> {
    let mut choice = NetworkChoice::default();
    if !text.contains('=') {
        choice.target = text.to_owned();
        return Ok(choice);
    }
    for field in &fields(text) {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => choice.target = value.to_owned(),
            "alias" => choice.aliases.push(value.to_owned()),
            "ip" => choice.ipv4 = Some(ipv4(value)?),
            "ip6" => choice.ipv6 = Some(ipv6(value)?),
            "mac-address" => choice.mac_address = Some(mac_address(value)?),
            "link-local-ip" => choice.link_local.push(address(value)?),
            "driver-opt" => {
                let (name, option) = value
                    .split_once('=')
                    .ok_or_else(|| format!("driver-opt {value:?} is not of the form KEY=VALUE"))?;
                choice.driver_options.insert(name.to_owned(), option.to_owned());
            }
            "gw-priority" => {
                choice.gateway_priority = value
                    .parse()
                    .map_err(|_| format!("gw-priority {value:?} is no number"))?;
            }
            unknown => return Err(format!("unknown key {unknown:?} in {text:?}; there are {KEYS}")),
        }
    }
    if choice.target.is_empty() {
        return Err(format!("{text:?} names no network: write name=NETWORK,…"));
    }
    Ok(choice)
}

/// Fields with commas between them; one in quotes may have commas itself (RFC 4180).
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => fields
                .last_mut()
                .expect("there is one from the start")
                .push(letter),
        }
    }
    fields
}

impl NetworkChoice {
    /// `container:OTHER` and the like have no endpoint; `none` and `host` have one without wishes.
    pub(crate) fn shares_another(&self) -> bool {
        self.target.starts_with("container:")
    }

    /// Whether it is a network that somebody created.
    pub(crate) fn is_user_defined(&self) -> bool {
        !matches!(self.target.as_str(), "" | "default" | "bridge" | "host" | "none") && !self.shares_another()
    }

    /// The endpoint asked for.
    pub(crate) fn endpoint(&self) -> EndpointSettings {
        let text = |address: Option<String>| address.unwrap_or_default();
        let ipam = EndpointIpamConfig {
            ipv4_address: text(self.ipv4.map(|address| address.to_string())),
            ipv6_address: text(self.ipv6.map(|address| address.to_string())),
            link_local_ips: self.link_local.iter().map(ToString::to_string).collect(),
        };
        EndpointSettings {
            ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
            links: super::some_list(&self.links),
            aliases: super::some_list(&self.aliases),
            mac_address: self.mac_address.clone().unwrap_or_default(),
            driver_opts: (!self.driver_options.is_empty()).then(|| self.driver_options.clone()),
            gw_priority: self.gateway_priority,
            ..EndpointSettings::default()
        }
    }
}

/// An IPv4 address.
pub(crate) fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| format!("{text:?} is no IPv4 address"))
}

/// An IPv6 address.
pub(crate) fn ipv6(text: &str) -> Result<Ipv6Addr, String> {
    text.parse().map_err(|_| format!("{text:?} is no IPv6 address"))
}

/// An address of either family.
pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no IP address"))
}

/// An Ethernet address, in the form it is stored in.
pub(crate) fn mac_address(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let hexadecimal = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if parts.len() != 6 || !parts.iter().all(hexadecimal) {
        return Err(format!("{text:?} is no MAC address"));
    }
    Ok(parts.join(":").to_ascii_lowercase())
}

/// `CONTAINER` or `CONTAINER:ALIAS`.
pub(crate) fn link(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] if !name.is_empty() => Ok(format!("{name}:{name}")),
        [name, alias] if !name.is_empty() && !alias.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("bad format for link {text:?}: write CONTAINER[:ALIAS]")),
    }
}

/// `HOST:ADDRESS` or `HOST=ADDRESS`, where the address may be `host-gateway`.
pub(crate) fn extra_host(text: &str) -> Result<String, String> {
    let bad = || format!("bad format for add-host {text:?}: write HOST:ADDRESS or HOST:host-gateway");
    let (name, value) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    let bare = value
        .strip_prefix('[')
        .and_then(|value| value.strip_suffix(']'))
        .unwrap_or(value);
    if bare != "host-gateway" {
        address(bare).map_err(|error| format!("{}: {error}", bad()))?;
    }
    Ok(format!("{name}:{bare}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_field_may_have_commas() {
        let rows = [
            ("a", vec!["a"]),
            ("a=1,b=2", vec!["a=1", "b=2"]),
            ("a=1,\"b=2,3\",c", vec!["a=1", "b=2,3", "c"]),
            ("a=\"1,2\"", vec!["a=1,2"]),
        ];
        for (text, wanted) in rows {
            assert_eq!(fields(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_long_form_says_all_about_an_endpoint() {
        let text = "name=ol1,alias=web,alias=www,ip=172.16.2.7,ip6=fd00::7,MAC-ADDRESS=02-42-AC-10-02-07,\
                    link-local-ip=169.254.1.1,driver-opt=a=b,gw-priority=-3";
        let endpoint = choice(text).expect("good").endpoint();
        let ipam = endpoint.ipam_config.clone().expect("addresses were asked for");
        assert_eq!(ipam.ipv4_address, "172.16.2.7");
        assert_eq!(ipam.ipv6_address, "fd00::7");
        assert_eq!(ipam.link_local_ips, ["169.254.1.1"]);
        assert_eq!(endpoint.aliases, Some(vec!["web".into(), "www".into()]));
        assert_eq!(endpoint.mac_address, "02:42:ac:10:02:07");
        assert_eq!(
            endpoint.driver_opts,
            Some([("a".to_owned(), "b".to_owned())].into())
        );
        assert_eq!(endpoint.gw_priority, -3);
    }

    #[test]
    fn a_name_alone_asks_for_nothing_more() {
        let bare = choice("ol1").expect("good");
        assert_eq!(
            (bare.target.as_str(), bare.endpoint()),
            ("ol1", EndpointSettings::default())
        );
        assert!(bare.is_user_defined());
        for mode in ["host", "none", "bridge", "default", "container:x"] {
            assert!(!choice(mode).expect("good").is_user_defined(), "{mode}");
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        let bad = [
            "name=a,bogus=1",
            "alias=x",
            "name=a,ip=fd00::1",
            "name=a,ip6=1.2.3.4",
            "name=a,mac-address=zz",
            "name=a,driver-opt=x",
            "name=a,gw-priority=high",
        ];
        for text in bad {
            assert!(choice(text).is_err(), "{text}");
        }
    }

    #[test]
    fn links_and_hosts_have_two_parts() {
        assert_eq!(link("db"), Ok("db:db".into()));
        assert_eq!(link("db:webdb"), Ok("db:webdb".into()));
        assert!(link("").is_err() && link("a:b:c").is_err() && link(":b").is_err());
        assert_eq!(extra_host("db:10.0.0.1"), Ok("db:10.0.0.1".into()));
        assert_eq!(extra_host("db=fd00::1"), Ok("db:fd00::1".into()));
        assert_eq!(extra_host("db:fd00::1"), Ok("db:fd00::1".into()));
        assert_eq!(extra_host("db:[fd00::1]"), Ok("db:fd00::1".into()));
        assert_eq!(extra_host("me:host-gateway"), Ok("me:host-gateway".into()));
        assert!(
            extra_host("db").is_err() && extra_host(":1.2.3.4").is_err() && extra_host("db:nope").is_err()
        );
    }
}
