//! Files, figures and limits of containers, typed with the real `docker` command: C2 to C4.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, time::Duration};

use anyhow::Context as _;
use netlab::{Daemon, contains, on_each_client, wait_for};

type Test = anyhow::Result<()>;

/// Runs a shell line in a container.
fn shell(docker: &Daemon, container: &str, line: &str) -> anyhow::Result<String> {
    docker.docker(&["exec", container, "sh", "-c", line])?.ok()
}

/// A folder with a file, a link and a folder in it.
fn tree(docker: &Daemon) -> anyhow::Result<String> {
    let folder = docker.host().folder().join("tree");
    fs::create_dir_all(folder.join("below"))?;
    fs::write(folder.join("file"), "one\n")?;
    fs::write(folder.join("below/file"), "two\n")?;
    if !folder.join("link").is_symlink() {
        symlink("below/file", folder.join("link"))?;
    }
    Ok(folder.display().to_string())
}

/// The old client has words of its own for what is not there.
fn not_there(refused: &str) {
    let words = ["Could not find the file", "No such container:path: "];
    assert!(words.iter().any(|words| refused.contains(words)), "{refused}");
}

/// The rules of `docker cp`, both ways, on a container that runs and on one that doesn't.
fn copies(docker: &Daemon, container: &str) -> Test {
    let tree = tree(docker)?;
    let out = docker.host().folder().join(format!("out-{container}"));
    fs::create_dir_all(&out)?;
    let out = out.display().to_string();
    let at = |path: &str| format!("{container}:{path}");
    docker.docker(&["cp", &tree, &at("/tmp")])?.ok()?;
    docker.docker(&["cp", &format!("{tree}/."), &at("/made")])?.ok()?;
    docker
        .docker(&["cp", &format!("{tree}/file"), &at("/tmp/renamed")])?
        .ok()?;
    docker.docker(&["cp", &at("/tmp/tree"), &out])?.ok()?;
    docker
        .docker(&["cp", &at("/made/."), &format!("{out}/contents")])?
        .ok()?;
    docker
        .docker(&["cp", &at("/tmp/renamed"), &format!("{out}/file")])?
        .ok()?;
    docker
        .docker(&["cp", &at("/made/link"), &format!("{out}/link")])?
        .ok()?;
    docker
        .docker(&["cp", "-L", &at("/made/link"), &format!("{out}/followed")])?
        .ok()?;
    for (path, wanted) in [
        ("tree/file", "one\n"),
        ("tree/link", "two\n"),
        ("contents/below/file", "two\n"),
        ("file", "one\n"),
        ("followed", "two\n"),
    ] {
        let text = fs::read_to_string(format!("{out}/{path}")).with_context(|| path.to_owned())?;
        assert_eq!(text, wanted, "{container} {path}");
    }
    assert_eq!(
        fs::read_link(format!("{out}/link"))?.to_string_lossy(),
        "below/file"
    );
    let refused = docker.docker(&["cp", &at("/nowhere"), &out])?.failed()?;
    not_there(&refused);
    let refused = docker.docker(&["cp", &tree, &at("/nowhere/deep")])?.failed()?;
    not_there(&refused);
    let refused = docker.docker(&["cp", &tree, &at("/tmp/renamed")])?.failed()?;
    contains(&refused, "cannot copy");
    Ok(())
}

#[test]
fn c3_files_are_copied_both_ways_and_never_past_the_root() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        docker.ok("run -d --name one --tmpfs /memory busybox sleep 600")?;
        copies(docker, "one")?;
        // What is mounted in a container that runs is there, too.
        let tree = tree(docker)?;
        docker
            .docker(&["cp", &format!("{tree}/file"), "one:/memory/x"])?
            .ok()?;
        assert_eq!(shell(docker, "one", "cat /memory/x")?, "one");
        // A link out of the container leads into it.
        let secret = docker.host().folder().join("secret");
        fs::write(&secret, "secret")?;
        let target = secret.display().to_string();
        shell(
            docker,
            "one",
            &format!(
                "ln -s {target} /out; ln -s {} /folder",
                docker.host().folder().display()
            ),
        )?;
        not_there(
            &docker
                .docker(&["cp", "-L", "one:/out", &format!("{tree}/none")])?
                .failed()?,
        );
        let refused = docker.docker(&["cp", &format!("{tree}/file"), "one:/folder/secret"])?;
        assert_ne!(refused.code, 0, "{refused:?}");
        assert_eq!(fs::read_to_string(&secret)?, "secret");
        // Owners and modes are kept.
        shell(
            docker,
            "one",
            "touch /owned && chown 12:34 /owned && chmod 4750 /owned",
        )?;
        let listed = docker.client_command(docker.docker_program()?);
        let mut listed = listed;
        listed.args(["cp", "one:/owned", "-"]);
        let archive = docker.host().folder().join("owned.tar");
        listed.stdout(fs::File::create(&archive)?);
        assert!(listed.status()?.success());
        let text = Command::new("tar")
            .arg("--numeric-owner")
            .arg("-tvf")
            .arg(&archive)
            .output()?;
        contains(&String::from_utf8_lossy(&text.stdout), "-rwsr-x--- 12/34");
        docker.ok("create --name two busybox true")?;
        copies(docker, "two")?;
        docker.ok("start two")?;
        docker.ok("wait two")?;
        docker.ok("create --name three --read-only busybox true")?;
        let refused = docker
            .docker(&["cp", &format!("{tree}/file"), "three:/x"])?
            .failed()?;
        contains(&refused, "container rootfs is marked read-only");
        docker.ok("rm -f one two three")?;
        Ok(())
    })
}

