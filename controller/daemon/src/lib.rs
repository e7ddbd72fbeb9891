//! The daemon: reads its configuration, constructs every part, serves, and drains.
//!
//! The only crate that knows everybody. It may crash, restart or be upgraded at any moment: what must go on (containers,
//! names) lives in processes of its own.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod config;
pub mod identity;
pub mod lock;
pub mod metrics;
pub mod name_service;
pub mod notify;
pub mod options;
pub mod programs;
pub mod reload;
pub mod telemetry;
pub mod users;
pub mod wire;
