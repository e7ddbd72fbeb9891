//! What people were taught to type, typed with the real `docker` command against our socket.
//!
//! One test is one walkthrough on a host of its own. The command line is a stranger's program: what it accepts, parses
//! and prints is what counts.

use std::{collections::BTreeSet, time::Duration};

use netlab::{Single, wait_for};
use serde_json::Value;

type Test = anyhow::Result<()>;

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

fn inspect(host: &Single, line: &str) -> anyhow::Result<Value> {
    let list: Value = serde_json::from_str(&host.daemon.ok(line)?)?;
    Ok(list[0].clone())
}

#[test]
fn n1_a_network_lives_from_create_to_rm_and_names_who_uses_it() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    let id = docker.ok("network create --subnet 10.10.0.0/24 --gateway 10.10.0.1 --label tier=back lan")?;
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
}

#[test]
fn n2_three_networks_are_there_from_the_start_and_stay() -> Test {
    let host = Single::start(&[])?;
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
}

#[test]
fn n3_every_option_of_create_that_exists_so_far_is_taken_and_shown() -> Test {
    let host = Single::start(&[])?;
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
    docker.ok("rm -f one")?;
    Ok(())
}

#[test]
fn n4_connect_gives_a_running_container_a_new_interface_at_once() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("network create --subnet 10.30.0.0/24 front")?;
    docker.ok("run -d --name one busybox sleep 600")?;
    docker.ok("run -d --name two --network front --ip 10.30.0.7 busybox sleep 600")?;
    docker.ok("network connect --alias uno --ip 10.30.0.9 front one")?;
    contains(&docker.ok("exec one ip addr show eth1")?, "10.30.0.9/24");
    docker.ok("exec two ping -c1 -W5 uno")?;
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
}

#[test]
fn n5_inspect_ls_prune_and_rm_take_their_options() -> Test {
    let host = Single::start(&[])?;
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
    docker.ok("run -d --name keeper --network a1 busybox sleep 600")?;
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
    docker.ok("rm -f keeper")?;
    Ok(())
}

#[test]
fn n6_two_networks_are_apart_until_a_container_is_on_both() -> Test {
    let host = Single::start(&[])?;
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
    docker.ok("network connect frontend container2")?;
    docker.ok("exec container2 ping -c1 -W5 container3")?;
    docker.ok("exec container3 ping -c1 -W5 container2")?;
    docker.refused(&format!("exec container1 ping -c1 -W1 {third}"))?;
    docker.ok("rm -f container1 container2 container3")?;
    Ok(())
}

#[test]
fn n7_names_aliases_and_short_ids_resolve_and_backwards_too() -> Test {
    let host = Single::start(&[])?;
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
}

#[test]
fn n8_the_five_modes_of_net() -> Test {
    let host = Single::start(&[])?;
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
    let same = docker.ok("run --rm --net container:bridged busybox hostname")?;
    assert_eq!(same, docker.ok("exec bridged hostname")?);
    docker.ok("network create own")?;
    contains(
        &docker.ok("run --rm --net own busybox ip addr show eth0")?,
        "172.18.",
    );
    docker.ok("rm -f bridged")?;
    Ok(())
}

#[test]
fn n9_looking_inside_shows_the_veth_the_bridge_and_its_table() -> Test {
    let host = Single::start(&[])?;
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
    docker.ok("exec one ping -c1 -W5 172.17.0.3")?;
    let mac = docker.ok("inspect -f {{.NetworkSettings.Networks.bridge.MacAddress}} one")?;
    let table = docker
        .host()
        .run("bridge", &["fdb", "show", "br", "cnm0"])?
        .ok()?;
    contains(&table, &mac);
    docker.ok("rm -f one two")?;
    Ok(())
}

