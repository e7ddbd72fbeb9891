//! ipvlan and tagged sub-interfaces: containers of ours, and namespaces that others made.

use std::{path::PathBuf, process::Command};

use netlab::{Daemon, DaemonOptions, DhcpServer, Lab, Programs};
use serde_json::{Value, json};

use super::{Test, cnm, contains, ip, refused};

const SEGMENT: &str = "--subnet 198.18.0.0/24 --gateway 198.18.0.254 -o parent=eth0";

/// Fields are dropped in order.
struct Scene {
    daemons: Vec<Daemon>,
    lab: Lab,
}

impl Scene {
    fn new(names: &[&str]) -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let start = |name: &&str| {
            let daemon = Daemon::start(&lab.host(name)?, &Programs::find()?, DaemonOptions::default())?;
            daemon.import_busybox()?;
            Ok(daemon)
        };
        let daemons = names.iter().map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { daemons, lab })
    }

    fn links(&self) -> anyhow::Result<String> {
        ip(self.daemons[0].host(), "-o link")
    }
}

/// A container that sleeps, with more of the line in front of its image.
fn sleeper(daemon: &Daemon, name: &str, flags: &str) -> anyhow::Result<String> {
    cnm(
        daemon,
        &format!("run -d --name {name} {flags} busybox sleep 3600"),
    )
}

fn reaches(daemon: &Daemon, from: &str, to: &str) -> Test {
    cnm(daemon, &format!("exec {from} ping -c1 -W10 {to}")).map(drop)
}

fn is_silent(daemon: &Daemon, from: &str, to: &str) -> Test {
    refused(daemon, &format!("exec {from} ping -c1 -W2 {to}")).map(drop)
}

fn ethernet(daemon: &Daemon, container: &str) -> anyhow::Result<String> {
    cnm(
        daemon,
        &format!("exec {container} cat /sys/class/net/eth0/address"),
    )
}

#[test]
fn ipvlan_containers_of_two_hosts_are_on_the_segment() -> Test {
    let mut scene = Scene::new(&["one", "two"])?;
    for (daemon, address) in scene.daemons.iter().zip(["198.18.0.100", "198.18.0.101"]) {
        cnm(
            daemon,
            &format!("network create -d ipvlan {SEGMENT} --ipv6 --subnet fd00:5::/64 lan"),
        )?;
        let v6 = address.replace("198.18.0.", "fd00:5::");
        sleeper(daemon, "box", &format!("--network lan --ip {address} --ip6 {v6}"))?;
    }
    let [one, two] = &scene.daemons[..] else {
        unreachable!("two were started");
    };
    for address in [
        "198.18.0.101",
        "fd00:5::101",
        "198.18.0.2",
        "198.18.0.254",
        "203.0.113.1",
    ] {
        reaches(one, "box", address)?;
    }
    reaches(two, "box", "198.18.0.100")?;
    let parent = ip(one.host(), "-br link show eth0")?;
    contains(&parent, &ethernet(one, "box")?);
    sleeper(one, "next", "--network lan --network-alias other")?;
    for name in ["next", "other", "198.18.0.101"] {
        reaches(one, "box", name)?;
    }
    contains(
        &refused(one, "run --rm --network lan --ip 198.18.0.101 busybox true")?,
        "already in use on the network's segment",
    );
    // A daemon that dies takes nothing along, and finds everything again.
    scene.daemons[0].kill()?;
    reaches(&scene.daemons[1], "box", "198.18.0.100")?;
    scene.daemons[0].start_again()?;
    let one = &scene.daemons[0];
    reaches(one, "box", "next")?;
    cnm(one, "network disconnect lan next")?;
    is_silent(one, "next", "198.18.0.254")?;
    cnm(one, "network connect lan next")?;
    reaches(one, "next", "198.18.0.254")?;
    cnm(one, "rm -f box next")?;
    cnm(one, "network rm lan")?;
    assert!(!scene.links()?.contains("ipvlan"));
    Ok(())
}

