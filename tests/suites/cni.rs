//! The CNI plugin, called as the specification has runtimes call it, and by a real one: containers that somebody else
//! made on our networks, beside our own.

#[path = "cni/containerd.rs"]
mod containerd;
#[path = "cni/podman.rs"]
mod podman;
#[path = "cni/pods.rs"]
mod pods;

use std::{collections::BTreeSet, thread};

use anyhow::ensure;
use netlab::wait_for;
use pods::{Call, Pods, SOON, Test, address};
use serde_json::{Value, json};

const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

#[test]
fn somebodys_container_is_on_our_network_like_our_own() -> Test {
    let pods = Pods::new()?;
    let docker = &pods.single.daemon;
    docker.ok("run -d --name ours --network lan busybox sleep 600")?;
    let ours = docker.address_of("ours", "lan")?;
    for version in VERSIONS {
        let netns = pods.namespace("web")?;
        let result = pods.add(&netns, version)?;
        assert_eq!(result["cniVersion"], version);
        let own = &result["interfaces"][1];
        assert_eq!(
            (&own["name"], &own["sandbox"]),
            (&json!("eth0"), &json!(netns)),
            "{result}"
        );
        let family = version.starts_with('0').then_some("4");
        assert_eq!(result["ips"][0]["version"].as_str(), family, "{result}");
        assert_eq!(result["dns"]["nameservers"], json!(["127.0.0.11"]));
        let worn = pods.inside_ok(&netns, "ip -o address show dev eth0")?;
        let given = address(&result)?;
        assert!(worn.contains(&format!("{given}/24")), "{worn}");
        assert!(
            pods.inside_ok(&netns, "ip route")?
                .contains("default via 10.77.0.1")
        );
        pods.pings(&netns, &ours)?;
        let answer = pods.looks_up(&netns, "ours")?;
        assert!(answer.contains(&ours), "{answer}");
        docker.ok("exec ours ping -c1 -W5 web")?;
        if version >= "0.4.0" {
            let mut config = pods.config(version);
            config["prevResult"] = result.clone();
            pods.ok(&pods.call("CHECK", &netns, &config))?;
        }
        let twice = pods.refused(&pods.call("ADD", &netns, &pods.config(version)))?;
        assert_eq!(twice.0, 101, "{twice:?}");
        pods.pings(&netns, &ours)?;
        pods.del(&netns, version)?;
        pods.del(&netns, version)?;
        assert!(pods.sandboxes()?.is_empty());
        let rules = pods.inside_ok(&netns, "nft list ruleset")?;
        assert_eq!(rules, "", "a namespace that goes on has nothing of ours in it");
        let links = pods.inside_ok(&netns, "ip -o link")?;
        assert_eq!(links.lines().count(), 1, "{links}");
        pods.end(&netns)?;
    }
    docker.ok("rm -f ours")?;
    pods.nobody_is_left()
}

#[test]
fn a_check_tells_what_somebody_took_away() -> Test {
    let pods = Pods::new()?;
    for (name, line, part) in [
        ("address", "ip address del ADDRESS/24 dev eth0", "no address"),
        ("down", "ip link set eth0 down", "down"),
        (
            "mac",
            "ip link set eth0 address 02:00:00:00:00:99",
            "Ethernet address",
        ),
        ("route", "ip route del default", "route"),
        ("gone", "ip link del eth0", "eth0"),
        ("names", "nft flush ruleset", "firewall"),
    ] {
        let netns = pods.namespace(name)?;
        let result = pods.add(&netns, "1.1.0")?;
        let mut config = pods.config("1.1.0");
        config["prevResult"] = result.clone();
        let check = pods.call("CHECK", &netns, &config);
        pods.ok(&check)?;
        // The link's loss is repaired at once, the rest by the timer.
        pods.inside_ok(&netns, &line.replace("ADDRESS", &address(&result)?))?;
        if name == "gone" {
            wait_for("the interface to be made again", SOON, || pods.ok(&check))?;
        } else {
            let told = pods.refused(&check)?;
            assert_eq!(told.0, 103, "{name}: {told:?}");
            assert!(told.1.contains(part), "{name}: {told:?}");
        }
        pods.del(&netns, "1.1.0")?;
        assert_eq!(pods.refused(&check)?.0, 3, "nobody knows it any more");
        pods.end(&netns)?;
    }
    pods.nobody_is_left()
}

