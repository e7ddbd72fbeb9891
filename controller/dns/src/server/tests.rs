//! The server on loopback, with stub servers behind it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    os::fd::OwnedFd,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query as Question},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{Exit, Keeping, Kind, Room};

const LOCALHOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const LONG: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Here;

impl Exit for Here {
    fn open(&self, _: SocketAddr, transport: Transport) -> io::Result<OwnedFd> {
        // A stream socket that is not connected comes from std only through a listener, which a test need not mind.
        match transport {
            Transport::Udp => Ok(StdUdpSocket::bind(LOCALHOST)?.into()),
            Transport::Tcp => {
                let socket = tokio::net::TcpSocket::new_v4()?;
                Ok(std::os::fd::AsFd::as_fd(&socket).try_clone_to_owned()?)
            }
        }
    }
}

#[derive(Debug)]
struct Stub {
    upstreams: Arc<Upstreams>,
}

impl Source for Stub {
    fn answer(&self, query: &Query, _: u32) -> Answer {
        match (query.name.as_str(), query.kind) {
            ("web", Kind::Ipv4) => Answer::Addresses(vec![Ipv4Addr::new(10, 0, 0, 1).into()]),
            ("many", _) => Answer::Addresses((0..200).map(|n| Ipv4Addr::new(10, 0, 0, n).into()).collect()),
            ("web", _) => Answer::Nothing,
            _ => Answer::Forward,
        }
    }

    fn upstreams(&self, _: Option<&Query>) -> Option<Arc<Upstreams>> {
        Some(Arc::clone(&self.upstreams))
    }
}

struct Served {
    running: Running,
    counters: Arc<Counters>,
    udp: SocketAddr,
    tcp: SocketAddr,
}

fn served(servers: Vec<SocketAddr>, limits: Limits) -> Served {
    let udp = StdUdpSocket::bind(LOCALHOST).expect("udp");
    let tcp = StdTcpListener::bind(LOCALHOST).expect("tcp");
    let (at_udp, at_tcp) = (udp.local_addr().expect("udp"), tcp.local_addr().expect("tcp"));
    let keeping = Keeping {
        entries: 100,
        bytes: 1 << 20,
        room: Room::new(1 << 20),
    };
    let upstreams = Upstreams::new(servers, Arc::new(Here), Duration::from_secs(1), keeping);
    let counters = Arc::<Counters>::default();
    let sockets = Sockets { udp, tcp };
    let running = serve(
        sockets,
        Arc::new(Stub { upstreams }),
        limits,
        Arc::clone(&counters),
    );
    Served {
        running: running.expect("served"),
        counters,
        udp: at_udp,
        tcp: at_tcp,
    }
}

fn question(name: &str) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.add_query(Question::query(
        Name::from_ascii(name).expect(name),
        RecordType::A,
    ));
    message.to_vec().expect("a message")
}

async fn ask_udp(server: SocketAddr, packet: &[u8]) -> Message {
    let socket = UdpSocket::bind(LOCALHOST).await.expect("a socket");
    socket.send_to(packet, server).await.expect("sent");
    let mut buffer = [0; 4096];
    let length = timeout(LONG, socket.recv(&mut buffer))
        .await
        .expect("in time")
        .expect("a reply");
    Message::from_vec(&buffer[..length]).expect("a message")
}

async fn ask_tcp(stream: &mut TcpStream, packet: &[u8]) -> Message {
    write_message(stream, packet).await.expect("sent");
    let reply = timeout(LONG, read_message(stream))
        .await
        .expect("in time")
        .expect("a reply");
    Message::from_vec(&reply).expect("a message")
}

/// How a stub server behaves.
#[derive(Clone, Copy)]
enum Mood {
    Code(u8),
    Silent,
    /// First a reply under another number, then one to another question, then the right one.
    Spoofed,
}

