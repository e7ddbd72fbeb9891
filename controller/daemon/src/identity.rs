//! Who this host is: a random id kept in data-root, so that clones of a machine differ and a renamed one doesn't.

use std::{
    fs,
    io::{self, Write as _},
    net::IpAddr,
    path::Path,
};

use anyhow::Context as _;
use model::{InterfaceName, IpNet, NodeId};

use crate::config::Advertise;

const FILE: &str = "node-id";

/// The node id of this data-root, drawn at the first start.
///
/// # Errors
/// When the file can't be read or written, or holds something else.
pub fn node_id(data_root: &Path) -> anyhow::Result<NodeId> {
    let path = data_root.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse()
            .with_context(|| format!("reading {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = NodeId::random();
            write_durably(data_root, &path, &format!("{id}\n"))
                .with_context(|| format!("writing {}", path.display()))?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// A crash leaves the old file or the new one, never half of one.
fn write_durably(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    fs::File::open(folder)?.sync_all()
}

/// This host's address for others: as told, or the first that is no loopback or link-local address.
///
/// # Errors
/// When the interface named has no address, or none was named and none is found.
pub fn address(advertise: Option<&Advertise>) -> anyhow::Result<Option<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs().context("reading this host's addresses")?;
    let mut addresses =
        interfaces.filter_map(|interface| Some((interface.interface_name, ip(interface.address?)?)));
    match advertise {
        Some(Advertise::Address(address)) => Ok(Some(*address)),
        Some(Advertise::Interface(name)) => {
            let found =
                addresses.find(|(interface, address)| interface == name.as_str() && routable(*address));
            let (_, address) = found.with_context(|| {
                format!("cluster-advertise: interface {name} has no address, or there is no such interface")
            })?;
            Ok(Some(address))
        }
        None => Ok(addresses
            .map(|(_, address)| address)
            .find(|address| routable(*address))),
    }
}

/// The routable addresses of one of this host's links, with their prefix lengths; empty if there is no such link.
///
/// # Errors
/// When the addresses can't be read.
pub fn worn(link: &InterfaceName) -> anyhow::Result<Vec<IpNet>> {
    let interfaces = nix::ifaddrs::getifaddrs().context("reading this host's addresses")?;
    let of_link = interfaces.filter(|interface| interface.interface_name == link.as_str());
    let nets = of_link.filter_map(|interface| {
        let (address, mask) = (ip(interface.address?)?, ip(interface.netmask?)?);
        IpNet::with_netmask(address, mask).ok()
    });
    Ok(nets.filter(|net| routable(net.addr())).collect())
}

fn ip(storage: nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

fn routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

/// The host's name, for people.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_drawn_once_and_kept() {
        let root = tempfile::tempdir().expect("a folder");
        let first = node_id(root.path()).expect("drawn");
        assert_eq!(node_id(root.path()).expect("kept"), first);
    }

    #[test]
    fn a_spoilt_file_is_named_and_left_alone() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join(FILE), "gibberish").expect("written");
        let error = format!("{:#}", node_id(root.path()).expect_err("no id"));
        assert!(
            error.contains("node-id") && error.contains("gibberish"),
            "{error}"
        );
    }
}
