//! CHECK: is the container's interface still what ADD said?

use api_types::{Sandbox, SandboxEndpoint, SandboxLink, SandboxObserved};
use serde_json::Value;

use super::interface;
use crate::{
    config::Config,
    daemon::{Daemon, Silence, escaped},
    environment::Environment,
    failure::{Code, Failure},
    outcome::previous_of,
};

pub(super) fn check(environment: &Environment, config: &Config, daemon: &Daemon) -> Result<(), Failure> {
    let (container, interface) = (environment.container()?, interface(environment, config)?);
    environment.netns()?;
    let previous = config.previous.as_ref().ok_or_else(|| {
        Failure::new(Code::InvalidConfig, "the configuration has no \"prevResult\"")
            .with("in a CHECK the runtime gives the result of the ADD")
    })?;
    let previous = Value::Object(previous_of(config.version, Some(previous))?);
    let unknown = || {
        Failure::new(
            Code::UnknownContainer,
            format!(
                "container {container:?} has no interface {interface:?} of {:?}",
                config.name
            ),
        )
    };
    let sandbox: Sandbox = match daemon.get(&format!("/sandboxes/{}", escaped(container))) {
        Err(Silence::Refused { status: 404, .. }) => return Err(unknown()),
        answer => answer?,
    };
    let is_it =
        |endpoint: &&SandboxEndpoint| endpoint.interface == interface && endpoint.group == config.name;
    // The daemon finds by the beginning of a key, too.
    let endpoint = sandbox
        .endpoints
        .iter()
        .find(is_it)
        .filter(|_| sandbox.key == container);
    let endpoint = endpoint.ok_or_else(unknown)?;
    let wrong = compare(&previous, endpoint, &sandbox.observed.unwrap_or_default());
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Code::NotAsMade, wrong.join("; "))
            .with("the daemon repairs what is its own within a minute; \"cnm sandbox inspect\" shows it")),
    }
}

/// Pure: what of a result is no longer so. What plugins behind this one have changed is theirs.
fn compare(previous: &Value, made: &SandboxEndpoint, now: &SandboxObserved) -> Vec<String> {
    let mut wrong = now.missing.clone();
    let name = made.interface.as_str();
    let Some(link) = now.interfaces.iter().find(|link| link.name == name) else {
        wrong.push(format!("interface {name:?} is gone"));
        wrong.dedup();
        return wrong;
    };
    let interfaces = previous["interfaces"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let in_sandbox = |one: &Value| {
        one["name"] == name && one["sandbox"].as_str().is_some_and(|sandbox| !sandbox.is_empty())
    };
    let Some(index) = interfaces.iter().position(in_sandbox) else {
        wrong.push(format!("\"prevResult\" has no interface {name:?}"));
        return wrong;
    };
    wrong.extend(of_link(&interfaces[index], link));
    let ips = previous["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = ips.iter().filter(|ip| ip["interface"] == index);
    for address in own.filter_map(|ip| ip["address"].as_str()) {
        // The daemon has said it already where it is one of its own.
        let told = now.missing.iter().any(|text| text.contains(address));
        if !told && !link.addresses.iter().any(|worn| worn == address) {
            wrong.push(format!("interface {name:?} has no address {address}"));
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

fn of_link(was: &Value, link: &SandboxLink) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = &link.name;
    if !link.up {
        wrong.push(format!("interface {name:?} is down"));
    }
    if let Some(mac) = was["mac"].as_str()
        && !mac.is_empty()
        && !mac.eq_ignore_ascii_case(&link.mac_address)
    {
        wrong.push(format!(
            "interface {name:?} has the Ethernet address {}, not {mac}",
            link.mac_address
        ));
    }
    if let Some(mtu) = was["mtu"].as_u64()
        && mtu != u64::from(link.mtu)
    {
        wrong.push(format!(
            "interface {name:?} has an MTU of {}, not {mtu}",
            link.mtu
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made() -> SandboxEndpoint {
        SandboxEndpoint {
            interface: "eth0".into(),
            ..SandboxEndpoint::default()
        }
    }

    fn now() -> SandboxObserved {
        SandboxObserved {
            interfaces: vec![SandboxLink {
                name: "eth0".into(),
                mac_address: "02:42:0a:00:00:02".into(),
                mtu: 1500,
                up: true,
                addresses: vec!["10.0.0.2/24".into(), "fe80::1/64".into()],
            }],
            ..SandboxObserved::default()
        }
    }

    fn result() -> Value {
        json!({
            "interfaces": [
                {"name": "veth1"},
                {"name": "eth0", "mac": "02:42:0A:00:00:02", "sandbox": "/run/netns/x", "mtu": 1500},
            ],
            "ips": [{"address": "10.0.0.2/24", "interface": 1}, {"address": "10.9.9.9/24", "interface": 0}],
        })
    }

    #[test]
    fn what_is_as_it_was_made_is_well() {
        assert_eq!(compare(&result(), &made(), &now()), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_told() {
        type Change = fn(&mut SandboxObserved);
        let cases: [(Change, &str); 6] = [
            (|now| now.interfaces.clear(), "is gone"),
            (|now| now.interfaces[0].up = false, "is down"),
            (
                |now| now.interfaces[0].mac_address = "02:00:00:00:00:09".into(),
                "Ethernet address",
            ),
            (|now| now.interfaces[0].mtu = 1400, "MTU of 1400"),
            (
                |now| drop(now.interfaces[0].addresses.remove(0)),
                "no address 10.0.0.2/24",
            ),
            (
                |now| now.missing.push("route to 0.0.0.0/0".into()),
                "route to 0.0.0.0/0",
            ),
        ];
        for (change, part) in cases {
            let mut seen = now();
            change(&mut seen);
            let wrong = compare(&result(), &made(), &seen);
            assert_eq!(wrong.len(), 1, "{part}: {wrong:?}");
            assert!(wrong[0].contains(part), "{wrong:?}");
        }
        let foreign = json!({"interfaces": [{"name": "eth0"}]});
        assert_eq!(compare(&foreign, &made(), &now()).len(), 1, "of another's result");
    }
}
