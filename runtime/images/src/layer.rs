//! One layer archive becomes one directory that overlayfs takes as a lower layer.
//!
//! Archives mark removed names with files called `.wh.NAME` (OCI image specification, "Whiteouts"); overlayfs wants a
//! character device 0/0 in the name's place, and an attribute on a directory whose lower content is hidden.

use std::{io::Read, path::Path};

use crate::{
    Refusal, Result,
    archive::{self, Budget, Kind, Member, Stream, components},
    tree::Tree,
};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const RESERVED: &[u8] = b".wh..wh.";

/// A layer that was unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unpacked {
    pub(crate) stream: Stream,
    /// Bytes of its files.
    pub(crate) size: u64,
}

/// Unpacks the archive into `folder`, which is empty.
pub(crate) fn unpack(input: impl Read, folder: &Path, budget: &Budget) -> Result<Unpacked> {
    let mut tree = Tree::open(folder)?;
    let mut size = 0;
    let stream = archive::walk(input, budget, |member| {
        size += if member.kind == Kind::File { member.size } else { 0 };
        write(&mut tree, member)
    })?;
    tree.finish()?;
    Ok(Unpacked { stream, size })
}

/// Reads the archive to its end without writing anything.
pub(crate) fn digest(input: impl Read, budget: &Budget) -> Result<Stream> {
    archive::walk(input, budget, |_| Ok(()))
}

fn write(tree: &mut Tree, member: &mut Member<'_>) -> Result<()> {
    let path = member.path.clone();
    let components = components(&path)?;
    if let Some((name, folder)) = components.split_last()
        && name.starts_with(WHITEOUT)
    {
        return hide(tree, member, name, folder);
    }
    put(tree, member, &components)
}

/// Writes a member that is no whiteout.
pub(crate) fn put(tree: &mut Tree, member: &mut Member<'_>, components: &[&[u8]]) -> Result<()> {
    let Some(place) = tree.place(components)? else {
        return if member.kind == Kind::Directory {
            tree.dress_root(&member.attributes)
        } else {
            Err(Refusal::Conflict {
                path: member.shown(),
                what: "the root is a directory",
            }
            .into())
        };
    };
    let attributes = member.attributes.clone();
    match &member.kind {
        Kind::Directory => tree.directory(&place, &attributes),
        Kind::Symlink(target) => tree.symlink(&place, target, &attributes),
        Kind::HardLink(target) => tree.hard_link(&place, target),
        Kind::Fifo => tree.fifo(&place, &attributes),
        Kind::Device => Err(Refusal::Device { path: member.shown() }.into()),
        Kind::Other => Err(Refusal::Unsupported {
            path: member.shown(),
            what: "is of an unknown kind",
        }
        .into()),
        Kind::File => {
            let mut file = tree.file(&place, &attributes)?;
            member.copy(|piece| file.write(piece))?;
            file.finish()
        }
    }
}

fn hide(tree: &mut Tree, member: &Member<'_>, name: &[u8], folder: &[&[u8]]) -> Result<()> {
    if name == OPAQUE {
        return tree.opaque(folder);
    }
    if name.starts_with(RESERVED) {
        return Ok(()); // aufs kept its own records under such names; they mean nothing here
    }
    let hidden = &name[WHITEOUT.len()..];
    if matches!(hidden, b"" | b"." | b"..") {
        let what = "hides a name that can't be";
        return Err(Refusal::Unsupported {
            path: member.shown(),
            what,
        }
        .into());
    }
    let path: Vec<_> = folder.iter().copied().chain([hidden]).collect();
    match tree.place(&path)? {
        Some(place) => tree.whiteout(&place),
        None => Ok(()),
    }
}
