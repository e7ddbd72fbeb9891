//! Compares a namespace with what should be in it: the answer to whoever asks whether it still is.

use std::sync::Arc;

use kernel::{KernelState, Key, Netns, Object};
use model::{InterfaceName, IpNet};

use super::{ForeignSandbox, Observed, ObservedLink, namespace};
use crate::{core::Core, error::Result, sandboxes};

pub(super) async fn observe(core: &Arc<Core>, found: &ForeignSandbox) -> Result<Observed> {
    let Some(foreign) = found.sandbox.foreign() else {
        return Ok(Observed::default());
    };
    if !namespace::is_there(core, foreign).await? {
        return Ok(Observed {
            missing: vec![format!("the namespace at {:?} has ended", foreign.path)],
            ..Observed::default()
        });
    }
    let netns = Netns::Pinned(foreign.path.clone());
    let names = found
        .endpoints
        .iter()
        .filter_map(|(endpoint, _)| endpoint.interface.clone());
    let names: Vec<InterfaceName> = names.collect();
    let wanted = sandboxes::wanted(core, &found.sandbox)?;
    let mut keys: Vec<Key> = wanted.objects().map(Object::key).collect();
    keys.extend(names.iter().map(|name| Key::Link(netns.clone(), name.clone())));
    keys.extend(host_links(core, found));
    keys.dedup();
    let doing = "looking into a sandbox";
    let there = core.worker.observe(doing, keys.clone()).await?;
    let worn = core.worker.addresses(doing, netns.clone()).await?;
    Ok(decide(&netns, &names, &wanted, &keys, &there, &worn))
}

/// The ends on the host.
fn host_links(core: &Core, found: &ForeignSandbox) -> Vec<Key> {
    let links = found.endpoints.iter().filter_map(|(endpoint, network)| {
        let driver = core.driver(&network.driver).ok()?;
        driver.host_link(network, endpoint)
    });
    links.map(|link| Key::Link(Netns::Host, link)).collect()
}

/// Pure: what is there and what isn't.
fn decide(
    netns: &Netns,
    names: &[InterfaceName],
    wanted: &KernelState,
    keys: &[Key],
    there: &KernelState,
    worn: &[(InterfaceName, IpNet)],
) -> Observed {
    let mut missing: Vec<String> = Vec::new();
    for key in keys {
        match there.get(key) {
            None => missing.push(format!("no {}", words(key))),
            Some(Object::Link(link)) if !link.up => missing.push(format!("{} is down", words(key))),
            Some(Object::Route(is)) => {
                let same = |object: &Object| matches!(object, Object::Route(should) if should.gateway == is.gateway && should.link == is.link);
                if wanted.get(key).is_some_and(|should| !same(should)) {
                    missing.push(format!("{} leads elsewhere", words(key)));
                }
            }
            Some(_) => {}
        }
    }
    missing.dedup();
    let links = names.iter().filter_map(|name| {
        let Some(Object::Link(link)) = there.get(&Key::Link(netns.clone(), name.clone())) else {
            return None;
        };
        let own = worn.iter().filter(|(on, _)| on == name);
        Some(ObservedLink {
            name: name.clone(),
            mac: link.mac,
            mtu: link.mtu,
            up: link.up,
            addresses: own.map(|(_, address)| *address).collect(),
        })
    });
    let routes = wanted.objects().filter_map(|object| {
        let Some(Object::Route(route)) = there.get(&object.key()) else {
            return None;
        };
        Some((route.destination, route.gateway, route.link.clone()))
    });
    Observed {
        links: links.collect(),
        routes: routes.collect(),
        missing,
    }
}

/// Without the namespace, which whoever asks has named.
fn words(key: &Key) -> String {
    let text = key.to_string();
    match text.split_once(" in namespace ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
