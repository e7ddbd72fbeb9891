//! How a process ended, and the file that remembers it.
//!
//! The file is written before anybody is told, and is on the disk before its name is there: a daemon that comes
//! back finds either no record or a whole one.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// The record's name in the bundle.
pub const FILE: &str = "exit.json";

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit status; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// Whether the kernel killed a process of the container for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// When: nanoseconds since 1970-01-01 UTC.
    pub at: i64,
}

/// Writes the record into the bundle, durably and all at once.
///
/// # Errors
/// Those of the file system.
pub fn write(bundle: &Path, exit: &Exit) -> io::Result<()> {
    let next = bundle.join("exit.json.next");
    let mut file = File::create(&next)?;
    file.write_all(&serde_json::to_vec(exit)?)?;
    file.sync_all()?;
    fs::rename(&next, bundle.join(FILE))?;
    File::open(bundle)?.sync_all()
}

/// Reads the record, if there is one.
///
/// # Errors
/// Those of the file system, and a record that can't be understood.
pub fn read(bundle: &Path) -> io::Result<Option<Exit>> {
    match fs::read(bundle.join(FILE)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Forgets the record of an earlier run.
///
/// # Errors
/// Those of the file system.
pub fn forget(bundle: &Path) -> io::Result<()> {
    match fs::remove_file(bundle.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_there_until_it_is_forgotten() {
        let bundle = tempfile::tempdir().unwrap();
        let exit = Exit {
            code: 137,
            oom_killed: true,
            at: 5,
        };
        assert_eq!(read(bundle.path()).unwrap(), None);
        write(bundle.path(), &exit).unwrap();
        assert_eq!(read(bundle.path()).unwrap(), Some(exit));
        forget(bundle.path()).unwrap();
        forget(bundle.path()).unwrap();
        assert_eq!(read(bundle.path()).unwrap(), None);
    }
}
