//! What to do when a shim is gone: read its record, or end what it left behind.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use model::Timestamp;
use shim_protocol::{Launch, cgroup::Cgroup, exit, launch::Paths};

use super::{Exit, Shim};
use crate::{Error, Result};

/// What is recorded when nobody saw the end.
const UNSEEN: i32 = 255;

/// How long killed processes may take to leave their cgroup.
const PATIENCE: Duration = Duration::from_secs(5);

impl Shim {
    /// How a container ended whose shim is gone; the error of asking it, if it is not.
    pub(super) async fn exit_without_shim(&self, asking: Error) -> Result<Exit> {
        if !matches!(asking, Error::Gone(_)) {
            return Err(asking);
        }
        match self.recorded()? {
            Some(exit) => Ok(exit),
            None => self.lost().await,
        }
    }

    /// Ends what a killed shim left, and records that.
    pub(super) async fn lost(&self) -> Result<Exit> {
        end_leftovers(&self.inner.paths).await?;
        let dir = &self.inner.dir;
        let record = shim_protocol::Exit {
            code: UNSEEN,
            oom_killed: false,
            at: Timestamp::now().unix_nanos(),
        };
        if dir.exists() {
            // On a full disk it has ended nevertheless.
            let _ = exit::write(dir, &record);
        }
        remove_files(&self.inner.paths)?;
        Ok(record.into())
    }
}

/// Kills what is in the container's cgroup and removes it.
pub(super) async fn end_leftovers(paths: &Paths) -> Result<()> {
    let Ok(text) = fs::read(&paths.launch) else {
        return Ok(());
    };
    let Ok(launch) = serde_json::from_slice::<Launch>(&text) else {
        return Ok(());
    };
    if launch.cgroup.trim_matches('/').is_empty() {
        return Ok(());
    }
    let cgroup = Cgroup::locate(&launch.cgroup).map_err(Error::file("finding the cgroup", &launch.cgroup))?;
    let deadline = Instant::now() + PATIENCE;
    // A frozen process can't die (version 1).
    let _ = cgroup.freeze(false);
    loop {
        cgroup.kill();
        if cgroup.remove() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let busy = io::Error::from(io::ErrorKind::ResourceBusy);
            return Err(Error::file("removing the cgroup", &launch.cgroup)(busy));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Removes the shim's files, if it did not do so itself.
pub(super) fn remove_files(paths: &Paths) -> Result<()> {
    for path in [&paths.socket, &paths.launch] {
        gone(fs::remove_file(path)).map_err(Error::file("removing", path))?;
    }
    gone(fs::remove_dir_all(&paths.state)).map_err(Error::file("removing", &paths.state))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}
