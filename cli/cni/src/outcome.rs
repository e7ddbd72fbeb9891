//! Results: what an ADD made, in the shape of the specification's version, behind what plugins before it made.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::{
    failure::{Code, Failure},
    version::Version,
};

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The interface's end on the host; empty where it has none there.
    pub host_interface: String,
    /// The interface in the container; empty for none.
    pub interface: String,
    /// Its Ethernet address.
    pub mac: String,
    /// Bytes; 0 for the kernel's choice.
    pub mtu: u32,
    /// The namespace.
    pub netns: String,
    /// Addresses with their prefix lengths, each with its gateway or an empty text.
    pub addresses: Vec<(String, String)>,
    /// Routes with their next hops or empty texts.
    pub routes: Vec<(String, String)>,
    /// The name server.
    pub name_server: String,
    /// Search domains, domain and resolver options.
    pub search: Vec<String>,
    /// The container's domain.
    pub domain: String,
    /// Resolver options.
    pub dns_options: Vec<String>,
}

impl Outcome {
    /// The document, in a version's shape. What earlier plugins made stays in front.
    pub fn to_json(&self, version: Version, previous: Option<&Value>) -> Result<Value, Failure> {
        let mut document = previous_of(version, previous)?;
        let before = list(&mut document, "interfaces")?;
        if !self.host_interface.is_empty() {
            before.push(json!({"name": self.host_interface}));
        }
        let index = before.len();
        if !self.interface.is_empty() {
            before.push(self.own_interface(version));
        }
        let ips = list(&mut document, "ips")?;
        for (address, gateway) in &self.addresses {
            ips.push(self.ip(version, address, gateway, index));
        }
        let routes = list(&mut document, "routes")?;
        for (destination, gateway) in &self.routes {
            let route = match gateway.is_empty() {
                true => json!({"dst": destination}),
                false => json!({"dst": destination, "gw": gateway}),
            };
            if !routes.contains(&route) {
                routes.push(route);
            }
        }
        let before = document.get("dns").cloned().unwrap_or(Value::Null);
        document.insert("dns".to_owned(), self.dns(&before));
        for key in ["interfaces", "ips", "routes"] {
            if document
                .get(key)
                .and_then(Value::as_array)
                .is_some_and(Vec::is_empty)
            {
                document.remove(key);
            }
        }
        Ok(Value::Object(document))
    }

    fn own_interface(&self, version: Version) -> Value {
        let mut own = json!({"name": self.interface, "mac": self.mac, "sandbox": self.netns});
        if version.has_mtu() && self.mtu != 0 {
            own["mtu"] = self.mtu.into();
        }
        own
    }

    fn ip(&self, version: Version, address: &str, gateway: &str, index: usize) -> Value {
        let mut ip = Map::new();
        if version.has_families() {
            ip.insert("version".to_owned(), family(address).into());
        }
        ip.insert("address".to_owned(), address.into());
        if !gateway.is_empty() {
            ip.insert("gateway".to_owned(), gateway.into());
        }
        if !self.interface.is_empty() {
            ip.insert("interface".to_owned(), index.into());
        }
        Value::Object(ip)
    }

    /// Our name server knows our networks and asks others for the rest; other plugins' search domains stay.
    fn dns(&self, before: &Value) -> Value {
        let mut dns = Map::new();
        if !self.name_server.is_empty() {
            dns.insert("nameservers".to_owned(), json!([self.name_server]));
        } else if let Some(servers) = before.get("nameservers") {
            dns.insert("nameservers".to_owned(), servers.clone());
        }
        let texts = |key: &str| {
            let all = before[key].as_array().into_iter().flatten();
            all.filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        match before["domain"].as_str() {
            _ if !self.domain.is_empty() => drop(dns.insert("domain".to_owned(), self.domain.clone().into())),
            Some(domain) if !domain.is_empty() => drop(dns.insert("domain".to_owned(), domain.into())),
            _ => {}
        }
        for (key, own) in [("search", &self.search), ("options", &self.dns_options)] {
            let mut all = own.clone();
            all.extend(texts(key).into_iter().filter(|text| !own.contains(text)));
            if !all.is_empty() {
                dns.insert(key.to_owned(), all.into());
            }
        }
        Value::Object(dns)
    }
}

/// The result that a chain has come to, in this version's shape.
pub(crate) fn previous_of(version: Version, previous: Option<&Value>) -> Result<Map<String, Value>, Failure> {
    let mut document = match previous {
        None => Map::new(),
        Some(Value::Object(document)) => document.clone(),
        Some(_) => return Err(no_result("it is no JSON object")),
    };
    let ips = match document.contains_key("ips") {
        true => list(&mut document, "ips")?.as_mut_slice(),
        false => &mut [],
    };
    for ip in ips {
        let Some(ip) = ip.as_object_mut() else {
            return Err(no_result("\"ips\" has something else than objects in it"));
        };
        ip.remove("version");
        let family = ip.get("address").and_then(Value::as_str).map(family);
        if let (true, Some(family)) = (version.has_families(), family) {
            ip.insert("version".to_owned(), family.into());
        }
    }
    // First in the document, as people expect it.
    let mut dressed = Map::from_iter([("cniVersion".to_owned(), Value::from(version.as_str()))]);
    document.remove("cniVersion");
    dressed.extend(document);
    Ok(dressed)
}

/// A list of a document, made if it isn't there.
fn list<'a>(document: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Vec<Value>, Failure> {
    let value = document.entry(key.to_owned()).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    value
        .as_array_mut()
        .ok_or_else(|| no_result(&format!("{key:?} is no list")))
}

