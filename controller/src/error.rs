//! What a caller can do about a failure decides its variant: each maps to one HTTP status.

use std::{error::Error as StdError, net::IpAddr};

/// Why the controller did not do what was asked. When it is returned, nothing was changed unless it says so.
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
    /// Right, but not allowed as things are: in use, predefined, taken. Becomes 403.
    #[error("{message}")]
    Forbidden {
        /// What is not allowed.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The name is taken, or somebody else changes the same thing. Becomes 409.
    #[error("{message}")]
    Conflict {
        /// With what.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It may work later: the cluster store does not answer, or nothing is left to hand out. Becomes 503.
    #[error("{message}")]
    Unavailable {
        /// What does not answer or is used up.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A plugin does not answer, answers nonsense, or refuses. Becomes 500.
    #[error("{message}")]
    Plugin {
        /// What it said or did; in Docker's words where it refused.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The kernel, the local store or a driver failed. Becomes 500.
    #[error("{doing}")]
    Internal {
        /// What the controller was doing.
        doing: String,
        /// What went wrong.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A failed operation could not be undone either. What is left is taken up by the reconciler. Becomes what
    /// `error` becomes.
    #[error("{error} (and undoing it failed: {})", .undo.join("; "))]
    Undone {
        /// Why the operation failed.
        #[source]
        error: Box<Error>,
        /// What could not be undone.
        undo: Vec<String>,
    },
}

/// A `Result` with the controller's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { hint, .. }
            | Self::Invalid { hint, .. }
            | Self::Forbidden { hint, .. }
            | Self::Conflict { hint, .. }
            | Self::Unavailable { hint, .. }
            | Self::Plugin { hint, .. } => hint.clone(),
            Self::Internal { .. } => None,
            Self::Undone { error, .. } => error.hint(),
        }
    }

    /// The failure itself, without what undoing it met.
    pub fn reason(&self) -> &Self {
        match self {
            Self::Undone { error, .. } => error.reason(),
            _ => self,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::NotFound { hint, .. }
            | Self::Invalid { hint, .. }
            | Self::Forbidden { hint, .. }
            | Self::Conflict { hint, .. }
            | Self::Unavailable { hint, .. }
            | Self::Plugin { hint, .. } => *hint = Some(text.into()),
            Self::Internal { .. } | Self::Undone { .. } => {}
        }
        self
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::Forbidden {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn internal(
        doing: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Internal {
            doing: doing.into(),
            source: source.into(),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Conflict { key } => {
                Self::conflict(format!("{key} was changed by somebody else at the same moment"))
                    .with_hint("try again")
            }
            // The reason stands in the message of others; of a file it is all there is to say.
            store::Error::Unavailable {
                store: "embedded",
                ref source,
                ..
            } => Self::Unavailable {
                message: format!("{error}: {source}"),
                hint: Some("make room on the disk of --data-root, or see why it can't be written".to_owned()),
            },
            store::Error::Unavailable { .. } | store::Error::LeaseEnded(_) => Self::Unavailable {
                message: error.to_string(),
                hint: Some(
                    "what lives on this host alone still works; check the cluster store's servers".to_owned(),
                ),
            },
            store::Error::TooLarge(_) => Self::invalid(error.to_string()).with_hint(
                "ports in a row are one range in the record, scattered ones are not: give fewer of these",
            ),
            store::Error::Broken { .. }
            | store::Error::NewerSchema { .. }
            | store::Error::Unreadable { .. } => Self::internal("using the store", error),
        }
    }
}

impl From<ipam::Error> for Error {
    fn from(error: ipam::Error) -> Self {
        match error {
            ipam::Error::Invalid { message, hint } => Self::Invalid { message, hint },
            ipam::Error::Overlap { message, hint } => Self::Forbidden { message, hint },
            ipam::Error::AddressInUse { address, holder } => Self::address_in_use(address, &holder),
            ipam::Error::Exhausted { message, hint } => Self::Unavailable { message, hint },
            ipam::Error::Plugin(error) => error.into(),
            ipam::Error::Store(error) => error.into(),
        }
    }
}

impl From<drivers::Error> for Error {
    fn from(error: drivers::Error) -> Self {
        match error {
            drivers::Error::Invalid { message, hint } => Self::Invalid { message, hint },
            drivers::Error::Forbidden { message, hint } => Self::Forbidden { message, hint },
            drivers::Error::Plugin(error) => error.into(),
            drivers::Error::Kernel { doing, source } => Self::Internal { doing, source },
        }
    }
}

impl From<drivers::PluginError> for Error {
    fn from(error: drivers::PluginError) -> Self {
        let (message, hint) = (error.to_string(), error.hint());
        match error {
            drivers::PluginError::NotFound { .. } => Self::NotFound { message, hint },
            drivers::PluginError::Own { .. } => Self::Invalid { message, hint },
            _ => Self::Plugin { message, hint },
        }
    }
}

impl Error {
    fn address_in_use(address: IpAddr, holder: &str) -> Self {
        Self::forbidden(format!("Address already in use: {address} is held by {holder}"))
            .with_hint("choose another address, or none to get the next free one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_undo_keeps_both_errors_and_the_hint() {
        let error = Error::Undone {
            error: Box::new(Error::forbidden("no").with_hint("ask")),
            undo: vec!["releasing the pool: gone".to_owned()],
        };
        assert_eq!(
            error.to_string(),
            "no (and undoing it failed: releasing the pool: gone)"
        );
        assert_eq!(error.hint().as_deref(), Some("ask"));
        assert!(matches!(error.reason(), Error::Forbidden { .. }));
    }

    #[test]
    fn an_unreachable_store_is_unavailable_and_a_lost_race_a_conflict() {
        let unavailable = store::Error::Unavailable {
            store: "etcd",
            address: "127.0.0.1:1".to_owned(),
            source: "refused".into(),
        };
        assert!(matches!(Error::from(unavailable), Error::Unavailable { .. }));
        let conflict = store::Error::Conflict {
            key: store::Key::root("k"),
        };
        assert!(matches!(Error::from(conflict), Error::Conflict { .. }));
    }
}
