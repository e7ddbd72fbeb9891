//! Everything of ours is killed, and no container, name or record notices.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use netlab::{Programs, Single, on_each_backend, wait_for};

type Test = anyhow::Result<()>;

/// For what comes about at all.
const SOON: Duration = Duration::from_secs(20);

/// Process ids of a program of ours that was started for this host.
fn helpers(host: &Single, program: &str) -> Vec<i32> {
    let folder = host.daemon.host().folder().to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.split('\0')
            .next()
            .is_some_and(|first| first.ends_with(program))
            && line.contains(&folder)
    })
    .collect()
}

/// Whether somebody takes questions at 127.0.0.11 in a container.
fn listens_in(pid: &str) -> anyhow::Result<bool> {
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/udp"))?;
    Ok(sockets.contains(" 0B00007F:"))
}

/// A lookup from inside a container that needs no daemon: `nsenter` into its namespaces.
fn resolves(host: &Single, pid: &str, name: &str) -> anyhow::Result<String> {
    let line = [
        "-t",
        pid,
        "-n",
        "-m",
        "-r",
        "-w",
        "/bin/busybox",
        "nslookup",
        name,
    ];
    host.daemon.host().run("nsenter", &line)?.ok()
}

#[test]
fn the_daemon_is_killed_and_containers_names_and_records_go_on() -> Test {
    on_each_backend(&[], |mut host| {
        let (before, pid) = {
            let docker = &host.daemon;
            docker.ok("network create lan")?;
            docker.ok("run -d --name one --network lan busybox sleep 600")?;
            docker.ok("run -d --name two --network lan busybox sleep 600")?;
            docker
                .docker(&[
                    "run",
                    "-d",
                    "--name",
                    "short",
                    "--network",
                    "lan",
                    "busybox",
                    "sh",
                    "-c",
                    "read x; exit 7",
                ])?
                .ok()?;
            let format =
                "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.NetworkSettings.Networks.lan.IPAddress}}";
            (
                docker.docker(&["inspect", "-f", format, "one", "two"])?.ok()?,
                docker.ok("inspect -f {{.State.Pid}} one")?,
            )
        };
        host.daemon.kill()?;
        resolves(&host, &pid, "two")?;
        host.daemon
            .host()
            .run("nsenter", &["-t", &pid, "-n", "ping", "-c1", "-W5", "172.18.0.3"])?
            .ok()?;
        host.daemon.start_again()?;
        resolves(&host, &pid, "two")?;
        let docker = &host.daemon;
        let format =
            "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.NetworkSettings.Networks.lan.IPAddress}}";
        assert_eq!(
            docker.docker(&["inspect", "-f", format, "one", "two"])?.ok()?,
            before
        );
        assert!(docker.ok("ps --format {{.Names}}")?.contains("one"));
        assert_eq!(docker.ok("exec one echo alive")?, "alive");
        docker.ok("exec one ping -c1 -W5 two")?;
        assert_eq!(
            docker
                .docker(&["network", "inspect", "-f", "{{len .Containers}}", "lan"])?
                .ok()?,
            "2"
        );
        docker.ok("run --rm --network lan busybox ping -c1 -W5 one")?;
        docker.ok("rm -f one two short")?;
        docker.ok("network rm lan")?;
        Ok(())
    })
}

#[test]
fn a_container_that_ends_while_the_daemon_is_down_keeps_its_exit_status() -> Test {
    let mut host = Single::start(&[])?;
    host.daemon
        .docker(&[
            "run",
            "-d",
            "--name",
            "seven",
            "busybox",
            "sh",
            "-c",
            "trap 'exit 7' TERM; while :; do sleep 0.05; done",
        ])?
        .ok()?;
    let pid = host.daemon.ok("inspect -f {{.State.Pid}} seven")?;
    host.daemon.kill()?;
    host.daemon.host().run("kill", &[&pid])?.ok()?;
    wait_for("the container's end", Duration::from_secs(10), || {
        anyhow::ensure!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "still there"
        );
        Ok(())
    })?;
    host.daemon.start_again()?;
    let docker = &host.daemon;
    assert_eq!(
        docker
            .docker(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "seven"])?
            .ok()?,
        "exited 7"
    );
    docker.ok("rm seven")?;
    assert_eq!(
        helpers(&host, "cnm-shim"),
        Vec::<i32>::new(),
        "no shim without a container"
    );
    Ok(())
}

