//! DHCP clients (RFC 2131, and RFC 8415 in [`v6`]) without a socket and without a clock: messages as bytes, and what a client does
//! next.
//!
//! Our own reader and writer: a client needs a dozen options, and must get along with servers that send others it
//! doesn't know, or send them wrong. `dhcproto` is what the tests hold it against.
#![forbid(unsafe_code)]

mod client;
#[cfg(test)]
mod fuzz;
mod identity;
mod message;
mod options;
pub mod v6;

pub use client::{Ask, Client, Loss, Next, Outcome, State, To};
pub use identity::{Identity, client_id_of};
pub use message::{Kind, Question, Reply, read, write};
pub use options::{AskV6, Options, OptionsError};

/// The port that servers listen on.
pub const SERVER_PORT: u16 = 67;
/// The port that clients listen on.
pub const CLIENT_PORT: u16 = 68;
