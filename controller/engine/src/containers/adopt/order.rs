//! In which order containers are started with the daemon: who needs another's namespaces or address comes after it.

use std::collections::{BTreeMap, BTreeSet};

use model::ContainerId;

use crate::record::{NetworkMode, Record};

/// Containers that another one needs to run before it.
pub(super) fn needs(record: &Record) -> Vec<ContainerId> {
    let settings = &record.settings;
    let network = match settings.network_mode {
        NetworkMode::Container(other) => Some(other),
        _ => None,
    };
    let links = settings.links.iter().map(|link| link.container);
    let shares = [network, settings.shares.pid, settings.shares.ipc];
    shares.into_iter().flatten().chain(links).collect()
}

/// Waves, each in the order given: everything in one only needs what is in those before, or is not among them at all.
/// Who needs each other in a circle comes last.
pub(super) fn waves(wanted: &[(ContainerId, Vec<ContainerId>)]) -> Vec<Vec<ContainerId>> {
    let all: BTreeSet<ContainerId> = wanted.iter().map(|(id, _)| *id).collect();
    let mut left: BTreeMap<ContainerId, BTreeSet<ContainerId>> = wanted
        .iter()
        .map(|(id, needs)| {
            (
                *id,
                needs.iter().copied().filter(|need| all.contains(need)).collect(),
            )
        })
        .collect();
    let mut waves = Vec::new();
    while !left.is_empty() {
        let ready = |id: &ContainerId| {
            left.get(id)
                .is_some_and(|needs| !needs.iter().any(|need| left.contains_key(need)))
        };
        let mut wave: Vec<_> = wanted.iter().map(|(id, _)| *id).filter(ready).collect();
        if wave.is_empty() {
            wave = wanted
                .iter()
                .map(|(id, _)| *id)
                .filter(|id| left.contains_key(id))
                .collect();
        }
        wave.iter().for_each(|id| drop(left.remove(id)));
        waves.push(wave);
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_another_comes_after_it_and_a_circle_comes_last() {
        let id = [0; 6].map(|_: u8| ContainerId::random());
        let [db, web, helper, lone, chicken, egg] = id;
        let wanted = [
            (helper, vec![web]),
            (web, vec![db, ContainerId::random()]),
            (db, vec![]),
            (lone, vec![]),
            (chicken, vec![egg]),
            (egg, vec![chicken]),
        ];
        assert_eq!(
            waves(&wanted),
            [vec![db, lone], vec![web], vec![helper], vec![chicken, egg]]
        );
        assert!(waves(&[]).is_empty());
    }
}
