//! Containers: their life, their streams, and what else runs in them.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, ensure};
use bollard::{
    Docker,
    container::LogOutput,
    errors::Error,
    exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults},
    models::{
        ContainerCreateBody, ContainerSummaryStateEnum, ContainerUpdateBody, HealthConfig, HealthStatusEnum,
        HostConfig, PortBinding,
    },
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, InspectContainerOptionsBuilder,
        KillContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
        PruneContainersOptionsBuilder, RenameContainerOptionsBuilder, RestartContainerOptionsBuilder,
        StatsOptionsBuilder, StopContainerOptionsBuilder, TopOptionsBuilder,
    },
};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncWriteExt as _;

use super::{Test, all, create, filters, refused, remove, shell, wait, words};

fn boxed() -> ContainerCreateBody {
    ContainerCreateBody {
        cmd: words("sleep 600"),
        env: Some(vec!["A=1".to_owned()]),
        labels: Some(HashMap::from([("kind".to_owned(), "test".to_owned())])),
        exposed_ports: Some(vec!["80/tcp".to_owned()]),
        healthcheck: Some(HealthConfig {
            test: Some(["CMD", "true"].map(str::to_owned).to_vec()),
            interval: Some(200_000_000),
            ..Default::default()
        }),
        host_config: Some(HostConfig {
            memory: Some(64 << 20),
            init: Some(true),
            port_bindings: Some(HashMap::from([(
                "80/tcp".to_owned(),
                Some(vec![PortBinding {
                    host_ip: Some("127.0.0.1".to_owned()),
                    host_port: Some("8080".to_owned()),
                }]),
            )])),
            ..Default::default()
        }),
        ..shell("")
    }
}

pub(super) async fn life(docker: &Docker) -> Test {
    let id = create(docker, "box", boxed()).await?;
    let again = CreateContainerOptionsBuilder::default().name("box").build();
    refused(
        docker.create_container(Some(again), boxed()).await,
        409,
        "already in use",
    )?;
    refused(
        docker.stop_container("none", None).await,
        404,
        "No such container: none",
    )?;
    docker.start_container("box", None).await?;
    // Once more is no error: 304.
    docker.start_container("box", None).await?;
    shown(docker, &id).await?;
    docker.pause_container("box").await?;
    refused(docker.pause_container("box").await, 409, "already paused")?;
    docker.unpause_container("box").await?;
    let top = docker
        .top_processes("box", Some(TopOptionsBuilder::default().ps_args("-ef").build()))
        .await?;
    let rows = top.processes.context("processes")?;
    ensure!(
        rows.iter().any(|row| row.join(" ").contains("sleep 600")),
        "{rows:?}"
    );
    let update = ContainerUpdateBody {
        memory: Some(128 << 20),
        memory_swap: Some(256 << 20),
        ..Default::default()
    };
    docker.update_container("box", update).await?;
    let once = StatsOptionsBuilder::default().stream(false).build();
    let figures = docker
        .stats("box", Some(once))
        .next()
        .await
        .context("figures")??;
    ensure!(figures.memory_stats.context("memory")?.limit == Some(128 << 20));
    let follow = StatsOptionsBuilder::default().stream(true).build();
    let two: Vec<_> = docker.stats("box", Some(follow)).take(2).try_collect().await?;
    ensure!(
        two[1].precpu_stats.as_ref().and_then(|cpu| cpu.system_cpu_usage) > Some(0),
        "{two:?}"
    );
    let chest = RenameContainerOptionsBuilder::default().name("chest").build();
    docker.rename_container("box", chest).await?;
    refused(
        docker.inspect_container("box", None).await,
        404,
        "No such container",
    )?;
    refused(
        docker.remove_container("chest", None).await,
        409,
        "container is running",
    )?;
    ends(docker).await
}

