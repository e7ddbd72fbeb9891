//! Ports: what a start publishes, and publishing and giving back while a container runs.
//!
//! Clients write a range as one binding for each of its ports. They are put together here, so that ten thousand of them
//! are one interval for everybody below, and taken apart again where one of them is given back.

use std::collections::BTreeSet;

use model::{ExposedPorts, PortBinding, PortRange, Protocol, PublishedPorts, SandboxId};

use super::{Core, container::Container};
use crate::{
    error::{Error, Result},
    record::{NetworkMode, Record, Settings},
};

/// What a container listens on, as it and its image say. What an image says wrongly is passed over.
pub(super) fn exposed(settings: &Settings) -> Vec<ExposedPorts> {
    let ports = settings.exposed_ports.iter();
    ExposedPorts::united(ports.filter_map(|text| text.parse().ok()))
}

/// The same as texts for the record, where ten thousand neighbours are one range.
pub(super) fn exposed_together(texts: &BTreeSet<String>) -> BTreeSet<String> {
    let read = |text: &String| text.parse::<ExposedPorts>();
    let (ports, nonsense): (Vec<_>, Vec<_>) = texts.iter().partition(|text| read(text).is_ok());
    let united = ExposedPorts::united(ports.into_iter().filter_map(|text| read(text).ok()));
    let united = united.iter().map(ToString::to_string);
    united.chain(nonsense.into_iter().cloned()).collect()
}

/// What a start publishes. With `-P` every exposed port that is not asked for gets a free one.
pub(super) fn wanted(settings: &Settings) -> Vec<PortBinding> {
    let discarded = matches!(
        settings.network_mode,
        NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_)
    );
    if discarded {
        return Vec::new();
    }
    let mut wanted = settings.ports.clone();
    if settings.publish_all {
        let asked = |port: u16, protocol: Protocol| {
            let same =
                |binding: &PortBinding| binding.protocol == protocol && binding.container.contains(port);
            settings.ports.iter().any(same)
        };
        let given_back = |port: u16, protocol: Protocol| {
            let mut all = settings.unpublished.iter();
            all.any(|gone| gone.protocol == protocol && gone.ports.contains(port))
        };
        let all: BTreeSet<(Protocol, u16)> = exposed(settings)
            .iter()
            .flat_map(|exposed| exposed.ports.iter().map(|port| (exposed.protocol, port)))
            .filter(|(protocol, port)| !asked(*port, *protocol) && !given_back(*port, *protocol))
            .collect();
        wanted.extend(all.into_iter().filter_map(|(protocol, port)| {
            Some(PortBinding {
                protocol,
                container: PortRange::single(port).ok()?,
                host_ip: None,
                host: None,
                exposure: None,
            })
        }));
    }
    coalesce(wanted)
}

/// Whether the host's ports are as many as the container's, and so belong together one by one.
fn is_paired(binding: &PortBinding) -> bool {
    binding
        .host
        .is_some_and(|host| host.count() == binding.container.count())
}

/// Puts bindings together that go on where another ends.
pub(super) fn coalesce(mut bindings: Vec<PortBinding>) -> Vec<PortBinding> {
    bindings.sort_by_key(|binding| {
        (
            binding.protocol,
            binding.host_ip,
            binding.exposure,
            binding.host.is_some(),
            offset(binding),
            binding.container,
        )
    });
    let mut together: Vec<PortBinding> = Vec::new();
    for binding in bindings {
        match together.last().and_then(|last| joined(last, &binding)) {
            Some(longer) => {
                together.pop();
                together.push(longer);
            }
            None => together.push(binding),
        }
    }
    together.sort_by_key(|binding| (binding.protocol, binding.container, binding.host_ip, binding.host));
    together
}

/// How far the host's port is from the container's. The same for all ports of a range.
fn offset(binding: &PortBinding) -> Option<i32> {
    let host = binding.host.filter(|_| is_paired(binding))?;
    Some(i32::from(host.first()) - i32::from(binding.container.first()))
}

fn joined(one: &PortBinding, next: &PortBinding) -> Option<PortBinding> {
    let alike = one.protocol == next.protocol
        && one.host_ip == next.host_ip
        && one.exposure == next.exposure
        && offset(one) == offset(next);
    if !alike {
        return None;
    }
    if one == next && is_paired(one) {
        return Some(one.clone()); // said twice
    }
    let follows = |one: PortRange, next: PortRange| {
        (one.last().checked_add(1) == Some(next.first()))
            .then(|| PortRange::new(one.first(), next.last()).ok())
            .flatten()
    };
    let container = follows(one.container, next.container)?;
    let host = match (one.host, next.host) {
        (None, None) => None,
        (Some(first), Some(second)) if is_paired(one) && is_paired(next) => Some(follows(first, second)?),
        _ => return None,
    };
    Some(PortBinding {
        container,
        host,
        ..one.clone()
    })
}

