//! Containers and images, typed with the real `docker` command against our socket: C1 to C3, I1, and what is told of them.

use std::time::Duration;

use netlab::{contains, on_each_client, wait_for};

type Test = anyhow::Result<()>;

#[test]
fn c1_run_takes_its_options_and_lives_as_long_as_its_first_process() -> Test {
    on_each_client(&[], |host, _| {
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
        let mut piped = docker.client_command(docker.docker_program()?);
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
    })
}

#[test]
fn c2_containers_are_listed_stopped_started_renamed_and_removed() -> Test {
    on_each_client(&[], |host, _| {
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
    })
}

#[test]
fn c3_exec_logs_and_inspect() -> Test {
    on_each_client(&[], |host, _| {
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
    })
}

#[test]
fn c3_terminals_have_their_size_and_streams_go_both_ways() -> Test {
    on_each_client(&[], |host, _| {
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
            &line.replacen("docker", &docker.docker_program()?.to_string_lossy(), 1),
            "/dev/null",
        ]);
        contains(&docker.host().run_command(terminal, &[])?.ok()?, "terminal");
        docker.ok("rm -f one")?;
        let mut attached = docker.client_command(docker.docker_program()?);
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
    })
}

#[test]
fn images_are_loaded_listed_and_removed_and_a_pull_says_what_to_do() -> Test {
    on_each_client(&[], |host, _| {
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
    })
}

#[test]
fn events_version_and_info_are_understood() -> Test {
    on_each_client(&[], |host, _| {
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
    })
}

/// What each filter finds, the newest first.
const FILTERS: [(&str, &str); 26] = [
    ("name=^/one$", "one"),
    ("name=o", "two one"),
    ("name=^t --filter name=ne$", "three two one"),
    ("label=tier", "two one"),
    ("label=tier=db", "two"),
    ("label=tier --filter label=plain", "one"),
    ("status=running", "one"),
    ("status=created", "two"),
    ("status=exited", "three"),
    ("status=created --filter status=exited", "three two"),
    ("exited=3", "three"),
    ("exited=0", ""),
    ("ancestor=busybox", "three two one"),
    ("ancestor=busybox:latest", "three two one"),
    ("ancestor=other", ""),
    ("before=two", "one"),
    ("since=two", "three"),
    ("volume=data", "one"),
    ("volume=/data", "one"),
    ("network=lan", "one"),
    ("network=bridge", "three two"),
    ("publish=18080", "one"),
    ("expose=81/tcp", "one"),
    ("health=none", "three two one"),
    ("health=healthy", ""),
    ("is-task=false", "three two one"),
];

#[test]
fn c2_every_filter_of_ps_and_prune_finds_its_own() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        docker.ok("network create lan")?;
        let options =
            "--name one --network lan --label tier=web --label plain -p 18080:80 --expose 81 -v data:/data";
        let id = docker.ok(&format!("run -d {options} busybox sleep 600"))?;
        docker.ok("create --name two --label tier=db busybox true")?;
        docker.docker(&["run", "--name", "three", "busybox", "sh", "-c", "exit 3"])?;
        let listed = |filter: &str| -> anyhow::Result<String> {
            let names = docker.ok(&format!("ps -a --filter {filter} --format {{{{.Names}}}}"))?;
            Ok(names.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        for (filter, expected) in FILTERS {
            assert_eq!(listed(filter)?, expected, "{filter}");
        }
        assert_eq!(listed(&format!("id={}", &id[..7]))?, "one");
        contains(
            &docker.refused("ps --filter status=fine")?,
            "invalid filter 'status=fine'",
        );
        contains(&docker.refused("ps --filter kind=x")?, "invalid filter 'kind'");
        contains(
            &docker.refused("ps --filter before=nobody")?,
            "No such container: nobody",
        );
        for (filter, left) in [
            ("until=1h", "three two one"),
            ("label=tier=web", "three two one"),
            ("label!=tier", "two one"),
            ("label=tier=db", "one"),
        ] {
            docker.ok(&format!("container prune -f --filter {filter}"))?;
            assert_eq!(listed("health=none")?, left, "{filter}");
        }
        contains(
            &docker.refused("container prune -f --filter until=1h --filter until=2h")?,
            "more than one until filter specified",
        );
        Ok(())
    })
}