async fn shown(docker: &Docker, id: &str) -> Test {
    let sized = InspectContainerOptionsBuilder::default().size(true).build();
    for _ in 0..300 {
        let view = docker.inspect_container("box", Some(sized.clone())).await?;
        let state = view.state.context("a state")?;
        ensure!(state.running == Some(true) && view.size_root_fs > Some(0));
        if state.health.and_then(|health| health.status) == Some(HealthStatusEnum::HEALTHY) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut wanted = filters("label", "kind=test");
    wanted.extend(filters("health", "healthy"));
    wanted.extend(filters("status", "running"));
    let listed = ListContainersOptionsBuilder::default()
        .filters(&wanted)
        .size(true)
        .build();
    let listed = docker.list_containers(Some(listed)).await?;
    ensure!(listed.len() == 1, "{listed:?}");
    let one = &listed[0];
    ensure!(one.id.as_deref() == Some(id) && one.names == Some(vec!["/box".to_owned()]));
    ensure!(one.state == Some(ContainerSummaryStateEnum::RUNNING), "{one:?}");
    let port = one
        .ports
        .as_ref()
        .and_then(|ports| ports.first())
        .context("a port")?;
    ensure!(
        port.private_port == 80 && port.public_port == Some(8080),
        "{port:?}"
    );
    Ok(())
}

async fn ends(docker: &Docker) -> Test {
    let kill = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
    docker.kill_container("chest", Some(kill.clone())).await?;
    ensure!(wait(docker, "chest").await? == 137);
    refused(
        docker.kill_container("chest", Some(kill)).await,
        409,
        "is not running",
    )?;
    let stop = StopContainerOptionsBuilder::default().t(0).build();
    // Not running: 304, no error.
    docker.stop_container("chest", Some(stop.clone())).await?;
    let restart = RestartContainerOptionsBuilder::default().t(0).build();
    docker.restart_container("chest", Some(restart)).await?;
    docker.stop_container("chest", Some(stop)).await?;
    let exited = filters("status", "exited");
    let listed = ListContainersOptionsBuilder::default().filters(&exited).build();
    ensure!(docker.list_containers(Some(listed)).await?.len() == 1);
    let other = PruneContainersOptionsBuilder::default()
        .filters(&filters("label", "kind=other"))
        .build();
    ensure!(
        docker
            .prune_containers(Some(other))
            .await?
            .containers_deleted
            .unwrap_or_default()
            .is_empty()
    );
    let ours = PruneContainersOptionsBuilder::default()
        .filters(&filters("label", "kind=test"))
        .build();
    ensure!(
        docker
            .prune_containers(Some(ours))
            .await?
            .containers_deleted
            .unwrap_or_default()
            .len()
            == 1
    );
    Ok(())
}

pub(super) async fn streams(docker: &Docker) -> Test {
    let cat = ContainerCreateBody {
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        ..shell("echo err >&2; cat")
    };
    create(docker, "cat", cat).await?;
    let options = || {
        AttachContainerOptionsBuilder::default()
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build()
    };
    let mut ends = docker.attach_container("cat", Some(options())).await?;
    let watching = AttachContainerOptionsBuilder::default()
        .stdout(true)
        .stream(true)
        .build();
    let watcher = docker.attach_container("cat", Some(watching)).await?;
    docker.start_container("cat", None).await?;
    ends.input.write_all(b"through\n").await?;
    ends.input.shutdown().await?;
    drop(ends.input);
    let seen: Vec<_> = ends.output.try_collect().await?;
    let of = |error: bool| -> String {
        let kind = |one: &&LogOutput| matches!(one, LogOutput::StdErr { .. }) == error;
        seen.iter().filter(kind).map(ToString::to_string).collect()
    };
    ensure!(
        (of(false).as_str(), of(true).as_str()) == ("through\n", "err\n"),
        "{seen:?}"
    );
    ensure!(all(watcher.output).await? == "through\n");
    ensure!(wait(docker, "cat").await? == 0);
    remove(docker, "cat").await?;
    create(
        docker,
        "teller",
        shell("echo one; echo two >&2; sleep 1; echo three"),
    )
    .await?;
    docker.start_container("teller", None).await?;
    let follow = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .follow(true)
        .build();
    ensure!(all(docker.logs("teller", Some(follow))).await? == "one\ntwo\nthree\n");
    let last = LogsOptionsBuilder::default()
        .stdout(true)
        .tail("1")
        .timestamps(true)
        .build();
    let line = all(docker.logs("teller", Some(last))).await?;
    ensure!(line.ends_with("Z three\n"), "{line}");
    let neither = LogsOptionsBuilder::default().build();
    refused(
        all_or(docker.logs("teller", Some(neither))).await,
        400,
        "at least one stream",
    )?;
    remove(docker, "teller").await
}

async fn all_or(stream: impl Stream<Item = Result<LogOutput, Error>>) -> Result<Vec<LogOutput>, Error> {
    stream.try_collect().await
}

pub(super) async fn execs(docker: &Docker) -> Test {
    create(docker, "box", shell("sleep 600")).await?;
    docker.start_container("box", None).await?;
    let asked = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: words("sh -c pwd;id<SP>-u;echo<SP>$B>&2;exit<SP>4")
            .map(|words| words.iter().map(|word| word.replace("<SP>", " ")).collect()),
        env: Some(vec!["B=two".to_owned()]),
        user: Some("1000".to_owned()),
        working_dir: Some("/tmp".to_owned()),
        ..Default::default()
    };
    let made = docker.create_exec("box", asked).await?;
    match docker.start_exec(&made.id, None).await? {
        StartExecResults::Attached { output, .. } => {
            let seen: Vec<_> = output.try_collect().await?;
            let text: String = seen
                .iter()
                .filter(|one| matches!(one, LogOutput::StdOut { .. }))
                .map(ToString::to_string)
                .collect();
            ensure!(text == "/tmp\n1000\n", "{seen:?}");
        }
        StartExecResults::Detached => anyhow::bail!("detached"),
    }
    let view = docker.inspect_exec(&made.id).await?;
    ensure!(
        view.exit_code == Some(4) && view.running == Some(false),
        "{view:?}"
    );
    terminal(docker).await?;
    let detached = CreateExecOptions {
        cmd: words("touch /done"),
        ..Default::default()
    };
    let made = docker.create_exec("box", detached).await?;
    let start = StartExecOptions {
        detach: true,
        ..Default::default()
    };
    ensure!(matches!(
        docker.start_exec(&made.id, Some(start)).await?,
        StartExecResults::Detached
    ));
    let nothing = CreateExecOptions {
        cmd: words("true"),
        ..Default::default()
    };
    refused(
        docker.create_exec("none", nothing).await,
        404,
        "No such container",
    )?;
    remove(docker, "box").await
}

/// A terminal whose size is told as soon as it is asked for.
async fn terminal(docker: &Docker) -> Test {
    let term = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        tty: Some(true),
        cmd: Some(vec!["sh".to_owned()]),
        ..Default::default()
    };
    let made = docker.create_exec("box", term).await?;
    let start = StartExecOptions {
        tty: true,
        ..Default::default()
    };
    match docker.start_exec(&made.id, Some(start)).await? {
        StartExecResults::Attached { output, mut input } => {
            docker
                .resize_exec(
                    &made.id,
                    ResizeExecOptions {
                        height: 33,
                        width: 77,
                    },
                )
                .await?;
            input.write_all(b"stty size; exit 3\n").await?;
            let seen = all(output).await?;
            ensure!(seen.contains("33 77"), "{seen}");
        }
        StartExecResults::Detached => anyhow::bail!("detached"),
    }
    Ok(())
}
