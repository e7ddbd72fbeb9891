//! `cnm exec`

use std::path::PathBuf;
use std::process::ExitCode;

use api_types::{ExecCreate, ExecCreated, ExecInspect, ExecStart, StringOrList};
use clap::Args;

use super::container_run::keys;
use super::{Context, exit_status, path};
use crate::client::{Client, Query};
use crate::error::{CommandError, Outcome};
use crate::grammar::names;
use crate::options::environment;
use crate::session::{Ended, Session};
use crate::terminal;

/// Run a further command in a running container
#[derive(Debug, Args)]
pub(crate) struct ContainerExec {
    /// Run it in the background
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave it running, as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = environment::variable)]
    env: Vec<String>,
    /// File of environment variables
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Give it our stdin
    #[arg(short, long)]
    interactive: bool,
    /// Every capability
    #[arg(long)]
    privileged: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// User, as NAME or UID, with :GROUP or :GID
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Where it starts
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// The container and the command
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, num_args = 2.., trailing_var_arg = true,
          add = names::running_containers())]
    container_and_command: Vec<String>,
}

impl ContainerExec {
    /// Runs it; its exit status is ours.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let keys = keys(self.detach_keys.as_deref())?;
        if self.interactive && self.tty && !self.detach && !terminal::stdin_is_terminal() {
            return Err(CommandError::new("the input device is not a TTY")
                .hint("leave out -t when stdin is no terminal"));
        }
        let client = context.client()?;
        let request = self.request(|name| std::env::var(name).ok())?;
        let exec_path = path("containers", &self.container_and_command[0], "/exec");
        let created: ExecCreated = client.post(&exec_path, Query::new(), &request).await?;
        let start_path = path("exec", &created.id, "/start");
        let console_size = request.console_size;
        let start = ExecStart {
            detach: self.detach,
            tty: self.tty,
            console_size,
        };
        if self.detach {
            client.post_only(&start_path, &start).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let session = Session {
            tty: self.tty,
            stdin: self.interactive,
            stdout: true,
            stderr: true,
            detach_keys: keys,
            resize_path: path("exec", &created.id, "/resize"),
        };
        let stream = client
            .hijack(&start_path, Query::new(), Some(&start))
            .await
            .map_err(|error| {
                match exit_status::of_start_failure(error.refusal().map_or("", |(_, message)| message)) {
                    exit_status::DAEMON => error.into(),
                    status => CommandError::from(error).status(status),
                }
            })?;
        let raw = session.raw_mode()?;
        session.resize(client).await;
        let ended = session.run(client, stream).await;
        drop(raw);
        match ended? {
            Ended::Detached => Ok(ExitCode::SUCCESS),
            Ended::Output => status(client, &created.id).await,
        }
    }

    /// What is asked of the daemon.
    pub(crate) fn request(&self, variable: impl Fn(&str) -> Option<String>) -> Result<ExecCreate, String> {
        let size = terminal::size().filter(|_| self.tty);
        Ok(ExecCreate {
            user: self.user.clone().unwrap_or_default(),
            privileged: self.privileged,
            tty: self.tty,
            console_size: size.map(|size| [size.height, size.width]),
            attach_stdin: self.interactive && !self.detach,
            attach_stdout: !self.detach,
            attach_stderr: !self.detach,
            detach_keys: self.detach_keys.clone().unwrap_or_default(),
            env: environment::variables(&self.env, &self.env_file, variable)?,
            working_dir: self.workdir.clone().unwrap_or_default(),
            cmd: Some(StringOrList(self.container_and_command[1..].to_vec())),
        })
    }
}

async fn status(client: &Client, exec: &str) -> Outcome {
    let inspected: ExecInspect = client.get(&path("exec", exec, "/json"), Query::new()).await?;
    match inspected.exit_code {
        Some(status) => Ok(exit_status::of_container(status)),
        None => Err(CommandError::new(
            "the command goes on running, but its output has ended",
        )),
    }
}
