//! Two containers on a bridge network, beside two namespaces on a bridge by hand; and names asked for in a sandbox.

use std::path::Path;

use anyhow::Context as _;

use crate::{
    names,
    networks::namespace,
    overlay::{Path2, Placed, sample},
    report::{Report, Row, Unit},
    setup::{Setup, create_network, sleeper},
};

/// Pairs of samples: a few hundredths are to be seen, and a sample differs from the next by a tenth.
const PAIRS: usize = 16;

/// What switches it, in each namespace.
const KEYS: [&str; 2] = [
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
];

/// Whether a bridge shows its frames to the rules of the host (`br_netfilter`), in the order they are measured. With the
/// module loaded every namespace begins with it shown.
const SHOWN: [(&str, &str); 2] = [
    (
        "1",
        "container to container on a bridge, 1 stream, br_netfilter on",
    ),
    (
        "0",
        "container to container on a bridge, 1 stream, br_netfilter off",
    ),
];

/// One TCP stream, in turns; its two ends have a CPU each and go before everybody else. Beside it a bridge whose host has
/// no rules at all.
pub(crate) fn throughput(setup: &Setup, seconds: u16, report: &mut Report) -> anyhow::Result<()> {
    let api = setup.a.api();
    create_network(&api, "bench-segment", "bridge")?;
    let ends = [
        sleeper(&api, "segment-from", "bench-segment")?,
        sleeper(&api, "segment-to", "bench-segment")?,
    ];
    let inspected = api.get(&format!("/containers/{}/json", ends[1]))?;
    let address = inspected["NetworkSettings"]["Networks"]["bench-segment"]["IPAddress"].as_str();
    let ours = Path2 {
        from: namespace(&api, &ends[0])?,
        to: namespace(&api, &ends[1])?,
        address: address.context("the container has an address")?.to_owned(),
    };
    let by_hand = by_hand(setup)?;
    let can_be_shown = setup.a.host().run("sysctl", &["-n", KEYS[0]])?.code == 0;
    for (shown, title) in SHOWN.into_iter().skip(usize::from(!can_be_shown)) {
        show_frames(setup, shown, can_be_shown)?;
        let mut row = Row::new(title, "veth and bridge by hand", Unit::GigabitsPerSecond).paired();
        for round in 0..PAIRS {
            let mut pair = [(&by_hand, &mut row.floor), (&ours, &mut row.ours)];
            if round % 2 == 1 {
                pair.reverse();
            }
            for (path, samples) in pair {
                sample(setup, path, Placed::Apart, 1, seconds, samples)?;
            }
        }
        report.add(row);
    }
    show_frames(setup, "1", can_be_shown)?;
    names::asked(setup, &ours.from, seconds, report)?;
    ends.iter()
        .try_for_each(|id| api.delete(&format!("/containers/{id}?force=1")).map(drop))?;
    api.delete("/networks/bench-segment").map(drop)
}

/// Has the bridges of both hosts show their frames to the rules, or not. A kernel without `br_netfilter` never does.
fn show_frames(setup: &Setup, shown: &str, can_be_shown: bool) -> anyhow::Result<()> {
    if !can_be_shown {
        return Ok(());
    }
    let [v4, v6] = KEYS.map(|key| format!("{key}={shown}"));
    setup.a.host().run("sysctl", &["-q", "-w", &v4, &v6])?.ok()?;
    let segment = setup.lab.netns("bybr");
    let there = ["netns", "exec", &segment, "sysctl", "-q", "-w", &v4, &v6];
    setup.lab.segment_host().run("ip", &there)?.ok().map(drop)
}

fn by_hand(setup: &Setup) -> anyhow::Result<Path2> {
    let [from, to, segment] = ["by1", "by2", "bybr"].map(|name| setup.lab.netns(name));
    let mut lines = vec![
        format!("netns add {segment}"),
        format!("-n {segment} link add br0 type bridge"),
        format!("-n {segment} link set br0 up"),
    ];
    for (number, own) in [(1, &from), (2, &to)] {
        lines.extend([
            format!("netns add {own}"),
            format!("-n {segment} link add veth{number} type veth peer name eth0 netns {own}"),
            format!("-n {segment} link set veth{number} master br0 up"),
            format!("-n {own} addr add 10.98.0.{number}/24 dev eth0"),
            format!("-n {own} link set eth0 up"),
        ]);
    }
    for line in lines {
        let arguments: Vec<_> = line.split(' ').collect();
        setup.lab.segment_host().run("ip", &arguments)?.ok()?;
    }
    let at = |name: &str| Path::new("/run/netns").join(name);
    Ok(Path2 {
        from: at(&from),
        to: at(&to),
        address: "10.98.0.2".to_owned(),
    })
}
