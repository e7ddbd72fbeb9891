//! The real `cnm-names` program serving real network namespaces, told by a real client. Needs root.
//!
//! Every test's thread has a network namespace of its own, which is the "host" of the helper that it starts.

mod program {
    pub(crate) mod world;
}

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use model::{Exposure, Protocol, PublishedPorts};
use nix::sys::signal::{Signal, kill};
use program::world::{World, answer_everything, time};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cnm-names");

/// Waits for a condition, with a deadline.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{what} did not come about"
        );
        thread::yield_now();
    }
    began.elapsed()
}

#[test]
fn twenty_sandboxes_resolve_each_other_until_they_are_removed() {
    let mut world = World::new();
    let network = world.network("front", false);
    let sandboxes: Vec<_> = (0..20)
        .map(|number| world.sandbox(&format!("c{number}"), network, &[]))
        .collect();
    let client = world.client();
    world.publish_and_wait(&client);
    for (number, sandbox) in sandboxes.iter().enumerate() {
        let other = (number + 7) % 20;
        for name in [format!("c{other}."), format!("C{other}.FRONT.")] {
            let wanted = [Ipv4Addr::new(10, 9, 0, 2 + other as u8)];
            assert_eq!(
                world.udp(sandbox, &name, RecordType::A).addresses(),
                wanted,
                "{name} over UDP"
            );
            assert_eq!(
                world.tcp(sandbox, &name, RecordType::A).addresses(),
                wanted,
                "{name} over TCP"
            );
        }
        let reverse = world.udp(
            sandbox,
            &format!("{}.0.9.10.in-addr.arpa.", 2 + other),
            RecordType::PTR,
        );
        assert_eq!(
            reverse.message.answers[0].data.to_string(),
            format!("c{other}.front.")
        );
    }
    let gone = &sandboxes[3];
    world.remove_sandbox(gone);
    world.publish_and_wait(&client);
    let free = kernel::netns::enter(&gone.netns, || {
        UdpSocket::bind(("127.0.0.11", gone.ports.udp))?;
        TcpListener::bind(("127.0.0.11", gone.ports.tcp))
    });
    assert!(
        free.is_ok(),
        "its sockets were closed before the generation was acknowledged"
    );
    let reply = world.udp(&sandboxes[0], "c3.", RecordType::A);
    assert!(reply.addresses().is_empty());
    assert!(
        world
            .udp(&sandboxes[0], "c4.", RecordType::AAAA)
            .message
            .answers
            .is_empty()
    );
    assert_eq!(
        world.udp(&sandboxes[0], "c4.", RecordType::MX).code(),
        ResponseCode::NoError
    );
    world.stop(&client);
}

#[test]
fn a_killed_helper_is_back_within_a_second_at_the_same_ports() {
    let mut world = World::new();
    let network = world.network("front", false);
    let (a, b) = (world.sandbox("a", network, &[]), world.sandbox("b", network, &[]));
    let client = world.client();
    world.publish_and_wait(&client);
    // A busy machine slows some: the fastest tells.
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let before = world.helper();
        kill(before, Signal::SIGKILL).expect("killed");
        let took = eventually("another helper", || {
            world.is_resolved(&a, "b.") && world.try_helper() != Some(before)
        });
        fastest = fastest.min(took);
    }
    assert!(fastest < Duration::from_secs(1), "it took {fastest:?}");
    let c = world.sandbox("c", network, &[]);
    world.publish_and_wait(&client);
    assert!(
        world.is_resolved(&b, "c.") && world.is_resolved(&c, "a."),
        "and it is told of changes"
    );
    world.stop(&client);
}

#[test]
fn a_helper_starts_from_its_mirror_alone_and_forgets_sandboxes_that_are_gone() {
    let mut world = World::new();
    let network = world.network("front", false);
    let (a, b) = (world.sandbox("a", network, &[]), world.sandbox("b", network, &[]));
    let client = world.client();
    world.publish_and_wait(&client);
    world.stop(&client);
    assert!(world.is_resolved(&a, "b."), "it serves on without a daemon");
    kill(world.helper(), Signal::SIGKILL).expect("killed");
    eventually("its end", || world.try_helper().is_none());
    kernel::netns::remove(&b.netns).expect("unpinned");
    world.start_helper(PROGRAM);
    assert!(
        world.is_resolved(&a, "b."),
        "from its mirror alone; the daemon has not said that b is gone"
    );
    let client = world.client();
    world.publish_and_wait(&client);
    assert!(
        world.is_resolved(&a, "a."),
        "what can't be served stops nobody else"
    );
    world.stop(&client);
}

