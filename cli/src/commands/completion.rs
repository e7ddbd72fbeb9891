//! `cnm completion`
//!
//! The script only calls back: what can be typed is answered by this program, names of networks and containers
//! included.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::show;
use crate::error::Outcome;

/// Print the script that teaches a shell to complete
#[derive(Debug, Args)]
#[command(after_help = "For bash:  source <(cnm completion bash)\n\
                        For zsh:   source <(cnm completion zsh)\n\
                        For fish:  cnm completion fish | source")]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    /// Prints it.
    pub(crate) fn run(self) -> Outcome {
        let shell: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
        };
        let mut script = Vec::new();
        shell.write_registration("COMPLETE", "cnm", "cnm", "cnm", &mut script)?;
        show(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
