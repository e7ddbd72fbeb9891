//! The keeper in a host's namespace of the test's own. Needs root.

use std::{
    io::{Read as _, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use dns::{EndpointFacts, NetworkFacts};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use model::{AddressFamily, EndpointId, ExposedPorts, Exposure, Protocol, PublishedPorts};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use super::*;

const LONG: Duration = Duration::from_secs(5);
/// Long enough for an answer on this host, if there is to be one.
const SHORT: Duration = Duration::from_millis(300);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);
const CONTAINER: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A host with the gateway's and the container's address on its loopback, and a sandbox.
struct Host {
    folder: TempDir,
    netns: PathBuf,
    network: NetworkFacts,
    sandbox: SandboxFacts,
    generation: u64,
}

impl Host {
    /// The test's thread moves into a namespace of its own.
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace: these tests need root");
        let folder = TempDir::new().expect("a folder");
        let netns = folder.path().join("netns").join("box");
        kernel::netns::create(&netns).expect("a namespace");
        ip(&["link", "set", "lo", "up"]);
        ip(&["address", "add", "10.7.0.1/32", "dev", "lo"]);
        ip(&["address", "add", "10.7.0.2/32", "dev", "lo"]);
        let network = NetworkFacts {
            id: NetworkId::random(),
            name: "front".into(),
            named: true,
            predefined: false,
            outside: true,
            gateways: 1,
            records: [].into(),
            forwards: [].into(),
            listeners: Vec::new(),
            publishes: vec![AddressFamily::V4],
        };
        let sandbox = SandboxFacts {
            netns: netns.clone(),
            ports: DnsPorts {
                udp: 40_001,
                tcp: 40_002,
            },
            ..facts()
        };
        Self {
            folder,
            netns,
            network,
            sandbox,
            generation: 0,
        }
    }

    async fn keeper(&self) -> Keeper {
        Keeper::open(self.folder.path()).await.expect("a keeper")
    }

    /// Tells everything.
    async fn tell(&mut self, keeper: &mut Keeper) -> Vec<String> {
        self.generation += 1;
        let endpoint = EndpointFacts {
            id: EndpointId::from_bytes([4; 32]),
            network: self.network.id,
            sandbox: self.sandbox.id,
            names: vec!["web".into()],
            links: [].into(),
            ipv4: Some(CONTAINER),
            ipv6: None,
            priority: 0,
        };
        let push = Push {
            generation: self.generation,
            resync: true,
            more: false,
            counters: false,
            changes: vec![
                Change::Network(self.network.clone()),
                Change::Endpoint(endpoint),
                Change::Sandbox(self.sandbox.clone()),
            ],
        };
        keeper.apply(push).await.expect("taken in")
    }

    /// Asks in the sandbox.
    async fn ask_inside(&self, name: &str) -> Message {
        let inside = |netns: &Path| {
            let visit = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
            kernel::netns::enter(netns, visit).expect("a socket")
        };
        let server = SocketAddr::from(([127, 0, 0, 11], self.sandbox.ports.udp));
        ask(inside(&self.netns), server, name, LONG)
            .await
            .expect("an answer")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        kernel::netns::remove(&self.netns).expect("removed");
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    assert!(status.expect("ip").success(), "{arguments:?}");
}

fn facts() -> SandboxFacts {
    SandboxFacts {
        id: SandboxId::random(),
        created: Timestamp::now(),
        netns: PathBuf::from("/nowhere"),
        ports: DnsPorts { udp: 1, tcp: 2 },
        servers: Vec::new(),
        ndots: None,
        behind: false,
        exposed: Vec::new(),
        published: Vec::new(),
    }
}

async fn ask(from: UdpSocket, server: SocketAddr, name: &str, patience: Duration) -> Option<Message> {
    let mut message = Message::new(5, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect(name), RecordType::A));
    from.set_nonblocking(true).expect("a mode");
    let socket = tokio::net::UdpSocket::from_std(from).expect("a socket");
    let packet = message.to_vec().expect("a message");
    socket.send_to(&packet, server).await.expect("sent");
    let mut buffer = [0; 4096];
    let received = tokio::time::timeout(patience, socket.recv(&mut buffer)).await;
    let length = received.ok()?.expect("a reply");
    Some(Message::from_vec(&buffer[..length]).expect("a message"))
}

