//! Loads that go on while something happens: HTTP requests on short connections, iperf3 and dnsperf. Each says how far it
//! is, and in the end what failed.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::Signal,
};

use crate::{daemon::Daemon, host::Host, process::Process, wait::wait_for};

/// Between two requests of one load: many of them together leave half of a small machine to what is tested.
const PACE: Duration = Duration::from_millis(10);
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// For what goes on at all.
const SOON: Duration = Duration::from_secs(60);

/// What a load is asked while it runs.
pub trait Load {
    /// How much it has done so far: requests, or seconds with figures.
    fn done(&mut self) -> u64;

    /// What went wrong so far.
    fn failures(&mut self) -> Vec<String>;

    /// Whether it has ended by itself, which none should.
    fn ended(&mut self) -> bool {
        false
    }

    /// How it is called, for messages.
    fn name(&self) -> &str;

    /// Waits until it has done so much.
    ///
    /// # Errors
    /// When it ends, or is not there after a minute: with what went wrong.
    fn reaches(&mut self, goal: u64) -> anyhow::Result<()> {
        let name = self.name().to_owned();
        let going = wait_for(&format!("{name} to go on"), SOON, || {
            let (done, ended) = (self.done(), self.ended());
            ensure!(
                done >= goal || ended,
                "{done} of {goal} done: {:?}",
                self.failures()
            );
            Ok(!ended)
        })?;
        ensure!(going, "{name} has ended: {:?}", self.failures());
        Ok(())
    }
}

/// Waits until each of these has done so much more than now. They go on at the same time.
///
/// # Errors
/// As [`Load::reaches`].
pub fn go_on<'a>(loads: impl IntoIterator<Item = (&'a mut dyn Load, u64)>) -> anyhow::Result<()> {
    let goals: Vec<_> = loads
        .into_iter()
        .map(|(load, more)| {
            let goal = load.done() + more;
            (load, goal)
        })
        .collect();
    goals.into_iter().try_for_each(|(load, goal)| load.reaches(goal))
}

/// One HTTP request after the other, each on a connection of its own; every one must be answered 200 with the same body.
#[derive(Debug)]
pub struct HttpLoad {
    name: String,
    told: Arc<Told>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Told {
    began: Instant,
    answered: AtomicU64,
    ends: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl HttpLoad {
    /// Starts it in a namespace.
    ///
    /// # Errors
    /// When the namespace can't be opened.
    pub fn start(name: &str, netns: &Path, to: SocketAddr, body: &str) -> anyhow::Result<Self> {
        let namespace = File::open(netns).with_context(|| format!("opening {}", netns.display()))?;
        let told = Arc::new(Told {
            began: Instant::now(),
            answered: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            failures: Mutex::default(),
        });
        let (telling, body) = (Arc::clone(&told), body.to_owned());
        let thread = thread::spawn(move || {
            if let Err(error) = setns(namespace, CloneFlags::CLONE_NEWNET) {
                return telling.fail(&format!("entering the namespace: {error}"));
            }
            while !telling.ends.load(Ordering::Relaxed) {
                let asked = Instant::now();
                match request(to, &body) {
                    Ok(()) => drop(telling.answered.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => telling.fail(&format!("{error:#} (it took {:?})", asked.elapsed())),
                }
                thread::sleep(PACE);
            }
        });
        Ok(Self {
            name: name.to_owned(),
            told,
            thread: Some(thread),
        })
    }
}

impl Told {
    fn fail(&self, text: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (answered, since) = (self.answered.load(Ordering::Relaxed), self.began.elapsed());
        failures.push(format!("after {answered} answers and {since:.1?}: {text}"));
    }
}

fn request(to: SocketAddr, body: &str) -> anyhow::Result<()> {
    let mut stream =
        TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("connecting to {to}"))?;
    let own = stream.local_addr()?.port();
    converse(&mut stream, body).with_context(|| format!("from port {own} to {to}"))
}

fn converse(stream: &mut TcpStream, body: &str) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        .context("asking")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("reading")?;
    let whole = answer.split(' ').nth(1) == Some("200") && answer.trim_end().ends_with(body);
    ensure!(whole, "answered {answer:?}");
    Ok(())
}

impl Load for HttpLoad {
    fn done(&mut self) -> u64 {
        self.told.answered.load(Ordering::Relaxed)
    }

