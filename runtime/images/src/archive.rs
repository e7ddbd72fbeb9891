//! Reading a tar archive that may be hostile: decompression, bounds, digest, truncation.
//!
//! [`walk`] shows every member to a visitor and gives the digest of the uncompressed stream. The `tar` crate reads a
//! member's extension headers into memory whole, so the bytes it may take between two members are bounded here.

use std::{
    cell::{Cell, RefCell},
    io::{self, BufReader, Read},
    rc::Rc,
};

use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::{Digest, Error, Refusal, Result};

/// Bytes of headers, padding and extension records that one member may have.
const HEADER_BOUND: u64 = 1 << 20;
const BLOCK: u64 = 512;
/// The longest path a system call takes (PATH_MAX).
const PATH_BOUND: usize = 4096;
/// Names are kept in memory while an archive is read: so many bytes for each member that the limits allow.
const NAME_AVERAGE: u64 = 128;

/// Bounds on what one archive may unpack to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Members, in all layers together.
    pub entries: u64,
    /// Uncompressed bytes, in all layers together.
    pub bytes: u64,
}

impl Default for Limits {
    /// Two million members and 64 GiB: several times the largest images in use.
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            bytes: 64 << 30,
        }
    }
}

/// What of the limits is left, shared by all layers of an archive.
pub(crate) struct Budget {
    limits: Limits,
    entries: Cell<u64>,
    bytes: Cell<u64>,
    names: Cell<u64>,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: Cell::new(limits.entries),
            bytes: Cell::new(limits.bytes),
            names: Cell::new(limits.entries.saturating_mul(NAME_AVERAGE)),
        }
    }

    fn take_names(&self, path: &[u8], kind: &Kind) -> Result<(), Refusal> {
        let target = match kind {
            Kind::Symlink(target) | Kind::HardLink(target) => target.len(),
            _ => 0,
        };
        if path.len() > PATH_BOUND || target > PATH_BOUND {
            return Err(Refusal::Headers);
        }
        let left = self.names.get().checked_sub((path.len() + target) as u64);
        self.names.set(left.ok_or(Refusal::Names)?);
        Ok(())
    }

    fn take_entry(&self) -> Result<(), Refusal> {
        let left = self.entries.get().checked_sub(1);
        self.entries.set(left.ok_or(Refusal::TooManyEntries {
            limit: self.limits.entries,
        })?);
        Ok(())
    }

    fn take_bytes(&self, count: u64) -> Result<(), Refusal> {
        let left = self.bytes.get().checked_sub(count);
        self.bytes.set(left.ok_or(Refusal::TooLarge {
            limit: self.limits.bytes,
        })?);
        Ok(())
    }
}

/// What kind of thing a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Fifo,
    Device,
    Other,
}

/// Ownership, mode, time and extended attributes of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

/// One member, its content still to be read.
pub(crate) struct Member<'a> {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) attributes: Attributes,
    pub(crate) size: u64,
    content: &'a mut dyn Read,
}

impl Member<'_> {
    /// The path for messages.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }

    /// Hands the content to `write` piece by piece; refuses content shorter than announced.
    pub(crate) fn copy(&mut self, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let mut copied = 0;
        loop {
            let count = self.content.read(&mut buffer).map_err(unreadable)?;
            if count == 0 {
                break;
            }
            copied += count as u64;
            write(&buffer[..count])?;
        }
        if copied == self.size {
            Ok(())
        } else {
            Err(Refusal::Truncated.into())
        }
    }
}

/// Digest and length of an uncompressed archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) digest: Digest,
    /// Whether a block of zeros ended it, as the format wants.
    pub(crate) ended: bool,
}

