//! The daemon is stopped, killed and upgraded while loads run, and not one request of theirs fails.
//!
//! What each program's life promises: names resolve and published ports work while the *daemon* is away, whatever ends it.
//! `cnm-names` is the process that answers and relays; when it is killed, what the kernel translates and forwards notices
//! nothing, and names and relayed ports are back as soon as the daemon has started another one.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use netlab::{DnsLoad, Host, HttpLoad, IperfLoad, Load, Queries, Single, go_on, on_each_backend};

type Test = anyhow::Result<()>;

/// The host on an underlay of IPv6, and who asks it from outside (documentation block, RFC 3849).
const HOST_V6: &str = "2001:db8::a";
const OUTSIDE_V6: &str = "2001:db8::b";

/// What a load does before it counts as going on.
const REQUESTS: u64 = 50;
const SECONDS: u64 = 2;
/// A query that nobody answered is known as lost after five seconds.
const LOST: u64 = 6;
/// Fewer fail of one HTTP load while the helper is started, and of dnsperf: on an idle machine some 20 each, and each
/// load asks at most 100 and 300 a second.
const REQUESTS_OF_A_GAP: usize = 300;
const QUERIES_OF_A_GAP: u64 = 300;
/// Of a program's log in a message.
const LINES: usize = 40;

/// Containers, and what is asked of them from everywhere.
struct Loads {
    http: Vec<HttpLoad>,
    relayed: Vec<HttpLoad>,
    streams: Vec<IperfLoad>,
    relayed_stream: IperfLoad,
    names: DnsLoad,
}

fn v6_underlay(host: &Host, outside: &Host) -> anyhow::Result<()> {
    for (at, address) in [(host, HOST_V6), (outside, OUTSIDE_V6)] {
        let own = format!("{address}/64");
        at.run("ip", &["addr", "add", &own, "dev", "eth0", "nodad"])?
            .ok()?;
    }
    Ok(())
}

/// `web` serves, `client` is its neighbour.
fn containers(host: &Single) -> anyhow::Result<()> {
    let docker = &host.daemon;
    v6_underlay(docker.host(), &host.lab.outside_host())?;
    docker.ok("network create --ipv6 lan")?;
    let ports = "-p 8080:80 -p 127.0.0.1:8081:80 -p [::1]:8082:80 -p 5201:5201 -p [::1]:5202:5202";
    docker.web("web", &format!("--network lan {ports}"))?;
    docker.cnm_ok("port add web 8083:80,firewall=host")?;
    docker
        .ok("run -d --name client --network lan busybox sleep 600")
        .map(drop)
}

impl Loads {
    /// The neighbour, the host and the outside ask, directly and through published ports.
    fn start(host: &Single) -> anyhow::Result<Self> {
        let (docker, outside) = (&host.daemon, host.lab.outside_host());
        let [web, client] = [docker.netns_of("web")?, docker.netns_of("client")?];
        let (own, v4) = (docker.host(), IpAddr::from(docker.host().address()));
        let (direct, v6) = (
            docker.address_of("web", "lan")?.parse::<IpAddr>()?,
            HOST_V6.parse::<IpAddr>()?,
        );
        let (local, local_v6) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST));
        let http = |name: &str, netns: &PathBuf, ip: IpAddr, port: u16| {
            HttpLoad::start(name, netns, SocketAddr::new(ip, port), "web")
        };
        let (from_outside, from_host) = (outside.netns().to_owned(), own.netns().to_owned());
        let stream = |name: &str, port: u16, netns: &PathBuf, ip: IpAddr| {
            IperfLoad::start(own, name, (&web, port), (netns, SocketAddr::new(ip, port)))
        };
        let mut loads = Self {
            http: vec![
                http("outside, IPv4", &from_outside, v4, 8080)?,
                http("outside, IPv6", &from_outside, v6, 8080)?,
                http("host, 127.0.0.1", &from_host, local, 8081)?,
                http("container, through the host's address", &client, v4, 8080)?,
                http("container, direct", &client, direct, 80)?,
            ],
            relayed: vec![
                http("host, [::1]", &from_host, local_v6, 8082)?,
                http("outside, under the host's rules", &from_outside, v4, 8083)?,
            ],
            streams: vec![
                stream("direct", 5203, &client, direct)?,
                stream("published", 5201, &from_outside, v4)?,
            ],
            relayed_stream: stream("relayed", 5202, &from_host, local_v6)?,
            names: DnsLoad::start(own, "client", &client, "web A\nweb AAAA\nclient.lan A\n")?,
        };
        loads.go_on()?;
        Ok(loads)
    }

    /// Each, with what it does before it counts as going on: requests, and seconds of what tells figures each second.
    fn all(&mut self) -> impl Iterator<Item = (&mut dyn Load, u64)> {
        let http = self.http.iter_mut().chain(&mut self.relayed);
        let streams = self.streams.iter_mut().chain([&mut self.relayed_stream]);
        http.map(|load| (load as &mut dyn Load, REQUESTS))
            .chain(streams.map(|load| (load as &mut dyn Load, SECONDS)))
            .chain([(&mut self.names as &mut dyn Load, SECONDS)])
    }

    /// What the kernel translates and forwards by itself.
    fn forwarded(&mut self) -> impl Iterator<Item = (&mut dyn Load, u64)> {
        let http = self.http.iter_mut().map(|load| (load as &mut dyn Load, REQUESTS));
        http.chain(
            self.streams
                .iter_mut()
                .map(|load| (load as &mut dyn Load, SECONDS)),
        )
    }

    fn go_on(&mut self) -> anyhow::Result<()> {
        go_on(self.all())
    }

    /// Each goes on, and nothing of any has ever failed: else who failed, with what, and what the programs said.
    fn hold(&mut self, host: &Single, when: &str) -> Test {
        let going = self.go_on();
        let failures = self.failures();
        if going.is_ok() && failures.is_empty() {
            return Ok(());
        }
        let going = going.map_or_else(|error| format!("{error:#}"), |()| "all go on".to_owned());
        bail!(
            "{when}: {going}; failures: {failures:#?}\n{}",
            what_the_programs_said(host)
        )
    }

    fn failures(&mut self) -> Vec<String> {
        let of = |load: &mut dyn Load| {
            let name = load.name().to_owned();
            load.failures()
                .into_iter()
                .map(move |failure| format!("{name}: {failure}"))
        };
        self.all().flat_map(|(load, _)| of(load)).collect()
    }
}

