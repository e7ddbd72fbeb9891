//! `POST /containers/create`: three documents in one, and the places where the same thing is said twice.

use std::net::IpAddr;

use api_types::{Config, Create, HostConfig, StringOrList};
use engine::{
    AskedMode, CreateContainer, Settings,
    record::{ExtraHost, NetworkMode, Shares, Wishes},
    run::ContainerConfig,
};
use model::DnsConfig;
use serde::{Deserialize, Serialize};

use super::{endpoint, host_config, mounts, ports};
use crate::status::{Answer, Refusal};

/// What a container's record keeps of its creation, for `inspect` to echo.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Echo {
    pub(crate) config: Config,
    pub(crate) host_config: HostConfig,
}

/// A container that a client asks for, and what the client should know.
pub(crate) fn create(name: Option<String>, request: Create) -> Answer<(CreateContainer, Vec<String>)> {
    let Create {
        config,
        host_config: host,
        networking_config,
    } = request;
    check_config(&config)?;
    let mode = mode(&host.network_mode);
    check_shared_network(&config, &host, &mode)?;
    let networks = networks(&config, &host, &mode, networking_config)?;
    let mounts = mounts::mounts(&config, &host)?;
    let mut run = run(&config);
    run.mounts = mounts.mounts;
    host_config::apply(&host, &mut run)?;
    let ports = ports::bindings(host.port_bindings.as_ref().unwrap_or(&api_types::PortMap::new()))?;
    let warnings = warnings(&config, &host, &mode);
    let settings = Settings {
        hostname: hostname(&config, &mode)?,
        domainname: config.domainname.clone(),
        labels: config.labels.clone(),
        exposed_ports: ports::exposed(config.exposed_ports.as_ref())?,
        ports,
        publish_all: host.publish_all_ports,
        unpublished: Vec::new(),
        links: Vec::new(),
        tty: config.tty,
        console_size: host_config::console_size(host.console_size),
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        network_mode: NetworkMode::Bridge,
        dns: dns(&host)?,
        extra_hosts: extra_hosts(&host)?,
        restart: host_config::restart(&host)?,
        auto_remove: host.auto_remove,
        log: super::log::log(&host)?,
        volumes: Vec::new(),
        health: config.healthcheck.as_ref().map(health),
        shell: config.shell.clone().unwrap_or_default(),
        init: host.init == Some(true),
        shares: Shares::default(),
        run,
        echo: serde_json::Value::Null,
    };
    let image = config.image.clone();
    let links = links(&host, &mode)?;
    let shares = host_config::shares(&host);
    // Ports are in the settings, put together: ten thousand as typed would not fit into the record once more.
    let echo = serde_json::to_value(Echo {
        config: Config {
            exposed_ports: None,
            ..config
        },
        host_config: HostConfig {
            port_bindings: None,
            ..host
        },
    });
    let echo = echo.map_err(|error| Refusal::bad_request(error.to_string()))?;
    let settings = Settings { echo, ..settings };
    Ok((
        CreateContainer {
            name,
            image,
            mode,
            networks,
            links,
            shares,
            sources: mounts.sources,
            volumes: mounts.volumes,
            settings,
        },
        warnings,
    ))
}

/// Refuses what is wrong by itself.
fn check_config(config: &Config) -> Answer<()> {
    if config.image.is_empty() {
        return Err(Refusal::bad_request(
            "no image specified (hint: \"Image\" names it)",
        ));
    }
    let nameless = |variable: &&String| variable.is_empty() || variable.starts_with('=');
    if let Some(variable) = config.env.iter().flatten().find(nameless) {
        return Err(Refusal::bad_request(format!(
            "invalid environment variable: {variable}"
        )));
    }
    Ok(())
}

