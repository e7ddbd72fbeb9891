//! A host for the tests: its namespace, sandboxes in it, the snapshot that a daemon would publish, and ways to ask.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fs,
    io::{self, BufRead as _, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use model::{
    DnsConfig, DnsPorts, DriverName, Endpoint, EndpointAddresses, EndpointId, IpamConfig, Ipv4Net, Labels,
    Lifecycle, Network, NetworkId, NetworkName, NodeId, PublishedPorts, Sandbox, SandboxId, SandboxKind,
    Scope, Snapshot, Timestamp,
};
use names::{Client, Settings};
use nix::{
    sched::{CloneFlags, unshare},
    sys::{
        signal::{Signal, kill},
        socket::{getsockopt, sockopt::PeerCredentials},
    },
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};

const HERE: NodeId = NodeId::from_bytes([7; 32]);
const PATIENCE: Duration = Duration::from_secs(3);
const TRY: Duration = Duration::from_millis(50);

/// Everything of one test, gone with it.
pub(crate) struct World {
    folder: TempDir,
    runtime: Runtime,
    snapshot: Snapshot,
    publish: watch::Sender<Arc<Snapshot>>,
    pins: Vec<PathBuf>,
    helpers: RefCell<BTreeSet<i32>>,
    child: RefCell<Option<Child>>,
    next: Cell<u8>,
}

/// A sandbox under test.
pub(crate) struct Place {
    pub(crate) id: SandboxId,
    pub(crate) netns: PathBuf,
    pub(crate) ports: DnsPorts,
}

/// A reply with shortcuts.
pub(crate) struct Reply {
    pub(crate) message: Message,
}

impl Reply {
    pub(crate) fn addresses(&self) -> Vec<Ipv4Addr> {
        let addresses = self
            .message
            .answers
            .iter()
            .filter_map(|record| match record.data {
                RData::A(address) => Some(address.0),
                _ => None,
            });
        addresses.collect()
    }

    pub(crate) fn code(&self) -> ResponseCode {
        self.message.metadata.response_code
    }
}

impl World {
    /// The calling thread moves into a namespace of its own.
    pub(crate) fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace: these tests need root");
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status()
            .expect("ip");
        assert!(up.success());
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("resolv.conf"), "nameserver 127.0.0.1\n").expect("written");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut snapshot = Snapshot::default();
        snapshot.live_nodes.insert(HERE);
        let (publish, _) = watch::channel(Arc::new(snapshot.clone()));
        Self {
            folder,
            runtime,
            snapshot,
            publish,
            pins: Vec::new(),
            helpers: RefCell::default(),
            child: RefCell::default(),
            next: Cell::new(2),
        }
    }

    pub(crate) fn exec_root(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub(crate) fn network(&mut self, name: &str, internal: bool) -> NetworkId {
        let driver = |name| DriverName::new(name).expect("a name");
        let network = Network {
            id: NetworkId::random(),
            name: NetworkName::new(name).expect("a name"),
            driver: driver("bridge"),
            scope: Scope::Local,
            lifecycle: Lifecycle::Active,
            created: Timestamp::now(),
            labels: Labels::default(),
            options: Labels::default(),
            enable_ipv4: true,
            enable_ipv6: false,
            internal,
            attachable: false,
            predefined: false,
            ipam: IpamConfig {
                driver: driver("default"),
                options: Labels::default(),
                subnets: Vec::new(),
            },
            pools: Vec::new(),
            vnis: Vec::new(),
            config_only: false,
            config_from: None,
            found: None,
        };
        let id = network.id;
        self.snapshot.networks.insert(id, Arc::new(network));
        id
    }

    /// A sandbox with one endpoint, at the next address of 10.9.0.0/24.
    pub(crate) fn sandbox(&mut self, name: &str, network: NetworkId, servers: &[IpAddr]) -> Place {
        let number = self.next.replace(self.next.get() + 1);
        let id = SandboxId::random();
        let netns = self.folder.path().join("netns").join(name);
        kernel::netns::create(&netns).expect("a namespace");
        self.pins.push(netns.clone());
        let ports = DnsPorts {
            udp: 40_000 + u16::from(number),
            tcp: 41_000 + u16::from(number),
        };
        let sandbox = Sandbox {
            id,
            container: None,
            node: HERE,
            lifecycle: Lifecycle::Active,
            created: Timestamp::now(),
            kind: SandboxKind::Own(netns.clone()),
            hostname: name.to_owned(),
            domainname: String::new(),
            dns: DnsConfig {
                servers: servers.to_vec(),
                ..DnsConfig::default()
            },
            extra_hosts: Vec::new(),
            files: self.folder.path().join("files"),
            dns_ports: ports,
            ports: Vec::new(),
            exposed: Vec::new(),
            links: Vec::new(),
        };
        self.snapshot.sandboxes.insert(id, Arc::new(sandbox));
        let address = Ipv4Net::new(Ipv4Addr::new(10, 9, 0, number), 24).expect("a prefix length");
        self.snapshot.insert_endpoint(Arc::new(Endpoint {
            id: EndpointId::random(),
            network,
            sandbox: id,
            container: None,
            node: HERE,
            lifecycle: Lifecycle::Active,
            created: Timestamp::now(),
            name: name.to_owned(),
            dns_names: vec![name.to_owned()],
            links: Labels::default(),
            addresses: EndpointAddresses {
                ipv4: Some(address),
                ..EndpointAddresses::default()
            },
            interface: None,
            gateway_priority: 0,
            options: Labels::default(),
            requested: Vec::new(),
            answer: None,
            lease: None,
            lease_v6: None,
        }));
        Place { id, netns, ports }
    }

    pub(crate) fn remove_sandbox(&mut self, place: &Place) {
        self.snapshot.sandboxes.remove(&place.id);
        let endpoints: Vec<_> = self
            .snapshot
            .endpoints_of(&place.id)
            .map(|endpoint| endpoint.id)
            .collect();
        for id in endpoints {
            self.snapshot.remove_endpoint(&id);
        }
    }

    /// Publishes a port of the host that leads to one of a sandbox, whose address is put on the host's loopback.
    pub(crate) fn publish_port(&mut self, place: &Place, ports: PublishedPorts) {
        let mut changed = Sandbox::clone(&self.snapshot.sandboxes[&place.id]);
        changed.ports.push(ports);
        self.snapshot.sandboxes.insert(place.id, Arc::new(changed));
        let mut endpoints = self.snapshot.endpoints_of(&place.id);
        let address = endpoints.next().and_then(|endpoint| endpoint.addresses.ipv4);
        let address = address.expect("an address").addr().to_string();
        let added = Command::new("ip")
            .args(["address", "add", &address, "dev", "lo"])
            .status();
        assert!(added.expect("ip").success());
    }

    /// What was asked in a sandbox, as its helper counts.
    pub(crate) fn counts(&self, client: &Client, place: &Place) -> names::Counts {
        let all = self.runtime.block_on(client.counters()).expect("counters");
        let one = all.iter().find(|one| one.sandbox == place.id);
        one.expect("a served sandbox").counts
    }

    /// Changes something that names see.
    pub(crate) fn touch(&mut self, network: NetworkId) {
        let mut changed = Network::clone(&self.snapshot.networks[&network]);
        changed.internal = !changed.internal;
        self.snapshot.networks.insert(network, Arc::new(changed));
    }

    pub(crate) fn client(&mut self) -> Arc<Client> {
        self.snapshot.generation += 1;
        self.publish.send_replace(Arc::new(self.snapshot.clone()));
        let settings = Settings {
            program: super::super::PROGRAM.into(),
            exec_root: self.exec_root(),
            host_file: self.folder.path().join("resolv.conf"),
        };
        let _runtime = self.runtime.enter();
        Client::start(settings, self.publish.subscribe())
    }

    pub(crate) fn publish_and_wait(&mut self, client: &Client) {
        self.publish_alone(client);
        self.try_helper();
    }

    pub(crate) fn publish_alone(&mut self, client: &Client) {
        self.snapshot.generation += 1;
        let generation = self.snapshot.generation;
        self.publish.send_replace(Arc::new(self.snapshot.clone()));
        self.runtime.block_on(async {
            let served = tokio::time::timeout(Duration::from_secs(10), client.caught_up(generation)).await;
            served.expect("in time").expect("served");
        });
    }

    pub(crate) fn stop(&self, client: &Client) {
        self.runtime.block_on(client.stop());
    }

    /// Lets the client's task work for a moment.
    fn breathe(&self) {
        self.runtime
            .block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    }

    /// The helper that listens, known by the socket's other end.
    pub(crate) fn try_helper(&self) -> Option<Pid> {
        self.breathe();
        let stream = UnixStream::connect(self.exec_root().join("names.sock")).ok()?;
        let pid = getsockopt(&stream, PeerCredentials).ok()?.pid();
        self.helpers.borrow_mut().insert(pid);
        Some(Pid::from_raw(pid))
    }

    pub(crate) fn helper(&self) -> Pid {
        self.try_helper().expect("a helper")
    }

    pub(crate) fn helper_memory(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.helper())).expect("its memory");
        let line = rollup
            .lines()
            .find(|line| line.starts_with("Pss_Anon:"))
            .expect("a figure");
        line.split_whitespace()
            .nth(1)
            .and_then(|figure| figure.parse().ok())
            .expect("a number")
    }

    /// Starts the program as a unit would.
    pub(crate) fn start_helper(&self, program: &str) {
        let mut command = Command::new(program);
        command
            .arg("--exec-root")
            .arg(self.exec_root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let mut word = String::new();
        let said = child.stdout.take().expect("its output");
        io::BufReader::new(said).read_line(&mut word).expect("its word");
        assert_eq!(word, "ready\n");
        *self.child.borrow_mut() = Some(child);
    }

    pub(crate) fn udp(&self, place: &Place, name: &str, kind: RecordType) -> Reply {
        ask_udp(place, name, kind, PATIENCE).expect("a reply over UDP")
    }

    pub(crate) fn tcp(&self, place: &Place, name: &str, kind: RecordType) -> Reply {
        let asked = kernel::netns::enter(&place.netns, || {
            let mut stream = TcpStream::connect(("127.0.0.11", place.ports.tcp))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let packet = question(name, kind);
            stream.write_all(&[&(packet.len() as u16).to_be_bytes(), packet.as_slice()].concat())?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut reply = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut reply)?;
            Ok(reply)
        });
        Reply {
            message: Message::from_vec(&asked.expect("a reply over TCP")).expect("a message"),
        }
    }

    /// Whether the name has an address just now.
    pub(crate) fn is_resolved(&self, place: &Place, name: &str) -> bool {
        self.breathe();
        ask_udp(place, name, RecordType::A, TRY).is_some_and(|reply| !reply.addresses().is_empty())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.try_helper();
        // A client that is still alive would start another.
        for pid in self.helpers.borrow().iter() {
            kill(Pid::from_raw(*pid), Signal::SIGKILL).ok();
        }
        if let Some(child) = self.child.borrow_mut().as_mut() {
            child.wait().ok();
        }
        for pin in &self.pins {
            kernel::netns::remove(pin).ok();
        }
    }
}

