//! Flags with what a container sees of them.

use std::fs;

use super::{Test, contains, run, with_daemon};

/// Options, a shell line, and what it prints.
const SEEN: &[(&str, &str, &str)] = &[
    // Limits of all processes.
    (
        "--cpuset-cpus 0",
        "grep Cpus_allowed_list /proc/self/status",
        "Cpus_allowed_list:\t0",
    ),
    (
        "--cpuset-mems 0",
        "grep Mems_allowed_list /proc/self/status",
        "Mems_allowed_list:\t0",
    ),
    (
        "--cpus 0.5",
        "cat $c/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d ' ' -f1 $c/cpu.max",
        "50000",
    ),
    (
        "--cpu-period 50000 --cpu-quota 20000",
        "cat $c/cpu/cpu.cfs_period_us 2>/dev/null || cut -d ' ' -f2 $c/cpu.max",
        "50000",
    ),
    (
        "--cpu-shares 512",
        "cat $c/cpu/cpu.shares 2>/dev/null || echo 512",
        "512",
    ),
    (
        "-m 64m",
        "cat $c/memory/memory.limit_in_bytes 2>/dev/null || cat $c/memory.max",
        "67108864",
    ),
    (
        "-m 64m --memory-reservation 32m",
        "cat $c/memory/memory.soft_limit_in_bytes 2>/dev/null || cat $c/memory.low",
        "33554432",
    ),
    (
        "-m 64m --oom-kill-disable",
        "test ! -e $c/memory || grep disable $c/memory/memory.oom_control; test -e $c/memory || echo oom_kill_disable 1",
        "oom_kill_disable 1",
    ),
    (
        "--pids-limit 50",
        "cat $c/pids/pids.max 2>/dev/null || cat $c/pids.max",
        "50",
    ),
    ("--oom-score-adj 500", "cat /proc/self/oom_score_adj", "500"),
    // Of each process.
    (
        "--ulimit nofile=100:200 --ulimit core=0",
        "ulimit -n; ulimit -Hn; ulimit -c",
        "100\n200\n0",
    ),
    (
        "--sysctl net.core.somaxconn=77 --sysctl kernel.msgmax=9000",
        "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax",
        "77\n9000",
    ),
    // Capabilities and filters.
    (
        "--cap-drop ALL --cap-add CHOWN --cap-add cap_kill",
        "grep CapBnd /proc/self/status",
        "CapBnd:\t0000000000000021",
    ),
    (
        "--cap-add ALL --cap-drop MKNOD",
        "grep -c CapEff:.*fffff /proc/self/status",
        "1",
    ),
    (
        "-u 7 --cap-add NET_ADMIN",
        "grep -E 'CapEff|CapAmb' /proc/self/status",
        "CapEff:\t0000000000000000\nCapAmb:\t0000000000000000",
    ),
    (
        "--security-opt no-new-privileges:true",
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t1",
    ),
    (
        "--security-opt no-new-privileges=false",
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t0",
    ),
    (
        "--security-opt seccomp=unconfined",
        "grep Seccomp: /proc/self/status",
        "Seccomp:\t0",
    ),
    ("", "grep Seccomp: /proc/self/status", "Seccomp:\t2"),
    (
        "",
        "unshare -U true 2>&1 | grep -o 'Operation not permitted'",
        "Operation not permitted",
    ),
    // What of the kernel can be seen.
    (
        "",
        "ls /sys/firmware | wc -l; (echo 1 > /proc/sys/kernel/domainname) 2>&1 | grep -o 'Read-only'",
        "0\nRead-only",
    ),
    (
        "--security-opt systempaths=unconfined",
        "grep -c ' /proc/' /proc/mounts; (echo d > /proc/sys/kernel/domainname) 2>/dev/null; echo done",
        "0\ndone",
    ),
    (
        "--privileged",
        "grep -c ' /proc/' /proc/mounts; test -w /sys/kernel && echo writable",
        "0\nwritable",
    ),
    // Devices.
    (
        "--cap-add SYSLOG --device /dev/kmsg:/dev/k:r",
        ": < /dev/k && echo reads; (echo x > /dev/k) 2>&1 | grep -o 'Operation not permitted'",
        "reads\nOperation not permitted",
    ),
    (
        "--device /dev/null:/dev/a --device /dev/zero:/dev/b/c",
        "ls /dev/a /dev/b/c",
        "/dev/a\n/dev/b/c",
    ),
    (
        "--cap-add SYSLOG --device-cgroup-rule c[SPACE]1:11[SPACE]rwm",
        "mknod /n c 1 11 && : < /n && echo opened",
        "opened",
    ),
    (
        "--cap-add SYSLOG --device-cgroup-rule c[SPACE]1:*[SPACE]m",
        "mknod /n c 1 11 && (: < /n) 2>&1 | grep -o 'Operation not permitted'",
        "Operation not permitted",
    ),
    (
        "",
        "mknod /n c 1 11 && (: < /n) 2>&1 | grep -o 'Operation not permitted'",
        "Operation not permitted",
    ),
    // Users and groups.
    (
        "-u 1000:1001 --group-add 55 --group-add 66",
        "id -u; id -g; id -G",
        "1000\n1001\n1001 55 66",
    ),
    ("-u 12", "id -u; id -g; echo $HOME", "12\n0\n/"),
    // Files.
    (
        "--shm-size 8m",
        "df -m /dev/shm | tail -1 | awk '{print $2}'",
        "8",
    ),
    (
        "--tmpfs /t:size=1m,mode=700,uid=5,gid=6",
        "stat -c '%a %u %g' /t; df -k /t | tail -1 | awk '{print $2}'; grep -c ' /t tmpfs rw,nosuid,nodev,noexec' /proc/mounts",
        "700 5 6\n1024\n1",
    ),
    (
        "--tmpfs /t:exec",
        "grep -c ' /t tmpfs rw,nosuid,nodev,relatime' /proc/mounts",
        "1",
    ),
    (
        "--tmpfs /t:ro",
        "touch /t/x 2>&1 | grep -o Read-only",
        "Read-only",
    ),
    (
        "--mount type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=1770",
        "stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'",
        "1770\n2048",
    ),
    (
        "--read-only",
        "touch /x 2>&1 | grep -o Read-only; touch /dev/shm/x && echo memory",
        "Read-only\nmemory",
    ),
    ("--read-only --tmpfs /run", "touch /run/x && echo there", "there"),
    ("-w /made/here", "pwd", "/made/here"),
    // Names.
    (
        "--hostname h --domainname d.example",
        "hostname; cat /proc/sys/kernel/domainname",
        "h\nd.example",
    ),
    // Namespaces.
    (
        "--cgroupns private",
        "grep -c ':/$' /proc/self/cgroup | grep -v '^0$' | wc -l",
        "1",
    ),
    (
        "--cgroupns host --cgroup-parent /spec-PARENT/inner",
        "grep -c /spec-PARENT/inner/ /proc/self/cgroup | grep -v '^0$' | wc -l",
        "1",
    ),
    ("--ipc none", "ls /dev/shm 2>&1 | wc -l", "0"),
];

