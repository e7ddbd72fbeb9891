//! What the daemon and a container's shim say to each other, and the files they share.
//!
//! A shim outlives the daemon that started it, so everything here is a contract between two versions of us:
//! messages carry a version, unknown fields are ignored, new fields have defaults. The crate is small, synchronous
//! and without threads, because the shim is.
//!
//! A conversation is one connection: the client sends one [`Request`], the shim answers one [`Reply`]. After an
//! attach is accepted the same connection carries the container's bytes: output towards the client (framed as in
//! [`stream`] unless there is a terminal), input towards the container until the client half-closes.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod exit;
pub mod frame;
#[cfg(test)]
mod fuzz;
pub mod launch;
pub mod message;
pub mod packed;
pub mod stream;

pub use exit::Exit;
pub use launch::{Forward, ForwardTo, Launch, LogFile, SyslogTls};
pub use message::{Attach, Envelope, Exec, Failure, FailureKind, Reply, Request, State, Status, VERSION};
