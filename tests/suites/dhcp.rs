//! Networks whose segment has a DHCP server of its own: Debian's dnsmasq, beside the docker command line.

use std::time::Duration;

use netlab::{Daemon, DaemonOptions, DhcpServer, Lab, Programs, wait_for};

type Test = anyhow::Result<()>;

/// As short as the server lets: half a lease is a minute, but who asks for more time is told when to.
const SERVER: [&str; 6] = [
    "--dhcp-range=198.18.0.100,198.18.0.150,255.255.255.0,120",
    "--dhcp-option=option:T1,2",
    "--dhcp-option=option:T2,5",
    "--dhcp-option=option:router,198.18.0.254",
    "--dhcp-option=option:mtu,1400",
    "--dhcp-option=121,10.77.0.0/16,198.18.0.2,0.0.0.0/0,198.18.0.254",
];
const NETWORK: &str = "network create -d macvlan --ipam-driver dhcp -o parent=eth0";
const ADDRESS: &str = "{{.NetworkSettings.Networks.lan.IPAddress}}";

/// Fields are dropped in order.
struct Scene {
    daemon: Daemon,
    lab: Lab,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let daemon = Daemon::start(&lab.host("one")?, &Programs::find()?, DaemonOptions::default())?;
        daemon.import_busybox()?;
        Ok(Self { daemon, lab })
    }

    fn server(&self, name: &str, flags: &[&str]) -> anyhow::Result<DhcpServer> {
        DhcpServer::start(&self.lab.outside_host(), name, flags)
    }

    fn address(&self, container: &str) -> anyhow::Result<String> {
        self.daemon.ok(&format!("inspect -f {ADDRESS} {container}"))
    }

    fn reaches(&self, container: &str) -> anyhow::Result<()> {
        self.daemon
            .ok(&format!("exec {container} ping -c1 -W5 198.18.0.254"))
            .map(drop)
    }
}

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

/// Waits for one more line of the server's log with both texts than there were.
fn told(server: &DhcpServer, what: &str, which: &str, more_than: usize) -> anyhow::Result<()> {
    wait_for(&format!("{what} of {which}"), Duration::from_secs(40), || {
        let count = server.count(what, which);
        anyhow::ensure!(count > more_than, "{count} so far in {}", server.log());
        Ok(())
    })
}

#[test]
fn the_segments_server_gives_addresses_and_what_goes_with_them() -> Test {
    let scene = Scene::new()?;
    let server = [
        &SERVER[..],
        &["--port=53", "--address=/printer.example/198.18.0.77"],
    ]
    .concat();
    let server = scene.server("dhcp", &server)?;
    let one = &scene.daemon;
    one.ok(&format!("{NETWORK} lan"))?;
    one.ok("run -d --name box --hostname wendy --network lan busybox sleep 600")?;
    one.ok("run -d --name other --network lan busybox sleep 600")?;
    let address = scene.address("box")?;
    contains(&address, "198.18.0.1");
    assert_ne!(address, scene.address("other")?);
    let shown = one.ok("exec box ip -4 addr show eth0")?;
    contains(&shown, &format!("inet {address}/24"));
    contains(&shown, "mtu 1400");
    let routes = one.ok("exec box ip route")?;
    contains(&routes, "default via 198.18.0.254");
    contains(&routes, "10.77.0.0/16 via 198.18.0.2");
    assert_eq!(
        one.ok("inspect -f {{.NetworkSettings.Networks.lan.Gateway}} box")?,
        "198.18.0.254"
    );
    contains(&one.ok("network inspect lan")?, &format!("{address}/24"));
    scene.reaches("box")?;
    // Names of ours, and of the segment's own server.
    one.ok("exec box ping -c1 -W5 other")?;
    contains(
        &one.ok("exec box nslookup -type=a printer.example")?,
        "198.18.0.77",
    );
    contains(&server.log(), "client provides name: wendy");
    // More time, again and again.
    told(&server, "DHCPREQUEST", &address, 2)?;
    assert_eq!(
        server.count("DHCPDISCOVER", ""),
        2,
        "each asked once for an address"
    );
    // It is given back, and found again by the container that comes back.
    one.ok("stop -t 1 box")?;
    told(&server, "DHCPRELEASE", &address, 0)?;
    one.ok("start box")?;
    assert_eq!(
        scene.address("box")?,
        address,
        "its Ethernet address is the container's"
    );
    one.ok("rm -f box other")?;
    one.ok("network rm lan")?;
    Ok(())
}