#[test]
fn a_new_daemon_takes_the_helper_over_and_tells_it_everything() {
    let mut world = World::new();
    let network = world.network("front", false);
    let (a, b) = (world.sandbox("a", network, &[]), world.sandbox("b", network, &[]));
    let client = world.client();
    world.publish_and_wait(&client);
    let helper = world.helper();
    world.stop(&client);
    world.remove_sandbox(&b);
    let c = world.sandbox("c", network, &[]);
    assert!(world.is_resolved(&a, "b."), "nobody has told it yet");
    let client = world.client();
    world.publish_and_wait(&client);
    assert_eq!(world.helper(), helper, "the same process");
    assert!(!world.is_resolved(&a, "b.") && world.is_resolved(&a, "c.") && world.is_resolved(&c, "a."));
    world.stop(&client);
}

#[test]
fn a_second_helper_refuses_and_a_terminated_one_leaves_no_socket() {
    let mut world = World::new();
    let network = world.network("front", false);
    world.sandbox("a", network, &[]);
    let client = world.client();
    world.publish_and_wait(&client);
    world.stop(&client);
    let root = world.exec_root();
    let second = Command::new(PROGRAM)
        .arg("--exec-root")
        .arg(&root)
        .stdin(Stdio::null())
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && said.contains("another cnm-names serves this exec-root"),
        "{said}"
    );
    kill(world.helper(), Signal::SIGTERM).expect("asked to end");
    eventually("its end", || !root.join("names.sock").exists());
}

#[test]
fn foreign_names_are_asked_of_the_hosts_servers_or_the_sandboxs_own() {
    let mut world = World::new();
    let outside = world.network("outside", false);
    let inside = world.network("inside", true);
    let plain = world.sandbox("plain", outside, &[]);
    let own = world.sandbox("own", outside, &[Ipv4Addr::LOCALHOST.into()]);
    let closed = world.sandbox("closed", inside, &[]);
    answer_everything(Ipv4Addr::new(192, 0, 2, 1)).expect("a stub on the host");
    kernel::netns::enter(&own.netns, || answer_everything(Ipv4Addr::new(192, 0, 2, 2)))
        .expect("a stub inside");
    let client = world.client();
    world.publish_and_wait(&client);
    for (sandbox, wanted) in [(&plain, [192, 0, 2, 1]), (&own, [192, 0, 2, 2])] {
        assert_eq!(
            world.udp(sandbox, "example.com.", RecordType::A).addresses(),
            [Ipv4Addr::from(wanted)]
        );
        assert_eq!(
            world.tcp(sandbox, "example.com.", RecordType::A).addresses(),
            [Ipv4Addr::from(wanted)]
        );
    }
    assert_eq!(
        world.udp(&closed, "example.com.", RecordType::A).code(),
        ResponseCode::ServFail
    );
    assert_eq!(world.udp(&closed, "closed.", RecordType::A).addresses().len(), 1);
    world.stop(&client);
}

#[test]
fn a_port_that_is_taken_is_tried_again_until_it_is_free() {
    let mut world = World::new();
    let network = world.network("front", false);
    let (a, b) = (world.sandbox("a", network, &[]), world.sandbox("b", network, &[]));
    let squatter =
        kernel::netns::enter(&a.netns, || UdpSocket::bind(("127.0.0.11", a.ports.udp))).expect("bound");
    let client = world.client();
    world.publish_and_wait(&client);
    assert!(world.is_resolved(&b, "a."), "others are served");
    drop(squatter);
    eventually("service", || world.is_resolved(&a, "b."));
    world.stop(&client);
}

#[test]
fn more_sandboxes_are_served_than_the_soft_limit_of_descriptors_lets() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, 100, hard).expect("as a service without a word about it has");
    let mut world = World::new();
    let network = world.network("front", false);
    let sandboxes: Vec<_> = (0..60)
        .map(|number| world.sandbox(&format!("c{number}"), network, &[]))
        .collect();
    let client = world.client();
    world.publish_and_wait(&client);
    assert!(sandboxes.iter().all(|sandbox| world.is_resolved(sandbox, "c1.")));
    world.stop(&client);
}

