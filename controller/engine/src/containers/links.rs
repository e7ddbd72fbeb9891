//! Links of the default bridge: further names for containers that must be there and run.
//!
//! A link is recorded by the id of what it leads to, so it survives a rename and ends with its target. The hosts file and
//! the firewall are the controller's; the environment is made here, once for each start.

use std::net::IpAddr;

use model::{ContainerName, ExposedPorts, Protocol, SandboxLink};

use super::{Core, container::Container, create::as_invalid, networks, ports};
use crate::{
    error::{Error, Result},
    record::{Link, NetworkMode, Record},
};

/// What is asked, with the containers found. They need not run yet.
pub(super) fn decide(core: &Core, asked: &[(String, String)]) -> Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    for (target, alias) in asked {
        let found = core.registry.find(target).map_err(|error| {
            let missing = Error::not_found(format!("could not get container for {target}: {error}"))
                .with_hint("a container can be linked to once it is there");
            as_invalid(missing)
        })?;
        if found.record().settings.network_mode == NetworkMode::Host {
            return Err(Error::invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined \
                 behavior",
            ));
        }
        let link = Link {
            container: found.id(),
            alias: alias.clone(),
        };
        if links
            .iter()
            .any(|other| other.alias == link.alias && other.container != link.container)
        {
            return Err(Error::invalid(format!("two links have the alias {alias:?}"))
                .with_hint("give one of them another: NAME:ALIAS"));
        }
        if !links.contains(&link) {
            links.push(link);
        }
    }
    Ok(links)
}

/// Those whose target is still there, by its name now.
pub(super) fn named(core: &Core, record: &Record) -> Vec<(ContainerName, String)> {
    let name = |link: &Link| {
        Some((
            core.registry.get(&link.container)?.record().name.clone(),
            link.alias.clone(),
        ))
    };
    record.settings.links.iter().filter_map(name).collect()
}

/// What a start makes of a container's links.
#[derive(Debug, Default)]
pub(super) struct Linked {
    /// For the hosts file and the firewall.
    pub(super) links: Vec<SandboxLink>,
    /// `NAME=value`.
    pub(super) environment: Vec<String>,
}

/// Resolves a container's links. What they lead to must run.
pub(super) fn resolve(core: &Core, record: &Record) -> Result<Linked> {
    let mut linked = Linked::default();
    let bridge = core
        .controller
        .networks
        .find("bridge")
        .ok()
        .map(|bridge| bridge.id);
    let is_on_bridge = |record: &Record| bridge.is_some_and(|bridge| record.networks.contains_key(&bridge));
    // Off the default bridge, links of it mean nothing.
    let links = record.settings.links.iter().filter(|_| is_on_bridge(record));
    for link in links {
        let Some(target) = core.registry.get(&link.container) else {
            continue; // it was removed, and the link with it
        };
        let target = target.record();
        if !target.state.phase.has_process() {
            return Err(Error::conflict(format!(
                "Cannot link to a non running container: /{} AS /{}/{}",
                target.name, record.name, link.alias
            ))
            .with_hint(format!("start {} first", target.name)));
        }
        if !is_on_bridge(&target) {
            return Err(Error::conflict(format!(
                "Cannot link to /{}, as it does not belong to the default network",
                target.name
            ))
            .with_hint(format!(
                "\"network connect bridge {}\", or make a network and give both containers to it: names resolve there",
                target.name
            )));
        }
        let mut names = vec![link.alias.clone()];
        for name in [&target.settings.hostname, target.name.as_str()] {
            if !name.is_empty() && !names.iter().any(|other| other == name) {
                names.push(name.to_owned());
            }
        }
        linked.links.push(SandboxLink {
            container: link.container,
            names,
        });
        if let Some(address) = address(core, &target) {
            let path = format!("/{}/{}", record.name, link.alias);
            let exposed = ports::exposed(&target.settings);
            let own = environment(&link.alias, &path, address, &exposed, &target.settings.run.env);
            linked.environment.extend(own);
        }
    }
    Ok(linked)
}

