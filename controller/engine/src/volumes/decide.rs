//! Which volumes a container gets: its own, those of others, and one for each place that it or its image names alone.

use std::{collections::BTreeSet, path::PathBuf};

use model::{ContainerId, Labels, Timestamp, VolumeName};
use runtime::spec::Mount;

use super::record::{ANONYMOUS, LOCAL, VolumeMount, VolumeRecord};
use crate::{
    containers::{Core, as_invalid},
    error::{Error, Result},
    record::{Record, Settings},
};

/// What a new container asks of volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedVolumes {
    /// Those asked for one by one.
    pub volumes: Vec<AskedVolume>,
    /// Containers whose mounts it has too, and whether they can't be written to; the last one wins at a place.
    pub from: Vec<(String, bool)>,
    /// Places that get a volume of their own unless something is mounted there.
    pub places: Vec<PathBuf>,
    /// The driver of those; none for the local one.
    pub driver: Option<String>,
}

/// One volume asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedVolume {
    /// Its name; none for one made up here.
    pub name: Option<String>,
    /// Its driver; none for the one it has, or the local one.
    pub driver: Option<String>,
    /// The driver's options if it is made now.
    pub options: Labels,
    /// Its labels if it is made now.
    pub labels: Labels,
    /// Where it appears.
    pub destination: PathBuf,
    /// It can't be written to.
    pub readonly: bool,
    /// It stays empty.
    pub nocopy: bool,
    /// Only this part of it.
    pub subpath: Option<PathBuf>,
    /// Options as typed.
    pub mode: String,
}

/// One use of a volume, and what is recorded if there is no such volume yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) mount: VolumeMount,
    /// None for another container's.
    pub(crate) new: Option<VolumeRecord>,
    /// A driver was named, so the volume's must be that one.
    pub(crate) driver: Option<String>,
}

/// Decides it; binds of others join `settings`.
///
/// # Errors
/// `Invalid` for a name against the rule, or a container that is not there.
pub(crate) fn decide(
    core: &Core,
    asked: AskedVolumes,
    settings: &mut Settings,
    image: impl Iterator<Item = PathBuf>,
) -> Result<Vec<Wanted>> {
    let mut others = Vec::new();
    for (name, readonly) in &asked.from {
        let other = core.registry.find(name).map_err(as_invalid)?;
        others.push((other.record(), *readonly));
    }
    let others = others.iter().map(|(record, readonly)| (&**record, *readonly));
    let wanted = merge(asked, settings, others, image, Timestamp::now())?;
    settings.volumes = wanted.iter().map(|wanted| wanted.mount.clone()).collect();
    Ok(wanted)
}

/// The pure part of it.
fn merge<'a>(
    asked: AskedVolumes,
    settings: &mut Settings,
    others: impl Iterator<Item = (&'a Record, bool)>,
    image: impl Iterator<Item = PathBuf>,
    now: Timestamp,
) -> Result<Vec<Wanted>> {
    let own = settings.run.mounts.iter().map(destination).cloned();
    let own = own.chain(asked.volumes.iter().map(|volume| volume.destination.clone()));
    let own: BTreeSet<PathBuf> = own.collect();
    let mut wanted = Vec::new();
    let mut binds: Vec<Mount> = Vec::new();
    for (record, readonly) in others {
        for (place, found) in mounts_of(record, readonly) {
            if own.contains(&place) {
                continue;
            }
            wanted.retain(|known: &Wanted| known.mount.destination != place);
            binds.retain(|known| *destination(known) != place);
            match found {
                Found::Bind(bind) => binds.push(bind),
                Found::Volume(mount) => wanted.push(Wanted {
                    mount,
                    new: None,
                    driver: None,
                }),
            }
        }
    }
    settings.run.mounts.extend(binds);
    for volume in asked.volumes {
        wanted.push(named(volume, now)?);
    }
    let taken = settings.run.mounts.iter().map(destination).cloned();
    let taken = taken.chain(wanted.iter().map(|known| known.mount.destination.clone()));
    let mut taken: BTreeSet<PathBuf> = taken.collect();
    for destination in asked.places.into_iter().chain(image) {
        if taken.insert(destination.clone()) {
            let volume = AskedVolume {
                driver: asked.driver.clone(),
                destination,
                ..AskedVolume::default()
            };
            wanted.push(named(volume, now)?);
        }
    }
    Ok(wanted)
}

