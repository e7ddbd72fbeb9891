//! The daemon's side: keeps a helper running and told of every change.
//!
//! One task owns the connection. A helper that runs already (the daemon was restarted) is taken over and told
//! everything; when its connection ends it is started again at once. Nothing is polled: the snapshot's channel, the
//! connection and the new helper's word that it is ready wake the task.

mod spawn;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use dns::Change;
use model::Snapshot;
use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    difference::difference,
    protocol::{CaughtUp, Hello, Push, SandboxCounts, VERSION, Welcome, receive, send},
    socket_path,
};

/// Changes in one message.
const PART: usize = 2000;
/// A helper that says nothing for so long at the handshake is no helper.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Nobody waits longer for counters, and so many may wait at once.
const COUNTING: Duration = Duration::from_secs(2);
const ASKERS: usize = 16;
/// A helper that lived less long is not started again at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(500);

/// What the client needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `cnm-names` program.
    pub program: PathBuf,
    /// The daemon's folder of running state.
    pub exec_root: PathBuf,
    /// The file that lists the host's DNS servers, normally `/etc/resolv.conf`.
    pub host_file: PathBuf,
}

/// Why names are not known to be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client was stopped.
    #[error("the name service was stopped before it served generation {0}")]
    Stopped(u64),
    /// Nobody says what was asked.
    #[error("the name service does not say what was asked")]
    NotCounted,
}

/// Somebody who waits for counters.
type Asker = oneshot::Sender<Vec<SandboxCounts>>;

