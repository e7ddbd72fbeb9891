//! `cnm-cni`: the plugin of the Container Network Interface that puts containers of others on our networks.
//!
//! A runtime (containerd, podman, Kubernetes) starts it for every call, with parameters in the environment and the
//! network's configuration on stdin, and reads one JSON document from stdout. It decides nothing about networks: what is
//! asked is translated, sent to the daemon, and the answer is translated back into the shape of the specification's
//! version. See <https://www.cni.dev/docs/spec/>.
#![forbid(unsafe_code)]

mod commands;
mod config;
mod daemon;
mod environment;
mod failure;
#[cfg(test)]
mod fuzz;
mod outcome;
mod version;

pub use commands::run;
pub use config::{Config, MAX_CONFIG};
pub use environment::{Arguments, Command, Environment};
pub use failure::{Code, Failure};
pub use outcome::Outcome;
pub use version::Version;
