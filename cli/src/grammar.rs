//! What may be typed. The grammar is the one people know from docker, flag for flag; each command's own part of it
//! stands with the command.

pub(crate) mod flags;
pub(crate) mod names;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::completion::Completion;
use crate::commands::container_attach::ContainerAttach;
use crate::commands::container_cp::ContainerCp;
use crate::commands::container_create::ContainerCreate;
use crate::commands::container_diff::ContainerDiff;
use crate::commands::container_exec::ContainerExec;
use crate::commands::container_export::ContainerExport;
use crate::commands::container_inspect::ContainerInspect;
use crate::commands::container_kill::ContainerKill;
use crate::commands::container_logs::ContainerLogs;
use crate::commands::container_ls::ContainerLs;
use crate::commands::container_pause::ContainerPause;
use crate::commands::container_port::ContainerPort;
use crate::commands::container_prune::ContainerPrune;
use crate::commands::container_rename::ContainerRename;
use crate::commands::container_restart::ContainerRestart;
use crate::commands::container_rm::ContainerRm;
use crate::commands::container_run::ContainerRun;
use crate::commands::container_start::ContainerStart;
use crate::commands::container_stats::ContainerStats;
use crate::commands::container_stop::ContainerStop;
use crate::commands::container_top::ContainerTop;
use crate::commands::container_unpause::ContainerUnpause;
use crate::commands::container_update::ContainerUpdate;
use crate::commands::container_wait::ContainerWait;
use crate::commands::demo::Demo;
use crate::commands::image_import::ImageImport;
use crate::commands::image_inspect::ImageInspect;
use crate::commands::image_load::ImageLoad;
use crate::commands::image_ls::ImageLs;
use crate::commands::image_prune::ImagePrune;
use crate::commands::image_rm::ImageRm;
use crate::commands::image_tag::ImageTag;
use crate::commands::inspect::Inspect;
use crate::commands::network_connect::NetworkConnect;
use crate::commands::network_create::NetworkCreate;
use crate::commands::network_disconnect::NetworkDisconnect;
use crate::commands::network_inspect::NetworkInspect;
use crate::commands::network_ls::NetworkLs;
use crate::commands::network_prune::NetworkPrune;
use crate::commands::network_rm::NetworkRm;
use crate::commands::network_update::NetworkUpdate;
use crate::commands::ping::Ping;
use crate::commands::sandbox_inspect::SandboxInspect;
use crate::commands::sandbox_ls::SandboxLs;
use crate::commands::sandbox_rm::SandboxRm;
use crate::commands::system_df::SystemDf;
use crate::commands::system_events::SystemEvents;
use crate::commands::system_info::SystemInfo;
use crate::commands::system_prune::SystemPrune;
use crate::commands::system_reset::SystemReset;
use crate::commands::system_stop::SystemStop;
use crate::commands::version::Version;
use crate::commands::volume_create::VolumeCreate;
use crate::commands::volume_inspect::VolumeInspect;
use crate::commands::volume_ls::VolumeLs;
use crate::commands::volume_prune::VolumePrune;
use crate::commands::volume_rm::VolumeRm;

