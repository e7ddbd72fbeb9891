//! Containers on pure cgroup version 2, and with all the capabilities of a real root.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use netlab::{Daemon, Single, wait_for};

use super::{Test, cnm, contains, refused, shell};

/// Where the kernel shows a container's cgroup.
fn cgroup(daemon: &Daemon, container: &str) -> anyhow::Result<PathBuf> {
    let pid = cnm(daemon, &format!("inspect -f {{{{.State.Pid}}}} {container}"))?;
    let line = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = line.trim().trim_start_matches("0::/").to_owned();
    ensure!(!path.is_empty() && !path.contains('\n'), "{line:?}");
    Ok(PathBuf::from("/sys/fs/cgroup").join(path))
}

fn value(daemon: &Daemon, container: &str, file: &str) -> anyhow::Result<String> {
    let path = cgroup(daemon, container)?.join(file);
    let text = std::fs::read_to_string(&path);
    text.map(|text| text.trim().to_owned())
        .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

fn has(daemon: &Daemon, wanted: &[(&str, &str)]) -> Test {
    for (file, expected) in wanted {
        let found = value(daemon, "box", file)?;
        ensure!(found == *expected, "{file} is {found:?}, not {expected:?}");
    }
    Ok(())
}

/// How important its input and output is: where there is a scheduler for it, else where the kernel counts costs.
fn weighs(daemon: &Daemon, expected: [&str; 2]) -> Test {
    let weights = ["io.bfq.weight", "io.weight"].map(|file| value(daemon, "box", file).unwrap_or_default());
    let shown = match weights[0].is_empty() {
        true => (weights[1].as_str(), expected[1]),
        false => (weights[0].as_str(), expected[0]),
    };
    ensure!(shown.0 == format!("default {}", shown.1), "{weights:?}");
    Ok(())
}

#[test]
fn limits_are_set_shown_and_changed_while_it_runs() -> Test {
    let mut single = Single::start(&[])?;
    let one = &single.daemon;
    contains(&cnm(one, "info")?, "Cgroup Version: 2");
    let limits = "--memory 64m --memory-reservation 32m --memory-swap 96m --cpus 0.5 --cpu-shares 512 \
                  --cpuset-cpus 1 --cpuset-mems 0 --pids-limit 50 --blkio-weight 200 \
                  --device-read-bps /dev/vda:1mb --device-write-iops /dev/vda:100";
    cnm(one, &format!("run -d --name box {limits} busybox sleep 3600"))?;
    has(
        one,
        &[
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("memory.swap.max", "33554432"),
            ("cpu.max", "50000 100000"),
            ("cpu.weight", "59"),
            ("cpuset.cpus", "1"),
            ("cpuset.mems", "0"),
            ("pids.max", "50"),
            ("io.max", "254:0 rbps=1048576 wbps=max riops=max wiops=100"),
        ],
    )?;
    weighs(one, ["200", "1920"])?;
    cnm(one, "update --blkio-weight 300 box")?;
    weighs(one, ["300", "2930"])?;
    let shown = cnm(one, "stats --no-stream --format {{.MemUsage}}/{{.PIDs}} box")?;
    contains(&shown, "64MiB/");
    contains(&shown, "/1");
    cnm(
        one,
        "update --memory 128m --memory-swap 256m --cpus 1 --cpuset-cpus 0-1 --pids-limit 80 --cpu-shares 1024 box",
    )?;
    let changed = [
        ("memory.max", "134217728"),
        ("memory.swap.max", "134217728"),
        ("cpu.max", "100000 100000"),
        ("cpuset.cpus", "0-1"),
        ("pids.max", "80"),
        ("cpu.weight", "100"),
    ];
    has(one, &changed)?;
    // They are the container's, not the process's.
    single.daemon.kill()?;
    single.daemon.start_again()?;
    let one = &single.daemon;
    has(one, &changed)?;
    cnm(one, "restart -t 0 box")?;
    has(one, &changed)?;
    contains(
        &cnm(one, "stats --no-stream --format {{.MemUsage}} box")?,
        "128MiB",
    );
    let gone = cgroup(one, "box")?;
    cnm(one, "rm -f box")?;
    ensure!(!gone.exists(), "{} is left", gone.display());
    Ok(())
}

#[test]
fn what_a_container_takes_is_counted() -> Test {
    let single = Single::start(&[])?;
    let one = &single.daemon;
    let (_, id) = shell(
        one,
        "run -d --name box --memory 64m busybox",
        "dd if=/dev/urandom of=/tmp/x bs=64k count=64 2>/dev/null; sync; while :; do :; done",
    )?;
    contains(&id, "");
    let usage = wait_for("processor time to be counted", Duration::from_secs(20), || {
        let answer = one.api().get("/containers/box/stats?stream=false")?;
        let cpu = &answer["cpu_stats"]["cpu_usage"]["total_usage"];
        ensure!(cpu.as_u64().is_some_and(|time| time > 300_000_000), "{answer}");
        Ok(answer)
    })?;
    ensure!(
        usage["memory_stats"]["usage"]
            .as_u64()
            .is_some_and(|bytes| bytes > 100_000),
        "{usage}"
    );
    ensure!(usage["memory_stats"]["limit"] == 64 << 20, "{usage}");
    ensure!(
        usage["pids_stats"]["current"]
            .as_u64()
            .is_some_and(|pids| pids >= 1),
        "{usage}"
    );
    let before = &usage["precpu_stats"]["cpu_usage"]["total_usage"];
    ensure!(before.as_u64().is_some_and(|time| time > 0), "{usage}");
    let percent = cnm(one, "stats --no-stream --format {{.CPUPerc}} box")?;
    let percent: f64 = percent.trim_end_matches('%').parse()?;
    ensure!((5.0..=210.0).contains(&percent), "{percent}");
    cnm(one, "rm -f box").map(drop)
}

#[test]
fn more_processes_and_memory_than_allowed_are_refused_by_the_kernel() -> Test {
    let single = Single::start(&[])?;
    let one = &single.daemon;
    let (_, said) = shell(
        one,
        "run --rm --pids-limit 8 busybox",
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done",
    )?;
    contains(&said, "can't fork");
    let (code, said) = shell(
        one,
        "run --name oom --memory 16m --memory-swap 16m busybox",
        "tail /dev/zero",
    )?;
    ensure!(code == 137, "{code}: {said}");
    let state = cnm(one, "inspect -f {{.State.OOMKilled}}/{{.State.ExitCode}} oom")?;
    assert_eq!(state, "true/137");
    // The first process of a namespace can't kill itself.
    let (code, _) = shell(one, "run --init --name told busybox", "kill -9 $$")?;
    ensure!(code == 137, "{code}");
    assert_eq!(cnm(one, "inspect -f {{.State.OOMKilled}} told")?, "false");
    cnm(one, "rm oom told").map(drop)
}

#[test]
fn a_paused_container_stands_still() -> Test {
    let mut single = Single::start(&[])?;
    let one = &single.daemon;
    shell(
        one,
        "run -d --name box busybox",
        "while :; do echo x >>/tmp/ticks; sleep 0.1; done",
    )?;
    let ticks = |daemon: &Daemon| -> anyhow::Result<u64> {
        let pid = cnm(daemon, "inspect -f {{.State.Pid}} box")?;
        Ok(std::fs::metadata(format!("/proc/{pid}/root/tmp/ticks"))?.len())
    };
    wait_for("it to tick", Duration::from_secs(20), || {
        ensure!(ticks(one)? > 0, "not yet");
        Ok(())
    })?;
    cnm(one, "pause box")?;
    assert_eq!(value(one, "box", "cgroup.freeze")?, "1");
    contains(&value(one, "box", "cgroup.events")?, "frozen 1");
    let before = ticks(one)?;
    contains(&refused(one, "exec box true")?, "paused");
    // A daemon that comes back finds it so.
    single.daemon.kill()?;
    single.daemon.start_again()?;
    let one = &single.daemon;
    assert_eq!(cnm(one, "inspect -f {{.State.Status}} box")?, "paused");
    assert_eq!(ticks(one)?, before);
    cnm(one, "unpause box")?;
    wait_for("it to tick again", Duration::from_secs(20), || {
        ensure!(ticks(one)? > before, "not yet");
        Ok(())
    })?;
    cnm(one, "pause box")?;
    let id = cnm(one, "inspect -f {{.Id}} box")?;
    cnm(one, "rm -f box")?;
    let left = one
        .host()
        .run("find", &["/sys/fs/cgroup", "-name", &format!("*{id}*")])?
        .ok()?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

#[test]
fn a_cgroup_namespace_is_its_own_or_the_hosts() -> Test {
    let single = Single::start(&[])?;
    let one = &single.daemon;
    let parent = one.cgroup_parent();
    for (flags, expected) in [
        ("", "0::/".to_owned()),
        ("--cgroupns private", "0::/".to_owned()),
        ("--cgroupns host", format!("0::{parent}/")),
    ] {
        let line = format!("run --rm {flags} busybox cat /proc/self/cgroup").replace("  ", " ");
        let said = cnm(one, &line)?;
        ensure!(
            said == expected || flags.ends_with("host") && said.starts_with(&expected),
            "{flags}: {said:?}"
        );
    }
    // What it sees of the files is its own, and nothing that it may change.
    let seen = cnm(one, "run --rm --memory 64m busybox cat /sys/fs/cgroup/memory.max")?;
    assert_eq!(seen, "67108864");
    let (code, said) = shell(one, "run --rm busybox", "mkdir /sys/fs/cgroup/mine")?;
    ensure!(code != 0 && said.contains("Read-only"), "{code}: {said}");
    let (code, said) = shell(one, "run --rm --privileged busybox", "mkdir /sys/fs/cgroup/mine")?;
    ensure!(code == 0, "{said}");
    let other = cnm(
        one,
        "run --rm --cgroup-parent /elsewhere --cgroupns host busybox cat /proc/self/cgroup",
    )?;
    contains(&other, "0::/elsewhere/");
    Ok(())
}

#[test]
fn devices_are_kept_from_containers_without_the_old_controller() -> Test {
    let single = Single::start(&[])?;
    let one = &single.daemon;
    let read = "mknod /tmp/disk b 254 0 && head -c1 /tmp/disk";
    let (code, said) = shell(one, "run --rm --cap-add MKNOD busybox", read)?;
    ensure!(code != 0 && said.contains("not permitted"), "{code}: {said}");
    let (code, said) = shell(
        one,
        "run --rm busybox",
        "echo x >/dev/null && head -c1 /dev/zero >/dev/full; echo done",
    )?;
    ensure!(code == 0 && said.contains("done"), "{code}: {said}");
    let given = "run --rm --device /dev/vda:/dev/disk:r busybox";
    let (code, said) = shell(one, given, "head -c1 /dev/disk >/dev/null")?;
    ensure!(code == 0, "{said}");
    // It is opened and nothing written.
    let (code, said) = shell(one, given, ": >>/dev/disk")?;
    ensure!(code != 0 && said.contains("not permitted"), "{code}: {said}");
    let (code, said) = shell(
        one,
        "run --rm --privileged busybox",
        "head -c1 /dev/vda >/dev/null",
    )?;
    ensure!(code == 0, "{said}");
    // The filter is renewed with other limits, and stays.
    cnm(one, "run -d --name box --cap-add MKNOD busybox sleep 3600")?;
    cnm(one, "update --memory 64m --memory-swap 64m box")?;
    let (code, said) = shell(one, "exec box", read)?;
    ensure!(code != 0 && said.contains("not permitted"), "{code}: {said}");
    cnm(one, "rm -f box").map(drop)
}

/// What needs CAP_SYS_RESOURCE, which root on a machine of the cloud may lack.
#[test]
fn limits_above_the_daemons_own_can_be_given() -> Test {
    let single = Single::start(&["--oom-score-adjust", "-100"]).or_else(|_| Single::start(&[]))?;
    let one = &single.daemon;
    let (code, said) = shell(
        one,
        "run --rm --ulimit nofile=1048570:1048571 --ulimit memlock=-1 --ulimit core=0:-1 --ulimit nproc=70000 busybox",
        "cat /proc/self/limits",
    )?;
    ensure!(code == 0, "{said}");
    let limit = |name: &str| -> Vec<&str> {
        let line = said
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        line.trim_start_matches(name).split_whitespace().take(2).collect()
    };
    assert_eq!(limit("Max open files"), ["1048570", "1048571"]);
    assert_eq!(limit("Max locked memory"), ["unlimited", "unlimited"]);
    assert_eq!(limit("Max core file size"), ["0", "unlimited"]);
    assert_eq!(limit("Max processes"), ["70000", "70000"]);
    for score in ["-1000", "-500", "0", "300"] {
        let said = cnm(
            one,
            &format!("run --rm --oom-score-adj {score} busybox cat /proc/self/oom_score_adj"),
        )?;
        assert_eq!(said, score);
    }
    let exec = "exec box cat /proc/self/oom_score_adj";
    cnm(
        one,
        "run -d --name box --oom-score-adj -500 --ulimit nofile=900000 busybox sleep 3600",
    )?;
    assert_eq!(cnm(one, exec)?, "-500");
    let (_, said) = shell(one, "exec box", "ulimit -n")?;
    assert_eq!(said.trim(), "900000");
    cnm(one, "rm -f box")?;
    // Sysctls, and what only a whole root may.
    let said = cnm(
        one,
        "run --rm --sysctl kernel.msgmax=16384 busybox cat /proc/sys/kernel/msgmax",
    )?;
    assert_eq!(said, "16384");
    let (code, said) = shell(
        one,
        "run --rm --privileged busybox",
        "mount -t tmpfs tmpfs /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs tmpfs /mnt && ulimit -n 1048576",
    )?;
    ensure!(code == 0, "{said}");
    Ok(())
}
