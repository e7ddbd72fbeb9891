//! Walkthrough N16: macvlan networks of two hosts on one segment, through the docker command line.

use std::time::Duration;

use netlab::{Daemon, DaemonOptions, Host, Lab, Programs, wait_for};

type Test = anyhow::Result<()>;

const NETWORK: &str = "--driver macvlan --subnet 198.18.0.0/24 --gateway 198.18.0.254";

struct Scene {
    daemons: [Daemon; 2],
    lab: Lab,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let programs = Programs::find()?;
        let mut start = |name: &str| {
            let daemon = Daemon::start(&lab.host(name)?, &programs, DaemonOptions::default())?;
            daemon.import_busybox()?;
            anyhow::Ok(daemon)
        };
        let daemons = [start("one")?, start("two")?];
        Ok(Self { daemons, lab })
    }

    /// Gives the first host an interface in the place of the one that was taken away.
    fn plug_again(&self) -> Test {
        let netns = self.host(0).netns().display().to_string();
        ip(
            &self.lab.segment_host(),
            &format!("link add p1 up master segment type veth peer name eth0 netns {netns}"),
        )?;
        ip(self.host(0), "link set eth0 up")?;
        Ok(())
    }

    fn host(&self, number: usize) -> &Host {
        self.daemons[number].host()
    }
}

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

fn ip(host: &Host, words: &str) -> anyhow::Result<String> {
    host.run("ip", &words.split(' ').collect::<Vec<_>>())?.ok()
}

#[test]
fn n16_containers_of_two_hosts_are_on_the_hosts_own_segment() -> Test {
    let scene = Scene::new()?;
    for (daemon, address) in scene.daemons.iter().zip(["198.18.0.100", "198.18.0.101"]) {
        daemon.ok(&format!("network create {NETWORK} -o parent=eth0 macvlan_1"))?;
        daemon.ok(&format!(
            "run -d --name box --network macvlan_1 --ip {address} busybox sleep 600"
        ))?;
    }
    let [one, two] = &scene.daemons;
    for address in ["198.18.0.101", "198.18.0.2", "198.18.0.254", "203.0.113.1"] {
        one.ok(&format!("exec box ping -c1 -W5 {address}"))?;
    }
    two.ok("exec box ping -c1 -W5 198.18.0.100")?;
    contains(&one.ok("exec box ip route")?, "default via 198.18.0.254");
    assert_eq!(
        one.ok("network inspect -f {{.Driver}}/{{.Scope}} macvlan_1")?,
        "macvlan/local"
    );
    // The tutorial's hosts allocate blindly, each from the start of the subnet.
    one.ok("run -d --name next --network macvlan_1 busybox sleep 600")?;
    two.ok("run -d --name next --network macvlan_1 busybox sleep 600")?;
    let address =
        |daemon: &Daemon| daemon.ok("inspect -f {{.NetworkSettings.Networks.macvlan_1.IPAddress}} next");
    let (first, second) = (address(one)?, address(two)?);
    assert_ne!(first, second, "the segment is asked before an address is used");
    assert!(
        !["198.18.0.1", "198.18.0.2"].contains(&first.as_str()),
        "those are the hosts'"
    );
    contains(
        &one.refused("run -d --name bad --network macvlan_1 --ip 198.18.0.101 busybox sleep 600")?,
        "already in use on the network's segment",
    );
    for daemon in &scene.daemons {
        let _ = daemon.line("rm -f bad")?;
        daemon.ok("rm -f box next")?;
        daemon.ok("network rm macvlan_1")?;
    }
    Ok(())
}

