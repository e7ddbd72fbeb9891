//! A client on the host that asks a container's server: at its published port on loopback, and directly.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    inside,
    networks::namespace,
    overlay::ROUNDS,
    report::{Report, Row, Unit},
    setup::{IMAGE, Setup, create_network, text},
};

const INSIDE: u16 = 8080;
/// Asked directly. Not the published port: the host's own connections to that and translated ones would meet each other's
/// remains, which to the server look like packets out of the past.
const DIRECT: u16 = 8081;
const PUBLISHED: u16 = 28_080;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes";

/// Requests in a second, each on a connection of its own, one after another.
pub(crate) fn published(setup: &Setup, seconds: u16, report: &mut Report) -> anyhow::Result<()> {
    let api = setup.a.api();
    create_network(&api, "bench-loopback", "bridge")?;
    let body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "3600"], "StopSignal": "SIGKILL",
        "HostConfig": {
            "NetworkMode": "bench-loopback",
            "PortBindings": {format!("{INSIDE}/tcp"): [{"HostPort": PUBLISHED.to_string()}]},
        },
    });
    let id = text(&api.post("/containers/create", &body)?, "Id")?;
    api.post(&format!("/containers/{id}/start"), &Value::Null)?;
    let inspected = api.get(&format!("/containers/{id}/json"))?;
    let address = inspected["NetworkSettings"]["Networks"]["bench-loopback"]["IPAddress"].as_str();
    let address: IpAddr = address.context("the container has an address")?.parse()?;
    for port in [INSIDE, DIRECT] {
        let listen = move || Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?);
        let server = inside::run(&namespace(&api, &id)?, listen)?;
        std::thread::spawn(move || serve(&server));
    }
    let host = setup.a.host().netns();
    let mut rows = [
        ("127.0.0.1", IpAddr::from(Ipv4Addr::LOCALHOST)),
        ("[::1]", IpAddr::from(Ipv6Addr::LOCALHOST)),
    ]
    .map(|(at, ip)| {
        let title = format!("loopback client to a published port, {at}");
        (ip, Row::new(title, "directly", Unit::RequestsPerSecond))
    });
    for _ in 0..ROUNDS {
        for (ip, row) in &mut rows {
            row.floor.push(ask(host, (address, DIRECT).into(), seconds)?);
            row.ours.push(ask(host, (*ip, PUBLISHED).into(), seconds)?);
        }
    }
    rows.into_iter().for_each(|(_, row)| report.add(row));
    api.delete(&format!("/containers/{id}?force=1"))?;
    api.delete("/networks/bench-loopback").map(drop)
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