#[test]
fn ipvlan_on_layer_3_leads_from_network_to_network() -> Test {
    for mode in ["l3", "l3s"] {
        let scene = Scene::new(&["one"])?;
        let one = &scene.daemons[0];
        for (name, subnet) in [("red", "10.31.1.0/24"), ("blue", "10.31.2.0/24")] {
            cnm(
                one,
                &format!(
                    "network create -d ipvlan --subnet {subnet} -o parent=eth0 -o ipvlan_mode={mode} {name}"
                ),
            )?;
            sleeper(one, name, &format!("--network {name}"))?;
        }
        let address = cnm(
            one,
            "inspect -f {{.NetworkSettings.Networks.blue.IPAddress}} blue",
        )?;
        contains(&address, "10.31.2.");
        reaches(one, "red", &address)?;
        contains(&cnm(one, "exec red ip route")?, "default dev eth0");
        // The segment's router learns the way, as an administrator has it learn.
        let outside = scene.lab.outside_host();
        ip(&outside, "route add 10.31.0.0/16 via 198.18.0.1")?;
        one.host()
            .run("sysctl", &["-q", "-w", "net.ipv4.ip_forward=1"])?
            .ok()?;
        reaches(one, "red", "203.0.113.1")?;
        let second = refused(
            one,
            "network create -d ipvlan --subnet 10.31.3.0/24 -o parent=eth0 flat",
        )?;
        contains(&second, "already using parent interface");
        let dhcp =
            format!("network create -d ipvlan --ipam-driver dhcp -o parent=eth0 -o ipvlan_mode={mode} far");
        contains(&refused(one, &dhcp)?, "needs a segment with a server");
        cnm(one, "rm -f red blue")?;
        cnm(one, "network rm red blue")?;
    }
    Ok(())
}

#[test]
fn ipvlan_flags_keep_containers_apart() -> Test {
    let scene = Scene::new(&["one"])?;
    let one = &scene.daemons[0];
    for flag in ["private", "vepa"] {
        cnm(
            one,
            &format!("network create -d ipvlan {SEGMENT} -o ipvlan_flag={flag} lan"),
        )?;
        sleeper(one, "left", "--network lan --ip 198.18.0.110")?;
        sleeper(one, "right", "--network lan --ip 198.18.0.111")?;
        is_silent(one, "left", "198.18.0.111")?;
        reaches(one, "left", "198.18.0.254")?;
        cnm(one, "rm -f left right")?;
        cnm(one, "network rm lan")?;
    }
    Ok(())
}

#[test]
fn ipvlan_containers_have_addresses_of_the_segments_server() -> Test {
    let mut scene = Scene::new(&["one"])?;
    let server = DhcpServer::start(
        &scene.lab.outside_host(),
        "dhcp",
        &[
            "--dhcp-range=198.18.0.100,198.18.0.150,255.255.255.0,120",
            "--dhcp-option=option:T1,2",
            "--dhcp-option=option:router,198.18.0.254",
        ],
    )?;
    let one = &scene.daemons[0];
    cnm(
        one,
        "network create -d ipvlan --ipam-driver dhcp -o parent=eth0 --ipam-opt cnm.dhcp.timeout=60s lan",
    )?;
    let address = |daemon: &Daemon, name: &str| {
        cnm(
            daemon,
            &format!("inspect -f {{{{.NetworkSettings.Networks.lan.IPAddress}}}} {name}"),
        )
    };
    sleeper(one, "left", "--network lan")?;
    sleeper(one, "right", "--network lan")?;
    let (left, right) = (address(one, "left")?, address(one, "right")?);
    assert_ne!(left, right, "one Ethernet address, two clients: {}", server.log());
    contains(&left, "198.18.0.1");
    reaches(one, "left", &right)?;
    reaches(one, "left", "203.0.113.1")?;
    scene.daemons[0].kill()?;
    scene.daemons[0].start_again()?;
    let one = &scene.daemons[0];
    assert_eq!(address(one, "left")?, left);
    cnm(one, "restart -t 1 left")?;
    assert_eq!(address(one, "left")?, left, "it is known again");
    cnm(one, "rm -f left right")?;
    cnm(one, "network rm lan").map(drop)
}

