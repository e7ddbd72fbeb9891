//! The long form: `--mount type=…,source=…,target=…`.

use std::path::{Component, Path, PathBuf};

use api_types::MountRequest;
use engine::{
    AskedVolume, Missing,
    run::{Below, Mount},
};

use super::{One, clean};
use crate::status::{Answer, Refusal};

pub(super) fn read(request: &MountRequest) -> Answer<One> {
    let invalid = |what: &str| {
        Refusal::bad_request(format!(
            "invalid mount config for type {:?}: {what}",
            request.r#type
        ))
    };
    let kind = request.r#type.as_str();
    if !["bind", "volume", "tmpfs"].contains(&kind) {
        return Err(invalid(
            "mount type unknown (hint: \"bind\", \"volume\" and \"tmpfs\" are there)",
        ));
    }
    let others = [
        ("BindOptions", request.bind_options.is_some(), "bind"),
        ("VolumeOptions", request.volume_options.is_some(), "volume"),
        ("TmpfsOptions", request.tmpfs_options.is_some(), "tmpfs"),
    ];
    if let Some((name, ..)) = others.iter().find(|(_, given, of)| *given && *of != kind) {
        return Err(invalid(&format!("field {name} must not be specified")));
    }
    if request.target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    let destination = clean(&request.target).ok_or_else(|| {
        invalid(&format!(
            "invalid mount path: '{}' mount path must be absolute",
            request.target
        ))
    })?;
    if destination == Path::new("/") {
        return Err(invalid("invalid specification: destination can't be '/'"));
    }
    match kind {
        "bind" => bind(request, destination).map_err(|what| invalid(&what)),
        "volume" => volume(request, destination).map_err(|what| invalid(&what)),
        _ if !request.source.is_empty() => Err(invalid("field Source must not be specified")),
        _ => Ok(One::Mount(
            Mount::Tmpfs {
                destination,
                options: tmpfs_options(request),
            },
            None,
        )),
    }
}

fn bind(request: &MountRequest, destination: PathBuf) -> Result<One, String> {
    if request.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    let source = clean(&request.source).ok_or_else(|| {
        format!(
            "invalid mount path: '{}' mount path must be absolute",
            request.source
        )
    })?;
    let options = request.bind_options.clone().unwrap_or_default();
    let known = ["", "rprivate", "private", "rshared", "shared", "rslave", "slave"];
    if !known.contains(&options.propagation.as_str()) {
        return Err(format!("invalid propagation mode: {}", options.propagation));
    }
    let below = match (
        options.non_recursive,
        options.read_only_non_recursive,
        options.read_only_force_recursive,
    ) {
        (_, true, true) => {
            return Err("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive".to_owned());
        }
        (true, _, true) => {
            return Err("mount options conflict: NonRecursive && ReadOnlyForceRecursive".to_owned());
        }
        (_, true, _) if !request.read_only => {
            return Err("mount options conflict: !ReadOnly && ReadOnlyNonRecursive".to_owned());
        }
        (.., true) if !request.read_only => {
            return Err("mount options conflict: !ReadOnly && ReadOnlyForceRecursive".to_owned());
        }
        (true, ..) => Below::Absent,
        (_, true, _) => Below::Writable,
        (_, _, true) => Below::Readonly,
        _ => Below::Alike,
    };
    let missing = if options.create_mountpoint {
        Missing::Make
    } else {
        Missing::Refuse
    };
    let mount = Mount::Bind {
        source: source.clone(),
        destination,
        readonly: request.read_only,
        propagation: options.propagation,
        below,
        ours: false,
    };
    Ok(One::Mount(mount, Some((source, missing))))
}

fn volume(request: &MountRequest, destination: PathBuf) -> Result<One, String> {
    let options = request.volume_options.clone().unwrap_or_default();
    let name = Some(request.source.clone()).filter(|name| !name.is_empty());
    let driver = options.driver_config.unwrap_or_default();
    let subpath = Some(PathBuf::from(&options.subpath)).filter(|path| !path.as_os_str().is_empty());
    if let Some(path) = &subpath {
        if name.is_none() {
            return Err("must not set Subpath when using anonymous volumes".to_owned());
        }
        let leaves = |part| !matches!(part, Component::Normal(_) | Component::CurDir);
        if path.components().any(leaves) {
            return Err("subpath must be a relative path within the volume".to_owned());
        }
    }
    Ok(One::Volume(AskedVolume {
        mode: if name.is_some() {
            "z".to_owned()
        } else {
            String::new()
        },
        name,
        driver: Some(driver.name).filter(|driver| !driver.is_empty()),
        options: driver.options,
        labels: options.labels,
        destination,
        readonly: request.read_only,
        nocopy: options.no_copy,
        subpath,
    }))
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
