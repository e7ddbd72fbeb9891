//! A client on the host that asks a container's server: at its published port on loopback, directly, and by hand.
//!
//! 127.0.0.1 cannot be quite as fast as directly: the kernel translates every packet both ways. How much of the
//! difference is that, and not our rules, two rules by hand tell; and how much any relay costs, the least one.

mod by_hand;

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::{
    inside,
    networks::namespace,
    overlay::ROUNDS,
    report::{Report, Row, Unit},
    setup::{IMAGE, Setup, create_network, text},
};

/// Asked directly.
const DIRECT: u16 = 8081;
/// Who asks where, the container's port and the host's. Each way has a port of its own, the direct one too: all come from
/// the bridge's address, but their TCP timestamps count from different beginnings, so to a server that remembers a
/// connection from the same port some of the next way look like packets out of the past, and wait to be sent again.
const WAYS: [(&str, IpAddr, u16, u16); 2] = [
    ("127.0.0.1", IpAddr::V4(Ipv4Addr::LOCALHOST), 8080, 28_080),
    ("[::1]", IpAddr::V6(Ipv6Addr::LOCALHOST), 8082, 28_082),
];
/// The same by hand, of both ways.
const PUBLISHED: u16 = 28_090;
/// What does by hand what we do.
const HANDS: [&str; 2] = ["DNAT and masquerade by hand", "the least relay by hand"];
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes";

/// Requests in a second, each on a connection of its own, one after another.
pub(crate) fn published(setup: &Setup, seconds: u16, report: &mut Report) -> anyhow::Result<()> {
    let api = setup.a.api();
    create_network(&api, "bench-loopback", "bridge")?;
    let bindings: Map<String, Value> = WAYS
        .into_iter()
        .map(|(_, _, inside, port)| (format!("{inside}/tcp"), json!([{"HostPort": port.to_string()}])))
        .collect();
    let body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "3600"], "StopSignal": "SIGKILL",
        "HostConfig": {"NetworkMode": "bench-loopback", "PortBindings": bindings},
    });
    let id = text(&api.post("/containers/create", &body)?, "Id")?;
    api.post(&format!("/containers/{id}/start"), &Value::Null)?;
    let inspected = api.get(&format!("/containers/{id}/json"))?;
    let address = inspected["NetworkSettings"]["Networks"]["bench-loopback"]["IPAddress"].as_str();
    let address: IpAddr = address.context("the container has an address")?.parse()?;
    for port in WAYS.map(|(_, _, inside, _)| inside).into_iter().chain([DIRECT]) {
        serve_in(&namespace(&api, &id)?, port)?;
    }
    compare(setup, (address, DIRECT).into(), seconds, report)?;
    api.delete(&format!("/containers/{id}?force=1"))?;
    api.delete("/networks/bench-loopback").map(drop)
}

fn compare(setup: &Setup, direct: SocketAddr, seconds: u16, report: &mut Report) -> anyhow::Result<()> {
    let by_hand = by_hand::host(setup)?;
    let host = setup.a.host().netns();
    for ((at, ip, _, port), hand) in WAYS.into_iter().zip(HANDS) {
        let row = |floor| {
            let title = format!("loopback client to a published port, {at}");
            Row::new(title, floor, Unit::RequestsPerSecond)
        };
        let (mut beside_direct, mut beside_hand) = (row("directly"), row(hand));
        for _ in 0..ROUNDS {
            beside_direct.floor.push(ask(host, direct, seconds)?);
            let ours = ask(host, (ip, port).into(), seconds)?;
            let hand = ask(&by_hand, (ip, PUBLISHED).into(), seconds)?;
            beside_direct.ours.push(ours);
            beside_hand.ours.push(ours);
            beside_hand.floor.push(hand);
        }
        report.add(beside_direct);
        report.add(beside_hand);
    }
    Ok(())
}

fn serve_in(netns: &Path, port: u16) -> anyhow::Result<()> {
    let listen = move || Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?);
    let server = inside::run(netns, listen)?;
    std::thread::spawn(move || serve(&server));
    Ok(())
}

/// Answers one connection after another, as long as the bench runs.
fn serve(listener: &TcpListener) {
    let mut request = [0; 1024];
    for mut stream in listener.incoming().flatten() {
        // What a client does wrong it sees itself.
        if stream.read(&mut request).is_ok_and(|length| length > 0) {
            let _ = stream.write_all(ANSWER);
        }
    }
}

fn ask(netns: &Path, server: SocketAddr, seconds: u16) -> anyhow::Result<f64> {
    inside::run(netns, move || {
        let (start, limit) = (Instant::now(), Duration::from_secs(seconds.into()));
        let (mut count, mut answer) = (0_u32, Vec::new());
        while start.elapsed() < limit {
            let mut stream = TcpStream::connect_timeout(&server, limit)?;
            stream.set_read_timeout(Some(limit))?;
            stream.write_all(REQUEST)?;
            answer.clear();
            stream.read_to_end(&mut answer)?;
            anyhow::ensure!(answer == ANSWER, "{server} answered something else");
            count += 1;
        }
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    })
}
