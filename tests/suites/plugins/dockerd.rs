//! What real dockerds, which every plugin in the field was written for, tell their plugins; and that this daemon says the
//! same.

use std::{path::Path, process::Command, time::Duration};

use netlab::{Daemon, DaemonOptions, Dockerd, Host, Lab, Process, Programs, Single, wait_for};

use crate::{
    Test,
    recorded::{self, Text},
    store::Store,
    stub::{Called, Stub},
};

/// Releases with the packages that they lie in. The last one is not brought everywhere.
const RELEASES: [(&str, &[&str]); 3] = [
    ("20.10", &["dockerd"]),
    ("26.1", &["dockerd-26", "dockerd"]),
    (NEWEST, &["dockerd-28", "dockerd"]),
];
const NEWEST: &str = "28.5";

/// A host with a release of dockerd, unless it is the newest one and that is not here, or is another by now.
fn host_with(
    lab: &mut Lab,
    name: &str,
    (version, packages): (&str, &[&str]),
) -> anyhow::Result<Option<Host>> {
    let brought = Programs::is_brought(packages[0]);
    if version == NEWEST && !brought {
        return Ok(None);
    }
    let host = lab.host(name)?.with_packages(packages)?;
    let says = host.run("dockerd", &["--version"])?.ok()?;
    let same = says.contains(&format!("version {version}."));
    assert!(same || version == NEWEST, "{says}");
    Ok(same.then_some(host))
}

/// Tells a dockerd where a plugin listens.
fn specify(host: &Host, name: &str, socket: &Path) -> Test {
    let line = format!(
        "mkdir -p /etc/docker/plugins && echo unix://{} > /etc/docker/plugins/{name}.spec",
        socket.display()
    );
    host.run("sh", &["-c", &line])?.ok().map(drop)
}

#[test]
fn what_dockerd_tells_a_plugin() -> Test {
    for release in RELEASES {
        let mut lab = Lab::new()?;
        let Some(host) = host_with(&mut lab, "a", release)? else {
            continue;
        };
        let stub = Stub::serve(&host, host.folder().join("stub.sock"))?;
        specify(&host, "stub", stub.socket())?;
        let mut docker = Dockerd::start(&host, &[])?;
        let mut text = Text::default();
        for line in recorded::LIFE {
            docker.ok(line)?;
            text.part(&format!("docker {line}"), &stub.calls());
        }
        docker.stop()?;
        recorded::assert_golden(&format!("dockerd-{}.txt", release.0), text.as_str())?;
    }
    Ok(())
}

#[test]
fn this_daemon_tells_a_plugin_the_same() -> Test {
    let single = Single::start(&[])?;
    let socket = single.daemon.exec_root().join("plugins/stub.sock");
    let stub = Stub::serve(single.daemon.host(), socket)?;
    let mut text = Text::default();
    for line in recorded::LIFE {
        single.daemon.ok(line)?;
        text.part(&format!("docker {line}"), &stub.calls());
    }
    let ours = recorded::comparable(text.as_str());
    for (version, _) in RELEASES {
        let theirs = recorded::comparable(&recorded::golden(&format!("dockerd-{version}.txt"))?);
        assert_eq!(
            ours.join("\n"),
            theirs.join("\n"),
            "dockerd {version} on the right"
        );
    }
    Ok(())
}

#[test]
fn what_dockerd_tells_a_plugin_of_volumes() -> Test {
    for release in RELEASES {
        let mut lab = Lab::new()?;
        let Some(host) = host_with(&mut lab, "a", release)? else {
            continue;
        };
        let store = Store::serve(&host, host.folder().join("store.sock"))?;
        specify(&host, "store", store.socket())?;
        let mut docker = Dockerd::start(&host, &[])?;
        let mut text = Text::default();
        for line in recorded::LIFE_OF_VOLUMES {
            docker.ok(line)?;
            text.part(&format!("docker {line}"), &store.calls());
        }
        docker.stop()?;
        recorded::assert_golden("volumes.txt", text.as_str())?;
    }
    Ok(())
}

