//! What happens to a host under running containers: links, rules, sysctls, addresses, routes and name servers change by
//! somebody else's hand. Each is put right by itself, and a connection that was held before speaks on.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use netlab::{Echo, Flow, Host, Single, Upstream, on_each_backend, wait_for};

type Test = anyhow::Result<()>;

/// How long a repair may take where several suites share a slow machine. That it waits so briefly that two seconds are
/// kept is a matter of the reconciler's own tests.
const REPAIRED: Duration = Duration::from_secs(30);

/// A container that serves and one beside it, and connections along every way there is.
struct Ground {
    flows: Vec<Flow>,
    before: String,
    /// The host's end of the link of the one that serves.
    link: String,
    _echoes: [Echo; 2],
}

impl Ground {
    fn lay(host: &Single) -> anyhow::Result<Self> {
        let docker = &host.daemon;
        docker.ok("network create --ipv6 --opt com.docker.network.bridge.name=lan0 lan")?;
        docker.ok("run -d --name web --network lan -p 7000:7000 -p 127.0.0.1:7001:7000 busybox sleep 600")?;
        docker.ok("run -d --name near --network lan busybox sleep 600")?;
        let (own, outside) = (docker.host(), host.lab.outside_host());
        let [web, near] = [docker.netns_of("web")?, docker.netns_of("near")?];
        let echoes = [Echo::start(&web, 7000)?, Echo::start(outside.netns(), 7000)?];
        let address: IpAddr = docker.address_of("web", "lan")?.parse()?;
        let v6 = docker.ok("inspect -f {{.NetworkSettings.Networks.lan.GlobalIPv6Address}} web")?;
        let v6: IpAddr = v6.parse()?;
        let index = docker.ok("exec web cat /sys/class/net/eth0/iflink")?;
        let ports = own.run("ip", &["-o", "link", "show", "master", "lan0"])?.ok()?;
        let link = ports
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{index}: ")))
            .and_then(|line| line.split('@').next())
            .with_context(|| format!("no port {index} in {ports}"))?;
        Ok(Self {
            flows: vec![
                Flow::hold(
                    "from outside to a published port",
                    outside.netns(),
                    own.address(),
                    7000,
                )?,
                Flow::hold("from the host to 127.0.0.1", own.netns(), [127, 0, 0, 1], 7001)?,
                Flow::hold("from container to container", &near, address, 7000)?,
                Flow::hold("the same over IPv6", &near, v6, 7000)?,
                Flow::hold("from the host to a container over IPv6", own.netns(), v6, 7000)?,
                Flow::hold("from a container to the outside", &near, outside.address(), 7000)?,
            ],
            before: state(own)?,
            link: link.to_owned(),
            _echoes: echoes,
        })
    }

    /// Waits until all is as it was and new connections go everywhere; then those that were held speak on.
    fn is_whole_again(&mut self, host: &Host, fault: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        wait_for("repair", REPAIRED, || {
            self.flows.iter().try_for_each(Flow::takes_another)?;
            let now = state(host)?;
            anyhow::ensure!(now == self.before, "{}", difference(&self.before, &now));
            Ok(())
        })
        .with_context(|| fault.to_owned())?;
        eprintln!("{fault}: repaired after {:?}", began.elapsed());
        let lives = self.flows.iter_mut().try_for_each(Flow::lives);
        lives.with_context(|| fault.to_owned())
    }
}

/// What was there and should be there again: rules without counters, sysctls, addresses and ports of the bridge. What the
/// kernel gives a link of itself is the kernel's.
fn state(host: &Host) -> anyhow::Result<String> {
    const SCRIPT: &str = "
        nft -s list ruleset 2>/dev/null
        for save in iptables-save ip6tables-save; do $save | sed -e '/^#/d' -e 's/ \\[[0-9:]*\\]//'; done
        sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.conf.lan0.route_localnet
        ip -o addr show dev lan0 | grep -v 'scope link' | sed -e 's/^[0-9]*: //' | sort
        ip -o link show master lan0 up | sed -e 's/^[0-9]*: //' -e 's/@.*//' | sort";
    host.run("sh", &["-c", SCRIPT])?.ok()
}

fn difference(before: &str, now: &str) -> String {
    let lacks = |one: &str, other: &str| -> Vec<String> {
        let others: Vec<&str> = other.lines().collect();
        one.lines()
            .filter(|line| !others.contains(line))
            .map(str::to_owned)
            .collect()
    };
    format!(
        "missing: {:#?}, too much: {:#?}",
        lacks(before, now),
        lacks(now, before)
    )
}

