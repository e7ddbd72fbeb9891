//! What a command can fail with, how it is said, and with which exit status.

use std::io::Write;
use std::process::ExitCode;

use crate::client::ClientError;
use crate::template::TemplateError;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// Lines to say; empty when all has been said.
    pub(crate) message: String,
    /// What the user may try.
    pub(crate) hint: Option<String>,
    /// The exit status.
    pub(crate) status: u8,
    /// Said without our name before it: the words of the daemon, as every client shows them.
    pub(crate) bare: bool,
}

/// What commands give back.
pub(crate) type Outcome = Result<ExitCode, CommandError>;

impl CommandError {
    /// A refusal of this side.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            status: 1,
            bare: false,
        }
    }

    /// Everything has been said already; only the status is left.
    pub(crate) fn said(status: u8) -> Self {
        Self {
            message: String::new(),
            hint: None,
            status,
            bare: false,
        }
    }

    /// Adds what the user may try.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With another exit status.
    #[must_use]
    pub(crate) fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// Adds a hint where there is none yet.
    #[must_use]
    pub(crate) fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Said with our name before it, whoever said it first.
    #[must_use]
    pub(crate) fn prefixed(mut self) -> Self {
        self.bare = false;
        self
    }

    /// Says it on stderr.
    pub(crate) fn report(&self) {
        let mut stderr = std::io::stderr().lock();
        if !self.message.is_empty() {
            // Nobody is left to be told that stderr is gone.
            let name = if self.bare { "" } else { "cnm: " };
            let _ = writeln!(stderr, "{name}{}", self.message);
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "hint: {hint}");
        }
    }
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        let hint = error.hint();
        let bare = error.refusal().is_some();
        Self {
            message: error.to_string(),
            hint,
            status: 1,
            bare,
        }
    }
}

impl From<TemplateError> for CommandError {
    fn from(error: TemplateError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        // The reader of our output went away, as in `cnm ps | head -1`; that is nothing to complain about.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::said(141);
        }
        Self::new(error.to_string())
    }
}

impl From<String> for CommandError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}
