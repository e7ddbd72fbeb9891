//! The sockets of one sandbox, opened inside its namespace.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use dns::{SandboxFacts, Sockets};

/// Where names are served in every sandbox.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Opens exactly the sandbox's ports: its redirect rules name them.
pub(super) fn open(sandbox: &SandboxFacts) -> io::Result<Sockets> {
    let at = |port| SocketAddr::from((ADDRESS, port));
    let opened = kernel::netns::enter(&sandbox.netns, || {
        Ok(Sockets {
            udp: UdpSocket::bind(at(sandbox.ports.udp))?,
            tcp: TcpListener::bind(at(sandbox.ports.tcp))?,
        })
    });
    opened.map_err(io::Error::other)
}
