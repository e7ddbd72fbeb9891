//! The commands: one file each, and what several of them need.

pub(crate) mod completion;
pub(crate) mod container_attach;
pub(crate) mod container_cp;
pub(crate) mod container_create;
pub(crate) mod container_diff;
pub(crate) mod container_exec;
pub(crate) mod container_export;
pub(crate) mod container_inspect;
pub(crate) mod container_kill;
pub(crate) mod container_logs;
pub(crate) mod container_ls;
pub(crate) mod container_options;
pub(crate) mod container_pause;
pub(crate) mod container_port;
pub(crate) mod container_prune;
pub(crate) mod container_rename;
pub(crate) mod container_request;
pub(crate) mod container_restart;
pub(crate) mod container_rm;
pub(crate) mod container_run;
pub(crate) mod container_start;
pub(crate) mod container_stats;
pub(crate) mod container_stop;
pub(crate) mod container_top;
pub(crate) mod container_unpause;
pub(crate) mod container_update;
pub(crate) mod container_wait;
pub(crate) mod demo;
pub(crate) mod exit_status;
pub(crate) mod image_import;
pub(crate) mod image_inspect;
pub(crate) mod image_load;
pub(crate) mod image_ls;
pub(crate) mod image_prune;
pub(crate) mod image_rm;
pub(crate) mod image_tag;
pub(crate) mod inspect;
pub(crate) mod network_connect;
pub(crate) mod network_create;
pub(crate) mod network_disconnect;
pub(crate) mod network_inspect;
pub(crate) mod network_ls;
pub(crate) mod network_prune;
pub(crate) mod network_rm;
pub(crate) mod network_update;
pub(crate) mod ping;
pub(crate) mod sandbox_inspect;
pub(crate) mod sandbox_ls;
pub(crate) mod sandbox_rm;
pub(crate) mod system_df;
pub(crate) mod system_events;
pub(crate) mod system_info;
pub(crate) mod system_prune;
pub(crate) mod system_reset;
pub(crate) mod system_stop;
pub(crate) mod version;
pub(crate) mod volume_create;
pub(crate) mod volume_inspect;
pub(crate) mod volume_ls;
pub(crate) mod volume_prune;
pub(crate) mod volume_rm;

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::OnceLock;

use futures::StreamExt;

use crate::client::Client;
use crate::client::query::escape_path;
use crate::error::{CommandError, Outcome};
use crate::grammar::{
    Command, ContainerCommand, ImageCommand, NetworkCommand, SandboxCommand, SystemCommand, VolumeCommand,
};
use crate::host;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    host: Option<String>,
    tls: host::TlsFlags,
    client: OnceLock<Arc<Client>>,
    /// Say more.
    pub(crate) debug: bool,
}

impl Context {
    /// With what was typed before the command.
    pub(crate) fn new(host: Option<String>, tls: host::TlsFlags, debug: bool) -> Self {
        Self {
            host,
            tls,
            client: OnceLock::new(),
            debug,
        }
    }

    /// The daemon. Only here is its address looked at: some commands need none.
    pub(crate) fn client(&self) -> Result<&Arc<Client>, CommandError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let host = host::choose(self.host.as_deref(), &self.tls, |name| std::env::var(name).ok())?;
        if self.debug {
            warn(&format!("debug: the daemon is at {host}"));
        }
        Ok(self
            .client
            .get_or_init(|| Arc::new(Client::new(host, self.debug))))
    }
}

/// Runs a command.
pub(crate) async fn run(command: Command, context: &Context) -> Outcome {
    match command.in_group() {
        Command::Network(command) => network(command, context).await,
        Command::Container(command) => Box::pin(container(command, context)).await,
        Command::Image(command) => image(command, context).await,
        Command::Volume(command) => volume(command, context).await,
        Command::Sandbox(SandboxCommand::Ls(args)) => args.run(context).await,
        Command::Sandbox(SandboxCommand::Inspect(args)) => args.run(context).await,
        Command::Sandbox(SandboxCommand::Rm(args)) => args.run(context).await,
        Command::System(SystemCommand::Info(args)) => args.run(context).await,
        Command::System(SystemCommand::Events(args)) => args.run(context).await,
        Command::System(SystemCommand::Df(args)) => args.run(context).await,
        Command::System(SystemCommand::Prune(args)) => args.run(context).await,
        Command::System(SystemCommand::Reset(args)) => args.run(context).await,
        Command::System(SystemCommand::Stop(args)) => args.run(context).await,
        Command::Inspect(args) => args.run(context).await,
        Command::Version(args) => args.run(context).await,
        Command::Ping(args) => args.run(context).await,
        Command::Completion(args) => args.run(),
        Command::Demo(args) => args.run(context),
        other => Err(CommandError::new(format!("{other:?} is in no group of commands"))),
    }
}

