//! Networks that change while containers are on them, which Docker can't: shown first, then done, and nobody falls off.

use std::time::Duration;

use netlab::{on_each_backend, wait_for};
use serde_json::Value;

type Test = anyhow::Result<()>;

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

#[test]
fn a_network_is_renamed_and_relabelled_under_its_containers() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --label a=1 --label b=2 lan")?;
        docker.ok("run -d --name one --network lan busybox sleep 600")?;
        docker.ok("run -d --name two --network lan busybox sleep 600")?;
        assert_eq!(
            docker.cnm_ok("network update --name office --label-add c=3 --label-rm a lan")?,
            "office"
        );
        docker.refused("network inspect lan")?;
        let network: Value = serde_json::from_str(&docker.ok("network inspect office")?)?;
        let labels = &network[0]["Labels"];
        assert!(
            labels["a"].is_null() && labels["b"] == "2" && labels["c"] == "3",
            "{labels}"
        );
        docker.ok("exec one ping -c1 -W5 two.office")?;
        let shown = docker.docker(&["inspect", "-f", "{{json .NetworkSettings.Networks}}", "one"])?;
        contains(&shown.ok()?, "office");
        docker.ok("restart -t 0 two")?;
        docker.ok("exec one ping -c1 -W5 two")?;
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn mtu_icc_and_masquerade_change_and_flows_go_on() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --opt com.docker.network.bridge.name=lan0 lan")?;
        docker.web("web", "--network lan -p 8080:80")?;
        docker.ok("run -d --name two --network lan busybox sleep 600")?;
        let before = docker.host().run("nft", &["-s", "list", "ruleset"])?.ok()?;
        let steps = docker.cnm_ok("network update --dry-run --mtu 1400 --icc=false lan")?;
        contains(&steps, "1400");
        assert!(
            !docker.ok("exec two ip link show eth0")?.contains("mtu 1400"),
            "a dry run"
        );
        assert_eq!(
            docker.host().run("nft", &["-s", "list", "ruleset"])?.ok()?,
            before,
            "a dry run"
        );
        docker.cnm_ok("network update --mtu 1400 lan")?;
        for name in ["web", "two"] {
            contains(&docker.ok(&format!("exec {name} ip link show eth0"))?, "mtu 1400");
        }
        docker.ok("exec two wget -q -O - -T 2 http://web/")?;
        docker.cnm_ok("network update --icc=false lan")?;
        docker.refused("exec two wget -q -O - -T 2 http://web/")?;
        let url = format!("http://{}:8080/", docker.host().address());
        assert_eq!(host.lab.outside_host().fetch(&url)?, "web");
        docker.cnm_ok("network update --icc=true lan")?;
        docker.ok("exec two wget -q -O - -T 2 http://web/")?;
        docker.cnm_ok("network update --masquerade=false lan")?;
        docker.refused("exec two ping -c1 -W1 203.0.113.1")?;
        docker.cnm_ok("network update --masquerade lan")?;
        docker.ok("exec two ping -c1 -W5 203.0.113.1")?;
        docker.ok("rm -f web two")?;
        Ok(())
    })
}

#[test]
fn a_full_network_gets_another_subnet() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --subnet 10.81.0.0/30 lan")?;
        docker.ok("run -d --name one --network lan busybox sleep 600")?;
        docker.refused("run -d --name two --network lan busybox sleep 600")?;
        docker.ok("rm -f two")?;
        docker.cnm_ok("network update --subnet 10.82.0.0/24 lan")?;
        docker.ok("run -d --name two --network lan busybox sleep 600")?;
        contains(&docker.address_of("two", "lan")?, "10.82.0.");
        docker.ok("exec one ping -c1 -W5 two")?;
        docker.ok("exec two ping -c1 -W5 203.0.113.1")?;
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn what_can_not_be_changed_is_refused_and_nothing_changes() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --subnet 10.83.0.0/24 lan")?;
        docker.ok("network create other")?;
        let before = docker.ok("network inspect lan")?;
        for (line, why) in [
            ("network update --name other lan", "other"),
            ("network update --name bridge lan", "bridge"),
            ("network update --name x bridge", "pre"),
            ("network update --subnet 10.83.0.128/25 lan", "10.83.0.128/25"),
            ("network update --mtu 1400 absent", "absent"),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            contains(&docker.cnm(&words)?.failed()?, why);
        }
        assert_eq!(docker.ok("network inspect lan")?, before);
        Ok(())
    })
}

#[test]
fn a_change_outlives_a_killed_daemon() -> Test {
    on_each_backend(&[], |mut host| {
        host.daemon.ok("network create lan")?;
        host.daemon
            .ok("run -d --name one --network lan busybox sleep 600")?;
        host.daemon
            .cnm_ok("network update --mtu 1280 --name office lan")?;
        host.daemon.kill()?;
        host.daemon.start_again()?;
        let inside = wait_for("the container", Duration::from_secs(5), || {
            host.daemon.ok("exec one ip link show eth0")
        })?;
        contains(&inside, "mtu 1280");
        host.daemon.ok("network inspect office")?;
        host.daemon.ok("rm -f one")?;
        Ok(())
    })
}
