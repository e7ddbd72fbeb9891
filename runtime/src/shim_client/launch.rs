//! The files a shim is launched with, and the launch.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    process::Stdio,
};

use shim_protocol::{Launch, LogFile, Status, VERSION, exit, launch::Paths};
use tokio::{io::AsyncReadExt as _, process::Command};

use super::{Bundle, Shim, lost};
use crate::{Error, Result};

/// What the shim says when its socket is served.
const READY: &str = "ready\n";

pub(super) fn make_directory(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(Error::file("making the directory", path))
}

impl Shim {
    /// Takes away the shim of an ended run, and its exit record.
    pub(super) async fn make_room(&self) -> Result<()> {
        if !self.is_gone().await? {
            let status = self.state().await?.status;
            if matches!(status, Status::Running | Status::Paused | Status::Starting) {
                return Err(Error::Running);
            }
            self.delete().await?;
        } else if self.inner.paths.launch.exists() {
            lost::end_leftovers(&self.inner.paths).await?;
            lost::remove_files(&self.inner.paths)?;
        }
        let dir = &self.inner.dir;
        make_directory(dir)?;
        exit::forget(dir).map_err(Error::file("removing the exit record in", dir))
    }
}

/// Answers the container's cgroup.
pub(super) fn write_files(paths: &Paths, bundle: &Bundle) -> Result<String> {
    let config = bundle.dir.join("config.json");
    bundle.spec.save(&config).map_err(|error| Error::File {
        doing: "writing",
        path: config.clone(),
        source: io::Error::other(error),
    })?;
    make_directory(&paths.state)?;
    let launch = launch(paths, bundle);
    let text = serde_json::to_vec(&launch).map_err(io::Error::from);
    text.and_then(|text| private(&paths.launch)?.write_text(&text))
        .map_err(Error::file("writing", &paths.launch))?;
    Ok(launch.cgroup)
}

/// The cgroup of a container that was launched.
pub(super) fn cgroup(paths: &Paths) -> Option<String> {
    let launch: Launch = serde_json::from_slice(&fs::read(&paths.launch).ok()?).ok()?;
    Some(launch.cgroup)
}

fn launch(paths: &Paths, bundle: &Bundle) -> Launch {
    let cgroup = bundle
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.cgroups_path().clone());
    Launch {
        version: VERSION,
        id: bundle.id.to_string(),
        bundle: bundle.dir.clone(),
        socket: paths.socket.clone(),
        state: paths.state.clone(),
        cgroup: cgroup.unwrap_or_default().display().to_string(),
        tty: bundle.tty,
        open_stdin: bundle.open_stdin,
        stdin_once: bundle.stdin_once,
        init: bundle.init,
        users: users(&bundle.spec),
        forward: bundle.log.forward.clone(),
        log: bundle.log.path.clone().map(|path| LogFile {
            path,
            max_size: bundle.log.max_size,
            max_files: bundle.log.max_files.max(1),
            compress: bundle.log.compress,
            attrs: bundle.log.attrs.clone(),
        }),
    }
}

/// The users of a spec that names them.
fn users(spec: &oci_spec::runtime::Spec) -> Option<shim_protocol::launch::Users> {
    let linux = spec.linux().as_ref()?;
    let ranges = |mappings: &Option<Vec<oci_spec::runtime::LinuxIdMapping>>| {
        let each = mappings.iter().flatten().map(|one| (one.host_id(), one.size()));
        each.collect::<Vec<_>>()
    };
    let (uids, gids) = (ranges(linux.uid_mappings()), ranges(linux.gid_mappings()));
    (!uids.is_empty()).then_some(shim_protocol::launch::Users { uids, gids })
}

fn private(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

trait WriteText {
    fn write_text(self, text: &[u8]) -> io::Result<()>;
}
impl WriteText for File {
    fn write_text(mut self, text: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self, text)
    }
}

/// Runs the shim and waits until it serves. It makes a session of its own, so nothing that happens to the daemon's
/// reaches it; while the daemon lives, its end is seen to here.
pub(super) async fn spawn(program: &Path, paths: &Paths, dir: &Path) -> Result<()> {
    let errors = dir.join("shim.err");
    let errors = private(&errors).map_err(Error::file("opening", &errors))?;
    let mut child = Command::new(program)
        .arg(&paths.launch)
        .current_dir("/")
        // Nothing of the daemon's environment is meant for a container, descriptors passed to it least of all.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(|source| Error::Launch {
            program: program.to_owned(),
            source,
        })?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout
            .read_to_string(&mut said)
            .await
            .map_err(Error::Conversation)?;
    }
    if said == READY {
        tokio::spawn(async move { child.wait().await });
        return Ok(());
    }
    let _ = child.wait().await;
    let _ = lost::remove_files(paths);
    let reason = fs::read_to_string(dir.join("shim.err")).unwrap_or_default();
    Err(Error::NotReady(reason.trim().to_owned()))
}
