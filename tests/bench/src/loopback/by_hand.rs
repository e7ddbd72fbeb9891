//! The same ways with nothing of ours: two rules for 127.0.0.1, and for `[::1]` the least program that can relay.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
};

use super::{PUBLISHED, WAYS, serve_in};
use crate::{inside, setup::Setup};

/// Makes a host with a bridge and a container behind that, whose server both ways lead to, each to a port of its own.
/// Gives the host's namespace.
pub(super) fn host(setup: &Setup) -> anyhow::Result<PathBuf> {
    let [host, container] = ["lohost", "locont"].map(|name| setup.lab.netns(name));
    let [(_, _, translated, _), (_, _, relayed, _)] = WAYS;
    let rules = format!(
        "table ip by-hand {{\n\
             chain out {{\ntype nat hook output priority -100\n\
             ip daddr 127.0.0.0/8 tcp dport {PUBLISHED} dnat to 10.97.0.2:{translated}\n}}\n\
             chain post {{\ntype nat hook postrouting priority 100\n\
             ip saddr 127.0.0.0/8 oifname br0 masquerade\n}}\n}}"
    );
    let file = setup.a.host().folder().join("by-hand.nft");
    std::fs::write(&file, rules)?;
    for line in [
        format!("netns add {host}"),
        format!("netns add {container}"),
        format!("-n {host} link set lo up"),
        format!("-n {host} link add br0 type bridge"),
        format!("-n {host} addr add 10.97.0.1/24 dev br0"),
        format!("-n {host} link set br0 up"),
        format!("-n {host} link add veth1 type veth peer name eth0 netns {container}"),
        format!("-n {host} link set veth1 master br0 up"),
        format!("-n {container} addr add 10.97.0.2/24 dev eth0"),
        format!("-n {container} link set eth0 up"),
        format!("netns exec {host} sysctl -qw net.ipv4.conf.br0.route_localnet=1"),
        format!("netns exec {host} nft -f {}", file.display()),
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        setup.lab.segment_host().run("ip", &arguments)?.ok()?;
    }
    let [host, container] = [host, container].map(|name| Path::new("/run/netns").join(name));
    for port in [translated, relayed] {
        serve_in(&container, port)?;
    }
    let listen = || Ok(TcpListener::bind((Ipv6Addr::LOCALHOST, PUBLISHED))?);
    let listener = inside::run(&host, listen)?;
    let target = ([10, 97, 0, 2], relayed).into();
    inside::begin(&host, move || {
        relay(&listener, target);
        Ok(())
    });
    Ok(host)
}

/// For one client after another: one request, and its answer to the end.
fn relay(listener: &TcpListener, target: SocketAddr) {
    let mut buffer = vec![0; 64 << 10];
    for client in listener.incoming().flatten() {
        // What went wrong its client sees.
        let _ = lead_on(client, target, &mut buffer);
    }
}

fn lead_on(mut client: TcpStream, target: SocketAddr, buffer: &mut [u8]) -> std::io::Result<()> {
    let length = client.read(buffer)?;
    let mut server = TcpStream::connect(target)?;
    server.write_all(&buffer[..length])?;
    loop {
        match server.read(buffer)? {
            0 => return Ok(()),
            length => client.write_all(&buffer[..length])?,
        }
    }
}
