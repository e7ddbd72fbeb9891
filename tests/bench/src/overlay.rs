//! Throughput between containers of two hosts, beside a VXLAN segment made by hand between the same hosts.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use netlab::{Host, wait_for};
use serde_json::Value;

use crate::{
    networks::namespace,
    report::{Report, Row, Samples, Unit},
    setup::{Setup, create_network, sleeper},
};

/// Samples of a throughput.
pub(crate) const ROUNDS: usize = 3;

/// One and four TCP streams, in turns.
pub(crate) fn throughput(setup: &Setup, seconds: u16, report: &mut Report) -> anyhow::Result<()> {
    let (a, b) = (setup.a.api(), setup.b.api());
    create_network(&a, "bench-overlay", "overlay")?;
    let find = || b.get("/networks/bench-overlay").map(drop);
    wait_for("B to list the network", Duration::from_secs(10), find)?;
    let [from, to] = [
        sleeper(&a, "bench-from", "bench-overlay")?,
        sleeper(&b, "bench-to", "bench-overlay")?,
    ];
    let address = b.get(&format!("/containers/{to}/json"))?["NetworkSettings"]["Networks"]["bench-overlay"]["IPAddress"]
        .as_str()
        .context("the container has an address")?
        .to_owned();
    let ours = Path2 {
        from: namespace(&a, &from)?,
        to: namespace(&b, &to)?,
        address,
    };
    let by_hand = segment_by_hand(setup)?;
    for streams in [1, 4] {
        let name = format!(
            "overlay between two hosts, {streams} stream{}",
            if streams == 1 { "" } else { "s" }
        );
        let mut row = Row::new(name, "VXLAN by hand", Unit::GigabitsPerSecond);
        for _ in 0..ROUNDS {
            sample(
                setup,
                &by_hand,
                Placed::Anywhere,
                streams,
                seconds,
                &mut row.floor,
            )?;
            sample(setup, &ours, Placed::Anywhere, streams, seconds, &mut row.ours)?;
        }
        report.add(row);
    }
    a.delete(&format!("/containers/{from}?force=1"))?;
    b.delete(&format!("/containers/{to}?force=1"))?;
    let remove = || a.delete("/networks/bench-overlay").map(drop);
    wait_for("the network to be unused", Duration::from_secs(10), remove)
}

/// Two ends and the far one's address.
pub(crate) struct Path2 {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    pub(crate) address: String,
}

/// A server that ends with its one client, or with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the two ends run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// As the scheduler likes.
    Anywhere,
    /// On a CPU each, before all that has no real-time priority: where they land is half of what one sample differs from
    /// the next.
    Apart,
}

impl Placed {
    /// What the command is started by.
    fn before(self, cpu: &str) -> Vec<&str> {
        match self {
            Self::Apart if thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) => {
                vec!["chrt", "-f", "50", "taskset", "-c", cpu]
            }
            Self::Anywhere | Self::Apart => Vec::new(),
        }
    }
}

fn in_namespace(netns: &Path, before: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", netns.display()))
        .args(before)
        .arg("iperf3")
        .args(arguments);
    command
}

/// One TCP measurement from one end to the other.
pub(crate) fn sample(
    setup: &Setup,
    path: &Path2,
    placed: Placed,
    streams: u16,
    seconds: u16,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let host = setup.a.host();
    let mut server = in_namespace(&path.to, &placed.before("1"), &["-s", "-1", "-p", "5201"]);
    let _server = Server(host.spawn({
        server.stdout(Stdio::null());
        server
    })?);
    let (streams, seconds) = (streams.to_string(), seconds.to_string());
    let client = [
        "-c",
        &path.address,
        "-p",
        "5201",
        "-P",
        &streams,
        "-t",
        &seconds,
        "-J",
    ];
    // A client that comes before the server listens says so in its JSON, and ends well.
    let bits = wait_for("iperf3 to connect", Duration::from_secs(10), || {
        let text = host
            .run_command(in_namespace(&path.from, &placed.before("0"), &client), &[])?
            .ok()?;
        let result: Value = serde_json::from_str(&text).context("iperf3's JSON")?;
        let received = &result["end"]["sum_received"]["bits_per_second"];
        received
            .as_f64()
            .with_context(|| format!("iperf3: {}", result["error"]))
    })?;
    samples.push(bits / 1e9);
    Ok(())
}

/// The same shape without us: on each host a namespace with bridge and VXLAN link, and one for the "container".
fn segment_by_hand(setup: &Setup) -> anyhow::Result<Path2> {
    let [a, b] = [setup.a.host(), setup.b.host()];
    let [from, to] = [end_by_hand(setup, a, b, 1)?, end_by_hand(setup, b, a, 2)?];
    Ok(Path2 {
        from,
        to,
        address: "10.99.0.2".to_owned(),
    })
}

fn end_by_hand(setup: &Setup, host: &Host, other: &Host, number: u8) -> anyhow::Result<PathBuf> {
    let names = [format!("hand{number}"), format!("handseg{number}")].map(|name| setup.lab.netns(&name));
    let [own, segment] = &names;
    let host_netns = host
        .netns()
        .file_name()
        .and_then(|name| name.to_str())
        .context("a host's name")?;
    let (local, remote) = (host.address(), other.address());
    for line in [
        format!("netns add {own}"),
        format!("netns add {segment}"),
        format!(
            "-n {host_netns} link add hand0 type vxlan id 99 dstport 4790 local {local} remote {remote} nolearning"
        ),
        format!("-n {host_netns} link set hand0 netns {segment}"),
        format!("-n {segment} link add br0 mtu 1450 type bridge"),
        format!("-n {segment} link set hand0 master br0 mtu 1450 up"),
        format!("-n {segment} link add veth0 mtu 1450 type veth peer name eth0 mtu 1450 netns {own}"),
        format!("-n {segment} link set veth0 master br0 up"),
        format!("-n {segment} link set br0 up"),
        format!("-n {own} addr add 10.99.0.{number}/24 dev eth0"),
        format!("-n {own} link set eth0 up"),
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        setup.lab.segment_host().run("ip", &arguments)?.ok()?;
    }
    Ok(Path::new("/run/netns").join(own))
}
