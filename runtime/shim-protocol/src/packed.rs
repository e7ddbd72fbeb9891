//! The names of a log's files: the one that is written to, those that were turned (`.1` is the youngest), and packed
//! ones (`.1.gz`).
//!
//! A packed file says in its comment which file it was, so that a reader who has had that knows these lines.

use std::path::{Path, PathBuf};

/// In front of the number in the comment.
const WAS: &str = "was inode ";

/// The file that was turned so often; 0 is the one that is written to.
pub fn file(log: &Path, age: u32, packed: bool) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    if age > 0 {
        name.push(format!(".{age}"));
    }
    if packed {
        name.push(".gz");
    }
    name.into()
}

/// What stands behind the log's name tells how often a file was turned, and whether it is packed.
pub fn age(rest: &[u8]) -> Option<(u32, bool)> {
    if rest.is_empty() {
        return Some((0, false));
    }
    let text = std::str::from_utf8(rest).ok()?.strip_prefix('.')?;
    let (digits, packed) = text
        .strip_suffix(".gz")
        .map_or((text, false), |text| (text, true));
    let age: u32 = digits.parse().ok()?;
    (age > 0 && age.to_string() == digits).then_some((age, packed))
}

/// What a packed file says of the one that it was.
pub fn comment(inode: u64) -> String {
    format!("{WAS}{inode}")
}

/// The file that a packed one was, by its comment.
pub fn inode(comment: &[u8]) -> Option<u64> {
    std::str::from_utf8(comment).ok()?.strip_prefix(WAS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_they_are() {
        for (rest, expected) in [
            ("", Some((0, false))),
            (".1", Some((1, false))),
            (".12.gz", Some((12, true))),
            (".0", None),
            (".01", None),
            (".gz", None),
            (".1.gz.new", None),
            ("x.1", None),
        ] {
            assert_eq!(age(rest.as_bytes()), expected, "{rest:?}");
        }
        let log = Path::new("/c/log");
        assert_eq!(file(log, 0, false), log);
        assert_eq!(file(log, 2, true), Path::new("/c/log.2.gz"));
        assert_eq!(inode(comment(17).as_bytes()), Some(17));
        assert_eq!(inode(b"by somebody else"), None);
    }
}