/// A server that answers over both transports and tells who asked by the answer's code.
async fn stub(mood: Mood) -> SocketAddr {
    let tcp = TcpListener::bind(LOCALHOST).await.expect("tcp");
    let address = tcp.local_addr().expect("tcp");
    let udp = UdpSocket::bind(address).await.expect("the same port");
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
            for reply in replies(mood, &buffer[..length]) {
                udp.send_to(&reply, client).await.ok();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let packet = read_message(&mut stream).await.expect("a query");
            for reply in replies(mood, &packet) {
                write_message(&mut stream, &reply).await.ok();
            }
        }
    });
    address
}

fn replies(mood: Mood, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut reply = packet.to_vec();
    reply[2] |= 0x80;
    match mood {
        Mood::Code(code) => {
            reply[3] = (reply[3] & 0xf0) | code;
            vec![reply]
        }
        Mood::Silent => Vec::new(),
        Mood::Spoofed => {
            let (mut number, mut name) = (reply.clone(), reply.clone());
            number[0] ^= 0xff;
            name[13] = b'x';
            reply[3] = 3;
            vec![number, name, reply]
        }
    }
}

#[tokio::test]
async fn local_names_are_answered_over_both_transports() {
    let served = served(Vec::new(), Limits::default());
    assert_eq!(ask_udp(served.udp, &question("WEB.")).await.answers.len(), 1);
    let many = ask_udp(served.udp, &question("many.")).await;
    // So many records of 16 bytes fit behind header and question.
    assert!(
        many.metadata.truncation && many.answers.len() == 30,
        "{}",
        many.answers.len()
    );
    let mut stream = TcpStream::connect(served.tcp).await.expect("connected");
    assert_eq!(ask_tcp(&mut stream, &question("many.")).await.answers.len(), 200);
    assert_eq!(
        ask_tcp(&mut stream, &question("web.")).await.answers.len(),
        1,
        "a second on the same stream"
    );
    let broken = [&question("web.")[..12], &[0xc0, 12, 0, 1, 0, 1][..]].concat();
    assert_eq!(
        u16::from(ask_udp(served.udp, &broken).await.metadata.response_code),
        1
    );
    served.running.stop().await;
    assert!(
        StdUdpSocket::bind(served.udp).is_ok() && StdTcpListener::bind(served.tcp).is_ok(),
        "closed"
    );
}

#[tokio::test]
async fn foreign_names_go_to_the_first_server_that_is_well() {
    let (ok, nx, fail, refused) = (
        stub(Mood::Code(0)).await,
        stub(Mood::Code(3)).await,
        stub(Mood::Code(2)).await,
        stub(Mood::Code(5)).await,
    );
    let (silent, spoofed) = (stub(Mood::Silent).await, stub(Mood::Spoofed).await);
    let closed = StdTcpListener::bind(LOCALHOST)
        .expect("a port")
        .local_addr()
        .expect("its number");
    for (what, servers, code) in [
        ("the first answers", vec![ok, nx], 0),
        ("a name that does not exist is final", vec![nx, ok], 3),
        ("the next after a failure", vec![fail, nx], 3),
        ("the next after a refusal", vec![refused, nx], 3),
        ("the next after silence", vec![silent, nx], 3),
        ("the next after a closed port", vec![closed, nx], 3),
        ("three are tried", vec![fail, fail, refused, ok], 5),
        ("none", vec![], 2),
        ("nobody answers", vec![silent], 2),
        ("forged replies are passed over", vec![spoofed, ok], 3),
    ] {
        let served = served(servers, Limits::default());
        let reply = ask_udp(served.udp, &question("example.com.")).await;
        assert_eq!(
            (reply.metadata.id, u16::from(reply.metadata.response_code)),
            (77, code),
            "{what}"
        );
        let mut stream = TcpStream::connect(served.tcp).await.expect("connected");
        let reply = ask_tcp(&mut stream, &question("example.com.")).await;
        assert_eq!(
            (reply.metadata.id, u16::from(reply.metadata.response_code)),
            (77, code),
            "{what}, tcp"
        );
        served.running.stop().await;
    }
}

