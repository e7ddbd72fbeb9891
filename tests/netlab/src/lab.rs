//! The lab itself: an underlay segment, and hosts on it.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::{host::Host, process::Finished, sweep};

/// A server's address beyond the hosts' segment: what "the outside" is for a container. From the block for
/// documentation (RFC 5737).
pub const OUTSIDE_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The namespaces' names begin so, with the process that made them: a killed lab is recognised by it.
pub(crate) const PREFIX: &str = "cnmlab";

/// MTU of the underlay, as on Ethernet.
const MTU: &str = "1500";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Hosts joined by an underlay segment, with an "outside" behind it.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    folder: Option<TempDir>,
    hosts: u8,
    kept: bool,
}

impl Lab {
    /// Makes the segment and the outside, after taking down what killed labs left behind.
    ///
    /// # Errors
    /// When this isn't root, `ip` is missing, or the kernel refuses.
    pub fn new() -> anyhow::Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("namespaces need root");
        }
        sweep::dead_labs();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let lab = Self {
            prefix: format!("{PREFIX}-{}-{number}", std::process::id()),
            folder: Some(
                tempfile::Builder::new()
                    .prefix("cnmlab-")
                    .tempdir()
                    .context("making the lab's folder")?,
            ),
            hosts: 0,
            kept: false,
        };
        lab.segment()?;
        lab.outside()?;
        Ok(lab)
    }

    /// Where the lab's files are.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new("/nowhere"), TempDir::path)
    }

    /// Adds a host: a namespace with an address on the segment and the outside as its default gateway.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn host(&mut self, name: &str) -> anyhow::Result<Host> {
        self.hosts += 1;
        let (number, netns) = (self.hosts, self.netns(name));
        let address = Ipv4Addr::new(198, 18, 0, number);
        let port = format!("p{number}");
        let [segment, inside] = [self.netns("segment"), netns.clone()];
        ip(&["netns", "add", &netns])?;
        for line in [
            format!("-n {inside} link set lo up"),
            format!(
                "-n {segment} link add {port} mtu {MTU} type veth peer name eth0 mtu {MTU} netns {inside}"
            ),
            format!("-n {segment} link set {port} master segment up"),
            format!("-n {inside} addr add {address}/24 dev eth0"),
            format!("-n {inside} link set eth0 up"),
            format!("-n {inside} route add default via 198.18.0.254"),
        ] {
            ip(&line.split(' ').collect::<Vec<_>>())?;
        }
        let folder = self.folder().join(name);
        std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Host::new(name, netns_path(&netns), address, folder))
    }

    /// The outside as a host, to run servers and captures on.
    pub fn outside_host(&self) -> Host {
        Host::new(
            "outside",
            netns_path(&self.netns("outside")),
            OUTSIDE_ADDRESS,
            self.folder().to_owned(),
        )
    }

    /// The segment between the hosts, to capture what crosses it.
    pub fn segment_host(&self) -> Host {
        Host::new(
            "segment",
            netns_path(&self.netns("segment")),
            Ipv4Addr::UNSPECIFIED,
            self.folder().to_owned(),
        )
    }

    /// Leaves everything up, until [`Lab::take_down_kept`], and returns the folder.
    ///
    /// # Errors
    /// When that can't be noted; everything is taken down then.
    pub fn keep(mut self) -> anyhow::Result<PathBuf> {
        sweep::mark_kept(&self.prefix, self.folder()).context("noting that the lab is kept")?;
        self.kept = true;
        Ok(self.folder.take().map(TempDir::keep).unwrap_or_default())
    }

    /// Takes down every lab that was kept, and says how many.
    pub fn take_down_kept() -> usize {
        sweep::kept_labs()
    }

    /// The name of one of its namespaces, as `ip netns` lists it.
    pub fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn segment(&self) -> anyhow::Result<()> {
        let segment = self.netns("segment");
        ip(&["netns", "add", &segment])?;
        ip(&["-n", &segment, "link", "set", "lo", "up"])?;
        ip(&[
            "-n", &segment, "link", "add", "segment", "mtu", MTU, "type", "bridge",
        ])?;
        ip(&["-n", &segment, "link", "set", "segment", "up"])
    }

    fn outside(&self) -> anyhow::Result<()> {
        let [segment, outside] = ["segment", "outside"].map(|name| self.netns(name));
        ip(&["netns", "add", &outside])?;
        for line in [
            format!("-n {outside} link set lo up"),
            format!("-n {segment} link add p0 mtu {MTU} type veth peer name eth0 mtu {MTU} netns {outside}"),
            format!("-n {segment} link set p0 master segment up"),
            format!("-n {outside} addr add 198.18.0.254/24 dev eth0"),
            format!("-n {outside} addr add {OUTSIDE_ADDRESS}/32 dev lo"),
            format!("-n {outside} link set eth0 up"),
        ] {
            ip(&line.split(' ').collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept {
            sweep::lab(&self.prefix, self.folder());
        }
    }
}

fn netns_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Runs iproute2's `ip`.
pub(crate) fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("starting ip: is iproute2 installed?")?;
    let finished = Finished {
        command: format!("ip {}", arguments.join(" ")),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    finished.ok().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Leftovers;

    #[test]
    fn hosts_reach_each_other_and_the_outside_and_nothing_is_left() {
        if !nix::unistd::geteuid().is_root() {
            assert!(
                std::env::var_os("CNM_TEST_REQUIRE").is_none(),
                "namespaces need root"
            );
            eprintln!("skipped: namespaces need root");
            return;
        }
        let before = Leftovers::now();
        let mut lab = Lab::new().expect("a lab");
        let [a, b] = ["a", "b"].map(|name| lab.host(name).expect("a host"));
        for target in [b.address(), OUTSIDE_ADDRESS] {
            a.run("ping", &["-c1", "-W5", &target.to_string()])
                .expect("ping runs")
                .ok()
                .expect("an answer");
        }
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60");
        let mut forgotten = b.spawn(sleeper).expect("started");
        let own = lab.netns("");
        drop(lab);
        let gone = std::fs::read_to_string(format!("/proc/{}/stat", forgotten.id()));
        assert!(
            gone.is_ok_and(|stat| stat.contains(") Z ")),
            "what ran in the lab was killed and is ours to collect"
        );
        forgotten.wait().expect("collected");
        let left: Vec<_> = Leftovers::now()
            .since(&before)
            .into_iter()
            .filter(|item| item.contains(&own))
            .collect();
        assert_eq!(left, Vec::<String>::new());
    }
}
