//! What is first and what is many: the same operation among 1, 100 and more networks, and endpoints on one network; a
//! daemon that starts on 0, 100 and 500 networks; its rules and its memory.

use std::{fs, time::Instant};

use anyhow::Context as _;
use kernel::Step;
use netlab::{Api, Daemon, DaemonOptions, Lab, Programs};
use serde_json::{Value, json};

use crate::{
    floor::{self, Floor},
    networks::{links_on, namespace, quiet},
    report::{Report, Row, Unit, milliseconds},
    setup::{Setup, create_network, import, sleeper, text},
};

/// How many there are when one more is measured.
fn sizes(most: usize) -> impl Iterator<Item = usize> {
    [1, 100, 1000].into_iter().filter(move |size| *size <= most)
}

/// `network create` as the 1st, the 100th and the 1,000th, each beside a bare bridge made at that moment.
pub(crate) fn among_networks(
    setup: &Setup,
    most: usize,
    samples: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (api, by_hand) = (setup.a.api(), Floor::on(setup.a.host())?);
    let mut made = Vec::new();
    for size in sizes(most) {
        while made.len() + 1 < size {
            made.push(create_network(&api, &format!("scale{}", made.len()), "bridge")?);
        }
        let title = format!("network create, bridge, number {size}");
        let mut row = Row::new(title, "bare bridge", Unit::Milliseconds);
        for sample in 0..samples {
            let bare = floor::bridge(&format!("sfloor{sample}"))?;
            row.floor.time(|| by_hand.apply(Step::Create(bare.clone())))?;
            by_hand.apply(Step::Remove(bare))?;
            by_hand.settle();
            made.push(
                row.ours
                    .time(|| create_network(&api, &format!("scale{}", made.len()), "bridge"))?,
            );
        }
        report.add(row);
        let title = format!("network rm, bridge, among {size}, one after another");
        let mut row = Row::new(title, "-", Unit::Milliseconds);
        let links = links_on(setup.a.host())?;
        for _ in 0..samples {
            let id = made.pop().context("it was made above")?;
            row.ours.time(|| api.delete(&format!("/networks/{id}")))?;
        }
        report.add(row);
        quiet(setup.a.host(), links - samples)?;
    }
    rules(setup, made.len(), report)?;
    let links = links_on(setup.a.host())?;
    made.iter()
        .try_for_each(|id| api.delete(&format!("/networks/{id}")).map(drop))?;
    quiet(setup.a.host(), links.saturating_sub(made.len()))
}

/// Rules at so many networks: constant, whatever their number.
fn rules(setup: &Setup, networks: usize, report: &mut Report) -> anyhow::Result<()> {
    let text = setup.a.host().run("nft", &["-j", "list", "ruleset"])?.ok()?;
    let ruleset: Value = serde_json::from_str(&text).context("nft's JSON")?;
    let objects = ruleset["nftables"].as_array().into_iter().flatten();
    let count = objects.filter(|object| object.get("rule").is_some()).count();
    let mut row = Row::new(format!("firewall rules at {networks} networks"), "-", Unit::Count);
    row.ours.push(f64::from(u32::try_from(count)?));
    report.add(row);
    Ok(())
}