#[test]
fn what_the_daemons_death_leaves_open_is_finished() -> Test {
    let mut pods = Pods::new()?;
    let [stays, deleted, vanished, later] =
        ["stays", "deleted", "vanished", "later"].map(|name| pods.namespace(name));
    let [stays, deleted, vanished, later] = [stays?, deleted?, vanished?, later?];
    let gateway = "10.77.0.1";
    for netns in [&stays, &deleted, &vanished] {
        pods.add(netns, "1.1.0")?;
    }
    pods.single.daemon.kill()?;
    pods.pings(&stays, gateway)?;
    let answer = pods.looks_up(&stays, "deleted")?;
    assert!(
        answer.contains("10.77.0."),
        "names are served without the daemon: {answer}"
    );
    for (command, code) in [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("STATUS", 50)] {
        let mut config = pods.config("1.1.0");
        config["prevResult"] = json!({"interfaces": []});
        let told = pods.refused(&pods.call(command, &deleted, &config))?;
        assert_eq!(told.0, code, "{command}: {told:?}");
    }
    pods.end(&vanished)?;
    pods.single.daemon.start_again()?;
    wait_for("the vanished one to go", SOON, || {
        let left = pods.sandboxes()?.len();
        ensure!(left == 2, "{left} are left");
        Ok(())
    })?;
    // Twice, as a runtime does that was told to try again.
    pods.del(&deleted, "1.1.0")?;
    pods.del(&deleted, "1.1.0")?;
    pods.pings(&stays, gateway)?;
    let mut config = pods.config("1.1.0");
    pods.ok(&pods.call("STATUS", &stays, &config))?;
    pods.add(&later, "1.1.0")?;
    pods.pings(&stays, "10.77.0.1")?;
    let answer = pods.looks_up(&stays, "later")?;
    assert!(answer.contains("10.77.0."), "{answer}");
    // A namespace that ends without a word takes its sandbox along, and a DEL without one finds nothing to do.
    pods.end(&later)?;
    pods.end(&stays)?;
    pods.nobody_is_left_soon()?;
    let mut call = pods.call("DEL", &stays, &config);
    call.netns.clear();
    pods.ok(&call)?;
    config["network"] = json!("nowhere");
    let told = pods.refused(&pods.call("STATUS", &stays, &config))?;
    assert_eq!(told.0, 50, "{told:?}");
    Ok(())
}

#[test]
fn only_what_a_runtime_still_names_survives_its_garbage_collection() -> Test {
    let pods = Pods::new()?;
    let (one, two) = (pods.namespace("one")?, pods.namespace("two")?);
    pods.add(&one, "1.1.0")?;
    pods.add(&two, "1.1.0")?;
    let key = |netns: &std::path::Path| json!(netns.file_name().unwrap_or_default().to_string_lossy());
    let collect = |list: Option<Value>, group: &str| {
        let mut config = pods.config("1.1.0");
        config["name"] = json!(group);
        if let Some(list) = list {
            config["cni.dev/valid-attachments"] = list;
        }
        pods.call("GC", &one, &config)
    };
    let told = pods.refused(&collect(None, "podnet"))?;
    assert_eq!(told.0, 7, "without a list nobody is removed: {told:?}");
    pods.ok(&collect(Some(json!([])), "othernet"))?;
    assert_eq!(
        pods.sandboxes()?.len(),
        2,
        "another configuration's are not its own"
    );
    let named = json!([{"containerID": key(&one), "ifname": "eth0"}, {"containerID": "x", "ifname": "eth0"}]);
    pods.ok(&collect(Some(named), "podnet"))?;
    let left = pods.sandboxes()?;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["Key"], key(&one));
    pods.pings(&one, "10.77.0.1")?;
    let wrong = json!([{"containerID": key(&one), "ifname": "eth9"}]);
    pods.ok(&collect(Some(wrong), "podnet"))?;
    pods.nobody_is_left()
}

