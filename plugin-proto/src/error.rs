//! Why a plugin could not be had, or did not do what it was asked.

use std::{path::PathBuf, time::Duration};

/// Why a call of a plugin came to nothing. Each names the plugin.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Neither a socket nor a specification has this name.
    #[error("plugin {plugin:?} not found")]
    NotFound {
        /// Its name.
        plugin: String,
    },
    /// It is the one who asks.
    #[error("plugin {plugin:?} is this daemon's own, for another engine")]
    Own {
        /// Its name.
        plugin: String,
    },
    /// Its specification can't be used.
    #[error("plugin {plugin:?}: {path}: {reason}", path = .path.display())]
    Specification {
        /// Its name.
        plugin: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is there, but is no driver of this kind.
    #[error("plugin {plugin:?} does not implement the requested driver {subsystem:?}")]
    NotImplemented {
        /// Its name.
        plugin: String,
        /// What was wanted.
        subsystem: String,
    },
    /// Nobody listens at its address, or the connection broke before an answer came.
    #[error("plugin {plugin:?} at {address}: {method}: {reason}")]
    Unreachable {
        /// Its name.
        plugin: String,
        /// Where it was looked for.
        address: String,
        /// What was called.
        method: String,
        /// What the system said.
        reason: String,
        /// The request was not sent, so nothing can have come of it.
        unsent: bool,
    },
    /// It has not answered in time.
    #[error("plugin {plugin:?} did not answer {method} within {limit:?}")]
    Late {
        /// Its name.
        plugin: String,
        /// What was called.
        method: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// Its answer makes no sense, or there is too much of it.
    #[error("plugin {plugin:?}: its answer to {method} can't be used: {reason}")]
    Nonsense {
        /// Its name.
        plugin: String,
        /// What was called.
        method: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It answered that it won't. The text is what Docker's users know.
    #[error("{}", refused(.method, *.status, .message))]
    Refused {
        /// Its name.
        plugin: String,
        /// What was called.
        method: String,
        /// The HTTP status.
        status: u16,
        /// In its own words.
        message: String,
    },
}

/// A `Result` with a plugin's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn refused(method: &str, status: u16, message: &str) -> String {
    match status {
        200 => format!("remote: {message}"),
        _ => format!("{method}: {message}"),
    }
}

impl Error {
    /// The plugin's name.
    pub fn plugin(&self) -> &str {
        match self {
            Self::NotFound { plugin }
            | Self::Own { plugin }
            | Self::Specification { plugin, .. }
            | Self::NotImplemented { plugin, .. }
            | Self::Unreachable { plugin, .. }
            | Self::Late { plugin, .. }
            | Self::Nonsense { plugin, .. }
            | Self::Refused { plugin, .. } => plugin,
        }
    }

    /// Whether the plugin has no such method.
    pub fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether nothing is known of what the plugin did: it was asked, and did not answer.
    pub fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Late { .. } | Self::Unreachable { .. } | Self::NotFound { .. }
        )
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { plugin } => Some(format!(
                "a plugin is found by its socket /run/docker/plugins/{plugin}.sock, or by {plugin}.spec or \
                 {plugin}.json in /etc/docker/plugins or /usr/lib/docker/plugins"
            )),
            Self::Own { .. } => Some(
                "its networks are had here without it: use -d overlay, bridge, macvlan or ipvlan".to_owned(),
            ),
            Self::Specification { .. } => Some(
                "a .spec file is one line, unix:///… or tcp://HOST:PORT; a .json file has it as \"Addr\""
                    .to_owned(),
            ),
            Self::NotImplemented { .. } => None,
            Self::Unreachable { plugin, .. } | Self::Late { plugin, .. } => {
                Some(format!("look at the plugin {plugin:?}: does it run?"))
            }
            Self::Nonsense { plugin, .. } => Some(format!("look at what the plugin {plugin:?} logs")),
            Self::Refused { plugin, .. } => Some(format!("this is the answer of the plugin {plugin:?}")),
        }
    }
}
