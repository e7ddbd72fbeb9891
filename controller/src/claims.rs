//! Unique things and who has them: names, host devices, VXLAN network identifiers.
//!
//! A claim is a key that is written only while absent, in the same commit as the record it belongs to.

use std::collections::BTreeSet;

use model::{EndpointId, NetworkId, NetworkName, Scope, Vni};
use serde::{Deserialize, Serialize};
use store::{Key, Table, Txn};

use crate::{
    core::Core,
    error::{Error, Result},
};

/// Who has something, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Id of the network or endpoint.
    pub(crate) owner: String,
    /// Its name, for others' error messages.
    pub(crate) name: String,
}

fn table(root: Key) -> Table<Claim> {
    Table::new(root, 1)
}

/// The name of a network, unique in its scope.
pub(crate) fn network_name(name: &NetworkName) -> Key {
    Key::root("network-names").child(name)
}

/// The name of an endpoint, unique on its network.
///
/// # Errors
/// `Invalid` for a name that is not made of letters, digits, `_`, `.` and `-`.
pub(crate) fn endpoint_name(network: NetworkId, name: &str) -> Result<Key> {
    let invalid = |_| {
        Error::invalid(format!("{name:?} is not a valid endpoint name"))
            .with_hint("letters, digits, \"_\", \".\" and \"-\" are")
    };
    if name.contains('/') {
        return Err(invalid(()));
    }
    let key = format!("endpoint-names/{network}/{name}");
    key.parse().map_err(|_| invalid(()))
}

/// A name on this host, such as a bridge device's.
pub(crate) fn device(name: &str) -> Result<Key> {
    format!("devices/{name}")
        .parse()
        .map_err(|_| Error::invalid(format!("{name:?} can't be claimed as a device name")))
}

fn vni(vni: Vni) -> Key {
    Key::root("vnis").child(vni)
}

/// Claims a key for a network.
pub(crate) fn for_network(key: Key, id: NetworkId, name: &NetworkName) -> Txn {
    let claim = Claim {
        owner: id.to_string(),
        name: name.to_string(),
    };
    create(key, &claim)
}

/// Keeps a network's claim under the network's new name.
pub(crate) fn renamed(key: Key, id: NetworkId, name: &NetworkName) -> Txn {
    let claim = Claim {
        owner: id.to_string(),
        name: name.to_string(),
    };
    Txn::new().put(key, table(Key::root("claims")).encode(&claim))
}

/// Claims an endpoint's name.
pub(crate) fn for_endpoint(key: Key, id: EndpointId, name: &str) -> Txn {
    let claim = Claim {
        owner: id.to_string(),
        name: name.to_owned(),
    };
    create(key, &claim)
}

fn create(key: Key, claim: &Claim) -> Txn {
    let value = table(Key::root("claims")).encode(claim);
    Txn::new().create(key, value)
}

/// Who has a key, by name.
pub(crate) async fn holder(core: &Core, scope: Scope, key: &Key) -> Result<Option<Claim>> {
    let entry = core.stores.of(scope).get(key).await?;
    let decode = |entry| table(Key::root("claims")).decode(&entry);
    Ok(entry.map(decode).transpose()?.map(|found| found.record))
}

/// Claims one identifier per pool: those wanted first, then the lowest free ones.
pub(crate) async fn vnis(
    core: &Core,
    scope: Scope,
    id: NetworkId,
    name: &NetworkName,
    count: usize,
    wanted: &[Vni],
) -> Result<(Vec<Vni>, Txn)> {
    let listing = core.stores.of(scope).list(&Key::root("vnis")).await?;
    let taken: BTreeSet<u32> = listing
        .entries
        .iter()
        .filter_map(|entry| entry.key.last().parse().ok())
        .collect();
    for vni in wanted {
        if taken.contains(&vni.get()) {
            let claim = holder(core, scope, &self::vni(*vni)).await?;
            let by = claim.map_or_else(String::new, |claim| format!(" by network {:?}", claim.name));
            return Err(
                Error::forbidden(format!("VXLAN network identifier {vni} is in use{by}"))
                    .with_hint("choose another, or none to get the next free one"),
            );
        }
    }
    let chosen = choose_vnis(&taken, count, wanted);
    if chosen.len() < count {
        return Err(Error::Unavailable {
            message: "no VXLAN network identifier is left".to_owned(),
            hint: None,
        });
    }
    let txn = chosen.iter().fold(Txn::new(), |txn, chosen| {
        txn.and(for_network(vni(*chosen), id, name))
    });
    Ok((chosen, txn))
}

/// Gives identifiers back.
pub(crate) fn release_vnis(vnis: &[Vni]) -> Txn {
    vnis.iter().fold(Txn::new(), |txn, free| txn.delete(vni(*free)))
}

/// Pure: those wanted first, then the lowest free ones.
fn choose_vnis(taken: &BTreeSet<u32>, count: usize, wanted: &[Vni]) -> Vec<Vni> {
    let free = (Vni::FIRST_AUTOMATIC..=Vni::LAST)
        .filter(|number| !taken.contains(number) && !wanted.iter().any(|vni| vni.get() == *number))
        .filter_map(|number| Vni::new(number).ok());
    wanted
        .iter()
        .copied()
        .chain(free)
        .take(count.max(wanted.len()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_identifiers_from_256_are_chosen_behind_those_wanted() {
        let numbers = |taken: &[u32], count, wanted: &[u32]| -> Vec<u32> {
            let wanted: Vec<_> = wanted.iter().map(|n| Vni::new(*n).unwrap()).collect();
            let chosen = choose_vnis(&taken.iter().copied().collect(), count, &wanted);
            chosen.into_iter().map(Vni::get).collect()
        };
        assert_eq!(numbers(&[], 2, &[]), [256, 257]);
        assert_eq!(numbers(&[256, 258], 2, &[]), [257, 259]);
        assert_eq!(numbers(&[], 2, &[42]), [42, 256]);
        assert_eq!(numbers(&[], 2, &[256]), [256, 257]);
    }

    #[test]
    fn an_endpoint_name_that_is_no_path_segment_is_refused() {
        let network = NetworkId::random();
        assert!(endpoint_name(network, "test01").is_ok());
        for bad in ["", "a/b", "a b", "ü"] {
            assert!(endpoint_name(network, bad).is_err(), "{bad:?}");
        }
    }
}
