//! Conversations with a shim that goes in the middle of them.

use std::{fs, os::unix::net::UnixListener, path::Path};

use futures::future::BoxFuture;
use shim_protocol::exit;
use tokio::io::AsyncReadExt as _;

use super::*;

/// Where a shim is when its container ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Gone, with its files.
    Before,
    /// Killed: its socket is there, and nobody serves it.
    Killed,
    /// It goes while a client is in its queue.
    Queued,
    /// It has read what was asked.
    Asked,
    /// In the middle of its answer.
    Answering,
}

const ENDS: [End; 5] = [End::Before, End::Killed, End::Queued, End::Asked, End::Answering];

type Call = (&'static str, fn(Shim) -> BoxFuture<'static, Result<()>>);

fn spec() -> ExecSpec {
    ExecSpec {
        id: "e".to_owned(),
        process: oci_spec::runtime::Process::default(),
        tty: true,
        stdin: false,
        privileged: false,
    }
}

/// Everything that is asked of a shim whose container runs.
const CALLS: [Call; 10] = [
    ("start", |shim| {
        Box::pin(async move { shim.start().await.map(drop) })
    }),
    ("kill", |shim| Box::pin(async move { shim.kill(15).await })),
    ("resize", |shim| Box::pin(async move { shim.resize(1, 1).await })),
    ("pause", |shim| Box::pin(async move { shim.pause().await })),
    ("resume", |shim| Box::pin(async move { shim.resume().await })),
    ("attach", |shim| {
        Box::pin(async move { shim.attach(Attach::default()).await.map(drop) })
    }),
    ("exec", |shim| {
        Box::pin(async move { shim.exec(spec()).await.map(drop) })
    }),
    ("exec start", |shim| {
        Box::pin(async move { shim.registered("e").start().await.map(drop) })
    }),
    ("exec attach", |shim| {
        Box::pin(async move { shim.registered("e").attach(Attach::default()).await.map(drop) })
    }),
    ("exec inspect", |shim| {
        Box::pin(async move { shim.registered("e").inspect().await.map(drop) })
    }),
];

/// A shim that ends so, for one conversation.
async fn ending(shim: Shim, end: End) {
    let socket = shim.inner.paths.socket.clone();
    let _ = fs::remove_file(&socket);
    if matches!(end, End::Before) {
        return;
    }
    let listener = UnixListener::bind(&socket).unwrap();
    if matches!(end, End::Killed) {
        return;
    }
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        if matches!(end, End::Asked | End::Answering) {
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        }
        if matches!(end, End::Answering) {
            tokio::io::AsyncWriteExt::write_all(&mut stream, &[9, 0])
                .await
                .unwrap();
        }
        // As it goes: its files first, whoever waits for it last.
        fs::remove_file(&socket).unwrap();
        drop(listener);
    });
}

fn shim(folder: &Path) -> Shim {
    let runtime = Runtime::new(RuntimeConfig {
        exec_root: folder.join("run"),
        shim: "/bin/false".into(),
        cgroup_parent: "/cnm-test-of-the-runtime".to_owned(),
    });
    let dir = folder.join("bundle");
    fs::create_dir_all(&dir).unwrap();
    runtime.unwrap().handle(ContainerId::random(), dir)
}

#[tokio::test]
async fn a_shim_that_goes_at_any_moment_of_any_request_says_that_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    for end in ENDS {
        for (name, call) in CALLS {
            let shim = shim(folder.path());
            ending(shim.clone(), end).await;
            let told = call(shim).await.expect_err(name);
            assert!(matches!(told, Error::Gone(_)), "{name}, {end:?}: {told:?}");
            assert!(told.is_not_running(), "{name}, {end:?}");
        }
    }
}

#[tokio::test]
async fn what_a_gone_shim_recorded_answers_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for end in ENDS {
        let shim = shim(folder.path());
        let record = exit::Exit {
            code: 3,
            oom_killed: false,
            at: 7,
        };
        exit::write(&shim.inner.dir, &record).unwrap();
        ending(shim.clone(), end).await;
        assert_eq!(shim.wait().await.unwrap().code, 3, "{end:?}");
        ending(shim.clone(), end).await;
        let state = shim.state().await.unwrap();
        assert_eq!(
            (state.status, state.exit.map(|exit| exit.code)),
            (Status::Exited, Some(3)),
            "{end:?}"
        );
        ending(shim.clone(), end).await;
        shim.delete().await.unwrap();
        assert!(!shim.inner.paths.socket.exists(), "{end:?}");
        assert_eq!(shim.registered("e").wait().await.unwrap().code, 137, "{end:?}");
        exit::forget(&shim.inner.dir).unwrap();
    }
}
