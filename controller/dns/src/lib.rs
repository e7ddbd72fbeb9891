//! Name service inside each sandbox.
//!
//! [`Names`] is what this host knows, kept up to date by changes; a [`NameTable`] is what one sandbox may see of it;
//! [`answer`] is the pure decision; [`serve`] only moves bytes. What is not ours goes to servers, through [`Upstreams`], which remember what was said.
//! Sockets are opened by the caller, inside the sandbox's namespace; they keep it, so one runtime serves them all.
#![forbid(unsafe_code)]

mod answer;
mod cache;
mod datagrams;
mod exchange;
mod facts;
#[cfg(test)]
mod fuzz;
mod health;
mod message;
mod names;
mod pulse;
mod server;
mod upstream;
mod wire;

pub use answer::{Answer, Service, answer, answer_host};
pub use cache::Room;
pub use exchange::{Exit, Transport};
pub use facts::{Change, EndpointFacts, NetworkFacts, SandboxFacts, has_ndots};
pub use message::{Kind, Malformed, Query, Request};
pub use names::{NameTable, Names};
pub use server::{Counters, Counts, Limits, Running, Sockets, Source, serve};
pub use upstream::{Keeping, Upstreams};
