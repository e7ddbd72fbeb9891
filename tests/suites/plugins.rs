//! Drivers in other processes: a container's life on their networks, with their addresses, and what happens when they
//! refuse, fall silent, die and come back.

#[path = "plugins/dockerd.rs"]
mod dockerd;
#[path = "plugins/malformed.rs"]
mod malformed;
#[path = "plugins/ovn.rs"]
mod ovn;
#[path = "plugins/recorded.rs"]
mod recorded;
#[path = "plugins/store.rs"]
mod store;
#[path = "plugins/stub.rs"]
mod stub;

use netlab::{Daemon, Single};
use serde_json::{Value, json};
use stub::{Called, DIES, Stub};

type Test = anyhow::Result<()>;

fn with_stub(name: &str) -> anyhow::Result<(Single, Stub)> {
    let single = Single::start(&[])?;
    let socket = single.daemon.exec_root().join(format!("plugins/{name}.sock"));
    let stub = Stub::serve(single.daemon.host(), socket)?;
    Ok((single, stub))
}

/// The only call of a method.
fn only<'c>(calls: &'c [Called], method: &str) -> &'c Value {
    let mut found = calls.iter().filter(|(called, _)| called == method);
    let (Some((_, body)), None) = (found.next(), found.next()) else {
        panic!("not one {method} in {calls:#?}");
    };
    body
}

fn names(calls: &[Called]) -> Vec<&str> {
    calls.iter().map(|(method, _)| method.as_str()).collect()
}

/// A network of the plugin's, made with an option, and what the plugin heard of it.
fn make_network(docker: &Daemon, stub: &Stub) -> Test {
    docker.ok("network create -d stub --subnet 10.88.0.0/24 -o colour=red lan")?;
    let made = stub.calls();
    assert_eq!(
        names(&made),
        [
            "Plugin.Activate",
            "NetworkDriver.GetCapabilities",
            "NetworkDriver.CreateNetwork"
        ]
    );
    let create = only(&made, "NetworkDriver.CreateNetwork");
    assert_eq!(
        create["Options"]["com.docker.network.generic"],
        json!({"colour": "red"})
    );
    assert_eq!(
        create["IPv4Data"],
        json!([{"AddressSpace": "LocalDefault", "Pool": "10.88.0.0/24", "Gateway": "10.88.0.1/24"}])
    );
    let info = docker.api().get("/info")?;
    assert!(
        info["Plugins"]["Network"]
            .as_array()
            .is_some_and(|all| all.contains(&json!("stub"))),
        "{info}"
    );
    Ok(())
}

#[test]
fn containers_live_on_a_plugins_network() -> Test {
    let (single, stub) = with_stub("stub")?;
    let docker = &single.daemon;
    make_network(docker, &stub)?;
    docker.ok("run -d --name one --network lan -p 8088:80 busybox sleep 600")?;
    let joined = stub.calls();
    assert_eq!(
        names(&joined),
        [
            "NetworkDriver.CreateEndpoint",
            "NetworkDriver.Join",
            "NetworkDriver.ProgramExternalConnectivity",
            "NetworkDriver.EndpointOperInfo"
        ]
    );
    let endpoint = only(&joined, "NetworkDriver.CreateEndpoint");
    assert_eq!(
        endpoint["Interface"],
        json!({"Address": "10.88.0.2/24", "AddressIPv6": "", "MacAddress": ""})
    );
    let program = only(&joined, "NetworkDriver.ProgramExternalConnectivity");
    let port = &program["Options"]["com.docker.network.portmap"][0];
    assert_eq!(
        (&port["Proto"], &port["Port"], &port["HostPort"]),
        (&json!(6), &json!(80), &json!(8088))
    );
    docker.ok("run -d --name two --network lan --mac-address 02:00:00:00:00:77 busybox sleep 600")?;
    docker.ok("exec one ping -c1 -W5 two")?;
    let link = docker.ok("exec two ip address show dev stub0")?;
    assert!(
        link.contains("10.88.0.3/24") && link.contains("02:00:00:00:00:77"),
        "{link}"
    );
    let routes = docker.ok("exec two ip route")?;
    assert!(
        routes.contains("default via 10.88.0.1") && routes.contains("198.51.100.0/24"),
        "{routes}"
    );
    let mac = docker.ok("inspect -f {{.NetworkSettings.Networks.lan.MacAddress}} one")?;
    assert!(
        docker.ok("exec one ip link show dev stub0")?.contains(mac.trim()),
        "{mac}"
    );
    stub.calls();

    docker.ok("network disconnect lan two")?;
    assert_eq!(
        stub.methods(),
        [
            "NetworkDriver.RevokeExternalConnectivity",
            "NetworkDriver.Leave",
            "NetworkDriver.DeleteEndpoint"
        ]
    );
    docker.ok("network connect --ip 10.88.0.9 lan two")?;
    docker.ok("exec one ping -c1 -W5 10.88.0.9")?;
    docker.ok("rm -f one two")?;
    docker.ok("network rm lan")?;
    let links = docker.host().run("ip", &["-o", "link"])?.ok()?;
    assert_eq!(
        links.lines().count(),
        3,
        "lo, eth0 and the default bridge: {links}"
    );
    assert_eq!(
        stub.methods().last().map(String::as_str),
        Some("NetworkDriver.DeleteNetwork")
    );
    Ok(())
}

