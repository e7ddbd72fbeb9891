//! `cnm cp`: files out of a container and into one. Which name goes where is decided in a pure function.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api_types::{GO_DIRECTORY, GO_SYMLINK, PathStat};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use http::Method;
use tokio_util::io::SyncIoBridge;

use super::{Context, path};
use crate::client::{Chunks, Client, Query, empty, upload};
use crate::error::{CommandError, Outcome};

const STAT: &str = "x-docker-container-path-stat";

/// Copy files between a container and the host
#[derive(Debug, Args)]
pub(crate) struct ContainerCp {
    /// The container's user owns what is copied in
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link at SOURCE leads to
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, a path of the host, or - for a tar archive on stdin
    #[arg(value_name = "SOURCE", allow_hyphen_values = true)]
    source: String,
    /// CONTAINER:PATH, a path of the host, or - for a tar archive on stdout
    #[arg(value_name = "TARGET", allow_hyphen_values = true)]
    target: String,
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side {
    Host(String),
    Container(String, String),
}

/// A colon divides container and path, unless it is plainly a path of the host.
fn side(text: &str) -> Side {
    match text.split_once(':') {
        Some((container, path)) if !text.starts_with(['/', '.']) && !container.is_empty() => {
            Side::Container(container.to_owned(), path.to_owned())
        }
        _ => Side::Host(text.to_owned()),
    }
}

/// What is at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Nothing,
    File,
    Folder,
}

/// Where members of an archive go: into this folder, the first part of their names replaced by this one; none for what
/// is in the folder itself.
#[derive(Debug, PartialEq, Eq)]
struct Landing {
    folder: PathBuf,
    name: Option<String>,
}

