//! A container is processes in namespaces: this crate makes them from an image's layers, keeps a hand on them
//! through one small shim process each, and reads their logs. It knows no networks: a container joins a network
//! namespace given by its path, and its `hosts` and `resolv.conf` are files somebody else writes.
//!
//! A container's way through here:
//! 1. [`rootfs::mount`] puts the image's layers and a fresh writable one together.
//! 2. [`spec::prepare`] turns what was asked, and what the image says, into an OCI spec.
//! 3. [`Runtime::open`] launches the shim; from here on [`Shim::attach`] works, so that no byte is lost.
//! 4. [`Shim::start`] runs the command; [`Shim::wait`] tells how it ended, also to a daemon started since.
//! 5. [`Shim::delete`] takes away the cgroup and the shim, [`rootfs::unmount`] the root.
//!
//! After a restart of the daemon, [`Runtime::adopt`] finds the shim again, or what it left on the disk.
#![forbid(unsafe_code)]

pub mod changes;
mod error;
pub mod files;
pub mod limits;
pub mod logs;
pub mod processes;
pub mod room;
pub mod rootfs;
mod shim_client;
pub mod spec;
pub mod stats;
mod streams;
pub mod usage;
pub mod users;
pub mod volumes;

pub use error::{Error, Result};
pub use shim_client::{
    Attach, Bundle, Exec, ExecSpec, Exit, Forward, ForwardTo, LogConfig, Runtime, RuntimeConfig, Shim, State,
    Status, SyslogTls,
};
pub use streams::{Input, Output, Streams};
pub use users::Users;
