//! What people were taught to type, typed with the real `docker` command against our socket.
//!
//! One test is one walkthrough on a host of its own, on each firewall backend. The command line is a stranger's program:
//! what it accepts, parses and prints is what counts. N10, N11, N12, N13 and N15 are in the suites of their subjects
//! (`ports`, `links`, `firewall`), under the same numbers.

use std::{collections::BTreeSet, path::Path};

use netlab::{Programs, Single, contains, on_each_backend};
use serde_json::Value;

type Test = anyhow::Result<()>;

fn inspect(host: &Single, line: &str) -> anyhow::Result<Value> {
    let list: Value = serde_json::from_str(&host.daemon.ok(line)?)?;
    Ok(list[0].clone())
}

#[test]
fn n1_a_network_lives_from_create_to_rm_and_names_who_uses_it() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        let id =
            docker.ok("network create --subnet 10.10.0.0/24 --gateway 10.10.0.1 --label tier=back lan")?;
        assert_eq!(id.len(), 64, "{id}");
        docker.ok("run -d --name one --network lan busybox sleep 600")?;
        let refused = docker.refused("network rm lan")?;
        contains(&refused, "has active endpoints");
        contains(&refused, "one");
        docker.ok("network disconnect lan one")?;
        assert_eq!(docker.ok("network rm lan")?, "lan");
        contains(&docker.refused("network inspect lan")?, "network lan not found");
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn n2_three_networks_are_there_from_the_start_and_stay() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        let table = docker.ok("network ls")?;
        let mut lines = table.lines();
        assert_eq!(
            lines.next().unwrap_or_default(),
            "NETWORK ID     NAME      DRIVER    SCOPE"
        );
        let rows: BTreeSet<Vec<&str>> = lines
            .map(|line| line.split_whitespace().skip(1).collect())
            .collect();
        let expected = [
            ["bridge", "bridge", "local"],
            ["host", "host", "local"],
            ["none", "null", "local"],
        ];
        for row in expected {
            assert!(rows.contains(row.as_slice()), "{table}");
        }
        for name in ["bridge", "host", "none"] {
            contains(
                &docker.refused(&format!("network rm {name}"))?,
                "pre-defined network and cannot be removed",
            );
            contains(
                &docker.refused(&format!("network create {name}"))?,
                "not permitted on predefined",
            );
        }
        Ok(())
    })
}

