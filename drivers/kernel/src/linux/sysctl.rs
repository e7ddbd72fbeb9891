//! Sysctls of a namespace: /proc/sys/net shows that of the thread that opens a file below it.

mod tree;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

pub(super) use self::tree::{Tree, Trees};
use super::{netns, own::Own, uplinks, visit::Visits};
use crate::{Error, Key, Netns, Object, Result, object::Sysctl};

/// Reads sysctls of one namespace; those that don't exist are left out.
pub(super) fn observe(visits: &mut Visits<'_>, netns: &Netns, keys: &[&Key]) -> Result<Vec<Object>> {
    let Some(first) = keys.first() else {
        return Ok(Vec::new());
    };
    let descriptor = visits.descriptor(netns, first)?;
    let own = (*netns == Netns::Host).then(|| &*visits.host().own);
    let tree = tree(visits, netns);
    let values = netns::inside(descriptor.as_fd(), || {
        let read = |key: &&Key| read(&tree, key).inspect(|found| note(own, found.as_ref()));
        Ok(keys.iter().map(read).collect::<Vec<_>>())
    })
    .map_err(|error| failure(first, "entering its namespace", error))?;
    values.into_iter().filter_map(Result::transpose).collect()
}

/// Where a namespace's sysctls are found. The host's are watched, by others too, where everybody finds them.
pub(super) fn tree(visits: &Visits<'_>, netns: &Netns) -> Tree {
    match netns {
        Netns::Host => Tree::Common,
        Netns::Pinned(_) | Netns::Numbered(_) => visits.host().trees.for_visit(),
    }
}

/// Writes values in order, until one can't be. Answers how many were.
pub(super) fn write(
    descriptor: BorrowedFd<'_>,
    tree: &Tree,
    sysctls: &[&Sysctl],
    own: Option<&Own>,
) -> (usize, Option<Error>) {
    let Some(first) = sysctls.first() else {
        return (0, None);
    };
    let written = netns::inside(descriptor, || {
        let first_failure = sysctls
            .iter()
            .enumerate()
            .find_map(|(at, sysctl)| write_one(tree, sysctl, own).err().map(|error| (at, error)));
        Ok(first_failure)
    });
    match written {
        Ok(None) => (sysctls.len(), None),
        Ok(Some((at, error))) => (at, Some(error)),
        Err(error) => (0, Some(failure(&key(first), "entering its namespace", error))),
    }
}

/// Has IPv6 leave a link alone. Where there is none, it does.
pub(super) fn switch_ipv6_off(tree: &Tree, netns: BorrowedFd<'_>, link: &str) -> io::Result<()> {
    let name = format!("net/ipv6/conf/{link}/disable_ipv6");
    match netns::inside(netns, || tree.write(&name, "1")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer,
    }
}

fn write_one(tree: &Tree, sysctl: &Sysctl, own: Option<&Own>) -> Result<()> {
    let key = key(sysctl);
    let file = path(&sysctl.name).map_err(|error| failure(&key, "finding it", error))?;
    if sysctl.name == uplinks::FORWARDING && sysctl.value == "1" {
        uplinks::keep_listening(&file);
    }
    if let (Some(own), Some(path)) = (own, file.to_str()) {
        own.note_sysctl(&sysctl.name, path, &sysctl.value);
    }
    tree.write(&sysctl.name, &sysctl.value)
        .map_err(|error| failure(&key, "writing it", error))
}

/// What is seen is taken for what should be: if it isn't, it is written next.
fn note(own: Option<&Own>, found: Option<&Object>) {
    if let (Some(own), Some(Object::Sysctl(sysctl))) = (own, found)
        && let Ok(path) = path(&sysctl.name)
        && let Some(path) = path.to_str()
    {
        own.note_sysctl(&sysctl.name, path, &sysctl.value);
    }
}

fn read(tree: &Tree, key: &Key) -> Result<Option<Object>> {
    let Key::Sysctl(netns, name) = key else {
        return Ok(None);
    };
    let value = path(name).and_then(|_| tree.read(name));
    match value {
        Ok(value) => Ok(Some(Object::Sysctl(Sysctl {
            netns: netns.clone(),
            name: name.clone(),
            value: value.trim_end().to_owned(),
        }))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(key, "reading it", error)),
    }
}

/// A sysctl's name comes from options of users: it must not lead out of /proc/sys.
fn path(name: &str) -> io::Result<PathBuf> {
    let leads_out = name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if leads_out {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(Path::new("/proc/sys").join(name))
}

fn key(sysctl: &Sysctl) -> Key {
    Key::Sysctl(sysctl.netns.clone(), sysctl.name.clone())
}

fn failure(key: &Key, action: &'static str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidInput => Error::Invalid {
            object: key.clone().into(),
            detail: error.to_string(),
        },
        _ => Error::from_errno(key, action, "such sysctl", error, ""),
    }
}
