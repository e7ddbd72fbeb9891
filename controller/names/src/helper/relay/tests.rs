//! Relays on loopback, between families.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("a port");
    socket.local_addr().expect("a port").port()
}

fn relay(protocol: Protocol, target: SocketAddr) -> Relay {
    Relay {
        protocol,
        listen: SocketAddr::from((Ipv6Addr::LOCALHOST, free_port())),
        target,
    }
}

#[tokio::test]
async fn streams_are_carried_both_ways_and_each_way_ends_by_itself() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a server");
    let relay = relay(Protocol::Tcp, server.local_addr().expect("an address"));
    let (mut relays, sandbox) = (Relays::default(), SandboxId::random());
    assert_eq!(relays.start(sandbox, &[relay].into()), None);
    assert!(relays.has(sandbox));
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a connection");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).expect("its end");
        stream.write_all(&said).expect("sent back after the end");
        said.len()
    });
    let bytes = vec![7; 1 << 20];
    let mut client = TcpStream::connect(relay.listen).expect("connected");
    client.set_read_timeout(Some(PATIENCE)).expect("a time");
    client.write_all(&bytes).expect("sent");
    client.shutdown(Shutdown::Write).expect("one way closed");
    let mut back = Vec::new();
    client.read_to_end(&mut back).expect("all of it");
    assert_eq!(
        (back.len(), echo.join().expect("no panic")),
        (bytes.len(), bytes.len())
    );
    relays.stop_others(sandbox, &BTreeSet::new()).await;
    assert!(!relays.has(sandbox));
    assert!(TcpStream::connect(relay.listen).is_err(), "closed");
}

#[tokio::test]
async fn every_client_gets_its_own_datagrams_back() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a server");
    let relay = relay(Protocol::Udp, server.local_addr().expect("an address"));
    let (mut relays, sandbox) = (Relays::default(), SandboxId::random());
    assert_eq!(relays.start(sandbox, &[relay].into()), None);
    server.set_read_timeout(Some(PATIENCE)).expect("a time");
    let clients: Vec<_> = (0..3_u8)
        .map(|number| {
            let client = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a client");
            client.set_read_timeout(Some(PATIENCE)).expect("a time");
            client.send_to(&[number], relay.listen).expect("sent");
            client
        })
        .collect();
    let mut buffer = [0; 16];
    for _ in &clients {
        let (length, from) = server.recv_from(&mut buffer).expect("a datagram");
        server.send_to(&[buffer[0], 99], from).expect("answered");
        assert_eq!(length, 1);
    }
    for (number, client) in clients.iter().enumerate() {
        let (length, from) = client.recv_from(&mut buffer).expect("an answer");
        assert_eq!(
            (&buffer[..length], from),
            ([number as u8, 99].as_slice(), relay.listen)
        );
    }
    relays.stop_others(sandbox, &BTreeSet::new()).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_started_once_it_is_free() {
    let relay = relay(Protocol::Tcp, SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
    let taken = TcpListener::bind(relay.listen).expect("taken");
    let (mut relays, sandbox) = (Relays::default(), SandboxId::random());
    let trouble = relays.start(sandbox, &[relay].into()).expect("a trouble");
    assert!(trouble.contains("another process has this port"), "{trouble}");
    drop(taken);
    assert_eq!(relays.start(sandbox, &[relay].into()), None);
    // Nobody listens behind it: a client is told so by the end.
    let mut client = TcpStream::connect(relay.listen).expect("taken in");
    client.set_read_timeout(Some(PATIENCE)).expect("a time");
    let began = Instant::now();
    assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)) && began.elapsed() < PATIENCE);
    relays.stop_others(sandbox, &BTreeSet::new()).await;
}

#[tokio::test]
async fn a_datagram_is_answered_from_the_address_that_was_asked() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a server");
    let port = {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        socket.local_addr().expect("an address").port()
    };
    let relay = Relay {
        protocol: Protocol::Udp,
        listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        target: server.local_addr().expect("an address"),
    };
    let (mut relays, sandbox) = (Relays::default(), SandboxId::random());
    assert_eq!(relays.start(sandbox, &[relay].into()), None);
    server.set_read_timeout(Some(PATIENCE)).expect("a time");
    // Bound to all addresses, the relay would answer from the one that the kernel likes best.
    for asked in [Ipv4Addr::new(127, 0, 0, 7), Ipv4Addr::new(127, 9, 8, 7)] {
        let client = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 3), 0)).expect("a client");
        client.set_read_timeout(Some(PATIENCE)).expect("a time");
        client.send_to(b"who", (asked, port)).expect("sent");
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).expect("a datagram");
        server.send_to(&buffer[..length], from).expect("answered");
        let (length, from) = client.recv_from(&mut buffer).expect("an answer");
        assert_eq!((&buffer[..length], from), (&b"who"[..], (asked, port).into()));
    }
    relays.stop_others(sandbox, &BTreeSet::new()).await;
}

