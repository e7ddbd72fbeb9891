//! `cnm demo`

use clap::{Args, ValueEnum};

use super::Context;
use crate::error::Outcome;

/// Play with two hosts, an overlay network and containers that find each other, and check all of it
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Where the hosts keep what they share; embedded is one host's own
    #[arg(long, value_enum, default_value = "etcd", value_name = "STORE")]
    store: Store,
    /// Leave it up, and say how to play with it
    #[arg(long)]
    keep: bool,
    /// Take down what --keep left up
    #[arg(long, conflicts_with_all = ["store", "keep"])]
    down: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    Etcd,
    Consul,
    Embedded,
}

impl Demo {
    /// Runs it.
    pub(crate) fn run(self, _context: &Context) -> Outcome {
        if self.down {
            return Ok(demo::down());
        }
        let store = match self.store {
            Store::Etcd => demo::Store::Etcd,
            Store::Consul => demo::Store::Consul,
            Store::Embedded => demo::Store::Embedded,
        };
        Ok(demo::run(demo::Options {
            store,
            keep: self.keep,
        }))
    }
}