#[test]
fn a_lease_goes_on_over_the_death_of_the_daemon() -> Test {
    let mut scene = Scene::new()?;
    let server = scene.server("dhcp", &SERVER)?;
    scene.daemon.ok(&format!("{NETWORK} lan"))?;
    scene
        .daemon
        .ok("run -d --name box --network lan busybox sleep 600")?;
    let address = scene.address("box")?;
    scene.daemon.kill()?;
    scene.daemon.start_again()?;
    assert_eq!(scene.address("box")?, address);
    told(
        &server,
        "DHCPREQUEST",
        &address,
        server.count("DHCPREQUEST", &address),
    )?;
    assert_eq!(server.count("DHCPDISCOVER", ""), 1);
    scene.reaches("box")?;
    contains(
        &scene.daemon.ok("exec box ip route")?,
        "10.77.0.0/16 via 198.18.0.2",
    );
    scene.daemon.ok("rm -f box")?;
    told(&server, "DHCPRELEASE", &address, 0)?;
    Ok(())
}

#[test]
fn a_running_container_follows_its_server_to_another_address() -> Test {
    let scene = Scene::new()?;
    let server = scene.server("dhcp", &SERVER)?;
    let one = &scene.daemon;
    one.ok(&format!("{NETWORK} lan"))?;
    one.ok("run -d --name box --network lan busybox sleep 600")?;
    one.ok("run -d --name other --network lan busybox sleep 600")?;
    let address = scene.address("box")?;
    // It comes back and remembers: whoever is asked, it is the same.
    server.stop()?;
    let server = scene.server("dhcp", &SERVER)?;
    told(&server, "DHCPACK", &address, server.count("DHCPACK", &address))?;
    assert_eq!(scene.address("box")?, address);
    // Another comes in its place, which gives other addresses.
    server.stop()?;
    let moved = [
        "--dhcp-range=198.18.0.200,198.18.0.220,255.255.255.0,120",
        "--dhcp-option=option:T1,2",
        "--dhcp-option=option:T2,5",
    ];
    let server = scene.server("moved", &moved)?;
    let now = wait_for("another address", Duration::from_secs(40), || {
        let now = scene.address("box")?;
        anyhow::ensure!(now.starts_with("198.18.0.2"), "it is {now:?}: {}", server.log());
        Ok(now)
    })?;
    contains(&server.log(), "DHCPNAK");
    let shown = one.ok("exec box ip -4 addr show eth0")?;
    contains(&shown, &format!("inet {now}/24"));
    assert!(!shown.contains(&address), "{shown}");
    scene.reaches("box")?;
    wait_for("the name to follow", Duration::from_secs(20), || {
        let said = one.ok("exec other nslookup box")?;
        anyhow::ensure!(said.contains(&now), "{said}");
        Ok(())
    })?;
    assert!(
        !one.ok("exec box ip route")?.contains("10.77"),
        "the new one has no such route"
    );
    contains(&one.ok("network inspect lan")?, &format!("{now}/24"));
    one.ok("rm -f box other")?;
    Ok(())
}