enum Found {
    Bind(Mount),
    Volume(VolumeMount),
}

/// What a container shares with those that name it. Memory is its own.
fn mounts_of(record: &Record, readonly: bool) -> Vec<(PathBuf, Found)> {
    let binds = record.settings.run.mounts.iter().filter_map(|mount| {
        let mut mount = mount.clone();
        match &mut mount {
            Mount::Bind { readonly: own, .. } => *own |= readonly,
            Mount::Tmpfs { .. } => return None,
        }
        Some((destination(&mount).clone(), Found::Bind(mount)))
    });
    let volumes = record.settings.volumes.iter().map(|mount| {
        let mount = VolumeMount {
            readonly: mount.readonly || readonly,
            copy: false,
            ..mount.clone()
        };
        (mount.destination.clone(), Found::Volume(mount))
    });
    binds.chain(volumes).collect()
}

fn destination(mount: &Mount) -> &PathBuf {
    match mount {
        Mount::Bind { destination, .. } | Mount::Tmpfs { destination, .. } => destination,
    }
}

fn named(asked: AskedVolume, now: Timestamp) -> Result<Wanted> {
    let anonymous = asked.name.is_none();
    let name = checked_name(asked.name)?;
    let driver = asked.driver.clone().unwrap_or_else(|| LOCAL.to_owned());
    let mut labels = asked.labels;
    if anonymous {
        labels.insert(ANONYMOUS.to_owned(), String::new());
    }
    Ok(Wanted {
        new: Some(VolumeRecord {
            name: name.clone(),
            driver: driver.clone(),
            options: asked.options,
            labels,
            created: now,
            global: false,
            removing: false,
        }),
        mount: VolumeMount {
            volume: name,
            driver,
            destination: asked.destination,
            readonly: asked.readonly,
            anonymous,
            copy: !asked.nocopy && asked.subpath.is_none(),
            subpath: asked.subpath,
            mode: asked.mode,
        },
        driver: asked.driver,
    })
}

