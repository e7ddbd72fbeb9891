//! The daemon as a whole, with the real `docker` and with `cnm`: room, prunes, resets, and a host that starts anew.

use std::{fs, time::Duration};

use netlab::{Single, contains, on_each_client, wait_for};

type Test = anyhow::Result<()>;

#[test]
fn room_is_told_and_made() -> Test {
    on_each_client(&[], |host, _| room(host))
}

fn room(host: &Single) -> Test {
    let docker = &host.daemon;
    let write = "head -c 50000 /dev/zero > /data/file; head -c 7000 /dev/zero > /own";
    docker
        .docker(&[
            "run", "--name", "one", "-v", "/data", "busybox", "sh", "-c", write,
        ])?
        .ok()?;
    docker.ok("run -d --name two -v kept:/kept busybox sleep 600")?;
    docker.ok("network create idle")?;
    let format = [
        "system",
        "df",
        "--format",
        "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}}",
    ];
    let table = docker.docker(&format)?.ok()?;
    contains(&table, "Images 1 1 ");
    contains(&table, "Containers 2 1 7kB");
    contains(&table, "Local Volumes 2 2 50kB");
    contains(&table, "Build Cache 0 0 0B");
    contains(&docker.ok("system df -v")?, "Local Volumes space usage:");
    let old = docker.api().get("/v1.40/system/df")?;
    assert_eq!(
        (&old["BuilderSize"], &old["Volumes"][0]["UsageData"]["RefCount"]),
        (&0.into(), &1.into())
    );
    let some = docker.api().get("/system/df?type=volume")?;
    assert!(some.get("Images").is_none() && some["Volumes"].is_array());
    let cnm = docker.cnm(&["system", "df"])?.ok()?;
    contains(&cnm, "Local Volumes   2         2         50kB");
    let since = docker.docker(&["info", "--format", "{{.SystemTime}}"])?.ok()?;
    let pruned = docker.ok("system prune -f --volumes")?;
    contains(&pruned, "Deleted Networks:\nidle");
    contains(&pruned, "Total reclaimed space: 57kB");
    assert_eq!(docker.ok("volume ls -q")?, "kept");
    assert_eq!(
        docker.docker(&["ps", "-a", "--format", "{{.Names}}"])?.ok()?,
        "two"
    );
    let until = docker.docker(&["info", "--format", "{{.SystemTime}}"])?.ok()?;
    let line = [
        "events",
        "--since",
        &since,
        "--until",
        &until,
        "-f",
        "event=prune",
        "--format",
        "{{.Type}}",
    ];
    let told = docker.docker(&line)?.ok()?;
    for kind in ["container", "network", "volume", "image"] {
        contains(&told, kind);
    }
    Ok(())
}

#[test]
fn a_reset_takes_all_that_is_ours_and_leaves_a_daemon() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("network create inner")?;
    docker.ok("run -d --name one --network inner -p 8080:80 -v data:/data -v /more busybox sleep 600")?;
    docker.ok("create --name two busybox true")?;
    let outside = docker.host().folder().join("outside");
    fs::create_dir(&outside)?;
    let bind = format!("{}:/outside", outside.display());
    docker
        .docker(&["run", "--rm", "-v", &bind, "busybox", "touch", "/outside/file"])?
        .ok()?;
    let asked = docker.cnm(&["system", "reset"])?;
    contains(&asked.stdout, "WARNING!");
    assert_eq!(docker.ok("ps -aq")?.lines().count(), 2, "nobody said yes");
    let reset = docker.cnm(&["system", "reset", "-f"])?.ok()?;
    assert_eq!(
        reset,
        "containers: 2 removed\nnetworks: 1 removed\nvolumes: 1 removed\nimages: 1 removed"
    );
    for line in [
        "ps -aq",
        "volume ls -q",
        "images -q",
        "network ls -q -f type=custom",
    ] {
        assert_eq!(docker.ok(line)?, "", "{line}");
    }
    assert_eq!(docker.ok("network ls -q -f type=builtin")?.lines().count(), 3);
    assert_eq!(fs::read_dir(docker.data_root().join("containers"))?.count(), 0);
    assert_eq!(fs::read_dir(docker.data_root().join("volumes"))?.count(), 0);
    assert!(outside.join("file").exists(), "what is the host's own stays");
    docker.import_busybox()?;
    assert_eq!(docker.ok("run --rm busybox echo again")?, "again");
    Ok(())
}

