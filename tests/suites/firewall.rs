//! The host's firewall: what of it a published port obeys (N15), what repairs itself, and what is never touched.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use netlab::{Host, Single, on_each_backend, wait_for};

type Test = anyhow::Result<()>;

/// What was wiped is back within so long.
const REPAIRED: Duration = Duration::from_secs(30);

fn at(host: &Single, port: u16) -> String {
    format!("http://{}:{port}/", host.daemon.host().address())
}

/// Hands nft(8) a script on a host.
fn nft(host: &Host, script: &str) -> anyhow::Result<()> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    host.run_command(command, script.as_bytes())?.ok().map(drop)
}

/// Every rule, without its counters.
fn rules(host: &Host) -> anyhow::Result<String> {
    host.run("nft", &["-s", "list", "ruleset"])?.ok()
}

/// Whether there is a table that isn't ours.
fn others(ruleset: &str) -> bool {
    ruleset
        .lines()
        .any(|line| line.starts_with("table") && !line.contains("cnm"))
}

/// A host that lets nobody in but answers, as a server's firewall does.
const CLOSED: &str = "
table inet admin {
    chain input {
        type filter hook input priority filter; policy drop;
        iif lo accept
        ct state established,related accept
        icmp type echo-request accept
        tcp dport 22 accept
    }
}";

#[test]
fn n15_an_open_port_passes_the_hosts_policy_and_a_guarded_one_obeys_it() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        nft(docker.host(), CLOSED)?;
        let before = docker
            .host()
            .run("nft", &["list", "table", "inet", "admin"])?
            .ok()?;
        docker.web("open", "-p 8080:80")?;
        let serve = "echo guarded > /var/www/index.html; exec httpd -f -p 80 -h /var/www";
        docker
            .cnm(&[
                "run",
                "-d",
                "--name",
                "guarded",
                "-p",
                "8081:80,firewall=host",
                "busybox",
                "sh",
                "-c",
                serve,
            ])?
            .ok()?;
        // Both are said: who looks needn't know how they were run.
        assert_eq!(
            docker.cnm_ok("port open")?,
            "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080"
        );
        let said = docker.cnm_ok("port guarded")?;
        assert!(
            said.contains("0.0.0.0:8081 (as the host's firewall allows)"),
            "{said}"
        );
        let shown = docker.cnm_ok("inspect guarded")?;
        assert!(shown.contains(r#""Exposure": "host""#), "{shown}");
        let outside = host.lab.outside_host();
        assert_eq!(outside.fetch(&at(&host, 8080))?, "open");
        outside.no_fetch(&at(&host, 8081))?;
        // The administrator opens it with a rule of her own, about the host's port.
        nft(docker.host(), "add rule inet admin input tcp dport 8081 accept\n")?;
        assert_eq!(
            outside.fetch_within(Duration::from_secs(5), &at(&host, 8081))?,
            "guarded"
        );
        docker.ok("rm -f open guarded")?;
        let after = docker
            .host()
            .run("nft", &["list", "table", "inet", "admin"])?
            .ok()?;
        assert_eq!(
            after.replace("\t\ttcp dport 8081 accept\n", ""),
            before,
            "nobody else's rule is changed"
        );
        Ok(())
    })
}

#[test]
fn n15_a_daemon_can_make_every_port_obey() -> Test {
    on_each_backend(&["--firewall", "host"], |host| {
        let docker = &host.daemon;
        nft(docker.host(), CLOSED)?;
        docker.web("web", "-p 8080:80")?;
        let said = docker.cnm_ok("port web")?;
        assert!(said.contains("as the host's firewall allows"), "{said}");
        host.lab.outside_host().no_fetch(&at(&host, 8080))?;
        docker.ok("rm -f web")?;
        Ok(())
    })
}

#[test]
fn n15_a_network_can_make_its_ports_obey() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        nft(docker.host(), CLOSED)?;
        docker.ok("network create --opt cnm.firewall=host lan")?;
        docker.web("web", "--network lan -p 8080:80")?;
        host.lab.outside_host().no_fetch(&at(&host, 8080))?;
        docker.ok("rm -f web")?;
        Ok(())
    })
}

/// The relay is a process of the host that reaches every container, so who has no way out must have none to it.
#[test]
fn internal_networks_have_no_way_out_by_the_relay() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        let subnets = |name: &str, number: u8| {
            format!(
                "--subnet 10.77.{number}.0/24 --ipv6 --subnet fd00:77:{number}::/64 --gateway fd00:77:{number}::1 {name}"
            )
        };
        docker.ok(&format!("network create --internal {}", subnets("closed", 1)))?;
        docker.ok(&format!("network create {}", subnets("open", 2)))?;
        docker.ok("run -d --name closed --network closed busybox sleep 600")?;
        docker.ok("run -d --name open --network open busybox sleep 600")?;
        docker.web("web", "-p 8080:80")?;
        assert_eq!(docker.host().fetch("http://[::1]:8080/")?, "web");

        docker.eventually("exec open wget -q -O - -T 2 http://[fd00:77:2::1]:8080/")?;
        for gateway in ["[fd00:77:1::1]", "10.77.1.1"] {
            docker.refused(&format!("exec closed wget -q -O - -T 1 http://{gateway}:8080/"))?;
        }
        docker.ok("rm -f web open closed")?;
        Ok(())
    })
}

