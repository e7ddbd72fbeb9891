//! Our figures beside the same kernel work done by hand, from one run.
//!
//! Machines differ and are noisy: what counts is the ratio of two medians whose samples were taken in turns. Where
//! dockerd or podman are on PATH, they are measured in the same turns.
#![forbid(unsafe_code)]
// A report is printed.
#![allow(clippy::print_stdout)]

mod containers;
mod docker;
mod floor;
mod inside;
mod loopback;
mod many;
mod names;
mod networks;
mod others;
mod overlay;
mod plugins;
mod ports;
mod report;
mod scale;
mod segment;
mod setup;
mod visible;

use clap::Parser;

use crate::{report::Report, setup::Setup};

/// Measures cnm beside the floor made by hand.
#[derive(Debug, Parser)]
#[command(name = "cnm-bench")]
struct Arguments {
    /// Samples of each operation.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    samples: u16,
    /// Seconds of each throughput sample.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=60))]
    seconds: u16,
    /// Networks, and endpoints on one network, at most: measured are the 1st, the 100th and the 1,000th.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    scale: u16,
    /// Only operations whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Print JSON after the table.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    netlab::watch_for_interrupts()?;
    let setup = Setup::start()?;
    let mut report = Report::default();
    let samples = usize::from(arguments.samples);
    let wanted = |name: &str| name.contains(&arguments.only);
    if wanted("network") {
        networks::create_and_remove(&setup, samples, &mut report)?;
        networks::connect_and_disconnect(&setup, samples, &mut report)?;
    }
    if wanted("container") {
        containers::life(&setup, samples, &mut report)?;
    }
    let scale = usize::from(arguments.scale);
    if wanted("scale of networks") {
        scale::among_networks(&setup, scale, samples, &mut report)?;
    }
    if wanted("scale of endpoints") {
        scale::among_endpoints(&setup, scale, samples, &mut report)?;
    }
    if wanted("docker") {
        docker::beside_its_own_bridge(samples, &mut report)?;
    }
    if wanted("plugins") {
        plugins::calls(samples, &mut report)?;
    }
    if wanted("ports") {
        ports::start(&setup, samples, &mut report)?;
    }
    if wanted("loopback") {
        loopback::published(&setup, arguments.seconds, &mut report)?;
    }
    if wanted("many") {
        many::hundredth(&setup, samples, &mut report)?;
        many::memory(&mut report)?;
    }
    if wanted("daemon") {
        scale::daemon(samples, 20, &mut report)?;
    }
    if wanted("segment") {
        segment::throughput(&setup, arguments.seconds, &mut report)?;
    }
    if wanted("visible") {
        visible::on_the_other_host(&setup, samples, &mut report)?;
    }
    if wanted("overlay") {
        overlay::throughput(&setup, arguments.seconds, &mut report)?;
    }
    println!("{}", report.table());
    if arguments.json {
        println!("{}", report.json()?);
    }
    Ok(())
}
