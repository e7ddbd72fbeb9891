//! Names asked for in a sandbox: by ten clients with dnsperf, and one after another; beside a bare server there.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    inside,
    overlay::ROUNDS,
    report::{Report, Row, Unit, milliseconds},
    setup::Setup,
};

/// Queries of one sample, one after another.
const SERIAL: usize = 5_000;
/// Where the bare server answers.
const BARE: u16 = 5353;
/// The names asked for.
const NAMES: [&str; 2] = ["segment-to", "segment-from"];

/// Both rows, in turns. The sandbox's containers have [`NAMES`].
pub(crate) fn asked(setup: &Setup, netns: &Path, seconds: u16, report: &mut Report) -> anyhow::Result<()> {
    let bare = inside::run(netns, || Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, BARE))?))?;
    std::thread::spawn(move || serve(&bare));
    let queries = setup.a.host().folder().join("queries");
    fs::write(&queries, NAMES.map(|name| format!("{name} A\n")).concat())?;
    let mut many = Row::new(
        "names in a sandbox, 10 clients",
        "bare server, one thread",
        Unit::QueriesPerSecond,
    );
    let mut one = Row::new(
        "names in a sandbox, one after another, median",
        "bare server",
        Unit::Microseconds,
    );
    for _ in 0..ROUNDS {
        many.floor
            .push(dnsperf(setup, netns, "127.0.0.1", BARE, seconds, &queries)?);
        many.ours
            .push(dnsperf(setup, netns, "127.0.0.11", 53, seconds, &queries)?);
        one.floor.push(serial(netns, (Ipv4Addr::LOCALHOST, BARE).into())?);
        one.ours
            .push(serial(netns, (Ipv4Addr::new(127, 0, 0, 11), 53).into())?);
    }
    report.add(many);
    report.add(one);
    Ok(())
}

/// Sends each query back as its answer, without a record; an empty one ends it.
fn serve(socket: &UdpSocket) {
    let mut message = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut message) {
        if length < 12 {
            return;
        }
        message[2] |= 0x80;
        // A client that has gone needs no answer.
        let _ = socket.send_to(&message[..length], client);
    }
}

fn dnsperf(
    setup: &Setup,
    netns: &Path,
    server: &str,
    port: u16,
    seconds: u16,
    queries: &Path,
) -> anyhow::Result<f64> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.display()));
    command.args(["dnsperf", "-s", server, "-p", &port.to_string(), "-c", "10"]);
    command.args(["-l", &seconds.to_string(), "-d"]).arg(queries);
    let text = setup
        .a
        .host()
        .run_command(command, &[])?
        .ok()
        .context("dnsperf")?;
    let figure = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
    let lost = figure("Queries lost:").context("dnsperf's losses")?.trim();
    anyhow::ensure!(lost.starts_with("0 "), "queries were lost: {lost}");
    Ok(figure("Queries per second:")
        .context("dnsperf's figure")?
        .trim()
        .parse()?)
}

/// Microseconds from a query to its answer, the median of many.
fn serial(netns: &Path, server: SocketAddr) -> anyhow::Result<f64> {
    inside::run(netns, move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let query = query(NAMES[0]);
        let mut taken = Vec::with_capacity(SERIAL);
        let mut answer = [0; 512];
        for _ in 0..SERIAL {
            let start = Instant::now();
            socket.send(&query)?;
            let length = socket.recv(&mut answer).context("no answer")?;
            taken.push(milliseconds(start.elapsed()) * 1000.0);
            anyhow::ensure!(
                length >= query.len() && answer[3] & 0x0f == 0,
                "the name isn't known"
            );
        }
        taken.sort_by(f64::total_cmp);
        Ok(taken[SERIAL / 2])
    })
}

/// A question for a name's IPv4 address.
fn query(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}