#[test]
fn c5_changes_and_sizes_are_told_and_the_whole_is_exported() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        docker.ok("run -d --name one busybox sleep 600")?;
        assert_eq!(docker.ok("diff one")?, "", "nothing but mount points");
        shell(
            docker,
            "one",
            "mkdir /new && echo text > /new/file && rm /bin/wget",
        )?;
        assert_eq!(docker.ok("diff one")?, "C /bin\nD /bin/wget\nA /new\nA /new/file");
        docker.ok("run --rm busybox test ! -e /new")?;
        let size = docker
            .docker(&["inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "one"])?
            .ok()?;
        assert!(size.starts_with("5 ") && size.len() > 6, "{size}");
        contains(
            &docker.docker(&["ps", "-s", "--format", "{{.Size}}"])?.ok()?,
            "5B (virtual",
        );
        let archive = docker.host().folder().join("one.tar");
        docker
            .docker(&["export", "-o", &archive.display().to_string(), "one"])?
            .ok()?;
        let names = Command::new("tar").arg("-tf").arg(&archive).output()?;
        let names = String::from_utf8_lossy(&names.stdout).into_owned();
        contains(&names, "\nnew/file\n");
        assert!(
            !names.contains("bin/wget\n") && !names.starts_with('/'),
            "{names}"
        );
        docker
            .docker(&["import", &archive.display().to_string(), "copy:1"])?
            .ok()?;
        assert_eq!(docker.ok("run --rm copy:1 cat /new/file")?, "text");
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn c2_processes_and_figures_are_right() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        docker
            .docker(&[
                "run",
                "-d",
                "--name",
                "busy",
                "-m",
                "64m",
                "busybox",
                "sh",
                "-c",
                "while :; do :; done",
            ])?
            .ok()?;
        docker.ok("run -d --name idle busybox sleep 600")?;
        let top = docker.ok("top idle")?;
        contains(&top, "UID                 PID");
        contains(&top, "sleep 600");
        assert_eq!(top.lines().count(), 2, "{top}");
        let pid = docker
            .docker(&["inspect", "-f", "{{.State.Pid}}", "idle"])?
            .ok()?;
        contains(&top, &pid);
        contains(&docker.ok("top idle -o pid,comm")?, &pid);
        wait_for("a busy and an idle container", Duration::from_secs(30), || {
            let line = [
                "stats",
                "--no-stream",
                "--format",
                "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}} {{.NetIO}}",
            ];
            let text = docker.docker(&line)?.ok()?;
            let figure = |name: &str| -> Option<f64> {
                let line = text.lines().find(|line| line.starts_with(name))?;
                line.split(' ').nth(1)?.trim_end_matches('%').parse().ok()
            };
            let (busy, idle) = (figure("busy"), figure("idle"));
            // Others use the machine, too: what must hold is that a loop is counted and a sleep is not.
            anyhow::ensure!(busy.is_some_and(|busy| busy > 10.0 && busy < 130.0), "{text}");
            anyhow::ensure!(idle.is_some_and(|idle| idle < 5.0), "{text}");
            anyhow::ensure!(text.contains("/ 64MiB 1 "), "{text}");
            Ok(())
        })?;
        let stats = docker.api().get("/containers/busy/stats?stream=0&one-shot=1")?;
        assert!(
            stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64() > Some(0),
            "{stats}"
        );
        assert!(stats["networks"]["eth0"]["rx_bytes"].is_u64(), "{stats}");
        assert_eq!(stats["precpu_stats"]["cpu_usage"]["total_usage"], 0);
        docker.ok("rm -f busy")?;
        docker.ok("stop -t 0 idle")?;
        contains(&docker.refused("top idle")?, "is not running");
        let stopped = docker.api().get("/containers/idle/stats?stream=0")?;
        assert_eq!(
            (&stopped["name"], &stopped["read"]),
            (&"/idle".into(), &"0001-01-01T00:00:00Z".into())
        );
        docker.ok("rm idle")?;
        Ok(())
    })
}