/// Decompresses `input` and shows every member to `visit`, to the very end of the stream.
pub(crate) fn walk(
    input: impl Read,
    budget: &Budget,
    mut visit: impl FnMut(&mut Member<'_>) -> Result<()>,
) -> Result<Stream> {
    let meter = Meter::new(decompress(input)?, budget);
    let gauge = Rc::clone(&meter.gauge);
    let mut archive = tar::Archive::new(meter);
    let broken = |error| gauge.refusal(error);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        gauge.header.set(None);
        budget.take_entry()?;
        if !matches!(entry.header().entry_type(), EntryType::XGlobalHeader) {
            let (path, kind, attributes) = describe(&mut entry).map_err(broken)?;
            budget.take_names(&path, &kind)?;
            let size = entry.size();
            if entry.header().entry_type().is_gnu_sparse() {
                // Its holes are in no byte of the archive, but are read like content, also by who only skips it.
                budget.take_bytes(size)?;
            }
            if let Some(what) = unsupported(&mut entry) {
                return Err(Refusal::Unsupported {
                    path: lossy(&path),
                    what,
                }
                .into());
            }
            let mut member = Member {
                path,
                kind,
                attributes,
                size,
                content: &mut entry,
            };
            visit(&mut member).map_err(|error| gauge.prefer_bound(error))?;
        }
        // What the visitor left unread would count as the next member's header.
        io::copy(&mut entry, &mut io::sink()).map_err(broken)?;
        gauge.header.set(Some(HEADER_BOUND));
    }
    gauge.header.set(None);
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
    if gauge.read.get() == 0 {
        return Err(Refusal::Empty.into());
    }
    let ended = gauge.zeros.get() >= BLOCK;
    drop(rest);
    let digest = Digest::finish(gauge.hasher.borrow().clone());
    Ok(Stream { digest, ended })
}

fn describe<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<(Vec<u8>, Kind, Attributes)> {
    let path = entry.path_bytes().into_owned();
    let target = entry
        .link_name_bytes()
        .map(|target| target.into_owned())
        .unwrap_or_default();
    let kind = match entry.header().entry_type() {
        // Old archives say "file" of a directory whose name ends so.
        EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target),
        EntryType::Link => Kind::HardLink(target),
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char | EntryType::Block => Kind::Device,
        _ => Kind::Other,
    };
    let header = entry.header();
    let id =
        |number: u64| u32::try_from(number).map_err(|_| io::Error::other("an owner's number is too large"));
    let mut attributes = Attributes {
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mode: header.mode()? & 0o7777,
        mtime: (i64::try_from(header.mtime()?).unwrap_or(i64::MAX), 0),
        xattrs: Vec::new(),
    };
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if extension.key_bytes() == b"mtime" {
            attributes.mtime = extension
                .value()
                .ok()
                .and_then(pax_time)
                .unwrap_or(attributes.mtime);
        } else if let Some(name) = extension
            .key()
            .ok()
            .and_then(|key| key.strip_prefix("SCHILY.xattr."))
        {
            attributes
                .xattrs
                .push((name.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    Ok((path, kind, attributes))
}

/// Seconds with a fraction, perhaps negative.
fn pax_time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds - 1, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

/// Sparse files of the POSIX formats are stored with a map in front, which would become content.
fn unsupported<R: Read>(entry: &mut tar::Entry<'_, R>) -> Option<&'static str> {
    let mut extensions = entry.pax_extensions().ok()??.flatten();
    extensions
        .any(|extension| extension.key_bytes().starts_with(b"GNU.sparse."))
        .then_some(
            "is a sparse file in a format that is not understood (make the archive without \"--sparse\")",
        )
}

fn decompress<'a>(input: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut head = Vec::with_capacity(6);
    let mut input = input;
    input
        .by_ref()
        .take(6)
        .read_to_end(&mut head)
        .map_err(unreadable)?;
    let whole = BufReader::with_capacity(64 << 10, io::Cursor::new(head.clone()).chain(input));
    Ok(match head.as_slice() {
        [] => return Err(Refusal::Empty.into()),
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(whole).map_err(unreadable)?),
        [b'B', b'Z', b'h', ..] => return Err(Refusal::Compression("bzip2").into()),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => return Err(Refusal::Compression("xz").into()),
        _ => Box::new(whole),
    })
}

/// Counts, digests and bounds what is read through it.
struct Meter<'a> {
    inner: Box<dyn Read + 'a>,
    budget: &'a Budget,
    gauge: Rc<Gauge>,
}

