use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_symlink_out_of_the_root_leads_back_into_it() {
    let outside = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/real"), "inside").unwrap();
    symlink("/etc/real", root.path().join("etc/passwd")).unwrap();
    symlink(outside.path(), root.path().join("escape")).unwrap();

    assert_eq!(
        read_file(root.path(), Path::new("etc/passwd"))
            .unwrap()
            .as_deref(),
        Some("inside")
    );
    assert_eq!(read_file(root.path(), Path::new("etc/group")).unwrap(), None);
    assert_eq!(read_file(root.path(), Path::new("etc")).unwrap(), None);

    assert!(make_dir(root.path(), Path::new("/escape/new")).is_err());
    assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
}

#[test]
fn a_directory_is_made_with_its_parents_once() {
    let root = tempfile::tempdir().unwrap();
    for path in ["/a/b/c", "/a/b/c", "/", "/a/../d"] {
        make_dir(root.path(), Path::new(path)).unwrap();
    }
    assert!(root.path().join("a/b/c").is_dir() && root.path().join("d").is_dir());
    fs::write(root.path().join("file"), "").unwrap();
    assert!(make_dir(root.path(), Path::new("/file/x")).is_err());
}

#[test]
fn too_many_layers_are_refused_with_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let layers = vec![PathBuf::from("/"); MOST_LAYERS + 1];
    let error = mount(&layers, dir.path()).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("501 layers"), "{reason}");
}

#[test]
fn layers_are_stacked_and_what_is_written_goes_to_the_top() {
    if !may_mount() {
        assert!(
            std::env::var_os("CNM_TEST_REQUIRE").is_none(),
            "mounting needs root"
        );
        eprintln!("skipped: mounting needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let layer = |name: &str, file: &str| {
        let layer = dir.path().join(name);
        fs::create_dir(&layer).unwrap();
        fs::write(layer.join(file), name).unwrap();
        fs::write(layer.join("both"), name).unwrap();
        layer
    };
    let layers = [layer("top:most", "a"), layer("bottom", "b")];
    let own = dir.path().join("container");
    let root = mount(&layers, &own).unwrap();
    assert_eq!(
        mount(&layers, &own).unwrap(),
        root,
        "mounting again changes nothing"
    );
    assert_eq!(fs::read_to_string(root.join("both")).unwrap(), "top:most");
    assert_eq!(fs::read_to_string(root.join("b")).unwrap(), "bottom");
    fs::write(root.join("b"), "changed").unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("bottom/b")).unwrap(), "bottom");
    unmount(&own).unwrap();
    unmount(&own).unwrap();
    assert_eq!(fs::read_to_string(own.join("upper/b")).unwrap(), "changed");
    assert!(fs::read_dir(&root).unwrap().next().is_none());

    let root = mount(&[], &own).unwrap();
    assert_eq!(
        fs::read_to_string(root.join("b")).unwrap(),
        "changed",
        "no layers at all is a root too"
    );
    unmount(&own).unwrap();
}

fn may_mount() -> bool {
    rustix::process::geteuid().is_root()
}
