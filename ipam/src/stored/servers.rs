//! Real stores for the contract: a file, and etcd and Consul as child processes on loopback.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use store::{Key, Store, consul::Consul, embedded::Embedded, etcd::Etcd};
use tempfile::TempDir;

/// A server that ends with the test. Every store made on it has a prefix of its own.
pub(super) struct Server {
    child: Child,
    address: String,
    connect: fn(&[String], &str) -> Arc<dyn Store>,
    made: AtomicUsize,
    _files: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(super) fn etcd() -> Option<Self> {
        let program = program("etcd")?;
        let [client, peer] = free_ports().map(|port| format!("http://127.0.0.1:{port}"));
        let files = tempfile::tempdir().expect("a folder for etcd");
        let mut command = Command::new(program);
        command
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args([
                "--initial-cluster",
                &format!("default={peer}"),
                "--log-level",
                "error",
            ])
            .arg("--data-dir")
            .arg(files.path());
        let address = client.trim_start_matches("http://").to_owned();
        Some(Self::started(command, address, files, |addresses, prefix| {
            Arc::new(Etcd::connect(addresses, prefix))
        }))
    }

    pub(super) fn consul() -> Option<Self> {
        let program = program("consul")?;
        let [http, server, serf] = free_ports().map(|port: u16| port.to_string());
        let files = tempfile::tempdir().expect("a folder for Consul");
        let mut command = Command::new(program);
        command
            .args([
                "agent",
                "-server",
                "-bootstrap-expect=1",
                "-node=test",
                "-bind=127.0.0.1",
                "-client=127.0.0.1",
            ])
            .args([
                "-http-port",
                &http,
                "-server-port",
                &server,
                "-serf-lan-port",
                &serf,
                "-serf-wan-port=-1",
            ])
            .args(["-dns-port=-1", "-grpc-port=-1", "-log-level=err"])
            .args([
                "-hcl",
                "performance { raft_multiplier = 1 } disable_update_check = true",
            ])
            .arg("-data-dir")
            .arg(files.path());
        let address = format!("127.0.0.1:{http}");
        Some(Self::started(command, address, files, |addresses, prefix| {
            Arc::new(Consul::connect(addresses, prefix))
        }))
    }

    fn started(
        mut command: Command,
        address: String,
        files: TempDir,
        connect: fn(&[String], &str) -> Arc<dyn Store>,
    ) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self {
            child: child.expect("the server's program can be started"),
            address,
            connect,
            made: AtomicUsize::new(0),
            _files: files,
        }
    }

    /// A store of its own on the server.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        (self.connect)(std::slice::from_ref(&self.address), &format!("ipam{number}"))
    }

    /// Waits until the server answers.
    pub(super) async fn ready(&self) {
        let (store, deadline) = (self.store(), Instant::now() + Duration::from_secs(30));
        let probe = || store::Txn::new().put(Key::root("probe"), Vec::new());
        while let Err(error) = store.commit(probe()).await {
            assert!(Instant::now() < deadline, "the server never answers: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A file, which goes with the folder.
pub(super) fn embedded(folder: &Path) -> Arc<dyn Store> {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    Arc::new(Embedded::open(folder.join(format!("{number}.redb"))).expect("a new file opens"))
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"));
    listeners.map(|listener| {
        listener
            .local_addr()
            .expect("a bound socket has an address")
            .port()
    })
}

fn program(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("CNM_TEST_CACHE").unwrap_or_else(|| "/var/cache/cnm-tests".into());
    let cached = Path::new(&cache).join(name).join("usr/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(cached).chain(std::env::split_paths(&path).map(|folder| folder.join(name)));
    let found = found.into_iter().find(|file| file.is_file());
    if found.is_none() {
        let required = std::env::var_os("CNM_TEST_REQUIRE").is_some_and(|require| require == "1");
        assert!(
            !required,
            "{name} is required (CNM_TEST_REQUIRE=1) but is not there"
        );
        eprintln!("skipped: {name} is neither in the test cache nor on PATH");
    }
    found
}
