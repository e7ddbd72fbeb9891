//! What this process itself does to the host's firewall and sysctls, so that the monitor doesn't take it for damage.
//!
//! The kernel stamps each announcement of nf_tables with the port of the socket that asked for the change. A port is
//! remembered beyond its socket, because an announcement may be read later than that is closed.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fs, io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::NodeId;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::segments::Segments;
use crate::ruleset::Table;

/// Ports remembered. Of the host's sockets only a few are open at once.
const PORTS: usize = 256;

/// What is ours in the host's namespace.
#[derive(Debug, Default)]
pub(super) struct Own {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ports: VecDeque<u32>,
    tables: BTreeSet<Table>,
    /// Only while somebody watches.
    sysctls: Option<Sysctls>,
    /// The same.
    segments: Option<Arc<Mutex<Segments>>>,
}

/// The values that sysctls should have, by the watch of each one's file.
#[derive(Debug)]
struct Sysctls {
    inotify: Arc<OwnedFd>,
    wanted: HashMap<i32, (String, String)>,
}

impl Own {
    /// A socket of ours may change the firewall.
    pub(super) fn add_port(&self, port: u32) {
        let mut state = self.state();
        if !state.ports.contains(&port) {
            state.ports.push_back(port);
            if state.ports.len() > PORTS {
                state.ports.pop_front();
            }
        }
    }

    /// A table is ours: it is about to be made, or something in it is about to be changed.
    pub(super) fn add_table(&self, table: &Table) {
        let mut state = self.state();
        if !state.tables.contains(table) {
            state.tables.insert(table.clone());
        }
    }

    /// Whether the announcement of a socket's change is about us, and not by us.
    pub(super) fn is_damage(&self, port: u32, table: &Table) -> bool {
        let state = self.state();
        state.tables.contains(table) && !state.ports.contains(&port)
    }

    pub(super) fn has_port(&self, port: u32) -> bool {
        self.state().ports.contains(&port)
    }

    /// Who has ports in which bridge is known from here on, or no longer.
    pub(super) fn set_segments(&self, segments: Option<Arc<Mutex<Segments>>>) {
        self.state().segments = segments;
    }

    /// Whether a bridge has ports of others than this node; none if nobody watches.
    pub(super) fn is_shared(&self, bridge: u32, node: NodeId) -> Option<bool> {
        let segments = self.state().segments.clone()?;
        let segments = segments.lock().unwrap_or_else(PoisonError::into_inner);
        Some(segments.is_shared(bridge, node))
    }

    /// Watches the sysctls that are seen or written from now on.
    pub(super) fn watch_sysctls(&self) -> io::Result<Arc<OwnedFd>> {
        let inotify = Arc::new(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?);
        self.state().sysctls = Some(Sysctls {
            inotify: Arc::clone(&inotify),
            wanted: HashMap::new(),
        });
        Ok(inotify)
    }

    /// Ends the watch of sysctls.
    pub(super) fn leave_sysctls(&self) {
        self.state().sysctls = None;
    }

    /// A sysctl should have this value from now on. Called where its file is that of the host's namespace, and before
    /// it is written.
    pub(super) fn note_sysctl(&self, name: &str, path: &str, value: &str) {
        let mut state = self.state();
        let Some(sysctls) = &mut state.sysctls else { return };
        match inotify::add_watch(&sysctls.inotify, path, WatchFlags::MODIFY) {
            Ok(watch) => {
                let wanted = (name.to_owned(), value.trim().to_owned());
                sysctls.wanted.insert(watch, wanted);
            }
            Err(error) => tracing::debug!(name, %error, "not watched; the timer still looks at it"),
        }
    }

    /// The sysctl of a watch and the value that it should have.
    pub(super) fn wanted_sysctl(&self, watch: i32) -> Option<(String, String)> {
        self.state().sysctls.as_ref()?.wanted.get(&watch).cloned()
    }

    /// Every sysctl that switches forwarding, with the value that it should have.
    pub(super) fn wanted_forwarding(&self) -> Vec<(String, String)> {
        let state = self.state();
        let wanted = state.sysctls.iter().flat_map(|sysctls| sysctls.wanted.values());
        wanted
            .filter(|(name, _)| name.ends_with("/forwarding") || name.ends_with("/ip_forward"))
            .cloned()
            .collect()
    }

    /// Forgets the sysctls of a link whose files are gone with it.
    pub(super) fn forget_link(&self, link: &str) {
        let part = format!("/conf/{link}/");
        let mut state = self.state();
        let Some(sysctls) = &mut state.sysctls else { return };
        let inotify = &sysctls.inotify;
        sysctls.wanted.retain(|watch, (name, _)| {
            let gone = name.contains(&part) && fs::metadata(format!("/proc/sys/{name}")).is_err();
            if gone {
                // The kernel may have ended it with the file.
                let _ = inotify::remove_watch(inotify, *watch);
            }
            !gone
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_our_table_is_damage_unless_a_socket_of_ours_made_it() {
        let (own, ours) = (Own::default(), Table::inet("cnm-1"));
        own.add_port(7);
        own.add_table(&ours);
        assert!(own.is_damage(8, &ours));
        assert!(!own.is_damage(7, &ours));
        assert!(!own.is_damage(8, &Table::inet("cnm-2")), "another daemon's");
        for port in 100..100 + PORTS as u32 {
            own.add_port(port);
        }
        assert!(own.is_damage(7, &ours), "a port is not remembered for ever");
    }
}