/// Where the target is on the default bridge.
fn address(core: &Core, target: &Record) -> Option<IpAddr> {
    let bridge = core.controller.networks.find("bridge").ok()?;
    let endpoint = networks::endpoint_of(core, target, &bridge)?;
    endpoint.addresses.iter().next().map(|address| address.addr())
}

/// The variables of one link. Ports in a row have the first and the last of them told, too.
fn environment(
    alias: &str,
    path: &str,
    address: IpAddr,
    exposed: &[ExposedPorts],
    env: &[String],
) -> Vec<String> {
    let prefix = alias.to_ascii_uppercase().replace(['-', '.'], "_");
    let mut ports: Vec<(u16, Protocol)> = exposed
        .iter()
        .flat_map(|exposed| exposed.ports.iter().map(|port| (port, exposed.protocol)))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let url = |(port, protocol): (u16, Protocol)| match address {
        IpAddr::V4(ip) => format!("{protocol}://{ip}:{port}"),
        IpAddr::V6(ip) => format!("{protocol}://[{ip}]:{port}"),
    };
    let mut variables = Vec::new();
    if let Some(first) = ports.first() {
        variables.push(format!("{prefix}_PORT={}", url(*first)));
    }
    for (first, last) in rows(&ports) {
        let name = name_of(&prefix, first);
        variables.push(format!("{name}_START={}", url(first)));
        variables.push(format!("{name}_PORT_START={}", first.0));
        variables.push(format!("{name}_END={}", url(last)));
        variables.push(format!("{name}_PORT_END={}", last.0));
    }
    for port in &ports {
        let name = name_of(&prefix, *port);
        variables.push(format!("{name}={}", url(*port)));
        variables.push(format!("{name}_ADDR={address}"));
        variables.push(format!("{name}_PORT={}", port.0));
        variables.push(format!("{name}_PROTO={}", port.1));
    }
    variables.push(format!("{prefix}_NAME={path}"));
    // These two are the image's business.
    let told = |variable: &&String| !variable.starts_with("HOME=") && !variable.starts_with("PATH=");
    variables.extend(
        env.iter()
            .filter(told)
            .map(|variable| format!("{prefix}_ENV_{variable}")),
    );
    variables
}

fn name_of(prefix: &str, (port, protocol): (u16, Protocol)) -> String {
    format!("{prefix}_PORT_{port}_{}", protocol.as_str().to_ascii_uppercase())
}

/// The first and the last of each run of two or more ports of one protocol that follow each other.
fn rows(ports: &[(u16, Protocol)]) -> Vec<((u16, Protocol), (u16, Protocol))> {
    let mut rows: Vec<((u16, Protocol), (u16, Protocol))> = Vec::new();
    for protocol in Protocol::ALL {
        let mut open = None;
        for port in ports
            .iter()
            .filter(|(_, other)| *other == protocol)
            .map(|(port, _)| *port)
        {
            open = match open {
                Some((first, last)) if last + 1 == port => Some((first, port)),
                done => {
                    rows.extend(
                        done.filter(|(first, last)| first != last)
                            .map(|(first, last)| ((first, protocol), (last, protocol))),
                    );
                    Some((port, port))
                }
            };
        }
        rows.extend(
            open.filter(|(first, last)| first != last)
                .map(|(first, last)| ((first, protocol), (last, protocol))),
        );
    }
    rows
}

/// A container that started has perhaps another address: the hosts files of those that are linked to it follow.
pub(super) async fn follow(core: &Core, started: &Container) {
    let id = started.id();
    for container in core.registry.all() {
        let links_here = container
            .record()
            .settings
            .links
            .iter()
            .any(|link| link.container == id);
        let Some(sandbox) = container.prepared().and_then(|prepared| prepared.sandbox) else {
            continue;
        };
        if links_here && let Err(error) = core.controller.sandboxes.follow_links(sandbox).await {
            tracing::warn!(container = %container.record().name, %error, "following a link");
        }
    }
}

