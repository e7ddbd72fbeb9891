//! Files, networks, volumes, images, and what is waited for and told.

use std::{collections::HashMap, io::Read as _};

use anyhow::{Context as _, ensure};
use bollard::{
    Docker,
    errors::Error,
    models::{
        ContainerCreateBody, EndpointSettings, EventMessage, HostConfig, NetworkConnectRequest,
        NetworkCreateRequest, NetworkDisconnectRequest, VolumeCreateRequest,
    },
    query_parameters::{
        ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder, EventsOptionsBuilder,
        InspectNetworkOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
        ListVolumesOptionsBuilder, PruneNetworksOptionsBuilder, PruneVolumesOptionsBuilder,
        RemoveImageOptionsBuilder, RemoveVolumeOptionsBuilder, TagImageOptionsBuilder,
        UploadToContainerOptionsBuilder, WaitContainerOptionsBuilder,
    },
};
use futures::{StreamExt as _, TryStreamExt as _};

use super::{Test, bytes, create, filters, refused, remove, shell, wait};

pub(super) async fn files(docker: &Docker) -> Test {
    create(docker, "box", shell("true")).await?;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o640);
    header.set_uid(77);
    header.set_gid(77);
    archive.append_data(&mut header, "dir/file", &b"text"[..])?;
    let upload = UploadToContainerOptionsBuilder::default().path("/tmp").build();
    let body = bollard::body_full(archive.into_inner()?.into());
    docker.upload_to_container("box", Some(upload), body).await?;
    let download = |path: &str| Some(DownloadFromContainerOptionsBuilder::default().path(path).build());
    let got = bytes(docker.download_from_container("box", download("/tmp/dir/file"))).await?;
    let mut got = tar::Archive::new(&got[..]);
    let mut entry = got.entries()?.next().context("an entry")??;
    let mut text = String::new();
    entry.read_to_string(&mut text)?;
    ensure!((entry.header().uid()?, text.as_str()) == (77, "text"));
    let about = ContainerArchiveInfoOptionsBuilder::default()
        .path("/tmp/dir")
        .build();
    let about = docker.get_container_archive_info("box", Some(about)).await?;
    ensure!(about.name == "dir", "{about:?}");
    let nothing = docker
        .download_from_container("box", download("/none"))
        .try_collect::<Vec<_>>()
        .await;
    refused(nothing, 404, "Could not find the file /none")?;
    let changes = docker.container_changes("box").await?.context("changes")?;
    ensure!(
        changes.iter().any(|change| change.path == "/tmp/dir/file"),
        "{changes:?}"
    );
    let whole = bytes(docker.export_container("box")).await?;
    let mut whole = tar::Archive::new(&whole[..]);
    let paths: Vec<_> = whole
        .entries()?
        .map(|entry| anyhow::Ok(entry?.path()?.into_owned()))
        .collect::<Result<_, _>>()?;
    ensure!(paths.iter().any(|path| path.ends_with("tmp/dir/file")));
    remove(docker, "box").await
}

pub(super) async fn networks(docker: &Docker) -> Test {
    let request = NetworkCreateRequest {
        name: "lan".to_owned(),
        labels: Some(HashMap::from([("tier".to_owned(), "back".to_owned())])),
        ..Default::default()
    };
    let made = docker.create_network(request.clone()).await?;
    refused(docker.create_network(request).await, 409, "already exists")?;
    create(docker, "box", shell("sleep 600")).await?;
    docker.start_container("box", None).await?;
    let connect = NetworkConnectRequest {
        container: "box".to_owned(),
        endpoint_config: Some(EndpointSettings {
            aliases: Some(vec!["other".to_owned()]),
            ..Default::default()
        }),
    };
    docker.connect_network("lan", connect).await?;
    let seen = docker
        .inspect_network(
            "lan",
            Some(InspectNetworkOptionsBuilder::default().verbose(true).build()),
        )
        .await?;
    ensure!(seen.id == Some(made.id) && seen.containers.is_some_and(|all| all.len() == 1));
    let listed = ListNetworksOptionsBuilder::default()
        .filters(&filters("label", "tier=back"))
        .build();
    ensure!(docker.list_networks(Some(listed)).await?.len() == 1);
    refused(docker.remove_network("lan").await, 403, "has active endpoints")?;
    let disconnect = NetworkDisconnectRequest {
        container: "box".to_owned(),
        force: Some(false),
    };
    docker.disconnect_network("lan", disconnect).await?;
    let prune = PruneNetworksOptionsBuilder::default()
        .filters(&filters("label", "tier=back"))
        .build();
    ensure!(docker.prune_networks(Some(prune)).await?.networks_deleted == Some(vec!["lan".to_owned()]));
    remove(docker, "box").await
}

