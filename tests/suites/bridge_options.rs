//! Every option of a bridge network (section C.2), each with what it does to packets, and IPv6 throughout.

use netlab::{OUTSIDE_ADDRESS, Single, on_each_backend};
use serde_json::Value;

type Test = anyhow::Result<()>;

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

fn link(host: &Single, name: &str) -> anyhow::Result<String> {
    host.daemon.host().run("ip", &["-d", "addr", "show", name])?.ok()
}

#[test]
fn names_mtu_prefixes_and_endpoint_options_are_seen_on_the_links() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok(
        "network create --opt com.docker.network.bridge.name=lan0 --opt com.docker.network.driver.mtu=1400 \
         --opt com.docker.network.container_iface_prefix=net lan",
    )?;
        docker.ok(
        "run -d --name one --network name=lan,mac-address=02:42:ac:00:00:07,link-local-ip=169.254.9.9 busybox sleep 600",
    )?;
        contains(&link(&host, "lan0")?, "mtu 1400");
        let inside = docker.ok("exec one ip addr show net0")?;
        for expected in ["mtu 1400", "02:42:ac:00:00:07", "169.254.9.9"] {
            contains(&inside, expected);
        }
        docker.ok(
        "run -d --name two --network name=lan,driver-opt=com.docker.network.endpoint.ifname=wan busybox sleep 600",
    )?;
        docker.ok("exec two ip addr show wan")?;
        docker
        .docker(&[
            "run",
            "-d",
            "--name",
            "three",
            "--network",
            "name=lan,\"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1\"",
            "busybox",
            "sleep",
            "600",
        ])?
        .ok()?;
        assert_eq!(
            docker.ok("exec three cat /proc/sys/net/ipv4/conf/net0/log_martians")?,
            "1"
        );
        docker.ok("rm -f one two three")?;
        Ok(())
    })
}

#[test]
fn an_adopted_bridge_is_used_and_stays() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        for line in [
            "link add mine type bridge",
            "addr add 10.80.0.1/24 dev mine",
            "link set mine up",
        ] {
            docker
                .host()
                .run("ip", &line.split(' ').collect::<Vec<_>>())?
                .ok()?;
        }
        docker.ok(
            "network create --subnet 10.80.0.0/24 --gateway 10.80.0.1 --opt com.docker.network.bridge.name=mine lan",
        )?;
        docker.web("web", "--network lan -p 8080:80")?;
        let url = format!("http://{}:8080/", docker.host().address());
        assert_eq!(host.lab.outside_host().fetch(&url)?, "web");
        docker.ok("rm -f web")?;
        docker.ok("network rm lan")?;
        contains(&link(&host, "mine")?, "10.80.0.1/24");
        let taken = docker.ok("network create --opt com.docker.network.bridge.name=mine a")?;
        assert!(!taken.is_empty());
        // The bridge's own subnet is the first network's now, and another one isn't the bridge's.
        for (more, why) in [
            ("", "of network \"a\""),
            ("--subnet 10.81.0.0/24 ", "does not match"),
        ] {
            let line = format!("network create {more}--opt com.docker.network.bridge.name=mine b");
            contains(&docker.refused(&line)?, why);
        }
        Ok(())
    })
}

#[test]
fn gateway_modes_decide_who_gets_in() -> Test {
    on_each_backend(&[], |mut host| {
        let neighbour = host.lab.host("b")?;
        let docker = &host.daemon;
        let via = docker.host().address().to_string();
        let modes = [
            // mode, the published port by its container's address, an unpublished one
            ("nat", false, false),
            ("nat-unprotected", true, true),
            ("routed", true, false),
        ];
        for (at, (mode, published, unpublished)) in modes.into_iter().enumerate() {
            let subnet = format!("10.9{at}.0.0/24");
            docker.ok(&format!(
                "network create --subnet {subnet} --opt com.docker.network.bridge.gateway_mode_ipv4={mode} n{at}"
            ))?;
            neighbour
                .run("ip", &["route", "add", &subnet, "via", &via])?
                .ok()?;
            host.lab
                .outside_host()
                .run("ip", &["route", "add", &subnet, "via", &via])?
                .ok()?;
            let (shown, hidden) = (format!("shown{at}"), format!("hidden{at}"));
            docker.web(&shown, &format!("--network n{at} -p 80"))?;
            docker.web(&hidden, &format!("--network n{at}"))?;
            for (name, reached) in [(&shown, published), (&hidden, unpublished)] {
                let url = format!("http://{}/", docker.address_of(name, &format!("n{at}"))?);
                assert_eq!(neighbour.fetch(&url).is_ok(), reached, "{mode}: {name}");
            }
            docker.ok(&format!("exec {shown} ping -c1 -W5 {OUTSIDE_ADDRESS}"))?;
            docker.ok(&format!("rm -f {shown} {hidden}"))?;
        }
        docker.refused("network create --opt com.docker.network.bridge.gateway_mode_ipv4=sideways x")?;
        docker.refused("network create --opt com.docker.network.bridge.gateway_mode_ipv4=isolated x")?;
        Ok(())
    })
}