/// The daemon's hold on the name service.
#[derive(Debug)]
pub struct Client {
    acknowledged: watch::Receiver<Option<u64>>,
    askers: mpsc::Sender<Asker>,
    stop: std::sync::Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Client {
    /// Starts or takes over the helper, on the current runtime, and keeps it told of `snapshots`.
    pub fn start(settings: Settings, snapshots: watch::Receiver<Arc<Snapshot>>) -> Arc<Self> {
        let (acknowledge, acknowledged) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let (askers, asked) = mpsc::channel(ASKERS);
        let link = Link {
            settings,
            snapshots,
            acknowledge,
            asked,
        };
        let task = tokio::spawn(link.run(stopped));
        Arc::new(Self {
            acknowledged,
            askers,
            stop: std::sync::Mutex::new(Some((stop, task))),
        })
    }

    /// Waits until names are served as of this generation or a later one, and the sockets of removed sandboxes are
    /// closed. Waits as long as that takes: callers set the deadline.
    pub async fn caught_up(&self, generation: u64) -> Result<(), Error> {
        let mut acknowledged = self.acknowledged.clone();
        let served = acknowledged
            .wait_for(|served| served.is_some_and(|served| served >= generation))
            .await;
        served.map(drop).map_err(|_| Error::Stopped(generation))
    }

    /// What was asked in every sandbox of this host. A helper that is older does not say, nor one that is not there.
    pub async fn counters(&self) -> Result<Vec<SandboxCounts>, Error> {
        let (asker, answer) = oneshot::channel();
        let asked = self.askers.send(asker);
        let answer = async { asked.await.ok().map(|()| answer)?.await.ok() };
        let counted = timeout(COUNTING, answer).await.ok().flatten();
        counted.ok_or(Error::NotCounted)
    }

    /// Lets go of the helper, which serves on.
    pub async fn stop(&self) {
        let running = self
            .stop
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some((stop, task)) = running {
            drop(stop);
            task.await.unwrap_or_default();
        }
    }
}

struct Link {
    settings: Settings,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    acknowledge: watch::Sender<Option<u64>>,
    asked: mpsc::Receiver<Asker>,
}

impl Link {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut complaint = String::new();
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                _ = &mut stopped => return,
                ended = self.session() => ended,
            };
            let short_lived = began.elapsed() < SHORT_LIFE;
            // What was served before is not served any more.
            self.acknowledge.send_replace(None);
            match ended {
                Ok(()) => return, // the daemon publishes no more snapshots
                // The same trouble twice a second is said once.
                Err(error) if short_lived && error.to_string() == complaint => {}
                Err(error) => {
                    tracing::warn!(%error, "the name service is started again");
                    complaint = error.to_string();
                }
            }
            if short_lived {
                tokio::select! {
                    _ = &mut stopped => return,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }

    /// One connection, from the first word to its end.
    async fn session(&mut self) -> io::Result<()> {
        let stream = self.connect().await?;
        let (mut reading, mut writing) = stream.into_split();
        timeout(HANDSHAKE, shake_hands(&mut reading, &mut writing)).await??;
        let acknowledge = self.acknowledge.clone();
        // Pushes are answered in their order, so who waits for an answer's counters is known by its place.
        let (promise, promised) = mpsc::unbounded_channel();
        tokio::select! {
            ended = hear(reading, acknowledge, promised) => ended,
            ended = self.tell(writing, promise) => ended,
        }
    }

    /// The helper that runs, or a new one.
    async fn connect(&self) -> io::Result<UnixStream> {
        let path = socket_path(&self.settings.exec_root);
        if let Ok(stream) = UnixStream::connect(&path).await {
            return Ok(stream);
        }
        spawn::helper(&self.settings).await?;
        UnixStream::connect(&path).await
    }

    async fn tell(
        &mut self,
        mut to: OwnedWriteHalf,
        promise: mpsc::UnboundedSender<Option<Asker>>,
    ) -> io::Result<()> {
        let mut told = Snapshot::default();
        let mut resync = true;
        let mut asker = None;
        loop {
            let now = Arc::clone(&self.snapshots.borrow_and_update());
            let mut changes = difference(&told, &now);
            if resync {
                changes.push(Change::HostFile(self.settings.host_file.clone()));
            }
            let head = Push {
                generation: now.generation,
                resync,
                more: false,
                counters: asker.is_some(),
                changes: Vec::new(),
            };
            let _ = promise.send(asker.take());
            push(&mut to, &head, changes).await?;
            (told, resync) = (Snapshot::clone(&now), false);
            tokio::select! {
                changed = self.snapshots.changed() => if changed.is_err() {
                    return Ok(());
                },
                Some(next) = self.asked.recv() => asker = Some(next),
            }
        }
    }
}

async fn shake_hands(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
    send(
        to,
        &Hello {
            oldest: VERSION,
            newest: VERSION,
        },
    )
    .await?;
    let welcome: Welcome = receive(from).await?;
    match welcome.version {
        Some(_) => Ok(()),
        None => Err(io::Error::other(format!(
            "the helper (process {}) speaks another version",
            welcome.pid
        ))),
    }
}

async fn push(to: &mut OwnedWriteHalf, head: &Push, changes: Vec<Change>) -> io::Result<()> {
    let mut changes = changes.into_iter().peekable();
    loop {
        let part: Vec<_> = changes.by_ref().take(PART).collect();
        let more = changes.peek().is_some();
        let part = Push {
            more,
            changes: part,
            ..head.clone()
        };
        send(to, &part).await?;
        if !more {
            return Ok(());
        }
    }
}

async fn hear(
    mut from: OwnedReadHalf,
    acknowledge: watch::Sender<Option<u64>>,
    mut promised: mpsc::UnboundedReceiver<Option<Asker>>,
) -> io::Result<()> {
    let mut known = Vec::new();
    loop {
        let answer: CaughtUp = receive(&mut from).await?;
        if let (Ok(Some(asker)), Some(counters)) = (promised.try_recv(), answer.counters) {
            let _ = asker.send(counters);
        }
        if answer.troubles != known {
            answer
                .troubles
                .iter()
                .for_each(|trouble| tracing::warn!(trouble, "not served"));
            known = answer.troubles;
        }
        acknowledge.send_replace(Some(answer.generation));
    }
}
