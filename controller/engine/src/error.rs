//! What a caller can do about a failure decides its variant: each maps to one HTTP status.

use std::error::Error as StdError;

/// Why the engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has that name or id. Becomes 404.
    #[error("{message}")]
    NotFound {
        /// What is not there.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The request is wrong in itself. Becomes 400.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Never allowed. Becomes 403.
    #[error("{message}")]
    Forbidden {
        /// What is not allowed.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Right, but not allowed as things are. Becomes 409.
    #[error("{message}")]
    Conflict {
        /// With what.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It is so already. Becomes 304, which has no body.
    #[error("{0}")]
    NotModified(String),
    /// Docker can do it and this engine can't yet. Becomes 501.
    #[error("{message}")]
    NotImplemented {
        /// What.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// The network side refused; its variants have statuses of their own.
    #[error("{}{source}", prefix(.doing))]
    Network {
        /// What the engine was doing; empty when the reason says it all.
        doing: String,
        /// Why not.
        source: controller::Error,
    },
    /// A start whose ports somebody else has. Becomes 500, as with Docker: clients know it by its words.
    #[error("{doing}: {source}")]
    Unpublished {
        /// What the engine was doing.
        doing: String,
        /// Who has them.
        source: controller::Error,
    },
    /// The local store refused. Becomes what a controller's failure of that kind becomes.
    #[error("recording the container: {0}")]
    Store(#[from] store::Error),
    /// A command that can't be run: not there (exit status 127) or not executable (126). Becomes 400.
    #[error("{message}")]
    Command {
        /// What the kernel said.
        message: String,
        /// The exit status that a shell would give.
        exit_code: i32,
    },
    /// The host failed. Becomes 500.
    #[error("{doing}: {source}")]
    Internal {
        /// What the engine was doing.
        doing: String,
        /// What went wrong.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// A `Result` with the engine's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { hint, .. }
            | Self::Invalid { hint, .. }
            | Self::Forbidden { hint, .. }
            | Self::Conflict { hint, .. }
            | Self::NotImplemented { hint, .. } => hint.clone(),
            Self::Network { source, .. } | Self::Unpublished { source, .. } => source.hint(),
            Self::Store(store::Error::TooLarge(_)) => Some(
                "ports in a row are one range in the record, scattered ones are not: give fewer of these, or fewer labels \
                 and variables"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::NotFound { hint, .. }
        | Self::Invalid { hint, .. }
        | Self::Forbidden { hint, .. }
        | Self::Conflict { hint, .. }
        | Self::NotImplemented { hint, .. } = &mut self
        {
            *hint = Some(text.into());
        }
        self
    }

    /// Of a container that runs on without the ports: a request that could be made again, so a conflict.
    #[must_use]
    pub(crate) fn while_running(self) -> Self {
        match self {
            Self::Unpublished { doing, source } => Self::Network { doing, source },
            other => other,
        }
    }

    /// Says first what could not be done, where Docker does.
    #[must_use]
    pub(crate) fn after(mut self, doing: impl std::fmt::Display) -> Self {
        if let Self::Invalid { message, .. } | Self::Conflict { message, .. } = &mut self {
            *message = format!("{doing}{message}");
        }
        self
    }

    /// Why a command can't be run, said as Docker does: behind the runtimes that passed it on.
    #[must_use]
    pub(crate) fn behind(mut self, runtimes: &str) -> Self {
        if let Self::Command { message, .. } = &mut self {
            *message = format!("{runtimes}{message}: unknown");
        }
        self
    }

    /// Nobody has that name or id.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound {
            message: message.into(),
            hint: None,
        }
    }

    /// The request is wrong in itself.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            hint: None,
        }
    }

    /// Never allowed.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::Forbidden {
            message: message.into(),
            hint: None,
        }
    }

    /// Not allowed as things are.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict {
            message: message.into(),
            hint: None,
        }
    }

    /// Docker can do it and this engine can't yet.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::NotImplemented {
            message: message.into(),
            hint: None,
        }
    }

    /// For `map_err`: the host failed while the engine was `doing` this.
    pub fn internal<E: Into<Box<dyn StdError + Send + Sync>>>(
        doing: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::Internal {
            doing,
            source: source.into(),
        }
    }

    /// For `map_err`: the network side refused while the engine was `doing` this.
    pub fn network(doing: impl Into<String>) -> impl FnOnce(controller::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Network { doing, source }
    }
}

impl From<runtime::Error> for Error {
    fn from(error: runtime::Error) -> Self {
        let message = chain(&error);
        match error {
            runtime::Error::Spec(_) => Self::Invalid { message, hint: None },
            runtime::Error::Running => Self::conflict(message),
            _ if error.is_not_running() => Self::conflict(message),
            _ => match error.exit_code() {
                Some(exit_code @ (126 | 127)) => Self::Command { message, exit_code },
                _ => Self::Internal {
                    doing: "running the container".to_owned(),
                    source: message.into(),
                },
            },
        }
    }
}

impl From<images::Error> for Error {
    fn from(error: images::Error) -> Self {
        use images::Error as Image;
        let hint = error.hint();
        let message = chain(&error);
        match error {
            Image::NotFound(name) => {
                let full = name
                    .parse::<images::Reference>()
                    .map_or(name, |reference| reference.familiar());
                Self::NotFound {
                    message: format!("No such image: {full}"),
                    hint,
                }
            }
            Image::InvalidReference { .. }
            | Image::Ambiguous(_)
            | Image::InvalidChange { .. }
            | Image::Refused(_) => Self::Invalid { message, hint },
            Image::Referenced { .. } | Image::InUse { .. } => Self::Conflict {
                message: format!("conflict: {message}"),
                hint,
            },
            Image::Locked(_) | Image::Damaged { .. } | Image::Io { .. } => Self::Internal {
                doing: "using the image store".to_owned(),
                source: message.into(),
            },
        }
    }
}

impl From<controller::Error> for Error {
    fn from(source: controller::Error) -> Self {
        Self::Network {
            doing: String::new(),
            source,
        }
    }
}

fn prefix(doing: &str) -> String {
    if doing.is_empty() {
        String::new()
    } else {
        format!("{doing}: ")
    }
}

/// An error with its causes in one line: our libraries' messages leave the cause to `source`.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_command_from_running_is_said_behind_the_runtimes_and_nothing_else_is() {
        let command = Error::Command {
            message: "exec: \"x\": executable file not found in $PATH".to_owned(),
            exit_code: 127,
        };
        assert_eq!(
            command.behind("runc: ").to_string(),
            "runc: exec: \"x\": executable file not found in $PATH: unknown"
        );
        assert_eq!(Error::conflict("it runs").behind("runc: ").to_string(), "it runs");
    }
}
