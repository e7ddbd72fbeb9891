//! Networks made and removed, containers connected and disconnected.

use std::{path::PathBuf, time::Duration};

use kernel::Step;
use netlab::{Api, Host, wait_for};
use serde_json::json;

use crate::{
    floor::{self, Floor},
    report::{Report, Row, Unit},
    setup::{Setup, create_network, sleeper},
};

/// `network create` and `network rm` of bridge networks through the API, beside a bare bridge. All are made before any
/// is removed, and removed one at a time: the kernel goes on with a removal for some time, and what comes meanwhile
/// waits for it.
pub(crate) fn create_and_remove(setup: &Setup, samples: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut create = Row::new("network create, bridge", "bare bridge", Unit::Milliseconds);
    let mut remove = Row::new(
        "network rm, bridge",
        "bare bridge, renamed and queued",
        Unit::Milliseconds,
    );
    let (api, by_hand) = (setup.a.api(), Floor::on(setup.a.host())?);
    let others = setup.others.start_rows(&mut [&mut create, &mut remove]);
    let names: Vec<String> = (0..samples).map(|sample| format!("bench{sample}")).collect();
    for (sample, name) in names.iter().enumerate() {
        let bare = floor::bridge(&format!("floor{sample}"))?;
        create.floor.time(|| by_hand.apply(Step::Create(bare)))?;
        create.ours.time(|| create_network(&api, name, "bridge"))?;
        for (at, other) in others.iter().enumerate() {
            create.others[at].1.time(|| other.create_network(name))?;
        }
    }
    let host = setup.a.host();
    let mut links = links_on(host)?;
    for (sample, name) in names.iter().enumerate() {
        let bare = floor::bridge(&format!("floor{sample}"))?;
        remove.floor.time(|| by_hand.apply(Step::Remove(bare)))?;
        quiet(host, links - 1)?;
        remove.ours.time(|| api.delete(&format!("/networks/{name}")))?;
        links -= 2;
        quiet(host, links)?;
        for (at, other) in others.iter().enumerate() {
            remove.others[at].1.time(|| other.remove_network(name))?;
        }
    }
    report.add(create);
    report.add(remove);
    Ok(())
}

/// `network connect` and `disconnect` of a running container through the API, beside a veth made in its namespace.
/// It is connected to all networks before it is disconnected from any, as above.
pub(crate) fn connect_and_disconnect(
    setup: &Setup,
    samples: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut connect = Row::new(
        "network connect, running container",
        "veth into its namespace",
        Unit::Milliseconds,
    );
    let mut disconnect = Row::new(
        "network disconnect",
        "that veth, until announced",
        Unit::Milliseconds,
    );
    let (api, by_hand) = (setup.a.api(), Floor::on(setup.a.host())?);
    let others = setup.others.start_rows(&mut [&mut connect, &mut disconnect]);
    let networks: Vec<String> = (0..samples).map(|sample| format!("bench-net{sample}")).collect();
    for network in &networks {
        create_network(&api, network, "bridge")?;
    }
    let container = sleeper(&api, "bench-sleeper", "bridge")?;
    let netns = namespace(&api, &container)?;
    for other in others {
        other.prepare_connect(&networks)?;
    }
    let veth = |sample: usize| {
        floor::veth(
            &format!("floorv{sample}"),
            &format!("floorp{sample}"),
            &netns,
            None,
        )
    };
    let body = json!({"Container": container, "Force": false});
    for (sample, network) in networks.iter().enumerate() {
        let made = veth(sample)?;
        connect.floor.time(|| by_hand.apply(Step::Create(made)))?;
        connect
            .ours
            .time(|| api.post(&format!("/networks/{network}/connect"), &body))?;
        for (at, other) in others.iter().enumerate() {
            connect.others[at].1.time(|| other.attach("connect", network))?;
        }
    }
    let host = setup.a.host();
    let mut links = links_on(host)?;
    for (sample, network) in networks.iter().enumerate() {
        let made = veth(sample)?;
        disconnect.floor.time(|| by_hand.apply(Step::Remove(made)))?;
        quiet(host, links - 1)?;
        disconnect
            .ours
            .time(|| api.post(&format!("/networks/{network}/disconnect"), &body))?;
        links -= 2;
        quiet(host, links)?;
        for (at, other) in others.iter().enumerate() {
            disconnect.others[at]
                .1
                .time(|| other.attach("disconnect", network))?;
        }
    }
    for other in others {
        other.end_connect(&networks)?;
    }
    api.delete(&format!("/containers/{container}?force=1"))?;
    for network in &networks {
        // The container's end may still be on its way out.
        wait_for("the network to be unused", Duration::from_secs(10), || {
            api.delete(&format!("/networks/{network}"))
        })?;
    }
    report.add(connect);
    report.add(disconnect);
    Ok(())
}

/// How many links a host has.
pub(crate) fn links_on(host: &Host) -> anyhow::Result<usize> {
    Ok(host.run("ip", &["-o", "link"])?.ok()?.lines().count())
}

/// Waits until the kernel is done with removals, so that the next one is measured alone. A thousand take it 20 seconds.
pub(crate) fn quiet(host: &Host, links: usize) -> anyhow::Result<()> {
    wait_for("removals to end", Duration::from_secs(60), || {
        let left = links_on(host)?;
        anyhow::ensure!(left <= links, "{left} links, not {links}");
        Ok(())
    })?;
    // It is no longer listed some grace periods before the kernel is done: it takes one removal after another, and answers
    // for this one when it is done with all before.
    for line in ["link add quiet0 type bridge", "link del quiet0"] {
        let words: Vec<_> = line.split(' ').collect();
        host.run("ip", &words)?.ok()?;
    }
    Ok(())
}

/// The namespace of a running container.
pub(crate) fn namespace(api: &Api, container: &str) -> anyhow::Result<PathBuf> {
    let pid = api.get(&format!("/containers/{container}/json"))?["State"]["Pid"]
        .as_u64()
        .unwrap_or(0);
    anyhow::ensure!(pid > 0, "container {container} isn't running");
    Ok(PathBuf::from(format!("/proc/{pid}/ns/net")))
}
