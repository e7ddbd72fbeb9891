//! Images: in by `load` and `import`, out by `rm`. Pulling comes later.

use std::sync::Arc;

use api_types::{ImageDeleted, ImageSummary, ImagesPruned, Progress};
use axum::{
    Extension, Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use engine::{Engine, Import, Reference};
use futures::stream;
use model::Timestamp;

use crate::{
    body::{BodyReader, ignore},
    convert::{filter, image as shown, time, versions},
    params::Params,
    status::{Answer, Refusal},
    stream::json_lines,
    version::ApiVersion,
};

pub(crate) async fn list(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    params: Params,
) -> Answer<Json<Vec<ImageSummary>>> {
    let filters = params.filters()?;
    filter::known(
        &filters,
        &["before", "dangling", "label", "reference", "since", "until"],
    )?;
    let images = engine.images.list().await?;
    let shows = |image: &engine::Image| {
        let labels = &image.document.config.labels;
        let dangling = filters.get("dangling").first();
        let named = !image.tags.is_empty();
        filters
            .get("label")
            .iter()
            .all(|text| filter::has_label(labels, text))
            && dangling.is_none_or(|text| matches!(text.as_str(), "true" | "1") != named)
            && (!filters.has("reference")
                || image
                    .tags
                    .iter()
                    .any(|tag| is_asked(filters.get("reference"), tag)))
    };
    let count = |image: &engine::Image| match params.flag("shared-size") {
        true => i64::try_from(engine.images.used_by(image.id)).unwrap_or(-1),
        false => -1,
    };
    // Only the tags that were asked for are shown.
    let narrowed = |mut image: engine::Image| {
        if filters.has("reference") {
            image.tags.retain(|tag| is_asked(filters.get("reference"), tag));
        }
        image
    };
    let shown = images.into_iter().filter(shows).map(narrowed);
    let row = |image: &engine::Image| versions::image_row(shown::summary(image, count(image)), version);
    Ok(Json(shown.map(|image| row(&image)).collect()))
}

/// `busybox` is every tag of it; a star stands for any text.
fn is_asked(patterns: &[String], tag: &Reference) -> bool {
    let (whole, repository) = (tag.familiar(), tag.familiar_repository());
    patterns
        .iter()
        .any(|pattern| like(pattern, &whole) || like(pattern, &repository))
}

fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| like(after, &rest[at..]))
        }),
    }
}

/// `POST /images/load`.
pub(crate) async fn load(State(engine): State<Arc<Engine>>, request: Request) -> Answer<Response> {
    let loaded = engine.images.load(BodyReader::new(request.into_body())).await?;
    Ok(json_lines(stream::iter(
        loaded.iter().flat_map(shown::loaded).collect::<Vec<_>>(),
    )))
}

/// `POST /images/create`: an import with `fromSrc`, a pull with `fromImage`.
pub(crate) async fn create(
    State(engine): State<Arc<Engine>>,
    params: Params,
    request: Request,
) -> Answer<Response> {
    match (params.text("fromSrc"), params.text("fromImage")) {
        (Some("-"), _) => import(&engine, &params, request).await,
        (Some(_), _) => Err(Refusal::not_implemented(
            "importing from a URL is not supported yet (hint: fetch it, and import the file)",
        )),
        (None, Some(image)) => {
            ignore(request.into_body()).await;
            Err(no_pull(image, params.text("tag")))
        }
        (None, None) => Err(Refusal::bad_request("either fromImage or fromSrc must be given")),
    }
}

fn no_pull(image: &str, tag: Option<&str>) -> Refusal {
    let separator = if tag.is_some_and(|tag| tag.contains(':')) {
        "@"
    } else {
        ":"
    };
    let name = tag.map_or_else(|| image.to_owned(), |tag| format!("{image}{separator}{tag}"));
    let name = name
        .parse::<Reference>()
        .map_or(name, |reference| reference.familiar());
    Refusal::not_implemented(format!(
        "pulling {name} is not possible: registries are not supported yet (hint: bring the image as a file: \"docker \
         save {name} > image.tar\" where it is and \"load -i image.tar\" here, or \"import rootfs.tar {name}\" for a \
         root file system)"
    ))
}

