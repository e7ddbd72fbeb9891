//! `-v`, `--mount` and `--tmpfs`: three spellings of a mount.

use std::path::PathBuf;

use api_types::{HostConfig, MountRequest};
use engine::{Missing, run::Mount};

use crate::status::{Answer, Refusal};

/// The mounts asked for, and the host paths that they need.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) sources: Vec<(PathBuf, Missing)>,
}

/// Reads all three spellings.
pub(crate) fn mounts(host: &HostConfig) -> Answer<Mounts> {
    let mut all = Mounts::default();
    for bind in host.binds.iter().flatten() {
        let mount = parse_bind(bind)?;
        if let Mount::Bind { source, .. } = &mount {
            all.sources.push((source.clone(), Missing::Make));
        }
        all.mounts.push(mount);
    }
    for request in host.mounts.iter().flatten() {
        let (mount, source) = long_form(request)?;
        all.sources.extend(source);
        all.mounts.push(mount);
    }
    for (path, options) in &host.tmpfs {
        let options = options
            .split(',')
            .filter(|option| !option.is_empty())
            .map(str::to_owned)
            .collect();
        all.mounts.push(Mount::Tmpfs {
            destination: absolute(path)?,
            options,
        });
    }
    let mut seen = std::collections::BTreeSet::new();
    for mount in &all.mounts {
        if !seen.insert(destination(mount)) {
            return Err(Refusal::bad_request(format!(
                "Duplicate mount point: {}",
                destination(mount).display()
            )));
        }
    }
    Ok(all)
}

/// Where a mount appears.
pub(crate) fn destination(mount: &Mount) -> &PathBuf {
    match mount {
        Mount::Bind { destination, .. } | Mount::Tmpfs { destination, .. } => destination,
    }
}

/// `source:destination[:options]`.
fn parse_bind(text: &str) -> Answer<Mount> {
    let invalid = || Refusal::bad_request(format!("invalid volume specification: '{text}'"));
    let mut parts = text.split(':');
    let (source, target, options) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(source), Some(target), options, None) => (source, target, options.unwrap_or_default()),
        _ => return Err(invalid()),
    };
    if source.is_empty() || target.is_empty() {
        return Err(invalid());
    }
    if !source.starts_with('/') {
        return Err(no_volumes(&format!("{source:?} names a volume, and named")));
    }
    let (mut readonly, mut propagation) = (false, String::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => readonly = true,
            // SELinux labels and caching hints, which mean nothing here, and what volumes would copy.
            "rw" | "z" | "Z" | "cached" | "consistent" | "delegated" | "default" | "nocopy" => {}
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                option.clone_into(&mut propagation);
            }
            _ => return Err(Refusal::bad_request(format!("invalid mode: {option}"))),
        }
    }
    Ok(Mount::Bind {
        source: source.into(),
        destination: absolute(target)?,
        readonly,
        propagation,
    })
}

fn long_form(request: &MountRequest) -> Answer<(Mount, Option<(PathBuf, Missing)>)> {
    let destination = absolute(&request.target)?;
    match request.r#type.as_str() {
        "bind" => {
            let source = absolute(&request.source)?;
            let options = request.bind_options.clone().unwrap_or_default();
            let missing = if options.create_mountpoint {
                Missing::Make
            } else {
                Missing::Refuse
            };
            let (readonly, propagation) = (request.read_only, options.propagation);
            Ok((
                Mount::Bind {
                    source: source.clone(),
                    destination,
                    readonly,
                    propagation,
                },
                Some((source, missing)),
            ))
        }
        "tmpfs" => Ok((
            Mount::Tmpfs {
                destination,
                options: tmpfs_options(request),
            },
            None,
        )),
        "volume" | "" => Err(no_volumes("")),
        other => Err(Refusal::bad_request(format!(
            "invalid mount config: mount type {other:?} unknown (hint: \"bind\" and \"tmpfs\" are there)"
        ))),
    }
}

