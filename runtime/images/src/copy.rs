//! Files of an archive written into a container's root, as `docker cp` and its API have it: what is there is replaced
//! or merged, and no mark of layers means anything.

use std::{io::Read, os::fd::OwnedFd};

use crate::{
    Limits, Result,
    archive::{self, Budget, Kind, components},
    layer,
    pack::Owners,
    tree::Tree,
};

/// Where an archive goes, and how.
#[derive(Debug)]
pub struct Copy {
    /// The container's root.
    pub root: OwnedFd,
    /// The folder in it, which is there.
    pub folder: Vec<u8>,
    /// Who owns what is written; none for who the archive says.
    pub owner: Option<(u32, u32)>,
    /// Nothing but a directory may take the place of one, and the other way round.
    pub keep_kinds: bool,
}

/// Writes every member of the archive.
///
/// # Errors
/// For an archive that is refused: what came before the refused member stays written.
pub fn copy_in(input: impl Read, to: Copy) -> Result<()> {
    copy_in_as(input, to, &|uid, gid| (uid, gid))
}

/// The same, with other owners than the archive says or the caller.
///
/// # Errors
/// As [`copy_in`].
pub fn copy_in_as(input: impl Read, to: Copy, owners: Owners<'_>) -> Result<()> {
    let limits = Limits {
        bytes: u64::MAX,
        ..Limits::default()
    };
    let mut tree = Tree::inside(to.root, &to.folder)?;
    archive::walk(input, &Budget::new(limits), |member| {
        if let Some((uid, gid)) = to.owner {
            (member.attributes.uid, member.attributes.gid) = (uid, gid);
        }
        let attributes = &mut member.attributes;
        (attributes.uid, attributes.gid) = owners(attributes.uid, attributes.gid);
        let path = member.path.clone();
        let components = components(&path)?;
        if to.keep_kinds
            && let Some(place) = tree.place(&components)?
        {
            tree.keep_kind(&place, member.kind == Kind::Directory)?;
        }
        layer::put(&mut tree, member, &components)
    })?;
    tree.finish()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    fn archive(members: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(if *kind == tar::EntryType::Directory {
                0o755
            } else {
                0o644
            });
            // Only root may give files away.
            header.set_uid(rustix::process::getuid().as_raw().into());
            header.set_gid(rustix::process::getgid().as_raw().into());
            header.set_size(content.len() as u64);
            builder
                .append_data(&mut header, name, content.as_bytes())
                .expect("a member");
        }
        builder.into_inner().expect("an archive")
    }

    fn copy(root: &Path, folder: &str, keep_kinds: bool, bytes: &[u8]) -> Result<()> {
        let root = fs::File::open(root).expect("the root").into();
        let folder = folder.as_bytes().to_vec();
        copy_in(
            bytes,
            Copy {
                root,
                folder,
                owner: None,
                keep_kinds,
            },
        )
    }

    #[test]
    fn links_of_the_image_lead_nowhere_else() {
        let outside = tempfile::tempdir().expect("a folder");
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(root.path().join("data/real")).expect("folders");
        symlink("/data/real", root.path().join("absolute")).expect("a link");
        symlink(outside.path(), root.path().join("out")).expect("a link");
        symlink("../../../../data", root.path().join("data/up")).expect("a link");
        let file = tar::EntryType::Regular;
        copy(root.path(), "absolute", true, &archive(&[("a", file, "1")])).expect("a copy");
        copy(root.path(), "data/up/real", true, &archive(&[("b", file, "2")])).expect("a copy");
        copy(root.path(), "data", true, &archive(&[("up/real/c", file, "3")])).expect("a copy");
        for name in ["a", "b", "c"] {
            assert!(root.path().join("data/real").join(name).is_file(), "{name}");
        }
        assert!(copy(root.path(), "out", true, &archive(&[("x", file, "1")])).is_err());
        for bad in ["../x", "/x", "data/../../x"] {
            let mut bytes = archive(&[("placeholder", file, "1")]);
            bytes[..100].fill(0);
            bytes[..bad.len()].copy_from_slice(bad.as_bytes());
            let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
            header.set_cksum();
            bytes[..512].copy_from_slice(header.as_bytes());
            assert!(copy(root.path(), "data", true, &bytes).is_err(), "{bad}");
        }
        assert_eq!(fs::read_dir(outside.path()).expect("the folder").count(), 0);
    }

    #[test]
    fn a_directory_is_merged_and_nothing_else_takes_its_place() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(root.path().join("d")).expect("a folder");
        fs::write(root.path().join("d/old"), "old").expect("a file");
        let (file, folder) = (tar::EntryType::Regular, tar::EntryType::Directory);
        copy(
            root.path(),
            "",
            true,
            &archive(&[("d", folder, ""), ("d/new", file, "new")]),
        )
        .expect("a copy");
        assert!(root.path().join("d/old").is_file() && root.path().join("d/new").is_file());
        let refused = copy(root.path(), "", true, &archive(&[("d", file, "x")])).expect_err("a directory");
        assert!(
            refused.to_string().contains("cannot overwrite directory"),
            "{refused}"
        );
        assert!(copy(root.path(), "", true, &archive(&[("d/new", folder, "")])).is_err());
        copy(root.path(), "", false, &archive(&[("d/new", folder, "")])).expect("a file gives way");
    }
}
