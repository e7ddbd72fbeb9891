//! A macvlan network of all hosts: two hosts on one segment share its addresses by the cluster store.

use std::{collections::BTreeSet, time::Duration};

use netlab::{Daemon, DaemonOptions, Host, Lab, Process, Programs, Store, wait_for};
use serde_json::json;

type Test = anyhow::Result<()>;

const NETWORK: &str = "network create -d macvlan --scope global --subnet 198.18.0.0/24 --ip-range 198.18.0.128/25 \
                       --gateway 198.18.0.254 -o parent=eth0 lan";
/// On each host.
const CONTAINERS: usize = 50;
/// Requests under way at once on each.
const AT_ONCE: usize = 8;

/// Fields are dropped in order: daemons before their store before the lab.
struct Scene {
    daemons: [Daemon; 2],
    _store: Process,
    lab: Lab,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let mut lab = Lab::new()?;
        let store_host = lab.host("store")?;
        let store = Store::Etcd.start(&store_host)?;
        let store = store.ok_or_else(|| anyhow::anyhow!("etcd runs"))?;
        let url = Store::Etcd.url(&store_host);
        let daemon = |host: Host| {
            let options = DaemonOptions {
                cluster_store: url.clone(),
                flags: Vec::new(),
            };
            let daemon = Daemon::start(&host, &programs, options)?;
            daemon.import_busybox()?;
            anyhow::Ok(daemon)
        };
        Ok(Self {
            daemons: [daemon(lab.host("one")?)?, daemon(lab.host("two")?)?],
            _store: store,
            lab,
        })
    }
}

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

/// Starts one, and answers its address.
fn run(daemon: &Daemon, name: &str) -> anyhow::Result<String> {
    let api = daemon.api();
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "600"],
        "HostConfig": {"NetworkMode": "lan"},
    });
    let created = api.call(
        "POST".parse()?,
        &format!("/containers/create?name={name}"),
        Some(&body),
    )?;
    anyhow::ensure!(created.status.is_success(), "{name}: {}", created.message());
    let started = api.call("POST".parse()?, &format!("/containers/{name}/start"), None)?;
    anyhow::ensure!(started.status.is_success(), "{name}: {}", started.message());
    daemon.ok(&format!(
        "inspect -f {{{{.NetworkSettings.Networks.lan.IPAddress}}}} {name}"
    ))
}

/// Starts all of one host, several at once.
fn run_all(daemon: &Daemon, letter: &str) -> anyhow::Result<Vec<String>> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                let own = (worker..CONTAINERS).step_by(AT_ONCE);
                scope.spawn(move || {
                    own.map(|number| run(daemon, &format!("{letter}{number}")))
                        .collect::<anyhow::Result<Vec<_>>>()
                })
            })
            .collect();
        let all = workers.into_iter().map(|worker| worker.join().expect("no panic"));
        all.collect::<anyhow::Result<Vec<_>>>().map(|all| all.concat())
    })
}

#[test]
fn two_hosts_never_give_one_address_twice() -> Test {
    let scene = Scene::new()?;
    let [one, two] = &scene.daemons;
    one.ok(NETWORK)?;
    two.eventually("network inspect lan")?;
    assert_eq!(
        two.ok("network inspect -f {{.Driver}}/{{.Scope}} lan")?,
        "macvlan/global"
    );
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| run_all(one, "a"));
        let second = run_all(two, "b");
        (first.join().expect("no panic"), second)
    });
    let all: Vec<String> = [first?, second?].concat();
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (2 * CONTAINERS, 2 * CONTAINERS));
    one.ok("exec a0 ping -c1 -W5 198.18.0.254")?;
    for number in [0, 17, CONTAINERS - 1] {
        let there = &all[CONTAINERS..][number % CONTAINERS];
        one.ok(&format!("exec a{number} ping -c1 -W5 {there}"))?;
    }
    // Names go where the addresses go.
    one.eventually("exec a1 ping -c1 -W5 b1")?;
    two.eventually("exec b2 ping -c1 -W5 a2")?;
    let taken = two.refused(&format!("run --rm --network lan --ip {} busybox true", all[0]))?;
    contains(&taken, "already in use");
    Ok(())
}

#[test]
fn a_dead_hosts_addresses_are_free_again() -> Test {
    let mut scene = Scene::new()?;
    scene.daemons[0].ok(NETWORK)?;
    scene.daemons[1].eventually("network inspect lan")?;
    scene.daemons[0].ok("run -d --name box --network lan --ip 198.18.0.200 busybox sleep 600")?;
    scene.daemons[0].kill()?;
    // The whole host is gone, with what it had on the segment.
    let segment = scene.lab.segment_host();
    segment.run("ip", &["link", "set", "p2", "down"])?.ok()?;
    let two = &scene.daemons[1];
    contains(
        &two.refused("run -d --name box2 --network lan --ip 198.18.0.200 busybox sleep 600")?,
        "already in use",
    );
    wait_for("the endpoint to be removable", Duration::from_secs(60), || {
        two.ok("network disconnect -f lan box")
    })?;
    two.ok("rm -f box2")?;
    two.ok("run -d --name box2 --network lan --ip 198.18.0.200 busybox sleep 600")?;
    two.ok("exec box2 ping -c1 -W5 198.18.0.254")?;
    two.ok("rm -f box2")?;
    Ok(())
}

#[test]
fn what_hosts_can_not_share_is_refused() -> Test {
    let scene = Scene::new()?;
    let one = &scene.daemons[0];
    let create = "network create -d macvlan --scope global --subnet 198.18.0.0/24";
    for (options, says) in [
        ("", "needs a segment"),
        (
            "-o parent=eth0 -o cnm.host_access=true --aux-address host=198.18.0.99",
            "each host's own",
        ),
        ("-o parent=eth7", "no interface"),
    ] {
        contains(
            &one.refused(format!("{create} {options} bad").replace("  ", " ").as_str())?,
            says,
        );
    }
    let leased = "network create -d macvlan --scope global --ipam-driver dhcp -o parent=eth0 bad";
    contains(&one.refused(leased)?, "one host's own");
    contains(
        &one.refused("network create -d bridge --scope global bad")?,
        "one host's own",
    );
    assert!(!one.ok("network ls")?.contains("bad"));
    Ok(())
}
