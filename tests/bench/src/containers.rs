//! A container's life: created, started, waited for, removed.

use netlab::Api;
use serde_json::{Value, json};

use crate::{
    report::{Report, Row, Samples, Unit},
    setup::{IMAGE, Setup, create_network, text},
};

/// `true` on a user bridge and without a network through the API, beside namespaces entered by `unshare`.
pub(crate) fn life(setup: &Setup, samples: usize, report: &mut Report) -> anyhow::Result<()> {
    let api = setup.a.api();
    create_network(&api, "bench-life", "bridge")?;
    for (name, network) in [("bridge", "bench-life"), ("none", "none")] {
        let title = format!("container create, start, wait, rm of true, network {name}");
        let mut row = Row::new(title, "unshare of all namespaces, true", Unit::Milliseconds);
        let others = setup.others.start_rows(&mut [&mut row]);
        for _ in 0..samples {
            by_hand(setup, &mut row.floor)?;
            row.ours.time(|| live(&api, network))?;
            for (at, other) in others.iter().enumerate() {
                let network = if name == "none" { "none" } else { "bridge" };
                row.others[at].1.time(|| other.run_true(network))?;
            }
        }
        report.add(row);
    }
    by_command(setup, samples, report)?;
    api.delete("/networks/bench-life")?;
    Ok(())
}

/// The same in one command of the clients, their start included.
fn by_command(setup: &Setup, samples: usize, report: &mut Report) -> anyhow::Result<()> {
    let title = "run --rm of true from the command line, network bridge";
    let mut row = Row::new(title, "unshare of all namespaces, true", Unit::Milliseconds);
    let others = setup.others.start_rows(&mut [&mut row]);
    let line = ["run", "--rm", "--network", "bench-life", IMAGE, "true"];
    for _ in 0..samples {
        by_hand(setup, &mut row.floor)?;
        row.ours.time(|| setup.a.cnm(&line)?.ok())?;
        for (at, other) in others.iter().enumerate() {
            row.others[at].1.time(|| other.run_command("bridge"))?;
        }
    }
    report.add(row);
    Ok(())
}

/// One whole life through the Engine API.
pub(crate) fn live(api: &Api, network: &str) -> anyhow::Result<()> {
    let body = json!({"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": network}});
    let id = text(&api.post("/containers/create", &body)?, "Id")?;
    api.post(&format!("/containers/{id}/start"), &Value::Null)?;
    let ended = api.post(&format!("/containers/{id}/wait"), &Value::Null)?;
    anyhow::ensure!(ended["StatusCode"] == 0, "true ended with {ended}");
    api.delete(&format!("/containers/{id}"))?;
    Ok(())
}

fn by_hand(setup: &Setup, floor: &mut Samples) -> anyhow::Result<()> {
    let host = setup.a.host();
    let arguments = ["--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "true"];
    floor.time(|| host.run("unshare", &arguments)?.ok()).map(drop)
}