#[tokio::test]
async fn a_connection_that_breaks_breaks_for_both() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a server");
    let relay = relay(Protocol::Tcp, server.local_addr().expect("an address"));
    let (mut relays, sandbox) = (Relays::default(), SandboxId::random());
    assert_eq!(relays.start(sandbox, &[relay].into()), None);
    let mut client = TcpStream::connect(relay.listen).expect("connected");
    client.set_read_timeout(Some(PATIENCE)).expect("a time");
    let (mut inside, _) = server.accept().expect("led on before the client says a word");
    inside.write_all(b"half").expect("sent");
    let mut said = [0; 4];
    client.read_exact(&mut said).expect("half of it");
    client.write_all(b"unread").expect("sent");
    // Closed with something unread: the kernel tells its other side that it broke.
    let mut waiting = [0; 1];
    inside.peek(&mut waiting).expect("something to read");
    drop(inside);
    let error = client
        .read(&mut said)
        .expect_err("an end would pass for a whole answer");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    relays.stop_others(sandbox, &BTreeSet::new()).await;
}

#[tokio::test]
async fn a_slow_reader_holds_up_its_writer_and_loses_nothing() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a server");
    let relay = relay(Protocol::Tcp, server.local_addr().expect("an address"));
    let (mut relays, sandbox) = (Relays::default(), SandboxId::random());
    assert_eq!(relays.start(sandbox, &[relay].into()), None);
    let mut client = TcpStream::connect(relay.listen).expect("connected");
    let (mut inside, _) = server.accept().expect("a connection");
    inside.set_nonblocking(true).expect("a mode");
    let chunk: Vec<u8> = (0..=255).cycle().take(256 << 10).collect();
    let (mut sent, mut refused, deadline) = (0_usize, 0, Instant::now() + PATIENCE);
    // Nobody reads: it must not take in without end.
    while refused < 1000 && Instant::now() < deadline {
        match inside.write(&chunk[sent % 256..]) {
            Ok(length) => (sent, refused) = (sent + length, 0),
            Err(_) => refused += 1,
        }
        std::thread::yield_now();
    }
    assert!(sent < 64 << 20, "{sent} bytes are under way");
    drop(inside);
    client.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("all of it");
    assert_eq!(all.len(), sent);
    assert!(all.iter().enumerate().all(|(at, byte)| *byte == (at % 256) as u8));
    relays.stop_others(sandbox, &BTreeSet::new()).await;
}

#[tokio::test]
async fn many_connections_at_once_are_carried() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a server");
    let relay = relay(Protocol::Tcp, server.local_addr().expect("an address"));
    let (mut relays, sandbox) = (Relays::default(), SandboxId::random());
    assert_eq!(relays.start(sandbox, &[relay].into()), None);
    let mut pairs: Vec<_> = (0..200)
        .map(|_| {
            let client = TcpStream::connect(relay.listen).expect("connected");
            let (inside, _) = server.accept().expect("led on");
            (client, inside)
        })
        .collect();
    // Whose is whose is known by what is said, not by the order.
    for (number, (client, _)) in pairs.iter_mut().enumerate() {
        client.set_read_timeout(Some(PATIENCE)).expect("a time");
        client.write_all(&[number as u8]).expect("sent");
    }
    for (_, inside) in &mut pairs {
        let mut said = [0; 1];
        inside.read_exact(&mut said).expect("heard");
        inside.write_all(&[said[0], 1]).expect("answered");
        inside.shutdown(Shutdown::Both).expect("ended");
    }
    for (number, (client, _)) in pairs.iter_mut().enumerate() {
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).expect("an answer");
        assert_eq!(heard, [number as u8, 1]);
    }
    relays.stop_others(sandbox, &BTreeSet::new()).await;
}

#[tokio::test]
async fn a_client_that_is_done_before_it_said_a_word_is_answered() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a server");
    let relay = relay(Protocol::Tcp, server.local_addr().expect("an address"));
    let (mut relays, sandbox) = (Relays::default(), SandboxId::random());
    assert_eq!(relays.start(sandbox, &[relay].into()), None);
    for number in 0..20 {
        let mut client = TcpStream::connect(relay.listen).expect("connected");
        client.shutdown(Shutdown::Write).expect("done");
        client.set_read_timeout(Some(PATIENCE)).expect("a time");
        let (mut inside, _) = server.accept().expect("led on");
        assert_eq!(inside.read(&mut [0; 8]).expect("an end"), 0);
        inside.write_all(&[number]).expect("sent");
        drop(inside);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).expect("an answer");
        assert_eq!(heard, [number]);
    }
    relays.stop_others(sandbox, &BTreeSet::new()).await;
}