struct Gauge {
    hasher: RefCell<Sha256>,
    read: Cell<u64>,
    /// Zero bytes at the end so far.
    zeros: Cell<u64>,
    /// What headers may still take; none while content is read.
    header: Cell<Option<u64>>,
    /// The bound that was hit, which io::Error can't carry out through the tar reader.
    hit: RefCell<Option<Refusal>>,
}

impl<'a> Meter<'a> {
    fn new(inner: Box<dyn Read + 'a>, budget: &'a Budget) -> Self {
        let gauge = Gauge {
            hasher: RefCell::new(Sha256::new()),
            read: Cell::new(0),
            zeros: Cell::new(0),
            header: Cell::new(Some(HEADER_BOUND)),
            hit: RefCell::new(None),
        };
        Self {
            inner,
            budget,
            gauge: Rc::new(gauge),
        }
    }

    fn count(&self, piece: &[u8]) -> Result<(), Refusal> {
        let count = piece.len() as u64;
        self.budget.take_bytes(count)?;
        if let Some(left) = self.gauge.header.get() {
            self.gauge
                .header
                .set(Some(left.checked_sub(count).ok_or(Refusal::Headers)?));
        }
        self.gauge.read.set(self.gauge.read.get() + count);
        let zeros = piece.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        let before = if zeros == count { self.gauge.zeros.get() } else { 0 };
        self.gauge.zeros.set(before + zeros);
        Ok(())
    }
}

impl Read for Meter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Err(refusal) = self.count(&buffer[..count]) {
            *self.gauge.hit.borrow_mut() = Some(refusal);
            return Err(io::Error::other("a bound was hit"));
        }
        self.gauge.hasher.borrow_mut().update(&buffer[..count]);
        Ok(count)
    }
}

impl Gauge {
    fn refusal(&self, error: io::Error) -> Error {
        self.hit
            .borrow_mut()
            .take()
            .map_or_else(|| unreadable(error), Error::from)
    }

    fn prefer_bound(&self, error: Error) -> Error {
        self.hit.borrow_mut().take().map_or(error, Error::from)
    }
}

/// An error of reading foreign bytes is the archive's fault. By value, because `map_err` hands it so.
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn unreadable(error: io::Error) -> Error {
    // The readers below have no kind of error for this, only these words.
    const CUT: [&str; 3] = [
        "unexpected EOF",
        "failed to read entire block",
        "incomplete frame",
    ];
    let text = error.to_string();
    if error.kind() == io::ErrorKind::UnexpectedEof || CUT.iter().any(|words| text.contains(words)) {
        return Refusal::Truncated.into();
    }
    Refusal::Malformed(text).into()
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Components of a member's path below the root: no `.`, nothing absolute, no `..`.
pub(crate) fn components(path: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    if path.starts_with(b"/") {
        return Err(Refusal::Absolute { path: lossy(path) });
    }
    let parts: Vec<_> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    if parts.contains(&&b".."[..]) {
        return Err(Refusal::Parent { path: lossy(path) });
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_extension_headers_keep_their_fraction() {
        for (text, time) in [
            ("1700000000", Some((1_700_000_000, 0))),
            ("1700000000.5", Some((1_700_000_000, 500_000_000))),
            ("1.123456789123", Some((1, 123_456_789))),
            ("-1.25", Some((-2, 750_000_000))),
            ("soon", None),
        ] {
            assert_eq!(pax_time(text), time, "{text}");
        }
    }

    #[test]
    fn paths_out_of_the_root_are_refused() {
        assert_eq!(components(b"./a//b/./c/").expect("a path"), [b"a", b"b", b"c"]);
        assert!(components(b"./").expect("the root").is_empty());
        for bad in [&b"/a"[..], b"../a", b"a/../../b", b"a/.."] {
            assert!(components(bad).is_err(), "{}", lossy(bad));
        }
    }
}