#[test]
fn who_connects_and_says_nothing_is_left_and_holds_nobody_up() {
    use std::{io::Read as _, os::unix::net::UnixStream};
    let mut world = World::new();
    let network = world.network("front", false);
    let a = world.sandbox("a", network, &[]);
    world.start_helper(PROGRAM);
    let mut silent = UnixStream::connect(world.exec_root().join("names.sock")).expect("connected");
    silent
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a deadline");
    let client = world.client();
    world.publish_and_wait(&client);
    assert!(world.is_resolved(&a, "a."));
    assert_eq!(silent.read(&mut [0; 1]).expect("an end before the deadline"), 0);
    world.stop(&client);
}

/// Not a proof of speed (unoptimised, other tests beside it): it tells the figures.
#[test]
fn queries_are_answered_quickly_while_names_change() {
    let mut world = World::new();
    let network = world.network("front", false);
    let (a, b) = (world.sandbox("a", network, &[]), world.sandbox("b", network, &[]));
    let client = world.client();
    world.publish_and_wait(&client);
    let mut times = time(&b, "a.", 2000);
    times.sort();
    let middle = times[times.len() / 2];
    let mut changes: Vec<_> = (0..50)
        .map(|_| {
            let began = Instant::now();
            world.touch(network);
            world.publish_alone(&client);
            began.elapsed()
        })
        .collect();
    changes.sort();
    let change = changes[changes.len() / 2];
    let memory = world.helper_memory();
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| time(&b, "a.", 1000));
        }
    });
    let rate = 10_000.0 / began.elapsed().as_secs_f64();
    let p99 = times[times.len() * 99 / 100];
    println!("p50 {middle:?}, p99 {p99:?}, {rate:.0} q/s from 10, change {change:?}, helper {memory} KiB");
    assert!(middle < Duration::from_millis(20) && change < Duration::from_millis(200));
    assert!(world.is_resolved(&a, "b."));
    world.stop(&client);
}

#[test]
fn published_ports_are_relayed_while_the_daemon_is_gone_and_by_the_helper_that_follows_a_killed_one() {
    let mut world = World::new();
    let network = world.network("front", false);
    let place = world.sandbox("a", network, &[]);
    world.publish_port(
        &place,
        PublishedPorts {
            protocol: Protocol::Tcp,
            host_ip: Ipv6Addr::LOCALHOST.into(),
            host: "8080".parse().expect("a port"),
            container: "80".parse().expect("a port"),
            exposure: Exposure::Open,
        },
    );
    let container = TcpListener::bind(("10.9.0.2", 80)).expect("a server");
    thread::spawn(move || {
        for stream in container.incoming() {
            stream.expect("a connection").write_all(b"hello").ok();
        }
    });
    let greeted = || {
        let mut said = String::new();
        let stream = TcpStream::connect((Ipv6Addr::LOCALHOST, 8080));
        stream.is_ok_and(|mut stream| stream.read_to_string(&mut said).is_ok() && said == "hello")
    };
    let client = world.client();
    world.publish_and_wait(&client);
    assert!(greeted());
    let before = world.helper();
    kill(before, Signal::SIGKILL).expect("killed");
    let took = eventually("another helper", || {
        world.is_resolved(&place, "a.") && world.try_helper() != Some(before)
    });
    assert!(greeted(), "after {took:?}");
    world.stop(&client);
    assert!(greeted(), "without the daemon");
}

#[test]
fn what_was_asked_is_counted_for_every_sandbox() {
    let mut world = World::new();
    answer_everything(Ipv4Addr::new(9, 9, 9, 9)).expect("a server");
    let network = world.network("front", false);
    let (a, b) = (world.sandbox("a", network, &[]), world.sandbox("b", network, &[]));
    let client = world.client();
    world.publish_and_wait(&client);
    for name in ["b.", "a.", "example.com.", "example.com.", "EXAMPLE.com."] {
        assert_eq!(world.udp(&a, name, RecordType::A).addresses().len(), 1, "{name}");
    }
    let counted = world.counts(&client, &a);
    assert_eq!(
        (
            counted.queries,
            counted.local,
            counted.forwarded,
            counted.cached,
            counted.failed
        ),
        (5, 2, 1, 2, 0)
    );
    // What one sandbox asked of the host's servers, another need not ask again.
    world.udp(&b, "example.com.", RecordType::A);
    let counted = world.counts(&client, &b);
    assert_eq!((counted.queries, counted.forwarded, counted.cached), (1, 0, 1));
    world.stop(&client);
}
