//! The unix socket: for root and one group, a dead one replaced, a living one respected; and TCP.

mod tcp;

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

pub use tcp::{Tcp, TlsError, TlsFiles};

/// Why a socket can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("another daemon answers on {}: stop it, or give this one another --host and its own --data-root", .0.display())]
    Taken(PathBuf),
    /// Something else is in the way.
    #[error("{} is no socket: remove it, or give another --host", .0.display())]
    NoSocket(PathBuf),
    /// The system refused.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Listens on a unix socket, mode 0660, of the group of that name if there is one. Must be called within a Tokio runtime.
///
/// # Errors
/// When a daemon answers there, or something that is no socket is in the way.
pub fn listen(path: &Path, group: &str) -> Result<UnixListener, ListenError> {
    let failed = |doing| {
        let path = path.to_owned();
        move |source| ListenError::Io { doing, path, source }
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("making the folder of"))?;
    }
    make_room(path)?;
    // Made under a name of its own and moved into place with its rights, so that it never stands open to others.
    let draft = path.with_extension(format!("sock.{}", std::process::id()));
    let _ = fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft).map_err(failed("listening on"))?;
    let placed = restrict(&draft, group).and_then(|()| fs::rename(&draft, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&draft);
        return Err(failed("preparing")(error));
    }
    Ok(listener)
}

fn restrict(path: &Path, group: &str) -> io::Result<()> {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    if let Some(gid) = group_id(&groups, group) {
        chown(path, None, Some(gid))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
}

fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Removes a socket that nobody listens on.
fn make_room(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(ListenError::NoSocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(ListenError::Taken(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(|source| ListenError::Io {
            doing: "removing the dead socket",
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_number_is_found_by_its_name() {
        let groups = "root:x:0:\ncnm:x:998:alice,bob\ncnmx:x:7:\n";
        assert_eq!(group_id(groups, "cnm"), Some(998));
        assert_eq!(group_id(groups, "cn"), None);
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_respected() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sub/cnm.sock");
        let first = listen(&path, "cnm").expect("a new socket");
        assert_eq!(
            fs::metadata(&path).expect("it is there").permissions().mode() & 0o777,
            0o660
        );
        assert!(matches!(listen(&path, "cnm"), Err(ListenError::Taken(_))));
        drop(first);
        assert!(path.exists(), "left behind as a crash leaves it");
        listen(&path, "cnm").expect("replaced");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("a file");
        assert!(matches!(listen(&file, "cnm"), Err(ListenError::NoSocket(_))));
    }
}
