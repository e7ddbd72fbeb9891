//! `-v`, `--mount`, `--tmpfs`, `--volumes-from`: four spellings of a mount.

mod long;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use api_types::{Config, HostConfig};
use engine::{
    AskedVolume, AskedVolumes, Missing,
    run::{Below, Mount},
};

use crate::status::{Answer, Refusal};

/// The mounts asked for, and the host paths that they need.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) sources: Vec<(PathBuf, Missing)>,
    pub(crate) volumes: AskedVolumes,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
enum One {
    Mount(Mount, Option<(PathBuf, Missing)>),
    Volume(AskedVolume),
}

/// Reads all spellings.
pub(crate) fn mounts(config: &Config, host: &HostConfig) -> Answer<Mounts> {
    let driver = Some(host.volume_driver.clone()).filter(|driver| !driver.is_empty());
    let mut all = Mounts::default();
    for bind in host.binds.iter().flatten() {
        all.add(parse_bind(bind, driver.as_deref())?)?;
    }
    for request in host.mounts.iter().flatten() {
        all.add(long::read(request)?)?;
    }
    for (path, options) in &host.tmpfs {
        let options = options.split(',').filter(|option| !option.is_empty());
        let mount = Mount::Tmpfs {
            destination: absolute(path)?,
            options: options.map(str::to_owned).collect(),
        };
        all.add(One::Mount(mount, None))?;
    }
    for place in config.volumes.iter().flat_map(|volumes| volumes.keys()) {
        all.volumes.places.push(absolute(place)?);
    }
    for text in host.volumes_from.iter().flatten() {
        all.volumes.from.push(volumes_from(text)?);
    }
    all.volumes.driver = driver;
    Ok(all)
}

impl Mounts {
    fn add(&mut self, one: One) -> Answer<()> {
        let place = match &one {
            One::Mount(mount, _) => destination(mount),
            One::Volume(volume) => &volume.destination,
        };
        if self.places().contains(place) {
            return Err(Refusal::bad_request(format!(
                "Duplicate mount point: {}",
                place.display()
            )));
        }
        match one {
            One::Mount(mount, source) => {
                self.mounts.push(mount);
                self.sources.extend(source);
            }
            One::Volume(volume) => self.volumes.volumes.push(volume),
        }
        Ok(())
    }

    fn places(&self) -> BTreeSet<&PathBuf> {
        let volumes = self.volumes.volumes.iter().map(|volume| &volume.destination);
        self.mounts.iter().map(destination).chain(volumes).collect()
    }
}

/// Where a mount appears.
pub(crate) fn destination(mount: &Mount) -> &PathBuf {
    match mount {
        Mount::Bind { destination, .. } | Mount::Tmpfs { destination, .. } => destination,
    }
}

/// What stands behind a short form's second colon.
pub(crate) fn bind_mode(text: &str) -> &str {
    text.splitn(3, ':').nth(2).unwrap_or_default()
}

/// `source:destination[:options]`: a source that begins with a slash is a path, any other a volume's name.
fn parse_bind(text: &str, driver: Option<&str>) -> Answer<One> {
    let invalid = || Refusal::bad_request(format!("invalid volume specification: '{text}'"));
    let mut parts = text.split(':');
    let (source, target, options) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(source), Some(target), options, None) => (source, target, options),
        _ => return Err(invalid()),
    };
    if source.is_empty() || target.is_empty() || options == Some("") {
        return Err(invalid());
    }
    let destination = absolute(target)?;
    let options = options.unwrap_or_default();
    let is_volume = !source.starts_with('/');
    let mut read = Options::default();
    if says_twice(options) {
        return Err(Refusal::bad_request(format!("invalid mode: {options}")));
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let known = read.take(option, is_volume);
        known.ok_or_else(|| Refusal::bad_request(format!("invalid mode: {options}")))?;
    }
    if is_volume {
        return Ok(One::Volume(AskedVolume {
            name: Some(source.to_owned()),
            driver: driver.map(str::to_owned),
            destination,
            readonly: read.readonly,
            nocopy: read.nocopy,
            mode: if options.is_empty() {
                "z".to_owned()
            } else {
                options.to_owned()
            },
            ..AskedVolume::default()
        }));
    }
    let mount = Mount::Bind {
        source: source.into(),
        destination,
        readonly: read.readonly,
        propagation: read.propagation,
        below: Below::Alike,
        ours: false,
    };
    Ok(One::Mount(mount, Some((source.into(), Missing::Make))))
}

/// Of each kind of option one may be there.
fn says_twice(options: &str) -> bool {
    let kinds: [&[&str]; 4] = [
        &["ro", "rw"],
        &["z", "Z"],
        &["rprivate", "private", "rshared", "shared", "rslave", "slave"],
        &["cached", "consistent", "delegated"],
    ];
    let count = |kind: &[&str]| options.split(',').filter(|option| kind.contains(option)).count();
    kinds.iter().any(|kind| count(kind) > 1)
}

#[derive(Debug, Default)]
struct Options {
    readonly: bool,
    nocopy: bool,
    propagation: String,
}

impl Options {
    /// None for what does not belong there.
    fn take(&mut self, option: &str, is_volume: bool) -> Option<()> {
        match option {
            "ro" => self.readonly = true,
            "nocopy" if is_volume => self.nocopy = true,
            // SELinux labels and caching hints, which mean nothing here.
            "rw" | "z" | "Z" | "cached" | "consistent" | "delegated" | "default" => {}
            _ if is_volume => return None,
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                option.clone_into(&mut self.propagation);
            }
            _ => return None,
        }
        Some(())
    }
}

/// `container[:ro]`.
fn volumes_from(text: &str) -> Answer<(String, bool)> {
    let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
    let mut readonly = false;
    for word in mode.split(',') {
        match word {
            "ro" => readonly = true,
            "rw" | "z" | "Z" => {}
            _ => {
                return Err(Refusal::bad_request(format!(
                    "invalid mode for volumes-from: {mode}"
                )));
            }
        }
    }
    match name.is_empty() {
        true => Err(Refusal::bad_request(
            "malformed volumes-from: no container is named",
        )),
        false => Ok((name.to_owned(), readonly)),
    }
}

fn absolute(path: &str) -> Answer<PathBuf> {
    let clean = clean(path).ok_or_else(|| {
        Refusal::bad_request(format!(
            "invalid mount config: invalid mount path: '{path}' mount path must be absolute"
        ))
    })?;
    if clean == Path::new("/") {
        return Err(Refusal::bad_request(
            "invalid volume specification: destination can't be '/'",
        ));
    }
    Ok(clean)
}

/// An absolute path without what would make one place look like two: trailing slashes, dots.
fn clean(path: &str) -> Option<PathBuf> {
    if !path.starts_with('/') {
        return None;
    }
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests;
