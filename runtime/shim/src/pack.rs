//! Packs a log's file that was turned, in a child of its own: the container's output does not wait for it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Signal, nice, set_parent_process_death_signal},
};
use shim_protocol::packed;

use crate::fork;

/// A file that is being packed.
#[derive(Debug)]
pub(crate) struct Packing {
    /// Ends with the child.
    end: OwnedFd,
}

impl Packing {
    /// Begins to pack the youngest file that was turned.
    pub(crate) fn begin(log: &Path) -> io::Result<Self> {
        let (end, held) = pipe_with(PipeFlags::CLOEXEC)?;
        fork::child(&[&held], || {
            // Whoever is left behind by the shim would write into a folder that is being removed.
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            let _ = nice(19);
            // What can't be packed stays as it is.
            let _ = pack(log);
        })?;
        Ok(Self { end })
    }

    /// Waits until it is packed, or will not be: the next file can be turned.
    pub(crate) fn wait(self) {
        let mut nothing = [0];
        while rustix::io::read(&self.end, &mut nothing) == Err(Errno::INTR) {}
    }
}

/// Removes what a child that was killed left half written.
pub(crate) fn forget(log: &Path) {
    let _ = fs::remove_file(unready(log));
}

/// Not a name that readers look for.
fn unready(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".packing");
    name.into()
}

fn pack(log: &Path) -> io::Result<()> {
    let (plain, unready) = (packed::file(log, 1, false), unready(log));
    let from = File::open(&plain)?;
    let comment = packed::comment(from.metadata()?.ino());
    let to = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&unready)?;
    let mut packer = GzBuilder::new()
        .comment(comment)
        .write(BufWriter::new(to), Compression::default());
    let written = io::copy(&mut BufReader::with_capacity(64 << 10, from), &mut packer)
        .and_then(|_| packer.finish()?.flush());
    if let Err(error) = written {
        let _ = fs::remove_file(&unready);
        return Err(error);
    }
    fs::rename(&unready, packed::file(log, 1, true))?;
    fs::remove_file(&plain)
}
