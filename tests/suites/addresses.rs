//! Routes of users' own, addresses that strangers have, families that come later, and what a kernel lacks.

use std::time::Duration;

use netlab::{Single, on_each_backend, wait_for};
use serde_json::{Value, json};

type Test = anyhow::Result<()>;

/// How soon what happens by itself is to be seen.
const SOON: Duration = Duration::from_secs(10);

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

#[test]
fn a_router_container_is_the_way_to_another_network_until_its_route_is_given_up() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --subnet 10.91.0.0/24 --opt cnm.routes=10.92.0.0/24=10.91.0.5 lan")?;
        docker.ok("network create --internal --subnet 10.92.0.0/24 back")?;
        docker.ok(
            "run -d --name router --network name=lan,ip=10.91.0.5 --network name=back,ip=10.92.0.5 \
             --sysctl net.ipv4.ip_forward=1 busybox sleep 600",
        )?;
        docker.ok("run -d --name server --network name=back,ip=10.92.0.9,driver-opt=cnm.routes=10.91.0.0/24=10.92.0.5 busybox sleep 600")?;
        docker.ok("run -d --name client --network lan busybox sleep 600")?;
        contains(&docker.ok("exec client ping -c1 -W5 10.92.0.9")?, "ttl=63");
        contains(&docker.ok("exec client ip route")?, "10.92.0.0/24 via 10.91.0.5");
        contains(&docker.ok("network inspect lan")?, "10.92.0.0/24=10.91.0.5");
        contains(&docker.ok("inspect server")?, "10.91.0.0/24=10.92.0.5");

        docker.ok("restart -t 0 client")?;
        docker.cnm_ok("network update --mtu 1400 lan")?;
        docker.ok("exec client ping -c1 -W5 10.92.0.9")?;

        // Of a connection that is made and given up while it runs.
        docker.ok("run -d --name guest busybox sleep 600")?;
        docker.ok(
            "network connect --driver-opt cnm.routes=10.93.0.0/24=10.91.0.5;10.94.0.0/24=link lan guest",
        )?;
        let routes = docker.ok("exec guest ip route")?;
        contains(&routes, "10.93.0.0/24 via 10.91.0.5");
        contains(&routes, "10.94.0.0/24 dev");
        docker.ok("network disconnect lan guest")?;
        assert!(!docker.ok("exec guest ip route")?.contains("10.9"));
        for (line, why) in [
            (
                "network create --subnet 10.95.0.0/24 --opt cnm.routes=10.95.0.0/25=link bad",
                "overlaps",
            ),
            (
                "network create --opt cnm.routes=10.96.0.0/24=10.97.0.1 bad",
                "in no subnet",
            ),
            (
                "network connect --driver-opt cnm.routes=0.0.0.0/0=10.91.0.5 lan guest",
                "gw-priority",
            ),
        ] {
            contains(&docker.refused(line)?, why);
        }
        docker.ok("rm -f router server client guest")?;
        Ok(())
    })
}

/// A machine on a bridge of the host's own that the daemon knows nothing of, with two addresses.
fn stranger(host: &Single) -> Test {
    let docker = &host.daemon;
    docker.ok("run -d --name machine --network none busybox sleep 600")?;
    let pid = docker.ok("inspect -f {{.State.Pid}} machine")?;
    let pid = pid.trim();
    for line in [
        "ip link add br-lan type bridge",
        "ip link set br-lan up",
        &format!("ip link add port0 type veth peer name eth0 address 02:00:00:00:00:77 netns {pid}"),
        "ip link set port0 master br-lan up",
        &format!("nsenter -t {pid} -n ip link set eth0 up"),
        &format!("nsenter -t {pid} -n ip address add 10.98.0.2/24 dev eth0"),
        &format!("nsenter -t {pid} -n ip address add 10.98.0.3/24 dev eth0"),
    ] {
        let words: Vec<_> = line.split(' ').collect();
        docker.host().run(words[0], &words[1..])?.ok()?;
    }
    Ok(())
}

#[test]
fn an_address_of_somebody_on_an_adopted_bridge_is_not_handed_out() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    stranger(&host)?;
    let adopt = "network create --subnet 10.98.0.0/24 --opt com.docker.network.bridge.name=br-lan";
    let refused = docker.refused(&format!("{adopt} --gateway 10.98.0.2 lan"))?;
    contains(&refused, "02:00:00:00:00:77");
    docker.ok(&format!("{adopt} lan"))?;
    docker.ok("run -d --name one --network lan busybox sleep 600")?;
    assert_eq!(docker.address_of("one", "lan")?.trim(), "10.98.0.4");
    docker.ok("exec one ping -c1 -W5 10.98.0.2")?;
    docker.ok("create --name two --network lan --ip 10.98.0.3 busybox sleep 600")?;
    let refused = docker.refused("start two")?;
    contains(&refused, "10.98.0.3 is already in use on the network's segment");
    contains(&refused, "02:00:00:00:00:77");
    // Once he has gone it is free.
    docker.ok("rm -f machine")?;
    docker.ok("start two")?;
    assert_eq!(docker.address_of("two", "lan")?.trim(), "10.98.0.3");
    docker.ok("rm -f one two")?;
    Ok(())
}

#[test]
fn ipv6_that_comes_with_a_subnet_is_for_whoever_starts_or_connects_after_it() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --subnet 10.99.0.0/24 lan")?;
        docker.ok("run -d --name one --network lan busybox sleep 600")?;
        docker.cnm_ok("network update --subnet fd00:99::/64 lan")?;
        docker.ok("run -d --name two --network lan busybox sleep 600")?;
        assert!(!docker.ok("exec one ip addr show eth0")?.contains("inet6"));
        contains(&docker.ok("exec two ip addr show eth0")?, "fd00:99::");
        docker.ok("exec one ping -c1 -W5 two")?;
        docker.ok("restart -t 0 one")?;
        contains(&docker.ok("exec one ip addr show eth0")?, "fd00:99::");
        docker.ok("exec one ping -6 -c1 -W5 two")?;
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