#[test]
fn c4_limits_and_policies_are_changed_while_it_runs() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        docker.ok("run -d --name one -m 64m busybox sleep 600")?;
        contains(
            &docker.refused("update -m 256m one")?,
            "Memory limit should be smaller than already set memoryswap limit",
        );
        docker
            .ok("update -m 128m --memory-swap 256m --cpus 0.5 --pids-limit 50 --restart on-failure:3 one")?;
        let shown = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}";
        assert_eq!(
            docker.docker(&["inspect", "-f", shown, "one"])?.ok()?,
            "134217728 500000000 50 on-failure"
        );
        let limit = docker.api().get("/containers/one/stats?stream=0&one-shot=1")?;
        assert_eq!(limit["memory_stats"]["limit"], 134_217_728);
        assert_eq!(limit["pids_stats"]["limit"], 50);
        docker.ok("update -m 64m --memory-swap 64m one")?;
        let limit = docker.api().get("/containers/one/stats?stream=0&one-shot=1")?;
        assert_eq!(limit["memory_stats"]["limit"], 67_108_864);
        docker.ok("restart -t 0 one")?;
        let limit = docker.api().get("/containers/one/stats?stream=0&one-shot=1")?;
        assert_eq!(limit["memory_stats"]["limit"], 67_108_864);
        contains(
            &docker.refused("update --cpu-quota 1000 one")?,
            "NanoCPUs has already been set",
        );
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn cnm_copies_shows_and_changes_as_docker_does() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        let cnm = |line: &str| docker.cnm(&line.split(' ').collect::<Vec<_>>());
        docker.ok("run -d --name one --health-cmd true busybox sleep 600")?;
        let tree = tree(docker)?;
        let out = docker.host().folder().join("cnm-out").display().to_string();
        cnm(&format!("cp {tree} one:/tmp"))?.ok()?;
        cnm(&format!("cp {tree}/. one:/made"))?.ok()?;
        cnm(&format!("cp {tree}/file one:/tmp/renamed"))?.ok()?;
        assert_eq!(
            shell(docker, "one", "cat /tmp/tree/link /made/below/file /tmp/renamed")?,
            "two\ntwo\none"
        );
        cnm(&format!("cp one:/tmp/tree {out}"))?.ok()?;
        cnm(&format!("cp one:/made/. {out}/contents"))?.ok()?;
        cnm(&format!("cp -L one:/made/link {out}/followed"))?.ok()?;
        for (path, wanted) in [
            ("file", "one\n"),
            ("link", "two\n"),
            ("contents/below/file", "two\n"),
            ("followed", "two\n"),
        ] {
            let text = fs::read_to_string(format!("{out}/{path}")).with_context(|| path.to_owned())?;
            assert_eq!(text, wanted, "{path}");
        }
        contains(
            &cnm(&format!("cp one:/nowhere {out}"))?.failed()?,
            "Could not find the file /nowhere",
        );
        contains(&cnm("diff one")?.ok()?, "A /made");
        contains(&cnm("top one")?.ok()?, "sleep 600");
        contains(&cnm("top one -o pid,comm")?.ok()?, "sleep");
        contains(
            &cnm("stats --no-stream --format {{.Name}}:{{.PIDs}} one")?.ok()?,
            "one:1",
        );
        assert_eq!(cnm("update --pids-limit 30 one")?.ok()?, "one");
        assert_eq!(
            docker
                .docker(&["inspect", "-f", "{{.HostConfig.PidsLimit}}", "one"])?
                .ok()?,
            "30"
        );
        cnm(&format!("export -o {out}/all.tar one"))?.ok()?;
        assert!(fs::metadata(format!("{out}/all.tar"))?.len() > 1000);
        docker.ok("rm -f one")?;
        Ok(())
    })
}

#[test]
fn c3_volumes_of_what_does_not_run_are_copied_like_the_rest() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        let tree = tree(docker)?;
        let folder = docker.host().folder().display().to_string();
        docker.ok("create --name box -v data:/data -v /own -v kept:/kept:ro busybox true")?;
        docker.ok(&format!("cp {tree}/file box:/data/"))?;
        docker.ok(&format!("cp {tree}/below box:/own/"))?;
        let kept = docker.data_root().join("volumes/data/_data/file");
        assert_eq!(fs::read_to_string(&kept)?, "one\n");
        docker.ok(&format!("cp box:/data/file {folder}/back"))?;
        assert_eq!(fs::read_to_string(Path::new(&folder).join("back"))?, "one\n");
        contains(
            &docker.refused(&format!("cp {tree}/file box:/kept/"))?,
            "is marked read-only",
        );
        // It sees them when it starts, and what is looked into is let go.
        assert_eq!(
            docker.ok("run --rm --volumes-from box busybox cat /data/file /own/below/file")?,
            "one\ntwo"
        );
        docker.ok("rm -v box")?;
        docker.ok("volume rm data kept")?;
        Ok(())
    })
}