/// The part of a binding for some of its container's ports.
fn part(binding: &PortBinding, container: PortRange) -> Option<PortBinding> {
    let host = match binding.host {
        Some(host) if is_paired(binding) => Some(shifted(host, binding.container, container)?),
        other => other,
    };
    Some(PortBinding {
        container,
        host,
        ..binding.clone()
    })
}

/// The ports of `host` that belong to `some` of `container`.
fn shifted(host: PortRange, container: PortRange, some: PortRange) -> Option<PortRange> {
    let first = host.first() + (some.first() - container.first());
    PortRange::new(first, first + (some.last() - some.first())).ok()
}

fn overlap(one: PortRange, other: PortRange) -> Option<PortRange> {
    PortRange::new(one.first().max(other.first()), one.last().min(other.last())).ok()
}

/// Which container's ports of a pair of ranges `wanted` means; none for none of them.
fn meant(wanted: &PortBinding, host: Option<PortRange>, container: PortRange) -> Option<PortRange> {
    let container_part = overlap(wanted.container, container)?;
    let (Some(asked), Some(host)) = (wanted.host, host) else {
        // Ports that are chosen at the start have no number yet that could be meant.
        return wanted.host.is_none().then_some(container_part);
    };
    if host.count() != container.count() {
        return (asked == host).then_some(container_part);
    }
    let asked = overlap(asked, host)?;
    overlap(container_part, shifted(container, host, asked)?)
}

/// What is left of bindings without those that are meant, and whether any was.
pub(super) fn without(bindings: &[PortBinding], wanted: &PortBinding) -> (Vec<PortBinding>, bool) {
    let mut left = Vec::new();
    let mut found = false;
    for binding in bindings {
        let candidate = binding.protocol == wanted.protocol
            && (wanted.host_ip.is_none() || wanted.host_ip == binding.host_ip);
        let gone = match candidate {
            true => meant(wanted, binding.host, binding.container),
            false => None,
        };
        let Some(gone) = gone else {
            left.push(binding.clone());
            continue;
        };
        found = true;
        let before = PortRange::new(binding.container.first(), gone.first().saturating_sub(1));
        let after = PortRange::new(gone.last().saturating_add(1), binding.container.last());
        if gone.first() > binding.container.first() {
            left.extend(before.ok().and_then(|before| part(binding, before)));
        }
        if gone.last() < binding.container.last() {
            left.extend(after.ok().and_then(|after| part(binding, after)));
        }
    }
    (coalesce(left), found)
}

/// Those of the published ports that are meant.
pub(super) fn published_of(published: &[PublishedPorts], wanted: &PortBinding) -> Vec<PublishedPorts> {
    let part = |ports: &PublishedPorts| {
        let candidate = ports.protocol == wanted.protocol
            && wanted.host_ip.is_none_or(|ip| {
                ip == ports.host_ip || (ip.is_unspecified() && ports.host_ip.is_unspecified())
            });
        let container = meant(wanted, Some(ports.host), ports.container).filter(|_| candidate)?;
        Some(PublishedPorts {
            host: shifted(ports.host, ports.container, container)?,
            container,
            ..ports.clone()
        })
    };
    published.iter().filter_map(part).collect()
}

/// Publishes more: at once when it runs, and recorded for later starts.
pub(super) async fn publish(core: &Core, container: &Container, bindings: Vec<PortBinding>) -> Result<()> {
    let _operation = container.operation.lock().await;
    let record = container.record();
    check_mode(&record)?;
    let bindings = coalesce(bindings);
    let decided = match own_sandbox(container) {
        Some(sandbox) => {
            let decided = core.controller.sandboxes.publish(sandbox, bindings.clone()).await;
            Some((
                sandbox,
                decided.map_err(|error| not_published(&record, "publishing ports", error).while_running())?,
            ))
        }
        None => None,
    };
    let recorded = core.registry.update(container, |record| {
        let ports = &mut record.settings.ports;
        ports.extend(bindings);
        *ports = coalesce(std::mem::take(ports));
    });
    if let Err(error) = recorded.await {
        if let Some((sandbox, decided)) = decided
            && let Err(undo) = core.controller.sandboxes.unpublish(sandbox, &decided).await
        {
            tracing::warn!(container = %record.name, error = %undo, "undoing a publication");
        }
        return Err(error);
    }
    core.events.send(container.event("update", &[]));
    Ok(())
}

/// Gives ports back: all that are meant, or none when one of them leads to nothing.
pub(super) async fn unpublish(core: &Core, container: &Container, wanted: &[PortBinding]) -> Result<()> {
    let _operation = container.operation.lock().await;
    let record = container.record();
    check_mode(&record)?;
    let sandbox = own_sandbox(container);
    let published = match sandbox {
        Some(id) => core.controller.sandboxes.get(id)?.ports.clone(),
        None => Vec::new(),
    };
    let mut left = record.settings.ports.clone();
    let mut gone = Vec::new();
    for one in wanted {
        let now = published_of(&published, one);
        let (rest, recorded) = without(&left, one);
        if !recorded && now.is_empty() {
            return Err(nothing_there(&record, one));
        }
        left = rest;
        gone.extend(now);
    }
    // What no client can name by its number any more, since it was chosen at the start, goes with what it became.
    for ports in &gone {
        left = without_chosen(&left, ports);
    }
    let unpublished = match record.settings.publish_all {
        true => without_any(&published, &gone),
        false => Vec::new(),
    };
    core.registry
        .update(container, |record| {
            record.settings.ports = left;
            record.settings.unpublished.extend(unpublished);
        })
        .await?;
    if let Some(sandbox) = sandbox.filter(|_| !gone.is_empty()) {
        let given_back = core.controller.sandboxes.unpublish(sandbox, &gone).await;
        given_back.map_err(Error::network("giving ports back"))?;
    }
    core.events.send(container.event("update", &[]));
    Ok(())
}

