//! Namespaces as long as one call lasts: each is opened at most once, its socket and its links' indexes are remembered,
//! and all is let go at the end, because an open socket would keep a removed namespace alive.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use model::InterfaceName;

use super::{
    Host, links,
    netlink::{Connection, Refusal},
    nft,
    own::Own,
};
use crate::{Error, Key, Netns, Result};

/// The namespaces of one call.
pub(super) struct Visits<'a> {
    host: &'a Host,
    open: BTreeMap<Netns, Visit>,
}

impl<'a> Visits<'a> {
    pub(super) fn new(host: &'a Host) -> Self {
        host.removals.call_begins();
        Self {
            host,
            open: BTreeMap::new(),
        }
    }

    pub(super) fn host(&self) -> &'a Host {
        self.host
    }

    /// Opens a namespace, or returns to it.
    pub(super) fn visit(&mut self, netns: &Netns, key: &Key) -> Result<&mut Visit> {
        if !self.open.contains_key(netns) {
            let visit = Visit {
                descriptor: self.host.descriptor(netns, key)?,
                connections: match netns {
                    Netns::Host => self.host.take_connections(),
                    Netns::Pinned(_) | Netns::Numbered(_) => Connections::default(),
                },
                sent: Arc::clone(&self.host.sent),
                own: (*netns == Netns::Host).then(|| Arc::clone(&self.host.own)),
                indexes: HashMap::new(),
                names: HashMap::new(),
            };
            self.open.insert(netns.clone(), visit);
        }
        Ok(self.open.get_mut(netns).expect("it was just put there"))
    }

    /// The namespace itself, to name it in a message.
    pub(super) fn descriptor(&mut self, netns: &Netns, key: &Key) -> Result<Arc<OwnedFd>> {
        self.visit(netns, key).map(|visit| Arc::clone(&visit.descriptor))
    }

    /// Lets go of a namespace that is about to be removed.
    pub(super) fn leave(&mut self, netns: &Netns) {
        self.open.remove(netns);
    }
}

impl Drop for Visits<'_> {
    fn drop(&mut self) {
        if let Some(mut visit) = self.open.remove(&Netns::Host) {
            visit.connections.route = visit.connections.route.filter(Connection::is_sound);
            self.host.keep_connections(visit.connections);
        }
        self.host.removals.call_ends();
    }
}

/// Sockets into one namespace, as far as they were needed.
#[derive(Default)]
pub(super) struct Connections {
    route: Option<Connection>,
    firewall: Option<nft::Connection>,
}

/// One namespace.
pub(super) struct Visit {
    pub(super) descriptor: Arc<OwnedFd>,
    connections: Connections,
    sent: Arc<std::sync::atomic::AtomicU64>,
    /// Only of the host's namespace.
    pub(super) own: Option<Arc<Own>>,
    indexes: HashMap<InterfaceName, u32>,
    names: HashMap<u32, Option<InterfaceName>>,
}

impl Visit {
    /// Its socket, opened when it is first needed.
    pub(super) fn raw_connection(&mut self) -> io::Result<&mut Connection> {
        if !self.connections.route.as_ref().is_some_and(Connection::is_sound) {
            let connection = Connection::open(self.descriptor.as_fd(), Arc::clone(&self.sent))?;
            self.connections.route = Some(connection);
        }
        Ok(self.connections.route.as_mut().expect("it was just put there"))
    }

    /// Its socket to nf_tables, opened when it is first needed.
    pub(super) fn firewall(&mut self, key: &Key) -> Result<&mut nft::Connection> {
        if self.connections.firewall.is_none() {
            let connection = nft::Connection::open(self.descriptor.as_fd())
                .map_err(|error| refused(key, "opening a netlink socket", "namespace")(error.into()))?;
            if let Some(own) = &self.own {
                own.add_port(connection.port());
            }
            self.connections.firewall = Some(connection);
        }
        Ok(self.connections.firewall.as_mut().expect("it was just put there"))
    }

    /// Its socket; a failure is told as this object's.
    pub(super) fn connection(&mut self, key: &Key) -> Result<&mut Connection> {
        self.raw_connection()
            .map_err(|error| refused(key, "opening a netlink socket", "namespace")(error.into()))
    }

    /// A link's index.
    pub(super) fn index_of(&mut self, link: &InterfaceName, key: &Key) -> Result<u32> {
        self.find_index(link, key)?.ok_or_else(|| Error::NoSuch {
            object: key.clone().into(),
            missing: format!("link {:?}", link.as_str()),
        })
    }

    /// A link's index, if there is such a link.
    pub(super) fn find_index(&mut self, link: &InterfaceName, key: &Key) -> Result<Option<u32>> {
        if let Some(index) = self.indexes.get(link) {
            return Ok(Some(*index));
        }
        let found = links::find(self, link, key)?;
        Ok(found.map(|found| {
            self.indexes.insert(link.clone(), found.index);
            found.index
        }))
    }

    /// A link's name by its index.
    pub(super) fn name_of(&mut self, index: u32, key: &Key) -> Result<Option<InterfaceName>> {
        if let Some(name) = self.names.get(&index) {
            return Ok(name.clone());
        }
        let name = self
            .connection(key)?
            .name_of(index)
            .map_err(|error| refused(key, "looking up a link by its index", "link")(error.into()))?;
        self.names.insert(index, name.clone());
        Ok(name)
    }

    /// Forgets a link that is about to change its name or to go.
    pub(super) fn forget(&mut self, link: &InterfaceName) {
        self.indexes.remove(link);
        self.names.clear();
    }
}

/// Tells a refusal as this object's.
pub(super) fn refused<'k>(
    key: &'k Key,
    action: &'static str,
    missing: &'k str,
) -> impl Fn(Refusal) -> Error + 'k {
    move |refusal| Error::from_errno(key, action, missing, refusal.source, &refusal.detail)
}