#[test]
fn a_container_has_several_interfaces_and_loses_them_one_by_one() -> Test {
    let pods = Pods::new()?;
    let docker = &pods.single.daemon;
    docker.ok("network create --subnet 10.78.0.0/24 --subnet fd78::/64 --ipv6 wide")?;
    let netns = pods.namespace("both")?;
    let first = pods.add(&netns, "1.0.0")?;
    let mut wide = pods.config("1.0.0");
    wide["name"] = json!("widenet");
    wide["network"] = json!("wide");
    wide["gatewayPriority"] = json!(5);
    wide["aliases"] = json!(["second"]);
    wide["runtimeConfig"] = json!({
        "ips": ["10.78.0.40/24", "fd78::40"], "mac": "02:00:00:00:00:40",
        "portMappings": [{"hostPort": 8099, "containerPort": 80, "protocol": "tcp"}],
    });
    wide["prevResult"] = first.clone();
    let mut call = pods.call("ADD", &netns, &wide);
    let told = pods.refused(&call)?;
    assert_eq!(told.0, 7, "the plugin before has made eth0: {told:?}");
    call.interface = "net1".to_owned();
    let both = pods.ok(&call)?;
    assert_eq!(both["interfaces"][1], first["interfaces"][1], "passed on");
    assert_eq!(both["interfaces"][3]["name"], "net1");
    assert_eq!(both["ips"][1]["address"], "10.78.0.40/24");
    assert_eq!(
        (&both["ips"][2]["address"], &both["ips"][2]["interface"]),
        (&json!("fd78::40/64"), &json!(3))
    );
    assert_eq!(both["interfaces"][3]["mac"], "02:00:00:00:00:40");
    let routes = pods.inside_ok(&netns, "ip route")?;
    assert!(routes.contains("default via 10.78.0.1 dev net1"), "{routes}");
    docker.ok("run -d --name ours --network wide busybox sleep 600")?;
    docker.ok("exec ours ping -c1 -W5 second")?;
    published(&pods, &netns)?;
    assert_eq!(pods.sandboxes()?.len(), 1, "one namespace, one sandbox");

    // A DEL of the other configuration finds nothing.
    let mut del = Call {
        command: "DEL",
        ..call
    };
    del.interface = "eth0".to_owned();
    pods.ok(&del)?;
    assert_eq!(pods.inside_ok(&netns, "ip -o link")?.lines().count(), 3);
    del.interface = "net1".to_owned();
    pods.ok(&del)?;
    let routes = pods.inside_ok(&netns, "ip route")?;
    assert!(routes.contains("default via 10.77.0.1 dev eth0"), "{routes}");
    pods.pings(&netns, "10.77.0.1")?;
    pods.del(&netns, "1.0.0")?;
    docker.ok("rm -f ours")?;
    pods.nobody_is_left()
}

/// What listens in the namespace is reached from outside by the host's port.
fn published(pods: &Pods, netns: &std::path::Path) -> Test {
    let busybox = netlab::Programs::peer("busybox")?;
    let folder = pods.single.daemon.host().folder().join("web");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("index.html"), "pod\n")?;
    let mut serve = std::process::Command::new("nsenter");
    serve.arg(format!("--net={}", netns.display())).arg(busybox);
    serve.args(["httpd", "-f", "-p", "80", "-h"]).arg(folder);
    let _server = pods.single.daemon.host().start("httpd", serve)?;
    let url = format!("http://{}:8099/", pods.single.daemon.host().address());
    let said = pods.single.lab.outside_host().fetch_within(SOON, &url)?;
    ensure!(said == "pod", "{said}");
    Ok(())
}

#[test]
fn twenty_at_once_have_an_address_each_and_go_at_once() -> Test {
    let pods = Pods::new()?;
    let all = (0..20).map(|number| pods.namespace(&format!("p{number}")));
    let all: Vec<_> = all.collect::<anyhow::Result<_>>()?;
    let results: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = all
            .iter()
            .map(|netns| scope.spawn(|| pods.add(netns, "1.0.0")))
            .collect();
        calls
            .into_iter()
            .map(|call| call.join().expect("no panic"))
            .collect()
    });
    let results: Vec<Value> = results.into_iter().collect::<anyhow::Result<_>>()?;
    let addresses: BTreeSet<_> = results.iter().map(address).collect::<anyhow::Result<_>>()?;
    assert_eq!(addresses.len(), 20, "{addresses:?}");
    pods.pings(&all[0], &address(&results[19])?)?;
    let answer = pods.looks_up(&all[3], "p17")?;
    assert!(answer.contains(&address(&results[17])?), "{answer}");
    thread::scope(|scope| {
        let calls: Vec<_> = all
            .iter()
            .map(|netns| scope.spawn(|| pods.del(netns, "1.0.0")))
            .collect();
        calls
            .into_iter()
            .try_for_each(|call| call.join().expect("no panic"))
    })?;
    pods.nobody_is_left()
}

