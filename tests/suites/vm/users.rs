//! `userns-remap` on an older kernel, whose overlay takes its layers by the old call, with cgroups of version 2.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::ensure;
use netlab::{Daemon, Single};

use super::{Test, cnm, contains, shell};

/// The first number on the host.
const FIRST: u32 = 300_000;

fn remapped(flags: &[&str]) -> anyhow::Result<Single> {
    let flags: Vec<_> = ["--userns-remap", "default"]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    Single::start_prepared(
        &flags,
        "echo dockremap:x:990:990::/:/bin/false >> /etc/passwd; echo dockremap:x:990: >> /etc/group; \
         echo dockremap:300000:65536 >> /etc/subuid; echo dockremap:300000:65536 >> /etc/subgid",
    )
}

/// What both of a new container and one that runs answer to a line.
fn answers(daemon: &Daemon, line: &str, expected: &str) -> Test {
    for words in ["run --rm -v data:/data busybox", "exec box"] {
        let (code, said) = shell(daemon, words, line)?;
        ensure!(
            code == 0 && said.trim() == expected,
            "{words}: {line}: {code}: {said}"
        );
    }
    Ok(())
}

#[test]
fn root_inside_is_nobody_outside() -> Test {
    let mut host = remapped(&[])?;
    let one = &host.daemon;
    contains(&cnm(one, "info")?, "userns");
    cnm(
        one,
        "run -d --name box --memory 64m -v data:/data busybox sleep 3600",
    )?;
    let pid = cnm(one, "inspect -f {{.State.Pid}} box")?;
    ensure!(fs::metadata(format!("/proc/{pid}"))?.uid() == FIRST, "{pid}");
    for (line, expected) in [
        (
            "stat -c '%u %g' / /bin /etc/hosts /data /bin/busybox | sort -u",
            "0 0",
        ),
        (
            "echo x > /file && chown 5:6 /file && stat -c '%u %g' /file",
            "5 6",
        ),
        ("touch /data/x && stat -c %u /data/x", "0"),
        ("cat /proc/self/cgroup", "0::/"),
        ("ping -c 1 -W 10 127.0.0.1 >/dev/null && echo answers", "answers"),
    ] {
        answers(one, line, expected)?;
    }
    ensure!(
        cnm(one, "exec box cat /sys/fs/cgroup/memory.max")? == "67108864",
        "a limit of its own"
    );
    let of_root = one.data_root().join("volumes/data/_data/x");
    ensure!(
        fs::metadata(&of_root)?.uid() == 0,
        "on the disk nothing is shifted"
    );
    host.daemon.kill()?;
    host.daemon.start_again()?;
    let one = &host.daemon;
    cnm(one, "restart -t 0 box")?;
    answers(one, "stat -c '%u %g' /", "0 0")?;
    ensure!(
        cnm(one, "exec box stat -c %u /file")? == "5",
        "what it wrote is there"
    );
    cnm(one, "rm -f box")?;
    cnm(one, "volume rm data").map(drop)
}