#[tokio::test]
async fn forwards_are_bounded_and_local_names_go_on() {
    let silent = stub(Mood::Silent).await;
    let served = served(
        vec![silent],
        Limits {
            forwards: 2,
            ..Limits::default()
        },
    );
    let socket = UdpSocket::bind(LOCALHOST).await.expect("a socket");
    for name in ["a.example.com.", "b.example.com.", "c.example.com."] {
        socket.send_to(&question(name), served.udp).await.expect("sent");
    }
    let mut buffer = [0; 512];
    let length = timeout(LONG, socket.recv(&mut buffer))
        .await
        .expect("in time")
        .expect("a reply");
    let reply = Message::from_vec(&buffer[..length]).expect("a message");
    assert_eq!(
        u16::from(reply.metadata.response_code),
        5,
        "the third is refused at once"
    );
    assert_eq!(ask_udp(served.udp, &question("web.")).await.answers.len(), 1);
    served.running.stop().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_is_left() {
    let limits = Limits {
        connections: 1,
        idle: Duration::from_millis(500),
        ..Limits::default()
    };
    let served = served(Vec::new(), limits);
    let mut first = TcpStream::connect(served.tcp).await.expect("connected");
    first.write_all(&[0, 200, 1, 2]).await.expect("half a message");
    let mut second = TcpStream::connect(served.tcp).await.expect("queued");
    assert_eq!(
        ask_tcp(&mut second, &question("web.")).await.answers.len(),
        1,
        "its turn comes"
    );
    assert_eq!(first.read(&mut [0; 8]).await.expect("closed"), 0);
    served.running.stop().await;
}

/// A server that counts, and answers with these seconds once it may.
async fn counting(ttl: u32, may: Arc<Semaphore>) -> (SocketAddr, Arc<AtomicU32>) {
    let udp = UdpSocket::bind(LOCALHOST).await.expect("udp");
    let (address, asked) = (udp.local_addr().expect("udp"), Arc::new(AtomicU32::new(0)));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
            counter.fetch_add(1, Ordering::Relaxed);
            let query = Message::from_vec(&buffer[..length]).expect("a query");
            let mut reply = Message::response(query.metadata.id, OpCode::Query);
            let name = query.queries[0].name().clone();
            reply.add_queries(query.queries);
            reply.add_answer(Record::from_rdata(name, ttl, RData::A(A::new(10, 9, 8, 7))));
            let Ok(permit) = may.acquire().await else {
                return;
            };
            drop(permit);
            udp.send_to(&reply.to_vec().expect("bytes"), client).await.ok();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_crowd_that_asks_the_same_asks_once_and_later_not_at_all() {
    let may = Arc::new(Semaphore::new(0));
    let (server, asked) = counting(300, Arc::clone(&may)).await;
    let served = served(vec![server], Limits::default());
    let question = question("example.com.");
    let crowd: Vec<_> = (0..20).map(|_| ask_udp(served.udp, &question)).collect();
    let open = async {
        while served.counters.read().forwarded < 20 {
            tokio::task::yield_now().await;
        }
        may.add_permits(1);
    };
    let (replies, ()) = tokio::join!(futures::future::join_all(crowd), open);
    assert!(
        replies
            .iter()
            .all(|reply| reply.answers.len() == 1 && reply.metadata.id == 77)
    );
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let mut stream = TcpStream::connect(served.tcp).await.expect("connected");
    assert_eq!(
        ask_tcp(&mut stream, &question).await.answers.len(),
        1,
        "from memory, over TCP too"
    );
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let counts = Counts {
        queries: 21,
        local: 0,
        cached: 1,
        forwarded: 20,
        failed: 0,
    };
    assert_eq!(served.counters.read(), counts);
    served.running.stop().await;
}

#[tokio::test]
async fn what_was_known_is_served_when_nobody_answers_any_more() {
    let may = Arc::new(Semaphore::new(1));
    let (server, asked) = counting(1, Arc::clone(&may)).await;
    let served = served(vec![server], Limits::default());
    let question = question("example.com.");
    assert_eq!(ask_udp(served.udp, &question).await.answers[0].ttl, 1);
    may.close();
    let deadline = std::time::Instant::now() + LONG;
    // Once its second has passed the server is asked again, in vain.
    while asked.load(Ordering::Relaxed) < 2 {
        let reply = ask_udp(served.udp, &question).await;
        assert_eq!(reply.answers.len(), 1);
        assert!(std::time::Instant::now() < deadline, "never asked again");
    }
    // The fastest of a few tells: a busy machine slows some.
    let mut fastest = LONG;
    for _ in 0..5 {
        let began = std::time::Instant::now();
        assert_eq!(ask_udp(served.udp, &question).await.answers.len(), 1);
        fastest = fastest.min(began.elapsed());
    }
    assert!(
        fastest < Duration::from_millis(200),
        "the silence is known: {fastest:?}"
    );
    served.running.stop().await;
}

#[tokio::test]
async fn a_silent_server_costs_a_moment_and_then_nothing() {
    let (silent, nx) = (stub(Mood::Silent).await, stub(Mood::Code(3)).await);
    let served = served(vec![silent, nx], Limits::default());
    let mut times = Vec::new();
    for name in ["a.example.com.", "b.example.com.", "c.example.com."] {
        let began = std::time::Instant::now();
        let reply = ask_udp(served.udp, &question(name)).await;
        assert_eq!(u16::from(reply.metadata.response_code), 3);
        times.push(began.elapsed());
    }
    assert!(
        times[0] >= Duration::from_millis(90),
        "the first has its head start: {times:?}"
    );
    // None waits for it, and what that costs the fastest tells, on a busy machine too.
    let (fastest, slowest) = (times.iter().min(), times.iter().max());
    assert!(
        fastest < Some(&Duration::from_millis(290)) && slowest < Some(&Duration::from_secs(2)),
        "{times:?}"
    );
    served.running.stop().await;
}

#[tokio::test]
async fn dead_servers_cost_one_client_a_while_and_are_noticed_when_they_are_back() {
    let socket = UdpSocket::bind(LOCALHOST).await.expect("a server");
    let served = served(vec![socket.local_addr().expect("an address")], Limits::default());
    let code = |message: Message| u16::from(message.metadata.response_code);
    assert_eq!(code(ask_udp(served.udp, &question("a.example.com.")).await), 2);
    // From now on nobody is kept waiting: no packet leaves for these, but for one each second.
    let began = std::time::Instant::now();
    for number in 0..20 {
        let name = format!("n{number}.example.com.");
        assert_eq!(code(ask_udp(served.udp, &question(&name)).await), 2, "{name}");
    }
    let mut buffer = [0; 512];
    let mut heard = BTreeSet::new();
    while let Ok((length, _)) = socket.try_recv_from(&mut buffer) {
        let query = Message::from_vec(&buffer[..length]).expect("a query");
        heard.insert(query.queries[0].name().to_string());
    }
    let tried = 1 + began.elapsed().as_secs() as usize;
    assert!(
        heard.contains("a.example.com.") && heard.len() <= tried,
        "only the first was sent on: {heard:?}"
    );
    tokio::spawn(async move {
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            for reply in replies(Mood::Code(3), &buffer[..length]) {
                socket.send_to(&reply, client).await.ok();
            }
        }
    });
    let deadline = std::time::Instant::now() + LONG;
    while code(ask_udp(served.udp, &question("b.example.com.")).await) != 3 {
        assert!(std::time::Instant::now() < deadline, "never noticed");
    }
    served.running.stop().await;
}