#[test]
fn a_container_sees_what_its_flags_say() -> Test {
    with_daemon(&[], |host| {
        for (options, line, wanted) in SEEN {
            let options = own_parent(options);
            let line = own_parent(line);
            let seen = run(&host.daemon, &options, &format!("c=/sys/fs/cgroup; {line}"))?;
            assert_eq!(seen.ok()?, *wanted, "{options}: {line}");
        }
        remove_parent()
    })
}

/// Tests run beside each other, and cgroups are everybody's.
fn own_parent(text: &str) -> String {
    text.replace("PARENT", &std::process::id().to_string())
}

/// Who names a cgroup for a parent owns it; Docker leaves it too.
fn remove_parent() -> Test {
    let name = own_parent("spec-PARENT");
    let mut places = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    places.extend(
        fs::read_dir("/sys/fs/cgroup")?
            .flatten()
            .map(|entry| entry.path()),
    );
    for place in places {
        for folder in [place.join(&name).join("inner"), place.join(&name)] {
            if folder.is_dir() {
                fs::remove_dir(folder)?;
            }
        }
    }
    Ok(())
}

/// Options that are refused, and what is said.
const REFUSED: &[(&str, &str)] = &[
    (
        "--cpuset-cpus 99",
        "Requested CPUs are not available - requested 99, available: 0",
    ),
    ("--cpuset-cpus x", "Invalid value x for cpuset cpus"),
    (
        "--cpuset-mems 9",
        "Requested memory nodes are not available - requested 9, available: 0",
    ),
    ("--cpus 100", "ange of CPUs is from 0.01 to"),
    (
        "--cpu-period 10",
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    ),
    (
        "--cpu-quota 10",
        "CPU cfs quota can not be less than 1ms (i.e. 1000)",
    ),
    ("--cpu-rt-runtime 1000", "real-time scheduler"),
    ("-m 1m", "Minimum memory limit allowed is 6MB"),
    (
        "-m 10m --memory-swap 5m",
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    ),
    (
        "--memory-swap 50m",
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    ),
    (
        "-m 10m --memory-reservation 20m",
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    ),
    ("--memory-swappiness 200", "200"),
    ("--blkio-weight 5", "ange of blkio weight is from 10 to 1000"),
    ("--oom-score-adj 1001", "range for oom score adj is [-1000, 1000]"),
    ("--cap-add FLY", "invalid CapAdd: unknown capability: \"CAP_FLY\""),
    (
        "--cap-drop nothing",
        "invalid CapDrop: unknown capability: \"CAP_NOTHING\"",
    ),
    (
        "--device /no/such",
        "error gathering device information while adding custom device \"/no/such\"",
    ),
    (
        "--device-cgroup-rule q[SPACE]1:1[SPACE]r",
        "invalid device cgroup",
    ),
    ("--ulimit joy=1", "invalid ulimit type: joy"),
    (
        "--ulimit nofile=5:2",
        "ulimit soft limit must be less than or equal to hard limit: 5 > 2",
    ),
    ("--sysctl kernel.panic=1", "kernel.panic"),
    ("--sysctl net.ipv4.no_such=1", "procfs"),
    ("--net host --sysctl net.ipv4.ip_forward=1", "net.ipv4.ip_forward"),
    (
        "--security-opt colour=red",
        "invalid --security-opt 2: \"colour=red\"",
    ),
    ("--security-opt seccomp=/no/such", "no such file or directory"),
    ("--group-add nobody-here", "unable to find group nobody-here"),
    (
        "-u nobody-here",
        "unable to find user nobody-here: no matching entries in passwd file",
    ),
    ("--shm-size -1", "invalid"),
    ("--stop-signal JOY", "JOY"),
    ("--tmpfs relative", "mount path must be absolute"),
    ("--tmpfs /t:colour=red", "invalid tmpfs option"),
    ("--tmpfs /", "destination can't be '/'"),
    (
        "-w relative",
        "the working directory 'relative' is invalid, it needs to be an absolute path",
    ),
    ("--pid joy", "invalid PID mode"),
    ("--ipc joy", "invalid IPC mode: joy"),
    ("--uts joy", "invalid UTS mode"),
    ("--cgroupns joy", "invalid"),
    ("--userns joy", "invalid"),
    ("--pid container:nobody", "No such container: nobody"),
    ("--ipc container:nobody", "No such container: nobody"),
    ("--net container:nobody", "No such container: nobody"),
    ("--cgroup-parent ../outside", "invalid cgroup parent"),
    ("--runtime nobodys", "unknown or invalid runtime name: nobodys"),
    ("--gpus all", "could not select device driver"),
];

