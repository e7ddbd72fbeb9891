//! What comes over a shim's socket, from a daemon or a shim of another version.

use std::mem::{Discriminant, discriminant};

use fuzz::run;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Envelope, Exec, Exit, Reply, Request, State, Status, frame};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Reads one message both ways, and what it is written as again.
fn read<M>(bytes: &[u8]) -> Result<Option<Discriminant<M>>, std::io::ErrorKind>
where
    M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let taken = frame::decode::<Envelope<M>>(bytes).map_err(|error| error.kind())?;
    let streamed = frame::read::<Envelope<M>>(&mut &bytes[..]);
    let Some((message, length)) = taken else {
        assert!(streamed.is_err(), "it is not all there");
        return Ok(None);
    };
    assert!(length <= bytes.len(), "{length} of {} bytes", bytes.len());
    assert_eq!(streamed.expect("the same"), message);
    let again = frame::encode(&message).expect("what was read can be written");
    let (read, whole) = frame::decode::<Envelope<M>>(&again)
        .expect("and read")
        .expect("all of it");
    assert_eq!((read.message == message.message, whole), (true, again.len()));
    Ok(Some(discriminant(&message.message)))
}

fn framed(messages: &[impl Serialize]) -> Vec<Vec<u8>> {
    let frames = messages.iter().map(frame::encode);
    frames.collect::<Result<_, _>>().expect("messages")
}

#[test]
fn requests() {
    let good = framed(&[
        Envelope::new(Request::Start { exec: None }),
        Envelope::new(Request::Kill { signal: 15 }),
        Envelope::new(Request::Exec(Exec {
            id: "e".to_owned(),
            process: "{}".to_owned(),
            tty: true,
            stdin: false,
            unconfined: false,
        })),
    ]);
    let good: Vec<&[u8]> = good.iter().map(Vec::as_slice).collect();
    run("requests", HERE, &good, read::<Request>);
}

#[test]
fn replies() {
    let good = framed(&[
        Envelope::new(Reply::Started { pid: 7 }),
        Envelope::new(Reply::State(State {
            status: Status::Running,
            pid: Some(7),
            exit: None,
        })),
    ]);
    let good: Vec<&[u8]> = good.iter().map(Vec::as_slice).collect();
    run("replies", HERE, &good, read::<Reply>);
}

#[test]
fn exits() {
    let good: &[u8] = br#"{"code":137,"finished":"2026-01-01T00:00:00Z","oom_killed":true}"#;
    run("exits", HERE, &[good, b"{}"], |bytes| {
        serde_json::from_slice::<Exit>(bytes).is_ok()
    });
}