#[test]
fn what_can_not_be_made_is_refused_when_the_network_is_made() -> Test {
    let scene = Scene::new()?;
    let one = &scene.daemons[0];
    for (options, says) in [
        ("-o parent=lo", "loopback interface can't be a parent"),
        ("-o parent=eth7", "there is no interface \\\"eth7\\\""),
        ("-o parent=eth0 -o macvlan_mode=bridged", "is not a macvlan mode"),
        ("-o parnt=eth0", "did you mean"),
    ] {
        let said = one.refused(&format!("network create {NETWORK} {options} bad"))?;
        contains(&said.replace('"', "\\\""), says);
    }
    one.ok(&format!(
        "network create {NETWORK} -o parent=eth0 -o macvlan_mode=passthru whole"
    ))?;
    let said = one.refused("network create -d macvlan --subnet 10.9.0.0/24 -o parent=eth0 second")?;
    contains(&said, "is already using parent interface");
    assert!(!one.ok("network ls")?.contains("bad"));
    one.ok("network rm whole")?;
    Ok(())
}

#[test]
fn without_a_parent_containers_reach_each_other_only() -> Test {
    let scene = Scene::new()?;
    let one = &scene.daemons[0];
    one.ok("network create -d macvlan --subnet 10.9.0.0/24 alone")?;
    for name in ["left", "right"] {
        one.ok(&format!("run -d --name {name} --network alone busybox sleep 600"))?;
    }
    one.ok("exec left ping -c1 -W5 right")?;
    assert!(!one.ok("exec left ip route")?.contains("default"));
    one.ok("rm -f left right")?;
    one.ok("network rm alone")?;
    assert!(!ip(scene.host(0), "-o link")?.contains("dm-"));
    Ok(())
}

#[test]
fn the_host_reaches_its_containers_where_it_is_asked_to() -> Test {
    let scene = Scene::new()?;
    let one = &scene.daemons[0];
    one.ok(&format!(
        "network create {NETWORK} -o parent=eth0 -o cnm.host_access=true --aux-address host=198.18.0.200 lan"
    ))?;
    one.ok("run -d --name box --network lan --ip 198.18.0.100 busybox sleep 600")?;
    scene.host(0).run("ping", &["-c1", "-W5", "198.18.0.100"])?.ok()?;
    one.ok("exec box ping -c1 -W5 198.18.0.200")?;
    one.ok("rm -f box")?;
    one.ok("network rm lan")?;
    assert!(!ip(scene.host(0), "-o link")?.contains("mh-"));
    Ok(())
}

#[test]
fn a_parent_that_vanishes_and_comes_back_is_used_again_without_a_restart() -> Test {
    let scene = Scene::new()?;
    let one = &scene.daemons[0];
    one.ok(&format!("network create {NETWORK} -o parent=eth0 lan"))?;
    one.ok("run -d --name box --network lan --ip 198.18.0.100 busybox sleep 600")?;
    ip(scene.host(0), "link delete eth0")?;
    assert!(one.line("exec box ip addr show eth0")?.failed().is_ok());
    scene.plug_again()?;
    wait_for(
        "the container to be on the segment again",
        Duration::from_secs(10),
        || one.ok("exec box ping -c1 -W1 198.18.0.2"),
    )?;
    contains(&one.ok("exec box ip route")?, "default via 198.18.0.254");
    one.ok("rm -f box")?;
    one.ok("network rm lan")?;
    Ok(())
}

#[test]
fn a_restart_finds_everything_in_its_place() -> Test {
    let mut scene = Scene::new()?;
    let one = &mut scene.daemons[0];
    one.ok(&format!("network create {NETWORK} -o parent=eth0 lan"))?;
    one.ok("run -d --name box --network lan --ip 198.18.0.100 busybox sleep 600")?;
    let before = one.ok("exec box ip -o link show eth0")?;
    one.kill()?;
    one.start_again()?;
    assert_eq!(one.ok("exec box ip -o link show eth0")?, before);
    one.ok("exec box ping -c1 -W5 198.18.0.254")?;
    let said = one.refused(
        "network create -d macvlan --subnet 10.9.0.0/24 -o parent=eth0 -o macvlan_mode=passthru x",
    )?;
    contains(&said, "is already using parent interface");
    one.ok("rm -f box")?;
    one.ok("network rm lan")?;
    Ok(())
}

