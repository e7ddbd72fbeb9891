//! Linux networking as data: observe, plan, apply.
//!
//! A caller says what objects should be; [`plan`] is the pure difference to what is; [`ensure`] closes the gap and walks
//! back on failure. Synchronous throughout and free of tokio: a namespace belongs to a thread, and sync code can't
//! migrate. Callers run it on a small pool of blocking workers.

pub mod object;
pub mod owner;
pub mod ruleset;
pub mod state;

pub use object::{Key, Netns, Object};
pub use owner::{Mark, Owner};
pub use state::KernelState;
