//! Hosts and sandboxes as namespaces, for tests that send packets. Everything is gone when the lab is dropped.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use kernel::{
    Kernel, KernelState, Linux, Mark, Netns, Object, Owner, netns,
    object::{Address, Link, LinkKind, Route, VethPeer},
};
use model::{Endpoint, InterfaceName, IpNet, Network, NodeId, Subnet};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{
    Access, Attachment, BuiltIn, Catalog as _, Driver, HostSettings, Local, NetworkView, Target, VXLAN_PORT,
};

/// How long a connection may take: the first packet through a new port can be lost, and is sent again after a second.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Where this is in the environment, hosts have their rules made by iptables.
pub(crate) const BACKEND: &str = "CNM_LAB_IPTABLES";

/// A folder of pins, and a runtime to call drivers from.
pub(crate) struct Lab {
    folder: TempDir,
    runtime: Runtime,
}

/// A host: a namespace, its kernel and the drivers on it.
pub(crate) struct Host {
    pub(crate) pin: PathBuf,
    pub(crate) exec_root: PathBuf,
    #[cfg_attr(not(feature = "vm"), allow(dead_code))]
    node: NodeId,
    drivers: BuiltIn,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
        }
    }

    /// Runs a driver's verb to its end.
    pub(crate) fn run<T>(&self, verb: impl Future<Output = T>) -> T {
        self.runtime.block_on(verb)
    }

    /// Where sockets can be.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pin(&self, name: &str) -> PathBuf {
        self.folder.path().join("pins").join(name)
    }

    /// A namespace with its loopback up.
    pub(crate) fn namespace(&self, name: &str) -> PathBuf {
        let pin = self.pin(name);
        netns::create(&pin).expect("tests of packets run as root");
        pin
    }

    pub(crate) fn host(&self, name: &str, address: &str) -> Host {
        self.host_in(self.namespace(name), address)
    }

    /// A host in a namespace that is there already, which is named as its pin.
    pub(crate) fn host_in(&self, pin: PathBuf, address: &str) -> Host {
        let name = pin.file_name().expect("a pin is a file").to_owned();
        Host::in_namespace(pin, self.folder.path().join(name), address)
    }

    /// Joins two namespaces by a veth, `up0` in both, with these addresses.
    pub(crate) fn wire(&self, ends: [(&Path, &str); 2]) {
        let [(here, _), (there, _)] = ends;
        let at = |pin: &Path| Netns::Pinned(pin.to_owned());
        let mut state = KernelState::new();
        state.insert(Object::Link(Link {
            netns: at(here),
            name: interface("up0"),
            kind: LinkKind::Veth {
                peer: VethPeer {
                    netns: at(there),
                    name: interface("up0"),
                    mac: None,
                    mtu: None,
                    up: true,
                    ipv6: true,
                },
                port: kernel::object::BridgePort::default(),
            },
            mac: None,
            mtu: None,
            master: None,
            up: true,
        }));
        state.extend(ends.map(|(pin, text)| address(at(pin), "up0", text.parse().expect("an address"))));
        ensure(&Linux::here().expect("a kernel"), &state);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let root = self.folder.path();
        let hosts = files(root).into_iter().map(|host| host.join("netns"));
        let folders = hosts.chain([root.join("pins")]);
        for pin in folders.flat_map(|folder| files(&folder)) {
            let _ = netns::remove(&pin);
        }
    }
}

/// What is in a folder. The folder itself is closed again: its mount goes with the last pin.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

impl Host {
    fn in_namespace(pin: PathBuf, exec_root: PathBuf, address: &str) -> Self {
        Self::of_node(NodeId::random(), pin, exec_root, address)
    }

    /// The same host after its daemon was started again: it remembers nothing.
    #[cfg(feature = "vm")]
    pub(crate) fn again(&self, address: &str) -> Self {
        Self::of_node(self.node, self.pin.clone(), self.exec_root.clone(), address)
    }

    fn of_node(node: NodeId, pin: PathBuf, exec_root: PathBuf, address: &str) -> Self {
        let linux = netns::enter(&pin, Linux::here).expect("a kernel");
        let linux = match std::env::var_os(BACKEND) {
            Some(_) => linux.with_iptables(node).expect("iptables"),
            None => linux,
        };
        let kernel: Arc<dyn Kernel> = Arc::new(linux);
        let settings = HostSettings {
            node,
            address: address.parse().expect("an address"),
            vxlan_port: VXLAN_PORT,
            exec_root: exec_root.clone(),
            firewall: true,
            ip_forward: true,
        };
        Self {
            drivers: BuiltIn::new(&settings, &kernel).expect("the host can be looked at"),
            node,
            pin,
            exec_root,
        }
    }

    pub(crate) fn driver(&self, name: &str) -> Arc<dyn Driver> {
        self.drivers.driver(name).expect("it is built in")
    }

    pub(crate) fn create(&self, lab: &Lab, network: &Network) {
        let driver = self.driver(&network.driver);
        lab.run(driver.create_network(network))
            .expect("the network is made");
    }

