//! Starting the helper: detached, with its log in a file, waited for until it says that it is ready.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use super::Settings;
use crate::state_folder;

/// How long a helper may take to serve what its mirror has.
const PATIENCE: Duration = Duration::from_secs(10);
/// A log longer than this is begun anew.
const LONG_LOG: u64 = 4 << 20;

/// Starts the helper and waits until it serves. It leaves our session by itself and outlives us.
pub(super) async fn helper(settings: &Settings) -> io::Result<()> {
    let folder = state_folder(&settings.exec_root);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let log = folder.join("log");
    let long = fs::metadata(&log).is_ok_and(|log| log.len() > LONG_LOG);
    let mut opening = OpenOptions::new();
    let opening = if long {
        opening.write(true).truncate(true)
    } else {
        opening.append(true)
    };
    let log = opening.create(true).mode(0o600).open(&log)?;
    let mut child = Command::new(&settings.program)
        .arg("--exec-root")
        .arg(&settings.exec_root)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(false)
        .spawn()
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("starting {}: {error}", settings.program.display()),
            )
        })?;
    let mut said = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("the helper's output is not ours"))?;
    // Only so that it does not stay a zombie; a new connection's end tells of its death.
    tokio::spawn(async move { child.wait().await });
    let mut word = [0; 6];
    match timeout(PATIENCE, said.read_exact(&mut word)).await? {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::other(format!(
            "cnm-names did not start; see {}",
            folder.join("log").display()
        ))),
    }
}
