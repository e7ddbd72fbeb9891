//! Relaying streams, each direction to its own end.

use std::{
    io, net::SocketAddr, net::TcpListener as StdTcpListener, os::fd::OwnedFd, sync::Arc, time::Duration,
};

use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Bytes under way in one direction of one connection.
const BUFFER: usize = 32 << 10;
/// A container that does not take a connection for so long does not take it.
const PATIENCE: Duration = Duration::from_secs(10);
/// When no connection can be taken (out of descriptors): don't spin.
const PAUSE: Duration = Duration::from_millis(100);

/// The listener of a bound socket.
pub(super) fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
    TcpListener::from_std(StdTcpListener::from(socket))
}

/// Takes connections until stopped; then all of them end.
pub(super) async fn serve(
    listener: TcpListener,
    target: SocketAddr,
    clients: Arc<Semaphore>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        let taken = tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => continue,
            taken = listener.accept() => taken,
        };
        let client = match taken {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::debug!(%error, "a connection can't be taken");
                sleep(PAUSE).await;
                continue;
            }
        };
        // While all places are taken one waits here, and the others in the kernel's queue.
        let place = tokio::select! {
            _ = &mut stopped => break,
            place = Arc::clone(&clients).acquire_owned() => place,
        };
        connections.spawn(async move {
            if let Err(error) = relay(client, target).await {
                tracing::debug!(%target, %error, "a connection ended");
            }
            drop(place);
        });
    }
    connections.shutdown().await;
}

async fn relay(mut client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut container = timeout(PATIENCE, TcpStream::connect(target)).await??;
    client.set_nodelay(true)?;
    container.set_nodelay(true)?;
    // An end of one direction is passed on and leaves the other open.
    copy_bidirectional_with_sizes(&mut client, &mut container, BUFFER, BUFFER).await?;
    Ok(())
}