#[test]
fn n3_every_option_of_create_is_taken_and_shown_or_refused_with_a_reason() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create -d bridge --attachable --subnet 10.20.0.0/16 --ip-range 10.20.5.0/24 --gateway 10.20.0.254 \
--aux-address printer=10.20.5.1 --ipv6 --subnet fd20::/64 --label a=1 --label b=2 --ipam-driver default \
--opt com.docker.network.driver.mtu=1400 --opt com.docker.network.bridge.name=lan0 --scope local full")?;
        let network = inspect(&host, "network inspect full")?;
        let v4 = &network["IPAM"]["Config"][0];
        assert_eq!(v4["Subnet"], "10.20.0.0/16");
        assert_eq!(v4["IPRange"], "10.20.5.0/24");
        assert_eq!(v4["Gateway"], "10.20.0.254");
        assert_eq!(v4["AuxiliaryAddresses"]["printer"], "10.20.5.1");
        assert_eq!(network["IPAM"]["Config"][1]["Subnet"], "fd20::/64");
        assert_eq!(network["EnableIPv6"], true);
        assert_eq!(network["Labels"]["b"], "2");
        assert_eq!(network["Options"]["com.docker.network.driver.mtu"], "1400");
        docker.ok("run -d --name one --network full busybox sleep 600")?;
        let link = docker.ok("exec one ip addr show eth0")?;
        contains(&link, "mtu 1400");
        // The range is part of a wider subnet, so its first address is an address like any other.
        contains(&link, "10.20.5.0/16");
        contains(&link, "fd20::");
        docker.ok("network create --internal inside")?;
        assert_eq!(inspect(&host, "network inspect inside")?["Internal"], true);
        docker.ok("network create --config-only --subnet 10.21.0.0/24 --ipam-opt a=b template")?;
        docker.ok("network create --config-from template made")?;
        let made = inspect(&host, "network inspect made")?;
        assert_eq!(made["IPAM"]["Config"][0]["Subnet"], "10.21.0.0/24");
        assert_eq!(made["ConfigFrom"]["Network"], "template");
        assert_eq!(inspect(&host, "network inspect template")?["ConfigOnly"], true);
        for (line, why) in [
            ("network create --ingress x", "belong to Swarm mode"),
            ("network create --scope swarm x", "one host's own"),
            (
                "network create --ipam-driver absent x",
                "plugin \"absent\" not found",
            ),
            ("network create -d absent x", "plugin \"absent\" not found"),
            ("network create --config-from absent x", "absent"),
        ] {
            contains(&docker.refused(line)?, why);
        }
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn n4_connect_gives_a_running_container_a_new_interface_at_once() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create --ipv6 --subnet 10.30.0.0/24 --subnet fd30::/64 front")?;
        docker.ok("run -d --name one busybox sleep 600")?;
        docker.ok("run -d --name two --network front --ip 10.30.0.7 busybox sleep 600")?;
        docker.ok(
        "network connect --alias uno --ip 10.30.0.9 --ip6 fd30::9 --link two:zwei --link-local-ip 169.254.30.9 front one",
    )?;
        let link = docker.ok("exec one ip addr show eth1")?;
        for address in ["10.30.0.9/24", "fd30::9/64", "169.254.30.9/16"] {
            contains(&link, address);
        }
        docker.ok("exec two ping -c1 -W5 uno")?;
        docker.ok("exec two ping -6 -c1 -W5 uno")?;
        docker.ok("exec one ping -c1 -W5 zwei")?;
        contains(
            &docker.refused("network connect front one")?,
            "endpoint with name one already exists in network front",
        );
        contains(
            &docker.refused("run -d --name three --network front --ip 10.30.0.7 busybox sleep 600")?,
            "two",
        );
        let _ = docker.line("rm -f three")?;
        docker.ok("network disconnect front one")?;
        assert!(
            !docker.ok("exec one ip addr")?.contains("eth1"),
            "the interface is gone"
        );
        docker.ok("network disconnect -f front two")?;
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn n5_inspect_ls_prune_and_rm_take_their_options() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        let ids: Vec<String> = ["a1", "a2", "b1"]
            .iter()
            .map(|name| docker.ok(&format!("network create {name}")))
            .collect::<Result<_, _>>()?;
        assert_eq!(
            docker.ok("network inspect -f {{.Name}}/{{.Driver}} a1 b1")?,
            "a1/bridge\nb1/bridge"
        );
        assert_eq!(docker.ok("network ls -q --no-trunc --filter name=a1")?, ids[0]);
        assert_eq!(docker.ok("network ls -q -f name=a1")?, ids[0][..12]);
        assert_eq!(docker.ok("network ls -f name=a --format {{.Name}}")?, "a1\na2");
        assert_eq!(
            docker.ok("network ls -f driver=host --format {{.Name}}:{{.Scope}}")?,
            "host:local"
        );
        let json = docker
            .docker(&["network", "ls", "-f", "name=a1", "--format", "{{json .}}"])?
            .ok()?;
        assert_eq!(serde_json::from_str::<Value>(&json)?["Driver"], "bridge");
        docker.ok("run -d --name keeper --network a1 busybox sleep 600")?;
        docker.ok("network create --label keep=yes d1")?;
        assert!(
            !docker
                .ok("network prune -f --filter label=nothing")?
                .contains("d1")
        );
        assert!(!docker.ok("network prune -f --filter until=24h")?.contains("d1"));
        contains(&docker.ok("network prune -f --filter label=keep=yes")?, "d1");
        let verbose = inspect(&host, "network inspect -v a1")?;
        let container = verbose["Containers"]
            .as_object()
            .and_then(|all| all.values().next())
            .cloned()
            .unwrap_or_default();
        assert_eq!(container["Name"], "keeper");
        let pruned = docker.ok("network prune -f")?;
        contains(&pruned, "a2");
        contains(&pruned, "b1");
        assert!(!pruned.contains("a1"), "{pruned}");
        docker.ok("network create c1")?;
        docker.ok("network create c2")?;
        assert_eq!(docker.ok("network rm c1 c2")?, "c1\nc2");
        docker.ok("network create c1")?;
        docker.ok("network create c3")?;
        // Each is tried; the one that is used is refused.
        let some = docker.line("network rm c1 a1 c3")?;
        assert_eq!(
            (some.code, some.stdout.as_str()),
            (1, "c1\nc3\n"),
            "{}",
            some.stderr
        );
        contains(&some.stderr, "keeper");
        docker.ok("rm -f keeper")?;
        Ok(())
    })
}

