//! How long until a network made on one host is known on the other.

use std::{fs::File, time::Duration};

use anyhow::Context as _;
use model::NodeId;
use netlab::wait_for;
use nix::sched::{CloneFlags, setns};
use store::{Change, Key, Txn};

use crate::{
    report::{Report, Row, Samples, Unit},
    setup::{Setup, create_network},
};

/// From the reply on A until B answers for the network, beside one commit seen by a watch.
pub(crate) fn on_the_other_host(setup: &Setup, samples: usize, report: &mut Report) -> anyhow::Result<()> {
    let name = "network create, overlay, on A until B lists it (call included)";
    let mut row = Row::new(name, "one commit until a watch tells of it", Unit::Milliseconds);
    let (a, b) = (setup.a.api(), setup.b.api());
    row.floor = watched_commits(setup, samples)?;
    for sample in 0..samples {
        let network = format!("visible{sample}");
        row.ours.time(|| {
            let id = create_network(&a, &network, "overlay")?;
            wait_for("B to list it", Duration::from_secs(10), || {
                b.get(&format!("/networks/{id}")).map(drop)
            })
        })?;
        a.delete(&format!("/networks/{network}"))?;
    }
    report.add(row);
    Ok(())
}

/// The store alone, asked from inside its host's namespace.
fn watched_commits(setup: &Setup, samples: usize) -> anyhow::Result<Samples> {
    let (netns, url) = (setup.store_host.netns().to_owned(), setup.store_url.clone());
    let measure = move || -> anyhow::Result<Samples> {
        setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(commits(&url, samples))
    };
    std::thread::spawn(measure)
        .join()
        .map_err(|_| anyhow::anyhow!("measuring the store panicked"))?
}

async fn commits(url: &str, samples: usize) -> anyhow::Result<Samples> {
    let (writer, reader) = (store::cluster::open(url)?, store::cluster::open(url)?);
    let prefix = Key::root("bench").child(NodeId::random());
    let mut watch = reader.watch(&prefix).await?;
    while watch.next().await != Change::Resync {}
    let mut taken = Samples::default();
    for sample in 0..samples {
        let start = std::time::Instant::now();
        writer
            .commit(Txn::new().put(prefix.child(sample), vec![0; 100]))
            .await?;
        let told = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
        told.context("the watch says nothing")?;
        taken.push(crate::report::milliseconds(start.elapsed()));
    }
    Ok(taken)
}
