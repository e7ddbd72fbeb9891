//! Volumes, typed with the real `docker` command: walkthroughs V1 to V5, options of the local driver, crashes.

use std::{fs, path::PathBuf, time::Duration};

use netlab::{DockerClient, Single, contains, on_each_client, wait_for};

type Test = anyhow::Result<()>;

/// One shell line in a container that goes, with its flags in front.
fn sh(host: &Single, flags: &[&str], line: &str) -> anyhow::Result<netlab::Finished> {
    let words = [&["run", "--rm"], flags, &["busybox", "sh", "-c", line]].concat();
    host.daemon.docker(&words)
}

fn data(host: &Single, volume: &str) -> PathBuf {
    host.daemon.data_root().join("volumes").join(volume).join("_data")
}

/// Where the clients differ by themselves.
struct Words {
    /// What they say of a volume that isn't there.
    missing: &'static str,
    /// What removes volumes with names too: before 23 every prune did.
    prune_all: &'static str,
    /// Whether `--mount` knows `volume-subpath`.
    subpath: bool,
}

fn words(client: DockerClient) -> Words {
    match client {
        DockerClient::New => Words {
            missing: "get none: no such volume",
            prune_all: "volume prune -af",
            subpath: true,
        },
        DockerClient::Old => Words {
            missing: "No such volume: none",
            prune_all: "volume prune -f",
            subpath: false,
        },
    }
}

#[test]
fn v1_volumes_are_made_listed_inspected_pruned_and_removed() -> Test {
    on_each_client(&[], |host, client| {
        let (docker, words) = (&host.daemon, words(client));
        assert_eq!(docker.ok("volume create -d local --label tier=db data")?, "data");
        assert_eq!(docker.ok("volume create data")?, "data", "it is there already");
        let random = docker.ok("volume create")?;
        assert_eq!(random.len(), 64, "{random}");
        assert_eq!(docker.ok("volume ls -q -f label=tier=db")?, "data");
        contains(&docker.ok("volume ls")?, "local     data");
        let shown = docker.ok(
            "volume inspect data -f {{.Driver}}|{{.Mountpoint}}|{{.Scope}}|{{.Labels.tier}}|{{.Options}}",
        )?;
        assert_eq!(
            shown,
            format!("local|{}|local|db|map[]", data(host, "data").display())
        );
        contains(&docker.refused("volume inspect none")?, words.missing);
        contains(&docker.refused("volume rm none")?, words.missing);
        contains(
            &docker.refused("volume create a")?,
            "names should be at least two alphanumeric characters",
        );
        contains(
            &docker.refused("volume create -d odd x1")?,
            "plugin \"odd\" not found",
        );
        contains(
            &docker.refused("volume create -o colour=red x1")?,
            "invalid option: \"colour\"",
        );
        contains(
            &docker.refused("volume create -o type=tmpfs x1")?,
            "missing required option: \"device\"",
        );
        // Those that users named stay, unless all are to go.
        contains(&docker.ok("volume prune -f")?, &random);
        let kept = if words.prune_all == "volume prune -f" {
            ""
        } else {
            "data"
        };
        assert_eq!(docker.ok("volume ls -q")?, kept);
        docker.ok("run -d --name user -v data:/data busybox sleep 600")?;
        let id = docker.ok("inspect -f {{.Id}} user")?;
        contains(
            &docker.refused("volume rm data")?,
            &format!("remove data: volume is in use - [{id}]"),
        );
        assert_eq!(docker.ok("volume ls -q -f dangling=false")?, "data");
        assert_eq!(docker.ok("ps -q --no-trunc -f volume=data")?, id);
        assert_eq!(docker.ok(words.prune_all)?, "Total reclaimed space: 0B");
        docker.ok("rm -f user")?;
        fs::write(data(host, "data").join("file"), vec![b'x'; 5000])?;
        contains(&docker.ok(words.prune_all)?, "Total reclaimed space: 5kB");
        assert_eq!(docker.ok("volume ls -q")?, "");
        Ok(())
    })
}