/// `network connect` of the 1st, the 100th and the 1,000th endpoint on one network, each beside a veth by hand on the same
/// bridge: the kernel itself passes by all of a bridge's ports when there is one more. Each is measured alone, once what
/// was removed before it has gone.
pub(crate) fn among_endpoints(
    setup: &Setup,
    most: usize,
    samples: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (api, by_hand) = (setup.a.api(), Floor::on(setup.a.host())?);
    let body =
        json!({"Name": "scale-wide", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "10.111.0.0/16"}]}});
    let wide = text(&api.post("/networks/create", &body)?, "Id")?;
    let bridge = format!("br-{}", wide.get(..12).context("an id is longer")?);
    create_network(&api, "scale-home", "bridge")?;
    let probe = sleeper(&api, "scale-probe", "scale-home")?;
    let netns = namespace(&api, &probe)?;
    let body = json!({"Container": probe, "Force": false});
    let mut there = Vec::new();
    for size in sizes(most) {
        while there.len() + 1 < size {
            there.push(sleeper(&api, &format!("scale-box{}", there.len()), "scale-wide")?);
        }
        let title = format!("network connect, endpoint number {size}");
        let mut connect = Row::new(title, "veth on that bridge", Unit::Milliseconds);
        let title = format!("network disconnect, endpoint number {size}");
        let mut disconnect = Row::new(title, "that veth, until announced", Unit::Milliseconds);
        let links = links_on(setup.a.host())?;
        for sample in 0..samples {
            let (near, far) = (format!("sfloorv{sample}"), format!("sfloorp{sample}"));
            let veth = floor::veth(&near, &far, &netns, Some(&bridge))?;
            connect.floor.time(|| by_hand.apply(Step::Create(veth.clone())))?;
            disconnect.floor.time(|| by_hand.apply(Step::Remove(veth)))?;
            by_hand.settle();
            connect
                .ours
                .time(|| api.post("/networks/scale-wide/connect", &body))?;
            disconnect
                .ours
                .time(|| api.post("/networks/scale-wide/disconnect", &body))?;
            quiet(setup.a.host(), links)?;
        }
        report.add(connect);
        report.add(disconnect);
    }
    there.push(probe);
    there
        .iter()
        .try_for_each(|id| api.delete(&format!("/containers/{id}?force=1")).map(drop))?;
    ["scale-wide", "scale-home"]
        .iter()
        .try_for_each(|name| api.delete(&format!("/networks/{name}")).map(drop))
}

/// A daemon of its own, from its start to its first answer, at 0, 100 and 500 networks; then its memory.
pub(crate) fn daemon(samples: usize, containers: usize, report: &mut Report) -> anyhow::Result<()> {
    let programs = Programs::find()?;
    let mut lab = Lab::new()?;
    let host = lab.host("start")?;
    let mut daemon = Daemon::start(&host, &programs, DaemonOptions::default())?;
    memory(&daemon, containers, report)?;
    let mut made = 0;
    for size in [0, 100, 500] {
        let api = daemon.api();
        for number in made..size {
            create_network(&api, &format!("start{number}"), "bridge")?;
        }
        made = size;
        let mut row = Row::new(
            format!("daemon start to first answer, {size} networks"),
            "-",
            Unit::Milliseconds,
        );
        for _ in 0..samples.min(10) {
            daemon.kill()?;
            let start = Instant::now();
            daemon.start_again()?;
            row.ours.push(milliseconds(start.elapsed()));
        }
        report.add(row);
    }
    daemon.stop()
}

/// Memory of all our processes of one daemon (PSS): idle, and what each idle container adds.
fn memory(daemon: &Daemon, containers: usize, report: &mut Report) -> anyhow::Result<()> {
    let api = daemon.api();
    let mut idle = Row::new("idle memory, all our processes", "-", Unit::Mebibytes);
    let before = proportional(daemon)?;
    idle.ours.push(before);
    report.add(idle);
    import(&api, netlab::busybox_archive(daemon.host().folder())?)?;
    let first = sleeper(&api, "memory-first", "bridge")?;
    let base = proportional(daemon)?;
    let more: Vec<_> = (0..containers)
        .map(|number| sleeper(&api, &format!("memory{number}"), "bridge"))
        .collect::<anyhow::Result<_>>()?;
    let mut each = Row::new(
        "memory per idle container, all our processes",
        "-",
        Unit::Mebibytes,
    );
    let count = f64::from(u32::try_from(containers.max(1))?);
    each.ours.push((proportional(daemon)? - base) / count);
    report.add(each);
    remove(&api, more.iter().chain([&first]))
}

fn remove<'a>(api: &Api, mut ids: impl Iterator<Item = &'a String>) -> anyhow::Result<()> {
    ids.try_for_each(|id| api.delete(&format!("/containers/{id}?force=1")).map(drop))
}

/// MiB of the processes of ours that name this daemon's exec-root.
pub(crate) fn proportional(daemon: &Daemon) -> anyhow::Result<f64> {
    let root = daemon.exec_root().to_string_lossy().into_owned();
    let mut kibibytes = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let ours = fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&root));
        // One that has ended meanwhile has none.
        if ours && let Ok(rollup) = fs::read_to_string(entry.path().join("smaps_rollup")) {
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            kibibytes += line
                .and_then(|line| line.split_whitespace().next()?.parse().ok())
                .unwrap_or(0_u32);
        }
    }
    anyhow::ensure!(kibibytes > 0, "no process names {root}");
    Ok(f64::from(kibibytes) / 1024.0)
}