/// The rules of `docker cp`.
fn land(source: &str, is_folder: bool, target_path: &str, target: Target) -> Result<Landing, String> {
    let contents = source == "." || source.ends_with("/.");
    let path = PathBuf::from(target_path);
    let name = |text: &str| {
        let clean = text.trim_end_matches('/');
        Path::new(clean)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    match (target, is_folder) {
        (Target::File, true) => Err("cannot copy a directory to a file".to_owned()),
        (Target::Nothing, false) if target_path.ends_with('/') => {
            Err(format!("the target folder {target_path:?} is not there"))
        }
        (Target::Folder, true) if contents => Ok(Landing {
            folder: path,
            name: None,
        }),
        (Target::Folder, _) => Ok(Landing {
            folder: path,
            name: name(source),
        }),
        (Target::Nothing | Target::File, _) => {
            let target_name = name(target_path);
            let clean = PathBuf::from(target_path.trim_end_matches('/'));
            let parent = clean.parent().filter(|parent| !parent.as_os_str().is_empty());
            Ok(Landing {
                folder: parent.unwrap_or(Path::new(".")).to_owned(),
                name: target_name,
            })
        }
    }
}

impl ContainerCp {
    /// Copies.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        match (side(&self.source), side(&self.target)) {
            (Side::Container(container, from), Side::Host(to)) => {
                self.out(client, &container, &from, &to).await?;
            }
            (Side::Host(from), Side::Container(container, to)) => {
                self.put(client, &from, &container, &to).await?;
            }
            (Side::Container(..), Side::Container(..)) => {
                return Err(CommandError::new("copying between containers is not supported")
                    .hint("copy to the host first, or pipe: cnm cp A:PATH - | cnm cp - B:PATH"));
            }
            (Side::Host(_), Side::Host(_)) => {
                return Err(CommandError::new("must specify at least one container source"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn out(&self, client: &Client, container: &str, from: &str, to: &str) -> Result<(), CommandError> {
        let mut from = from.to_owned();
        if self.follow_link {
            let stat = stat(client, container, &from).await?;
            if let Some(stat) = stat.filter(|stat| stat.mode & GO_SYMLINK != 0) {
                from = stat.link_target;
            }
        }
        let archive = path("containers", container, "/archive");
        let query = Query::new().with("path", &from);
        let answer = client.stream(Method::GET, &archive, query, empty(), None).await?;
        let stat = decode(answer.headers()).unwrap_or_default();
        let mut chunks = Chunks::new(answer);
        if to == "-" {
            let mut stdout = io::stdout().lock();
            while let Some(chunk) = chunks.next().await? {
                io::Write::write_all(&mut stdout, &chunk).map_err(|error| failed("writing", to, &error))?;
            }
            return Ok(());
        }
        let target = match fs::metadata(to) {
            Ok(facts) if facts.is_dir() => Target::Folder,
            Ok(_) => Target::File,
            Err(_) => Target::Nothing,
        };
        let source = if self.follow_link { &self.source } else { &from };
        let source = source.rsplit(':').next().unwrap_or(source);
        let landing = land(source, stat.mode & GO_DIRECTORY != 0, to, target).map_err(CommandError::new)?;
        let (writer, reader) = tokio::io::duplex(256 << 10);
        let unpacking = tokio::task::spawn_blocking(move || unpack(SyncIoBridge::new(reader), &landing));
        let mut writer = writer;
        while let Some(chunk) = chunks.next().await? {
            if tokio::io::AsyncWriteExt::write_all(&mut writer, &chunk)
                .await
                .is_err()
            {
                break; // the other side says why
            }
        }
        drop(writer);
        let unpacked = unpacking
            .await
            .map_err(|error| CommandError::new(error.to_string()))?;
        unpacked.map_err(|error| failed("writing", to, &error))?;
        self.say(container, &from, to);
        Ok(())
    }

    async fn put(&self, client: &Client, from: &str, container: &str, to: &str) -> Result<(), CommandError> {
        let stat = match stat(client, container, to).await? {
            Some(link) if link.mode & GO_SYMLINK != 0 => stat(client, container, &link.link_target).await?,
            other => other,
        };
        let target = match stat {
            Some(stat) if stat.mode & GO_DIRECTORY != 0 => Target::Folder,
            Some(_) => Target::File,
            None => Target::Nothing,
        };
        let archive = path("containers", container, "/archive");
        let flag = |on: bool| if on { "true" } else { "false" };
        let query = Query::new()
            .with("noOverwriteDirNonDir", "true")
            .with("copyUIDGID", flag(self.archive));
        if from == "-" {
            if target != Target::Folder {
                return Err(CommandError::new(format!(
                    "the target \"{container}:{to}\" must be a directory"
                )));
            }
            let query = query.with("path", to);
            client
                .stream(Method::PUT, &archive, query, upload::stdin(), Some(upload::TAR))
                .await?;
            return Ok(());
        }
        let facts = if self.follow_link {
            fs::metadata(from)
        } else {
            fs::symlink_metadata(from)
        };
        let facts = facts.map_err(|error| failed("reading", from, &error))?;
        let landing = land(from, facts.is_dir(), to, target).map_err(CommandError::new)?;
        let folder = match landing.folder.to_string_lossy().as_ref() {
            "." => "/".to_owned(),
            folder => folder.to_owned(),
        };
        let (writer, reader) = tokio::io::duplex(256 << 10);
        let (source, follow) = (from.to_owned(), self.follow_link);
        let packing =
            tokio::task::spawn_blocking(move || pack(&source, &landing, follow, SyncIoBridge::new(writer)));
        let query = query.with("path", &folder);
        let sent = client
            .stream(
                Method::PUT,
                &archive,
                query,
                upload::body(reader),
                Some(upload::TAR),
            )
            .await;
        let packed = packing
            .await
            .map_err(|error| CommandError::new(error.to_string()))?;
        sent?;
        packed.map_err(|error| failed("reading", from, &error))?;
        self.say(container, to, from);
        Ok(())
    }

    fn say(&self, container: &str, inside: &str, outside: &str) {
        if !self.quiet && rustix::termios::isatty(io::stderr()) {
            super::warn(&format!("copied {outside} and {container}:{inside}"));
        }
    }
}

fn failed(doing: &str, what: &str, error: &dyn std::fmt::Display) -> CommandError {
    CommandError::new(format!("{doing} {what:?}: {error}"))
}

/// What is at a path of a container; nothing when nothing is.
async fn stat(client: &Client, container: &str, at: &str) -> Result<Option<PathStat>, CommandError> {
    let query = Query::new().with("path", at);
    let archive = path("containers", container, "/archive");
    match client.stream(Method::HEAD, &archive, query, empty(), None).await {
        Ok(answer) => Ok(decode(answer.headers())),
        Err(error)
            if error
                .refusal()
                .is_some_and(|(status, _)| status == http::StatusCode::NOT_FOUND) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn decode(headers: &http::HeaderMap) -> Option<PathStat> {
    let bytes = STANDARD.decode(headers.get(STAT)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The library refuses members that lead out of the folder.
fn unpack(input: impl Read, landing: &Landing) -> io::Result<()> {
    let mut archive = tar::Archive::new(input);
    archive.set_preserve_permissions(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let mut parts = path
            .components()
            .filter(|part| !matches!(part, std::path::Component::CurDir));
        let below: PathBuf = match &landing.name {
            None => parts.collect(),
            Some(name) => {
                // Contents of a folder have no first part to be replaced.
                if !path.starts_with(".") {
                    parts.next();
                }
                std::iter::once(Path::new(name))
                    .chain(parts.map(|part| Path::new(part.as_os_str())))
                    .collect()
            }
        };
        if below
            .components()
            .any(|part| matches!(part, std::path::Component::ParentDir))
        {
            return Err(io::Error::other(format!("the archive has a member {path:?}")));
        }
        let below = if below.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            below
        };
        let target = landing.folder.join(below);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        if entry.header().entry_type() == tar::EntryType::Link
            && let Some(link) = entry.link_name()?
        {
            // Both have the same first part.
            let first = path
                .components()
                .next()
                .map(|part| PathBuf::from(part.as_os_str()))
                .unwrap_or_default();
            let rest = link.strip_prefix(&first).unwrap_or(&link).to_owned();
            let base = landing
                .name
                .as_ref()
                .map_or_else(|| landing.folder.clone(), |name| landing.folder.join(name));
            fs::hard_link(base.join(rest), &target)?;
            continue;
        }
        entry.unpack(&target)?;
    }
    Ok(())
}

fn pack(source: &str, landing: &Landing, follow: bool, output: impl io::Write) -> io::Result<()> {
    let mut builder = tar::Builder::new(output);
    builder.follow_symlinks(false);
    let real = if follow {
        fs::canonicalize(source)?
    } else {
        PathBuf::from(source)
    };
    let name = landing.name.clone().unwrap_or_else(|| ".".to_owned());
    if fs::symlink_metadata(&real)?.is_dir() {
        builder.append_dir_all(&name, &real)?;
    } else {
        builder.append_path_with_name(&real, &name)?;
    }
    builder.into_inner().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_names_a_container_unless_it_is_plainly_a_path() {
        let container = |name: &str, path: &str| Side::Container(name.to_owned(), path.to_owned());
        for (text, wanted) in [
            ("web:/etc", container("web", "/etc")),
            ("web:", container("web", "")),
            ("./web:/etc", Side::Host("./web:/etc".to_owned())),
            ("/tmp/a:b", Side::Host("/tmp/a:b".to_owned())),
            ("-", Side::Host("-".to_owned())),
        ] {
            assert_eq!(side(text), wanted, "{text}");
        }
    }

    #[test]
    fn names_land_as_docker_lands_them() {
        use Target::{File, Folder, Nothing};
        let at = |folder: &str, name: Option<&str>| {
            Ok(Landing {
                folder: folder.into(),
                name: name.map(str::to_owned),
            })
        };
        for (source, is_folder, path, target, wanted) in [
            ("/a/file", false, "/x", Folder, at("/x", Some("file"))),
            ("/a/file", false, "/x/new", Nothing, at("/x", Some("new"))),
            ("/a/file", false, "/x/old", File, at("/x", Some("old"))),
            ("/a/dir", true, "/x", Folder, at("/x", Some("dir"))),
            ("/a/dir", true, "/x/new", Nothing, at("/x", Some("new"))),
            ("/a/dir/.", true, "/x", Folder, at("/x", None)),
            ("/a/dir/.", true, "/x/new", Nothing, at("/x", Some("new"))),
            ("/a/dir/", true, "new", Nothing, at(".", Some("new"))),
        ] {
            assert_eq!(land(source, is_folder, path, target), wanted, "{source} {path}");
        }
        assert!(land("/a/dir", true, "/x/old", File).is_err());
        assert!(land("/a/file", false, "/x/new/", Nothing).is_err());
    }
}
