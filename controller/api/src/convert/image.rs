//! Images: lists, `inspect`, history, and what removals and loads say.

use api_types as docker;
use engine::{Image, Loaded, Reference, Removed};
use model::Timestamp;

/// One row of a list. An image without a name has empty lists, which clients show as `<none>`.
pub(crate) fn summary(image: &Image, containers: i64) -> docker::ImageSummary {
    let labels = &image.document.config.labels;
    docker::ImageSummary {
        containers,
        created: image.document.created.map_or(0, Timestamp::unix_seconds),
        id: image.id.to_string(),
        labels: Some(labels.clone()).filter(|labels| !labels.is_empty()),
        parent_id: String::new(),
        repo_digests: digests(image),
        repo_tags: tags(image),
        shared_size: -1,
        size: size(image),
        ..docker::ImageSummary::default()
    }
}

fn tags(image: &Image) -> Vec<String> {
    image.tags.iter().map(Reference::familiar).collect()
}

fn digests(image: &Image) -> Vec<String> {
    image.digests.iter().map(Reference::familiar).collect()
}

fn size(image: &Image) -> i64 {
    i64::try_from(image.size).unwrap_or(i64::MAX)
}

/// Everything about one image.
pub(crate) fn inspect(image: &Image) -> docker::ImageInspect {
    let document = &image.document;
    // The image's defaults are spelled as a container's configuration is.
    let config = serde_json::to_value(&document.config)
        .ok()
        .and_then(|value| serde_json::from_value(value).ok());
    let time = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string()).unwrap_or_default();
    docker::ImageInspect {
        id: image.id.to_string(),
        repo_tags: tags(image),
        repo_digests: digests(image),
        comment: document.comment.clone().unwrap_or_default(),
        created: time(document.created),
        author: document.author.clone().unwrap_or_default(),
        config,
        architecture: document.architecture.clone(),
        variant: document.variant.clone().unwrap_or_default(),
        os: document.os.clone(),
        size: size(image),
        graph_driver: graph_driver(image),
        root_fs: docker::RootFs {
            r#type: "layers".to_owned(),
            layers: document.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
        },
        metadata: docker::ImageMetadata {
            last_tag_time: Timestamp::ZERO.to_string(),
        },
        ..docker::ImageInspect::default()
    }
}

fn graph_driver(image: &Image) -> docker::GraphDriver {
    let mut layers = image.layers.iter().map(|layer| layer.display().to_string());
    let mut data = docker::Map::new();
    if let Some(top) = layers.next() {
        data.insert("UpperDir".to_owned(), top);
    }
    let lower: Vec<_> = layers.collect();
    if !lower.is_empty() {
        data.insert("LowerDir".to_owned(), lower.join(":"));
    }
    docker::GraphDriver {
        data: Some(data),
        name: "overlay2".to_owned(),
    }
}

/// How an image came about, the newest step first. Sizes of single steps are not kept.
pub(crate) fn history(image: &Image) -> Vec<docker::HistoryItem> {
    let steps = image.document.history.iter().rev().enumerate();
    let item = |(at, step): (usize, &engine::HistoryEntry)| docker::HistoryItem {
        comment: step.comment.clone().unwrap_or_default(),
        created: step.created.map_or(0, Timestamp::unix_seconds),
        created_by: step.created_by.clone().unwrap_or_default(),
        id: if at == 0 {
            image.id.to_string()
        } else {
            "<missing>".to_owned()
        },
        size: 0,
        tags: Some(tags(image)).filter(|tags| at == 0 && !tags.is_empty()),
    };
    steps.map(item).collect()
}

/// What a removal took away.
pub(crate) fn removed(one: &Removed) -> docker::ImageDeleted {
    let (untagged, deleted) = match one {
        Removed::Untagged(reference) => (reference.familiar(), String::new()),
        Removed::Image(id) => (String::new(), id.to_string()),
        Removed::Layer(digest) => (String::new(), digest.to_string()),
    };
    docker::ImageDeleted { untagged, deleted }
}

/// What `docker load` prints.
pub(crate) fn loaded(image: &Loaded) -> Vec<docker::Progress> {
    let line = |text: String| docker::Progress {
        stream: text,
        ..docker::Progress::default()
    };
    if image.names.is_empty() {
        return vec![line(format!("Loaded image ID: {}\n", image.id))];
    }
    image
        .names
        .iter()
        .map(|name| line(format!("Loaded image: {}\n", name.familiar())))
        .collect()
}
