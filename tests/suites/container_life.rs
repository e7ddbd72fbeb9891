//! States, health, first processes, namespaces and logs of containers, typed with the real `docker` command: C2 to C4.

use std::{fs, os::unix::net::UnixDatagram, time::Duration};

use netlab::{Daemon, Single, contains, on_each_client, wait_for};

type Test = anyhow::Result<()>;

const PATIENCE: Duration = Duration::from_secs(30);

/// A field of a container.
fn field(docker: &Daemon, container: &str, template: &str) -> anyhow::Result<String> {
    docker.docker(&["inspect", "-f", template, container])?.ok()
}

fn comes_to(docker: &Daemon, container: &str, template: &str, wanted: &str) -> Test {
    wait_for(wanted, PATIENCE, || {
        let found = field(docker, container, template)?;
        anyhow::ensure!(found == wanted, "{template} is {found}");
        Ok(())
    })
}

/// `docker run` with options, and a shell line as the command.
fn run(docker: &Daemon, options: &str, line: &str) -> anyhow::Result<netlab::Finished> {
    let mut words = vec!["run"];
    words.extend(options.split(' '));
    words.extend(["busybox", "sh", "-c", line]);
    docker.docker(&words)
}

#[test]
fn health_is_asked_told_and_waited_for() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &mut host.daemon;
        let options = "-d --name one --health-cmd cat[SPACE]/well --health-interval 200ms --health-retries 2 --health-timeout 5s";
        let mut words: Vec<String> = vec!["run".into()];
        words.extend(options.split(' ').map(|word| word.replace("[SPACE]", " ")));
        words.extend(["busybox", "sh", "-c", "echo fine > /well; exec sleep 600"].map(str::to_owned));
        docker
            .docker(&words.iter().map(String::as_str).collect::<Vec<_>>())?
            .ok()?;
        comes_to(docker, "one", "{{.State.Health.Status}}", "healthy")?;
        contains(
            &docker.ok("ps --filter health=healthy --format {{.Names}}:{{.Status}}")?,
            "(healthy)",
        );
        contains(
            &field(docker, "one", "{{(index .State.Health.Log 0).Output}}")?,
            "fine",
        );
        docker.ok("exec one rm /well")?;
        comes_to(docker, "one", "{{.State.Health.Status}}", "unhealthy")?;
        assert_eq!(docker.ok("ps -q --filter health=healthy")?, "");
        let until = docker.docker(&["info", "--format", "{{.SystemTime}}"])?.ok()?;
        let asked = [
            "events",
            "--since",
            "1",
            "--until",
            &until,
            "--filter",
            "container=one",
        ];
        let events = docker.docker(&asked)?.ok()?;
        contains(&events, "health_status: healthy");
        contains(&events, "health_status: unhealthy");
        // A daemon that comes back asks again.
        docker.docker(&["exec", "one", "touch", "/well"])?.ok()?;
        docker.kill()?;
        docker.start_again()?;
        comes_to(docker, "one", "{{.State.Health.Status}}", "healthy")?;
        docker
            .ok("run -d --name two --health-cmd sleep[SPACE]60 --no-healthcheck busybox sleep 600")
            .unwrap_err();
        let hangs = [
            "run",
            "-d",
            "--name",
            "two",
            "--health-cmd",
            "sleep 60",
            "--health-interval",
            "100ms",
            "--health-timeout",
            "200ms",
            "--health-retries",
            "1",
            "busybox",
            "sleep",
            "600",
        ];
        docker.docker(&hangs)?.ok()?;
        comes_to(docker, "two", "{{.State.Health.Status}}", "unhealthy")?;
        contains(
            &field(docker, "two", "{{json .State.Health.Log}}")?,
            "Health check exceeded timeout (200ms)",
        );
        // Five are kept, so that at least four have been given up by now, and the next may be under way.
        comes_to(docker, "two", "{{len .State.Health.Log}}", "5")?;
        let probes = docker.ok("top two")?.matches("sleep 60\n").count();
        assert!(probes <= 1, "{probes} probes that were given up are there");
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn a_first_process_of_ours_buries_the_dead_and_passes_signals_on() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    run(
        docker,
        "-d --init --name one",
        "trap 'exit 7' USR1; (sleep 0.1 &) ; while :; do sleep 0.1; done",
    )?
    .ok()?;
    contains(&docker.ok("exec one cat /proc/1/comm")?, "cnm-init");
    wait_for("the orphan to be buried", PATIENCE, || {
        let states = docker
            .docker(&["exec", "one", "sh", "-c", "grep -h State /proc/[0-9]*/status"])?
            .ok()?;
        anyhow::ensure!(!states.contains('Z'), "{states}");
        Ok(())
    })?;
    docker.ok("kill -s USR1 one")?;
    assert_eq!(docker.ok("wait one")?, "7");
    assert_eq!(run(docker, "--rm --init", "exit 42")?.code, 42);
    assert_eq!(run(docker, "--rm --init", "kill -9 $$")?.code, 137);
    assert_eq!(docker.line("run --rm --init busybox no-such-program")?.code, 127);
    assert_eq!(docker.ok("run --rm --init -t busybox tty")?.trim(), "/dev/pts/0");
    docker.ok("rm one")?;
    Ok(())
}