/// Container networks: made, joined and looked into; and containers to put on them.
#[derive(Debug, Parser)]
#[command(
    name = "cnm",
    version,
    disable_version_flag = true,
    arg_required_else_help = true
)]
#[command(
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// The daemon, as unix:///PATH or tcp://HOST:PORT (default: $CNM_HOST, $DOCKER_HOST, /run/cnm/cnm.sock)
    #[arg(
        short = 'H',
        long,
        global = true,
        value_name = "ADDRESS",
        help_heading = "Global options"
    )]
    pub(crate) host: Option<String>,
    /// Say what is asked of the daemon
    #[arg(short = 'D', long, global = true, help_heading = "Global options")]
    pub(crate) debug: bool,
    /// TLS on TCP
    #[command(flatten)]
    pub(crate) tls: crate::host::TlsFlags,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Networks
    #[command(subcommand, visible_alias = "net", arg_required_else_help = true)]
    Network(NetworkCommand),
    /// Containers
    #[command(subcommand, arg_required_else_help = true)]
    Container(ContainerCommand),
    /// Images
    #[command(subcommand, arg_required_else_help = true)]
    Image(ImageCommand),
    /// Volumes
    #[command(subcommand, arg_required_else_help = true)]
    Volume(VolumeCommand),
    /// Other programs' containers on our networks
    #[command(subcommand, arg_required_else_help = true)]
    Sandbox(SandboxCommand),
    /// The daemon and its host
    #[command(subcommand, arg_required_else_help = true)]
    System(SystemCommand),
    Run(Box<ContainerRun>),
    Create(Box<ContainerCreate>),
    Start(ContainerStart),
    Stop(ContainerStop),
    Restart(ContainerRestart),
    Kill(ContainerKill),
    Pause(ContainerPause),
    Unpause(ContainerUnpause),
    Wait(ContainerWait),
    #[command(visible_alias = "remove")]
    Rm(ContainerRm),
    Ps(ContainerLs),
    Inspect(Inspect),
    Logs(ContainerLogs),
    Attach(ContainerAttach),
    Exec(ContainerExec),
    Rename(ContainerRename),
    Cp(ContainerCp),
    Diff(ContainerDiff),
    Export(ContainerExport),
    Stats(ContainerStats),
    Top(ContainerTop),
    Update(Box<ContainerUpdate>),
    Port(ContainerPort),
    Images(ImageLs),
    Rmi(ImageRm),
    Import(ImageImport),
    Load(ImageLoad),
    Tag(ImageTag),
    Version(Version),
    Info(SystemInfo),
    Events(SystemEvents),
    Ping(Ping),
    Completion(Completion),
    Demo(Demo),
}

impl Command {
    /// The same in its long form: `run` is `container run`.
    pub(crate) fn in_group(self) -> Self {
        match self {
            Self::Run(args) => Self::Container(ContainerCommand::Run(args)),
            Self::Create(args) => Self::Container(ContainerCommand::Create(args)),
            Self::Start(args) => Self::Container(ContainerCommand::Start(args)),
            Self::Stop(args) => Self::Container(ContainerCommand::Stop(args)),
            Self::Restart(args) => Self::Container(ContainerCommand::Restart(args)),
            Self::Kill(args) => Self::Container(ContainerCommand::Kill(args)),
            Self::Pause(args) => Self::Container(ContainerCommand::Pause(args)),
            Self::Unpause(args) => Self::Container(ContainerCommand::Unpause(args)),
            Self::Wait(args) => Self::Container(ContainerCommand::Wait(args)),
            Self::Rm(args) => Self::Container(ContainerCommand::Rm(args)),
            Self::Ps(args) => Self::Container(ContainerCommand::Ls(args)),
            Self::Logs(args) => Self::Container(ContainerCommand::Logs(args)),
            Self::Attach(args) => Self::Container(ContainerCommand::Attach(args)),
            Self::Exec(args) => Self::Container(ContainerCommand::Exec(args)),
            Self::Rename(args) => Self::Container(ContainerCommand::Rename(args)),
            Self::Cp(args) => Self::Container(ContainerCommand::Cp(args)),
            Self::Diff(args) => Self::Container(ContainerCommand::Diff(args)),
            Self::Export(args) => Self::Container(ContainerCommand::Export(args)),
            Self::Stats(args) => Self::Container(ContainerCommand::Stats(args)),
            Self::Top(args) => Self::Container(ContainerCommand::Top(args)),
            Self::Update(args) => Self::Container(ContainerCommand::Update(args)),
            Self::Port(args) => Self::Container(ContainerCommand::Port(args)),
            Self::Images(args) => Self::Image(ImageCommand::Ls(args)),
            Self::Rmi(args) => Self::Image(ImageCommand::Rm(args)),
            Self::Import(args) => Self::Image(ImageCommand::Import(args)),
            Self::Load(args) => Self::Image(ImageCommand::Load(args)),
            Self::Tag(args) => Self::Image(ImageCommand::Tag(args)),
            Self::Info(args) => Self::System(SystemCommand::Info(args)),
            Self::Events(args) => Self::System(SystemCommand::Events(args)),
            other => other,
        }
    }
}

/// `cnm network …`
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    Create(NetworkCreate),
    Connect(NetworkConnect),
    Disconnect(NetworkDisconnect),
    Inspect(NetworkInspect),
    #[command(visible_alias = "list")]
    Ls(NetworkLs),
    Prune(NetworkPrune),
    #[command(visible_alias = "remove")]
    Rm(NetworkRm),
    Update(NetworkUpdate),
}

