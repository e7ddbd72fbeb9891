//! The daemon comes and goes; the container does not notice.

use runtime::{Attach, Status};
use rustix::process::{Signal, kill_process};
use tokio::io::AsyncWriteExt as _;

use super::lab::{Io, OUTPUT, command, processes, read_all, read_until, script, unframed, until, with_lab};

/// Kills the shim, and only the shim.
fn kill(id: &str) {
    for pid in processes(id) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[test]
fn a_restarted_daemon_finds_a_running_container_and_its_streams() {
    with_lab(async |lab| {
        let io = Io {
            tty: true,
            stdin: true,
        };
        let container = lab.open(script("read x; echo got:$x; exit 6"), io).await;
        let pid = container.start().await;
        let adopted = lab.adopt(&container).await.unwrap();
        let state = adopted.state().await.unwrap();
        assert_eq!((state.status, state.pid), (Status::Running, Some(pid)));
        let mut streams = adopted
            .attach(Attach {
                stdin: true,
                ..OUTPUT
            })
            .await
            .unwrap();
        streams.input.write_all(b"me\n").await.unwrap();
        read_until(&mut streams, "got:me").await;
        assert_eq!(adopted.wait().await.unwrap().code, 6);
        container.end().await;
    });
}

#[test]
fn an_end_that_nobody_saw_is_recorded_with_all_of_the_log() {
    with_lab(async |lab| {
        let container = lab.open(script("echo before; exit 11"), Io::default()).await;
        container.start().await;
        until("the record is written", || {
            container.shim.recorded().unwrap().is_some()
        })
        .await;
        let id = container.shim.id().to_string();
        // Nobody asks, so the shim need not wait; here it is not waited for either.
        kill(&id);
        until("the shim is gone", || processes(&id).is_empty()).await;
        let adopted = lab.adopt(&container).await.unwrap();
        assert_eq!(adopted.wait().await.unwrap().code, 11);
        assert_eq!(adopted.state().await.unwrap().status, Status::Exited);
        assert!(
            std::fs::read_to_string(container.dir.join("log"))
                .unwrap()
                .contains("before")
        );
        container.end().await;
        let never = lab
            .runtime
            .adopt(model::ContainerId::random(), lab.path())
            .await
            .unwrap();
        assert!(never.is_none());
    });
}

#[test]
fn a_container_whose_shim_was_killed_is_ended_and_says_255() {
    with_lab(async |lab| {
        let container = lab.open(command("sleep 1000"), Io::default()).await;
        container.start().await;
        let id = container.shim.id().to_string();
        kill(&id);
        until("the shim is gone", || processes(&id).is_empty()).await;
        let adopted = lab.adopt(&container).await.unwrap();
        assert_eq!(adopted.wait().await.unwrap().code, 255);
        container.end().await;
    });
}

#[test]
fn a_client_that_goes_away_at_any_moment_disturbs_nothing() {
    with_lab(async |lab| {
        let container = lab
            .open(
                script("for i in 1 2 3; do seq 1 20000; done; read x"),
                Io {
                    tty: false,
                    stdin: true,
                },
            )
            .await;
        drop(container.shim.attach(OUTPUT).await.unwrap());
        let mut streams = container.shim.attach(OUTPUT).await.unwrap();
        container.start().await;
        read_until(&mut streams, "100\n").await;
        drop(streams);
        let log = container.dir.join("log");
        until("the log has everything", || {
            std::fs::read_to_string(&log)
                .unwrap_or_default()
                .matches("\"20000\\n\"")
                .count()
                == 3
        })
        .await;
        container.shim.kill(9).await.unwrap();
        container.shim.wait().await.unwrap();
        container.end().await;
    });
}

#[test]
fn a_client_that_stops_reading_is_cut_and_others_get_everything() {
    with_lab(async |lab| {
        let container = lab
            .open(script("yes 0123456789abcde | head -c 4194304"), Io::default())
            .await;
        let stuck = container.shim.attach(OUTPUT).await.unwrap();
        let reading = container.shim.attach(OUTPUT).await.unwrap();
        container.start().await;
        let bytes = read_all(reading.output).await;
        assert_eq!(unframed(&bytes).len(), 4 << 20);
        assert_eq!(container.shim.wait().await.unwrap().code, 0);
        drop(stuck);
        container.end().await;
    });
}

#[test]
fn an_exec_root_may_have_a_longer_name_than_a_socket() {
    with_lab(async |lab| {
        let exec_root = lab.path().join("x".repeat(100));
        let runtime = runtime::Runtime::new(runtime::RuntimeConfig {
            exec_root,
            ..lab.config()
        })
        .unwrap();
        let lab = lab.with(runtime);
        let container = lab
            .open(
                script("exit 8"),
                Io {
                    tty: true,
                    stdin: false,
                },
            )
            .await;
        container.start().await;
        assert_eq!(container.shim.wait().await.unwrap().code, 8);
        container.end().await;
    });
}
