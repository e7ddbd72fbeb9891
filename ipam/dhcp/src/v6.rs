//! A DHCPv6 client (RFC 8415): one address for one interface, from the segment's own server. Like the client of version 4
//! it has no socket and no clock.
//!
//! It takes the first server that offers an address, whatever its preference is: waiting for better ones would hold up each
//! container's start by a second.

mod client;
mod message;

pub use client::{Ask, Client, Next, Outcome, State};
pub use message::{Kind, Question, Reply, read, write};

use std::net::Ipv6Addr;

/// The port that servers and relays listen on.
pub const SERVER_PORT: u16 = 547;
/// The port that clients listen on.
pub const CLIENT_PORT: u16 = 546;
/// All servers and relays of a segment.
pub const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Who asks: the same as long as its container exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the client is known by (its DUID).
    pub duid: Vec<u8>,
    /// Which of its interfaces this is (its IAID).
    pub interface: u32,
    /// What it wants to be called (RFC 4704).
    pub hostname: Option<String>,
}

/// The name of a container that servers know it by: a UUID (RFC 6355), as in its identifier of version 4.
pub fn duid_of(container: &[u8; 32]) -> Vec<u8> {
    const UUID: [u8; 2] = [0, 4];
    UUID.into_iter().chain(container[..16].iter().copied()).collect()
}

/// The number of a container's interface on a network.
pub fn interface_of(network: &[u8; 32]) -> u32 {
    u32::from_be_bytes([network[0], network[1], network[2], network[3]])
}