#[test]
fn a_restart_while_the_parent_is_away_waits_for_it() -> Test {
    let mut scene = Scene::new()?;
    scene.daemons[0].ok(&format!("network create {NETWORK} -o parent=eth0 lan"))?;
    scene.daemons[0].ok("run -d --name box --network lan --ip 198.18.0.100 busybox sleep 600")?;
    scene.daemons[0].kill()?;
    ip(scene.host(0), "link delete eth0")?;
    scene.daemons[0].start_again()?;
    contains(&scene.daemons[0].ok("network ls")?, "lan");
    scene.plug_again()?;
    let one = &scene.daemons[0];
    wait_for(
        "the container to be on the segment again",
        Duration::from_secs(10),
        || one.ok("exec box ping -c1 -W1 198.18.0.2"),
    )?;
    contains(&one.ok("exec box ip route")?, "default via 198.18.0.254");
    one.ok("rm -f box")?;
    one.ok("network rm lan")?;
    Ok(())
}

/// What the outside believes about who has an address.
fn believed(scene: &Scene, address: &str) -> anyhow::Result<String> {
    ip(
        &scene.lab.outside_host(),
        &format!("neigh show {address} dev eth0"),
    )
}

#[test]
fn whoever_remembers_another_for_an_address_is_told() -> Test {
    let scene = Scene::new()?;
    let outside = scene.lab.outside_host();
    ip(&outside, "addr add fd00:9::fe/64 dev eth0 nodad")?;
    let stale = "lladdr 02:00:00:00:00:99 dev eth0 nud stale";
    for address in ["198.18.0.120", "fd00:9::120"] {
        ip(&outside, &format!("neigh replace {address} {stale}"))?;
    }
    // Nobody asks and nobody answers: it is what is told that counts. Then it moves to the other host.
    for (daemon, mac) in scene
        .daemons
        .iter()
        .zip(["02:42:c6:12:00:78", "02:42:00:00:00:77"])
    {
        daemon.ok(&format!(
            "network create {NETWORK} --ipv6 --subnet fd00:9::/64 -o parent=eth0 lan"
        ))?;
        daemon.ok(&format!(
            "run -d --name box --network lan --ip 198.18.0.120 --ip6 fd00:9::120 --mac-address {mac} busybox \
             sleep 600"
        ))?;
        for address in ["198.18.0.120", "fd00:9::120"] {
            wait_for("the outside to know", Duration::from_secs(10), || {
                let believed = believed(&scene, address)?;
                anyhow::ensure!(believed.contains(mac), "{address}: {believed:?}");
                Ok(())
            })?;
        }
        daemon.ok("rm -f box")?;
    }
    Ok(())
}

#[test]
fn the_host_is_told_of_who_comes_to_a_bridge() -> Test {
    let scene = Scene::new()?;
    let one = &scene.daemons[0];
    one.ok("network create --subnet 10.44.0.0/24 -o com.docker.network.bridge.name=br-told told")?;
    // A bridge without a port has no carrier, and the kernel forgets its neighbours a moment after it has lost it.
    one.ok("run -d --name first --network told busybox sleep 600")?;
    wait_for("the bridge's carrier", Duration::from_secs(10), || {
        let bridge = ip(scene.host(0), "link show dev br-told")?;
        anyhow::ensure!(bridge.contains("state UP"), "{bridge:?}");
        Ok(())
    })?;
    ip(
        scene.host(0),
        "neigh replace 10.44.0.9 lladdr 02:00:00:00:00:99 dev br-told nud stale",
    )?;
    one.ok("run -d --name box --network told --ip 10.44.0.9 busybox sleep 600")?;
    wait_for("the host to know", Duration::from_secs(10), || {
        let believed = ip(scene.host(0), "neigh show 10.44.0.9 dev br-told")?;
        anyhow::ensure!(believed.contains("02:42:0a:2c:00:09"), "{believed:?}");
        Ok(())
    })?;
    contains(
        &one.refused("network create -o com.docker.network.advertise_addr_nmsgs=9 bad")?,
        "advertise_addr_nmsgs",
    );
    Ok(())
}