fn no_result(why: &str) -> Failure {
    Failure::new(Code::InvalidConfig, format!("\"prevResult\" is no result: {why}"))
}

fn family(address: &str) -> &'static str {
    let address = address.split_once('/').map_or(address, |(address, _)| address);
    match address.parse() {
        Ok(IpAddr::V6(_)) => "6",
        _ => "4",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Outcome {
        Outcome {
            host_interface: "veth1".into(),
            interface: "eth0".into(),
            mac: "02:42:0a:00:00:02".into(),
            mtu: 1450,
            netns: "/run/netns/x".into(),
            addresses: vec![
                ("10.0.0.2/24".into(), "10.0.0.1".into()),
                ("fd00::2/64".into(), String::new()),
            ],
            routes: vec![
                ("0.0.0.0/0".into(), "10.0.0.1".into()),
                ("10.9.0.0/16".into(), String::new()),
            ],
            name_server: "127.0.0.11".into(),
            ..Outcome::default()
        }
    }

    #[test]
    fn each_version_has_its_shape() {
        let ips = |families: bool| match families {
            true => json!([
                {"version": "4", "address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": 1},
                {"version": "6", "address": "fd00::2/64", "interface": 1},
            ]),
            false => json!([
                {"address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": 1},
                {"address": "fd00::2/64", "interface": 1},
            ]),
        };
        let own = json!({"name": "eth0", "mac": "02:42:0a:00:00:02", "sandbox": "/run/netns/x"});
        let mut with_mtu = own.clone();
        with_mtu["mtu"] = 1450.into();
        for (version, own, families) in [
            (Version::V0_3_0, &own, true),
            (Version::V0_3_1, &own, true),
            (Version::V0_4_0, &own, true),
            (Version::V1_0_0, &own, false),
            (Version::V1_1_0, &with_mtu, false),
        ] {
            let wanted = json!({
                "cniVersion": version.as_str(),
                "interfaces": [{"name": "veth1"}, own],
                "ips": ips(families),
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "10.9.0.0/16"}],
                "dns": {"nameservers": ["127.0.0.11"]},
            });
            assert_eq!(made().to_json(version, None).unwrap(), wanted, "{version:?}");
        }
    }

    #[test]
    fn what_a_chain_made_before_stays_in_front_with_all_that_is_in_it() {
        let previous = json!({
            "cniVersion": "0.4.0",
            "interfaces": [{"name": "lo", "sandbox": "/run/netns/x", "pciID": "1"}],
            "ips": [{"version": "4", "address": "127.0.0.1/8", "interface": 0, "extra": true}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}],
            "dns": {"nameservers": ["1.1.1.1"], "search": ["corp"], "domain": "d"},
            "more": 1,
        });
        let result = made().to_json(Version::V1_0_0, Some(&previous)).unwrap();
        assert_eq!(result["cniVersion"], "1.0.0");
        assert_eq!(result["more"], 1);
        assert_eq!(result["interfaces"][0], previous["interfaces"][0]);
        assert_eq!(result["interfaces"].as_array().unwrap().len(), 3);
        assert_eq!(
            result["ips"][0],
            json!({"address": "127.0.0.1/8", "interface": 0, "extra": true})
        );
        assert_eq!(result["ips"][1]["interface"], 2, "counted behind the others");
        assert_eq!(result["routes"].as_array().unwrap().len(), 2, "one default route");
        assert_eq!(
            result["dns"],
            json!({"nameservers": ["127.0.0.11"], "domain": "d", "search": ["corp"]})
        );
    }

    #[test]
    fn a_result_that_is_none_is_refused() {
        for previous in [
            json!("x"),
            json!([]),
            json!({"interfaces": {}}),
            json!({"ips": [1]}),
            json!({"routes": "x"}),
        ] {
            let refused = made().to_json(Version::V1_0_0, Some(&previous));
            assert_eq!(
                refused.expect_err("no result").code,
                Code::InvalidConfig,
                "{previous}"
            );
        }
    }

    #[test]
    fn nothing_made_leaves_no_empty_lists() {
        let nothing = Outcome::default().to_json(Version::V1_1_0, None).unwrap();
        assert_eq!(nothing, json!({"cniVersion": "1.1.0", "dns": {}}));
    }
}
