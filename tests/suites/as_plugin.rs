//! A stock dockerd, 20.10 and the newest, with our networks: `docker network create -d cnm`.

#[path = "as_plugin/pair.rs"]
mod pair;
#[path = "as_plugin/restarts.rs"]
mod restarts;

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use netlab::{Api, Lab, Store, wait_for};
use pair::{Pair, SOON, Site, Test, create, every};
use serde_json::json;

/// One host without a store, of each dockerd.
fn on_each(run: impl Fn(&Site, &Lab) -> Test) -> Test {
    for package in every() {
        let (site, lab) = Site::alone(package, &[])?;
        run(&site, &lab).with_context(|| package.to_owned())?;
    }
    Ok(())
}

const DUAL: &str = "--subnet 10.88.0.0/24 --ipv6 --subnet fd00:88::/64";

#[test]
fn a_bridge_of_ours_under_docker() -> Test {
    on_each(|site, lab| {
        site.network("lan", &format!("-o cnm.driver=bridge {DUAL}"))?;
        let shown = site.docker.docker(&[
            "network",
            "inspect",
            "-f",
            "{{.Driver}} {{.Scope}} {{.IPAM.Driver}} {{range .IPAM.Config}}{{.Subnet}} {{end}}",
            "lan",
        ])?;
        assert_eq!(shown.ok()?.trim(), "cnm local cnm 10.88.0.0/24 fd00:88::/64");
        site.docker
            .web("one", "--network lan -p 8088:80 -p 127.0.0.1:8089:80/tcp")?;
        site.sleeper("two", "--network lan --network-alias other --hostname zwei")?;
        let addresses = site.ok("exec one ip address show dev eth0")?;
        ensure!(
            addresses.contains("10.88.0.2/24") && addresses.contains("fd00:88::2/64"),
            "{addresses}"
        );
        for name in ["two", "other", "zwei", "10.88.0.3", "fd00:88::3"] {
            site.reaches("one", name)?;
        }
        // From the host and from outside, by both families.
        for url in ["127.0.0.1:8088", "127.0.0.1:8089", "[::1]:8088"] {
            let answer = wait_for(url, SOON, || site.run(&format!("curl -s -m 2 http://{url}/")))?;
            assert_eq!(answer.trim(), "one", "{url}");
        }
        let outside = format!("http://{}:8088/", site.host.address());
        let answer = lab
            .outside_host()
            .run("curl", &["-s", "-m", "5", &outside])?
            .ok()?;
        assert_eq!(answer.trim(), "one");
        let taken = site.refused("run -d --name three --network lan -p 8088:80 busybox sleep 60")?;
        ensure!(
            taken.contains("8088") && taken.contains("ProgramExternalConnectivity"),
            "{taken}"
        );
        site.ok("rm -f three")?;

        beside_dockers_own(site)?;
        site.ok("rename two second")?;
        site.reaches("one", "second")?;
        site.ok("rm -f one second")?;
        site.ok("network rm lan")?;
        ensure!(!site.cnm("network ls")?.contains("lan"), "it stays");
        site.nothing_is_left()
    })
}

/// A container on a network of Docker's own, too, finds its neighbours there, and its name service when ours has gone.
fn beside_dockers_own(site: &Site) -> Test {
    site.ok("network create plain")?;
    site.sleeper("plain1", "--network plain")?;
    site.ok("network connect plain two")?;
    site.reaches("two", "plain1")?;
    site.reaches("two", "one")?;
    site.reaches("one", "fd00:88::3")?;
    site.ok("network disconnect lan two")?;
    site.reaches("two", "plain1")?;
    ensure!(
        site.refused("exec two ping -c1 -W2 one")?.contains("bad address"),
        "it left"
    );
    site.ok("network connect --ip 10.88.0.77 --ip6 fd00:88::3 lan two")?;
    // With another Ethernet address, which nobody has to ask for who knew the one before.
    let mac = site.ok("inspect -f {{.NetworkSettings.Networks.lan.MacAddress}} two")?;
    wait_for("its neighbour to know", SOON, || {
        let known = site.ok("exec one ip -6 neigh show fd00:88::3")?;
        ensure!(known.contains(mac.trim()), "{mac}: {known}");
        Ok(())
    })?;
    site.reaches("one", "10.88.0.77")?;
    site.reaches("one", "two")?;
    site.ok("rm -f plain1")?;
    site.ok("network disconnect plain two")?;
    site.ok("network rm plain").map(drop)
}

/// The quick start, as deploy/docker-plugin.md has it, on the other store.
#[test]
fn the_quick_start_on_consul() -> Test {
    let pair = Pair::on(Store::Consul)?;
    let (a, b) = (&pair.a, &pair.b);
    a.network("ol1", "--subnet 10.5.0.0/24")?;
    a.docker.web("web", "--network ol1")?;
    b.network("ol1", "--subnet 10.5.0.0/24")?;
    let answer = b.soon("run --rm --network ol1 busybox wget -qO- http://web/")?;
    assert_eq!(answer.trim(), "web");
    // The pool's addresses are one book for both.
    b.sleeper("two", "--network ol1")?;
    a.reaches("web", "two")?;
    b.ok("rm -f two")?;
    a.ok("rm -f web")?;
    for site in [a, b] {
        site.ok("network rm ol1")?;
        site.nothing_is_left()?;
    }
    Ok(())
}

