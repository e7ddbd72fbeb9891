//! Pins, visits and sockets.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    thread,
};

use nix::sys::socket::{AddressFamily, SockType};

use super::{create, current, enter, open, remove, socket_in, tcp_in, udp_in};
use crate::{
    Error,
    linux::tests::{Pins, apart},
};

fn identity(path: &Path) -> u64 {
    let netns = open(path).expect("a namespace");
    fs::File::from(netns).metadata().expect("its inode").ino()
}

fn own() -> u64 {
    let netns = current().expect("a namespace");
    fs::File::from(netns).metadata().expect("its inode").ino()
}

#[test]
fn a_namespace_is_made_entered_and_removed_and_the_caller_stays_where_it_is() {
    apart(|| {
        let (pins, before) = (Pins::new(), own());
        let path = pins.path().join("box");
        create(&path).expect("making it");
        assert!(matches!(create(&path), Err(Error::Exists(_))));
        let inside = enter(&path, || Ok(own())).expect("entering it");
        assert_eq!(inside, identity(&path));
        assert_ne!(inside, before);
        remove(&path).expect("removing it");
        remove(&path).expect("removing what is gone");
        assert!(matches!(open(&path), Err(Error::NoSuch { .. })));
        assert_eq!(own(), before);
    });
}

#[test]
fn the_folders_own_mount_goes_with_the_last_pin() {
    apart(|| {
        let pins = Pins::new();
        let mounts = || {
            let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("the mounts");
            let folder = pins.path();
            let folder = folder.to_str().expect("a path of text");
            mounts.lines().filter(|line| line.contains(folder)).count()
        };
        let [first, second] = ["first", "second"].map(|name| pins.path().join(name));
        create(&first).expect("the first");
        create(&second).expect("the second");
        assert_eq!(mounts(), 3);
        remove(&first).expect("the first");
        assert_eq!(mounts(), 2);
        remove(&second).expect("the second");
        assert_eq!(mounts(), 0);
    });
}

#[test]
fn a_file_that_pins_nothing_is_taken_over() {
    apart(|| {
        let pins = Pins::new();
        let path = pins.path().join("box");
        fs::create_dir_all(pins.path()).expect("the folder");
        fs::write(&path, "").expect("a file left by a restart");
        assert!(matches!(open(&path), Err(Error::NoSuch { .. })));
        create(&path).expect("taking it over");
        assert_ne!(identity(&path), own());
    });
}

#[test]
fn a_process_namespace_is_as_good_as_a_pin() {
    apart(|| {
        let path = Path::new("/proc/thread-self/ns/net");
        assert_eq!(identity(path), own());
    });
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    apart(|| {
        let pins = Pins::new();
        thread::scope(|scope| {
            for worker in 0..4 {
                let folder = pins.path();
                scope.spawn(move || {
                    for number in 0..8 {
                        let path = folder.join(format!("{worker}-{number}"));
                        create(&path).expect("making one");
                        open(&path).expect("opening it");
                        remove(&path).expect("removing it");
                    }
                });
            }
        });
    });
}

#[test]
fn sockets_belong_to_the_namespace_they_were_opened_in() {
    apart(|| {
        let pins = Pins::new();
        let path = pins.path().join("box");
        create(&path).expect("making it");
        // The loopback is up: its whole network answers.
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 11), 0));
        let server = udp_in(&path, address).expect("a UDP socket");
        let listener = tcp_in(&path, address).expect("a TCP listener");
        let client = udp_in(&path, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a client");
        client
            .send_to(b"hello", server.local_addr().expect("its address"))
            .expect("sending");
        let mut bytes = [0; 8];
        let (length, _) = server.recv_from(&mut bytes).expect("receiving");
        assert_eq!(&bytes[..length], b"hello");
        let port = listener.local_addr().expect("its address").port();
        assert!(
            std::net::TcpStream::connect((Ipv4Addr::new(127, 0, 0, 11), port)).is_err(),
            "the listener can be reached from the host"
        );
        let raw = socket_in(&path, AddressFamily::Inet, SockType::Stream).expect("any socket");
        assert!(raw.as_fd().try_clone_to_owned().is_ok());
    });
}

#[test]
fn entering_nowhere_is_told_by_its_path() {
    let error = enter(Path::new("/nowhere/box"), || Ok(())).expect_err("there is none");
    assert_eq!(
        error.to_string(),
        r#"namespace "/nowhere/box": there is no namespace at that path"#
    );
}

#[test]
fn a_namespace_of_another_kind_is_none_of_networks() {
    for kind in ["mnt", "uts", "pid"] {
        let path = format!("/proc/thread-self/ns/{kind}");
        let refused = open(Path::new(&path));
        assert!(
            matches!(refused, Err(Error::NoSuch { .. })),
            "{kind}: {refused:?}"
        );
    }
    assert!(open(Path::new("/proc/thread-self/ns/net")).is_ok());
}