#[test]
fn n6_two_networks_are_apart_until_a_container_is_on_both() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create backend")?;
        docker.ok("network create frontend")?;
        docker.ok("run -d --name container1 --net backend busybox sleep 600")?;
        docker.ok("run -d --name container2 --net backend busybox sleep 600")?;
        docker.ok("run -d --name container3 --net frontend busybox sleep 600")?;
        docker.ok("exec container1 ping -c1 -W5 container2")?;
        docker.refused("exec container1 nslookup container3")?;
        let format = "inspect -f {{range.NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let [first, third] = ["container1", "container3"].map(|name| docker.ok(&format!("{format} {name}")));
        let (first, third) = (first?, third?);
        docker.refused(&format!("exec container1 ping -c1 -W1 {third}"))?;
        docker.refused(&format!("exec container3 ping -c1 -W1 {first}"))?;
        assert!(!docker.ok("exec container2 ip -o link")?.contains("eth1"));
        docker.ok("network connect frontend container2")?;
        contains(&docker.ok("exec container2 ip -o link")?, "eth1@");
        docker.ok("exec container2 ping -c1 -W5 container3")?;
        docker.ok("exec container3 ping -c1 -W5 container2")?;
        docker.refused(&format!("exec container1 ping -c1 -W1 {third}"))?;
        docker.ok("rm -f container1 container2 container3")?;
        Ok(())
    })
}

#[test]
fn n7_names_aliases_and_short_ids_resolve_and_backwards_too() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("network create lan")?;
        let id = docker.ok("run -d --name web --network lan --network-alias www busybox sleep 600")?;
        docker.ok("run -d --name client --network lan busybox sleep 600")?;
        let address = docker.ok("inspect -f {{.NetworkSettings.Networks.lan.IPAddress}} web")?;
        for name in ["web", "www", "WEB", "web.lan", &id[..12]] {
            contains(&docker.ok(&format!("exec client ping -c1 -W5 {name}"))?, &address);
        }
        contains(&docker.ok(&format!("exec client nslookup {address}"))?, "web.lan");
        contains(
            &docker.ok("exec client cat /etc/resolv.conf")?,
            "nameserver 127.0.0.11",
        );
        contains(&docker.ok("exec web cat /etc/hosts")?, &id[..12]);
        // A container may have port 53 for itself.
        docker.ok("exec -d web nc -l -p 53")?;
        docker.ok("exec web ping -c1 -W5 client")?;
        docker.ok("rm -f web client")?;
        Ok(())
    })
}

#[test]
fn n8_the_five_modes_of_net() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("run -d --name bridged busybox sleep 600")?;
        let bridged = docker.ok("exec bridged ip addr show eth0")?;
        contains(&bridged, "172.17.0.2/16");
        contains(
            &docker.ok("exec bridged ip route")?,
            "default via 172.17.0.1 dev eth0",
        );
        contains(&docker.ok("exec bridged ip route")?, "172.17.0.0/16 dev eth0");
        let none = docker.ok("run --rm --net none busybox ip -o link")?;
        assert_eq!(none.lines().count(), 1, "{none}");
        contains(&none, "lo:");
        let joined = docker.ok("run --rm --net container:bridged busybox ip addr show eth0")?;
        contains(&joined, "172.17.0.2/16");
        let host_links = docker.ok("run --rm --net host busybox ip -o link")?;
        contains(&host_links, "cnm0:");
        // Interfaces and ports are shared, and they talk over lo; files and processes are apart.
        docker.ok("exec -d bridged httpd -p 80 -h /etc")?;
        docker.ok("run --rm --net container:bridged busybox wget -q -O - -T 5 http://127.0.0.1/hostname")?;
        docker.refused("run --rm --net container:bridged busybox httpd -f -p 80")?;
        docker.ok("exec bridged touch /own")?;
        docker.refused("run --rm --net container:bridged busybox ls /own")?;
        let processes = docker.ok("run --rm --net container:bridged busybox ps")?;
        assert!(!processes.contains("sleep"), "{processes}");
        contains(
            &docker.refused("run --rm --net container:absent busybox true")?,
            "absent",
        );
        let same = docker.ok("run --rm --net container:bridged busybox hostname")?;
        assert_eq!(same, docker.ok("exec bridged hostname")?);
        docker.ok("network create own")?;
        contains(
            &docker.ok("run --rm --net own busybox ip addr show eth0")?,
            "172.18.",
        );
        docker.ok("rm -f bridged")?;
        Ok(())
    })
}

