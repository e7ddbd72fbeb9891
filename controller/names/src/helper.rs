//! The helper process: takes changes from the daemon, keeps their mirror, serves every sandbox.
//!
//! One thread. Changes are applied one push at a time; a daemon that connects anew takes the place of the one before.

mod keeper;
mod mirror;
mod relay;
mod resolver;
mod sandbox;
mod visitor;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::{Mutex, watch},
    time::timeout,
};

use crate::{
    protocol::{CaughtUp, Hello, Push, VERSION, Welcome, receive, send},
    socket_path, state_folder,
};
use keeper::Keeper;

/// How often sandboxes that could not be served are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// A daemon that says nothing for so long at the beginning is no daemon, and must not keep our descriptors.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Runs until SIGTERM. `ready` is called once, when sandboxes of the mirror are served and the socket is open.
pub async fn run(exec_root: &Path, ready: impl FnOnce()) -> anyhow::Result<()> {
    let folder = state_folder(exec_root);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .context("making the state folder")?;
    let _lock = lock(&folder)?;
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let keeper = Arc::new(Mutex::new(
        Keeper::open(&folder).await.context("reading the mirror")?,
    ));
    let listener = listen(&socket_path(exec_root)).context("opening the socket")?;
    tracing::info!(sandboxes = keeper.lock().await.served(), "serving");
    ready();
    let accepting = accept(listener, Arc::clone(&keeper));
    let retrying = retry(Arc::clone(&keeper));
    tokio::select! {
        _ = terminate.recv() => {}
        () = accepting => {}
        () = retrying => {}
    }
    fs::remove_file(socket_path(exec_root)).unwrap_or_default();
    tracing::info!("ended");
    Ok(())
}

/// One helper per exec-root.
fn lock(folder: &Path) -> anyhow::Result<Flock<File>> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .context("opening the lock")?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            bail!(
                "another cnm-names serves this exec-root (it holds {})",
                path.display()
            )
        }
        Err((_, errno)) => Err(errno).context("taking the lock"),
    }
}

/// The lock is ours, so a socket that is there is a leftover. The new one appears under its name ready and guarded.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let unguarded = path.with_extension("sock.new");
    for leftover in [path, &unguarded] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind(&unguarded)?;
    fs::set_permissions(&unguarded, fs::Permissions::from_mode(0o600))?;
    fs::rename(&unguarded, path)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, keeper: Arc<Mutex<Keeper>>) {
    let newest = watch::Sender::new(0_u64);
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_ours(&stream) => {
                tokio::spawn(serve(stream, Arc::clone(&keeper), newest.clone()));
            }
            Ok(_) => tracing::warn!("a stranger was turned away"),
            Err(error) => {
                tracing::error!(%error, "a connection can't be taken");
                tokio::time::sleep(RETRY).await; // most likely out of descriptors: don't spin
            }
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw())
}

async fn serve(stream: UnixStream, keeper: Arc<Mutex<Keeper>>, newest: watch::Sender<u64>) {
    match converse(stream, &keeper, newest).await {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            tracing::warn!(%error, "the daemon's connection ended");
        }
        _ => tracing::info!("the daemon has gone; serving on"),
    }
}

async fn converse(
    mut stream: UnixStream,
    keeper: &Mutex<Keeper>,
    newest: watch::Sender<u64>,
) -> io::Result<()> {
    timeout(HANDSHAKE, welcome(&mut stream)).await??;
    newest.send_modify(|number| *number += 1);
    let mut superseded = newest.subscribe();
    let mut parts = Vec::new();
    loop {
        let mut push: Push = tokio::select! {
            push = receive(&mut stream) => push?,
            _ = superseded.changed() => return Ok(()),
        };
        parts.append(&mut push.changes);
        if push.more {
            continue;
        }
        push.changes = std::mem::take(&mut parts);
        let (generation, counted) = (push.generation, push.counters);
        let mut keeper = keeper.lock().await;
        let troubles = keeper.apply(push).await?;
        let counters = counted.then(|| keeper.counts());
        drop(keeper);
        let caught_up = CaughtUp {
            generation,
            troubles,
            counters,
        };
        send(&mut stream, &caught_up).await?;
    }
}

async fn welcome(stream: &mut UnixStream) -> io::Result<()> {
    let hello: Hello = receive(stream).await?;
    let version = hello.agree();
    send(
        stream,
        &Welcome {
            version,
            pid: std::process::id(),
        },
    )
    .await?;
    if version.is_none() {
        let text = format!(
            "the daemon speaks versions {} to {}, not {VERSION}",
            hello.oldest, hello.newest
        );
        return Err(io::Error::other(text));
    }
    Ok(())
}

async fn retry(keeper: Arc<Mutex<Keeper>>) {
    let mut clock = tokio::time::interval(RETRY);
    loop {
        clock.tick().await;
        keeper.lock().await.retry().await;
    }
}