/// The container's ports that nothing leads to any more once these are given back. `-P` would choose anew for them.
fn without_any(published: &[PublishedPorts], gone: &[PublishedPorts]) -> Vec<ExposedPorts> {
    let given_back = |one: &PublishedPorts, port: u16| {
        let mut all = gone.iter();
        all.any(|gone| {
            gone.protocol == one.protocol && gone.host_ip == one.host_ip && gone.container.contains(port)
        })
    };
    let stays = |protocol: Protocol, port: u16| {
        let mut all = published.iter();
        all.any(|one| one.protocol == protocol && one.container.contains(port) && !given_back(one, port))
    };
    let ports: BTreeSet<(Protocol, u16)> = gone
        .iter()
        .flat_map(|gone| gone.container.iter().map(|port| (gone.protocol, port)))
        .filter(|(protocol, port)| !stays(*protocol, *port))
        .collect();
    let mut all: Vec<ExposedPorts> = Vec::new();
    for (protocol, port) in ports {
        let goes_on = |last: &&ExposedPorts| {
            last.protocol == protocol && last.ports.last().checked_add(1) == Some(port)
        };
        let before = all.last().filter(goes_on).map(|last| last.ports.first());
        if before.is_some() {
            all.pop();
        }
        let ports = PortRange::new(before.unwrap_or(port), port).ok();
        all.extend(ports.map(|ports| ExposedPorts { ports, protocol }));
    }
    all
}

/// Bindings without those of chosen ports that became these.
fn without_chosen(bindings: &[PortBinding], ports: &PublishedPorts) -> Vec<PortBinding> {
    let (chosen, fixed): (Vec<_>, Vec<_>) = bindings.iter().cloned().partition(|one| !is_paired(one));
    let became = |one: &PortBinding| {
        one.protocol == ports.protocol
            && one.container.overlaps(ports.container)
            && one.host_ip.is_none_or(|ip| ip == ports.host_ip)
            && one.host.is_none_or(|host| host.overlaps(ports.host))
    };
    let mut left = fixed;
    for one in chosen {
        match became(&one) {
            true => {
                let all = PortBinding {
                    container: ports.container,
                    ..one.clone()
                };
                left.extend(without(&[one], &all).0);
            }
            false => left.push(one),
        }
    }
    coalesce(left)
}

/// Its sandbox while it runs.
pub(super) fn own_sandbox(container: &Container) -> Option<SandboxId> {
    container
        .prepared()
        .filter(|_| container.record().state.phase.has_process())
        .and_then(|prepared| prepared.sandbox)
}

fn check_mode(record: &Record) -> Result<()> {
    let mode = &record.settings.network_mode;
    let (why, hint) = match mode {
        NetworkMode::Host => ("host", "it listens on the host itself"),
        NetworkMode::None => ("none", "connect it to a network first"),
        NetworkMode::Container(_) => (
            "container",
            "publish ports of the container whose network it shares",
        ),
        NetworkMode::Bridge | NetworkMode::Network(_) => return Ok(()),
    };
    Err(Error::invalid(format!(
        "conflicting options: port publishing and the {why} network mode"
    ))
    .with_hint(hint))
}

/// What Docker says before the reason, and users' scripts look for. Other failures are not of the ports.
pub(super) fn not_published(record: &Record, doing: &str, error: controller::Error) -> Error {
    match error.reason() {
        controller::Error::Conflict { .. } => Error::Unpublished {
            doing: format!(
                "failed to set up container networking: driver failed programming external connectivity on endpoint {} ({})",
                record.name, record.id
            ),
            source: error,
        },
        _ => Error::network(doing)(error),
    }
}

fn nothing_there(record: &Record, wanted: &PortBinding) -> Error {
    let at = match (wanted.host_ip, wanted.host) {
        (None, None) => String::new(),
        (ip, host) => format!(
            " at {}:{}",
            ip.map_or_else(|| "*".to_owned(), |ip| ip.to_string()),
            host.map_or_else(|| "*".to_owned(), |host| host.to_string())
        ),
    };
    Error::not_found(format!(
        "No public port '{}/{}'{at} published for {}",
        wanted.container, wanted.protocol, record.name
    ))
    .with_hint("\"port CONTAINER\" lists those that are")
}

#[cfg(test)]
mod tests;