#[test]
fn an_overlay_of_two_dockers() -> Test {
    let pair = Pair::start()?;
    let (a, b) = (&pair.a, &pair.b);
    a.network("ol1", "--subnet 10.5.0.0/24 --ipv6 --subnet fd00:5::/64")?;
    wait_for("the other host to see it", SOON, || b.cnm("network inspect ol1"))?;
    // Whoever comes second gets what is there, said or not.
    for (flags, says) in [
        (
            "--subnet 10.6.0.0/24",
            "is there and has 10.5.0.0/24, not 10.6.0.0/24",
        ),
        (
            "--subnet 10.5.0.0/24 --gateway 10.5.0.9",
            "has the gateway 10.5.0.1, not 10.5.0.9",
        ),
        ("--subnet 10.5.0.0/24", "add --ipv6"),
        ("--ipv6 --internal", "is not internal"),
        (
            "--ipv6 -o cnm.driver=bridge",
            "has the driver overlay, not bridge",
        ),
        (
            "--ipv6 --ip-range 10.5.0.0/25 --subnet 10.5.0.0/24",
            "leave out --ip-range",
        ),
    ] {
        let error = b.refused(&create("ol1", flags))?;
        ensure!(error.contains(says), "{flags}: {error}");
    }
    b.network("ol1", "--ipv6 --subnet 10.5.0.0/24 --subnet fd00:5::/64")?;
    a.sleeper("one", "--network ol1 --network-alias first")?;
    b.sleeper("two", "--network ol1")?;
    for (site, from, names) in [(a, "one", ["two", "10.5.0.3"]), (b, "two", ["one", "first"])] {
        for name in names {
            site.reaches(from, name)?;
        }
    }
    b.reaches("two", "fd00:5::2")?;
    // Both hosts have one of that name, and both are found.
    a.sleeper("web", "--network ol1")?;
    b.sleeper("web", "--network ol1")?;
    wait_for("both to be found", SOON, || {
        let found = a.ok("exec one nslookup web 127.0.0.11")?;
        ensure!(
            found.contains("10.5.0.4") && found.contains("10.5.0.5"),
            "{found}"
        );
        Ok(())
    })?;
    // The way out is Docker's own gateway bridge.
    let routes = a.ok("exec one ip route")?;
    ensure!(routes.contains("default via 172."), "{routes}");

    b.ok("rm -f two web")?;
    b.ok("network rm ol1")?;
    a.reaches("one", "web")?;
    // The second host's network of it is made again, and the first one's goes.
    b.network("ol1", "--ipv6 --subnet 10.5.0.0/24 --subnet fd00:5::/64")?;
    a.ok("rm -f one web")?;
    a.ok("network rm ol1")?;
    b.sleeper("two", "--network ol1")?;
    b.ok("rm -f two")?;
    b.ok("network rm ol1")?;
    wait_for("the last one to take it along", SOON, || {
        ensure!(!a.cnm("network ls")?.contains("ol1"), "it stays");
        Ok(())
    })?;
    a.nothing_is_left()?;
    b.nothing_is_left()
}

#[test]
fn what_is_missing_or_wrong_is_said() -> Test {
    on_each(|site, _| {
        for (line, says) in [
            (
                "network create -d cnm --ipam-driver cnm --subnet 10.5.0.0/24 x".to_owned(),
                "--ipam-opt cnm.network=NAME is missing",
            ),
            (
                "network create -d cnm --ipam-driver cnm --ipam-opt cnm.network=x --subnet 10.5.0.0/24 x".to_owned(),
                "-o cnm.network=NAME is missing",
            ),
            (
                "network create -d cnm --ipam-driver cnm --ipam-opt cnm.network=x -o cnm.network=y --subnet 10.5.0.0/24 x"
                    .to_owned(),
                "name two networks",
            ),
            (
                "network create -d cnm -o cnm.network=x --subnet 10.5.0.0/24 x".to_owned(),
                "must have their addresses from one place (add --ipam-driver cnm --ipam-opt cnm.network=x)",
            ),
            (create("x", "--subnet 10.5.0.0/24 -o cnm.driver=host"), "one of overlay, bridge, macvlan, ipvlan"),
            (create("x", "--subnet 10.5.0.0/24 -o cnm.nonsense=1"), "cnm.nonsense"),
            (
                create("x", "--subnet 10.5.0.0/24 -o cnm.driver=macvlan -o parent=eth7"),
                "there is no interface",
            ),
            (create("x", "--ipam-opt other=1 --subnet 10.5.0.0/24"), "no option \"other\""),
        ] {
            let error = site.refused(&line)?;
            ensure!(error.contains(says), "{line}: {error}");
        }
        // The plugin is for Docker: this daemon's own users have its drivers without it.
        for line in [
            "network create -d cnm own",
            "network create --ipam-driver cnm own",
        ] {
            let error = site.cnm.cnm(&line.split(' ').collect::<Vec<_>>())?.failed()?;
            ensure!(error.contains("is this daemon's own"), "{line}: {error}");
        }
        // Nothing of all that is left, on either side.
        site.network("x", "--subnet 10.5.0.0/24 -o cnm.driver=bridge")?;
        let taken = site.refused(&create("z", "--subnet 10.5.0.0/25 -o cnm.driver=bridge"))?;
        ensure!(taken.contains("overlaps"), "{taken}");
        site.ok("network rm x")?;
        // Without a subnet one is chosen; with Docker's own addresses a bridge is one host's business.
        site.network("y", "-o cnm.driver=bridge")?;
        site.ok("network create -d cnm -o cnm.network=own -o cnm.driver=bridge --subnet 10.9.0.0/24 own")?;
        site.sleeper("one", "--network own")?;
        site.sleeper("two", "--network own")?;
        site.reaches("one", "two")?;
        site.ok("rm -f one two")?;
        site.ok("network rm own y").map(drop)
    })
}