/// `cnm container …`
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    Run(Box<ContainerRun>),
    Create(Box<ContainerCreate>),
    Start(ContainerStart),
    Stop(ContainerStop),
    Restart(ContainerRestart),
    Kill(ContainerKill),
    Pause(ContainerPause),
    Unpause(ContainerUnpause),
    Wait(ContainerWait),
    #[command(visible_alias = "remove")]
    Rm(ContainerRm),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ContainerLs),
    Inspect(ContainerInspect),
    Logs(ContainerLogs),
    Attach(ContainerAttach),
    Exec(ContainerExec),
    Rename(ContainerRename),
    Cp(ContainerCp),
    Diff(ContainerDiff),
    Export(ContainerExport),
    Stats(ContainerStats),
    Top(ContainerTop),
    Update(Box<ContainerUpdate>),
    Port(ContainerPort),
    Prune(ContainerPrune),
}

/// `cnm image …`
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    Import(ImageImport),
    Load(ImageLoad),
    #[command(visible_alias = "list")]
    Ls(ImageLs),
    Inspect(ImageInspect),
    Prune(ImagePrune),
    #[command(visible_alias = "remove")]
    Rm(ImageRm),
    Tag(ImageTag),
}

/// `cnm volume …`
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    Create(VolumeCreate),
    Inspect(VolumeInspect),
    #[command(visible_alias = "list")]
    Ls(VolumeLs),
    Prune(VolumePrune),
    #[command(visible_alias = "remove")]
    Rm(VolumeRm),
}

/// `cnm sandbox …`
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    #[command(visible_alias = "list")]
    Ls(SandboxLs),
    Inspect(SandboxInspect),
    #[command(visible_alias = "remove")]
    Rm(SandboxRm),
}

/// `cnm system …`
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    Df(SystemDf),
    Events(SystemEvents),
    Info(SystemInfo),
    Prune(SystemPrune),
    Reset(SystemReset),
    Stop(SystemStop),
}

/// The grammar as it is parsed.
pub(crate) fn command() -> clap::Command {
    flags::like_go(Cli::command())
}

/// Called by the name `net`, the program is `cnm net`: `net create …` works as typed.
pub(crate) fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.into_iter().collect();
    let called_net = arguments
        .first()
        .and_then(|program| Path::new(program).file_name())
        .is_some_and(|n| n == "net");
    if called_net {
        arguments[0] = "cnm".into();
        arguments.insert(1, "network".into());
    }
    arguments
}

/// Parses; an error has its exit status.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, UsageError> {
    command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| UsageError::new(error, arguments))
}

/// What was typed is not in the grammar, or asks for help.
#[derive(Debug)]
pub(crate) struct UsageError {
    error: clap::Error,
}

impl UsageError {
    fn new(error: clap::Error, arguments: &[OsString]) -> Self {
        // Help comes from the plain grammar, where a flag is a flag and not an option with an optional value.
        let asks_for_help = matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        );
        let error = match Cli::command().try_get_matches_from(arguments) {
            Err(plain) if asks_for_help && plain.kind() == error.kind() => plain,
            _ => error,
        };
        Self { error }
    }

    /// Prints it where it belongs and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        let text = self.error.render().to_string();
        let text = text.trim_end();
        match self.error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                let _ = writeln!(std::io::stdout(), "{text}");
                ExitCode::SUCCESS
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let _ = writeln!(std::io::stdout(), "{text}");
                ExitCode::from(1)
            }
            _ => {
                let _ = writeln!(
                    std::io::stderr(),
                    "cnm: {}",
                    text.strip_prefix("error: ").unwrap_or(text)
                );
                ExitCode::from(self.status())
            }
        }
    }

    /// 125 for a wrong flag, as scripts expect of `run`; 1 for a missing or unknown word.
    pub(crate) fn status(&self) -> u8 {
        match self.error.kind() {
            ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand => 1,
            ErrorKind::MissingRequiredArgument => 1,
            ErrorKind::UnknownArgument => {
                let flag = matches!(
                    self.error.get(ContextKind::InvalidArg),
                    Some(clap::error::ContextValue::String(name)) if name.starts_with('-')
                );
                if flag { 125 } else { 1 }
            }
            _ => 125,
        }
    }
}
