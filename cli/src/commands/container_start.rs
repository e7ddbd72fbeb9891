//! `cnm start`

use std::process::ExitCode;

use api_types::ContainerInspect as Inspected;
use clap::Args;

use super::container_run::{Follow, keys};
use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::{CommandError, Outcome};
use crate::grammar::names;
use crate::session::Session;

/// Start stopped containers
#[derive(Debug, Args)]
pub(crate) struct ContainerStart {
    /// Show its output and pass signals on
    #[arg(short, long)]
    attach: bool,
    /// Keys that leave it running, as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Give it our stdin
    #[arg(short, long)]
    interactive: bool,
    /// Containers to start
    #[arg(value_name = "CONTAINER", required = true, add = names::containers())]
    containers: Vec<String>,
}

impl ContainerStart {
    /// Starts them; with `-a` or `-i` stays with the one.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.attach || self.interactive {
            return self.follow(context).await;
        }
        let client = context.client()?;
        for_each(&self.containers, async |name| {
            client
                .order(&path("containers", name, "/start"), Query::new())
                .await?;
            Ok(Some(name.to_owned()))
        })
        .await
    }

    async fn follow(&self, context: &Context) -> Outcome {
        let [name] = self.containers.as_slice() else {
            return Err(CommandError::new(
                "you cannot start and attach multiple containers at once",
            ));
        };
        let client = context.client()?;
        let inspected: Inspected = client
            .get(&path("containers", name, "/json"), Query::new())
            .await?;
        let session = Session {
            tty: inspected.config.tty,
            stdin: self.interactive && inspected.config.open_stdin,
            stdout: true,
            stderr: true,
            detach_keys: keys(self.detach_keys.as_deref())?,
            resize_path: path("containers", &inspected.id, "/resize"),
        };
        let follow = Follow {
            removes: inspected.host_config.auto_remove,
            forwards: true,
            detach_keys: self.detach_keys.clone(),
        };
        if inspected.state.running {
            // Already started: there is no next exit to be sure of, so only its name is said.
            client
                .order(&path("containers", name, "/start"), Query::new())
                .await?;
            super::say(name)?;
            return Ok(ExitCode::SUCCESS);
        }
        let outcome = follow.run(client, &inspected.id, &session).await;
        outcome.map_err(|error| {
            if error.status == super::exit_status::DAEMON {
                error.status(1)
            } else {
                error
            }
        })
    }
}
