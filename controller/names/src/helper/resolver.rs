//! Where answers come from: a sandbox's view of the names and the servers for everything else; for the host itself, the
//! names of one network.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use dns::{
    Answer, Exit, Keeping, Kind, Names, Query, Room, SandboxFacts, Source, Transport, Upstreams, answer,
    answer_host, has_ndots,
};
use model::{NetworkId, SandboxId};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};

use super::visitor;

const PORT: u16 = 53;
const PATIENCE: Duration = Duration::from_secs(4);
/// What all that servers said may take together, and how much of it one sandbox may have for servers of its own.
const ROOM: usize = 16 << 20;
const OWN_ENTRIES: usize = 1000;
const OWN_BYTES: usize = 256 << 10;
const HOST_ENTRIES: usize = 20_000;
const HOST_BYTES: usize = 8 << 20;
/// The host's file is looked at no more often.
const LOOK: Duration = Duration::from_millis(250);

/// Answers for one sandbox.
#[derive(Debug)]
pub(super) struct Resolver {
    sandbox: SandboxId,
    netns: PathBuf,
    names: Arc<RwLock<Names>>,
    host: Arc<HostServers>,
    own: Option<Arc<Upstreams>>,
    /// Servers of its networks for some domains.
    domains: Mutex<HashMap<Vec<SocketAddr>, Arc<Upstreams>>>,
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
        let others = facts
            .servers
            .iter()
            .filter(|server| !super::sandbox::is_ours(**server));
        let servers: Vec<_> = others.map(|server| SocketAddr::new(*server, PORT)).collect();
        let exit = || Inside {
            netns: facts.netns.clone(),
        };
        let own = match facts.behind {
            true => Some(behind(&facts.netns, &host)),
            false => (!servers.is_empty())
                .then(|| Upstreams::new(servers, Arc::new(exit()), PATIENCE, host.own_keeping())),
        };
        Self {
            sandbox: id,
            netns: facts.netns.clone(),
            names,
            host,
            own,
            domains: Mutex::default(),
        }
    }

    /// The servers that a network has for this name. Ones on loopback are the host's; all others are asked from inside,
    /// so a sandbox reaches no server in this way that it could not reach itself.
    fn domain(&self, query: &Query) -> Option<Arc<Upstreams>> {
        let servers = read(&self.names, |names| {
            let (_, servers) = names.table(self.sandbox)?.forward(&query.name)?;
            let others = servers
                .iter()
                .filter(|server| !super::sandbox::is_ours(server.ip()));
            Some(others.copied().collect::<Vec<_>>())
        })?;
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        let upstreams = domains.entry(servers).or_insert_with_key(|servers| {
            let exit = HostsLoopback(Inside {
                netns: self.netns.clone(),
            });
            Upstreams::new(servers.clone(), Arc::new(exit), PATIENCE, self.host.own_keeping())
        });
        Some(Arc::clone(upstreams))
    }
}

/// The name server that somebody else has in the sandbox. It knows containers, which come and go: nothing that it says is
/// kept.
fn behind(netns: &Path, host: &HostServers) -> Arc<Upstreams> {
    let server = SocketAddr::new(model::NAME_SERVER, PORT);
    let exit = Behind(Inside {
        netns: netns.to_owned(),
    });
    let keeping = Keeping {
        entries: 0,
        ..host.own_keeping()
    };
    Upstreams::new(vec![server], Arc::new(exit), PATIENCE, keeping)
}

fn read<T>(names: &RwLock<Names>, look: impl FnOnce(&Names) -> T) -> T {
    look(&names.read().unwrap_or_else(PoisonError::into_inner))
}

impl Source for Resolver {
    fn answer(&self, query: &Query, turn: u32) -> Answer {
        let (answer, ndots) = read(&self.names, |names| match names.table(self.sandbox) {
            Some(table) => {
                let answer = answer(&table, query, turn);
                let is_short = answer == Answer::Forward
                    && matches!(query.kind, Kind::Ipv4 | Kind::Ipv6)
                    && !query.name.contains('.')
                    && table.forward(&query.name).is_none();
                let ndots = names.sandbox(self.sandbox).map(|sandbox| sandbox.ndots);
                (answer, ndots.filter(|_| is_short))
            }
            None => (Answer::Forward, None),
        });
        // A resolver with `ndots` makes short names long by itself: as they are they mean nobody outside.
        match ndots.is_some_and(|own| own.unwrap_or_else(|| self.host.has_ndots())) {
            true => Answer::Nothing,
            false => answer,
        }
    }