#[test]
fn what_can_not_be_is_refused_and_nobodys_answer_is_told_of() -> Test {
    let scene = Scene::new()?;
    let one = &scene.daemon;
    for (line, says) in [
        ("-d macvlan --ipam-driver dhcp", "needs a segment with a server"),
        ("-d bridge --ipam-driver dhcp", "needs a segment with a server"),
        (
            "-d macvlan --ipam-driver dhcp -o parent=eth0 --subnet 10.0.0.0/24",
            "says what the subnet is",
        ),
        (
            "-d macvlan --ipam-driver dhcp -o parent=eth0 --ipam-opt cnm.dhcp.timout=3",
            "has no option",
        ),
        (
            "-d macvlan --ipam-driver dhcp -o parent=eth0 --ipam-opt cnm.dhcp.timeout=soon",
            "can't be",
        ),
    ] {
        contains(&one.refused(&format!("network create {line} bad"))?, says);
    }
    assert!(!one.ok("network ls")?.contains("bad"));
    one.ok(&format!("{NETWORK} --ipam-opt cnm.dhcp.timeout=2s lan"))?;
    let said = one.refused("run -d --name box --network lan busybox sleep 600")?;
    contains(&said, "no DHCP server has given an address within 2 s");
    one.ok("rm -f box")?;
    // And then one comes.
    let server = scene.server("dhcp", &SERVER)?;
    one.ok("run -d --name box --network lan --ip 198.18.0.140 busybox sleep 600")?;
    assert_eq!(scene.address("box")?, "198.18.0.140", "it is asked for");
    let said = one.refused("run -d --name far --network lan --ip 198.18.0.99 busybox sleep 600")?;
    contains(
        &said,
        "address 198.18.0.99 is asked for, but the DHCP server gives",
    );
    told(&server, "DHCPRELEASE", "198.18.0.1", 0)?;
    one.ok("rm -f box far")?;
    one.ok("network rm lan")?;
    Ok(())
}

#[test]
fn ipv6_addresses_are_what_the_routers_announce() -> Test {
    let scene = Scene::new()?;
    let outside = scene.lab.outside_host();
    outside
        .run("ip", &["addr", "add", "fd00:5::fe/64", "dev", "eth0", "nodad"])?
        .ok()?;
    let routers = [
        "--enable-ra",
        "--dhcp-range=fd00:5::,ra-only",
        "--ra-param=eth0,4,600",
    ];
    let server = [&SERVER[..], &routers].concat();
    let _server = scene.server("dhcp", &server)?;
    let one = &scene.daemon;
    one.ok(&format!("{NETWORK} --ipv6 lan"))?;
    one.ok("run -d --name box --network lan busybox sleep 600")?;
    let v6 = "inspect -f {{.NetworkSettings.Networks.lan.GlobalIPv6Address}} box";
    let address = wait_for("an address of the prefix", Duration::from_secs(30), || {
        let address = one.ok(v6)?;
        anyhow::ensure!(address.starts_with("fd00:5::"), "{address:?}");
        Ok(address)
    })?;
    contains(&one.ok("exec box ip -6 addr show eth0")?, &address);
    one.ok("exec box ping -6 -c1 -W5 fd00:5::fe")?;
    one.ok("rm -f box")?;
    one.ok("network rm lan")?;
    // Where there is nothing else, a start waits for one.
    let only = format!("{NETWORK} --ipv4=false --ipv6 lan");
    one.cnm(&only.split(' ').collect::<Vec<_>>())?.ok()?;
    one.ok("run -d --name box --network lan busybox sleep 600")?;
    contains(&one.ok(v6)?, "fd00:5::");
    one.ok("rm -f box")?;
    Ok(())
}

#[test]
fn an_address_that_somebody_else_uses_is_declined() -> Test {
    let mut scene = Scene::new()?;
    let stranger = scene.lab.host("two")?;
    stranger
        .run("ip", &["addr", "add", "198.18.0.130/24", "dev", "eth0"])?
        .ok()?;
    let flags = [
        "--dhcp-range=198.18.0.130,198.18.0.131,255.255.255.0,120",
        "--dhcp-sequential-ip",
    ];
    let server = scene.server("dhcp", &flags)?;
    let one = &scene.daemon;
    one.ok(&format!("{NETWORK} lan"))?;
    one.ok("run -d --name box --network lan busybox sleep 600")?;
    assert_eq!(scene.address("box")?, "198.18.0.131");
    contains(&server.log(), "DHCPDECLINE(eth0) 198.18.0.130");
    one.ok("rm -f box")?;
    Ok(())
}

