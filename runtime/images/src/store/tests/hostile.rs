//! Archives that must be refused with their reason and nothing changed.

use super::*;

fn cut(mut archive: Vec<u8>, to: usize) -> Vec<u8> {
    archive.truncate(to);
    archive
}

/// Incompressible enough that a cut of the compressed form is a cut of the data.
fn noise(length: u32) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// One sparse file without any data, in GNU's format.
fn holes(name: &str, size: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path(name).expect("a short name");
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    let gnu = header.as_gnu_mut().expect("a GNU header");
    gnu.realsize[..11].copy_from_slice(format!("{size:011o}").as_bytes());
    gnu.sparse[0].offset[..11].copy_from_slice(format!("{size:011o}").as_bytes());
    gnu.sparse[0].numbytes[..11].copy_from_slice(b"00000000000");
    header.set_cksum();
    [&header.as_bytes()[..], &[0; 1024]].concat()
}

// A table: its length is its worth.
#[allow(clippy::too_many_lines)]
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = || Tar::new().folder("bin").file("bin/sh", "content");
    let long = "n".repeat(90);
    let entry = |name: &str, kind, link: &str| good().member(name, kind, link, 0o644, b"").done();
    let noisy = Tar::new().bytes("noise", &noise(100_000)).done();
    let mut corrupt = good().done();
    corrupt[10] ^= 1;
    vec![
        ("nothing", Vec::new(), "it is empty"),
        (
            "no tar at all",
            b"hello, world. this is no archive".repeat(40),
            "not a readable tar",
        ),
        (
            "an xz archive",
            b"\xfd7zXZ\0and more".to_vec(),
            "compressed with xz",
        ),
        (
            "an absolute path",
            good().file("/etc/passwd", "x").done(),
            "absolute path",
        ),
        ("a parent path", good().file("../x", "x").done(), "\"..\""),
        (
            "a parent path inside",
            good().file("bin/../../x", "x").done(),
            "\"..\"",
        ),
        (
            "a file through a link to the root",
            good().symlink("l", "/").file("l/x", "x").done(),
            "symbolic link",
        ),
        (
            "a file through a link upwards",
            good().symlink("l", "../..").file("l/x", "x").done(),
            "symbolic link",
        ),
        (
            "a folder through a link",
            good().symlink("l", "/tmp").folder("l/x").done(),
            "symbolic link",
        ),
        (
            "a file through a chain of links",
            good()
                .symlink("a", "b")
                .symlink("b", "/etc")
                .file("a/x", "x")
                .done(),
            "symbolic link",
        ),
        (
            "a file through a link to nowhere",
            good().symlink("l", "none").file("l/x", "x").done(),
            "symbolic link",
        ),
        (
            "a file through a loop",
            good().symlink("l", "l").file("l/x", "x").done(),
            "symbolic link",
        ),
        (
            "a whiteout through a link",
            good().symlink("l", "/etc").file("l/.wh.passwd", "").done(),
            "symbolic link",
        ),
        (
            "an opaque mark through a link",
            good().symlink("l", "/etc").file("l/.wh..wh..opq", "").done(),
            "symbolic link",
        ),
        (
            "a hard link to an absolute path",
            entry("h", EntryType::Link, "/etc/passwd"),
            "points out of the image",
        ),
        (
            "a hard link upwards",
            entry("h", EntryType::Link, "../../etc/passwd"),
            "points out of the image",
        ),
        (
            "a hard link through a link",
            good().symlink("l", "/etc").link("h", "l/passwd").done(),
            "points out of the image",
        ),
        (
            "a hard link to nothing",
            entry("h", EntryType::Link, "bin/none"),
            "no file before it",
        ),
        (
            "a hard link to a folder",
            entry("h", EntryType::Link, "bin"),
            "no file before it",
        ),
        (
            "a character device",
            entry("dev/null", EntryType::Char, ""),
            "device node",
        ),
        (
            "a block device",
            entry("dev/sda", EntryType::Block, ""),
            "device node",
        ),
        (
            "an unknown kind",
            entry("odd", EntryType::new(b'V'), ""),
            "unknown kind",
        ),
        (
            "a whiteout of the parent",
            good().file("bin/.wh...", "").done(),
            "can't be",
        ),
        (
            "a file where a folder with content is",
            good().file("bin", "x").done(),
            "not empty",
        ),
        (
            "a file below a file",
            good().file("bin/sh/x", "x").done(),
            "no directory",
        ),
        (
            "the root as a file",
            Tar::new().file("./", "x").file(".", "x").done(),
            "the root is a directory",
        ),
        ("a corrupt header", corrupt, "not a readable tar"),
        ("cut in a header", cut(good().done(), 700), "truncated"),
        ("cut in a file", cut(noisy.clone(), 5000), "truncated"),
        ("cut between members", cut(good().done(), 512), "truncated"),
        ("a gzip cut short", cut(gzip(&noisy), 3000), "truncated"),
        (
            "a zstd cut short",
            cut(zstd::encode_all(&noisy[..], 1).expect("zstd"), 3000),
            "truncated",
        ),
        (
            "too many members",
            (0..60)
                .fold(Tar::new(), |tar, n| tar.file(&format!("{long}{n}"), ""))
                .done(),
            "more than 50 members",
        ),
        (
            "a bomb",
            gzip(&Tar::new().bytes("zeros", &vec![0; 3 << 20]).done()),
            "more than 2097152 bytes",
        ),
        (
            "a bomb behind the end",
            gzip(&[good().done(), vec![0; 3 << 20]].concat()),
            "more than 2097152 bytes",
        ),
        (
            "a bomb of a name",
            Tar::new()
                .member("x", EntryType::GNULongName, "", 0, &vec![b'a'; 3 << 19])
                .file("y", "")
                .done(),
            "too large",
        ),
        (
            "a path longer than any system call takes",
            good().pax(&[("path", &b"a/".repeat(2100))]).file("s", "").done(),
            "too large",
        ),
        (
            "names that fill the memory",
            (0..3)
                .fold(Tar::new(), |tar, n| {
                    let path = [&b"a/".repeat(1500)[..], &[b'0' + n]].concat();
                    tar.pax(&[("path", &path)]).file("s", "")
                })
                .done(),
            "too large together",
        ),
        (
            "a bomb of holes in a file",
            holes("file", 1 << 30),
            "more than 2097152 bytes",
        ),
        (
            "a bomb of holes in a whiteout, which nobody reads",
            holes(".wh.file", 1 << 30),
            "more than 2097152 bytes",
        ),
        (
            "a sparse map",
            good().pax(&[("GNU.sparse.major", b"1")]).file("s", "x").done(),
            "sparse",
        ),
        (
            "a size that lies",
            good().pax(&[("size", b"99999")]).file("s", "x").done(),
            "truncated",
        ),
    ]
}

#[test]
fn hostile_archives_are_refused_with_their_reason_and_nothing_changes() {
    let folder = TempDir::new().expect("a folder");
    let limits = Limits {
        entries: 50,
        bytes: 2 << 20,
    };
    let store = Store::open_with(folder.path().join("images"), limits).expect("a store");
    import(&store, "good", &Tar::new().file("a", "a").done());
    let before = files(folder.path());
    for (name, archive, reason) in hostile() {
        let error = store
            .import(&archive[..], &asked("bad"))
            .expect_err(name)
            .to_string();
        assert!(error.contains(reason), "{name}: {error}");
        assert_eq!(files(folder.path()), before, "{name} left something behind");
        assert!(store.load(&archive[..]).is_err(), "{name}: load");
        assert_eq!(
            files(folder.path()),
            before,
            "{name} left something behind after load"
        );
    }
    assert_eq!(store.list().len(), 1);
}
