//! A container that ends in the very moment when something is asked of it.
//!
//! Its shim is a task of the test's: it tells that its container runs, and goes at a moment that the test chooses.

use std::{path::PathBuf, sync::Arc};

use engine::{Attach, Engine, Error, Query, StopOptions, WaitCondition, record::Phase};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::oneshot,
};

use super::{
    bench::{Bench, import, request},
    restart::leave,
};

/// When the shim goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Before anything is asked: it has been taken away, and what it recorded is not yet known.
    Before,
    /// When it has read what is asked of it.
    Asked,
    /// When it has said that it is done.
    Answered,
}

const ENDS: [End; 3] = [End::Before, End::Asked, End::Answered];

struct Shim {
    socket: PathBuf,
    bundle: PathBuf,
    /// The command's exit status.
    code: i32,
}

async fn heard(stream: &mut UnixStream) -> Option<Value> {
    let length = stream.read_u32_le().await.ok()?;
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text).await.ok()?;
    serde_json::from_slice(&text).ok()
}

async fn say(stream: &mut UnixStream, message: Value) {
    let text = message.to_string();
    let length = u32::try_from(text.len()).expect("a short text");
    let _ = stream.write_all(&length.to_le_bytes()).await;
    let _ = stream.write_all(text.as_bytes()).await;
}

impl Shim {
    fn of(bench: &Bench, id: &model::ContainerId) -> Self {
        let socket = bench.folder.path().join(format!("run/shim/{id}.sock"));
        let bundle = bench.data_root().join(format!("containers/{id}/bundle"));
        std::fs::create_dir_all(socket.parent().expect("a folder")).expect("made");
        std::fs::create_dir_all(&bundle).expect("made");
        let spec = oci_spec::runtime::Spec::default();
        spec.save(bundle.join("config.json")).expect("written");
        Self {
            socket,
            bundle,
            code: 0,
        }
    }

    /// Serves until somebody asks what isn't about its state, or, with `Before`, until it is said to be over.
    async fn serve(self, listener: UnixListener, end: End, over: oneshot::Receiver<()>) {
        let mut waiting = Vec::new();
        let mut over = Some(over);
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(asked) = heard(&mut stream).await else {
                continue; // somebody looked whether it is there
            };
            match asked["request"].as_str() {
                Some("state") => {
                    let state = json!({"version": 1, "reply": "state", "status": "running", "pid": 1});
                    say(&mut stream, state).await;
                }
                Some("wait") => {
                    waiting.push(stream);
                    if end == End::Before {
                        break;
                    }
                }
                _ => {
                    self.record();
                    if end == End::Answered {
                        say(&mut stream, json!({"version": 1, "reply": "done"})).await;
                    }
                    over = None;
                    break;
                }
            }
        }
        self.record();
        let _ = std::fs::remove_file(&self.socket);
        drop(listener);
        if let Some(over) = over {
            let _ = over.await;
        }
        drop(waiting);
    }

    fn record(&self) {
        let record = json!({"code": self.code, "oom_killed": false, "at": 1});
        std::fs::write(self.bundle.join("exit.json"), record.to_string()).expect("written");
    }
}

/// A daemon with a container that runs, and the end of its shim.
pub(super) async fn running(end: End) -> (Bench, Arc<Engine>, oneshot::Sender<()>) {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let view = engine.containers.create(request(Some("web"))).await;
    let id = view.expect("a container").record.id;
    drop(engine);
    leave(&bench, "web", Phase::Running).await;
    let shim = Shim::of(&bench, &id);
    let listener = UnixListener::bind(&shim.socket).expect("a socket");
    let (over, ended) = oneshot::channel();
    let serving = tokio::spawn(shim.serve(listener, end, ended));
    let engine = bench.start().await;
    let socket = bench.folder.path().join(format!("run/shim/{id}.sock"));
    while end == End::Before && socket.exists() {
        tokio::task::yield_now().await;
    }
    drop(serving);
    let phase = engine.containers.inspect("web").expect("web").record.state.phase;
    assert_eq!(phase, Phase::Running);
    (bench, engine, over)
}

type Call = fn(Arc<Engine>) -> BoxFuture<'static, engine::Result<()>>;

/// What each answers, as Docker's clients expect it.
enum Answer {
    Done,
    /// 409: it does not run.
    Conflict,
    /// It was done, or it does not run: as the shim's last word was.
    DoneOrConflict,
    /// Its new start fails here, as all do.
    NoStart,
}

pub(super) fn exec() -> engine::CreateExec {
    engine::CreateExec {
        config: engine::run::ExecConfig {
            cmd: vec!["sh".into()],
            ..Default::default()
        },
        stdin: false,
        stdout: true,
        stderr: true,
        detach_keys: String::new(),
    }
}