/// The helper of this host.
fn name_service(host: &Single) -> Option<String> {
    let root = host.daemon.exec_root().to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_it = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let program = line.split('\0').next().unwrap_or_default();
        program.ends_with("cnm-names") && line.contains(&root)
    };
    pids.into_iter().find(is_it)
}

/// The ends of their logs.
fn what_the_programs_said(host: &Single) -> String {
    let names = host.daemon.exec_root().join("names/log");
    let logs = [
        ("cnmd", host.daemon.log()),
        ("cnm-names", fs::read_to_string(names).unwrap_or_default()),
    ];
    let end = |log: &str| {
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    };
    logs.map(|(name, log)| format!("{name} said in the end:\n{}\n", end(&log)))
        .concat()
}

/// dnsperf's account when the answers to its last questions are in.
fn account(names: DnsLoad) -> anyhow::Result<Queries> {
    let mut names = names;
    go_on([(&mut names as &mut dyn Load, LOST)])?;
    let queries = names.finish()?;
    assert_eq!(queries.codes, [("NOERROR".to_owned(), queries.completed)]);
    Ok(queries)
}

/// Whatever ends the daemon, and however it comes back.
fn the_daemon_comes_and_goes(host: &mut Single, mut loads: Loads) -> Test {
    host.daemon.stop()?;
    loads.hold(host, "stopped with SIGTERM")?;
    host.daemon.start_again()?;
    loads.hold(host, "started again")?;

    host.daemon.kill()?;
    loads.hold(host, "killed with SIGKILL")?;
    host.daemon.start_again()?;
    loads.hold(host, "started after that")?;

    host.daemon.upgrade()?;
    loads.hold(host, "upgraded")?;

    let queries = account(loads.names)?;
    assert_eq!(queries.lost, 0, "{queries:?}\n{}", what_the_programs_said(host));
    Ok(())
}

/// `kill -9` of the helper: the kernel's part goes on untouched, the helper's own is back after one gap.
fn the_name_service_is_killed(host: &Single, mut loads: Loads) -> Test {
    let pid = name_service(host).expect("a name service");
    host.daemon.host().run("kill", &["-9", &pid])?.ok()?;
    go_on(loads.forwarded())?;
    for (load, _) in loads.forwarded() {
        assert_eq!(load.failures(), Vec::<String>::new(), "{}", load.name());
    }
    let relayed = |loads: &mut Loads| -> anyhow::Result<Vec<Vec<String>>> {
        let relayed = loads.relayed.iter_mut();
        go_on(relayed.map(|load| (load as &mut dyn Load, REQUESTS)))
            .with_context(|| what_the_programs_said(host))?;
        Ok(loads.relayed.iter_mut().map(Load::failures).collect())
    };
    let failures = relayed(&mut loads)?;
    assert!(
        failures.iter().all(|of_one| of_one.len() < REQUESTS_OF_A_GAP),
        "{failures:#?}\n{}",
        what_the_programs_said(host)
    );
    assert_eq!(relayed(&mut loads)?, failures, "it is back for good");
    let queries = account(loads.names)?;
    assert!(queries.lost < QUERIES_OF_A_GAP, "{queries:?}");
    assert_ne!(name_service(host), Some(pid));
    Ok(())
}

#[test]
fn the_daemon_is_stopped_killed_and_upgraded_and_not_one_request_fails() -> Test {
    on_each_backend(&[], |mut host| {
        containers(&host)?;
        let loads = Loads::start(&host)?;
        the_daemon_comes_and_goes(&mut host, loads)?;
        let loads = Loads::start(&host)?;
        the_name_service_is_killed(&host, loads)?;
        host.daemon.ok("rm -f web client")?;
        Ok(())
    })
}