pub(super) async fn volumes(docker: &Docker) -> Test {
    let request = VolumeCreateRequest {
        name: Some("data".to_owned()),
        ..Default::default()
    };
    let made = docker.create_volume(request).await?;
    ensure!(
        made.driver == "local" && made.mountpoint.ends_with("/data/_data"),
        "{made:?}"
    );
    let host = HostConfig {
        binds: Some(vec!["data:/data".to_owned()]),
        ..Default::default()
    };
    create(
        docker,
        "box",
        ContainerCreateBody {
            host_config: Some(host),
            ..shell("echo kept > /data/file")
        },
    )
    .await?;
    docker.start_container("box", None).await?;
    ensure!(wait(docker, "box").await? == 0);
    let plain = RemoveVolumeOptionsBuilder::default().build();
    refused(
        docker.remove_volume("data", Some(plain)).await,
        409,
        "volume is in use",
    )?;
    let listed = ListVolumesOptionsBuilder::default()
        .filters(&filters("name", "data"))
        .build();
    let listed = docker.list_volumes(Some(listed)).await?;
    ensure!(listed.volumes.is_some_and(|all| all.len() == 1));
    ensure!(docker.inspect_volume("data").await?.name == "data");
    // A stopped container's volume is looked into like any other place in it.
    let path = DownloadFromContainerOptionsBuilder::default()
        .path("/data/file")
        .build();
    let got = bytes(docker.download_from_container("box", Some(path))).await?;
    ensure!(String::from_utf8_lossy(&got).contains("kept\n"));
    remove(docker, "box").await?;
    let force = RemoveVolumeOptionsBuilder::default().force(true).build();
    docker.remove_volume("data", Some(force)).await?;
    refused(docker.inspect_volume("data").await, 404, "no such volume")?;
    let prune = PruneVolumesOptionsBuilder::default().build();
    ensure!(
        docker
            .prune_volumes(Some(prune))
            .await?
            .volumes_deleted
            .unwrap_or_default()
            .is_empty()
    );
    Ok(())
}

pub(super) async fn images(docker: &Docker) -> Test {
    let tag = TagImageOptionsBuilder::default().repo("other").tag("1").build();
    docker.tag_image("busybox", Some(tag)).await?;
    let view = docker.inspect_image("other:1").await?;
    ensure!(view.repo_tags.unwrap_or_default().contains(&"other:1".to_owned()) && view.config.is_some());
    let listed = docker
        .list_images(Some(
            ListImagesOptionsBuilder::default()
                .filters(&filters("reference", "other"))
                .build(),
        ))
        .await?;
    ensure!(listed.len() == 1, "{listed:?}");
    docker.image_history("busybox").await?;
    let gone = docker
        .remove_image(
            "other:1",
            Some(RemoveImageOptionsBuilder::default().build()),
            None,
        )
        .await?;
    ensure!(
        gone.iter().any(|one| one.untagged.as_deref() == Some("other:1")),
        "{gone:?}"
    );
    refused(
        docker.inspect_image("other:1").await,
        404,
        "No such image: other:1",
    )
}

pub(super) async fn waits(docker: &Docker) -> Test {
    create(docker, "box", shell("exit 5")).await?;
    let until = |condition: &str| {
        let options = WaitContainerOptionsBuilder::default()
            .condition(condition)
            .build();
        let (docker, mut codes) = (docker.clone(), Vec::new());
        tokio::spawn(async move {
            let mut answers = Box::pin(docker.wait_container("box", Some(options)));
            while let Some(answer) = answers.next().await {
                codes.push(match answer {
                    Ok(answer) => answer.status_code,
                    Err(Error::DockerContainerWaitError { code, .. }) => code,
                    Err(_) => -1,
                });
            }
            codes
        })
    };
    ensure!(until("not-running").await? == [0], "it doesn't run");
    let (gone, next) = (until("removed"), until("next-exit"));
    // One that has not begun yet misses an exit, and meets the one after.
    while !next.is_finished() {
        docker.start_container("box", None).await?;
        wait(docker, "box").await?;
    }
    ensure!(next.await? == [5]);
    ensure!(!gone.is_finished());
    remove(docker, "box").await?;
    ensure!(gone.await? == [5]);
    Ok(())
}

pub(super) async fn events(docker: &Docker) -> Test {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let mut wanted = filters("type", "container");
    wanted.extend(filters("label", "watched"));
    let options = EventsOptionsBuilder::default()
        .since(&now.to_string())
        .filters(&wanted)
        .build();
    let stream = docker.events(Some(options));
    let labels = Some(HashMap::from([("watched".to_owned(), String::new())]));
    create(
        docker,
        "seen",
        ContainerCreateBody {
            labels,
            ..shell("true")
        },
    )
    .await?;
    docker.start_container("seen", None).await?;
    wait(docker, "seen").await?;
    remove(docker, "seen").await?;
    let mut told = Vec::new();
    let mut stream = Box::pin(stream);
    while told.last().map(String::as_str) != Some("destroy") {
        let event: EventMessage = stream.next().await.context("an event")??;
        let actor = event
            .actor
            .context("an actor")?
            .attributes
            .context("attributes")?;
        ensure!(actor.get("name").map(String::as_str) == Some("seen"), "{actor:?}");
        told.push(event.action.context("an action")?);
    }
    ensure!(told == ["create", "start", "die", "destroy"], "{told:?}");
    Ok(())
}
