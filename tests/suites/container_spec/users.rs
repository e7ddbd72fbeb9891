//! `userns-remap`: root in a container is nobody on the host, and sees its image as root.

use std::{fs, os::unix::fs::MetadataExt as _};

use netlab::{Daemon, Programs, Single};

use super::{Test, contains, run};

/// The first number on the host.
const FIRST: u32 = 300_000;

/// A host with a user who has subordinate numbers, and a daemon that gives these to containers.
fn remapped() -> anyhow::Result<Single> {
    Single::start_prepared(
        &["--userns-remap", "default"],
        "echo dockremap:x:990:990::/:/bin/false >> /etc/passwd; echo dockremap:x:990: >> /etc/group; \
         echo dockremap:300000:65536 >> /etc/subuid; echo dockremap:300000:65536 >> /etc/subgid",
    )
}

fn pid(docker: &Daemon, name: &str) -> anyhow::Result<String> {
    docker.docker(&["inspect", "-f", "{{.State.Pid}}", name])?.ok()
}

#[test]
fn root_inside_is_nobody_outside_and_owns_what_its_image_says() -> Test {
    let host = remapped()?;
    let docker = &host.daemon;
    contains(&docker.ok("info --format {{.SecurityOptions}}")?, "name=userns");
    docker.ok("run -d --name one -v data:/data busybox sleep 600")?;
    assert_eq!(
        fs::metadata(format!("/proc/{}", pid(docker, "one")?))?.uid(),
        FIRST
    );
    let rows = [
        (
            "id -u; stat -c '%u %g' / /bin /etc/hosts /etc/resolv.conf /etc/hostname /data /bin/busybox | sort -u",
            "0\n0 0",
        ),
        ("cat /proc/self/uid_map | tr -s ' '", " 0 300000 65536"),
        (
            "echo x > /file && mkdir /dir && chown 5:6 /file && stat -c '%u %g' /file",
            "5 6",
        ),
        (
            "echo 127.0.0.9 more >> /etc/hosts && grep -c more /etc/hosts",
            "1",
        ),
        ("touch /data/x && stat -c %u /data/x", "0"),
        (
            "head -c 1 /dev/zero | wc -c; test -c /dev/null && ls /sys/class/net | grep -c eth0",
            "1\n1",
        ),
        ("ping -c 1 -W 5 127.0.0.1 > /dev/null && echo answers", "answers"),
        ("(echo 1 > /proc/sys/kernel/panic) 2>/dev/null || echo no", "no"),
    ];
    for (line, wanted) in rows {
        assert_eq!(run(docker, "-v data:/data", line)?.ok()?, wanted, "{line}");
        let seen = docker.docker(&["exec", "one", "sh", "-c", line])?.ok()?;
        assert_eq!(seen, wanted, "exec: {line}");
    }
    let of_root = docker.data_root().join("volumes/data/_data/x");
    assert_eq!(fs::metadata(&of_root)?.uid(), 0, "on the disk nothing is shifted");
    assert_eq!(
        run(docker, "-w /made/here -u 7:8", "id -u; stat -c %u /made/here .")?.ok()?,
        "7\n0\n0"
    );
    assert_eq!(
        run(docker, "-t", "tty; stat -c %u /dev/console").map(|seen| seen.code)?,
        0
    );
    assert_eq!(
        run(
            docker,
            "-v data:/d --userns host",
            "stat -c %u /d/x; wc -l < /proc/self/uid_map"
        )?
        .ok()?,
        "0\n1"
    );
    let outside = docker.host().folder().join("of-host");
    fs::create_dir(&outside)?;
    let bind = format!("-v {}:/h", outside.display());
    assert_eq!(
        run(
            docker,
            &bind,
            "stat -c %u /h; touch /h/x 2>/dev/null || echo refused"
        )?
        .ok()?,
        "65534\nrefused"
    );
    assert_eq!(docker.docker(&["exec", "-u", "9", "one", "id", "-u"])?.ok()?, "9");
    docker.ok("rm -f one")?;
    docker.ok("volume rm data")?;
    Ok(())
}

