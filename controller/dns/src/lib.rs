//! Name service inside each sandbox.
//!
//! [`Names`] is what this host knows, kept up to date by changes; a [`NameTable`] is what one sandbox may see of it;
//! [`answer`] is the pure decision; [`serve`] only moves bytes. What is not ours is forwarded as the packet came.
//! Sockets are opened by the caller, inside the sandbox's namespace; they keep it, so one runtime serves them all.
#![forbid(unsafe_code)]

mod answer;
mod facts;
mod message;
mod names;
mod server;
mod upstream;

pub use answer::{Answer, answer};
pub use facts::{Change, EndpointFacts, NetworkFacts, SandboxFacts};
pub use message::{Kind, Malformed, Query, Request};
pub use names::{NameTable, Names};
pub use server::{Limits, Running, Sockets, Source, serve};
pub use upstream::{Exit, Transport, Upstreams};