#[test]
fn c4_who_uses_too_much_memory_is_killed_and_told() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        run(docker, "-d --name one -m 8m --memory-swap 8m", "tail /dev/zero")?.ok()?;
        docker.ok("wait one")?;
        assert_eq!(field(docker, "one", "{{.State.OOMKilled}}")?, "true");
        docker.ok("rm one")?;
        Ok(())
    })
}

#[test]
fn a_start_that_fails_leaves_it_created_with_the_reason_and_nothing_else() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        docker.ok("create --name one -p 8080:80 busybox no-such-program")?;
        docker.refused("start one")?;
        assert_eq!(
            field(docker, "one", "{{.State.Status}} {{.State.ExitCode}}")?,
            "created 127"
        );
        contains(&field(docker, "one", "{{.State.Error}}")?, "no-such-program");
        let home = docker
            .data_root()
            .join("containers")
            .join(field(docker, "one", "{{.Id}}")?);
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", docker.id().unwrap_or_default()))?;
        assert!(!mounts.contains(&home.display().to_string()), "{mounts}");
        docker.ok("run -d --name two -p 8080:80 busybox sleep 600")?;
        docker.ok("rm -f one two")?;
        Ok(())
    })
}

#[test]
fn policies_start_again_with_a_limit() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        run(docker, "-d --name one --restart on-failure:2", "exit 3")?.ok()?;
        comes_to(
            docker,
            "one",
            "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}",
            "exited 2 3",
        )?;
        run(docker, "-d --name two --restart always", "exit 0")?.ok()?;
        wait_for("restarts", PATIENCE, || {
            let count: u32 = field(docker, "two", "{{.RestartCount}}")?.parse()?;
            anyhow::ensure!(count >= 3, "{count}");
            Ok(())
        })?;
        docker.ok("stop two")?;
        assert_eq!(field(docker, "two", "{{.State.Status}}")?, "exited");
        docker.ok("rm one two")?;
        Ok(())
    })
}

#[test]
fn c4_namespaces_are_shared_where_that_is_asked() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        docker.ok("run -d --name one --ipc shareable busybox sleep 612")?;
        let seen = run(docker, "--rm --pid container:one", "ps")?.ok()?;
        contains(&seen, "sleep 612");
        docker
            .docker(&["exec", "one", "sh", "-c", "echo there > /dev/shm/file"])?
            .ok()?;
        assert_eq!(
            run(docker, "--rm --ipc container:one", "cat /dev/shm/file")?.ok()?,
            "there"
        );
        contains(
            &docker.refused(
                "run --rm --ipc container:PRIVATE busybox true"
                    .replace("PRIVATE", &docker.ok("create busybox true")?)
                    .as_str(),
            )?,
            "non",
        );
        contains(&docker.ok("run --rm --pid host busybox ps")?, "cnmd");
        assert_eq!(run(docker, "--rm", "echo $$")?.ok()?, "1");
        contains(
            &docker.refused("run --rm --pid container:nobody busybox true")?,
            "No such container: nobody",
        );
        docker.ok("stop -t 0 one")?;
        contains(
            &docker.refused("run --rm --pid container:one busybox true")?,
            "non running container",
        );
        docker.ok("rm one")?;
        Ok(())
    })
}

