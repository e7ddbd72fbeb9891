//! Passes the signals we get on to the container, so that killing the command kills what it runs.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::client::query::escape_path;
use crate::client::{Client, Query};

/// A signal's name and kind.
type Forwarded = (&'static str, fn() -> SignalKind);

/// Signals that mean something to a program, by name. Not among them: those about our own life
/// (SIGCHLD, SIGPIPE), the window's size, and what can't be caught.
const FORWARDED: [Forwarded; 7] = [
    ("HUP", SignalKind::hangup),
    ("INT", SignalKind::interrupt),
    ("QUIT", SignalKind::quit),
    ("TERM", SignalKind::terminate),
    ("USR1", SignalKind::user_defined1),
    ("USR2", SignalKind::user_defined2),
    ("ALRM", SignalKind::alarm),
];

/// Forwards until it is dropped.
pub(crate) fn forward(client: &Arc<Client>, container: &str) -> std::io::Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    for (name, kind) in FORWARDED {
        let mut received = signal(kind())?;
        let client = Arc::clone(client);
        let path = format!("/containers/{}/kill", escape_path(container));
        tasks.spawn(async move {
            while received.recv().await.is_some() {
                // The container may have ended by itself.
                let _ = client.order(&path, Query::new().with("signal", name)).await;
            }
        });
    }
    Ok(tasks)
}