#[test]
fn c1_run_takes_its_options_and_lives_as_long_as_its_first_process() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    assert_eq!(
        docker
            .docker(&[
                "run",
                "--rm",
                "-e",
                "COLOUR=red",
                "busybox",
                "sh",
                "-c",
                "echo $COLOUR"
            ])?
            .ok()?,
        "red"
    );
    assert_eq!(docker.ok("run --rm -w /tmp busybox pwd")?, "/tmp");
    assert_eq!(docker.ok("run --rm -u 1000:1000 busybox id -u")?, "1000");
    assert_eq!(docker.ok("run --rm --hostname box busybox hostname")?, "box");
    assert_eq!(docker.ok("run --rm --entrypoint echo busybox hello")?, "hello");
    assert_eq!(docker.line("run --rm busybox false")?.code, 1);
    assert_eq!(
        docker
            .docker(&["run", "--rm", "busybox", "sh", "-c", "exit 42"])?
            .code,
        42
    );
    let missing = docker.line("run --rm busybox no-such-program")?;
    assert_eq!(missing.code, 127, "{missing:?}");
    contains(
        &missing.stderr,
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: \
         unable to start container process: exec: \"no-such-program\": executable file not found in $PATH: unknown",
    );
    let split = docker.docker(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"])?;
    assert_eq!((split.stdout.as_str(), split.stderr.as_str()), ("out\n", "err\n"));
    let mut piped = docker.client_command(netlab::Programs::peer("docker")?);
    piped.args(["run", "--rm", "-i", "busybox", "cat"]);
    assert_eq!(
        docker.host().run_command(piped, b"through and back")?.ok()?,
        "through and back"
    );
    let file = docker.host().folder().join("shared");
    std::fs::write(&file, "from the host")?;
    let bind = format!("{}:/shared:ro", file.display());
    assert_eq!(
        docker
            .docker(&["run", "--rm", "-v", &bind, "busybox", "cat", "/shared"])?
            .ok()?,
        "from the host"
    );
    docker.ok("run -d --name short busybox true")?;
    assert_eq!(docker.ok("wait short")?, "0");
    contains(
        &docker.ok("ps -a --filter name=short --format {{.Status}}")?,
        "Exited (0)",
    );
    docker.ok("rm short")?;
    contains(&docker.refused("run --rm absent:1.0 true")?, "absent:1.0");
    Ok(())
}

#[test]
fn c2_containers_are_listed_stopped_started_renamed_and_removed() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    let id = docker.ok("run -d --name one busybox sleep 600")?;
    assert_eq!(docker.ok("ps -q")?, id[..12]);
    assert_eq!(docker.ok("ps -q --no-trunc -f name=one")?, id);
    contains(&docker.ok("ps --format {{.Status}}")?, "Up ");
    contains(
        &docker.refused("run -d --name one busybox sleep 600")?,
        "already in use",
    );
    docker.ok("stop -t 1 one")?;
    assert_eq!(docker.ok("ps -q")?, "");
    contains(&docker.ok("ps -a --format {{.Status}}")?, "Exited (137)");
    docker.ok("start one")?;
    docker.ok("rename one uno")?;
    contains(&docker.refused("rm uno")?, "is running");
    docker.ok("kill -s KILL uno")?;
    assert_eq!(docker.ok("wait uno")?, "137");
    docker.ok("rm uno")?;
    contains(&docker.refused("inspect uno")?, "uno");
    docker.ok("run -d --name two busybox sleep 600")?;
    docker.ok("rm -f two")?;
    assert_eq!(docker.ok("ps -aq")?, "");
    Ok(())
}

#[test]
fn c3_exec_logs_and_inspect() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker
        .docker(&[
            "run",
            "-d",
            "--name",
            "one",
            "busybox",
            "sh",
            "-c",
            "for i in 1 2 3; do echo line $i; done; sleep 600",
        ])?
        .ok()?;
    assert_eq!(
        docker.ok("exec one hostname")?,
        docker.ok("inspect -f {{.Config.Hostname}} one")?
    );
    assert_eq!(docker.docker(&["exec", "one", "sh", "-c", "exit 3"])?.code, 3);
    assert_eq!(
        docker
            .docker(&[
                "exec",
                "-e",
                "X=y",
                "-w",
                "/tmp",
                "one",
                "sh",
                "-c",
                "echo $X; pwd"
            ])?
            .ok()?,
        "y\n/tmp"
    );
    let missing = docker.line("exec one no-such-program")?;
    assert_eq!(missing.code, 127);
    assert_eq!(docker.line("exec -w /nowhere one pwd")?.code, 127);
    contains(
        &missing.stdout,
        "OCI runtime exec failed: exec failed: unable to start container process: exec: \"no-such-program\"",
    );
    wait_for("the lines to be logged", Duration::from_secs(10), || {
        let logs = docker.ok("logs one")?;
        anyhow::ensure!(logs == "line 1\nline 2\nline 3", "{logs}");
        Ok(())
    })?;
    assert_eq!(docker.ok("logs --tail 1 one")?, "line 3");
    contains(&docker.ok("logs -t --tail=1 one")?, "Z line 3");
    assert_eq!(
        docker
            .docker(&["inspect", "-f", "{{json .State.Running}}", "one"])?
            .ok()?,
        "true"
    );
    docker.ok("rm -f one")?;
    Ok(())
}

