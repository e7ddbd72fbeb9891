use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

struct Place {
    root: tempfile::TempDir,
    folder: Folder,
}

fn place() -> Place {
    let root = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(root.path().join("volume"));
    folder.make().expect("a volume");
    Place { root, folder }
}

impl Place {
    /// An image's root with something at `/srv/www`, which `/www` leads to.
    fn image(&self) -> PathBuf {
        let image = self.root.path().join("image");
        fs::create_dir_all(image.join("srv/www/deep")).expect("folders");
        fs::write(image.join("srv/www/index"), "hello").expect("a file");
        fs::hard_link(image.join("srv/www/index"), image.join("srv/www/deep/again")).expect("a link");
        symlink("/etc/shadow", image.join("srv/www/link")).expect("a link");
        symlink("/srv/www", image.join("www")).expect("a link");
        fs::set_permissions(image.join("srv/www"), fs::Permissions::from_mode(0o1771)).expect("a mode");
        fs::set_permissions(image.join("srv/www/index"), fs::Permissions::from_mode(0o4750)).expect("a mode");
        image
    }
}

#[test]
fn an_empty_volume_is_filled_with_everything_as_it_was() {
    let place = place();
    let image = place.image();
    assert!(place.folder.fill(&image, Path::new("/www")).expect("filled"));
    let data = place.folder.data();
    let facts = |path: &str| fs::symlink_metadata(data.join(path)).expect(path);
    assert_eq!(facts("").mode() & 0o7777, 0o1771, "the folder's own mode");
    assert_eq!(facts("index").mode() & 0o7777, 0o4750);
    assert_eq!(
        (facts("index").ino(), facts("index").nlink()),
        (facts("deep/again").ino(), 2)
    );
    assert_eq!(
        fs::read_link(data.join("link")).expect("a link"),
        Path::new("/etc/shadow")
    );
    let original = fs::metadata(image.join("srv/www/index")).expect("there");
    assert_eq!(
        (facts("index").mtime_nsec(), facts("index").len()),
        (original.mtime_nsec(), 5)
    );
    assert!(
        !place.folder.fill(&image, Path::new("/www")).expect("not again"),
        "it is not empty"
    );
    assert!(!place.folder.undo_fill(false).expect("nothing to undo"));
}

#[test]
fn what_the_image_does_not_have_fills_nothing_and_a_file_is_refused() {
    let place = place();
    let image = place.image();
    assert!(
        !place
            .folder
            .fill(&image, Path::new("/none"))
            .expect("nothing there")
    );
    assert!(place.folder.fill(&image, Path::new("/srv/www/index")).is_err());
    assert!(place.folder.is_empty().expect("readable"));
}

#[test]
fn a_crash_while_it_is_filled_leaves_an_empty_volume() {
    let place = place();
    fs::write(place.folder.mark(), "").expect("the mark");
    fs::create_dir(place.folder.data().join("half")).expect("half");
    fs::write(place.folder.data().join("half/file"), "x").expect("half");
    assert!(place.folder.undo_fill(false).expect("undone"));
    assert!(place.folder.is_empty().expect("readable"));
}

#[test]
fn what_was_used_since_such_a_crash_stays() {
    let place = place();
    fs::write(place.folder.mark(), "").expect("the mark");
    fs::write(place.folder.data().join("file"), "x").expect("a file");
    assert!(!place.folder.undo_fill(true).expect("kept"));
    assert!(!place.folder.undo_fill(false).expect("the mark is gone"));
    assert!(!place.folder.is_empty().expect("readable"));
}

#[test]
fn it_is_made_and_removed_again_and_again() {
    let place = place();
    place.folder.make().expect("there already");
    fs::write(place.folder.data().join("file"), "x").expect("a file");
    place.folder.remove().expect("removed");
    place.folder.remove().expect("gone already");
    assert!(!place.folder.data().exists());
}

#[test]
fn a_mount_point_in_it_is_seen_before_anything_is_removed() {
    assert!(mounted_below(Path::new("/proc")).expect("the table").is_some());
    assert_eq!(mounted_below(place().root.path()).expect("the table"), None);
}
