//! Two hosts that share a store: one overlay, and what happens when the store goes away.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use netlab::{Daemon, DaemonOptions, Lab, Process, Programs, Store, wait_for};

type Test = anyhow::Result<()>;

/// Fields are dropped in order: daemons before their store before the lab.
struct Cluster {
    a: Daemon,
    b: Daemon,
    store: Option<Process>,
    kind: Store,
    store_host: netlab::Host,
    _lab: Lab,
}

impl Cluster {
    fn start(kind: Store) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let mut lab = Lab::new()?;
        let store_host = lab.host("store")?;
        let store = kind.start(&store_host)?;
        let url = kind.url(&store_host);
        let daemon = |host: netlab::Host| {
            let daemon = Daemon::start(
                &host,
                &programs,
                DaemonOptions {
                    cluster_store: url.clone(),
                    flags: Vec::new(),
                },
            )?;
            daemon.import_busybox()?;
            anyhow::Ok(daemon)
        };
        let (a, b) = (daemon(lab.host("a")?)?, daemon(lab.host("b")?)?);
        Ok(Self {
            a,
            b,
            store,
            kind,
            store_host,
            _lab: lab,
        })
    }

    fn stop_store(&mut self) -> Test {
        self.store.take().context("the store runs")?.kill()
    }

    fn start_store(&mut self) -> Test {
        self.store = self.kind.start(&self.store_host)?;
        Ok(())
    }
}

fn overlay(kind: Store) -> Test {
    let cluster = Cluster::start(kind)?;
    let (a, b) = (&cluster.a, &cluster.b);
    let id = a.ok("network create -d overlay --subnet 172.16.2.0/24 --gateway 172.16.2.254 ol1")?;
    b.eventually("network inspect ol1")?;
    assert_eq!(b.ok("network ls --no-trunc -q -f name=ol1")?, id);
    assert_eq!(
        b.ok("network ls -f name=ol1 --format {{.Driver}}/{{.Scope}}")?,
        "overlay/global"
    );
    let twice = b.refused("network create -d overlay ol1")?;
    assert!(twice.contains("already exists"), "{twice}");
    a.ok("run -d --net ol1 --name test01 busybox sleep 600")?;
    b.ok("run -d --net ol1 --name test02 busybox sleep 600")?;
    let [first, second] = [(a, "test01"), (b, "test02")].map(|(host, name)| {
        host.ok(&format!(
            "inspect -f {{{{.NetworkSettings.Networks.ol1.IPAddress}}}} {name}"
        ))
    });
    assert_eq!((first?.as_str(), second?.as_str()), ("172.16.2.1", "172.16.2.2"));
    b.eventually("exec test02 ping -c1 -W2 test01")?;
    a.eventually("exec test01 ping -c1 -W2 test02")?;
    a.ok("exec test01 ping -c1 -W5 172.16.2.2")?;
    // Names are unique on the overlay, whichever host asks.
    let taken = b.refused("run -d --net ol1 --name test01 busybox sleep 600")?;
    assert!(taken.contains("test01"), "{taken}");
    b.ok("rm -f test01")?;
    // Two interfaces each, and the outside through the gateway bridge.
    assert!(a.ok("exec test01 ip -o link")?.contains("eth1"));
    a.ok(&format!("exec test01 ping -c1 -W5 {}", netlab::OUTSIDE_ADDRESS))?;
    a.ok(&format!("exec test01 ping -c1 -W5 {}", b.host().address()))?;
    let in_use = a.refused("network rm ol1")?;
    assert!(
        in_use.contains("test02"),
        "the other host's container is named: {in_use}"
    );
    b.ok("rm -f test02")?;
    a.ok("rm -f test01")?;
    a.eventually("network rm ol1")?;
    wait_for(
        "the network to be gone on the other host",
        Duration::from_secs(10),
        || b.refused("network inspect ol1"),
    )?;
    let left = b.host().run("ip", &["-o", "link"])?.ok()?;
    assert!(!left.contains("vx-"), "{left}");
    Ok(())
}

#[test]
fn an_overlay_over_etcd_carries_addresses_names_and_the_outside() -> Test {
    overlay(Store::Etcd)
}

