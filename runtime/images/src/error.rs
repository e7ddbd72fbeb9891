//! What can go wrong, by what the caller does about it.

use std::{io, path::PathBuf};

use crate::{Digest, ImageId};

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on images failed. A refused archive or a failed operation has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text that is no image reference (a caller's mistake).
    #[error("invalid reference format: {text:?} {rule}")]
    InvalidReference {
        /// What was given.
        text: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// No image of this name or id.
    #[error("no such image: {0}")]
    NotFound(String),
    /// Several images' ids begin like this.
    #[error("image id prefix {0:?} is ambiguous: more digits are needed")]
    Ambiguous(String),
    /// By its id an image is removed only when one repository names it.
    #[error(
        "unable to delete {} (must be forced): image is referenced in multiple repositories",
        id.short()
    )]
    Referenced {
        /// The image.
        id: ImageId,
    },
    /// A container needs the image.
    #[error("unable to remove {name:?}{}: container {user} is using its image {}", if *.running { " (cannot be forced)" } else { " (must be forced)" }, id.short())]
    InUse {
        /// What was to be removed.
        name: String,
        /// The image.
        id: ImageId,
        /// The container.
        user: String,
        /// Whether it runs.
        running: bool,
    },
    /// A `--change` instruction that can't be followed.
    #[error("invalid change {line:?}: {reason}")]
    InvalidChange {
        /// The instruction as given.
        line: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The archive is not taken.
    #[error("the archive is refused: {0}")]
    Refused(#[from] Refusal),
    /// Another process has this store open.
    #[error("the image store {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The store's own files can't be read.
    #[error("the image store's file {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system refused something.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::Io {
            doing,
            source: source.into(),
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused(Refusal::Device { .. }) => {
                "make the archive without device nodes (\"tar --exclude=./dev/*\"): containers get a /dev of their own".to_owned()
            }
            Self::Refused(Refusal::TooManyEntries { .. } | Refusal::TooLarge { .. }) => {
                "no image in use comes near this bound: leave out what its containers do not need".to_owned()
            }
            Self::Refused(Refusal::NotAnImage) => {
                "an archive of a root file system is taken by \"import\", not by \"load\"".to_owned()
            }
            Self::InUse { running: true, .. } => "stop and remove the container first".to_owned(),
            _ => return None,
        })
    }
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No byte in it.
    #[error("it is empty")]
    Empty,
    /// It ends too early.
    #[error("it is truncated")]
    Truncated,
    /// Not tar, or not what it says to be compressed with.
    #[error("it is not a readable tar archive: {0}")]
    Malformed(String),
    /// Compressed with something we don't have.
    #[error("it is compressed with {0}; plain tar, gzip and zstd are understood")]
    Compression(&'static str),
    /// A path from `/`.
    #[error("member {path:?} has an absolute path")]
    Absolute {
        /// The member's path.
        path: String,
    },
    /// A path with `..`.
    #[error("member {path:?} has \"..\" in its path")]
    Parent {
        /// The member's path.
        path: String,
    },
    /// A path that leads out through a symbolic link.
    #[error("member {path:?} leads through a symbolic link out of the image or to nowhere")]
    Escape {
        /// The member's path.
        path: String,
    },
    /// A hard link to something outside.
    #[error("hard link {path:?} points out of the image, to {target:?}")]
    LinkOutside {
        /// The member's path.
        path: String,
        /// Where it points.
        target: String,
    },
    /// A hard link to nothing.
    #[error("hard link {path:?} points to {target:?}, which is no file before it in the archive")]
    LinkMissing {
        /// The member's path.
        path: String,
        /// Where it points.
        target: String,
    },
    /// A device node.
    #[error("member {path:?} is a device node")]
    Device {
        /// The member's path.
        path: String,
    },
    /// A kind of member or feature we don't take.
    #[error("member {path:?} {what}")]
    Unsupported {
        /// The member's path.
        path: String,
        /// What is not supported.
        what: &'static str,
    },
    /// A file where a directory is needed, or the other way round.
    #[error("member {path:?} is in conflict with an earlier one: {what}")]
    Conflict {
        /// The member's path.
        path: String,
        /// What is in the way.
        what: &'static str,
    },
    /// More members than allowed.
    #[error("it has more than {limit} members")]
    TooManyEntries {
        /// The bound.
        limit: u64,
    },
    /// More unpacked bytes than allowed.
    #[error("it unpacks to more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// A member's headers alone are absurdly large.
    #[error("a member's name or attributes are too large")]
    Headers,
    /// The names of all members are absurdly large.
    #[error("the names of its members are too large together")]
    Names,
    /// Content that is not what its digest says.
    #[error("{what} has the digest {found}, not {wanted}")]
    Digest {
        /// Which content.
        what: String,
        /// The digest it was named by.
        wanted: Digest,
        /// Its real digest.
        found: Digest,
    },
    /// A descriptor's size is wrong.
    #[error("{what} has {found} bytes, not {wanted}")]
    Size {
        /// Which content.
        what: String,
        /// The size it was described with.
        wanted: u64,
        /// Its real size.
        found: u64,
    },
    /// A member that is named and not there.
    #[error("member {0:?} is missing")]
    Missing(String),
    /// The manifest and the configuration disagree.
    #[error("its manifest lists {listed} layers and its configuration {configured}")]
    Layers {
        /// Layers in the manifest.
        listed: usize,
        /// Layers in the configuration.
        configured: usize,
    },
    /// A JSON document in it that can't be understood.
    #[error("its {name:?} can't be understood: {reason}")]
    Document {
        /// The member.
        name: String,
        /// Why.
        reason: String,
    },
    /// Neither `docker save` nor an OCI layout wrote it.
    #[error("it holds no image: neither \"manifest.json\" nor \"index.json\" is in it")]
    NotAnImage,
    /// Built for another kind of machine.
    #[error("no image in it is for {0}")]
    Platform(String),
}