#[test]
fn many_at_once_have_an_address_each_and_keep_it() -> Test {
    const EACH: usize = 6;
    let mut scene = Scene::new()?;
    let server = scene.server("dhcp", &SERVER)?;
    let one = &scene.daemon;
    one.ok(&format!("{NETWORK} lan"))?;
    one.ok("network create inside")?;
    let letters = ["a", "b", "c", "d"];
    std::thread::scope(|scope| {
        let running: Vec<_> = letters
            .map(|letter| {
                scope.spawn(move || {
                    (0..EACH).try_for_each(|number| {
                        one.ok(&format!(
                            "run -d --name {letter}{number} --network lan busybox sleep 600"
                        ))
                        .map(drop)
                    })
                })
            })
            .into_iter()
            .collect();
        running
            .into_iter()
            .try_for_each(|run| run.join().expect("no panic"))
    })?;
    let all = |scene: &Scene| -> anyhow::Result<Vec<String>> {
        let names = letters
            .iter()
            .flat_map(|letter| (0..EACH).map(move |number| format!("{letter}{number}")));
        names.map(|name| scene.address(&name)).collect()
    };
    let first = all(&scene)?;
    let different: std::collections::BTreeSet<_> = first.iter().collect();
    assert_eq!(different.len(), letters.len() * EACH, "{first:?}");
    // One that runs elsewhere comes and goes while it runs, and has the segment's router as its way out meanwhile.
    scene
        .daemon
        .ok("run -d --name guest --network inside busybox sleep 600")?;
    scene
        .daemon
        .ok("network connect --gw-priority 5 lan guest")
        .or_else(|_| {
            // An older command line has no such flag.
            scene.daemon.ok("network connect lan guest")
        })?;
    let guest = scene.address("guest")?;
    contains(&scene.daemon.ok("exec guest ip -4 addr")?, &guest);
    scene.daemon.ok("exec guest ping -c1 -W5 a0")?;
    scene.daemon.ok("network disconnect lan guest")?;
    told(&server, "DHCPRELEASE", &guest, 0)?;
    assert!(!scene.daemon.ok("exec guest ip -4 addr")?.contains(&guest));
    scene.daemon.kill()?;
    scene.daemon.start_again()?;
    assert_eq!(all(&scene)?, first);
    let acks = server.count("DHCPACK", "");
    told(&server, "DHCPACK", "", acks + letters.len() * EACH)?;
    assert_eq!(all(&scene)?, first);
    scene.reaches("d5")?;
    let refused = scene.daemon.refused("network rm lan")?;
    contains(&refused, "active endpoints");
    Ok(())
}

/// A router that says that addresses are managed, and gives them. This server's leases are two minutes at least, and half of
/// that is when more time is asked for.
const MANAGED: [&str; 4] = [
    "--enable-ra",
    "--dhcp-range=fd00:5::1000,fd00:5::1fff,64,120",
    "--ra-param=eth0,4,600",
    "--dhcp-option=option6:dns-server,[fd00:5::53]",
];
const V6: &str = "inspect -f {{.NetworkSettings.Networks.lan.GlobalIPv6Address}}";

fn with_router() -> anyhow::Result<Scene> {
    let scene = Scene::new()?;
    scene
        .lab
        .outside_host()
        .run("ip", &["addr", "add", "fd00:5::fe/64", "dev", "eth0", "nodad"])?
        .ok()?;
    Ok(scene)
}

fn managed_address(one: &Daemon, container: &str) -> anyhow::Result<String> {
    wait_for("an address of the server", Duration::from_secs(40), || {
        let address = one.ok(&format!("{V6} {container}"))?;
        anyhow::ensure!(address.starts_with("fd00:5::1"), "{address:?}");
        Ok(address)
    })
}

