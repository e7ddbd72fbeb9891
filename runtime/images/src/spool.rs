//! The members of a saved-image archive, put aside as files until the manifest that names them is read.
//!
//! A manifest may come last, and its names are foreign: members are kept under numbers, and names only look them up.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{Read, Write as _},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::{
    Digest, Error, Refusal, Result,
    archive::{self, Budget, Kind, Member, lossy},
};

/// No manifest or configuration is larger.
const DOCUMENT_BOUND: u64 = 16 << 20;
/// Nor are all of one archive together, each counted as often as it is named: a short list of references to one
/// document must not become a long list of copies in memory.
const DOCUMENTS_BOUND: u64 = 64 << 20;
/// Links to links that are followed.
const LINKS: usize = 8;

/// The members, by normalised name.
pub(crate) struct Spool {
    members: BTreeMap<String, Spooled>,
    /// What documents may still take.
    documents: Cell<u64>,
}

enum Spooled {
    File(Blob),
    Link(String),
}

/// One member's content.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    path: PathBuf,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
}

impl Spool {
    /// Puts every file of the archive aside in `folder`.
    pub(crate) fn read(input: impl Read, folder: &Path, budget: &Budget) -> Result<Self> {
        let mut members = BTreeMap::new();
        archive::walk(input, budget, |member| {
            let name = normalise(&member.path)?;
            let spooled = match &member.kind {
                Kind::File => Spooled::File(store(member, &folder.join(members.len().to_string()))?),
                // Old versions of `docker save` link equal layers to each other.
                Kind::Symlink(target) => Spooled::Link(relative(&name, target)?),
                Kind::HardLink(target) => Spooled::Link(normalise(target)?),
                Kind::Directory => return Ok(()),
                Kind::Device => return Err(Refusal::Device { path: member.shown() }.into()),
                _ => {
                    let what = "is of a kind that no saved image has";
                    return Err(Refusal::Unsupported {
                        path: member.shown(),
                        what,
                    }
                    .into());
                }
            };
            if members.insert(name, spooled).is_some() {
                let what = "the name is taken";
                return Err(Refusal::Conflict {
                    path: member.shown(),
                    what,
                }
                .into());
            }
            Ok(())
        })?;
        Ok(Self {
            members,
            documents: Cell::new(DOCUMENTS_BOUND),
        })
    }

    /// The member of that name, links followed.
    pub(crate) fn find(&self, name: &str) -> Result<Option<&Blob>> {
        let mut wanted = normalise(name.as_bytes())?;
        for _ in 0..LINKS {
            match self.members.get(&wanted) {
                None => return Ok(None),
                Some(Spooled::File(blob)) => return Ok(Some(blob)),
                Some(Spooled::Link(target)) => wanted.clone_from(target),
            }
        }
        Err(Refusal::Escape {
            path: name.to_owned(),
        }
        .into())
    }

    /// The member of that name, which must be there.
    pub(crate) fn member(&self, name: &str) -> Result<&Blob> {
        Ok(self
            .find(name)?
            .ok_or_else(|| Refusal::Missing(name.to_owned()))?)
    }

    /// The blob of an OCI layout, checked against the digest and size it is named by.
    pub(crate) fn blob(&self, digest: Digest, size: Option<u64>) -> Result<&Blob> {
        let name = format!("blobs/sha256/{}", digest.hex());
        let blob = self.member(&name)?;
        blob.verify(&name, digest)?;
        if let Some(wanted) = size.filter(|size| *size != blob.size) {
            return Err(Refusal::Size {
                what: name,
                wanted,
                found: blob.size,
            }
            .into());
        }
        Ok(blob)
    }

    /// The whole content of a document.
    pub(crate) fn bytes(&self, document: &Blob, name: &str) -> Result<Vec<u8>> {
        let too_large = |reason: &str| Refusal::Document {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        if document.size > DOCUMENT_BOUND {
            return Err(too_large("it is too large").into());
        }
        let left = self.documents.get().checked_sub(document.size);
        let left = left.ok_or_else(|| too_large("the documents of the archive are too large together"))?;
        self.documents.set(left);
        let mut content = Vec::new();
        let reading = Error::io(format!("reading {}", document.path.display()));
        document
            .open()?
            .take(DOCUMENT_BOUND)
            .read_to_end(&mut content)
            .map_err(reading)?;
        Ok(content)
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self, document: &Blob, name: &str) -> Result<T> {
        parse(name, &self.bytes(document, name)?)
    }
}

impl Blob {
    pub(crate) fn open(&self) -> Result<File> {
        File::open(&self.path).map_err(Error::io(format!("opening {}", self.path.display())))
    }

    pub(crate) fn verify(&self, what: &str, wanted: Digest) -> Result<()> {
        if self.digest == wanted {
            return Ok(());
        }
        Err(Refusal::Digest {
            what: format!("member {what:?}"),
            wanted,
            found: self.digest,
        }
        .into())
    }
}

/// A JSON document of an archive.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, content: &[u8]) -> Result<T> {
    serde_json::from_slice(content).map_err(|error| {
        Refusal::Document {
            name: name.to_owned(),
            reason: error.to_string(),
        }
        .into()
    })
}

fn store(member: &mut Member<'_>, path: &Path) -> Result<Blob> {
    let writing = || Error::io(format!("writing {}", path.display()));
    let mut file = File::create_new(path).map_err(writing())?;
    let mut hasher = Sha256::new();
    member.copy(|piece| {
        hasher.update(piece);
        file.write_all(piece).map_err(writing())
    })?;
    Ok(Blob {
        path: path.to_owned(),
        size: member.size,
        digest: Digest::finish(hasher),
    })
}

fn normalise(name: &[u8]) -> Result<String, Refusal> {
    Ok(lossy(&archive::components(name)?.join(&b'/')))
}

/// Where a symbolic link points, without leaving the archive.
fn relative(link: &str, target: &[u8]) -> Result<String, Refusal> {
    let escape = || Refusal::Escape {
        path: link.to_owned(),
    };
    if target.starts_with(b"/") {
        return Err(escape());
    }
    let mut path: Vec<&str> = link.split('/').collect();
    path.pop();
    let target = String::from_utf8_lossy(target);
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part != ".." {
            path.push(part);
        } else if path.pop().is_none() {
            return Err(escape());
        }
    }
    Ok(path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_between_members_stay_in_the_archive() {
        assert_eq!(
            relative("a/layer.tar", b"../b/layer.tar").expect("inside"),
            "b/layer.tar"
        );
        for target in [&b"../../x"[..], b"/etc/passwd"] {
            assert!(relative("a/layer.tar", target).is_err(), "{}", lossy(target));
        }
    }
}