#[test]
fn tagged_sub_interfaces_come_with_the_first_network_and_go_with_the_last() -> Test {
    let scene = Scene::new(&["one", "two"])?;
    let [one, two] = &scene.daemons[..] else {
        unreachable!("two were started");
    };
    for driver in ["macvlan", "ipvlan"] {
        let create = |daemon: &Daemon, name: &str, subnet: &str, tag: u16| {
            cnm(
                daemon,
                &format!("network create -d {driver} --subnet {subnet} -o parent=eth0.{tag} {name}"),
            )
        };
        create(one, "first", "10.50.0.0/24", 50)?;
        create(one, "second", "10.50.1.0/24", 50)?;
        create(one, "other", "10.60.0.0/24", 60)?;
        create(two, "first", "10.50.0.0/24", 50)?;
        sleeper(one, "left", "--network first --ip 10.50.0.10")?;
        sleeper(two, "right", "--network first --ip 10.50.0.11")?;
        sleeper(one, "apart", "--network other --ip 10.60.0.10")?;
        reaches(one, "left", "10.50.0.11")?;
        is_silent(one, "apart", "10.50.0.11")?;
        let tagged = ip(one.host(), "-d link show eth0.50")?;
        contains(&tagged, "vlan protocol 802.1Q id 50");
        cnm(one, "rm -f left apart")?;
        cnm(two, "rm -f right")?;
        cnm(one, "network rm first other")?;
        let links = scene.links()?;
        assert!(
            links.contains("eth0.50@") && !links.contains("eth0.60@"),
            "{links}"
        );
        cnm(one, "network rm second")?;
        assert!(!scene.links()?.contains("eth0.50@"));
        cnm(two, "network rm first")?;
    }
    // Somebody else's stays.
    ip(one.host(), "link add link eth0 name eth0.70 type vlan id 70")?;
    cnm(
        one,
        "network create -d macvlan --subnet 10.70.0.0/24 -o parent=eth0.70 lent",
    )?;
    sleeper(one, "guest", "--network lent")?;
    cnm(one, "rm -f guest")?;
    cnm(one, "network rm lent")?;
    contains(&scene.links()?, "eth0.70@");
    Ok(())
}

/// What a container runtime of others does.
struct Pod<'scene> {
    scene: &'scene Scene,
    netns: String,
    name: &'static str,
}

impl Pod<'_> {
    fn call(&self, command: &str, network: &str) -> anyhow::Result<Value> {
        let daemon = &self.scene.daemons[0];
        let mut call = Command::new(Programs::find()?.ours("cnm-cni"));
        call.env("CNI_COMMAND", command).env("CNI_CONTAINERID", self.name);
        call.env("CNI_NETNS", self.path()).env("CNI_IFNAME", "eth0");
        let config = json!({
            "cniVersion": "1.1.0", "name": "pods", "type": "cnm-cni", "network": network, "socket": daemon.socket(),
        });
        let said = daemon.host().run_command(call, config.to_string().as_bytes())?;
        anyhow::ensure!(said.code == 0, "{command}: {said:?}");
        Ok(serde_json::from_str(&said.stdout).unwrap_or_default())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.netns)
    }

    fn pings(&self, address: &str) -> anyhow::Result<String> {
        let line = format!("netns exec {} ping -c1 -W10 {address}", self.netns);
        ip(self.scene.daemons[0].host(), &line)
    }
}

#[test]
fn ipvlan_leads_into_namespaces_of_others() -> Test {
    let scene = Scene::new(&["one"])?;
    let one = &scene.daemons[0];
    for (mode, flags) in [
        ("l2", SEGMENT),
        ("l3", "--subnet 10.32.0.0/24 -o parent=eth0"),
        ("l3s", "--subnet 10.33.0.0/24 -o parent=eth0"),
    ] {
        cnm(
            one,
            &format!("network create -d ipvlan {flags} -o ipvlan_mode={mode} lan"),
        )?;
        sleeper(one, "ours", "--network lan")?;
        let ours = cnm(one, "inspect -f {{.NetworkSettings.Networks.lan.IPAddress}} ours")?;
        let netns = scene.lab.netns(&format!("pod{mode}"));
        ip(one.host(), &format!("netns add {netns}"))?;
        let pod = Pod {
            scene: &scene,
            netns,
            name: "theirs",
        };
        let result = pod.call("ADD", "lan")?;
        let given = result["ips"][0]["address"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let given = given.split('/').next().unwrap_or_default();
        pod.pings(&ours)?;
        reaches(one, "ours", given)?;
        if mode == "l2" {
            pod.pings("198.18.0.254")?;
        }
        let link = ip(one.host(), &format!("-n {} -d link show eth0", pod.netns))?;
        contains(&link, &format!("ipvlan  mode {mode}"));
        pod.call("DEL", "lan")?;
        let left = ip(one.host(), &format!("-n {} -o link", pod.netns))?;
        assert!(!left.contains("eth0"), "{left}");
        ip(one.host(), &format!("netns delete {}", pod.netns))?;
        cnm(one, "rm -f ours")?;
        cnm(one, "network rm lan")?;
    }
    Ok(())
}