type Bend = fn(&mut Call);

/// What is wrong with the environment or with the document as such.
const CALLS: [(&str, Bend, u64); 12] = [
    ("no command", |call| call.command = "", 4),
    ("no container", |call| call.container.clear(), 4),
    ("no namespace", |call| call.netns.clear(), 4),
    ("a bad interface", |call| call.interface = "a/b".into(), 4),
    ("bad arguments", |call| call.arguments = "IP=x".into(), 4),
    ("unknown arguments", |call| call.arguments = "A=b".into(), 4),
    ("nothing", |call| call.stdin.clear(), 6),
    ("half of it", |call| call.stdin.truncate(20), 6),
    ("no object", |call| call.stdin = "[]".into(), 6),
    (
        "a path to nothing",
        |call| call.netns = "/run/netns/nobody".into(),
        3,
    ),
    ("a file", |call| call.netns = "/etc/passwd".into(), 7),
    ("mounts", |call| call.netns = "/proc/self/ns/mnt".into(), 7),
];

/// What is wrong in the document.
fn configs() -> Vec<(&'static str, Value, u64)> {
    let runtime = |key: &str, value: Value| json!({"runtimeConfig": {key: value}});
    let port = |port: Value| runtime("portMappings", json!([port]));
    vec![
        ("another version", json!({"cniVersion": "3.0.0"}), 1),
        ("another ipam", json!({"ipam": {"type": "host-local"}}), 2),
        ("no name", json!({"name": ""}), 7),
        ("an unknown network", json!({"network": "nowhere"}), 7),
        ("an address of no pool", runtime("ips", json!(["192.0.2.1"])), 7),
        (
            "two of a family",
            runtime("ips", json!(["10.77.0.8", "10.77.0.9"])),
            7,
        ),
        ("the gateway's", runtime("ips", json!(["10.77.0.1"])), 100),
        ("no MAC", runtime("mac", json!("red")), 7),
        (
            "no port",
            port(json!({"hostPort": 80, "containerPort": 99999})),
            7,
        ),
        (
            "no protocol",
            port(json!({"hostPort": 80, "containerPort": 80, "protocol": "x"})),
            7,
        ),
        ("no result before", json!({"prevResult": [1]}), 7),
        (
            "a bad sysctl",
            json!({"options": {"com.docker.network.endpoint.sysctls": "kernel.x=1"}}),
            7,
        ),
        ("a socket of nobody's", json!({"socket": "/nowhere/cnm.sock"}), 11),
    ]
}

#[test]
fn what_makes_no_sense_is_refused_with_its_code_and_leaves_nothing() -> Test {
    let pods = Pods::new()?;
    let netns = pods.namespace("web")?;
    let good = pods.call("ADD", &netns, &pods.config("1.0.0"));
    let mut cases = Vec::new();
    for (name, bend, code) in CALLS {
        let mut call = good.clone();
        bend(&mut call);
        cases.push((name, call, code));
    }
    for (name, more, code) in configs() {
        let mut config = pods.config("1.0.0");
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        cases.push((name, pods.call("ADD", &netns, &config), code));
    }
    // The host itself is no container.
    let host = pods.single.daemon.host().netns().to_owned();
    cases.push((
        "the host's own",
        pods.call("ADD", &host, &pods.config("1.0.0")),
        7,
    ));
    for (name, call, code) in cases {
        let told = pods.refused(&call)?;
        assert_eq!(told.0, code, "{name}: {told:?}");
        assert!(!told.1.is_empty(), "{name}");
        assert!(pods.sandboxes()?.is_empty(), "{name} left a sandbox");
    }
    pods.inside_ok(&netns, "ip link add eth0 type bridge")?;
    let told = pods.refused(&good)?;
    assert_eq!(told.0, 101, "somebody's interface is there: {told:?}");
    pods.inside_ok(&netns, "ip link del eth0")?;
    pods.ok(&good)?;
    let mut other = good;
    other.container = "other".into();
    let told = pods.refused(&other)?;
    assert_eq!(told.0, 101, "the namespace is another container's: {told:?}");
    pods.del(&netns, "1.0.0")?;
    pods.nobody_is_left()
}

