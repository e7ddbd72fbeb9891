//! Published ports with real packets: N10 and N11, from outside, from the host and between containers, on both backends.

use std::{cell::RefCell, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use netlab::{DockerClient, OUTSIDE_ADDRESS, Single, wait_for};
use serde_json::Value;

type Test = anyhow::Result<()>;

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

/// Plays a test on each backend, each time with another of the clients.
fn played(flags: &[&str], test: impl Fn(Single) -> Test) -> Test {
    let clients = RefCell::new(DockerClient::ALL.into_iter().cycle());
    netlab::on_each_backend(flags, |mut host| {
        let client = clients.borrow_mut().next().expect("they go round");
        host.daemon.use_docker(client.program()?);
        test(host).with_context(|| format!("with the client {client:?}"))
    })
}

/// Where a published port of this host is found.
fn at(host: &Single, port: &str) -> String {
    format!("http://{}:{port}/", host.daemon.host().address())
}

/// The host's port that a container's leads from, as Docker's words say it.
fn host_port(host: &Single, container: &str, port: &str) -> anyhow::Result<String> {
    let said = host.daemon.ok(&format!("port {container} {port}"))?;
    let line = said.lines().next().unwrap_or_default();
    let (_, number) = line.rsplit_once(':').unwrap_or_default();
    assert!(number.parse::<u16>().is_ok_and(|port| port > 0), "{said:?}");
    Ok(number.to_owned())
}

#[test]
fn n10_a_published_port_is_reached_from_outside_and_from_the_host() -> Test {
    played(&[], |host| {
        let docker = &host.daemon;
        docker.web("web", "-p 8080:80")?;
        // The old client writes an address of IPv6 without brackets.
        let said = docker.ok("port web 80")?.replace("\n:::", "\n[::]:");
        assert_eq!(said, "0.0.0.0:8080\n[::]:8080");
        assert_eq!(host.lab.outside_host().fetch(&at(&host, "8080"))?, "web");
        let own = docker.host();
        for url in [
            at(&host, "8080"),
            "http://127.0.0.1:8080/".into(),
            "http://[::1]:8080/".into(),
        ] {
            assert_eq!(own.fetch(&url)?, "web", "{url}");
        }
        let shown = docker.ok("ps --format {{.Ports}}")?;
        contains(&shown, "0.0.0.0:8080->80/tcp");
        docker.ok("stop -t 1 web")?;
        own.no_fetch("http://127.0.0.1:8080/")?;
        docker.ok("start web")?;
        host.lab
            .outside_host()
            .fetch_within(Duration::from_secs(5), &at(&host, "8080"))?;
        docker.ok("rm -f web")?;
        host.lab.outside_host().no_fetch(&at(&host, "8080"))
    })
}

#[test]
fn n10_between_containers_the_containers_port_counts_and_the_published_one_leads_back() -> Test {
    played(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create lan")?;
        docker.ok("network create other")?;
        docker.web("web", "--network lan -p 8080:80")?;
        docker.ok("run -d --name near --network lan busybox sleep 600")?;
        docker.ok("run -d --name far --network other busybox sleep 600")?;
        let ask = |who: &str, url: &str| format!("exec {who} wget -q -O - -T 2 {url}");
        assert_eq!(docker.ok(&ask("near", "http://web/"))?, "web");
        docker.refused(&ask("near", "http://web:8080/"))?;
        // Through the host's address: the same network, another one, and the container itself.
        for who in ["near", "far", "web"] {
            assert_eq!(docker.ok(&ask(who, &at(&host, "8080")))?, "web", "{who}");
        }
        docker.ok("rm -f web near far")?;
        Ok(())
    })
}

#[test]
fn n10_a_port_on_loopback_is_the_hosts_alone() -> Test {
    played(&[], |mut host| {
        let neighbour = host.lab.host("b")?;
        let docker = &host.daemon;
        docker.web("web", "-p 127.0.0.1:5000:80")?;
        assert_eq!(docker.ok("port web")?, "80/tcp -> 127.0.0.1:5000");
        let own = docker.host();
        assert_eq!(own.fetch("http://127.0.0.1:5000/")?, "web");
        own.no_fetch(&at(&host, "5000"))?;
        neighbour.no_fetch(&at(&host, "5000"))?;
        // A neighbour that routes 127.0.0.1 to us is turned away, whatever its own kernel lets out.
        let to = own.address().to_string();
        for line in [
            "sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1".to_owned(),
            "ip route flush table local type local 127.0.0.0/8".to_owned(),
            format!("ip route replace 127.0.0.0/8 via {to}"),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            neighbour.run(words[0], &words[1..])?;
        }
        neighbour.no_fetch("http://127.0.0.1:5000/")?;
        docker.ok("rm -f web")?;
        Ok(())
    })
}