#[test]
fn internal_networks_have_no_way_out_and_isolated_ones_not_even_the_host() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --internal --subnet 10.60.0.0/24 inside")?;
        docker.ok("network create --internal --subnet 10.61.0.0/24 \
             --opt com.docker.network.bridge.gateway_mode_ipv4=isolated alone")?;
        docker.ok("run -d --name one --network inside busybox sleep 600")?;
        docker.ok("run -d --name two --network alone busybox sleep 600")?;
        docker.ok("run -d --name three --network alone busybox sleep 600")?;
        docker.refused(&format!("exec one ping -c1 -W1 {OUTSIDE_ADDRESS}"))?;
        docker.ok("exec two ping -c1 -W5 three")?;
        let host_reaches = |name: &str, network: &str| -> anyhow::Result<bool> {
            let address = docker.address_of(name, network)?;
            Ok(docker.host().run("ping", &["-c1", "-W1", &address])?.code == 0)
        };
        assert!(host_reaches("one", "inside")?);
        assert!(!host_reaches("two", "alone")?);
        docker.ok("rm -f one two three")?;
        Ok(())
    })
}

#[test]
fn the_source_of_what_leaves_can_be_chosen() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker
            .host()
            .run("ip", &["addr", "add", "198.18.0.77/24", "dev", "eth0"])?
            .ok()?;
        docker.ok("network create --opt com.docker.network.host_ipv4=198.18.0.77 lan")?;
        docker.ok("run -d --name one --network lan busybox sleep 600")?;
        docker.ok(&format!("exec one ping -c1 -W5 {OUTSIDE_ADDRESS}"))?;
        let flows = docker.host().run("conntrack", &["-L", "-p", "icmp"])?.ok()?;
        contains(&flows, "dst=198.18.0.77");
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn a_bridge_can_leave_its_address_to_another_gateway() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok(
        "network create --subnet 10.62.0.0/24 --gateway 10.62.0.254 --opt com.docker.network.bridge.name=lan0 \
         --opt com.docker.network.bridge.inhibit_ipv4=true lan",
    )?;
        docker.ok("run -d --name one --network lan busybox sleep 600")?;
        assert!(!link(&host, "lan0")?.contains("10.62.0.254"));
        contains(&docker.ok("exec one ip route")?, "default via 10.62.0.254");
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn ipv6_comes_with_a_pool_of_its_own_and_alone_if_asked() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --ipv6 dual")?;
        // The docker command of Debian is too old for --ipv4.
        docker.cnm_ok("network create --ipv6 --ipv4=false six")?;
        docker.web("one", "--network dual")?;
        docker.web("two", "--network dual")?;
        docker.ok("exec one ping -6 -c1 -W5 two")?;
        contains(&docker.ok("exec one ip -6 addr show eth0")?, "inet6 fd");
        docker.web("three", "--network six -p 8080:80")?;
        docker.ok("run -d --name four --network six busybox sleep 600")?;
        docker.ok("exec four ping -6 -c1 -W5 three")?;
        let only: Value = serde_json::from_str(&docker.ok("inspect three")?)?;
        let endpoint = &only[0]["NetworkSettings"]["Networks"]["six"];
        assert_eq!(endpoint["IPAddress"], "", "{endpoint}");
        assert_ne!(endpoint["GlobalIPv6Address"], "", "{endpoint}");
        assert_eq!(docker.host().fetch("http://[::1]:8080/")?, "three");
        docker.ok("rm -f one two three four")?;
        Ok(())
    })
}

#[test]
fn config_only_networks_are_templates() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("network create --config-only --subnet 10.63.0.0/24 --label a=1 template")?;
    docker.ok("network create --config-from template lan")?;
    let network: Value = serde_json::from_str(&docker.ok("network inspect lan")?)?;
    assert_eq!(network[0]["IPAM"]["Config"][0]["Subnet"], "10.63.0.0/24");
    assert_eq!(network[0]["ConfigFrom"]["Network"], "template");
    contains(
        &docker.refused("run --rm --network template busybox true")?,
        "template",
    );
    contains(&docker.refused("network rm template")?, "lan");
    docker.refused("network create --config-from template --subnet 10.64.0.0/24 other")?;
    docker.ok("network rm lan")?;
    docker.ok("network rm template")?;
    Ok(())
}

#[test]
fn the_default_bridge_is_as_the_daemon_was_told() -> Test {
    on_each_backend(
        &[
            "--bip",
            "10.66.0.1/24",
            "--fixed-cidr",
            "10.66.0.128/25",
            "--default-gateway",
            "10.66.0.254",
            "--mtu",
            "1300",
            "--default-address-pool",
            "base=10.67.0.0/16,size=26",
            "--default-network-opt",
            "bridge=com.docker.network.driver.mtu=1200",
        ],
        |host| {
            let docker = &host.daemon;
            docker.ok("run -d --name one busybox sleep 600")?;
            contains(&docker.ok("exec one ip addr show eth0")?, "mtu 1300");
            let address = docker.address_of("one", "bridge")?;
            let last: u8 = address.rsplit('.').next().unwrap_or_default().parse()?;
            assert!(last >= 128, "{address}");
            contains(&docker.ok("exec one ip route")?, "default via 10.66.0.254");
            docker.ok("network create lan")?;
            docker.ok("run -d --name two --network lan busybox sleep 600")?;
            let inside = docker.ok("exec two ip addr show eth0")?;
            contains(&inside, "/26");
            contains(&inside, "mtu 1200");
            docker.ok("rm -f one two")?;
            Ok(())
        },
    )
}

#[test]
fn without_a_default_bridge_containers_start_on_their_own_networks_only() -> Test {
    on_each_backend(&["--bridge", "none"], |host| {
        let docker = &host.daemon;
        assert!(link(&host, "cnm0").is_err());
        docker.ok("network create lan")?;
        docker.ok("run --rm --network lan busybox true")?;
        Ok(())
    })
}
