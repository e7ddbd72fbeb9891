//! Published ports, decided: pure, from what is wished and what is taken to the host's ports that lead into a container.
//!
//! Everything here is about intervals, so that ten thousand ports in a row cost what one does.
#![forbid(unsafe_code)]

mod assign;
mod book;
mod claims;
mod intervals;

pub use assign::{Assignment, Defaults, Violation, assign};
pub use book::{Holder, Listener};
pub use claims::{Claim, Claims, Span};
pub use intervals::Intervals;
