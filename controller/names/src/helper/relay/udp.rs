//! Relaying datagrams: every client has a socket of its own towards the container, so that replies find back.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// A client that neither says nor hears anything for so long is forgotten.
const IDLE: Duration = Duration::from_secs(90);
/// Clients of one port.
const CLIENTS: usize = 1024;
/// The longest datagram.
const LONGEST: usize = 65_535;

/// The socket of a bound one.
pub(super) fn socket(socket: OwnedFd) -> io::Result<UdpSocket> {
    UdpSocket::from_std(StdUdpSocket::from(socket))
}

struct Client {
    towards: Arc<UdpSocket>,
    heard: Arc<Mutex<Instant>>,
}

/// Relays until stopped.
pub(super) async fn serve(
    socket: UdpSocket,
    target: SocketAddr,
    places: Arc<Semaphore>,
    mut stopped: oneshot::Receiver<()>,
) {
    let socket = Arc::new(socket);
    let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(ended) = tasks.join_next() => if let Ok(address) = ended {
                clients.remove(&address);
            },
            Ok((length, address)) = socket.recv_from(&mut buffer) => {
                if !clients.contains_key(&address) {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        continue;
                    };
                    let Some(client) = (clients.len() < CLIENTS).then(|| meet(target)).and_then(Result::ok) else {
                        continue;
                    };
                    let (towards, heard) = (Arc::clone(&client.towards), Arc::clone(&client.heard));
                    tasks.spawn(carry_back(Arc::clone(&socket), address, towards, heard, place));
                    clients.insert(address, client);
                }
                if let Some(client) = clients.get(&address) {
                    touch(&client.heard);
                    // A closed port loses a datagram, as the network would.
                    client.towards.send(&buffer[..length]).await.ok();
                }
            }
        }
    }
    tasks.shutdown().await;
}

fn meet(target: SocketAddr) -> io::Result<Client> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let towards = StdUdpSocket::bind((any, 0))?;
    towards.connect(target)?;
    towards.set_nonblocking(true)?;
    Ok(Client {
        towards: Arc::new(UdpSocket::from_std(towards)?),
        heard: Arc::new(Mutex::new(Instant::now())),
    })
}

async fn carry_back(
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    towards: Arc<UdpSocket>,
    heard: Arc<Mutex<Instant>>,
    _place: OwnedSemaphorePermit,
) -> SocketAddr {
    loop {
        let end = *heard.lock().unwrap_or_else(PoisonError::into_inner) + IDLE;
        match timeout_at(end, towards.readable()).await {
            Ok(Ok(())) => {
                // On the heap and gone at once: a thousand idle clients cost no buffers.
                let mut buffer = vec![0; LONGEST];
                while let Ok(length) = towards.try_recv(&mut buffer) {
                    touch(&heard);
                    socket.send_to(&buffer[..length], address).await.ok();
                }
            }
            Ok(Err(_)) => return address,
            Err(_) if heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= IDLE => {
                return address;
            }
            Err(_) => {}
        }
    }
}

fn touch(heard: &Mutex<Instant>) {
    *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
}
