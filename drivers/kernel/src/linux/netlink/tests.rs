//! Answers that no kernel should give: the test is the kernel, at the other end of a pair of sockets.

use std::os::{
    fd::{FromRawFd as _, IntoRawFd as _},
    unix::net::UnixDatagram,
};

use netlink_packet_route::link::LinkMessage;

use super::*;

const NEWLINK: u16 = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A connection, and the kernel's end of it.
fn pair() -> (Connection, UnixDatagram) {
    let (ours, kernels) = UnixDatagram::pair().expect("a pair of sockets");
    ours.set_read_timeout(Some(std::time::Duration::from_millis(10)))
        .expect("a test that never waits long");
    let connection = Connection {
        // SAFETY: the descriptor is open and nobody else's from here on.
        socket: unsafe { Socket::from_raw_fd(ours.into_raw_fd()) },
        sequence: 0,
        sent: Arc::default(),
        sound: true,
    };
    (connection, kernels)
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).expect("short");
    let mut bytes = [
        &length.to_ne_bytes()[..],
        &kind.to_ne_bytes(),
        &flags.to_ne_bytes(),
    ]
    .concat();
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes.resize(aligned(bytes.len()), 0);
    bytes
}

/// A link of that index without attributes.
fn link(sequence: u32, flags: u16, index: u8) -> Vec<u8> {
    message(
        NEWLINK,
        flags,
        sequence,
        &[0, 0, 0, 0, index, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    )
}

fn status(sequence: u32, errno: i32) -> Vec<u8> {
    let request = message(NEWLINK, 0, sequence, &[]);
    message(
        ERROR,
        0,
        sequence,
        &[&(-errno).to_ne_bytes()[..], &request].concat(),
    )
}

fn done(sequence: u32) -> Vec<u8> {
    message(DONE, 0, sequence, &[0; 4])
}

fn ask() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkMessage::default())
}

fn indexes(objects: &[RouteNetlinkMessage]) -> Vec<u32> {
    let index = |object: &RouteNetlinkMessage| match object {
        RouteNetlinkMessage::NewLink(link) => link.header.index,
        _ => 0,
    };
    objects.iter().map(index).collect()
}

#[test]
fn a_dump_that_was_interrupted_is_made_again() {
    let (mut connection, kernel) = pair();
    kernel
        .send(&[link(1, INTERRUPTED, 1), done(1)].concat())
        .expect("sent");
    kernel
        .send(&[link(2, 0, 1), link(2, 0, 2), done(2)].concat())
        .expect("sent");
    let found = connection.dump(&ask()).expect("a list");
    assert_eq!(indexes(&found), [1, 2]);
}

#[test]
fn a_dump_that_is_interrupted_without_end_is_taken_as_it_is() {
    let (mut connection, kernel) = pair();
    for sequence in 1..=10 {
        kernel
            .send(&[link(sequence, INTERRUPTED, 7), done(sequence)].concat())
            .expect("sent");
    }
    let found = connection.dump(&ask()).expect("a list");
    assert_eq!(indexes(&found), [7]);
}

#[test]
fn what_cannot_be_read_is_left_out_of_a_list_and_fails_alone() {
    let (mut connection, kernel) = pair();
    let nonsense = |sequence| message(NEWLINK, 0, sequence, &[1, 2, 3]);
    kernel
        .send(&[link(1, 0, 1), nonsense(1), link(1, 0, 2), done(1)].concat())
        .expect("sent");
    let found = connection.dump(&ask()).expect("a list");
    assert_eq!(indexes(&found), [1, 2]);
    kernel.send(&nonsense(2)).expect("sent");
    connection
        .get(ask())
        .expect_err("there is one, but nobody knows what it is");
    assert!(connection.is_sound());
}

#[test]
fn an_answer_to_an_earlier_request_is_not_taken_for_none() {
    let (mut connection, kernel) = pair();
    connection.sequence = 5;
    kernel.send(&link(3, 0, 1)).expect("sent");
    kernel.send(&link(6, 0, 2)).expect("sent");
    let found = connection.get(ask()).expect("an answer");
    assert_eq!(indexes(&found.into_iter().collect::<Vec<_>>()), [2]);
}

#[test]
fn a_datagram_cut_anywhere_is_no_answer_and_the_socket_is_not_used_again() {
    let whole = [link(1, 0, 1), done(1)].concat();
    for length in 0..whole.len() {
        let (mut connection, kernel) = pair();
        kernel.send(&whole[..length]).expect("sent");
        assert!(connection.dump(&ask()).is_err(), "{length} bytes");
        assert!(!connection.is_sound(), "{length} bytes");
    }
}

#[test]
fn changes_answered_before_the_socket_failed_are_known_to_be_done() {
    let (mut connection, kernel) = pair();
    let changes = || (RouteNetlinkMessage::SetLink(LinkMessage::default()), CHANGE);
    for sequence in 1..=100 {
        let errno = if sequence == 3 { 16 } else { 0 };
        kernel.send(&status(sequence, errno)).expect("sent");
    }
    let answers = connection.change_all(std::iter::repeat_with(changes).take(150).collect());
    assert_eq!(answers.len(), 150);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 99);
    assert!(answers[2].is_err() && answers[100..].iter().all(Result::is_err));
    assert!(!connection.is_sound(), "the rest may still be answered");
}
