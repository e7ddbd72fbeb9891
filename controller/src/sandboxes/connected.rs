//! The route to its subnet that the kernel makes with an address, and only then: who flushes routes takes it away, and
//! without it no gateway can be reached. Nobody but the address brings it back.

use kernel::{
    KernelState, Key, Object, Owner,
    object::{Address, Link, LinkKind},
};
use model::{IpNet, Sandbox, Subnet};

use super::refresh::wanted;
use crate::{core::Core, error::Result, locks::LockKey};

/// Brings up a sandbox's interfaces that are down, and takes out the addresses that have lost their routes. Whoever
/// refreshes it next gives it both, and all the rest.
pub(crate) async fn make_ready(core: &Core, sandbox: &Sandbox) -> Result<()> {
    let _sandbox = core.locks.exclusive(LockKey::Sandbox(sandbox.id)).await;
    // Under the lock: who refreshes it beside this would count on what is taken out here.
    core.attachments.forget(sandbox.id);
    let wanted = wanted(core, sandbox)?;
    let owner = Owner::Sandbox(sandbox.id);
    let raised = raised(&look(core, &wanted).await?);
    if !raised.is_empty() {
        core.worker
            .ensure(owner, "bringing its interfaces up", raised)
            .await?;
    }
    let lost = lost(&wanted, &look(core, &wanted).await?);
    let doing = "taking out addresses whose routes are gone";
    core.worker.remove(owner, doing, lost).await
}

/// Whether all that is wanted inside is there, and works.
pub(crate) async fn is_whole(core: &Core, sandbox: &Sandbox) -> Result<bool> {
    let wanted = wanted(core, sandbox)?;
    let there = look(core, &wanted).await?;
    let is_ready = raised(&there).is_empty() && lost(&wanted, &there).is_empty();
    Ok(is_ready && core.worker.holds("looking into the sandbox", wanted).await?)
}

/// Whether its sysctls have the values that they should have; true while somebody is at the sandbox.
pub(crate) async fn sysctls_hold(core: &Core, sandbox: &Sandbox) -> Result<bool> {
    let Some(_sandbox) = core.locks.try_exclusive(LockKey::Sandbox(sandbox.id)) else {
        return Ok(true);
    };
    let is_sysctl = |object: &&Object| matches!(object, Object::Sysctl(_));
    let wanted = wanted(core, sandbox)?
        .objects()
        .filter(is_sysctl)
        .cloned()
        .collect();
    core.worker.holds("reading the sandbox's sysctls", wanted).await
}

async fn look(core: &Core, wanted: &KernelState) -> Result<KernelState> {
    let keys = keys(wanted);
    match keys.is_empty() {
        true => Ok(KernelState::new()),
        false => {
            let doing = "looking at the sandbox's addresses";
            core.worker.observe(doing, keys).await
        }
    }
}

/// Pure: the links that are down, as they should be.
fn raised(there: &KernelState) -> KernelState {
    let up = |object: &Object| match object {
        Object::Link(link) if !link.up => Some(Object::Link(Link {
            kind: LinkKind::Existing,
            mac: None,
            mtu: None,
            master: None,
            up: true,
            ..link.clone()
        })),
        _ => None,
    };
    there.objects().filter_map(up).collect()
}

/// Pure: what to look at.
fn keys(wanted: &KernelState) -> Vec<Key> {
    let each = wanted.objects().filter_map(|object| {
        let Object::Address(Address { netns, link, .. }) = object else {
            return None;
        };
        let link = Key::Link(netns.clone(), link.clone());
        Some([object.key(), route(object)?, link])
    });
    let keys: std::collections::BTreeSet<Key> = each.flatten().collect();
    keys.into_iter().collect()
}

/// Pure: the addresses without routes.
fn lost(wanted: &KernelState, there: &KernelState) -> KernelState {
    let is_lost = |object: &&Object| {
        let Some(route) = route(object) else { return false };
        there.get(&object.key()).is_some() && there.get(&route).is_none()
    };
    wanted.objects().filter(is_lost).cloned().collect()
}

/// The route that comes with an address of an interface that leads somewhere.
fn route(object: &Object) -> Option<Key> {
    let Object::Address(Address { netns, link, address }) = object else {
        return None;
    };
    let whole = match address {
        IpNet::V4(_) => 32,
        IpNet::V6(_) => 128,
    };
    let leads = link.as_str() != "lo" && address.prefix_len() < whole;
    leads.then(|| Key::Route(netns.clone(), Subnet::around(*address)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kernel::{Netns, object::Route};
    use model::InterfaceName;

    use super::*;

    fn address(link: &str, text: &str) -> Object {
        Object::Address(Address {
            netns: Netns::Pinned(PathBuf::from("/pin")),
            link: InterfaceName::new(link).unwrap(),
            address: text.parse().unwrap(),
        })
    }

    fn to(text: &str) -> Object {
        Object::Route(Route {
            netns: Netns::Pinned(PathBuf::from("/pin")),
            destination: text.parse().unwrap(),
            gateway: None,
            link: InterfaceName::new("eth0").unwrap(),
            source: None,
        })
    }

    #[test]
    fn only_links_that_are_down_are_brought_up() {
        let link = |name: &str, up| {
            Object::Link(Link {
                netns: Netns::Pinned(PathBuf::from("/pin")),
                name: InterfaceName::new(name).unwrap(),
                kind: LinkKind::VethPeer,
                mac: None,
                mtu: Some(1400),
                master: None,
                up,
            })
        };
        let raised = raised(&[link("eth0", true), link("eth1", false)].into_iter().collect());
        let raised: Vec<_> = raised.objects().collect();
        assert!(
            matches!(raised[..], [Object::Link(link)] if link.name.as_str() == "eth1" && link.up && link.mtu.is_none())
        );
    }

    #[test]
    fn an_address_that_is_there_without_its_route_has_lost_it() {
        let (v4, v6) = (address("eth0", "10.1.0.2/24"), address("eth0", "fd00:1::2/64"));
        let (alone, local) = (address("eth0", "10.2.0.1/32"), address("lo", "fd63::11/64"));
        let all: KernelState = [&v4, &v6, &alone, &local].into_iter().cloned().collect();
        let rows = [
            (
                "all is well",
                vec![&v4, &v6, &alone, &local],
                vec!["10.1.0.0/24", "fd00:1::/64"],
                vec![],
            ),
            ("flushed", vec![&v4, &v6, &alone, &local], vec![], vec![&v4, &v6]),
            ("of one family", vec![&v4, &v6], vec!["fd00:1::/64"], vec![&v4]),
            ("the address is gone, too", vec![&v6], vec!["fd00:1::/64"], vec![]),
        ];
        for (name, addresses, routes, wanted) in rows {
            let routes = routes.into_iter().map(to);
            let there = addresses.into_iter().cloned().chain(routes).collect();
            let wanted: KernelState = wanted.into_iter().cloned().collect();
            assert_eq!(lost(&all, &there), wanted, "{name}");
        }
    }
}