    fn upstreams(&self, query: Option<&Query>) -> Option<Arc<Upstreams>> {
        if let Some(domain) = query.and_then(|query| self.domain(query)) {
            return Some(domain);
        }
        if let Some(own) = &self.own {
            return Some(Arc::clone(own));
        }
        // A sandbox of internal networks alone must not reach out through the host.
        let outside = read(&self.names, |names| {
            names
                .table(self.sandbox)
                .is_some_and(|table| table.reaches_outside())
        });
        outside.then(|| self.host.upstreams())
    }
}

/// Answers the host itself, at a gateway's address, with the names of that network and nothing else.
#[derive(Debug)]
pub(super) struct HostDesk {
    pub(super) network: NetworkId,
    pub(super) address: IpAddr,
    pub(super) names: Arc<RwLock<Names>>,
}

impl Source for HostDesk {
    fn answer(&self, query: &Query, turn: u32) -> Answer {
        let answer = read(&self.names, |names| answer_host(names, self.network, query, turn));
        match answer {
            Answer::Forward => Answer::Refuse,
            answer => answer,
        }
    }

    fn upstreams(&self, _: Option<&Query>) -> Option<Arc<Upstreams>> {
        None
    }

    /// Whoever talks to an address of his own has that address. Containers of other networks, and other hosts, have
    /// not: they must not learn names here that their own networks keep from them.
    fn admits(&self, client: SocketAddr) -> bool {
        client.ip() == self.address
    }
}

/// The host's servers, read again when their file has changed.
#[derive(Debug)]
pub(super) struct HostServers {
    file: Mutex<HostFile>,
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct HostFile {
    path: Option<PathBuf>,
    looked: Option<Instant>,
    modified: Option<SystemTime>,
    ndots: bool,
    upstreams: Option<Arc<Upstreams>>,
}

impl Default for HostServers {
    fn default() -> Self {
        Self {
            file: Mutex::default(),
            room: Room::new(ROOM),
        }
    }
}

impl HostServers {
    pub(super) fn set_file(&self, path: Option<PathBuf>) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.path != path {
            *file = HostFile {
                path,
                ..HostFile::default()
            };
        }
    }

    /// Whether the host's own resolver was told after how many dots a name is whole.
    fn has_ndots(&self) -> bool {
        self.upstreams(); // which looks at the file when it is time to
        self.file.lock().unwrap_or_else(PoisonError::into_inner).ndots
    }

    fn upstreams(&self) -> Arc<Upstreams> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upstreams) = &file.upstreams
            && file.looked.is_some_and(|looked| looked.elapsed() < LOOK)
        {
            return Arc::clone(upstreams);
        }
        file.looked = Some(Instant::now());
        let path = file.path.clone();
        let path = path.as_deref().unwrap_or(Path::new("/etc/resolv.conf"));
        let modified = fs::metadata(path).and_then(|file| file.modified()).ok();
        if let Some(upstreams) = &file.upstreams
            && modified.is_some()
            && modified == file.modified
        {
            return Arc::clone(upstreams);
        }
        file.modified = modified;
        let text = fs::read_to_string(path).unwrap_or_default();
        file.ndots = has_ndots(&options(&text));
        let servers = parse(&text);
        let known = file.upstreams.take();
        // Other servers may say other things: nothing is remembered of the ones before.
        let upstreams = known
            .filter(|known| known.servers() == first_servers(&servers))
            .unwrap_or_else(|| Upstreams::new(servers, Arc::new(Host), PATIENCE, self.host_keeping()));
        file.upstreams = Some(Arc::clone(&upstreams));
        upstreams
    }

    fn host_keeping(&self) -> Keeping {
        Keeping {
            entries: HOST_ENTRIES,
            bytes: HOST_BYTES,
            room: Arc::clone(&self.room),
        }
    }

    fn own_keeping(&self) -> Keeping {
        Keeping {
            entries: OWN_ENTRIES,
            bytes: OWN_BYTES,
            room: Arc::clone(&self.room),
        }
    }
}

/// As many as are ever asked.
fn first_servers(servers: &[SocketAddr]) -> &[SocketAddr] {
    &servers[..servers.len().min(3)]
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

/// The options of a resolv.conf: those of the last line that has any.
fn options(text: &str) -> Vec<&str> {
    let mut lines = text.lines().rev();
    let last = lines.find_map(|line| line.trim().strip_prefix("options"));
    last.unwrap_or_default().split_whitespace().collect()
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
        visitor::socket_in(&self.netns, family, kind)
    }
}

/// Asks from a sandbox's namespace past the redirect to ourselves.
#[derive(Debug)]
struct Behind(Inside);

