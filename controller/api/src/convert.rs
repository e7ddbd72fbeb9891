//! Docker's shapes to the engine's values and back: every compatibility oddity lives below here, each with its test.

pub(crate) mod create;
pub(crate) mod disk;
pub(crate) mod duration;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod files;
pub(crate) mod filter;
pub(crate) mod host_config;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod log;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod sandbox;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod time;
pub(crate) mod versions;
pub(crate) mod volume;
