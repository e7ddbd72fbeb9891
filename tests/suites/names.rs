//! Names beyond the walkthroughs: the default bridge, upstreams, the cache, the daemon away, and the options of networks.

use std::time::Duration;

use netlab::{OUTSIDE_ADDRESS, Single, Upstream, on_each_backend};

type Test = anyhow::Result<()>;

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

/// A host with two name servers of the outside: `first` answers 192.0.2.1, `second` 192.0.2.2.
fn upstreams(host: &Single) -> anyhow::Result<(Upstream, Upstream)> {
    let outside = host.lab.outside_host();
    let at = |last: u8| [203, 0, 113, last];
    outside
        .run("ip", &["addr", "add", "203.0.113.2/32", "dev", "lo"])?
        .ok()?;
    Ok((
        Upstream::start(&outside, at(1), [192, 0, 2, 1])?,
        Upstream::start(&outside, at(2), [192, 0, 2, 2])?,
    ))
}

#[test]
fn names_resolve_on_the_default_bridge_too() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("run -d --name one busybox sleep 600")?;
        docker.ok("run -d --name two busybox sleep 600")?;
        docker.ok("exec one ping -c1 -W5 two")?;
        let address = docker.address_of("two", "bridge")?;
        contains(&docker.ok("exec one nslookup two")?, &address);
        contains(&docker.ok(&format!("exec one nslookup {address}"))?, "two");
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn a_dead_upstream_does_not_hold_up_a_living_one() -> Test {
    on_each_backend(&[], |host| {
        let (first, second) = upstreams(&host)?;
        let docker = &host.daemon;
        // The first has nobody behind it.
        docker.ok(
            "run -d --name one --dns 203.0.113.9 --dns 203.0.113.1 --dns 203.0.113.2 busybox sleep 600",
        )?;
        // A busy machine slows some: the fastest tells.
        let mut fastest = Duration::MAX;
        for name in ["here", "there", "elsewhere"] {
            let began = std::time::Instant::now();
            contains(
                &docker.ok(&format!("exec one nslookup {name}.example"))?,
                "192.0.2.",
            );
            fastest = fastest.min(began.elapsed());
        }
        assert!(fastest < Duration::from_secs(4), "{fastest:?}");
        drop(first);
        drop(second);
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn an_answer_is_asked_for_once() -> Test {
    on_each_backend(&[], |host| {
        let (first, _second) = upstreams(&host)?;
        let docker = &host.daemon;
        docker.ok(&format!(
            "run -d --name one --dns {OUTSIDE_ADDRESS} busybox sleep 600"
        ))?;
        docker.ok("exec one nslookup -type=a cached.example")?;
        let asked = first.asked();
        assert!(asked > 0);
        for _ in 0..5 {
            contains(
                &docker.ok("exec one nslookup -type=a cached.example")?,
                "192.0.2.1",
            );
        }
        assert_eq!(first.asked(), asked, "the answer's TTL is a minute");
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn a_network_has_upstreams_of_its_own_for_a_domain_and_records_of_its_own() -> Test {
    on_each_backend(&[], |host| {
        let (_first, second) = upstreams(&host)?;
        let docker = &host.daemon;
        docker.ok("network create --opt cnm.dns.forward.corp.example=203.0.113.2 --opt cnm.dns.record.printer=10.1.2.3 lan")?;
        docker.ok(&format!(
            "run -d --name one --network lan --dns {OUTSIDE_ADDRESS} busybox sleep 600"
        ))?;
        contains(&docker.ok("exec one nslookup -type=a printer")?, "10.1.2.3");
        contains(
            &docker.ok("exec one nslookup -type=a wiki.corp.example")?,
            "192.0.2.2",
        );
        contains(
            &docker.ok("exec one nslookup -type=a elsewhere.example")?,
            "192.0.2.1",
        );
        assert_eq!(second.asked(), 1);
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn the_host_resolves_containers_where_a_network_says_so() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --subnet 10.70.0.0/24 --gateway 10.70.0.1 --opt cnm.dns.host=true lan")?;
        docker.ok("network create --subnet 10.71.0.0/24 --gateway 10.71.0.1 quiet")?;
        docker.ok("run -d --name web --network lan busybox sleep 600")?;
        let address = docker.address_of("web", "lan")?;
        let busybox = netlab::Programs::peer("busybox")?;
        let ask = |server: &str| {
            docker
                .host()
                .run(&busybox, &["timeout", "5", "nslookup", "web", server])
        };
        let said = netlab::wait_for("the listener", Duration::from_secs(5), || ask("10.70.0.1")?.ok())?;
        contains(&said, &address);
        assert!(ask("10.71.0.1")?.code != 0, "it is opt-in");
        docker.ok("rm -f web")?;
        Ok(())
    })
}

#[test]
fn names_resolve_and_names_are_forwarded_while_the_daemon_is_stopped() -> Test {
    on_each_backend(&[], |mut host| {
        let (_first, _second) = upstreams(&host)?;
        host.daemon.ok("network create lan")?;
        host.daemon.ok(&format!(
            "run -d --name one --network lan --dns {OUTSIDE_ADDRESS} busybox sleep 600"
        ))?;
        host.daemon
            .ok("run -d --name two --network lan busybox sleep 600")?;
        let pid = host.daemon.ok("inspect -f {{.State.Pid}} one")?;
        let two = host.daemon.address_of("two", "lan")?;
        host.daemon.stop()?;
        let inside = |name: &str| {
            let line = [
                "-t",
                &pid,
                "-n",
                "-m",
                "-r",
                "-w",
                "/bin/busybox",
                "nslookup",
                "-type=a",
                name,
            ];
            host.daemon.host().run("nsenter", &line)?.ok()
        };
        contains(&inside("two")?, &two);
        contains(&inside("fresh.example")?, "192.0.2.1");
        host.daemon.start_again()?;
        host.daemon.ok("exec one ping -c1 -W5 two")?;
        host.daemon.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn what_a_container_is_told_about_names_is_in_its_files() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create lan")?;
        docker.ok(
            "run -d --name one --network lan --dns 203.0.113.1 --dns-search corp.example --dns-opt ndots:2 \
         --add-host printer:10.1.2.3 --add-host host:host-gateway --hostname box busybox sleep 600",
        )?;
        let resolver = docker.ok("exec one cat /etc/resolv.conf")?;
        for line in ["nameserver 127.0.0.11", "search corp.example", "ndots:2"] {
            contains(&resolver, line);
        }
        let hosts = docker.ok("exec one cat /etc/hosts")?;
        contains(&hosts, "10.1.2.3\tprinter");
        let gateway = hosts
            .lines()
            .find(|line| line.ends_with("\thost"))
            .unwrap_or_default()
            .to_owned();
        assert!(
            !gateway.is_empty() && !gateway.contains("host-gateway"),
            "{hosts}"
        );
        docker
            .docker(&["exec", "one", "sh", "-c", "echo '# mine' >> /etc/resolv.conf"])?
            .ok()?;
        docker.ok("network create late")?;
        docker.ok("network connect late one")?;
        contains(&docker.ok("exec one cat /etc/resolv.conf")?, "# mine");
        docker.ok("rm -f one")?;
        Ok(())
    })
}
