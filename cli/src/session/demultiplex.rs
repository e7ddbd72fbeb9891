//! Takes apart the stream of a container without a terminal.
//!
//! Stdout and stderr share one connection: each piece has a head of 8 bytes, the stream's number first and the
//! piece's length, big endian, in the last four.

use std::io::Write;

/// Which of the streams a piece belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// 0 and 1.
    Stdout,
    /// 2.
    Stderr,
    /// 3: what the daemon itself says of a stream that failed.
    System,
}

/// Remembers what of a piece is still to come.
#[derive(Debug, Default)]
pub(crate) struct Demultiplexer {
    head: Vec<u8>,
    current: Option<(Stream, usize)>,
}

impl Demultiplexer {
    /// Gives the parts of `bytes` to `sink`.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Stream, &[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        while !bytes.is_empty() {
            if let Some((stream, left)) = self.current {
                let (piece, rest) = bytes.split_at(left.min(bytes.len()));
                sink(stream, piece)?;
                bytes = rest;
                self.current = (left > piece.len()).then_some((stream, left - piece.len()));
                continue;
            }
            let (part, rest) = bytes.split_at((8 - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(part);
            bytes = rest;
            if let [number, _, _, _, a, b, c, d] = self.head[..] {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                self.current = Some((kind(number)?, length)).filter(|(_, length)| *length > 0);
                self.head.clear();
            }
        }
        Ok(())
    }
}

fn kind(number: u8) -> std::io::Result<Stream> {
    match number {
        0 | 1 => Ok(Stream::Stdout),
        2 => Ok(Stream::Stderr),
        3 => Ok(Stream::System),
        other => Err(std::io::Error::other(format!(
            "unknown stream {other} in the container's output"
        ))),
    }
}

/// Writes a piece where it belongs.
pub(crate) fn show(kind: Stream, bytes: &[u8]) -> std::io::Result<()> {
    if kind == Stream::Stdout {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    } else {
        std::io::stderr().lock().write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_apart_wherever_the_connection_cuts_them() {
        let stream = [
            &[1, 0, 0, 0, 0, 0, 0, 5][..],
            b"hello",
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0, 0, 3],
            b"err",
            &[1, 0, 0, 0, 0, 0, 0, 1],
            b"!",
        ]
        .concat();
        for size in 1..=stream.len() {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut demultiplexer = Demultiplexer::default();
            for part in stream.chunks(size) {
                demultiplexer
                    .feed(part, |kind, bytes| {
                        if kind == Stream::Stdout {
                            &mut out
                        } else {
                            &mut err
                        }
                        .extend_from_slice(bytes);
                        Ok(())
                    })
                    .expect("well formed");
            }
            assert_eq!(
                (out.as_slice(), err.as_slice()),
                (&b"hello!"[..], &b"err"[..]),
                "pieces of {size}"
            );
        }
    }

    #[test]
    fn a_foreign_stream_is_an_error() {
        let mut demultiplexer = Demultiplexer::default();
        assert!(demultiplexer.feed(b"GET / HTTP/1.1", |_, _| Ok(())).is_err());
    }
}
