//! `cnm run`: create, attach, start, and stay until it ends.

use std::process::ExitCode;
use std::sync::Arc;

use api_types::WaitResponse;
use clap::Args;
use http::Method;

use super::container_create::create;
use super::container_options::ContainerOptions;
use super::container_request::{Attached, Surroundings, request};
use super::{Context, exit_status, path, say};
use crate::client::{Client, ClientError, JsonLines, Query, empty};
use crate::error::{CommandError, Outcome};
use crate::session::{Ended, Session, forward_signals};
use crate::terminal;
use api_types::detach_keys;

/// Create a container and start it
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ContainerRun {
    /// Run it in the background and print its id
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave it running, as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Pass signals on to it
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", value_parser = crate::grammar::flags::boolean, action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[command(flatten)]
    pub(crate) options: ContainerOptions,
}

impl ContainerRun {
    /// Runs it; its exit status is ours.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let daemons = |message: String| CommandError::new(message).status(exit_status::DAEMON);
        let attached = self.attached()?;
        let keys = keys(self.detach_keys.as_deref()).map_err(daemons)?;
        if attached.stdin && self.options.tty && !terminal::stdin_is_terminal() {
            return Err(CommandError::new("the input device is not a TTY")
                .hint("leave out -t when stdin is no terminal"));
        }
        let mut request = request(&self.options, attached, &Surroundings::ours()).map_err(daemons)?;
        if let Some(size) = terminal::size().filter(|_| self.options.tty) {
            request.host_config.console_size = [size.height, size.width];
        }
        let client = context.client()?;
        let id = create(client, &self.options, &request).await?;
        if !attached.any() {
            start(client, &id).await?;
            if self.detach {
                say(&id)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let session = Session {
            tty: self.options.tty,
            stdin: attached.stdin,
            stdout: attached.stdout,
            stderr: attached.stderr,
            detach_keys: keys,
            resize_path: path("containers", &id, "/resize"),
        };
        let follow = Follow {
            removes: self.options.rm,
            forwards: self.sig_proxy,
            detach_keys: self.detach_keys,
        };
        follow.run(client, &id, &session).await
    }

    pub(crate) fn attached(&self) -> Result<Attached, CommandError> {
        if !self.detach {
            return Ok(Attached::of(&self.options));
        }
        if !self.options.attach.is_empty() {
            return Err(
                CommandError::new("conflicting options: cannot specify both --attach and --detach")
                    .status(exit_status::DAEMON),
            );
        }
        Ok(Attached::NONE)
    }
}

/// The detach keys given, or the usual ones.
pub(crate) fn keys(given: Option<&str>) -> Result<Vec<u8>, String> {
    detach_keys::parse(given.unwrap_or(detach_keys::DEFAULT))
}

/// Starts a container and stays with it.
pub(crate) struct Follow {
    /// It is removed when it ends, and has ended only then.
    pub(crate) removes: bool,
    /// Signals are passed on.
    pub(crate) forwards: bool,
    /// As they were given, for the daemon.
    pub(crate) detach_keys: Option<String>,
}

impl Follow {
    /// Attaches and asks for its end *before* it starts, so that neither a byte nor the end can be missed.
    pub(crate) async fn run(&self, client: &Arc<Client>, id: &str, session: &Session) -> Outcome {
        let stream = client
            .hijack(
                &path("containers", id, "/attach"),
                self.query(session),
                None::<&()>,
            )
            .await;
        let stream = stream.map_err(failed)?;
        let condition = if self.removes { "removed" } else { "next-exit" };
        let mut end = wait(client, id, condition).await.map_err(failed)?;
        // A terminal sends its own signals as keys.
        let _forwarding = if self.forwards && !session.tty {
            Some(forward_signals(client, id)?)
        } else {
            None
        };
        let raw = session.raw_mode()?;
        if let Err(error) = start(client, id).await {
            drop(raw);
            if self.removes {
                let _ = end.status().await;
            }
            return Err(error);
        }
        session.resize(client).await;
        let ended = session.run(client, stream).await;
        drop(raw);
        match ended? {
            Ended::Detached => Ok(ExitCode::SUCCESS),
            Ended::Output => Ok(exit_status::of_container(end.status().await?)),
        }
    }

    fn query(&self, session: &Session) -> Query {
        Query::new()
            .with("stream", "1")
            .with_flag("stdin", session.stdin)
            .with_flag("stdout", session.stdout)
            .with_flag("stderr", session.stderr)
            .with_some("detachKeys", self.detach_keys.as_deref())
    }
}

fn failed(error: ClientError) -> CommandError {
    CommandError::from(error).status(exit_status::DAEMON).prefixed()
}

/// Starts a container; the error's exit status says what was missing.
pub(crate) async fn start(client: &Client, id: &str) -> Result<(), CommandError> {
    client
        .order(&path("containers", id, "/start"), Query::new())
        .await
        .map_err(|error| {
            let status = exit_status::of_start_failure(error.refusal().map_or("", |(_, message)| message));
            failed(error).status(status)
        })
}

/// The end of a container, asked for beforehand.
pub(crate) struct End {
    answer: JsonLines,
}

/// Asks; when this returns, the daemon is watching.
pub(crate) async fn wait(client: &Client, id: &str, condition: &str) -> Result<End, ClientError> {
    let query = Query::new().with("condition", condition);
    let response = client
        .stream(
            Method::POST,
            &path("containers", id, "/wait"),
            query,
            empty(),
            None,
        )
        .await?;
    Ok(End {
        answer: JsonLines::new(response),
    })
}

impl End {
    /// Waits for it and gives the exit status.
    pub(crate) async fn status(&mut self) -> Result<i64, CommandError> {
        match self.answer.next::<WaitResponse>().await? {
            Some(WaitResponse { error: Some(error), .. }) if !error.message.is_empty() => {
                Err(CommandError::new(format!("Error waiting for container: {}", error.message))
                    .status(exit_status::DAEMON))
            }
            Some(response) => Ok(response.status_code),
            None => Err(CommandError::new("the daemon went away before the container ended")
                .hint("the container goes on running; cnm attach or cnm wait finds it when the daemon is back")
                .status(exit_status::DAEMON)),
        }
    }
}
