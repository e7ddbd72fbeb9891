//! The options of the local driver, `type`, `device` and `o`, as `mount` takes them.

use std::{collections::BTreeMap, ffi::CString, io, net::ToSocketAddrs as _, path::Path};

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
};

use crate::{Error, Result};

/// What is mounted at a volume's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMount {
    /// `tmpfs`, `nfs`, `ext4`, `none`, …
    kind: String,
    /// `/dev/sdb1`, `:/exported`, `tmpfs`, a folder for a bind.
    device: String,
    /// What is left of `o` for the file system itself.
    data: Vec<String>,
    flags: MountFlags,
    /// A bind, and whether of what is mounted below too.
    bind: Option<bool>,
    propagation: Option<MountPropagationFlags>,
}

/// Options that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Nobody knows it.
    #[error("invalid option: {0:?}")]
    Unknown(String),
    /// One is there without the other.
    #[error("missing required option: {0:?}")]
    Missing(&'static str),
    /// A size without a file system that could be limited.
    #[error("quota size requested but no quota support")]
    Quota,
}

impl OptionError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "the local driver has \"type\", \"device\" and \"o\"",
            Self::Missing(_) => "\"type\" and \"device\" go together, and \"o\" with both",
            Self::Quota => "a tmpfs has a size: type=tmpfs, device=tmpfs, o=size=64m",
        }
    }
}

