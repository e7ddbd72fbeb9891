//! Networks made and removed, containers connected and disconnected.

use std::{path::PathBuf, time::Duration};

use kernel::Step;
use netlab::{Api, wait_for};
use serde_json::json;

use crate::{
    floor::{self, Floor},
    report::{Report, Row, Unit},
    setup::{Setup, create_network, sleeper},
};

/// `network create` and `network rm` of a bridge network through the API, beside a bare bridge.
pub(crate) fn create_and_remove(setup: &Setup, samples: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut create = Row::new("network create, bridge", "bare bridge", Unit::Milliseconds);
    let mut remove = Row::new(
        "network rm, bridge",
        "bare bridge, until acknowledged",
        Unit::Milliseconds,
    );
    let (api, by_hand) = (setup.a.api(), Floor::on(setup.a.host())?);
    let others = setup.others.start_rows(&mut [&mut create, &mut remove]);
    for sample in 0..samples {
        let bare = floor::bridge("floor0")?;
        create.floor.time(|| by_hand.apply(Step::Create(bare.clone())))?;
        remove.floor.time(|| by_hand.apply(Step::Remove(bare)))?;
        let name = format!("bench{sample}");
        create.ours.time(|| create_network(&api, &name, "bridge"))?;
        remove.ours.time(|| api.delete(&format!("/networks/{name}")))?;
        for (at, other) in others.iter().enumerate() {
            create.others[at].1.time(|| other.create_network(&name))?;
            remove.others[at].1.time(|| other.remove_network(&name))?;
        }
    }
    report.add(create);
    report.add(remove);
    Ok(())
}

/// `network connect` and `disconnect` of a running container through the API, beside a veth made in its namespace.
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
        "that veth, until acknowledged",
        Unit::Milliseconds,
    );
    let (api, by_hand) = (setup.a.api(), Floor::on(setup.a.host())?);
    let others = setup.others.start_rows(&mut [&mut connect, &mut disconnect]);
    create_network(&api, "bench-first", "bridge")?;
    create_network(&api, "bench-second", "bridge")?;
    let container = sleeper(&api, "bench-sleeper", "bench-first")?;
    let netns = namespace(&api, &container)?;
    for other in others {
        other.prepare_connect()?;
    }
    let body = json!({"Container": container, "Force": false});
    for _ in 0..samples {
        let veth = floor::veth("floor0", "floor1", &netns)?;
        connect.floor.time(|| by_hand.apply(Step::Create(veth.clone())))?;
        disconnect.floor.time(|| by_hand.apply(Step::Remove(veth)))?;
        connect
            .ours
            .time(|| api.post("/networks/bench-second/connect", &body))?;
        disconnect
            .ours
            .time(|| api.post("/networks/bench-second/disconnect", &body))?;
        for (at, other) in others.iter().enumerate() {
            connect.others[at].1.time(|| other.connect())?;
            disconnect.others[at].1.time(|| other.disconnect())?;
        }
    }
    for other in others {
        other.end_connect()?;
    }
    api.delete(&format!("/containers/{container}?force=1"))?;
    for name in ["bench-first", "bench-second"] {
        // The container's end may still be on its way out.
        wait_for("the network to be unused", Duration::from_secs(10), || {
            api.delete(&format!("/networks/{name}"))
        })?;
    }
    report.add(connect);
    report.add(disconnect);
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