#[test]
fn wrong_values_are_refused_in_dockers_words_and_leave_nothing() -> Test {
    with_daemon(&[], |host| {
        for (options, says) in REFUSED {
            let refused = run(&host.daemon, options, "true")?;
            assert_eq!(refused.code, 125, "{options}: {refused:?}");
            contains(&refused.failed()?, says);
        }
        // What fails at its start was made before; `--rm` takes it away again.
        assert_eq!(host.daemon.ok("network ls -q")?.lines().count(), 3);
        Ok(())
    })
}

#[test]
fn what_the_kernel_can_not_give_is_told_and_left_out() -> Test {
    with_daemon(&[], |host| {
        let made = run(&host.daemon, "--blkio-weight 300", "echo runs")?;
        assert_eq!(made.code, 0, "{made:?}");
        contains(&made.stdout, "runs");
        let weights = ["blkio/blkio.weight", "blkio/blkio.bfq.weight"];
        let there = |name: &&str| std::path::Path::new("/sys/fs/cgroup").join(name).exists();
        if std::path::Path::new("/sys/fs/cgroup/blkio").exists() && !weights.iter().any(there) {
            contains(&made.stderr, "Your kernel does not support Block I/O weight");
        }
        Ok(())
    })
}

#[test]
fn namespaces_of_others_and_of_the_host_are_joined() -> Test {
    with_daemon(&[], |host| {
        let docker = &host.daemon;
        docker.ok("run -d --name one --ipc shareable --hostname first busybox sleep 613")?;
        let rows = [
            ("--pid container:one", "ps | grep -c '[s]leep 613'", "1"),
            (
                "--net container:one",
                "hostname; ip -o link | grep -c eth0",
                "first\n1",
            ),
            ("--pid host", "ps | grep -c '[s]leep 613'", "1"),
            (
                "--uts host --net host",
                "test $(hostname) = first || echo hosts",
                "hosts",
            ),
            ("--ipc host", "grep -c ' /dev/shm ' /proc/mounts", "1"),
        ];
        for (options, line, wanted) in rows {
            assert_eq!(run(docker, options, line)?.ok()?, wanted, "{options}");
        }
        let inode = |options: &str| run(docker, options, "readlink /proc/self/ns/ipc")?.ok();
        let of_one = docker
            .docker(&["exec", "one", "readlink", "/proc/self/ns/ipc"])?
            .ok()?;
        assert_eq!(inode("--ipc container:one")?, of_one);
        assert_ne!(inode("--ipc private")?, of_one);
        contains(
            &docker.refused("run --rm --net container:one -p 80:80 busybox true")?,
            "conflicting options",
        );
        contains(
            &docker.refused("run --rm --net container:one --hostname x busybox true")?,
            "conflicting options",
        );
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn a_folder_of_devices_a_filter_in_a_file_and_a_signal_to_stop() -> Test {
    with_daemon(&[], |host| {
        let docker = &host.daemon;
        let folder = docker.host().folder().join("devices");
        fs::create_dir(&folder)?;
        docker
            .host()
            .run("mknod", &[&folder.join("x").display().to_string(), "c", "1", "5"])?
            .ok()?;
        docker
            .host()
            .run("mknod", &[&folder.join("y").display().to_string(), "c", "1", "3"])?
            .ok()?;
        let options = format!("--device {}:/dev/mine", folder.display());
        assert_eq!(
            run(docker, &options, "ls /dev/mine; head -c 4 /dev/mine/x | wc -c")?.ok()?,
            "x\ny\n4"
        );
        let profile = docker.host().folder().join("profile.json");
        let denied = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#;
        fs::write(&profile, denied)?;
        let options = format!("--security-opt seccomp={}", profile.display());
        assert_eq!(
            run(docker, &options, "mkdir /x 2>/dev/null || echo refused")?.ok()?,
            "refused"
        );
        fs::write(&profile, "{")?;
        contains(&run(docker, &options, "true")?.failed()?, "seccomp profile");
        docker
            .docker(&[
                "run",
                "-d",
                "--name",
                "one",
                "--stop-signal",
                "USR1",
                "busybox",
                "sh",
                "-c",
                "trap 'exit 9' USR1; while :; do sleep 0.1; done",
            ])?
            .ok()?;
        docker.ok("stop -t 60 one")?;
        assert_eq!(
            docker
                .docker(&["inspect", "-f", "{{.State.ExitCode}}", "one"])?
                .ok()?,
            "9"
        );
        docker.ok("rm one")?;
        Ok(())
    })
}