/// Words of `o` that are flags and no data: the word, the flag, whether it is set.
const FLAGS: [(&str, MountFlags, bool); 20] = [
    ("async", MountFlags::SYNCHRONOUS, false),
    ("atime", MountFlags::NOATIME, false),
    ("defaults", MountFlags::empty(), true),
    ("dev", MountFlags::NODEV, false),
    ("diratime", MountFlags::NODIRATIME, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("exec", MountFlags::NOEXEC, false),
    ("noatime", MountFlags::NOATIME, true),
    ("nodev", MountFlags::NODEV, true),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("noexec", MountFlags::NOEXEC, true),
    ("norelatime", MountFlags::RELATIME, false),
    ("nostrictatime", MountFlags::STRICTATIME, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("relatime", MountFlags::RELATIME, true),
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("suid", MountFlags::NOSUID, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
];

const PROPAGATION: [(&str, MountPropagationFlags); 8] = [
    ("private", MountPropagationFlags::PRIVATE),
    (
        "rprivate",
        MountPropagationFlags::PRIVATE.union(MountPropagationFlags::REC),
    ),
    ("shared", MountPropagationFlags::SHARED),
    (
        "rshared",
        MountPropagationFlags::SHARED.union(MountPropagationFlags::REC),
    ),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    (
        "rslave",
        MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC),
    ),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
    (
        "runbindable",
        MountPropagationFlags::UNBINDABLE.union(MountPropagationFlags::REC),
    ),
];

impl LocalMount {
    /// Reads a volume's options; none for a plain folder.
    ///
    /// # Errors
    /// For options that nobody has, or that lack another.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Option<Self>, OptionError> {
        for name in options.keys() {
            if !["type", "device", "o", "size"].contains(&name.as_str()) {
                return Err(OptionError::Unknown(name.clone()));
            }
        }
        for (name, needs) in [
            ("o", "device"),
            ("o", "type"),
            ("device", "type"),
            ("type", "device"),
        ] {
            if options.contains_key(name) && !options.contains_key(needs) {
                return Err(OptionError::Missing(needs));
            }
        }
        if options.contains_key("size") {
            return Err(OptionError::Quota);
        }
        let Some((kind, device)) = options.get("type").zip(options.get("device")) else {
            return Ok(None);
        };
        let mut read = Self {
            kind: kind.clone(),
            device: device.clone(),
            data: Vec::new(),
            flags: MountFlags::empty(),
            bind: None,
            propagation: None,
        };
        let words = options.get("o").map(String::as_str).unwrap_or_default();
        words
            .split(',')
            .filter(|word| !word.is_empty())
            .for_each(|word| read.take(word));
        Ok(Some(read))
    }

    fn take(&mut self, word: &str) {
        if let Some((_, flag, set)) = FLAGS.iter().find(|(name, ..)| *name == word) {
            self.flags.set(*flag, *set);
        } else if let Some((_, propagation)) = PROPAGATION.iter().find(|(name, _)| *name == word) {
            self.propagation = Some(*propagation);
        } else if word == "bind" || word == "rbind" {
            self.bind = Some(word == "rbind");
        } else {
            self.data.push(word.to_owned());
        }
    }

    /// Mounts it. A half-made one is unmounted again.
    pub(super) fn mount(&self, target: &Path) -> Result<()> {
        let data = self.resolved().join(",");
        let failed = |source: io::Error| Error::VolumeMount {
            what: self.describe(target, &data),
            source,
        };
        let made = self.make(target, &data).and_then(|()| self.adjust(target));
        made.map_err(|errno| {
            let _ = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH);
            failed(errno.into())
        })
    }

    fn make(&self, target: &Path, data: &str) -> rustix::io::Result<()> {
        let data = CString::new(data).map_err(|_| rustix::io::Errno::INVAL)?;
        match self.bind {
            Some(true) => mount_bind_recursive(&self.device, target),
            Some(false) => mount_bind(&self.device, target),
            None => mount(&self.device, target, &self.kind, self.flags, data.as_c_str()),
        }
    }

    /// A bind takes flags only when it is mounted again.
    fn adjust(&self, target: &Path) -> rustix::io::Result<()> {
        if self.bind.is_some() && !self.flags.is_empty() {
            rustix::mount::mount_remount(target, self.flags | MountFlags::BIND, "")?;
        }
        match self.propagation {
            Some(propagation) => mount_change(target, propagation),
            None => Ok(()),
        }
    }

    /// The kernel's network file systems take addresses only, `mount` resolves names for them.
    fn resolved(&self) -> Vec<String> {
        let resolve = |word: &String| {
            let name = word
                .strip_prefix("addr=")
                .filter(|_| self.kind.starts_with("nfs") || self.kind == "cifs");
            let address = name.and_then(|name| (name, 0).to_socket_addrs().ok()?.next());
            address.map_or_else(|| word.clone(), |address| format!("addr={}", address.ip()))
        };
        self.data.iter().map(resolve).collect()
    }

    fn describe(&self, target: &Path, data: &str) -> String {
        let bind = match self.bind {
            Some(true) => MountFlags::BIND | MountFlags::REC,
            Some(false) => MountFlags::BIND,
            None => MountFlags::empty(),
        };
        let flags = (self.flags | bind).bits();
        let mut text = format!("{}:{}, flags: {flags:#x}", self.device, target.display());
        if !data.is_empty() {
            text.push_str(", data: ");
            text.push_str(data);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn options_need_each_other_and_nobody_has_others() {
        for (pairs, wanted) in [
            (&[][..], Ok(false)),
            (&[("type", "tmpfs"), ("device", "tmpfs")], Ok(true)),
            (&[("type", "tmpfs")], Err(OptionError::Missing("device"))),
            (&[("device", "/x")], Err(OptionError::Missing("type"))),
            (&[("o", "bind")], Err(OptionError::Missing("device"))),
            (&[("colour", "red")], Err(OptionError::Unknown("colour".into()))),
            (&[("size", "1g")], Err(OptionError::Quota)),
        ] {
            let read = LocalMount::parse(&options(pairs)).map(|read| read.is_some());
            assert_eq!(read, wanted, "{pairs:?}");
        }
    }

    #[test]
    fn words_are_flags_binds_propagation_or_the_file_systems_own() {
        let read = |o: &str| {
            let pairs = [("type", "nfs"), ("device", ":/x"), ("o", o)];
            LocalMount::parse(&options(&pairs))
                .expect("right")
                .expect("a mount")
        };
        let nfs = read("addr=10.0.0.1,ro,noatime,rsize=8192,rslave");
        assert_eq!(nfs.data, ["addr=10.0.0.1", "rsize=8192"]);
        assert_eq!(nfs.flags, MountFlags::RDONLY | MountFlags::NOATIME);
        assert!(nfs.propagation.is_some() && nfs.bind.is_none());
        assert_eq!(nfs.resolved(), ["addr=10.0.0.1", "rsize=8192"]);
        let bind = read("rbind,ro,rw");
        assert_eq!(
            (bind.bind, bind.flags),
            (Some(true), MountFlags::empty()),
            "the last word wins"
        );
        assert_eq!(bind.describe(Path::new("/v"), ""), ":/x:/v, flags: 0x5000");
    }
}
