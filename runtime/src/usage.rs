//! How much a folder takes up on the disk.

use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Bytes of the files in a folder and below it; a file with several names counts once, and what is mounted in the folder
/// not at all.
///
/// # Errors
/// When the folder can't be read. What goes meanwhile is passed over.
pub fn bytes(folder: &Path) -> io::Result<u64> {
    let device = fs::symlink_metadata(folder)?.dev();
    let mut seen = BTreeSet::new();
    below(folder, device, &mut seen)
}

fn below(folder: &Path, device: u64, seen: &mut BTreeSet<u64>) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)?.flatten() {
        let Ok(facts) = entry.metadata() else { continue };
        if facts.dev() != device {
            continue;
        }
        if facts.is_dir() {
            total += below(&entry.path(), device, seen).unwrap_or_default();
        } else if facts.nlink() == 1 || seen.insert(facts.ino()) {
            total += facts.len();
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/a"), "12345").unwrap();
        fs::hard_link(dir.path().join("d/a"), dir.path().join("b")).unwrap();
        assert_eq!(bytes(dir.path()).unwrap(), 5);
        assert!(bytes(&dir.path().join("none")).is_err());
    }
}