#[test]
fn n10_udp_and_one_address_and_any_port() -> Test {
    played(&[], |host| {
        let docker = &host.daemon;
        let address = docker.host().address();
        docker.ok(&format!(
            "run -d --name dns -p {address}::53/udp -p 127.0.0.1::5000 busybox sleep 600"
        ))?;
        docker.udp_echo("dns", 53)?;
        let port: u16 = host_port(&host, "dns", "53/udp")?.parse()?;
        let to = SocketAddr::from((address, port));
        assert_eq!(
            host.lab.outside_host().datagram(to, "over and out")?,
            "over and out"
        );
        assert_eq!(docker.host().datagram(to, "from here")?, "from here");
        let other = SocketAddr::from(([127, 0, 0, 1], port));
        assert!(docker.host().datagram(other, "not there").is_err());
        host_port(&host, "dns", "5000")?;
        docker.ok("rm -f dns")?;
        Ok(())
    })
}

#[test]
fn n10_many_ports_ranges_and_every_exposed_one() -> Test {
    played(&[], |host| {
        let docker = &host.daemon;
        docker.web(
            "many",
            "-p 81:80 -p 443:443 -p 7000-7009:7000-7009 -p 7100-7109:80",
        )?;
        assert_eq!(host.lab.outside_host().fetch(&at(&host, "81"))?, "many");
        let said = docker.ok("port many")?;
        for line in [
            "80/tcp -> 0.0.0.0:81",
            "443/tcp -> 0.0.0.0:443",
            "7009/tcp -> 0.0.0.0:7009",
        ] {
            contains(&said, line);
        }
        // One container port with a range of host ports gets one of them.
        let of_range = said.lines().filter(|line| line.contains("0.0.0.0:71")).count();
        assert_eq!(of_range, 1, "{said}");
        docker.web_on("ranged", 7005, "-p 7205-7206:7005-7006")?;
        assert_eq!(host.lab.outside_host().fetch(&at(&host, "7205"))?, "ranged");
        docker.web("all", "-P --expose 80 --expose 90-91/udp")?;
        let port = host_port(&host, "all", "80")?;
        assert_eq!(host.lab.outside_host().fetch(&at(&host, &port))?, "all");
        let (first, second) = (
            host_port(&host, "all", "90/udp")?,
            host_port(&host, "all", "91/udp")?,
        );
        assert_ne!(first, second);
        docker.ok("rm -f many ranged all")?;
        Ok(())
    })
}

#[test]
fn n10_a_port_that_is_taken_is_refused_with_its_holder() -> Test {
    played(&[], |host| {
        let docker = &host.daemon;
        docker.ok("run -d --name first -p 8080:80 busybox sleep 600")?;
        let said = docker.refused("run -d --name second -p 8080:80 busybox sleep 600")?;
        contains(&said, "port is already allocated");
        contains(&said, "first");
        docker.ok("rm -f second")?;
        // A process of the host holds another one.
        let busybox = netlab::Programs::peer("busybox")?;
        let mut command = std::process::Command::new(busybox);
        command.args(["httpd", "-f", "-p", "9090"]);
        let mut holder = docker.host().start("holder", command)?;
        let said = wait_for("the holder to listen", Duration::from_secs(10), || {
            let refused = docker.refused("run -d --name third -p 9090:80 busybox sleep 600");
            docker.ok("rm -f third")?;
            refused
        })?;
        contains(&said, "9090");
        contains(&said, "busybox");
        contains(&said, &holder.id().to_string());
        holder.kill()?;
        docker.web("third", "-p 9090:80")?;
        docker.ok("rm -f first third")?;
        Ok(())
    })
}

#[test]
fn ports_are_added_to_a_running_container_and_taken_away() -> Test {
    played(&[], |host| {
        let docker = &host.daemon;
        docker.web("web", "")?;
        let outside = host.lab.outside_host();
        outside.no_fetch(&at(&host, "8080"))?;
        let now = docker.cnm_ok("port add web 8080:80")?;
        contains(&now, "80/tcp -> 0.0.0.0:8080");
        assert_eq!(outside.fetch(&at(&host, "8080"))?, "web");
        docker.cnm_ok("port add web 127.0.0.1:9000:80")?;
        assert_eq!(docker.host().fetch("http://127.0.0.1:9000/")?, "web");
        let taken = docker.cnm(&["port", "add", "web", "8080:81"])?.failed()?;
        contains(&taken, "already allocated");
        // A restart finds what was added.
        docker.ok("restart -t 1 web")?;
        outside.fetch_within(Duration::from_secs(5), &at(&host, "8080"))?;
        docker.cnm_ok("port rm web 8080:80")?;
        outside.no_fetch(&at(&host, "8080"))?;
        assert_eq!(
            docker.host().fetch("http://127.0.0.1:9000/")?,
            "web",
            "the other stays"
        );
        let unknown = docker.cnm(&["port", "rm", "web", "8080:80"])?.failed()?;
        contains(&unknown, "8080");
        docker.ok("rm -f web")?;
        Ok(())
    })
}

