//! An address that somebody else's server gave for a while (DHCP, RFC 2131 and RFC 8415), with what came with it.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{Ipv4Net, Timestamp};

/// A lease, kept with the endpoint that has it: a daemon that starts again goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address with the segment's prefix length.
    pub address: Ipv4Net,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// When it was asked for: what follows is counted from here.
    pub obtained: Timestamp,
    /// After how many seconds this server is asked again (T1).
    pub renew_after: u32,
    /// After how many seconds any server is asked (T2).
    pub rebind_after: u32,
    /// For how many seconds it may be used; [`Lease::FOR_EVER`] for ever.
    pub lasts: u32,
    /// The segment's router.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// More routes: destination, and next hop or none for one on the link.
    #[serde(default)]
    pub routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
    /// The segment's name servers.
    #[serde(default)]
    pub name_servers: Vec<Ipv4Addr>,
    /// The segment's domain.
    #[serde(default)]
    pub domain: Option<String>,
    /// The segment's MTU in bytes.
    #[serde(default)]
    pub mtu: Option<u16>,
}

impl Lease {
    /// How long a lease lasts that does not end (RFC 2131, 3.3).
    pub const FOR_EVER: u32 = u32::MAX;
}

/// A lease of an IPv6 address (DHCPv6), which says nothing of prefixes and routers: these announce themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseV6 {
    /// The address.
    pub address: Ipv6Addr,
    /// The server that gave it, as it calls itself (its DUID).
    pub server: Vec<u8>,
    /// When it was asked for: what follows is counted from here.
    pub obtained: Timestamp,
    /// After how many seconds this server is asked again (T1).
    pub renew_after: u32,
    /// After how many seconds any server is asked (T2).
    pub rebind_after: u32,
    /// For how many seconds it may be used; [`Lease::FOR_EVER`] for ever.
    pub lasts: u32,
    /// The segment's name servers.
    #[serde(default)]
    pub name_servers: Vec<Ipv6Addr>,
    /// The segment's domain.
    #[serde(default)]
    pub domain: Option<String>,
}
