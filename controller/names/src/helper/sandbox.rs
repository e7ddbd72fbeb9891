//! The sockets of one sandbox, opened inside its namespace; and those for the host, at a gateway's address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use dns::{SandboxFacts, Sockets};

/// Where names are served in every sandbox.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const DOMAIN: u16 = 53;

/// Whether names are served there, in a sandbox.
pub(super) fn is_ours(server: IpAddr) -> bool {
    server == IpAddr::V4(ADDRESS) || server == IpAddr::V6(model::NAME_SERVER_V6)
}

/// Opens exactly the sandbox's ports: its redirect rules name them.
pub(super) fn open(sandbox: &SandboxFacts) -> io::Result<Sockets> {
    open_at(sandbox, ADDRESS.into())
}

/// The same at the address that a sandbox with IPv6 has for them.
pub(super) fn open_v6(sandbox: &SandboxFacts) -> io::Result<Sockets> {
    open_at(sandbox, model::NAME_SERVER_V6.into())
}

fn open_at(sandbox: &SandboxFacts, address: IpAddr) -> io::Result<Sockets> {
    let opened = kernel::netns::enter(&sandbox.netns, || {
        Ok(Sockets {
            udp: UdpSocket::bind((address, sandbox.ports.udp))?,
            tcp: TcpListener::bind((address, sandbox.ports.tcp))?,
        })
    });
    opened.map_err(io::Error::other)
}

/// Opens port 53 at an address of the host's own.
pub(super) fn open_gateway(address: IpAddr) -> io::Result<Sockets> {
    let at = SocketAddr::new(address, DOMAIN);
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => io::Error::other(format!("another process has port 53 at {address}")),
        io::ErrorKind::AddrNotAvailable => io::Error::other(format!("this host has no address {address}")),
        _ => error,
    };
    Ok(Sockets {
        udp: UdpSocket::bind(at).map_err(explain)?,
        tcp: TcpListener::bind(at).map_err(explain)?,
    })
}