#[test]
fn a_killed_daemon_does_not_tell_its_plugins_everything_again() -> Test {
    let (mut single, stub) = with_stub("stub")?;
    single
        .daemon
        .ok("network create -d stub --ipam-driver stub lan")?;
    single
        .daemon
        .ok("run -d --name one --network lan busybox sleep 600")?;
    stub.calls();
    single.daemon.kill()?;
    single.daemon.start_again()?;
    let docker = &single.daemon;
    docker.ok("exec one ping -c1 -W5 10.77.1.40")?;
    docker.ok("run -d --name two --network lan busybox sleep 600")?;
    docker.ok("exec two ping -c1 -W5 one")?;
    let again = stub.calls();
    for method in ["CreateNetwork", "DeleteNetwork", "Leave", "DeleteEndpoint"] {
        let method = format!("NetworkDriver.{method}");
        assert!(!names(&again).contains(&method.as_str()), "{again:#?}");
    }
    only(&again, "NetworkDriver.Join");
    docker.ok("rm -f one two")?;
    docker.ok("network rm lan")?;
    Ok(())
}

#[test]
fn addresses_of_a_plugin_for_a_built_in_driver() -> Test {
    let (single, stub) = with_stub("pool")?;
    let docker = &single.daemon;
    docker.ok("network create --ipam-driver pool --ipam-opt site=north --aux-address far=10.66.0.9 --subnet 10.66.0.0/24 lan")?;
    let made = stub.calls();
    assert_eq!(
        names(&made),
        [
            "Plugin.Activate",
            "IpamDriver.GetCapabilities",
            "IpamDriver.GetDefaultAddressSpaces",
            "IpamDriver.RequestPool",
            "IpamDriver.RequestAddress",
            "IpamDriver.RequestAddress"
        ]
    );
    assert_eq!(
        only(&made, "IpamDriver.RequestPool"),
        &json!({"AddressSpace": "local", "Pool": "10.66.0.0/24", "SubPool": "", "Options": {"site": "north"}, "V6": false})
    );
    assert_eq!(
        made[4].1,
        json!({"PoolID": "stub-10.66.0.0/24", "Address": "",
               "Options": {"RequestAddressType": "com.docker.network.gateway"}})
    );
    assert_eq!(made[5].1["Address"], "10.66.0.9");
    docker.ok("run -d --name one --network lan busybox sleep 600")?;
    assert!(
        docker
            .ok("exec one ip address show dev eth0")?
            .contains("10.66.0.41/24")
    );
    assert!(docker.ok("exec one ip route")?.contains("default via 10.66.0.40"));
    docker.ok("rm -f one")?;
    stub.calls();
    docker.ok("network rm lan")?;
    assert_eq!(
        stub.methods(),
        [
            "IpamDriver.ReleaseAddress",
            "IpamDriver.ReleaseAddress",
            "IpamDriver.ReleasePool"
        ]
    );
    Ok(())
}

#[test]
fn one_that_is_nowhere_is_looked_for_a_while_and_one_that_starts_meanwhile_is_found() -> Test {
    let single = Single::start(&[])?;
    let docker = &single.daemon;
    std::thread::scope(|scope| {
        let asked = [
            "network create -d nobody one",
            "network create --ipam-driver nobody two",
        ];
        let asked = asked.map(|line| scope.spawn(move || docker.refused(line)));
        let late = scope.spawn(|| docker.ok("network create -d late --subnet 10.88.0.0/24 three"));
        // Whoever mistyped a name that there is does not wait with them.
        let told = docker.refused("network create -d brigde four")?;
        assert!(told.contains("\"bridge\""), "{told}");
        assert!(!late.is_finished(), "it is looked for");
        let _stub = Stub::serve(docker.host(), docker.exec_root().join("plugins/late.sock"))?;
        late.join().expect("a thread without a failed assertion")?;
        for one in asked {
            let told = one.join().expect("a thread without a failed assertion")?;
            assert!(told.contains("plugin \"nobody\" not found"), "{told}");
        }
        docker.ok("network rm three").map(drop)
    })
}