/// What somebody does, in shell's words; `LINK` is the host's end of the serving container's link.
const FAULTS: [(&str, &str); 9] = [
    ("the bridge is deleted", "ip link del lan0"),
    ("the bridge is downed", "ip link set lan0 down"),
    ("a container's link is downed", "ip link set LINK down"),
    (
        "a container's link is taken out of the bridge",
        "ip link set LINK nomaster",
    ),
    ("the bridge's addresses are flushed", "ip addr flush dev lan0"),
    ("every rule is flushed", "nft flush ruleset"),
    (
        "iptables' rules are flushed and their chains deleted",
        "for do in iptables ip6tables; do for table in filter nat raw; do $do -t $table -F; $do -t $table -X; done; done",
    ),
    (
        "forwarding is turned off",
        "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0",
    ),
    (
        "127.0.0.1 is not to be routed any more",
        "sysctl -qw net.ipv4.conf.lan0.route_localnet=0",
    ),
];

#[test]
fn what_somebody_breaks_is_repaired_and_connections_go_on() -> Test {
    on_each_backend(&[], |host| {
        let mut ground = Ground::lay(&host)?;
        let own = host.daemon.host();
        let mut wrong = Vec::new();
        for (fault, line) in FAULTS {
            own.run("sh", &["-c", &line.replace("LINK", &ground.link)])?;
            if let Err(error) = ground.is_whole_again(own, fault) {
                wrong.push(format!("{error:#}"));
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
        host.daemon.ok("rm -f web near")?;
        host.daemon.ok("network rm lan")?;
        Ok(())
    })
}

#[test]
fn another_default_route_and_another_address_of_the_host_are_followed() -> Test {
    on_each_backend(&[], |host| {
        let mut ground = Ground::lay(&host)?;
        let (docker, own, outside) = (&host.daemon, host.daemon.host(), host.lab.outside_host());
        let ip = |at: &Host, line: &str| at.run("ip", &line.split(' ').collect::<Vec<_>>())?.ok();
        ip(&outside, "addr add 198.18.0.253/24 dev eth0")?;
        ip(own, "route replace default via 198.18.0.253")?;
        ground.is_whole_again(own, "another default route")?;

        ip(own, &format!("addr del {}/24 dev eth0", own.address()))?;
        ip(own, "addr add 198.18.0.77/24 dev eth0")?;
        ip(own, "route add default via 198.18.0.254")?;
        // What used the old address can't go on; everything else does, and the new address is as good as the old one was.
        let published = wait_for("the published port at the new address", REPAIRED, || {
            Flow::hold("new", outside.netns(), [198, 18, 0, 77], 7000)
        })?;
        published.takes_another()?;
        for flow in &mut ground.flows[1..5] {
            flow.lives()?;
        }
        wait_for("the way out", REPAIRED, || ground.flows[5].takes_another())?;
        docker.ok("rm -f web near")?;
        Ok(())
    })
}

#[test]
fn other_name_servers_of_the_host_are_asked_and_a_users_own_are_kept() -> Test {
    // Both backends hear of files in the same way.
    let host = Single::start_with_own_files(&[])?;
    let (docker, outside) = (&host.daemon, host.lab.outside_host());
    outside
        .run("ip", &["addr", "add", "203.0.113.2/32", "dev", "lo"])?
        .ok()?;
    let first = Upstream::start(&outside, [203, 0, 113, 1], [192, 0, 2, 1])?;
    let second = Upstream::start(&outside, [203, 0, 113, 2], [192, 0, 2, 2])?;
    let tell = |server: &str| {
        let line = format!(
            "echo nameserver {server} > /etc/resolv.conf.new && cat /etc/resolv.conf.new > /etc/resolv.conf"
        );
        docker.host().run("sh", &["-c", &line])?.ok()
    };
    tell("203.0.113.1")?;
    docker.ok("network create lan")?;
    docker.ok("run -d --name one --network lan busybox sleep 600")?;
    docker.ok("run -d --name own --network lan busybox sleep 600")?;
    docker
        .docker(&["exec", "own", "sh", "-c", "echo '# mine' >> /etc/resolv.conf"])?
        .ok()?;
    let ask = |name: &str| docker.ok(&format!("exec one nslookup -type=a {name}"));
    let said = wait_for("the first server", REPAIRED, || ask("a.example"))?;
    assert!(said.contains("192.0.2.1") && first.asked() > 0, "{said}");
    tell("203.0.113.2")?;
    let mut number = 0;
    wait_for("the second server", REPAIRED, || {
        number += 1;
        let said = ask(&format!("b{number}.example"))?;
        anyhow::ensure!(said.contains("192.0.2.2"), "{said}");
        Ok(())
    })?;
    assert!(second.asked() > 0);
    assert!(docker.ok("exec own cat /etc/resolv.conf")?.ends_with("# mine"));
    docker.ok("restart -t 0 own")?;
    docker.ok("exec one ping -c1 -W5 own")?;
    assert!(docker.ok("exec own cat /etc/resolv.conf")?.ends_with("# mine"));
    docker.ok("rm -f one own")?;
    Ok(())
}