async fn import(engine: &Engine, params: &Params, request: Request) -> Answer<Response> {
    let name = params.text("repo").map(|repo| match params.text("tag") {
        Some(tag) => format!("{repo}:{tag}"),
        None => repo.to_owned(),
    });
    let reference = name.map(|name| {
        name.parse::<Reference>()
            .map_err(|error| Refusal::from(engine::Error::from(error)))
    });
    let message = params.text("message").unwrap_or("Imported from -").to_owned();
    let import = Import {
        reference: reference.transpose()?,
        changes: params.all("changes").to_vec(),
        message,
        platform: params.text("platform").map(str::to_owned),
        created: Timestamp::now(),
    };
    let id = engine
        .images
        .import(BodyReader::new(request.into_body()), import)
        .await?;
    Ok(json_lines(stream::iter([Progress {
        status: id.to_string(),
        ..Progress::default()
    }])))
}

/// `GET /images/NAME/json`, `/history`, `/get`.
pub(crate) async fn get(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(rest): Path<String>,
) -> Answer<Response> {
    match rest.rsplit_once('/') {
        Some((name, "json")) => {
            let image = shown::inspect(&engine.images.get(name).await?);
            Ok(Json(versions::image(&image, version)).into_response())
        }
        Some((name, "history")) => Ok(Json(shown::history(&engine.images.get(name).await?)).into_response()),
        Some((_, "get")) => Err(Refusal::not_implemented("saving images is not supported yet")),
        _ if rest == "get" => Err(Refusal::not_implemented("saving images is not supported yet")),
        _ if rest == "search" => Err(Refusal::not_implemented(
            "searching registries is not supported yet",
        )),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "page not found")),
    }
}

/// `POST /images/NAME/tag`, `/push`, and `/images/prune`.
pub(crate) async fn post(
    State(engine): State<Arc<Engine>>,
    Path(rest): Path<String>,
    params: Params,
) -> Answer<Response> {
    match rest.rsplit_once('/') {
        Some((name, "tag")) => {
            let repo = params
                .text("repo")
                .ok_or_else(|| Refusal::bad_request("no repository given"))?;
            let new = params
                .text("tag")
                .map_or_else(|| repo.to_owned(), |tag| format!("{repo}:{tag}"));
            engine.images.tag(name, &new).await?;
            Ok(StatusCode::CREATED.into_response())
        }
        Some((_, "push")) => Err(Refusal::not_implemented("pushing images is not supported yet")),
        _ if rest == "prune" => Ok(Json(prune(&engine, &params).await?).into_response()),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "page not found")),
    }
}

/// Removes images that no container uses: those without a name, or with `dangling=false` all of them.
async fn prune(engine: &Engine, params: &Params) -> Answer<ImagesPruned> {
    let filters = params.filters()?;
    filter::known(&filters, &["dangling", "label", "label!", "until"])?;
    let named_too = filters
        .get("dangling")
        .iter()
        .any(|text| matches!(text.as_str(), "false" | "0"));
    let until = filters
        .get("until")
        .first()
        .map_or(Ok(None), |text| time::parse(text, Timestamp::now()))?;
    let mut pruned = ImagesPruned::default();
    for image in engine.images.list().await? {
        let labels = &image.document.config.labels;
        let spared = engine.images.used_by(image.id) > 0
            || (!named_too && !image.tags.is_empty())
            || until.is_some_and(|until| image.document.created.is_some_and(|made| made > until))
            || !filters
                .get("label")
                .iter()
                .all(|text| filter::has_label(labels, text))
            || filters
                .get("label!")
                .iter()
                .any(|text| filter::has_label(labels, text));
        if spared {
            continue;
        }
        match engine.images.remove(&image.id.to_string(), true).await {
            Ok(removed) => {
                pruned
                    .images_deleted
                    .get_or_insert_default()
                    .extend(removed.iter().map(shown::removed));
                pruned.space_reclaimed += image.size;
            }
            Err(error) => {
                tracing::warn!(image = %image.id, error = %error, "pruning an image");
            }
        }
    }
    engine.tell_pruned(engine::Subject::Image, pruned.space_reclaimed);
    Ok(pruned)
}

pub(crate) async fn remove(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
    params: Params,
) -> Answer<Json<Vec<ImageDeleted>>> {
    let removed = engine.images.remove(&name, params.flag("force")).await?;
    Ok(Json(removed.iter().map(shown::removed).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, wanted) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox:1.37", true),
            ("*box:*", "busybox:1.37", true),
            ("box", "busybox", false),
        ] {
            assert_eq!(like(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pull_is_answered_with_what_to_do_instead() {
        let refusal = no_pull("busybox", Some("latest"));
        assert_eq!(refusal.status(), StatusCode::NOT_IMPLEMENTED);
        assert!(
            refusal.message().contains("docker save busybox:latest"),
            "{}",
            refusal.message()
        );
        assert!(
            no_pull("a", Some("sha256:1"))
                .message()
                .contains("pulling a@sha256:1")
        );
    }
}
