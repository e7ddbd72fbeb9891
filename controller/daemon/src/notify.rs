//! Tells systemd how far the daemon is (`sd_notify(3)`): one datagram to the socket named in the environment.

use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::{linux::net::SocketAddrExt as _, unix::ffi::OsStrExt as _};

/// Sends a state such as `READY=1`. Without systemd there is nobody to tell; failing to tell it is only logged.
pub fn state(text: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name),
        None => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "telling systemd {text}");
    }
}