#[test]
#[expect(clippy::too_many_lines, reason = "a walkthrough, line by line")]
fn v2_every_way_to_mount() -> Test {
    on_each_client(&[], |host, client| {
        let docker = &host.daemon;
        sh(host, &["-v", "named:/data"], "echo one > /data/file")?.ok()?;
        assert_eq!(
            sh(host, &["-v", "named:/data:ro"], "cat /data/file")?.ok()?,
            "one"
        );
        contains(
            &sh(host, &["-v", "named:/data:ro"], "touch /data/x")?.failed()?,
            "Read-only file system",
        );
        let long = ["--mount", "type=volume,source=named,destination=/d,readonly"];
        contains(
            &sh(host, &long, "cat /d/file; touch /d/x")?.failed()?,
            "Read-only file system",
        );
        // Folders and single files of the host.
        let folder = docker.host().folder().join("shared");
        let bind = format!("{}:/s", folder.display());
        sh(host, &["-v", &bind], "echo two > /s/file")?.ok()?;
        assert_eq!(
            fs::read_to_string(folder.join("file"))?,
            "two\n",
            "-v makes what is missing"
        );
        let file = format!("{}:/etc/motd:ro", folder.join("file").display());
        assert_eq!(sh(host, &["-v", &file], "cat /etc/motd")?.ok()?, "two");
        let missing = format!("type=bind,source={},target=/x", folder.join("none").display());
        contains(
            &sh(host, &["--mount", &missing], "true")?.failed()?,
            "invalid mount config for type \"bind\": bind source path does not exist",
        );
        assert!(!folder.join("none").exists());
        contains(
            &sh(host, &["-v", "a/b:/x"], "true")?.failed()?,
            "includes invalid characters for a local volume name",
        );
        contains(
            &sh(host, &["-v", "named:/"], "true")?.failed()?,
            "destination can't be '/'",
        );
        contains(
            &sh(host, &["-v", "named:/x", "-v", "other:/x"], "true")?.failed()?,
            "Duplicate mount point: /x",
        );
        let memory = [
            "--mount",
            "type=tmpfs,destination=/m,tmpfs-size=1m,tmpfs-mode=1770",
        ];
        assert_eq!(
            sh(
                host,
                &memory,
                "stat -c %a /m; df -k /m | tail -1 | awk '{print $2}'"
            )?
            .ok()?,
            "1770\n1024"
        );
        // An empty volume starts with what the image has there; one with something in it hides that.
        assert_eq!(
            sh(host, &["-v", "filled:/etc"], "ls /etc/passwd")?.ok()?,
            "/etc/passwd"
        );
        assert!(data(host, "filled").join("passwd").exists());
        assert_eq!(sh(host, &["-v", "named:/etc"], "ls /etc/passwd")?.code, 1);
        sh(host, &["-v", "bare:/etc:nocopy"], "true")?.ok()?;
        assert!(!data(host, "bare").join("passwd").exists());
        // A part of a volume.
        sh(
            host,
            &["-v", "parts:/p"],
            "mkdir /p/sub && echo deep > /p/sub/file",
        )?
        .ok()?;
        if !words(client).subpath {
            return Ok(());
        }
        let part = ["--mount", "type=volume,source=parts,target=/x,volume-subpath=sub"];
        assert_eq!(sh(host, &part, "ls /x; cat /x/file")?.ok()?, "file\ndeep");
        let part = [
            "--mount",
            "type=volume,source=parts,target=/x,volume-subpath=none",
        ];
        contains(&sh(host, &part, "true")?.failed()?, "cannot access path");
        Ok(())
    })
}

#[test]
fn v2_what_is_mounted_is_shown_and_told() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        let since = docker.docker(&["info", "--format", "{{.SystemTime}}"])?.ok()?;
        docker.ok("run -d --name one -v named:/data:ro -v /anonymous busybox sleep 600")?;
        let mounts: serde_json::Value = serde_json::from_str(
            &docker
                .docker(&["inspect", "-f", "{{json .Mounts}}", "one"])?
                .ok()?,
        )?;
        let anonymous = mounts[0]["Name"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (anonymous.len(), &mounts[0]["Destination"]),
            (64, &"/anonymous".into())
        );
        assert_eq!(
            mounts[1],
            serde_json::json!({"Type": "volume", "Name": "named", "Source": data(host, "named"), "Destination": "/data",
            "Driver": "local", "Mode": "ro", "RW": false, "Propagation": ""})
        );
        assert_eq!(
            docker
                .docker(&["inspect", "-f", "{{json .Config.Volumes}}", "one"])?
                .ok()?,
            "{\"/anonymous\":{}}"
        );
        contains(&docker.ok("ps --format {{.Mounts}}")?, "named");
        docker.ok("rm -f one")?;
        docker.ok("volume rm named")?;
        let until = docker.docker(&["info", "--format", "{{.SystemTime}}"])?.ok()?;
        let filter = [
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            "volume=named",
            "--format",
        ];
        let events = docker
            .docker(&[&filter[..], &["{{.Action}} {{.Actor.Attributes.driver}}"]].concat())?
            .ok()?;
        assert_eq!(events, "create local\nmount local\nunmount local\ndestroy local");
        let format = [
            "{{.Action}} {{index .Actor.Attributes \"destination\"}} {{index .Actor.Attributes \"read/write\"}}",
        ];
        let events = docker.docker(&[&filter[..], &format].concat())?.ok()?;
        contains(&events, "mount /data false");
        assert_eq!(docker.ok("volume ls -q")?, anonymous, "rm without -v leaves it");
        Ok(())
    })
}