/// Options, a shell line, and what it prints.
const FLAGS: [(&str, &str, &str); 15] = [
    ("--rm -w /made/here", "pwd", "/made/here"),
    (
        "--rm --hostname h --domainname d.example",
        "hostname; cat /proc/sys/kernel/domainname",
        "h\nd.example",
    ),
    (
        "--rm --read-only --tmpfs /t:size=1m",
        "touch /x 2>/dev/null || touch /t/x && echo no",
        "no",
    ),
    (
        "--rm --shm-size 8m",
        "df -m /dev/shm | tail -1 | awk '{print $2}'",
        "8",
    ),
    (
        "--rm --ulimit nofile=100:200",
        "ulimit -n; ulimit -Hn",
        "100\n200",
    ),
    (
        "--rm --sysctl net.ipv4.ip_forward=1",
        "cat /proc/sys/net/ipv4/ip_forward",
        "1",
    ),
    (
        "--rm --device /dev/null:/dev/nothing:rw",
        "test -c /dev/nothing && echo device",
        "device",
    ),
    (
        "--rm --cap-drop ALL",
        "grep CapEff /proc/self/status",
        "CapEff:\t0000000000000000",
    ),
    (
        "--rm --cap-drop ALL --cap-add NET_RAW",
        "grep CapEff /proc/self/status",
        "CapEff:\t0000000000002000",
    ),
    (
        "--rm --security-opt no-new-privileges",
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t1",
    ),
    (
        "--rm --security-opt seccomp=unconfined",
        "grep Seccomp: /proc/self/status",
        "Seccomp:\t0",
    ),
    ("--rm", "cat /proc/kcore | wc -c; cat /proc/keys | wc -c", "0\n0"),
    (
        "--rm -u 1000:1001 --group-add 55",
        "id -u; id -g; id -G",
        "1000\n1001\n1001 55",
    ),
    (
        "--rm --privileged",
        "grep Seccomp: /proc/self/status",
        "Seccomp:\t0",
    ),
    (
        "--rm --pids-limit 50",
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true",
        "50",
    ),
];

#[test]
fn a_command_has_what_its_flags_say() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    let file = docker.host().folder().join("env");
    fs::write(&file, "# a comment\nONE=1\nTWO=two words\n")?;
    let (env, name) = (format!("--rm --env-file {}", file.display()), hostname()?);
    let rows = [
        (env.as_str(), "echo $ONE $TWO", "1 two words"),
        ("--rm --uts host", "hostname", name.as_str()),
    ];
    for (options, line, wanted) in rows.into_iter().chain(FLAGS) {
        assert_eq!(run(docker, options, line)?.ok()?, wanted, "{options}");
    }
    Ok(())
}

#[test]
fn a_user_is_found_in_the_image_and_a_filter_in_its_file() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    // A user by its name in the image, and its groups.
    run(
        docker,
        "--name made",
        "echo someone:x:4321:4321::/:/bin/sh >> /etc/passwd; printf 'someone:x:4321:\\nmore:x:77:someone\\n' >> /etc/group",
    )?
    .ok()?;
    let archive = docker.host().folder().join("made.tar");
    docker
        .docker(&["export", "-o", &archive.display().to_string(), "made"])?
        .ok()?;
    docker
        .docker(&["import", &archive.display().to_string(), "made"])?
        .ok()?;
    assert_eq!(
        docker.ok("run --rm -u someone made id")?,
        "uid=4321(someone) gid=4321(someone) groups=77(more),4321(someone)"
    );
    contains(
        &docker.refused("run --rm -u nobody-here made id")?,
        "unable to find user nobody-here: no matching entries in passwd file",
    );
    let profile = docker.host().folder().join("profile.json");
    let denied = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#;
    fs::write(&profile, denied)?;
    let options = format!("--rm --security-opt seccomp={}", profile.display());
    assert_eq!(
        run(docker, &options, "mkdir /x 2>/dev/null || echo refused")?.ok()?,
        "refused"
    );
    docker.ok("rm made")?;
    Ok(())
}