#[test]
fn what_a_plugin_refuses_is_undone_and_told_in_its_words() -> Test {
    let (single, stub) = with_stub("stub")?;
    let docker = &single.daemon;
    stub.refuse("CreateNetwork", Some("no room"));
    let told = docker.refused("network create -d stub --ipam-driver stub lan")?;
    assert!(
        told.contains("NetworkDriver.CreateNetwork: no room") && told.contains("\"stub\""),
        "{told}"
    );
    let calls = stub.methods();
    assert!(
        !calls.contains(&"NetworkDriver.DeleteNetwork".to_owned()),
        "{calls:?}"
    );
    assert_eq!(calls.last().map(String::as_str), Some("IpamDriver.ReleasePool"));
    assert!(!docker.ok("network ls")?.contains("lan"));
    stub.refuse("CreateNetwork", None);
    docker.ok("network create -d stub --ipam-driver stub lan")?;
    for (method, undone) in [
        ("CreateEndpoint", &["IpamDriver.ReleaseAddress"][..]),
        (
            "Join",
            &["NetworkDriver.DeleteEndpoint", "IpamDriver.ReleaseAddress"],
        ),
        (
            "ProgramExternalConnectivity",
            &[
                "NetworkDriver.RevokeExternalConnectivity",
                "NetworkDriver.Leave",
                "NetworkDriver.DeleteEndpoint",
                "IpamDriver.ReleaseAddress",
            ],
        ),
    ] {
        stub.refuse(method, Some("not today"));
        stub.calls();
        let told = docker.refused("run --name one --network lan busybox true")?;
        assert!(
            told.contains(&format!("NetworkDriver.{method}: not today")),
            "{told}"
        );
        let calls = stub.methods();
        let after = calls
            .iter()
            .skip_while(|called| **called != format!("NetworkDriver.{method}"))
            .skip(1);
        assert_eq!(after.collect::<Vec<_>>(), undone, "after {method}: {calls:?}");
        stub.refuse(method, None);
        docker.ok("rm one")?;
    }
    docker.ok("run --rm --network lan busybox true")?;
    docker.ok("network rm lan")?;
    let links = docker.host().run("ip", &["-o", "link"])?.ok()?;
    assert_eq!(
        links.lines().count(),
        3,
        "lo, eth0 and the default bridge: {links}"
    );
    Ok(())
}

#[test]
fn one_that_dies_in_a_call_is_named_and_what_it_did_is_undone() -> Test {
    let (single, stub) = with_stub("stub")?;
    let docker = &single.daemon;
    docker.ok("network create -d stub --subnet 10.88.0.0/24 lan")?;
    for (method, undone) in [
        ("CreateEndpoint", &["NetworkDriver.DeleteEndpoint"][..]),
        ("Join", &["NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"]),
    ] {
        stub.refuse(method, Some(DIES));
        stub.calls();
        let told = docker.refused("run --name one --network lan busybox true")?;
        assert!(
            told.contains("\"stub\"") && told.contains(&format!("NetworkDriver.{method}")),
            "{told}"
        );
        stub.refuse(method, None);
        let calls = stub.methods();
        let after = calls
            .iter()
            .skip_while(|called| **called != format!("NetworkDriver.{method}"))
            .skip(1)
            .filter(|called| *called != "Plugin.Activate");
        assert_eq!(after.collect::<Vec<_>>(), undone, "after {method}: {calls:?}");
        docker.ok("rm one")?;
    }
    docker.ok("run --rm --network lan busybox true")?;
    docker.ok("network rm lan")?;
    Ok(())
}

#[test]
fn one_that_hangs_is_in_nobodys_way() -> Test {
    let (single, _stub) = with_stub("stub")?;
    let docker = &single.daemon;
    let _listener = std::os::unix::net::UnixListener::bind(docker.exec_root().join("plugins/hung.sock"))?;
    std::thread::scope(|scope| {
        let asked = [
            "network create -d hung one",
            "network create --ipam-driver hung two",
        ];
        let asked = asked.map(|line| scope.spawn(move || docker.refused(line)));
        for driver in ["bridge", "stub"] {
            docker.ok(&format!("network create -d {driver} {driver}-lan"))?;
            docker.ok(&format!("run --rm --network {driver}-lan busybox true"))?;
            docker.ok(&format!("network rm {driver}-lan"))?;
        }
        assert!(
            asked.iter().any(|one| !one.is_finished()),
            "the others did not wait"
        );
        for one in asked {
            let told = one.join().expect("a thread without a failed assertion")?;
            assert!(
                told.contains("plugin \"hung\" did not answer Plugin.Activate"),
                "{told}"
            );
        }
        Ok(())
    })
}