/// What is asked, and what is answered.
const CALLS: [(&str, Call, Answer); 12] = [
    (
        "rm -f",
        |engine| Box::pin(async move { engine.containers.remove("web", true).await }),
        Answer::Done,
    ),
    (
        "stop",
        |engine| Box::pin(async move { engine.containers.stop("web", &StopOptions::default()).await }),
        Answer::Done,
    ),
    (
        "kill",
        |engine| Box::pin(async move { engine.containers.kill("web", "KILL").await }),
        Answer::Done,
    ),
    (
        "kill -s HUP",
        |engine| Box::pin(async move { engine.containers.kill("web", "HUP").await }),
        Answer::Done,
    ),
    (
        "restart",
        |engine| Box::pin(async move { engine.containers.restart("web", &StopOptions::default()).await }),
        Answer::NoStart,
    ),
    (
        "pause",
        |engine| Box::pin(async move { engine.containers.pause("web").await }),
        Answer::DoneOrConflict,
    ),
    (
        "resize",
        |engine| Box::pin(async move { engine.containers.resize("web", 1, 1).await }),
        Answer::DoneOrConflict,
    ),
    (
        "attach",
        |engine| {
            Box::pin(async move {
                let mut streams = engine.containers.attach("web", Attach::default()).await?;
                let mut heard = Vec::new();
                let read = streams.output.read_to_end(&mut heard).await;
                assert_eq!(read.expect("an end"), 0);
                Ok(())
            })
        },
        Answer::Done,
    ),
    (
        "exec",
        |engine| {
            Box::pin(async move {
                let id = engine.containers.create_exec("web", exec())?;
                engine.containers.start_exec(&id, true, None).await.map(drop)
            })
        },
        Answer::Conflict,
    ),
    (
        "update",
        |engine| {
            Box::pin(async move {
                let mut update = engine::Update::default();
                update.resources.memory = Some(64 << 20);
                engine.containers.update("web", update).await
            })
        },
        Answer::Done,
    ),
    (
        "top",
        |engine| Box::pin(async move { engine.containers.processes("web", "").await.map(drop) }),
        Answer::Conflict,
    ),
    (
        "stats",
        |engine| Box::pin(async move { engine.containers.sample("web").await.map(drop) }),
        Answer::Done,
    ),
];

#[tokio::test]
async fn what_is_asked_of_a_container_that_ends_in_this_moment_is_answered_as_docker_does() {
    for (name, call, answer) in CALLS {
        for end in ENDS {
            let (bench, engine, over) = running(end).await;
            let exit = engine.containers.wait("web", WaitCondition::NotRunning);
            // The call comes first: it meets a shim that is gone, and an exit that nobody knows of.
            let (told, ()) = futures::join!(call(engine.clone()), async move {
                let _ = over.send(());
            });
            let fits = match (&told, answer_of(&answer)) {
                (Ok(()), "done" | "either") | (Err(Error::Conflict { .. }), "conflict" | "either") => true,
                (Err(error), "no start") => error.to_string().contains("did not start"),
                _ => false,
            };
            assert!(fits, "{name}, {end:?}: {told:?}");
            if matches!(name, "update" | "top" | "stats") {
                // They don't speak with the shim: it is still there.
                let _ = engine.containers.kill("web", "KILL").await;
            }
            exit.expect("a wait").finish().await;
            check_rest(&bench, &engine, name, end).await;
        }
    }
}

fn answer_of(answer: &Answer) -> &'static str {
    match answer {
        Answer::Done => "done",
        Answer::Conflict => "conflict",
        Answer::DoneOrConflict => "either",
        Answer::NoStart => "no start",
    }
}

/// It does not run, nothing of it is left in the kernel, and it can be removed.
async fn check_rest(bench: &Bench, engine: &Arc<Engine>, name: &str, end: End) {
    if name != "rm -f" {
        let state = engine
            .containers
            .inspect("web")
            .expect("web")
            .record
            .state
            .clone();
        assert_eq!(state.phase, Phase::Exited, "{name}, {end:?}");
        assert_eq!(state.pid, None, "{name}, {end:?}");
        engine.containers.remove("web", false).await.expect(name);
    }
    let all = Query {
        all: true,
        ..Query::default()
    };
    assert!(engine.containers.list(&all).is_empty(), "{name}, {end:?}");
    assert!(engine.snapshot().sandboxes.is_empty(), "{name}, {end:?}");
    assert_eq!(bench.homes(), 0, "{name}, {end:?}");
}