#[test]
fn c3_terminals_have_their_size_and_streams_go_both_ways() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("run -d --name one busybox sleep 600")?;
    // A terminal has its size before its first process looks.
    let sized = serde_json::json!({
        "Image": "busybox", "Tty": true, "Cmd": ["stty", "size"], "HostConfig": {"ConsoleSize": [44, 77]}
    });
    docker.api().post("/containers/create?name=sized", &sized)?;
    docker.ok("start sized")?;
    docker.ok("wait sized")?;
    assert_eq!(docker.ok("logs sized")?.trim_end(), "44 77");
    docker.ok("rm sized")?;
    // A terminal: `script` gives the client one.
    let line = "docker exec -it one sh -c 'test -t 0 && stty size && echo terminal'";
    let mut terminal = docker.client_command("script".into());
    terminal.args([
        "-qec",
        &line.replacen("docker", &netlab::Programs::peer("docker")?.to_string_lossy(), 1),
        "/dev/null",
    ]);
    contains(&docker.host().run_command(terminal, &[])?.ok()?, "terminal");
    docker.ok("rm -f one")?;
    let mut attached = docker.client_command(netlab::Programs::peer("docker")?);
    attached.args([
        "run",
        "-i",
        "--name",
        "three",
        "busybox",
        "sh",
        "-c",
        "read x; echo got $x",
    ]);
    assert_eq!(docker.host().run_command(attached, b"it\n")?.ok()?, "got it");
    assert_eq!(docker.ok("logs three")?, "got it");
    docker.ok("rm three")?;
    Ok(())
}

#[test]
fn images_are_loaded_listed_and_removed_and_a_pull_says_what_to_do() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    let table = docker.ok("images")?;
    contains(&table, "REPOSITORY");
    contains(&table, "busybox");
    docker.ok("tag busybox box:1")?;
    assert_eq!(
        docker.ok("images -q box:1")?,
        docker.ok("images -q busybox:latest")?
    );
    contains(&docker.refused("pull nginx")?, "import");
    docker.ok("run -d --name one busybox sleep 600")?;
    docker.ok("rmi box:1")?;
    contains(&docker.refused("rmi busybox")?, "is using its");
    docker.ok("rm -f one")?;
    docker.ok("rmi busybox")?;
    assert_eq!(docker.ok("images -q")?, "");
    Ok(())
}

#[test]
fn events_version_and_info_are_understood() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    contains(&docker.ok("version --format {{.Server.APIVersion}}")?, "1.");
    contains(&docker.ok("info --format {{.ServerVersion}}")?, ".");
    let since = docker.docker(&["info", "--format", "{{.SystemTime}}"])?.ok()?;
    docker.ok("network create watched")?;
    docker.ok("run --rm --network watched busybox true")?;
    docker.ok("network rm watched")?;
    let until = docker.docker(&["info", "--format", "{{.SystemTime}}"])?.ok()?;
    let line = [
        "events",
        "--since",
        &since,
        "--until",
        &until,
        "--format",
        "{{.Type}} {{.Action}}",
    ];
    let events = docker.docker(&line)?.ok()?;
    for expected in [
        "network create",
        "network connect",
        "container start",
        "container die",
        "network disconnect",
        "network destroy",
    ] {
        contains(&events, expected);
    }
    Ok(())
}
