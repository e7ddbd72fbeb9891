//! Finds where the last lines of a file begin, from its end: what lies before them is not read.

use std::io;

/// So many bytes are read at a time.
const CHUNK: u64 = 64 << 10;

/// Where the lines begin, and how many of them were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Their first byte.
    pub(super) begin: u64,
    /// How many of those from there on `counts` said yes to.
    pub(super) lines: usize,
}

/// Goes back over the whole lines of a file of `length` bytes until `wanted` of them count. What stands behind the last
/// line feed is a line that is being written.
///
/// # Errors
/// Those of `read_at`, which fills its buffer from that byte of the file on.
pub(super) fn find(
    length: u64,
    wanted: usize,
    mut counts: impl FnMut(&[u8]) -> bool,
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<Found> {
    // The bytes from `at` on that are not looked at yet: they end with a line feed, or there is none behind `at`.
    let (mut held, mut at, mut whole) = (Vec::new(), length, false);
    let mut found = Found {
        begin: length,
        lines: 0,
    };
    loop {
        if !whole && let Some(feed) = last_feed(&held) {
            held.truncate(feed + 1);
            found.begin = at + held.len() as u64;
            whole = true;
        }
        while whole && found.lines < wanted {
            let before = held.split_last().and_then(|(_feed, rest)| last_feed(rest));
            let line = match (before, at) {
                (Some(feed), _) => feed + 1,
                (None, 0) if !held.is_empty() => 0,
                _ => break,
            };
            found.lines += usize::from(counts(&held[line..]));
            held.truncate(line);
            found.begin = at + line as u64;
        }
        if at == 0 || (whole && found.lines == wanted) {
            // Nothing but the beginning of a line is there.
            found.begin = if whole { found.begin } else { 0 };
            return Ok(found);
        }
        let size = CHUNK.min(at);
        at -= size;
        let mut chunk = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        read_at(&mut chunk, at)?;
        chunk.append(&mut held);
        held = chunk;
    }
}

fn last_feed(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// What is found in a file with this in it, and how many bytes were read.
    fn look(text: &[u8], wanted: usize) -> (Found, usize) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(text, 0).unwrap();
        let mut read = 0;
        let found = find(
            text.len() as u64,
            wanted,
            |line| !line.starts_with(b"-"),
            |buffer, at| {
                read += buffer.len();
                file.read_exact_at(buffer, at)
            },
        );
        (found.unwrap(), read)
    }

    #[test]
    fn the_last_lines_that_count_begin_there() {
        for (text, wanted, begin, lines) in [
            ("", 1, 0, 0),
            ("", 0, 0, 0),
            ("a\nb\nc\n", 0, 6, 0),
            ("a\nb\nc\n", 1, 4, 1),
            ("a\nb\nc\n", 2, 2, 2),
            ("a\nb\nc\n", 3, 0, 3),
            ("a\nb\nc\n", 9, 0, 3),
            ("a\nb\nc", 1, 2, 1),
            ("a\nb\nc", 0, 4, 0),
            ("abc", 2, 0, 0),
            ("abc", 0, 0, 0),
            ("\n", 1, 0, 1),
            ("\n\n\n", 2, 1, 2),
            // What does not count is passed by.
            ("a\n-\nb\n-\n", 2, 0, 2),
            ("a\n-\nb\n-\n", 1, 4, 1),
            ("-\n-\n", 1, 0, 0),
        ] {
            let (found, _) = look(text.as_bytes(), wanted);
            assert_eq!(found, Found { begin, lines }, "{text:?} {wanted}");
        }
    }

    #[test]
    fn lines_may_be_longer_than_what_is_read_at_a_time() {
        let chunk = usize::try_from(CHUNK).unwrap();
        for length in [chunk - 1, chunk, chunk + 1, 3 * chunk] {
            let line = [vec![b'x'; length], vec![b'\n']].concat();
            let text = [line.clone(), line.clone(), b"unfinished".to_vec()].concat();
            for (wanted, begin) in [(1, line.len()), (2, 0), (3, 0)] {
                let (found, _) = look(&text, wanted);
                assert_eq!(found.begin, begin as u64, "{length} {wanted}");
                assert_eq!(found.lines, wanted.min(2));
            }
        }
    }

    #[test]
    fn what_lies_before_is_not_read() {
        let text = b"0123456789abcde\n".repeat(1 << 18);
        let (found, read) = look(&text, 10);
        assert_eq!(found.begin, (text.len() - 160) as u64);
        assert_eq!(read as u64, CHUNK, "of {}", text.len());
    }
}
