//! Sysctls of a namespace: /proc/sys/net shows that of the thread that opens a file below it.

use std::{
    fs,
    io::{self, Write as _},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use super::{netns, own::Own, uplinks, visit::Visits};
use crate::{Error, Key, Netns, Object, Result, object::Sysctl};

/// Reads sysctls of one namespace; those that don't exist are left out.
pub(super) fn observe(visits: &mut Visits<'_>, netns: &Netns, keys: &[&Key]) -> Result<Vec<Object>> {
    let Some(first) = keys.first() else {
        return Ok(Vec::new());
    };
    let descriptor = visits.descriptor(netns, first)?;
    let own = (*netns == Netns::Host).then(|| &*visits.host().own);
    let values = netns::inside(descriptor.as_fd(), || {
        let read = |key: &&Key| read(key).inspect(|found| note(own, found.as_ref()));
        Ok(keys.iter().map(read).collect::<Vec<_>>())
    })
    .map_err(|error| failure(first, "entering its namespace", error))?;
    values.into_iter().filter_map(Result::transpose).collect()
}

/// Writes values in order, until one can't be. Answers how many were.
pub(super) fn write(
    descriptor: BorrowedFd<'_>,
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
            .find_map(|(at, sysctl)| write_one(sysctl, own).err().map(|error| (at, error)));
        Ok(first_failure)
    });
    match written {
        Ok(None) => (sysctls.len(), None),
        Ok(Some((at, error))) => (at, Some(error)),
        Err(error) => (0, Some(failure(&key(first), "entering its namespace", error))),
    }
}

fn write_one(sysctl: &Sysctl, own: Option<&Own>) -> Result<()> {
    let key = key(sysctl);
    let file = path(&sysctl.name).map_err(|error| failure(&key, "finding it", error))?;
    if sysctl.name == uplinks::FORWARDING && sysctl.value == "1" {
        uplinks::keep_listening(&file);
    }
    if let (Some(own), Some(path)) = (own, file.to_str()) {
        own.note_sysctl(&sysctl.name, path, &sysctl.value);
    }
    overwrite(&file, &sysctl.value).map_err(|error| failure(&key, "writing it", error))
}

/// Writes without truncating first, which would be announced while the old value is still there.
fn overwrite(path: &Path, value: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(value.as_bytes())
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

fn read(key: &Key) -> Result<Option<Object>> {
    let Key::Sysctl(netns, name) = key else {
        return Ok(None);
    };
    let value = path(name).and_then(fs::read_to_string);
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
    Ok(PathBuf::from("/proc/sys").join(name))
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