#[test]
fn v3_v4_v5_shared_backed_up_and_removed_with_their_container() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        docker.ok("create --name dbdata -v /dbdata -v named:/named busybox true")?;
        sh(
            host,
            &["--volumes-from", "dbdata"],
            "echo rows > /dbdata/table; echo kept > /named/file",
        )?
        .ok()?;
        contains(
            &sh(host, &["--volumes-from", "dbdata:ro"], "touch /dbdata/x")?.failed()?,
            "Read-only file system",
        );
        contains(
            &sh(host, &["--volumes-from", "none"], "true")?.failed()?,
            "No such container: none",
        );
        // Backup and restore.
        let backup = docker.host().folder().join("backup");
        let bind = format!("{}:/backup", backup.display());
        let tar = "tar cvf /backup/backup.tar /dbdata";
        contains(
            &sh(host, &["--volumes-from", "dbdata", "-v", &bind], tar)?.ok()?,
            "dbdata/table",
        );
        docker.ok("create --name fresh -v /dbdata busybox true")?;
        sh(
            host,
            &["--volumes-from", "fresh", "-v", &bind],
            "tar xf /backup/backup.tar -C /",
        )?
        .ok()?;
        assert_eq!(
            sh(host, &["--volumes-from", "fresh"], "cat /dbdata/table")?.ok()?,
            "rows"
        );
        // The last one wins.
        sh(host, &["--volumes-from", "fresh"], "echo changed > /dbdata/table")?.ok()?;
        let both = ["--volumes-from", "dbdata", "--volumes-from", "fresh"];
        assert_eq!(sh(host, &both, "cat /dbdata/table")?.ok()?, "changed");
        // A volume that somebody else has stays though its container goes with its volumes.
        docker.ok("create --name heir --volumes-from dbdata busybox cat /dbdata/table")?;
        docker.ok("rm -v dbdata")?;
        assert_eq!(docker.ok("start -a heir")?, "rows");
        docker.ok("rm -v heir")?;
        docker.ok("rm -v fresh")?;
        assert_eq!(
            docker.ok("volume ls -q")?,
            "named",
            "only those without a name go"
        );
        assert_eq!(fs::read_to_string(data(host, "named").join("file"))?, "kept\n");
        docker.ok("run --rm -v /gone busybox true")?;
        assert_eq!(docker.ok("volume ls -q")?, "named", "--rm takes them too");
        Ok(())
    })
}

#[test]
fn the_local_drivers_options_mount_memory() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        docker
            .docker(&[
                "volume",
                "create",
                "-o",
                "type=tmpfs",
                "-o",
                "device=tmpfs",
                "-o",
                "o=size=2m,mode=1750",
                "memory",
            ])?
            .ok()?;
        assert_eq!(
            sh(
                host,
                &["-v", "memory:/m"],
                "stat -c %a /m; df -k /m | tail -1 | awk '{print $2}'"
            )?
            .ok()?,
            "1750\n2048"
        );
        let mounted = |name: &str| -> anyhow::Result<bool> {
            let table = fs::read_to_string("/proc/self/mountinfo")?;
            let place = data(host, name).display().to_string();
            Ok(table.lines().any(|line| line.split(' ').nth(4) == Some(&place)))
        };
        assert!(!mounted("memory")?, "nobody sees it any more");
        docker.ok("run -d --name one -v memory:/m busybox sleep 600")?;
        docker.ok("run -d --name two -v memory:/m busybox sleep 600")?;
        docker
            .docker(&["exec", "one", "sh", "-c", "echo shared > /m/file"])?
            .ok()?;
        assert_eq!(docker.ok("exec two cat /m/file")?, "shared");
        docker.ok("rm -f one")?;
        assert_eq!(docker.ok("exec two cat /m/file")?, "shared");
        assert!(mounted("memory")?);
        docker.ok("rm -f two")?;
        assert!(!mounted("memory")?);
        Ok(())
    })
}