#[test]
fn somebodys_containers_are_on_the_hosts_own_segment() -> Test {
    let mut pods = Pods::new()?;
    let docker = &pods.single.daemon;
    docker.ok(
        "network create -d macvlan --subnet 198.18.0.0/24 --ip-range 198.18.0.128/25 --gateway 198.18.0.254 \
         -o parent=eth0 seg",
    )?;
    docker.ok("run -d --name ours --network seg busybox sleep 600")?;
    let mut config = pods.config("1.1.0");
    config["network"] = json!("seg");
    let (web, db, gone) = (
        pods.namespace("web")?,
        pods.namespace("db")?,
        pods.namespace("gone")?,
    );
    let mut results = Vec::new();
    for netns in [&web, &db, &gone] {
        let result = pods.ok(&pods.call("ADD", netns, &config))?;
        let link = pods.inside_ok(netns, "ip -d -o link show dev eth0")?;
        assert!(link.contains("macvlan mode bridge"), "{link}");
        let worn = pods.inside_ok(netns, "ip -o address show dev eth0")?;
        assert!(worn.contains(&format!("{}/24", address(&result)?)), "{worn}");
        results.push(result);
    }
    let addresses = results
        .iter()
        .map(address)
        .collect::<anyhow::Result<BTreeSet<_>>>()?;
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    // The segment's router, each other, and our own container; by name, too.
    pods.pings(&web, "198.18.0.254")?;
    pods.pings(&web, &address(&results[1])?)?;
    let docker = &pods.single.daemon;
    docker.ok("exec ours ping -c1 -W5 web")?;
    let answer = pods.looks_up(&db, "ours")?;
    assert!(answer.contains("198.18.0."), "{answer}");
    let mut checked = config.clone();
    checked["prevResult"] = results[0].clone();
    pods.ok(&pods.call("CHECK", &web, &checked))?;
    // What ends without a word is noticed by a daemon that was not there.
    pods.single.daemon.kill()?;
    pods.pings(&web, &address(&results[1])?)?;
    pods.end(&gone)?;
    pods.single.daemon.start_again()?;
    pods.pings(&web, &address(&results[1])?)?;
    pods.ok(&pods.call("CHECK", &web, &checked))?;
    for netns in [&web, &db] {
        pods.ok(&pods.call("DEL", netns, &config))?;
        let links = pods.inside_ok(netns, "ip -o link")?;
        assert_eq!(links.lines().count(), 1, "{links}");
        pods.end(netns)?;
    }
    pods.nobody_is_left_soon()?;
    pods.single.daemon.ok("rm -f ours")?;
    pods.single.daemon.ok("network rm seg")?;
    let left = pods.run("ip", &["-o", "link", "show", "type", "macvlan"])?;
    assert_eq!(left, "", "nothing is left on the parent");
    Ok(())
}

#[test]
fn people_see_who_is_there_and_let_go() -> Test {
    let pods = Pods::new()?;
    let netns = pods.namespace("web")?;
    pods.add(&netns, "1.0.0")?;
    let cnm = &pods.single.daemon;
    let listed = cnm.cnm_ok("sandbox ls --format {{.Manager}}/{{.Names}}/{{.Networks}}/{{.Interfaces}}")?;
    assert_eq!(listed, "cni/web/lan/eth0");
    let id = cnm.cnm_ok("sandbox ls -q")?;
    let key = netns
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for name in [id.as_str(), key.as_str()] {
        let shown: Value = serde_json::from_str(&cnm.cnm_ok(&format!("sandbox inspect {name}"))?)?;
        assert_eq!(shown[0]["Observed"]["Missing"], json!([]), "{shown}");
        assert_eq!(shown[0]["Observed"]["Interfaces"][0]["Name"], "eth0");
    }
    let in_use = cnm.refused("network rm lan")?;
    assert!(in_use.contains("web"), "{in_use}");
    cnm.cnm_ok(&format!("sandbox rm {key}"))?;
    pods.nobody_is_left()?;
    assert!(
        cnm.cnm(&["sandbox", "rm", "nobody"])?
            .failed()?
            .contains("not found")
    );
    cnm.cnm_ok("sandbox rm -f nobody")?;
    cnm.ok("network rm lan").map(drop)
}
