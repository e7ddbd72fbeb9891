//! Our plugin under a stock dockerd, beside dockerd's own bridge for the same operation of the same dockerd, in turns.

use netlab::{Api, Daemon, DaemonOptions, Dockerd, Host, Lab, Programs, busybox_archive};
use serde_json::{Value, json};

use crate::{
    networks::{links_on, quiet},
    report::{Report, Row, Unit},
    setup::{import, sleeper, text},
};

const OWN: &str = "dockerd's own bridge";

/// A network made and removed, a running container connected and disconnected, one started with a port and removed.
pub(crate) fn beside_its_own_bridge(samples: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut lab = Lab::new()?;
    let host = lab.host("docker")?.with_packages(&["dockerd"])?;
    let socket = host.folder().join("docker.sock").display().to_string();
    let flags = ["--docker-plugin", "--docker-socket", &socket, "--bridge", "none"];
    let options = DaemonOptions {
        cluster_store: None,
        flags: flags.map(str::to_owned).to_vec(),
    };
    let _plugin = Daemon::start(&host, &Programs::find()?, options)?;
    let docker = Dockerd::start(&host, &[])?;
    import(&docker.api(), busybox_archive(host.folder())?)?;
    let rows = measure(&host, &docker.api(), samples)?;
    for row in rows {
        report.add(row);
    }
    Ok(())
}

/// What a network is made with.
fn network(name: &str, ours: bool, third: usize) -> Value {
    let subnet = format!("10.{}.{}.0/24", if ours { 91 } else { 92 }, third % 250);
    let addresses = json!([{"Subnet": subnet}]);
    match ours {
        false => json!({"Name": name, "Driver": "bridge", "IPAM": {"Config": addresses}}),
        true => json!({
            "Name": name,
            "Driver": "cnm",
            "Options": {"cnm.network": name, "cnm.driver": "bridge"},
            "IPAM": {"Driver": "cnm", "Options": {"cnm.network": name}, "Config": addresses},
        }),
    }
}

/// Each operation is measured alone, once what was removed before it has gone: dockerd's own bridge waits for that before
/// it answers, ours does not.
fn measure(host: &Host, api: &Api, samples: usize) -> anyhow::Result<Vec<Row>> {
    let row = |name: &str| Row::new(format!("under dockerd: {name}"), OWN, Unit::Milliseconds);
    let mut create = row("network create");
    let mut remove = row("network rm");
    let mut connect = row("connect a running container");
    let mut disconnect = row("disconnect");
    let mut start = row("start with a port");
    let mut end = row("rm -f");
    for (name, ours) in [("theirs", false), ("ours", true)] {
        api.post("/networks/create", &network(name, ours, 249))?;
    }
    let container = sleeper(api, "bench-sleeper", "bridge")?;
    let body = json!({"Container": container, "Force": false});
    let links = links_on(host)?;
    for sample in 0..samples {
        for ours in [sample % 2 == 0, sample % 2 != 0] {
            let name = if ours { "ours" } else { "theirs" };
            let path = |verb: &str| format!("/networks/{name}/{verb}");
            let of = |row: &mut Row, work: &mut dyn FnMut() -> anyhow::Result<()>| match ours {
                true => row.ours.time(work),
                false => row.floor.time(work),
            };
            let post = |path: &str, body: &Value| api.post(path, body).map(drop);
            let new = format!("new-{name}");
            let asked = network(&new, ours, sample);
            of(&mut create, &mut || post("/networks/create", &asked))?;
            of(&mut remove, &mut || {
                api.delete(&format!("/networks/{new}")).map(drop)
            })?;
            quiet(host, links)?;
            of(&mut connect, &mut || post(&path("connect"), &body))?;
            of(&mut disconnect, &mut || post(&path("disconnect"), &body))?;
            quiet(host, links)?;
            let port = (18_000 + sample).to_string();
            let made = api.post(
                "/containers/create",
                &json!({
                    "Image": "busybox", "Cmd": ["sleep", "3600"], "ExposedPorts": {"80/tcp": {}},
                    "HostConfig": {"NetworkMode": name, "PortBindings": {"80/tcp": [{"HostPort": port}]}},
                }),
            )?;
            let id = text(&made, "Id")?;
            of(&mut start, &mut || {
                post(&format!("/containers/{id}/start"), &json!({}))
            })?;
            of(&mut end, &mut || {
                api.delete(&format!("/containers/{id}?force=1")).map(drop)
            })?;
            quiet(host, links)?;
        }
    }
    Ok(vec![create, remove, connect, disconnect, start, end])
}