async fn network(command: NetworkCommand, context: &Context) -> Outcome {
    match command {
        NetworkCommand::Create(args) => args.run(context).await,
        NetworkCommand::Connect(args) => args.run(context).await,
        NetworkCommand::Disconnect(args) => args.run(context).await,
        NetworkCommand::Inspect(args) => args.run(context).await,
        NetworkCommand::Ls(args) => args.run(context).await,
        NetworkCommand::Prune(args) => args.run(context).await,
        NetworkCommand::Rm(args) => args.run(context).await,
        NetworkCommand::Update(args) => args.run(context).await,
    }
}

async fn volume(command: VolumeCommand, context: &Context) -> Outcome {
    match command {
        VolumeCommand::Create(args) => args.run(context).await,
        VolumeCommand::Inspect(args) => args.run(context).await,
        VolumeCommand::Ls(args) => args.run(context).await,
        VolumeCommand::Prune(args) => args.run(context).await,
        VolumeCommand::Rm(args) => args.run(context).await,
    }
}

#[expect(clippy::cognitive_complexity, reason = "an arm for each command")]
async fn container(command: ContainerCommand, context: &Context) -> Outcome {
    match command {
        ContainerCommand::Run(args) => Box::pin(args.run(context)).await,
        ContainerCommand::Cp(args) => args.run(context).await,
        ContainerCommand::Diff(args) => args.run(context).await,
        ContainerCommand::Export(args) => args.run(context).await,
        ContainerCommand::Stats(args) => args.run(context).await,
        ContainerCommand::Top(args) => args.run(context).await,
        ContainerCommand::Update(args) => args.run(context).await,
        ContainerCommand::Create(args) => args.run(context).await,
        ContainerCommand::Start(args) => Box::pin(args.run(context)).await,
        ContainerCommand::Stop(args) => args.run(context).await,
        ContainerCommand::Restart(args) => args.run(context).await,
        ContainerCommand::Kill(args) => args.run(context).await,
        ContainerCommand::Pause(args) => args.run(context).await,
        ContainerCommand::Unpause(args) => args.run(context).await,
        ContainerCommand::Wait(args) => args.run(context).await,
        ContainerCommand::Rm(args) => args.run(context).await,
        ContainerCommand::Ls(args) => args.run(context).await,
        ContainerCommand::Inspect(args) => args.run(context).await,
        ContainerCommand::Logs(args) => args.run(context).await,
        ContainerCommand::Attach(args) => Box::pin(args.run(context)).await,
        ContainerCommand::Exec(args) => Box::pin(args.run(context)).await,
        ContainerCommand::Rename(args) => args.run(context).await,
        ContainerCommand::Port(args) => args.run(context).await,
        ContainerCommand::Prune(args) => args.run(context).await,
    }
}

async fn image(command: ImageCommand, context: &Context) -> Outcome {
    match command {
        ImageCommand::Import(args) => args.run(context).await,
        ImageCommand::Load(args) => args.run(context).await,
        ImageCommand::Ls(args) => args.run(context).await,
        ImageCommand::Inspect(args) => args.run(context).await,
        ImageCommand::Prune(args) => args.run(context).await,
        ImageCommand::Rm(args) => args.run(context).await,
        ImageCommand::Tag(args) => args.run(context).await,
    }
}

/// The path of an object in the API.
pub(crate) fn path(kind: &str, name: &str, verb: &str) -> String {
    format!("/{kind}/{}{verb}", escape_path(name))
}

/// Prints text as it is.
pub(crate) fn show(text: &str) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Prints a line.
pub(crate) fn say(line: &str) -> Result<(), CommandError> {
    show(&format!("{line}\n"))
}

/// Prints a line on stderr. If that is gone, there is nobody to tell.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Asks on the terminal; anything but yes is no.
pub(crate) fn confirm(question: &str) -> Result<bool, CommandError> {
    show(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// How many things of one command line are worked on at once.
const AT_ONCE: usize = 16;

/// Does the same to several things at once and says what became of each, in the order they were typed. What fails
/// does not keep the others from being done.
pub(crate) async fn for_each(
    names: &[String],
    act: impl AsyncFn(&str) -> Result<Option<String>, CommandError>,
) -> Outcome {
    let mut outcomes = futures::stream::iter(names.iter().map(|name| act(name))).buffered(AT_ONCE);
    let mut failed = false;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(Some(line)) => say(&line)?,
            Ok(None) => {}
            Err(error) => {
                error.report();
                failed = true;
            }
        }
    }
    Ok(if failed {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}