/// Whether the kernel knows this kind of link.
fn knows(host: &Single, kind: &str) -> anyhow::Result<bool> {
    let tried = host
        .daemon
        .host()
        .run("ip", &["link", "add", "link", "lo", "try0", "type", kind])?;
    let unknown = tried.stderr.contains("Unknown device type");
    if tried.code == 0 {
        host.daemon.host().run("ip", &["link", "del", "try0"])?.ok()?;
    }
    Ok(!unknown)
}

#[test]
fn what_the_kernel_lacks_is_told_and_refused_before_anything_is_made() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    let mut lacking = Vec::new();
    for kind in ["macvlan", "ipvlan"] {
        if !knows(&host, kind)? {
            lacking.push(kind);
        }
    }
    let warnings = wait_for("what the kernel lacks", SOON, || {
        let info = docker.api().get("/info")?;
        let told = info["Warnings"].to_string();
        anyhow::ensure!(lacking.iter().all(|kind| told.contains(kind)), "{told}");
        Ok(told)
    })?;
    for kind in ["macvlan", "ipvlan"] {
        let line = format!("no {kind} networks:");
        assert_eq!(
            warnings.contains(&line),
            lacking.contains(&kind),
            "{kind} in {warnings}"
        );
    }
    for kind in &lacking {
        let refused = docker.refused(&format!("network create -d {kind} bad"))?;
        contains(&refused, &format!("no {kind} networks"));
        contains(&refused, "modprobe");
    }
    assert!(!docker.ok("network ls")?.contains("bad"));
    Ok(())
}

#[test]
fn a_port_of_publish_all_that_was_given_back_does_not_come_back() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("run -d --name web -P --expose 80 --expose 81 busybox sleep 600")?;
    contains(&docker.ok("port web")?, "80/tcp");
    docker.cnm_ok("port rm web 80")?;
    docker.ok("restart -t 0 web")?;
    let ports = docker.ok("port web")?;
    assert!(!ports.contains("80/tcp"), "{ports}");
    contains(&ports, "81/tcp");
    docker.ok("rm -f web")?;
    Ok(())
}

#[test]
fn a_start_with_a_taken_port_has_dockers_status_and_links_may_be_said_of_the_container() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("run -d --name one -p 8080:80 busybox sleep 600")?;
    docker.ok("create --name two -p 8080:80 busybox sleep 600")?;
    let answer = docker
        .api()
        .call("POST".parse()?, "/containers/two/start", None)?;
    assert_eq!(answer.status.as_u16(), 500, "{}", answer.message());
    contains(&answer.message(), "port is already allocated");

    docker.ok("network create lan")?;
    docker.ok("run -d --name db --network lan busybox sleep 600")?;
    let body: Value = json!({"Image": "busybox", "Cmd": ["sleep", "600"],
        "HostConfig": {"NetworkMode": "lan", "Links": ["db:sql"]}});
    docker.api().post("/containers/create?name=web", &body)?;
    docker.ok("start web")?;
    docker.ok("exec web ping -c1 -W5 sql")?;
    docker.ok("rm -f one two web db")?;
    Ok(())
}

#[test]
fn an_uplink_too_small_for_ipv6_carries_ipv4_and_says_so() -> Test {
    let mut host = Single::start(&[])?;
    let way = host
        .daemon
        .host()
        .run("ip", &["route", "show", "default"])?
        .ok()?;
    let uplink = way.split_once("dev ").map_or("", |(_, rest)| rest);
    let uplink = uplink.split(' ').next().unwrap_or_default().to_owned();
    let set = ["link", "set", uplink.as_str(), "mtu", "1200"];
    host.daemon.host().run("ip", &set)?.ok()?;
    host.daemon.stop()?;
    host.daemon.start_again()?;
    let docker = &host.daemon;
    docker.ok("network create lan")?;
    docker.ok("run -d --name one --network lan busybox sleep 600")?;
    contains(&docker.ok("exec one ip link show eth0")?, "mtu 1200");
    docker.ok("exec one ping -c1 -W5 203.0.113.1")?;
    let refused = docker.refused("network create --ipv6 six")?;
    contains(&refused, "uplink, 1200 bytes, is too small for IPv6");
    docker.ok("network create --ipv6 --opt com.docker.network.driver.mtu=1280 six")?;
    docker.ok("run -d --name two --network six busybox sleep 600")?;
    contains(&docker.ok("exec two ip addr show eth0")?, "inet6 fd");
    docker.ok("rm -f one two")?;
    Ok(())
}

#[test]
fn an_interface_that_a_crash_left_with_its_old_mtu_gets_the_new_one_at_the_next_start() -> Test {
    let mut host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("network create --opt com.docker.network.driver.mtu=1400 lan")?;
    docker.ok("run -d --name one --network lan busybox sleep 600")?;
    let pid = docker.ok("inspect -f {{.State.Pid}} one")?;
    host.daemon.kill()?;
    let late = ["-t", pid.trim(), "-n", "ip", "link", "set", "eth0", "mtu", "1500"];
    host.daemon.host().run("nsenter", &late)?.ok()?;
    host.daemon.start_again()?;
    contains(&host.daemon.ok("exec one ip link show eth0")?, "mtu 1400");
    host.daemon.ok("rm -f one")?;
    Ok(())
}
