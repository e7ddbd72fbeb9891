//! `cnm`, the command line: networks and containers of the daemon `cnmd`, in the words people know.
//!
//! A command is a file under `commands/`; it parses nothing and knows no HTTP. What was typed comes to it as a
//! struct of `grammar`, the daemon as a `client::Client`, and what it prints goes through `format`.
#![forbid(unsafe_code)]
// The doc comment of an option is its help text, where brackets mean that a part may be left out.
#![allow(rustdoc::broken_intra_doc_links)]

mod client;
mod commands;
mod error;
mod format;
mod grammar;
mod host;
mod options;
mod session;
mod table;
mod template;
mod terminal;
mod units;

use std::process::ExitCode;

use commands::Context;
use error::CommandError;

fn main() -> ExitCode {
    // Answers and exits if the shell asks for completions.
    clap_complete::CompleteEnv::with_factory(grammar::command).complete();
    let arguments = grammar::arguments(std::env::args_os());
    let cli = match grammar::parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return error.report(),
    };
    run(cli).unwrap_or_else(|error| {
        error.report();
        ExitCode::from(error.status)
    })
}

fn run(cli: grammar::Cli) -> Result<ExitCode, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let context = Context::new(cli.host, cli.tls, cli.debug);
    let status = runtime.block_on(commands::run(cli.command, &context));
    runtime.shutdown_background();
    status
}