#[test]
fn networks_ports_files_and_restarts_are_as_without() -> Test {
    let mut host = remapped()?;
    {
        let docker = &host.daemon;
        docker.ok("network create mine")?;
        docker.ok("run -d --name one --net mine -p 8080:80 busybox httpd -f -p 80")?;
        contains(
            &run(docker, "--net mine", "wget -q -O - http://one/ 2>&1 || true")?.ok()?,
            "404",
        );
        contains(
            &docker
                .host()
                .run(
                    "sh",
                    &["-c", "wget -q -S -O - http://127.0.0.1:8080/ 2>&1 || true"],
                )?
                .stdout,
            "404",
        );
        assert_eq!(
            run(docker, "--net container:one", "echo $(ls /sys/class/net)")?.ok()?,
            "eth0 lo"
        );
        assert_eq!(
            run(docker, "--pid container:one", "ps | grep -c '[h]ttpd'")?.ok()?,
            "1"
        );
        // Files go in and out with their owners, whether it runs or not.
        let folder = docker.host().folder().join("files");
        fs::create_dir(&folder)?;
        fs::write(folder.join("in"), "content")?;
        for turn in ["running", "stopped"] {
            let from = folder.join("in").display().to_string();
            docker.docker(&["cp", &from, &format!("one:/{turn}")])?.ok()?;
            let to = folder.join(turn).display().to_string();
            docker.docker(&["cp", "-a", &format!("one:/{turn}"), &to])?.ok()?;
            assert_eq!(fs::metadata(&to)?.uid(), 0, "{turn}");
            docker.ok("stop -t 0 one")?;
        }
        docker.ok("start one")?;
        assert_eq!(
            docker
                .docker(&["exec", "one", "stat", "-c", "%u", "/running", "/stopped"])?
                .ok()?,
            "0\n0"
        );
    }
    host.daemon.kill()?;
    host.daemon.start_again()?;
    let docker = &host.daemon;
    assert_eq!(docker.docker(&["exec", "one", "id", "-u"])?.ok()?, "0");
    docker.ok("restart -t 0 one")?;
    assert_eq!(run(docker, "--net container:one", "hostname | wc -l")?.ok()?, "1");
    docker.ok("rm -f one")?;
    docker.ok("network rm mine")?;
    Ok(())
}

#[test]
fn what_is_the_hosts_is_refused_unless_the_container_is_left_out() -> Test {
    let host = remapped()?;
    let docker = &host.daemon;
    let rows = [
        (
            "--privileged",
            "privileged mode is incompatible with user namespaces",
        ),
        (
            "--net host",
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            "--pid host",
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
    ];
    for (options, says) in rows {
        contains(&run(docker, options, "true")?.failed()?, says);
        assert_eq!(
            run(docker, &format!("{options} --userns host"), "echo runs")?.ok()?,
            "runs"
        );
    }
    assert_eq!(docker.ok("ps -aq")?, "");
    Ok(())
}

#[test]
fn a_daemon_does_not_start_for_somebody_without_numbers() -> Test {
    let program = Programs::find()?.ours("cnmd");
    let folder = std::env::temp_dir().join(format!("cnm-no-users-{}", std::process::id()));
    for (user, says) in [
        ("nobody", "has no line for nobody"),
        ("no-such-user", "there is no user"),
    ] {
        let at = |name: &str| folder.join(name).display().to_string();
        let mut command = std::process::Command::new(&program);
        command.args([
            "--data-root",
            &at("data"),
            "--exec-root",
            &at("run"),
            "--bridge",
            "none",
        ]);
        command.args([
            "--host",
            &format!("unix://{}", at("socket")),
            "--userns-remap",
            user,
        ]);
        let ended = command.output()?;
        assert!(!ended.status.success());
        contains(&String::from_utf8_lossy(&ended.stderr), says);
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}
