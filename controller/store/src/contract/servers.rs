//! Real servers for the contract: a child process each, on loopback, with ports and files of its own.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::PATIENCE;

/// A server that can be killed and started again on the same files.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    address: String,
    child: Mutex<Option<Child>>,
    files: TempDir,
}

/// Nobody listens there now. Somebody might before the server does; then the server says so and the test fails.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"));
    listeners.map(|listener| {
        listener
            .local_addr()
            .expect("a bound socket has an address")
            .port()
    })
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

fn cached(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("CNM_TEST_CACHE").unwrap_or_else(|| "/var/cache/cnm-tests".into());
    let file = Path::new(&cache).join(name).join("usr/bin").join(name);
    file.is_file().then_some(file)
}

/// The program, or the reason why the test is skipped.
fn program(name: &str) -> Option<PathBuf> {
    let found = cached(name).or_else(|| on_path(name));
    if found.is_none() {
        assert!(
            std::env::var_os("CNM_TEST_REQUIRE").is_none_or(|require| require != "1"),
            "{name} is required (CNM_TEST_REQUIRE=1) but is neither in the test cache nor on PATH"
        );
        eprintln!("skipped: {name} is neither in the test cache nor on PATH");
    }
    found
}

impl Server {
    /// An etcd with one member; none if the program is missing.
    pub(crate) fn etcd() -> Option<Self> {
        let program = program("etcd")?;
        let [client, peer] = free_ports();
        let (client, peer) = (
            format!("http://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let files = tempfile::tempdir().expect("a directory for etcd");
        let member = format!("default={peer}");
        let arguments = [
            ("--listen-client-urls", client.as_str()),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &member),
            ("--heartbeat-interval", "50"),
            ("--election-timeout", "500"),
            ("--log-level", "error"),
        ];
        let address = client.trim_start_matches("http://");
        Some(Self::started(program, &[], arguments, address, files))
    }

    /// A Consul agent that keeps everything in memory, which saves the second that an election on disk takes.
    pub(crate) fn consul() -> Option<Self> {
        Self::consul_as(&[("-dev", "-server")])
    }

    /// A Consul agent that is a cluster of one and survives a restart.
    pub(crate) fn lasting_consul() -> Option<Self> {
        Self::consul_as(&[("-server", "-bootstrap-expect=1")])
    }

    fn consul_as(kind: &[(&str, &str)]) -> Option<Self> {
        let program = program("consul")?;
        let [http, server, serf] = free_ports::<3>().map(|port| port.to_string());
        let files = tempfile::tempdir().expect("a directory for Consul");
        let arguments = [
            ("-node", "test"),
            ("-bind", "127.0.0.1"),
            ("-client", "127.0.0.1"),
            ("-http-port", &http),
            ("-server-port", &server),
            ("-serf-lan-port", &serf),
            ("-serf-wan-port", "-1"),
            ("-dns-port", "-1"),
            ("-grpc-port", "-1"),
            ("-log-level", "err"),
            (
                "-hcl",
                "performance { raft_multiplier = 1 } disable_update_check = true session_ttl_min = \"1s\"",
            ),
        ];
        let address = format!("127.0.0.1:{http}");
        let flags = kind.iter().copied().chain(arguments);
        Some(Self::started(program, &["agent"], flags, &address, files))
    }

    fn started<'a>(
        program: PathBuf,
        verb: &[&str],
        flags: impl IntoIterator<Item = (&'a str, &'a str)>,
        address: &str,
        files: TempDir,
    ) -> Self {
        let data = ["-data-dir", files.path().to_str().expect("a plain path")];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag, value]);
        let words = verb.iter().copied().chain(flags).chain(data);
        let server = Self {
            program,
            arguments: words.map(str::to_owned).collect(),
            address: address.to_owned(),
            child: Mutex::new(None),
            files,
        };
        server.start();
        server
    }

    /// Where clients find it: `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// Starts it on the files it has. The kernel kills it when the thread that started it ends.
    pub(crate) fn start(&self) {
        let log = std::fs::File::create(self.files.path().with_extension("log")).expect("a log file");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("setpriv starts the server");
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    /// Kills it, as a power failure would.
    pub(crate) fn kill(&self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            child.kill().expect("one's own child can be killed");
            child.wait().expect("one's own child can be waited for");
        }
    }

    /// Stops it where it is: it keeps its connections and answers nothing. A signal is sent before it is felt, and one
    /// thread of a busy machine may answer until then, so this waits for all of them.
    pub(crate) fn pause(&self) {
        let pid = self.signal(Signal::SIGSTOP);
        let deadline = Instant::now() + PATIENCE;
        while !stopped(pid) {
            assert!(Instant::now() < deadline, "the server does not stop");
            std::thread::yield_now();
        }
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) -> Pid {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = child.as_ref().expect("the server runs").id();
        let pid = Pid::from_raw(pid.try_into().expect("a pid is positive"));
        kill(pid, signal).expect("one's own child can be signalled");
        pid
    }
}

/// Whether every thread of a process is stopped.
fn stopped(pid: Pid) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("one's own child is there");
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        state.starts_with(['T', 't'])
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.files.path().with_extension("log"));
    }
}
