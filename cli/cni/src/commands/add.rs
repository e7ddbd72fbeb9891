//! ADD: an interface in a container's namespace.

use std::{path::Path, time::Duration};

use api_types::{Map, PortBinding, PortMap, SandboxAttach, SandboxAttached};
use serde_json::Value;

use super::{MANAGER, interface};
use crate::{
    config::{Config, PortMapping},
    daemon::{Daemon, escaped},
    environment::{Arguments, Environment},
    failure::{Code, Failure},
    outcome::{Outcome, previous_of},
};

/// The answer is the result, behind the results of plugins before this one.
pub(super) fn add(environment: &Environment, config: &Config, daemon: &Daemon) -> Result<Value, Failure> {
    let request = request(environment, config)?;
    refuse_taken(&request.interface, config)?;
    if !Path::new(&request.netns).exists() {
        return Err(Failure::new(
            Code::UnknownContainer,
            format!("there is no network namespace at {:?}", request.netns),
        ));
    }
    let more = || longer(daemon, &request);
    let made: SandboxAttached = daemon.post_waiting("/sandboxes/attach", &request, more)?;
    outcome(made, config, request.netns).to_json(config.version, config.previous.as_ref())
}

/// How much longer than usual an attach may take: as long as a DHCP server on the network's segment is waited for.
fn longer(daemon: &Daemon, request: &SandboxAttach) -> Duration {
    let network = daemon.peek::<Value>(&format!("/networks/{}", escaped(&request.network)));
    network.map_or(Duration::ZERO, |network| patience(&network, request))
}