fn hostname() -> anyhow::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

#[test]
fn logs_are_kept_turned_and_sent_on() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        run(
            docker,
            "--name many --log-opt max-size=20k --log-opt max-file=3",
            "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done",
        )?
        .ok()?;
        let kept = docker.ok("logs many")?;
        let lines: Vec<&str> = kept.lines().collect();
        assert!(lines.len() < 2000 && lines.len() > 100, "{} lines", lines.len());
        assert_eq!(lines.last(), Some(&"line 1999"));
        let first: usize = lines[0].trim_start_matches("line ").parse()?;
        assert_eq!(first + lines.len(), 2000, "none is missing in the middle");
        assert_eq!(docker.ok("logs -n 2 many")?, "line 1998\nline 1999");
        // Following goes on over turned files, and ends with the container.
        run(
            docker,
            "-d --name slow --log-opt max-size=2k --log-opt max-file=2",
            "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); usleep 5000; done",
        )?
        .ok()?;
        let followed = docker.ok("logs -f slow")?;
        assert_eq!(followed.lines().last(), Some("line 199"));
        assert!(followed.lines().count() > 50, "{followed}");
        // Lines have the time when they were read, which may be after the end.
        let moment = docker
            .host()
            .run("date", &["-u", "+%Y-%m-%dT%H:%M:%S.%NZ"])?
            .ok()?;
        let moment = moment.trim().to_owned();
        assert_eq!(docker.docker(&["logs", "--since", &moment, "many"])?.ok()?, "");
        assert_eq!(
            docker
                .docker(&["logs", "--until", "2020-01-01T00:00:00", "many"])?
                .ok()?,
            ""
        );
        docker.ok("run --name none --log-driver none busybox echo x")?;
        contains(
            &docker.refused("logs none")?,
            "configured logging driver does not support reading",
        );
        docker.ok("run --name local --log-driver local busybox echo kept")?;
        assert_eq!(docker.ok("logs local")?, "kept");
        assert_eq!(field(docker, "local", "{{.HostConfig.LogConfig.Type}}")?, "local");
        let socket = docker.host().folder().join("syslog");
        let syslog = UnixDatagram::bind(&socket)?;
        syslog.set_read_timeout(Some(PATIENCE))?;
        let options = format!(
            "--name sent --log-driver syslog --log-opt syslog-address=unix://{} --log-opt tag={{{{.Name}}}}",
            socket.display()
        );
        run(docker, &options, "echo out")?.ok()?;
        let mut message = [0; 1024];
        let count = syslog.recv(&mut message)?;
        let text = String::from_utf8_lossy(&message[..count]).into_owned();
        assert!(
            text.starts_with("<30>") && text.contains(" sent[") && text.ends_with(": out"),
            "{text}"
        );
        assert_eq!(docker.ok("logs sent")?, "out");
        contains(
            &docker
                .refused("run --log-driver syslog --log-opt syslog-address=unix:///nowhere busybox true")?,
            "failed to initialize logging driver",
        );
        contains(
            &docker.refused("run --log-driver splunk busybox true")?,
            "plugin \"splunk\" not found",
        );
        contains(
            &docker.refused("run --log-opt colour=red busybox true")?,
            "unknown log opt 'colour'",
        );
        Ok(())
    })
}

