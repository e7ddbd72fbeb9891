//! How much room a tree takes on the disk.

use std::{collections::HashSet, fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Bytes of the files below a folder, each file counted once however many names it has. What vanishes meanwhile counts
/// nothing; other file systems mounted inside are left out.
///
/// # Errors
/// When the folder itself can't be read.
pub fn bytes(folder: &Path) -> io::Result<u64> {
    let device = fs::symlink_metadata(folder)?.dev();
    let mut seen = HashSet::new();
    let mut total = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(facts) = entry.metadata() else {
                continue;
            };
            if facts.dev() != device {
                continue;
            }
            if facts.is_dir() {
                folders.push(entry.path());
            } else if facts.nlink() == 1 || seen.insert(facts.ino()) {
                total += facts.len();
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sub")).expect("a folder");
        fs::write(path("sub/a"), "12345").expect("a file");
        fs::hard_link(path("sub/a"), path("b")).expect("a link");
        fs::write(path("c"), "1").expect("a file");
        assert_eq!(bytes(folder.path()).expect("a sum"), 6);
        assert!(bytes(&path("none")).is_err());
    }
}