#[tokio::test]
async fn the_host_and_nobody_else_is_answered_at_the_gateways_address() {
    let mut host = Host::new();
    host.network.listeners = vec![GATEWAY.into()];
    let taken = UdpSocket::bind((GATEWAY, 53)).expect("taken");
    let mut keeper = host.keeper().await;
    let troubles = host.tell(&mut keeper).await;
    assert!(
        troubles
            .concat()
            .contains("another process has port 53 at 10.7.0.1"),
        "{troubles:?}"
    );
    drop(taken);
    keeper.retry().await;
    let server = SocketAddr::from((GATEWAY, 53));
    let from = |address| UdpSocket::bind((address, 0)).expect("a socket");
    let deadline = Instant::now() + LONG;
    let answer = ask(from(GATEWAY), server, "web.front.", LONG)
        .await
        .expect("an answer");
    assert_eq!(answer.answers[0].data.to_string(), CONTAINER.to_string());
    assert!(Instant::now() < deadline);
    let foreign = ask(from(GATEWAY), server, "example.com.", LONG)
        .await
        .expect("an answer");
    assert_eq!(foreign.metadata.response_code, ResponseCode::Refused);
    assert!(
        ask(from(CONTAINER), server, "web.", SHORT).await.is_none(),
        "another's address"
    );
    host.network.listeners.clear();
    assert!(host.tell(&mut keeper).await.is_empty());
    assert!(UdpSocket::bind(server).is_ok(), "closed");
}

#[tokio::test]
async fn published_ports_are_relayed_from_the_records_and_from_the_mirror_alone() {
    let mut host = Host::new();
    let container = TcpListener::bind((CONTAINER, 80)).expect("a server");
    std::thread::spawn(move || {
        for stream in container.incoming() {
            stream.expect("a connection").write_all(b"hello").expect("sent");
        }
    });
    let greeted = || {
        let mut said = String::new();
        let stream = TcpStream::connect((Ipv6Addr::LOCALHOST, 8080));
        let read = stream.and_then(|mut stream| {
            stream.set_read_timeout(Some(LONG))?;
            stream.read_to_string(&mut said)
        });
        read.map(|_| said == "hello")
    };
    host.sandbox.published = vec![PublishedPorts {
        protocol: Protocol::Tcp,
        host_ip: Ipv6Addr::LOCALHOST.into(),
        host: "8080".parse().expect("a port"),
        container: "80".parse().expect("a port"),
        exposure: Exposure::Open,
    }];
    let mut keeper = host.keeper().await;
    assert!(host.tell(&mut keeper).await.is_empty());
    assert!(greeted().expect("relayed"));
    // Another helper, told by nobody.
    drop(keeper);
    let deadline = Instant::now() + LONG;
    let ports = host.sandbox.ports;
    let is_free = || {
        let inside = kernel::netns::enter(&host.netns, || UdpSocket::bind(("127.0.0.11", ports.udp)));
        inside.is_ok() && TcpListener::bind((Ipv6Addr::LOCALHOST, 8080)).is_ok()
    };
    while !is_free() {
        assert!(Instant::now() < deadline, "the helper before still has its ports");
        tokio::task::yield_now().await;
    }
    let mut keeper = host.keeper().await;
    assert!(greeted().expect("relayed again"));
    let answered = host.ask_inside("web.").await;
    host.sandbox.published.clear();
    assert!(host.tell(&mut keeper).await.is_empty());
    assert!(greeted().is_err(), "closed");
    assert_eq!(answered.answers.len(), 1);
    assert_eq!(
        keeper.counts()[0].counts.local,
        1,
        "names were served on without a break"
    );
}

#[tokio::test]
async fn what_a_sandbox_exposes_changes_without_its_sockets() {
    let mut host = Host::new();
    let mut keeper = host.keeper().await;
    assert!(host.tell(&mut keeper).await.is_empty());
    assert_eq!(host.ask_inside("web.").await.answers.len(), 1);
    host.sandbox.exposed = vec![ExposedPorts {
        ports: "80".parse().expect("a port"),
        protocol: Protocol::Tcp,
    }];
    host.tell(&mut keeper).await;
    assert_eq!(
        host.ask_inside("nobody.web.").await.metadata.response_code,
        ResponseCode::ServFail
    );
    let counts = keeper.counts();
    assert_eq!(
        (counts[0].counts.queries, counts[0].counts.failed),
        (2, 1),
        "{counts:?}"
    );
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_served_is_complained_of_once_however_often_it_is_tried() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let folder = TempDir::new().expect("a folder");
    let mut keeper = Keeper::open(folder.path()).await.expect("a keeper");
    let sandbox = facts();
    let push = Push {
        generation: 1,
        resync: true,
        more: false,
        counters: false,
        changes: vec![Change::Sandbox(sandbox)],
    };
    let troubles = keeper.apply(push).await.expect("taken in");
    for _ in 0..5 {
        keeper.retry().await;
    }
    assert_eq!(troubles.len(), 1);
    let said = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let said = String::from_utf8(said).expect("text");
    assert_eq!(said.matches("can't be served").count(), 1, "{said}");
}