fn tmpfs_options(request: &MountRequest) -> Vec<String> {
    let options = request.tmpfs_options.clone().unwrap_or_default();
    let mut text = Vec::new();
    if options.size_bytes > 0 {
        text.push(format!("size={}", options.size_bytes));
    }
    if options.mode != 0 {
        text.push(format!("mode={:o}", options.mode));
    }
    if request.read_only {
        text.push("ro".to_owned());
    }
    text.extend(options.options.iter().map(|words| words.join("=")));
    text
}

fn absolute(path: &str) -> Answer<PathBuf> {
    if !path.starts_with('/') {
        return Err(Refusal::bad_request(format!(
            "invalid mount config: invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    // Trailing slashes and dots would make one place look like two.
    let clean: PathBuf = PathBuf::from(path).components().collect();
    if clean.as_os_str() == "/" {
        return Err(Refusal::bad_request(
            "invalid volume specification: destination can't be '/'",
        ));
    }
    Ok(clean)
}

/// The sentence for everything that needs a volume.
pub(crate) fn no_volumes(what: &str) -> Refusal {
    let what = if what.is_empty() {
        "volumes".to_owned()
    } else {
        format!("{what} volumes")
    };
    Refusal::not_implemented(format!(
        "{what} are not supported yet (hint: bind a folder of the host: -v /on/the/host:/in/the/container)"
    ))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn bind(source: &str, destination: &str, readonly: bool, propagation: &str) -> Mount {
        Mount::Bind {
            source: source.into(),
            destination: destination.into(),
            readonly,
            propagation: propagation.into(),
        }
    }

    #[test]
    fn binds_have_a_source_a_destination_and_options() {
        for (text, wanted) in [
            ("/a:/b", bind("/a", "/b", false, "")),
            ("/a:/b/:ro", bind("/a", "/b", true, "")),
            ("/a:/b:rw,z,rshared", bind("/a", "/b", false, "rshared")),
        ] {
            assert_eq!(parse_bind(text).expect(text), wanted);
        }
        for (text, status) in [
            ("/a", 400),
            ("/a:b", 400),
            ("/a:/", 400),
            ("/a:/b:what", 400),
            ("/a:/b:ro:x", 400),
            (":/b", 400),
            ("data:/b", 501),
        ] {
            assert_eq!(
                parse_bind(text).expect_err(text).status().as_u16(),
                status,
                "{text}"
            );
        }
    }

    #[test]
    fn a_missing_source_is_made_for_v_and_refused_for_mount() {
        let host: HostConfig = serde_json::from_value(serde_json::json!({
            "Binds": ["/a:/b"],
            "Mounts": [{"Type": "bind", "Source": "/c", "Target": "/d", "ReadOnly": true},
                       {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 448}}],
            "Tmpfs": {"/run": "size=64k,exec"}
        }))
        .expect("a host configuration");
        let read = mounts(&host).expect("mounts");
        assert_eq!(
            read.sources,
            [("/a".into(), Missing::Make), ("/c".into(), Missing::Refuse)]
        );
        assert_eq!(
            read.mounts[1..],
            [
                bind("/c", "/d", true, ""),
                Mount::Tmpfs {
                    destination: "/t".into(),
                    options: vec!["size=1024".into(), "mode=700".into()]
                },
                Mount::Tmpfs {
                    destination: "/run".into(),
                    options: vec!["size=64k".into(), "exec".into()]
                },
            ]
        );
    }

    #[test]
    fn two_mounts_at_one_place_are_refused_and_volumes_are_not_there_yet() {
        let twice = HostConfig {
            binds: Some(vec!["/a:/x".into(), "/b:/x/".into()]),
            ..Default::default()
        };
        assert_eq!(
            mounts(&twice).expect_err("twice").message(),
            "Duplicate mount point: /x"
        );
        let volume = MountRequest {
            r#type: "volume".into(),
            source: "data".into(),
            target: "/x".into(),
            ..Default::default()
        };
        let host = HostConfig {
            mounts: Some(vec![volume]),
            ..Default::default()
        };
        assert_eq!(
            mounts(&host).expect_err("a volume").status(),
            StatusCode::NOT_IMPLEMENTED
        );
    }
}
