//! One sandbox's source of answers: its view of the names, and the servers for everything else.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use dns::{Answer, Exit, Names, Query, SandboxFacts, Source, Transport, Upstreams, answer};
use model::SandboxId;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

const PORT: u16 = 53;
const OURSELVES: IpAddr = IpAddr::V4(super::sandbox::ADDRESS);
const PATIENCE: Duration = Duration::from_secs(4);

/// Answers for one sandbox.
#[derive(Debug)]
pub(super) struct Resolver {
    sandbox: SandboxId,
    names: Arc<RwLock<Names>>,
    host: Arc<HostServers>,
    own: Option<Upstreams>,
}

impl Resolver {
    pub(super) fn new(
        id: SandboxId,
        facts: &SandboxFacts,
        names: Arc<RwLock<Names>>,
        host: Arc<HostServers>,
    ) -> Self {
        // `--dns` servers are asked from inside: they may be reachable from there alone. We are there too, and would
        // ask ourselves without end.
        let others = facts.servers.iter().filter(|server| **server != OURSELVES);
        let servers: Vec<_> = others.map(|server| SocketAddr::new(*server, PORT)).collect();
        let own = (!servers.is_empty()).then(|| Upstreams {
            servers,
            exit: Arc::new(Inside {
                netns: facts.netns.clone(),
            }),
            patience: PATIENCE,
        });
        Self {
            sandbox: id,
            names,
            host,
            own,
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Names) -> T) -> T {
        look(&self.names.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Source for Resolver {
    fn answer(&self, query: &Query, turn: u32) -> Answer {
        self.read(|names| match names.table(self.sandbox) {
            Some(table) => answer(&table, query, turn),
            None => Answer::Forward,
        })
    }

    fn upstreams(&self) -> Option<Upstreams> {
        if let Some(own) = &self.own {
            return Some(own.clone());
        }
        // A sandbox of internal networks alone must not reach out through the host.
        let outside = self.read(|names| {
            names
                .table(self.sandbox)
                .is_some_and(|table| table.reaches_outside())
        });
        outside.then(|| Upstreams {
            servers: self.host.servers(),
            exit: Arc::new(Host),
            patience: PATIENCE,
        })
    }
}

/// The host's servers, read again when their file has changed.
#[derive(Debug, Default)]
pub(super) struct HostServers(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    file: Option<PathBuf>,
    read: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

impl HostServers {
    pub(super) fn set_file(&self, file: Option<PathBuf>) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.file != file {
            *cached = Cached {
                file,
                ..Cached::default()
            };
        }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let file = cached
            .file
            .clone()
            .unwrap_or_else(|| Path::new("/etc/resolv.conf").to_owned());
        let changed = fs::metadata(&file).and_then(|file| file.modified()).ok();
        if changed.is_none() || changed != cached.read {
            cached.servers = parse(&fs::read_to_string(&file).unwrap_or_default());
            cached.read = changed;
        }
        cached.servers.clone()
    }
}

/// The servers of a resolv.conf. Ones on loopback stay: they are asked from the host's own namespace.
fn parse(text: &str) -> Vec<SocketAddr> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.split_whitespace().next());
    lines
        .filter_map(|server| Some(SocketAddr::new(address(server)?, PORT)))
        .collect()
}

/// A zone (`fe80::1%eth0`) needs an interface's number that this address form does not have; such a server is left out.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Asks from the host's namespace, which is the helper's own.
#[derive(Debug)]
struct Host;

impl Exit for Host {
    fn open(&self, server: SocketAddr, transport: Transport) -> io::Result<OwnedFd> {
        let (family, kind) = socket_kind(server, transport);
        Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?)
    }
}

/// Asks from a sandbox's namespace.
#[derive(Debug)]
struct Inside {
    netns: PathBuf,
}

impl Exit for Inside {
    fn open(&self, server: SocketAddr, transport: Transport) -> io::Result<OwnedFd> {
        let (family, kind) = socket_kind(server, transport);
        kernel::netns::socket_in(&self.netns, family, kind).map_err(io::Error::other)
    }
}

fn socket_kind(server: SocketAddr, transport: Transport) -> (AddressFamily, SockType) {
    let family = if server.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let kind = match transport {
        Transport::Udp => SockType::Datagram,
        Transport::Tcp => SockType::Stream,
    };
    (family, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_whose_server_is_ourselves_does_not_make_us_ask_ourselves() {
        let servers_of = |servers: &[&str]| {
            let facts = SandboxFacts {
                id: SandboxId::random(),
                created: model::Timestamp::now(),
                netns: PathBuf::from("/run/box"),
                ports: model::DnsPorts { udp: 1, tcp: 2 },
                servers: servers
                    .iter()
                    .map(|server| server.parse().expect("an address"))
                    .collect(),
            };
            let resolver = Resolver::new(facts.id, &facts, Arc::default(), Arc::default());
            resolver.upstreams().map(|upstreams| upstreams.servers)
        };
        let nine = SocketAddr::from(([9, 9, 9, 9], 53));
        assert_eq!(servers_of(&["127.0.0.11", "9.9.9.9"]), Some(vec![nine]));
        assert_eq!(servers_of(&["127.0.0.11"]), None, "as if none had been given");
    }

    #[test]
    fn servers_are_read_from_the_hosts_file_whenever_it_changes() {
        let text = "# nameserver 9.9.9.9\nsearch a.b\nnameserver 127.0.0.53\n nameserver\tfd00::1 # x\nnameserver x\n";
        let shown = |servers: Vec<SocketAddr>| servers.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(parse(text)), ["127.0.0.53:53", "[fd00::1]:53"]);
        let folder = tempfile::TempDir::new().expect("a folder");
        let (host, file) = (HostServers::default(), folder.path().join("resolv.conf"));
        host.set_file(Some(file.clone()));
        assert!(host.servers().is_empty(), "no file yet");
        fs::write(&file, "nameserver 10.0.0.1").expect("written");
        assert_eq!(shown(host.servers()), ["10.0.0.1:53"]);
        fs::write(folder.path().join("new"), "nameserver 10.0.0.2").expect("written");
        fs::rename(folder.path().join("new"), &file).expect("replaced");
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::open(&file)
            .and_then(|file| file.set_modified(later))
            .expect("its time");
        assert_eq!(shown(host.servers()), ["10.0.0.2:53"]);
    }
}