#[test]
fn before_a_shutdown_all_are_stopped_and_the_next_boot_starts_what_is_to_run() -> Test {
    let mut host = Single::start(&[])?;
    let docker = &host.daemon;
    let trap = "trap 'echo asked; exit 0' TERM; while :; do sleep 1 & wait $!; done";
    for (name, policy) in [
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("plain", "no"),
    ] {
        docker
            .docker(&[
                "run",
                "-d",
                "--name",
                name,
                "--restart",
                policy,
                "busybox",
                "sh",
                "-c",
                trap,
            ])?
            .ok()?;
    }
    docker.cnm(&["system", "stop"])?.ok()?;
    assert_eq!(docker.ok("ps -q")?, "");
    assert_eq!(docker.ok("logs always")?, "asked");
    assert_eq!(docker.ok("inspect -f {{.State.ExitCode}} plain")?, "0");
    host.daemon.stop()?;
    host.daemon.start_again()?;
    let docker = &host.daemon;
    wait_for("what is to run", Duration::from_secs(20), || {
        let running = docker.docker(&["ps", "--format", "{{.Names}}"])?.ok()?;
        anyhow::ensure!(running == "unless\nalways", "{running}");
        Ok(())
    })
}

/// Ends everything that a host's end would end: the daemon, the shims, the containers' processes.
fn end_of_the_host(host: &mut Single, names: &[&str]) -> Test {
    let mut ended = Vec::new();
    for name in names {
        ended.push(
            host.daemon
                .ok(&format!("inspect -f {{{{.State.Pid}}}} {name}"))?
                .parse::<i32>()?,
        );
    }
    let place = host.daemon.host().folder().display().to_string();
    host.daemon.kill()?;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains("cnm-shim") && line.contains(&place) {
            ended.insert(0, pid);
        }
    }
    for pid in ended.into_iter().filter(|pid| *pid > 0) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    Ok(())
}

#[test]
fn after_the_host_starts_anew_what_is_to_run_runs_in_order() -> Test {
    let mut host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("network create inner --subnet 10.77.0.0/24")?;
    docker.ok("run -d --name base --restart always --network inner --ip 10.77.0.9 busybox sleep 600")?;
    docker.ok("run -d --name inside --restart always --network container:base busybox sleep 600")?;
    docker.ok("run -d --name other --restart unless-stopped --network inner busybox sleep 600")?;
    docker.ok("run -d --name stopped --restart unless-stopped busybox sleep 600")?;
    docker.ok("stop -t 0 stopped")?;
    docker.ok("run -d --name plain busybox sleep 600")?;
    docker.ok("run -d --rm --name gone -v /scratch busybox sleep 600")?;
    end_of_the_host(&mut host, &["base", "inside", "other", "plain", "gone"])?;
    host.daemon.start_again()?;
    let docker = &host.daemon;
    wait_for("what is to run", Duration::from_secs(20), || {
        let mut running: Vec<_> = docker
            .docker(&["ps", "--format", "{{.Names}}"])?
            .ok()?
            .lines()
            .map(str::to_owned)
            .collect();
        running.sort();
        anyhow::ensure!(running == ["base", "inside", "other"], "{running:?}");
        Ok(())
    })?;
    assert_eq!(
        docker.ok("inspect -f {{.State.Status}}|{{.State.ExitCode}} plain")?,
        "exited|255"
    );
    assert_eq!(docker.ok("inspect -f {{.State.Status}} stopped")?, "exited");
    contains(&docker.refused("inspect gone")?, "gone");
    assert_eq!(docker.ok("volume ls -q")?, "", "--rm takes its volume, too");
    contains(&docker.ok("exec inside ip addr show eth0")?, "10.77.0.9/24");
    docker.ok("exec other ping -c 1 -w 5 base")?;
    Ok(())
}
