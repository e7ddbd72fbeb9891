//! What goes over a plugin's socket: both ends of Docker's plugin protocol, for network, address and
//! volume drivers.
//!
//! [`network_driver`], [`ipam_driver`] and [`volume_driver`] are the messages, field for field; [`Plugins`] finds a plugin by name, shakes
//! hands with it and calls it; [`server`] is for writing one (see `examples/`). Nothing here knows what a network is:
//! addresses and names are the texts of the wire.
//!
//! A plugin is somebody else's program. Whatever it does, a call ends within [`Limits`], takes no more memory than they
//! say, and its error names the plugin and the method.
#![forbid(unsafe_code)]

pub mod activation;
mod call;
mod decode;
pub mod discovery;
mod error;
mod exchange;
#[cfg(test)]
mod fuzz;
pub mod ipam_driver;
pub mod network_driver;
mod plugins;
pub mod server;
mod tls;
pub mod volume_driver;

pub use call::{Call, Nothing, Options};
pub use decode::decode;
pub use discovery::{Address, Places, Tls};
pub use error::{Error, Result};
pub use exchange::Limits;
pub use plugins::{Plugin, Plugins};

/// What the daemon says that it accepts.
pub const ACCEPT: &str = "application/vnd.docker.plugins.v1.2+json";
/// What plugins say that they answer.
pub const CONTENT_TYPE: &str = "application/vnd.docker.plugins.v1.1+json";
/// The host's name in requests over a unix socket, which has none.
pub const HOST: &str = "plugin.moby.localhost";
