//! `cnm-shim`: stands between one container and everybody else, as long as the container lives.
//!
//! It is launched before the container is made, so that clients can attach before anything runs; it makes the
//! container, holds its streams, writes its log, and remembers how it ended. The daemon may come and go meanwhile.
//! One thread, one loop over `epoll`; whatever is heavy or leaves traces runs in short-lived children.

mod client;
mod command;
mod confine;
mod create;
mod exec;
mod filter;
mod fork;
mod forward;
mod init;
mod log;
mod mounts;
mod pack;
mod place;
mod poll;
mod process;
mod report;
mod ring;
mod server;
mod stdio;

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
};

use anyhow::{Context as _, Result};
use rustix::{fs::Mode, process::umask};
use shim_protocol::Launch;

fn main() -> Result<()> {
    let path = std::env::args_os()
        .nth(1)
        .context("usage: cnm-shim LAUNCH-FILE (run by cnmd)")?;
    let launch: Launch = serde_json::from_slice(&fs::read(&path).context("reading the launch file")?)
        .context("understanding the launch file")?;
    detach()?;
    let listener = listen(&launch.socket).with_context(|| format!("listening on {:?}", launch.socket))?;
    let mut server = server::Server::new(launch, listener).context("preparing the container")?;
    say_ready()?;
    server.serve().context("serving the container")
}

/// Leaves the daemon's session, adopts the container's orphans, and takes signals one by one.
fn detach() -> Result<()> {
    rustix::process::setsid().context("making a session")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("adopting orphans")?;
    fork::shim_signals().thread_block().context("blocking signals")?;
    umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// The socket's name is bound from its directory: whole paths may be longer than an address can be.
fn listen(socket: &Path) -> Result<UnixListener> {
    let directory = socket.parent().context("the socket has no directory")?;
    let name = socket.file_name().context("the socket has no name")?;
    std::env::set_current_dir(directory)?;
    // A predecessor's; the daemon has made sure that it is gone.
    let _ = fs::remove_file(name);
    let previous = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(name)?;
    umask(previous);
    fs::set_permissions(name, fs::Permissions::from_mode(0o600))?;
    std::env::set_current_dir("/")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The daemon reads this to the end: it is told, then let go.
fn say_ready() -> Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(b"ready\n").context("telling the daemon")?;
    stdout.flush()?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    fork::become_number(&nothing, 1).context("letting the daemon go")
}