#[test]
fn what_is_not_published_is_not_reached_and_a_dead_mapping_is_forgotten() -> Test {
    played(&[], |mut host| {
        let neighbour = host.lab.host("b")?;
        let docker = &host.daemon;
        docker.web("web", "-p 8080:80")?;
        let inside = docker.address_of("web", "bridge")?;
        // A neighbour that routes to the containers goes past the published port.
        let via = docker.host().address().to_string();
        neighbour
            .run("ip", &["route", "add", "172.17.0.0/16", "via", &via])?
            .ok()?;
        neighbour.no_fetch(&format!("http://{inside}/"))?;
        assert_eq!(neighbour.fetch(&at(&host, "8080"))?, "web");
        docker.ok("run -d --name udp -p 5300:53/udp busybox sleep 600")?;
        docker.udp_echo("udp", 53)?;
        let to = SocketAddr::from((docker.host().address(), 5300));
        assert_eq!(neighbour.datagram(to, "one")?, "one");
        docker.ok("rm -f udp")?;
        docker.ok("run -d --name udp2 -p 5300:53/udp busybox sleep 600")?;
        docker.udp_echo("udp2", 53)?;
        // The same client port would follow the old flow to an address that nobody has.
        assert_eq!(neighbour.datagram(to, "two")?, "two");
        docker.ok("rm -f web udp2")?;
        Ok(())
    })
}

#[test]
fn n11_what_goes_out_has_the_hosts_address_and_what_stays_has_its_own() -> Test {
    played(&[], |host| {
        let docker = &host.daemon;
        let forwarding = docker
            .host()
            .run("sysctl", &["-n", "net.ipv4.ip_forward"])?
            .ok()?;
        assert_eq!(forwarding, "1");
        docker.ok("run -d --name one busybox sleep 600")?;
        let outside = host.lab.outside_host();
        let mut capture = std::process::Command::new("sh");
        // The outside has no route to containers: an answer proves that the source was the host's.
        capture.args(["-c", "ip route; exec sleep 600"]);
        let mut routes = outside.start("routes", capture)?;
        docker.ok(&format!("exec one ping -c1 -W5 {OUTSIDE_ADDRESS}"))?;
        wait_for("the routes", Duration::from_secs(5), || {
            anyhow::ensure!(routes.log().contains("198.18.0.0/24"), "{}", routes.log());
            Ok(())
        })?;
        assert!(!routes.log().contains("172.17."), "{}", routes.log());
        routes.kill()?;
        docker.ok("network create --opt com.docker.network.bridge.enable_ip_masquerade=false plain")?;
        docker.ok("run -d --name two --network plain busybox sleep 600")?;
        docker.refused(&format!("exec two ping -c1 -W1 {OUTSIDE_ADDRESS}"))?;
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn published_ports_outlive_the_daemon() -> Test {
    played(&[], |mut host| {
        host.daemon.web("web", "-p 8080:80 -p 127.0.0.1:9000:80")?;
        host.daemon.kill()?;
        assert_eq!(host.lab.outside_host().fetch(&at(&host, "8080"))?, "web");
        for url in ["http://127.0.0.1:9000/", "http://[::1]:8080/"] {
            assert_eq!(host.daemon.host().fetch(url)?, "web", "{url}");
        }
        host.daemon.start_again()?;
        assert_eq!(host.lab.outside_host().fetch(&at(&host, "8080"))?, "web");
        assert_eq!(host.daemon.ok("port web 80")?.lines().count(), 3);
        host.daemon.ok("rm -f web")?;
        Ok(())
    })
}

#[test]
fn inspect_says_what_is_published_and_what_only_listens() -> Test {
    let host = Single::start(&[])?;
    host.daemon.web("web", "--expose 90 -p 8080:80")?;
    let shown: Value = serde_json::from_str(&host.daemon.ok("inspect web")?)?;
    let ports = &shown[0]["NetworkSettings"]["Ports"];
    assert_eq!(ports["80/tcp"][0]["HostPort"], "8080", "{ports}");
    assert!(ports["90/tcp"].is_null(), "{ports}");
    host.daemon.ok("rm -f web")?;
    Ok(())
}