    /// The network with endpoints whose sandboxes are there, as a repair is told of it.
    pub(crate) fn view<const N: usize>(
        &self,
        lab: &Lab,
        network: &Network,
        local: [(Endpoint, Access); N],
    ) -> NetworkView {
        let local = local.map(|(endpoint, access)| Local {
            target: target(lab.pin(&endpoint.name)),
            endpoint: Arc::new(endpoint),
            access,
        });
        NetworkView {
            network: Arc::new(network.clone()),
            local: local.into(),
            peers: Vec::new(),
        }
    }

    /// Makes a sandbox, joins it to the network, and configures its end as the controller does.
    pub(crate) fn sandbox(&self, lab: &Lab, name: &str, network: &Network, endpoint: &Endpoint) -> PathBuf {
        let pin = lab.namespace(name);
        let target = target(pin.clone());
        let driver = self.driver(&network.driver);
        let attachment = lab
            .run(driver.join(network, endpoint, &target))
            .expect("it joins");
        configure(&pin, endpoint, &attachment);
        pin
    }
}

fn target(pin: PathBuf) -> Target {
    Target {
        netns: Some(pin),
        interface: interface("eth0"),
        ports: Vec::new(),
        exposed: Vec::new(),
        on_host: false,
    }
}

fn configure(pin: &Path, endpoint: &Endpoint, attachment: &Attachment) {
    let inside = Netns::Pinned(pin.to_owned());
    let mut state = KernelState::new();
    for net in endpoint.addresses.iter() {
        state.insert(address(inside.clone(), "eth0", net));
    }
    let everywhere = ["0.0.0.0/0", "::/0"].map(|text| text.parse::<Subnet>().expect("a subnet"));
    let defaults = everywhere
        .into_iter()
        .zip([attachment.gateway_v4, attachment.gateway_v6]);
    let more = attachment
        .routes
        .iter()
        .map(|route| (route.destination, route.next_hop));
    for (destination, gateway) in defaults.filter(|(_, gateway)| gateway.is_some()).chain(more) {
        state.insert(Object::Route(Route {
            netns: inside.clone(),
            destination,
            gateway: gateway.filter(|hop| !hop.is_unspecified()),
            link: interface("eth0"),
            source: None,
        }));
    }
    ensure(&Linux::here().expect("a kernel"), &state);
}

fn ensure(kernel: &dyn Kernel, state: &KernelState) {
    let mark = Mark {
        node: NodeId::random(),
        owner: Owner::Host,
    };
    kernel::ensure(kernel, &mark, state).expect("the lab can be built");
}

fn address(netns: Netns, link: &str, address: IpNet) -> Object {
    Object::Address(Address {
        netns,
        link: interface(link),
        address,
    })
}

pub(crate) fn interface(name: &str) -> InterfaceName {
    InterfaceName::new(name).expect("a name")
}

/// Runs a command in a namespace. Its output, if it succeeds.
pub(crate) fn command(netns: &Path, words: &[&str]) -> Option<String> {
    let mut net = std::ffi::OsString::from("--net=");
    net.push(netns);
    let output = Command::new("nsenter")
        .arg(net)
        .args(words)
        .output()
        .expect("nsenter(1) is there");
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a few pings are answered within two seconds, or as many as a slow machine gets.
pub(crate) fn pings(from: &Path, to: &str) -> bool {
    let seconds = std::env::var("CNM_LAB_PATIENCE").unwrap_or_else(|_| "2".to_owned());
    command(
        from,
        &["ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", &seconds, to],
    )
    .is_some()
}

/// Sends a megabyte over TCP to a server in another namespace. What the server took for the client's address, if all
/// of it arrived.
pub(crate) fn megabyte(from: &Path, to: &Path, server: SocketAddr) -> Option<IpAddr> {
    megabyte_to(from, server, to, server)
}

/// The same by another address than the server's own.
pub(crate) fn megabyte_to(from: &Path, at: SocketAddr, to: &Path, server: SocketAddr) -> Option<IpAddr> {
    const SIZE: usize = 1 << 20;
    let listener = netns::tcp_in(to, server).expect("the address is its own");
    let connect = || TcpStream::connect_timeout(&at, PATIENCE);
    let mut client = netns::enter(from, connect).ok()?;
    let serving = thread::spawn(move || {
        let (mut stream, client) = listener.accept()?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        std::io::Result::Ok((received.len(), client.ip()))
    });
    client.write_all(&vec![7; SIZE]).ok()?;
    drop(client);
    let (received, client) = serving.join().ok()?.ok()?;
    (received == SIZE).then_some(client)
}

/// Sends a datagram by an address to a server in another namespace, and waits for its answer.
pub(crate) fn datagram(from: &Path, at: SocketAddr, to: &Path, server: SocketAddr) -> Option<IpAddr> {
    let patience = Some(PATIENCE);
    let server = netns::udp_in(to, server).expect("the address is its own");
    let any = match at {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let client = netns::udp_in(from, any.parse().expect("an address")).expect("a socket");
    for socket in [&server, &client] {
        socket.set_read_timeout(patience).expect("a timeout");
    }
    client.connect(at).ok()?;
    client.send(b"ping").ok()?;
    let (_, seen) = server.recv_from(&mut [0; 8]).ok()?;
    server.send_to(b"pong", seen).ok()?;
    client.recv(&mut [0; 8]).ok()?;
    Some(seen.ip())
}