#[test]
fn a_line_without_end_a_full_disk_and_a_client_that_reads_nothing_hold_nobody_up() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    // 64 MiB without a line end: memory of the shim stays small.
    run(
        docker,
        "-d --name long --log-opt max-size=1m",
        "head -c 67108864 /dev/zero | tr '\\0' x; sleep 600",
    )?
    .ok()?;
    let id = field(docker, "long", "{{.Id}}")?;
    wait_for("the line to be read", Duration::from_secs(120), || {
        let shown = docker.docker(&["exec", "long", "ps"])?.ok()?;
        anyhow::ensure!(!shown.contains("head -c"), "{shown}");
        Ok(())
    })?;
    let shim = fs::read_dir("/proc")?.flatten().find_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&line).into_owned();
        (text.contains("cnm-shim") && text.contains(&id)).then(|| entry.path())
    });
    if let Some(shim) = shim {
        let status = fs::read_to_string(shim.join("status"))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap_or_default();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        assert!(kib < 32 << 10, "{kib} KiB");
    }
    docker.ok("rm -f long")?;
    // The log can't be written: the container goes on.
    docker
        .docker(&[
            "create",
            "--name",
            "full",
            "busybox",
            "sh",
            "-c",
            "echo lost; echo done > /done; sleep 600",
        ])?
        .ok()?;
    // It is named when there is one: after the first start.
    let id = field(docker, "full", "{{.Id}}")?;
    let log = docker.data_root().join(format!("containers/{id}/{id}-json.log"));
    std::os::unix::fs::symlink("/dev/full", &log)?;
    docker.ok("start full")?;
    wait_for("the container to go on", PATIENCE, || {
        docker.ok("exec full cat /done")
    })?;
    docker.ok("rm -f full")?;
    // Somebody who follows and reads nothing: others, and the container itself, go on.
    run(docker, "-d --name loud", "i=0; while [ $i -lt 20000 ]; do echo a line that is long enough to fill buffers $i; i=$((i+1)); done; sleep 600")?.ok()?;
    let mut deaf = docker.client_command(netlab::Programs::peer("docker")?);
    deaf.args(["logs", "-f", "loud"])
        .stdout(std::process::Stdio::piped());
    let mut deaf = docker.host().spawn(deaf)?;
    docker.ok("run --rm busybox true")?;
    wait_for("the container to end its words", Duration::from_secs(60), || {
        anyhow::ensure!(docker.ok("logs -n 1 loud")?.ends_with(" 19999"));
        Ok(())
    })?;
    docker.ok("rm -f loud")?;
    deaf.kill()?;
    deaf.wait()?;
    Ok(())
}

#[test]
fn health_outlives_the_daemon_and_ends_with_its_container() -> Test {
    let mut host = Single::start(&[])?;
    let docker = &mut host.daemon;
    let body = serde_json::json!({
        "Image": "busybox", "Cmd": ["sleep", "600"], "Shell": ["/bin/sh", "-ec"],
        "Healthcheck": { "Test": ["CMD-SHELL", "echo $-; test ! -e /slow || sleep 600"], "Interval": 200_000_000 },
    });
    docker.api().post("/containers/create?name=one", &body)?;
    docker.ok("start one")?;
    comes_to(docker, "one", "{{.State.Health.Status}}", "healthy")?;
    contains(
        &field(docker, "one", "{{(index .State.Health.Log 0).Output}}")?,
        "e",
    );
    // From now on no probe ends: what is known is what was known.
    docker.ok("exec one touch /slow")?;
    docker.kill()?;
    docker.start_again()?;
    assert_eq!(field(docker, "one", "{{.State.Health.Status}}")?, "healthy");
    docker.ok("create --rm --name never busybox true")?;
    docker.ok("stop -t 0 one")?;
    assert_eq!(field(docker, "one", "{{.State.Health.Status}}")?, "unhealthy");
    docker.kill()?;
    docker.start_again()?;
    assert_eq!(field(docker, "one", "{{.State.Health.Status}}")?, "unhealthy");
    contains(&docker.refused("inspect never")?, "never");
    docker.ok("start one")?;
    assert_eq!(field(docker, "one", "{{.State.Health.Status}}")?, "starting");
    Ok(())
}
