//! Requests through the router to a real engine on a fake kernel, and a socket with a client.

#[path = "../../engine/src/tests/bench.rs"]
mod bench;
mod changes;
mod client;
mod containers;
mod coverage;
mod images;
mod networks;
mod ports;
mod protocol;
mod versions;
