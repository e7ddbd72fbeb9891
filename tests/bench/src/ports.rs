//! Published ports: what a start takes longer with a hundred of them, and with a range of ten thousand.

use netlab::Api;
use serde_json::{Map, Value, json};

use crate::{
    report::{Report, Row, Unit},
    setup::{IMAGE, Setup, create_network, text},
};

/// Starts without ports, with a hundred, and with a range of ten thousand in turns; the floor is the start without.
pub(crate) fn start(setup: &Setup, samples: usize, report: &mut Report) -> anyhow::Result<()> {
    let api = setup.a.api();
    create_network(&api, "bench-ports", "bridge")?;
    for (title, first, count) in [
        ("container start, 100 published ports", 20_000_u16, 100_u16),
        ("container start, 10,000 published ports", 20_000, 10_000),
    ] {
        let mut row = Row::new(title, "the same without ports", Unit::Milliseconds);
        for _ in 0..samples {
            one(&api, &Map::new(), |id| row.floor.time(|| begin(&api, id)))?;
            let bindings = bindings(first, count);
            one(&api, &bindings, |id| row.ours.time(|| begin(&api, id)))?;
        }
        report.add(row);
    }
    api.delete("/networks/bench-ports").map(drop)
}

fn begin(api: &Api, id: &str) -> anyhow::Result<()> {
    api.post(&format!("/containers/{id}/start"), &Value::Null)
        .map(drop)
}

/// Makes a container with these ports, lets `work` do with it, and removes it.
fn one(
    api: &Api,
    bindings: &Map<String, Value>,
    work: impl FnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "3600"], "StopSignal": "SIGKILL",
        "HostConfig": {"NetworkMode": "bench-ports", "PortBindings": bindings},
    });
    let id = text(&api.post("/containers/create", &body)?, "Id")?;
    let done = work(&id);
    api.delete(&format!("/containers/{id}?force=1"))?;
    done
}

fn bindings(first: u16, count: u16) -> Map<String, Value> {
    (first..first + count)
        .map(|port| (format!("{port}/tcp"), json!([{"HostPort": port.to_string()}])))
        .collect()
}
