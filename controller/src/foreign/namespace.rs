//! Which namespace a path leads to, and whether it is still the one that it was.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use kernel::Key;
use model::{ForeignNamespace, Lifecycle, Sandbox, Snapshot};

use crate::{
    core::Core,
    error::{Error, Result},
    sandboxes,
};

/// The namespace that this daemon is in.
const OWN: &str = "/proc/self/ns/net";

/// Names the namespace at a path that somebody asks for.
pub(super) async fn identify(core: &Core, path: &Path) -> Result<String> {
    if !path.is_absolute() {
        return Err(Error::invalid(format!("{path:?} is no absolute path"))
            .with_hint("/run/netns/NAME and /proc/PID/ns/net are"));
    }
    if path.starts_with(sandboxes::pins(core)) {
        return Err(Error::invalid(format!("{path:?} is a namespace of our own"))
            .with_hint("connect its container with \"network connect\""));
    }
    let key = Key::Namespace(path.to_owned());
    let there = core
        .worker
        .observe("looking for the namespace", vec![key.clone()]);
    let none = || Error::not_found(format!("there is no network namespace at {path:?}"));
    if there.await?.get(&key).is_none() {
        return Err(none());
    }
    let (asked, own) = blocking({
        let path = path.to_owned();
        move || (name_of(&path), name_of(Path::new(OWN)))
    })
    .await?;
    let asked = asked.ok_or_else(none)?;
    match own == Some(asked.clone()) {
        true => Err(
            Error::invalid(format!("{path:?} is the host's own network namespace"))
                .with_hint("a container gets its interface in a namespace of its own"),
        ),
        false => Ok(asked),
    }
}

/// The same of a namespace that may still be to come; none until then.
pub(crate) async fn identity(core: &Core, path: &Path) -> Result<Option<String>> {
    match identify(core, path).await {
        Ok(name) => Ok(Some(name)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the path still leads to the namespace. One that is still to come is not gone.
pub(crate) async fn is_there(_core: &Core, namespace: &ForeignNamespace) -> Result<bool> {
    if !namespace.is_entered() {
        return Ok(true);
    }
    let (path, name) = (namespace.path.clone(), namespace.namespace.clone());
    blocking(move || name_of(&path) == Some(name)).await
}

/// Those whose namespaces have ended. One look at each path, so it may be asked often.
pub(crate) async fn gone(_core: &Core, snapshot: &Snapshot) -> Vec<Arc<Sandbox>> {
    let foreign = snapshot.sandboxes.values().filter(|sandbox| {
        // What is being made is somebody's just now; what is being removed is finished by the timer.
        sandbox.lifecycle == Lifecycle::Active && sandbox.foreign().is_some_and(ForeignNamespace::is_entered)
    });
    let mut gone: Vec<_> = foreign.cloned().collect();
    if gone.is_empty() {
        return gone;
    }
    let ended = move || {
        let is_there = |sandbox: &Arc<Sandbox>| {
            let foreign = sandbox.foreign();
            foreign.is_some_and(|foreign| name_of(&foreign.path).as_ref() == Some(&foreign.namespace))
        };
        gone.retain(|sandbox| !is_there(sandbox));
        gone
    };
    blocking(ended).await.unwrap_or_default()
}

/// The kernel gives a number to another namespace when the first one is gone, and all of them anew at every boot.
fn name_of(path: &Path) -> Option<String> {
    let file = std::fs::metadata(path).ok()?;
    Some(format!("{}:{}:{}", file.dev(), file.ino(), boot()))
}

fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let read = std::fs::read_to_string(PathBuf::from("/proc/sys/kernel/random/boot_id"));
        read.unwrap_or_default().trim().to_owned()
    })
}

async fn blocking<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let looked = tokio::task::spawn_blocking(look).await;
    looked.map_err(|panic| Error::internal("looking at a namespace", panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_what_it_leads_to_and_not_itself() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, link] = ["one", "two", "link"].map(|name| folder.path().join(name));
        std::fs::write(&one, "").unwrap();
        std::fs::write(&two, "").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        assert_eq!(name_of(&one), name_of(&link));
        assert_ne!(name_of(&one), name_of(&two));
        std::fs::remove_file(&one).unwrap();
        assert_eq!(name_of(&link), None);
    }
}