#[test]
fn macvlans_of_two_dockers_share_a_segment() -> Test {
    let pair = Pair::start()?;
    let (a, b) = (&pair.a, &pair.b);
    for site in [a, b] {
        site.network(
            "seg",
            "-o cnm.driver=macvlan -o parent=eth0 --subnet 198.18.0.0/24 --ip-range 198.18.0.128/25 --gateway 198.18.0.254",
        )?;
    }
    a.sleeper("one", "--network seg")?;
    b.sleeper("two", "--network seg")?;
    let address = |site: &Site, name: &str| {
        let line = format!("inspect -f {{{{.NetworkSettings.Networks.seg.IPAddress}}}} {name}");
        site.ok(&line).map(|text| text.trim().to_owned())
    };
    let (first, second) = (address(a, "one")?, address(b, "two")?);
    ensure!(
        first.starts_with("198.18.0.1") && first != second,
        "{first} {second}"
    );
    a.reaches("one", &second)?;
    b.reaches("two", &first)?;
    a.reaches("one", "198.18.0.254")?;
    a.sleeper("three", "--network seg")?;
    a.reaches("one", "three")?;
    a.ok("network disconnect seg three")?;
    a.ok("network connect seg three")?;
    a.reaches("three", "one")?;
    a.ok("rm -f one three")?;
    b.ok("rm -f two")?;
    for site in [a, b] {
        site.ok("network rm seg")?;
        site.nothing_is_left()?;
    }
    Ok(())
}

#[test]
fn what_a_dead_dockerd_has_left_goes() -> Test {
    let (mut site, _lab) = Site::alone("dockerd", &[])?;
    let docker = site.network("lan", "-o cnm.driver=bridge --subnet 10.88.0.0/24")?;
    site.sleeper("one", "--network lan")?;
    // What a dockerd says that dies before it notes it.
    let process = site.cnm.id().context("it runs")?;
    let plugin = Api::at(PathBuf::from(format!(
        "/proc/{process}/root/run/docker/plugins/cnm.sock"
    )));
    let endpoint = "ab".repeat(32);
    let ids = |mut body: serde_json::Value| {
        body["NetworkID"] = json!(docker.trim());
        body["EndpointID"] = json!(endpoint);
        body
    };
    for address in ["", ""] {
        let asked = json!({"PoolID": "lan,10.88.0.0/24", "Address": address});
        plugin.post("/IpamDriver.RequestAddress", &asked)?;
    }
    let interface = json!({"Interface": {"Address": "10.88.0.3/24"}});
    plugin.post("/NetworkDriver.CreateEndpoint", &ids(interface))?;
    let key = json!({"SandboxKey": "/run/docker/netns/never"});
    let joined = plugin.post("/NetworkDriver.Join", &ids(key.clone()))?;
    assert_eq!(
        joined,
        plugin.post("/NetworkDriver.Join", &ids(key))?,
        "said twice"
    );
    let link = joined["InterfaceName"]["SrcName"]
        .as_str()
        .context("an interface")?
        .to_owned();
    site.run(&format!("ip link show {link}"))?;

    site.docker.kill()?;
    site.docker.start_again()?;
    wait_for("it to be gone", 3 * SOON, || {
        ensure!(
            site.run(&format!("ip link show {link}")).is_err(),
            "{link} is there"
        );
        ensure!(!site.cnm("sandbox ls")?.contains("never"), "its sandbox is there");
        Ok(())
    })?;
    // Both addresses are free again: they are the next ones asked for by name.
    wait_for("its addresses to be free", 3 * SOON, || {
        site.docker.docker(&["rm", "-f", "again"])?;
        site.sleeper("again", "--network lan --ip 10.88.0.4")
    })?;
    site.soon("exec one ping -c1 -W2 again")?;
    site.ok("rm -f one again")?;
    site.ok("network rm lan")?;
    site.nothing_is_left()
}
