//! What a driver in another process adds to each verb: a call of a plugin that does nothing.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
    time::Instant,
};

use plugin_proto::{
    Limits, Places, Plugins,
    network_driver::{CreateEndpoint, EndpointInterface},
    server::{NetworkDriver, Server},
};

use crate::report::{Report, Row, Samples, Unit, milliseconds};

/// Calls that make one sample: one alone is as short as the clock's own noise.
const CALLS: u32 = 100;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

struct Idle;

impl NetworkDriver for Idle {}

/// Beside one exchange of the same bytes on a connection of its own.
pub(crate) fn calls(samples: usize, report: &mut Report) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("cnm-bench-plugins-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(&folder, samples);
    std::fs::remove_dir_all(&folder)?;
    report.add(measured?);
    Ok(())
}

fn measure(folder: &Path, samples: usize) -> anyhow::Result<Row> {
    let mut row = Row::new(
        "call a plugin that does nothing",
        "the bytes on a socket",
        Unit::Microseconds,
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    serve(&folder.join("idle.sock"))?;
    let by_hand = folder.join("by-hand.sock");
    answer(&by_hand)?;
    let places = Places {
        sockets: vec![folder.to_owned()],
        specifications: Vec::new(),
    };
    let plugin = Plugins::new(places, Limits::default()).named("idle");
    let call = CreateEndpoint {
        network_id: "ab".repeat(32),
        endpoint_id: "cd".repeat(32),
        interface: EndpointInterface {
            address: "10.1.0.2/24".to_owned(),
            ..EndpointInterface::default()
        },
        ..CreateEndpoint::default()
    };
    let request = format!(
        "POST /NetworkDriver.CreateEndpoint HTTP/1.1\r\n\r\n{}",
        serde_json::to_string(&call)?
    );
    runtime.block_on(plugin.call(&call))?;
    for _ in 0..samples {
        timed(&mut row.floor, || exchange(&by_hand, request.as_bytes()))?;
        timed(&mut row.ours, || {
            Ok(runtime.block_on(plugin.call(&call)).map(drop)?)
        })?;
    }
    Ok(row)
}

/// Adds the microseconds of one call in many.
fn timed(samples: &mut Samples, call: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let began = Instant::now();
    for _ in 0..CALLS {
        call()?;
    }
    samples.push(milliseconds(began.elapsed()) * 1000.0 / f64::from(CALLS));
    Ok(())
}

/// The plugin, on a thread of its own as another process would be.
fn serve(socket: &Path) -> anyhow::Result<()> {
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            Server::default().network(Idle).serve(listener).await
        })
    });
    Ok(())
}

/// Answers each connection's first bytes.
fn answer(socket: &Path) -> anyhow::Result<()> {
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream?;
            let read = stream.read(&mut [0; 4096])?;
            stream.write_all(&ANSWER[..ANSWER.len().min(read)])?;
        }
        std::io::Result::Ok(())
    });
    Ok(())
}

fn exchange(socket: &Path, request: &[u8]) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    anyhow::ensure!(answer == ANSWER, "another answer");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The promise is a millisecond; what is counted here is that the machinery works at all.
    #[test]
    fn calls_are_measured() {
        let mut report = Report::default();
        calls(2, &mut report).expect("a row");
        assert!(report.table().contains("call a plugin that does nothing"));
    }
}