/// Repeated questions apart, which this daemon asks less often.
#[test]
fn this_daemon_tells_a_plugin_of_volumes_the_same() -> Test {
    let single = Single::start(&[])?;
    let socket = single.daemon.exec_root().join("plugins/store.sock");
    let store = Store::serve(single.daemon.host(), socket)?;
    let mut text = Text::default();
    for line in recorded::LIFE_OF_VOLUMES {
        single.daemon.ok(line)?;
        text.part(&format!("docker {line}"), &store.calls());
    }
    let deeds = |text: &str| {
        let asks = [
            "Plugin.Activate",
            "VolumeDriver.Capabilities",
            "VolumeDriver.Get",
            "VolumeDriver.List",
        ];
        let told = text
            .lines()
            .filter(|line| !asks.iter().any(|ask| line.starts_with(ask)));
        told.map(|line| line.replace("\"Opts\":null", "\"Opts\":{}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(
        deeds(text.as_str()),
        deeds(&recorded::golden("volumes.txt")?),
        "dockerd on the right"
    );
    Ok(())
}

/// etcd as dockerd 20.10 speaks with it.
fn old_etcd(host: &Host) -> anyhow::Result<Process> {
    let url = format!("http://{}:2379", host.address());
    let mut command = Command::new(Programs::peer("etcd")?);
    command.args([
        "--enable-v2",
        "--listen-client-urls",
        &url,
        "--advertise-client-urls",
        &url,
    ]);
    command.args(["--listen-peer-urls", "http://127.0.0.1:2380", "--data-dir"]);
    command.arg(host.folder().join("etcd"));
    let process = host.start("etcd", command)?;
    let connect = format!("exec 3<>/dev/tcp/{}/2379", host.address());
    wait_for("etcd to listen", Duration::from_secs(30), || {
        host.run("bash", &["-c", &connect])?.ok()
    })?;
    Ok(process)
}

/// What a plugin hears until this is among it.
fn heard(stub: &Stub, method: &str) -> anyhow::Result<Vec<Called>> {
    let mut calls = Vec::new();
    wait_for(method, Duration::from_secs(60), || {
        calls.extend(stub.calls());
        anyhow::ensure!(calls.iter().any(|(called, _)| called == method), "{calls:?}");
        Ok(())
    })?;
    Ok(calls)
}

/// The last release in which a plugin can be told of hosts.
#[test]
fn what_dockerd_tells_a_plugin_of_hosts() -> Test {
    let mut lab = Lab::new()?;
    let kept = lab.host("kept")?;
    let _etcd = old_etcd(&kept)?;
    let mut hosts = Vec::new();
    for name in ["a", "b"] {
        let Some(host) = host_with(&mut lab, name, RELEASES[0])? else {
            continue;
        };
        let stub = Stub::serve(&host, host.folder().join("stub.sock"))?;
        stub.everywhere();
        specify(&host, "stub", stub.socket())?;
        hosts.push((host, stub));
    }
    let [(a, stub), (b, other)] = &hosts[..] else {
        unreachable!("the oldest release is everywhere");
    };
    let start = |host: &Host| {
        let cluster = format!("--cluster-store=etcd://{}:2379", kept.address());
        let advertise = format!("--cluster-advertise={}:2376", host.address());
        let quick =
            ["discovery.heartbeat=1", "discovery.ttl=4"].map(|text| format!("--cluster-store-opt={text}"));
        Dockerd::start(host, &[&cluster, &advertise, &quick[0], &quick[1]])
    };
    let mut text = Text::with_addresses(&[("a", a.address()), ("b", b.address())]);
    let mut here = start(a)?;
    here.ok("network create -d stub --subnet 10.88.0.0/24 lan")?;
    text.part(
        "docker network create -d stub --subnet 10.88.0.0/24 lan",
        &stub.calls(),
    );
    let mut there = start(b)?;
    text.part("(host b comes)", &heard(stub, "NetworkDriver.DiscoverNew")?);
    for line in recorded::LIFE_ELSEWHERE {
        there.ok(line)?;
        text.part(&format!("(on b) docker {line}"), &other.calls());
    }
    there.stop()?;
    text.part("(host b goes)", &heard(stub, "NetworkDriver.DiscoverDelete")?);
    here.ok("network rm lan")?;
    text.part("docker network rm lan", &stub.calls());
    text.part("(then on b)", &other.calls());
    here.stop()?;
    recorded::assert_golden("hosts-20.10.txt", text.as_str())
}

#[test]
fn this_daemon_tells_a_plugin_of_hosts_the_same() -> Test {
    let programs = Programs::find()?;
    let mut lab = Lab::new()?;
    let kept = lab.host("kept")?;
    let _etcd = netlab::Store::Etcd.start(&kept)?;
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let start = |host: &Host| {
        let options = DaemonOptions {
            cluster_store: netlab::Store::Etcd.url(&kept),
            flags: Vec::new(),
        };
        Daemon::start(host, &programs, options)
    };
    let mut text = Text::with_addresses(&[("a", a.address()), ("b", b.address())]);
    let here = start(&a)?;
    let stub = Stub::serve(&a, here.exec_root().join("plugins/stub.sock"))?;
    stub.everywhere();
    here.ok("network create -d stub --subnet 10.88.0.0/24 lan")?;
    text.part(
        "docker network create -d stub --subnet 10.88.0.0/24 lan",
        &stub.calls(),
    );
    let mut there = start(&b)?;
    let other = Stub::serve(&b, there.exec_root().join("plugins/stub.sock"))?;
    other.everywhere();
    text.part("(host b comes)", &heard(&stub, "NetworkDriver.DiscoverNew")?);
    there.import_busybox()?;
    for line in recorded::LIFE_ELSEWHERE {
        there.ok(line)?;
        text.part(&format!("(on b) docker {line}"), &other.calls());
    }
    there.stop()?;
    text.part("(host b goes)", &heard(&stub, "NetworkDriver.DiscoverDelete")?);
    here.ok("network rm lan")?;
    text.part("docker network rm lan", &stub.calls());
    text.part("(then on b)", &other.calls());
    // Of an endpoint that is no gateway dockerd does not ask how it does.
    let comparable = |text: &str| {
        let lines = recorded::comparable(text).into_iter();
        let lines = lines.filter(|line| !line.contains(".EndpointOperInfo "));
        lines.collect::<Vec<_>>().join("\n")
    };
    let ours = comparable(text.as_str());
    let theirs = comparable(&recorded::golden("hosts-20.10.txt")?);
    assert_eq!(ours, theirs, "dockerd 20.10 on the right");
    stub.refuse("CreateNetwork", Some("no room"));
    let told = here.refused("network create -d stub lan")?;
    assert!(told.contains("no room"), "{told}");
    assert!(!here.ok("network ls")?.contains("lan"), "nobody has it");
    Ok(())
}

/// What a plugin has besides is listed, shown, used and removed like what was made here; one that hangs keeps a list
/// for a while, and is named.
#[test]
fn volumes_that_a_plugin_has_besides_are_there() -> Test {
    let single = Single::start(&[])?;
    let docker = &single.daemon;
    let plugins = docker.exec_root().join("plugins");
    let store = Store::serve(docker.host(), plugins.join("store.sock"))?;
    store.have("theirs");
    docker.ok("volume create ours")?;
    docker.ok("volume create -d store both")?;
    assert_eq!(docker.ok("volume ls -q")?, "both\nours\ntheirs");
    assert_eq!(docker.ok("volume ls -q -f driver=store")?, "both\ntheirs");
    assert_eq!(docker.ok("volume ls -q -f name=our")?, "ours");
    assert_eq!(
        docker.ok("volume ls -q -f dangling=true -f driver=store")?,
        "both\ntheirs"
    );
    let line = "volume inspect -f {{.Driver}}|{{.CreatedAt}}|{{.Scope}} theirs";
    assert_eq!(docker.ok(line)?, "store|2026-01-02T03:04:05Z|local");
    let drivers = docker
        .docker(&["info", "--format", "{{json .Plugins.Volume}}"])?
        .ok()?;
    assert_eq!(drivers, r#"["local","store"]"#);
    docker.ok("run --rm -v theirs:/data --volume-driver store busybox touch /data/file")?;
    assert!(docker.ok("volume ls -q")?.contains("theirs"));
    docker.ok("volume rm theirs")?;
    assert_eq!(docker.ok("volume ls -q")?, "both\nours");
    assert!(
        docker
            .refused("volume inspect theirs")?
            .contains("no such volume")
    );
    // Somebody listens there and never answers.
    let _silent = std::os::unix::net::UnixListener::bind(plugins.join("silent.sock"))?;
    assert_eq!(docker.ok("volume ls -q")?, "both\nours");
    Ok(())
}
