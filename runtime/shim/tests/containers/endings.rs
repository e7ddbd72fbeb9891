//! How containers end, and what is told of it.

use std::{fs, os::unix::fs::symlink, time::Instant};

use model::ContainerId;
use runtime::{
    Error, Status,
    spec::{ContainerConfig, Resources, exec::ExecConfig},
};

use super::lab::{Io, OUTPUT, cgroups, command, read_until, script, with_lab};

#[test]
fn the_exit_code_is_the_commands() {
    with_lab(async |lab| {
        for (config, expected) in [
            (command("true"), 0),
            (command("false"), 1),
            (script("exit 42"), 42),
        ] {
            let container = lab.open(config, Io::default()).await;
            container.start().await;
            assert_eq!(container.shim.wait().await.unwrap().code, expected);
            let state = container.shim.state().await.unwrap();
            assert_eq!((state.status, state.pid), (Status::Exited, None));
            container.end().await;
        }
    });
}

/// Its log, the shim's own complaints about that, and the record of its end.
#[test]
fn where_nothing_can_be_written_a_container_ends_as_it_would() {
    with_lab(async |lab| {
        let id = ContainerId::random();
        let dir = lab.path().join(id.short());
        fs::create_dir_all(dir.join("exit.json.next")).unwrap();
        for name in ["log", "shim.err"] {
            symlink("/dev/full", dir.join(name)).unwrap();
        }
        let config = script("i=0; while [ $i -lt 50 ]; do echo lost; i=$((i+1)); done; exit 7");
        let container = lab.try_open(id, config, Io::default()).await.unwrap();
        container.start().await;
        assert_eq!(container.shim.wait().await.unwrap().code, 7);
        container.end().await;
    });
}

#[test]
fn a_signal_is_128_and_its_number() {
    with_lab(async |lab| {
        for (trap, signal, expected) in [("exit 7", 15, 7), ("", 9, 137)] {
            let container = lab
                .open(
                    script(&format!(
                        "trap '{trap}' TERM; echo up; while :; do sleep 0.01; done"
                    )),
                    Io::default(),
                )
                .await;
            let mut streams = container.shim.attach(OUTPUT).await.unwrap();
            container.start().await;
            read_until(&mut streams, "up").await;
            container.shim.kill(signal).await.unwrap();
            assert_eq!(container.shim.wait().await.unwrap().code, expected);
            assert!(container.shim.kill(9).await.unwrap_err().is_not_running());
            container.end().await;
        }
    });
}

#[test]
fn a_command_that_can_not_be_run_is_said_and_leaves_nothing() {
    with_lab(async |lab| {
        let table = [
            (
                "nonesuch",
                127,
                r#"exec: "nonesuch": executable file not found in $PATH"#,
            ),
            (
                "/bin/nonesuch",
                127,
                r#"exec: "/bin/nonesuch": stat /bin/nonesuch: no such file or directory"#,
            ),
            ("/etc", 126, r#"exec: "/etc": is a directory"#),
            ("/bin/plain", 126, r#"exec: "/bin/plain": permission denied"#),
            ("/bin/garbage", 126, "exec /bin/garbage: exec format error"),
        ];
        for (name, code, message) in table {
            let container = lab.open(command(name), Io::default()).await;
            let error = container.shim.start().await.unwrap_err();
            assert_eq!(
                (error.exit_code(), error.to_string().as_str()),
                (Some(code), message)
            );
            container.end().await;
        }
        let config = ContainerConfig {
            user: "web".into(),
            working_dir: "/proc/nowhere".into(),
            ..command("true")
        };
        assert!(matches!(
            lab.try_open(ContainerId::random(), config, Io::default()).await,
            Ok(_) | Err(Error::File { .. })
        ));
    });
}

#[test]
fn memory_over_the_limit_is_an_oom_kill() {
    with_lab(async |lab| {
        let resources = Resources {
            memory: Some(16 << 20),
            ..Default::default()
        };
        let config = ContainerConfig {
            resources,
            ..script("x=x; while :; do x=$x$x; done")
        };
        let container = lab.open(config, Io::default()).await;
        container.start().await;
        let exit = container.shim.wait().await.unwrap();
        assert!(exit.oom_killed, "{exit:?}");
        assert_eq!(exit.code, 137);
        container.end().await;
    });
}

#[test]
fn a_started_container_can_not_be_started_and_a_deleted_one_is_killed() {
    with_lab(async |lab| {
        let container = lab.open(command("sleep 1000"), Io::default()).await;
        container.start().await;
        assert!(matches!(container.shim.start().await, Err(Error::Refused(_))));
        let again = lab
            .try_open(container.shim.id(), command("true"), Io::default())
            .await;
        assert!(matches!(again, Err(Error::Running)));
        assert!(!cgroups(&container.shim.id().to_string()).is_empty());
        container.end().await;
    });
}

#[test]
fn fifty_containers_one_after_another_leave_nothing() {
    with_lab(async |lab| {
        let mut times = Vec::new();
        for _ in 0..50 {
            let container = lab.open(command("true"), Io::default()).await;
            let start = Instant::now();
            container.start().await;
            times.push(start.elapsed());
            assert_eq!(container.shim.wait().await.unwrap().code, 0);
            container.end().await;
        }
        times.sort();
        eprintln!("start: median {:?}, slowest {:?}", times[25], times[49]);
    });
}

#[test]
fn the_same_container_runs_again() {
    with_lab(async |lab| {
        let id = ContainerId::random();
        for code in [3, 4] {
            let container = lab
                .try_open(id, script(&format!("exit {code}")), Io::default())
                .await
                .unwrap();
            assert_eq!(
                container.shim.recorded().unwrap(),
                None,
                "an earlier run's record is forgotten"
            );
            container.start().await;
            assert_eq!(container.shim.wait().await.unwrap().code, code);
            if code == 4 {
                container.end().await;
            }
        }
    });
}

#[test]
fn ten_containers_at_once_are_no_different() {
    with_lab(async |lab| {
        let lab = &lab;
        let run = async |code: i32| {
            let container = lab.open(script(&format!("exit {code}")), Io::default()).await;
            container.start().await;
            assert_eq!(container.shim.wait().await.unwrap().code, code);
            container.end().await;
        };
        futures::future::join_all((0..10).map(run)).await;
    });
}

#[test]
fn execs_end_before_their_deleted_container_does() {
    with_lab(async |lab| {
        let container = lab.open(command("sleep 1000"), Io::default()).await;
        container.start().await;
        let config = ExecConfig {
            cmd: command("sleep 1000").cmd.unwrap(),
            tty: true,
            ..Default::default()
        };
        let exec = container.exec(config, false).await;
        exec.start().await.unwrap();
        let waiting = exec.wait();
        let (exit, deleted) = tokio::join!(waiting, container.shim.delete());
        deleted.unwrap();
        assert_eq!(exit.unwrap().code, 137);
        assert_eq!(container.shim.wait().await.unwrap().code, 137);
        container.end().await;
    });
}