#[test]
fn the_local_driver_shows_folders_of_the_host() -> Test {
    on_each_client(&[], |host, _| {
        let docker = &host.daemon;
        let folder = docker.host().folder().join("outside");
        fs::create_dir(&folder)?;
        fs::write(folder.join("precious"), "kept")?;
        let device = format!("device={}", folder.display());
        docker
            .docker(&[
                "volume",
                "create",
                "-o",
                "type=none",
                "-o",
                &device,
                "-o",
                "o=bind",
                "bound",
            ])?
            .ok()?;
        assert_eq!(
            sh(host, &["-v", "bound:/b"], "cat /b/precious; echo new > /b/new")?.ok()?,
            "kept"
        );
        docker.ok("volume rm bound")?;
        assert_eq!(
            fs::read_to_string(folder.join("new"))?,
            "new\n",
            "what it showed stays"
        );
        assert!(folder.join("precious").exists());
        docker
            .docker(&[
                "volume",
                "create",
                "-o",
                "type=none",
                "-o",
                "device=/nowhere",
                "-o",
                "o=bind",
                "bad",
            ])?
            .ok()?;
        let error = docker.refused("run --name fails -v bad:/b busybox true")?;
        contains(&error, "failed to mount local volume: mount /nowhere:");
        contains(&error, "flags: 0x1000: No such file or directory");
        Ok(())
    })
}

/// What is there when the daemon is killed while it makes a container with two volumes.
const MOMENTS: [&str; 5] = [
    "",
    "volumes",
    "volumes/V",
    "volumes/V/_data/passwd",
    "volumes/V/_data/group",
];

fn crash_while_creating(host: &mut Single, round: usize) -> Test {
    // No hexadecimal name: `inspect` takes one for the beginning of an id.
    let (name, volume) = (format!("made{round}"), format!("v{round}"));
    let place = format!("{volume}:/etc");
    let mut command = host.daemon.client_command(netlab::Programs::peer("docker")?);
    command.args([
        "create", "--name", &name, "-v", &place, "-v", "/root", "busybox", "true",
    ]);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut client = command.spawn()?;
    let moment = host.daemon.data_root().join(MOMENTS[round].replace('V', &volume));
    while !moment.exists() && client.try_wait()?.is_none() {
        std::hint::spin_loop();
    }
    host.daemon.kill()?;
    client.wait()?;
    host.daemon.start_again()?;
    let docker = &host.daemon;
    let listed = docker.ok("volume ls -q")?;
    let folders = fs::read_dir(docker.data_root().join("volumes"))?.count();
    assert_eq!(listed.lines().count(), folders, "round {round}: {listed}");
    let there = |file: &str| data(host, &volume).join(file).exists();
    assert_eq!(
        there("passwd"),
        there("group"),
        "round {round}: filled whole or not at all"
    );
    if docker.line(&format!("inspect {name}"))?.code == 0 {
        assert!(
            there("passwd"),
            "round {round}: who is there has its volume filled"
        );
        docker.ok(&format!("rm -v {name}"))?;
    }
    Ok(())
}

#[test]
fn volumes_outlive_the_daemon_and_are_finished_after_a_crash() -> Test {
    let mut host = Single::start(&[])?;
    let since = "volume create -o type=tmpfs -o device=tmpfs memory";
    host.daemon.ok(since)?;
    host.daemon
        .ok("run -d --name user -v memory:/m -v named:/data busybox sleep 600")?;
    host.daemon
        .docker(&[
            "exec",
            "user",
            "sh",
            "-c",
            "echo here > /m/file; echo there > /data/file",
        ])?
        .ok()?;
    host.daemon.kill()?;
    host.daemon.start_again()?;
    let docker = &host.daemon;
    assert_eq!(docker.ok("exec user cat /m/file /data/file")?, "here\nthere");
    contains(&docker.refused("volume rm memory")?, "volume is in use");
    docker.ok("run -d --name other -v memory:/m busybox sleep 600")?;
    docker.ok("rm -f user")?;
    assert_eq!(
        docker.ok("exec other cat /m/file")?,
        "here",
        "it stays mounted for the other"
    );
    docker.ok("rm -f other")?;
    docker.ok("volume rm memory")?;
    // A crash in the middle of everything: what is recorded is there, what is there is recorded.
    for round in 0..MOMENTS.len() {
        crash_while_creating(&mut host, round)?;
    }
    host.daemon.ok("volume prune -af")?;
    wait_for("no folder to be left", Duration::from_secs(10), || {
        let left = fs::read_dir(host.daemon.data_root().join("volumes"))?.count();
        anyhow::ensure!(left == 0, "{left} are left");
        Ok(())
    })
}
