//! The store on real files: round trips, and a table of archives that must be refused with nothing changed.
//! Ownership, devices and overlay attributes need root, as the store itself does.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink},
    path::Path,
};

use model::Timestamp;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;

mod hostile;
mod saved;

/// An archive under construction; names are written raw, because hostile ones are wanted.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn member(mut self, name: &str, kind: EntryType, link: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        self.0.append(&header, content).expect("append");
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.member(name, EntryType::Regular, "", 0o644, content.as_bytes())
    }

    fn bytes(self, name: &str, content: &[u8]) -> Self {
        self.member(name, EntryType::Regular, "", 0o644, content)
    }

    fn folder(self, name: &str) -> Self {
        self.member(name, EntryType::Directory, "", 0o755, b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.member(name, EntryType::Symlink, target, 0o777, b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.member(name, EntryType::Link, target, 0o644, b"")
    }

    fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0
            .append_pax_extensions(records.iter().copied())
            .expect("pax");
        self
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().expect("an archive")
    }
}

fn store() -> (TempDir, Store) {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open(folder.path().join("images")).expect("a store");
    (folder, store)
}

fn asked(name: &str) -> Import {
    Import {
        reference: Some(name.parse().expect(name)),
        changes: vec!["CMD [\"sh\"]".into(), "ENV A=1".into()],
        message: "imported".into(),
        platform: None,
        created: Timestamp::from_unix_nanos(1_700_000_000_000_000_000),
    }
}

fn import(store: &Store, name: &str, archive: &[u8]) -> Image {
    let id = store.import(archive, &asked(name)).expect("import");
    store.get_by_id(id).expect("the image")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("gzip");
    encoder.finish().expect("gzip")
}

