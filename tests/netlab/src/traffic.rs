//! Real packets: a web server in a container, datagrams that come back, and clients that ask from any host of the lab.

use std::{
    fs::File,
    net::{SocketAddr, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::sched::{CloneFlags, setns};

use crate::{daemon::Daemon, host::Host, programs::Programs, wait::wait_for};

/// A packet that is dropped is waited for so long; one that is answered takes milliseconds.
const PATIENCE: &str = "2";

/// For what is about to work.
const SOON: Duration = Duration::from_secs(10);

impl Host {
    /// What a web server answers, asked from this host.
    ///
    /// # Errors
    /// When it doesn't answer within two seconds, or with an error.
    pub fn fetch(&self, url: &str) -> anyhow::Result<String> {
        let busybox = Programs::peer("busybox")?;
        let line = ["timeout", "5", "wget", "-q", "-O", "-", "-T", PATIENCE, url];
        self.run(busybox, &line)?.ok()
    }

    /// Nothing for a web server that can't be reached from this host.
    ///
    /// # Errors
    /// When it answers.
    pub fn no_fetch(&self, url: &str) -> anyhow::Result<()> {
        match self.fetch(url) {
            Err(_) => Ok(()),
            Ok(said) => anyhow::bail!("{} reaches {url}, which answers {said:?}", self.name()),
        }
    }

    /// Asks again and again, for what may take a moment.
    ///
    /// # Errors
    /// When there is still no answer after `limit`.
    pub fn fetch_within(&self, limit: Duration, url: &str) -> anyhow::Result<String> {
        wait_for(url, limit, || self.fetch(url))
    }

    /// Sends a datagram and gives what comes back.
    ///
    /// # Errors
    /// When nothing does within two seconds.
    pub fn datagram(&self, to: SocketAddr, text: &str) -> anyhow::Result<String> {
        inside(self.netns(), || {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            socket.connect(to)?;
            socket.send(text.as_bytes())?;
            let mut answer = [0; 1500];
            let length = socket
                .recv(&mut answer)
                .with_context(|| format!("no datagram from {to}"))?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        })
    }
}

impl Daemon {
    /// Runs a container with a web server on port 80 that answers with its name; `flags` go before the image. It
    /// listens when this returns.
    ///
    /// # Errors
    /// When it can't be started or does not listen.
    pub fn web(&self, name: &str, flags: &str) -> anyhow::Result<String> {
        self.web_on(name, 80, flags)
    }

    /// The same on another port.
    ///
    /// # Errors
    /// As [`Daemon::web`].
    pub fn web_on(&self, name: &str, port: u16, flags: &str) -> anyhow::Result<String> {
        let serve = format!("echo {name} > /var/www/index.html; exec httpd -f -p {port} -h /var/www");
        let mut line = vec!["run", "-d", "--name", name];
        line.extend(flags.split(' ').filter(|word| !word.is_empty()));
        line.extend(["busybox", "sh", "-c", &serve]);
        let id = self.docker(&line)?.ok()?;
        let inside = format!("exec {name} wget -q -O - -T 2 http://127.0.0.1:{port}/");
        self.eventually(&inside)?;
        Ok(id)
    }

    /// Answers each datagram to a port of a running container with the same datagram, until the container's end.
    ///
    /// # Errors
    /// When the port can't be bound there.
    pub fn udp_echo(&self, container: &str, port: u16) -> anyhow::Result<()> {
        let pid = self.ok(&format!("inspect -f {{{{.State.Pid}}}} {container}"))?;
        let socket = inside(Path::new(&format!("/proc/{pid}/ns/net")), || {
            let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
            Ok(UdpSocket::bind(any).or_else(|_| UdpSocket::bind(("0.0.0.0", port)))?)
        })?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let alive = format!("/proc/{pid}");
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while Path::new(&alive).exists() {
                // A time-out is the moment to see whether the container still runs.
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        });
        Ok(())
    }

    /// The address that a container has on a network.
    ///
    /// # Errors
    /// When it has none.
    pub fn address_of(&self, container: &str, network: &str) -> anyhow::Result<String> {
        let format = format!("inspect -f {{{{.NetworkSettings.Networks.{network}.IPAddress}}}} {container}");
        let address = self.ok(&format)?;
        ensure!(!address.is_empty(), "{container} has no address on {network}");
        Ok(address)
    }

    /// Runs our own command line with a line of arguments, which must succeed.
    ///
    /// # Errors
    /// When it fails.
    pub fn cnm_ok(&self, line: &str) -> anyhow::Result<String> {
        self.cnm(&line.split(' ').collect::<Vec<_>>())?.ok()
    }

    /// The same, repeated until it succeeds.
    ///
    /// # Errors
    /// When it still fails after ten seconds.
    pub fn cnm_eventually(&self, line: &str) -> anyhow::Result<String> {
        wait_for(line, SOON, || self.cnm_ok(line))
    }
}

/// Runs something in a namespace: on a thread of its own, because a namespace belongs to a thread.
pub(crate) fn inside<T: Send>(
    netns: &Path,
    act: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let namespace = File::open(netns).with_context(|| format!("opening {}", netns.display()))?;
    thread::scope(|scope| {
        let acting = scope.spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("entering a namespace")?;
            act()
        });
        acting
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
