//! A plugin of volumes that are folders of a host of the lab, and writes down what it is asked.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use netlab::Host;
use plugin_proto::{
    Nothing,
    server::{Answer, Server, VolumeDriver},
    volume_driver::{Create, Found, Get, Listed, Mount, Mounted, Path, Remove, Unmount, Volume},
};

use crate::stub::{Called, in_background};

/// The plugin, serving until the process ends.
#[derive(Clone)]
pub(crate) struct Store {
    folder: PathBuf,
    socket: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Called>,
    volumes: BTreeSet<String>,
    mounted: BTreeSet<(String, String)>,
}

impl Store {
    /// Serves at this socket.
    pub(crate) fn serve(host: &Host, socket: PathBuf) -> anyhow::Result<Self> {
        let store = Self {
            folder: host.folder().join("volumes-of-a-plugin"),
            socket,
            state: Arc::default(),
        };
        let noted = store.clone();
        let server = Server::default()
            .volumes(store.clone())
            .observed_by(move |method, body| {
                let body = serde_json::from_slice(body).unwrap_or_default();
                noted.state().calls.push((method.to_owned(), body));
            });
        in_background(server, &store.socket, |_| None)?;
        Ok(store)
    }

    /// Where it serves.
    pub(crate) fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Has a volume that nobody made here.
    pub(crate) fn have(&self, name: &str) {
        let _ = std::fs::create_dir_all(self.folder.join(name));
        self.state().volumes.insert(name.to_owned());
    }

    /// What it was asked since the last time.
    pub(crate) fn calls(&self) -> Vec<Called> {
        std::mem::take(&mut self.state().calls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A volume is mounted while somebody uses it.
    fn volume(&self, state: &State, name: &str) -> Volume {
        let used = state.mounted.iter().any(|(volume, _)| volume == name);
        let folder = self.folder.join(name).display().to_string();
        Volume {
            name: name.to_owned(),
            mountpoint: if used { folder } else { String::new() },
            created_at: "2026-01-02T03:04:05Z".to_owned(),
            ..Volume::default()
        }
    }

    fn mountpoint(&self, state: &State, name: &str) -> Mounted {
        Mounted {
            mountpoint: self.volume(state, name).mountpoint,
        }
    }
}

#[async_trait]
impl VolumeDriver for Store {
    async fn create(&self, request: Create) -> Answer<Nothing> {
        std::fs::create_dir_all(self.folder.join(&request.name))?;
        self.state().volumes.insert(request.name);
        Ok(Nothing {})
    }

    async fn remove(&self, request: Remove) -> Answer<Nothing> {
        let mut state = self.state();
        match state.mounted.iter().any(|(volume, _)| *volume == request.name) {
            true => Err("it is mounted".into()),
            false => {
                state.volumes.remove(&request.name);
                std::fs::remove_dir_all(self.folder.join(&request.name))?;
                Ok(Nothing {})
            }
        }
    }

    async fn mount(&self, request: Mount) -> Answer<Mounted> {
        let mut state = self.state();
        if !state.mounted.insert((request.name.clone(), request.id)) {
            return Err("it is mounted already by the same".into());
        }
        Ok(self.mountpoint(&state, &request.name))
    }

    async fn unmount(&self, request: Unmount) -> Answer<Nothing> {
        match self.state().mounted.remove(&(request.name, request.id)) {
            true => Ok(Nothing {}),
            false => Err("it is not mounted".into()),
        }
    }

    async fn path(&self, request: Path) -> Answer<Mounted> {
        Ok(self.mountpoint(&self.state(), &request.name))
    }

    async fn get(&self, request: Get) -> Answer<Found> {
        let state = self.state();
        match state.volumes.contains(&request.name) {
            true => Ok(Found {
                volume: Some(self.volume(&state, &request.name)),
            }),
            false => Err("no such volume".into()),
        }
    }

    async fn list(&self) -> Answer<Listed> {
        let state = self.state();
        let volumes = state.volumes.iter().map(|name| self.volume(&state, name));
        Ok(Listed {
            volumes: volumes.collect(),
        })
    }
}
