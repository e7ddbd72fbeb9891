//! Both daemons and both plugins end and come back, in every order.

use std::{thread, time::Duration};

use anyhow::{Context as _, ensure};
use netlab::wait_for;

use crate::pair::{Pair, SOON, Site, Test};

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
}

/// What happens to a host's programs.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// The plugin goes and comes back; nobody notices.
    Plugin(End),
    /// dockerd goes and comes back, and with it its containers.
    Docker(End),
    /// Both go, the plugin first or last, and the plugin comes first.
    PluginFirst(End),
    /// Both go, and dockerd comes while there is no plugin yet.
    DockerFirst(End),
}

const ALL: [Fate; 8] = [
    Fate::Plugin(End::Stop),
    Fate::Plugin(End::Kill),
    Fate::Docker(End::Stop),
    Fate::Docker(End::Kill),
    Fate::PluginFirst(End::Stop),
    Fate::PluginFirst(End::Kill),
    Fate::DockerFirst(End::Stop),
    Fate::DockerFirst(End::Kill),
];

fn end_plugin(site: &mut Site, end: End) -> Test {
    match end {
        End::Stop => site.cnm.stop(),
        End::Kill => site.cnm.kill(),
    }
}

fn end_docker(site: &mut Site, end: End) -> Test {
    match end {
        End::Stop => site.docker.stop(),
        End::Kill => site.docker.kill(),
    }
}

fn suffer(site: &mut Site, fate: Fate) -> Test {
    match fate {
        Fate::Plugin(end) => {
            end_plugin(site, end)?;
            // Names and packets go on without it.
            let other = if site.host.name() == "a" { "b" } else { "a" };
            site.ok(&format!("exec here ping -c1 -W5 of-{other}"))?;
            site.cnm.start_again()
        }
        Fate::Docker(end) => {
            end_docker(site, end)?;
            site.docker.start_again()
        }
        Fate::PluginFirst(end) => {
            end_docker(site, end)?;
            end_plugin(site, end)?;
            site.cnm.start_again()?;
            site.docker.start_again()
        }
        Fate::DockerFirst(end) => {
            end_docker(site, end)?;
            end_plugin(site, end)?;
            let Site { docker, cnm, .. } = site;
            thread::scope(|scope| {
                let later = scope.spawn(|| {
                    // dockerd is to meet nobody at first: there is nothing to wait for.
                    thread::park_timeout(Duration::from_secs(2));
                    cnm.start_again()
                });
                let docker = docker.start_again();
                later.join().ok().context("no panic")??;
                docker
            })
        }
    }
}

fn all_is_well(pair: &Pair) -> Test {
    for (site, other) in [(&pair.a, "b"), (&pair.b, "a")] {
        site.reaches("here", &format!("of-{other}"))?;
        let url = "http://127.0.0.1:8080/";
        let answer = wait_for(url, SOON, || site.run(&format!("curl -s -m 2 {url}")))?;
        ensure!(answer.trim() == "web", "{answer}");
    }
    Ok(())
}

#[test]
fn daemons_and_plugins_restart_in_every_order() -> Test {
    let mut pair = Pair::start()?;
    for site in [&pair.a, &pair.b] {
        site.network("ol1", "--subnet 10.5.0.0/24")?;
        site.network("lan", "-o cnm.driver=bridge --subnet 10.88.0.0/24")?;
        let name = site.host.name();
        site.sleeper("here", &format!("--network ol1 --network-alias of-{name}"))?;
        site.docker.web("web", "--network lan -p 8080:80")?;
    }
    for (site, other) in [(&pair.a, "b"), (&pair.b, "a")] {
        site.reaches("here", &format!("of-{other}"))?;
    }
    for fate in ALL {
        for first in [true, false] {
            let site = if first { &mut pair.a } else { &mut pair.b };
            suffer(site, fate).with_context(|| format!("{fate:?} on {}", site.host.name()))?;
            all_is_well(&pair).with_context(|| format!("after {fate:?}"))?;
        }
    }
    for site in [&pair.a, &pair.b] {
        site.ok("rm -f here web")?;
        site.ok("network rm ol1 lan")?;
        site.nothing_is_left()?;
    }
    Ok(())
}