    fn failures(&mut self) -> Vec<String> {
        let failures = self.told.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for HttpLoad {
    fn drop(&mut self) {
        self.told.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A process that tells figures each second in its log.
#[derive(Debug)]
struct Telling {
    process: Process,
    log_before: usize,
}

impl Telling {
    fn start(host: &Host, name: &str, command: Command) -> anyhow::Result<Self> {
        let log_before = std::fs::metadata(host.folder().join(format!("{name}.log")))
            .map_or(0, |log| usize::try_from(log.len()).unwrap_or(0));
        Ok(Self {
            process: host.start(name, command)?,
            log_before,
        })
    }

    fn log(&self) -> String {
        self.process
            .log()
            .get(self.log_before..)
            .unwrap_or_default()
            .to_owned()
    }
}

/// A command inside a namespace, given as a process's or as a pinned one.
fn within(netns: &Path, line: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.display()));
    command.args(line.split(' ').filter(|word| !word.is_empty()));
    command
}

/// One TCP stream from a server to its client, bounded, with the bytes that arrive in each second.
///
/// Not both directions at once: iperf3 tells its streams apart by the order in which they are accepted, which a relay does
/// not keep.
#[derive(Debug)]
pub struct IperfLoad {
    name: String,
    client: Telling,
    _server: Telling,
}

impl IperfLoad {
    /// Serves `port` in one namespace and streams to it from another; `to` is where the client finds it.
    ///
    /// # Errors
    /// When iperf3 is missing or the server does not listen.
    pub fn start(
        host: &Host,
        name: &str,
        (server, port): (&Path, u16),
        (client, to): (&Path, SocketAddr),
    ) -> anyhow::Result<Self> {
        let line = format!("iperf3 -s --forceflush -p {port}");
        let serving = Telling::start(host, &format!("iperf-server-{name}"), within(server, &line))?;
        wait_for("iperf3 to listen", SOON, || {
            ensure!(serving.log().contains("Server listening"), "{}", serving.log());
            Ok(())
        })?;
        let line = format!(
            "iperf3 -c {} -p {} -R -b 20M -l 16K -i 1 -t 300 -f k --forceflush --connect-timeout 5000",
            to.ip(),
            to.port()
        );
        Ok(Self {
            name: name.to_owned(),
            client: Telling::start(host, &format!("iperf-{name}"), within(client, &line))?,
            _server: serving,
        })
    }
}

/// Bytes of each whole second, as iperf3 tells them. The last one of a stream that was interrupted is shorter, and may be
/// empty.
fn seconds(log: &str) -> Vec<f64> {
    let sums = |line: &&str| line.ends_with("sender") || line.ends_with("receiver");
    log.lines()
        .filter(|line| !sums(line))
        .filter_map(second)
        .collect()
}

/// `[  5]   0.00-1.00   sec  2.50 MBytes  20963 Kbits/sec`
fn second(line: &str) -> Option<f64> {
    let (_, rest) = line.strip_prefix('[')?.split_once(']')?;
    let mut words = rest.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let length = to.parse::<f64>().ok()? - from.parse::<f64>().ok()?;
    let bytes = words.nth(1)?.parse().ok()?;
    (words.next()?.ends_with("Bytes") && length > 0.5).then_some(bytes)
}

impl Load for IperfLoad {
    fn done(&mut self) -> u64 {
        seconds(&self.client.log()).len() as u64
    }

    fn failures(&mut self) -> Vec<String> {
        let log = self.client.log();
        // One alone may be the machine's: a client that is held up tells of the time afterwards, and of no bytes.
        let mut failures: Vec<String> = seconds(&log)
            .windows(2)
            .enumerate()
            .filter(|(_, two)| two.iter().all(|bytes| *bytes <= 0.0))
            .map(|(at, _)| format!("nothing in intervals {at} and {}", at + 1))
            .collect();
        failures.extend(
            log.lines()
                .filter(|line| line.contains("error"))
                .map(str::to_owned),
        );
        if self.ended() {
            failures.push(format!("the stream has ended: {log}"));
        }
        failures
    }

    fn ended(&mut self) -> bool {
        !self.client.process.running()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// What dnsperf counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queries {
    /// Answered.
    pub completed: u64,
    /// Not answered within five seconds.
    pub lost: u64,
    /// How often each code was answered.
    pub codes: Vec<(String, u64)>,
}

/// dnsperf against the name service of a container.
#[derive(Debug)]
pub struct DnsLoad {
    name: String,
    process: Telling,
}

impl DnsLoad {
    /// Asks `queries` (dnsperf's lines), again and again, in a namespace.
    ///
    /// # Errors
    /// When dnsperf is missing.
    pub fn start(host: &Host, name: &str, netns: &Path, queries: &str) -> anyhow::Result<Self> {
        let file: PathBuf = host.folder().join(format!("queries-{name}"));
        std::fs::write(&file, queries)?;
        let line = format!(
            "dnsperf -s 127.0.0.11 -c 4 -q 20 -Q 300 -t 5 -S 1 -l 300 -d {}",
            file.display()
        );
        Ok(Self {
            name: name.to_owned(),
            process: Telling::start(host, &format!("dnsperf-{name}"), within(netns, &line))?,
        })
    }

    /// Ends it and gives its own account.
    ///
    /// # Errors
    /// When it tells none.
    pub fn finish(mut self) -> anyhow::Result<Queries> {
        self.process.process.signal(Signal::SIGINT)?;
        let account = wait_for("dnsperf's account", SOON, || {
            let log = self.process.log();
            ensure!(!self.process.process.running(), "it still runs: {log}");
            Ok(log)
        })?;
        queries(&account).with_context(|| format!("dnsperf said {account}"))
    }
}

fn queries(log: &str) -> anyhow::Result<Queries> {
    let figure = |name: &str| -> anyhow::Result<&str> {
        let line = log.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).with_context(|| format!("no figure {name:?}"))
    };
    let number = |name: &str| -> anyhow::Result<u64> {
        Ok(figure(name)?.split(' ').next().unwrap_or_default().parse()?)
    };
    let mut codes = Vec::new();
    for code in figure("Response codes:")?.split(", ") {
        let mut words = code.split(' ');
        let (Some(name), Some(count)) = (words.next(), words.next()) else {
            bail!("codes {code:?}");
        };
        codes.push((name.to_owned(), count.parse()?));
    }
    Ok(Queries {
        completed: number("Queries completed:")?,
        lost: number("Queries lost:")?,
        codes,
    })
}

impl Load for DnsLoad {
    fn done(&mut self) -> u64 {
        let log = self.process.log();
        let told = log.lines().filter(|line| {
            let rate = line
                .split_once(": ")
                .and_then(|(_, rate)| rate.trim().parse::<f64>().ok());
            rate.is_some_and(|rate| rate > 0.0)
        });
        told.count() as u64
    }

    fn failures(&mut self) -> Vec<String> {
        let log = self.process.log();
        let bad =
            |line: &&str| line.contains("Warning") || line.contains("Timeout") || line.contains("Error");
        let mut failures: Vec<String> = log.lines().filter(bad).map(str::to_owned).collect();
        if self.ended() {
            failures.push(format!("it has ended: {log}"));
        }
        failures
    }

    fn ended(&mut self) -> bool {
        !self.process.process.running()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Daemon {
    /// The network namespace of a running container.
    ///
    /// # Errors
    /// When it doesn't run.
    pub fn netns_of(&self, container: &str) -> anyhow::Result<PathBuf> {
        let pid = self.ok(&format!("inspect -f {{{{.State.Pid}}}} {container}"))?;
        ensure!(pid != "0", "{container} doesn't run");
        Ok(PathBuf::from(format!("/proc/{pid}/ns/net")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iperfs_whole_seconds_are_read() {
        let log = "\
[ ID] Interval           Transfer     Bitrate
[  5]   0.00-1.00   sec  2.39 MBytes  20039 Kbits/sec
[  5]   1.00-2.00   sec  0.00 Bytes  0.00 Kbits/sec
[  5]   2.00-2.02   sec  0.00 Bytes  0.00 Kbits/sec
[ ID] Interval           Transfer     Bitrate
[  5]   0.00-2.02   sec  0.00 Bytes  0.00 Kbits/sec                  sender
[  5]   0.00-2.02   sec  2.39 MBytes  20039 Kbits/sec                  receiver";
        assert_eq!(seconds(log), [2.39, 0.0]);
    }

    #[test]
    fn dnsperfs_account_is_read() {
        let log = "
Statistics:

  Queries sent:         600
  Queries completed:    598 (99.67%)
  Queries lost:         2 (0.33%)

  Response codes:       NOERROR 590 (98.66%), NXDOMAIN 8 (1.34%)
";
        let read = queries(log).expect("an account");
        assert_eq!((read.completed, read.lost), (598, 2));
        assert_eq!(
            read.codes,
            [("NOERROR".to_owned(), 590), ("NXDOMAIN".to_owned(), 8)]
        );
    }
}