#[test]
fn where_routers_say_so_ipv6_addresses_are_the_servers() -> Test {
    let mut scene = with_router()?;
    let server = scene.server("dhcp", &[&SERVER[..], &MANAGED].concat())?;
    let one = &scene.daemon;
    one.ok(&format!("{NETWORK} --ipv6 lan"))?;
    one.ok("run -d --name box --hostname wendy --network lan busybox sleep 600")?;
    one.ok("run -d --name other --network lan busybox sleep 600")?;
    let address = managed_address(one, "box")?;
    assert_ne!(address, managed_address(one, "other")?);
    contains(
        &one.ok("exec box ip -6 addr show eth0")?,
        &format!("{address}/128"),
    );
    one.ok("exec box ping -6 -c1 -W5 fd00:5::fe")?;
    one.ok("exec other ping -6 -c1 -W5 box")?;
    contains(&one.ok("exec box nslookup -type=aaaa other")?, "fd00:5::1");
    // More time, although the daemon died meanwhile.
    assert_eq!(server.count("DHCPSOLICIT", ""), 2, "{}", server.log());
    scene.daemon.kill()?;
    scene.daemon.start_again()?;
    wait_for("more time", Duration::from_secs(100), || {
        anyhow::ensure!(server.count("DHCPRENEW", "") > 0, "{}", server.log());
        Ok(())
    })?;
    let one = &scene.daemon;
    assert_eq!(managed_address(one, "box")?, address);
    assert_eq!(server.count("DHCPSOLICIT", ""), 2, "nobody had to look again");
    // It is given back, and the container is known when it comes back.
    one.ok("stop -t 1 box")?;
    told(&server, "DHCPRELEASE(eth0)", "00:04:", 0)?;
    one.ok("start box")?;
    assert_eq!(
        managed_address(one, "box")?,
        address,
        "its DUID is the container's"
    );
    one.ok("rm -f box other")?;
    one.ok("network rm lan").map(drop)
}

#[test]
fn a_network_of_ipv6_alone_waits_for_its_server() -> Test {
    let scene = with_router()?;
    let one = &scene.daemon;
    let create = |name: &str, how: &str| {
        let line = format!(
            "{NETWORK} --ipv4=false --ipv6 --ipam-opt cnm.dhcp.timeout=6s --ipam-opt cnm.dhcp.ipv6={how} {name}"
        );
        one.cnm(&line.split(' ').collect::<Vec<_>>())?.ok()
    };
    create("lan", "stateful")?;
    let said = one.refused("run -d --name box --network lan busybox sleep 600")?;
    contains(&said, "no DHCPv6 server has given an address within 6 s");
    one.ok("rm -f box")?;
    let server = scene.server("dhcp", &MANAGED)?;
    one.ok("run -d --name box --network lan busybox sleep 600")?;
    contains(&one.ok(&format!("{V6} box"))?, "fd00:5::1");
    // The server is asked for this very one.
    one.ok("run -d --name chosen --network lan --ip6 fd00:5::1abc busybox sleep 600")?;
    assert_eq!(one.ok(&format!("{V6} chosen"))?.trim(), "fd00:5::1abc");
    one.ok("rm -f box chosen")?;
    one.ok("network rm lan")?;
    // As routers say, and never.
    create("lan", "auto")?;
    one.ok("run -d --name box --network lan busybox sleep 600")?;
    contains(&one.ok(&format!("{V6} box"))?, "fd00:5::1");
    one.ok("rm -f box")?;
    one.ok("network rm lan")?;
    let solicited = server.count("DHCPSOLICIT", "");
    create("lan", "slaac")?;
    let said = one.refused("run -d --name box --network lan busybox sleep 600")?;
    contains(&said, "no router has announced an IPv6 prefix");
    assert_eq!(server.count("DHCPSOLICIT", ""), solicited);
    one.ok("rm -f box")?;
    let said = one.refused(
        "network create -d macvlan --ipam-driver dhcp -o parent=eth0 --ipam-opt cnm.dhcp.ipv6=yes bad",
    )?;
    contains(&said, "can't be");
    Ok(())
}