#[test]
fn an_overlay_over_consul_carries_addresses_names_and_the_outside() -> Test {
    overlay(Store::Consul)
}

fn outage(kind: Store) -> Test {
    let mut cluster = Cluster::start(kind)?;
    cluster
        .a
        .ok("network create -d overlay --subnet 172.16.3.0/24 ol1")?;
    cluster.b.eventually("network inspect ol1")?;
    cluster.a.ok("run -d --net ol1 --name one busybox sleep 600")?;
    cluster.b.ok("run -d --net ol1 --name two busybox sleep 600")?;
    cluster.a.eventually("exec one ping -c1 -W2 two")?;
    cluster.stop_store()?;
    let a = &cluster.a;
    // What is there goes on, and what needs no store works.
    a.ok("exec one ping -c1 -W5 two")?;
    a.ok("network create local-one")?;
    a.ok("run --rm --network local-one busybox true")?;
    assert!(a.ok("network ls")?.contains("ol1"));
    // What needs the store is refused, soon; a busy machine slows some, so the fastest tells.
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let answer = a.api().call(
            "POST".parse()?,
            "/networks/create",
            Some(&serde_json::json!({"Name": "ol2", "Driver": "overlay"})),
        )?;
        assert_eq!(answer.status.as_u16(), 503, "{}", answer.message());
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < Duration::from_secs(3), "{fastest:?}");
    // Removing a container of a global network succeeds; its address is given back later.
    a.ok("rm -f one")?;
    // A daemon restarted without the store knows its global networks and names still.
    cluster.b.kill()?;
    cluster.b.start_again()?;
    assert!(cluster.b.ok("network ls")?.contains("ol1"));
    assert_eq!(cluster.b.ok("exec two echo alive")?, "alive");
    cluster.start_store()?;
    wait_for("the address to be free again", Duration::from_secs(30), || {
        cluster
            .a
            .ok("run --rm --net ol1 --ip 172.16.3.1 busybox true")
            .or_else(|_| cluster.a.ok("run --rm --net ol1 --ip 172.16.3.2 busybox true"))
    })?;
    cluster.a.ok("run -d --net ol1 --name three busybox sleep 600")?;
    cluster.b.eventually("exec two ping -c1 -W2 three")?;
    cluster.a.ok("rm -f three")?;
    cluster.b.ok("rm -f two")?;
    cluster.a.eventually("network rm ol1")?;
    Ok(())
}

#[test]
fn without_etcd_what_needs_it_is_refused_and_the_rest_goes_on() -> Test {
    outage(Store::Etcd)
}

#[test]
fn without_consul_what_needs_it_is_refused_and_the_rest_goes_on() -> Test {
    outage(Store::Consul)
}

#[test]
fn many_containers_at_once_on_both_hosts_get_no_address_twice() -> Test {
    let cluster = Cluster::start(Store::Etcd)?;
    cluster
        .a
        .ok("network create -d overlay --subnet 172.16.4.0/24 ol1")?;
    cluster.b.eventually("network inspect ol1")?;
    std::thread::scope(|scope| {
        let hosts = [(&cluster.a, "a"), (&cluster.b, "b")];
        let running: Vec<_> = hosts
            .into_iter()
            .flat_map(|(host, letter)| (0..6).map(move |number| (host, format!("{letter}{number}"))))
            .map(|(host, name)| {
                scope.spawn(move || host.ok(&format!("run -d --net ol1 --name {name} busybox sleep 600")))
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|run| run.join().expect("no panic").map(drop))
    })?;
    let format = "{{range .Containers}}{{.IPv4Address}} {{end}}";
    let all = wait_for("all twelve to be listed", Duration::from_secs(10), || {
        let listed = cluster
            .a
            .docker(&["network", "inspect", "-f", format, "ol1"])?
            .ok()?;
        let own = cluster
            .b
            .docker(&["network", "inspect", "-f", format, "ol1"])?
            .ok()?;
        let all: std::collections::BTreeSet<String> = listed
            .split_whitespace()
            .chain(own.split_whitespace())
            .map(str::to_owned)
            .collect();
        anyhow::ensure!(all.len() == 12, "{all:?}");
        Ok(all)
    })?;
    assert_eq!(all.len(), 12);
    Ok(())
}
