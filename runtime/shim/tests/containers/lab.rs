//! One test's own directory, cgroup parent and image; everything goes when it is dropped.

use std::{
    fs,
    future::Future,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use model::ContainerId;
use netlab::Programs;
use runtime::{
    Attach, Bundle, Exec, ExecSpec, Exit, LogConfig, Result, Runtime, RuntimeConfig, Shim, Streams, rootfs,
    spec::{self, ContainerConfig, HostFacts, ImageDefaults, Place, exec::ExecConfig},
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// No wait in a test is longer.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) runtime: Runtime,
    pub(crate) host: HostFacts,
}

/// A container that was opened.
pub(crate) struct Made {
    pub(crate) shim: Shim,
    pub(crate) dir: PathBuf,
    pub(crate) spec: oci_spec::runtime::Spec,
    host: HostFacts,
}

/// How a container is opened.
#[derive(Clone, Copy, Default)]
pub(crate) struct Io {
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
}

/// Runs a test with a lab, or says why not.
pub(crate) fn with_lab<F: Future<Output = ()>>(test: impl FnOnce(Lab) -> F) {
    let reason = if !rustix::process::geteuid().is_root() {
        Some("containers need root")
    } else if Programs::peer("busybox").is_err() {
        Some("containers need busybox: \"tests/packages.sh busybox\" brings it")
    } else {
        None
    };
    if let Some(reason) = reason {
        assert!(std::env::var_os("CNM_TEST_REQUIRE").is_none(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let lab = Lab::new();
        tokio::time::timeout(2 * DEADLINE, test(lab))
            .await
            .expect("the test in time");
    });
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cnm-runtime-").tempdir().unwrap();
        make_image(&dir.path().join("image"));
        let runtime = Runtime::new(config(dir.path())).unwrap();
        Self {
            runtime,
            host: HostFacts::read(),
            dir,
        }
    }

    pub(crate) fn config(&self) -> RuntimeConfig {
        config(self.path())
    }

    pub(crate) fn with(mut self, runtime: Runtime) -> Self {
        self.runtime = runtime;
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Another handle as a restarted daemon would have it.
    pub(crate) async fn adopt(&self, container: &Made) -> Option<Shim> {
        self.runtime
            .adopt(container.shim.id(), &container.dir)
            .await
            .unwrap()
    }

    pub(crate) async fn open(&self, config: ContainerConfig, io: Io) -> Made {
        self.try_open(ContainerId::random(), config, io).await.unwrap()
    }

    pub(crate) async fn try_open(&self, id: ContainerId, config: ContainerConfig, io: Io) -> Result<Made> {
        let dir = self.path().join(id.short());
        let rootfs = rootfs::mount(&[self.path().join("image")], &dir)?;
        let place = Place {
            rootfs,
            cgroup: self.runtime.cgroup(&id),
            users: None,
        };
        let config = ContainerConfig {
            hostname: "box".into(),
            tty: io.tty,
            ..config
        };
        let spec = spec::prepare(&config, &ImageDefaults::default(), &place, &self.host)?;
        let bundle = Bundle {
            id,
            dir: dir.clone(),
            spec: spec.clone(),
            tty: io.tty,
            open_stdin: io.stdin,
            stdin_once: io.stdin,
            log: LogConfig::file(dir.join("log")),
            init: false,
        };
        let shim = self.runtime.open(bundle).await?;
        Ok(Made {
            shim,
            dir,
            spec,
            host: self.host.clone(),
        })
    }

    /// Runs a shell script to its end; its output is what was attached to before the start.
    pub(crate) async fn run(&self, config: ContainerConfig, script: &str) -> (i32, String) {
        let container = self
            .open(
                ContainerConfig {
                    cmd: Some(shell(script)),
                    ..config
                },
                Io::default(),
            )
            .await;
        let streams = container.shim.attach(OUTPUT).await.unwrap();
        container.shim.start().await.unwrap();
        let output = unframed(&read_all(streams.output).await);
        let exit = container.shim.wait().await.unwrap();
        container.end().await;
        (exit.code, output)
    }
}

impl Made {
    pub(crate) async fn start(&self) -> u32 {
        self.shim.start().await.unwrap()
    }

    pub(crate) async fn exec(&self, config: ExecConfig, stdin: bool) -> Exec {
        let pid = self.shim.state().await.unwrap().pid.unwrap();
        let process = spec::exec::process(&self.spec, pid, &config, &self.host).unwrap();
        let id = ContainerId::random().to_string();
        let spec = ExecSpec {
            id,
            process,
            tty: config.tty,
            stdin,
            privileged: config.privileged,
        };
        self.shim.exec(spec).await.unwrap()
    }

    /// Runs a command in it to its end.
    pub(crate) async fn exec_to_end(&self, config: ExecConfig) -> (Exit, String) {
        let exec = self.exec(config, false).await;
        let streams = exec.attach(OUTPUT).await.unwrap();
        exec.start().await.unwrap();
        let output = unframed(&read_all(streams.output).await);
        (exec.wait().await.unwrap(), output)
    }

    /// Deletes it, and makes sure that nothing is left.
    pub(crate) async fn end(self) {
        self.shim.delete().await.unwrap();
        rootfs::unmount(&self.dir).unwrap();
        let id = self.shim.id().to_string();
        assert!(!mentions("/proc/self/mountinfo", &id), "a mount is left");
        assert_eq!(cgroups(&id), Vec::<PathBuf>::new(), "a cgroup is left");
        until("all processes are gone", || processes(&id).is_empty()).await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What a failed test left, so that it is not left on the machine.
        let name = self.dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        for pid in processes(&name) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        for entry in fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = rootfs::unmount(&path);
            if let Some(id) = path.join("config.json").exists().then(|| id_in(&path)).flatten()
                && let Ok(cgroup) = shim_protocol::cgroup::Cgroup::locate(&self.runtime.cgroup(&id))
            {
                cgroup.kill();
                let start = Instant::now();
                while !cgroup.remove() && start.elapsed() < Duration::from_secs(5) {
                    std::thread::yield_now();
                }
            }
        }
        self.runtime.remove_cgroup_parent();
    }
}

fn id_in(dir: &Path) -> Option<ContainerId> {
    let spec = oci_spec::runtime::Spec::load(dir.join("config.json")).ok()?;
    spec.linux()
        .as_ref()?
        .cgroups_path()
        .as_ref()?
        .file_name()?
        .to_str()?
        .parse()
        .ok()
}

fn config(dir: &Path) -> RuntimeConfig {
    RuntimeConfig {
        exec_root: dir.join("run"),
        shim: env!("CARGO_BIN_EXE_cnm-shim").into(),
        cgroup_parent: format!("/{}", dir.file_name().unwrap().to_str().unwrap()),
    }
}

/// Both output streams.
pub(crate) const OUTPUT: Attach = Attach {
    stdin: false,
    stdout: true,
    stderr: true,
};

pub(crate) fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).into()
}