/// Pure: the same, of a network as the daemon shows it.
fn patience(network: &Value, request: &SandboxAttach) -> Duration {
    const TIMEOUT: &str = "cnm.dhcp.timeout";
    if network["IPAM"]["Driver"] != "dhcp" {
        return Duration::ZERO;
    }
    let of_connection = request.driver_opts.get(TIMEOUT).map(String::as_str);
    let timeout = of_connection.or_else(|| network["IPAM"]["Options"][TIMEOUT].as_str());
    let seconds = timeout.and_then(|text| text.trim_end_matches('s').parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

fn request(environment: &Environment, config: &Config) -> Result<SandboxAttach, Failure> {
    let arguments = environment.arguments()?;
    let container = environment.container()?;
    let mut addresses = config.addresses.clone();
    addresses.extend(
        arguments
            .addresses
            .iter()
            .filter(|ip| !config.addresses.contains(ip)),
    );
    Ok(SandboxAttach {
        manager: MANAGER.to_owned(),
        key: container.to_owned(),
        netns: environment.netns()?.to_owned(),
        group: config.name.clone(),
        network: config.network.clone(),
        interface: interface(environment, config)?.to_owned(),
        // A pod is found by its name alone, too.
        hostname: arguments.pod.clone().unwrap_or_default(),
        name: name(container, &arguments),
        aliases: config.aliases.clone(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        mac_address: config.mac.clone().or(arguments.mac).unwrap_or_default(),
        gw_priority: config.gateway_priority,
        driver_opts: config.options.clone().into_iter().collect::<Map<_>>(),
        port_bindings: ports(&config.ports)?,
        dns: upstream(config),
        dns_search: config.dns.search.clone(),
        dns_options: config.dns.options.clone(),
    })
}

/// What is unique on a network: in Kubernetes a pod's name with its namespace, elsewhere the container's, else the
/// beginning of its id.
fn name(container: &str, arguments: &Arguments) -> String {
    match (&arguments.pod, &arguments.pod_namespace) {
        (Some(pod), Some(namespace)) if !namespace.is_empty() && namespace != pod => {
            format!("{pod}.{namespace}")
        }
        (Some(pod), _) if !pod.is_empty() => pod.clone(),
        _ if container.len() == 64 => container[..12].to_owned(),
        _ => container.to_owned(),
    }
}

/// Servers that are asked for names of the outside: the configuration's, else those of a plugin before this one. The
/// container's own loopback is none of them.
fn upstream(config: &Config) -> Vec<String> {
    if !config.dns.nameservers.is_empty() {
        return config.dns.nameservers.clone();
    }
    let before = config
        .previous
        .as_ref()
        .map(|previous| &previous["dns"]["nameservers"]);
    let listed = before
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let outside = |text: &&str| {
        let address = text.parse::<std::net::IpAddr>();
        address.is_ok_and(|ip| !ip.is_loopback())
    };
    listed.filter(outside).map(str::to_owned).collect()
}

/// Mappings without a port of the host publish nothing.
fn ports(mappings: &[PortMapping]) -> Result<PortMap, Failure> {
    let mut ports = PortMap::new();
    for mapping in mappings.iter().filter(|mapping| mapping.host_port > 0) {
        let range = 1..=65535;
        if !range.contains(&mapping.host_port) || !range.contains(&mapping.container_port) {
            return Err(Failure::new(
                Code::InvalidConfig,
                format!("no ports: {} to {}", mapping.host_port, mapping.container_port),
            ));
        }
        let protocol = match mapping.protocol.to_ascii_lowercase() {
            protocol if protocol.is_empty() => "tcp".to_owned(),
            protocol => protocol,
        };
        let binding = PortBinding {
            host_ip: mapping.host_ip.clone(),
            host_port: mapping.host_port.to_string(),
            exposure: String::new(),
        };
        ports
            .entry(format!("{}/{protocol}", mapping.container_port))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    Ok(ports)
}

/// Refuses an interface that a plugin before this one has made.
fn refuse_taken(interface: &str, config: &Config) -> Result<(), Failure> {
    let previous = previous_of(config.version, config.previous.as_ref())?;
    let made = previous.get("interfaces").and_then(Value::as_array);
    let taken = |made: &Value| {
        made["name"] == interface
            && made["sandbox"]
                .as_str()
                .is_some_and(|sandbox| !sandbox.is_empty())
    };
    match made.is_some_and(|made| made.iter().any(taken)) {
        true => Err(Failure::new(
            Code::InvalidConfig,
            format!("a plugin before this one has made the interface {interface:?}"),
        )
        .with("give this one another name: \"interface\": \"net1\"")),
        false => Ok(()),
    }
}

fn outcome(made: SandboxAttached, config: &Config, netns: String) -> Outcome {
    Outcome {
        host_interface: made.host_interface,
        interface: made.interface,
        mac: made.mac_address,
        mtu: made.mtu,
        netns,
        addresses: made
            .addresses
            .into_iter()
            .map(|one| (one.address, one.gateway))
            .collect(),
        routes: made
            .routes
            .into_iter()
            .map(|route| (route.destination, route.gateway))
            .collect(),
        name_server: made.name_server,
        search: config.dns.search.clone(),
        domain: config.dns.domain.clone(),
        dns_options: config.dns.options.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_of_the_segments_is_waited_for_as_long_as_the_network_says() {
        let own = json!({"IPAM": {"Driver": "default", "Options": {"cnm.dhcp.timeout": "90s"}}});
        let dhcp = json!({"IPAM": {"Driver": "dhcp", "Options": {"cnm.dhcp.timeout": "90s"}}});
        let usual = json!({"IPAM": {"Driver": "dhcp", "Options": null}});
        for (network, option, seconds) in [
            (&own, None, 0),
            (&usual, None, 0),
            (&dhcp, None, 90),
            (&dhcp, Some("300"), 300),
            (&usual, Some("120s"), 120),
            (&usual, Some("soon"), 0),
            (&Value::Null, Some("120s"), 0),
        ] {
            let mut request = SandboxAttach::default();
            if let Some(option) = option {
                let options = &mut request.driver_opts;
                options.insert("cnm.dhcp.timeout".to_owned(), option.to_owned());
            }
            let longer = patience(network, &request);
            assert_eq!(longer, Duration::from_secs(seconds), "{network} {option:?}");
        }
    }

    fn config(more: &Value) -> Config {
        let mut config = json!({"cniVersion": "1.0.0", "name": "podnet", "network": "lan"});
        for (key, value) in more.as_object().expect("an object") {
            config[key] = value.clone();
        }
        Config::parse(config.to_string().as_bytes()).expect("a configuration")
    }

    fn environment(arguments: &'static str) -> Environment {
        Environment::read(move |name| {
            let value = match name {
                "CNI_COMMAND" => "ADD",
                "CNI_CONTAINERID" => "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "CNI_NETNS" => "/run/netns/x",
                "CNI_IFNAME" => "eth0",
                "CNI_ARGS" => arguments,
                _ => return None,
            };
            Some(value.to_owned())
        })
    }

    #[test]
    fn a_container_is_called_what_is_unique_on_the_network() {
        for (arguments, name, hostname) in [
            ("", "0123456789ab", ""),
            ("K8S_POD_NAME=web", "web", "web"),
            ("K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop", "web.shop", "web"),
            ("K8S_POD_NAME=;K8S_POD_NAMESPACE=", "0123456789ab", ""),
        ] {
            let request = request(&environment(arguments), &config(&json!({}))).unwrap();
            assert_eq!(
                (&*request.name, &*request.hostname),
                (name, hostname),
                "{arguments}"
            );
            assert!(request.aliases.is_empty(), "the default bridge refuses them");
        }
        let short = Environment::read(|name| (name == "CNI_CONTAINERID").then(|| "cnitool-1".to_owned()));
        assert_eq!(
            name(short.container().unwrap(), &Arguments::default()),
            "cnitool-1"
        );
    }

    #[test]
    fn what_the_runtime_fills_in_is_asked_of_the_daemon() {
        let config = config(&json!({
            "dns": {"nameservers": ["9.9.9.9"]},
            "runtimeConfig": {
                "ips": ["10.0.0.7/24"], "mac": "02:00:00:00:00:07", "aliases": ["db"],
                "portMappings": [
                    {"hostPort": 8080, "containerPort": 80},
                    {"hostPort": 53, "containerPort": 53, "protocol": "UDP", "hostIP": "127.0.0.1"},
                    {"hostPort": 0, "containerPort": 99},
                ],
            },
        }));
        let request = request(&environment("IP=10.0.0.7;MAC=02:00:00:00:00:08"), &config).unwrap();
        assert_eq!(request.addresses, ["10.0.0.7"], "asked for twice");
        assert_eq!(request.mac_address, "02:00:00:00:00:07");
        assert_eq!(
            (request.group.as_str(), request.network.as_str()),
            ("podnet", "lan")
        );
        assert_eq!(request.dns, ["9.9.9.9"]);
        let ports = serde_json::to_value(&request.port_bindings).unwrap();
        let wanted = json!({
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
            "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
        });
        assert_eq!(ports, wanted);
        for wrong in [
            json!({"hostPort": 70000, "containerPort": 80}),
            json!({"hostPort": 80}),
        ] {
            let config = self::config(&json!({"runtimeConfig": {"portMappings": [wrong]}}));
            let refused = self::request(&environment(""), &config).expect_err("no port");
            assert_eq!(refused.code, Code::InvalidConfig);
        }
    }

    #[test]
    fn behind_another_plugin_it_needs_a_name_of_its_own() {
        let previous = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
            "dns": {"nameservers": ["127.0.0.1", "10.0.0.53"]},
        });
        let behind = config(&json!({"prevResult": previous}));
        assert_eq!(
            refuse_taken("eth0", &behind).expect_err("taken").code,
            Code::InvalidConfig
        );
        assert_eq!(refuse_taken("net1", &behind), Ok(()));
        assert_eq!(upstream(&behind), ["10.0.0.53"]);
    }
}