/// A name as clients give it, or one made up.
pub(super) fn checked_name(name: Option<String>) -> Result<VolumeName> {
    let made_up = || ContainerId::random().to_string();
    let text = name.unwrap_or_else(made_up);
    if text.chars().count() == 1 {
        return Err(Error::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    VolumeName::new(text.clone()).map_err(|_| {
        Error::invalid(format!(
            "create {text}: {text:?} includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{containers::testing, record::Phase};

    fn asked(name: &str, destination: &str) -> AskedVolume {
        AskedVolume {
            name: Some(name.to_owned()),
            destination: destination.into(),
            ..AskedVolume::default()
        }
    }

    fn bind(source: &str, destination: &str) -> Mount {
        Mount::bind(source.into(), destination.into())
    }

    fn other(volumes: Vec<AskedVolume>, binds: Vec<Mount>) -> Record {
        let mut record = testing::record("other", Phase::Exited, 1);
        record.settings.run.mounts = binds;
        let wanted = volumes
            .into_iter()
            .map(|volume| named(volume, Timestamp::ZERO).expect("a name").mount);
        record.settings.volumes = wanted.collect();
        record
    }

    /// `place=volume` for each volume and `place<source` for each bind, by place.
    fn merged(asked: AskedVolumes, own: Vec<Mount>, others: &[(Record, bool)], image: &[&str]) -> String {
        let mut settings = testing::settings();
        settings.run.mounts = own;
        let others = others.iter().map(|(record, readonly)| (record, *readonly));
        let image = image.iter().map(PathBuf::from);
        let wanted = merge(asked, &mut settings, others, image, Timestamp::ZERO).expect("decided");
        let access = |readonly| if readonly { "(ro)" } else { "" };
        let volumes = wanted.iter().map(|wanted| {
            let name = if wanted.mount.anonymous {
                "?"
            } else {
                wanted.mount.volume.as_str()
            };
            let readonly = access(wanted.mount.readonly);
            format!("{}={name}{readonly}", wanted.mount.destination.display())
        });
        let binds = settings.run.mounts.iter().filter_map(|mount| match mount {
            Mount::Bind {
                source,
                destination,
                readonly,
                ..
            } => Some(format!(
                "{}<{}{}",
                destination.display(),
                source.display(),
                access(*readonly)
            )),
            Mount::Tmpfs { .. } => None,
        });
        let mut all: Vec<_> = volumes.chain(binds).collect();
        all.sort();
        all.join(" ")
    }

    #[test]
    fn own_mounts_come_before_others_and_those_before_places() {
        let other_one = || {
            other(
                vec![asked("data", "/data"), asked("logs", "/logs")],
                vec![bind("/h", "/bound")],
            )
        };
        let places = |places: &[&str]| places.iter().map(PathBuf::from).collect();
        let plain = |volumes| AskedVolumes {
            volumes,
            ..AskedVolumes::default()
        };
        for (name, asked, own, others, image, result) in [
            (
                "a name",
                plain(vec![asked("data", "/data")]),
                vec![],
                vec![],
                &[][..],
                "/data=data",
            ),
            (
                "a place of its own, once",
                AskedVolumes {
                    places: places(&["/x"]),
                    ..AskedVolumes::default()
                },
                vec![],
                vec![],
                &["/x", "/y"],
                "/x=? /y=?",
            ),
            (
                "an image's place that is taken",
                plain(vec![]),
                vec![bind("/h", "/x")],
                vec![],
                &["/x"],
                "/x</h",
            ),
            (
                "another's mounts, all of them",
                plain(vec![]),
                vec![],
                vec![(other_one(), false)],
                &["/data"],
                "/bound</h /data=data /logs=logs",
            ),
            (
                "read-only",
                plain(vec![]),
                vec![],
                vec![(other_one(), true)],
                &[],
                "/bound</h(ro) /data=data(ro) /logs=logs(ro)",
            ),
            (
                "the last one wins",
                plain(vec![]),
                vec![],
                vec![
                    (other_one(), false),
                    (
                        other(vec![asked("new", "/data")], vec![bind("/o", "/logs")]),
                        false,
                    ),
                ],
                &[],
                "/bound</h /data=new /logs</o",
            ),
            (
                "its own before all",
                plain(vec![asked("mine", "/data")]),
                vec![bind("/mine", "/bound")],
                vec![(other_one(), false)],
                &[],
                "/bound</mine /data=mine /logs=logs",
            ),
        ] {
            assert_eq!(merged(asked, own, &others, image), result, "{name}");
        }
    }

    #[test]
    fn names_follow_the_rule_and_are_made_up_where_there_is_none() {
        assert_eq!(checked_name(None).expect("made up").len(), 64);
        for (name, says) in [
            ("a", "too short"),
            ("a/b", "includes invalid characters"),
            ("", "invalid"),
        ] {
            let error = checked_name(Some(name.to_owned())).expect_err(name).to_string();
            assert!(error.contains(says), "{name:?}: {error}");
        }
        let wanted = named(
            AskedVolume {
                destination: "/x".into(),
                ..AskedVolume::default()
            },
            Timestamp::ZERO,
        );
        let wanted = wanted.expect("anonymous");
        assert!(wanted.mount.anonymous && wanted.new.is_some_and(|new| new.is_anonymous()));
    }
}