/// How long each of many queries takes, one after another.
pub(crate) fn time(place: &Place, name: &str, count: usize) -> Vec<Duration> {
    let timed = kernel::netns::enter(&place.netns, || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(("127.0.0.11", place.ports.udp))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let (packet, mut buffer) = (question(name, RecordType::A), [0; 512]);
        let one = |_| {
            let began = Instant::now();
            socket.send(&packet)?;
            socket.recv(&mut buffer)?;
            Ok(began.elapsed())
        };
        (0..count).map(one).collect::<io::Result<Vec<_>>>()
    });
    timed.expect("replies")
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect(name), kind));
    message.to_vec().expect("a message")
}

fn ask_udp(place: &Place, name: &str, kind: RecordType, patience: Duration) -> Option<Reply> {
    let asked = kernel::netns::enter(&place.netns, || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(("127.0.0.11", place.ports.udp))?;
        socket.set_read_timeout(Some(patience))?;
        socket.send(&question(name, kind))?;
        let mut buffer = vec![0; 4096];
        let length = socket.recv(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    });
    Some(Reply {
        message: Message::from_vec(&asked.ok()?).ok()?,
    })
}

/// Starts a server on port 53 of the calling thread's namespace that answers everything with one address. Its threads end
/// with the test's process.
pub(crate) fn answer_everything(address: Ipv4Addr) -> io::Result<()> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    let (udp, tcp) = (UdpSocket::bind(at)?, TcpListener::bind(at)?);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = udp.recv_from(&mut buffer) {
            udp.send_to(&answer(&buffer[..length], address), client).ok();
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.expect("a client");
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("a length");
            let mut packet = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut packet).expect("a packet");
            let reply = answer(&packet, address);
            stream
                .write_all(&[&(reply.len() as u16).to_be_bytes(), reply.as_slice()].concat())
                .ok();
        }
    });
    Ok(())
}

fn answer(packet: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let asked = Message::from_vec(packet).expect("a query");
    let mut reply = Message::response(asked.metadata.id, OpCode::Query);
    let name = asked.queries[0].name().clone();
    reply.add_queries(asked.queries);
    reply.add_answer(Record::from_rdata(name, 5, RData::A(A(address))));
    reply.to_vec().expect("a message")
}
