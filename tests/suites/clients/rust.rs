//! A container's life through bollard, as Rust programs write it: typed answers, so that a field of a wrong kind, or one
//! that is missing, is an error of the client.

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use bollard::{
    API_DEFAULT_VERSION, Docker,
    container::LogOutput,
    errors::Error,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};

#[path = "rust/containers.rs"]
mod containers;
#[path = "rust/objects.rs"]
mod objects;

use containers::{execs, life, streams};
use objects::{events, files, images, networks, volumes, waits};

type Test = anyhow::Result<()>;

const SECONDS: u64 = 60;

/// Everything, one after the other; each part leaves nothing.
pub(crate) async fn play(socket: &Path) -> Test {
    let socket = socket.display().to_string();
    let docker = Docker::connect_with_unix(&socket, SECONDS, API_DEFAULT_VERSION)?;
    let docker = docker.negotiate_version().await?;
    part("system", system(&docker)).await?;
    part("life", life(&docker)).await?;
    part("streams", streams(&docker)).await?;
    part("execs", execs(&docker)).await?;
    part("files", files(&docker)).await?;
    part("networks", networks(&docker)).await?;
    part("volumes", Box::pin(volumes(&docker))).await?;
    part("images", images(&docker)).await?;
    part("waits", waits(&docker)).await?;
    part("events", events(&docker)).await
}

async fn part(name: &'static str, work: impl Future<Output = Test>) -> Test {
    let limit = Duration::from_secs(2 * SECONDS);
    tokio::time::timeout(limit, work)
        .await
        .context(name)?
        .context(name)
}

/// The status and the words of a refusal.
fn refused<T: std::fmt::Debug>(answer: Result<T, Error>, status: u16, words: &str) -> Test {
    match answer {
        Err(Error::DockerResponseServerError {
            status_code, message, ..
        }) => {
            ensure!(
                status_code == status && message.contains(words),
                "{status_code} {message}"
            );
            Ok(())
        }
        other => anyhow::bail!("not refused with {words:?}: {other:?}"),
    }
}

fn words(line: &str) -> Option<Vec<String>> {
    Some(line.split(' ').map(str::to_owned).collect())
}

fn shell(line: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: Some(["sh", "-c", line].map(str::to_owned).to_vec()),
        ..Default::default()
    }
}

fn filters(name: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(name.to_owned(), vec![value.to_owned()])])
}

async fn create(docker: &Docker, name: &str, body: ContainerCreateBody) -> anyhow::Result<String> {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let made = docker.create_container(Some(options), body).await?;
    ensure!(made.id.len() == 64 && made.warnings.is_empty(), "{made:?}");
    Ok(made.id)
}

async fn remove(docker: &Docker, name: &str) -> Test {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    Ok(docker.remove_container(name, Some(options)).await?)
}

async fn wait(docker: &Docker, name: &str) -> anyhow::Result<i64> {
    let options = WaitContainerOptionsBuilder::default()
        .condition("not-running")
        .build();
    let mut answers = Box::pin(docker.wait_container(name, Some(options)));
    match answers.next().await.context("an answer")? {
        Ok(answer) => Ok(answer.status_code),
        Err(Error::DockerContainerWaitError { code, .. }) => Ok(code),
        Err(other) => Err(other.into()),
    }
}

async fn all(stream: impl Stream<Item = Result<LogOutput, Error>>) -> anyhow::Result<String> {
    let pieces: Vec<_> = stream.try_collect().await?;
    Ok(pieces.iter().map(ToString::to_string).collect())
}

async fn bytes(stream: impl Stream<Item = Result<Bytes, Error>>) -> anyhow::Result<Vec<u8>> {
    let pieces: Vec<_> = stream.try_collect().await?;
    Ok(pieces.concat())
}

async fn system(docker: &Docker) -> Test {
    ensure!(docker.ping().await? == "OK");
    let version = docker.version().await?;
    ensure!(version.os.as_deref() == Some("linux") && version.components.is_some());
    let info = docker.info().await?;
    ensure!(
        info.containers == Some(0) && info.images == Some(1) && info.ncpu > Some(0),
        "{info:?}"
    );
    ensure!(info.driver.as_deref() == Some("overlay2") && info.plugins.is_some());
    docker.df(None).await?;
    Ok(())
}