pub(crate) fn command(words: &str) -> ContainerConfig {
    ContainerConfig {
        cmd: Some(words.split(' ').map(str::to_owned).collect()),
        ..Default::default()
    }
}

pub(crate) fn script(script: &str) -> ContainerConfig {
    ContainerConfig {
        cmd: Some(shell(script)),
        ..Default::default()
    }
}

fn make_image(image: &Path) {
    for directory in ["bin", "etc", "tmp", "proc", "sys", "dev", "home/web"] {
        fs::create_dir_all(image.join(directory)).unwrap();
    }
    fs::copy(Programs::peer("busybox").unwrap(), image.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "true", "false", "cat", "echo", "sleep", "id", "stty", "tty", "ps", "dd", "head", "hostname",
        "unshare", "mount", "grep", "wc", "kill", "env", "pwd", "sync", "ls", "tail", "printf", "seq",
        "trap", "mkdir", "tr", "ip", "chmod", "touch", "yes",
    ] {
        symlink("busybox", image.join("bin").join(applet)).unwrap();
    }
    fs::write(
        image.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/home/web:/bin/sh\n",
    )
    .unwrap();
    fs::write(image.join("etc/group"), "root:x:0:\nweb:x:33:\naudio:x:29:web\n").unwrap();
    fs::write(image.join("bin/garbage"), "no program at all").unwrap();
    fs::write(image.join("bin/plain"), "").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(image.join("bin/garbage"), fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) async fn read_all(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokio::time::timeout(DEADLINE, from.read_to_end(&mut bytes))
        .await
        .expect("the end in time")
        .unwrap();
    bytes
}

/// Reads until the output has the text.
pub(crate) async fn read_until(streams: &mut Streams, text: &str) -> String {
    let mut all = Vec::new();
    let mut bytes = [0; 4096];
    let reading = async {
        while !String::from_utf8_lossy(&all).contains(text) {
            let count = streams.output.read(&mut bytes).await.unwrap();
            assert_ne!(
                count,
                0,
                "the end came before {text:?}, after {:?}",
                String::from_utf8_lossy(&all)
            );
            all.extend_from_slice(&bytes[..count]);
        }
    };
    let read = tokio::time::timeout(DEADLINE, reading).await;
    let all = String::from_utf8_lossy(&all).into_owned();
    assert!(read.is_ok(), "waiting for {text:?} in {all:?}");
    all
}

/// The frames of a stream: which stream, and what.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let (content, rest) = rest.split_at(length);
        frames.push((header[0], content));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a header");
    frames
}

pub(crate) fn unframed(bytes: &[u8]) -> String {
    let content: Vec<u8> = frames(bytes)
        .into_iter()
        .flat_map(|(_, content)| content.to_vec())
        .collect();
    String::from_utf8_lossy(&content).into_owned()
}

/// Waits for a condition of the machine's.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn mentions(file: &str, text: &str) -> bool {
    fs::read_to_string(file).unwrap_or_default().contains(text)
}

/// Processes with the text in their command line.
pub(crate) fn processes(text: &str) -> Vec<rustix::process::Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| mentions(&format!("/proc/{pid}/cmdline"), text))
        .filter_map(rustix::process::Pid::from_raw)
        .filter(|pid| *pid != rustix::process::getpid())
        .collect()
}

/// Cgroup directories with that name, anywhere.
pub(crate) fn cgroups(name: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                if path.file_name().is_some_and(|one| one == name) {
                    found.push(path.clone());
                }
                walk(&path, name, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), name, &mut found);
    found
}
