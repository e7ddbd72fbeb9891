//! Images at rest: configurations named by their digest, layers unpacked once each, and the references that name them.
//!
//! A [`Store`] takes images in ([`Store::import`], [`Store::load`]), finds them and gives their layers as directories
//! that overlayfs takes as they are. An image becomes visible by one rename of the index, after everything it needs is
//! on disk; a crash before that leaves only what the next [`Store::open`] sweeps away. Archives are foreign bytes:
//! nothing in them is believed before it is checked, and a refused one changes nothing.
//!
//! Everything here is synchronous and may take seconds: async callers use a blocking thread.
#![forbid(unsafe_code)]

mod archive;
mod changes;
mod copy;
mod digest;
mod document;
mod error;
mod index;
mod layer;
mod pack;
mod reference;
mod spool;
mod store;
mod tree;

pub use archive::Limits;
pub use copy::{Copy, copy_in, copy_in_as};
pub use digest::{Digest, ImageId};
pub use document::{Defaults, Document, Empty, Healthcheck, HistoryEntry, RootFs};
pub use error::{Error, Refusal, Result};
pub use pack::{Owners, pack, pack_as};
pub use reference::Reference;
pub use store::{Image, Import, Loaded, Removed, Store, User};
