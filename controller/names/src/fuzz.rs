//! What comes over the helper's socket, and what lies in its folder after a crash.

use std::io::ErrorKind;

use fuzz::run;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::protocol::{CaughtUp, Hello, Push, Welcome, receive};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Receives a message of which all bytes are there already. Answers the rest, or why there is none.
fn read<T: DeserializeOwned>(runtime: &Runtime, bytes: &[u8]) -> Result<(T, usize), ErrorKind> {
    let mut rest = bytes;
    let read = runtime.block_on(receive::<T>(&mut rest));
    read.map(|message| (message, rest.len()))
        .map_err(|error| error.kind())
}

fn framed(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short one");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

#[test]
fn messages() {
    let id = "ab".repeat(32);
    let push =
        format!(r#"{{"generation":7,"resync":true,"more":false,"changes":[{{"no_sandbox":"{id}"}}]}}"#);
    let texts = [
        push.as_str(),
        r#"{"generation":8,"changes":[]}"#,
        r#"{"oldest":1,"newest":3}"#,
        r#"{"version":null,"pid":7}"#,
        r#"{"generation":7,"troubles":["no"]}"#,
    ];
    let good = texts.map(framed);
    let good: Vec<&[u8]> = good.iter().map(Vec::as_slice).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let on = &runtime.expect("a runtime");
    run("messages", HERE, &good, |bytes| {
        let left = |rest: usize| assert!(rest + 4 <= bytes.len(), "a length and a text were taken");
        let push = read::<Push>(on, bytes).map(|(push, rest)| {
            left(rest);
            (push.resync, push.more, push.changes.len().min(3))
        });
        let hello = read::<Hello>(on, bytes).map(|(hello, _)| hello.agree());
        let welcome = read::<Welcome>(on, bytes).map(|(welcome, _)| welcome.version.is_some());
        let caught_up = read::<CaughtUp>(on, bytes).map(|(told, _)| told.counters.is_some());
        (push, hello, welcome, caught_up)
    });
}