#[test]
fn n9_looking_inside_shows_the_veth_the_bridge_and_its_table() -> Test {
    on_each_backend(&[], |host| {
        let docker = &host.daemon;
        docker.ok("run -d --name one busybox sleep 600")?;
        docker.ok("run -d --name two busybox sleep 600")?;
        let index = docker.ok("exec one cat /sys/class/net/eth0/iflink")?;
        let ports = docker
            .host()
            .run("ip", &["-o", "link", "show", "master", "cnm0"])?
            .ok()?;
        let own = ports
            .lines()
            .find(|line| line.starts_with(&format!("{}: veth", index.trim())));
        assert!(own.is_some(), "iflink {index} is a port of the bridge: {ports}");
        let routes = docker.ok("exec one ip route")?;
        contains(&routes, "default via 172.17.0.1 dev eth0");
        contains(&routes, "172.17.0.0/16 dev eth0");
        docker.ok("exec one ping -c1 -W5 172.17.0.3")?;
        let mac = docker.ok("inspect -f {{.NetworkSettings.Networks.bridge.MacAddress}} one")?;
        let table = docker
            .host()
            .run("bridge", &["fdb", "show", "br", "cnm0"])?
            .ok()?;
        contains(&table, &mac);
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

/// Checks a configuration, as an administrator does before a restart.
fn validate(host: &Single, file: &Path, flags: &[&str]) -> anyhow::Result<netlab::Finished> {
    let own = host.daemon.host();
    let file = file.to_string_lossy();
    let line = [&["--validate", "--config-file", &file], flags].concat();
    own.run(Programs::find()?.ours("cnmd"), &line)
}

/// N14 as flags.
const FLAGS: [&str; 11] = [
    "--bip",
    "10.44.0.1/24",
    "--mtu",
    "1400",
    "--icc=false",
    "--dns",
    "203.0.113.1",
    "--dns-opt",
    "ndots:3",
    "--dns-search",
    "corp.example",
];

#[test]
fn n14_the_daemon_takes_its_options_as_flags_or_as_keys_and_not_both_ways() -> Test {
    on_each_backend(&FLAGS, |mut host| {
        told_of_options(&host)?;
        // The same as keys of daemon.json, and a second socket.
        let folder = host.daemon.host().folder().to_owned();
        let (file, second) = (
            folder.join("daemon.json"),
            format!("unix://{}/second.sock", folder.display()),
        );
        let keys = serde_json::json!({
            "bip": "10.44.0.1/24", "mtu": 1400, "icc": false, "dns": ["203.0.113.1"], "dns-opts": ["ndots:3"],
            "dns-search": ["corp.example"],
        });
        host.daemon.stop()?;
        std::fs::write(&file, keys.to_string())?;
        let hosts = ["--host".to_owned(), second.clone()];
        host.daemon.flags_mut().splice(..FLAGS.len(), hosts);
        host.daemon.start_again()?;
        told_of_options(&host)?;
        let mut other = host.daemon.client_command(Programs::peer("docker")?);
        other.env("DOCKER_HOST", &second).args(["network", "ls", "-q"]);
        host.daemon.host().run_command(other, &[])?.ok()?;
        let both = validate(&host, &file, &["--bip", "10.45.0.1/24", "--dns", "203.0.113.2"])?.failed()?;
        for part in ["bip", "dns", "given both as a flag and in"] {
            contains(&both, part);
        }
        validate(&host, &file, &[])?.ok()?;
        // Whoever reaches a port without TLS would be root.
        contains(
            &validate(&host, &file, &["--host", "tcp://0.0.0.0:2375"])?.failed()?,
            "tcp",
        );
        Ok(())
    })
}

/// What the options come to in containers, and what `run` says instead.
fn told_of_options(host: &Single) -> Test {
    let docker = &host.daemon;
    docker.ok("run -d --name one busybox sleep 600")?;
    docker.ok("run -d --name two -h box --dns 203.0.113.9 --dns-search own.example busybox sleep 600")?;
    let link = docker.ok("exec one ip addr show eth0")?;
    contains(&link, "10.44.0.");
    contains(&link, "mtu 1400");
    let resolver = docker.ok("exec one cat /etc/resolv.conf")?;
    for line in ["nameserver 127.0.0.11", "search corp.example", "ndots:3"] {
        contains(&resolver, line);
    }
    contains(&docker.ok("exec two cat /etc/resolv.conf")?, "search own.example");
    assert_eq!(docker.ok("exec two hostname")?, "box");
    docker.refused(&format!(
        "exec one ping -c1 -W1 {}",
        docker.address_of("two", "bridge")?
    ))?;
    docker.ok("rm -f one two").map(drop)
}