/// Every file of the store, to see that nothing has changed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.symlink_metadata().expect("metadata").is_dir() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn an_imported_archive_becomes_a_layer_with_owners_modes_times_and_links() {
    let (_folder, store) = store();
    let archive = Tar::new()
        .folder("./")
        .folder("./bin")
        .member("./bin/busybox", EntryType::Regular, "", 0o4755, b"program")
        .link("./bin/sh", "./bin/busybox")
        .symlink("./bin/ls", "/bin/busybox")
        .member("./run.fifo", EntryType::Fifo, "", 0o620, b"")
        .pax(&[
            ("mtime", b"1700000001.25"),
            ("SCHILY.xattr.user.note", b"kept"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/x"),
        ])
        .file("./etc/deep/file", "content")
        .done();
    for (kind, bytes) in [
        ("plain", archive.clone()),
        ("gzip", gzip(&archive)),
        ("zstd", zstd::encode_all(&archive[..], 1).expect("zstd")),
    ] {
        let image = import(&store, kind, &bytes);
        let root = image.layers[0].clone();
        let busybox = root.join("bin/busybox").metadata().expect("busybox");
        assert_eq!(
            (
                busybox.uid(),
                busybox.gid(),
                busybox.mode() & 0o7777,
                busybox.nlink()
            ),
            (12, 34, 0o4755, 2)
        );
        assert_eq!(root.join("bin").metadata().expect("bin").mtime(), 1_700_000_000);
        assert_eq!(
            fs::read_link(root.join("bin/ls")).expect("a link"),
            Path::new("/bin/busybox")
        );
        assert_eq!(root.join("bin/ls").symlink_metadata().expect("a link").uid(), 12);
        let fifo = root.join("run.fifo").metadata().expect("a fifo");
        assert!(fifo.file_type().is_fifo() && fifo.mode() & 0o7777 == 0o620);
        let file = root.join("etc/deep/file");
        assert_eq!(fs::read_to_string(&file).expect("a file"), "content");
        let metadata = file.metadata().expect("a file");
        assert_eq!(
            (metadata.mtime(), metadata.mtime_nsec()),
            (1_700_000_001, 250_000_000)
        );
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(&file, "user.note", &mut value).expect("the attribute");
        assert_eq!(&value[..length], b"kept");
        assert!(rustix::fs::getxattr(&file, "trusted.overlay.redirect", &mut value).is_err());
        assert_eq!(image.document.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(image.document.history[0].comment.as_deref(), Some("imported"));
        assert_eq!(image.size, 14);
    }
    let all = store.list();
    assert_eq!(all.len(), 1, "the same bytes are the same image");
    let tags: Vec<_> = all[0].tags.iter().map(Reference::familiar).collect();
    assert_eq!(tags, ["gzip:latest", "plain:latest", "zstd:latest"]);
}

#[test]
fn whiteouts_become_overlay_marks() {
    let (_folder, store) = store();
    let archive = Tar::new()
        .folder("etc")
        .file("etc/.wh.gone", "")
        .file("etc/.wh.back", "")
        .file("etc/back", "again")
        .file("etc/.wh.dir", "")
        .folder("etc/dir")
        .file("etc/here", "x")
        .file("etc/.wh.here", "")
        .file("var/.wh..wh..opq", "")
        .file("var/.wh..wh.plnk", "")
        .done();
    let root = import(&store, "w", &archive).layers[0].clone();
    let gone = root.join("etc/gone").symlink_metadata().expect("a mark");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(
        fs::read_to_string(root.join("etc/back")).expect("it is back"),
        "again"
    );
    assert_eq!(
        fs::read_to_string(root.join("etc/here")).expect("its own file stays"),
        "x"
    );
    let mut value = [0; 4];
    for folder in ["var", "etc/dir"] {
        let path = root.join(folder);
        assert_eq!(
            rustix::fs::getxattr(&path, "trusted.overlay.opaque", &mut value),
            Ok(1),
            "{folder}"
        );
    }
    assert!(!root.join("var/.wh..wh.plnk").exists());
}

#[test]
fn links_inside_the_root_are_followed_and_nothing_outside_is_touched() {
    let (folder, store) = store();
    let archive = Tar::new()
        .folder("usr/lib")
        .symlink("lib", "usr/lib")
        .file("lib/a", "a")
        .done();
    let root = import(&store, "merged", &archive).layers[0].clone();
    assert_eq!(
        fs::read_to_string(root.join("usr/lib/a")).expect("through the link"),
        "a"
    );

    let outside = folder.path().join("outside");
    fs::create_dir(&outside).expect("a folder");
    let target = outside.to_str().expect("text");
    let archive = Tar::new().symlink("x", target).file("x/planted", "bad").done();
    store.import(&archive[..], &asked("bad")).expect_err("refused");
    assert_eq!(fs::read_dir(&outside).expect("still there").count(), 0);
}

#[test]
fn images_are_found_by_name_id_and_unique_prefix() {
    let (_folder, store) = store();
    let ids: Vec<_> = (0..40)
        .map(|n| {
            import(
                &store,
                &format!("i{n}"),
                &Tar::new().file("n", &n.to_string()).done(),
            )
            .id
        })
        .collect();
    let id = ids[7];
    for name in [
        "i7",
        "i7:latest",
        "docker.io/library/i7",
        &id.to_string(),
        &id.hex(),
        &id.short(),
        &id.to_string()[..19],
    ] {
        assert_eq!(store.get(name).expect(name).id, id, "{name}");
    }
    let shared = ids.iter().map(Digest::hex).map(|hex| hex[..1].to_owned());
    let mut seen = std::collections::BTreeSet::new();
    let twice = shared
        .into_iter()
        .find(|first| !seen.insert(first.clone()))
        .expect("40 ids, 16 digits");
    assert!(matches!(store.get(&twice), Err(Error::Ambiguous(_))));
    for (name, text) in [
        ("none", "no such image: none:latest"),
        ("none:1", "no such image: none:1"),
        (&"0".repeat(64), &format!("no such image: {}", "0".repeat(64))),
    ] {
        assert_eq!(store.get(name).expect_err(name).to_string(), *text);
    }
    assert!(matches!(store.get("No!"), Err(Error::InvalidReference { .. })));
}

fn nobody(_: ImageId) -> Vec<User> {
    Vec::new()
}

#[test]
fn names_go_one_by_one_and_the_last_takes_the_image_along() {
    let (folder, store) = store();
    let empty = files(folder.path()).len();
    let image = import(&store, "a", &Tar::new().file("a", "a").done());
    store.tag("a", "b:2").expect("tag");
    assert!(matches!(
        store.remove(&image.id.short(), false, &nobody),
        Err(Error::Referenced { .. })
    ));
    let removed = store.remove("a", false, &nobody).expect("untag");
    assert_eq!(removed, [Removed::Untagged("a".parse().expect("a name"))]);
    let user = |running| {
        move |_| {
            vec![User {
                container: "web".into(),
                running,
            }]
        }
    };
    let error = store
        .remove("b:2", false, &user(false))
        .expect_err("in use")
        .to_string();
    assert!(
        error.contains("unable to remove \"b:2\" (must be forced): container web is using"),
        "{error}"
    );
    assert!(matches!(
        store.remove("b:2", true, &user(true)),
        Err(Error::InUse { running: true, .. })
    ));
    let removed = store.remove("b:2", true, &user(false)).expect("forced");
    assert_eq!(removed.len(), 1, "a stopped container keeps the image itself");
    let removed = store.remove(&image.id.short(), false, &nobody).expect("dangling");
    assert_eq!(
        removed,
        [
            Removed::Image(image.id),
            Removed::Layer(image.document.rootfs.diff_ids[0])
        ]
    );
    assert_eq!(
        files(folder.path()).len(),
        empty + 1,
        "nothing but the index is there"
    );
    assert!(matches!(
        store.remove("b:2", true, &nobody),
        Err(Error::NotFound(_))
    ));
}

#[test]
fn what_a_crash_leaves_is_swept_and_what_was_there_is_kept() {
    let (folder, store) = store();
    let root = folder.path().join("images");
    let image = import(&store, "a", &Tar::new().file("a", "a").done());
    let before = files(&root);
    assert!(
        matches!(Store::open(&root), Err(Error::Locked(_))),
        "one process at a time"
    );
    drop(store);
    let stray = Digest::of(b"stray").hex();
    fs::create_dir_all(root.join("tmp/7/layer0/diff")).expect("a half import");
    fs::write(root.join("tmp/9"), "x").expect("a half file");
    fs::create_dir_all(root.join("layers").join(&stray).join("diff")).expect("a layer without index");
    fs::write(root.join("layers").join(&stray).join("size"), "3").expect("its size");
    fs::write(root.join("images").join(format!("{stray}.json")), "{}").expect("an image without index");
    symlink("/", root.join("layers/link")).expect("a link");
    let store = Store::open(&root).expect("open again");
    fs::remove_file(root.join("layers/link")).unwrap_or_default();
    assert_eq!(files(&root), before);
    assert_eq!(store.get("a").expect("still there").id, image.id);
    drop(store);
    fs::write(root.join("images").join(format!("{}.json", image.id.hex())), "{}").expect("damage");
    let store = Store::open(&root).expect("open with damage");
    assert!(store.list().is_empty(), "a damaged image is left out");
}

#[test]
fn a_layers_files_are_put_aside_under_the_lock_and_removed_without_it() {
    let (folder, store) = store();
    let image = import(&store, "a", &Tar::new().file("a", "a").done());
    let mut state = store.state();
    state.images.remove(&image.id);
    let unused = store.collect(&mut state);
    assert_eq!(unused.layers, image.document.rootfs.diff_ids);
    assert!(!image.layers[0].exists(), "nobody finds it any more");
    let aside = || files(&folder.path().join("images/tmp"));
    assert!(
        aside().iter().any(|file| file.ends_with("diff/a")),
        "{:?}",
        aside()
    );
    drop(state);
    unused.discard();
    assert_eq!(aside(), [""; 0].map(PathBuf::from));
}

#[test]
fn what_a_failed_removal_left_is_not_in_the_way_of_the_same_layer() {
    let (folder, store) = store();
    let archive = Tar::new().file("a", "a").done();
    let left = folder
        .path()
        .join("images/layers")
        .join(Digest::of(&archive).hex());
    fs::create_dir_all(left.join("diff/half")).expect("a leftover");
    let image = import(&store, "a", &archive);
    assert_eq!(
        fs::read_to_string(image.layers[0].join("a")).expect("the file"),
        "a"
    );
    assert!(!image.layers[0].join("half").exists());
}

#[test]
fn what_can_not_be_read_at_start_is_an_error_and_not_swept_away() {
    let (folder, store) = store();
    let image = import(&store, "a", &Tar::new().file("a", "a").done());
    drop(store);
    let root = folder.path().join("images");
    let config = root.join("images").join(format!("{}.json", image.id.hex()));
    let size = image.layers[0].with_file_name("size");
    for file in [config, size] {
        let content = fs::read(&file).expect("the file");
        // Even for root a directory is no file to be read.
        fs::remove_file(&file).expect("removed");
        fs::create_dir(&file).expect("a directory");
        let error = Store::open(&root).expect_err("unreadable").to_string();
        assert_eq!(error, format!("reading {}", file.display()));
        fs::remove_dir(&file).expect("removed");
        fs::write(&file, content).expect("restored");
        assert!(Store::open(&root).expect("a store").get("a").is_ok());
    }
}