fn health(check: &api_types::Healthcheck) -> engine::Healthcheck {
    engine::Healthcheck {
        test: check.test.clone().unwrap_or_default(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

/// `default` and nothing are the default bridge.
fn mode(text: &str) -> AskedMode {
    match text {
        "" | "default" | "bridge" => AskedMode::Bridge,
        "none" => AskedMode::None,
        "host" => AskedMode::Host,
        other => match other.strip_prefix("container:") {
            Some(container) => AskedMode::Container(container.to_owned()),
            None => AskedMode::Network(other.to_owned()),
        },
    }
}

/// The endpoints asked for. The mode's own network may be named by the mode's word (`default`), and the Ethernet
/// address of the main one may be said in the configuration, where it was before API 1.44.
fn networks(
    config: &Config,
    host: &HostConfig,
    mode: &AskedMode,
    given: api_types::NetworkingConfig,
) -> Answer<Vec<(String, Wishes)>> {
    let main = match mode {
        AskedMode::Bridge => "bridge",
        AskedMode::None => "none",
        AskedMode::Host => "host",
        AskedMode::Network(name) => name,
        AskedMode::Container(_) => "",
    };
    let mut networks = Vec::new();
    for (name, settings) in given.endpoints_config {
        let wishes = endpoint::wishes(settings.unwrap_or_default())?;
        let name = if matches!(&*name, "default" | "") || name == host.network_mode {
            main.to_owned()
        } else {
            name
        };
        if name.is_empty() && wishes == Wishes::default() {
            continue; // the CLI names the mode "container:…" here, too
        }
        networks.push((name, wishes));
    }
    let mac = endpoint::mac(&config.mac_address)?;
    let links = match mode {
        AskedMode::Network(_) => host.links.as_deref().unwrap_or_default(),
        _ => &[],
    };
    if !main.is_empty() && (mac.is_some() || !links.is_empty()) {
        let at = networks.iter().position(|(name, _)| name == main);
        let at = at.unwrap_or_else(|| {
            networks.push((main.to_owned(), Wishes::default()));
            networks.len() - 1
        });
        let wishes = &mut networks[at].1;
        wishes.mac = wishes.mac.or(mac);
        add_links(&mut wishes.links, links)?;
    }
    Ok(networks)
}

/// Links said of the container where its network is a user's: the endpoint has them, and most clients say them there.
fn add_links(known: &mut Vec<String>, asked: &[String]) -> Answer<()> {
    for text in asked {
        let (name, alias) = link(text)?;
        let same = |other: &String| link(other).is_ok_and(|other| other == (name.clone(), alias.clone()));
        if !known.iter().any(same) {
            known.push(format!("{name}:{alias}"));
        }
    }
    Ok(())
}

/// Containers and the aliases they are linked to by on the default bridge. On a user network the endpoint has them.
fn links(host: &HostConfig, mode: &AskedMode) -> Answer<Vec<(String, String)>> {
    let asked = host.links.as_deref().unwrap_or_default();
    match mode {
        _ if asked.is_empty() => Ok(Vec::new()),
        AskedMode::Bridge => asked.iter().map(|link| self::link(link)).collect(),
        AskedMode::Host => Err(Refusal::bad_request(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        )),
        AskedMode::None => Err(Refusal::bad_request(
            "conflicting options: links and the network mode (hint: a container without a network reaches nobody)",
        )),
        AskedMode::Network(_) | AskedMode::Container(_) => Ok(Vec::new()),
    }
}

/// `NAME` or `NAME:ALIAS`; or `/NAME:/OWNER/ALIAS`, as `inspect` writes it.
fn link(text: &str) -> Answer<(String, String)> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    let name = name.strip_prefix('/').unwrap_or(name);
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    let rule = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || alias.is_empty() || !alias.bytes().all(rule) {
        return Err(Refusal::bad_request(format!(
            "bad format for links: {text} (hint: a link is NAME or NAME:ALIAS)"
        )));
    }
    Ok((name.to_owned(), alias.to_owned()))
}

/// Everything about a network belongs to the container whose network is shared.
fn check_shared_network(config: &Config, host: &HostConfig, mode: &AskedMode) -> Answer<()> {
    if !matches!(mode, AskedMode::Container(_)) {
        return Ok(());
    }
    fn some<T>(list: &Option<Vec<T>>) -> bool {
        list.as_ref().is_some_and(|list| !list.is_empty())
    }
    let given = [
        (
            some(&host.links),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (some(&host.dns), "dns and the network mode"),
        (
            some(&host.extra_hosts),
            "custom host-to-IP mapping and the network mode",
        ),
        (!config.mac_address.is_empty(), "mac-address and the network mode"),
        (
            host.publish_all_ports || host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()),
            "port publishing and the container type network mode",
        ),
        (
            config
                .exposed_ports
                .as_ref()
                .is_some_and(|ports| !ports.is_empty()),
            "port exposing and the container type network mode",
        ),
    ];
    match given.iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(Refusal::bad_request(format!(
            "conflicting options: {what} (hint: give it to the container whose network this one shares)"
        ))),
        None => Ok(()),
    }
}

fn run(config: &Config) -> ContainerConfig {
    let words = |given: &Option<StringOrList>| given.as_ref().map(|words| words.0.clone());
    ContainerConfig {
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        user: config.user.clone(),
        env: config.env.clone().unwrap_or_default(),
        cmd: words(&config.cmd),
        // An empty list is none; `[""]`, which removes the image's, is not.
        entrypoint: words(&config.entrypoint).filter(|words| !words.is_empty()),
        working_dir: config.working_dir.clone(),
        tty: config.tty,
        ..ContainerConfig::default()
    }
}

fn hostname(config: &Config, mode: &AskedMode) -> Answer<String> {
    let name = &config.hostname;
    if name.is_empty() {
        return Ok(String::new());
    }
    if matches!(mode, AskedMode::Container(_)) {
        return Err(Refusal::bad_request(
            "conflicting options: hostname and the network mode",
        ));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() <= 64 && name.split('.').all(label) {
        return Ok(name.clone());
    }
    Err(Refusal::bad_request(format!(
        "invalid hostname format: {name} (hint: letters, digits, \"-\" and \".\", at most 64 together)"
    )))
}

fn dns(host: &HostConfig) -> Answer<DnsConfig> {
    let list = |given: &Option<Vec<String>>| given.clone().unwrap_or_default();
    let server = |text: &String| {
        text.parse::<IpAddr>()
            .map_err(|_| Refusal::bad_request(format!("bad nameserver address: {text}")))
    };
    Ok(DnsConfig {
        servers: list(&host.dns).iter().map(server).collect::<Answer<_>>()?,
        search: list(&host.dns_search),
        options: list(&host.dns_options),
    })
}

/// `name:address` or `name=address`; the address may be IPv6, in brackets or not, or `host-gateway`.
fn extra_hosts(host: &HostConfig) -> Answer<Vec<ExtraHost>> {
    let entry = |text: &String| {
        let invalid =
            || Refusal::bad_request(format!("bad format for add-host: {text:?} (hint: NAME:ADDRESS)"));
        let (name, address) = text.split_once(['=', ':']).ok_or_else(invalid)?;
        let address = address.trim_matches(['[', ']']);
        if name.is_empty() {
            return Err(invalid());
        }
        let address = match address {
            "host-gateway" => None,
            text => Some(
                text.parse()
                    .map_err(|_| Refusal::bad_request(format!("invalid IP address in add-host: {text:?}")))?,
            ),
        };
        Ok(ExtraHost {
            name: name.to_owned(),
            address,
        })
    };
    host.extra_hosts.iter().flatten().map(entry).collect()
}

/// What is taken and not done.
fn warnings(config: &Config, host: &HostConfig, mode: &AskedMode) -> Vec<String> {
    let mut warnings = Vec::new();
    let publishes =
        host.publish_all_ports || host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    if publishes && matches!(mode, AskedMode::Host | AskedMode::None) {
        let mode = &host.network_mode;
        warnings.push(format!(
            "Published ports are discarded when using {mode} network mode"
        ));
    }
    if !host.storage_opt.is_empty() {
        warnings.push("storage options are not supported yet and were passed over".to_owned());
    }
    if config.network_disabled {
        warnings.push("NetworkDisabled is passed over: use the network mode \"none\"".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(json: serde_json::Value) -> Answer<(CreateContainer, Vec<String>)> {
        create(None, serde_json::from_value(json).expect("a request"))
    }

    fn container(json: serde_json::Value) -> CreateContainer {
        asked(json).expect("a container").0
    }

    #[test]
    fn the_word_default_is_the_default_bridge_in_both_places() {
        let made = container(json!({
            "Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "default"},
            "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": null, "MacAddress": ""}}}
        }));
        assert_eq!(made.mode, AskedMode::Bridge);
        assert_eq!(made.networks, [("bridge".to_owned(), Wishes::default())]);
    }

    #[test]
    fn the_mode_of_another_container_may_be_named_as_an_endpoint_without_wishes() {
        let made = container(json!({
            "Image": "busybox", "HostConfig": {"NetworkMode": "container:web"},
            "NetworkingConfig": {"EndpointsConfig": {"container:web": {}}}
        }));
        assert_eq!(
            (made.mode, made.networks),
            (AskedMode::Container("web".into()), vec![])
        );
    }

    #[test]
    fn the_old_place_of_the_ethernet_address_is_read() {
        let made = container(json!({
            "Image": "busybox", "MacAddress": "02:00:00:00:00:01", "HostConfig": {"NetworkMode": "n1"},
            "NetworkingConfig": {"EndpointsConfig": {"n1": {"Aliases": ["a"]}, "n2": null}}
        }));
        let mac = |at: usize| made.networks[at].1.mac.map(|mac| mac.to_string());
        assert_eq!(
            (made.networks.len(), mac(0).as_deref(), mac(1)),
            (2, Some("02:00:00:00:00:01"), None)
        );
    }

    #[test]
    fn ports_hosts_and_name_servers_are_read() {
        let made = container(json!({
            "Image": "busybox", "ExposedPorts": {"80": {}, "53/udp": {}},
            "HostConfig": {"ExtraHosts": ["db:10.0.0.1", "v6:fd00::1", "six=[fd00::2]", "up:host-gateway"],
                           "Dns": ["10.0.0.53"], "DnsSearch": ["."], "DnsOptions": ["ndots:2"]}
        }));
        let hosts: Vec<_> = made
            .settings
            .extra_hosts
            .iter()
            .map(|host| host.address.map(|a| a.to_string()))
            .collect();
        assert_eq!(
            hosts,
            [
                Some("10.0.0.1".into()),
                Some("fd00::1".into()),
                Some("fd00::2".into()),
                None
            ]
        );
        assert_eq!(
            made.settings.exposed_ports.iter().collect::<Vec<_>>(),
            ["53/udp", "80/tcp"]
        );
        assert_eq!(
            made.settings.dns.servers,
            ["10.0.0.53".parse::<IpAddr>().expect("an address")]
        );
    }

    #[test]
    fn an_empty_entrypoint_list_is_none_and_an_empty_word_removes_the_images() {
        let entrypoint = |json| container(json).settings.run.entrypoint;
        assert_eq!(entrypoint(json!({"Image": "x", "Entrypoint": []})), None);
        assert_eq!(entrypoint(json!({"Image": "x", "Entrypoint": null})), None);
        assert_eq!(
            entrypoint(json!({"Image": "x", "Entrypoint": ""})),
            Some(vec![String::new()])
        );
        assert_eq!(
            entrypoint(json!({"Image": "x", "Entrypoint": "sh"})),
            Some(vec!["sh".into()])
        );
    }

    #[test]
    fn what_is_wrong_or_not_there_yet_is_said() {
        for (request, status) in [
            (json!({}), 400),
            (json!({"Image": "x", "Hostname": "a b"}), 400),
            (json!({"Image": "x", "Volumes": {"data": {}}}), 400),
            (json!({"Image": "x", "HostConfig": {"Links": ["db:"]}}), 400),
            (json!({"Image": "x", "HostConfig": {"Links": ["db:a b"]}}), 400),
            (
                json!({"Image": "x", "HostConfig": {"Links": ["db"], "NetworkMode": "host"}}),
                400,
            ),
            (
                json!({"Image": "x", "HostConfig": {"Links": ["db"], "NetworkMode": "none"}}),
                400,
            ),
            (json!({"Image": "x", "ExposedPorts": {"0/tcp": {}}}), 400),
            (
                json!({"Image": "x", "HostConfig": {"PortBindings": {"80/xtp": null}}}),
                400,
            ),
            (json!({"Image": "x", "HostConfig": {"Dns": ["dns.example"]}}), 400),
            (json!({"Image": "x", "HostConfig": {"ExtraHosts": ["db"]}}), 400),
        ] {
            assert_eq!(
                asked(request.clone()).expect_err("refused").status().as_u16(),
                status,
                "{request}"
            );
        }
    }

    #[test]
    fn links_on_a_user_network_are_its_endpoints_wherever_they_are_said() {
        let host = json!({"Links": ["/db:/web/sql", "cache"], "NetworkMode": "n1"});
        for (endpoints, wanted) in [
            (json!({}), vec!["db:sql", "cache:cache"]),
            (
                json!({"n1": {"Links": ["db:sql"]}}),
                vec!["db:sql", "cache:cache"],
            ),
            (
                json!({"n1": {"Links": ["log"]}}),
                vec!["log", "db:sql", "cache:cache"],
            ),
        ] {
            let request =
                json!({"Image": "x", "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": endpoints}});
            let (created, _) = asked(request).expect("links on a user network");
            assert!(created.links.is_empty(), "those are the default bridge's");
            let (name, wishes) = &created.networks[0];
            assert_eq!(
                (name.as_str(), &wishes.links),
                ("n1", &wanted.iter().map(ToString::to_string).collect())
            );
        }
        let bad = json!({"Image": "x", "HostConfig": {"Links": [":x"], "NetworkMode": "n1"}});
        assert_eq!(asked(bad).expect_err("no link").status().as_u16(), 400);
    }
}