/// Removes the link that a path names. The way goes first: while it is open the link is in the record, so that whoever
/// is refused can ask again.
pub(super) async fn unlink(core: &Core, path: &str) -> Result<()> {
    let Some((parent, alias)) = path.trim_matches('/').rsplit_once('/') else {
        core.registry.find(path)?;
        return Err(
            Error::conflict("Conflict, cannot remove the default link name of the container")
                .with_hint("a link is named CONTAINER/ALIAS, by the container that has it"),
        );
    };
    let missing = || {
        Error::not_found(format!("No such container: {path}"))
            .with_hint(format!("no container {parent} has a link with the alias {alias}"))
    };
    let parent = core.registry.find(parent).map_err(|_| missing())?;
    let _operation = parent.operation.lock().await;
    let record = parent.record();
    let link = record.settings.links.iter().find(|link| link.alias == alias);
    let link = link.ok_or_else(missing)?;
    if let Some(sandbox) = ports::own_sandbox(&parent) {
        let unlinked = core
            .controller
            .sandboxes
            .unlink(sandbox, link.container, &link.alias);
        unlinked.await.map_err(Error::network("removing a link"))?;
    }
    core.registry
        .update(&parent, |record| {
            record.settings.links.retain(|other| other != link);
        })
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use model::PortRange;

    use super::*;

    fn exposed(first: u16, last: u16, protocol: Protocol) -> ExposedPorts {
        ExposedPorts {
            ports: PortRange::new(first, last).expect("ports"),
            protocol,
        }
    }

    #[test]
    fn the_environment_is_dockers() {
        let env = ["PATH=/bin", "HOME=/", "PASSWORD=a=b"].map(str::to_owned);
        let variables = environment(
            "web-db",
            "/web/web-db",
            IpAddr::from([172, 17, 0, 3]),
            &[exposed(80, 80, Protocol::Tcp), exposed(53, 53, Protocol::Udp)],
            &env,
        );
        assert_eq!(
            variables,
            [
                "WEB_DB_PORT=udp://172.17.0.3:53",
                "WEB_DB_PORT_53_UDP=udp://172.17.0.3:53",
                "WEB_DB_PORT_53_UDP_ADDR=172.17.0.3",
                "WEB_DB_PORT_53_UDP_PORT=53",
                "WEB_DB_PORT_53_UDP_PROTO=udp",
                "WEB_DB_PORT_80_TCP=tcp://172.17.0.3:80",
                "WEB_DB_PORT_80_TCP_ADDR=172.17.0.3",
                "WEB_DB_PORT_80_TCP_PORT=80",
                "WEB_DB_PORT_80_TCP_PROTO=tcp",
                "WEB_DB_NAME=/web/web-db",
                "WEB_DB_ENV_PASSWORD=a=b",
            ]
        );
    }

    #[test]
    fn ports_in_a_row_have_their_ends_told() {
        let ports = [
            (53, Protocol::Udp),
            (80, Protocol::Tcp),
            (81, Protocol::Tcp),
            (81, Protocol::Udp),
        ];
        assert_eq!(rows(&ports), [((80, Protocol::Tcp), (81, Protocol::Tcp))]);
        let variables = environment(
            "db",
            "/web/db",
            IpAddr::from([1, 2, 3, 4]),
            &[exposed(80, 82, Protocol::Tcp)],
            &[],
        );
        for wanted in [
            "DB_PORT_80_TCP_START=tcp://1.2.3.4:80",
            "DB_PORT_80_TCP_PORT_END=82",
            "DB_PORT_82_TCP_PORT=82",
        ] {
            assert!(
                variables.iter().any(|variable| variable == wanted),
                "{wanted} in {variables:?}"
            );
        }
    }

    #[test]
    fn a_target_without_ports_has_a_name_all_the_same() {
        let variables = environment("db", "/web/db", IpAddr::from([1, 2, 3, 4]), &[], &[]);
        assert_eq!(variables, ["DB_NAME=/web/db"]);
    }
}
