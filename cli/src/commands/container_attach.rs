//! `cnm attach`

use std::process::ExitCode;

use api_types::ContainerInspect as Inspected;
use clap::Args;

use super::container_run::{keys, wait};
use super::{Context, exit_status, path};
use crate::client::Query;
use crate::error::{CommandError, Outcome};
use crate::grammar::names;
use crate::session::{Ended, Session, forward_signals};
use crate::terminal;

/// Attach our input and output to a running container
#[derive(Debug, Args)]
pub(crate) struct ContainerAttach {
    /// Keys that leave it running, as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Only output
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to it
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", value_parser = crate::grammar::flags::boolean, action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Container to attach to
    #[arg(value_name = "CONTAINER", add = names::running_containers())]
    container: String,
}

impl ContainerAttach {
    /// Stays until it ends or the user detaches.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        let inspected: Inspected = client
            .get(&path("containers", &self.container, "/json"), Query::new())
            .await?;
        attachable(&inspected)?;
        let id = &inspected.id;
        let stdin = !self.no_stdin && inspected.config.open_stdin;
        if stdin && inspected.config.tty && !terminal::stdin_is_terminal() {
            return Err(
                CommandError::new("the input device is not a TTY").hint("leave stdin alone with --no-stdin")
            );
        }
        let session = Session {
            tty: inspected.config.tty,
            stdin,
            stdout: true,
            stderr: true,
            detach_keys: keys(self.detach_keys.as_deref())?,
            resize_path: path("containers", id, "/resize"),
        };
        let mut end = wait(client, id, "not-running").await?;
        let query = Query::new()
            .with("stream", "1")
            .with_flag("stdin", stdin)
            .with("stdout", "1")
            .with("stderr", "1")
            .with_some("detachKeys", self.detach_keys.as_deref());
        let stream = client
            .hijack(&path("containers", id, "/attach"), query, None::<&()>)
            .await?;
        let _forwarding = if self.sig_proxy && !session.tty {
            Some(forward_signals(client, id)?)
        } else {
            None
        };
        let raw = session.raw_mode()?;
        session.redraw(client).await;
        let ended = session.run(client, stream).await;
        drop(raw);
        match ended? {
            Ended::Detached => Ok(ExitCode::SUCCESS),
            Ended::Output => Ok(exit_status::of_container(end.status().await?)),
        }
    }
}

fn attachable(inspected: &Inspected) -> Result<(), CommandError> {
    let state = &inspected.state;
    if !state.running {
        return Err(
            CommandError::new("you cannot attach to a stopped container, start it first")
                .hint(format!("cnm start -a {}", inspected.name.trim_start_matches('/'))),
        );
    }
    if state.paused {
        return Err(CommandError::new(
            "you cannot attach to a paused container, unpause it first",
        ));
    }
    if state.restarting {
        return Err(CommandError::new(
            "you cannot attach to a restarting container, wait until it is running",
        ));
    }
    Ok(())
}
