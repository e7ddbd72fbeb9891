//! Many containers: what two hundred idle ones take, and whether the hundredth starts as fast as the first.

use std::time::Duration;

use netlab::{Api, Daemon, DaemonOptions, Lab, Programs, wait_for};
use serde_json::{Value, json};

use crate::{
    report::{Report, Row, Unit},
    scale::proportional,
    setup::{IMAGE, Setup, create_network, import, sleeper, text},
};

/// As many idle containers.
const IDLE: usize = 200;
/// As many are there when one more is the hundredth.
const BEFORE: usize = 99;
/// How often a container with a health check is asked.
const INTERVAL: Duration = Duration::from_secs(30);

/// The start of one more container where there are 99, and where there is none, in turns.
pub(crate) fn hundredth(setup: &Setup, samples: usize, report: &mut Report) -> anyhow::Result<()> {
    let (crowded, empty) = (setup.a.api(), setup.b.api());
    for api in [&crowded, &empty] {
        create_network(api, "bench-many", "bridge")?;
    }
    let there: Vec<_> = (0..BEFORE)
        .map(|number| sleeper(&crowded, &format!("many{number}"), "bench-many"))
        .collect::<anyhow::Result<_>>()?;
    let mut row = Row::new(
        "container start, the 100th",
        "the first, on another host",
        Unit::Milliseconds,
    )
    .paired();
    for round in 0..samples {
        let mut pair = [(&empty, &mut row.floor), (&crowded, &mut row.ours)];
        if round % 2 == 1 {
            pair.reverse();
        }
        for (api, samples) in pair {
            let id = text(&api.post("/containers/create", &idle("bench-many", false))?, "Id")?;
            let start = || api.post(&format!("/containers/{id}/start"), &Value::Null);
            samples.time(start)?;
            api.delete(&format!("/containers/{id}?force=1"))?;
        }
    }
    report.add(row);
    remove(&crowded, &there)?;
    [&crowded, &empty]
        .iter()
        .try_for_each(|api| api.delete("/networks/bench-many").map(drop))
}

/// Memory of all our processes with two hundred idle containers: plain ones, and ones with a health check on a network
/// of the user's.
pub(crate) fn memory(report: &mut Report) -> anyhow::Result<()> {
    let programs = Programs::find()?;
    let mut lab = Lab::new()?;
    let host = lab.host("many")?;
    let mut daemon = Daemon::start(&host, &programs, DaemonOptions::default())?;
    let api = daemon.api();
    import(&api, netlab::busybox_archive(host.folder())?)?;
    create_network(&api, "bench-many", "bridge")?;
    let kinds = [
        ("on the default bridge", "bridge", false),
        ("with health checks on a user bridge", "bench-many", true),
    ];
    for (kind, network, checked) in kinds {
        let title = format!("memory of {IDLE} idle containers {kind}, all our processes");
        let mut row = Row::new(title, "-", Unit::Mebibytes);
        let ids: Vec<_> = (0..IDLE)
            .map(|_| {
                let id = text(&api.post("/containers/create", &idle(network, checked))?, "Id")?;
                api.post(&format!("/containers/{id}/start"), &Value::Null)?;
                Ok(id)
            })
            .collect::<anyhow::Result<_>>()?;
        if checked {
            wait_for("all to be healthy", INTERVAL * 5, || all_are_healthy(&api))?;
        }
        row.ours.push(proportional(&daemon)?);
        report.add(row);
        remove(&api, &ids)?;
    }
    daemon.stop()
}

fn idle(network: &str, checked: bool) -> Value {
    let mut body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "3600"], "HostConfig": {"NetworkMode": network}, "StopSignal": "SIGKILL",
    });
    if checked {
        let nanoseconds = u64::try_from(INTERVAL.as_nanos()).unwrap_or(u64::MAX);
        body["Healthcheck"] = json!({"Test": ["CMD", "true"], "Interval": nanoseconds});
    }
    body
}

fn all_are_healthy(api: &Api) -> anyhow::Result<()> {
    let found = api.get("/containers/json?filters=%7B%22health%22:%5B%22healthy%22%5D%7D")?;
    let healthy = found.as_array().map_or(0, Vec::len);
    anyhow::ensure!(healthy == IDLE, "{healthy} of {IDLE} are healthy");
    Ok(())
}

fn remove(api: &Api, ids: &[String]) -> anyhow::Result<()> {
    ids.iter()
        .try_for_each(|id| api.delete(&format!("/containers/{id}?force=1")).map(drop))
}