impl Exit for Behind {
    fn open(&self, server: SocketAddr, transport: Transport) -> io::Result<OwnedFd> {
        let socket = self.0.open(server, transport)?;
        setsockopt(&socket, sockopt::Mark, &model::NAME_SERVER_MARK)?;
        Ok(socket)
    }
}

/// Asks servers on loopback from the host's namespace, others from a sandbox's.
#[derive(Debug)]
struct HostsLoopback(Inside);

impl Exit for HostsLoopback {
    fn open(&self, server: SocketAddr, transport: Transport) -> io::Result<OwnedFd> {
        match server.ip().is_loopback() {
            true => Host.open(server, transport),
            false => self.0.open(server, transport),
        }
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

    fn box_with(servers: &[&str]) -> SandboxFacts {
        SandboxFacts {
            id: SandboxId::random(),
            created: model::Timestamp::now(),
            netns: PathBuf::from("/run/box"),
            ports: model::DnsPorts { udp: 1, tcp: 2 },
            servers: servers
                .iter()
                .map(|server| server.parse().expect("an address"))
                .collect(),
            ndots: None,
            behind: false,
            exposed: Vec::new(),
            published: Vec::new(),
        }
    }

    #[test]
    fn a_sandbox_whose_server_is_ourselves_does_not_make_us_ask_ourselves() {
        let servers_of = |servers: &[&str]| {
            let facts = box_with(servers);
            let resolver = Resolver::new(facts.id, &facts, Arc::default(), Arc::default());
            resolver
                .upstreams(None)
                .map(|upstreams| upstreams.servers().to_vec())
        };
        let nine = SocketAddr::from(([9, 9, 9, 9], 53));
        assert_eq!(servers_of(&["127.0.0.11", "9.9.9.9"]), Some(vec![nine]));
        assert_eq!(servers_of(&["127.0.0.11"]), None, "as if none had been given");
    }

    #[test]
    fn short_names_are_asked_of_nobody_outside_where_ndots_was_given() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = folder.path().join("resolv.conf");
        for (own, hosts, name, wanted) in [
            (None, "options ndots:2", "short", Answer::Nothing),
            (None, "options ndots:2", "not.short", Answer::Forward),
            (None, "options edns0", "short", Answer::Forward),
            (Some(true), "", "short", Answer::Nothing),
            (Some(false), "options ndots:2", "short", Answer::Forward),
        ] {
            fs::write(&file, hosts).expect("written");
            let facts = SandboxFacts {
                ndots: own,
                ..box_with(&[])
            };
            let (names, host) = (Arc::<RwLock<Names>>::default(), Arc::new(HostServers::default()));
            host.set_file(Some(file.clone()));
            let resolver = Resolver::new(facts.id, &facts, Arc::clone(&names), host);
            let known = |names: &mut Names| names.apply(dns::Change::Sandbox(facts));
            known(&mut names.write().expect("names"));
            let mut query = Query {
                name: name.to_owned(),
                kind: Kind::Ipv6,
            };
            assert_eq!(resolver.answer(&query, 0), wanted, "{own:?} {hosts:?} {name}");
            query.kind = Kind::Other;
            assert_eq!(
                resolver.answer(&query, 0),
                Answer::Forward,
                "no address is asked for"
            );
        }
    }

    #[test]
    fn servers_are_read_from_the_hosts_file_whenever_it_changes() {
        let text = "# nameserver 9.9.9.9\nsearch a.b\nnameserver 127.0.0.53\n nameserver\tfd00::1 # x\nnameserver x\n";
        let shown = |servers: &[SocketAddr]| servers.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&parse(text)), ["127.0.0.53:53", "[fd00::1]:53"]);
        let folder = tempfile::TempDir::new().expect("a folder");
        let (host, file) = (HostServers::default(), folder.path().join("resolv.conf"));
        host.set_file(Some(file.clone()));
        assert!(host.upstreams().servers().is_empty(), "no file yet");
        fs::write(&file, "nameserver 10.0.0.1").expect("written");
        let becomes = |wanted: &str| {
            let deadline = Instant::now() + Duration::from_secs(5);
            while shown(host.upstreams().servers()) != [wanted] {
                assert!(Instant::now() < deadline, "{wanted} was not read");
                std::thread::yield_now();
            }
        };
        becomes("10.0.0.1:53");
        fs::write(folder.path().join("new"), "nameserver 10.0.0.2").expect("written");
        fs::rename(folder.path().join("new"), &file).expect("replaced");
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::open(&file)
            .and_then(|file| file.set_modified(later))
            .expect("its time");
        becomes("10.0.0.2:53");
    }
}
