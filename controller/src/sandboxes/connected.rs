//! The route to its subnet that the kernel makes with an address, and only then: who flushes routes takes it away, and
//! without it no gateway can be reached. Nobody but the address brings it back.

use kernel::{KernelState, Key, Object, Owner, object::Address};
use model::{IpNet, Sandbox, Subnet};

use super::refresh::wanted;
use crate::{core::Core, error::Result, locks::LockKey};

/// Takes out of a sandbox the addresses that have lost their routes. Whoever refreshes it next gives it both.
pub(crate) async fn drop_routeless(core: &Core, sandbox: &Sandbox) -> Result<()> {
    let _sandbox = core.locks.exclusive(LockKey::Sandbox(sandbox.id)).await;
    let lost = routeless(core, &wanted(core, sandbox)?).await?;
    let doing = "taking out addresses whose routes are gone";
    core.worker.remove(Owner::Sandbox(sandbox.id), doing, lost).await
}

/// The addresses that are there while their routes are not.
pub(crate) async fn routeless(core: &Core, wanted: &KernelState) -> Result<KernelState> {
    let keys = keys(wanted);
    if keys.is_empty() {
        return Ok(KernelState::new());
    }
    let there = core
        .worker
        .observe("looking at the sandbox's addresses", keys)
        .await?;
    Ok(lost(wanted, &there))
}

/// Pure: what to look at.
fn keys(wanted: &KernelState) -> Vec<Key> {
    let pairs = wanted
        .objects()
        .filter_map(|object| Some([object.key(), route(object)?]));
    pairs.flatten().collect()
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
