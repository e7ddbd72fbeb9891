//! SCTP to published ports, with real associations: most kernels that tests run on have no sockets of it.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    process::Command,
    thread,
    time::Duration,
};

use kernel::netns;
use nix::sys::{
    socket::{
        AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, listen,
        setsockopt, socket, sockopt::SendTimeout,
    },
    time::TimeVal,
};

use super::*;
use crate::lab::BACKEND;

const BOX: &[&str] = &["172.18.1.2/24", "fd00:1::2/64"];
const NEIGHBOUR: &[&str] = &["172.18.1.3/24", "fd00:1::3/64"];
/// How long an association may take, an INIT that was lost included: it is sent again after three seconds.
const PATIENCE: Duration = Duration::from_secs(8);
const SIZE: usize = 64 << 10;

/// A one-to-one socket (RFC 6458, section 4). It is used like one of TCP.
fn sctp(of: SocketAddr) -> io::Result<OwnedFd> {
    let family = match of {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let patience = TimeVal::new(i64::try_from(PATIENCE.as_secs()).expect("few"), 0);
    let made = socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Sctp,
    )?;
    setsockopt(&made, SendTimeout, &patience)?;
    Ok(made)
}

/// A server at one address: with several, each side would tell the other of all of them, untranslated.
fn serve(at: SocketAddr) -> io::Result<TcpListener> {
    let server = sctp(at)?;
    bind(server.as_raw_fd(), &SockaddrStorage::from(at))?;
    listen(&server, Backlog::new(8)?)?;
    Ok(server.into())
}

fn call(from: SocketAddr, at: SocketAddr) -> io::Result<TcpStream> {
    let client = sctp(at)?;
    bind(client.as_raw_fd(), &SockaddrStorage::from(from))?;
    connect(client.as_raw_fd(), &SockaddrStorage::from(at))?;
    Ok(client.into())
}

/// Sends some packets' worth through an association that a client with this address makes at `at`. Whom the server took
/// for its client, if all of it arrived and its answer came back.
fn associate(client: (&Path, &str), at: &str, to: &Path, container: &str) -> Option<IpAddr> {
    let (netns, from) = client;
    let from = SocketAddr::new(from.parse().expect("an address"), 0);
    let listener = netns::enter(to, || serve(server(container))).expect("this kernel has sctp");
    let mut stream = netns::enter(netns, || call(from, server(at))).ok()?;
    let serving = thread::spawn(move || {
        let (mut stream, client) = listener.accept()?;
        let mut received = vec![0; SIZE];
        stream.read_exact(&mut received)?;
        stream.write_all(b"thanks")?;
        io::Result::Ok((received.iter().all(|byte| *byte == 7), client.ip()))
    });
    for part in vec![7; SIZE].chunks(1 << 10) {
        stream.write_all(part).ok()?;
    }
    let mut thanks = [0; 6];
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.read_exact(&mut thanks).ok()?;
    let (whole, client) = serving.join().ok()?.ok()?;
    whole.then_some(client)
}

fn dual() -> Network {
    network("bridge", 1, &["172.18.1.0/24", "fd00:1::/64"])
}

fn scene() -> Scene {
    let scene = Scene::new();
    for (netns, address) in [
        (&scene.host.pin, "2001:db8::1/64"),
        (&scene.outside, "2001:db8::2/64"),
    ] {
        let add = ["ip", "address", "add", address, "dev", "up0", "nodad"];
        command(netns, &add).expect("an address");
    }
    scene
}

#[test]
fn the_outside_reaches_a_published_port_of_both_families() {
    let scene = scene();
    let network = dual();
    let [container] = scene.with(&network, [BOX]);
    scene.publish(
        &network,
        BOX,
        ["0.0.0.0:9899->38412/sctp", "[::]:9899->38412/sctp"],
    );
    let outside = &scene.outside;
    let seen = associate(
        (outside, "198.51.100.2"),
        "198.51.100.1:9899",
        &container,
        "172.18.1.2:38412",
    );
    assert_eq!(seen, ip("198.51.100.2"));
    let seen = associate(
        (outside, "2001:db8::2"),
        "[2001:db8::1]:9899",
        &container,
        "[fd00:1::2]:38412",
    );
    assert_eq!(seen, ip("2001:db8::2"));
}

#[test]
fn a_shifted_range_leads_port_by_port() {
    let scene = scene();
    let network = dual();
    let [container] = scene.with(&network, [BOX]);
    scene.publish(&network, BOX, ["0.0.0.0:9000-9003->7000-7003/sctp"]);
    let client = (&*scene.outside, "198.51.100.2");
    let seen = associate(client, "198.51.100.1:9002", &container, "172.18.1.2:7002");
    assert_eq!(seen, ip("198.51.100.2"));
}

#[test]
fn the_host_and_a_neighbour_reach_it_too() {
    let scene = scene();
    // Bridged at once, a neighbour's packets would keep their source; the kernel has it since somebody ran dockerd.
    super::ports::bridged_packets_are_filtered(&scene, 0);
    let network = dual();
    let [container, neighbour] = scene.with(&network, [BOX, NEIGHBOUR]);
    scene.publish(&network, BOX, ["0.0.0.0:9899->38412/sctp"]);
    let host = (&*scene.host.pin, "127.0.0.1");
    let seen = associate(host, "127.0.0.1:9899", &container, "172.18.1.2:38412");
    assert_eq!(seen, ip("172.18.1.1"));
    let by_port = (&*neighbour, "172.18.1.3");
    let seen = associate(by_port, "198.51.100.1:9899", &container, "172.18.1.2:38412");
    assert_eq!(seen, ip("172.18.1.1"), "the way back leads by the host");
    let seen = associate(by_port, "172.18.1.2:38412", &container, "172.18.1.2:38412");
    assert_eq!(seen, ip("172.18.1.3"));
}

#[test]
fn what_is_not_published_is_not_reached() {
    let scene = scene();
    let network = dual();
    let [container] = scene.with(&network, [BOX]);
    scene.publish(&network, BOX, ["0.0.0.0:38412->38412/tcp"]);
    let client = (&*scene.outside, "198.51.100.2");
    let seen = associate(client, "198.51.100.1:38412", &container, "172.18.1.2:38412");
    assert_eq!(seen, None, "the port is TCP's only");
    scene.route("172.18.1.0/24", "198.51.100.1");
    let seen = associate(client, "172.18.1.2:38412", &container, "172.18.1.2:38412");
    assert_eq!(seen, None, "nor is it by its own address");
}

#[test]
fn every_case_holds_with_rules_of_iptables_too() {
    if std::env::var_os(BACKEND).is_some() {
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["bridge::packets::sctp::", "--test-threads=2"])
        .env(BACKEND, "1")
        .output()
        .expect("the same tests");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "with iptables: {said}");
}