#[test]
fn the_name_service_is_killed_and_is_back_within_a_second() -> Test {
    on_each_backend(&[], |mut host| {
        let docker = &host.daemon;
        docker.ok("network create lan")?;
        docker.ok("run -d --name one --network lan busybox sleep 600")?;
        docker.ok("run -d --name two --network lan busybox sleep 600")?;
        let pid = docker.ok("inspect -f {{.State.Pid}} one")?;
        resolves(&host, &pid, "two")?;
        // A busy machine slows some: the fastest of three tells.
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let old = helpers(&host, "cnm-names");
            assert_eq!(old.len(), 1, "one name service for this host");
            host.daemon
                .host()
                .run("kill", &["-9", &old[0].to_string()])?
                .ok()?;
            let killed = Instant::now();
            wait_for("another name service", SOON, || {
                let now = helpers(&host, "cnm-names");
                anyhow::ensure!(now.len() == 1 && now != old, "{now:?} after {old:?}");
                anyhow::ensure!(listens_in(&pid)?, "nobody listens in the container");
                Ok(())
            })?;
            // Asked only now: a client whose question was lost asks again after seconds of its own.
            fastest = fastest.min(killed.elapsed());
            resolves(&host, &pid, "two")?;
        }
        assert!(fastest < Duration::from_secs(1), "{fastest:?}");
        // The same with the daemon away: whoever starts the helper again, its mirror is enough.
        host.daemon.kill()?;
        let old = helpers(&host, "cnm-names");
        host.daemon
            .host()
            .run("kill", &["-9", &old[0].to_string()])?
            .ok()?;
        let mut command = Command::new(Programs::find()?.ours("cnm-names"));
        command.arg("--exec-root").arg(host.daemon.exec_root());
        let mut helper = host.daemon.host().start("cnm-names-again", command)?;
        wait_for("names from the mirror alone", SOON, || {
            resolves(&host, &pid, "two")
        })?;
        host.daemon.start_again()?;
        assert!(helper.running(), "the daemon takes the running helper as it is");
        host.daemon.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn a_daemon_killed_while_containers_start_leaves_nothing_half_made() -> Test {
    on_each_backend(&[], |mut host| {
        host.daemon.ok("network create lan")?;
        let commands: Vec<_> = (0..6)
            .map(|number| {
                let mut command = host.daemon.client_command(Programs::peer("docker")?);
                command.args([
                    "run",
                    "-d",
                    "--name",
                    &format!("c{number}"),
                    "--network",
                    "lan",
                    "busybox",
                    "sleep",
                    "600",
                ]);
                command
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null());
                host.daemon.host().spawn(command)
            })
            .collect::<Result<_, _>>()?;
        wait_for("the first of them", Duration::from_secs(10), || {
            anyhow::ensure!(!host.daemon.ok("ps -q")?.is_empty(), "none runs yet");
            Ok(())
        })?;
        host.daemon.kill()?;
        for mut command in commands {
            command.wait()?;
        }
        host.daemon.start_again()?;
        let docker = &host.daemon;
        for number in 0..6 {
            let name = format!("c{number}");
            if docker.line(&format!("inspect {name}"))?.code == 0 {
                // Whatever state it was caught in, it can be started and removed.
                docker.ok(&format!("start {name}"))?;
                docker.ok(&format!("exec {name} true"))?;
                docker.ok(&format!("rm -f {name}"))?;
            }
        }
        docker.ok("network rm lan")?;
        assert_eq!(helpers(&host, "cnm-shim"), Vec::<i32>::new());
        let links = docker.host().run("ip", &["-o", "link"])?.ok()?;
        assert!(!links.contains("veth"), "{links}");
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = docker.data_root();
        let left: Vec<_> = mounts
            .lines()
            .filter(|line| line.contains(&*own.to_string_lossy()))
            .collect();
        assert_eq!(left, Vec::<&str>::new());
        Ok(())
    })
}

#[test]
fn sigterm_ends_the_daemon_in_order_and_containers_stay() -> Test {
    let mut host = Single::start(&[])?;
    host.daemon.ok("run -d --name one busybox sleep 600")?;
    host.daemon.stop()?;
    let refused = host.daemon.cnm(&["ps"])?.failed()?;
    assert!(refused.contains("cnmd"), "it says how to start one: {refused}");
    host.daemon.start_again()?;
    assert_eq!(host.daemon.ok("exec one echo alive")?, "alive");
    host.daemon.ok("rm -f one")?;
    // With the last container gone, so is the cgroup that was their parent.
    host.daemon.stop()?;
    let parent = host.daemon.cgroup_parent();
    let stays: Vec<_> = fs::read_dir("/sys/fs/cgroup")?
        .flatten()
        .map(|hierarchy| hierarchy.path().join(parent.trim_start_matches('/')))
        .chain([format!("/sys/fs/cgroup{parent}").into()])
        .filter(|path| path.exists())
        .collect();
    assert_eq!(stays, Vec::<std::path::PathBuf>::new());
    Ok(())
}

#[test]
fn a_second_daemon_on_the_same_roots_is_refused_and_changes_nothing() -> Test {
    let host = Single::start(&[])?;
    let mut command = Command::new(Programs::find()?.ours("cnmd"));
    command
        .arg("--data-root")
        .arg(host.daemon.data_root())
        .arg("--exec-root")
        .arg(host.daemon.exec_root());
    command
        .arg("--host")
        .arg(host.daemon.url())
        .arg("--config-file")
        .arg(host.daemon.host().folder().join("daemon.json"));
    let refused = host.daemon.host().run_command(command, &[])?.failed()?;
    assert!(refused.contains("another daemon"), "{refused}");
    thread::yield_now();
    host.daemon.ok("network ls")?;
    Ok(())
}
