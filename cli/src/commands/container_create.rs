//! `cnm create`, and the part of `cnm run` that is the same: make a container, pulling its image if need be.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use api_types::{Create, Created, Progress};
use clap::Args;
use http::Method;

use super::container_options::{ContainerOptions, Pull};
use super::container_request::{Attached, Surroundings, request};
use super::{Context, exit_status, say, warn};
use crate::client::{Client, ClientError, JsonLines, Query, empty};
use crate::error::{CommandError, Outcome};
use crate::options::reference;

/// Create a container, but don't start it
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ContainerCreate {
    #[command(flatten)]
    options: ContainerOptions,
}

impl ContainerCreate {
    /// Creates it and prints its id.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let attached = Attached::of(&self.options);
        let request = request(&self.options, attached, &Surroundings::ours())
            .map_err(|message| CommandError::new(message).status(exit_status::DAEMON))?;
        let id = create(context.client()?, &self.options, &request).await?;
        say(&id)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Creates a container and gives its id. Failures have the exit status of the daemon's.
pub(crate) async fn create(
    client: &Client,
    options: &ContainerOptions,
    request: &Create,
) -> Result<String, CommandError> {
    let id_file = options
        .cidfile
        .as_deref()
        .map(IdFile::reserve)
        .transpose()
        .map_err(daemons)?;
    if options.pull == Pull::Always {
        pull(client, &request.config.image, options.quiet).await?;
    }
    let created = match ask(client, options, request).await {
        Err(error) if is_missing_image(&error) && options.pull == Pull::Missing => {
            let image = reference::with_tag(&request.config.image);
            warn(&format!("Unable to find image '{image}' locally"));
            pull(client, &request.config.image, options.quiet).await?;
            ask(client, options, request).await
        }
        other => other,
    };
    let created = created.map_err(|error| {
        let missing = is_missing_image(&error);
        let error = daemons(error.into());
        if missing {
            error.or_hint(how_to_get(&request.config.image))
        } else {
            error
        }
    })?;
    for warning in &created.warnings {
        warn(&format!("WARNING: {warning}"));
    }
    if let Some(file) = id_file {
        file.write(&created.id).map_err(daemons)?;
    }
    Ok(created.id)
}

async fn ask(client: &Client, options: &ContainerOptions, request: &Create) -> Result<Created, ClientError> {
    let query = Query::new().with_some("name", options.name.as_deref());
    client.post("/containers/create", query, request).await
}

fn daemons(error: CommandError) -> CommandError {
    error.status(exit_status::DAEMON).prefixed()
}

fn is_missing_image(error: &ClientError) -> bool {
    let said = error
        .refusal()
        .map(|(_, message)| message.to_ascii_lowercase())
        .unwrap_or_default();
    error.is_not_found() && said.contains("no such image")
}

fn how_to_get(image: &str) -> String {
    let image = reference::with_tag(image);
    format!("bring the image yourself: cnm import rootfs.tar {image}, or cnm load -i archive.tar")
}

/// Asks the daemon to pull, showing its messages.
async fn pull(client: &Client, image: &str, quiet: bool) -> Result<(), CommandError> {
    let explain = |error: ClientError| daemons(error.into()).or_hint(how_to_get(image));
    let tagged = reference::with_tag(image);
    let (repository, tag) = reference::split(&tagged);
    let query = Query::new().with("fromImage", repository).with("tag", tag);
    let response = client
        .stream(Method::POST, "/images/create", query, empty(), None)
        .await
        .map_err(explain)?;
    let mut messages = JsonLines::new(response);
    while let Some(progress) = messages.next::<Progress>().await.map_err(explain)? {
        if !progress.error.is_empty() {
            return Err(explain(ClientError::Task(progress.error)));
        }
        if !quiet && !progress.status.is_empty() {
            let about = if progress.id.is_empty() {
                String::new()
            } else {
                format!("{}: ", progress.id)
            };
            warn(&format!("{about}{}", progress.status));
        }
    }
    Ok(())
}

/// The file an id is written to; made before the container, so that an id is never lost.
struct IdFile<'p> {
    path: &'p Path,
    file: std::fs::File,
    written: bool,
}

impl<'p> IdFile<'p> {
    fn reserve(path: &'p Path) -> Result<Self, CommandError> {
        let opened = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path);
        let file = opened.map_err(|error| {
            let path = path.display();
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => CommandError::new(format!(
                    "container ID file found, make sure the other container isn't running or delete {path}"
                )),
                _ => CommandError::new(format!("failed to create the container ID file {path}: {error}")),
            }
        })?;
        Ok(Self {
            path,
            file,
            written: false,
        })
    }

    fn write(mut self, id: &str) -> Result<(), CommandError> {
        self.file.write_all(id.as_bytes())?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            // Nothing was created; the reserved name is given back.
            let _ = std::fs::remove_file(self.path);
        }
    }
}