#[test]
fn what_is_flushed_is_back_within_two_seconds() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("network create lan")?;
    docker.web("web", "--network lan -p 8080:80")?;
    let before = rules(docker.host())?;
    let outside = host.lab.outside_host();
    assert_eq!(outside.fetch(&at(&host, 8080))?, "web");
    for wipe in ["flush ruleset\n", "delete table inet cnm\n"] {
        // The table's name is the driver's own business: the second row is for what goes by that name.
        if nft(docker.host(), wipe).is_err() {
            continue;
        }
        let began = Instant::now();
        wait_for("the rules", REPAIRED, || {
            anyhow::ensure!(rules(docker.host())? == before, "not yet the same");
            Ok(())
        })?;
        eprintln!("{wipe:?} was repaired after {:?}", began.elapsed());
        assert_eq!(outside.fetch(&at(&host, 8080))?, "web");
    }
    docker.ok("rm -f web")?;
    Ok(())
}

#[test]
fn what_an_iptables_user_flushes_is_back_too() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.web("web", "-p 8080:80")?;
        let outside = host.lab.outside_host();
        assert_eq!(outside.fetch(&at(&host, 8080))?, "web");
        for table in ["filter", "nat", "raw"] {
            // A host without iptables' tables has nothing to flush there.
            let _ = docker.host().run("iptables", &["-t", table, "-F"])?;
        }
        // iptables-legacy announces nothing; the documented poll is what brings it back.
        outside.fetch_within(Duration::from_secs(15), &at(&host, 8080))?;
        docker.ok("rm -f web")?;
        Ok(())
    })
}

#[test]
fn a_bridge_deleted_by_hand_is_made_again_under_running_containers() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --opt com.docker.network.bridge.name=lan0 lan")?;
        docker.web("web", "--network lan -p 8080:80")?;
        docker.ok("run -d --name near --network lan busybox sleep 600")?;
        docker.host().run("ip", &["link", "del", "lan0"])?.ok()?;
        let outside = host.lab.outside_host();
        let began = Instant::now();
        outside.fetch_within(Duration::from_secs(5), &at(&host, 8080))?;
        eprintln!("the bridge was back after {:?}", began.elapsed());
        docker.eventually("exec near wget -q -O - -T 2 http://web/")?;
        docker.host().run("ip", &["link", "set", "lan0", "down"])?.ok()?;
        outside.fetch_within(Duration::from_secs(5), &at(&host, 8080))?;
        docker.ok("rm -f web near")?;
        docker.ok("network rm lan")?;
        assert!(docker.host().run("ip", &["link", "show", "lan0"])?.code != 0);
        Ok(())
    })
}

#[test]
fn sysctls_that_are_reset_are_set_again() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.web("web", "-p 127.0.0.1:8080:80 -p 8081:80")?;
        let own = docker.host();
        own.run(
            "sysctl",
            &[
                "-qw",
                "net.ipv4.ip_forward=0",
                "net.ipv4.conf.cnm0.route_localnet=0",
            ],
        )?
        .ok()?;
        docker.ok("network create wake")?;
        own.fetch_within(Duration::from_secs(70), "http://127.0.0.1:8080/")?;
        host.lab
            .outside_host()
            .fetch_within(Duration::from_secs(70), &at(&host, 8081))?;
        docker.ok("rm -f web")?;
        Ok(())
    })
}

#[test]
fn another_ones_forward_policy_of_drop_is_passed_in_the_place_that_it_provides() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        // What a running dockerd leaves: FORWARD drops, and DOCKER-USER is the user's.
        for line in ["-P FORWARD DROP", "-N DOCKER-USER", "-I FORWARD -j DOCKER-USER"] {
            docker
                .host()
                .run("iptables", &line.split(' ').collect::<Vec<_>>())?
                .ok()?;
        }
        docker.web("web", "-p 8080:80")?;
        let outside = host.lab.outside_host();
        outside.fetch_within(Duration::from_secs(5), &at(&host, 8080))?;
        docker.ok("exec web ping -c1 -W5 203.0.113.1")?;
        let forward = docker.host().run("iptables", &["-S", "FORWARD"])?.ok()?;
        assert!(forward.contains("-P FORWARD DROP"), "{forward}");
        docker.ok("rm -f web")?;
        Ok(())
    })
}

#[test]
fn iptables_false_touches_nothing() -> Test {
    on_each_backend(&["--iptables=false", "--ip6tables=false"], |host| {
        let docker = &host.daemon;
        docker.ok("network create lan")?;
        docker.ok("run -d --name one --network lan -p 8080:80 busybox sleep 600")?;
        docker.ok("run -d --name two --network lan busybox sleep 600")?;
        docker.ok("exec one ping -c1 -W5 two")?;
        assert_eq!(rules(docker.host())?, "");
        let tables = docker.host().run("cat", &["/proc/net/ip_tables_names"])?;
        assert_eq!(tables.stdout.trim(), "", "iptables-legacy's tables");
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn our_rules_are_ours_alone_and_go_with_the_last_network() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.web("web", "-p 8080:80")?;
    let ruleset = rules(docker.host())?;
    assert!(!others(&ruleset), "{ruleset}");
    docker.ok("rm -f web")?;
    let elements = rules(docker.host())?;
    assert!(!elements.contains("8080"), "{elements}");
    Ok(())
}
