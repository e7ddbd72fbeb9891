//! `cnm-names`, the program that answers 127.0.0.11 in every sandbox, and the daemon's side of its protocol.
//!
//! It is a process of its own so that names resolve while the daemon restarts. The daemon's [`Client`] spawns it, sends
//! it generation-numbered changes and waits for their acknowledgement; the [`helper`] mirrors what it was told under the
//! exec-root and starts again from that alone.
#![forbid(unsafe_code)]

mod client;
mod difference;
#[cfg(test)]
mod fuzz;
pub mod helper;
pub mod protocol;

pub use client::{Client, Error, Settings};
pub use dns::Counts;
pub use protocol::SandboxCounts;

use std::path::{Path, PathBuf};

/// Where the helper of an exec-root listens.
pub fn socket_path(exec_root: &Path) -> PathBuf {
    exec_root.join("names.sock")
}

/// Where the helper of an exec-root keeps its mirror, its lock and its log.
pub fn state_folder(exec_root: &Path) -> PathBuf {
    exec_root.join("names")
}
