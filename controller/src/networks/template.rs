//! Networks that are only a template, and networks made from one.

use std::sync::Arc;

use model::{DriverName, Network, Snapshot};

use super::{CreateNetwork, find};
use crate::error::{Error, Result};

/// Refuses what doesn't go with a template, and fills in what a network takes from one.
pub(super) fn resolve(snapshot: &Snapshot, request: CreateNetwork) -> Result<CreateNetwork> {
    if request.ingress {
        return Err(
            Error::invalid("ingress networks belong to Swarm mode, which cnm does not have")
                .with_hint("publish ports with -p; a network over several hosts is made with -d overlay"),
        );
    }
    match (request.config_only, &request.config_from) {
        (false, None) => Ok(request),
        (true, None) => template(request),
        (true, Some(_)) => Err(Error::forbidden(
            "configuration networks cannot depend on other configuration networks",
        )
        .with_hint("leave out --config-from")),
        (false, Some(from)) => {
            let from = configuration(snapshot, from)?;
            filled(request, &from)
        }
    }
}

/// A template has no driver of its own and exists on no host.
fn template(request: CreateNetwork) -> Result<CreateNetwork> {
    if request.internal || request.attachable || request.scope.is_some() {
        return Err(Error::forbidden(
            "configuration network can only contain network specific fields. Network operator fields like \
             [ ingress | internal | attachable | scope ] are not supported.",
        )
        .with_hint("give them when a network is made with --config-from"));
    }
    Ok(CreateNetwork {
        driver: Some(DriverName::new("null").expect("a literal follows the rule")),
        ..request
    })
}

fn configuration(snapshot: &Snapshot, text: &str) -> Result<Arc<Network>> {
    let found = match find::find(snapshot, text) {
        Err(Error::NotFound { .. }) => {
            return Err(
                Error::not_found(format!("could not find configuration network {text:?}"))
                    .with_hint("make it first, with --config-only"),
            );
        }
        found => found?,
    };
    match found.config_only {
        true => Ok(found),
        false => Err(
            Error::forbidden(format!("{text:?} is not a configuration network"))
                .with_hint("one is made with --config-only"),
        ),
    }
}

/// Everything specific to the network comes from the template; what its operator decides from the request.
fn filled(request: CreateNetwork, from: &Network) -> Result<CreateNetwork> {
    let plain = CreateNetwork::named(request.name.clone());
    let own = request.ipam != plain.ipam
        || !request.options.is_empty()
        || !request.labels.is_empty()
        || request.enable_ipv4 != plain.enable_ipv4
        || request.enable_ipv6 != plain.enable_ipv6;
    if own {
        return Err(Error::forbidden(
            "user supplied configurations are not supported if the network depends on a configuration network",
        )
        .with_hint("subnets, options, labels and IPv6 all come from the one given with --config-from"));
    }
    Ok(CreateNetwork {
        labels: from.labels.clone(),
        options: from.options.clone(),
        enable_ipv4: from.enable_ipv4,
        enable_ipv6: from.enable_ipv6,
        ipam: from.ipam.clone(),
        config_from: Some(from.name.to_string()),
        ..request
    })
}

/// That no network was made from this one.
pub(super) fn refuse_depended_on(snapshot: &Snapshot, network: &Network) -> Result<()> {
    let made = |other: &&Arc<Network>| other.config_from.as_ref() == Some(&network.name);
    match snapshot
        .networks
        .values()
        .find(made)
        .filter(|_| network.config_only)
    {
        Some(other) => Err(Error::forbidden(format!(
            "configuration network {:?} is in use",
            network.name.as_str()
        ))
        .with_hint(format!("remove the network {:?} first", other.name.as_str()))),
        None => Ok(()),
    }
}
